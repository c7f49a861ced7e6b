//! Every line of the extended commands, and every way to say it wrongly.

use super::*;
use crate::{
    Cursor, DELAY_MS_MAX, ItemState, KEY_BYTES_MAX, Kick, NameError, Priority, Purge,
    REASON_BYTES_MAX,
};
use smallvec::smallvec;
use std::vec;

/// All of these are answered with their reason, and what is behind them is understood.
fn all_malformed(cases: &[(&[u8], &str)]) {
    for (input, reason) in cases {
        assert_eq!(malformed(input), *reason, "{}", input.escape_ascii());
    }
}

/// The connection closes for all of these.
fn all_fatal(cases: &[(&[u8], &str)]) {
    for (input, reason) in cases {
        assert_eq!(fatal(input), *reason, "{}", input.escape_ascii());
    }
}

fn all_requests(cases: Vec<(&[u8], Request)>) {
    for (input, expected) in cases {
        assert_eq!(request(input), expected, "{}", input.escape_ascii());
    }
}

/// The options of a put.
#[derive(Clone, Default)]
struct Put {
    ttl: u32,
    flags: u32,
    delay_ms: u64,
    priority: Priority,
    key: Option<Bytes>,
}

impl Put {
    fn with(self, body: &[u8]) -> Request {
        Request::Put {
            key: name(b"jobs+a"),
            ttl_seconds: self.ttl,
            flags: self.flags,
            delay_ms: self.delay_ms,
            priority: self.priority,
            idempotency_key: self.key,
            body: Body::Bytes(bytes(body)),
        }
    }
}

#[test]
fn put() {
    let plain = Put::default;
    let key = |key: &[u8]| Put { key: Some(bytes(key)), ..plain() };
    let level = |priority| Put { priority, ..plain() };
    let all = Put {
        ttl: 60,
        flags: 7,
        delay_ms: 1500,
        priority: Priority::Low,
        key: Some(bytes(b"order-17")),
    };
    all_requests(vec![
        (b"put jobs+a 3\r\nabc\r\n", plain().with(b"abc")),
        (b"PUT jobs+a 0\r\n\r\n", plain().with(b"")),
        (b"put jobs+a 2\n\r\n\r\n", plain().with(b"\r\n")),
        (b"put jobs+a 1 ttl=60 flags=7\r\nx\r\n", Put { ttl: 60, flags: 7, ..plain() }.with(b"x")),
        (b"put jobs+a 1 flags=4294967295\r\nx\r\n", Put { flags: u32::MAX, ..plain() }.with(b"x")),
        (
            b"put jobs+a 1 ttl=60 flags=7 delay=1500 priority=low key=order-17\r\nx\r\n",
            all.clone().with(b"x"),
        ),
        (
            b"put jobs+a 1 key=order-17 priority=low delay=1500 flags=7 ttl=60\r\nx\r\n",
            all.with(b"x"),
        ),
        (b"put jobs+a 1 delay=0\r\nx\r\n", plain().with(b"x")),
        (
            b"put jobs+a 1 delay=315360000000\r\nx\r\n",
            Put { delay_ms: DELAY_MS_MAX, ..plain() }.with(b"x"),
        ),
        (b"put jobs+a 1 priority=high\r\nx\r\n", level(Priority::High).with(b"x")),
        (b"put jobs+a 1 priority=normal\r\nx\r\n", plain().with(b"x")),
        (b"put jobs+a 1 key=a=b\r\nx\r\n", key(b"a=b").with(b"x")),
        (b"put jobs+a 1 key=key=\xff\r\nx\r\n", key(b"key=\xff").with(b"x")),
    ]);
    let longest = [b'k'; KEY_BYTES_MAX];
    let line = [b"put jobs+a 1 key=", &longest[..], b"\r\nx\r\n"].concat();
    assert_eq!(request(&line), key(&longest).with(b"x"));
}

