//! Directories under `fixtures/`, committed byte for byte, and what has to come out of each of them.
//!
//! They are what Kestrel's own tests and its description of the format say, written by `test_journal.rs`; `KQUEUE_BLESS=1 cargo test -p kqueue-kestrel`
//! writes them anew. A fixture that was committed does not change: the servers that wrote such files do not either.

mod cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::cases::{Case, cases};
use crate::{Item, QueueReader, SkipReason, Source};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Every file below a directory: its bytes and when it was last written.
fn files_below(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            files.insert(path.clone(), (fs::read(path).unwrap(), modified));
        }
    }
    files
}

/// What the directory of a case gives, in the words of [`Case::left`].
fn replay_all(source: &Source) -> Vec<(String, Vec<String>)> {
    let replay = |queue| {
        let reader = QueueReader::replay(queue, &mut |_| {}).unwrap();
        let bodies = reader.map(|item| item.unwrap().body.escape_ascii().to_string());
        (queue.name.escape_ascii().to_string(), bodies.collect())
    };
    source.queues().iter().map(replay).collect()
}

/// The warnings of all queues, in the words of [`Case::warnings`].
fn warnings(source: &Source) -> Vec<String> {
    let mut all = Vec::new();
    for queue in source.queues() {
        let reader = QueueReader::replay(queue, &mut |_| {}).unwrap();
        for warning in &reader.warnings().kept {
            let name = warning.file.file_name().unwrap().to_str().unwrap();
            let (offset, lost, what) = (warning.offset, warning.bytes_lost, warning.what);
            all.push(format!("{name} {offset} {lost} {what:?}"));
        }
    }
    all
}

fn open(case: &Case) -> Source {
    Source::open(&fixtures().join(case.name)).unwrap()
}

#[test]
fn fixtures_have_the_bytes_that_kestrel_writes() {
    let bless = std::env::var_os("KQUEUE_BLESS").is_some();
    let mut names = Vec::new();
    for case in cases() {
        for (name, journal) in &case.files {
            let path = fixtures().join(case.name).join(name);
            if bless {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &journal.0).unwrap();
            }
            assert_eq!(fs::read(&path).unwrap(), journal.0, "{}", path.display());
            names.push(path);
        }
    }
    names.sort();
    let present: Vec<PathBuf> = files_below(&fixtures()).into_keys().collect();
    assert_eq!(present, names, "a file that no case knows");
}

#[test]
fn each_fixture_gives_these_items() {
    for case in cases() {
        let wanted: Vec<_> = case
            .left
            .iter()
            .map(|(queue, items)| {
                ((*queue).to_owned(), items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(replay_all(&open(&case)), wanted, "{}", case.name);
    }
}

#[test]
fn each_fixture_gives_these_warnings() {
    for case in cases() {
        assert_eq!(warnings(&open(&case)), case.warnings, "{}", case.name);
    }
}

#[test]
fn each_fixture_skips_these_files() {
    for case in cases() {
        let source = open(&case);
        let skipped: Vec<(&str, SkipReason)> = source
            .skipped()
            .iter()
            .map(|skipped| (skipped.path.file_name().unwrap().to_str().unwrap(), skipped.reason))
            .collect();
        assert_eq!(skipped, case.skipped, "{}", case.name);
    }
}

/// The lengths that Kestrel's own tests assert.
#[test]
fn files_are_as_long_as_in_kestrels_tests() {
    let length = |name: &str| fs::metadata(fixtures().join("lengths").join(name)).unwrap().len();
    assert_eq!(length("eleven_bytes"), 32);
    assert_eq!(length("eleven_bytes_and_get"), 33);
    assert_eq!(length("first_second_get"), 5 + 6 + 16 + 16 + 5 + 5 + 1);
    assert_eq!(length("eight_of_one_byte"), 176);
    assert_eq!(length("kitty"), 28);
}

/// The oldest records say nothing about when they were written; the file does.
#[test]
fn items_of_the_first_servers_are_as_old_as_their_file() {
    let source = Source::open(&fixtures().join("kinds")).unwrap();
    let queue = source.queues().iter().find(|queue| queue.name == b"op0").unwrap();
    let mtime_ms = queue.files[0].mtime_ms;
    assert!(mtime_ms > 0);
    let items: Vec<Item> =
        QueueReader::replay(queue, &mut |_| {}).unwrap().map(Result::unwrap).collect();
    let item = |body: &str, expiry_ms| Item { body: body.into(), add_time_ms: mtime_ms, expiry_ms };
    assert_eq!(items, [item("starling", None), item("expires", Some(1_234_567_890_000))]);
}

#[test]
fn empty_items_of_a_packed_journal_are_counted() {
    let counts = |case: &str| {
        let source = Source::open(&fixtures().join(case)).unwrap();
        let reader = QueueReader::replay(&source.queues()[0], &mut |_| {}).unwrap();
        (reader.summary().items, reader.summary().empty_items)
    };
    assert_eq!(counts("read_behind"), (5, 0));
    assert_eq!(counts("read_behind_surplus"), (3, 1));
    assert_eq!(counts("read_behind_identity"), (2, 1));
}

#[test]
fn nothing_is_written_to_the_source() {
    let directory = tempfile::tempdir().unwrap();
    for case in cases() {
        for (name, journal) in &case.files {
            let path = directory.path().join(case.name).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &journal.0).unwrap();
        }
    }
    let before = files_below(directory.path());
    for case in cases() {
        let source = Source::open(&directory.path().join(case.name)).unwrap();
        replay_all(&source);
    }
    assert_eq!(files_below(directory.path()), before);
}
