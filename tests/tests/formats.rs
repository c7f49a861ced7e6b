//! Directories that servers of every version of the journal's format left behind: this server reads them, and finds everything that was in them.
//!
//! A directory in `fixtures/` is what [`history`] left, killed at its end, with `expected.txt`, what the server that wrote it found there at its next start.
//! `KQUEUE_BLESS=format2 cargo test -p kqueue-tests --test formats` writes the present one anew (when the format changes: a new one, see docs/journal_format.md).
//! `format1` was written in the same way by the server of commit 2d998c8, the last one before format 2 (`KQUEUE_SERVER` names it).

use std::fs;
use std::path::{Path, PathBuf};

use kqueue_tests::{Daemon, Wire};

const SMALL: &str = "max_item_size = \"1KiB\"----segment_size = \"76KiB\"\nlog_cap = \"256KiB\"\n";
/// What version 1 did not know.
const SINCE_2: &str =
    "[queues.poison]\nmax_attempts = 2\ndead_letter_queue = \"dead\"\nmax_memory_size = \"1KiB\"\n";
/// All queues of the history, the emptied and the deleted ones included.
const QUEUES: [&str; 11] = [
    "jobs",
    "posts",
    "posts+search",
    "posts+mail",
    "dated",
    "flushed",
    "gone",
    "filler",
    "kept",
    "poison",
    "dead",
];
/// As late as the protocol can say: January 2038.
const FAR: u64 = 2_147_000_000;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn config(version: u32) -> String {
    format!("{SMALL}{}", if version >= 2 { SINCE_2 } else { "" })
}

fn put(wire: &mut Wire, queue: &str, flags: usize, expiry: u64, body: &str) {
    let request = format!("set {queue} {flags} {expiry} {}\r\n{body}\r\n", body.len());
    wire.send(request.as_bytes());
    assert_eq!(wire.line(), "STORED", "{request}");
}

/// An item as `reserve` shows it: id, flags, attempts, body.
fn reserve(wire: &mut Wire, queue: &str) -> Option<(String, String)> {
    wire.send(format!("reserve 1 0 0 {queue}\r\n").as_bytes());
    let line = wire.line();
    if line == "END" {
        return None;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let mut body = vec![0; words[6].parse().expect("a length")];
    wire.read(&mut body);
    wire.expect(b"\r\nEND\r\n");
    let body = String::from_utf8(body).expect("text");
    let shown = format!("id {}, flags {}, delivery {}: {body}", words[2], words[3], words[4]);
    Some((words[2].to_owned(), shown))
}

/// A bit of everything that is kept in a journal. Ends with a put, so that all of it is on the disk.
fn history(daemon: &Daemon, version: u32) {
    let wire = &mut daemon.connect();
    for sub in ["posts+search", "posts+mail"] {
        assert_eq!(wire.get(sub), None);
    }
    for number in 0..40 {
        put(wire, "jobs", number, 0, &format!("job {number}"));
    }
    for number in 0..10 {
        put(wire, "posts", 0, 0, &format!("post {number}"));
        put(wire, "flushed", 0, 0, "flushed away");
        put(wire, "gone", 0, 0, "gone with its queue");
        put(wire, "kept", 7, 0, "\r\nEND\r\n");
    }
    put(wire, "dated", 0, FAR, "until 2038");
    put(wire, "dated", 0, 1_000_001, "until 1970");
    put(wire, "dated", 1, 0, "for ever");
    for _ in 0..5 {
        wire.get("jobs").expect("an item");
    }
    for _ in 0..3 {
        wire.get("posts+search").expect("an item");
    }
    wire.get("posts").expect("an item");
    wire.ask(b"flush flushed\r\n", b"END\r\n");
    put(wire, "flushed", 0, 0, "after the flush");
    wire.ask(b"delete gone\r\n", b"DELETED\r\n");
    // Delivered three times and given back by the end of a connection, so that attempts are in checkpoints.
    for _ in 0..3 {
        let other = &mut daemon.connect();
        reserve(other, "kept").expect("an item");
        other.ask(b"quit\r\n", b"");
        other.expect_close();
        while daemon.stat("queue_kept_open_transactions").as_deref() != Some("0") {}
    }
    if version >= 2 {
        for number in 0..3 {
            put(wire, "poison", 9, 0, &format!("poison {number}"));
        }
        for _ in 0..2 {
            let (id, _) = reserve(wire, "poison").expect("an item");
            wire.ask(format!("release poison {id}\r\n").as_bytes(), b"OK\r\n");
        }
    }
    // The log turns over.
    for number in 0..300 {
        put(wire, "filler", 0, 0, &format!("{number:01000}"));
        if number >= 20 {
            wire.get("filler").expect("an item");
        }
    }
    if version >= 2 {
        while daemon.stat("journal_checkpoints").as_deref() == Some("0") {
            put(wire, "filler", 0, 0, &format!("{:01000}", 0));
            wire.get("filler").expect("an item");
        }
    }
    // What is behind the checkpoint: one item is open.
    let (id, _) = reserve(wire, "jobs").expect("an item");
    wire.ask(format!("ack jobs {id}\r\n").as_bytes(), b"OK\r\n");
    reserve(wire, "jobs").expect("an item");
    put(&mut daemon.connect(), "jobs", 99, 0, "the last one");
}

/// Everything that is in the queues, with ids, flags and attempts.
fn listing(daemon: &Daemon) -> String {
    let wire = &mut daemon.connect();
    let mut text = String::new();
    for queue in QUEUES {
        text.push_str(&format!("{queue}\n"));
        while let Some((id, shown)) = reserve(wire, queue) {
            text.push_str(&format!("  {}\n", shown.escape_debug()));
            wire.ask(format!("ack {queue} {id}\r\n").as_bytes(), b"OK\r\n");
        }
    }
    text
}

/// Only what belongs to the log.
fn copy_log(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let shown = name.to_string_lossy();
        if shown.starts_with("log-") || shown == "journal.kq" {
            fs::copy(from.join(&name), to.join(&name)).expect("a copy");
        }
    }
}

