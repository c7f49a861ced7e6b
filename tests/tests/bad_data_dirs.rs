//! Data directories that are damaged, incomplete, foreign, newer or not ours: either the start is refused, with a message that names the file and says what to do, and
//! nothing in the directory has changed; or everything that can be read is served, and what cannot is in the log, in the statistics and in quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kqueue_tests::segment::{
    HEAD_BYTES, MARKER, PUT, Record, STATE, records, segment_name, u64_at,
};
use kqueue_tests::{Daemon, Exit, SmallDisk, daemon_binary, files_in, give_away, unprivileged};
use rustix::process::Signal;

/// Small segments, so that some lie before the last checkpoint and some behind it.
const SMALL: &str = "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"\n";
const STRICT: &str =
    "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"\nstrict = true\n";
/// What is put into each of the two queues that clients write.
const ITEMS: usize = 300;
/// The first items of `jobs` were consumed.
const CONSUMED: usize = 10;

fn post(number: usize) -> Vec<u8> {
    format!("post {number} {}", "x".repeat(3000)).into_bytes()
}

fn job(number: usize) -> Vec<u8> {
    format!("job {number}").into_bytes()
}

/// By queue, in order.
type Items = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// What a server has to serve.
fn all_items() -> Items {
    let posts: Vec<_> = (0..ITEMS).map(post).collect();
    let jobs = (CONSUMED..ITEMS).map(job).collect();
    BTreeMap::from([("jobs", jobs), ("posts", posts.clone()), ("posts+search", posts)])
}

/// The same without these bodies.
fn without(lost: &BTreeSet<Vec<u8>>) -> Items {
    let mut items = all_items();
    items.values_mut().for_each(|bodies| bodies.retain(|body| !lost.contains(body)));
    items
}

fn drain(daemon: &Daemon) -> Items {
    let mut wire = daemon.connect();
    let queues = ["jobs", "posts", "posts+search"];
    queues.map(|queue| (queue, std::iter::from_fn(|| wire.get(queue)).collect())).into()
}

/// The bodies that a segment holds, from a byte on.
fn bodies_from(segment: &[u8], from: usize) -> BTreeSet<Vec<u8>> {
    let puts = records(segment).into_iter().filter(|record| record.kind == PUT);
    puts.filter(|record| record.end() > from).map(|record| record.body(segment).to_vec()).collect()
}

/// The data directory that a killed server left.
struct Left {
    root: tempfile::TempDir,
}

/// Its files, made once.
fn template() -> &'static BTreeMap<String, Vec<u8>> {
    static TEMPLATE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let root = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::start_in(root.path(), SMALL).expect("it starts");
        let mut wire = daemon.connect();
        assert_eq!(wire.get("posts+search"), None);
        for number in 0..ITEMS {
            wire.put("posts", &post(number));
            wire.put("jobs", &job(number));
            if number == CONSUMED {
                (0..CONSUMED).for_each(|taken| assert_eq!(wire.get("jobs"), Some(job(taken))));
            }
        }
        daemon.kill();
        let files = files_in(&root.path().join("data")).into_iter();
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        files.map(|(path, (bytes, _))| (name(&path), bytes)).collect()
    })
}

/// Everything about the files that a start may have changed: length, bytes, time, mode. Not the locks: they may come.
fn everything_in(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, u32)> {
    let is_lock = |path: &Path| path.ends_with("lock") || path.ends_with("backup.lock");
    let files = files_in(directory).into_iter().filter(|(path, _)| !is_lock(path));
    files
        .map(|(path, (bytes, _))| {
            let found = fs::metadata(&path).expect("it is there");
            (path, (bytes, found.mtime(), found.mtime_nsec(), found.mode()))
        })
        .collect()
}

