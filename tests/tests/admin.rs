//! The admin port of a real daemon: what it says from before recovery until the end, what monitoring reads there, and clients that mean it harm.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use kqueue_tests::exposition;
use kqueue_tests::{Answer, Daemon, Exit, Http, Starting, Strace, free_port, repository};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that the admin port has at a time, see docs/operating.md.
const CONNECTIONS_MAX: usize = 512;

/// A daemon with an admin port on a unix socket.
struct Server {
    directory: TempDir,
    daemon: Daemon,
    admin: Http,
}

impl Server {
    fn start(extra: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::start_in(directory.path(), &listening(directory.path(), extra));
        let admin = Http::unix(&directory.path().join("admin.sock"));
        Self { daemon: daemon.expect("it starts"), directory, admin }
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.admin.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    fn terminate(mut self) -> Exit {
        self.daemon.signal(Signal::TERM);
        self.daemon.wait_within(PATIENCE)
    }
}

/// `extra` (see [`Daemon::start`]) with an admin port in that directory.
fn listening(directory: &Path, extra: &str) -> String {
    let (server, rest) = extra.split_once("----").unwrap_or(("", extra));
    let socket = directory.join("admin.sock").display().to_string();
    format!("{server}----[listen]\nmemcache = \"127.0.0.1:0\"\nadmin = \"unix:{socket}\"\n{rest}")
}

/// A connection whose client has asked for much and reads nothing: the server is not done with it when it is to stop.
fn slow_client(daemon: &Daemon) -> TcpStream {
    daemon.connect().put("large", &vec![b'x'; 500_000]);
    let mut slow = daemon.connect_raw();
    slow.write_all(&b"get large/peek\r\n".repeat(100)).expect("it takes requests");
    slow.read_exact(&mut [0; 10]).expect("it has begun");
    slow
}

#[test]
fn until_recovery_is_complete_it_says_so_and_no_client_is_served() {
    let Some(strace) = Strace::new("fsync:delay_enter=1000000") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let extra = format!(
        "[listen]\nmemcache = \"127.0.0.1:{port}\"\nadmin = \"unix:{}\"\n",
        directory.path().join("admin.sock").display()
    );
    let starting = Starting::spawn(directory.path(), &extra, &strace.wrapper());
    let admin = Http::unix(&directory.path().join("admin.sock"));
    for path in ["/ready", "/health", "/metrics", "/ready/read", "/ready/write"] {
        assert_eq!(admin.wait_for(path, 503), "recovering\n", "{path}");
    }
    let client = SocketAddr::from(([127, 0, 0, 1], port));
    let error = TcpStream::connect(client).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(admin.get("/ping.txt").body, "pong\n");
    assert_eq!(admin.wait_for("/ready", 200), "ok\n");
    let daemon = starting.ready().expect("it starts");
    daemon.connect().put("q", b"x");
}

#[test]
fn while_it_drains_it_is_not_ready_and_answers_to_the_end() {
    let mut server = Server::start("");
    let mut slow = slow_client(&server.daemon);
    assert_eq!(server.admin.get("/ready").body, "ok\n");
    server.daemon.signal(Signal::TERM);
    for path in ["/ready", "/health", "/ready/read", "/ready/write"] {
        assert_eq!(server.admin.wait_for(path, 503), "draining\n", "{path}");
    }
    // It still counts.
    assert_eq!(server.json("/stats")["gauges"]["items"], 1);
    slow.read_to_end(&mut Vec::new()).expect("all that was asked for");
    let exit = server.daemon.wait_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[test]
fn a_failed_journal_is_no_longer_healthy() {
    let Some(strace) = Strace::new("fdatasync:error=EIO:when=20+") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let extra = listening(directory.path(), "");
    let started = Daemon::start_under(&strace.wrapper(), directory.path(), &extra);
    let mut daemon = started.expect("it starts");
    let admin = Http::unix(&directory.path().join("admin.sock"));
    let mut slow = slow_client(&daemon);
    let mut wire = daemon.connect();
    for number in 0.. {
        assert!(number < 100, "the disk never fails");
        wire.send(b"set q 0 0 1\r\nx\r\n");
        if wire.line() != "STORED" {
            break;
        }
    }
    let reasons = admin.wait_for("/health", 503);
    assert!(reasons.starts_with("the journal failed\n"), "{reasons}");
    for path in ["/ready", "/ready/read", "/ready/write"] {
        assert!(admin.get(path).body.starts_with("the journal failed\n"), "{path}");
    }
    slow.read_to_end(&mut Vec::new()).expect("what was read before is answered");
    let exit = daemon.wait_within(PATIENCE);
    assert_eq!(exit.code, Some(3), "{exit:?}");
}

#[test]
fn an_operator_changes_status_and_configuration_and_ends_it() {
    let server = Server::start("[queues.q]\nmax_items = 1\n");
    let mut wire = server.daemon.connect();
    wire.put("q", b"x");
    wire.ask(b"set q 0 0 1\r\nx\r\n", b"NOT_STORED\r\n");
    let config = server.directory.path().join("server.toml");
    let text = fs::read_to_string(&config).expect("it was started with it");
    fs::write(&config, text.replace("max_items = 1", "max_items = x")).expect("a file");
    let answer = server.admin.post("/reload.txt", "");
    assert!(answer.status == 422 && answer.body.contains("max_items"), "{answer:?}");
    fs::write(&config, text.replace("max_items = 1", "max_items = 2")).expect("a file");
    assert_eq!(server.admin.post("/reload.txt", "").body, "ok\n");
    wire.put("q", b"x");
    assert_eq!(server.json("/queues?name=q")["settings"]["max_items"], 2);

    assert_eq!(server.admin.post("/status?status=readonly", "").status, 200);
    wire.ask(b"status\r\n", b"READONLY\r\n");
    assert_eq!(server.admin.get("/ready").body, "the status is READONLY\n");
    wire.ask(b"get q\r\n", b"VALUE q 0 1\r\nx\r\nEND\r\n");
    // A client's way to say it counts, too.
    wire.ask(b"status up\r\n", b"END\r\n");
    assert_eq!(server.admin.get("/ready").status, 200);
    assert_eq!(server.admin.post("/status", "status=quiescent").status, 200);
    let Server { daemon, admin, directory } = server;
    let daemon = daemon.kill_and_restart();
    assert_eq!(admin.get("/status.txt").body, "status: QUIESCENT\nenforced: QUIESCENT\n");
    assert_eq!(admin.get("/shutdown").status, 405);
    let mut server = Server { daemon, admin, directory };
    assert_eq!(server.admin.post("/shutdown.txt", "").body, "ok\n");
    let exit = server.daemon.wait_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[test]
fn metrics_are_what_prometheus_reads_and_count_what_happened() {
    let server = Server::start("");
    let mut wire = server.daemon.connect();
    for _ in 0..3 {
        wire.put("jobs", b"12345");
    }
    wire.put("odd\"\\é", b"x");
    assert!(wire.get("jobs").is_some());
    assert!(wire.get("jobs/open").is_some());
    assert!(wire.get("none").is_none());
    assert!(wire.get("none/t=1").is_none());
    let answer = server.admin.get("/metrics");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let metrics = exposition::parse(&answer.body);
    let value = |name: &str, label: &str| {
        let has_label = |labels: &[(String, String)]| {
            label.is_empty() || labels.iter().any(|(_, value)| value == label)
        };
        let samples = metrics.values().flat_map(|metric| &metric.samples);
        let mut found = samples.filter(|s| s.name == name && has_label(&s.labels));
        found.next().unwrap_or_else(|| panic!("{name} {label}")).value
    };
    assert_eq!(value("kqueue_puts_total", ""), 4.0);
    assert_eq!((value("kqueue_items", ""), value("kqueue_items_bytes", "")), (2.0, 6.0));
    assert_eq!(
        (value("kqueue_get_hits_total", ""), value("kqueue_get_misses_total", "")),
        (2.0, 2.0)
    );
    assert_eq!(value("kqueue_connections", ""), 1.0);
    assert_eq!(value("kqueue_queue_items", "jobs"), 1.0);
    assert_eq!(value("kqueue_queue_open_items", "jobs"), 1.0);
    assert_eq!(value("kqueue_queue_put_items_total", "jobs"), 3.0);
    assert_eq!(value("kqueue_queue_items", "odd\"\\\u{c3}\u{a9}"), 1.0);
    assert_eq!(value("kqueue_put_seconds_count", ""), 4.0);
    assert_eq!(value("kqueue_put_synced_seconds_count", ""), 4.0);
    assert!(value("kqueue_put_seconds_sum", "") > 0.0);
    for result in ["hit", "miss", "wait"] {
        assert!(value("kqueue_get_seconds_count", result) >= 1.0, "{result}");
    }
    assert_eq!(value("kqueue_delivery_age_seconds_count", ""), 2.0);
    assert!(value("kqueue_journal_sync_seconds_count", "") >= 1.0);
    assert!(value("process_resident_memory_bytes", "") > 1e6);
    assert!(value("process_cpu_seconds_total", "") >= 0.0);
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_status_that_cannot_be_saved_is_told_once_to_each_who_asks() {
    let root = tempfile::tempdir().expect("a directory");
    let status = root.path().join("gone/status");
    let server = Server::start(&format!("status_file = \"{}\"\n----", status.display()));
    for _ in 0..2 {
        let answer = server.admin.post("/status.txt", "status=readonly");
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(answer.body.contains("the server is READONLY, but not after a restart: "));
    }
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let told = exit.stderr.lines().filter(|line| line.contains("but not after a restart"));
    assert_eq!(told.count(), 2, "{exit:?}");
}

#[test]
fn a_reload_says_what_needs_a_restart_and_the_metrics_whether_it_was_refused() {
    let server = Server::start("");
    let is_fine = || {
        let metrics = exposition::parse(&server.admin.get("/metrics").body);
        metrics["kqueue_config_last_reload_successful"].samples[0].value
    };
    assert_eq!(is_fine(), 1.0);
    let file = server.daemon.config_file();
    let text = fs::read_to_string(&file).expect("read");
    let reload_with = |text: &str| {
        fs::write(&file, text).expect("written");
        server.admin.post("/reload.txt", "")
    };
    let answer = reload_with(&format!("{text}\nbogus = 1\n"));
    assert_eq!((answer.status, is_fine()), (422, 0.0), "{answer:?}");
    let answer = reload_with(&text.replace("[server]", "[server]\nmax_connections = 77"));
    let waits = "ok; only used after a restart: server.max_connections\n";
    assert_eq!((answer.status, &*answer.body, is_fine()), (200, waits, 1.0));
    server.daemon.connect().ask(b"reload\r\n", b"Reloaded config.\r\n");
    assert_eq!(reload_with(&text).body, "ok\n");
}

/// The names in backticks in a section of the operators' manual.
fn documented(title: &str) -> BTreeSet<String> {
    let manual = fs::read_to_string(repository().join("docs/operating.md")).expect("the manual");
    let section = manual.split("\n## ").find(|section| section.starts_with(&format!("{title}\n")));
    let section = section.expect(title);
    section.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_metric_and_every_statistic_is_in_the_manual() {
    let server = Server::start("");
    server.daemon.connect().put("NAME", b"x");
    let known = documented("Admin port");
    let metrics = exposition::parse(&server.admin.get("/metrics").body);
    let stats = server.json("/stats");
    let parts = stats.as_object().expect("an object").values();
    let stats = parts.flat_map(|part| part.as_object().expect("an object").keys().cloned());
    let queue = server.json("/queues")["queues"][0].clone();
    let queue = queue.as_object().expect("an object").keys().cloned();
    let all: Vec<String> = metrics.into_keys().chain(stats).chain(queue).collect();
    assert!(all.len() > 100, "{all:?}");
    let is_known = |name: &str| known.contains(name.strip_prefix("q/NAME/").unwrap_or(name));
    let missing: Vec<&String> = all.iter().filter(|name| !is_known(name)).collect();
    assert!(missing.is_empty(), "not in docs/operating.md, \"Admin port\": {missing:#?}");
}

#[test]
fn every_statistic_of_the_memcache_port_is_in_the_manual() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    assert!(wire.get("NAME+sub").is_none());
    wire.put("NAME", b"x");
    let known = documented("Statistics");
    wire.send(b"dump_stats NAME\r\nstats\r\n");
    let mut missing = Vec::new();
    let mut ends = 0;
    while ends < 2 {
        let line = wire.line();
        ends += usize::from(line == "END");
        let of_a_queue = line.strip_prefix("  ").and_then(|line| line.split_once('='));
        let name = match (line.strip_prefix("STAT "), of_a_queue) {
            (_, Some((name, _))) => format!("_{name}"),
            (Some(stat), _) if !stat.starts_with("queue_NAME") => {
                stat.split(' ').next().unwrap_or_default().to_owned()
            }
            _ => continue,
        };
        if !known.contains(&name) && !known.contains(&format!("queue_NAME{name}")) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "not in docs/operating.md, \"Statistics\": {missing:?}");
}

#[test]
fn clients_that_are_slow_or_many_cost_a_few_connections_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let extra = format!("[listen]\nmemcache = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:{port}\"\n");
    let daemon = Daemon::start_in(directory.path(), &extra).expect("it starts");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let admin = Http::Tcp(address);
    let half = |_| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it reads");
        // Less than a connection lasts in any case.
        stream.set_read_timeout(Some(PATIENCE / 2)).expect("a read timeout");
        stream
    };
    let mut slow: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(half).collect();
    // One more is told so.
    let mut refused = TcpStream::connect(address).expect("it listens");
    refused.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    let mut bytes = Vec::new();
    refused.read_to_end(&mut bytes).expect("an answer");
    let answer = Answer::parse(&bytes).expect("HTTP");
    assert_eq!((answer.status, answer.body.as_str()), (503, "too many connections\n"));
    // Clients notice nothing.
    daemon.connect().put("q", b"x");
    // Who does not go on is not waited for, whatever it was told before.
    for stream in &mut slow {
        stream.read_to_end(&mut Vec::new()).expect("it is closed");
    }
    assert_eq!(admin.wait_for("/ping.txt", 200), "pong\n");

    // Requests without end.
    let long_line = [b"GET /".as_slice(), &[b'x'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
    let long_body = [
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".as_slice(),
        &[b'x'; 5000],
    ]
    .concat();
    for request in [long_line, long_body] {
        // It may be cut off before it has read the answer.
        if let Ok(answer) = admin.try_send(&request) {
            let answer = Answer::parse(&answer).expect("HTTP");
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    }
    let strange = b"GET http:// HTTP/9\r\n\r\n\0\0";
    let _ = admin.try_send(strange);
    assert_eq!(admin.get("/ping.txt").body, "pong\n");
}

#[test]
fn an_admin_address_in_use_is_named_and_nothing_is_touched() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let directory = tempfile::tempdir().expect("a directory");
    let extra = format!("[listen]\nmemcache = \"127.0.0.1:0\"\nadmin = \"{address}\"\n");
    let exit = Daemon::start_in(directory.path(), &extra).err().expect("it does not start");
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains(&format!("cannot listen on {address}")), "{exit:?}");
    assert!(exit.stderr.contains("give this one another address"), "{exit:?}");
    assert!(!directory.path().join("data").exists());
}
