//! However the stream is cut, and whatever is in it.

use proptest::prelude::*;

use super::*;

fn any_call() -> impl Strategy<Value = Vec<u8>> {
    let sequence = any::<i32>();
    let bodies = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4);
    prop_oneof![
        (sequence, bodies, any::<i32>()).prop_map(|(sequence, bodies, expiry)| {
            let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
            call("put", sequence, &[text(1, b"q"), items(2, &bodies), number(3, expiry)])
        }),
        (sequence, 15_000..40_000usize).prop_map(|(sequence, bytes)| {
            call("put", sequence, &[text(1, b"q"), items(2, &[&vec![b'x'; bytes]])])
        }),
        (sequence, any::<[i32; 3]>()).prop_map(|(sequence, [max, wait, abort])| {
            let numbers = [number(2, max), number(3, wait), number(4, abort)];
            call("get", sequence, &[&[text(1, b"q")], &numbers[..]].concat())
        }),
        (sequence, prop::collection::vec(any::<i64>(), 0..9)).prop_map(|(sequence, all)| {
            call("confirm", sequence, &[text(1, b"q"), ids(2, &all)])
        }),
        sequence.prop_map(|sequence| message(4, "get_version", sequence, &[0])),
        sequence.prop_map(|sequence| call("nobody", sequence, &[])),
        // Now and then something else.
        prop::collection::vec(any::<u8>(), 0..30).prop_map(|bytes| frame(&bytes)),
        Just(b"\xff\xff\xff\xff".to_vec()),
    ]
}

/// What comes out, with the calls that were noted.
fn decode_all(codec: &mut Thrift, input: &mut BytesMut, out: &mut Vec<String>) {
    loop {
        match codec.decode(input) {
            Ok(None) => return,
            Ok(Some(request)) => out.push(format!("{request:?}")),
            Err(fatal) => {
                out.retain(|line| !line.starts_with("fatal"));
                out.push(format!("fatal {fatal}"));
                return;
            }
        }
    }
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same(
        calls in prop::collection::vec(any_call(), 1..8),
        cuts in prop::collection::vec(1..5000usize, 1..20),
    ) {
        let bytes = calls.concat();
        let (mut whole, mut expected) = (codec(), vec![]);
        decode_all(&mut whole, &mut BytesMut::from(&bytes[..]), &mut expected);
        let (mut cut, mut got) = (codec(), vec![]);
        let (mut input, mut rest, mut cuts) = (BytesMut::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let count = (*cuts.next().expect("it cycles")).min(rest.len());
            input.extend_from_slice(&rest[..count]);
            decode_all(&mut cut, &mut input, &mut got);
            prop_assert!(input.len() < LENGTH_BYTES + SMALL_FRAME_BYTES);
            rest = &rest[count..];
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(cut.calls, whole.calls);
    }

    #[test]
    fn no_frame_is_too_strange(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut codec, mut input) = (codec(), BytesMut::from(&frame(&content)[..]));
        prop_assert!(!matches!(codec.decode(&mut input), Ok(None)));
    }

    #[test]
    fn no_arguments_are_too_strange(
        method in 0..Method::ALL.len(),
        arguments in prop::collection::vec(prop_oneof![0..16u8, any::<u8>()], 0..300),
    ) {
        let call = message(1, Method::ALL[method].name(), 1, &arguments);
        let (mut codec, mut input) = (codec(), BytesMut::from(&call[..]));
        prop_assert!(!matches!(codec.decode(&mut input), Ok(None)));
        prop_assert!(input.is_empty());
    }
}