impl Left {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let left = Self { root };
        left.fill(&left.data());
        left
    }

    fn fill(&self, data: &Path) {
        fs::create_dir_all(data).expect("a directory");
        for (name, bytes) in template() {
            fs::write(data.join(name), bytes).expect("it can be written");
        }
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn path(&self, number: u64) -> PathBuf {
        self.data().join(segment_name(number))
    }

    fn read(&self, number: u64) -> Vec<u8> {
        fs::read(self.path(number)).expect("a segment")
    }

    /// The segments' numbers.
    fn numbers(&self) -> Vec<u64> {
        let numbers: Vec<u64> = (1..100).filter(|number| self.path(*number).exists()).collect();
        assert!(numbers.len() > 3, "{numbers:?}");
        numbers
    }

    fn last(&self) -> u64 {
        *self.numbers().last().expect("there are some")
    }

    /// Where reading begins: the number of the segment, and the slot that says so.
    fn start(&self) -> (u64, usize) {
        let superblock = fs::read(self.data().join("journal.kq")).expect("a superblock");
        let slot = usize::from(u64_at(&superblock, 4096 + 16) > u64_at(&superblock, 16));
        let start = u64_at(&superblock, slot * 4096 + 32);
        assert!(start > 1 && start < self.last(), "segments before it and behind it: {start}");
        (start, slot)
    }

    /// A segment before the checkpoint, in which are items.
    fn data_segment(&self) -> u64 {
        1
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).expect("it is there");
        change(&mut bytes);
        fs::write(path, bytes).expect("it can be written");
    }

    fn flip(&self, path: &Path, at: usize) {
        self.change(path, |bytes| bytes[at] ^= 0x10);
    }

    /// The start is refused, all of `words` are in what is said last, and nothing has changed.
    fn refused(&self, words: &[&str]) {
        for extra in [SMALL, STRICT] {
            self.refused_with(&[], extra, words);
        }
    }

    fn refused_with(&self, wrapper: &[String], extra: &str, words: &[&str]) {
        refused_in(self.root.path(), &self.data(), wrapper, extra, words);
    }

    /// The start succeeds.
    fn served(&self) -> Daemon {
        Daemon::start_in(self.root.path(), SMALL).unwrap_or_else(|exit| panic!("{exit:?}"))
    }

    /// `journal.strict` refuses and changes nothing; without it everything but `lost` is served, a copy of the damaged place is in quarantine, log and statistics
    /// tell, and the damaged file is as it was.
    fn served_but(&self, damaged: u64, lost: &BTreeSet<Vec<u8>>, words: &[&str]) {
        self.refused_with(&[], STRICT, &["strict", "Nothing was changed"]);
        let before = everything_in(&self.data());
        let (start, _) = self.start();
        let daemon = self.served();
        let after = everything_in(&self.data());
        for (path, found) in &before {
            let is_segment = path.display().to_string().contains("/log-");
            assert!(!is_segment || after.get(path) == Some(found), "{path:?} was changed");
        }
        let expected = without(lost);
        let served = drain(&daemon);
        for (queue, bodies) in &expected {
            assert!(served[queue] == *bodies, "{queue}: {} items", served[queue].len());
        }
        let stat = |name| -> usize { daemon.stat(name).expect(name).parse().expect("a number") };
        assert!(stat("damaged_total") > 0 && stat("damaged_bytes") > 0);
        let missing = |queue: &str| all_items()[queue].len() - expected[queue].len();
        let missing = missing("jobs") + missing("posts") + missing("posts+search");
        // What was lost behind the checkpoint may have been anything.
        let is_known = damaged < start;
        assert!(!is_known || stat("damaged_items") == missing, "{}", stat("damaged_items"));
        let copies = files_in(&self.data().join("quarantine"));
        let name = segment_name(damaged);
        let segment = &before[&self.path(damaged)].0;
        assert!(!copies.is_empty(), "nothing is in quarantine");
        for (path, (bytes, _)) in copies {
            let copy = path.file_name().expect("a name").to_string_lossy().into_owned();
            let at = copy.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            let at: usize = at.and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{copy}"));
            assert!(segment[at..].starts_with(&bytes), "{copy} is no copy of that place");
        }
        let exit = daemon.kill();
        told(&exit, words);
        let line = exit.stderr.lines().find(|line| line.contains("DAMAGED: "));
        let line = line.unwrap_or_else(|| panic!("no line says DAMAGED: {exit:?}"));
        assert!(line.contains(&name) && line.contains(" byte "), "{line}");
    }
}

