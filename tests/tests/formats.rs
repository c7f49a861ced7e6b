//! Data directories that servers of the past have left: every server serves exactly what is in them.
//!
//! `fixtures/README.md` says how they were made. The tests that write them are the same code that knows what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kqueue_tests::segment::{HEAD_BYTES, PUT, STATE, records, u32_at, u64_at};
use kqueue_tests::{Daemon, Wire, repository, tool};
use serde_json::Value;

const ITEM: &str = "max_item_size = \"16KiB\"\n";
const SIZES: &str = "segment_size = \"128KiB\"\nlog_cap = \"256KiB\"\n";
/// Some queues keep next to nothing in memory, some move their items.
const QUEUES: &str = "[queue_defaults]\nmax_memory_size = \"8KiB\"\n[queues.\"work\"]\nmax_attempts = 2\ndead_letter_queue = \"dead\"\n[queues.\"short\"]\nexpire_to_queue = \"late\"\n";
/// More than sixty years, in seconds.
const LONG: u64 = 2_000_000_000;

/// An item as it has to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    flags: u32,
    /// Deliveries before this one.
    attempts: u32,
    /// Seconds until it expires; 0: never does.
    ttl: u64,
    body: Vec<u8>,
}

fn item(body: impl Into<Vec<u8>>) -> Item {
    Item { flags: 0, attempts: 0, ttl: 0, body: body.into() }
}

fn job(number: u32) -> Item {
    let body = format!("job {number} {}", "j".repeat((number % 7 * 40) as usize));
    Item { flags: number * 1000, ..item(body) }
}

fn post(number: u32) -> Item {
    item(format!("post {number} {}", "p".repeat(600)))
}

/// What is in a fixture, by queue, in order.
type Contents = BTreeMap<&'static str, Vec<Item>>;

/// What every format can hold.
fn common() -> Contents {
    let mut jobs: Vec<Item> = (40..120).map(job).collect();
    // Held by somebody, and given back once, when the server was killed.
    jobs[0].attempts = 1;
    jobs[1].attempts = 2;
    let odd = vec![
        Item { flags: u32::MAX, ttl: LONG, ..item(b"\xff\0\r\nEND\r\n".to_vec()) },
        item(""),
        Item { flags: 7, ..item("x".repeat(16 * 1024)) },
    ];
    BTreeMap::from([
        ("jobs", jobs),
        ("odd", odd),
        ("posts", (0..60).map(post).collect()),
        ("posts+mail", (0..60).map(post).collect()),
        ("posts+search", (25..60).map(post).collect()),
        ("flushed", vec![item("after the flush")]),
        ("last", vec![item("carries what came before to the disk")]),
    ])
}

/// What moved from one queue to another is there since format 2, priorities and the like since format 3.
fn contents(format: u32) -> Contents {
    let mut contents = common();
    if format > 2 {
        let levels =
            [item("high"), item("last high"), Item { flags: 5, ..item("normal") }, item("low")];
        contents.insert("levels", levels.into());
        contents.insert("kicked", vec![item("kicked")]);
        contents.insert("keyed", vec![item("once")]);
        contents.insert("times", vec![item("soon")]);
    }
    if format > 1 {
        contents.insert("dead", vec![item("poison")]);
        contents.insert("late", vec![item("too late")]);
    }
    contents
}

fn put(wire: &mut Wire, queue: &str, item: &Item) {
    let Item { flags, ttl, body, .. } = item;
    // A lease of life that is longer than what `set` can say needs the other command.
    let line = match ttl {
        0 => format!("set {queue} {flags} 0 {}\r\n", body.len()),
        _ => format!("put {queue} {} ttl={ttl} flags={flags}\r\n", body.len()),
    };
    wire.send(&[line.as_bytes(), body, b"\r\n"].concat());
    let reply = wire.line();
    assert!(reply.starts_with("STORED"), "{reply}");
}

/// What `reserve` hands out: id, flags, deliveries, and body. Held until the connection ends.
fn reserve(wire: &mut Wire, max: usize, queue: &str) -> Vec<(u64, u32, u32, Vec<u8>)> {
    wire.send(format!("reserve {max} 0 0 {queue}\r\n").as_bytes());
    let mut found = Vec::new();
    loop {
        let line = wire.line();
        if line == "END" {
            return found;
        }
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], ["ITEM", queue], "{line}");
        let number = |word: usize| -> u64 { words[word].parse().expect("a number") };
        let mut body = vec![0; number(6) as usize];
        wire.read(&mut body);
        wire.expect(b"\r\n");
        found.push((number(2), number(3) as u32, number(4) as u32, body));
    }
}

