//! Data directories that are damaged, incomplete, foreign, of somebody else or in use. Either the start is refused, with a message that names the file and what to
//! do, and not a byte is changed; or everything readable is served, and what is not is told, counted and copied aside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, Exit, SmallDisk};
use rustix::process::Signal;

/// Small segments, of which none goes before the end of the test.
const SMALL: &str = "max_item_size = \"2KiB\"----segment_size = \"76KiB\"\nlog_cap = \"64MiB\"\n";
const STRICT: &str =
    "max_item_size = \"2KiB\"----segment_size = \"76KiB\"\nlog_cap = \"64MiB\"\nstrict = true\n";
/// Enough for one checkpoint, too few for a second one.
const ITEMS: usize = 270;
/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOT_BYTES: usize = 4096;

fn body(number: usize) -> Vec<u8> {
    format!("<item {number:04}> {}", "x".repeat(987)).into_bytes()
}

/// A log of several segments with a checkpoint in the middle, of a server that ended; made once for each test.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let fixture = Self { directory };
        let daemon = Daemon::start_in(fixture.path(), SMALL).expect("it starts");
        let mut wire = daemon.connect();
        for number in 0..ITEMS {
            wire.put("q", &body(number));
        }
        let began = Instant::now();
        while fixture.start().0 == 0 {
            assert!(began.elapsed() < PATIENCE, "no checkpoint");
        }
        daemon.kill();
        assert!(fixture.segments().len() >= 5, "{:?}", fixture.segments());
        let (start, last) = (fixture.start().0, fixture.segments().len() as u64);
        assert!((2..last).contains(&start), "the checkpoint is in segment {start} of {last}");
        fixture
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn superblock(&self) -> PathBuf {
        self.data().join("journal.kq")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data()).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_segment = |path: &PathBuf| path.display().to_string().contains("/log-");
        let mut segments: Vec<_> = paths.filter(is_segment).collect();
        segments.sort();
        segments
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.data().join(format!("log-{number:016x}.kq"))
    }

    /// The newest slot of the superblock.
    fn newest_slot(&self) -> usize {
        let file = fs::read(self.superblock()).expect("a superblock");
        usize::from(number_at(&file, SLOT_BYTES + 16) > number_at(&file, 16))
    }

    /// Segment and byte where reading begins.
    fn start(&self) -> (u64, u64) {
        let file = fs::read(self.superblock()).expect("a superblock");
        let slot = self.newest_slot() * SLOT_BYTES;
        (number_at(&file, slot + 32), number_at(&file, slot + 40))
    }

    /// Segment and byte of the body of an item.
    fn place_of(&self, number: usize) -> (PathBuf, usize) {
        let mark = body(number);
        for path in self.segments() {
            let file = fs::read(&path).expect("a segment");
            if let Some(at) = file.windows(12).position(|window| window == &mark[..12]) {
                return (path, at);
            }
        }
        panic!("item {number} is nowhere");
    }

    /// Every file with its content, and its permissions.
    fn snapshot(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.data()];
        while let Some(path) = left.pop() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let mut content = Vec::new();
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).expect("a directory");
                left.extend(entries.map(|entry| entry.expect("an entry").path()));
            } else {
                content = fs::read(&path).expect("a file");
            }
            found.insert(path, (metadata.permissions().mode(), content));
        }
        found
    }

    /// The start is refused with exit code 1 and a message that has all of `parts`; nothing is changed.
    fn refuses(&self, config: &str, parts: &[&str]) -> Exit {
        self.refuses_under(&[], config, parts)
    }

    fn refuses_under(&self, wrapper: &[String], config: &str, parts: &[&str]) -> Exit {
        let before = self.snapshot();
        let exit = match Daemon::start_under(wrapper, self.path(), config) {
            Ok(_) => panic!("it started, instead of saying {parts:?}"),
            Err(exit) => exit,
        };
        assert_eq!(exit.code, Some(1), "{exit:?}");
        let last = exit.stderr.lines().last().unwrap_or_default();
        for part in parts {
            assert!(last.contains(part), "{part:?} is not in {last:?}");
        }
        let after = self.snapshot();
        for (path, content) in &before {
            assert!(after.get(path) == Some(content), "{} was changed", path.display());
        }
        assert_eq!(before.len(), after.len(), "{:?}", after.keys());
        exit
    }

    /// It starts; every item but those for which `may_be_lost` is served, in order and as it was put.
    fn serves(&self, config: &str, may_be_lost: impl Fn(usize) -> bool) -> Served {
        let daemon = Daemon::start_in(self.path(), config).expect("it starts");
        let mut wire = daemon.connect();
        let mut lost = Vec::new();
        let mut next = 0;
        while let Some(found) = wire.get("q") {
            let number = (next..ITEMS).find(|&number| body(number) == found);
            let number = number.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&found)));
            lost.extend(next..number);
            next = number + 1;
        }
        lost.extend(next..ITEMS);
        for number in &lost {
            assert!(may_be_lost(*number), "item {number} is lost, of {lost:?}");
        }
        let stat = |name| daemon.stat(name).and_then(|n| n.parse().ok()).expect("a number");
        let damaged: u64 = stat("damaged_total");
        // It works, and goes on to do so.
        wire.put("q", b"new");
        let exit = daemon.kill();
        let daemon = Daemon::start_in(self.path(), config).expect("it starts again");
        assert_eq!(daemon.connect().get("q").as_deref(), Some(&b"new"[..]));
        assert_eq!(daemon.connect().get("q"), None);
        let copies = fs::read_dir(self.data().join("quarantine"));
        let copies = copies.map_or(0, |entries| entries.count());
        Served { lost, damaged, copies, log: exit.stderr }
    }
}

