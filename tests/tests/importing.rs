//! `import-kestrel`: every fixture, interruptions, full disks; into an empty data directory and into one that is in use already.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kqueue_tests::left::dump;
use kqueue_tests::{
    Daemon, Dice, Done, Left, SmallDisk, files_in, give_away, repository, tool, tool_started,
    unprivileged,
};
use rustix::process::Signal;

/// Puts items at the end of a queue's file, as Kestrel does.
fn kestrel_puts(from: &Path, queue: &str, bodies: &[&str]) {
    let mut file = fs::File::options().create(true).append(true).open(from.join(queue));
    let file = file.as_mut().expect("it can be written");
    for body in bodies {
        let mut record = vec![2];
        record.extend_from_slice(&(body.len() as u32 + 16).to_le_bytes());
        record.extend_from_slice(&1_400_000_000_000u64.to_le_bytes());
        record.extend_from_slice(&0u64.to_le_bytes());
        record.extend_from_slice(body.as_bytes());
        file.write_all(&record).expect("it can be written");
    }
}

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { root: tempfile::tempdir().expect("a directory") };
        fs::create_dir(world.from()).expect("a directory");
        world
    }

    fn from(&self) -> PathBuf {
        self.root.path().join("kestrel")
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn import(&self, more: &[&str]) -> Done {
        let config = self.root.path().join("import.toml");
        let text = format!(
            "[server]\ndata_dir = \"{}\"\n[journal]\nsegment_size = \"4MiB\"\nlog_cap = \"64MiB\"\n",
            self.data().display()
        );
        fs::write(&config, text).expect("written");
        let from = self.from();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"import-kestrel", &from, &"--config", &config];
        arguments.extend(more.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        tool(&arguments)
    }

    fn items(&self) -> usize {
        let done = tool(&[&"dump", &self.data()]);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out.lines().count()
    }
}

#[test]
fn a_queue_that_kestrel_went_on_with_is_not_imported_twice_unless_that_is_wanted() {
    let world = World::new();
    kestrel_puts(&world.from(), "jobs", &["one", "two"]);
    kestrel_puts(&world.from(), "mails", &["a mail"]);
    assert_eq!(world.import(&[]).code, Some(0));
    kestrel_puts(&world.from(), "jobs", &["three"]);
    kestrel_puts(&world.from(), "new", &["first"]);
    let done = world.import(&[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in ["jobs (from ", "had 48 bytes of it, and now 74 bytes", "--again"] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert!(!done.err.contains("mails (") && !done.err.contains("new ("), "{done:?}");
    assert_eq!(world.items(), 3, "nothing was imported");
    assert_eq!(world.import(&["--queue", "new"]).code, Some(0));
    assert_eq!(world.items(), 4);
    let done = world.import(&["--again"]);
    assert_eq!((done.code, world.items()), (Some(0), 7), "{done:?}");
    let done = world.import(&[]);
    assert!(done.out.contains("jobs: was imported already"), "{done:?}");
    assert_eq!((done.code, world.items()), (Some(0), 7), "{done:?}");
}

/// The unit of packaging/ gives the server a user of its own; an operator is root.
#[test]
fn what_root_imports_or_restores_belongs_to_the_user_of_the_server() {
    let Some(wrapper) = unprivileged().filter(|wrapper| !wrapper.is_empty()) else { return };
    let world = World::new();
    fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    // As systemd does it for DynamicUser=.
    let private = world.root.path().join("private");
    fs::create_dir(&private).expect("a directory");
    symlink(&private, world.data()).expect("a link");
    give_away(&private);
    give_away(world.root.path());
    let owner = fs::metadata(world.data()).expect("it is there").uid();
    let start = || Daemon::start_under(&wrapper, world.root.path(), "");
    let stop = |mut daemon: Daemon| {
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code, Some(0));
    };
    let all_belong_to_it = || {
        for file in files_in(&world.data()).into_keys().chain([world.data()]) {
            let found = fs::metadata(&file).expect("it is there");
            assert_eq!((found.uid(), found.gid()), (owner, owner), "{}", file.display());
        }
    };
    stop(start().expect("it starts"));
    kestrel_puts(&world.from(), "jobs", &["one", "two"]);
    assert_eq!(world.import(&[]).code, Some(0));
    all_belong_to_it();
    kestrel_puts(&world.from(), "jobs", &["three"]);
    assert_eq!(world.import(&[]).code, Some(1));
    let daemon = start().expect("it starts");
    assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"one"[..]));
    stop(daemon);

    let backup = world.root.path().join("backup");
    assert_eq!(tool(&[&"backup", &world.data(), &backup]).code, Some(0));
    fs::remove_dir_all(&private).expect("it goes");
    fs::create_dir(&private).expect("a directory");
    give_away(&private);
    let done = tool(&[&"restore", &backup, &private]);
    assert_eq!(done.code, Some(0), "{done:?}");
    all_belong_to_it();
    let daemon = start().expect("it starts");
    assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"two"[..]));
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
