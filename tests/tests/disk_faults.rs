//! A disk that is full, breaks or is slow, a process that has no descriptors left, and a stop under load: what was acknowledged is there afterwards, and
//! what can go on goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kqueue_tests::segment::{MARKER, PUT, records};
use kqueue_tests::{Daemon, Dice, Load, SmallDisk, Strace, Wire};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

/// Small segments; the log may be longer than any disk here.
const SMALL: &str = "max_item_size = \"68KiB\"----segment_size = \"256KiB\"\nlog_cap = \"64MiB\"\n";
/// Enough for some segments.
const DISK_BYTES: u64 = 3 * 1024 * 1024;
/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Body number `number`, of at least `bytes` bytes.
fn body(number: usize, bytes: usize) -> Vec<u8> {
    format!("{number:0>width$}", width = bytes.max(8)).into_bytes()
}

/// Puts one item; the whole reply line.
fn try_put(wire: &mut Wire, queue: &str, body: &[u8]) -> String {
    let mut request = format!("set {queue} 0 0 {}\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request.extend_from_slice(b"\r\n");
    wire.send(&request);
    wire.line()
}

/// Puts items, several at a time, until the disk is full; the numbers of those that were stored.
fn put_until_full(wire: &mut Wire, queue: &str, bytes: usize) -> Vec<usize> {
    const AT_A_TIME: usize = 20;
    let mut stored = Vec::new();
    for first in (0..1_000_000).step_by(AT_A_TIME) {
        let numbers = first..first + AT_A_TIME;
        let mut requests = Vec::new();
        for number in numbers.clone() {
            let body = body(number, bytes);
            requests.extend_from_slice(format!("set {queue} 0 0 {}\r\n", body.len()).as_bytes());
            requests.extend_from_slice(&body);
            requests.extend_from_slice(b"\r\n");
        }
        wire.send(&requests);
        let mut is_full = false;
        for number in numbers {
            match wire.line().as_str() {
                "STORED" => stored.push(number),
                reply => {
                    assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
                    is_full = true;
                }
            }
        }
        if is_full {
            return stored;
        }
    }
    panic!("the disk does not become full");
}

/// Takes one item in one of the ways that there are, and confirms it.
fn take(wire: &mut Wire, queue: &str, way: usize) -> Option<Vec<u8>> {
    match way % 3 {
        0 => wire.get(queue),
        1 => {
            let taken = wire.get(&format!("{queue}/open"))?;
            assert_eq!(wire.get(&format!("{queue}/close")), None);
            Some(taken)
        }
        _ => {
            wire.send(format!("reserve 1 0 0 {queue}\r\n").as_bytes());
            let line = wire.line();
            if line == "END" {
                return None;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let mut taken = vec![0; words[6].parse().expect("a length")];
            wire.read(&mut taken);
            wire.expect(b"\r\nEND\r\n");
            wire.ask(format!("ack {queue} {}\r\n", words[2]).as_bytes(), b"OK\r\n");
            Some(taken)
        }
    }
}

fn take_all(wire: &mut Wire, queue: &str, numbers: &[usize], bytes: usize) {
    for (way, &number) in numbers.iter().enumerate() {
        let taken = take(wire, queue, way);
        assert!(taken == Some(body(number, bytes)), "item {number}, way {way}");
    }
    assert_eq!(wire.get(queue), None);
}

/// Puts until one is stored: the server finds out by itself that there is room.
fn put_when_there_is_room(wire: &mut Wire, queue: &str, body: &[u8]) {
    let began = Instant::now();
    loop {
        let reply = try_put(wire, queue, body);
        if reply == "STORED" {
            return;
        }
        assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
        assert!(began.elapsed() < PATIENCE, "there is room, and puts are refused for ever");
    }
}

/// Fills the disk with items of that size, takes them all, and expects that puts work again by themselves.
fn full_of_items_of(bytes: usize) {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    let stored = put_until_full(&mut wire, "q", bytes);
    let reply = try_put(&mut wire, "other", &body(0, 60_000));
    assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
    take_all(&mut wire, "q", &stored, bytes);
    put_when_there_is_room(&mut wire, "q", b"room again");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    assert_eq!(wire.get("q").as_deref(), Some(&b"room again"[..]));
    assert_eq!(wire.get("q"), None);
}

#[test]
fn full_of_large_items_it_serves_all_of_them_and_takes_puts_again_when_they_are_gone() {
    full_of_items_of(16 * 1024);
}

#[test]
fn full_of_tiny_items_it_serves_all_of_them_and_takes_puts_again_when_they_are_gone() {
    full_of_items_of(8);
}

#[test]
fn killed_on_a_full_disk_it_starts_again_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    let stored = put_until_full(&mut wire, "q", 5000);
    take_all(&mut daemon.connect(), "nothing", &[], 0);
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    take_all(&mut wire, "q", &stored, 5000);
    put_when_there_is_room(&mut wire, "q", b"room again");
    let daemon = daemon.kill_and_restart();
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"room again"[..]));
}

