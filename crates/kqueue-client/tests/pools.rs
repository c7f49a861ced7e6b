//! Connections between calls: reuse, age, number, keys, fork; and the questions to all servers.

mod support;

use std::cell::Cell;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use kqueue_client::{Address, Cluster, ErrorKind, NeverInterrupted, Options, Pools};
use support::model::{Model, Speaks};
use support::{Scripted, black_hole, cluster, cluster_on, impatient, options, refusing};

#[test]
fn one_connection_serves_many_clusters_of_a_process() {
    let model = Model::start(Speaks::Extended);
    let pools = Pools::new(1);
    for _ in 0..10 {
        cluster_on(&pools, &[model.address()], options()).put(b"q", b"x", 0).unwrap();
    }
    let counters = pools.counters();
    assert_eq!((counters.opened, counters.reused, counters.idle), (1, 9, 1));
    assert_eq!(model.server.accepted(), 1);
}

#[test]
fn persistent_ids_and_private_clusters_do_not_share() {
    let model = Model::start(Speaks::Extended);
    let pools = Pools::new(1);
    let put = |options| cluster_on(&pools, &[model.address()], options).put(b"q", b"x", 0).unwrap();
    put(options());
    put(Options { persistent_id: "other".into(), ..options() });
    assert_eq!(pools.counters().idle, 2);
    put(Options { persistent: false, ..options() });
    let counters = pools.counters();
    assert_eq!(
        (counters.opened, counters.idle),
        (3, 2),
        "a private connection ends with its cluster"
    );
    let private =
        cluster_on(&pools, &[model.address()], Options { persistent: false, ..options() });
    private.put(b"q", b"x", 0).unwrap();
    private.put(b"q", b"x", 0).unwrap();
    assert_eq!((pools.counters().opened, pools.counters().idle), (4, 3));
    private.close();
    assert_eq!(pools.counters().idle, 2);
    pools.close_all();
    assert_eq!(pools.counters().idle, 0);
}

#[test]
fn idle_connections_are_bounded_in_number_and_age() {
    let model = Model::start(Speaks::Extended);
    for body in 0..4_u8 {
        model.add("q", &[body]);
    }
    let pools = Pools::new(1);
    let with = |pool_max_connections, max_idle| {
        let options = Options { pool_max_connections, max_idle, ..options() };
        cluster_on(&pools, &[model.address()], options)
    };
    let cluster = with(2, Duration::from_secs(60));
    let take = || {
        cluster
            .reserve(&[b"q"], 1, Duration::ZERO, Duration::ZERO, &NeverInterrupted)
            .unwrap()
            .remove(0)
    };
    let held = [take(), take(), take(), take()];
    assert_eq!(pools.counters().opened, 4);
    drop(held);
    assert_eq!((pools.counters().idle, pools.counters().retired), (2, 2));
    pools.close_all();
    with(2, Duration::ZERO).put(b"q", b"x", 0).unwrap();
    assert_eq!(pools.counters().idle, 0, "as old as it may get");
    with(0, Duration::from_secs(60)).put(b"q", b"x", 0).unwrap();
    assert_eq!(pools.counters().idle, 0);
}

#[test]
fn the_connection_used_last_is_used_next() {
    let model = Model::start(Speaks::Extended);
    let cluster = cluster(&[model.address()], options());
    model.add("q", b"x");
    let held =
        cluster.reserve(&[b"q"], 1, Duration::ZERO, Duration::ZERO, &NeverInterrupted).unwrap();
    cluster.put(b"q", b"y", 0).unwrap(); // connection 1, back first
    drop(held); // connection 0, back last
    cluster.put(b"q", b"z", 0).unwrap();
    assert_eq!(model.log().last().unwrap(), "0 put q 1");
}

