//! Golden bytes of every reply.

use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn bytes(response: &Response) -> Vec<u8> {
    let mut out = BytesMut::new();
    response.encode(&mut out);
    out.to_vec()
}

fn body(text: &'static [u8]) -> Bytes {
    Bytes::from_static(text)
}

#[test]
fn golden_bytes_of_every_reply() {
    let value =
        |cas| Response::ValueEnd { key: body(b"jobs"), flags: 7, body: body(b"ab\r\nc"), cas };
    let item = Response::Item {
        key: body(b"jobs+audit"),
        id: u64::MAX,
        flags: u32::MAX,
        attempts: 2,
        age_ms: 1500,
        body: body(b""),
    };
    let golden: [(Response, &[u8]); 29] = [
        (Response::Stored, b"STORED\r\n"),
        (Response::StoredId(0), b"STORED 0\r\n"),
        (Response::StoredId(12345), b"STORED 12345\r\n"),
        (Response::NotStored, b"NOT_STORED\r\n"),
        (Response::NotStoredBecause("queue full".into()), b"NOT_STORED queue full\r\n"),
        (value(None), b"VALUE jobs 7 5\r\nab\r\nc\r\nEND\r\n"),
        (value(Some(9)), b"VALUE jobs 7 5 9\r\nab\r\nc\r\nEND\r\n"),
        (item, b"ITEM jobs+audit 18446744073709551615 4294967295 2 1500 0\r\n\r\n"),
        (Response::End, b"END\r\n"),
        (Response::EndWithCursor(Cursor(0, 0)), b"END 0.0\r\n"),
        (Response::EndWithCursor(Cursor(2, u64::MAX)), b"END 2.18446744073709551615\r\n"),
        (Response::Deleted, b"DELETED\r\n"),
        (Response::Flushed, b"Flushed all queues.\r\n"),
        (StatsWriter::new().finish(), b""),
        (Response::Version("0.1.0"), b"VERSION 0.1.0\r\n"),
        (
            Response::Capabilities("0.1.0"),
            b"CAPABILITIES kqueue/0.1.0 put reserve ack release touch bury browse kick purge pause \
              resume delay priority key\r\n",
        ),
        (Response::Ok, b"OK\r\n"),
        (Response::OkCount(0), b"OK 0\r\n"),
        (Response::OkCount(u64::MAX), b"OK 18446744073709551615\r\n"),
        (Response::NotHeld, b"NOT_HELD\r\n"),
        (Response::NotFound, b"NOT_FOUND\r\n"),
        (Response::ClientError("".into()), b"CLIENT_ERROR\r\n"),
        (Response::ClientError("bad data chunk".into()), b"CLIENT_ERROR bad data chunk\r\n"),
        (Response::Error("".into()), b"ERROR\r\n"),
        (Response::Error("too many open reads".into()), b"ERROR too many open reads\r\n"),
        (Response::ServerError("".into()), b"SERVER_ERROR\r\n"),
        (Response::ServerError("disk full".into()), b"SERVER_ERROR disk full\r\n"),
        ((&ClientError::EmptyKey).into(), b"CLIENT_ERROR empty queue name\r\n"),
        ((&Fatal::from(ClientError::BadDataChunk)).into(), b"CLIENT_ERROR bad data chunk\r\n"),
    ];
    for (response, expected) in golden {
        assert_eq!(
            bytes(&response).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}

fn plain() -> Found {
    Found {
        key: body(b"jobs"),
        id: 17,
        state: ItemState::Ready,
        size: 12345,
        flags: 7,
        attempts: 2,
        age_ms: 1500,
        priority: Priority::Normal,
        ttl_ms: None,
        due_ms: None,
        lease_ms: None,
        dead: None,
        origin: None,
        body: body(b"ab\r\nc"),
    }
}

fn found(found: Found) -> String {
    bytes(&Response::Found(found.into())).escape_ascii().to_string()
}

/// The names are in the order of the specification's table.
#[test]
fn golden_bytes_of_what_browse_shows() {
    let common = "size=12345 flags=7 attempts=2 age_ms=1500 priority=normal";
    let end = r"\r\nab\r\nc\r\n";
    let line =
        |state: &str, more: &str| std::format!("FOUND jobs 17 {state} 5 {common}{more}{end}");
    assert_eq!(found(plain()), line("ready", ""));
    assert_eq!(found(Found { ttl_ms: Some(0), ..plain() }), line("ready", " ttl_ms=0"));
    let delayed = Found { state: ItemState::Delayed, due_ms: Some(9), ..plain() };
    assert_eq!(found(delayed), line("delayed", " due_ms=9"));
    let open = Found { state: ItemState::Open, lease_ms: Some(9), ..plain() };
    assert_eq!(found(open), line("open", " lease_ms=9"));
    let origin = Some((body(b"jobs+a=\xe9"), 3));
    assert_eq!(
        found(Found { origin: origin.clone(), ..plain() }),
        line("ready", r" origin=jobs+a=\xe9 origin_id=3")
    );
    let dead = |cause, reason| {
        Some(FoundDead { cause, first_ms: 1_700_000_000_000, last_ms: u64::MAX, reason })
    };
    let attempts = dead(DeadCause::Attempts, Bytes::new());
    assert_eq!(
        found(Found { state: ItemState::Dead, dead: attempts, ..plain() }),
        line("dead", " cause=attempts first_ms=1700000000000 last_ms=18446744073709551615")
    );
    let all = Found {
        key: body(b"q"),
        id: u64::MAX,
        state: ItemState::Dead,
        size: u64::MAX,
        flags: u32::MAX,
        attempts: u32::MAX,
        age_ms: u64::MAX,
        priority: Priority::High,
        ttl_ms: Some(1),
        due_ms: Some(2),
        lease_ms: Some(3),
        dead: dead(DeadCause::Buried, body(b"no such file")),
        origin,
        body: Bytes::new(),
    };
    assert_eq!(
        found(all),
        "FOUND q 18446744073709551615 dead 0 size=18446744073709551615 flags=4294967295 \
         attempts=4294967295 age_ms=18446744073709551615 priority=high ttl_ms=1 due_ms=2 \
         lease_ms=3 cause=buried origin=jobs+a=\\xe9 origin_id=3 first_ms=1700000000000 \
         last_ms=18446744073709551615 reason=no%20such%20file\\r\\n\\r\\n"
    );
    assert!(found(Found { priority: Priority::Low, ..plain() }).contains(" priority=low\\r"));
}

/// Every byte but letters, digits and `-._~`.
#[test]
fn a_reason_is_one_word_whatever_was_said() {
    let every: Vec<u8> = (0..=255).collect();
    let mut escaped = String::new();
    for byte in 0..=255u8 {
        match char::from(byte) {
            plain @ ('a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~') => {
                escaped.push(plain);
            }
            _ => escaped.push_str(&std::format!("%{byte:02X}")),
        }
    }
    let reason =
        FoundDead { cause: DeadCause::Buried, first_ms: 0, last_ms: 0, reason: every.into() };
    let line = found(Found { dead: Some(reason), ..plain() });
    assert!(line.contains(&std::format!(r" reason={escaped}\r\n")), "{line}");
}

#[test]
fn head_body_and_tail_are_the_encoding_and_the_body_is_not_copied() {
    let shared = Bytes::from(std::vec![b'x'; 1000]);
    let stats = || {
        let mut stats = StatsWriter::new();
        stats.stat("uptime", 1);
        stats.finish()
    };
    for response in [
        Response::ValueEnd { key: body(b"q"), flags: 0, body: shared.clone(), cas: None },
        Response::Item {
            key: body(b"q"),
            id: 1,
            flags: 0,
            attempts: 1,
            age_ms: 0,
            body: shared.clone(),
        },
        Response::Found(Found { body: shared.clone(), ..plain() }.into()),
        stats(),
        Response::End,
    ] {
        let mut parts = BytesMut::new();
        response.head(&mut parts);
        if let Some(body) = response.body() {
            assert!(!parts.ends_with(body));
            parts.extend_from_slice(body);
        }
        parts.extend_from_slice(response.tail());
        assert_eq!(parts.to_vec(), bytes(&response));
    }
    let value = Response::ValueEnd { key: body(b"q"), flags: 0, body: shared.clone(), cas: None };
    assert_eq!(value.body().unwrap().as_ptr(), shared.as_ptr());
    let shown = Response::Found(Found { body: shared.clone(), ..plain() }.into());
    assert_eq!(shown.body().unwrap().as_ptr(), shared.as_ptr());
}

#[test]
fn stats_are_lines() {
    let mut stats = StatsWriter::new();
    stats.stat("version", "0.1.0");
    stats.stat("uptime", 42u64);
    stats.stat("reserved_memory_ratio", format_args!("{:.3}", 0.25));
    stats.queue_stat(b"a+\xe9", "items", 3);
    assert_eq!(
        bytes(&stats.finish()),
        b"STAT version 0.1.0\r\nSTAT uptime 42\r\nSTAT reserved_memory_ratio 0.250\r\n\
          STAT queue_a+\xe9_items 3\r\n"
    );
}

#[test]
fn no_text_can_break_a_reply() {
    let evil = "a\r\nSTORED\0\x7f\tb";
    let expected = b"SERVER_ERROR a??STORED???b\r\n";
    assert_eq!(bytes(&Response::ServerError(evil.into())), expected);
    let mut stats = StatsWriter::new();
    stats.stat("x", evil);
    assert_eq!(bytes(&stats.finish()), b"STAT x a??STORED???b\r\n");
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let long: String = "é".repeat(600);
    let reply = bytes(&Response::Error(long.into()));
    let text = String::from_utf8(reply).unwrap();
    assert_eq!(text, std::format!("ERROR {}\r\n", "é".repeat(512)));
    let odd: String = std::format!("x{}", "é".repeat(600));
    let text = String::from_utf8(bytes(&Response::Error(odd.into()))).unwrap();
    assert_eq!(text, std::format!("ERROR x{}\r\n", "é".repeat(511)));
}
