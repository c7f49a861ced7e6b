//! Pushes: every retry mode against dead, silent, refusing and lying servers.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kqueue_client::{Error, ErrorKind, Options, Pools, RetryMode};
use support::model::{Model, Speaks};
use support::{Scripted, black_hole, cluster, cluster_on, impatient, options, refusing};

/// Reads one push and closes without an answer, on every connection; counts the pushes it read.
fn swallowing() -> (Scripted, Arc<AtomicUsize>) {
    let swallowed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&swallowed);
    let server = Scripted::start(move |peer| {
        peer.greet();
        if peer.put().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (server, swallowed)
}

/// Reads pushes and never answers them; counts them.
fn silent() -> (Scripted, Arc<AtomicUsize>) {
    let swallowed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&swallowed);
    let server = Scripted::start(move |peer| {
        peer.greet();
        while peer.put().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (server, swallowed)
}

fn fails(result: Result<String, Error>, kind: ErrorKind, is_unknown: bool) -> Error {
    let error = result.expect_err("the push should fail");
    assert_eq!((error.kind(), error.outcome_unknown()), (kind, is_unknown), "{error}");
    error
}

#[test]
fn extended_and_kestrel_servers_store_what_was_given() {
    for speaks in [Speaks::All, Speaks::Extended, Speaks::Kestrel] {
        let model = Model::start(speaks);
        let cluster = cluster(&[model.address()], options());
        let bodies = [&b""[..], b"\r\nEND\r\n", b"\0\xff", &[7; 3_000_000]];
        let ids: Vec<_> = bodies.iter().map(|body| cluster.put(b"q", body, 0).unwrap()).collect();
        assert_eq!(model.ready("q"), bodies);
        match speaks {
            Speaks::All | Speaks::Extended => assert_eq!(ids, ["1", "2", "3", "4"]),
            Speaks::Kestrel => {
                assert!(ids.iter().all(|id| !id.is_empty()));
                let distinct: std::collections::HashSet<_> = ids.iter().collect();
                assert_eq!(distinct.len(), 4);
            }
        }
    }
}

#[test]
fn a_repeated_push_is_stored_once_where_the_server_knows_keys() {
    let model = Model::start(Speaks::All);
    let pools = Pools::new(5);
    let cluster = cluster_on(&pools, &[model.address()], options());
    cluster.put(b"q", b"first", 0).unwrap();
    // It is stored, and the connection ends before the answer.
    model.swallow_next_put();
    assert_eq!(cluster.put(b"q", b"second", 0).unwrap(), "2");
    assert_eq!(model.ready("q"), [b"first".to_vec(), b"second".to_vec()]);
    assert_eq!(model.logged("put"), 3);
}

#[test]
fn a_kestrel_is_asked_once_and_gets_only_its_own_commands() {
    let model = Model::start(Speaks::Kestrel);
    let pools = Pools::new(3);
    for _ in 0..3 {
        // A cluster per request, as in PHP; connections of their own, so that each dials.
        let options = Options { persistent: false, ..options() };
        cluster_on(&pools, &[model.address()], options).put(b"q", b"x", 60).unwrap();
    }
    let log = model.log();
    assert_eq!(
        log,
        ["0 capabilities", "1 set q 0 60 1", "2 set q 0 60 1", "3 set q 0 60 1"],
        "the probe costs one connection, once"
    );
}

#[test]
fn time_to_live_is_said_in_the_servers_words() {
    let model = Model::start(Speaks::Extended);
    cluster(&[model.address()], options()).put(b"q", b"x", 5).unwrap();
    assert!(model.log().contains(&"0 put q 1 ttl=5".to_owned()), "{:?}", model.log());
}

#[test]
fn bad_arguments_send_nothing() {
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[model.address()], options());
    for name in [&b""[..], b"a b", b"a\r\nflush_all", b"a\0", b"+", b"a/b", &[b'x'; 251]] {
        let error = fails(cluster.put(name, b"x", 0), ErrorKind::InvalidArgument, false);
        assert!(error.message().contains("queue name"), "{error}");
    }
    assert_eq!(model.server.accepted(), 0);
}

#[test]
fn a_refusing_port_is_passed_over_and_then_left_alone() {
    let (dead, model) = (refusing(), Model::start(Speaks::Extended));
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[&dead, model.address()], options());
    for _ in 0..5 {
        cluster.put(b"q", b"x", 0).unwrap();
    }
    assert_eq!(model.ready("q").len(), 5);
    assert_eq!(pools.counters().failures, 1, "one attempt per eject time, not one per push");
    let stats = cluster.stats();
    assert!(stats[0].stats.is_err() && !stats[0].health.is_up);
    assert!(stats[1].health.is_up && stats[1].health.is_extended == Some(true));
}

