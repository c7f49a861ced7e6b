//! Strictness of the reply decoder.

use super::*;
use crate::Cursor;
use std::string::{String, ToString};

fn one(input: &[u8]) -> Result<Reply, ReplyError> {
    let mut events = feed(limits(), [input]);
    assert_eq!(events.len(), 1, "{}: {events:?}", input.escape_ascii());
    events.remove(0)
}

fn capabilities(line: &[u8]) -> Reply {
    Reply::Capabilities(Capabilities::new(bytes(line)))
}

#[test]
fn every_reply() {
    let text = String::from;
    for (input, expected) in [
        (&b"STORED\r\n"[..], Reply::Stored(None)),
        (b"STORED 18446744073709551615\r\n", Reply::Stored(Some(u64::MAX))),
        (b"NOT_STORED\r\n", Reply::NotStored(None)),
        (b"NOT_STORED queue full\r\n", Reply::NotStored(Some(text("queue full")))),
        (b"VALUE q 7 3\r\na\r\n\r\n", value(b"q", 7, b"a\r\n")),
        (b"VALUE q 4294967295 0\r\n\r\n", value(b"q", u32::MAX, b"")),
        (
            b"ITEM q+a 9 7 2 1500 3\r\nabc\r\n",
            Reply::Item {
                key: bytes(b"q+a"),
                id: 9,
                flags: 7,
                attempts: 2,
                age_ms: 1500,
                body: bytes(b"abc"),
            },
        ),
        (b"END\r\n", Reply::End),
        (b"END 1.18446744073709551615\r\n", Reply::EndWithCursor(Cursor(1, u64::MAX))),
        (b"DELETED\r\n", Reply::Deleted),
        (b"Flushed all queues.\r\n", Reply::Flushed),
        (b"STAT a 1\r\n", Reply::Stat { name: bytes(b"a"), value: bytes(b"1") }),
        (b"STAT a b c\r\n", Reply::Stat { name: bytes(b"a"), value: bytes(b"b c") }),
        (b"STAT a \r\n", Reply::Stat { name: bytes(b"a"), value: Bytes::new() }),
        (b"queue 'q'+'' {\r\n", Reply::QueueBegin(bytes(b"q'+'"))),
        (b"  items=1\r\n", figure(b"items", b"1")),
        (b"  children=a=b,c\r\n", figure(b"children", b"a=b,c")),
        (b"  children=\r\n", figure(b"children", b"")),
        (b"}\r\n", Reply::QueueEnd),
        (b"  \r\n", Reply::Blank),
        (b"\r\n", Reply::Blank),
        (b"VERSION 2.4.8-SNAPSHOT\r\n", Reply::Version(bytes(b"2.4.8-SNAPSHOT"))),
        (b"CAPABILITIES kqueue/1 put ack\r\n", capabilities(b"kqueue/1 put ack")),
        (b"OK\r\n", Reply::Ok),
        (b"OK 0\r\n", Reply::OkCount(0)),
        (b"OK 18446744073709551615\r\n", Reply::OkCount(u64::MAX)),
        (b"NOT_HELD\r\n", Reply::NotHeld),
        (b"NOT_FOUND\r\n", Reply::NotFound),
        (b"CLIENT_ERROR\r\n", Reply::ClientError(text(""))),
        (b"CLIENT_ERROR bad data\r\n", Reply::ClientError(text("bad data"))),
        (b"ERROR\r\n", Reply::Error(text(""))),
        (b"ERROR \xff\x1b[0m\r\n", Reply::Error(text("\u{fffd}\u{fffd}[0m"))),
        (b"SERVER_ERROR disk full\r\n", Reply::ServerError(text("disk full"))),
    ] {
        assert_eq!(one(input), Ok(expected), "{}", input.escape_ascii());
    }
}

fn figure(name: &[u8], value: &[u8]) -> Reply {
    Reply::Figure { name: bytes(name), value: bytes(value) }
}

fn value(key: &[u8], flags: u32, body: &[u8]) -> Reply {
    Reply::Value { key: bytes(key), flags, body: bytes(body) }
}