#[test]
fn a_disk_that_others_fill_stops_puts_and_nothing_else_until_there_is_room_again() {
    let Some(disk) = SmallDisk::new(2 * DISK_BYTES) else { return };
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    for number in 0..100 {
        wire.put("q", &body(number, 5000));
    }
    disk.fill();
    let stored = put_until_full(&mut wire, "late", 5000);
    for number in 0..50 {
        assert_eq!(take(&mut wire, "q", number), Some(body(number, 5000)));
    }
    disk.relieve();
    put_when_there_is_room(&mut wire, "q", &body(100, 5000));
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    take_all(&mut wire, "q", &(50..101).collect::<Vec<_>>(), 5000);
    take_all(&mut wire, "late", &stored, 5000);
}

/// Kills a server with 30 items, fills the disk to the last byte, and starts it again.
fn started_on_a_full_disk(disk: &SmallDisk) -> Daemon {
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    for number in 0..30 {
        wire.put("q", &body(number, 5000));
    }
    daemon.kill();
    disk.fill();
    Daemon::start_in(&disk.directory(), SMALL).expect("it starts on a full disk")
}

#[test]
fn started_on_a_full_disk_it_serves_what_it_has() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = started_on_a_full_disk(&disk);
    let mut wire = daemon.connect();
    for number in 0..20 {
        assert_eq!(take(&mut wire, "q", number), Some(body(number, 5000)));
    }
    disk.relieve();
    // What was removed while nothing could be written is removed for good once something can be.
    put_when_there_is_room(&mut wire, "q", &body(30, 5000));
    let daemon = daemon.kill_and_restart();
    take_all(&mut daemon.connect(), "q", &(20..31).collect::<Vec<_>>(), 5000);
}

#[test]
fn started_on_a_full_disk_it_keeps_what_it_says_it_keeps() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = started_on_a_full_disk(&disk);
    let mut wire = daemon.connect();
    // There may be space that it has from before.
    let mut there: Vec<usize> = (0..30).collect();
    there.extend((30..100).filter(|&number| {
        let reply = try_put(&mut wire, "q", &body(number, 5000));
        let is_refused = reply.starts_with("SERVER_ERROR out of disk");
        assert!(is_refused || reply == "STORED", "{reply}");
        !is_refused
    }));
    assert!(there.len() < 100, "the disk is full");
    let daemon = daemon.kill_and_restart();
    take_all(&mut daemon.connect(), "q", &there, 5000);
}

