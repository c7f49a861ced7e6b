//! The tools of an operator, as real processes on real directories: check, dump, import, backup, restore.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kqueue_tests::{Daemon, Dice, Done, SmallDisk, Wire, files_in, repository, tool, tool_started};
use rustix::process::Signal;
use serde_json::Value;

/// Small segments, so that there are several.
const SMALL: &str = "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"";

/// A data directory that a server has left, with some items in it.
struct Left {
    root: tempfile::TempDir,
}

impl Left {
    /// `fill` puts something into it; the server is killed after that, or stops in good order.
    fn behind(extra: &str, is_killed: bool, fill: impl FnOnce(&Daemon)) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start_in(root.path(), extra).expect("it starts");
        fill(&daemon);
        if is_killed {
            daemon.kill();
        } else {
            daemon.signal(Signal::TERM);
            assert_eq!(daemon.wait().code, Some(0));
        }
        Self { root }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.data().join(format!("log-{number:016x}.kq"))
    }

    fn check(&self) -> Done {
        tool(&[&"check", &self.data()])
    }

    /// Changes a file's bytes.
    fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).expect("it is there");
        change(&mut bytes);
        fs::write(path, bytes).expect("it can be written");
    }
}

fn some_items(daemon: &Daemon) {
    let mut wire = daemon.connect();
    assert_eq!(wire.get("posts+search"), None);
    for n in 0..300 {
        wire.put("posts", format!("post {n} {}", "x".repeat(3000)).as_bytes());
        wire.put("jobs", format!("job {n}").as_bytes());
    }
    for n in 0..10 {
        assert_eq!(wire.get("jobs"), Some(format!("job {n}").into_bytes()));
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|part| part == needle).expect("it is in there")
}

#[test]
fn a_sound_journal_is_sound_and_is_not_touched() {
    for is_killed in [false, true] {
        let left = Left::behind(SMALL, is_killed, some_items);
        let before = files_in(&left.data());
        fs::set_permissions(left.data(), fs::Permissions::from_mode(0o500)).expect("a mode");
        let done = left.check();
        fs::set_permissions(left.data(), fs::Permissions::from_mode(0o700)).expect("a mode");
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.out.contains("3 queues, 890 items"), "{done:?}");
        assert!(done.out.ends_with(": sound\n"), "{done:?}");
        assert_eq!(tool(&[&"dump", &left.data(), &"--bodies"]).code, Some(0));
        assert!(files_in(&left.data()) == before, "no byte and no time has changed");
    }
}

#[test]
fn a_journal_on_a_disk_that_cannot_be_written_is_checked_dumped_and_backed_up() {
    let Some(mut disk) = SmallDisk::new(64 << 20) else { return };
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    some_items(&daemon);
    daemon.kill();
    disk.set_read_only(true);
    let data = disk.directory().join("data");
    let done = tool(&[&"check", &data]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(dump(&data, &[]).len(), 890);
    let root = tempfile::tempdir().expect("a directory");
    let done = tool(&[&"backup", &data, &root.path().join("backup")]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(dump(&root.path().join("backup"), &[]).len(), 890);
}

#[test]
fn a_torn_tail_is_told_and_is_no_damage() {
    let left = Left::behind("", true, |daemon| {
        let mut wire = daemon.connect();
        wire.put("q", b"first");
        wire.put("q", b"second");
    });
    left.damage(&left.segment(1), |bytes| {
        // The last marker is the last that is not zero.
        let end = bytes.iter().rposition(|&byte| byte != 0).expect("something is in it");
        bytes[end - 30..=end].fill(0);
    });
    let done = left.check();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("torn tail") && done.out.contains("1 item with"), "{done:?}");
}

#[test]
fn a_flipped_byte_is_found_and_the_item_is_named() {
    // With small segments the item lies before the last checkpoint, and only the queue knows of it; otherwise its record is replayed.
    for (extra, is_replayed) in [("", true), (SMALL, false)] {
        let left = Left::behind(extra, false, some_items);
        left.damage(&left.segment(1), |bytes| {
            let at = position(bytes, b"job 20");
            bytes[at + 4] ^= 1;
        });
        let done = left.check();
        assert_eq!(done.code, Some(3), "{done:?}");
        let line = done.out.lines().find(|line| line.contains("log-0000000000000001.kq byte "));
        let line = line.unwrap_or_else(|| panic!("no line names the place: {done:?}"));
        assert!(line.contains("the body of record") && line.ends_with("of jobs"), "{line}");
        let affected = done.out.contains("1 waiting item of queue jobs cannot be read");
        assert_eq!(affected, !is_replayed, "{done:?}");
        let dump = tool(&[&"dump", &left.data(), &"--queue", &"jobs"]);
        assert_eq!((dump.code, dump.out.lines().count()), (Some(3), 289), "{}", dump.err);
    }
}

#[test]
fn damaged_lengths_markers_headers_and_superblocks_are_found() {
    let left = Left::behind("", false, some_items);
    let whole = fs::read(left.segment(1)).expect("a segment");
    // What is at `at` is changed: then `expected` must be said.
    let expect = |file: &Path, at: usize, expected: &str| {
        let before = fs::read(file).expect("a file");
        left.damage(file, |bytes| bytes[at] ^= 0x40);
        let done = left.check();
        assert_eq!(done.code, Some(3), "{expected}: {done:?}");
        assert!(done.out.contains(expected), "{expected}: {done:?}");
        fs::write(file, before).expect("it can be written");
    };
    // 28 bytes of head, 40 of meta before a body in one queue.
    let head = position(&whole, b"job 100") - 68;
    expect(&left.segment(1), head + 4, "cannot be read: record");
    expect(&left.segment(1), position(&whole, b"job 100") + 7 + 40, "commit marker is damaged");
    expect(&left.segment(1), 20, "header is damaged");
    expect(&left.data().join("journal.kq"), 20, "one of its two halves is damaged");
    assert_eq!(left.check().code, Some(0));
}

#[test]
fn a_shorter_a_missing_a_foreign_and_a_newer_file_are_found() {
    let left = Left::behind(SMALL, true, some_items);
    let expect = |file: &Path, expected: &str| {
        let done = left.check();
        assert_eq!(done.code, Some(3), "{expected}: {done:?}");
        assert!(done.out.contains(expected), "{expected}: {done:?}");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let name = name.trim_start_matches("log-").trim_end_matches(".kq");
        assert!(done.out.contains(name), "{name}: {done:?}");
    };
    let numbers = (1..100).filter(|number| left.segment(*number).exists());
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.len() > 4, "{numbers:?}");
    let middle = left.segment(numbers[numbers.len() / 2]);
    let last = left.segment(numbers[numbers.len() - 1]);
    let (whole, whole_last) = (fs::read(&middle).expect("read"), fs::read(&last).expect("read"));

    fs::write(&middle, &whole[..whole.len() / 2]).expect("written");
    expect(&middle, "shorter than its header says");
    fs::write(&middle, &whole[..10]).expect("written");
    expect(&middle, "cannot be read");
    fs::remove_file(&middle).expect("removed");
    expect(&middle, "missing");
    fs::write(&middle, &whole).expect("written");
    fs::remove_file(&last).expect("removed");
    expect(&last, "is missing");
    fs::write(&last, &whole_last).expect("written");

    let stranger = left.data().join("letter.txt");
    fs::write(&stranger, "dear").expect("written");
    expect(&stranger, "not a file of a journal");
    fs::remove_file(&stranger).expect("removed");

    let mut newer = whole.clone();
    for copy in [0, 2048] {
        newer[copy + 8] = 9;
        let crc = crc32fast::hash(&newer[copy..copy + 56]);
        newer[copy + 56..copy + 60].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&middle, &newer).expect("written");
    expect(&middle, "journal format 9");
    fs::write(&middle, "somebody's text").expect("written");
    expect(&middle, "not a segment");
    fs::write(&middle, &whole).expect("written");
    assert_eq!(left.check().code, Some(0));
}