/// All items of a queue; one reply may not be long enough for them.
fn reserve_all(daemon: &Daemon, queue: &str) -> Vec<(u64, u32, u32, Vec<u8>)> {
    let mut wire = daemon.connect();
    let mut found = Vec::new();
    loop {
        let more = reserve(&mut wire, 1000, queue);
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn take(wire: &mut Wire, queue: &str, expected: &Item) {
    assert_eq!(wire.get(queue).as_ref(), Some(&expected.body));
}

/// The segments of a running server, by name.
fn segments_of(daemon: &Daemon) -> BTreeMap<String, PathBuf> {
    let listed = fs::read_dir(daemon.data_dir()).expect("it is there");
    let paths = listed.map(|entry| entry.expect("an entry").path());
    let named =
        paths.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path));
    named.filter(|(name, _)| name.starts_with("log-")).collect()
}

/// Puts the common contents in, and much that is not there any more; returns the connection that holds an open item. Segments that have just gone, and
/// whose items are alive, come into `gone`.
fn fill(daemon: &Daemon, gone: &mut BTreeMap<String, Vec<u8>>) -> Wire {
    let mut wire = daemon.connect();
    for queue in ["posts+search", "posts+mail"] {
        assert_eq!(wire.get(queue), None);
    }
    put(&mut wire, "deleted", &item("gone"));
    (0..120).for_each(|number| put(&mut wire, "jobs", &job(number)));
    (0..60).for_each(|number| put(&mut wire, "posts", &post(number)));
    (0..40).for_each(|number| take(&mut wire, "jobs", &job(number)));
    (0..25).for_each(|number| take(&mut wire, "posts+search", &post(number)));
    common()["odd"].iter().for_each(|odd| put(&mut wire, "odd", odd));
    (0..5).for_each(|_| put(&mut wire, "flushed", &item("before the flush")));
    wire.ask(b"flush flushed\r\n", b"END\r\n");
    put(&mut wire, "flushed", &item("after the flush"));
    wire.ask(b"delete deleted\r\n", b"DELETED\r\n");
    // The log turns over: segments go, and what is still alive in them is put again.
    let mut seen = BTreeMap::new();
    for number in 0..800 {
        let churn = item(format!("{number} {}", "c".repeat(1500)));
        put(&mut wire, "churn", &churn);
        take(&mut wire, "churn", &churn);
        let segments = segments_of(daemon);
        // The newest one is being written.
        for (name, path) in segments.iter().rev().skip(1) {
            if !seen.contains_key(name) {
                // It may have gone in this moment.
                seen.extend(fs::read(path).ok().map(|bytes| (name.clone(), bytes)));
            }
        }
        // Enough, when a segment has just gone whose items were alive.
        let oldest = segments.keys().next().expect("there are segments");
        let alive = seen.split_off(oldest);
        let gone_now = std::mem::replace(&mut seen, alive);
        let has_job = |bytes: &[u8]| {
            records(bytes).iter().any(|record| record.body(bytes).starts_with(b"job 100 "))
        };
        if number > 200 && gone_now.values().any(|bytes| has_job(bytes)) {
            gone.extend(gone_now);
            break;
        }
    }
    wire.ask(b"delete churn\r\n", b"DELETED\r\n");
    // The second one is delivered, given back, and delivered again with the first one.
    // The others may follow at once.
    gone.extend(seen);
    let mut held = daemon.connect();
    let mut other = daemon.connect();
    let first = reserve(&mut other, 2, "jobs");
    other.ask(format!("release jobs {}\r\n", first[1].0).as_bytes(), b"OK\r\n");
    assert_eq!(reserve(&mut held, 1, "jobs")[0].2, 2);
    held
}

fn fixture(format: u32) -> PathBuf {
    repository().join(format!("tests/fixtures/format{format}"))
}