/// What a damaged directory gave.
#[derive(Debug)]
struct Served {
    lost: Vec<usize>,
    damaged: u64,
    /// Files in `quarantine/`.
    copies: usize,
    log: String,
}

impl Served {
    /// Something is lost, and told, counted and copied.
    fn tells_of_loss_in(&self, path: &Path) {
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(!self.lost.is_empty(), "nothing is lost: {self:?}");
        assert!(self.damaged > 0 && self.copies > 0, "{self:?}");
        let is_told = |line: &str| line.contains("DAMAGED") && line.contains(&*name);
        assert!(self.log.lines().any(is_told), "{self:?}");
    }
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file");
    change(&mut bytes);
    fs::write(path, bytes).expect("it can be written");
}

fn flip(path: &Path, at: usize) {
    change(path, |bytes| bytes[at] ^= 0x10);
}

/// As a server of a later version would have left it: sound, but unknown.
fn make_newer(path: &Path, at: usize, crc_at: usize) {
    change(path, |bytes| {
        bytes[at + 8..at + 12].copy_from_slice(&3u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[at..at + crc_at]);
        bytes[at + crc_at..at + crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    });
}

#[test]
fn a_sound_directory_is_served_completely_and_strictly() {
    let fixture = Fixture::new();
    let served = fixture.serves(STRICT, |_| false);
    assert_eq!((served.damaged, served.copies), (0, 0), "{served:?}");
}

#[test]
fn a_foreign_file_is_named_and_nothing_is_touched() {
    let fixture = Fixture::new();
    fs::write(fixture.data().join("precious.txt"), b"x").expect("a file");
    fixture.refuses(SMALL, &["precious.txt", "not touched", "move it away"]);
    fs::remove_file(fixture.data().join("precious.txt")).expect("it is there");
    // One that has the name of a segment.
    fs::write(fixture.segment(0xff), b"somebody's text").expect("a file");
    fixture.refuses(SMALL, &["log-00000000000000ff.kq", "Nothing was changed"]);
    // A directory that never was one of a journal gets no lock, either.
    let other = Fixture { directory: tempfile::tempdir().expect("a directory") };
    fs::create_dir(other.data()).expect("a directory");
    fs::write(other.data().join("letter.txt"), b"x").expect("a file");
    other.refuses(SMALL, &["letter.txt", "move it away"]);
}

#[test]
fn a_newer_version_is_refused_and_told() {
    let fixture = Fixture::new();
    make_newer(&fixture.superblock(), fixture.newest_slot() * SLOT_BYTES, 64);
    let parts =
        ["journal.kq", "journal format 3", "Nothing was changed", "version of kqueue-server"];
    fixture.refuses(SMALL, &parts);
    for number in [1, 3] {
        let fixture = Fixture::new();
        let segment = fixture.segment(number);
        make_newer(&segment, 0, 56);
        make_newer(&segment, 2048, 56);
        let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
        fixture.refuses(SMALL, &[&name, "journal format 3", "version of kqueue-server"]);
    }
}

#[test]
fn a_missing_segment_is_named_wherever_it_was() {
    let fixture = Fixture::new();
    let last = fixture.segments().len() as u64;
    let start = fixture.start().0;
    for number in [1, start - 1, start, last] {
        let (segment, away) = (fixture.segment(number), fixture.path().join("away"));
        fs::rename(&segment, &away).expect("it is there");
        let part = format!("{number:016x}");
        fixture.refuses(SMALL, &[&part, "missing", "Nothing was changed", "move all"]);
        fs::rename(&away, &segment).expect("it goes back");
    }
    assert!(fixture.serves(SMALL, |_| false).lost.is_empty());
}

#[test]
fn without_any_segment_it_does_not_begin_anew() {
    let fixture = Fixture::new();
    for segment in fixture.segments() {
        fs::remove_file(segment).expect("it is there");
    }
    fixture.refuses(SMALL, &["all segments are missing", "Nothing was changed"]);
}

#[test]
fn without_the_superblock_it_tells_how_to_read_everything() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.superblock()).expect("it is there");
    fixture.refuses(SMALL, &["journal.kq is missing", "empty file", "Nothing was changed"]);
    // What the message says works.
    fs::write(fixture.superblock(), b"").expect("a file");
    assert!(fixture.serves(SMALL, |_| false).lost.is_empty());
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let fixture = Fixture::new();
    let first = Daemon::start_in(fixture.path(), SMALL).expect("it starts");
    let mut wire = first.connect();
    wire.put("other", b"x");
    let pid = first.pid().to_string();
    // So that it is not the first one that changes anything meanwhile.
    first.signal(Signal::STOP);
    fixture.refuses(SMALL, &["data_dir", "in use", &pid, "stop the other one"]);
    first.signal(Signal::CONT);
    assert_eq!(wire.get("other").as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let fixture = Fixture { directory: tempfile::tempdir().expect("a directory") };
    fs::write(fixture.data(), b"a file").expect("a file");
    fixture.refuses(SMALL, &["data_dir", "/data", "It must be a directory"]);
    fs::remove_file(fixture.data()).expect("it is there");
    symlink("nowhere", fixture.data()).expect("a link");
    fixture.refuses(SMALL, &["data_dir", "/data", "It must be a directory"]);
}

