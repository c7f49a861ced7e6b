//! Peers that lie about lengths, nest without end, or speak something else.

use super::*;

/// The connection stays, with an exception.
fn refused(bytes: &[u8]) -> String {
    let mut codec = codec();
    match request(&mut codec, bytes) {
        Request::Malformed { error, noreply: false } => error.text().into_owned(),
        other => panic!("it was understood: {other:?}"),
    }
}

#[test]
fn a_frame_that_is_too_long_is_not_waited_for() {
    let max = ITEM_BYTES_MAX + FRAME_BYTES_BESIDES_ITEM;
    for length in [max as i32 + 1, i32::MAX, -1, i32::MIN] {
        let told = fatal_reply(&length.to_be_bytes());
        let reason = format!("a frame has 0 to {max} bytes, not {length}");
        assert_eq!(told, exception("", 0, 7, &reason));
    }
    let mut codec = codec();
    let mut input = BytesMut::from(&(max as u32).to_be_bytes()[..]);
    assert_eq!(codec.decode(&mut input), Ok(None));
    assert!(codec.is_mid_request(&input));
    let Frame::Content { collected, .. } = &codec.frames.state else { panic!("it has begun") };
    assert_eq!(collected.capacity(), 0, "nothing is allocated by the length alone");
}

#[test]
fn a_large_frame_is_taken_out_of_the_input_as_it_arrives() {
    let body = vec![b'x'; 1 << 20];
    let call = call("put", 1, &[text(1, b"q"), items(2, &[&body])]);
    let (mut codec, mut input) = (codec(), BytesMut::new());
    let (last, chunks) = call.split_last().expect("bytes");
    for chunk in chunks.chunks(10_000) {
        input.extend_from_slice(chunk);
        assert_eq!(codec.decode(&mut input), Ok(None));
        assert!(input.is_empty() && codec.is_mid_request(&input));
        let Frame::Content { collected, .. } = &codec.frames.state else { panic!("it has begun") };
        assert!(collected.capacity() <= 2 * collected.len());
    }
    input.extend_from_slice(&[*last]);
    assert!(matches!(codec.decode(&mut input), Ok(Some(Request::PutAll { .. }))));
    assert!(!codec.is_mid_request(&input));
}

#[test]
fn another_protocol_is_told_so() {
    let told = |bytes: &[u8]| String::from_utf8_lossy(&fatal_reply(bytes)).into_owned();
    assert!(told(b"get q\r\n").contains("a frame has 0 to"));
    // Thrift without frames.
    assert!(told(b"\x80\x01\0\x01\0\0\0\x01a").contains("a frame has 0 to"));
    // The compact protocol, and a version that is not there.
    assert!(told(&frame(b"\x82\x21\x01\x0bget_version\0")).contains("not the binary protocol"));
    assert!(told(&frame(b"\x80\x02\0\x01\0\0\0\x01a\0\0\0\0\0")).contains("not the binary"));
    assert!(told(&message(9, "get_version", 1, &[0])).contains("malformed"));
    assert!(told(&frame(b"\x80\x01\0\x01\0\0\0\x01\xff\0\0\0\0\0")).contains("malformed"));
}

#[test]
fn what_is_not_a_call_is_refused_by_its_number() {
    for kind in [2, 3] {
        let told = fatal_reply(&message(kind, "get_version", 6, &[0]));
        assert_eq!(told, exception("", 6, 7, "the message is not a call"));
    }
    let name = "x".repeat(251);
    let told = fatal_reply(&call(&name, 6, &[]));
    assert_eq!(told, exception("", 6, 7, "the name of the method is too long"));
    let more = message(1, "get_version", 6, &[0, 0]);
    let told = fatal_reply(&more);
    assert_eq!(told, exception("get_version", 6, 7, "there is more in the frame than a call"));
}

#[test]
fn a_frame_cut_anywhere_ends_the_conversation() {
    let fields = [text(1, b"q"), number(2, 1), items(9, &[b"a", b"b"]), ids(8, &[1, 2])];
    let whole = call("get", 6, &fields);
    for end in LENGTH_BYTES..whole.len() {
        let cut = frame(&whole[LENGTH_BYTES..end]);
        let told = fatal_reply(&cut);
        let text = String::from_utf8_lossy(&told);
        // A string that goes beyond the frame is noticed by its length.
        let is_told =
            text.contains("the frame ends too early") || text.contains("longer than the frame");
        assert!(is_told, "{end}: {text}");
    }
}