#[test]
fn of_an_option_that_is_given_twice_the_last_counts() {
    let last =
        Put { ttl: 2, flags: 4, delay_ms: 6, priority: Priority::Normal, key: Some(bytes(b"b")) };
    let release = |delay_ms| Request::Release { key: name(b"q"), id: 1, delay_ms };
    let browse = Request::Browse {
        key: name(b"q"),
        state: ItemState::Ready,
        max: 1,
        after: Some(Cursor(3, 4)),
        body_bytes: Some(6),
    };
    all_requests(vec![
        (
            b"put jobs+a 1 ttl=1 flags=3 delay=5 priority=high key=a ttl=2 flags=4 delay=6 \
              priority=normal key=b\r\nx\r\n",
            last.with(b"x"),
        ),
        (b"release q 1 delay=5 delay=0\r\n", release(Some(0))),
        (b"browse q ready 1 after=1.2 body=5 after=3.4 body=6\r\n", browse),
    ]);
    // One that is wrong is wrong, whatever comes after it.
    all_malformed(&[
        (b"put q 1 ttl=x ttl=1\r\nx\r\n", "bad ttl 'x'"),
        (b"put q 1 priority=x priority=low\r\nx\r\n", "unknown word 'priority=x'"),
        (b"release q 1 delay=x delay=1\r\n", "bad delay 'x'"),
        (b"browse q ready 1 after=x after=1.2\r\n", "bad cursor 'x'"),
    ]);
}

#[test]
fn put_stays_in_step_where_the_byte_count_is_readable() {
    all_malformed(&[
        (b"put q 9 later=1\r\nversion\r\n\r\n", "unknown word 'later=1'"),
        (b"put q 1 noreply\r\nx\r\n", "unknown word 'noreply'"),
        (b"put q 1 TTL=1\r\nx\r\n", "unknown word 'TTL=1'"),
        (b"put q 1 =1\r\nx\r\n", "unknown word '=1'"),
        (b"put q 1 ttl\r\nx\r\n", "unknown word 'ttl'"),
        (b"put q 1 key\r\nx\r\n", "unknown word 'key'"),
        (b"put q 1  ttl=1\r\nx\r\n", "unknown word ''"),
        (b"put q 1 ttl=\r\nx\r\n", "bad ttl ''"),
        (b"put q 1 ttl=-1\r\nx\r\n", "bad ttl '-1'"),
        (b"put q 1 ttl=4294967296\r\nx\r\n", "bad ttl '4294967296'"),
        (b"put q 1 flags=x\r\nx\r\n", "bad flags 'x'"),
        (b"put q 1 flags=4294967296\r\nx\r\n", "bad flags '4294967296'"),
        (b"put q 1 delay=\r\nx\r\n", "bad delay ''"),
        (b"put q 1 delay=1s\r\nx\r\n", "bad delay '1s'"),
        (b"put q 1 delay=-1\r\nx\r\n", "bad delay '-1'"),
        (b"put q 1 delay=315360000001\r\nx\r\n", "bad delay '315360000001'"),
        (b"put q 1 priority=\r\nx\r\n", "unknown word 'priority='"),
        (b"put q 1 priority=High\r\nx\r\n", "unknown word 'priority=High'"),
        (b"put q 1 priority=1\r\nx\r\n", "unknown word 'priority=1'"),
        (b"put a.b 1\r\nx\r\n", "'.' in a queue name: 'a.b'"),
        (b"put + 1\r\nx\r\n", "queue name of only '+': '+'"),
        (b"put +a 1\r\nx\r\n", "queue name begins with '+': '+a'"),
        (b"put  1\r\nx\r\n", "empty queue name: ''"),
    ]);
    all_fatal(&[
        (b"put\r\n", "missing queue name"),
        (b"put q\r\n", "missing byte count"),
        (b"put q x\r\n", "bad byte count 'x'"),
        (b"put q -0\r\n", "bad byte count '-0'"),
        (b"put q +1\r\n", "bad byte count '+1'"),
        (b"put q 2147483648\r\n", "bad byte count '2147483648'"),
        (b"put q ttl=1 1\r\n", "bad byte count 'ttl=1'"),
        (b"put q 1\r\nxx\r\n", "bad data chunk"),
        (b"put q 1 ttl=x\r\nxx\r\n", "bad data chunk"),
    ]);
}

