//! A machine whose clock is wrong when the server starts, or jumps while it runs: nothing expires at once, nothing stays for ever, and waits and leases end in
//! real time.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use kqueue_tests::{Daemon, FakeClock, Wire};

const YEAR: i64 = 365 * 24 * 3600;
/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(clock: &FakeClock, directory: &Path) -> Daemon {
    Daemon::start_under(&clock.wrapper(), directory, "").expect("it starts")
}

fn put(wire: &mut Wire, queue: &str, seconds: i64, body: &str) {
    let request = format!("set {queue} 0 {seconds} {}\r\n{body}\r\n", body.len());
    wire.ask(request.as_bytes(), b"STORED\r\n");
}

fn number(daemon: &Daemon, name: &str) -> i64 {
    daemon.stat(name).and_then(|text| text.parse().ok()).expect("a number")
}

/// How far the daemon's unix time is ahead of the machine's, in seconds.
fn ahead(daemon: &Daemon) -> i64 {
    let real = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs() as i64;
    number(daemon, "time") - real
}

/// How long it takes until an item that nobody takes is gone.
fn time_to_expire(wire: &mut Wire, queue: &str) -> Duration {
    let began = Instant::now();
    while wire.get(&format!("{queue}/peek")).is_some() {
        assert!(began.elapsed() < PATIENCE, "it never expires");
    }
    began.elapsed()
}

/// Waits and leases last as long as they should.
fn waits_and_leases_are_real(daemon: &Daemon, jump: impl FnOnce()) {
    let mut wire = daemon.connect();
    put(&mut wire, "leased", 0, "x");
    wire.send(b"reserve 1 0 1500 leased\r\n");
    assert!(wire.line().starts_with("ITEM leased "), "an item");
    wire.expect(b"x\r\nEND\r\n");
    let (mut nothing, mut lease) = (daemon.connect(), daemon.connect());
    let began = Instant::now();
    nothing.send(b"get nothing/t=1000\r\n");
    lease.send(b"get leased/t=30000\r\n");
    while daemon.stat("queue_leased_waiters").as_deref() != Some("1") {}
    jump();
    assert_eq!(nothing.value(), None);
    let took = began.elapsed();
    assert!((950..5_000).contains(&took.as_millis()), "a wait of 1 s took {took:?}");
    assert_eq!(lease.value().as_deref(), Some(&b"x"[..]));
    let took = began.elapsed();
    assert!((1_300..6_000).contains(&took.as_millis()), "a lease of 1.5 s took {took:?}");
}

#[test]
fn started_a_year_ahead_or_behind_it_serves_what_has_no_end_and_keeps_what_is_put() {
    for wrong in [YEAR, -YEAR] {
        let directory = tempfile::tempdir().expect("a directory");
        let right = FakeClock::new(0);
        let daemon = start(&right, directory.path());
        put(&mut daemon.connect(), "endless", 0, "before");
        daemon.kill();
        let clock = FakeClock::new(wrong);
        let daemon = start(&clock, directory.path());
        assert!((ahead(&daemon) - wrong).abs() < 60, "it does not have the wrong clock");
        let mut wire = daemon.connect();
        put(&mut wire, "dated", 3600, "an hour");
        put(&mut wire, "endless", 0, "meanwhile");
        assert_eq!(wire.get("dated/peek").as_deref(), Some(&b"an hour"[..]));
        waits_and_leases_are_real(&daemon, || ());
        daemon.kill();
        // The clock has been set right: it neither brings back nor forgets anything but what has expired.
        let daemon = start(&right, directory.path());
        let mut wire = daemon.connect();
        assert_eq!(wire.get("endless").as_deref(), Some(&b"before"[..]));
        assert_eq!(wire.get("endless").as_deref(), Some(&b"meanwhile"[..]));
        assert_eq!(wire.get("endless"), None);
        assert_eq!(wire.get("dated").is_some(), wrong > 0, "{wrong}");
    }
}

#[test]
fn started_by_a_machine_that_does_not_know_the_time_it_goes_on_where_the_journal_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = start(&FakeClock::new(0), directory.path());
    put(&mut daemon.connect(), "dated", 2, "two seconds");
    daemon.kill();
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs() as i64;
    let daemon = start(&FakeClock::new(100 - now), directory.path());
    assert!(ahead(&daemon).abs() < 60, "{}", ahead(&daemon));
    let mut wire = daemon.connect();
    assert_eq!(wire.get("dated/peek").as_deref(), Some(&b"two seconds"[..]));
    // It is not kept for 50 years.
    let took = time_to_expire(&mut wire, "dated");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_jump_ahead_expires_nothing_at_once_and_is_told() {
    let (clock, directory) = (FakeClock::new(0), tempfile::tempdir().expect("a directory"));
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    put(&mut wire, "dated", 3600, "an hour");
    put(&mut wire, "short", 4, "four seconds");
    let began = Instant::now();
    waits_and_leases_are_real(&daemon, || clock.set(YEAR));
    while number(&daemon, "clock_ahead_ms") < (YEAR - 60) * 1000 {
        assert!(began.elapsed() < PATIENCE, "the jump is not in the statistics");
    }
    assert_eq!(wire.get("dated/peek").as_deref(), Some(&b"an hour"[..]));
    // Time runs at double speed until it is there.
    time_to_expire(&mut wire, "short");
    let took = began.elapsed();
    assert!((1_900..8_000).contains(&took.as_millis()), "4 s took {took:?}");
    assert_eq!(wire.get("dated").as_deref(), Some(&b"an hour"[..]));
    let exit = daemon.kill();
    assert!(exit.stderr.contains("the machine's clock jumped"), "{exit:?}");
}

#[test]
fn a_jump_back_keeps_nothing_for_ever() {
    let (clock, directory) = (FakeClock::new(0), tempfile::tempdir().expect("a directory"));
    let daemon = start(&clock, directory.path());
    let mut wire = daemon.connect();
    put(&mut wire, "short", 2, "two seconds");
    put(&mut wire, "dated", 3600, "an hour");
    let began = Instant::now();
    clock.set(-YEAR);
    while number(&daemon, "clock_ahead_ms") > (60 - YEAR) * 1000 {
        assert!(began.elapsed() < PATIENCE, "the jump is not in the statistics");
    }
    // Time runs at half speed until the machine's clock has caught up.
    time_to_expire(&mut wire, "short");
    let took = began.elapsed();
    assert!((1_900..8_000).contains(&took.as_millis()), "2 s took {took:?}");
    waits_and_leases_are_real(&daemon, || clock.set(0));
    // Back again: everything is as before.
    while number(&daemon, "clock_ahead_ms").abs() > 2_000 {
        assert!(began.elapsed() < PATIENCE, "it does not find back");
    }
    assert_eq!(wire.get("dated").as_deref(), Some(&b"an hour"[..]));
}
