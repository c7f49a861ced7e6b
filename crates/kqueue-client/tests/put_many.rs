//! Many pushes at once: pipelined, in order, failing over with what was not answered, and saying
//! exactly what was stored.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kqueue_client::{ErrorKind, Options, Pools, PushError, RetryMode};
use support::model::{Model, Speaks};
use support::{Scripted, black_hole, cluster, cluster_on, impatient, options, refusing};

fn bodies(count: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..count).map(|nth| (nth, nth.to_string().into_bytes()))
}

fn expected(count: usize) -> Vec<Vec<u8>> {
    bodies(count).map(|(_, body)| body).collect()
}

fn keys<K>(error: &PushError<K>) -> (Vec<&K>, Vec<&K>) {
    (error.stored.iter().map(|(key, _)| key).collect(), error.failed.iter().collect())
}

/// Stores `count` items of each connection, then closes without an answer to the next.
fn dying_after(count: usize) -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let server = Scripted::start(move |peer| {
        peer.greet();
        for _ in 0..count {
            if peer.put().is_none() {
                return;
            }
            let nth = counter.fetch_add(1, Ordering::SeqCst);
            peer.send(format!("STORED {}\r\n", nth + 1000));
        }
        peer.put();
    });
    (server, seen)
}

#[test]
fn thousands_arrive_in_order_with_their_keys() {
    for speaks in [Speaks::Extended, Speaks::Kestrel] {
        let model = Model::start(speaks);
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[model.address()], options());
        let stored = cluster.put_many(b"q", 0, bodies(5000)).unwrap();
        assert_eq!(model.ready("q"), expected(5000));
        for (nth, (key, id)) in stored.iter().enumerate() {
            assert_eq!(*key, nth);
            if speaks == Speaks::Extended {
                assert_eq!(*id, (nth + 1).to_string());
            }
        }
        assert_eq!(stored.len(), 5000);
        assert_eq!(pools.counters().idle, 1);
    }
}

#[test]
fn nothing_to_push_connects_nothing() {
    let cluster = cluster(&[&refusing()], options());
    assert!(cluster.put_many(b"q", 0, bodies(0)).unwrap().is_empty());
}

#[test]
fn bodies_larger_than_every_buffer_pass_between_small_ones() {
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[model.address()], options());
    let sizes = [0, 1, 5_000_000, 3, 65_536, 65_537, 2_000_000, 0];
    let items: Vec<_> = sizes.iter().map(|size| (*size, vec![b'x'; *size])).collect();
    let stored = cluster.put_many(b"q", 0, items.clone()).unwrap();
    assert_eq!(stored.len(), sizes.len());
    assert_eq!(model.ready("q"), items.into_iter().map(|(_, body)| body).collect::<Vec<_>>());
}

#[test]
fn the_iterator_may_use_the_same_cluster() {
    let model = Model::start(Speaks::Extended);
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    let items = (0..3).map(|nth| (nth, cluster.put(b"inner", b"x", 0).unwrap()));
    assert_eq!(cluster.put_many(b"outer", 0, items).unwrap().len(), 3);
    assert_eq!((model.ready("outer").len(), model.ready("inner").len()), (3, 3));
    assert_eq!(pools.counters().idle, 2);
}

#[test]
fn what_was_not_answered_goes_to_the_next_server_in_order() {
    let ((dying, seen), model) = (dying_after(10), Model::start(Speaks::Extended));
    let cluster = cluster(&[&dying.address, model.address()], options());
    let stored = cluster.put_many(b"q", 0, bodies(3000)).unwrap();
    assert_eq!(
        stored.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        (0..3000).collect::<Vec<_>>()
    );
    assert_eq!(seen.load(Ordering::SeqCst), 10);
    assert_eq!(model.ready("q"), expected(3000)[10..]);
    assert_eq!((&*stored[0].1, &*stored[10].1), ("1000", "1"));
}

