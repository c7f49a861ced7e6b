//! Any cut of any stream gives the same events.

use super::*;
use proptest::prelude::*;
use std::vec;

/// Requests, good and bad, whole and broken, that together reach every state of the decoder.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"version\r\n"[..],
        b"get q/open/t=100\r\n",
        b"gets q other\n",
        b"get\r\n",
        b"get //\r\n",
        b"get /open\r\n",
        b"get q/peek/abort\r\n",
        b"delete q noreply\r\n",
        b"flush_all\r\n",
        b"reserve 10 0 0 a b c\r\n",
        b"reserve 0 0 0 a\r\n",
        b"ack q 17\r\n",
        b"release q x\r\n",
        b"release q 1 delay=5000\r\n",
        b"touch q 17 30000\r\n",
        b"bury q 17 6\r\na\r\n\r\nb\r\n",
        b"bury q x 3\r\nabc\r\n",
        b"bury q 17 3\r\nabcd\r\n",
        b"bury q 17\r\n",
        b"browse q delayed 10 after=1.17 body=100\r\n",
        b"browse q dead 0\r\n",
        b"kick q all\r\n",
        b"kick q id=x\r\n",
        b"purge q dead\r\n",
        b"purge q open\r\n",
        b"pause q\r\n",
        b"resume q\r\n",
        b"put q 3 delay=1 priority=high key=a\r\nabc\r\n",
        b"put q 3 delay=x\r\nabc\r\n",
        b"capabilities\r\n",
        b"nonsense\r\n",
        b"set q x 0 3\r\nabc\r\n",
        b"set q 0 0 3\r\nabcd\r\n",
        b"set q 0 0 -3\r\n",
        b"put q 3 later=1\r\n\r\n\r\r\n",
        b"put q 3 ttl=1\r\nabc\r",
        b"get a\0b\r\n",
        b"get a\rb\r\n",
        b"\r\n",
        b"\r",
        b"\n",
    ])
    .prop_map(<[u8]>::to_vec);
    let set =
        (prop::collection::vec(any::<u8>(), 0..130), any::<bool>()).prop_map(|(body, put)| {
            let line = if put { "put q " } else { "set q 1 2 " };
            let mut out = std::format!("{line}{}\r\n", body.len()).into_bytes();
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n");
            out
        });
    let bury = (prop::collection::vec(any::<u8>(), 1000..1050)).prop_map(|reason| {
        let line = std::format!("bury q 17 {}\r\n", reason.len());
        [line.as_bytes(), &reason[..], b"\r\n"].concat()
    });
    let long = (2000usize..2100).prop_map(|bytes| {
        let mut out = b"stats ".to_vec();
        out.resize(bytes, b'y');
        out.extend_from_slice(b"\r\n");
        out
    });
    let garbage = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![10 => fixed, 6 => set, 1 => bury, 1 => long, 1 => garbage]
}

/// Cuts `input` after each of the given steps, over and over.
fn cut<'a>(mut input: &'a [u8], steps: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &step in steps.iter().cycle() {
        if input.is_empty() {
            break;
        }
        let (piece, rest) = input.split_at(step.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_cut_gives_the_same_events(
        fragments in prop::collection::vec(fragment(), 1..12),
        steps in prop::collection::vec(1usize..60, 1..10),
        small in any::<bool>(),
    ) {
        let input = fragments.concat();
        let limits = Limits { item_bytes: if small { 5 } else { 100 }, ..Limits::default() };
        let whole = feed(limits, [&input[..]]);
        prop_assert_eq!(&feed(limits, cut(&input, &steps)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(1)), &whole);
    }

    #[test]
    fn no_input_keeps_more_than_its_bounds(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..40),
        head in prop::sample::select(vec![&b""[..], b"set q 0 0 90\r\n", b"put q 2000000000\r\n", b"bury q 1 2000000000\r\n"]),
    ) {
        let mut decoder = Decoder::new(limits());
        let mut buf = BytesMut::from(head);
        for piece in pieces {
            buf.extend_from_slice(&piece);
            while let Ok(Some(_)) = decoder.decode(&mut buf) {}
            prop_assert!(buf.len() <= 2049, "{} bytes wait", buf.len());
        }
    }
}

#[test]
fn a_valid_stream_survives_every_single_cut() {
    let input = b"set q 3 0 5\r\nhello\r\nget q/open\r\nput q 2 ttl=5\r\n\r\n\r\nack q 1\r\nset q x 0 1\r\ny\r\n\
        put q 1 delay=9 priority=low key=a\r\nx\r\nrelease q 1 delay=0\r\ntouch q 1 5\r\nbury q 1 2\r\n\r\n\r\n\
        browse q dead 5 after=1.2 body=3\r\nkick q id=1\r\npurge q all\r\npause q\r\nresume q\r\n";
    let whole = all(input);
    assert_eq!(whole.len(), 14);
    assert!(whole.iter().all(|event| matches!(event, Event::Request(_))));
    for at in 0..=input.len() {
        let (a, b) = input.split_at(at);
        assert_eq!(feed(limits(), [a, b]), whole, "cut at {at}");
    }
}