#[test]
fn a_link_to_the_directory_is_followed() {
    let fixture = Fixture::new();
    let real = fixture.path().join("real");
    fs::rename(fixture.data(), &real).expect("it is there");
    symlink("real", fixture.data()).expect("a link");
    assert!(fixture.serves(SMALL, |_| false).lost.is_empty());
    assert!(fs::symlink_metadata(fixture.data()).expect("a link").is_symlink());
    assert!(real.join("journal.kq").exists());
}

#[test]
fn somebody_elses_directory_is_refused_and_the_message_says_whose_it_must_be() {
    let fixture = Fixture::new();
    let wrapper = match rustix::process::geteuid().is_root() {
        true => {
            // The binary may lie where nobody else can read it: it is run as another user from a place of its own.
            let open = |path: &Path| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
            };
            open(fixture.path());
            let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            words.map(str::to_owned).to_vec()
        }
        false => {
            let mode = fs::Permissions::from_mode(0o000);
            fs::set_permissions(fixture.segment(2), mode).expect("it is ours");
            Vec::new()
        }
    };
    if wrapper.is_empty() {
        let part = "log-0000000000000002.kq";
        let Err(exit) = Daemon::start_in(fixture.path(), SMALL) else { panic!("it started") };
        assert_eq!(exit.code, Some(1), "{exit:?}");
        assert!(exit.stderr.contains(part) && exit.stderr.contains("must belong to"), "{exit:?}");
        return;
    }
    fixture.refuses_under(&wrapper, SMALL, &["/data", "denied", "must belong to the user"]);
    // One that can be listed, but not changed.
    fs::set_permissions(fixture.data(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fixture.refuses_under(&wrapper, SMALL, &["/data/lock", "denied", "must belong to the user"]);
}

#[test]
fn a_read_only_directory_is_refused() {
    let fixture = Fixture::new();
    let Some(mut disk) = SmallDisk::new(2 * 1024 * 1024) else { return };
    for path in fixture.snapshot().keys().filter(|path| path.is_file()) {
        let name = path.file_name().expect("a name");
        fs::copy(path, disk.mount().join("data").join(name)).expect("a copy");
    }
    disk.set_read_only(true);
    let Err(exit) = Daemon::start_in(&disk.directory(), SMALL) else { panic!("it started") };
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let last = exit.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("lock") && last.contains("mounted for writing"), "{exit:?}");
    disk.set_read_only(false);
    let daemon = Daemon::start_in(&disk.directory(), SMALL).expect("it starts");
    assert_eq!(daemon.connect().get("q"), Some(body(0)));
}