fn refused_in(root: &Path, data: &Path, wrapper: &[String], extra: &str, words: &[&str]) {
    let before = data.is_dir().then(|| everything_in(data));
    let exit = match Daemon::start_under(wrapper, root, extra) {
        Ok(_) => panic!("it started: {words:?}"),
        Err(exit) => exit,
    };
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let last = exit.stderr.lines().last().expect("it says something");
    for word in words {
        assert!(last.contains(word), "{word:?} is not in what is said last: {exit:?}");
    }
    assert!(!exit.stderr.contains("panicked"), "{exit:?}");
    let after = data.is_dir().then(|| everything_in(data));
    if before != after {
        let names = |files: &Option<BTreeMap<PathBuf, _>>| -> Vec<PathBuf> {
            files.iter().flat_map(|files| files.keys().cloned()).collect()
        };
        panic!("{words:?}: changed: {:?}, then {:?}", names(&before), names(&after));
    }
}

/// The log has all of these words.
fn told(exit: &Exit, words: &[&str]) {
    for word in words {
        assert!(exit.stderr.contains(word), "{word:?} is not in the log: {exit:?}");
    }
    assert!(!exit.stderr.contains("panicked"), "{exit:?}");
}

#[test]
fn a_directory_that_nothing_happened_to_is_served() {
    let left = Left::new();
    left.start();
    let daemon = left.served();
    assert!(drain(&daemon) == all_items());
    assert_eq!(daemon.stat("damaged_total").as_deref(), Some("0"));
    assert!(!left.data().join("quarantine").exists());
}

#[test]
fn a_flipped_bit_in_a_body_costs_this_item_only() {
    // A record that is replayed is found at the start, one before the checkpoint when it is wanted.
    let left = Left::new();
    for number in [left.start().0, left.data_segment(), left.last()] {
        let left = Left::new();
        let segment = left.read(number);
        let puts: Vec<Record> = records(&segment);
        let puts: Vec<_> =
            puts.iter().filter(|put| put.kind == PUT && put.body_len > 1000).collect();
        let put = puts[puts.len() / 2];
        left.flip(&left.path(number), put.body_at() + 500);
        let lost = BTreeSet::from([put.body(&segment).to_vec()]);
        let by_number = format!("body of record {}", put.seq);
        let by_place = format!("{} byte {}", segment_name(number), put.at);
        let words = if number < left.start().0 { [&by_place[..]] } else { [&by_number[..]] };
        left.served_but(number, &lost, &words);
    }
}

#[test]
fn a_flipped_bit_in_the_head_of_a_replayed_record_costs_this_record_only() {
    let left = Left::new();
    let number = left.start().0;
    let segment = left.read(number);
    let mut puts =
        records(&segment).into_iter().filter(|put| put.kind == PUT && put.body_len > 1000);
    let put = puts.next_back().expect("there are puts");
    // The length of the body.
    left.flip(&left.path(number), put.at + 5);
    let lost = BTreeSet::from([put.body(&segment).to_vec()]);
    left.served_but(
        number,
        &lost,
        &[&format!("byte {}", put.at), "1 records that had been synced"],
    );
}

#[test]
fn a_damaged_checkpoint_costs_nothing() {
    let left = Left::new();
    let number = left.start().0;
    let state = records(&left.read(number)).into_iter().find(|record| record.kind == STATE);
    let state = state.expect("the checkpoint is there");
    left.flip(&left.path(number), state.at + HEAD_BYTES + 9);
    left.served_but(number, &BTreeSet::new(), &["reading the whole log"]);
}

