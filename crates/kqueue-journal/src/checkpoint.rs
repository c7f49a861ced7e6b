//! When a checkpoint is due, and what the journal puts into it.
//!
//! A checkpoint is a stretch of the log behind which nothing before it is needed for replay: the segments that there are, then whatever the owner of the records
//! says about its state, then an end. Only when the end is synced does the superblock name its beginning.
//! Must not: know what a record means.

use crate::Seq;
use crate::own::{KIND_CHECKPOINT_END, KIND_SEGMENT};
use crate::segments::Segment;
use crate::superblock::Start;
use crate::writer::{Space, Writer};

/// A checkpoint is due after so many times its own length.
const PER_CHECKPOINT: u64 = 8;
/// And at the latest after this part of the cap.
const CAP_PART: u64 = 2;
/// Segment records appended in one step.
const STEP_SEGMENTS: usize = 16;

/// What the writer knows about checkpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checkpoints {
    /// Sequence number and total length of the log where the last one began.
    begun: (u64, u64),
    /// The newest segment at that time: those before it are described by the checkpoint, it and those behind are read. It is described, too, for the
    /// sake of its index: it is not read from its beginning.
    newest_segment: u64,
    /// How long the last one was.
    length: u64,
    pub(crate) is_running: bool,
    /// It has ended with this record, and is durable once that is synced: then replay begins at `begun`.
    pub(crate) ended: Option<u64>,
}

impl Writer {
    /// Whether so much was appended since the last checkpoint that another one pays, or one would give space back that is missing or wanted.
    pub fn wants_checkpoint(&self) -> bool {
        let state = &self.checkpoints;
        if self.poisoned || state.is_running || state.ended.is_some() || self.active.is_none() {
            return false;
        }
        let cap = self.config.log_cap_bytes;
        let at_most = cap / CAP_PART;
        let at_least = (2 * self.config.segment_bytes).min(at_most);
        let due = state.length.saturating_mul(PER_CHECKPOINT).clamp(at_least, at_most);
        let since = self.appended_bytes - state.begun.1;
        since >= due || (since > 0 && self.would_help()) || self.is_held_up(at_most)
    }

    /// Whole segments that replay still needs: only a checkpoint lets them go.
    fn needed_for_replay(&self) -> impl Iterator<Item = &Segment> {
        let start = self.superblock.start.checkpoint_segment();
        let newest = self.segments.back().map_or(0, |back| back.number);
        self.segments.iter().filter(move |found| found.number >= start && found.number < newest)
    }

    /// Space is missing, and there is a segment that only replay still needs.
    fn would_help(&self) -> bool {
        let is_refused = matches!(self.space, Space::Refused { .. });
        is_refused && self.needed_for_replay().any(|found| found.refs == 0)
    }

    /// The log is too long for the files that replay needs, however little is in them: every start leaves one behind.
    fn is_held_up(&self, at_most: u64) -> bool {
        self.is_too_long()
            && self.needed_for_replay().map(|found| found.file_bytes).sum::<u64>() >= at_most
    }

    /// How many bytes were appended since the last checkpoint began: what a start would have to read.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.appended_bytes - self.checkpoints.begun.1
    }

    /// Begins a checkpoint.
    pub fn begin_checkpoint(&mut self) {
        self.checkpoints.begun = (self.next_seq, self.appended_bytes);
        self.checkpoints.newest_segment = self.segments.back().map_or(0, |back| back.number);
        self.checkpoints.is_running = true;
    }

    /// Appends what has to be known of some segments, those from number `from` on; answers where to go on.
    pub fn checkpoint_segments(&mut self, from: u64) -> Option<u64> {
        let newest = self.checkpoints.newest_segment;
        let some: alloc::vec::Vec<_> = self
            .segments
            .iter()
            .filter(|segment| (from..=newest).contains(&segment.number))
            .filter(|segment| !self.is_freeing(segment.number))
            .take(STEP_SEGMENTS)
            .map(Segment::record)
            .collect();
        for record in &some {
            let mut meta = alloc::vec::Vec::new();
            record.encode(&mut meta);
            self.append_own(KIND_SEGMENT, &meta);
        }
        some.last().filter(|_| some.len() == STEP_SEGMENTS).map(|last| last.number + 1)
    }

    /// Everything is said.
    pub fn end_checkpoint(&mut self) {
        let (seq, at) = self.checkpoints.begun;
        self.append_own(KIND_CHECKPOINT_END, &seq.to_le_bytes());
        self.checkpoints.is_running = false;
        self.checkpoints.ended = Some(self.last_seq);
        self.checkpoints.length = self.appended_bytes - at;
        self.require_sync(0, 0);
    }

    /// Where replay may begin, if a checkpoint has ended and is synced since.
    pub(crate) fn durable_start(&self) -> Option<Start> {
        self.checkpoints.ended.filter(|&end| end <= self.synced)?;
        let Checkpoints { begun: (begun, _), newest_segment, .. } = self.checkpoints;
        // Its first record may have got into the next segment: then reading begins with the last batch of the one before.
        let number = self.segments.of_seq(begun)?.number.min(newest_segment);
        let segment = self.segments.by_number(number)?;
        let entry = segment.entry_before(begun);
        Some(Start {
            segment: segment.number,
            offset: entry.offset,
            seq: entry.seq,
            checkpoint_seq: begun,
        })
    }

    /// The superblock names the new beginning: what lies before may go.
    pub(crate) fn checkpoint_is_durable(&mut self) {
        self.checkpoints.ended = None;
        self.segments.may_be_dead = true;
    }

    /// The end of the segment in which the record is, as far as that is known: nothing that has a place and comes from there on is in it. What has no place yet may be in it
    /// or not, so the newest segment ends before the first such record; one more than `seq` if it has none itself.
    pub fn segment_end(&self, seq: Seq) -> Seq {
        let unplaced_from = self.segments.unplaced_from;
        let end = |segment: &Segment| segment.end_seq.min(unplaced_from);
        Seq(self.segments.of_seq(seq.0).map_or(seq.0 + 1, end))
    }

    /// Number of the segment in which the record is; `None` if it is in none yet.
    pub fn segment_of(&self, seq: Seq) -> Option<u64> {
        self.segments.of_seq(seq.0).map(|segment| segment.number)
    }

    /// Roughly where in its segment a record is, in bytes.
    pub fn offset_near(&self, seq: Seq) -> u64 {
        self.segments.of_seq(seq.0).map_or(0, |segment| segment.entry_before(seq.0).offset)
    }

    /// Where the records from `first` to `last`, which are in one segment, are to be read; `None` if they are not written yet or their segment is gone.
    pub fn locate(&self, first: Seq, last: Seq) -> Option<crate::Place> {
        if last.0 > self.written {
            return None;
        }
        let place = self.segments.locate(first, last)?;
        // Behind what is written there may be a batch on its way.
        Some(crate::Place { end_seq: place.end_seq.min(self.written + 1), ..place })
    }
}
