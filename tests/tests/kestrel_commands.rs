//! What an operator and Kestrel's clients do besides putting and getting: status, reload, shutdown, aliases, the text port. The rows of every command are in
//! crates/kqueue-broker/src/kestrel_tests/; here it is shown that they reach the real daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kqueue_tests::{Daemon, Wire, tool};
use rustix::process::Signal;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the text port.
struct Text(BufReader<UnixStream>);

impl Text {
    fn connect(daemon: &Daemon) -> Self {
        let stream = UnixStream::connect(daemon.text_socket()).expect("the text port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, request: &str, expected: &str) {
        self.0.get_mut().write_all(request.as_bytes()).expect("it takes what is sent");
        for line in expected.lines() {
            let mut got = String::new();
            self.0.read_line(&mut got).expect("a line");
            assert_eq!(got, format!("{line}\n"), "{request}");
        }
    }
}

/// As clients see it: numbers only, since some take it apart.
fn version() -> String {
    let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    format!("{major}.{minor}.{}", env!("CARGO_PKG_VERSION_PATCH"))
}

fn append(daemon: &Daemon, text: &str) {
    let config = daemon.config_file();
    let before = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, before + text).expect("it can be written");
}

#[test]
fn clients_see_a_version_of_numbers_only_and_operators_the_whole_of_it() {
    let mut daemon = Daemon::start("");
    daemon.connect().ask(b"version\r\n", format!("VERSION {}\r\n", version()).as_bytes());
    let words =
        "put reserve ack release touch bury browse kick purge pause resume delay priority key";
    let capabilities = format!("CAPABILITIES kqueue/{} {words}\r\n", version());
    daemon.connect().ask(b"capabilities\r\n", capabilities.as_bytes());
    assert_eq!(daemon.stat("version"), Some(version()));
    daemon.signal(Signal::TERM);
    let log = daemon.wait().stderr;
    let whole = format!("kqueue-server {}", env!("CARGO_PKG_VERSION"));
    assert!(log.lines().next().is_some_and(|line| line.ends_with(&whole)), "{log}");
    assert_eq!(tool(&[&"--version"]).out, whole + "\n");
}

#[test]
fn a_status_outlives_a_restart() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    wire.put("q", b"a");
    wire.ask(b"status readonly\r\n", b"END\r\n");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    wire.ask(b"status\r\n", b"READONLY\r\n");
    assert_eq!(wire.get("q").as_deref(), Some(&b"a"[..]));
    wire.ask(b"set q 0 0 1\r\nb\r\n", b"SERVER_ERROR the server is READONLY\r\n");
    let mut wire = daemon.connect();
    wire.ask(b"status up\r\n", b"END\r\n");
    let daemon = daemon.stop_and_restart();
    daemon.connect().put("q", b"b");
}

/// Whoever looks at the log at night looks in the right place.
#[test]
fn a_start_that_does_not_serve_everything_says_who_wanted_that() {
    let daemon = Daemon::start("default_status = \"quiescent\"----");
    daemon.connect().ask(b"status readonly\r\n", b"END\r\n");
    let file = daemon.data_dir().join("status");
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("data")).expect("a directory");
    let kept = root.path().join("data/status");
    fs::copy(&file, &kept).expect("it is saved");
    let log = daemon.kill().stderr;
    let line = "the status is QUIESCENT: server.default_status says so; `status up` ends that";
    assert!(log.contains(line), "{log}");

    let extra = "default_status = \"quiescent\"----";
    let daemon = Daemon::start_in(root.path(), extra).expect("it starts");
    let log = daemon.kill().stderr;
    let line =
        format!("the status is READONLY, as it was set before ({}): `status up`", kept.display());
    assert!(log.contains(&line), "{log}");
}

