//! Golden transcripts: what a client reads, and in which order.

use super::*;
use std::string::ToString;

fn golden(rows: &[(&str, &str)]) {
    for pace in [Pace::AtOnce, Pace::AtTheEnd] {
        for (sent, read) in rows {
            let sent: Vec<u8> = sent.chars().map(|c| u8::try_from(c).unwrap()).collect();
            assert_eq!(talk(limits(), [&sent[..]], pace), *read, "{}", sent.escape_ascii());
        }
    }
}

#[test]
fn every_command() {
    golden(&[
        ("put q:\none\ntwo\n\n", "+2\n"),
        ("put q 1000:\r\none\r\n\r\n", "+1\n"),
        ("put q:\n\n", "+0\n"),
        ("put q\n", "+0\n"),
        ("put full:\none\ntwo\n\n", "+0\n"),
        ("put full_because:\none\n\n", "+0\n"),
        ("put q:\none\n123456789012345678901\ntwo\n\n", "+2\n"),
        ("get q\n", ":an\u{e9} item\n"),
        ("get none 100\n", "*\n"),
        ("peek q\n", ":an\u{e9} item\n"),
        ("peek none\n", "*\n"),
        ("monitor q 1000\n", ":one\n:\n*\n"),
        ("monitor none 0\n", "*\n"),
        ("confirm q 2\n", "+2\n"),
        ("confirm error 2\n", "-Not that many transactions open.\n"),
        ("flush q\n", "+0\n"),
        ("delete q\n", "+0\n"),
        ("status\n", ":READONLY\n"),
        ("status up\n", "+0\n"),
        ("status nonsense\n", "-Unknown status.\n"),
        ("status down\n", "-Status forbidden.\n"),
        ("version\n", ":1.2.3\n"),
        ("shutdown\n", "+0\n"),
        ("version\nquit\nversion\n", ":1.2.3\n<closed>"),
    ]);
}

