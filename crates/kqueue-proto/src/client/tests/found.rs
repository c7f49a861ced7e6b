//! What `browse` shows: every name, and every way not to say it.

use super::*;
use crate::{DeadCause, Found, FoundDead, ItemState, Priority};
use std::boxed::Box;
use std::string::String;
use std::vec;

/// What every item has, behind the fixed words.
const COMMON: &str = "size=9 flags=7 attempts=2 age_ms=1500 priority=high";

fn plain() -> Found {
    Found {
        key: bytes(b"q"),
        id: 17,
        state: ItemState::Ready,
        size: 9,
        flags: 7,
        attempts: 2,
        age_ms: 1500,
        priority: Priority::High,
        ttl_ms: None,
        due_ms: None,
        lease_ms: None,
        dead: None,
        origin: None,
        body: bytes(b"a\r"),
    }
}

fn read(line: &str) -> Result<Reply, ReplyError> {
    let mut input = line.as_bytes().to_vec();
    input.extend_from_slice(b"\r\na\r\r\n");
    let mut events = feed(limits(), [&input[..]]);
    let first = events.remove(0);
    assert!(events.is_empty(), "{line}: {events:?}");
    first
}

fn is_found(line: &str, found: Found) {
    assert_eq!(read(line), Ok(Reply::Found(Box::new(found))), "{line}");
}

fn is_malformed(line: &str) {
    assert!(matches!(read(line), Err(ReplyError::Malformed { .. })), "{line}: {:?}", read(line));
}

#[test]
fn every_name() {
    let line = |state: &str, more: &str| std::format!("FOUND q 17 {state} 2 {COMMON}{more}");
    is_found(&line("ready", ""), plain());
    is_found(&line("ready", " ttl_ms=0"), Found { ttl_ms: Some(0), ..plain() });
    let delayed = Found { state: ItemState::Delayed, due_ms: Some(u64::MAX), ..plain() };
    is_found(&line("delayed", " due_ms=18446744073709551615"), delayed);
    let open = Found { state: ItemState::Open, lease_ms: Some(5), ..plain() };
    is_found(&line("open", " lease_ms=5"), open);
    let mut dead = Found {
        state: ItemState::Dead,
        dead: Some(FoundDead {
            cause: DeadCause::Attempts,
            first_ms: 1,
            last_ms: 2,
            reason: Bytes::new(),
        }),
        origin: Some((bytes(b"a+b=\xff"), 3)),
        ..plain()
    };
    // A queue's name may hold bytes that no text has.
    let mut input = line("dead", " cause=attempts origin=a+b=").into_bytes();
    input.extend_from_slice(b"\xff origin_id=3 first_ms=1 last_ms=2\r\na\r\r\n");
    assert_eq!(feed(limits(), [&input[..]]), [Ok(Reply::Found(Box::new(dead.clone())))]);
    dead.origin = None;
    let of = dead.dead.as_mut().unwrap();
    (of.cause, of.reason) = (DeadCause::Buried, bytes(b"a b%\0\xff\r\n-._~"));
    let more = " cause=buried first_ms=1 last_ms=2 reason=a%20b%25%00%fF%0D%0a-._~";
    is_found(&line("dead", more), dead);
}

#[test]
fn names_come_in_any_order_and_those_of_later_versions_are_passed_over() {
    let line = "FOUND q 17 ready 2 shard= priority=high color=a=%zz age_ms=1500 \
                attempts=2 flags=7 size=9 SIZE=x";
    is_found(line, plain());
    // An origin or a death is what its first name says; without that the others mean nothing.
    is_found(&std::format!("FOUND q 17 ready 2 {COMMON} origin_id=1 first_ms=1 reason=x"), plain());
}

#[test]
fn the_fixed_words_are_exact() {
    for start in [
        "FOUND",
        "FOUND q",
        "FOUND q 17",
        "FOUND q 17 ready",
        "FOUND  17 ready 2",
        "FOUND q x ready 2",
        "FOUND q -1 ready 2",
        "FOUND q 18446744073709551616 ready 2",
        "FOUND q 17 READY 2",
        "FOUND q 17 all 2",
        "FOUND q 17  2",
        "FOUND q 17 ready x",
        "FOUND q 17 ready ",
        "FOUND q 17 ready 2 2",
        "FOUND q 17 ready 2 ",
        "FOUNDED q 17 ready 2",
        "found q 17 ready 2",
    ] {
        is_malformed(start);
        is_malformed(&std::format!("{start} {COMMON}"));
    }
    is_malformed("FOUND q 17 ready 2");
    is_malformed(&std::format!("FOUND q 17 ready 2 {COMMON} "));
    // More of the body than there is.
    is_malformed(&std::format!("FOUND q 17 ready 10 {COMMON}"));
}

