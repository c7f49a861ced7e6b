//! The end of segments: which one may go, and when its file does.
//!
//! Owns the retirement in progress (at most one). Invariants: only the front segment goes, so that a record of a removal outlives the item that it
//! removes; never the active one; never one with live references; its file goes only after everything appended before is synced.
//! Must not: read or copy records, that is for whoever knows what they mean.

use crate::job::{DiskOp, Job};
use crate::writer::{BackgroundAction, Space, Writer};
use crate::{HEAD_BYTES, HEADER_BYTES, Seq};

/// A segment that should go. Whoever gets it appends again what is still needed, then calls [`Writer::retire_done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Number of the segment, the front one.
    pub segment: u64,
    /// Records in it are still referred to: they have to be read ([`Writer::read_job`]), appended again and their references moved.
    pub needs_rerecord: bool,
    /// The first sequence number that lies behind the segment, for [`crate::replay_segment`].
    pub end_seq: Seq,
}

/// How far the retirement in progress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retiring {
    /// Handed out by `poll_retire`.
    Offered(u64),
    /// `retire_done`: the file goes as soon as everything up to `through` is synced.
    Syncing { segment: u64, through: u64 },
    /// The job that removes the file is in flight, or waits to be tried again.
    Removing { segment: u64 },
}

impl Writer {
    /// The front segment, if it should go: nothing in it is needed any more, or the log is longer than its cap and than twice what is alive in it.
    /// Named once; the next one is named after [`Writer::retire_done`] and the end of its removal.
    pub fn poll_retire(&mut self) -> Option<Retire> {
        if self.poisoned
            || self.retiring.is_some()
            || self.active.is_none()
            || self.segments.len() < 2
        {
            return None;
        }
        let front = self.segments.front()?;
        let needs_rerecord = front.live.refs() > 0;
        let copy_bytes = front.live.bytes() + front.live.refs() * HEAD_BYTES as u64;
        if needs_rerecord && (front.is_kept || !self.is_rerecording_worthwhile(copy_bytes)) {
            return None;
        }
        let retire = Retire {
            segment: front.number,
            needs_rerecord,
            end_seq: Seq(self.segments.get(1)?.first_seq),
        };
        self.retiring = Some(Retiring::Offered(retire.segment));
        Some(retire)
    }

    /// Copying must free more than it takes, and must not eat the room that removals need on a full disk.
    ///
    /// Batches are not split, so of two neighbouring segments at least one half is used: a log that was just copied together has at most twice its
    /// live bytes plus a segment. Only one that is longer than that by a further segment is worth copying; otherwise an idle server could copy for ever.
    fn is_rerecording_worthwhile(&self, copy_bytes: u64) -> bool {
        let is_too_long = self.log_bytes() > self.config.log_cap_bytes
            || matches!(self.space, Space::Refused { .. });
        let usable = self.config.usable_bytes();
        let needed = self.live_cost_bytes().saturating_mul(2).saturating_add(2 * usable);
        is_too_long && self.segments.len() as u64 * usable > needed && self.has_room(copy_bytes)
    }

    /// What all records that are referred to would take in a segment, at most.
    fn live_cost_bytes(&self) -> u64 {
        let refs = self.segments.iter().map(|segment| segment.live.refs()).sum::<u64>();
        self.live_bytes() + (refs + self.unplaced.refs()) * HEAD_BYTES as u64
    }

    /// A background job that reads the whole of a segment, for the one that is being retired. Its end is not reported to the writer.
    pub fn read_job(&mut self, segment: u64) -> Option<Job> {
        let found = self.segments.iter().find(|candidate| candidate.number == segment)?;
        let bytes = found.used_bytes.max(HEADER_BYTES as u64);
        let ops = [DiskOp::Read { segment, offset: 0, bytes }].into();
        Some(Job { id: self.new_job_id(), ops, is_write_only: false, is_background: true })
    }

    /// Everything in the segment that is still needed has been appended again. Its file goes once all that is synced.
    ///
    /// False if the segment is not being retired or still has live references: it then stays until they are gone.
    pub fn retire_done(&mut self, segment: u64) -> bool {
        if self.retiring != Some(Retiring::Offered(segment)) {
            return false;
        }
        let Some(front) = self.segments.front_mut() else { return false };
        if front.live.refs() > 0 {
            front.is_kept = true;
            self.retiring = None;
            return false;
        }
        let through = self.last_seq;
        self.retiring = Some(Retiring::Syncing { segment, through });
        self.require_sync(0, 0);
        true
    }

    /// The job that removes the retired segment's file, once it may go.
    pub(crate) fn poll_remove(&mut self, now_mono_ms: u64) -> Option<Job> {
        let segment = match self.retiring? {
            Retiring::Syncing { segment, through } if self.synced >= through => segment,
            Retiring::Removing { segment } if self.remove_retry_ms <= now_mono_ms => segment,
            _ => return None,
        };
        self.retiring = Some(Retiring::Removing { segment });
        Some(self.background_job(BackgroundAction::Remove, DiskOp::Remove { segment }))
    }

    /// The file is gone.
    pub(crate) fn finish_remove(&mut self) {
        self.segments.pop_front();
        self.retiring = None;
        if let Space::Refused { retry_ms } = &mut self.space {
            // What was freed may be what was missing.
            *retry_ms = 0;
        }
    }
}
