//! Taking items: nothing is lost, delayed or held by the wrong connection, at one server or
//! several, in both dialects.

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kqueue_client::{Cluster, Error, ErrorKind, Held, NeverInterrupted, Options, Pools};
use support::model::{Model, Speaks};
use support::{Scripted, black_hole, cluster, cluster_on, impatient, options, refusing};

const BOTH: [Speaks; 2] = [Speaks::Extended, Speaks::Kestrel];
const NO_WAIT: Duration = Duration::ZERO;
/// Never waited out: something ends the wait earlier.
const LONG: Duration = Duration::from_secs(60);

fn reserve(cluster: &Cluster, queues: &[&[u8]], max: u32, wait: Duration) -> Vec<Held> {
    cluster.reserve(queues, max, wait, Duration::ZERO, &NeverInterrupted).unwrap()
}

fn one(cluster: &Cluster) -> Held {
    let mut held = reserve(cluster, &[b"q"], 1, NO_WAIT);
    assert_eq!(held.len(), 1);
    held.remove(0)
}

fn is_lost(result: Result<(), Error>) -> Error {
    let error = result.expect_err("the item should be lost");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    error
}

#[test]
fn acked_is_gone_and_released_is_back_in_its_place() {
    for speaks in BOTH {
        let model = Model::start(speaks);
        model.add("q", b"1");
        model.add("q", b"2");
        let cluster = cluster(&[model.address()], options());
        let mut first = one(&cluster);
        assert_eq!(
            (first.queue(), &first.body()[..], first.is_settled()),
            (&b"q"[..], &b"1"[..], false)
        );
        first.release(None).unwrap();
        assert_eq!(model.ready("q"), [b"1", b"2"]);
        let mut first = one(&cluster);
        first.ack().unwrap();
        assert!(first.is_settled());
        is_lost(first.ack());
        is_lost(first.release(None));
        assert_eq!(model.ready("q"), [b"2"]);
    }
}

#[test]
fn what_the_server_says_of_an_item_is_passed_on() {
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[model.address()], options());
    let id = cluster.put(b"q", b"x", 0).unwrap();
    drop(one(&cluster));
    let held = one(&cluster);
    assert_eq!((held.id(), held.attempts()), (&*id, 2));
    assert!(held.age_ms() >= 5);
}

#[test]
fn dropped_unsettled_is_back_and_the_connection_serves_on() {
    for speaks in BOTH {
        let model = Model::start(speaks);
        model.add("q", b"1");
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[model.address()], options());
        let opened = |_: &Held| pools.counters().opened;
        let before = opened(&one(&cluster));
        assert_eq!(model.ready("q"), [b"1"], "released before drop returned");
        assert_eq!(opened(&one(&cluster)), before);
        assert_eq!(pools.counters().idle, 1);
    }
}

#[test]
fn items_of_one_reserve_share_a_connection_and_settle_in_any_order() {
    let model = Model::start(Speaks::Extended);
    for body in [b"1", b"2", b"3", b"4"] {
        model.add("q", body);
    }
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[model.address()], options());
    let mut held = reserve(&cluster, &[b"q"], 3, NO_WAIT);
    assert_eq!(held.len(), 3);
    assert_eq!(pools.counters().idle, 0, "a connection that holds items is nobody else's");
    held[2].ack().unwrap();
    held[0].release(None).unwrap();
    // Other calls meanwhile go over other connections.
    cluster.put(b"q", b"5", 0).unwrap();
    held[1].ack().unwrap();
    assert_eq!(model.ready("q"), [b"1", b"4", b"5"]);
    assert_eq!((pools.counters().idle, pools.counters().opened), (2, 2));
}

#[test]
fn what_other_servers_gave_counts_towards_the_most_items() {
    let models = [Model::start(Speaks::Extended), Model::start(Speaks::Extended)];
    for model in &models {
        (0..3).for_each(|_| _ = model.add("q", b"x"));
    }
    let cluster = cluster(&[models[0].address(), models[1].address()], options());
    let held = reserve(&cluster, &[b"q"], 4, NO_WAIT);
    assert_eq!(held.len(), 4);
    assert_eq!(models[1].ready("q").len(), 2);
}