#[test]
fn a_closed_idle_connection_is_found_before_use() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Scripted::start(move |peer| {
        peer.greet();
        let mut id = 0;
        while peer.put().is_some() {
            id += 1;
            peer.send(format!("STORED {id}\r\n"));
            if peer.nth == 0 {
                gate.lock().unwrap().recv().unwrap();
                return;
            }
        }
    });
    let pools = Pools::new(1);
    let options = Options { retry_mode: kqueue_client::RetryMode::Never, ..options() };
    let cluster = cluster_on(&pools, &[&server.address], options);
    cluster.put(b"q", b"x", 0).unwrap();
    go.send(()).unwrap();
    // Older than the second for which an idle connection is trusted.
    std::thread::sleep(Duration::from_millis(1100));
    cluster.put(b"q", b"y", 0).unwrap();
    assert_eq!((pools.counters().stale, pools.counters().failures), (1, 0));
}

#[test]
fn a_child_drops_what_it_inherited_unsent_and_counts_anew() {
    let model = Model::start(Speaks::Extended);
    model.add("q", b"x");
    let pid = Rc::new(Cell::new(1));
    let source = Rc::clone(&pid);
    let pools = Pools::with_pid_source(7, move || source.get());
    let cluster = cluster_on(&pools, &[model.address()], options());
    let mut held =
        cluster.reserve(&[b"q"], 2, Duration::ZERO, Duration::ZERO, &NeverInterrupted).unwrap();
    cluster.put(b"other", b"y", 0).unwrap();
    let before = model.log();
    pid.set(2); // as if this were the child now
    let error = held[0].ack().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.message().contains("another process"), "{error}");
    assert!(!error.outcome_unknown());
    drop(held);
    let counters = pools.counters();
    assert_eq!((counters.opened, counters.idle, counters.inherited), (0, 0, 1));
    assert_eq!(model.log(), before, "not a byte was sent by the child");
    cluster.put(b"other", b"z", 0).unwrap();
    assert_eq!(pools.counters().opened, 1);
    assert!(model.log().last().unwrap().starts_with("2 put"), "over a connection of its own");
}

