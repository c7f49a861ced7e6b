//! Any cut of any stream gives the same requests and the same replies.

use super::*;
use proptest::prelude::*;

/// Lines, good and bad, that together reach every state of the codec.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"version\r\n"[..],
        b"put q:\n",
        b"put q 5:\r\n",
        b"put q\n",
        b"put q x:\n",
        b"put half:\n",
        b"put down:\r\n",
        b"bad\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\r\r\n",
        b":\n",
        b"\0\n",
        b"get q 5\n",
        b"get q:\r\n",
        b"peek none\n",
        b"monitor q 1\n",
        b"confirm q 1\n",
        b"confirm error 1\n",
        b"confirm q\n",
        b"flush q\n",
        b"delete down\n",
        b"status\n",
        b"status x\n",
        b"shutdown\n",
        b"nonsense:\n",
    ])
    .prop_map(<[u8]>::to_vec);
    let last = prop::sample::select(vec![&b"quit\n"[..], b"get a.b\n", b"monitor q x\n"])
        .prop_map(<[u8]>::to_vec);
    let item = (prop::collection::vec(any::<u8>(), 0..30), any::<bool>()).prop_map(|(item, cr)| {
        let mut out = item;
        out.extend_from_slice(if cr { b"\r\n" } else { b"\n" });
        out
    });
    // Around the longest line and the largest item, with and without a CR.
    let long = (prop::sample::select(vec![18usize, 58]), 0usize..6, any::<bool>()).prop_map(
        |(bytes, more, cr)| {
            let mut out = vec![b'y'; bytes + more];
            out.extend_from_slice(if cr { b"\r\n" } else { b"\n" });
            out
        },
    );
    prop_oneof![12 => fixed, 1 => last, 4 => item, 3 => long]
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

fn events<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut codec = TextCodec::new(limits);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        events.extend(decode_all(&mut codec, &mut input));
        if matches!(events.last(), Some(Event::Fatal(_))) {
            break;
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_cut_gives_the_same_events_and_replies(
        fragments in prop::collection::vec(fragment(), 1..20),
        steps in prop::collection::vec(1usize..40, 1..10),
        item_bytes in prop::sample::select(vec![0usize, 1, 5, 20]),
    ) {
        let input = fragments.concat();
        let limits = Limits { item_bytes, ..limits() };
        let whole = events(limits, [&input[..]]);
        prop_assert_eq!(&events(limits, cut(&input, &steps)), &whole);
        prop_assert_eq!(&events(limits, input.chunks(1)), &whole);
        let read = talk(limits, [&input[..]], Pace::AtOnce);
        prop_assert_eq!(&talk(limits, cut(&input, &steps), Pace::AtTheEnd), &read);
        prop_assert_eq!(&talk(limits, input.chunks(1), Pace::AtOnce), &read);
    }

    #[test]
    fn no_input_keeps_more_than_its_bounds(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..40),
        head in prop::sample::select(vec![&b""[..], b"put q:\n", b"get q:\n"]),
    ) {
        let mut codec = TextCodec::new(limits());
        let mut input = BytesMut::from(head);
        for piece in pieces {
            input.extend_from_slice(&piece);
            while let Ok(Some(request)) = codec.decode(&mut input) {
                if let Request::Set { body: Body::Bytes(body), .. } = request {
                    prop_assert!((1..=20).contains(&body.len()), "{}", body.len());
                }
            }
            prop_assert!(input.len() <= 61, "{} bytes wait", input.len());
        }
    }
}

#[test]
fn a_valid_stream_survives_every_single_cut() {
    let input = b"put q 5:\r\none\r\n\r\r\ntoo large for the limit\r\n\r\nget q\r\n";
    let whole = events(limits(), [&input[..]]);
    assert_eq!(whole.len(), 5);
    assert!(whole.iter().all(|event| matches!(event, Event::Request(_))));
    for at in 0..=input.len() {
        let (a, b) = input.split_at(at);
        assert_eq!(events(limits(), [a, b]), whole, "cut at {at}");
    }
}