#[test]
fn what_is_no_data_directory_is_said_to_be_none() {
    let root = tempfile::tempdir().expect("a directory");
    let missing = root.path().join("missing");
    for command in ["check", "dump"] {
        for path in [root.path(), &missing] {
            let done = tool(&[&command, &path]);
            assert_eq!(done.code, Some(1), "{done:?}");
            assert!(done.err.contains(&path.display().to_string()), "{done:?}");
        }
    }
    for (command, target) in [("backup", "to"), ("restore", "to")] {
        let done = tool(&[&command, &missing, &root.path().join(target)]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(!root.path().join(target).exists());
    }
    assert_eq!(tool(&[&"check"]).code, Some(2));
    assert_eq!(tool(&[&"import-kestrel", &root.path()]).code, Some(2), "no --data-dir");
}

#[test]
fn beside_a_running_server_check_works_and_dump_refuses() {
    let daemon = Daemon::start(SMALL);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _load = scope.spawn(|| churn(&daemon, "busy", &stop));
        for _ in 0..40 {
            let done = tool(&[&"check", &daemon.data_dir()]);
            assert_eq!(done.code, Some(0), "{done:?}");
            assert!(done.out.contains(&format!("process id {}", daemon.pid())), "{done:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let done = tool(&[&"dump", &daemon.data_dir()]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{done:?}");
    assert!(done.err.contains("backup") && done.err.contains(&daemon.pid().to_string()));
}

/// Puts and takes in one queue until told to stop.
fn churn(daemon: &Daemon, queue: &str, stop: &AtomicBool) {
    let mut wire = daemon.connect();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        wire.put(queue, format!("{number} {}", "y".repeat(4000)).as_bytes());
        number += 1;
        if number > 20 {
            assert!(wire.get(queue).is_some());
        }
    }
}

/// The lines of a dump.
fn dump(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"dump", &data];
    all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
    let done = tool(&all);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_dump_is_what_was_put_in_order_also_what_was_open_or_not_in_memory() {
    let put = |n: usize| format!("{n} {}", "z".repeat(3000));
    // More than a MiB of it is on the disk only.
    let small_memory =
        "max_memory_size = \"1MiB\"----[queue_defaults]\nmax_memory_size = \"64KiB\"";
    let left = Left::behind(small_memory, true, |daemon| {
        let mut wire = daemon.connect();
        assert_eq!(wire.get("big+copy"), None);
        for n in 0..600 {
            wire.put("big", put(n).as_bytes());
        }
        wire.ask(b"set odd 77 2000000000 3\r\n\xff\x00\x01\r\n", b"STORED\r\n");
        wire.ask(b"set odd 1 0 0\r\n\r\n", b"STORED\r\n");
        for n in 0..3 {
            assert_eq!(wire.get("big"), Some(put(n).into_bytes()));
        }
        assert_eq!(wire.get("big/open"), Some(put(3).into_bytes()));
        // Carries what came before to the disk.
        wire.put("odd", b"last");
    });
    let lines = dump(&left.data(), &["--bodies", "--queue", "big", "--queue", "big+copy"]);
    let seen: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["queue"].as_str().unwrap(), line["body"].as_str().unwrap()))
        .collect();
    let bodies: Vec<String> = (0..600).map(put).collect();
    let expected = bodies[3..].iter().map(|body| ("big", body.as_str()));
    let expected: Vec<_> =
        expected.chain(bodies.iter().map(|b| ("big+copy", b.as_str()))).collect();
    assert!(seen == expected, "{} lines", seen.len());
    assert_eq!((&lines[0]["attempts"], &lines[1]["attempts"]), (&1.into(), &0.into()));
    assert_eq!((&lines[0]["state"], &lines[0]["size"]), (&"waiting".into(), &3002.into()));
    assert!(lines.is_sorted_by_key(|line| (line["queue"].to_string(), line["id"].as_u64())));

    let odd = dump(&left.data(), &["--bodies", "--queue", "odd"]);
    assert_eq!(odd[0]["body_base64"], "/wAB");
    assert_eq!(
        (&odd[0]["flags"], &odd[0]["expiry_ms"]),
        (&77.into(), &2_000_000_000_000u64.into())
    );
    assert_eq!((&odd[1]["body"], &odd[1]["expiry_ms"]), (&"".into(), &Value::Null));
    assert_eq!(dump(&left.data(), &[]).len(), 1200);
    assert!(dump(&left.data(), &[])[0].get("body").is_none());
    let done = tool(&[&"dump", &left.data(), &"--queue", &"nobody"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("nobody"), "{done:?}");
}

