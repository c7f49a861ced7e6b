//! What one half writes, the other reads, however it is cut.

use super::generators::{any_reply, any_request, encode};
use super::*;
use crate::{
    Cursor, DELAY_MS_MAX, Decoder, GetOptions, ItemState, Kick, Limits, Priority, Purge, Request,
};
use proptest::prelude::*;
use std::string::String;
use std::vec;

fn text_of(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"<".to_vec();
    encode(&mut out);
    // Line ends are shown as they are, other bytes that are no text are escaped.
    out.utf8_chunks()
        .map(|chunk| std::format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii()))
        .collect()
}

#[test]
fn golden_bytes_of_every_request() {
    let q = key(b"q");
    let open = GetOptions { open: true, close: true, wait_ms: 250, ..GetOptions::default() };
    let forever = GetOptions { wait_ms: u32::MAX, ..GetOptions::default() };
    let all = PutOptions {
        ttl_seconds: 60,
        flags: 7,
        delay_ms: DELAY_MS_MAX,
        priority: Priority::High,
        idempotency_key: Some(b"a=\xff"),
    };
    let some = PutOptions { delay_ms: 1, priority: Priority::Low, ..PutOptions::default() };
    let behind = BrowseOptions { after: Some(Cursor(1, u64::MAX)), body_bytes: Some(0) };
    let plain = BrowseOptions::default();
    for (written, expected) in [
        (text_of(|out| set(out, q, 1, 0, 5).unwrap()), "<set q 1 0 5\r\n"),
        (text_of(|out| set(out, q, 0, i32::MIN, 0).unwrap()), "<set q 0 -2147483648 0\r\n"),
        (text_of(|out| get(out, q, &GetOptions::default()).unwrap()), "<get q\r\n"),
        (text_of(|out| get(out, q, &open).unwrap()), "<get q/t=250/close/open\r\n"),
        (text_of(|out| get(out, q, &forever).unwrap()), "<get q/t=2147483647\r\n"),
        (text_of(|out| delete(out, q)), "<delete q\r\n"),
        (text_of(|out| flush(out, q)), "<flush q\r\n"),
        (text_of(flush_all), "<flush_all\r\n"),
        (text_of(stats), "<stats\r\n"),
        (text_of(|out| dump_stats(out, &[]).unwrap()), "<dump_stats\r\n"),
        (text_of(|out| dump_stats(out, &[q, key(b"r")]).unwrap()), "<dump_stats q r\r\n"),
        (text_of(version), "<version\r\n"),
        (text_of(quit), "<quit\r\n"),
        (text_of(capabilities), "<capabilities\r\n"),
        (text_of(|out| put(out, q, 5, &PutOptions::default()).unwrap()), "<put q 5\r\n"),
        (
            text_of(|out| put(out, q, 5, &all).unwrap()),
            "<put q 5 ttl=60 flags=7 delay=315360000000 priority=high key=a=\\xff\r\n",
        ),
        (text_of(|out| put(out, q, 5, &some).unwrap()), "<put q 5 delay=1 priority=low\r\n"),
        (text_of(|out| reserve(out, 2, 3, 4, &[q, key(b"r")]).unwrap()), "<reserve 2 3 4 q r\r\n"),
        (text_of(|out| ack(out, q, u64::MAX)), "<ack q 18446744073709551615\r\n"),
        (text_of(|out| release(out, q, 0, None).unwrap()), "<release q 0\r\n"),
        (text_of(|out| release(out, q, 0, Some(0)).unwrap()), "<release q 0 delay=0\r\n"),
        (text_of(|out| touch(out, q, 9, 30_000)), "<touch q 9 30000\r\n"),
        (text_of(|out| bury(out, q, 9, 1024).unwrap()), "<bury q 9 1024\r\n"),
        (
            text_of(|out| browse(out, q, ItemState::Dead, 5, &behind).unwrap()),
            "<browse q dead 5 after=1.18446744073709551615 body=0\r\n",
        ),
        (
            text_of(|out| browse(out, q, ItemState::Delayed, 1, &plain).unwrap()),
            "<browse q delayed 1\r\n",
        ),
        (text_of(|out| kick(out, q, Kick::All).unwrap()), "<kick q all\r\n"),
        (text_of(|out| kick(out, q, Kick::Some(3)).unwrap()), "<kick q 3\r\n"),
        (text_of(|out| kick(out, q, Kick::Id(0)).unwrap()), "<kick q id=0\r\n"),
        (text_of(|out| purge(out, q, Purge::Delayed)), "<purge q delayed\r\n"),
        (text_of(|out| pause(out, q)), "<pause q\r\n"),
        (text_of(|out| resume(out, q)), "<resume q\r\n"),
    ] {
        assert_eq!(written, expected);
    }
}

