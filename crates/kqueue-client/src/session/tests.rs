//! Every kind of answer, at every split, and what makes a session dirty for ever.

use super::*;

fn session(expect: &[Expect]) -> Session {
    let mut session = Session::new(1024);
    for answer in expect {
        session.expect(answer.clone());
    }
    session
}

fn value(queue: &'static str) -> Expect {
    Expect::Value { queue: Bytes::from_static(queue.as_bytes()) }
}

fn items(max: u32) -> Expect {
    Expect::Items { max, queues: vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")] }
}

fn item(
    queue: &'static str,
    id: Option<u64>,
    attempts: u32,
    age_ms: u64,
    body: &'static str,
) -> Item {
    Item { queue: queue.into(), id, attempts, age_ms, body: body.into() }
}

#[test]
fn every_answer_at_every_split() {
    let cases: Vec<(Expect, &str, Answer)> = vec![
        (Expect::Stored, "STORED\r\n", Answer::Stored(None)),
        (Expect::Stored, "STORED 17\r\n", Answer::Stored(Some(17))),
        (Expect::Stored, "NOT_STORED queue full\r\n", Answer::NotStored("queue full".into())),
        (Expect::Stored, "NOT_STORED\r\n", Answer::NotStored(String::new())),
        (value("q"), "END\r\n", Answer::Items(vec![])),
        (
            value("q"),
            "VALUE q 0 3\r\nx\r\n\r\nEND\r\n",
            Answer::Items(vec![item("q", None, 1, 0, "x\r\n")]),
        ),
        (items(2), "END\r\n", Answer::Items(vec![])),
        (
            items(2),
            "ITEM b 9 0 2 50 1\r\ny\r\nITEM a 3 7 1 0 0\r\n\r\nEND\r\n",
            Answer::Items(vec![item("b", Some(9), 2, 50, "y"), item("a", Some(3), 1, 0, "")]),
        ),
        (Expect::Done, "END\r\n", Answer::Done),
        (Expect::Settled, "OK\r\n", Answer::Done),
        (Expect::Done, "DELETED\r\n", Answer::Done),
        (Expect::Settled, "NOT_HELD\r\n", Answer::NotHeld),
        (Expect::Settled, "SERVER_ERROR full\r\n", Answer::Unable("full".into())),
        (
            Expect::Stats,
            "STAT uptime 5\r\nSTAT v a b\r\nEND\r\n",
            Answer::Stats(vec![("uptime".into(), "5".into()), ("v".into(), "a b".into())]),
        ),
        (Expect::Version, "VERSION 1.0\r\n", Answer::Version),
    ];
    for (expect, wire, answer) in cases {
        for split in 0..=wire.len() {
            let mut session = session(std::slice::from_ref(&expect));
            assert!(!session.is_clean());
            session.feed(&wire.as_bytes()[..split]);
            let mut got = session.poll().unwrap();
            assert_eq!(got.is_some(), split == wire.len(), "{wire:?} at {split}");
            if got.is_none() {
                assert!(!session.is_clean(), "{wire:?} at {split}");
                session.feed(&wire.as_bytes()[split..]);
                got = session.poll().unwrap();
            }
            assert_eq!(got.as_ref(), Some(&answer));
            assert!(session.is_clean());
        }
    }
}

#[test]
fn answers_come_in_request_order() {
    let mut session = session(&[Expect::Stored, Expect::Stored, value("q")]);
    session.feed(b"STORED 1\r\nSTORED 2\r\nEND\r\n");
    assert_eq!(session.poll(), Ok(Some(Answer::Stored(Some(1)))));
    assert_eq!(session.due(), 2);
    assert_eq!(session.poll(), Ok(Some(Answer::Stored(Some(2)))));
    assert!(!session.is_clean());
    assert_eq!(session.poll(), Ok(Some(Answer::Items(vec![]))));
    assert!(session.is_clean());
}

#[test]
fn a_refusal_is_an_answer_but_spoils_the_connection() {
    for (wire, by_server, text) in [
        ("SERVER_ERROR read-only\r\n", true, "read-only"),
        ("CLIENT_ERROR no\r\n", false, "no"),
        ("ERROR\r\n", false, "CLIENT_ERROR"),
    ] {
        let mut session = session(&[Expect::Stored]);
        session.feed(wire.as_bytes());
        assert_eq!(session.poll(), Ok(Some(Answer::Refused { by_server, text: text.into() })));
        assert!(!session.is_clean());
    }
}

#[test]
fn what_was_not_asked_for_is_an_error_for_ever() {
    for (expect, wire) in [
        (Expect::Stored, "END\r\n"),
        (Expect::Stored, "gibberish\r\n"),
        (value("q"), "VALUE other 0 1\r\nx\r\nEND\r\n"),
        (value("q"), "VALUE q 0 1\r\nx\r\nVALUE q 0 1\r\nx\r\nEND\r\n"),
        (value("q"), "VALUE q 0 -1\r\nx\r\nEND\r\n"),
        (value("q"), "VALUE q 1\r\nx\r\nEND\r\n"),
        (value("q"), "VALUE q 0 9999999999\r\n"),
        (value("q"), "VALUE q 0 1\r\nxENDEND\r\n"),
        (value("q"), "VALUE q 0 1\r\nx\r\nSERVER_ERROR late\r\n"),
        (items(1), "ITEM c 1 0 1 0 1\r\nx\r\nEND\r\n"),
        (items(1), "ITEM a 1 0 1 0 1\r\nx\r\nITEM a 2 0 1 0 1\r\nx\r\nEND\r\n"),
        (Expect::Done, "STORED\r\n"),
        (Expect::Version, "STAT a b\r\n"),
    ] {
        let mut session = session(std::slice::from_ref(&expect));
        session.feed(wire.as_bytes());
        session.poll().expect_err(wire);
        assert!(!session.is_clean(), "{wire:?}");
    }
}

#[test]
fn extra_bytes_after_the_answer_make_it_dirty() {
    let mut session = session(&[Expect::Stored]);
    session.feed(b"STORED\r\nS");
    assert_eq!(session.poll(), Ok(Some(Answer::Stored(None))));
    assert!(!session.is_clean());
    assert!(session.poll().is_err());
}

#[test]
fn endless_lines_and_stats_are_cut() {
    let mut endless_line = session(&[Expect::Stored]);
    endless_line.feed(&[b'x'; 10_000]);
    assert!(endless_line.poll().is_err());
    let mut endless_stats = session(&[Expect::Stats]);
    let mut fed = 0_u32;
    let failed = loop {
        endless_stats.feed(b"STAT name value\r\n");
        match endless_stats.poll() {
            Ok(None) if fed < 100_000 => fed += 1,
            other => break other,
        }
    };
    assert_eq!(failed, Err("endless stats".into()));
}

#[test]
fn names_in_messages_are_escaped_and_short() {
    assert_eq!(shown(b"a\nb"), "\"a\\nb\"");
    assert!(shown(&[b'x'; 9999]).len() < 300);
}
