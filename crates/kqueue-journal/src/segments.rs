//! The table of segments: what lies in them, how much of it is alive, and where in a file a record is to be looked for.
//!
//! Invariants: numbers and sequence numbers rise from the front to the back; the back is the newest; numbers may be missing, for segments go in any order.
//! `refs` and `bytes` of a segment are those of its records that somebody still refers to. Must not: perform I/O, decide what goes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::own::{IndexEntry, SegmentRecord};
use crate::{HEADER_BYTES, Seq};

/// Index entries are at least so far apart, in bytes; large segments have sparser ones.
const INDEX_STEP_BYTES: u64 = 64 * 1024;
/// Entries per segment, about.
const INDEX_ENTRIES: u64 = 1024;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    /// First sequence number behind it; `u64::MAX` for the newest one.
    pub(crate) end_seq: u64,
    pub(crate) salt: u64,
    pub(crate) file_bytes: u64,
    /// Bytes from the file's beginning that hold anything.
    pub(crate) used_bytes: u64,
    pub(crate) refs: u64,
    pub(crate) bytes: u64,
    pub(crate) index: Vec<IndexEntry>,
    /// Written to since it was synced last (or not known).
    pub(crate) is_unsynced: bool,
    /// Somebody tried to empty it and could not: it stays until its last reference is gone.
    pub(crate) is_kept: bool,
    /// How many reads are under way.
    pub(crate) readers: u32,
}

impl Segment {
    pub(crate) fn new(number: u64, first_seq: u64, salt: u64, file_bytes: u64) -> Self {
        Self {
            number,
            first_seq,
            end_seq: u64::MAX,
            salt,
            file_bytes,
            used_bytes: HEADER_BYTES as u64,
            refs: 0,
            bytes: 0,
            index: Vec::new(),
            is_unsynced: false,
            is_kept: false,
            readers: 0,
        }
    }

    /// A batch that begins with `seq` goes to `offset`.
    pub(crate) fn note_batch(&mut self, seq: u64, offset: u64) {
        let step = INDEX_STEP_BYTES.max(self.file_bytes / INDEX_ENTRIES);
        if self.index.last().is_none_or(|last| offset >= last.offset + step) {
            self.index.push(IndexEntry { seq, offset });
        }
    }

    /// The last indexed batch that begins at or before `seq`.
    pub(crate) fn entry_before(&self, seq: u64) -> IndexEntry {
        let first = IndexEntry { seq: self.first_seq, offset: HEADER_BYTES as u64 };
        let behind = self.index.partition_point(|entry| entry.seq <= seq);
        behind.checked_sub(1).map_or(first, |at| self.index[at])
    }

    /// A byte at or behind the end of the record `seq`.
    fn end_offset(&self, seq: u64) -> u64 {
        let behind = self.index.partition_point(|entry| entry.seq <= seq);
        self.index.get(behind).map_or(self.used_bytes, |entry| entry.offset)
    }

    pub(crate) fn record(&self) -> SegmentRecord {
        SegmentRecord {
            number: self.number,
            first_seq: self.first_seq,
            end_seq: self.end_seq,
            used_bytes: self.used_bytes,
            file_bytes: self.file_bytes,
            index: self.index.clone(),
        }
    }

    fn add(&mut self, refs: u64, bytes: u64) {
        self.refs += refs;
        self.bytes += bytes;
    }

    /// True if this was the last reference.
    fn sub(&mut self, refs: u64, bytes: u64) -> bool {
        let had = self.refs > 0;
        self.refs = self.refs.saturating_sub(refs);
        self.bytes = if self.refs == 0 { 0 } else { self.bytes.saturating_sub(bytes) };
        had && self.refs == 0
    }
}