/// Items in every part of a queue, and in a queue for dead letters.
fn every_state(daemon: &Daemon) {
    let mut wire = daemon.connect();
    let mut say = |line: &str| {
        wire.send(line.replace('\n', "\r\n").as_bytes());
        wire.line()
    };
    let mut put = |queue: &str, body: &str, options: &str| {
        let stored = say(&format!("put {queue} {}{options}\n{body}\n", body.len()));
        stored.strip_prefix("STORED ").expect(&stored).to_owned()
    };
    let poison = put("given", "poison", "");
    let bad = put("jobs", "bad", " priority=high");
    let often = put("jobs", "often", " flags=7");
    let again = put("jobs", "again", " priority=low");
    for (body, options) in [
        ("later", " delay=100000000 priority=low"),
        ("low", " priority=low ttl=2000000"),
        ("sooner", " delay=50000000 key=k"),
        ("normal", ""),
        ("high", " priority=high"),
    ] {
        put("rest", body, options);
    }
    let mut worker = daemon.connect();
    let mut take = |queue: &str, id: &str, say: &str| {
        worker.send(format!("reserve 1 0 0 {queue}\r\n").as_bytes());
        let item = worker.line();
        assert!(item.starts_with(&format!("ITEM {queue} {id} ")), "{item}");
        assert_eq!((worker.line().is_empty(), worker.line()), (false, "END".to_owned()));
        worker.ask(say.replace('\n', "\r\n").as_bytes(), b"OK\r\n");
    };
    take("given", &poison, &format!("bury given {poison} 0\n\n"));
    take("jobs", &bad, &format!("bury jobs {bad} 12\nno such file\n"));
    take("jobs", &often, &format!("release jobs {often} delay=0\n"));
    take("jobs", &often, &format!("release jobs {often}\n"));
    take("jobs", &again, &format!("release jobs {again} delay=70000000\n"));
    // Carries what came before to the disk.
    daemon.connect().put("rest", b"last");
}

/// As above, and all of it lies before a checkpoint.
fn every_state_and_a_checkpoint(daemon: &Daemon) {
    every_state(daemon);
    let mut wire = daemon.connect();
    let before = wire.stat("journal_checkpoints");
    while wire.stat("journal_checkpoints") == before {
        wire.put("churn", &[b'c'; 10_000]);
        assert!(wire.get("churn").is_some());
    }
    wire.ask(b"delete churn\r\n", b"DELETED\r\n");
    wire.put("rest", b"sync");
    assert_eq!(wire.get("rest").as_deref(), Some(&b"high"[..]));
}

const EVERY_STATE: &str = "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"64MiB\"\n[queues.jobs]\nmax_attempts = 2\n[queues.given]\ndead_letter_queue = \"dead\"\n";