/// Kills the server and keeps its files, without the zeros at the end of segments. The segments in `gone` are kept, too: the server might have been killed right
/// before they went, and what was put again would be there twice.
fn keep(daemon: Daemon, format: u32, gone: &BTreeMap<String, Vec<u8>>) {
    let data = daemon.data_dir();
    let mut names = Vec::new();
    let directory = fixture(format);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    // The temporary directory goes with the daemon; the files do not change once it is stopped.
    daemon.signal(rustix::process::Signal::STOP);
    for entry in fs::read_dir(data).expect("it is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("log-") || name == "journal.kq" {
            let mut bytes = fs::read(&path).expect("it can be read");
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(if name == "journal.kq" { bytes.len() } else { used });
            fs::write(directory.join(&name), bytes).expect("written");
            names.push(name);
        }
    }
    names.sort();
    for (name, bytes) in gone.iter().filter(|(name, _)| !names.contains(name)) {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        fs::write(directory.join(name), &bytes[..used]).expect("written");
        println!("and {name}");
    }
    daemon.kill();
    println!("{}: {names:?}", directory.display());
}

#[test]
#[ignore = "writes tests/fixtures/format1; see the README there"]
fn write_format1() {
    let daemon = Daemon::start(&format!("{ITEM}----{SIZES}"));
    let mut gone = BTreeMap::new();
    let _held = fill(&daemon, &mut gone);
    put(&mut daemon.connect(), "last", &common()["last"][0]);
    keep(daemon, 1, &gone);
}

#[test]
#[ignore = "writes tests/fixtures/format2; see the README there"]
fn write_format2() {
    let daemon = Daemon::start(&format!("{ITEM}max_memory_size = \"1MiB\"----{SIZES}{QUEUES}"));
    let _held = fill(&daemon, &mut BTreeMap::new());
    fill_work_and_short(&daemon);
    put(&mut daemon.connect(), "last", &common()["last"][0]);
    keep(daemon, 2, &BTreeMap::new());
}

/// Items that go elsewhere by themselves.
fn fill_work_and_short(daemon: &Daemon) {
    let mut wire = daemon.connect();
    put(&mut wire, "work", &item("poison"));
    for _ in 0..2 {
        let mut worker = daemon.connect();
        while reserve(&mut worker, 1, "work").is_empty() {}
    }
    put(&mut wire, "short", &Item { ttl: 1, ..item("too late") });
    while daemon.stat("queue_late_items").as_deref() != Some("1")
        || daemon.stat("queue_dead_items").as_deref() != Some("1")
    {}
}

/// Settings for what only format 3 has.
const PARTS: &str = "[queues.\"graves\"]\nmax_attempts = 2\n";
/// Keys are known for as long as the fixture is.
const KEYS: &str = "idempotency_window = \"1000000h\"\n";
/// Ten years, in milliseconds: not more is taken.
const DELAY_MS: u64 = 315_360_000_000;

fn put_with(wire: &mut Wire, queue: &str, body: &str, options: &str) -> String {
    wire.send(format!("put {queue} {} {options}\r\n{body}\r\n", body.len()).as_bytes());
    let stored = wire.line();
    stored.strip_prefix("STORED ").expect(&stored).to_owned()
}

/// Takes the next item of a queue, which has to be this one, and says what becomes of it.
fn end_with(daemon: &Daemon, queue: &str, id: &str, verb: &str, rest: &str) {
    let mut wire = daemon.connect();
    assert_eq!(reserve(&mut wire, 1, queue)[0].0.to_string(), id);
    wire.ask(format!("{verb} {queue} {id}{rest}\r\n").as_bytes(), b"OK\r\n");
}

/// An item in each part of a queue, and all that can happen to one.
fn fill_parts(daemon: &Daemon) {
    let mut wire = daemon.connect();
    for (body, options) in
        [("low", "priority=low"), ("normal", "flags=5"), ("high", "priority=high")]
    {
        put_with(&mut wire, "levels", body, options);
    }
    put_with(&mut wire, "times", "later", &format!("delay={DELAY_MS} priority=high"));
    put_with(&mut wire, "times", "soon", "delay=1");
    let id = put_with(&mut wire, "again", "again", "");
    end_with(daemon, "again", &id, "release", &format!(" delay={DELAY_MS}"));
    let id = put_with(&mut wire, "graves", "buried", "priority=low flags=9");
    end_with(daemon, "graves", &id, "bury", " 4\r\né %");
    let id = put_with(&mut wire, "graves", "often", "");
    end_with(daemon, "graves", &id, "release", "");
    end_with(daemon, "graves", &id, "release", "");
    let id = put_with(&mut wire, "kicked", "kicked", "");
    end_with(daemon, "kicked", &id, "bury", " 0\r\n");
    wire.ask(b"kick kicked all\r\n", b"OK 1\r\n");
    put_with(&mut wire, "paused", "waits", "");
    wire.ask(b"pause paused\r\n", b"OK\r\n");
    put_with(&mut wire, "keyed", "once", "key=word");
}