#[test]
fn a_kestrel_gives_several_over_as_many_connections() {
    let model = Model::start(Speaks::Kestrel);
    for body in [b"1", b"2", b"3", b"4"] {
        model.add("q", body);
    }
    let pools = Pools::new(1);
    let options = Options { pool_max_connections: 3, ..options() };
    let cluster = cluster_on(&pools, &[model.address()], options);
    let mut held = reserve(&cluster, &[b"q"], 10, NO_WAIT);
    assert_eq!(held.len(), 3, "bounded by the size of the pool");
    // Each confirmation must reach the connection that holds the item: out of order tells.
    held[1].ack().unwrap();
    held[2].release(None).unwrap();
    held[0].ack().unwrap();
    assert_eq!(model.ready("q"), [b"3", b"4"]);
    assert_eq!(pools.counters().idle, 3);
}

#[test]
fn several_queues_are_tried_in_order() {
    for speaks in BOTH {
        let model = Model::start(speaks);
        model.add("b", b"from b");
        let cluster = cluster(&[model.address()], options());
        let mut held = reserve(&cluster, &[b"a", b"b", b"c"], 1, NO_WAIT);
        assert_eq!(held[0].queue(), b"b");
        held[0].ack().unwrap();
        model.add("c", b"from c");
        model.add("a", b"from a");
        assert_eq!(reserve(&cluster, &[b"a", b"b", b"c"], 1, NO_WAIT)[0].queue(), b"a");
    }
}

#[test]
fn nothing_there_is_no_error() {
    for speaks in BOTH {
        let model = Model::start(speaks);
        let cluster = cluster(&[model.address()], options());
        assert!(reserve(&cluster, &[b"q"], 1, NO_WAIT).is_empty());
        assert!(reserve(&cluster, &[b"q", b"r"], 5, Duration::from_millis(20)).is_empty());
        assert!(cluster.pop(b"q", NO_WAIT, &NeverInterrupted).unwrap().is_none());
        assert!(cluster.pop(b"q", Duration::from_millis(20), &NeverInterrupted).unwrap().is_none());
    }
}

#[test]
fn an_item_that_comes_while_waiting_is_taken_from_any_server() {
    for speaks in [[Speaks::Extended; 2], [Speaks::Kestrel; 2], BOTH] {
        for at in 0..2 {
            let models = speaks.map(Model::start);
            let addresses = models.each_ref().map(|model| model.address().to_owned());
            let taker = thread::spawn(move || {
                let cluster = cluster(&addresses.each_ref().map(|text| &**text), options());
                let mut held = reserve(&cluster, &[b"q"], 1, LONG);
                held[0].ack().unwrap();
                held[0].body().to_vec()
            });
            models[0].await_waiting(1);
            models[1].await_waiting(1);
            models[at].add("q", b"x");
            assert_eq!(taker.join().unwrap(), b"x");
            // The other server's wait was taken back: nobody holds what comes later.
            models[1 - at].await_waiting(0);
            models[1 - at].add("q", b"later");
            assert_eq!(models[1 - at].ready("q"), [b"later"]);
        }
    }
}

#[test]
fn an_item_at_each_server_at_once_loses_none() {
    let models = [Model::start(Speaks::Extended), Model::start(Speaks::Extended)];
    let addresses = models.each_ref().map(|model| model.address().to_owned());
    let taker = thread::spawn(move || {
        let cluster = cluster(&addresses.each_ref().map(|text| &**text), options());
        cluster.pop(b"q", LONG, &NeverInterrupted).unwrap().unwrap()
    });
    models.iter().for_each(|model| model.await_waiting(1));
    for model in &models {
        model.add("q", b"x");
    }
    taker.join().unwrap();
    // One server's item was confirmed; the other's, handed over or not, is back.
    let mut left = 0;
    for model in &models {
        model.await_waiting(0);
    }
    let cluster = cluster(&[models[0].address(), models[1].address()], options());
    while cluster.pop(b"q", Duration::from_millis(500), &NeverInterrupted).unwrap().is_some() {
        left += 1;
    }
    assert_eq!(left, 1);
}

