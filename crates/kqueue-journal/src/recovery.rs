//! The reading half: segments in order, records out, a verdict on everything that could not be read.
//!
//! Owns the continuity from segment to segment and the [`Report`]. How one segment is read is in `scan.rs`.
//! Invariants: nothing readable is withheld, except a batch at the very end of the log that has no commit marker (nobody was told that it is stored);
//! nothing else is lost without a [`Gap`]; reading the same files twice gives the same records, also after the log went on behind a tail that was cut.
//! Must not: change or judge by anything but the bytes; panic on any of them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::Seq;
use crate::format::{HEADER_BYTES, SegmentHeader};
use crate::names::segment_file_name;
use crate::own::IndexEntry;
use crate::scan::{From, Outcome, scan};
use crate::superblock::Start;

/// A record as it lies in a segment, its checksums verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Number of the segment.
    pub segment: u64,
    /// Byte in the file where the record begins.
    pub offset: u64,
    /// Byte in the file where the body begins.
    pub body_offset: u64,
    /// Its place in the log.
    pub seq: Seq,
    /// Never a marker's.
    pub kind: u8,
    /// As it was appended.
    pub meta: &'a [u8],
    /// As it was appended; empty if there was none.
    pub body: &'a [u8],
    /// As it was appended, and true of `body`.
    pub body_crc: u32,
    /// Records before it in this segment are lost: what was appended shortly before may be missing. (A segment begins only after the one before it is synced.)
    pub behind_loss: bool,
    /// Records between it and the one delivered before are lost.
    pub follows_loss: bool,
}

/// What happened to a place in the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The end of the log, without a commit marker: never acknowledged as synced, cut.
    TornTail,
    /// Records are gone that had been synced.
    DamagedSynced,
    /// Records are gone of which nothing says that they had been synced: usually the end of what was written before a power cut.
    LostUnsynced,
    /// One record's body is damaged, its head is sound: only this record is lost.
    DamagedBody {
        /// Its place in the log.
        seq: Seq,
        /// Its kind.
        kind: u8,
        /// Its `meta`: says which item it was.
        meta: Vec<u8>,
    },
    /// A commit marker is damaged; every record of its batch is there. Nothing is lost.
    DamagedMarker,
    /// The file is shorter than its header says. What is missing before the next segment is reported as a gap of its own; at the end of the log nobody
    /// can know whether anything is missing.
    ShortFile,
    /// A part of the segment's header is damaged, the rest of it made that good. Nothing is lost.
    DamagedHeader,
}

/// A place in the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Number of the segment.
    pub segment: u64,
    /// First byte in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// First sequence number that is missing.
    pub first_seq: Seq,
    /// How many sequence numbers are missing, commit markers included; 0 if unknown or none. At a torn tail: how many could be recognised.
    pub missing: u64,
    /// The log proves that what is missing had been synced, so it may have been acknowledged as such.
    pub was_synced: bool,
    /// What it is.
    pub verdict: Verdict,
}

impl Gap {
    /// Whether records that may have been acknowledged are lost.
    pub fn is_loss(&self) -> bool {
        match self.verdict {
            Verdict::TornTail
            | Verdict::DamagedMarker
            | Verdict::DamagedHeader
            | Verdict::ShortFile => false,
            Verdict::DamagedSynced | Verdict::LostUnsynced | Verdict::DamagedBody { .. } => true,
        }
    }
}

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first sequence number that is free.
    pub next_seq: Seq,
    /// Highest sequence number that the log proves to have been synced.
    pub synced_through: Seq,
    /// Records delivered.
    pub records: u64,
    /// Length of what was cut at the end of the log.
    pub torn_tail_bytes: u64,
    /// Everything that could not be read, in log order.
    pub gaps: Vec<Gap>,
}

/// What was found in a segment, for [`crate::Writer::recover_read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Bytes from the file's beginning that hold anything.
    pub used_bytes: u64,
    /// First sequence number behind it.
    pub end_seq: u64,
    /// Bytes of it that were read.
    pub read_bytes: u64,
    /// Some batch beginnings.
    pub index: Vec<IndexEntry>,
}