#[test]
fn started_on_a_full_disk_without_a_spare_it_answers_at_once_and_makes_room_by_itself() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = started_on_a_full_disk(&disk);
    daemon.kill();
    let mut taken = 0;
    for entry in fs::read_dir(disk.mount().join("data")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.display().to_string().contains("spare-") {
            fs::remove_file(path).expect("nobody uses it");
            taken += 1;
        }
    }
    assert!(taken > 0, "there was no spare");
    fs::rename(disk.mount().join("ballast"), disk.mount().join("more")).expect("it was filled");
    disk.fill();
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts on a full disk");
    let mut wire = daemon.connect();
    // It goes on in the segment that it was in, as long as there is room.
    let mut there: Vec<usize> = (0..30).collect();
    there.extend((30..100).take_while(|&number| {
        let reply = try_put(&mut wire, "q", &body(number, 5000));
        assert!(reply == "STORED" || reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
        reply == "STORED"
    }));
    assert!(there.len() < 100, "the disk is full");
    take_all(&mut wire, "q", &there, 5000);
    put_when_there_is_room(&mut wire, "q", b"room again");
    let daemon = daemon.kill_and_restart();
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"room again"[..]));
}

/// What a server left that was killed with 30 items and no spare, on a disk on which a few more KiB can be written; `change` changes the newest segment. Answers that one.
fn left_without_space(disk: &SmallDisk, change: impl FnOnce(&Path)) -> PathBuf {
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    for number in 0..30 {
        wire.put("q", &body(number, 5000));
    }
    daemon.kill();
    let data = disk.mount().join("data");
    let names = fs::read_dir(&data).expect("a directory");
    let (spares, mut segments): (Vec<PathBuf>, Vec<PathBuf>) = names
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == "kq"))
        .filter(|path| !path.ends_with("journal.kq"))
        .partition(|path| path.display().to_string().contains("spare-"));
    spares.iter().for_each(|path| fs::remove_file(path).expect("nobody uses it"));
    segments.sort();
    let newest = segments.pop().expect("there is one");
    change(&newest);
    let pad = disk.mount().join("pad");
    fs::write(&pad, vec![b'x'; 64 * 1024]).expect("there is room");
    disk.fill();
    fs::remove_file(&pad).expect("it is there");
    newest
}

#[test]
fn a_last_segment_with_holes_is_no_place_to_go_on_in_on_a_full_disk_and_all_is_served() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    left_without_space(&disk, |newest| {
        let whole = fs::read(newest).expect("a segment");
        let used = records(&whole).last().expect("there are records").end();
        // As if somebody had copied it with `cp --sparse=always`.
        fs::write(newest, &whole[..used]).expect("it can be written");
        let file = fs::OpenOptions::new().write(true).open(newest).expect("it can be opened");
        file.set_len(whole.len() as u64).expect("it can be made longer");
    });
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts on a full disk");
    let mut wire = daemon.connect();
    let reply = try_put(&mut wire, "q", b"x");
    assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
    assert_eq!(take(&mut wire, "q", 0), Some(body(0, 5000)));
    disk.relieve();
    put_when_there_is_room(&mut wire, "q", &body(30, 5000));
    let exit = daemon.kill();
    assert!(exit.stderr.contains("does not go on in log-"), "{exit:?}");
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    take_all(&mut daemon.connect(), "q", &(1..31).collect::<Vec<_>>(), 5000);
}

#[test]
fn what_is_cut_from_the_end_on_a_full_disk_is_copied_before_it_is_overwritten() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let mut expected = Vec::new();
    let newest = left_without_space(&disk, |newest| {
        // The end of a batch that was acknowledged is damaged: it looks like one that was never finished.
        let mut bytes = fs::read(newest).expect("a segment");
        let all = records(&bytes);
        let marker = all.iter().rfind(|record| record.kind == MARKER).expect("there are some");
        let (at, end) = (marker.at, marker.end());
        bytes[at..end].fill(0xaa);
        fs::write(newest, &bytes).expect("it can be written");
        let put = all.iter().rfind(|record| record.kind == PUT).expect("there are some");
        expected = put.body(&bytes).to_vec();
    });
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts on a full disk");
    let mut wire = daemon.connect();
    // It goes on behind what it could read, over what was cut.
    wire.put("q", &body(30, 5000));
    let has_it = |bytes: &[u8]| bytes.windows(expected.len()).any(|part| part == expected);
    assert!(!has_it(&fs::read(newest).expect("a segment")), "nothing was overwritten");
    let copies = fs::read_dir(disk.mount().join("data/quarantine")).expect("there are copies");
    let copies = copies.map(|entry| fs::read(entry.expect("an entry").path()).expect("a copy"));
    assert!(copies.into_iter().any(|copy| has_it(&copy)), "there is no copy of it");
    let mut there: Vec<usize> = (0..29).collect();
    there.push(30);
    take_all(&mut wire, "q", &there, 5000);
}

