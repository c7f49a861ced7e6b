//! Memory and copies: what is kept, how much, and whose it is.

use super::*;
use crate::Name;
use std::vec;

fn body_of(event: &Event) -> &Body {
    match event {
        Event::Request(Request::Set { body, .. } | Request::Put { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}

fn set_of(bytes: usize) -> Vec<u8> {
    let mut input = std::format!("set q 0 0 {bytes}\r\n").into_bytes();
    input.resize(input.len() + bytes, b'x');
    input.extend_from_slice(b"\r\n");
    input
}

#[test]
fn a_line_may_be_2048_bytes_long_and_not_one_more() {
    for end in [&b"\n"[..], b"\r\n"] {
        let line = |bytes: usize| {
            let mut line = b"stats ".to_vec();
            line.resize(bytes, b'x');
            line.extend_from_slice(end);
            line
        };
        assert_eq!(request(&line(2048)), Request::Stats);
        assert_eq!(fatal(&line(2049)), "line too long");
    }
}

#[test]
fn a_line_without_end_is_refused_as_soon_as_it_is_too_long() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&[b'x'; 2048][..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf.extend_from_slice(b"x");
    let error = Fatal { error: ClientError::LineTooLong };
    assert_eq!(decoder.decode(&mut buf), Err(error.clone()));
    assert!(buf.is_empty());
    // And so it stays, whatever comes.
    buf.extend_from_slice(b"version\r\n");
    assert_eq!(decoder.decode(&mut buf), Err(error));
    assert!(buf.is_empty());
}

#[test]
fn no_byte_of_a_line_is_looked_at_twice() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&b"get q"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    // Put a line end where the decoder has been: it must not see it.
    buf[3] = b'\n';
    buf.extend_from_slice(b"r");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    // Nor when it waits for the LF that belongs to a CR.
    buf.extend_from_slice(b"s\r");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf[6] = b'\n';
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf[3] = b' ';
    buf[6] = b's';
    buf.extend_from_slice(b"\n");
    assert!(matches!(decoder.decode(&mut buf), Ok(Some(Request::Get { .. }))));
}

#[test]
fn a_body_at_the_limit_is_kept_and_a_larger_one_is_swallowed_in_step() {
    assert_eq!(body_of(&one(&set_of(100))), &Body::Bytes(Bytes::from(vec![b'x'; 100])));
    let mut input = set_of(101);
    input.extend_from_slice(b"version\r\n");
    let events = all(&input);
    assert_eq!(body_of(&events[0]), &Body::TooLarge { bytes: 101 });
    assert_eq!(events[1], Event::Request(Request::Version));
    // A line of put that is refused, of any size.
    let mut input = b"put q 5000 nonsense\r\n".to_vec();
    input.resize(input.len() + 5000, b'\n');
    input.extend_from_slice(b"\r\n");
    assert_eq!(malformed(&input), "unknown word 'nonsense'");
}

#[test]
fn the_largest_announced_body_costs_nothing() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&b"put q 2147483647\r\n"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    for _ in 0..1000 {
        buf.extend_from_slice(&[b'x'; 1000]);
        assert_eq!(decoder.decode(&mut buf), Ok(None));
        assert!(buf.is_empty() && decoder.is_mid_request(&buf));
    }
    match &decoder.state {
        State::Swallow { left, .. } => assert_eq!(*left, 2_147_483_647 - 1_000_000),
        other => panic!("{other:?}"),
    }
    assert!(buf.capacity() < 10_000, "{}", buf.capacity());
}

#[test]
fn a_large_body_is_collected_as_it_arrives_and_ends_at_its_exact_size() {
    let limits = Limits { item_bytes: 10_000_000, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let mut buf = BytesMut::from(&b"set q 0 0 1000000\r\n"[..]);
    let mut fed = 0;
    while fed < 1_000_000 {
        assert_eq!(decoder.decode(&mut buf), Ok(None));
        let State::Body { collected, .. } = &decoder.state else { panic!("not in a body") };
        assert_eq!(collected.len(), fed);
        assert!(collected.capacity() <= (2 * fed).clamp(7000, 1_000_000), "at {fed}");
        let piece = 7000.min(1_000_000 - fed);
        buf.resize(piece, b'x');
        fed += piece;
    }
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    let State::Body { collected, .. } = &decoder.state else { panic!("not in a body") };
    assert_eq!((collected.len(), collected.capacity()), (1_000_000, 1_000_000));
    buf.extend_from_slice(b"\r");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf.extend_from_slice(b"\nversion\r\n");
    let set = Event::Request(decoder.decode(&mut buf).unwrap().unwrap());
    assert_eq!(body_of(&set), &Body::Bytes(Bytes::from(vec![b'x'; 1_000_000])));
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Request::Version)));
    assert!(!decoder.is_mid_request(&buf));
}

