//! Every method's call and reply.

use kqueue_broker::{Body, Expiry, Fetched, QueueInfo};

use super::*;

#[test]
fn put_byte_by_byte() {
    let mut codec = codec();
    let call = b"\0\0\0\x32\x80\x01\0\x01\0\0\0\x03put\0\0\0\x07\
        \x0b\0\x01\0\0\0\x01q\
        \x0f\0\x02\x0b\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc\
        \x08\0\x03\0\0\x01\0\0";
    let bodies = [&b"a"[..], b"bc"].map(|body| Body::Bytes(body.into())).into();
    let expected = Request::PutAll { key: "q".into(), expiry: Expiry::AfterMs(256), bodies };
    assert_eq!(request(&mut codec, call), expected);
    let told = reply(&mut codec, &Response::Count(2));
    let expected = b"\0\0\0\x17\x80\x01\0\x02\0\0\0\x03put\0\0\0\x07\x08\0\0\0\0\0\x02\0";
    assert_eq!(told, expected);
}

#[test]
fn get_byte_by_byte() {
    let mut codec = codec();
    let call = b"\0\0\0\x2d\x80\x01\0\x01\0\0\0\x03get\xff\xff\xff\xff\
        \x0b\0\x01\0\0\0\x01q\x08\0\x02\0\0\0\x03\x08\0\x03\0\0\0\x04\x08\0\x04\0\0\0\x05\0";
    let expected = Request::Fetch { key: "q".into(), max: 3, wait_ms: 4, auto_abort_ms: 5 };
    assert_eq!(request(&mut codec, call), expected);
    let items = vec![Fetched { id: 258, body: "a".into() }, Fetched { id: 0, body: "".into() }];
    let told = reply(&mut codec, &Response::Fetched(items));
    let expected = b"\0\0\0\x3f\x80\x01\0\x02\0\0\0\x03get\xff\xff\xff\xff\
        \x0f\0\0\x0c\0\0\0\x02\
        \x0b\0\x01\0\0\0\x01a\x0a\0\x02\0\0\0\0\0\0\x01\x02\0\
        \x0b\0\x01\0\0\0\0\x0a\0\x02\0\0\0\0\0\0\0\0\0\
        \0";
    assert_eq!(told, expected);
}

#[test]
fn a_call_with_the_old_header_is_understood_and_answered_with_the_new_one() {
    let mut codec = codec();
    let call = b"\0\0\0\x15\0\0\0\x0bget_version\x01\0\0\0\x09\0";
    assert_eq!(request(&mut codec, call), Request::Version);
    let told = reply(&mut codec, &Response::Version("1.2.3"));
    let expected =
        b"\0\0\0\x24\x80\x01\0\x02\0\0\0\x0bget_version\0\0\0\x09\x0b\0\0\0\0\0\x051.2.3\0";
    assert_eq!(told, expected);
}

#[test]
fn an_exception_byte_by_byte() {
    let mut codec = codec();
    let call = call("__can__finagle__trace__v3__", 3, &[]);
    assert!(matches!(request(&mut codec, &call), Request::Malformed { noreply: false, .. }));
    let told = reply(&mut codec, &Response::ClientError("whatever".into()));
    let expected = b"\0\0\0\x68\x80\x01\0\x03\0\0\0\x1b__can__finagle__trace__v3__\0\0\0\x03\
        \x0b\0\x01\0\0\0\x32Invalid method name: '__can__finagle__trace__v3__'\
        \x08\0\x02\0\0\0\x01\0";
    assert_eq!(told, expected);
    // The conversation goes on.
    assert_eq!(request(&mut codec, &super::call("get_version", 4, &[])), Request::Version);
}

#[test]
fn every_other_method() {
    let settle = |abort| Request::Settle { ids: vec![1, -2, i64::MAX], abort };
    let set = |name: &'static str| Request::Status { set: Some(name.into()) };
    let void = |name| message(2, name, 5, &[0]);
    let value = |name, value: Vec<u8>| message(2, name, 5, &[&value[..], &[0]].concat());
    let two = [text(1, b"q"), ids(2, &[1, -2, i64::MAX])];
    let queue = [text(1, b"q")];
    let key = || Bytes::from("q");
    let cases = [
        ("confirm", &two[..], settle(false), Response::Count(3), value("confirm", number(0, 3))),
        ("abort", &two, settle(true), Response::Count(0), value("abort", number(0, 0))),
        ("flush_queue", &queue, Request::Flush { key: key() }, Response::End, void("flush_queue")),
        (
            "flush_all_queues",
            &[],
            Request::FlushAll { noreply: false },
            Response::Flushed,
            void("flush_all_queues"),
        ),
        (
            "delete_queue",
            &queue,
            Request::Delete { key: key(), noreply: false },
            Response::Deleted,
            void("delete_queue"),
        ),
        ("set_status", &[number(1, 1)], set("quiescent"), Response::End, void("set_status")),
        ("set_status", &[number(1, 2)], set("readonly"), Response::End, void("set_status")),
        ("set_status", &[number(1, 3)], set("up"), Response::End, void("set_status")),
    ];
    for (name, arguments, expected, response, told) in cases {
        let mut codec = codec();
        assert_eq!(request(&mut codec, &call(name, 5, arguments)), expected);
        assert_eq!(reply(&mut codec, &response), told, "{name}");
    }
    for (status, no) in [("UP", 3), ("READONLY", 2), ("QUIESCENT", 1), ("WRITEAVOID", 0)] {
        let mut codec = codec();
        let expected = Request::Status { set: None };
        assert_eq!(request(&mut codec, &call("current_status", 5, &[])), expected);
        let told = reply(&mut codec, &Response::Status(status));
        assert_eq!(told, value("current_status", number(0, no)), "{status}");
    }
}