#[test]
fn lengths_inside_a_frame_do_not_go_beyond_it() {
    let longer = "something is said to be longer than the frame";
    for length in [i32::MAX, 1 << 20, -1, i32::MIN] {
        let length = length.to_be_bytes();
        let of = |element: u8| [&[element][..], &length].concat();
        let map = [&[11, 11][..], &length].concat();
        let arguments = [
            field(11, 1, &length),
            field(15, 2, &of(11)),
            field(15, 9, &of(11)),
            field(15, 9, &of(12)),
            field(14, 9, &of(10)),
            field(13, 9, &map),
            field(11, 9, &length),
        ];
        for arguments in arguments {
            let told = fatal_reply(&message(1, "put", 6, &arguments));
            assert_eq!(told, exception("put", 6, 7, longer), "{arguments:?}");
        }
        // The name, in both headers.
        fatal_reply(&frame(&[&[0x80, 1, 0, 1][..], &length].concat()));
        fatal_reply(&frame(&[&length[..], b"put\x01\0\0\0\0\0"].concat()));
    }
    let element_of_no_length =
        field(15, 9, &[&[0][..], &1000i32.to_be_bytes(), &[0; 1000]].concat());
    let told = fatal_reply(&message(1, "put", 6, &element_of_no_length));
    assert_eq!(told, exception("put", 6, 7, "malformed"));
}

#[test]
fn nesting_without_end_costs_no_stack() {
    const LEVELS: usize = 100_000;
    let structures = field(12, 9, &[12, 0, 1].repeat(LEVELS));
    let lists = field(15, 9, &[15, 0, 0, 0, 1].repeat(LEVELS));
    let sets = field(14, 9, &[14, 0, 0, 0, 1].repeat(LEVELS));
    let maps = field(13, 9, &[3, 13, 0, 0, 0, 1, 0].repeat(LEVELS));
    for nested in [structures, lists, sets, maps] {
        let told = fatal_reply(&message(1, "put", 6, &nested));
        assert_eq!(told, exception("put", 6, 7, "nested too deeply"));
    }
    // What is only a little nested is skipped.
    let arguments = [&field(12, 9, &[12, 0, 1].repeat(10))[..], &[0; 12]].concat();
    let call = message(1, "get_version", 6, &arguments);
    assert_eq!(request(&mut codec(), &call), Request::Version);
}

#[test]
fn arguments_that_are_missing_or_of_another_type_are_named() {
    assert_eq!(refused(&call("put", 1, &[items(2, &[b"a"])])), "missing queue_name");
    assert_eq!(refused(&call("put", 1, &[text(1, b"q")])), "missing items");
    assert_eq!(refused(&call("put", 1, &[text(1, b"q"), text(2, b"a")])), "missing items");
    assert_eq!(refused(&call("peek", 1, &[number(1, 1)])), "missing queue_name");
    assert_eq!(refused(&call("confirm", 1, &[text(1, b"q")])), "missing ids");
    for status in [0, 4, -1] {
        let told = refused(&call("set_status", 1, &[number(1, status)]));
        assert_eq!(told, "no status that can be set");
    }
    assert_eq!(refused(&call("set_status", 1, &[])), "no status that can be set");
    let numbers = field(15, 2, &[8, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(refused(&call("put", 1, &[text(1, b"q"), numbers])), "entries of another type");
}

#[test]
fn no_call_is_about_more_than_others_can_wait_for() {
    let most = decode::ENTRIES_MAX;
    let (some, more) = (vec![&b""[..]; most], vec![&b""[..]; most + 1]);
    let put = |all: &[&[u8]]| call("put", 1, &[text(1, b"q"), items(2, all)]);
    assert!(matches!(request(&mut codec(), &put(&some)), Request::PutAll { .. }));
    assert_eq!(refused(&put(&more)), "10001 at a time: at most 10000");
    let confirm = |all: &[i64]| call("confirm", 1, &[text(1, b"q"), ids(2, all)]);
    let all: Vec<i64> = (0..=most as i64).collect();
    assert!(matches!(request(&mut codec(), &confirm(&all[1..])), Request::Settle { .. }));
    assert_eq!(refused(&confirm(&all)), "10001 at a time: at most 10000");
}