#[test]
fn a_key_that_cannot_be() {
    let reason =
        |shown: &str| std::format!("a key has 1 to 128 bytes and no control byte: '{shown}'");
    all_malformed(&[
        (b"put q 1 key=\r\nx\r\n", &reason("")),
        (b"put q 1 key= a\r\nx\r\n", &reason("")),
        (b"put q 1 key=a\tb\r\nx\r\n", &reason("a\\tb")),
        (b"put q 1 key=\x7f\r\nx\r\n", &reason("\\x7f")),
        // A key ends with its word.
        (b"put q 1 key=a b\r\nx\r\n", "unknown word 'b'"),
    ]);
    let long = [b'k'; KEY_BYTES_MAX + 1];
    let line = [b"put q 1 key=", &long[..], b"\r\nx\r\n"].concat();
    assert_eq!(malformed(&line), reason(&std::format!("{}...", "k".repeat(40))));
}

#[test]
fn reserve() {
    let expected = Request::Reserve {
        max: 10,
        wait_ms: 1000,
        lease_ms: 30_000,
        keys: smallvec![name(b"a"), name(b"b+c")],
    };
    assert_eq!(request(b"reserve 10 1000 30000 a b+c\r\n"), expected);
    let all =
        Request::Reserve { max: 1000, wait_ms: u32::MAX, lease_ms: 0, keys: smallvec![name(b"q")] };
    assert_eq!(request(b"reserve 1000 4294967295 0 q\r\n"), all);
    assert!(matches!(
        request(b"reserve 1 0 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\r\n"),
        Request::Reserve { keys, .. } if keys.len() == 16
    ));
    all_malformed(&[
        (b"reserve\r\n", "missing item count"),
        (b"reserve 1\r\n", "missing wait"),
        (b"reserve 1 0\r\n", "missing lease"),
        (b"reserve 1 0 0\r\n", "missing queue name"),
        (b"reserve 0 0 0 q\r\n", "bad item count '0'"),
        (b"reserve 1001 0 0 q\r\n", "bad item count '1001'"),
        (b"reserve x 0 0 q\r\n", "bad item count 'x'"),
        (b"reserve 1 -1 0 q\r\n", "bad wait '-1'"),
        (b"reserve 1 0 4294967296 q\r\n", "bad lease '4294967296'"),
        (b"reserve 1 0 0 a  b\r\n", "empty queue name: ''"),
        (b"reserve 1 0 0 a/open\r\n", "'/' in a queue name: 'a/open'"),
        (
            b"reserve 1 0 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\r\n",
            "more than 16 queues: '17'",
        ),
    ]);
}