#[test]
fn a_damaged_marker_costs_nothing() {
    let left = Left::new();
    // Behind the very last one nothing proves that its batch is whole.
    for number in [left.start().0, left.last()] {
        let left = Left::new();
        let segment = left.read(number);
        let mut markers = records(&segment).into_iter().filter(|record| record.kind == MARKER);
        let marker = markers.next_back().expect("there are markers");
        left.flip(&left.path(number), marker.at + HEAD_BYTES + 2);
        left.refused_with(&[], STRICT, &["1 damaged place", "strict", "Nothing was changed"]);
        let daemon = left.served();
        assert!(drain(&daemon) == all_items(), "segment {number}");
        let place = format!("{} byte {}", segment_name(number), marker.at);
        told(&daemon.kill(), &["damage without loss", &place, "DamagedMarker"]);
    }
}

#[test]
fn one_damaged_copy_of_a_header_costs_nothing() {
    let left = Left::new();
    for number in [left.start().0, left.data_segment(), left.last()] {
        for copy in [0, 2048] {
            let left = Left::new();
            left.flip(&left.path(number), copy + 33);
            left.refused_with(&[], STRICT, &["1 damaged place", "strict"]);
            let daemon = left.served();
            assert!(drain(&daemon) == all_items(), "segment {number}, copy at {copy}");
            told(&daemon.kill(), &["damage without loss", &segment_name(number), "DamagedHeader"]);
        }
    }
}

#[test]
fn both_copies_of_a_header_cost_the_segment_and_no_other() {
    let left = Left::new();
    for number in [left.start().0 + 1, left.data_segment()] {
        let left = Left::new();
        let lost = bodies_from(&left.read(number), 0);
        assert!(lost.len() > 10);
        left.flip(&left.path(number), 33);
        left.flip(&left.path(number), 2048 + 33);
        left.served_but(number, &lost, &[]);
    }
}

#[test]
fn a_damaged_superblock_costs_nothing() {
    let left = Left::new();
    let newer = left.start().1;
    for slots in [&[newer][..], &[1 - newer], &[0, 1]] {
        let left = Left::new();
        let superblock = left.data().join("journal.kq");
        slots.iter().for_each(|slot| left.flip(&superblock, slot * 4096 + 40));
        if slots.len() == 2 {
            // A power cut may leave one like that, not both.
            left.refused_with(&[], STRICT, &["1 damaged place", "strict"]);
        }
        let daemon = left.served();
        assert!(drain(&daemon) == all_items(), "slots {slots:?}");
        assert!(!left.data().join("quarantine").exists());
        told(&daemon.kill(), &["journal.kq"]);
    }
}

#[test]
fn a_superblock_that_was_cut_costs_nothing() {
    for length in [4096, 5000, 100, 0] {
        let left = Left::new();
        left.change(&left.data().join("journal.kq"), |bytes| bytes.truncate(length));
        let daemon = left.served();
        assert!(drain(&daemon) == all_items(), "{length} bytes");
        told(&daemon.kill(), &["journal.kq"]);
        // It is whole again.
        let daemon = left.served();
        told(&daemon.kill(), &["ready"]);
        assert_eq!(fs::metadata(left.data().join("journal.kq")).expect("it is there").len(), 8192);
    }
}

#[test]
fn a_segment_that_was_cut_costs_what_was_behind_the_cut() {
    let left = Left::new();
    for number in [left.data_segment(), left.start().0] {
        let left = Left::new();
        let segment = left.read(number);
        let cut = 200_000;
        let lost = bodies_from(&segment, cut);
        assert!(!lost.is_empty());
        left.change(&left.path(number), |bytes| bytes.truncate(cut));
        left.served_but(number, &lost, &[&segment_name(number)]);
    }
}

#[test]
fn a_last_segment_that_was_cut_is_told_even_if_nobody_can_know_what_was_in_it() {
    let left = Left::new();
    let number = left.last();
    let segment = left.read(number);
    let puts: Vec<Record> = records(&segment).into_iter().filter(|r| r.kind == PUT).collect();
    let cut = puts[puts.len() / 2].at + 10;
    left.change(&left.path(number), |bytes| bytes.truncate(cut));
    left.refused_with(&[], STRICT, &["1 damaged place", "strict"]);
    let daemon = left.served();
    assert!(drain(&daemon) == without(&bodies_from(&segment, cut)));
    told(&daemon.kill(), &["ShortFile", &segment_name(number)]);
}