#[test]
fn peek_shows_the_head_if_there_is_one() {
    let info = QueueInfo {
        head: Some("body".into()),
        items: 1,
        bytes: u64::MAX,
        journal_bytes: 3,
        age_ms: 4,
        waiters: 5,
        open_transactions: u64::MAX,
    };
    let i64_field = |id, number: i64| field(10, id, &number.to_be_bytes());
    let figures = [
        i64_field(2, 1),
        i64_field(3, i64::MAX),
        i64_field(4, 3),
        i64_field(5, 4),
        number(6, 5),
        number(7, i32::MAX),
        vec![0],
    ]
    .concat();
    for (head, shown) in [(info.head.clone(), text(1, b"body")), (None, vec![])] {
        let mut codec = codec();
        let asked = request(&mut codec, &call("peek", 5, &[text(1, b"q")]));
        assert_eq!(asked, Request::QueueInfo { key: "q".into() });
        let told =
            reply(&mut codec, &Response::QueueInfo(QueueInfo { head, ..info.clone() }.into()));
        let whole = [field(12, 0, &[shown, figures.clone()].concat()), vec![0]].concat();
        assert_eq!(told, message(2, "peek", 5, &whole));
    }
}

#[test]
fn numbers_out_of_range_mean_what_they_mean_in_kestrel() {
    let mut codec = codec();
    let fields = [text(1, b"q"), number(2, -1), number(3, -5), number(4, i32::MIN)];
    let expected = Request::Fetch { key: "q".into(), max: u32::MAX, wait_ms: 0, auto_abort_ms: 0 };
    assert_eq!(request(&mut codec, &call("get", 5, &fields)), expected);
    let fields = [text(1, b"q"), number(2, 0)];
    let expected = Request::Fetch { key: "q".into(), max: 0, wait_ms: 0, auto_abort_ms: 0 };
    assert_eq!(request(&mut codec, &call("get", 5, &fields)), expected);
    for fields in [
        vec![items(2, &[]), text(1, b"\xff"), number(3, -1)],
        vec![text(1, b"\xff"), items(2, &[])],
    ] {
        let bodies = vec![];
        let expected =
            Request::PutAll { key: b"\xff"[..].into(), expiry: Expiry::AfterMs(0), bodies };
        assert_eq!(request(&mut codec, &call("put", 5, &fields)), expected);
    }
}

#[test]
fn an_item_that_is_too_large_is_known_by_its_size() {
    let mut codec = codec();
    let (most, more) = ([b'x'; ITEM_BYTES_MAX], [b'x'; ITEM_BYTES_MAX + 1]);
    let call = call("put", 5, &[text(1, b"q"), items(2, &[&most, &more])]);
    let Request::PutAll { bodies, .. } = request(&mut codec, &call) else { panic!("a put") };
    let bytes = ITEM_BYTES_MAX as u64 + 1;
    assert_eq!(bodies, [Body::Bytes(most.to_vec().into()), Body::TooLarge { bytes }]);
}

#[test]
fn errors_are_exceptions_that_say_what_kestrel_says() {
    for response in [
        Response::ServerError("a reason".into()),
        Response::ClientError("a reason".into()),
        Response::Error("a reason".into()),
    ] {
        let mut codec = codec();
        assert!(!codec.closes_on_error());
        request(&mut codec, &call("peek", 5, &[text(1, b"q")]));
        let told = reply(&mut codec, &response);
        let expected = "Internal error processing peek: 'a reason'";
        assert_eq!(told, exception("peek", 5, 6, expected));
    }
}

#[test]
fn replies_carry_the_numbers_of_their_calls_in_order() {
    let mut codec = codec();
    for (name, sequence) in [("get_version", 9), ("nobody", -3), ("get_version", 9)] {
        request(&mut codec, &call(name, sequence, &[]));
    }
    let version = message(2, "get_version", 9, &[text(0, b"1"), vec![0]].concat());
    assert_eq!(reply(&mut codec, &Response::Version("1")), version);
    let told = reply(&mut codec, &Response::ClientError("x".into()));
    assert_eq!(told, exception("nobody", -3, 1, "Invalid method name: 'nobody'"));
    assert_eq!(reply(&mut codec, &Response::Version("1")), version);
}

#[test]
fn a_call_that_wants_no_reply_gets_none() {
    let mut codec = codec();
    let arguments = [text(1, b"q"), items(2, &[b"a"]), vec![0]].concat();
    let put = message(4, "put", 1, &arguments);
    assert!(matches!(request(&mut codec, &put), Request::PutAll { .. }));
    let unknown = message(4, "nobody", 2, &[0]);
    assert!(matches!(request(&mut codec, &unknown), Request::Malformed { noreply: true, .. }));
    let missing = message(4, "put", 3, &[0]);
    assert!(matches!(request(&mut codec, &missing), Request::Malformed { noreply: true, .. }));
    request(&mut codec, &call("get_version", 4, &[]));
    // The broker answers the put and the last one.
    assert_eq!(reply(&mut codec, &Response::Count(1)), b"");
    let version = message(2, "get_version", 4, &[text(0, b"1"), vec![0]].concat());
    assert_eq!(reply(&mut codec, &Response::Version("1")), version);
}