#[test]
fn ack_release_and_touch() {
    let key = || name(b"q");
    let release = |id, delay_ms| Request::Release { key: key(), id, delay_ms };
    let touch = |id, lease_ms| Request::Touch { key: key(), id, lease_ms };
    all_requests(vec![
        (b"ack q 17\r\n", Request::Ack { key: key(), id: 17 }),
        (b"Release q 18446744073709551615\r\n", release(u64::MAX, None)),
        (b"release q 1 delay=0\r\n", release(1, Some(0))),
        (b"release q 1 delay=315360000000\r\n", release(1, Some(DELAY_MS_MAX))),
        (b"TOUCH q 17 0\r\n", touch(17, 0)),
        (b"touch q 18446744073709551615 30000\r\n", touch(u64::MAX, 30_000)),
    ]);
    all_malformed(&[
        (b"ack\r\n", "missing queue name"),
        (b"ack q\r\n", "missing id"),
        (b"ack q x\r\n", "bad id 'x'"),
        (b"ack q -1\r\n", "bad id '-1'"),
        (b"ack q 18446744073709551616\r\n", "bad id '18446744073709551616'"),
        (b"ack q 1 2\r\n", "unknown word '2'"),
        (b"ack q id=1\r\n", "bad id 'id=1'"),
        (b"release\r\n", "missing queue name"),
        (b"release q\r\n", "missing id"),
        (b"release q~ 1\r\n", "'~' in a queue name: 'q~'"),
        (b"release q x\r\n", "bad id 'x'"),
        (b"release q 1 5\r\n", "unknown word '5'"),
        (b"release q 1 later=5\r\n", "unknown word 'later=5'"),
        (b"release q 1 delay\r\n", "unknown word 'delay'"),
        (b"release q 1 delay=\r\n", "bad delay ''"),
        (b"release q 1 delay=-1\r\n", "bad delay '-1'"),
        (b"release q 1 delay=315360000001\r\n", "bad delay '315360000001'"),
        (b"release q 1  delay=1\r\n", "unknown word ''"),
        (b"touch\r\n", "missing queue name"),
        (b"touch q\r\n", "missing id"),
        (b"touch q 1\r\n", "missing lease"),
        (b"touch a.b 1 2\r\n", "'.' in a queue name: 'a.b'"),
        (b"touch q x 1\r\n", "bad id 'x'"),
        (b"touch q 1 x\r\n", "bad lease 'x'"),
        (b"touch q 1 -1\r\n", "bad lease '-1'"),
        (b"touch q 1 4294967296\r\n", "bad lease '4294967296'"),
        (b"touch q 1 2 3\r\n", "unknown word '3'"),
    ]);
    // As memcached's clients say it who do not want an answer.
    all_fatal(&[
        (b"touch q 100 noreply\r\n", "bad lease 'noreply'"),
        (b"touch q 1 2 noreply\r\n", "unknown word 'noreply'"),
    ]);
}

#[test]
fn bury() {
    let bury = |reason: &[u8]| Request::Bury { key: name(b"q"), id: 17, reason: bytes(reason) };
    all_requests(vec![
        (b"bury q 17 0\r\n\r\n", bury(b"")),
        (b"BURY q 17 5\r\na\r\n\0b\r\n", bury(b"a\r\n\0b")),
    ]);
    all_malformed(&[
        (b"bury +q 17 1\r\nx\r\n", "queue name begins with '+': '+q'"),
        (b"bury  17 1\r\nx\r\n", "empty queue name: ''"),
        (b"bury q x 1\r\nx\r\n", "bad id 'x'"),
        (b"bury q 18446744073709551616 1\r\nx\r\n", "bad id '18446744073709551616'"),
        (b"bury q 17 1 x\r\nx\r\n", "unknown word 'x'"),
        (b"bury q 17 1 cause=x\r\nx\r\n", "unknown word 'cause=x'"),
    ]);
    all_fatal(&[
        (b"bury\r\n", "missing queue name"),
        (b"bury q\r\n", "missing id"),
        (b"bury q 17\r\n", "missing byte count"),
        (b"bury q 17 x\r\n", "bad byte count 'x'"),
        (b"bury q 17 -1\r\n", "bad byte count '-1'"),
        (b"bury q 17 2147483648\r\n", "bad byte count '2147483648'"),
        (b"bury q 17 because\r\n", "bad byte count 'because'"),
        (b"bury q 17 1\r\nxy\r\n", "bad data chunk"),
        (b"bury q x 1\r\nxy\r\n", "bad data chunk"),
    ]);
}