/// Why the segments given are not one log. Nothing should be served or changed until somebody has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryError {
    /// Segments are missing between two that are there.
    MissingSegments {
        /// First missing number.
        first: u64,
        /// Last missing number.
        last: u64,
    },
    /// Numbers do not rise.
    OutOfOrder {
        /// The segment that came too late.
        segment: u64,
    },
    /// A segment claims sequence numbers that earlier segments hold already.
    Overlap {
        /// The segment.
        segment: u64,
        /// Where it should begin at the earliest.
        expected: Seq,
        /// Where its header says that it begins.
        found: Seq,
    },
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingSegments { first, last } if first == last => {
                write!(f, "{} is missing in the middle of the log", segment_file_name(*first))
            }
            Self::MissingSegments { first, last } => {
                let (first, last) = (segment_file_name(*first), segment_file_name(*last));
                write!(f, "{first} to {last} are missing in the middle of the log")
            }
            Self::OutOfOrder { segment } => {
                write!(f, "{} is out of order", segment_file_name(*segment))
            }
            Self::Overlap { segment, expected, found } => write!(
                f,
                "{} begins with record {}, but record {} is its earliest possible: these are not segments of one log",
                segment_file_name(*segment),
                found.0,
                expected.0
            ),
        }
    }
}

impl core::error::Error for RecoveryError {}

/// Reads a log: [`Recovery::segment`] for every segment in the order of their numbers, then [`Recovery::finish`].
#[derive(Debug)]
pub struct Recovery {
    last_segment: Option<u64>,
    next_seq: u64,
    synced_through: u64,
    records: u64,
    torn_tail_bytes: u64,
    gaps: Vec<Gap>,
    start: Start,
    has_holes: bool,
    /// Of segments whose successor may be gone: the first sequence number behind them.
    ends: BTreeMap<u64, u64>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Recovery {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self {
            last_segment: None,
            next_seq: 1,
            synced_through: 0,
            records: 0,
            torn_tail_bytes: 0,
            gaps: Vec::new(),
            start: Start::default(),
            has_holes: false,
            ends: BTreeMap::new(),
        }
    }

    /// Begins at a checkpoint: the first segment given must be the one in which it is, and is read from there.
    pub fn from_checkpoint(start: Start) -> Self {
        Self { start, next_seq: start.seq.max(1), ..Self::new() }
    }

    /// Begins at the oldest segment that there is, whatever is missing between the others: for a log that cannot be read from its checkpoint on. `ends`: the first
    /// sequence number behind a segment, as far as records of kind [`crate::KIND_SEGMENT`] tell it; where nobody tells, a batch without marker at the end
    /// of a segment counts as a torn tail.
    pub fn with_holes(ends: BTreeMap<u64, u64>) -> Self {
        Self { has_holes: true, ends, ..Self::new() }
    }

