//! A peer that is not the server one hoped for: every answer split, truncated, continued or
//! replaced. Nothing wrong is ever believed or pooled.

mod support;

use std::time::Duration;

use kqueue_client::{Cluster, Error, ErrorKind, NeverInterrupted, Options, Pools, RetryMode};
use support::{Scripted, cluster_on, impatient, options};

/// Answers the first request after the greeting with these pieces, then serves nothing more but
/// keeps the connection open if `stays`.
fn answering(pieces: Vec<Vec<u8>>, stays: bool) -> Scripted {
    Scripted::start(move |peer| {
        peer.greet();
        let line = peer.line();
        if line.starts_with("put ") {
            let bytes: usize = line.split_ascii_whitespace().nth(2).unwrap().parse().unwrap();
            peer.bytes(bytes + 2);
        }
        for piece in &pieces {
            peer.send(piece);
        }
        if stays {
            peer.until_closed();
        }
    })
}

fn never() -> Options {
    Options { retry_mode: RetryMode::Never, retries: 0, ..options() }
}

fn put(cluster: &Cluster) -> Result<String, Error> {
    cluster.put(b"q", b"body", 0)
}

fn peek(cluster: &Cluster) -> Result<Option<Vec<u8>>, Error> {
    cluster.peek(b"q").map(|body| body.map(|body| body.to_vec()))
}

#[test]
fn answers_split_at_every_byte_are_understood() {
    let value = b"VALUE q 0 7\r\n\r\nEND\r\n\r\nEND\r\n";
    for at in 1..value.len() {
        let server = answering(vec![value[..at].to_vec(), value[at..].to_vec()], true);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[&server.address], options());
        assert_eq!(peek(&cluster).unwrap().unwrap(), b"\r\nEND\r\n", "split at {at}");
        assert_eq!(pools.counters().idle, 1);
    }
    let stored = b"STORED 77\r\n";
    let server = answering(stored.iter().map(|byte| vec![*byte]).collect(), true);
    assert_eq!(put(&support::cluster(&[&server.address], options())).unwrap(), "77");
}

#[test]
fn answers_truncated_at_every_byte_are_errors() {
    let value = b"VALUE q 0 4\r\nbody\r\nEND\r\n";
    for at in 0..value.len() {
        let server = answering(vec![value[..at].to_vec()], false);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[&server.address], never());
        let error = peek(&cluster).expect_err("truncated");
        assert_eq!(error.kind(), ErrorKind::Connection, "at {at}: {error}");
        assert_eq!(pools.counters().idle, 0);
    }
    let stored = b"STORED 77\r\n";
    for at in 0..stored.len() {
        let server = answering(vec![stored[..at].to_vec()], false);
        let error = put(&support::cluster(&[&server.address], never())).expect_err("truncated");
        assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Connection, true));
    }
}

#[test]
fn a_connection_with_extra_bytes_is_never_used_again() {
    for extra in [&b"STORED 1\r\n"[..], b"x", b"\r\n", b"END\r\n"] {
        let answer = [b"STORED 5\r\n", extra].concat();
        let server = answering(vec![answer], true);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[&server.address], options());
        assert_eq!(put(&cluster).unwrap(), "5");
        assert_eq!(pools.counters().idle, 0, "{extra:?}");
        assert_eq!(put(&cluster).unwrap(), "5");
        assert_eq!(server.accepted(), 2);
    }
}

#[test]
fn extra_bytes_that_come_late_are_found_before_use() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (done, sent) = std::sync::mpsc::channel::<()>();
    let server = Scripted::start(move |peer| {
        peer.greet();
        while peer.put().is_some() {
            peer.send(format!("STORED {}\r\n", peer.nth + 1));
            if peer.nth == 0 {
                gate.lock().unwrap().recv().unwrap();
                peer.send("STORED 666\r\n");
                done.send(()).unwrap();
            }
        }
    });
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[&server.address], options());
    assert_eq!(put(&cluster).unwrap(), "1");
    go.send(()).unwrap();
    sent.recv().unwrap();
    // Older than the second for which an idle connection is trusted.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(put(&cluster).unwrap(), "2", "the stray answer belongs to nobody");
    assert_eq!(pools.counters().stale, 1);
}

#[test]
fn nonsense_is_a_protocol_error() {
    let endless = vec![b'x'; 1 << 20];
    let cases: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"STORED\n",
        b"STORED -1\r\n",
        b"STORED 1 2\r\n",
        b"stored 1\r\n",
        b"END\r\n",
        b"VALUE q 0 1\r\nx\r\nEND\r\n",
        &endless,
    ];
    for answer in cases {
        let server = answering(vec![answer.to_vec()], true);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[&server.address], impatient());
        let error = put(&cluster).expect_err("nonsense");
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(20)]);
        // A beginning that could still become a line ends by the deadline.
        let is_expected = matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Timeout);
        assert!(is_expected, "{shown:?}: {error}");
        assert!(error.outcome_unknown() && error.message().len() < 1000, "{error}");
        assert_eq!(pools.counters().idle, 0);
    }
}

#[test]
fn values_that_were_not_asked_for_are_protocol_errors() {
    for answer in [
        "VALUE other 0 1\r\nx\r\nEND\r\n",
        "VALUE q 0 -1\r\nx\r\nEND\r\n",
        "VALUE q 0 99999999999\r\nx\r\nEND\r\n",
        "VALUE q 0 +1\r\nx\r\nEND\r\n",
        "VALUE q 1\r\nx\r\nEND\r\n",
        "VALUE q 0 1\r\nxyEND\r\n",
        "ITEM q 1 0 1 0 1\r\nx\r\nEND\r\n",
        "STORED 1\r\n",
    ] {
        let server = answering(vec![answer.into()], true);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[&server.address], never());
        let error = peek(&cluster).expect_err(answer);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer:?}: {error}");
        assert_eq!(pools.counters().idle, 0);
    }
}

#[test]
fn reserved_items_that_were_not_asked_for_are_protocol_errors() {
    for answer in [
        "ITEM other 1 0 1 0 1\r\nx\r\nEND\r\n",
        "ITEM q 1 0 1 0 1\r\nx\r\nITEM q 2 0 1 0 1\r\ny\r\nEND\r\n",
        "ITEM q 1 0 1 0 1\r\nx\r\nSERVER_ERROR no\r\n",
    ] {
        let server = answering(vec![answer.into()], true);
        let cluster = support::cluster(&[&server.address], never());
        let error = cluster
            .reserve(&[b"q"], 1, Duration::ZERO, Duration::ZERO, &NeverInterrupted)
            .expect_err(answer);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer:?}: {error}");
    }
}

#[test]
fn a_gigantic_length_is_refused_and_not_allocated() {
    let server = answering(vec![b"VALUE q 0 2147483647\r\n".to_vec()], true);
    let cluster = support::cluster(&[&server.address], Options { max_body_bytes: 1024, ..never() });
    let error = peek(&cluster).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[test]
fn endless_stats_are_cut() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.line();
        let lines = "STAT a b\r\n".repeat(1000);
        for _ in 0..10_000 {
            peer.send(&lines);
        }
    });
    let cluster = support::cluster(&[&server.address], Options { max_body_bytes: 4096, ..never() });
    let error = cluster.size(b"q").expect_err("endless");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}
