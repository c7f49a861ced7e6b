//! `backup` and `restore`, as real processes on real directories.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kqueue_tests::left::{SMALL, dump_lines, position, some_items};
use kqueue_tests::{Daemon, Left, SmallDisk, Wire, files_in, tool, tool_started};

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