#[test]
fn an_ejected_server_is_probed_when_its_time_is_over() {
    let mut first = Model::start(Speaks::Extended);
    let second = Model::start(Speaks::Extended);
    let address = first.address().to_owned();
    first.server.kill();
    let options = Options { eject_time: Duration::ZERO, ..options() };
    let cluster = cluster(&[&address, second.address()], options);
    cluster.put(b"q", b"1", 0).unwrap();
    let first = Model::start_at(&address, Speaks::Extended);
    cluster.put(b"q", b"2", 0).unwrap();
    assert_eq!((first.ready("q").len(), second.ready("q").len()), (1, 1));
}

#[test]
fn nobody_there_is_a_connection_error_that_names_everybody() {
    let (one, two) = (refusing(), refusing());
    for retry_mode in [RetryMode::Safe, RetryMode::Always, RetryMode::Never] {
        let options = Options { retry_mode, ..options() };
        let error = fails(
            cluster(&[&one, &two], options).put(b"jobs", b"x", 0),
            ErrorKind::Connection,
            false,
        );
        for part in ["\"jobs\"", &one, &two, "connecting", "refused"] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
}

#[test]
fn a_server_killed_in_the_middle_of_a_push_is_not_noticed() {
    for retry_mode in [RetryMode::Safe, RetryMode::Always] {
        let ((dying, swallowed), model) = (swallowing(), Model::start(Speaks::Extended));
        let options = Options { retry_mode, ..options() };
        let cluster = cluster(&[&dying.address, model.address()], options);
        assert_eq!(cluster.put(b"q", b"x", 0).unwrap(), "1");
        assert_eq!(swallowed.load(Ordering::SeqCst), 1);
        assert_eq!(model.ready("q"), [b"x"]);
    }
}

#[test]
fn never_means_that_nothing_is_sent_twice() {
    let ((dying, swallowed), model) = (swallowing(), Model::start(Speaks::Extended));
    let options = Options { retry_mode: RetryMode::Never, ..options() };
    let cluster = cluster(&[&dying.address, model.address()], options);
    fails(cluster.put(b"q", b"x", 0), ErrorKind::Connection, true);
    assert_eq!(swallowed.load(Ordering::SeqCst), 1);
    assert!(model.ready("q").is_empty());
    // Known to be dead now, so the next push is not sent there at all.
    cluster.put(b"q", b"y", 0).unwrap();
}

#[test]
fn alone_and_dying_is_tried_again_and_said_to_be_unknown() {
    let (dying, swallowed) = swallowing();
    let cluster = cluster(&[&dying.address], Options { retries: 2, ..options() });
    fails(cluster.put(b"q", b"x", 0), ErrorKind::Connection, true);
    assert_eq!(swallowed.load(Ordering::SeqCst), 3, "one per round: the server may be back");
}

#[test]
fn a_silent_server_is_passed_over_within_the_deadline() {
    let ((silent, swallowed), model) = (silent(), Model::start(Speaks::Extended));
    let cluster = cluster(&[&silent.address, model.address()], impatient());
    cluster.put(b"q", b"x", 0).unwrap();
    cluster.put(b"q", b"y", 0).unwrap();
    assert_eq!(swallowed.load(Ordering::SeqCst), 1, "it cost one timeout, not one per push");
    assert_eq!(model.ready("q"), [b"x", b"y"]);
}

#[test]
fn a_silent_server_gets_a_second_copy_only_when_asked_for() {
    for (retry_mode, copies) in
        [(RetryMode::Safe, 1), (RetryMode::Never, 1), (RetryMode::Always, 3)]
    {
        let (silent, swallowed) = silent();
        let options = Options { retry_mode, ..impatient() };
        let error = fails(
            cluster(&[&silent.address], options).put(b"q", b"x", 0),
            ErrorKind::Timeout,
            true,
        );
        assert!(error.message().contains("may have been carried out"), "{error}");
        assert_eq!(swallowed.load(Ordering::SeqCst), copies);
    }
    // Two silent servers share the time, so that the last one leaves time for another round.
    let ((one, copies_one), (two, copies_two)) = (silent(), silent());
    let options = Options { retry_mode: RetryMode::Safe, ..impatient() };
    fails(
        cluster(&[&one.address, &two.address], options).put(b"q", b"x", 0),
        ErrorKind::Timeout,
        true,
    );
    assert_eq!((copies_one.load(Ordering::SeqCst), copies_two.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_black_hole_does_not_take_the_whole_deadline() {
    let (hole, model) = (black_hole(), Model::start(Speaks::Extended));
    let cluster = cluster(&[&hole.address, model.address()], impatient());
    cluster.put(b"q", b"x", 0).unwrap();
    assert_eq!(model.ready("q"), [b"x"]);
    let alone = support::cluster(&[&hole.address], impatient());
    fails(alone.put(b"q", b"x", 0), ErrorKind::Timeout, false);
}

#[test]
fn full_and_read_only_servers_are_passed_over() {
    for (refusal, kind) in [
        ("NOT_STORED\r\n", ErrorKind::Full),
        ("NOT_STORED queue full\r\n", ErrorKind::Full),
        ("SERVER_ERROR out of disk space\r\n", ErrorKind::Full),
        ("SERVER_ERROR the server is READONLY\r\n", ErrorKind::Server),
    ] {
        let (first, second) = (Model::start(Speaks::Extended), Model::start(Speaks::Extended));
        first.answer_puts(Some(refusal));
        let cluster = cluster(&[first.address(), second.address()], options());
        cluster.put(b"q", b"x", 0).unwrap();
        assert_eq!(second.ready("q"), [b"x"]);
        second.answer_puts(Some(refusal));
        let error = fails(cluster.put(b"q", b"x", 0), kind, false);
        assert!(error.message().contains(first.address()), "{error}");
        assert!(error.message().contains(second.address()), "{error}");
    }
}

#[test]
fn a_read_only_server_is_skipped_for_pushes_and_still_read_from() {
    let (first, second) = (Model::start(Speaks::Extended), Model::start(Speaks::Extended));
    first.answer_puts(Some("SERVER_ERROR read-only\r\n"));
    let cluster = cluster(&[first.address(), second.address()], options());
    for _ in 0..3 {
        cluster.put(b"q", b"x", 0).unwrap();
    }
    assert_eq!(first.logged("put"), 1);
    first.add("r", b"old");
    assert_eq!(cluster.peek(b"r").unwrap().unwrap(), "old");
    let health = &cluster.stats()[0].health;
    assert!(health.is_up && health.refuses_pushes);
}

#[test]
fn a_refused_request_is_not_carried_elsewhere() {
    let (first, second) = (Model::start(Speaks::Extended), Model::start(Speaks::Extended));
    first.answer_puts(Some("CLIENT_ERROR bad flags\r\n"));
    let cluster = cluster(&[first.address(), second.address()], options());
    let error = fails(cluster.put(b"q", b"x", 0), ErrorKind::Server, false);
    assert!(error.message().contains("bad flags"), "{error}");
    assert!(second.ready("q").is_empty());
}

#[test]
fn a_restarted_server_is_not_noticed_on_a_pooled_connection() {
    for retry_mode in [RetryMode::Safe, RetryMode::Always] {
        let mut model = Model::start(Speaks::Extended);
        let address = model.address().to_owned();
        let options = Options { retry_mode, retries: 0, ..options() };
        let cluster = cluster(&[&address], options);
        cluster.put(b"q", b"x", 0).unwrap();
        model.server.kill();
        let model = Model::start_at(&address, Speaks::Kestrel);
        cluster.put(b"q", b"y", 0).unwrap();
        assert_eq!(model.ready("q"), [b"y"]);
        assert_eq!(model.logged("capabilities"), 1, "what is known of the server was forgotten");
    }
}

#[test]
fn an_early_refusal_of_a_huge_body_is_understood() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.line();
        peer.send("CLIENT_ERROR too large for me\r\n");
        peer.until_closed();
    });
    let cluster = cluster(&[&server.address], options());
    let body = vec![1; 64 << 20];
    let error = fails(cluster.put(b"q", &body, 0), ErrorKind::Server, false);
    assert!(error.message().contains("too large for me"), "{error}");
}

#[test]
fn safe_does_not_return_to_a_silent_server_while_it_retries_a_dead_one() {
    let ((silent, kept), (dying, swallowed)) = (silent(), swallowing());
    let cluster = cluster(&[&silent.address, &dying.address], impatient());
    fails(cluster.put(b"q", b"x", 0), ErrorKind::Timeout, true);
    assert_eq!((kept.load(Ordering::SeqCst), swallowed.load(Ordering::SeqCst)), (1, 3));
}

#[test]
fn a_connection_answered_too_early_is_not_pooled() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.line();
        peer.send("STORED 1\r\n");
        peer.until_closed();
    });
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[&server.address], options());
    // More than the socket buffers hold: the answer comes before all of it was sent.
    let _ = cluster.put(b"q", &vec![1; 64 << 20], 0);
    assert_eq!(pools.counters().idle, 0);
}
