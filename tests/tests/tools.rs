//! `check` and `dump`, as real processes on real directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kqueue_tests::left::{SMALL, dump, dump_lines, position, some_items};
use kqueue_tests::{Daemon, Left, SmallDisk, files_in, tool};
use serde_json::Value;

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