#[test]
fn bodies_around_the_size_that_changes_how_they_are_kept() {
    let limits = Limits { item_bytes: 100_000, ..Limits::default() };
    for bytes in [SMALL_BODY_BYTES - 1, SMALL_BODY_BYTES, SMALL_BODY_BYTES + 1] {
        let input = set_of(bytes);
        let whole = feed(limits, [&input[..]]);
        assert_eq!(body_of(&whole[0]), &Body::Bytes(Bytes::from(vec![b'x'; bytes])));
        for cut in [10, 5000, input.len() - 3, input.len() - 2, input.len() - 1] {
            let (a, b) = input.split_at(cut);
            assert_eq!(feed(limits, [a, b]), whole, "{bytes} bytes cut at {cut}");
        }
        assert_eq!(feed(limits, input.chunks(1)), whole);
    }
}

#[test]
fn only_a_small_body_waits_in_the_input_buffer() {
    let limits = Limits { item_bytes: 100_000, ..Limits::default() };
    for (bytes, waiting) in [(SMALL_BODY_BYTES, 1000), (SMALL_BODY_BYTES + 1, 0)] {
        let mut decoder = Decoder::new(limits);
        let input = set_of(bytes);
        let line = input.len() - bytes - 2;
        let mut buf = BytesMut::from(&input[..line + 1000]);
        assert_eq!(decoder.decode(&mut buf), Ok(None));
        assert_eq!(buf.len(), waiting, "{bytes} bytes");
    }
}

#[test]
fn a_large_body_that_came_in_pieces_ends_where_it_ends() {
    let limits = Limits { item_bytes: 100_000, ..Limits::default() };
    let input = set_of(20_000);
    // Behind the first piece comes more than a whole body: it must not be taken for this one.
    let mut two = input.clone();
    two.extend_from_slice(&input);
    let whole = feed(limits, [&two[..]]);
    assert_eq!(whole.len(), 2);
    let (a, b) = two.split_at(100);
    assert_eq!(feed(limits, [a, b]), whole);
    // And its end is looked at like any other.
    for end in [&b"xx"[..], b"\rx", b"\nx"] {
        let mut bad = input.clone();
        let at = bad.len() - 2;
        bad[at..].copy_from_slice(end);
        bad.extend_from_slice(b"version\r\n");
        for cut in [100, at, at + 1] {
            let (a, b) = bad.split_at(cut);
            assert_eq!(feed(limits, [a, b]), [Event::Fatal(ClientError::BadDataChunk)]);
        }
    }
}

#[test]
fn keys_share_the_input_and_bodies_do_not() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&b"set queue 0 0 4\r\nbody\r\nack queue 1\r\n"[..]);
    let input = buf.as_ptr() as usize..buf.as_ptr() as usize + buf.len();
    let Ok(Some(Request::Set { key, body: Body::Bytes(body), .. })) = decoder.decode(&mut buf)
    else {
        panic!("no set")
    };
    assert!(input.contains(&(key.as_ptr() as usize)));
    assert!(!input.contains(&(body.as_ptr() as usize)));
    let Ok(Some(Request::Ack { key, .. })) = decoder.decode(&mut buf) else { panic!("no ack") };
    assert!(input.contains(&(Name::as_bytes(&key).as_ptr() as usize)));
}

#[test]
fn one_request_per_call_and_the_rest_stays() {
    let mut decoder = Decoder::new(limits());
    let mut buf = BytesMut::from(&b"version\r\nquit\r\nst"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Request::Version)));
    assert_eq!(&buf[..], b"quit\r\nst");
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Request::Quit)));
    assert_eq!(&buf[..], b"st");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert!(decoder.is_mid_request(&buf));
}

#[test]
fn a_body_that_cannot_be_kept_is_swallowed_and_the_next_request_is_in_step() {
    let mut decoder = Decoder::new(Limits { item_bytes: 1 << 20, ..Limits::default() });
    let mut buf = BytesMut::new();
    decoder.refuse_body();
    assert_eq!((decoder.collected(), decoder.decode(&mut buf)), (0, Ok(None)), "nothing to refuse");
    let body = std::vec![b'x'; 100_000];
    buf.extend_from_slice(b"set q 0 0 100000\r\n");
    buf.extend_from_slice(&body[..60_000]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert_eq!((decoder.collected(), buf.len()), (60_000, 0));
    decoder.refuse_body();
    assert_eq!(decoder.collected(), 0);
    buf.extend_from_slice(&body[60_000..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert!(buf.is_empty() && decoder.is_mid_request(&buf));
    buf.extend_from_slice(b"\r\nversion\r\n");
    let Ok(Some(Request::Set { body: Body::NoRoom, .. })) = decoder.decode(&mut buf) else {
        panic!("the put, without its body")
    };
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Request::Version)));
}