#[test]
fn what_every_item_has_must_be_there_once_and_in_range() {
    let names: Vec<&str> = COMMON.split(' ').collect();
    for at in 0..names.len() {
        let mut without = names.clone();
        without.remove(at);
        is_malformed(&std::format!("FOUND q 17 ready 2 {}", without.join(" ")));
        is_malformed(&std::format!("FOUND q 17 ready 2 {COMMON} {}", names[at]));
        let (name, _) = names[at].split_once('=').unwrap();
        for value in ["", "x", "-1", "+1", "18446744073709551616", "High"] {
            let word = std::format!("{name}={value}");
            let mut bad = names.clone();
            bad[at] = &word;
            is_malformed(&std::format!("FOUND q 17 ready 2 {}", bad.join(" ")));
        }
    }
    is_malformed("FOUND q 17 ready 2 size=9 flags=4294967296 attempts=2 age_ms=0 priority=low");
    is_malformed("FOUND q 17 ready 2 size=9 flags=7 attempts=4294967296 age_ms=0 priority=low");
}

#[test]
fn a_known_name_with_a_value_that_is_none_is_malformed() {
    for more in [
        "ttl_ms=",
        "ttl_ms=x",
        "due_ms=-1",
        "lease_ms=1.5",
        "lease_ms=1 lease_ms=1",
        "origin=q",
        "origin= origin_id=1",
        "origin=q origin_id=x",
        "origin_id=",
        "cause=buried",
        "cause=buried first_ms=1",
        "cause=buried last_ms=1",
        "cause= first_ms=1 last_ms=1",
        "cause=expired first_ms=1 last_ms=1",
        "first_ms=x",
        "last_ms=x",
        "reason=%",
        "reason=%2",
        "reason=%2x",
        "reason=%%20",
        "reason=%+1",
        "reason=a+b",
        "reason=a=b",
        "reason=\u{e9}",
        "reason=a reason=a",
        "=1",
        "word",
        " word=1",
    ] {
        is_malformed(&std::format!("FOUND q 17 dead 2 {COMMON} {more}"));
    }
}

#[test]
fn it_is_bounded_like_any_other_reply() {
    let line = std::format!("FOUND q 17 ready 101 size=1000{}\r\n", &COMMON["size=9".len()..]);
    let too_large = ReplyError::BodyTooLarge { bytes: 101, limit: 100 };
    assert_eq!(feed(limits(), [line.as_bytes()]), [Err(too_large)]);
    let mut long = String::from("FOUND q 17 dead 2 reason=");
    long.push_str(&"%00".repeat(3000));
    let events = feed(limits(), [long.as_bytes()]);
    assert!(matches!(events[..], [Err(ReplyError::LineTooLong { .. })]), "{events:?}");
}

/// The longest that a server says fits into what a client takes unless told otherwise.
#[test]
fn the_longest_line_is_within_the_default_limits() {
    let name = Bytes::from(vec![b'q'; crate::NAME_BYTES_MAX]);
    let max = Some(u64::MAX);
    let found = Found {
        key: name.clone(),
        id: u64::MAX,
        state: ItemState::Delayed,
        size: u64::MAX,
        flags: u32::MAX,
        attempts: u32::MAX,
        age_ms: u64::MAX,
        priority: Priority::Normal,
        ttl_ms: max,
        due_ms: max,
        lease_ms: max,
        dead: Some(FoundDead {
            cause: DeadCause::Attempts,
            first_ms: u64::MAX,
            last_ms: u64::MAX,
            reason: Bytes::from(vec![b'%'; crate::REASON_BYTES_MAX as usize]),
        }),
        origin: Some((name, u64::MAX)),
        body: Bytes::new(),
    };
    let mut wire = BytesMut::new();
    crate::Response::Found(Box::new(found.clone())).encode(&mut wire);
    let events = feed(ReplyLimits::default(), [&wire[..]]);
    assert_eq!(events, [Ok(Reply::Found(Box::new(found)))]);
}
