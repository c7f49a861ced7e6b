//! Every row of the command table: what is asked of the server.

use super::*;
use crate::{Expiry, GetOptions, NameError};
use std::slice;

fn requests(input: &[u8]) -> Vec<Request> {
    all(input)
        .into_iter()
        .map(|event| match event {
            Event::Request(request) => request,
            Event::Fatal(error) => panic!("{}: {error}", input.escape_ascii()),
        })
        .collect()
}

fn set(key: &[u8], expiry: Expiry, body: &[u8]) -> Request {
    let body = Body::Bytes(bytes(body));
    Request::Set { key: bytes(key), flags: 0, expiry, body, noreply: false }
}

const NEVER: Expiry = Expiry::AfterMs(0);

#[test]
fn one_line_one_request() {
    let read = |open, peek, wait_ms| Request::Get {
        key: bytes(b"Q"),
        options: GetOptions { open, peek, close_all: true, wait_ms, ..GetOptions::default() },
        with_cas: false,
    };
    let monitor =
        |wait_ms| Request::Monitor { key: bytes(b"q"), wait_ms, max: None, close_all: true };
    let cases = [
        (&b"get Q\n"[..], read(true, false, 0)),
        (b"GET Q 250\r\n", read(true, false, 250)),
        (b"get Q -5\n", read(true, false, 0)),
        (b"get Q 2147483647 more words\n", read(true, false, i32::MAX as u32)),
        (b"peek Q\n", read(false, true, 0)),
        (b"Peek Q 7  \n", read(false, true, 7)),
        (b"monitor q 2147483647\n", monitor(i32::MAX as u64)),
        (b"monitor q -1\n", monitor(0)),
        (b"confirm q 3\n", Request::Confirm { key: bytes(b"q"), count: 3 }),
        (b"confirm q -3\n", Request::Confirm { key: bytes(b"q"), count: -3 }),
        (b"flush q\xe9:x\n", Request::Flush { key: bytes(b"q\xe9:x") }),
        (b"delete q+a\n", Request::Delete { key: bytes(b"q+a"), noreply: false }),
        (b"delete q noreply\n", Request::Delete { key: bytes(b"q"), noreply: false }),
        (b"status\n", Request::Status { set: None }),
        (b"status ReadOnly\n", Request::Status { set: Some(bytes(b"ReadOnly")) }),
        (b"version\n", Request::Version),
        (b"shutdown\n", Request::Shutdown),
        (b"quit\n", Request::Quit),
        (b"put q\n", Request::MetaNoop),
        (b"nonsense\n", Request::MetaNoop),
    ];
    for (line, expected) in cases {
        assert_eq!(requests(line), slice::from_ref(&expected), "{}", line.escape_ascii());
        // A colon and items change nothing but when it is asked.
        let mut items = line.trim_ascii_end().to_vec();
        items.extend_from_slice(b":\r\nversion\r\n:\n \n\r\n");
        if !line.starts_with(b"put") {
            assert_eq!(requests(&items), [expected], "{}", items.escape_ascii());
        }
    }
}

#[test]
fn a_put_is_a_set_of_each_item_and_an_end() {
    let items = [
        set(b"q", NEVER, b"one"),
        set(b"q", NEVER, b" two words:"),
        set(b"q", NEVER, b"\0\xe9\r"),
        set(b"q", NEVER, b"quit"),
        Request::MetaNoop,
        Request::Version,
    ];
    assert_eq!(requests(b"put q:\none\r\n two words:\n\0\xe9\r\r\nquit\n\r\nversion\n"), items);
    assert_eq!(requests(b"put q:\n\nversion\n"), items[4..]);
    // A space before the colon, and a colon in the name.
    assert_eq!(requests(b"put q :\nx\n"), [set(b"q", NEVER, b"x")]);
    assert_eq!(requests(b"put q::\nx\n"), [set(b"q:", NEVER, b"x")]);
    // Without a colon no items follow.
    assert_eq!(requests(b"put q\nversion\n"), items[4..]);
}

#[test]
fn an_item_expires_so_many_milliseconds_from_now() {
    for (word, expiry) in [
        (" 0", NEVER),
        (" -0", NEVER),
        (" 1500", Expiry::AfterMs(1500)),
        (" 5000000000", Expiry::AfterMs(5_000_000_000)),
        (" -1", Expiry::Kestrel(-1)),
        (" -5000000000", Expiry::Kestrel(-1)),
        (" 1500 more words", Expiry::AfterMs(1500)),
    ] {
        let input = std::format!("put q{word}:\nx\n");
        assert_eq!(requests(input.as_bytes()), [set(b"q", expiry, b"x")], "{input}");
    }
}

#[test]
fn what_kestrel_closes_for_is_said_and_closes() {
    for command in ["put", "get", "peek", "monitor", "confirm", "flush", "delete"] {
        for (name, reason) in [
            ("a.b", "'.' in a queue name: 'a.b'"),
            ("a~", "'~' in a queue name: 'a~'"),
            ("q/open", "'/' in a queue name: 'q/open'"),
            ("a\rb", "byte 0x0d in a queue name: 'a\\rb'"),
            ("a\0", "byte 0x00 in a queue name: 'a\\x00'"),
            ("", "empty queue name: ''"),
            ("++", "queue name of only '+': '++'"),
            ("+x", "queue name begins with '+': '+x'"),
        ] {
            // At once, whether items follow or not, and nothing behind it is looked at.
            let line = std::format!("{command} {name} 1:\nitem\n\nversion\n");
            match &all(line.as_bytes())[..] {
                [Event::Fatal(error)] => assert_eq!(error.text(), reason),
                other => panic!("{line:?}: {other:?}"),
            }
        }
    }
    let long = [b"get ", &[b'n'; 251][..], b"\n"].concat();
    let mut codec = TextCodec::new(Limits::default());
    assert!(matches!(
        codec.decode(&mut BytesMut::from(&long[..])),
        Err(Fatal { error: ClientError::BadName(NameError::TooLong, _) })
    ));
    for (line, reason) in [
        ("monitor q x\n", "bad timeout 'x'"),
        ("monitor q 2147483648\n", "bad timeout '2147483648'"),
        ("monitor q  5\n", "bad timeout ''"),
        ("confirm q x\n", "bad count 'x'"),
        ("confirm q 1.5\n", "bad count '1.5'"),
    ] {
        match &all(line.as_bytes())[..] {
            [Event::Fatal(error)] => assert_eq!(error.text(), reason),
            other => panic!("{line:?}: {other:?}"),
        }
    }
}

#[test]
fn looking_and_confirming_go_together() {
    for line in ["get q", "peek q 5"] {
        match &requests(std::format!("{line}\n").as_bytes())[..] {
            [Request::Get { options, .. }] => assert_eq!(options.check(), Ok(())),
            other => panic!("{other:?}"),
        }
    }
}
