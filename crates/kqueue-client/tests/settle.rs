//! What becomes of items in hand: release with a delay, bury, touch, on servers that have these words
//! and on those that have not.

mod support;

use std::time::{Duration, Instant};

use kqueue_client::{Cluster, Error, ErrorKind, Held, NeverInterrupted, Pools};
use support::model::{Model, Speaks};
use support::{cluster, cluster_on, impatient, options};

const SECOND: Duration = Duration::from_secs(1);

fn take(cluster: &Cluster, max: u32) -> Vec<Held> {
    cluster.reserve(&[b"q"], max, Duration::ZERO, Duration::ZERO, &NeverInterrupted).unwrap()
}

fn one(cluster: &Cluster) -> Held {
    take(cluster, 1).pop().unwrap()
}

/// The last request, without the number of its connection.
fn last(model: &Model) -> String {
    let log = model.log();
    log.last().unwrap().split_once(' ').unwrap().1.to_owned()
}

fn stays_held(held: &Held, result: Result<(), Error>, kind: ErrorKind) {
    let error = result.expect_err("there should be an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains("stays held"), "{error}");
    assert!(!held.is_settled() && !error.outcome_unknown());
}

#[test]
fn release_says_its_delay_or_leaves_it_to_the_queue() {
    let model = Model::start(Speaks::All);
    let id = model.add("q", b"1");
    let cluster = cluster(&[model.address()], options());
    for (delay, words) in [
        (None, format!("release q {id}")),
        (Some(Duration::ZERO), format!("release q {id} delay=0")),
        (Some(SECOND), format!("release q {id} delay=1000")),
        // Never shorter than asked for.
        (Some(Duration::from_micros(1)), format!("release q {id} delay=1")),
    ] {
        let mut held = one(&cluster);
        held.release(delay).unwrap();
        assert!(held.is_settled());
        assert_eq!(last(&model), words);
    }
}

#[test]
fn bury_carries_its_reason_and_touch_keeps_the_item() {
    let model = Model::start(Speaks::All);
    model.add("q", b"1");
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    let mut held = one(&cluster);
    held.touch(Duration::from_millis(1500)).unwrap();
    held.touch(Duration::ZERO).unwrap();
    assert_eq!(last(&model), format!("touch q {} 0", held.id()));
    assert!(!held.is_settled());
    held.bury(b"no such\r\npage").unwrap();
    assert!(held.is_settled());
    assert_eq!(model.buried(), [("q".into(), b"1".to_vec(), b"no such\r\npage".to_vec())]);
    assert_eq!(held.touch(SECOND).unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(pools.counters().idle, 1, "the connection is in step");
}

#[test]
fn what_the_server_cannot_do_now_leaves_the_item_held_and_its_companions_too() {
    let model = Model::start(Speaks::All);
    (0..3).for_each(|_| _ = model.add("q", b"x"));
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    let mut held = take(&cluster, 3);
    model.answer_settling(Some("SERVER_ERROR out of disk space\r\n"));
    let result = held[0].bury(b"");
    stays_held(&held[0], result, ErrorKind::Full);
    let result = held[1].release(Some(SECOND));
    stays_held(&held[1], result, ErrorKind::Full);
    model.answer_settling(Some("SERVER_ERROR shutting down\r\n"));
    let result = held[1].ack();
    stays_held(&held[1], result, ErrorKind::Server);
    model.answer_settling(None);
    held.iter_mut().for_each(|held| held.ack().unwrap());
    assert!(model.ready("q").is_empty());
    assert_eq!((pools.counters().opened, pools.counters().idle), (1, 1));
}

#[test]
fn a_reason_or_delay_out_of_range_sends_nothing() {
    let model = Model::start(Speaks::All);
    model.add("q", b"x");
    let cluster = cluster(&[model.address()], options());
    let mut held = one(&cluster);
    let requests = model.log().len();
    for result in
        [held.bury(&[b'x'; 1025]), held.release(Some(Duration::from_secs(400 * 366 * 86_400)))]
    {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(model.log().len(), requests);
    held.bury(&[b'x'; 1024]).unwrap();
}

#[test]
fn a_server_without_these_words_is_not_sent_them() {
    for speaks in [Speaks::Extended, Speaks::Kestrel] {
        let model = Model::start(speaks);
        model.add("q", b"1");
        let cluster = cluster(&[model.address()], options());
        let mut held = one(&cluster);
        let requests = model.log().len();
        let result = held.release(Some(SECOND));
        stays_held(&held, result, ErrorKind::Server);
        let result = held.bury(b"why");
        stays_held(&held, result, ErrorKind::Server);
        if speaks == Speaks::Extended {
            let result = held.touch(SECOND);
            stays_held(&held, result, ErrorKind::Server);
        } else {
            // What a Kestrel has handed out stays so for as long as the connection lives.
            held.touch(SECOND).unwrap();
        }
        assert_eq!(model.log().len(), requests, "{:?}", model.log());
        held.release(Some(Duration::ZERO)).unwrap();
        assert_eq!(model.ready("q"), [b"1"]);
    }
}

#[test]
fn dropped_where_it_cannot_be_released_it_goes_back_with_its_connection() {
    let model = Model::start(Speaks::All);
    model.add("q", b"1");
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    let held = one(&cluster);
    model.answer_settling(Some("SERVER_ERROR not now\r\n"));
    drop(held);
    assert_eq!(pools.counters().idle, 0, "a connection that holds an item is not pooled");
    model.await_ready("q", 1);
}

#[test]
fn giving_back_waits_for_a_silent_server_once() {
    for is_abandoned in [false, true] {
        let model = Model::start(Speaks::All);
        // Abandoned, it does not matter that several share a connection.
        let each = if is_abandoned { 2 } else { 1 };
        (0..8 * each).for_each(|_| _ = model.add("q", b"x"));
        let cluster = cluster(&[model.address()], impatient());
        let held: Vec<_> = (0..8).flat_map(|_| take(&cluster, each)).collect();
        model.mute(true);
        let begun = Instant::now();
        if is_abandoned {
            held.into_iter().for_each(Held::abandon);
        } else {
            drop(held);
        }
        let took = begun.elapsed();
        assert!(took < 4 * impatient().timeout, "{took:?}");
        // Closing the connections gives them back.
        model.await_ready("q", 8 * each as usize);
    }
}