#[test]
fn every_part_of_a_queue_is_dumped_counted_and_backed_up() {
    for is_killed in [true, false] {
        let left = Left::behind(EVERY_STATE, is_killed, every_state);
        let lines = dump(&left.data(), &["--bodies"]);
        let shown = lines.iter().map(|line| {
            let words = ["queue", "body", "state", "priority"].map(|key| line[key].as_str());
            words.map(|word| word.unwrap_or("-")).join(" ")
        });
        let expected = [
            "dead poison waiting -",
            "jobs again delayed low",
            "jobs bad dead high",
            "jobs often dead -",
            "rest high waiting high",
            "rest normal waiting -",
            "rest last waiting -",
            "rest low waiting low",
            "rest sooner delayed -",
            "rest later delayed low",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected, "killed: {is_killed}");
        let line = |body: &str| lines.iter().find(|line| line["body"] == body).expect("there");
        let ids = ["poison", "bad", "often", "again"].map(|body| match body {
            "poison" => line(body)["origin_id"].as_u64().expect("a number"),
            _ => line(body)["id"].as_u64().expect("a number"),
        });
        assert!(ids.is_sorted(), "they keep their ids: {ids:?}");
        assert_eq!(
            (&line("poison")["cause"], &line("poison")["origin"]),
            (&"buried".into(), &"given".into())
        );
        let bad = line("bad");
        assert_eq!((&bad["cause"], &bad["reason"]), (&"buried".into(), &"no such file".into()));
        assert_eq!((&bad["attempts"], &bad["origin_id"]), (&1.into(), &bad["id"]));
        let times = ["first_ms", "last_ms"].map(|key| bad[key].as_u64().expect("a time"));
        assert!(times.is_sorted() && times[0] > 1_700_000_000_000, "{bad}");
        let often = line("often");
        assert_eq!((&often["cause"], &often["attempts"]), (&"attempts".into(), &2.into()));
        assert_eq!((&often["flags"], often.get("reason")), (&7.into(), None));
        assert_eq!(line("again")["attempts"], 1);
        let waits = |body: &str| {
            let times = ["due_ms", "put_ms"].map(|key| line(body)[key].as_u64().expect("a time"));
            times[0] - times[1]
        };
        assert_eq!((waits("sooner"), waits("later")), (50_000_000, 100_000_000));
        assert!(line("normal").as_object().expect("an object").len() == 9, "nothing else");
        assert_eq!(dump(&left.data(), &["--queue", "jobs"]).len(), 3);

        let done = left.check();
        let counted = "4 queues, 8 items with 39 bytes (3 of them delayed), 2 dead letters; ";
        assert!(done.code == Some(0) && done.out.contains(counted), "{done:?}");
        let (backup, back) = (left.root.path().join("backup"), left.root.path().join("back"));
        let done = tool(&[&"backup", &left.data(), &backup]);
        assert!(done.code == Some(0) && done.out.contains(&counted[..60]), "{done:?}");
        assert_eq!(tool(&[&"restore", &backup, &back]).code, Some(0));
        assert_eq!(dump(&back, &["--bodies"]), lines);
    }
}

/// Each in another part of its queue.
#[test]
fn a_damaged_item_is_named_and_counted_wherever_it_is() {
    for body in ["bad", "sooner", "low", "again"] {
        let left = Left::behind(EVERY_STATE, true, every_state_and_a_checkpoint);
        assert_eq!(dump_lines(&left.data()), 10);
        left.damage(&left.segment(1), |bytes| {
            // It may have been written anew.
            let at = bytes.windows(body.len()).rposition(|part| part == body.as_bytes());
            let at = at.expect("it is in there");
            bytes[at] ^= 1;
        });
        let done = left.check();
        let queue = if ["bad", "again"].contains(&body) { "jobs" } else { "rest" };
        assert_eq!(done.code, Some(3), "{body}: {done:?}");
        let named = format!(" of {queue}\n");
        let counted = format!("1 waiting item of queue {queue} cannot be read");
        assert!(done.out.contains(&named) && done.out.contains(&counted), "{body}: {done:?}");
        let dump = tool(&[&"dump", &left.data(), &"--bodies"]);
        assert_eq!((dump.code, dump.out.lines().count()), (Some(3), 9), "{body}: {dump:?}");
    }
}

