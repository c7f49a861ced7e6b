//! What is delivered besides bodies: times, counts, warnings; and how much is held for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::test_journal::{ADDED, Journal, MTIME, Memory, bodies, in_memory, replay, replay_one};
use crate::{Broken, Input};

fn all(reader: QueueReader) -> Vec<Item> {
    reader.map(Result::unwrap).collect()
}

fn item(body: &str, add_time_ms: u64, expiry_ms: Option<u64>) -> Item {
    Item { body: body.into(), add_time_ms, expiry_ms }
}

/// The anomalies and where they are.
fn warnings(reader: &QueueReader) -> Vec<(&str, u64, u64, Anomaly)> {
    let kept = reader.warnings().kept.iter();
    kept.map(|warning| {
        (warning.file.to_str().unwrap(), warning.offset, warning.bytes_lost, warning.what)
    })
    .collect()
}

#[test]
fn items_have_their_times_and_expired_ones_are_delivered() {
    let journal = Journal::new()
        .add_at(5, 0, "never")
        .add_at(6, 7, "expired")
        .starling(0, "legacy")
        .starling(12, "legacy expired")
        .add_at(-1, -1, "absurd");
    let wanted = [
        item("never", 5, None),
        item("expired", 6, Some(7)),
        item("legacy", MTIME, None),
        item("legacy expired", MTIME, Some(12_000)),
        item("absurd", 0, Some(0)),
    ];
    assert_eq!(all(replay_one(journal)), wanted);
}

#[test]
fn what_was_open_keeps_its_times() {
    let journal = Journal::new().add_at(5, 9, "open").starling(3, "too").tentative(1).tentative(2);
    let reader = replay_one(journal);
    assert_eq!(reader.summary().were_open, 2);
    assert_eq!(all(reader), [item("open", 5, Some(9)), item("too", MTIME, Some(3000))]);
}

/// A backlog must not cost memory: only what is out of order has a place of its own.
#[test]
fn memory_grows_with_what_was_open_and_not_with_the_queue() {
    let mut journal = (0..20_000).fold(Journal::new(), |journal, _| journal.add("x"));
    for xid in 1..=300 {
        journal = journal.tentative(xid);
    }
    for xid in 1..=100 {
        journal = journal.unremove(xid).confirm(xid + 100);
    }
    let reader = replay_one(journal);
    assert_eq!((reader.front.len(), reader.in_stream), (200, 19_700));
    assert_eq!(reader.summary().items, 19_900);
    assert_eq!(reader.count(), 19_900);
}

#[test]
fn empty_items_are_counted_if_they_are_left() {
    let journal = Journal::new().add("").add("").add("a").add("").remove().tentative(1);
    let mut reader = replay_one(journal);
    let wanted = Summary { records: 6, items: 3, body_bytes: 1, were_open: 1, empty_items: 2 };
    assert_eq!(*reader.summary(), wanted);
    assert_eq!(bodies(&mut reader), ["", "a", ""]);
}

#[test]
fn a_broken_file_ends_there_and_the_next_one_goes_on() {
    let first = Journal::new().add("a").add("b").raw(&[2, 17, 0, 0]).0;
    let second = Journal::new().remove().raw(&[11; 30]).remove().0;
    let mut reader = replay(&[("q.1", first), ("q.2", second), ("q", Journal::new().add("c").0)]);
    let wanted = [
        ("q.1", 44, 4, Anomaly::Broken(Broken::CutOff)),
        ("q.2", 1, 31, Anomaly::Broken(Broken::UnknownOpcode { opcode: 11 })),
    ];
    assert_eq!(warnings(&reader), wanted);
    assert_eq!((reader.warnings().total, reader.warnings().bytes_lost), (2, 35));
    assert_eq!(reader.summary().records, 4);
    assert_eq!(bodies(&mut reader), ["b", "c"]);
}

/// What stood where the file is broken may have come between the two.
#[test]
fn an_open_without_xid_behind_a_broken_file_does_not_belong_to_the_item_before_it() {
    let first = Journal::new().add_xid(12, "a").raw(&[77]).0;
    let of = |xid| {
        let second = Journal::new().tentative_legacy().confirm(xid).0;
        bodies(&mut replay(&[("q.1", first.clone()), ("q", second)]))
    };
    assert_eq!(of(1), [""; 0]);
    assert_eq!(of(12), ["a"]);
}