    /// Reads one segment. `file` is all of it (header included), `next` the header of the segment that follows, `None` for the last one: it says where
    /// this one must end, which tells a tail that was cut at an earlier start from damage.
    ///
    /// Answers what is to be told to [`crate::Writer::recover_read`].
    ///
    /// # Errors
    /// [`RecoveryError`] if the segments are not one log; nothing of this segment has been delivered then.
    pub fn segment(
        &mut self,
        header: &SegmentHeader,
        file: &[u8],
        next: Option<&SegmentHeader>,
        deliver: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<SegmentEnd, RecoveryError> {
        let is_start = self.start.segment == header.segment && self.last_segment.is_none();
        let from = (is_start && header.segment > 0)
            .then_some(From { offset: self.start.offset, seq: self.start.seq });
        // Between segments that are not neighbours nobody can say what is missing.
        let is_hole = self.has_holes && next.is_some_and(|next| next.segment != header.segment + 1);
        let known = self.ends.get(&header.segment).map(|&first_seq| SegmentHeader {
            segment: header.segment + 1,
            first_seq: first_seq.max(header.first_seq),
            synced_through: 0,
            ..header.clone()
        });
        let next = if is_hole { known.as_ref() } else { next };
        self.check_order(header, from, next)?;
        if header.is_damaged {
            self.gaps.push(damaged_header(header));
        }
        let mut outcome = scan(header, file, from, next, deliver);
        if is_hole {
            outcome.gaps.retain(|gap| gap.verdict != Verdict::TornTail);
        }
        let begin = from.map_or(HEADER_BYTES as u64, |from| from.offset);
        let end = SegmentEnd {
            used_bytes: outcome.used_bytes,
            end_seq: outcome.next_seq,
            read_bytes: outcome.used_bytes.saturating_sub(begin),
            index: core::mem::take(&mut outcome.index),
        };
        self.take(outcome);
        Ok(end)
    }

    /// Goes past a segment whose header cannot be read: everything in it is lost. `file_bytes` is its length, `next` the header of the next
    /// segment that can be read (which is also what the segment before gets as `next`).
    ///
    /// The writer has to know of it too ([`crate::Writer::recover_segment`], with [`Recovery::next_seq`] before this call): its number is taken, and its
    /// file goes when it is the front one.
    ///
    /// # Errors
    /// As [`Recovery::segment`].
    pub fn unreadable_segment(
        &mut self,
        segment: u64,
        file_bytes: u64,
        next: Option<&SegmentHeader>,
    ) -> Result<(), RecoveryError> {
        self.check_number(segment)?;
        let end = next.map_or(self.next_seq, |next| next.first_seq.max(self.next_seq));
        let was_synced = next.is_some_and(|next| next.synced_through >= self.next_seq);
        self.gaps.push(Gap {
            segment,
            offset: 0,
            bytes: file_bytes,
            first_seq: Seq(self.next_seq),
            missing: end - self.next_seq,
            was_synced,
            verdict: if was_synced { Verdict::DamagedSynced } else { Verdict::LostUnsynced },
        });
        self.next_seq = end;
        Ok(())
    }

    /// The first sequence number behind everything read so far: where a segment that cannot be read begins at the earliest.
    pub fn next_seq(&self) -> Seq {
        Seq(self.next_seq)
    }

    fn check_order(
        &mut self,
        header: &SegmentHeader,
        from: Option<From>,
        next: Option<&SegmentHeader>,
    ) -> Result<(), RecoveryError> {
        self.check_number(header.segment)?;
        let expected = self.next_seq;
        if from.is_none() && header.first_seq < expected {
            let (expected, found) = (Seq(expected), Seq(header.first_seq));
            return Err(RecoveryError::Overlap { segment: header.segment, expected, found });
        }
        match next {
            Some(next) if next.first_seq < header.first_seq => {
                let (expected, found) = (Seq(header.first_seq), Seq(next.first_seq));
                Err(RecoveryError::Overlap { segment: next.segment, expected, found })
            }
            _ => Ok(()),
        }
    }

    fn check_number(&mut self, segment: u64) -> Result<(), RecoveryError> {
        match self.last_segment.replace(segment) {
            Some(last) if segment <= last => Err(RecoveryError::OutOfOrder { segment }),
            Some(last) if segment > last + 1 && !self.has_holes => {
                Err(RecoveryError::MissingSegments { first: last + 1, last: segment - 1 })
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, outcome: Outcome) {
        self.next_seq = self.next_seq.max(outcome.next_seq);
        self.synced_through = self.synced_through.max(outcome.synced_through);
        self.records += outcome.records;
        for gap in &outcome.gaps {
            if gap.verdict == Verdict::TornTail {
                self.torn_tail_bytes += gap.bytes;
            }
        }
        self.gaps.extend(outcome.gaps);
    }

    /// Every segment was read.
    pub fn finish(self) -> Report {
        Report {
            next_seq: Seq(self.next_seq),
            synced_through: Seq(self.synced_through.min(self.next_seq - 1)),
            records: self.records,
            torn_tail_bytes: self.torn_tail_bytes,
            gaps: self.gaps,
        }
    }
}

fn damaged_header(header: &SegmentHeader) -> Gap {
    Gap {
        segment: header.segment,
        offset: 0,
        bytes: HEADER_BYTES as u64,
        first_seq: Seq(header.first_seq),
        missing: 0,
        was_synced: false,
        verdict: Verdict::DamagedHeader,
    }
}

#[cfg(test)]
mod tests;