/// An item may be 100 bytes here: a reason has a limit of its own.
#[test]
fn a_reason_may_be_1024_bytes_long_and_a_longer_one_is_swallowed_in_step() {
    for bytes in [101, REASON_BYTES_MAX, REASON_BYTES_MAX + 1, 5000, 1_000_000] {
        let text = vec![b'\n'; bytes as usize];
        let line = std::format!("bury q 17 {bytes}\r\n");
        let input = [line.as_bytes(), &text[..], b"\r\n"].concat();
        if bytes > REASON_BYTES_MAX {
            assert_eq!(malformed(&input), std::format!("bad byte count '{bytes}'"));
        } else {
            let reason = Bytes::from(text);
            assert_eq!(request(&input), Request::Bury { key: name(b"q"), id: 17, reason });
        }
    }
}

#[test]
fn a_reason_that_cannot_be_kept_changes_nothing() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&b"bury q 17 5\r\nwh"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    decoder.refuse_body();
    buf.extend_from_slice(b"y x\r\nversion\r\n");
    let error = ClientError::ReasonNotKept;
    let malformed = Request::Malformed { error, noreply: false };
    assert_eq!(decoder.decode(&mut buf), Ok(Some(malformed)));
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Request::Version)));
}

#[test]
fn browse() {
    let browse = |state, max, after, body_bytes| {
        let key = name(b"q+a");
        Request::Browse { key, state, max, after, body_bytes }
    };
    let cursor = Some(Cursor(u64::MAX, 0));
    all_requests(vec![
        (b"browse q+a ready 1\r\n", browse(ItemState::Ready, 1, None, None)),
        (b"BROWSE q+a delayed 1000\r\n", browse(ItemState::Delayed, 1000, None, None)),
        (b"browse q+a open 5 body=0\r\n", browse(ItemState::Open, 5, None, Some(0))),
        (
            b"browse q+a dead 5 after=18446744073709551615.0\r\n",
            browse(ItemState::Dead, 5, cursor, None),
        ),
        (
            b"browse q+a dead 5 body=4294967295 after=18446744073709551615.0\r\n",
            browse(ItemState::Dead, 5, cursor, Some(u32::MAX)),
        ),
    ]);
    all_malformed(&[
        (b"browse\r\n", "missing queue name"),
        (b"browse q\r\n", "missing state"),
        (b"browse q ready\r\n", "missing item count"),
        (b"browse q/ ready 1\r\n", "'/' in a queue name: 'q/'"),
        (b"browse q Ready 1\r\n", "unknown word 'Ready'"),
        (b"browse q all 1\r\n", "unknown word 'all'"),
        (b"browse q 1 ready\r\n", "unknown word '1'"),
        (b"browse q  ready 1\r\n", "unknown word ''"),
        (b"browse q ready 0\r\n", "bad item count '0'"),
        (b"browse q ready 1001\r\n", "bad item count '1001'"),
        (b"browse q ready x\r\n", "bad item count 'x'"),
        (b"browse q ready body=1\r\n", "bad item count 'body=1'"),
        (b"browse q ready 1 2\r\n", "unknown word '2'"),
        (b"browse q ready 1 before=1.2\r\n", "unknown word 'before=1.2'"),
        (b"browse q ready 1 after\r\n", "unknown word 'after'"),
        (b"browse q ready 1 body=\r\n", "bad body ''"),
        (b"browse q ready 1 body=-1\r\n", "bad body '-1'"),
        (b"browse q ready 1 body=4294967296\r\n", "bad body '4294967296'"),
    ]);
    for cursor in ["", ".", "1", "1.", ".1", "1.2.3", "-1.2", "1.x", "1.18446744073709551616"] {
        let line = std::format!("browse q ready 1 after={cursor}\r\n");
        assert_eq!(malformed(line.as_bytes()), std::format!("bad cursor '{cursor}'"));
    }
}