#[test]
fn a_last_segment_without_a_header_costs_this_segment_only() {
    for length in [0, 7, 2000] {
        let left = Left::new();
        let number = left.last();
        let lost = bodies_from(&left.read(number), 0);
        left.change(&left.path(number), |bytes| bytes.truncate(length));
        left.refused_with(&[], STRICT, &["strict"]);
        let daemon = left.served();
        assert!(drain(&daemon) == without(&lost), "{length} bytes");
        told(&daemon.kill(), &[&segment_name(number)]);
    }
}

#[test]
fn a_missing_segment_is_named() {
    let left = Left::new();
    let start = left.start().0;
    for number in [1, 2, start, start + 1, left.last()] {
        let left = Left::new();
        fs::remove_file(left.path(number)).expect("it was there");
        let data = left.data().display().to_string();
        left.refused(&[&data, &segment_name(number), "missing", "bring the missing files back"]);
    }
}

#[test]
fn without_any_segment_or_without_a_superblock_it_does_not_begin_anew() {
    let left = Left::new();
    left.numbers().into_iter().for_each(|number| fs::remove_file(left.path(number)).expect("gone"));
    left.refused(&[
        "all segments are missing",
        "Nothing was changed",
        "bring the missing files back",
    ]);

    let left = Left::new();
    fs::remove_file(left.data().join("journal.kq")).expect("gone");
    left.refused(&["journal.kq is missing", "an empty file", "Nothing was changed"]);
    // As it says.
    fs::write(left.data().join("journal.kq"), b"").expect("written");
    assert!(drain(&left.served()) == all_items());
}

#[test]
fn a_foreign_file_is_named() {
    let left = Left::new();
    fs::write(left.data().join("letter.txt"), "dear").expect("written");
    left.refused(&["unknown file letter.txt", "move it away"]);
    fs::remove_file(left.data().join("letter.txt")).expect("gone");
    fs::create_dir(left.data().join("photos")).expect("made");
    left.refused(&["unknown file photos", "move it away"]);
    fs::remove_dir(left.data().join("photos")).expect("gone");
    // Nothing that only looks like ours is taken for ours.
    for name in ["log-0000000000000001.kq.bak", "log-1.kq", "LOG-0000000000000001.KQ", "Journal.kq"]
    {
        fs::write(left.data().join(name), "dear").expect("written");
        left.refused(&[&format!("unknown file {name}"), "move it away"]);
        fs::remove_file(left.data().join(name)).expect("gone");
    }
    assert!(drain(&left.served()) == all_items());

    let left = Left::new();
    let number = left.last();
    fs::write(left.path(number), "dear".repeat(5000)).expect("written");
    left.refused(&[&segment_name(number), "not a segment", "Nothing was changed"]);
}

#[test]
fn a_newer_format_is_refused() {
    let sign = |bytes: &mut [u8], at: usize, covered: usize| {
        let crc = crc32fast::hash(&bytes[at..at + covered]);
        bytes[at + covered..at + covered + 4].copy_from_slice(&crc.to_le_bytes());
    };
    let left = Left::new();
    let newer = left.start().1;
    for slots in [&[0, 1][..], &[newer], &[1 - newer]] {
        let left = Left::new();
        left.change(&left.data().join("journal.kq"), |bytes| {
            for slot in slots {
                bytes[slot * 4096 + 8] = 4;
                sign(bytes, slot * 4096, 64);
            }
        });
        left.refused(&[
            "journal.kq",
            "format 4",
            "Nothing was changed",
            "use the version of kqueue-server",
        ]);
    }
    for number in [left.data_segment(), left.start().0, left.last()] {
        let left = Left::new();
        left.change(&left.path(number), |bytes| {
            for copy in [0, 2048] {
                bytes[copy + 8] = 4;
                sign(bytes, copy, 56);
            }
        });
        let name = segment_name(number);
        left.refused(&[
            &name,
            "format 4",
            "Nothing was changed",
            "use the version of kqueue-server",
        ]);
    }
}