#[test]
fn started_on_a_full_disk_it_makes_room_by_itself_when_its_items_are_taken() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let daemon = started_on_a_full_disk(&disk);
    let mut wire = daemon.connect();
    take_all(&mut wire, "q", &(0..30).collect::<Vec<_>>(), 5000);
    put_when_there_is_room(&mut wire, "q", b"room again");
    let daemon = daemon.kill_and_restart();
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"room again"[..]));
}

#[test]
fn killed_again_and_again_on_a_full_disk_it_still_makes_room_by_itself() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let mut daemon = started_on_a_full_disk(&disk);
    // A removal may be lost with a kill, so items may come again.
    let mut seen = BTreeSet::new();
    for start in 0..4 {
        // Each of these runs writes something, and begins a segment for that as long as it can have one.
        let mut wire = daemon.connect();
        seen.insert(take(&mut wire, "q", start).expect("there are 30"));
        let began = Instant::now();
        while wire.stat("journal_writes").as_deref() == Some("0") {
            assert!(began.elapsed() < PATIENCE, "start {start}: nothing can be written");
        }
        daemon = daemon.kill_and_restart();
    }
    let mut wire = daemon.connect();
    while let Some(taken) = wire.get("q") {
        seen.insert(taken);
    }
    let all: BTreeSet<Vec<u8>> = (0..30).map(|number| body(number, 5000)).collect();
    assert!(seen == all, "{} of 30 items were seen", seen.len());
    put_when_there_is_room(&mut wire, "q", b"room again");
    let daemon = daemon.kill_and_restart();
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"room again"[..]));
}

/// How long a server without slow clients may take to stop, whatever the disk does.
const STOP_MAX: Duration = Duration::from_secs(10);

#[test]
fn asked_to_stop_on_a_full_disk_it_stops_and_serves_everything_at_the_next_start() {
    const QUEUES: usize = 4000;
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let mut daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    // What has to be said of so many queues does not fit into what is left of a segment.
    for first in (0..QUEUES).step_by(100) {
        let puts = (first..first + 100).map(|number| format!("set queue{number} 0 0 1\r\nx\r\n"));
        wire.send(puts.collect::<String>().as_bytes());
        (0..100).for_each(|_| assert_eq!(wire.line(), "STORED"));
    }
    let stored = put_until_full(&mut wire, "q", 5000);
    let taken = stored.len() - 5;
    take_from_front(&mut wire, &stored[..taken]);
    // New queues are written down, too, as long as there is room.
    for first in (0..QUEUES).step_by(100) {
        let gets = (first..first + 100).map(|number| format!("get polled{number}\r\n"));
        wire.send(gets.collect::<String>().as_bytes());
        (0..100).for_each(|_| assert_eq!(wire.line(), "END"));
    }
    drop(wire);
    daemon.signal(Signal::TERM);
    let exit = daemon.wait_within(STOP_MAX);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // Whether anything is left that could not be written depends on how much room there was.
    let is_told = exit.stderr.contains("may come again");
    assert!(is_told || exit.stderr.contains("everything acknowledged is on the disk"), "{exit:?}");
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    let served: Vec<Vec<u8>> = std::iter::from_fn(|| wire.get("q")).collect();
    let rest: Vec<Vec<u8>> = stored[taken..].iter().map(|&number| body(number, 5000)).collect();
    assert!(served.ends_with(&rest), "{} items, of {}", served.len(), rest.len());
    assert!(is_told || served.len() == rest.len(), "{} items came again", served.len());
    for number in 0..QUEUES {
        assert_eq!(wire.get(&format!("queue{number}")).as_deref(), Some(&b"x"[..]));
    }
}

