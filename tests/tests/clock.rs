//! The machine's clock is set, by a year or to 1970: nothing expires at once, nothing stays for ever, and leases and waits do not notice.

use std::path::Path;
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, FakeClock, Wire, tool};
use serde_json::Value;

/// Expired items are looked for all the time.
const SWEEPING: &str =
    "expiration_timer_frequency = \"10ms\"----[queues.\"aging\"]\nmax_age = \"1h\"\n";
/// Some 300 days, in milliseconds.
const LONG_MS: i64 = 300 * 24 * 3_600_000;
/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(clock: &FakeClock, directory: &Path) -> Daemon {
    Daemon::start_under(&clock.wrapper(), directory, SWEEPING).expect("it starts")
}

/// Asks until it is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

fn ahead_ms(wire: &mut Wire) -> i64 {
    wire.stat("clock_ahead_ms").expect("it is there").parse().expect("a number")
}

fn put_with_ttl(wire: &mut Wire, queue: &str, seconds: u32, body: &str) {
    let request = format!("set {queue} 0 {seconds} {}\r\n{body}\r\n", body.len());
    wire.ask(request.as_bytes(), b"STORED\r\n");
}

/// Something that lives for a second is put, and ends: by then the server has looked for what has expired.
fn something_expires(wire: &mut Wire) {
    let expired = |wire: &mut Wire| -> u64 {
        let name = "queue_short_expired_items";
        wire.stat(name).map_or(0, |count| count.parse().expect("a number"))
    };
    let before = expired(wire);
    put_with_ttl(wire, "short", 1, "short");
    wait_until("an item of one second expires", || expired(wire) > before);
}

/// Reserves the head of a queue for so long; its id.
fn reserve(wire: &mut Wire, queue: &str, lease_ms: u32) -> String {
    wire.send(format!("reserve 1 0 {lease_ms} {queue}\r\n").as_bytes());
    let line = wire.line();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], "ITEM", "{line}");
    let mut body = vec![0; words[6].parse().expect("a length")];
    wire.read(&mut body);
    wire.expect(b"\r\nEND\r\n");
    words[2].to_owned()
}

/// Leases and waits end, though unix time is a year behind or ahead.
fn leases_and_waits_end(daemon: &Daemon) {
    let mut wire = daemon.connect();
    assert_eq!(wire.get("nothing/t=200"), None);
    wire.put("leased", b"leased");
    let id = reserve(&mut wire, "leased", 200);
    // It returns to the queue, and whoever waits there gets it.
    let mut other = daemon.connect();
    assert_eq!(other.get("leased/t=30000").as_deref(), Some(&b"leased"[..]));
    wire.ask(format!("ack leased {id}\r\n").as_bytes(), b"NOT_HELD\r\n");
}

#[test]
fn a_clock_that_jumps_a_year_ahead_expires_nothing_and_ends_no_lease_and_no_wait() {
    let clock = FakeClock::new("+0d");
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    for body in ["1", "2", "3"] {
        put_with_ttl(&mut wire, "q", 3600, body);
        wire.put("aging", body.as_bytes());
    }
    wire.put("held", b"held");
    let mut worker = daemon.connect();
    let id = reserve(&mut worker, "held", 600_000);
    let mut waiting = daemon.connect();
    waiting.send(b"get wanted/t=600000\r\n");
    wait_until("it waits", || wire.stat("queue_wanted_waiters").as_deref() == Some("1"));
    assert_eq!(ahead_ms(&mut wire), 0);

    clock.set("+365d");
    wait_until("the jump is noticed", || ahead_ms(&mut wire) > LONG_MS);
    something_expires(&mut wire);
    put_with_ttl(&mut wire, "q", 3600, "4");
    something_expires(&mut wire);
    assert_eq!(wire.stat("queue_q_expired_items").as_deref(), Some("0"));
    assert_eq!(wire.stat("queue_aging_expired_items").as_deref(), Some("0"));
    worker.ask(format!("ack held {id}\r\n").as_bytes(), b"OK\r\n");
    wire.put("wanted", b"at last");
    assert_eq!(waiting.value().as_deref(), Some(&b"at last"[..]));
    leases_and_waits_end(&daemon);
    for body in ["1", "2"] {
        assert_eq!(wire.get("q").as_deref(), Some(body.as_bytes()));
        assert_eq!(wire.get("aging").as_deref(), Some(body.as_bytes()));
    }
    let exit = daemon.kill();
    assert!(exit.stderr.contains("WARN") && exit.stderr.contains("clock jumped"), "{exit:?}");

    // Whoever starts a server says that the clock is right.
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    assert_eq!(ahead_ms(&mut wire), 0);
    assert_eq!((wire.get("q"), wire.get("aging")), (None, None));
}