#[test]
fn not_even_a_lock_is_left_where_files_are_foreign_newer_or_missing() {
    let newer = |bytes: &mut Vec<u8>, copies: [usize; 2], covered: usize| {
        for at in copies {
            bytes[at + 8] = 4;
            let crc = crc32fast::hash(&bytes[at..at + covered]);
            bytes[at + covered..at + covered + 4].copy_from_slice(&crc.to_le_bytes());
        }
    };
    type Change<'a> = &'a dyn Fn(&Left);
    let changes: [(Change<'_>, &str); 5] = [
        (&|left| fs::write(left.path(1), "dear".repeat(5000)).expect("written"), "not a segment"),
        (&|left| left.change(&left.path(1), |bytes| newer(bytes, [0, 2048], 56)), "format 4"),
        (
            &|left| {
                left.change(&left.data().join("journal.kq"), |bytes| newer(bytes, [0, 4096], 64));
            },
            "format 4",
        ),
        (&|left| fs::remove_file(left.path(left.last())).expect("gone"), "is missing"),
        (&|left| fs::remove_file(left.data().join("journal.kq")).expect("gone"), "is missing"),
    ];
    for (change, word) in changes {
        for there in [&[][..], &["lock"]] {
            let left = Left::new();
            for name in ["lock", "backup.lock"].iter().filter(|name| !there.contains(name)) {
                fs::remove_file(left.data().join(name)).expect("it was there");
            }
            change(&left);
            let names = || files_in(&left.data()).into_keys().collect::<Vec<_>>();
            let before = names();
            left.refused(&[word, "Nothing was changed"]);
            assert_eq!(names(), before, "{word}");
        }
    }
}

#[test]
fn what_is_no_directory_is_said_to_be_none() {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    fs::write(&data, "dear").expect("written");
    let name = data.display().to_string();
    refused_in(root.path(), &data, &[], SMALL, &[&name, "is not a directory"]);
    assert_eq!(fs::read(&data).expect("it is there"), b"dear");
    fs::remove_file(&data).expect("gone");
    symlink(root.path().join("nowhere"), &data).expect("a link");
    refused_in(root.path(), &data, &[], SMALL, &[&name, "link"]);
    assert!(!root.path().join("nowhere").exists());
}

/// A server that does nothing for the moment, so that what changes meanwhile was changed by somebody else.
struct Stopped<'a>(&'a Daemon);

impl<'a> Stopped<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        daemon.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", daemon.pid());
        let is_stopped = || {
            fs::read_dir(&tasks).expect("it runs").all(|task| {
                let stat = fs::read_to_string(task.expect("listed").path().join("stat"));
                stat.is_ok_and(|stat| stat.contains(") T "))
            })
        };
        while !is_stopped() {
            std::thread::yield_now();
        }
        Self(daemon)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

#[test]
fn a_link_to_a_directory_is_as_good_as_the_directory_and_locks_it() {
    let root = tempfile::tempdir().expect("a directory");
    let left = Left { root };
    let elsewhere = left.root.path().join("elsewhere");
    left.fill(&elsewhere);
    symlink("elsewhere", left.data()).expect("a link");
    let daemon = left.served();
    assert!(fs::symlink_metadata(left.data()).expect("it is there").is_symlink());
    {
        let _stopped = Stopped::new(&daemon);
        let other = tempfile::tempdir().expect("a directory");
        symlink(&elsewhere, other.path().join("data")).expect("a link");
        let name = other.path().join("data").display().to_string();
        let words = [&name, "in use", "lock", &daemon.pid().to_string(), "choose another"];
        for extra in [SMALL, STRICT] {
            refused_in(other.path(), &elsewhere, &[], extra, &words);
        }
    }
    assert!(drain(&daemon) == all_items());
}

