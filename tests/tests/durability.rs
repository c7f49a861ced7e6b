//! What was acknowledged is there after `kill -9`, in order, once; what was confirmed is gone.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kqueue_tests::Daemon;
use rustix::process::Signal;

#[test]
fn acknowledged_puts_survive_a_kill_in_order() {
    for sync in ["\"always\"", "\"never\"", "\"10ms\""] {
        let daemon = Daemon::start(&format!("sync = {sync}"));
        let mut wire = daemon.connect();
        for n in 0..200 {
            wire.put("q", format!("item {n}").as_bytes());
        }
        for n in 0..50 {
            assert_eq!(wire.get("q"), Some(format!("item {n}").into_bytes()));
        }
        // The answer to an un-synced removal does not wait for the disk, a put's does: it carries the removals with it.
        wire.put("q", b"last");
        let daemon = daemon.kill_and_restart();
        let mut wire = daemon.connect();
        for n in 50..200 {
            assert_eq!(wire.get("q"), Some(format!("item {n}").into_bytes()), "sync = {sync}");
        }
        assert_eq!(wire.get("q").as_deref(), Some(&b"last"[..]));
        assert_eq!(wire.get("q"), None);
    }
}

#[test]
fn fanout_and_open_reads_survive_a_kill() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    assert_eq!(wire.get("posts+search"), None);
    for n in 0..20 {
        wire.put("posts", format!("{n}").as_bytes());
    }
    let mut worker = daemon.connect();
    assert_eq!(worker.get("posts+search/open").as_deref(), Some(&b"0"[..]));
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    for n in 0..20 {
        assert_eq!(wire.get("posts+search"), Some(n.to_string().into_bytes()));
        assert_eq!(wire.get("posts"), Some(n.to_string().into_bytes()));
    }
    wire.put("posts", b"new");
    assert_eq!(wire.get("posts+search").as_deref(), Some(&b"new"[..]));
}

#[test]
fn attempts_are_counted_across_a_restart() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    wire.put("q", b"poison");
    for attempt in 1..=3 {
        wire.send(b"reserve 1 60000 0 q\r\n");
        let line = wire.line();
        assert_eq!(line.split(' ').nth(4), Some(attempt.to_string().as_str()), "{line}");
        wire.expect(b"poison\r\nEND\r\n");
        drop(wire);
        wire = daemon.connect();
    }
    // A put makes sure that what was recorded before it is on the disk.
    wire.put("other", b"x");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    wire.send(b"reserve 1 60000 0 q\r\n");
    assert_eq!(wire.line().split(' ').nth(4), Some("4"));
}

#[test]
fn an_item_from_a_time_at_which_larger_ones_were_accepted_is_moved_like_any_other() {
    let root = tempfile::tempdir().expect("a directory");
    let sizes = "segment_size = \"2MiB\"\nlog_cap = \"4MiB\"";
    let daemon = Daemon::start_in(root.path(), sizes).expect("it starts");
    let large = vec![b'L'; 900 * 1024];
    daemon.connect().put("large", &large);
    daemon.kill();
    let smaller = format!("max_item_size = \"16KiB\"----{sizes}");
    let daemon = Daemon::start_in(root.path(), &smaller).expect("it starts");
    let first = daemon.data_dir().join("log-0000000000000001.kq");
    let mut wire = daemon.connect();
    while first.exists() {
        wire.put("churn", &[b'c'; 16 * 1024]);
        assert!(wire.get("churn").is_some());
    }
    assert!(wire.get("large") == Some(large));
}

#[test]
fn a_drained_server_exits_cleanly_and_keeps_everything() {
    let daemon = Daemon::start("sync = \"never\"");
    let mut wire = daemon.connect();
    wire.put("q", b"1");
    wire.put("q", b"2");
    let mut worker = daemon.connect();
    assert!(worker.get("q/open").is_some());
    let mut waiting = daemon.connect();
    waiting.send(b"get nothing/t=600000\r\n");
    while daemon.stat("queue_nothing_waiters").as_deref() != Some("1") {}
    let daemon = daemon.stop_and_restart();
    waiting.expect(b"END\r\n");
    let mut wire = daemon.connect();
    assert_eq!(wire.get("q").as_deref(), Some(&b"1"[..]));
    assert_eq!(wire.get("q").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_second_daemon_on_the_same_data_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Daemon::start_in(directory.path(), "").expect("the first starts");
    let mut wire = first.connect();
    wire.put("q", b"x");
    let Err(exit) = Daemon::start_in(directory.path(), "") else { panic!("the second started") };
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(
        exit.stderr.contains("lock") && exit.stderr.contains(&first.pid().to_string()),
        "{exit:?}"
    );
    assert_eq!(wire.get("q").as_deref(), Some(&b"x"[..]));
}

/// What the producers of the crash loop know.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<u64>,
    sent: u64,
}

#[test]
fn a_crash_loop_under_load_loses_nothing_and_invents_nothing() {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut daemon = Daemon::start("");
    for _round in 0..8 {
        let stop = Arc::new(AtomicBool::new(false));
        let producers: Vec<_> = (0..8)
            .map(|_| {
                let (ledger, stop, address) =
                    (Arc::clone(&ledger), Arc::clone(&stop), daemon.address());
                std::thread::spawn(move || produce(address, &ledger, &stop))
            })
            .collect();
        let goal = ledger.lock().expect("not poisoned").acknowledged.len() + 500;
        while ledger.lock().expect("not poisoned").acknowledged.len() < goal {
            std::thread::yield_now();
        }
        daemon.signal(Signal::KILL);
        stop.store(true, Ordering::Release);
        for producer in producers {
            producer.join().expect("a producer does not panic");
        }
        daemon = daemon.kill_and_restart();
    }
    let ledger = Arc::try_unwrap(ledger)
        .ok()
        .expect("all producers ended")
        .into_inner()
        .expect("not poisoned");
    let mut found = BTreeSet::new();
    let mut wire = daemon.connect();
    while let Some(body) = wire.get("load") {
        let number: u64 =
            std::str::from_utf8(&body).expect("text").trim_start().parse().expect("a number");
        assert!(number < ledger.sent, "{number} was never sent");
        assert!(found.insert(number), "{number} came twice");
    }
    let lost: Vec<_> = ledger.acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

fn produce(address: std::net::SocketAddr, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    while !stop.load(Ordering::Acquire) {
        let number = {
            let mut ledger = ledger.lock().expect("not poisoned");
            ledger.sent += 1;
            ledger.sent - 1
        };
        let body = format!("{number:>300}");
        let request = format!("set load 0 0 {}\r\n{body}\r\n", body.len());
        if stream.write_all(request.as_bytes()).is_err() {
            return;
        }
        let mut reply = [0; 8];
        if stream.read_exact(&mut reply).is_err() {
            return;
        }
        assert_eq!(&reply, b"STORED\r\n");
        ledger.lock().expect("not poisoned").acknowledged.insert(number);
    }
}
