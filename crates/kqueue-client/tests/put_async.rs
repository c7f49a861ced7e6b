//! Pushes whose answers are awaited later: sent at once, counted once, and retried elsewhere when
//! `sync` finds that they were not stored.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kqueue_client::{Cluster, ErrorKind, Options, Pools, RetryMode};
use support::model::{Model, Speaks};
use support::{Scripted, cluster, cluster_on, options, refusing};

const EVERY: [Speaks; 3] = [Speaks::All, Speaks::Extended, Speaks::Kestrel];

fn push(cluster: &Cluster, count: usize) -> Vec<Vec<u8>> {
    let bodies: Vec<_> = (0..count).map(|nth| nth.to_string().into_bytes()).collect();
    bodies.iter().for_each(|body| cluster.put_async(b"q", body, 0).unwrap());
    bodies
}

#[test]
fn all_arrive_in_order_and_are_counted_once() {
    for speaks in EVERY {
        let model = Model::start(speaks);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[model.address()], options());
        assert_eq!(cluster.sync(None).unwrap(), 0);
        let bodies = push(&cluster, 5000);
        assert!(cluster.has_unsynced());
        assert_eq!(cluster.sync(None).unwrap(), 5000);
        assert_eq!(model.ready("q"), bodies);
        assert!(!cluster.has_unsynced());
        assert_eq!(cluster.sync(None).unwrap(), 0);
        assert_eq!(pools.counters().idle, 1);
    }
}

#[test]
fn one_is_sent_at_once() {
    let model = Model::start(Speaks::All);
    let cluster = cluster(&[model.address()], options());
    cluster.put_async(b"q", b"now", 7).unwrap();
    model.await_ready("q", 1);
    assert_eq!(model.ready("q"), [b"now"]);
    assert!(model.log().iter().any(|line| line.contains(" ttl=7")), "{:?}", model.log());
    assert_eq!(cluster.sync(None).unwrap(), 1);
}

#[test]
fn large_bodies_and_more_than_may_be_unanswered_arrive_too() {
    let model = Model::start(Speaks::All);
    let cluster = cluster(&[model.address()], options());
    let bodies: Vec<_> = (0..60_u8).map(|nth| vec![nth; 400_000]).collect();
    bodies.iter().for_each(|body| cluster.put_async(b"q", body, 0).unwrap());
    assert_eq!(cluster.sync(None).unwrap(), 60);
    assert_eq!(model.ready("q"), bodies);
}

#[test]
fn what_a_dying_server_did_not_answer_goes_to_another_one() {
    let model = Model::start(Speaks::All);
    let dying = Scripted::start(|peer| {
        peer.greet();
        for nth in 0..10 {
            peer.put();
            peer.send(format!("STORED {nth}\r\n"));
        }
    });
    let ordered = Options { failover: kqueue_client::Failover::Ordered, ..options() };
    let cluster = cluster(&[&dying.address, model.address()], ordered);
    let bodies = push(&cluster, 200);
    assert_eq!(cluster.sync(None).unwrap(), 200);
    let moved = model.ready("q");
    assert!((190..=200).contains(&moved.len()), "{}", moved.len());
    assert_eq!(moved, bodies[200 - moved.len()..], "in order");
}

#[test]
fn what_one_server_refuses_goes_to_another_one() {
    let full = Model::start(Speaks::All);
    full.answer_puts(Some("NOT_STORED queue full\r\n"));
    let model = Model::start(Speaks::All);
    let ordered = Options { failover: kqueue_client::Failover::Ordered, ..options() };
    let cluster = cluster(&[full.address(), model.address()], ordered);
    let bodies = push(&cluster, 100);
    assert_eq!(cluster.sync(None).unwrap(), 100);
    assert_eq!(model.ready("q"), bodies);
}

#[test]
fn what_nobody_stores_is_listed_by_its_place() {
    let model = Model::start(Speaks::All);
    let cluster = cluster(&[model.address()], options());
    push(&cluster, 3);
    model.await_ready("q", 3);
    model.answer_puts(Some("NOT_STORED queue full\r\n"));
    push(&cluster, 2);
    let error = cluster.sync(None).unwrap_err();
    let stored: Vec<_> = error.stored.iter().map(|(key, id)| (*key, &**id)).collect();
    assert_eq!(stored, [(0, "1"), (1, "2"), (2, "3")]);
    assert_eq!((error.failed, error.source.kind()), (vec![3, 4], ErrorKind::Full));
    // The next ones count from the beginning.
    model.answer_puts(None);
    push(&cluster, 1);
    assert_eq!(cluster.sync(None).unwrap(), 1);
}

#[test]
fn without_a_server_everything_is_listed() {
    let cluster = cluster(&[&refusing(), &refusing()], options());
    push(&cluster, 40);
    let error = cluster.sync(None).unwrap_err();
    assert_eq!(error.failed, (0..40).collect::<Vec<_>>());
    assert_eq!(error.source.kind(), ErrorKind::Connection);
    assert!(!error.source.outcome_unknown());
}