#[test]
fn kick_and_purge() {
    let kick = |which| Request::Kick { key: name(b"q"), which };
    let purge = |what| Request::Purge { key: name(b"q"), what };
    all_requests(vec![
        (b"kick q 1\r\n", kick(Kick::Some(1))),
        (b"KICK q 4294967295\r\n", kick(Kick::Some(u32::MAX))),
        (b"kick q all\r\n", kick(Kick::All)),
        (b"kick q id=0\r\n", kick(Kick::Id(0))),
        (b"kick q id=18446744073709551615\r\n", kick(Kick::Id(u64::MAX))),
        (b"purge q ready\r\n", purge(Purge::Ready)),
        (b"purge q delayed\r\n", purge(Purge::Delayed)),
        (b"PURGE q dead\r\n", purge(Purge::Dead)),
        (b"purge q all\r\n", purge(Purge::All)),
    ]);
    all_malformed(&[
        (b"kick\r\n", "missing queue name"),
        (b"kick q\r\n", "missing item count"),
        (b"kick q.a 1\r\n", "'.' in a queue name: 'q.a'"),
        (b"kick q 0\r\n", "bad item count '0'"),
        (b"kick q -1\r\n", "bad item count '-1'"),
        (b"kick q 4294967296\r\n", "bad item count '4294967296'"),
        (b"kick q ALL\r\n", "bad item count 'ALL'"),
        (b"kick q all=1\r\n", "bad item count 'all=1'"),
        (b"kick q  1\r\n", "bad item count ''"),
        (b"kick q id=\r\n", "bad id ''"),
        (b"kick q id=x\r\n", "bad id 'x'"),
        (b"kick q id=18446744073709551616\r\n", "bad id '18446744073709551616'"),
        (b"kick q ID=1\r\n", "bad item count 'ID=1'"),
        (b"kick q 1 2\r\n", "unknown word '2'"),
        (b"kick q id=1 id=1\r\n", "unknown word 'id=1'"),
        (b"purge\r\n", "missing queue name"),
        (b"purge q\r\n", "missing state"),
        (b"purge ++ all\r\n", "queue name of only '+': '++'"),
        (b"purge q open\r\n", "unknown word 'open'"),
        (b"purge q All\r\n", "unknown word 'All'"),
        (b"purge q all dead\r\n", "unknown word 'dead'"),
    ]);
}

#[test]
fn pause_and_resume() {
    all_requests(vec![
        (b"pause q\r\n", Request::Pause { key: name(b"q") }),
        (b"PAUSE q+a\r\n", Request::Pause { key: name(b"q+a") }),
        (b"resume q\r\n", Request::Resume { key: name(b"q") }),
    ]);
    all_malformed(&[
        (b"pause\r\n", "missing queue name"),
        (b"pause a~b\r\n", "'~' in a queue name: 'a~b'"),
        (b"pause a b\r\n", "unknown word 'b'"),
        (b"pause q 5\r\n", "unknown word '5'"),
        (b"resume\r\n", "missing queue name"),
        (b"resume  q\r\n", "empty queue name: ''"),
        (b"resume q all\r\n", "unknown word 'all'"),
    ]);
}

#[test]
fn the_name_that_is_too_long_is_named_but_not_repeated() {
    let long = [b'n'; 251];
    let input = [b"ack ", &long[..], b" 1\r\n"].concat();
    match request(&input) {
        Request::Malformed { error: ClientError::BadName(NameError::TooLong, word), .. } => {
            assert_eq!(word.len(), 251);
        }
        other => panic!("{other:?}"),
    }
    let reason = malformed(&input);
    assert!(reason.starts_with("queue name longer than 250 bytes: 'nnn"), "{reason}");
    assert!(reason.len() < 100, "{reason}");
}

#[test]
fn capabilities() {
    all_requests(vec![
        (b"capabilities\r\n", Request::Capabilities),
        (b"CAPABILITIES \r\n", Request::Capabilities),
    ]);
    all_malformed(&[
        (b"capabilities all\r\n", "unknown word 'all'"),
        (b"capabilities noreply\r\n", "unknown word 'noreply'"),
    ]);
}