#[test]
fn the_default_status_holds_until_another_is_set_and_if_what_was_set_cannot_be_read() {
    let daemon = Daemon::start("default_status = \"readonly\"----");
    daemon.connect().ask(b"status\r\n", b"READONLY\r\n");
    daemon.connect().ask(b"status up\r\n", b"END\r\n");
    let daemon = daemon.stop_and_restart();
    daemon.connect().ask(b"status\r\n", b"UP\r\n");
    fs::write(daemon.data_dir().join("status"), "nonsense\n").expect("it can be written");
    let mut daemon = daemon.stop_and_restart();
    daemon.connect().ask(b"status\r\n", b"READONLY\r\n");
    daemon.signal(Signal::TERM);
    let log = daemon.wait().stderr;
    assert!(log.contains("default_status is used: "), "{log}");
    assert!(log.contains("the status is READONLY: server.default_status says so"), "{log}");
}

#[test]
fn a_status_is_enforced_after_its_grace_period() {
    let daemon = Daemon::start("status_change_grace_period = \"300ms\"\n----");
    let mut wire = daemon.connect();
    wire.ask(b"status quiescent\r\nstatus\r\n", b"END\r\nQUIESCENT\r\n");
    // Who still comes is served, until suddenly nobody is.
    loop {
        let mut wire = daemon.connect();
        wire.send(b"set q 0 0 1\r\na\r\n");
        match wire.line().as_str() {
            "STORED" => {}
            refused => {
                assert_eq!(refused, "SERVER_ERROR the server is QUIESCENT");
                break;
            }
        }
    }
}

#[test]
fn a_reload_takes_effect_as_a_whole_or_not_at_all_and_says_which() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    append(
        &daemon,
        "[queues.full]\nmax_items = 0\n[aliases.both]\ndestinations = [\"a\", \"b\"]\n",
    );
    wire.put("full", b"x");
    wire.ask(b"reload\r\n", b"Reloaded config.\r\n");
    wire.ask(b"set full 0 0 1\r\ny\r\n", b"NOT_STORED\r\n");
    wire.put("both", b"z");
    assert_eq!((wire.get("a"), wire.get("b")), (Some(b"z".to_vec()), Some(b"z".to_vec())));
    append(&daemon, "[queues.other]\nmax_items = 0\nmax_itms = 7\n");
    wire.send(b"reload\r\n");
    let refused = wire.line();
    let place = format!("{}:", daemon.config_file().display());
    assert!(refused.starts_with("SERVER_ERROR not reloaded: "), "{refused}");
    assert!(refused.contains(&place) && refused.contains("max_itms"), "{refused}");
    wire.put("other", b"the old settings are in force");
    wire.ask(b"set full 0 0 1\r\ny\r\n", b"NOT_STORED\r\n");
}

#[test]
fn sighup_reloads_and_does_not_end_the_server() {
    let daemon = Daemon::start("");
    append(&daemon, "[aliases.all]\ndestinations = [\"a\"]\n");
    daemon.signal(Signal::HUP);
    let mut wire = daemon.connect();
    // The alias is there once the signal has been seen to.
    while wire.stat("queue_all_put_items").is_none() {}
    wire.put("all", b"x");
    assert_eq!(wire.get("a").as_deref(), Some(&b"x"[..]));
}

#[test]
fn shutdown_ends_the_server_as_a_signal_does() {
    let mut daemon = Daemon::start("");
    let mut wire = daemon.connect();
    wire.put("q", b"kept");
    let mut waits = daemon.connect();
    waits.send(b"get other/t=60000\r\n");
    // Who has not been accepted by then is not served any more.
    while wire.stat("queue_other_waiters").as_deref() != Some("1") {}
    wire.send(b"shutdown\r\n");
    wire.expect_close();
    waits.expect(b"END\r\n");
    let exit = daemon.wait_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
}

#[test]
fn connections_over_a_limit_may_not_put() {
    let daemon = Daemon::start("connection_limit_refuse_writes = 1\n----");
    let mut first = daemon.connect();
    first.put("q", b"a");
    let mut second = daemon.connect();
    assert_eq!(second.get("q").as_deref(), Some(&b"a"[..]));
    let refused = b"SERVER_ERROR too many connections: this one is refused that\r\n";
    second.ask(b"set q 0 0 1\r\nb\r\n", refused);
    first.put("q", b"b");
}