#[test]
fn whatever_is_not_exactly_a_reply_is_malformed() {
    for input in [
        &b"\n"[..],
        b"   \r\n",
        b" items=1\r\n",
        b"  =1\r\n",
        b"  items\r\n",
        b"queue q {\r\n",
        b"queue '' {\r\n",
        b"queue 'q'\r\n",
        b"} \r\n",
        b"STORED\n",
        b"STORED\r\r\n",
        b"ST\rORED\r\n",
        b" STORED\r\n",
        b"STORED \r\n",
        b"stored\r\n",
        b"STORED x\r\n",
        b"STORED -1\r\n",
        b"STORED 1 2\r\n",
        b"STORED 18446744073709551616\r\n",
        b"STOREDX\r\n",
        b"END \r\n",
        b"END x\r\n",
        b"DELETED x\r\n",
        b"END 1\r\n",
        b"END 1.\r\n",
        b"END .1\r\n",
        b"END 1.2.3\r\n",
        b"END 1.2 \r\n",
        b"END 1.18446744073709551616\r\n",
        b"OK \r\n",
        b"OK x\r\n",
        b"OK -1\r\n",
        b"OK 1 2\r\n",
        b"OK 18446744073709551616\r\n",
        b"NOT_HELD x\r\n",
        b"NOT_FOUND \r\n",
        b"NOT_FOUND 1\r\n",
        b"NOT_FOUNDED\r\n",
        b"Flushed\r\n",
        b"Flushed all queues\r\n",
        b"VALUE\r\n",
        b"VALUE q\r\n",
        b"VALUE q 0\r\n",
        b"VALUE  0 1\r\n",
        b"VALUE q 0 \r\n",
        b"VALUE q 0 -1\r\n",
        b"VALUE q 0 +1\r\n",
        b"VALUE q 0 0x1\r\n",
        b"VALUE q -1 1\r\n",
        b"VALUE q 4294967296 1\r\n",
        b"VALUE q 0 1 5\r\n",
        b"VALUE q  0 1\r\n",
        b"VALUE q 0 18446744073709551616\r\n",
        b"ITEM q 1 0 1 0\r\n",
        b"ITEM q 1 0 1 0 1 1\r\n",
        b"ITEM q x 0 1 0 1\r\n",
        b"ITEM q 1 0 4294967296 0 1\r\n",
        b"ITEM  1 0 1 0 1\r\n",
        b"STAT\r\n",
        b"STAT a\r\n",
        b"STAT  a\r\n",
        b"VERSION\r\n",
        b"CAPABILITIES\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"-ERR unknown\r\n",
    ] {
        let line = input.escape_ascii().to_string();
        match one(input) {
            Err(ReplyError::Malformed { excerpt }) => {
                let shown = excerpt.trim_end_matches("...");
                assert!(line.starts_with(shown), "{line}: '{excerpt}'");
                assert!(excerpt.is_ascii() && excerpt.len() <= 200);
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_body_must_be_followed_by_crlf() {
    for input in [
        &b"VALUE q 0 1\r\nxy"[..],
        b"VALUE q 0 1\r\nx\n",
        b"VALUE q 0 1\r\nx\ry",
        b"VALUE q 0 0\r\nEND\r\n",
        b"ITEM q 1 0 1 0 3\r\nab\r\nEND\r\n",
        b"FOUND q 1 ready 3 size=3 flags=0 attempts=0 age_ms=0 priority=low\r\nab\r\nEND\r\n",
        b"FOUND q 1 ready 0 size=3 flags=0 attempts=0 age_ms=0 priority=low\r\nEND\r\n",
    ] {
        assert!(
            matches!(one(input), Err(ReplyError::Malformed { .. })),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn the_announced_length_is_bounded_before_a_byte_of_it_arrives() {
    assert_eq!(feed(limits(), [&b"VALUE q 0 100\r\n"[..]]), []);
    assert_eq!(one(b"VALUE q 0 101\r\n"), Err(ReplyError::BodyTooLarge { bytes: 101, limit: 100 }));
    assert_eq!(
        one(b"ITEM q 1 0 1 0 18446744073709551615\r\n"),
        Err(ReplyError::BodyTooLarge { bytes: u64::MAX, limit: 100 })
    );
    // Without a limit the arithmetic must hold all the same.
    let all = ReplyLimits { line_bytes: usize::MAX, body_bytes: usize::MAX };
    let mut decoder = ReplyDecoder::new(all);
    let mut buf = BytesMut::from(&b"VALUE q 0 18446744073709551615\r\nabc"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert_eq!(decoder.missing_bytes(&buf), usize::MAX - 3);
}

#[test]
fn a_line_may_be_8192_bytes_long_and_not_one_more() {
    let line = |bytes: usize| {
        let mut line = b"VERSION ".to_vec();
        line.resize(bytes, b'v');
        line.extend_from_slice(b"\r\n");
        line
    };
    assert_eq!(one(&line(8192)), Ok(Reply::Version(bytes(&line(8192)[8..8192]))));
    let error =
        ReplyError::LineTooLong { excerpt: "VERSION ".to_string() + &"v".repeat(32) + "..." };
    assert_eq!(one(&line(8193)), Err(error.clone()));
    assert_eq!(one(&line(8193)[..8193]), Err(error));
    assert_eq!(feed(limits(), [&line(8193)[..8192]]), []);
}

#[test]
fn after_an_error_there_is_only_that_error() {
    let mut decoder = ReplyDecoder::new(limits());
    let mut buf = BytesMut::from(&b"what?\r\nEND\r\n"[..]);
    let error = decoder.decode(&mut buf).unwrap_err();
    assert!(buf.is_empty() && !decoder.is_at_boundary(&buf));
    buf.extend_from_slice(b"END\r\n");
    assert_eq!(decoder.decode(&mut buf), Err(error.clone()));
    assert_eq!(error.to_string(), "unexpected reply 'what?'");
}

#[test]
fn the_boundary_is_where_nothing_is_begun_and_nothing_is_left() {
    let mut decoder = ReplyDecoder::new(limits());
    let mut buf = BytesMut::new();
    assert!(decoder.is_at_boundary(&buf));
    for (piece, reply, at_boundary, missing) in [
        (&b"STO"[..], None, false, 1),
        (b"RED\r\n", Some(Reply::Stored(None)), true, 1),
        (b"VALUE q 0 5\r\n", None, false, 7),
        (b"he", None, false, 5),
        (b"llo\r", None, false, 1),
        (b"\nE", Some(value(b"q", 0, b"hello")), false, 1),
        (b"ND\r\n", Some(Reply::End), true, 1),
        (b"END\r\nEND\r\n", Some(Reply::End), false, 1),
    ] {
        buf.extend_from_slice(piece);
        assert_eq!(decoder.decode(&mut buf), Ok(reply));
        assert_eq!(decoder.is_at_boundary(&buf), at_boundary, "{}", piece.escape_ascii());
        assert_eq!(decoder.missing_bytes(&buf), missing, "{}", piece.escape_ascii());
    }
}

#[test]
fn no_byte_of_a_line_is_looked_at_twice() {
    let mut decoder = ReplyDecoder::new(limits());
    let mut buf = BytesMut::from(&b"STORED"[..]);
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf[3] = b'\n';
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    buf[3] = b'R';
    buf.extend_from_slice(b"\r\n");
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Reply::Stored(None))));
}

#[test]
fn capabilities_are_words() {
    let capabilities = Capabilities::new(bytes(b"kqueue/0.1.0 put reserve"));
    assert_eq!(capabilities.server(), b"kqueue/0.1.0");
    assert!(capabilities.has("put") && capabilities.has("reserve"));
    assert!(
        !capabilities.has("pu") && !capabilities.has("ack") && !capabilities.has("kqueue/0.1.0")
    );
    let none = Capabilities::default();
    assert_eq!(none.server(), b"");
    assert!(!none.has("") && !none.has("put"));
}
