//! The daemon as its operator meets it: configuration errors, addresses, sockets, signals, limits.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, Wire, daemon_binary};
use rustix::process::Signal;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a daemon that is expected to end by itself.
fn run(config: &Path) -> Output {
    Command::new(daemon_binary()).arg("--config").arg(config).output().expect("it can be run")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_configuration_is_one_message_with_line_and_key_and_nothing_else_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, data) = (directory.path().join("k.toml"), directory.path().join("data"));
    let head = format!("[server]\ndata_dir = \"{}\"\n", data.display());
    // What follows the head begins in line 3.
    let cases = [
        ("max_conections = 5\n", ":3:", "max_conections"),
        ("max_connections = \"many\"\n", ":3:", "max_connections"),
        ("max_item_size = -1\n", ":3:", "max_item_size"),
        ("[journal]\nsync = \"sometimes\"\n", ":4:", "sync"),
        ("[listen]\nmemcache = \"nowhere\"\n", ":4:", "memcache"),
        ("[listen]\nmemcache = \"*:22133\"\n", ":4:", "memcache"),
        ("[queues.\"a/b\"]\nmax_items = 1\n", ":3:", "a/b"),
        ("[queues.jobs]\nmax_itms = 1\n", ":4:", "max_itms"),
        ("max_connections = 5\nmax_connections = 6\n", ":4:", "max_connections"),
        ("[server\n", ":3:", "k.toml"),
    ];
    for (text, line, key) in cases {
        fs::write(&config, format!("{head}{text}")).expect("a file");
        let output = run(&config);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}: {message}");
        let place = format!("{}{line}", config.display());
        assert!(message.contains(&place) && message.contains(key), "{text}: {message}");
        assert_eq!(message.matches("ERROR").count(), 1, "{text}: {message}");
        assert!(!data.exists(), "{text}");
    }
    let output = run(&directory.path().join("missing.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("missing.toml"), "{}", stderr(&output));
}

#[test]
fn an_address_in_use_is_named() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("k.toml");
    for address in [daemon.address().to_string(), format!("unix:{}", daemon.socket().display())] {
        let text = format!(
            "[server]\ndata_dir = \"{}/data\"\n[listen]\nmemcache = \"{address}\"\n",
            directory.path().display()
        );
        fs::write(&config, text).expect("a file");
        let output = run(&config);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(&address), "{}", stderr(&output));
    }
    // Whoever was there first is not harmed.
    daemon.connect().put("q", b"x");
    assert!(UnixStream::connect(daemon.socket()).is_ok());
}

#[test]
fn a_file_that_is_no_socket_is_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, file) = (directory.path().join("k.toml"), directory.path().join("precious"));
    fs::write(&file, "not a socket").expect("a file");
    let text = format!(
        "[server]\ndata_dir = \"{0}/data\"\n[listen]\nmemcache = \"unix:{0}/precious\"\n",
        directory.path().display()
    );
    fs::write(&config, text).expect("a file");
    let output = run(&config);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("precious"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "not a socket");
}

/// The lengths of the spare files in a data directory, by name.
fn spares(data: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(data).expect("a directory").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, entry.metadata().expect("it is there").len())
    });
    named.filter(|(name, _)| name.starts_with("spare-")).collect()
}

#[test]
fn with_shorter_segments_than_before_items_that_are_too_long_for_them_are_kept_and_moved() {
    const LONG: usize = 1_000_000;
    let dead = "[queues.fill]\nexpire_to_queue = \"dead\"\n";
    let before = format!("----segment_size = \"4MiB\"\nlog_cap = \"64MiB\"\n{dead}");
    let after = format!(
        "max_item_size = \"64KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"\n{dead}"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start_in(directory.path(), &before).expect("it starts");
    let mut wire = daemon.connect();
    let long = vec![b'z'; LONG];
    wire.send(&[format!("set fill 0 2 {LONG}\r\n").as_bytes(), &long, b"\r\n"].concat());
    assert_eq!(wire.line(), "STORED");
    wire.put("other", &long);
    let data = daemon.data_dir();
    let began = Instant::now();
    while spares(&data).values().all(|&bytes| bytes < 4 * 1024 * 1024) {
        assert!(began.elapsed() < PATIENCE, "no spare is made");
    }
    daemon.kill();
    let mut daemon = Daemon::start_in(directory.path(), &after).expect("it starts");
    // It expires, and is written again.
    let mut wire = daemon.connect();
    let began = Instant::now();
    let moved = loop {
        match wire.get("dead") {
            Some(moved) => break moved,
            None => assert!(began.elapsed() < PATIENCE, "it does not expire"),
        }
    };
    assert!(moved == long);
    wire.put("small", b"x");
    // One may be in the making.
    let began = Instant::now();
    loop {
        let spares_after = spares(&data);
        if spares_after.values().all(|&bytes| bytes == 4 << 20) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{spares_after:?}");
    }
    daemon.signal(Signal::TERM);
    let exit = daemon.wait();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stderr.contains("segment_size") && exit.stderr.contains("4194304"), "{exit:?}");
    let daemon = Daemon::start_in(directory.path(), &after).expect("it starts");
    let mut wire = daemon.connect();
    assert_eq!(wire.get("dead"), None);
    assert_eq!(wire.get("small").as_deref(), Some(&b"x"[..]));
    assert!(wire.get("other") == Some(long));
}