#[test]
fn one_damaged_slot_of_the_superblock_costs_nothing() {
    for (which, at) in [(0, 0), (0, 20), (0, 64), (1, 20), (1, 34), (1, 3000)] {
        let fixture = Fixture::new();
        // 0: the one that counts.
        let slot = (fixture.newest_slot() + which) % 2;
        flip(&fixture.superblock(), slot * SLOT_BYTES + at);
        if at < 68 {
            fixture.refuses(STRICT, &["data_dir", "1 damaged", "strict = true"]);
        }
        let served = fixture.serves(SMALL, |_| false);
        assert_eq!((served.damaged, served.copies), (0, 0), "slot {which}, byte {at}: {served:?}");
        // Behind its checksum there is nothing.
        let is_told = served.log.contains("damage without loss: journal.kq");
        assert_eq!(is_told, at < 68, "slot {which}, byte {at}: {served:?}");
    }
}

#[test]
fn a_superblock_that_is_damaged_or_cut_costs_nothing() {
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.fill(0xff),
        |bytes| (bytes[17], bytes[SLOT_BYTES + 17]) = (1, 1),
        |bytes| bytes.truncate(50),
        Vec::clear,
    ];
    for damage in damages {
        let fixture = Fixture::new();
        change(&fixture.superblock(), damage);
        fixture.refuses(STRICT, &["data_dir", "1 damaged", "strict = true"]);
        let served = fixture.serves(SMALL, |_| false);
        assert!(served.log.contains("reading the whole log"), "{served:?}");
    }
}

#[test]
fn one_damaged_copy_of_a_segments_header_costs_nothing_and_is_told() {
    for (behind_start, at) in [(false, 20), (true, 20), (true, 2048 + 20), (true, 56)] {
        let fixture = Fixture::new();
        let start = fixture.start().0;
        let segment = fixture.segment(if behind_start { start + 1 } else { 1 });
        flip(&segment, at);
        let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
        let exit = fixture.refuses(STRICT, &["data_dir", "1 damaged", "strict = true"]);
        assert!(exit.stderr.contains(&name), "{exit:?}");
        let served = fixture.serves(SMALL, |_| false);
        let is_told = |line: &str| line.contains("without loss") && line.contains(&name);
        // What is before the checkpoint is not read at the start.
        assert!(!behind_start || served.log.lines().any(is_told), "{at}: {served:?}");
    }
}

