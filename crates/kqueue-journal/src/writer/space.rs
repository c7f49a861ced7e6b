//! Space: what fits in the active segment and the next one, who has to wait for a spare, and what still goes on when the disk is full.

use super::{BackgroundAction, LogAction, NO_SPACE_RETRY_MS, Space, Writer};
use crate::config::OVERHEAD_BYTES;
use crate::segments::Segment;

/// What a checkpoint says of a segment, about: the record without its index, and an entry of that.
const SEGMENT_RECORD_BYTES: u64 = 80;
const INDEX_BYTES: u64 = 6;
/// Allowance for the `meta` of a put when only the length of its body is known.
const META_ALLOWANCE_BYTES: u64 = 512;

impl Writer {
    /// There is no space for a segment, as was found out before anything was written: puts are refused until there is.
    pub fn no_space(&mut self, now_mono_ms: u64) {
        self.refuse_space(now_mono_ms);
    }

    pub(super) fn refuse_space(&mut self, now_mono_ms: u64) {
        self.space = Space::Refused { retry_ms: now_mono_ms.saturating_add(NO_SPACE_RETRY_MS) };
        // Puts are refused from now on: nobody waits any more.
        self.is_awaited = false;
    }

    /// Whether a put of a body of that many bytes has to wait until it is known that there is a place for it: until the next job is done. So no put is accepted and then
    /// found to have none, and the last spare is left for what gives space back. Several bodies that no segment has room for together wait for a whole one.
    pub fn must_wait_for_space(&mut self, bytes: u64) -> bool {
        if self.poisoned || self.is_full() {
            return false;
        }
        let bytes = bytes.min(self.config.record_room_bytes().saturating_sub(META_ALLOWANCE_BYTES));
        let reserve_bytes = self.config.reserve_bytes();
        let has_next = self.has_next();
        let next_bytes = if has_next { self.config.usable_bytes() } else { 0 };
        let room_bytes = self.room_bytes().saturating_sub(reserve_bytes).max(next_bytes);
        let waits = self.needed_bytes(bytes) > room_bytes;
        self.is_awaited |= waits && !has_next;
        waits
    }

    /// Whether a put of a body of that many bytes may be appended. False: the disk is full, or the log failed. Removals go on, in reserved room.
    pub fn has_room(&self, bytes: u64) -> bool {
        if self.poisoned {
            return false;
        }
        if !matches!(self.space, Space::Refused { .. }) {
            return true;
        }
        if self.on_last {
            return false;
        }
        self.room_bytes() >= self.needed_bytes(bytes).saturating_add(self.config.reserve_bytes())
    }

    /// As [`Writer::has_room`], for so many puts of a body of that many bytes each.
    pub fn has_room_for(&self, puts: u64, bytes: u64) -> bool {
        let others_bytes = bytes.saturating_add(OVERHEAD_BYTES + META_ALLOWANCE_BYTES);
        self.has_room(bytes.saturating_add(others_bytes.saturating_mul(puts.saturating_sub(1))))
    }

    /// Whether an item with a body of that many bytes may be written again elsewhere, although nobody waits for that. On a full disk such things may use what is left of the
    /// segment and the last spare, but for a quarter of a segment: that is for what gives space back.
    pub fn has_room_for_moves(&self, bytes: u64) -> bool {
        let record_bytes = bytes.saturating_add(META_ALLOWANCE_BYTES);
        if self.poisoned || record_bytes > self.config.record_room_bytes() {
            return false;
        }
        if !self.is_full() {
            let next_bytes = if self.has_next() { self.config.usable_bytes() } else { 0 };
            let room_bytes = self.room_bytes().saturating_sub(self.config.reserve_bytes());
            return self.needed_bytes(bytes) <= room_bytes.max(next_bytes);
        }
        self.room_when_full() >= self.needed_bytes(bytes)
    }

    /// Whether a checkpoint fits of which the owner of the records says `bytes`. On a full disk only; what does not fit is not to be begun.
    pub fn has_room_for_checkpoint(&self, bytes: u64) -> bool {
        let of_segment =
            |segment: &Segment| SEGMENT_RECORD_BYTES + INDEX_BYTES * segment.index.len() as u64;
        let segments: u64 = self.segments.iter().map(of_segment).sum();
        self.room_when_full() >= self.needed_bytes(bytes.saturating_add(segments))
    }

    /// What is left on a full disk, but for a quarter of a segment.
    fn room_when_full(&self) -> u64 {
        let last_bytes = if self.may_take_last && !self.on_last && self.has_last {
            self.config.usable_bytes()
        } else {
            0
        };
        self.room_bytes().max(last_bytes).saturating_sub(self.config.segment_bytes / 4)
    }

    /// Whether no further segment can be had for the moment.
    pub fn is_full(&self) -> bool {
        matches!(self.space, Space::Refused { .. })
    }

    /// What has to be written next has no place, and nothing is under way that could make one: it waits for somebody to make space.
    pub fn is_stuck(&self) -> bool {
        let is_refused = matches!(self.space, Space::Refused { .. }) && !self.may_take_last;
        let is_idle = self.log_job.is_none() && self.background_job.is_none();
        let has_no_place = self.front_batch().is_some_and(|(bytes, _)| !self.fits(bytes));
        is_refused && is_idle && has_no_place
    }

    /// The next segment is there for the taking.
    fn has_next(&self) -> bool {
        self.space == Space::Ready || self.active.is_none()
    }

    pub(super) fn may_create(&self, now_mono_ms: u64) -> bool {
        // A spare that is being made will be there for the taking.
        let is_preparing = matches!(self.background_job, Some((_, BackgroundAction::Prepare)));
        let is_refused =
            matches!(self.space, Space::Refused { retry_ms } if retry_ms > now_mono_ms);
        !is_preparing && (!is_refused || self.may_take_last)
    }

    /// A spare is asked for when half of the segment is used, so that a full disk is known before an accepted put has no place to go.
    pub(super) fn wants_prepare(&self, now_mono_ms: u64) -> bool {
        let is_creating = matches!(self.log_job, Some((_, LogAction::Create { .. })));
        let due = match self.space {
            Space::Unknown => !self.has_last || self.room_bytes() < self.config.segment_bytes / 2,
            Space::Ready => false,
            Space::Refused { retry_ms } => retry_ms <= now_mono_ms,
        };
        let is_full = matches!(self.space, Space::Refused { .. });
        (due || self.is_awaited) && (self.active.is_some() || is_full) && !is_creating
    }

    pub(super) fn fits(&self, bytes: u64) -> bool {
        let reserve_bytes = match self.space {
            Space::Refused { .. } => 0,
            Space::Unknown | Space::Ready => self.config.reserve_bytes(),
        };
        self.room_bytes() >= bytes.saturating_add(reserve_bytes)
    }

    /// What is left in the active segment, reserve included.
    pub(super) fn room_bytes(&self) -> u64 {
        match (&self.active, self.segments.back()) {
            (Some(_), Some(back)) => back.file_bytes.saturating_sub(back.used_bytes),
            _ => 0,
        }
    }

    /// What is appended and not yet written, and a put of a body of that many bytes.
    fn needed_bytes(&self, bytes: u64) -> u64 {
        let open_bytes = if self.open.is_empty() { 0 } else { self.open.bytes };
        let pending_bytes: u64 = self.sealed.iter().map(|batch| batch.bytes).sum();
        let put_bytes = bytes.saturating_add(OVERHEAD_BYTES + META_ALLOWANCE_BYTES);
        put_bytes.saturating_add(pending_bytes + open_bytes)
    }
}