#[test]
fn errors_that_leave_the_connection_open() {
    let unavailable = |operation: &str| {
        std::format!("-Server not available for operation {operation}: read?only\n:1.2.3\n")
    };
    golden(&[
        ("stats\nversion\n", "-Unknown command: stats\n:1.2.3\n"),
        ("FLUSH_ALL now\nversion\n", "-Unknown command: flush_all\n:1.2.3\n"),
        ("\nversion\n", "-Unknown command: \n:1.2.3\n"),
        ("\r\nversion\n", "-Unknown command: \n:1.2.3\n"),
        ("   \nversion\n", "-Unknown command: \n:1.2.3\n"),
        (":\nversion\n\nversion\n", "-Unknown command: \n:1.2.3\n"),
        ("versio\u{e9}\0\r\r\nversion\n", "-Unknown command: versio\\xe9\\x00\\r\n:1.2.3\n"),
        ("puts q:\nversion\n\nversion\n", "-Unknown command: puts\n:1.2.3\n"),
        ("put\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("put:\nversion\n\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("put q x:\nversion\n\nversion\n", "-Error parsing expiration time.\n:1.2.3\n"),
        ("put q 1s\nversion\n", "-Error parsing expiration time.\n:1.2.3\n"),
        ("put q -:\n\nversion\n", "-Error parsing expiration time.\n:1.2.3\n"),
        ("put q +1:\n\nversion\n", "-Error parsing expiration time.\n:1.2.3\n"),
        ("get\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("get  \nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("get q x\nversion\n", "-Error parsing timeout.\n:1.2.3\n"),
        ("get q  5\nversion\n", "-Error parsing timeout.\n:1.2.3\n"),
        ("peek\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("peek q 2147483648\nversion\n", "-Error parsing timeout.\n:1.2.3\n"),
        ("monitor\nversion\n", "-Queue name & timeout required.\n:1.2.3\n"),
        ("monitor q\nversion\n", "-Queue name & timeout required.\n:1.2.3\n"),
        ("confirm\nversion\n", "-Queue name & count required.\n:1.2.3\n"),
        ("confirm q\nversion\n", "-Queue name & count required.\n:1.2.3\n"),
        ("flush\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("delete\nversion\n", "-Queue name required.\n:1.2.3\n"),
        ("get error\nversion\n", "-too many open reads\n:1.2.3\n"),
        ("status late\nversion\n", "-shutting down\n:1.2.3\n"),
        ("put down:\na\nb\n\nversion\n", &unavailable("setItem")),
        ("get down\nversion\n", &unavailable("getItem")),
        ("peek down\nversion\n", &unavailable("getItem")),
        ("monitor down 5\nversion\n", &unavailable("monitorUntil")),
        ("flush down\nversion\n", &unavailable("flush")),
        ("delete down\nversion\n", &unavailable("delete")),
    ]);
}

#[test]
fn errors_that_close_are_said_behind_what_was_asked_before() {
    golden(&[
        ("version\nget a.b\nversion\n", ":1.2.3\n-'.' in a queue name: 'a.b'\n<closed>"),
        ("put q:\nx\n\nmonitor q x\n", "+1\n-bad timeout 'x'\n<closed>"),
        // A browser that a web page sends here.
        (
            "POST / HTTP/1.1\r\nhost: x\r\n\r\ndelete q\nshutdown\n",
            "-unknown command 'POST'\n<closed>",
        ),
        ("monitor q 5\nconfirm q x\n", ":one\n:\n*\n-bad count 'x'\n<closed>"),
    ]);
}

#[test]
fn an_item_that_is_accepted_counts_more_than_one_that_is_refused() {
    golden(&[
        ("put half:\nbad\ngood\nbad\n\n", "+1\n"),
        ("put half:\nbad\nbad\n\n", "-Server not available for operation setItem: read?only\n"),
        // And one put knows nothing of the other.
        (
            "put down:\na\n\nput full:\na\n\nput q:\na\n\nput q\n",
            "-Server not available for operation setItem: read?only\n+0\n+1\n+0\n",
        ),
    ]);
}

#[test]
fn every_command_in_one_pipeline_keeps_its_place() {
    let sent = b"version\nput q:\na\nb\n\nnonsense\nmonitor q 5\nput q\nget q\nget\npeek none\n\
        confirm q 1\nput down:\nx\n\nconfirm error 9\nflush q\nstatus down\ndelete q\nstatus\n\
        put q x:\na\n\nput q:\n\nstatus up\nget none\nshutdown\nversion\nquit\nversion\n";
    let read = ":1.2.3\n+2\n-Unknown command: nonsense\n:one\n:\n*\n+0\n:an\u{e9} item\n\
        -Queue name required.\n*\n+1\n-Server not available for operation setItem: read?only\n\
        -Not that many transactions open.\n+0\n-Status forbidden.\n+0\n:READONLY\n\
        -Error parsing expiration time.\n+0\n+0\n*\n+0\n:1.2.3\n<closed>";
    for pace in [Pace::AtOnce, Pace::AtTheEnd] {
        assert_eq!(talk(limits(), [&sent[..]], pace), read);
        assert_eq!(talk(limits(), sent.chunks(1), pace), read);
    }
}

#[test]
fn the_sum_of_a_put_leaves_behind_the_last_reply_and_not_before_the_empty_line() {
    let mut codec = TextCodec::new(limits());
    let mut input = BytesMut::from(&b"put q:\na\nb\n"[..]);
    assert_eq!(decode_all(&mut codec, &mut input).len(), 2);
    assert!(input.is_empty() && codec.is_mid_request(&input));
    let mut out = BytesMut::new();
    encode(&mut codec, &Response::Stored, &mut out);
    encode(&mut codec, &Response::NotStored, &mut out);
    assert!(out.is_empty());
    input.extend_from_slice(b"c\n\n");
    assert_eq!(decode_all(&mut codec, &mut input).len(), 2);
    assert!(!codec.is_mid_request(&input));
    encode(&mut codec, &Response::Stored, &mut out);
    assert!(out.is_empty());
    encode(&mut codec, &Response::MetaNoop, &mut out);
    assert_eq!(show(&out), "+2\n");
}

#[test]
fn of_several_reasons_why_nothing_was_accepted_the_first_is_told() {
    let mut codec = TextCodec::new(limits());
    decode_all(&mut codec, &mut BytesMut::from(&b"put q:\na\nb\n\n"[..]));
    let mut out = BytesMut::new();
    for reason in ["first", "last"] {
        encode(&mut codec, &Response::ServerError(reason.into()), &mut out);
    }
    encode(&mut codec, &Response::MetaNoop, &mut out);
    assert_eq!(show(&out), "-Server not available for operation setItem: first\n");
}

#[test]
fn what_nobody_asked_for_is_why_the_connection_ends() {
    for (begun, answered) in [(&b""[..], 0), (b"put q:\na\n", 1), (b"put q:\na\nb", 1)] {
        for response in [
            Response::ServerError("too many\r\nconnections".into()),
            Response::ClientError("too many\r\nconnections".into()),
            Response::Error("too many\r\nconnections".into()),
        ] {
            let mut codec = TextCodec::new(limits());
            assert_eq!(decode_all(&mut codec, &mut BytesMut::from(begun)).len(), answered);
            let mut out = BytesMut::new();
            (0..answered).for_each(|_| encode(&mut codec, &Response::Stored, &mut out));
            encode(&mut codec, &response, &mut out);
            assert_eq!(out.escape_ascii().to_string(), "-too many??connections\\n");
        }
        let mut out = BytesMut::new();
        encode(&mut TextCodec::new(limits()), &Response::Nothing, &mut out);
        assert!(out.is_empty());
    }
}

#[test]
fn an_item_is_passed_on_without_a_copy() {
    let mut codec = TextCodec::new(limits());
    decode_all(&mut codec, &mut BytesMut::from(&b"get q\nmonitor q 1\n"[..]));
    let body = Bytes::from(vec![b'x'; 100_000]);
    let response = Response::ValueEnd { key: bytes(b"q"), flags: 0, body, cas: None };
    for _ in 0..3 {
        let mut head = BytesMut::new();
        let encoded = codec.encode(&response, &mut head);
        assert_eq!((&head[..], encoded.tail), (&b":"[..], &b"\n"[..]));
        assert!(std::ptr::eq(encoded.body.unwrap(), response.body().unwrap()));
    }
}

#[test]
fn no_error_closes() {
    assert!(!TextCodec::new(limits()).closes_on_error());
}
