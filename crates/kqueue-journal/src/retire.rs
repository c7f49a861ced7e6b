//! The end of segments: which one may go, which one is to be emptied, and when a file does.
//!
//! Only segments before the last durable checkpoint are looked at: nothing in them is needed for replay any more, so they may go in any order. One without
//! references goes after a record that says so is synced. One with few is emptied when the log is too long: whoever knows what the records mean appends them again.
//! Invariants: never one with live references, never one that is being read. Must not: read or copy records.

use alloc::vec::Vec;

use crate::Seq;
use crate::job::{DiskOp, Job};
use crate::own::KIND_FREED;
use crate::segments::Place;
use crate::writer::{BackgroundAction, Space, Writer};

/// Of the length of the log that is to be kept to, so much is for what is not yet done when emptying begins, in segments: while one is emptied and what says so is
/// synced, others begin.
const LEAD_SEGMENTS: u64 = 4;
/// Emptying a segment that is fuller than this, in percent, costs more than it brings.
const FULL_PERCENT: u64 = 85;

/// A segment that is to be emptied. Whoever gets it appends again what is still needed in it, then calls [`Writer::retire_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Number of the segment.
    pub segment: u64,
    /// All of it.
    pub place: Place,
}

/// A segment on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freeing {
    pub(crate) segment: u64,
    /// Its file goes once everything up to here is synced.
    through: u64,
}

impl Writer {
    /// The segment that is to be emptied next, if the log is longer than it should be. Named once, until [`Writer::retire_done`].
    pub fn poll_retire(&mut self) -> Option<Retire> {
        if self.poisoned || self.retiring.is_some() || !self.is_too_long() {
            return None;
        }
        let candidates = self.segments.iter().filter(|segment| {
            segment.number < self.superblock.start.checkpoint_segment()
                && segment.refs > 0
                && !segment.is_kept
        });
        let chosen = candidates.min_by_key(|segment| segment.bytes)?;
        let is_worthwhile = chosen.bytes.saturating_mul(100)
            < self.config.usable_bytes().saturating_mul(FULL_PERCENT);
        if !is_worthwhile || !self.has_room(chosen.bytes) {
            return None;
        }
        let (number, first, end) = (chosen.number, chosen.first_seq, chosen.end_seq);
        let place = self.segments.locate(Seq(first), Seq(end.saturating_sub(1)))?;
        self.retiring = Some(number);
        self.begin_read(number);
        Some(Retire { segment: number, place })
    }

    /// Whether emptying segments is worth the work: the files are longer than twice what is alive and what the log may hold besides. Files that go anyway do not count: they may
    /// have to stay as long as somebody copies them, and emptying others would only add to that.
    pub(crate) fn is_too_long(&self) -> bool {
        let cap = self.config.log_cap_bytes;
        let lead = (LEAD_SEGMENTS * self.config.segment_bytes).min(cap / 2);
        let limit = self.segments.live_bytes().saturating_mul(2).saturating_add(cap - lead);
        let leaving =
            self.freeing.iter().filter_map(|going| self.segments.by_number(going.segment));
        let leaving_bytes: u64 = leaving.map(|segment| segment.file_bytes).sum();
        self.segments.file_bytes() - leaving_bytes > limit
            || matches!(self.space, Space::Refused { .. })
    }

    /// Everything in the segment that is still needed has been appended again, or cannot be: it goes as soon as nothing refers to it. False: something still does.
    pub fn retire_done(&mut self, segment: u64) -> bool {
        if self.retiring.take_if(|retiring| *retiring == segment).is_none() {
            return true;
        }
        self.end_read(segment);
        self.segments.may_be_dead = true;
        let Some(found) = self.segments.by_number_mut(segment) else { return true };
        found.is_kept = found.refs > 0;
        !found.is_kept
    }

    /// Somebody reads in the segment: its file stays.
    pub fn begin_read(&mut self, segment: u64) {
        if let Some(found) = self.segments.by_number_mut(segment) {
            found.readers += 1;
        }
    }

    /// The reading is over.
    pub fn end_read(&mut self, segment: u64) {
        if let Some(found) = self.segments.by_number_mut(segment) {
            found.readers = found.readers.saturating_sub(1);
        }
    }

    /// At the end of recovery: the log says of a segment that it is in no use, but its file is there. It goes once all that was read is synced, for
    /// what says so may only be in the page cache.
    pub fn free_stale(&mut self, segment: u64) {
        let through = self.last_seq;
        self.freeing.push_back(Freeing { segment, through });
    }

    /// Takes note of segments that nobody needs any more: a record for each, and its file goes when that is synced.
    pub(crate) fn free_dead(&mut self) {
        if !core::mem::take(&mut self.segments.may_be_dead) {
            return;
        }
        let start = self.superblock.start.checkpoint_segment();
        let dead: Vec<u64> = self
            .segments
            .iter()
            .take_while(|segment| segment.number < start)
            .filter(|segment| segment.refs == 0 && !self.is_freeing(segment.number))
            .map(|segment| segment.number)
            .collect();
        for segment in dead {
            self.append_own(KIND_FREED, &segment.to_le_bytes());
            let through = self.last_seq;
            self.freeing.push_back(Freeing { segment, through });
        }
        if let Some(last) = self.freeing.back()
            && last.through > self.synced
        {
            self.require_sync(0, 0);
        }
    }

    /// A record says that it goes: nothing may be said of it after that.
    pub fn is_freeing(&self, segment: u64) -> bool {
        self.freeing.iter().any(|freeing| freeing.segment == segment)
    }

    /// The job that removes a file, once it may go.
    pub(crate) fn poll_remove(&mut self, now_mono_ms: u64) -> Option<Job> {
        let Freeing { segment, through } = *self.freeing.front()?;
        let is_read = self.segments.by_number(segment).is_some_and(|found| found.readers > 0);
        if through > self.synced || is_read || self.remove_retry_ms > now_mono_ms {
            return None;
        }
        Some(self.background_job(BackgroundAction::Remove, DiskOp::Remove { segment }))
    }

    /// The file is gone.
    pub(crate) fn finish_remove(&mut self) {
        if let Some(freed) = self.freeing.pop_front() {
            self.segments.remove(freed.segment);
        }
        self.remove_retry_ms = 0;
        if let Space::Refused { retry_ms } = &mut self.space {
            // What was freed may be what was missing.
            *retry_ms = 0;
        }
    }
}