/// Takes items from the front of the queue.
fn take_from_front(wire: &mut Wire, numbers: &[usize]) {
    for &number in numbers {
        assert_eq!(take(wire, "q", 0), Some(body(number, 5000)));
    }
}

#[test]
fn the_first_start_on_a_full_disk_says_so_and_leaves_nothing_that_hinders_the_next() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    disk.fill();
    match Daemon::start_in(&disk.directory(), SMALL) {
        Ok(daemon) => {
            let mut wire = daemon.connect();
            let reply = try_put(&mut wire, "q", b"x");
            assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
            assert_eq!(wire.get("q"), None);
            daemon.kill();
        }
        Err(exit) => {
            assert_eq!(exit.code, Some(1), "{exit:?}");
            assert!(exit.stderr.contains("No space left"), "{exit:?}");
        }
    }
    disk.relieve();
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    wire.put("q", b"x");
    let daemon = daemon.kill_and_restart();
    assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"x"[..]));
}

/// A daemon whose disk breaks somewhere in the middle, and what was acknowledged until then.
fn broken_by(injection: &str) {
    let Some(strace) = Strace::new(injection) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let acknowledged = match Daemon::start_under(&strace.wrapper(), directory.path(), SMALL) {
        Ok(mut daemon) => {
            let acknowledged = put_until_broken(daemon.connect_raw(), injection);
            let exit = daemon.wait();
            assert_eq!(exit.code, Some(3), "{injection}: {exit:?}");
            assert!(exit.stderr.contains("the journal failed"), "{injection}: {exit:?}");
            assert!(exit.stderr.contains("os error"), "{injection}: {exit:?}");
            acknowledged
        }
        Err(exit) => {
            assert!(matches!(exit.code, Some(1 | 3)), "{injection}: {exit:?}");
            assert!(exit.stderr.contains("os error"), "{injection}: {exit:?}");
            0
        }
    };
    assert!(strace.has_struck(), "{injection}: nothing happened");
    let daemon = Daemon::start_in(directory.path(), SMALL).expect("it starts again");
    let mut wire = daemon.connect();
    for number in 0..acknowledged {
        assert_eq!(wire.get("q"), Some(body(number, 5000)), "{injection}");
    }
    // The one that was not answered may be there, and nothing else.
    if let Some(rest) = wire.get("q") {
        assert_eq!(rest, body(acknowledged, 5000), "{injection}");
    }
    assert_eq!(wire.get("q"), None, "{injection}");
    wire.put("q", b"works again");
}

/// Puts one item after the other until one is not stored; how many were.
fn put_until_broken(stream: TcpStream, injection: &str) -> usize {
    let mut reader = BufReader::new(stream);
    for number in 0..400 {
        let body = body(number, 5000);
        let mut request = format!("set q 0 0 {}\r\n", body.len()).into_bytes();
        request.extend_from_slice(&body);
        request.extend_from_slice(b"\r\n");
        let mut reply = String::new();
        if reader.get_mut().write_all(&request).is_err()
            || reader.read_line(&mut reply).is_err()
            || reply.is_empty()
        {
            return number;
        }
        if reply != "STORED\r\n" {
            assert!(reply.starts_with("SERVER_ERROR the journal failed"), "{injection}: {reply}");
            return number;
        }
    }
    panic!("{injection}: all puts were stored");
}

#[test]
fn a_write_that_fails_ends_the_server_and_loses_nothing_acknowledged() {
    for when in ["1", "2", "3", "10", "70", "5+"] {
        broken_by(&format!("pwrite64:error=EIO:when={when}"));
    }
}