#[test]
fn a_clock_that_jumps_a_year_back_freezes_nothing() {
    let clock = FakeClock::new("+0d");
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    // What was put before the jump expires after it, as does what is put then.
    put_with_ttl(&mut wire, "before", 2, "x");
    put_with_ttl(&mut wire, "q", 3600, "stays");
    clock.set("-365d");
    wait_until("the jump is noticed", || ahead_ms(&mut wire) < -LONG_MS);
    leases_and_waits_end(&daemon);
    something_expires(&mut wire);
    let expired = "queue_before_expired_items";
    wait_until("it expires", || wire.stat(expired).as_deref() == Some("1"));
    assert_eq!(wire.get("q").as_deref(), Some(&b"stays"[..]));
    // The clock is set right again.
    clock.set("+0d");
    wait_until("that is noticed", || ahead_ms(&mut wire).abs() < LONG_MS);
    something_expires(&mut wire);
    let exit = daemon.kill();
    assert!(exit.stderr.contains("WARN") && exit.stderr.contains("clock jumped"), "{exit:?}");
}

#[test]
fn a_server_that_is_started_in_1970_goes_on_where_its_journal_ends() {
    let clock = FakeClock::new("+0d");
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    put_with_ttl(&mut wire, "q", 3600, "old");
    put_with_ttl(&mut wire, "before", 2, "x");
    daemon.kill();

    clock.set("@1970-01-01 00:01:00");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    // What lives for two seconds does not live for half a century.
    wait_until("it expires", || wire.get("before/peek").is_none());
    something_expires(&mut wire);
    leases_and_waits_end(&daemon);
    assert_eq!(wire.get("q/peek").as_deref(), Some(&b"old"[..]));
    put_with_ttl(&mut wire, "q", 3600, "new");
    assert!(ahead_ms(&mut wire) < -LONG_MS);
    daemon.kill();

    let done = tool(&[&"dump", &directory.path().join("data"), &"--queue", &"q"]);
    let lines = done.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let put_ms = |line: usize| lines[line]["put_ms"].as_u64();
    assert!(put_ms(0).is_some() && put_ms(0) <= put_ms(1), "{done:?}");

    // The clock has been set by now: both are there.
    clock.set("+0d");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    assert_eq!(wire.get("q").as_deref(), Some(&b"old"[..]));
    assert_eq!(wire.get("q").as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_new_server_works_in_1970() {
    let clock = FakeClock::new("@1970-01-01 00:01:00");
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    put_with_ttl(&mut wire, "q", 3600, "x");
    leases_and_waits_end(&daemon);
    something_expires(&mut wire);
    // The clock is set, to half a century later.
    clock.set("+0d");
    wait_until("the jump is noticed", || ahead_ms(&mut wire) > LONG_MS);
    something_expires(&mut wire);
    leases_and_waits_end(&daemon);
    assert_eq!(wire.get("q").as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_server_that_is_started_a_year_ahead_or_behind_keeps_what_has_no_end_and_what_is_put() {
    for wrong in ["+365d", "-365d"] {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::start_in(directory.path(), SWEEPING).expect("it starts");
        daemon.connect().put("endless", b"before");
        daemon.kill();
        let daemon = start(&FakeClock::new(wrong), directory.path());
        let mut wire = daemon.connect();
        let real = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let time: u64 = wire.stat("time").expect("it is there").parse().expect("a number");
        assert!(time.abs_diff(real) > LONG_MS as u64 / 1000, "{wrong}: it has the right time");
        put_with_ttl(&mut wire, "dated", 3600, "an hour");
        wire.put("endless", b"meanwhile");
        something_expires(&mut wire);
        leases_and_waits_end(&daemon);
        assert_eq!(wire.get("dated/peek").as_deref(), Some(&b"an hour"[..]), "{wrong}");
        daemon.kill();
        // The clock has been set right. What was put when it was a year behind has expired since.
        let daemon = Daemon::start_in(directory.path(), SWEEPING).expect("it starts");
        let mut wire = daemon.connect();
        assert_eq!(wire.get("endless").as_deref(), Some(&b"before"[..]), "{wrong}");
        assert_eq!(wire.get("endless").as_deref(), Some(&b"meanwhile"[..]), "{wrong}");
        assert_eq!(wire.get("endless"), None, "{wrong}");
        assert_eq!(wire.get("dated").is_some(), wrong == "+365d", "{wrong}");
    }
}