#[test]
fn a_child_draws_other_local_ids_than_its_parent() {
    let model = Model::start(Speaks::Kestrel);
    let ids = [1, 2].map(|pid| {
        let now = Rc::new(Cell::new(1));
        let source = Rc::clone(&now);
        let pools = Pools::with_pid_source(7, move || source.get());
        let cluster = cluster_on(&pools, &[model.address()], options());
        cluster.put(b"q", b"x", 0).unwrap();
        now.set(pid);
        cluster.put(b"q", b"x", 0).unwrap()
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn unix_sockets_work_and_a_missing_one_is_a_connection_error() {
    let path = std::env::temp_dir().join(format!("kqueue-client-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let text = format!("unix://{}", path.display());
    let connect = || cluster(&[&text], Options { retries: 0, ..options() });
    let error = connect().put(b"q", b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        for line in BufReader::new(stream).lines() {
            let answer = match line.unwrap().as_str() {
                "capabilities" => support::CAPABILITIES,
                "version" => "VERSION 1\r\n",
                other => panic!("{other}"),
            };
            writer.write_all(answer.as_bytes()).unwrap();
        }
    });
    let cluster = connect();
    assert!(cluster.ping()[0].1.is_some());
    assert!(cluster.ping()[0].1.is_some());
    drop(cluster);
    server.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_host_name_is_resolved() {
    let model = Model::start(Speaks::Extended);
    let port = model.address().rsplit(':').next().unwrap();
    // Whatever `localhost` resolves to first, the address that listens is found.
    let cluster = cluster(&[&format!("localhost:{port}")], options());
    cluster.put(b"q", b"x", 0).unwrap();
    assert_eq!(cluster.ping()[0].0.as_str(), format!("localhost:{port}"));
}

#[test]
fn size_peek_purge_and_delete_speak_for_all_servers() {
    let models = [Model::start(Speaks::Extended), Model::start(Speaks::Kestrel)];
    let cluster = cluster(&[models[0].address(), models[1].address()], options());
    assert_eq!((cluster.size(b"q").unwrap(), cluster.peek(b"q").unwrap()), (0, None));
    for model in &models {
        model.add("q", b"x");
        model.add("q", b"y");
        model.add("other", b"z");
    }
    assert_eq!(cluster.size(b"q").unwrap(), 4);
    assert_eq!(cluster.peek(b"q").unwrap().unwrap(), "x");
    assert_eq!(cluster.size(b"q").unwrap(), 4);
    cluster.purge(b"q").unwrap();
    assert_eq!((cluster.size(b"q").unwrap(), cluster.size(b"other").unwrap()), (0, 2));
    cluster.delete(b"other").unwrap();
    assert_eq!(cluster.size(b"other").unwrap(), 0);
}

#[test]
fn the_living_answer_for_the_dead_but_orders_need_all() {
    let (dead, model) = (refusing(), Model::start(Speaks::Extended));
    model.add("q", b"x");
    let cluster = cluster(&[&dead, model.address()], options());
    assert_eq!(cluster.size(b"q").unwrap(), 1);
    assert_eq!(cluster.peek(b"q").unwrap().unwrap(), "x");
    for result in [cluster.purge(b"q"), cluster.delete(b"q")] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.message().contains(&dead), "{error}");
        assert!(!error.message().contains(model.address()), "{error}");
    }
    assert!(model.ready("q").is_empty(), "the living one was told all the same");
}

#[test]
fn ping_and_stats_have_an_entry_per_server_in_order() {
    let (hole, model, dead) = (black_hole(), Model::start(Speaks::Extended), refusing());
    let cluster = cluster(&[&hole.address, model.address(), &dead], impatient());
    let answers = |_| -> Vec<_> {
        cluster
            .ping()
            .into_iter()
            .map(|(address, took)| (address.to_string(), took.is_some()))
            .collect()
    };
    let expected =
        [(hole.address.clone(), false), (model.address().into(), true), (dead.clone(), false)];
    assert_eq!(answers(()), expected);
    let stats = cluster.stats();
    assert_eq!(
        stats.iter().map(|server| server.stats.is_ok()).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_eq!(stats[1].stats.as_ref().unwrap()[0], ("uptime".into(), "1".into()));
    assert_eq!((stats[1].health.idle_connections, stats[1].health.opened), (1, 1));
    assert!(stats[2].health.last_error.as_ref().unwrap().contains("refused"));
}

#[test]
fn a_cluster_needs_servers_and_sane_options() {
    let one = vec![Address::parse("127.0.0.1:1").unwrap()];
    let bad = [
        (vec![], options()),
        (one.clone(), Options { timeout: Duration::ZERO, ..options() }),
        (one.clone(), Options { connect_timeout: Duration::ZERO, ..options() }),
        (one.clone(), Options { eject_time: Duration::MAX, ..options() }),
        (one, Options { retries: 101, ..options() }),
    ];
    for (addresses, options) in bad {
        let Err(error) = Cluster::new(Pools::new(1), addresses, options) else {
            panic!("it should be refused")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_server_is_not_ejected_for_want_of_time() {
    let model = Model::start(Speaks::Extended);
    let hole = black_hole();
    let pools = Pools::new(1);
    let options = Options { eject_time: Duration::from_secs(60), ..impatient() };
    let model_only = cluster_on(&pools, &[model.address()], options.clone());
    model.mute(true);
    assert_eq!(model_only.ping()[0].1, None);
    model.mute(false);
    // It is back, but its turn would come after the silent one has used up the time.
    let both = cluster_on(&pools, &[&hole.address, model.address()], options);
    assert_eq!(both.size(b"q").unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(model_only.stats()[0].health.failures, 1);
}

#[test]
fn children_of_one_parent_with_the_same_number_push_different_items() {
    let model = Model::start(Speaks::All);
    for _ in 0..2 {
        let pid = Rc::new(Cell::new(1));
        let now = Rc::clone(&pid);
        let pools = Pools::with_pid_source(7, move || now.get());
        let cluster = cluster_on(&pools, &[model.address()], options());
        pid.set(2);
        cluster.put(b"q", b"x", 0).unwrap();
        cluster.put_many(b"q", 0, [((), b"y")]).unwrap();
    }
    assert_eq!(model.ready("q").len(), 4, "a key came again");
}