#[test]
fn a_kestrel_that_does_not_wait_is_not_asked_without_a_pause() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = Scripted::start(move |peer| {
        loop {
            let line = peer.line();
            match line.split('/').next() {
                Some("") | None => break,
                Some("capabilities\r\n") => peer.send("ERROR\r\n"),
                Some(queue) => {
                    log.lock().unwrap().push(queue.to_owned());
                    peer.send("END\r\n");
                }
            }
        }
    });
    let cluster = cluster(&[&server.address], options());
    assert!(reserve(&cluster, &[b"q", b"r"], 1, Duration::from_millis(300)).is_empty());
    let asked = asked.lock().unwrap();
    assert!((2..=20).contains(&asked.len()), "{}", asked.len());
    assert!(asked.contains(&"get q".to_owned()) && asked.contains(&"get r".to_owned()));
}

#[test]
fn a_kestrel_is_waited_at_for_several_queues_in_turn() {
    let model = Model::start(Speaks::Kestrel);
    let address = model.address().to_owned();
    let taker = thread::spawn(move || {
        let cluster = cluster(&[&address], options());
        let mut held = reserve(&cluster, &[b"a", b"b"], 1, LONG);
        held[0].ack().unwrap();
        held[0].queue().to_vec()
    });
    model.await_waiting(1);
    model.add("b", b"x");
    assert_eq!(taker.join().unwrap(), b"b");
}

#[test]
fn an_interrupt_ends_the_wait_and_costs_no_item() {
    for servers in [1, 2] {
        for speaks in BOTH {
            let models: Vec<_> = (0..servers).map(|_| Model::start(speaks)).collect();
            let addresses: Vec<_> = models.iter().map(Model::address).collect();
            let cluster = cluster(&addresses, options());
            let asked = Cell::new(0);
            let interrupt = || {
                asked.set(asked.get() + 1);
                asked.get() > 2
            };
            assert!(cluster.pop(b"q", LONG, &interrupt).unwrap().is_none());
            assert_eq!(asked.get(), 3, "its first yes ended the wait");
            for model in &models {
                model.await_waiting(0);
                model.add("q", b"x");
                assert_eq!(model.ready("q"), [b"x"]);
            }
        }
    }
}

#[test]
fn without_a_wait_the_interrupt_is_not_asked() {
    let model = Model::start(Speaks::Extended);
    model.add("q", b"x");
    let cluster = cluster(&[model.address()], options());
    assert!(cluster.pop(b"q", NO_WAIT, &|| true).unwrap().is_some());
}

#[test]
fn pop_confirms_before_it_returns() {
    for speaks in BOTH {
        for wait in [NO_WAIT, LONG] {
            let model = Model::start(speaks);
            model.add("q", b"x");
            let pools = Pools::new(1);
            let cluster = cluster_on(&pools, &[model.address()], options());
            assert_eq!(cluster.pop(b"q", wait, &NeverInterrupted).unwrap().unwrap(), "x");
            assert_eq!(pools.counters().idle, 1);
            pools.close_all();
            assert!(model.ready("q").is_empty());
        }
    }
}

#[test]
fn pop_takes_the_next_item_if_the_first_was_taken_back() {
    let server = Scripted::start(|peer| {
        peer.greet();
        for id in 1.. {
            if peer.line().is_empty() {
                return;
            }
            peer.send(format!("ITEM q {id} 0 1 0 1\r\n{id}\r\nEND\r\n"));
            assert_eq!(peer.line(), format!("ack q {id}\r\n"));
            peer.send(if id == 1 { "NOT_HELD\r\n" } else { "OK\r\n" });
        }
    });
    let cluster = cluster(&[&server.address], options());
    assert_eq!(cluster.pop(b"q", NO_WAIT, &NeverInterrupted).unwrap().unwrap(), "2");
}

#[test]
fn pop_returns_the_item_when_the_confirmation_is_not_answered() {
    let server = Scripted::start(|peer| {
        peer.greet();
        peer.line();
        peer.send("ITEM q 1 0 1 0 1\r\nx\r\nEND\r\n");
        peer.line();
    });
    let cluster = cluster(&[&server.address], options());
    assert_eq!(cluster.pop(b"q", NO_WAIT, &NeverInterrupted).unwrap().unwrap(), "x");
}