/// A directory, the exit code of its import, and its queues with their items.
type Fixture = (&'static str, i32, &'static [(&'static str, &'static [&'static str])]);

/// What the fixtures of kqueue-kestrel hold, less what has expired: by directory, then by queue.
const FIXTURES: [Fixture; 15] = [
    ("archives", 0, &[("empty", &[]), ("only_archives", &["x"]), ("q", &["a", "d", "e"])]),
    ("half_rewritten", 0, &[("q", &["b", "gone", "a", "b"])]),
    (
        "kinds",
        0,
        &[
            ("op0", &["starling"]),
            ("op1", &["b", "c"]),
            ("op2", &["hello"]),
            ("op3", &["a", "c"]),
            ("op4", &["a", "c"]),
            ("op5", &["b", "a", "c"]),
            ("op6", &["b", "c"]),
            ("op7", &["b"]),
            ("op8", &["two"]),
            ("op9", &["a", "c"]),
        ],
    ),
    (
        "legacy_roll",
        0,
        &[("crashed", &["open as 9", "open as 12", "x", "y"]), ("went_on", &["open as 9", "y"])],
    ),
    (
        "lengths",
        0,
        &[
            ("eight_of_one_byte", &["1", "2", "3", "4", "5", "6", "7", "8"]),
            ("eleven_bytes", &["hello world"]),
            ("eleven_bytes_and_get", &[]),
            ("first_second_get", &["second"]),
            ("kitty", &[]),
        ],
    ),
    ("pack_leftover", 0, &[("test", &["c", "d"])]),
    ("packed", 0, &[("q", &["B", "C", "F", "G"])]),
    ("read_behind", 0, &[("q", &["opened since", "memory 1", "memory 2", "behind 1", "behind 2"])]),
    ("read_behind_identity", 0, &[("q", &["", "F"])]),
    ("read_behind_surplus", 0, &[("q", &["", "memory 1", "behind 1"])]),
    (
        "rewritten",
        0,
        &[("q", &["A", "B", "C", "D", "E", "F"]), ("q_went_on", &["C", "A", "E", "F"])],
    ),
    ("rolled_back", 0, &[("q", &["one", "three", "five"])]),
    ("strangers", 0, &[("spam", &["eggs"]), ("spam+child", &["fanned out"])]),
    (
        "torn",
        3,
        &[
            ("body", &["b"]),
            ("head", &["a", "b"]),
            ("huge", &["a", "b"]),
            ("negative", &["a", "b"]),
            ("opcode", &["a", "b"]),
            ("short", &["a", "b"]),
            ("zeros", &["a", "b"]),
        ],
    ),
    ("torn_archive", 3, &[("q", &["b", "c", "d"])]),
];

#[test]
fn every_fixture_is_imported_and_served_as_kestrel_would_have() {
    let fixtures = repository().join("crates/kqueue-kestrel/fixtures");
    let there = fs::read_dir(&fixtures).expect("fixtures").count();
    assert_eq!(there, FIXTURES.len(), "every fixture has an expectation");
    let before = files_in(&fixtures);
    for (name, code, queues) in FIXTURES {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        let config = small_import(root.path(), &data);
        let import = || tool(&[&"import-kestrel", &fixtures.join(name), &"--config", &config]);
        let done = import();
        assert_eq!(done.code, Some(code), "{name}: {done:?}");
        assert!(!done.err.contains('\r'), "no bar but on a terminal: {done:?}");
        let again = import();
        assert_eq!(again.code, Some(0), "{name}: {again:?}");
        assert!(again.out.contains("imported already"), "{name}: {again:?}");
        let daemon = Daemon::start_in(root.path(), "").expect("it starts");
        let mut wire = daemon.connect();
        for (queue, items) in queues {
            let line = done.out.lines().find(|line| line.starts_with(&format!("{queue}: ")));
            let count = format!("{queue}: {} item", items.len());
            assert!(line.is_some_and(|line| line.starts_with(&count)), "{name}: {done:?}");
            let stat = format!("queue_{queue}_items");
            assert_eq!(wire.stat(&stat), Some(items.len().to_string()), "{name} {queue}");
            for item in *items {
                let got = wire.get(queue).map(|body| String::from_utf8_lossy(&body).into_owned());
                assert_eq!(got.as_deref(), Some(*item), "{name} {queue}");
            }
            assert_eq!(wire.get(queue), None, "{name} {queue}");
        }
    }
    assert!(files_in(&fixtures) == before, "Kestrel's files are as they were");
}

/// A configuration for imports into `data`: small segments are made quickly, and there are many of them.
fn small_import(directory: &Path, data: &Path) -> PathBuf {
    let config = directory.join("import.toml");
    let text = format!(
        "[server]\ndata_dir = \"{}\"\n[journal]\nsegment_size = \"4MiB\"\nlog_cap = \"64MiB\"\n",
        data.display()
    );
    fs::write(&config, text).expect("written");
    config
}

/// Writes a Kestrel journal of items that never expire; every tenth one more has.
fn kestrel_journal(path: &Path, queue: &str, items: usize, filler: usize) {
    let mut bytes = Vec::new();
    let mut add = |body: &[u8], added: u64, expiry: u64| {
        bytes.push(2);
        bytes.extend_from_slice(&(body.len() as u32 + 16).to_le_bytes());
        bytes.extend_from_slice(&added.to_le_bytes());
        bytes.extend_from_slice(&expiry.to_le_bytes());
        bytes.extend_from_slice(body);
    };
    for n in 0..items {
        if n % 10 == 0 {
            add(b"expired", 1_000, 2_000);
        }
        add(kestrel_item(queue, n, filler).as_bytes(), 1_400_000_000_000 + n as u64, 0);
    }
    fs::write(path.join(queue), bytes).expect("it can be written");
}

fn kestrel_item(queue: &str, n: usize, filler: usize) -> String {
    format!("{queue} {n} {}", "k".repeat(filler))
}

#[test]
fn an_import_that_is_killed_again_and_again_neither_loses_nor_doubles_an_item() {
    const QUEUES: [(&str, usize, usize); 4] =
        [("a", 3000, 1500), ("big", 12_000, 1000), ("big+audit", 500, 10), ("z", 3000, 2000)];
    let root = tempfile::tempdir().expect("a directory");
    let (from, data) = (root.path().join("kestrel"), root.path().join("data"));
    fs::create_dir(&from).expect("a directory");
    for (queue, items, filler) in QUEUES {
        kestrel_journal(&from, queue, items, filler);
    }
    let before = files_in(&from);
    let config = small_import(root.path(), &data);
    let import = || tool_started(&[&"import-kestrel", &from, &"--config", &config]);
    let (mut kills, mut refusals, mut dice) = (0, 0, Dice::new(5));
    loop {
        let mut child = import();
        // Later and later, so that it comes to its end some time; always at another point.
        let delay = Duration::from_millis(kills * 4 + dice.below(20));
        std::thread::sleep(delay);
        let _ = child.kill();
        let status = child.wait().expect("it ends");
        if status.code() == Some(0) {
            break;
        }
        assert_eq!(status.code(), None, "killed, not failed");
        kills += 1;
        if kills % 4 == 0
            && data.join("import-kestrel.json").exists()
            && let Err(exit) = Daemon::start_in(root.path(), "")
        {
            refusals += 1;
            assert_eq!(exit.code, Some(1), "{exit:?}");
            assert!(exit.stderr.contains("import-kestrel"), "{exit:?}");
        }
        assert!(kills < 300, "it never comes to its end");
    }
    assert!(kills > 3 && refusals > 0, "{kills} kills, {refusals} refusals");
    let again = tool(&[&"import-kestrel", &from, &"--config", &config]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(files_in(&from) == before, "Kestrel's files are as they were");
    assert_eq!(tool(&[&"check", &data]).code, Some(0));
    let lines = dump(&data, &["--queue", "big"]);
    assert_eq!(lines[7]["put_ms"], 1_400_000_000_007u64, "items keep their times");
    let daemon = Daemon::start_in(root.path(), "").expect("it starts");
    let mut wire = daemon.connect();
    for (queue, items, filler) in QUEUES {
        for n in 0..items {
            let got = wire.get(queue).map(|body| String::from_utf8_lossy(&body).into_owned());
            let expected = kestrel_item(queue, n, filler);
            assert!(got.as_ref() == Some(&expected), "{queue} {n}: {got:?}");
        }
        assert_eq!(wire.get(queue), None, "{queue}");
    }
    // What was consumed stays consumed, whoever runs the import again. That the last ones were is on the disk after a clean stop: nobody waits for it.
    let mut daemon = daemon;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code, Some(0));
    drop(daemon);
    let again = tool(&[&"import-kestrel", &from, &"--data-dir", &data]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(tool(&[&"dump", &data]).out.is_empty());
}

#[test]
fn an_import_goes_behind_what_is_there_and_only_into_the_queues_named() {
    let left = Left::behind("", true, |daemon| {
        let mut wire = daemon.connect();
        assert_eq!(wire.get("jobs+copy"), None);
        wire.put("jobs", b"old");
    });
    let from = left.root.path().join("kestrel");
    fs::create_dir(&from).expect("a directory");
    kestrel_journal(&from, "jobs", 3, 1);
    kestrel_journal(&from, "other", 3, 1);
    kestrel_journal(&from, "no name", 3, 1);
    let import = |queues: &[&str]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"import-kestrel", &from];
        let data = left.data();
        all.extend([&"--data-dir" as &dyn AsRef<std::ffi::OsStr>, &data]);
        for queue in queues {
            all.extend([&"--queue" as &dyn AsRef<std::ffi::OsStr>, queue]);
        }
        tool(&all)
    };
    let done = import(&["nobody"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("nobody") && done.err.contains("other"), "{done:?}");
    let done = import(&["jobs"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("jobs: 3 items") && done.out.contains("left out: 1"), "{done:?}");
    let bodies = |queue: &str| -> Vec<String> {
        let lines = dump(&left.data(), &["--bodies", "--queue", queue]);
        lines.iter().map(|line| line["body"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(bodies("jobs"), ["old", "jobs 0 k", "jobs 1 k", "jobs 2 k"]);
    assert_eq!(bodies("jobs+copy"), ["old"], "an import is no put: nothing is fanned out");
    let done = import(&[]);
    assert_eq!(done.code, Some(3), "a queue whose name cannot be: {done:?}");
    assert!(done.err.contains("NOT IMPORTED") && done.err.contains("no name"), "{done:?}");
    assert_eq!(bodies("jobs").len(), 4);
    assert_eq!(bodies("other").len(), 3);

    let daemon = Daemon::start_in(left.root.path(), "").expect("it starts");
    let done = import(&["other"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains(&daemon.pid().to_string()), "{done:?}");
}

#[test]
fn an_item_that_is_too_large_stops_the_import_until_the_limit_is_raised() {
    let root = tempfile::tempdir().expect("a directory");
    let (from, data) = (root.path().join("kestrel"), root.path().join("data"));
    fs::create_dir(&from).expect("a directory");
    kestrel_journal(&from, "q", 2, 2 << 20);
    let config = small_import(root.path(), &data);
    let import = || tool(&[&"import-kestrel", &from, &"--config", &config]);
    let done = import();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("max_item_size") && done.err.contains("item 1 has"), "{done:?}");
    let text = fs::read_to_string(&config).expect("read").replace("\"4MiB\"", "\"8MiB\"");
    let text = text.replace("[server]", "[server]\nmax_item_size = \"4MiB\"");
    fs::write(&config, text).expect("written");
    let done = import();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(dump(&data, &[]).len(), 2);
}

#[test]
fn a_full_disk_stops_an_import_which_goes_on_when_there_is_space() {
    let Some(disk) = SmallDisk::new(16 << 20) else { return };
    let root = tempfile::tempdir().expect("a directory");
    kestrel_journal(root.path(), "q", 3000, 2000);
    let (data, config) = (disk.directory().join("data"), root.path().join("k.toml"));
    let text = "[server]\nmax_item_size = \"16KiB\"\n[journal]\nsegment_size = \"256KiB\"\nlog_cap = \"1MiB\"\n";
    fs::write(&config, text).expect("written");
    // Enough for the beginning.
    fs::write(disk.mount().join("ballast"), vec![1; 12 << 20]).expect("written");
    let import = || {
        let done = tool(&[
            &"import-kestrel",
            &root.path(),
            &"--data-dir",
            &data,
            &"--config",
            &config,
            &"--queue",
            &"q",
        ]);
        (done.code, done.said())
    };
    for _ in 0..3 {
        let (code, said) = import();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("out of disk space") && said.contains("again"), "{said}");
        assert_eq!(tool(&[&"check", &data]).code, Some(0));
    }
    disk.relieve();
    let (code, said) = import();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("by an earlier run: "), "{said}");
    let bodies = dump(&data, &["--bodies"]);
    let bodies: Vec<&str> =
        bodies.iter().map(|line| line["body"].as_str().expect("text")).collect();
    let expected: Vec<String> = (0..3000).map(|n| kestrel_item("q", n, 2000)).collect();
    assert!(bodies == expected);
}

#[test]
fn a_backup_for_which_there_is_no_space_is_none() {
    let Some(disk) = SmallDisk::new(4 << 20) else { return };
    let daemon = Daemon::start("");
    daemon.connect().put("q", b"x");
    disk.fill();
    let to = disk.mount().join("backup");
    let done = tool(&[&"backup", &daemon.data_dir(), &to]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("backup") && done.err.contains("space"), "{done:?}");
    assert!(!to.exists());
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"x"[..]));
}

/// What one client has put, and how far it got an answer.
#[derive(Debug, Default)]
struct Log {
    acknowledged: u64,
    removed: u64,
}

/// A backup, and what every client had put and removed before it was begun and after it was done.
struct Made {
    data: PathBuf,
    before: Vec<(u64, u64)>,
    after: Vec<(u64, u64)>,
}

#[test]
fn a_backup_under_load_has_everything_that_was_acknowledged_before_it_began() {
    const CLIENTS: usize = 3;
    const KEPT: u64 = 30;
    // Most items are on the disk only.
    let little_memory = format!("{SMALL}\n[queue_defaults]\nmax_memory_size = \"16KiB\"");
    let daemon = Daemon::start(&little_memory);
    // Nobody takes these: they are moved from segment to segment.
    for n in 0..KEPT {
        daemon.connect().put("kept", format!("{n} {}", "k".repeat(3000)).as_bytes());
    }
    let root = tempfile::tempdir().expect("a directory");
    let stop = AtomicBool::new(false);
    let logs: Vec<Mutex<Log>> = (0..CLIENTS).map(|_| Mutex::default()).collect();
    let client = |index: usize| {
        let mut wire = daemon.connect();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            wire.put(&format!("q{index}"), format!("{number} {}", "b".repeat(3000)).as_bytes());
            number += 1;
            logs[index].lock().expect("no panic").acknowledged = number;
            // The log turns over: most of what is put goes again.
            if number > 60 {
                assert!(wire.get(&format!("q{index}")).is_some());
                logs[index].lock().expect("no panic").removed += 1;
            }
        }
    };
    let backups: Vec<Made> = std::thread::scope(|scope| {
        for index in 0..CLIENTS {
            scope.spawn(move || client(index));
        }
        let state = || -> Vec<(u64, u64)> {
            let both = |log: &Mutex<Log>| {
                let log = log.lock().expect("no panic");
                (log.acknowledged, log.removed)
            };
            logs.iter().map(both).collect()
        };
        let mut backups = Vec::new();
        for n in 0..6 {
            // Each one somewhere else in the life of the log, the first one before any checkpoint.
            while state()[0].0 < n * 150 + 5 {
                std::thread::yield_now();
            }
            let to = root.path().join(format!("{n}/data"));
            fs::create_dir(root.path().join(n.to_string())).expect("a directory");
            let before = state();
            let done = tool(&[&"backup", &daemon.data_dir(), &to]);
            assert_eq!(done.code, Some(0), "{done:?}");
            backups.push(Made { data: to, before, after: state() });
        }
        stop.store(true, Ordering::Relaxed);
        backups
    });
    for Made { data, before, after } in backups {
        assert_eq!(tool(&[&"check", &data]).code, Some(0));
        let parent = data.parent().expect("a parent");
        let backup = Daemon::start_in(parent, &little_memory).expect("it starts");
        let mut wire = backup.connect();
        assert!(numbers_in(&mut wire, "kept").into_iter().eq(0..KEPT), "what was moved is there");
        for index in 0..CLIENTS {
            let numbers = numbers_in(&mut wire, &format!("q{index}"));
            let (first, last) = (numbers[0], *numbers.last().expect("items"));
            assert!(numbers.iter().copied().eq(first..=last), "in order, none missing, none twice");
            let ((put, removed), (put_after, removed_after)) = (before[index], after[index]);
            assert!(last + 1 >= put, "{index}: {put} were acknowledged, the last one is {last}");
            // One more may have been sent and not counted yet.
            assert!(last < put_after + 1, "{index}: {last} was never put, only {put_after}");
            assert!(first >= removed, "{index}: {first} was removed before");
            assert!(
                first <= removed_after + 1,
                "{index}: {first} is gone, only {removed_after} are"
            );
        }
    }
}

/// Takes everything out of a queue: the numbers of its items.
fn numbers_in(wire: &mut Wire, queue: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(body) = wire.get(queue) {
        let text = String::from_utf8(body).expect("text");
        let number = text.split(' ').next().and_then(|number| number.parse().ok());
        numbers.push(number.expect("a number"));
    }
    numbers
}

#[test]
fn a_backup_that_is_killed_leaves_no_backup_and_nothing_behind_that_matters() {
    let daemon = Daemon::start(SMALL);
    let mut wire = daemon.connect();
    for n in 0..1500 {
        wire.put("q", format!("{n} {}", "c".repeat(3000)).as_bytes());
    }
    let root = tempfile::tempdir().expect("a directory");
    let to = root.path().join("data");
    let mut kills = 0;
    for delay_ms in 0.. {
        let mut child = tool_started(&[&"backup", &daemon.data_dir(), &to]);
        std::thread::sleep(Duration::from_millis(delay_ms));
        let _ = child.kill();
        let status = child.wait().expect("it ends");
        if status.code() == Some(0) {
            break;
        }
        if to.exists() {
            // Killed behind the last step.
            break;
        }
        kills += 1;
    }
    assert!(kills > 1, "{kills}");
    assert!(!root.path().join("data.partial").exists());
    assert_eq!(tool(&[&"check", &to]).code, Some(0));
    // The lock went with the process: segments are removed again.
    for n in 0..1500 {
        assert_eq!(wire.get("q"), Some(format!("{n} {}", "c".repeat(3000)).into_bytes()));
        wire.put("other", &[b'd'; 3000]);
        assert!(wire.get("other").is_some());
    }
    while daemon.stat("journal_bytes").expect("a number").parse::<u64>().expect("a number")
        > 3 << 20
    {
        wire.put("other", &[b'd'; 3000]);
        assert!(wire.get("other").is_some());
    }
    let copy = Daemon::start_in(root.path(), SMALL).expect("it starts");
    assert_eq!(numbers_in(&mut copy.connect(), "q").len(), 1500);
}

#[test]
fn a_backup_goes_there_and_back() {
    let left = Left::behind(SMALL, true, some_items);
    let (backup, back) = (left.root.path().join("backup"), left.root.path().join("new/data"));
    let original = files_in(&left.data());
    let done = tool(&[&"backup", &left.data(), &backup]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("890 items"), "{done:?}");
    assert!(files_in(&left.data()) == original, "a stopped journal is only read");
    let copied = files_in(&backup);
    assert!(
        !copied.is_empty()
            && copied
                .keys()
                .all(|path| original
                    .contains_key(&left.data().join(path.file_name().expect("a name"))))
    );

    for path in copied.keys() {
        // A server on a full disk may have to go on in it.
        let found = fs::metadata(path).expect("it is there");
        assert!(found.blocks() * 512 >= found.len(), "{} has holes", path.display());
    }

    let done = tool(&[&"restore", &backup, &back]);
    assert_eq!(done.code, Some(1), "there is no such parent directory: {done:?}");
    fs::create_dir(left.root.path().join("new")).expect("a directory");
    fs::create_dir(&back).expect("an empty one will do");
    let done = tool(&[&"restore", &backup, &back]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(files_in(&backup) == copied, "the backup is only read");
    let all = |data: &Path| tool(&[&"dump", &data, &"--bodies"]).out;
    assert!(all(&back) == all(&left.data()) && all(&back).lines().count() == 890);
    for command in ["restore", "backup"] {
        let done = tool(&[&command, &backup, &back]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains("not empty"), "{done:?}");
    }
    let inside = tool(&[&"backup", &left.data(), &left.data().join("backup")]);
    assert_eq!(inside.code, Some(1), "{inside:?}");
    assert!(!left.data().join("backup").exists());
    let daemon = Daemon::start_in(&left.root.path().join("new"), SMALL).expect("it starts");
    assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"job 10"[..]));
}

#[test]
fn what_is_damaged_is_backed_up_as_it_is_and_not_restored() {
    let left = Left::behind("", false, some_items);
    left.damage(&left.segment(1), |bytes| {
        let at = position(bytes, b"job 150");
        bytes[at] ^= 1;
    });
    let (backup, back) = (left.root.path().join("backup"), left.root.path().join("back"));
    let done = tool(&[&"backup", &left.data(), &backup]);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.err.contains("log-0000000000000001.kq byte"), "{done:?}");
    assert_eq!(dump_lines(&backup), 889);
    let done = tool(&[&"restore", &backup, &back]);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.err.contains("log-0000000000000001.kq byte"), "{done:?}");
    let names: BTreeSet<_> = fs::read_dir(left.root.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("back.")), "{names:?}");
    assert!(!back.exists());
}

fn dump_lines(data: &Path) -> usize {
    tool(&[&"dump", &data]).out.lines().count()
}