#[test]
fn a_disk_that_is_mounted_read_only_is_said_to_be() {
    let Some(mut disk) = SmallDisk::new(8 * 1024 * 1024) else { return };
    let data = disk.mount().join("data");
    for (name, bytes) in template() {
        fs::write(data.join(name), bytes).expect("it can be written");
    }
    for has_lock in [true, false] {
        if !has_lock {
            fs::remove_file(data.join("lock")).expect("it was there");
        }
        disk.set_read_only(true);
        let words = ["data_dir", "lock", "Read-only file system", "mount"];
        refused_in(&disk.directory(), &data, &[], SMALL, &words);
        disk.set_read_only(false);
    }
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    assert!(drain(&daemon) == all_items());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it can be changed");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let Some(wrapper) = unprivileged() else { return };
    let left = Left::new();
    set_mode(left.root.path(), 0o755);
    let data = left.data();
    let name = data.display().to_string();
    let words = ["Permission denied", "the user that the server runs as"];
    let refused = |first: &str| {
        let words = [&[first][..], &words].concat();
        left.refused_with(&wrapper, SMALL, &words);
        left.refused_with(&wrapper, STRICT, &words);
    };
    if !wrapper.is_empty() {
        // Ours, and nothing for others.
        set_mode(&data, 0o700);
        let before = everything_in(&data);
        refused(&name);
        assert!(everything_in(&data) == before);
        // To be read by everybody.
        set_mode(&data, 0o755);
        refused(&name);
    }
    give_away(&data);
    set_mode(&data, 0o700);
    // Files can be opened, and none can be made.
    set_mode(&data, 0o555);
    refused(&name);
    set_mode(&data, 0o700);
    let spare = template().keys().find(|name| name.starts_with("spare-")).expect("there is one");
    let last = segment_name(left.last());
    for file in [&segment_name(1), &last, spare, "journal.kq", "lock", "backup.lock"] {
        for mode in [0o000, 0o400] {
            set_mode(&data.join(file), mode);
            // Who looks at it afterwards can read all of it if that is root.
            if !wrapper.is_empty() || mode != 0 {
                refused(file);
            }
            set_mode(&data.join(file), 0o600);
        }
    }
    // All is well again, but for the socket in a directory that is not theirs.
    if let Err(exit) = Daemon::start_under(&wrapper, left.root.path(), SMALL) {
        assert!(exit.stderr.contains("cannot listen"), "{exit:?}");
    }
}

/// A name that is misspelt, or a file system that is not mounted, looks like a first start.
#[test]
fn a_start_without_anything_to_start_from_is_told() {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    let log = || {
        let daemon = Daemon::start_in(root.path(), SMALL).expect("it starts");
        daemon.kill().stderr
    };
    let made = format!("made a new, empty data_dir {}", data.display());
    let empty = format!("nothing is in data_dir {}", data.display());
    let first = log();
    assert!(first.contains(&made), "{first}");
    let next = log();
    assert!(!next.contains("data_dir"), "{next}");
    fs::remove_dir_all(&data).expect("it goes");
    fs::create_dir(&data).expect("a directory");
    let unmounted = log();
    assert!(unmounted.contains(&empty), "{unmounted}");
}

#[test]
fn where_a_directory_cannot_be_made_that_place_is_named() {
    let Some(wrapper) = unprivileged() else { return };
    let root = tempfile::tempdir().expect("a directory");
    let closed = root.path().join("closed");
    fs::create_dir(&closed).expect("a directory");
    set_mode(root.path(), 0o755);
    let text = format!("[server]\ndata_dir = \"{}/not/there\"\n", closed.display());
    let file = root.path().join("k.toml");
    fs::write(&file, text).expect("written");
    set_mode(&closed, 0o555);
    let [program, arguments @ ..] =
        &[&wrapper[..], &[daemon_binary().display().to_string()]].concat()[..]
    else {
        return;
    };
    let output = Command::new(program).args(arguments).arg("--config").arg(&file).output();
    set_mode(&closed, 0o755);
    let output = output.expect("it can be run");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let words = format!("who may not write to {}\n", closed.display());
    assert!(log.contains(&words) && log.contains("cannot make it: Permission denied"), "{log}");
}