#[test]
fn dead_and_black_holed_servers_do_not_hide_the_living() {
    let (dead, hole) = (refusing(), black_hole());
    for broken in [&dead, &hole.address] {
        for wait in [NO_WAIT, LONG] {
            let model = Model::start(Speaks::Extended);
            model.add("q", b"x");
            let cluster = cluster(&[broken, model.address()], impatient());
            assert_eq!(cluster.pop(b"q", wait, &NeverInterrupted).unwrap().unwrap(), "x");
        }
    }
}

#[test]
fn nobody_there_is_an_error_long_before_the_wait_is_over() {
    let cluster = cluster(&[&refusing(), &refusing()], options());
    for wait in [NO_WAIT, LONG] {
        let error = cluster.pop(b"jobs", wait, &NeverInterrupted).expect_err("nobody there");
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(error.message().contains("\"jobs\"") && !error.outcome_unknown(), "{error}");
    }
}

#[test]
fn a_server_that_dies_during_the_wait_leaves_the_others_waiting() {
    let mut models = [Model::start(Speaks::Extended), Model::start(Speaks::Extended)];
    let addresses = models.each_ref().map(|model| model.address().to_owned());
    let taker = thread::spawn(move || {
        let cluster = cluster(&addresses.each_ref().map(|text| &**text), options());
        cluster.pop(b"q", LONG, &NeverInterrupted).unwrap().unwrap()
    });
    models.iter().for_each(|model| model.await_waiting(1));
    models[0].server.kill();
    models[1].add("q", b"x");
    assert_eq!(taker.join().unwrap(), "x");
}

#[test]
fn a_server_that_comes_back_during_the_wait_is_asked_again() {
    let mut first = Model::start(Speaks::Extended);
    let second = Model::start(Speaks::Extended);
    let address = first.address().to_owned();
    first.server.kill();
    let addresses = [address.clone(), second.address().to_owned()];
    let taker = thread::spawn(move || {
        let options = Options { eject_time: Duration::from_millis(20), ..options() };
        let cluster = cluster(&addresses.each_ref().map(|text| &**text), options);
        cluster.pop(b"q", LONG, &NeverInterrupted).unwrap().unwrap()
    });
    second.await_waiting(1);
    let first = Model::start_at(&address, Speaks::Extended);
    first.add("q", b"x");
    assert_eq!(taker.join().unwrap(), "x");
}

#[test]
fn a_lost_connection_loses_the_item_and_says_so() {
    for speaks in BOTH {
        let mut model = Model::start(speaks);
        model.add("q", b"x");
        let cluster = cluster(&[model.address()], options());
        let mut held = one(&cluster);
        model.server.kill();
        let error = is_lost(held.ack());
        assert!(error.message().contains("\"q\""), "{error}");
        assert_eq!(model.ready("q"), [b"x"]);
    }
}

#[test]
fn an_ended_lease_is_lost_and_the_connection_serves_on() {
    let server = Scripted::start(|peer| {
        peer.greet();
        assert_eq!(peer.line(), "reserve 2 0 1500 q\r\n");
        peer.send("ITEM q 1 0 1 0 1\r\nx\r\nITEM q 2 0 1 0 1\r\ny\r\nEND\r\n");
        assert_eq!(peer.line(), "ack q 1\r\n");
        peer.send("NOT_HELD\r\n");
        assert_eq!(peer.line(), "ack q 2\r\n");
        peer.send("OK\r\n");
        peer.until_closed();
    });
    let pools = Pools::new(1);
    let cluster = cluster_on(&pools, &[&server.address], options());
    let lease = Duration::from_millis(1500);
    let mut held = cluster.reserve(&[b"q"], 2, NO_WAIT, lease, &NeverInterrupted).unwrap();
    assert!(is_lost(held[0].ack()).message().contains("lease"));
    held[1].ack().unwrap();
    assert_eq!(pools.counters().idle, 1);
}

#[test]
fn close_gives_everything_back() {
    for speaks in BOTH {
        let model = Model::start(speaks);
        model.add("q", b"1");
        model.add("q", b"2");
        let pools = Pools::new(1);
        let cluster = cluster_on(&pools, &[model.address()], options());
        let mut held = reserve(&cluster, &[b"q"], 2, NO_WAIT);
        assert_eq!(held.len(), 2);
        cluster.close();
        assert_eq!(model.ready("q"), [b"1", b"2"]);
        is_lost(held[0].ack());
        let connections = if speaks == Speaks::Extended { 1 } else { 2 };
        assert_eq!(pools.counters().idle, connections);
        one(&cluster).ack().unwrap();
    }
}