#[test]
fn what_cannot_be_sent_is_kept_up_to_a_bound() {
    let cluster = cluster(&[&refusing()], options());
    let body = vec![0; 1 << 20];
    let kept = (0..1000).take_while(|_| cluster.put_async(b"q", &body, 0).is_ok()).count();
    assert!((8..=9).contains(&kept), "{kept}");
    let error = cluster.put_async(b"q", b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(cluster.sync(None).unwrap_err().failed.len(), kept, "the refused one is not kept");
}

#[test]
fn the_bound_holds_for_large_bodies_too() {
    let cluster = cluster(&[&refusing()], options());
    let body = vec![0; 4 << 20];
    let kept = (0..1000).take_while(|_| cluster.put_async(b"q", &body, 0).is_ok()).count();
    assert_eq!(kept, 2);
    assert!(cluster.put_async(b"q", b"x", 0).is_err());
    assert_eq!(cluster.sync(None).unwrap_err().failed.len(), 2);
}

#[test]
fn at_the_bound_a_server_that_refused_is_asked_again() {
    let model = Model::start(Speaks::All);
    let cluster = cluster(&[model.address()], options());
    model.answer_puts(Some("NOT_STORED queue full\r\n"));
    let body = vec![0; 1 << 20];
    let kept = (0..1000).take_while(|_| cluster.put_async(b"q", &body, 0).is_ok()).count();
    assert_eq!(cluster.put_async(b"q", &body, 0).unwrap_err().kind(), ErrorKind::Full);
    model.answer_puts(None);
    cluster.put_async(b"q", &body, 0).unwrap();
    assert_eq!(cluster.sync(None).unwrap(), kept + 1);
    assert_eq!(model.ready("q").len(), kept + 1);
}

#[test]
fn after_a_refusal_it_goes_on_without_a_sync() {
    for answer in ["NOT_STORED queue full\r\n", "SERVER_ERROR read-only\r\n"] {
        let model = Model::start(Speaks::All);
        let options = Options { eject_time: Duration::from_millis(200), ..options() };
        let cluster = cluster(&[model.address()], options);
        push(&cluster, 1);
        model.await_ready("q", 1);
        model.answer_puts(Some(answer));
        for _ in 0..5 {
            push(&cluster, 31);
            std::thread::sleep(Duration::from_millis(10));
        }
        let asked = model.logged("put");
        model.answer_puts(None);
        // The first may find the last of the refusals.
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(250));
            push(&cluster, 1);
        }
        model.await_ready("q", 158);
        assert!(asked < 158, "{asked}");
        assert_eq!(cluster.sync(None).unwrap(), 158);
    }
}

#[test]
fn a_bad_argument_is_told_at_once_and_is_not_counted() {
    let model = Model::start(Speaks::All);
    let cluster = cluster(&[model.address()], options());
    let error = cluster.put_async(b"bad name", b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(!cluster.has_unsynced());
}

#[test]
fn the_limit_ends_a_wait_for_a_silent_server() {
    let model = Model::start(Speaks::All);
    let slow = Options { timeout: Duration::from_secs(60), ..options() };
    let cluster = cluster(&[model.address()], slow);
    push(&cluster, 1);
    cluster.sync(None).unwrap();
    model.mute(true);
    push(&cluster, 1);
    let begun = Instant::now();
    let error = cluster.sync(Some(begun + Duration::from_millis(20))).unwrap_err();
    assert_eq!((error.failed, error.source.outcome_unknown()), (vec![0], true));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn after_a_restart_a_repeated_push_is_stored_once() {
    let model = Model::start(Speaks::All);
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    push(&cluster, 1);
    model.mute(true);
    push(&cluster, 4);
    model.await_ready("q", 5);
    // It has stored them, and dies before it has answered.
    model.server.cut();
    model.mute(false);
    assert_eq!(cluster.sync(None).unwrap(), 5);
    assert_eq!(model.ready("q").len(), 5, "the second copies are known by their keys");
    assert!(model.logged("put") >= 9);
}

#[test]
fn a_restart_with_unread_answers_does_not_stop_what_comes_after_it() {
    let model = Model::start(Speaks::All);
    let options = Options { eject_time: Duration::from_millis(1), ..options() };
    let cluster = cluster(&[model.address()], options);
    push(&cluster, 3);
    model.await_ready("q", 3);
    model.server.cut();
    // One to be told that the connection is gone, one to find the answers before that, and so on.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(20));
        push(&cluster, 1);
    }
    model.await_ready("q", 11);
    assert_eq!(cluster.sync(None).unwrap(), 11);
}

#[test]
fn never_sends_nothing_twice() {
    let model = Model::start(Speaks::All);
    let never = Options { retry_mode: RetryMode::Never, ..options() };
    let cluster = cluster(&[model.address()], never);
    push(&cluster, 1);
    model.await_ready("q", 1);
    model.mute(true);
    push(&cluster, 4);
    model.await_ready("q", 5);
    model.server.cut();
    model.mute(false);
    let error = cluster.sync(None).unwrap_err();
    assert!(error.failed.len() >= 4, "{error}");
    assert!(error.source.outcome_unknown());
    assert_eq!(model.logged("put"), 5);
    assert!(!model.log().iter().any(|line| line.contains("key=")), "no key without a repetition");
}

#[test]
fn a_child_knows_nothing_of_its_parents_pushes() {
    let model = Model::start(Speaks::All);
    let pid = Rc::new(Cell::new(1));
    let now = Rc::clone(&pid);
    let pools = Pools::with_pid_source(1, move || now.get());
    let cluster = cluster_on(&pools, &[model.address()], options());
    push(&cluster, 3);
    model.await_ready("q", 3);
    pid.set(2);
    assert!(!cluster.has_unsynced());
    assert_eq!(cluster.sync(None).unwrap(), 0);
    push(&cluster, 1);
    assert_eq!(cluster.sync(None).unwrap(), 1);
    assert_eq!(model.ready("q").len(), 4);
}
