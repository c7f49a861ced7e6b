//! Positions, skipped bodies, and files that are not what they were.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::QueueReader;
use crate::test_journal::{Journal, bodies, in_memory, replay, replay_one};

/// Counts what is read.
struct Counting(Arc<dyn Storage>, Arc<AtomicU64>);

struct CountingInput(Box<dyn Input>, Arc<AtomicU64>);

impl Storage for Counting {
    fn open(&self, file: &JournalFile) -> io::Result<Box<dyn Input>> {
        Ok(Box::new(CountingInput(self.0.open(file)?, Arc::clone(&self.1))))
    }
}

impl Read for CountingInput {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(bytes)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl io::Seek for CountingInput {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn long(letter: char) -> String {
    letter.to_string().repeat(3 * BUFFER_BYTES)
}

#[test]
fn bodies_are_not_read_to_find_out_what_is_left() {
    let journal = ('a'..='z').fold(Journal::new(), |journal, letter| journal.add(&long(letter)));
    let (memory, queue) = in_memory(&[("q", journal.remove().0)]);
    let read = Arc::new(AtomicU64::new(0));
    let storage = Arc::new(Counting(memory, Arc::clone(&read)));
    let reader = QueueReader::replay_from(storage, &queue, &mut |_| {}).unwrap();
    assert_eq!(reader.summary().items, 25);
    let read = read.load(Ordering::Relaxed);
    assert!(read < queue.bytes() / 2, "{read} of {}", queue.bytes());
}

#[test]
fn long_and_short_bodies_come_back_whole() {
    let journal = Journal::new()
        .add("first")
        .add(&long('x'))
        .add("")
        .tentative(1)
        .add(&long('y'))
        .tentative(2)
        .unremove(1)
        .add("last");
    let mut reader = replay_one(journal);
    assert_eq!(bodies(&mut reader), [&long('x'), "first", "", &long('y'), "last"]);
}

#[test]
fn progress_rises_to_the_length_of_the_files() {
    let one = Journal::new().add(&"x".repeat(3 << 20)).add("y").0;
    let two = Journal::new().add(&"x".repeat(1 << 20)).raw(&[77; 9]).0;
    let (memory, queue) = in_memory(&[("q.1", one), ("q", two)]);
    let mut told = Vec::new();
    let mut reader = QueueReader::replay_from(memory, &queue, &mut |done| told.push(done)).unwrap();
    assert!(told.is_sorted() && told.len() >= 3, "{told:?}");
    assert_eq!(told.last(), Some(&queue.bytes()));
    let mut last = 0;
    while let Some(item) = reader.next() {
        item.unwrap();
        assert!(reader.body_bytes_done() > last);
        last = reader.body_bytes_done();
    }
    assert_eq!(last, reader.summary().body_bytes);
    assert_eq!(last, (4 << 20) + 1);
}

#[test]
fn what_is_appended_after_the_listing_is_not_read() {
    let (memory, mut queue) = in_memory(&[("q", Journal::new().add("old").add("new").0)]);
    queue.files[0].bytes = 24;
    let mut reader = QueueReader::replay_from(memory, &queue, &mut |_| {}).unwrap();
    assert_eq!(reader.warnings().total, 0);
    assert_eq!(bodies(&mut reader), ["old"]);
}

#[test]
fn a_file_that_shrinks_ends_the_reading() {
    // In its head.
    let (memory, mut queue) = in_memory(&[("q", Journal::new().add("whole").remove().0)]);
    queue.files[0].bytes = 32;
    let error = QueueReader::replay_from(memory, &queue, &mut |_| {}).err().unwrap();
    assert!(matches!(&error, Error::Changed { path } if path.ends_with("q")), "{error}");
    // In a body; nothing is allocated for the two gigabytes that are not there.
    let journal = Journal::new().raw(&[2]).raw(&i32::MAX.to_le_bytes()).raw(&[1; 16]).raw(b"short");
    let (memory, mut queue) = in_memory(&[("q", journal.0)]);
    queue.files[0].bytes = 1 << 31;
    queue.files[0].bytes += 4;
    let mut reader = QueueReader::replay_from(memory, &queue, &mut |_| {}).unwrap();
    assert_eq!(reader.summary().items, 1);
    assert!(matches!(reader.next(), Some(Err(Error::Changed { .. }))));
    assert!(reader.next().is_none());
}

#[test]
fn a_file_that_is_gone_ends_the_reading() {
    let (memory, mut queue) = in_memory(&[("q", Journal::new().add("x").0)]);
    queue.files[0].path = "gone".into();
    let error = QueueReader::replay_from(memory, &queue, &mut |_| {}).err().unwrap();
    assert!(error.to_string().starts_with("cannot read the Kestrel journal gone:"), "{error}");
}

#[test]
fn a_queue_without_files_or_bytes_is_empty() {
    assert_eq!(replay(&[]).count(), 0);
    let mut reader = replay(&[("q.1", Vec::new()), ("q", Vec::new())]);
    assert!(reader.next().is_none());
    assert_eq!((reader.summary().records, reader.warnings().total), (0, 0));
}