#[test]
fn what_cannot_be_sent_leaves_no_byte() {
    let q = key(b"q");
    let long = [b'n'; 250];
    let long = key(&long);
    let bad = GetOptions { peek: true, open: true, ..GetOptions::default() };
    let mut out = Vec::new();
    let too_large = Err(EncodeError::BodyTooLarge);
    assert_eq!(set(&mut out, q, 0, 0, i32::MAX as usize + 1), too_large);
    assert_eq!(put(&mut out, q, usize::MAX, &PutOptions::default()), too_large);
    let long_key = [b'k'; 129];
    for bad_key in [&b""[..], &long_key, b"a b", b"a\tb", b"a\r\nquit", b"\x7f"] {
        let options = PutOptions { idempotency_key: Some(bad_key), ..PutOptions::default() };
        let error = Err(EncodeError::BadKey);
        assert_eq!(put(&mut out, q, 1, &options), error, "{}", bad_key.escape_ascii());
    }
    let late = PutOptions { delay_ms: DELAY_MS_MAX + 1, ..PutOptions::default() };
    assert_eq!(put(&mut out, q, 1, &late), Err(EncodeError::DelayTooLong));
    let late = Some(DELAY_MS_MAX + 1);
    assert_eq!(release(&mut out, q, 1, late), Err(EncodeError::DelayTooLong));
    assert_eq!(bury(&mut out, q, 1, 1025), Err(EncodeError::ReasonTooLong));
    let nothing = Err(EncodeError::NoItems);
    assert_eq!(browse(&mut out, q, ItemState::Open, 0, &BrowseOptions::default()), nothing);
    assert_eq!(kick(&mut out, q, Kick::Some(0)), nothing);
    assert_eq!(get(&mut out, q, &bad), Err(EncodeError::BadOptions));
    assert_eq!(reserve(&mut out, 0, 0, 0, &[q]), Err(EncodeError::NoItems));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[]), Err(EncodeError::QueueCount));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[q; 17]), Err(EncodeError::QueueCount));
    assert_eq!(reserve(&mut out, 1, 0, 0, &[long; 16]), Err(EncodeError::LineTooLong));
    assert_eq!(dump_stats(&mut out, &[long; 9]), Err(EncodeError::LineTooLong));
    assert!(out.is_empty());
}

#[test]
fn the_longest_line_that_is_sent_is_taken() {
    let long = [b'n'; 250];
    let mut keys = vec![key(&long); 8];
    // "reserve 1 0 0" and 8 names are 2021 bytes; one more name of 26 with its space: 2048.
    let rest = [b'r'; 26];
    keys.push(key(&rest));
    let mut out = Vec::new();
    reserve(&mut out, 1, 0, 0, &keys).unwrap();
    assert_eq!(out.len(), 2048 + 2);
    let mut buf = BytesMut::from(&out[..]);
    let decoded = Decoder::new(Limits::default()).decode(&mut buf);
    assert!(matches!(decoded, Ok(Some(Request::Reserve { keys, .. })) if keys.len() == 9));
    let rest = [b'r'; 27];
    keys[8] = key(&rest);
    assert_eq!(reserve(&mut out, 1, 0, 0, &keys), Err(EncodeError::LineTooLong));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_server_reads_what_the_client_writes(
        requests in prop::collection::vec(any_request(), 1..8),
        step in 1usize..300,
    ) {
        let mut wire = Vec::new();
        for request in &requests {
            encode(&mut wire, request);
        }
        let mut decoder = Decoder::new(Limits::default());
        let mut buf = BytesMut::new();
        let mut decoded = Vec::new();
        for piece in wire.chunks(step) {
            buf.extend_from_slice(piece);
            while let Some(request) = decoder.decode(&mut buf).unwrap() {
                decoded.push(request);
            }
        }
        prop_assert_eq!(decoded, requests);
        prop_assert!(!decoder.is_mid_request(&buf));
    }

    #[test]
    fn the_client_reads_what_the_server_writes(
        replies in prop::collection::vec(any_reply(), 1..8),
        step in 1usize..300,
    ) {
        let mut wire = BytesMut::new();
        let mut expected = Vec::new();
        for (response, replies) in replies {
            response.encode(&mut wire);
            expected.extend(replies.into_iter().map(Ok));
        }
        let limits = ReplyLimits { body_bytes: 200, ..ReplyLimits::default() };
        prop_assert_eq!(&feed(limits, [&wire[..]]), &expected);
        prop_assert_eq!(&feed(limits, wire.chunks(step)), &expected);
    }

    #[test]
    fn any_cut_of_damaged_replies_gives_the_same(
        replies in prop::collection::vec(any_reply(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        step in 1usize..50,
        // Most of what `browse` shows is longer than the first.
        line_bytes in prop::sample::select(vec![60usize, 400, 8192]),
    ) {
        let mut wire = BytesMut::new();
        for (response, _) in &replies {
            response.encode(&mut wire);
        }
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let limits = ReplyLimits { line_bytes, body_bytes: 150 };
        let whole = feed(limits, [&wire[..]]);
        prop_assert_eq!(&feed(limits, wire.chunks(step)), &whole);
        prop_assert_eq!(&feed(limits, wire.chunks(1)), &whole);
    }
}