#[test]
fn never_means_that_unanswered_items_have_failed() {
    let ((dying, _), model) = (dying_after(4), Model::start(Speaks::Extended));
    let options = Options { retry_mode: RetryMode::Never, ..options() };
    let cluster = cluster(&[&dying.address, model.address()], options);
    let error = cluster.put_many(b"q", 0, bodies(2000)).unwrap_err();
    let (stored, failed) = keys(&error);
    assert_eq!(stored, [&0, &1, &2, &3]);
    assert_eq!(failed, (4..2000).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(
        (error.source.kind(), error.source.outcome_unknown()),
        (ErrorKind::Connection, true)
    );
    assert!(model.ready("q").is_empty());
    assert!(error.to_string().starts_with("1996 of 2000 items were not stored"), "{error}");
}

#[test]
fn a_queue_that_fills_up_spills_over_to_the_next_server() {
    let first = Scripted::start(|peer| {
        peer.greet();
        let mut count = 0;
        while peer.put().is_some() {
            count += 1;
            peer.send(if count > 5 { "NOT_STORED queue full\r\n" } else { "STORED 1\r\n" });
        }
    });
    let second = Model::start(Speaks::Extended);
    let cluster = cluster(&[&first.address, second.address()], options());
    let stored = cluster.put_many(b"q", 0, bodies(3000)).unwrap();
    assert_eq!(stored.len(), 3000);
    assert_eq!(second.ready("q"), expected(3000)[5..]);
    second.answer_puts(Some("NOT_STORED\r\n"));
    let error = cluster.put_many(b"q", 0, bodies(20)).unwrap_err();
    let (stored, failed) = keys(&error);
    assert_eq!(
        (stored.len(), failed.len()),
        (0, 20),
        "the first server's queue is full from the start"
    );
    assert_eq!((error.source.kind(), error.source.outcome_unknown()), (ErrorKind::Full, false));
}

#[test]
fn a_read_only_server_that_closes_is_passed_over_but_not_ejected() {
    let first = Scripted::start(|peer| {
        peer.greet();
        if peer.put().is_some() {
            peer.send("SERVER_ERROR read-only\r\n");
        }
    });
    let second = Model::start(Speaks::Extended);
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[&first.address, second.address()], options());
    assert_eq!(cluster.put_many(b"q", 0, bodies(100)).unwrap().len(), 100);
    assert_eq!(second.ready("q"), expected(100));
    assert_eq!(pools.counters().failures, 0);
}

#[test]
fn a_bad_request_ends_it_and_tells_what_was_stored() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.put();
        peer.send("STORED 1\r\n");
        peer.put();
        peer.send("CLIENT_ERROR no\r\n");
    });
    let cluster = cluster(&[&server.address], options());
    let error = cluster.put_many(b"q", 0, bodies(5)).unwrap_err();
    assert_eq!(keys(&error), (vec![&0], vec![&1, &2, &3, &4]));
    assert_eq!(error.source.kind(), ErrorKind::Server);
}

#[test]
fn a_silent_server_costs_one_timeout() {
    let silent = Scripted::start(|peer| {
        peer.greet();
        while peer.put().is_some() {}
    });
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[&silent.address, model.address()], impatient());
    assert_eq!(cluster.put_many(b"q", 0, bodies(50)).unwrap().len(), 50);
    assert_eq!(model.ready("q"), expected(50));
}

#[test]
fn answers_before_the_question_are_garbage() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.line();
        peer.send("STORED 1\r\nSTORED 2\r\n");
        peer.until_closed();
    });
    let options = Options { retries: 0, ..options() };
    let cluster = cluster(&[&server.address], options);
    // More than the socket buffers hold, so that it cannot have been sent.
    let error = cluster.put_many(b"q", 0, [(0, vec![b'x'; 64 << 20])]).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::Protocol, "{error}");
    assert_eq!(keys(&error), (vec![], vec![&0]));
}

#[test]
fn a_stale_pooled_connection_is_replaced_without_loss() {
    let mut model = Model::start(Speaks::Extended);
    let address = model.address().to_owned();
    let cluster = cluster(&[&address], Options { retries: 0, ..options() });
    cluster.put(b"q", b"x", 0).unwrap();
    model.server.kill();
    let model = Model::start_at(&address, Speaks::Extended);
    assert_eq!(cluster.put_many(b"q", 0, bodies(500)).unwrap().len(), 500);
    assert_eq!(model.ready("q"), expected(500));
}

#[test]
fn a_bad_name_or_nobody_there_fails_all_keys() {
    let cluster = cluster(&[&refusing()], options());
    let error = cluster.put_many(b"a b", 0, bodies(3)).unwrap_err();
    assert_eq!((error.source.kind(), error.failed.len()), (ErrorKind::InvalidArgument, 3));
    let error = cluster.put_many(b"q", 0, bodies(3)).unwrap_err();
    assert_eq!((error.source.kind(), error.failed), (ErrorKind::Connection, vec![0, 1, 2]));
}

#[test]
fn a_silent_server_costs_one_timeout_not_one_per_round() {
    let hole = black_hole();
    let cluster = cluster(&[&hole.address], impatient());
    let begun = Instant::now();
    let error = cluster.put_many(b"q", 0, bodies(3)).unwrap_err();
    assert_eq!((error.failed.len(), error.source.kind()), (3, ErrorKind::Timeout));
    cluster.put_async(b"q", b"x", 0).unwrap();
    assert_eq!(cluster.sync(None).unwrap_err().failed, [0]);
    let took = begun.elapsed();
    assert!(took < 3 * impatient().timeout, "{took:?}");
}