#[test]
fn a_write_for_which_there_is_no_space_ends_the_server_and_loses_nothing_acknowledged() {
    // Segments have all their blocks before they are used: this is a disk that lies, not one that is full.
    broken_by("pwrite64:error=ENOSPC:when=10+");
}

#[test]
fn a_segment_for_which_there_is_no_space_is_tried_again() {
    // The third one of the thread that starts the server is that of its first spare.
    let Some(strace) = Strace::new("fsync:error=ENOSPC:when=3") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let started = Daemon::start_under(&strace.wrapper(), directory.path(), SMALL);
    let daemon = started.expect("it starts");
    let mut wire = daemon.connect();
    put_when_there_is_room(&mut wire, "q", &body(0, 5000));
    daemon.kill();
    assert!(strace.has_struck(), "nothing happened");
    let daemon = Daemon::start_in(directory.path(), SMALL).expect("it starts");
    take_all(&mut daemon.connect(), "q", &[0], 5000);
}

#[test]
fn a_sync_that_fails_ends_the_server_and_is_not_tried_again() {
    for when in ["1", "2", "3", "10", "60", "5+"] {
        broken_by(&format!("fdatasync:error=EIO:when={when}"));
    }
}

#[test]
fn a_segment_that_cannot_be_made_ends_the_server_and_loses_nothing_acknowledged() {
    for when in ["1", "2", "3", "5"] {
        broken_by(&format!("fsync:error=EIO:when={when}"));
    }
    broken_by("rename:error=EIO:when=2");
}

/// The descriptors that [`without_descriptors`] leaves to a daemon.
const FILES_MAX: u64 = 60;

/// A daemon with few descriptors, and as many connections that say nothing as it takes, and more.
fn without_descriptors(directory: &Path) -> (Daemon, Wire, Vec<TcpStream>) {
    let limit = format!("ulimit -n {FILES_MAX}; exec \"$@\"");
    let wrapper = ["sh", "-c", &limit, "sh"].map(str::to_owned);
    let daemon = Daemon::start_under(&wrapper, directory, SMALL).expect("it starts");
    let mut wire = daemon.connect();
    wire.put("q", &body(0, 5000));
    let idle = (0..2 * FILES_MAX).map(|_| daemon.connect_raw()).collect();
    let began = Instant::now();
    let told = loop {
        let mut reply = String::new();
        let asked = daemon.connect_raw();
        // Closed without a word, if what we say comes too late.
        let _ = (&asked).write_all(b"version\r\n");
        let _ = BufReader::new(asked).read_line(&mut reply);
        if !reply.is_empty() && !reply.starts_with("VERSION") {
            break reply;
        }
        assert!(began.elapsed() < PATIENCE, "it takes more connections than it has descriptors");
    };
    assert_eq!(told, "SERVER_ERROR too many connections\r\n");
    (daemon, wire, idle)
}

/// Lets a running daemon have descriptors with numbers below `limit` only.
fn limit_descriptors(daemon: &Daemon, limit: u64) {
    let pid = Pid::from_raw(daemon.pid() as i32);
    let limits = Rlimit { current: Some(limit), maximum: Some(FILES_MAX) };
    prlimit(pid, Resource::Nofile, limits).expect("a daemon of ours");
}

#[test]
fn without_descriptors_it_goes_on_with_the_connections_that_it_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (daemon, mut wire, idle) = without_descriptors(directory.path());
    for number in 1..20 {
        wire.put("q", &body(number, 5000));
    }
    assert_eq!(wire.get("q"), Some(body(0, 5000)));
    drop(idle);
    let taken = loop {
        let mut later = daemon.connect_raw();
        let mut reply = String::new();
        later.write_all(b"get q\r\n").expect("it listens");
        let mut reader = BufReader::new(later);
        reader.read_line(&mut reply).expect("an answer");
        // Until it has seen that the others are gone.
        if !reply.starts_with("SERVER_ERROR") {
            let mut taken = vec![0; 5000];
            reader.read_exact(&mut taken).expect("an item");
            break taken;
        }
    };
    assert_eq!(taken, body(1, 5000));
    let daemon = daemon.kill_and_restart();
    take_all(&mut daemon.connect(), "q", &(2..20).collect::<Vec<_>>(), 5000);
}