fn bless(name: &str, version: u32) {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start_in(directory.path(), &config(version)).expect("it starts");
    history(&daemon, version);
    let data = daemon.data_dir();
    daemon.kill();
    let fixture = fixture(name);
    if fixture.exists() {
        fs::remove_dir_all(&fixture).expect("the old one goes");
    }
    copy_log(&data, &fixture.join("data"));
    let daemon = Daemon::start_in(directory.path(), &config(version)).expect("it starts");
    fs::write(fixture.join("expected.txt"), listing(&daemon)).expect("a file");
}

/// Reads a fixture, twice: what the first start made of it is read by the second one.
fn reads(name: &str, version: u32) {
    if std::env::var("KQUEUE_BLESS").as_deref() == Ok(name) {
        return bless(name, version);
    }
    let expected = fs::read_to_string(fixture(name).join("expected.txt")).expect("a fixture");
    for starts in 1..=2 {
        let directory = tempfile::tempdir().expect("a directory");
        copy_log(&fixture(name).join("data"), &directory.path().join("data"));
        let mut daemon = Daemon::start_in(directory.path(), &config(2)).expect("it starts");
        if starts == 2 {
            daemon.connect().put("filler", b"new");
            daemon = daemon.kill_and_restart();
        }
        assert_eq!(daemon.stat("damaged_total").as_deref(), Some("0"));
        assert_eq!(daemon.stat("torn_tail_total").as_deref(), Some("0"));
        let found = listing(&daemon);
        let found: String = found
            .lines()
            .filter(|line| !line.ends_with(": new"))
            .fold(String::new(), |all, line| all + line + "\n");
        assert_eq!(found, expected, "{name}, start {starts}");
        // What was taken stays away, and the log goes on.
        daemon.connect().put("jobs", b"the next one");
        let daemon = daemon.kill_and_restart();
        let rest = listing(&daemon);
        assert_eq!(rest.lines().filter(|line| line.starts_with("  ")).count(), 1, "{rest}");
        assert!(rest.contains("the next one"), "{rest}");
    }
}

#[test]
fn a_directory_of_format_1_is_read_and_everything_in_it_is_served() {
    reads("format1", 1);
}

#[test]
fn a_directory_of_format_2_is_read_and_everything_in_it_is_served() {
    reads("format2", 2);
    // Whoever writes it anew: it has to hold what it is there for.
    let superblock = fs::read(fixture("format2/data/journal.kq")).expect("a superblock");
    let starts = [32, 4096 + 32].map(|at| superblock[at..at + 8].iter().any(|&byte| byte != 0));
    assert!(starts.contains(&true), "no checkpoint in it");
    let expected = fs::read_to_string(fixture("format2/expected.txt")).expect("a fixture");
    for part in
        ["delivery 4: \\r\\nEND", "until 2038", "dead\n  id", "post 9", "job 6\n", "the last one"]
    {
        assert!(expected.contains(part), "{part} is not in it:\n{expected}");
    }
    assert!(!expected.contains("gone with") && !expected.contains("until 1970"), "{expected}");
}