#[test]
fn a_unix_socket_speaks_the_same_and_survives_a_killed_server() {
    let daemon = Daemon::start("");
    let ask = |daemon: &Daemon, request: &[u8]| {
        let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
        stream.write_all(request).expect("it takes requests");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers and closes");
        reply
    };
    assert_eq!(ask(&daemon, b"set q 0 0 1\r\nx\r\nquit\r\n"), "STORED\r\n");
    // A killed server leaves the socket's file behind.
    let daemon = daemon.kill_and_restart();
    assert_eq!(ask(&daemon, b"get q\r\nquit\r\n"), "VALUE q 0 1\r\nx\r\nEND\r\n");
    let socket = daemon.socket();
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    daemon.wait();
    assert!(!socket.exists(), "a server that ends in good order removes it");
}

#[test]
fn sigterm_ends_waits_answers_what_was_asked_and_exits_with_0() {
    let mut daemon = Daemon::start("");
    let (mut waiting, mut holding, mut idle) =
        (daemon.connect(), daemon.connect(), daemon.connect());
    holding.put("held", b"x");
    assert_eq!(holding.get("held/open").as_deref(), Some(&b"x"[..]));
    waiting.send(b"get empty/t=60000\r\n");
    while daemon.stat("queue_empty_waiters").as_deref() != Some("1") {}
    idle.ask(b"get nothing\r\n", b"END\r\n");
    daemon.signal(Signal::TERM);
    waiting.expect(b"END\r\n");
    for mut wire in [waiting, holding, idle] {
        wire.expect_close();
    }
    let exit = daemon.wait();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stderr.contains("everything acknowledged is on the disk"), "{exit:?}");
    assert!(TcpStream::connect(daemon.address()).is_err(), "nobody listens any more");
}

#[test]
fn a_connection_too_many_is_told_so_and_the_others_go_on() {
    let daemon = Daemon::start("max_connections = 3----");
    let mut wires: Vec<Wire> = (0..3).map(|_| daemon.connect()).collect();
    for wire in &mut wires {
        wire.ask(b"get q\r\n", b"END\r\n");
    }
    let mut refused = daemon.connect();
    refused.expect(b"SERVER_ERROR too many connections\r\n");
    refused.expect_close();
    wires[0].put("q", b"x");
    let mut gone = wires.pop().expect("three");
    gone.ask(b"quit\r\n", b"");
    gone.expect_close();
    // The server closes before it has counted the connection out.
    loop {
        let mut wire = daemon.connect();
        wire.send(b"get q/peek\r\n");
        if wire.line().starts_with("VALUE") {
            break;
        }
    }
}

#[test]
fn an_idle_connection_is_closed_if_the_operator_wants_it() {
    let daemon = Daemon::start("client_timeout = \"200ms\"----");
    let mut wire = daemon.connect();
    wire.put("q", b"x");
    assert_eq!(wire.get("q/open").as_deref(), Some(&b"x"[..]));
    wire.expect_close();
    assert_eq!(daemon.connect().get("q/t=10000").as_deref(), Some(&b"x"[..]));
    let mut waits = daemon.connect();
    waits.send(b"get none/t=60000\r\n");
    waits.expect_close();
}

#[test]
fn what_is_no_journal_is_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Daemon::start_in(directory.path(), "").expect("it starts"));
    let file = directory.path().join("data/log-00000000000000ff.kq");
    fs::write(&file, b"somebody's text, not a journal segment").expect("a file");
    let Err(exit) = Daemon::start_in(directory.path(), "") else { panic!("it started") };
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("log-00000000000000ff.kq"), "{exit:?}");
    let text = fs::read(&file).expect("still there");
    assert_eq!(text, b"somebody's text, not a journal segment");
}

#[test]
fn a_client_that_pipelines_and_never_reads_costs_bounded_memory_and_nobody_else_anything() {
    const ITEM_BYTES: usize = 512 * 1024;
    const QUEUES: usize = 300;
    let daemon = Daemon::start("max_memory_size = \"1MiB\"----sync = \"never\"\n");
    let mut other = daemon.connect();
    for queue in 0..QUEUES {
        other.put(&format!("q{queue}"), &vec![b'x'; ITEM_BYTES]);
    }
    // Each reply is an item that has to be read from the disk first; together they are far more than sockets hold.
    let mut greedy = daemon.connect_raw();
    let requests: String = (0..QUEUES).map(|queue| format!("get q{queue}/peek\r\n")).collect();
    greedy.write_all(requests.as_bytes()).expect("it is read");
    let peeks = || daemon.stat("cmd_peek").expect("a figure").parse::<usize>().expect("a number");
    let begun = Instant::now();
    while peeks() < QUEUES && begun.elapsed() < Duration::from_secs(2) {
        other.put("q", b"x");
        assert_eq!(other.get("q").as_deref(), Some(&b"x"[..]));
    }
    assert!(peeks() < QUEUES / 2, "it goes on for a client that does not read: {}", peeks());
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .expect("a number");
    assert!(rss_kib < 100 * 1024, "{rss_kib} KiB");
}

#[test]
fn a_server_with_very_many_queues_stops_when_it_is_asked_to() {
    // A list of all of them is longer than what makes a checkpoint worthwhile.
    const QUEUES: usize = 20_000;
    let mut daemon = Daemon::start("----sync = \"never\"\n");
    let mut wire = daemon.connect();
    for first in (0..QUEUES).step_by(500) {
        let puts: String =
            (first..first + 500).map(|queue| format!("set q{queue} 0 0 1\r\nx\r\n")).collect();
        wire.send(puts.as_bytes());
        for _ in 0..500 {
            wire.expect(b"STORED\r\n");
        }
    }
    daemon.signal(Signal::TERM);
    let exit = daemon.wait_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}