#[test]
fn without_descriptors_the_journal_goes_on_to_further_segments() {
    let directory = tempfile::tempdir().expect("a directory");
    let (daemon, mut wire, idle) = without_descriptors(directory.path());
    let segments = |wire: &mut Wire| wire.stat("journal_segments").expect("it says");
    let before: u64 = segments(&mut wire).parse().expect("a number");
    for number in 1..250 {
        wire.put("q", &body(number, 5000));
    }
    let after: u64 = segments(&mut wire).parse().expect("a number");
    assert!(after >= before + 3, "{before} segments, then {after}");
    drop(idle);
    let daemon = daemon.kill_and_restart();
    take_all(&mut daemon.connect(), "q", &(0..250).collect::<Vec<_>>(), 5000);
}

#[test]
fn a_journal_that_gets_no_descriptor_at_all_waits_for_one_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (daemon, mut wire, mut idle) = without_descriptors(directory.path());
    idle.truncate(2);
    let began = Instant::now();
    let connections = |wire: &mut Wire| wire.stat("curr_connections").expect("it says");
    while connections(&mut wire) != "3" {
        assert!(began.elapsed() < PATIENCE, "it does not see that the others are gone");
    }
    let mut other = daemon.connect();
    other.ask(b"get nothing\r\n", b"END\r\n");
    limit_descriptors(&daemon, 3);
    // More than one segment; what does not fit has to wait.
    let numbers = 1..100;
    for number in numbers.clone() {
        let mut request = b"set q 0 0 5000\r\n".to_vec();
        request.extend_from_slice(&body(number, 5000));
        request.extend_from_slice(b"\r\n");
        wire.send(&request);
    }
    let began = Instant::now();
    while other.stat("journal_full").as_deref() != Some("1") {
        assert!(began.elapsed() < PATIENCE, "it makes segments without descriptors");
    }
    assert_eq!(other.get("q"), Some(body(0, 5000)));
    limit_descriptors(&daemon, FILES_MAX);
    let mut stored = Vec::new();
    for number in numbers {
        match wire.line().as_str() {
            "STORED" => stored.push(number),
            reply => assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}"),
        }
    }
    put_when_there_is_room(&mut wire, "last", b"room again");
    let daemon = daemon.kill_and_restart();
    take_all(&mut daemon.connect(), "q", &stored, 5000);
}

/// What the clients of a load did not like, and the seed that repeats their choices.
fn judge(load: &Load, daemon: Daemon, seed: u64) {
    load.drain(daemon.address());
    load.ledger().end_round(true);
    load.ledger().audit();
    let complaints = load.ledger().complaints().join("\n");
    assert!(complaints.is_empty(), "KQUEUE_FAULT_SEED={seed}:\n{complaints}");
}

