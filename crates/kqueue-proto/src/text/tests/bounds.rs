//! Memory and copies: what is kept, how much, and whose it is.

use super::*;
use crate::server::SMALL_BODY_BYTES;

fn lines(codec: &TextCodec) -> &ItemLines {
    match &codec.state {
        State::Items { lines, .. } => lines,
        other => panic!("not in a put: {other:?}"),
    }
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_not_one_byte_more() {
    for end in [&b"\n"[..], b"\r\n"] {
        let line = |bytes: usize| {
            let mut line = b"version ".to_vec();
            line.resize(bytes, b'x');
            line.extend_from_slice(end);
            line
        };
        assert_eq!(all(&line(60)), [Event::Request(Request::Version)]);
        assert_eq!(all(&line(61)), [Event::Fatal(ClientError::LineTooLong)]);
    }
    // A CR behind the longest line need not be its end.
    let mut line = vec![b'x'; 60];
    line.extend_from_slice(b"\rx");
    assert_eq!(all(&line), [Event::Fatal(ClientError::LineTooLong)]);
}

#[test]
fn a_line_without_end_is_refused_as_soon_as_it_is_too_long() {
    let fatal = Fatal { error: ClientError::LineTooLong };
    let mut codec = TextCodec::new(limits());
    let mut input = BytesMut::from(&[b'x'; 60][..]);
    assert_eq!(codec.decode(&mut input), Ok(None));
    input.extend_from_slice(b"\r");
    assert_eq!(codec.decode(&mut input), Ok(None));
    input.extend_from_slice(b"x");
    assert_eq!(codec.decode(&mut input), Err(fatal.clone()));
    assert!(input.is_empty());
    // And so it stays, whatever comes.
    input.extend_from_slice(b"version\n");
    assert_eq!(codec.decode(&mut input), Err(fatal.clone()));
    assert!(input.is_empty());
    let mut input = BytesMut::from(&vec![b'x'; 1024 * 1024][..]);
    assert_eq!(TextCodec::new(Limits::default()).decode(&mut input), Err(fatal));
    assert!(input.is_empty());
}

#[test]
fn no_byte_is_looked_at_twice() {
    let mut codec = TextCodec::new(limits());
    for (begun, rest) in [("put q", ":\n"), ("an item", "\n")] {
        let mut input = BytesMut::from(begun);
        assert_eq!(codec.decode(&mut input), Ok(None));
        // Put a line end where the codec has been: it must not see it.
        input[3] = b'\n';
        input.extend_from_slice(b" ");
        assert_eq!(codec.decode(&mut input), Ok(None));
        assert_eq!(input.len(), begun.len() + 1);
        input[3] = begun.as_bytes()[3];
        input.extend_from_slice(rest.as_bytes());
        assert_eq!(codec.decode(&mut input).unwrap().is_some(), begun == "an item");
    }
}

#[test]
fn an_item_at_the_limit_is_kept_and_a_larger_one_passes_by_in_step() {
    let body_of = |item: &[u8], end: &[u8], piece: usize| {
        let mut input = b"put q:\n".to_vec();
        input.extend_from_slice(item);
        input.extend_from_slice(end);
        input.extend_from_slice(b"\nversion\n");
        let mut codec = TextCodec::new(limits());
        let mut buf = BytesMut::new();
        let mut events = Vec::new();
        for piece in input.chunks(piece) {
            buf.extend_from_slice(piece);
            events.extend(decode_all(&mut codec, &mut buf));
        }
        match &events[..] {
            [
                Event::Request(Request::Set { body, .. }),
                Event::Request(Request::MetaNoop),
                Event::Request(Request::Version),
            ] => body.clone(),
            other => panic!("{other:?}"),
        }
    };
    for end in [&b"\n"[..], b"\r\n"] {
        for piece in [1, 7, 5000] {
            assert_eq!(body_of(&[b'x'; 20], end, piece), Body::Bytes(bytes(&[b'x'; 20])));
            assert_eq!(body_of(&[b'x'; 21], end, piece), Body::TooLarge { bytes: 21 });
            // One CR belongs to the line's end, wherever it came from.
            let bytes = if end.len() == 1 { 21 } else { 22 };
            assert_eq!(body_of(&[b'\r'; 22], end, piece), Body::TooLarge { bytes });
            assert_eq!(body_of(&[0; 3000], end, piece), Body::TooLarge { bytes: 3000 });
        }
    }
}

#[test]
fn an_item_that_never_ends_costs_nothing() {
    // Items of a command that has no use for them, too.
    for line in ["put q:\n", "get q:\n"] {
        let mut codec = TextCodec::new(limits());
        let mut input = BytesMut::from(line);
        assert_eq!(codec.decode(&mut input), Ok(None));
        for _ in 0..1000 {
            input.extend_from_slice(&[b'x'; 1000]);
            assert_eq!(codec.decode(&mut input), Ok(None));
            assert!(input.is_empty() && codec.is_mid_request(&input));
        }
        assert!(input.capacity() < 10_000, "{}", input.capacity());
        assert_eq!(lines(&codec).kept(), (1_000_000, 0));
    }
}

#[test]
fn a_large_item_is_collected_as_it_arrives_and_ends_at_its_exact_size() {
    let limits = Limits { item_bytes: 1_000_000, ..limits() };
    for (bytes, end) in [(1_000_000, &b"\n"[..]), (1_000_000, b"\r\n"), (300_001, b"\r\n")] {
        let mut codec = TextCodec::new(limits);
        let mut input = BytesMut::from(&b"put q:\n"[..]);
        let mut fed = 0;
        while fed < bytes {
            assert_eq!(codec.decode(&mut input), Ok(None));
            let (passed, capacity) = lines(&codec).kept();
            assert!(fed <= SMALL_BODY_BYTES || (passed == fed as u64 && input.is_empty()));
            assert!(capacity <= (2 * fed).min(1_000_001), "{capacity} bytes at {fed}");
            let piece = 7000.min(bytes - fed);
            input.resize(input.len() + piece, b'x');
            fed += piece;
        }
        for &byte in end {
            assert_eq!(codec.decode(&mut input), Ok(None));
            input.extend_from_slice(&[byte]);
        }
        let Ok(Some(Request::Set { body: Body::Bytes(body), .. })) = codec.decode(&mut input)
        else {
            panic!("no set")
        };
        assert_eq!(body, vec![b'x'; bytes]);
        // Nothing is kept of it but what it is.
        assert_eq!(Vec::from(body).capacity(), bytes);
        assert_eq!(lines(&codec).kept(), (0, 0));
    }
}

#[test]
fn items_around_the_size_that_changes_how_they_are_kept() {
    let limits = Limits { item_bytes: 100_000, ..limits() };
    for size in SMALL_BODY_BYTES - 2..SMALL_BODY_BYTES + 3 {
        for end in [&b"\n\nversion\n"[..], b"\r\n\r\nversion\n"] {
            let item = vec![b'x'; size];
            let input = [b"put q:\n", &item[..], end].concat();
            let expected = [
                Event::Request(Request::Set {
                    key: bytes(b"q"),
                    flags: 0,
                    expiry: crate::Expiry::AfterMs(0),
                    body: Body::Bytes(item.into()),
                    noreply: false,
                }),
                Event::Request(Request::MetaNoop),
                Event::Request(Request::Version),
            ];
            for cut in [7, 8, 5000].into_iter().chain(input.len() - 14..=input.len()) {
                let mut codec = TextCodec::new(limits);
                let mut buf = BytesMut::from(&input[..cut]);
                let mut events = decode_all(&mut codec, &mut buf);
                assert!(buf.len() <= SMALL_BODY_BYTES);
                for piece in input[cut..].chunks(3) {
                    buf.extend_from_slice(piece);
                    events.extend(decode_all(&mut codec, &mut buf));
                }
                assert_eq!(events, expected, "{size} bytes cut at {cut}");
            }
        }
    }
}

#[test]
fn a_million_items_in_one_put_are_counters() {
    let mut codec = TextCodec::new(limits());
    let mut input = BytesMut::from(&b"put q:\n"[..]);
    let mut out = BytesMut::new();
    for _ in 0..1000 {
        input.extend_from_slice(&b"item\n".repeat(1000));
        assert_eq!(decode_all(&mut codec, &mut input).len(), 1000);
    }
    // Nothing was answered so far, and still:
    assert_eq!(codec.replies.len(), 1);
    for _ in 0..1_000_000 {
        encode(&mut codec, &Response::Stored, &mut out);
    }
    assert_eq!((codec.replies.len(), out.len()), (0, 0));
    input.extend_from_slice(b"\n");
    assert_eq!(decode_all(&mut codec, &mut input), [Event::Request(Request::MetaNoop)]);
    encode(&mut codec, &Response::MetaNoop, &mut out);
    assert_eq!(show(&out), "+1000000\n");
    assert_eq!(codec.replies.len(), 0);
}

#[test]
fn what_is_answered_is_forgotten() {
    let mut codec = TextCodec::new(limits());
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    for _ in 0..1000 {
        input.extend_from_slice(b"get q\nnonsense\nmonitor q 1\nput q:\nx\n\nstatus x\nflush q\n");
        for event in decode_all(&mut codec, &mut input) {
            let Event::Request(request) = event else { panic!("{event:?}") };
            answers(&request).iter().for_each(|response| encode(&mut codec, response, &mut out));
        }
        assert_eq!(codec.replies.len(), 0);
    }
}

#[test]
fn an_item_and_the_name_of_its_queue_have_memory_of_their_own() {
    let mut codec = TextCodec::new(limits());
    let mut input = BytesMut::from(&b"put queue:\nitem\n"[..]);
    let buffer = input.as_ptr() as usize..input.as_ptr() as usize + input.len();
    let Ok(Some(Request::Set { key, body: Body::Bytes(body), .. })) = codec.decode(&mut input)
    else {
        panic!("no set")
    };
    assert!(!buffer.contains(&(key.as_ptr() as usize)));
    assert!(!buffer.contains(&(body.as_ptr() as usize)));
}