#[test]
fn a_segment_without_any_header_costs_its_own_items_and_no_other() {
    for behind_start in [false, true] {
        let fixture = Fixture::new();
        let start = fixture.start().0;
        let segment = fixture.segment(if behind_start { start + 1 } else { 1 });
        let items: Vec<bool> =
            (0..ITEMS).map(|number| fixture.place_of(number).0 == segment).collect();
        flip(&segment, 20);
        flip(&segment, 2048 + 20);
        fixture.refuses(STRICT, &["data_dir", "damaged", "strict = true"]);
        fixture.serves(SMALL, |number| items[number]).tells_of_loss_in(&segment);
    }
}

#[test]
fn a_damaged_body_costs_one_item_wherever_it_is() {
    let place = Fixture::new();
    let start = place.start().0;
    let is_behind = |number: &usize| place.place_of(*number).0 > place.segment(start);
    let first_behind = (0..ITEMS).find(is_behind).expect("items behind the checkpoint");
    for number in [3, 100, first_behind + 2] {
        let fixture = Fixture::new();
        let (segment, at) = fixture.place_of(number);
        flip(&segment, at + 500);
        let exit = fixture.refuses(STRICT, &["data_dir", "1 damaged", "strict = true"]);
        assert!(exit.stderr.contains("DAMAGED"), "{exit:?}");
        let served = fixture.serves(SMALL, |lost| lost == number);
        served.tells_of_loss_in(&segment);
    }
}

#[test]
fn a_damaged_head_of_a_record_costs_no_other_item() {
    for number in [3, 100, ITEMS - 20] {
        let fixture = Fixture::new();
        let (segment, at) = fixture.place_of(number);
        // Length, sequence number, kind, checksum; then 40 bytes of meta until the body.
        for field in [0, 9, 16, 24] {
            flip(&segment, at - 40 - 28 + field);
        }
        fixture.refuses(STRICT, &["data_dir", "damaged", "strict = true"]);
        fixture.serves(SMALL, |lost| lost == number).tells_of_loss_in(&segment);
    }
}

#[test]
fn a_damaged_checkpoint_costs_nothing() {
    let fixture = Fixture::new();
    let segment = fixture.segment(fixture.start().0);
    let superblock = fs::read(fixture.superblock()).expect("a superblock");
    let first = number_at(&superblock, fixture.newest_slot() * SLOT_BYTES + 56);
    let file = fs::read(&segment).expect("a segment");
    // Its first record tells of a segment: kind 254.
    let is_first = |head: &[u8]| number_at(head, 8) == first && head[16] == 254;
    let at = file.windows(28).position(is_first).expect("the checkpoint begins here");
    for offset in [0, 16, 40] {
        flip(&segment, at + offset);
    }
    fixture.refuses(STRICT, &["data_dir", "damaged", "strict = true"]);
    let served = fixture.serves(SMALL, |_| false);
    assert!(served.log.contains("reading the whole log"), "{served:?}");
    assert!(served.damaged > 0 && served.copies > 0, "{served:?}");
}

#[test]
fn a_segment_that_was_cut_short_costs_what_was_cut_off_and_no_other() {
    for behind_start in [false, true] {
        let fixture = Fixture::new();
        let start = fixture.start().0;
        let segment = fixture.segment(if behind_start { start + 1 } else { 1 });
        let cut_at = 40_000;
        let may_be_lost: Vec<bool> = (0..ITEMS)
            .map(|number| fixture.place_of(number))
            .map(|(path, at)| path == segment && at + 1000 > cut_at)
            .collect();
        change(&segment, |bytes| bytes.truncate(cut_at));
        fixture.refuses(STRICT, &["data_dir", "damaged", "strict = true"]);
        fixture.serves(SMALL, |number| may_be_lost[number]).tells_of_loss_in(&segment);
    }
}