#[test]
#[ignore = "writes tests/fixtures/format3; see the README there"]
fn write_format3() {
    let memory = "max_memory_size = \"1MiB\"";
    let daemon = Daemon::start(&format!("{ITEM}{memory}\n{KEYS}----{SIZES}{QUEUES}{PARTS}"));
    fill_parts(&daemon);
    let _held = fill(&daemon, &mut BTreeMap::new());
    let mut wire = daemon.connect();
    // What was put first is put again, and lies before a checkpoint again.
    let first = "log-0000000000000001.kq";
    let is_before = || {
        let superblock = fs::read(daemon.data_dir().join("journal.kq")).expect("it is there");
        let segments = segments_of(&daemon);
        let oldest = segments.values().next().and_then(|path| fs::read(path).ok());
        oldest.is_some_and(|oldest| start_segment(&superblock) > u64_at(&oldest, 16))
    };
    while segments_of(&daemon).contains_key(first) || !is_before() {
        let churn = item(vec![b'c'; 1500]);
        put(&mut wire, "churn", &churn);
        take(&mut wire, "churn", &churn);
    }
    wire.ask(b"delete churn\r\n", b"DELETED\r\n");
    // After the last checkpoint.
    fill_work_and_short(&daemon);
    put_with(&mut wire, "levels", "last high", "priority=high");
    put(&mut wire, "last", &common()["last"][0]);
    keep(daemon, 3, &BTreeMap::new());
}

/// A copy of a fixture, its segments as long as they were.
fn copy(format: u32, root: &Path) -> BTreeMap<String, Vec<u8>> {
    let data = root.join("data");
    fs::create_dir(&data).expect("a directory");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(fixture(format)).expect("the fixture is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut bytes = fs::read(&path).expect("it can be read");
        if name.starts_with("log-") {
            assert_eq!(u32_at(&bytes, 8), format, "{name}");
            bytes.resize(u64_at(&bytes, 40) as usize, 0);
        }
        fs::write(data.join(&name), &bytes).expect("written");
        files.insert(name, bytes);
    }
    files
}

fn strict_and_cold() -> String {
    format!("{ITEM}max_memory_size = \"1MiB\"----{SIZES}strict = true\n{QUEUES}")
}

fn is_served(format: u32, extra: &str) {
    let root = tempfile::tempdir().expect("a directory");
    copy(format, root.path());
    let daemon = Daemon::start_in(root.path(), extra).expect("it starts");
    let expected = contents(format);
    for (queue, items) in &expected {
        let found = reserve_all(&daemon, queue);
        let is_by_level = *queue == "levels";
        assert!(is_by_level || found.is_sorted_by_key(|(id, ..)| id), "{queue}: ids rise");
        let found = found.into_iter().map(|(_, flags, deliveries, body)| (flags, deliveries, body));
        let expected = items.iter().map(|item| (item.flags, item.attempts + 1, item.body.clone()));
        let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
        assert_eq!(found.len(), expected.len(), "{queue}");
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(found == expected, "{queue}, item {at}: {found:?}, not {expected:?}");
        }
    }
    // And nothing else.
    let mut wire = daemon.connect();
    let mut count: usize = expected.values().map(Vec::len).sum();
    if format > 2 {
        parts_are_served(&daemon);
        // Kicked back, and no more paused.
        count += 3;
    }
    let waits = |wire: &mut Wire| wire.stat("curr_items") == Some(count.to_string());
    while !waits(&mut wire) {}
    for gone in ["deleted", "churn", "short", "work"] {
        assert_eq!(wire.get(gone), None);
    }
    assert_eq!(wire.stat("damaged_total").as_deref(), Some("0"));
    // It is taken over for good: what is put now comes behind it, with a higher id.
    put(&mut wire, "jobs", &item("new"));
    let daemon = daemon.kill_and_restart();
    let jobs = reserve_all(&daemon, "jobs");
    assert!(jobs.is_sorted_by_key(|(id, ..)| id), "ids rise");
    assert_eq!(jobs.len(), expected["jobs"].len() + 1);
    assert_eq!(jobs.last().expect("there are some").3, b"new");
}