#[test]
fn a_monitor_streams_and_its_client_may_vanish() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    let mut monitor = daemon.connect();
    monitor.send(b"monitor q 60 10\r\n");
    for body in [&b"a"[..], b"b", b"c"] {
        wire.put("q", body);
        assert_eq!(monitor.value().as_deref(), Some(body));
    }
    drop(monitor);
    for body in [&b"a"[..], b"b", b"c"] {
        assert_eq!(wire.get("q/t=60000").as_deref(), Some(body));
    }
}

#[test]
fn the_text_port_speaks_kestrels_text_protocol() {
    let daemon = Daemon::start("");
    let mut text = Text::connect(&daemon);
    text.ask("put q:\nfirst\nsecond\n\n", "+2\n");
    text.ask("peek q\n", ":first\n");
    text.ask("get q\n", ":first\n");
    // Another connection does not see what is open; the end of this one gives it back.
    let mut other = Text::connect(&daemon);
    other.ask("get q\n", ":second\n");
    text.ask("get q\n", "*\n");
    drop(other);
    text.ask(
        "get q 60000\nconfirm q 1\nconfirm q 1\n",
        ":second\n+1\n-Not that many transactions open.\n",
    );
    text.ask("put q 3600000:\n\n", "+0\n");
    text.ask("monitor q 20\n", "*\n");
    text.ask(
        "status\nversion\nflush q\ndelete q\nnonsense\n",
        &format!(":UP\n:{}\n+0\n+0\n-Unknown command: nonsense\n", version()),
    );
    text.ask("status readonly\n", "+0\n");
    text.ask(
        "put q:\nx\n\n",
        "-Server not available for operation setItem: the server is READONLY\n",
    );
    text.ask("status up\nput q:\nx\n\n", "+0\n+1\n");
    // What memcache clients put, and the other way round.
    let mut wire: Wire = daemon.connect();
    assert_eq!(wire.get("q").as_deref(), Some(&b"x"[..]));
    wire.put("q", b"y");
    text.ask("get q\n", ":y\n");
    text.ask("get a.b\n", "-'.' in a queue name: 'a.b'\n");
    let mut rest = Vec::new();
    text.0.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
    assert_eq!(wire.get("q/t=60000").as_deref(), Some(&b"y"[..]), "it was open, not confirmed");
}

#[test]
fn bytes_are_counted_in_both_directions() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    let mut count =
        |name: &str| -> u64 { wire.stat(name).expect("a statistic").parse().expect("a number") };
    let (read, written) = (count("bytes_read"), count("bytes_written"));
    let request = b"set q 0 0 5\r\nhello\r\nget q\r\n";
    let reply = b"STORED\r\nVALUE q 0 5\r\nhello\r\nEND\r\n";
    daemon.connect().ask(request, reply);
    // Three times `stats`: twice above, and the one that tells.
    let stats = |times: usize| (times * b"stats\r\n".len()) as u64;
    assert_eq!(count("bytes_read") - read, request.len() as u64 + stats(2));
    assert!(count("bytes_written") - written > reply.len() as u64);
}

#[test]
fn items_that_are_written_again_are_counted() {
    let daemon = Daemon::start(
        "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"\n[queue_defaults]\nsync_journal = \"never\"",
    );
    let mut wire = daemon.connect();
    wire.put("kept", b"in the oldest segment");
    let body = [b'x'; 8 << 10];
    // Whatever is put and taken pushes the oldest segment out, sooner or later.
    while wire.stat("queue_kept_journal_rewrites").as_deref() == Some("0") {
        wire.put("passing", &body);
        assert!(wire.get("passing").is_some());
    }
    assert_eq!(wire.get("kept").as_deref(), Some(&b"in the oldest segment"[..]));
}
