//! Directories as Kestrel leaves them, and with what others put there.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use super::*;
use crate::QueueReader;

fn directory(names: &[&[u8]]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(directory.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    directory
}

fn names(files: &[JournalFile]) -> Vec<String> {
    files.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn queues_are_found_with_their_files_in_order() {
    let directory = directory(&[b"b", b"a.1000", b"a.999", b"a", b"b+c", b"only.5", b"\xff"]);
    let source = Source::open(directory.path()).unwrap();
    let found: Vec<_> =
        source.queues().iter().map(|queue| (queue.name.as_slice(), names(&queue.files))).collect();
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let wanted: [(&[u8], _); 5] = [
        (b"a", owned(&["a.999", "a.1000", "a"])),
        (b"b", owned(&["b"])),
        (b"b+c", owned(&["b+c"])),
        (b"only", owned(&["only.5"])),
        (b"\xff", owned(&["\u{fffd}"])),
    ];
    assert_eq!(found, wanted);
    assert_eq!(source.queues()[0].bytes(), 5 + 6 + 1);
    assert_eq!(source.queues()[0].files[0].archived_at_ms, Some(999));
    assert_eq!(source.queues()[0].files[2].archived_at_ms, None);
    assert!(source.skipped().is_empty());
}

#[test]
fn what_is_left_out_is_named() {
    let directory = directory(&[
        b"q",
        b"q.100",
        b"q.100.pack",
        b"q.50",
        b"q~~170",
        b"foo.txt",
        b".status",
        b"q.3000.bak",
    ]);
    fs::create_dir(directory.path().join("sub")).unwrap();
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    let source = Source::open(directory.path()).unwrap();
    assert_eq!(source.queues().len(), 1);
    assert_eq!(names(&source.queues()[0].files), ["q.100.pack", "q"]);
    assert_eq!(source.queues()[0].files[0].archived_at_ms, Some(100));
    let skipped: Vec<_> = source
        .skipped()
        .iter()
        .map(|skipped| (skipped.path.file_name().unwrap().to_str().unwrap(), skipped.reason))
        .collect();
    let wanted = [
        (".status", SkipReason::Foreign),
        ("dangling", SkipReason::NotAFile),
        ("foo.txt", SkipReason::Foreign),
        ("q.100", SkipReason::Packed),
        ("q.3000.bak", SkipReason::Foreign),
        ("q.50", SkipReason::Packed),
        ("q~~170", SkipReason::Temporary),
    ];
    assert_eq!(skipped, wanted);
}

#[test]
fn a_link_to_a_file_is_that_file_and_times_are_kept() {
    let elsewhere = directory(&[b"real"]);
    let written = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123);
    let real = elsewhere.path().join("real");
    fs::File::options().write(true).open(&real).unwrap().set_modified(written).unwrap();
    let directory = directory(&[]);
    symlink(&real, directory.path().join("q")).unwrap();
    let source = Source::open(directory.path()).unwrap();
    let file = &source.queues()[0].files[0];
    assert_eq!((file.bytes, file.mtime_ms), (4, 1_234_567_890_123));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let directory = directory(&[]);
    let missing = directory.path().join("spool");
    let error = Source::open(&missing).unwrap_err().to_string();
    assert!(error.contains("spool") && error.contains("cannot list"), "{error}");
}

#[test]
fn a_file_that_vanishes_is_an_error_and_is_not_made_anew() {
    let directory = directory(&[b"q"]);
    let source = Source::open(directory.path()).unwrap();
    let path = directory.path().join("q");
    fs::remove_file(&path).unwrap();
    let error = QueueReader::replay(&source.queues()[0], &mut |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Read { path: named, .. } if *named == path), "{error}");
    assert!(!path.exists());
}