#[test]
fn what_a_server_of_format_1_left_is_served() {
    is_served(1, &format!("{ITEM}----{SIZES}"));
    // Also with other sizes, and with next to no memory.
    is_served(1, "");
    is_served(1, &strict_and_cold());
}

#[test]
fn what_a_server_of_format_2_left_is_served() {
    is_served(2, &format!("{ITEM}----{SIZES}"));
    is_served(2, "");
    is_served(2, &strict_and_cold());
}

/// What only `browse` and the like can show.
fn parts_are_served(daemon: &Daemon) {
    let mut wire = daemon.connect();
    let mut browse = |queue: &str, state: &str| {
        wire.send(format!("browse {queue} {state} 10\r\n").as_bytes());
        let mut found = Vec::new();
        loop {
            let line = wire.line();
            match line.strip_prefix(&format!("FOUND {queue} ")) {
                // Behind the id and the state.
                Some(_) => found.push((line, wire.line())),
                None => return found,
            }
        }
    };
    let has = |(line, body): &(String, String), expected: &str, words: &[&str]| {
        assert_eq!(body, expected, "{line}");
        words.iter().for_each(|word| assert!(line.contains(&format!(" {word}")), "{word}: {line}"));
    };
    let dead = browse("graves", "dead");
    assert_eq!(dead.len(), 2, "{dead:?}");
    let reason = "reason=%C3%A9%20%25";
    has(&dead[0], "buried", &["priority=low", "flags=9", "cause=buried", "attempts=1", reason]);
    has(&dead[1], "often", &["priority=normal", "cause=attempts", "attempts=2", "origin=graves"]);
    // After ten years they are ready.
    for (queue, body, words) in
        [("times", "later", "priority=high"), ("again", "again", "attempts=1")]
    {
        let later = [browse(queue, "delayed"), browse(queue, "ready")].concat();
        let later = later.iter().find(|(_, found)| found == body).expect("it is there");
        has(later, body, &[words]);
    }
    assert_eq!(wire.get("paused"), None);
    wire.ask(b"resume paused\r\n", b"OK\r\n");
    assert_eq!(reserve(&mut daemon.connect(), 1, "paused")[0].3, b"waits");
    wire.ask(b"kick graves all\r\n", b"OK 2\r\n");
    let kicked = reserve_all(daemon, "graves");
    let kicked: Vec<(u32, &[u8])> = kicked.iter().map(|item| (item.2, &item.3[..])).collect();
    assert_eq!(kicked, [(1, &b"often"[..]), (1, &b"buried"[..])]);
    let keyed = reserve_all(daemon, "keyed")[0].0.to_string();
    assert_eq!(put_with(&mut wire, "keyed", "once", "key=word"), keyed, "it was put before");
}