/// Where to read the records of a range of sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Its salt, without which nothing in it can be verified.
    pub salt: u64,
    /// Byte in the file where a record begins.
    pub offset: u64,
    /// The sequence number of that record: at or before the first one asked for.
    pub seq: u64,
    /// Byte at or behind the end of the last record asked for.
    pub end_offset: u64,
    /// First sequence number that cannot be in this segment.
    pub end_seq: u64,
}

/// All segments, and the references to records that are in none yet.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: VecDeque<Segment>,
    /// References to records that have been appended and not placed: those from `unplaced_from` on.
    unplaced: VecDeque<Unplaced>,
    pub(crate) unplaced_from: u64,
    /// Some segment may have lost its last reference since this was cleared.
    pub(crate) may_be_dead: bool,
    file_bytes: u64,
    live_refs: u64,
    live_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Unplaced {
    seq: u64,
    refs: u64,
    bytes: u64,
}

impl Segments {
    /// No segment yet; records from `unplaced_from` on are in none.
    pub(crate) fn new(unplaced_from: u64) -> Self {
        Self { unplaced_from, ..Self::default() }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.list.iter()
    }

    pub(crate) fn back(&self) -> Option<&Segment> {
        self.list.back()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut Segment> {
        self.list.back_mut()
    }

    /// The newest one so far ends where this one begins.
    pub(crate) fn push(&mut self, segment: Segment) {
        if let Some(back) = self.list.back_mut() {
            back.end_seq = back.end_seq.min(segment.first_seq);
        }
        self.file_bytes += segment.file_bytes;
        self.list.push_back(segment);
    }

    /// Adds one that is older than others, as a checkpoint tells of it; false if it is there already.
    pub(crate) fn insert(&mut self, segment: Segment) -> bool {
        let at = self.list.partition_point(|other| other.number < segment.number);
        if self.list.get(at).is_some_and(|other| other.number == segment.number) {
            return false;
        }
        self.file_bytes += segment.file_bytes;
        self.list.insert(at, segment);
        true
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<&Segment> {
        let at = self.list.partition_point(|other| other.number < number);
        self.list.get(at).filter(|found| found.number == number)
    }

    pub(crate) fn by_number_mut(&mut self, number: u64) -> Option<&mut Segment> {
        let at = self.list.partition_point(|other| other.number < number);
        self.list.get_mut(at).filter(|found| found.number == number)
    }

    pub(crate) fn remove(&mut self, number: u64) {
        let at = self.list.partition_point(|other| other.number < number);
        if self.list.get(at).is_some_and(|found| found.number == number)
            && let Some(gone) = self.list.remove(at)
        {
            self.file_bytes -= gone.file_bytes;
            self.live_refs -= gone.refs;
            self.live_bytes -= gone.bytes;
        }
    }

    fn index_of(&self, seq: u64) -> Option<usize> {
        let behind = self.list.partition_point(|segment| segment.first_seq <= seq);
        behind.checked_sub(1).filter(|&at| seq < self.list[at].end_seq)
    }

    /// The segment in which the record is, once it is placed.
    pub(crate) fn of_seq(&self, seq: u64) -> Option<&Segment> {
        if seq >= self.unplaced_from {
            return None;
        }
        self.index_of(seq).map(|at| &self.list[at])
    }

    pub(crate) fn add_ref(&mut self, seq: u64, refs: u64, bytes: u64) {
        if refs == 0 {
            return;
        }
        if seq >= self.unplaced_from {
            self.unplaced.push_back(Unplaced { seq, refs, bytes });
        } else if let Some(at) = self.index_of(seq) {
            self.list[at].add(refs, bytes);
        } else {
            return;
        }
        self.live_refs += refs;
        self.live_bytes += bytes;
    }

    pub(crate) fn unref(&mut self, seq: u64, refs: u64, bytes: u64) {
        if seq < self.unplaced_from {
            let Some(at) = self.index_of(seq) else { return };
            let segment = &mut self.list[at];
            let before = (segment.refs, segment.bytes);
            self.may_be_dead |= segment.sub(refs, bytes);
            self.live_refs -= before.0 - segment.refs;
            self.live_bytes -= before.1 - segment.bytes;
            return;
        }
        let at = self.unplaced.partition_point(|entry| entry.seq < seq);
        if let Some(entry) = self.unplaced.get_mut(at).filter(|entry| entry.seq == seq) {
            let refs = refs.min(entry.refs);
            let bytes = if refs == entry.refs { entry.bytes } else { bytes.min(entry.bytes) };
            entry.refs -= refs;
            entry.bytes -= bytes;
            self.live_refs -= refs;
            self.live_bytes -= bytes;
        }
    }

    /// Everything up to and including `seq` goes to the newest segment.
    pub(crate) fn place_through(&mut self, seq: u64) {
        self.unplaced_from = seq + 1;
        let Some(back) = self.list.back_mut() else { return };
        while let Some(entry) = self.unplaced.front().filter(|entry| entry.seq <= seq) {
            back.add(entry.refs, entry.bytes);
            self.unplaced.pop_front();
        }
        if self.unplaced.is_empty() && self.unplaced.capacity() > 4096 {
            self.unplaced = VecDeque::new();
        }
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Where the records from `first` to `last` are to be looked for, if they are in one segment and written.
    pub(crate) fn locate(&self, first: Seq, last: Seq) -> Option<Place> {
        let segment = self.of_seq(first.0)?;
        let entry = segment.entry_before(first.0);
        Some(Place {
            segment: segment.number,
            salt: segment.salt,
            offset: entry.offset,
            seq: entry.seq,
            end_offset: segment.end_offset(last.0),
            end_seq: segment.end_seq.min(self.unplaced_from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Segments {
        let mut segments = Segments::new(300);
        for (number, first_seq) in [(1, 1), (2, 100), (5, 200)] {
            segments.push(Segment::new(number, first_seq, number, 1 << 20));
        }
        segments
    }

    #[test]
    fn references_are_counted_where_the_record_is_or_will_be() {
        let mut segments = table();
        segments.add_ref(50, 2, 100);
        segments.add_ref(99, 1, 10);
        segments.add_ref(100, 1, 7);
        segments.add_ref(310, 3, 30);
        assert_eq!(segments.live_bytes(), 147);
        segments.unref(50, 1, 50);
        segments.unref(310, 1, 10);
        let of = |segments: &Segments, number| {
            segments.by_number(number).map(|found| (found.refs, found.bytes)).unwrap()
        };
        assert_eq!((of(&segments, 1), of(&segments, 2)), ((2, 60), (1, 7)));
        segments.place_through(320);
        assert_eq!(of(&segments, 5), (2, 20));
        assert!(!segments.may_be_dead);
        segments.unref(100, 1, 5);
        assert!(segments.may_be_dead, "the last reference takes all bytes with it");
        assert_eq!((of(&segments, 2), segments.live_bytes()), ((0, 0), 80));
        segments.remove(2);
        assert_eq!((segments.iter().count(), segments.file_bytes()), (2, 2 << 20));
        assert!(segments.of_seq(150).is_none());
    }

    #[test]
    fn a_record_is_found_by_the_batch_before_it() {
        let mut segments = table();
        let back = segments.back_mut().unwrap();
        back.note_batch(200, 4096);
        back.note_batch(210, 5000);
        back.note_batch(220, 80_000);
        back.used_bytes = 100_000;
        assert_eq!(back.index.len(), 2);
        let place = segments.locate(Seq(215), Seq(216)).unwrap();
        assert_eq!((place.segment, place.offset, place.seq), (5, 4096, 200));
        assert_eq!((place.end_offset, place.end_seq), (80_000, 300));
        assert_eq!(segments.locate(Seq(250), Seq(260)).unwrap().end_offset, 100_000);
        assert_eq!(segments.locate(Seq(300), Seq(300)), None, "not written yet");
    }
}