/// Gives the later bytes from the second opening on.
struct Changing {
    first: Memory,
    later: Memory,
    opened: AtomicBool,
}

impl Storage for Changing {
    fn open(&self, file: &JournalFile) -> io::Result<Box<dyn Input>> {
        let is_later = self.opened.swap(true, Ordering::Relaxed);
        if is_later { self.later.open(file) } else { self.first.open(file) }
    }
}

/// The reader of a queue that is `first` when the newest record is looked for and `later` for everything else.
fn changing(first: Journal, later: Journal) -> Result<QueueReader, Error> {
    let (first, queue) = in_memory(&[("q", first.0)]);
    let (later, _) = in_memory(&[("q", later.0)]);
    let unshared = |memory| Arc::into_inner(memory).unwrap();
    let storage =
        Changing { first: unshared(first), later: unshared(later), opened: AtomicBool::new(false) };
    QueueReader::replay_from(Arc::new(storage), &queue, &mut |_| {})
}

#[test]
fn a_file_that_changes_is_not_imported_and_nothing_follows() {
    // The first item has become shorter.
    let later = Journal::new().add("b").add("b");
    let mut reader = changing(Journal::new().add("a").add("b").add("c"), later).unwrap();
    let items: Vec<_> = reader.by_ref().take(3).map(|item| item.is_ok()).collect();
    assert_eq!(items, [true, true, false]);
    assert!(reader.next().is_none());
    // An item that should be taken is not there.
    let error = changing(Journal::new().add("a").tentative(1), Journal::new().raw(&[77; 40]));
    assert!(matches!(error, Err(Error::Changed { .. })));
}

#[test]
fn nothing_follows_an_item_that_cannot_be_read() {
    // Two items that are out of order, and are not what they were when they were found.
    let journal = Journal::new().add("a").add("b").add("c").tentative(1).tentative(2);
    let mut reader = replay(&[("q.1", journal.0), ("q", Journal::new().add("d").0)]);
    reader.front[0].body_len = 7;
    reader.front[1].body_len = 7;
    assert!(matches!(reader.next(), Some(Err(Error::Changed { path })) if path.ends_with("q.1")));
    assert!(reader.next().is_none());
}

#[test]
fn what_cannot_be_is_ignored_and_named() {
    let journal =
        Journal::new().remove().add("a").tentative(3).confirm(4).add("b").tentative(3).remove();
    let mut reader = replay_one(journal);
    let wanted = [
        ("q", 0, 0, Anomaly::NothingToRemove),
        ("q", 28, 0, Anomaly::NotOpen { xid: 4 }),
        ("q", 55, 0, Anomaly::StillOpen { xid: 3 }),
        ("q", 60, 0, Anomaly::NothingToRemove),
    ];
    assert_eq!(warnings(&reader), wanted);
    assert_eq!(bodies(&mut reader), ["a", "b"]);
}

#[test]
fn a_queue_that_lies_in_two_files_is_suspected() {
    let of = |archive: &str, added: i64| {
        let files = [
            (archive, Journal::new().add("a").0),
            ("q", { Journal::new().add_at(added, 0, "a").add_at(0, 0, "b").0 }),
        ];
        replay(&files).warnings().kept.first().map(|warning| (warning.offset, warning.what))
    };
    let suspected = Some((0, Anomaly::OlderThanArchive));
    assert_eq!(of("q.1355345045123", ADDED - WAIT_MS - 1), suspected);
    assert_eq!(of("q.1355345045123", ADDED - WAIT_MS), None);
    assert_eq!(of("q.1355345045123", ADDED), None);
    assert_eq!(of("q.1355345045123.pack", 5), suspected);
    assert_eq!(of("q.-9223372036854775808", 5), None);
    // Only in the file that Kestrel appends to.
    let old = Journal::new().add_at(5, 0, "a").0;
    let reader = replay(&[("q.1000000", old.clone()), ("q.2000000", old)]);
    assert_eq!(reader.warnings().total, 0);
}