#[test]
fn expiry_and_put_time_of_an_old_item_are_kept() {
    for format in [1, 2, 3] {
        let root = tempfile::tempdir().expect("a directory");
        copy(format, root.path());
        let done = tool(&[&"dump", &root.path().join("data"), &"--queue", &"odd"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let lines = done.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        assert_eq!(lines[1]["expiry_ms"], Value::Null, "format {format}");
        // The fixtures were made in November 2026.
        let put_ms = lines[0]["put_ms"].as_u64().expect("a time");
        assert_eq!(lines[0]["expiry_ms"], put_ms + LONG * 1000, "format {format}");
        assert!((1_793_000_000_000..1_797_000_000_000).contains(&put_ms), "{put_ms}");
    }
}

#[test]
fn what_a_server_of_format_3_left_is_served() {
    is_served(3, &format!("{ITEM}{KEYS}----{SIZES}{PARTS}"));
    is_served(3, &format!("{KEYS}----{PARTS}"));
    is_served(3, &format!("{KEYS}{}{PARTS}", strict_and_cold()));
}

/// What it may write from then on an older one does not know, and would take for damage or pass over.
#[test]
fn a_server_of_an_older_format_is_locked_out_before_anybody_is_served() {
    let root = tempfile::tempdir().expect("a directory");
    copy(2, root.path());
    let daemon = Daemon::start_in(root.path(), "").expect("it starts");
    let superblock = fs::read(daemon.data_dir().join("journal.kq")).expect("it is there");
    let slots = [0, 4096].map(|at| (u64_at(&superblock, at + 16), u32_at(&superblock, at + 8)));
    assert_eq!(slots.iter().max().expect("two").1, 3, "{slots:?}");
    // Whatever a segment says that was begun before.
    put(&mut daemon.connect(), "jobs", &item("new"));
    let newest = segments_of(&daemon).into_values().next_back().expect("there are segments");
    assert_eq!(u32_at(&fs::read(newest).expect("it can be read"), 8), 3);
    daemon.kill();
    // As that one would, this one refuses the next format.
    let path = root.path().join("data/journal.kq");
    let mut next = superblock;
    let slot = if slots[0] > slots[1] { 0 } else { 4096 };
    next[slot + 8] = 4;
    let crc = crc32fast::hash(&next[slot..slot + 64]).to_le_bytes();
    next[slot + 64..slot + 68].copy_from_slice(&crc);
    fs::write(path, next).expect("it can be written");
    let refused = Daemon::start_in(root.path(), "").err().expect("a newer format");
    assert!(refused.stderr.contains("format 4"), "{}", refused.stderr);
}

#[test]
fn the_fixture_of_format_1_has_items_twice() {
    let root = tempfile::tempdir().expect("a directory");
    let files = copy(1, root.path());
    let puts = files.values().flat_map(|bytes| {
        let bodies = records(bytes).into_iter().filter(|record| record.kind == PUT);
        bodies.map(|record| record.body(bytes).to_vec()).collect::<Vec<_>>()
    });
    let count = puts.filter(|body| body.starts_with(b"job 100 ")).count();
    assert_eq!(count, 2, "the segment that was emptied is there, and what came of it");
}

#[test]
fn the_fixture_of_format_2_has_what_it_is_there_for() {
    let root = tempfile::tempdir().expect("a directory");
    let files = copy(2, root.path());
    let segments = files.iter().filter(|(name, _)| name.starts_with("log-"));
    let kinds: BTreeSet<u8> =
        segments.flat_map(|(_, bytes)| records(bytes)).map(|record| record.kind).collect();
    // Puts, removals, deliveries, states of queues, what was put again, transfers; ends of checkpoints, segments that were freed, segments, markers.
    for kind in [1, 3, 4, 6, 7, 8, 9, 252, 253, 254, 255] {
        assert!(kinds.contains(&kind), "kind {kind} is not among {kinds:?}");
    }
    lies_before_a_checkpoint(&files);
}

#[test]
fn the_fixture_of_format_3_has_what_it_is_there_for() {
    let root = tempfile::tempdir().expect("a directory");
    let files = copy(3, root.path());
    let segments = files.iter().filter(|(name, _)| name.starts_with("log-"));
    let mut kinds = BTreeSet::new();
    let mut has_lanes = false;
    for (_, bytes) in segments {
        for record in records(bytes) {
            kinds.insert(record.kind);
            let flags = bytes[record.at + HEAD_BYTES + 8.min(record.meta_len)];
            has_lanes |= record.kind == STATE && flags & 8 != 0;
        }
    }
    // Those of format 2, but 9 and 10, and the new ones: with fields, put again, moved, paused queues, keys.
    for kind in [1, 3, 4, 6, 7, 8, 14, 15, 16, 17, 18, 252, 253, 254, 255] {
        assert!(kinds.contains(&kind), "kind {kind} is not among {kinds:?}");
    }
    assert!(has_lanes, "states of lanes");
    lies_before_a_checkpoint(&files);
}

fn lies_before_a_checkpoint(files: &BTreeMap<String, Vec<u8>>) {
    let logs = files.iter().filter(|(name, _)| name.starts_with("log-"));
    let oldest = logs.map(|(_, bytes)| u64_at(bytes, 16)).min().expect("segments");
    let start = start_segment(&files["journal.kq"]);
    assert!(start > oldest, "items lie before the last checkpoint");
}

/// In which segment reading begins.
fn start_segment(superblock: &[u8]) -> u64 {
    let slot = usize::from(u64_at(superblock, 4096 + 16) > u64_at(superblock, 16)) * 4096;
    u64_at(superblock, slot + 32)
}