#[test]
fn a_stop_under_load_exits_with_0_and_everything_that_was_answered_is_on_the_disk() {
    let seed = Dice::seed_from("KQUEUE_FAULT_SEED");
    let (directory, mut dice) = (tempfile::tempdir().expect("a directory"), Dice::new(seed));
    let load = Load::default();
    let start = || Daemon::start_in(directory.path(), SMALL).expect("it starts");
    let mut daemon = start();
    load.prepare(daemon.address());
    for _ in 0..8 {
        let clients = load.start(daemon.address(), 4, &mut dice);
        load.wait_for(1 + dice.below(300));
        load.ledger().stopping();
        daemon.signal(Signal::TERM);
        let exit = daemon.wait();
        assert_eq!(exit.code, Some(0), "KQUEUE_FAULT_SEED={seed}: {exit:?}");
        clients.end_round(true);
        daemon = start();
    }
    judge(&load, daemon, seed);
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start_in(directory.path(), "").expect("it starts");
    let mut wire = daemon.connect();
    let large = vec![b'x'; 512 * 1024];
    wire.put("large", &large);
    for number in 0..20 {
        wire.put("q", &body(number, 100));
    }
    // A client that asks for much and reads nothing keeps the server from finishing.
    let mut slow = daemon.connect_raw();
    slow.write_all(&b"get large/peek\r\n".repeat(100)).expect("it takes requests");
    slow.read_exact(&mut [0; 10]).expect("it has begun");
    daemon.signal(Signal::TERM);
    let began = Instant::now();
    while TcpStream::connect(daemon.address()).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it does not drain");
    }
    daemon.signal(Signal::TERM);
    let exit = daemon.wait();
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let daemon = Daemon::start_in(directory.path(), "").expect("it starts again");
    take_all(&mut daemon.connect(), "q", &(0..20).collect::<Vec<_>>(), 100);
}

#[test]
fn on_a_slow_disk_everything_is_as_on_a_fast_one() {
    let seed = Dice::seed_from("KQUEUE_FAULT_SEED");
    let (directory, mut dice) = (tempfile::tempdir().expect("a directory"), Dice::new(seed));
    let load = Load::default();
    for round in 0..2 {
        let Some(strace) = Strace::new("fdatasync:delay_enter=250000") else { return };
        let started = Daemon::start_under(&strace.wrapper(), directory.path(), SMALL);
        let mut daemon = started.expect("it starts");
        if round == 0 {
            load.prepare(daemon.address());
        }
        let clients = load.start(daemon.address(), 6, &mut dice);
        load.wait_for(25);
        // It is in the middle of a sync now, or just before one.
        let is_clean = round == 1;
        if is_clean {
            load.ledger().stopping();
        }
        daemon.signal(if is_clean { Signal::TERM } else { Signal::KILL });
        let exit = daemon.wait();
        assert_eq!(exit.code, is_clean.then_some(0), "KQUEUE_FAULT_SEED={seed}: {exit:?}");
        clients.end_round(is_clean);
        assert!(strace.has_struck(), "no sync was slow");
    }
    let daemon = Daemon::start_in(directory.path(), SMALL).expect("it starts");
    judge(&load, daemon, seed);
}

#[test]
fn an_id_that_a_client_has_seen_is_never_given_to_another_item() {
    // A waiting client is handed an item before the item is written; the server is killed in between.
    let Some(strace) = Strace::new("pwrite64:delay_enter=1000000:when=3+") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let started = Daemon::start_under(&strace.wrapper(), directory.path(), SMALL);
    let daemon = started.expect("it starts");
    let reserved = |wire: &mut Wire| {
        let line = wire.line();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut taken = vec![0; words[6].parse().expect("a length")];
        wire.read(&mut taken);
        wire.expect(b"\r\nEND\r\n");
        (words[2].clone(), String::from_utf8(taken).expect("text"))
    };
    let (mut waiting, mut producer) = (daemon.connect(), daemon.connect());
    producer.put("other", b"x");
    waiting.send(b"reserve 1 60000 0 q\r\n");
    while producer.stat("queue_q_waiters").as_deref() != Some("1") {}
    producer.send(b"set q 0 0 1\r\na\r\n");
    let (id, _) = reserved(&mut waiting);
    daemon.kill();
    let daemon = Daemon::start_in(directory.path(), SMALL).expect("it starts");
    let mut wire = daemon.connect();
    wire.put("q", b"b");
    wire.send(b"reserve 1 0 0 q\r\n");
    let (other, taken) = reserved(&mut wire);
    assert!(taken == "a" || id != other, "a and b have the id {id}");
}