#[test]
fn held_items_outlive_their_cluster() {
    let model = Model::start(Speaks::Extended);
    model.add("q", b"1");
    let persistent = options();
    for options in [Options { persistent: false, ..options() }, persistent] {
        let mut held = one(&cluster(&[model.address()], options));
        held.release(None).unwrap();
    }
}

#[test]
fn bad_arguments_send_nothing() {
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[model.address()], options());
    let long = [b'x'; 250];
    let many: Vec<&[u8]> = vec![b"q"; 17];
    let wide: Vec<&[u8]> = vec![&long; 16];
    let cases: [(&[&[u8]], u32); 5] =
        [(&[], 1), (&[b"q"], 0), (&many, 1), (&wide, 1), (&[b"a b"], 1)];
    for (queues, max) in cases {
        let error = cluster.reserve(queues, max, NO_WAIT, NO_WAIT, &NeverInterrupted).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert_eq!(model.server.accepted(), 0);
}

#[test]
fn many_stopped_servers_share_the_time_of_one_call() {
    let model = Model::start(Speaks::Extended);
    let stopped: Vec<_> = (0..6).map(|_| black_hole()).collect();
    let pools = Pools::new(1);
    let addresses: Vec<&str> = stopped.iter().map(|server| &*server.address).collect();
    let options = Options { eject_time: LONG, ..impatient() };
    // Known to be dead; the living one dies during the wait, and then they are asked again.
    let _ = cluster_on(&pools, &addresses, options.clone()).ping();
    let all = [&[model.address()], &addresses[..]].concat();
    let cluster = cluster_on(&pools, &all, options.clone());
    let begun = Instant::now();
    let wait = Duration::from_millis(300);
    let _ = thread::scope(|scope| {
        scope.spawn(|| {
            model.await_waiting(1);
            model.server.cut();
        });
        cluster.reserve(&[b"q"], 1, wait, NO_WAIT, &NeverInterrupted)
    });
    let took = begun.elapsed();
    assert!(took < wait + 2 * options.timeout, "{took:?}");
}

#[test]
fn a_server_that_comes_back_during_a_long_wait_is_asked() {
    for is_there_first in [false, true] {
        let living = Model::start(Speaks::Extended);
        let address = refusing();
        let before = is_there_first.then(|| Model::start_at(&address, Speaks::Extended));
        let addresses = [living.address().to_owned(), address.clone()];
        let taker = thread::spawn(move || {
            let options = Options { eject_time: Duration::from_millis(100), ..options() };
            let cluster = cluster(&addresses.each_ref().map(|text| &**text), options);
            pop(&cluster)
        });
        living.await_waiting(1);
        if let Some(mut before) = before {
            before.await_waiting(1);
            before.server.kill();
        }
        // Some probes find nobody.
        thread::sleep(Duration::from_millis(500));
        let back = Model::start_at(&address, Speaks::Extended);
        back.add("q", b"x");
        back.await_ready("q", 0);
        assert_eq!(taker.join().unwrap(), b"x");
    }
}

#[test]
fn a_server_that_ends_its_wait_early_is_asked_again_while_others_wait() {
    for early in ["END\r\n", "SERVER_ERROR not now\r\n"] {
        let living = Model::start(Speaks::Extended);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let leaving = Scripted::start(move |peer| {
            peer.greet();
            loop {
                let line = peer.line();
                if line.is_empty() {
                    break;
                } else if line.starts_with("ack") {
                    peer.send("OK\r\n");
                } else if count.fetch_add(1, Ordering::SeqCst) < 4 {
                    peer.send(early);
                } else {
                    peer.send("ITEM q 1 0 1 5 1\r\nx\r\nEND\r\n");
                }
            }
        });
        let options = Options { eject_time: Duration::from_millis(100), ..options() };
        assert_eq!(pop(&cluster(&[living.address(), &leaving.address], options)), b"x");
        assert_eq!(asked.load(Ordering::SeqCst), 5);
    }
}

fn pop(cluster: &Cluster) -> Vec<u8> {
    cluster.pop(b"q", LONG, &NeverInterrupted).unwrap().unwrap().to_vec()
}
