//! The writing half: sequence numbers, batches, segments, syncs.
//!
//! Owns what was appended until it is written, the order of disk jobs, and what is known about the disk ([`Progress`]). One log job (write, sync, create)
//! is in flight at a time; what is appended meanwhile gathers for the next one: that is the group commit. One background job (prepare, remove)
//! may be in flight beside it.
//! Invariants
//! - `synced <= written`, both only rise. A batch lies in one segment. Batches leave in the order of their sequence numbers.
//! - A segment is synced before the next one is created.
//! - The last part of a segment (`reserve_bytes`) is used only while no further segment can be created: removals fit in it, puts are refused before
//!   ([`Writer::has_room`]). Nothing that was appended is ever dropped for want of space.
//! - After any other fault no job is handed out any more.
//!
//! Must not: perform I/O, retry a write or a sync, know what a record means.

mod space;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::Seq;
use crate::batch::{Batch, NewRecord};
use crate::checkpoint::Checkpoints;
use crate::config::{ConfigError, WriterConfig};
use crate::format::{HEAD_BYTES, HeadCrc, META_BYTES_MAX, SegmentHeader, VERSION};
use crate::job::{DiskFault, DiskOp, FaultKind, Job, JobId};
use crate::own::{KIND_CHECKPOINT_END, SegmentRecord};
use crate::recovery::{Report, SegmentEnd};
use crate::retire::Freeing;
use crate::segments::{Segment, Segments};
use crate::superblock::Superblock;

/// How long to wait before space is asked for again.
const NO_SPACE_RETRY_MS: u64 = 1000;
/// A batch is closed at this length (unless one record alone is longer): bounds what is left unused at the end of a segment.
const BATCH_BYTES_MAX: u64 = 1024 * 1024;
/// And where segments are short at this part of them: what is left unused at their ends must be little, or emptying segments may never come to an end.
const BATCHES_PER_SEGMENT: u64 = 8;
/// Small batches are cut from a buffer of this length, one after the other.
const BUFFER_BYTES: usize = 64 * 1024;
/// The last flushes of a segment are shorter and shorter, down to such a part of the others.
const LAST_FLUSH: u64 = 16;
/// Spare segments that are wanted: one for the next segment, and one that is kept for what must be written on a full disk.
const SPARES: usize = 2;

/// How far the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Every record up to here has been handed to the operating system: a killed process does not lose it.
    pub written: Seq,
    /// Every record up to here is on the disk.
    pub synced: Seq,
    /// The disk failed: nothing more will be written.
    pub poisoned: bool,
}

/// A segment of the log, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub segment: u64,
    /// The first sequence number in it.
    pub first_seq: Seq,
    /// Length of its file.
    pub file_bytes: u64,
    /// References to records in it.
    pub live_refs: u64,
    /// Bytes (`meta` and body) of the records that are referred to.
    pub live_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Active {
    crc: HeadCrc,
}

/// What is known about space for a further segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Nobody asked yet.
    Unknown,
    /// A spare file is ready.
    Ready,
    /// There was none, or only the one that is kept for removals; to be asked again.
    Refused { retry_ms: u64 },
}

#[derive(Debug)]
enum LogAction {
    Write { through: u64, syncs: bool },
    Sync { through: u64 },
    Create { number: u64, first_seq: u64, salt: u64, superblock: Superblock },
    Super { superblock: Superblock },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackgroundAction {
    Prepare,
    Remove,
    Flush,
}

/// See the module's description.
///
/// Order of calls: [`Writer::new`]; for a log that exists [`Writer::recover_segment`] and [`Writer::recover_read`] per segment and [`Writer::recover_end`]; then `append`,
/// `require_sync`, and after any of them [`Writer::poll_job`] until there is none. Every job is reported with [`Writer::handle_done`].
#[derive(Debug)]
pub struct Writer {
    pub(crate) config: WriterConfig,
    salt_seed: u64,
    pub(crate) next_seq: u64,
    next_segment: u64,
    next_job: u64,
    /// Sequence number of the last record appended (markers do not count).
    pub(crate) last_seq: u64,
    pub(crate) written: u64,
    pub(crate) synced: u64,
    /// What recovery could prove to be synced, for the header of the first segment after it.
    recovered_synced: u64,
    pub(crate) poisoned: bool,
    /// The back is the active one if there is an active one.
    pub(crate) segments: Segments,
    pub(crate) active: Option<Active>,
    /// As it is on the disk.
    pub(crate) superblock: Superblock,
    pub(crate) checkpoints: Checkpoints,
    /// Length of everything appended since start, and of what was replayed before.
    pub(crate) appended_bytes: u64,
    sealed: VecDeque<Batch>,
    open: Batch,
    buffer: BytesMut,
    /// When a sync is due, and up to which record at least.
    sync_due: Option<(u64, u64)>,
    pub(crate) space: Space,
    /// The last spare may be taken although no other can be had: what has to be written does not fit anywhere else.
    may_take_last: bool,
    /// The active segment is that last one: no put goes there.
    on_last: bool,
    /// A put waits for a spare.
    is_awaited: bool,
    /// There is at least one spare, as far as is known.
    has_last: bool,
    /// The segment that is being emptied.
    pub(crate) retiring: Option<u64>,
    pub(crate) freeing: VecDeque<Freeing>,
    pub(crate) remove_retry_ms: u64,
    /// What was written since the last sync or flush began.
    unflushed_bytes: u64,
    log_job: Option<(JobId, LogAction)>,
    background_job: Option<(JobId, BackgroundAction)>,
}

impl Writer {
    /// An empty log. `salt_seed` must be random and new for every start.
    ///
    /// # Errors
    /// See [`WriterConfig::check`].
    pub fn new(config: WriterConfig, salt_seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            salt_seed,
            next_seq: 1,
            next_segment: 1,
            next_job: 1,
            last_seq: 0,
            written: 0,
            synced: 0,
            recovered_synced: 0,
            poisoned: false,
            segments: Segments::new(1),
            active: None,
            superblock: Superblock::default(),
            checkpoints: Checkpoints::default(),
            appended_bytes: 0,
            sealed: VecDeque::new(),
            open: Batch::new(),
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            sync_due: None,
            space: Space::Unknown,
            may_take_last: true,
            on_last: false,
            is_awaited: false,
            has_last: false,
            retiring: None,
            freeing: VecDeque::new(),
            remove_retry_ms: 0,
            unflushed_bytes: 0,
            log_job: None,
            background_job: None,
        })
    }

    /// Takes over a segment that recovery is about to read; in the order of their numbers, before the first append. References to its records can be
    /// added from now on. `file_bytes` is the length of its file. A segment that cannot be read is taken over like any other, see
    /// [`crate::Recovery::unreadable_segment`].
    pub fn recover_segment(&mut self, number: u64, first_seq: Seq, salt: u64, file_bytes: u64) {
        self.next_segment = self.next_segment.max(number.saturating_add(1));
        self.next_seq = self.next_seq.max(first_seq.0);
        // Where the last segment ends is known at the end of recovery.
        self.segments.unplaced_from = u64::MAX;
        let mut segment = Segment::new(number, first_seq.0, salt, file_bytes);
        segment.used_bytes = file_bytes;
        // Its end may never have been synced: it must be before anything is written behind it.
        segment.is_unsynced = true;
        self.segments.push(segment);
    }

    /// What recovery found in the segment that was taken over last.
    pub fn recover_read(&mut self, end: SegmentEnd) {
        if let Some(back) = self.segments.back_mut() {
            back.used_bytes = end.used_bytes;
            back.end_seq = end.end_seq;
            // A checkpoint may have told of the part that was not read.
            let first = end.index.first().map_or(u64::MAX, |first| first.offset);
            back.index.retain(|entry| entry.offset < first);
            back.index.extend(end.index);
            self.appended_bytes += end.read_bytes;
        }
    }

    /// Takes over a segment that is not read at start, as a checkpoint describes it; false if it is known already.
    pub fn recover_data_segment(&mut self, record: SegmentRecord, salt: u64) -> bool {
        if let Some(found) = self.segments.by_number_mut(record.number) {
            if found.index.is_empty() {
                found.index = record.index;
            }
            return false;
        }
        let mut segment = Segment::new(record.number, record.first_seq, salt, record.file_bytes);
        segment.end_seq = record.end_seq;
        segment.used_bytes = record.used_bytes;
        segment.index = record.index;
        self.segments.insert(segment)
    }

    /// A segment that is in no use any more, as the log says.
    pub fn recover_freed(&mut self, number: u64) {
        self.segments.remove(number);
    }

    /// Recovery is over: the log goes on behind what was found, in a new segment. `superblock` is what was read, or as good as what was read.
    ///
    /// What a killed process wrote and did not sync was read from the page cache: it is promised to be on the disk soon, so a sync is due at once.
    pub fn recover_end(&mut self, report: &Report, superblock: Superblock) {
        self.next_seq = self.next_seq.max(report.next_seq.0);
        self.last_seq = self.next_seq - 1;
        self.written = self.last_seq;
        self.synced = self.last_seq.min(report.synced_through.0);
        self.recovered_synced = self.synced;
        self.sync_due = (self.written > self.synced).then_some((0, self.written));
        self.segments.unplaced_from = self.next_seq;
        if let Some(back) = self.segments.back_mut() {
            back.end_seq = self.next_seq;
        }
        self.next_segment = self.next_segment.max(superblock.newest_segment.saturating_add(1));
        self.superblock = superblock;
        self.segments.may_be_dead = true;
    }

    /// Appends a record to the batch. `meta` and body are opaque; `body_crc` is the CRC-32 of the body (0 without one).
    ///
    /// # Panics
    /// If `meta` is longer than [`META_BYTES_MAX`], `meta` and body together than a segment has room for, or `kind` is 252 or more, which are the journal's own:
    /// such a record could never be written or read again, and going on would lose it silently.
    pub fn append(&mut self, kind: u8, meta: &[u8], body: Option<&Bytes>, body_crc: u32) -> Seq {
        assert!(kind < KIND_CHECKPOINT_END, "record kind {kind} is the journal's");
        self.append_any(kind, meta, body, body_crc)
    }

    /// Appends one of the journal's own records.
    pub(crate) fn append_own(&mut self, kind: u8, meta: &[u8]) {
        self.append_any(kind, meta, None, 0);
    }

    fn append_any(&mut self, kind: u8, meta: &[u8], body: Option<&Bytes>, body_crc: u32) -> Seq {
        assert!(meta.len() <= META_BYTES_MAX, "meta of {} bytes is too long", meta.len());
        let payload_bytes = (meta.len() + body.map_or(0, Bytes::len)) as u64;
        // Not `max_record_bytes`: an item may be from a time at which larger ones were accepted.
        let max = self.config.record_room_bytes();
        assert!(
            payload_bytes <= max,
            "record of {payload_bytes} bytes, a segment has at most {max}"
        );

        let limit = BATCH_BYTES_MAX.min(self.config.usable_bytes() / BATCHES_PER_SEGMENT);
        if !self.open.is_empty() && self.open.bytes + payload_bytes + HEAD_BYTES as u64 > limit {
            self.seal_open();
        }
        let record = NewRecord { seq: self.take_seq(), kind, meta, body, body_crc };
        self.last_seq = record.seq;
        self.appended_bytes += record.record_bytes();
        // A poisoned log writes nothing any more: keeping records would only fill the memory.
        if !self.poisoned {
            self.open.push(&mut self.buffer, record);
        }
        Seq(record.seq)
    }

    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn seal_open(&mut self) {
        let marker_seq = self.take_seq();
        let mut batch = core::mem::replace(&mut self.open, Batch::new());
        batch.seal(&mut self.buffer, marker_seq);
        self.sealed.push_back(batch);
    }

    /// Everything appended so far must be on the disk within `within_ms`; 0: with the next job. Several demands make one: the earliest time, all records.
    pub fn require_sync(&mut self, now_mono_ms: u64, within_ms: u64) {
        let covered = match self.log_job {
            Some((_, LogAction::Write { through, syncs: true } | LogAction::Sync { through })) => {
                through
            }
            _ => self.synced,
        };
        if self.last_seq <= covered {
            return;
        }
        let due_ms = now_mono_ms.saturating_add(within_ms);
        let earlier_ms = self.sync_due.map_or(due_ms, |(earlier_ms, _)| earlier_ms.min(due_ms));
        self.sync_due = Some((earlier_ms, self.last_seq));
    }

    /// The next thing to do on the disk, if there is any and its lane is free.
    pub fn poll_job(&mut self, now_mono_ms: u64) -> Option<Job> {
        if self.poisoned {
            return None;
        }
        self.free_dead();
        if self.log_job.is_none()
            && let Some(job) = self.poll_log_job(now_mono_ms)
        {
            return Some(job);
        }
        if self.background_job.is_some() {
            return None;
        }
        if let Some(job) = self.poll_remove(now_mono_ms) {
            return Some(job);
        }
        if self.wants_prepare(now_mono_ms) {
            let op = DiskOp::Prepare { spares: SPARES };
            return Some(self.background_job(BackgroundAction::Prepare, op));
        }
        // Last: on a disk that is slower than who puts, there is always something to flush.
        self.poll_flush()
    }

    /// The job that gives the disk what was written lately, once that is much, or as much as still goes into the segment: everybody waits for the sync at its end.
    fn poll_flush(&mut self) -> Option<Job> {
        let left_bytes = self.room_bytes().saturating_sub(self.config.reserve_bytes());
        let least_bytes = self.config.flush_bytes / LAST_FLUSH;
        let due_bytes = self.config.flush_bytes.min(left_bytes.max(least_bytes));
        if self.unflushed_bytes < due_bytes || self.active.is_none() {
            return None;
        }
        let segment = self.segments.back()?.number;
        self.unflushed_bytes = 0;
        Some(self.background_job(BackgroundAction::Flush, DiskOp::Flush { segment }))
    }

    fn poll_log_job(&mut self, now_mono_ms: u64) -> Option<Job> {
        if let Some(start) = self.durable_start() {
            return Some(self.super_job(Superblock { start, ..self.superblock }));
        }
        let is_due = self.sync_due.is_some_and(|(due_ms, _)| due_ms <= now_mono_ms);
        match self.front_batch() {
            Some((bytes, _)) if self.fits(bytes) => Some(self.write_job(is_due)),
            Some((_, first_seq)) if self.may_create(now_mono_ms) => Some(self.roll_job(first_seq)),
            _ if is_due && self.written > self.synced => self.sync_job(),
            _ => None,
        }
    }

    /// Length and first sequence number of the batch that has to leave next.
    fn front_batch(&self) -> Option<(u64, u64)> {
        let front = self.sealed.front().unwrap_or(&self.open);
        (!front.is_empty()).then_some((front.bytes, front.first_seq))
    }

    /// Writes as many batches as fit; syncs if it is time, or if the rest needs another segment.
    fn write_job(&mut self, is_due: bool) -> Job {
        let mut chunks = Vec::new();
        let mut through = self.written;
        let offset = self.segments.back().map_or(0, |back| back.used_bytes);
        while let Some((bytes, _)) = self.front_batch()
            && self.fits(bytes)
        {
            if self.sealed.is_empty() {
                self.seal_open();
            }
            let (Some(batch), Some(active), Some(back)) =
                (self.sealed.pop_front(), &self.active, self.segments.back_mut())
            else {
                break;
            };
            through = batch.marker_seq;
            back.note_batch(batch.first_seq, back.used_bytes);
            back.used_bytes += batch.bytes;
            self.unflushed_bytes += batch.bytes;
            back.is_unsynced = true;
            self.segments.place_through(through);
            batch.finish(&active.crc, self.synced, &mut chunks);
        }
        let segment = self.segments.back().map_or(0, |back| back.number);
        let syncs = is_due || self.front_batch().is_some();
        let mut ops = Vec::with_capacity(2);
        ops.push(DiskOp::Write { segment, offset, chunks });
        if syncs {
            ops.push(DiskOp::Sync { segment });
            self.unflushed_bytes = 0;
            self.clear_sync_due(through);
        }
        self.log_job(LogAction::Write { through, syncs }, ops)
    }

    /// Towards a new segment: the old one is synced first.
    fn roll_job(&mut self, first_seq: u64) -> Job {
        if self.segments.back().is_some_and(|back| back.is_unsynced)
            && let Some(job) = self.sync_job()
        {
            return job;
        }
        let number = self.next_segment;
        let salt = salt_of(self.salt_seed, number);
        let synced_through =
            if self.active.is_some() { self.synced } else { self.recovered_synced };
        let header = SegmentHeader {
            segment: number,
            first_seq,
            salt,
            segment_bytes: self.config.segment_bytes,
            synced_through,
            version: VERSION,
            is_damaged: false,
        };
        let superblock = Superblock {
            generation: self.superblock.generation + 1,
            newest_segment: number,
            ..self.superblock
        };
        let (slot, bytes) = superblock.encode();
        let ops = [
            DiskOp::Create { segment: number, header: header.encode() },
            DiskOp::WriteSuper { slot, bytes },
        ];
        self.log_job(LogAction::Create { number, first_seq, salt, superblock }, ops.into())
    }

    /// Counts a run: to be done before anything is served, so that no two runs have the same number ([`Superblock::generation`]). It needs no space.
    pub fn begin_run(&mut self) -> Job {
        self.superblock.generation += 1;
        let (slot, bytes) = self.superblock.encode();
        let ops = [DiskOp::WriteSuper { slot, bytes }].into();
        Job { id: self.new_job_id(), ops, is_write_only: false, is_background: false }
    }

    fn super_job(&mut self, superblock: Superblock) -> Job {
        let superblock = Superblock { generation: superblock.generation + 1, ..superblock };
        let (slot, bytes) = superblock.encode();
        self.log_job(LogAction::Super { superblock }, [DiskOp::WriteSuper { slot, bytes }].into())
    }

    fn sync_job(&mut self) -> Option<Job> {
        let segment = self.segments.back()?.number;
        let through = self.written;
        self.unflushed_bytes = 0;
        self.clear_sync_due(through);
        Some(self.log_job(LogAction::Sync { through }, [DiskOp::Sync { segment }].into()))
    }

    fn clear_sync_due(&mut self, through: u64) {
        if self.sync_due.is_some_and(|(_, needed)| needed <= through) {
            self.sync_due = None;
        }
    }

    pub(crate) fn new_job_id(&mut self) -> JobId {
        let id = JobId(self.next_job);
        self.next_job += 1;
        id
    }

    fn log_job(&mut self, action: LogAction, ops: Vec<DiskOp>) -> Job {
        let id = self.new_job_id();
        let is_write_only = matches!(action, LogAction::Write { syncs: false, .. });
        self.log_job = Some((id, action));
        Job { id, ops, is_write_only, is_background: false }
    }

    pub(crate) fn background_job(&mut self, action: BackgroundAction, op: DiskOp) -> Job {
        let id = self.new_job_id();
        self.background_job = Some((id, action));
        Job { id, ops: [op].into(), is_write_only: false, is_background: true }
    }

    /// A job has ended. Unknown ids are ignored.
    pub fn handle_done(&mut self, now_mono_ms: u64, id: JobId, result: Result<(), DiskFault>) {
        if let Some((_, action)) = self.log_job.take_if(|(log, _)| *log == id) {
            self.handle_log_done(now_mono_ms, action, result);
        } else if let Some((_, action)) =
            self.background_job.take_if(|(background, _)| *background == id)
        {
            self.handle_background_done(now_mono_ms, action, result);
        }
    }

    fn handle_log_done(
        &mut self,
        now_mono_ms: u64,
        action: LogAction,
        result: Result<(), DiskFault>,
    ) {
        match (action, result) {
            (LogAction::Write { through, syncs }, Ok(())) => {
                self.written = through;
                if syncs {
                    self.mark_synced(through);
                }
            }
            (LogAction::Sync { through }, Ok(())) => self.mark_synced(through),
            (LogAction::Create { number, first_seq, salt, superblock }, Ok(())) => {
                self.superblock = superblock;
                self.begin_segment(number, first_seq, salt);
            }
            (LogAction::Super { superblock }, Ok(())) => {
                self.superblock = superblock;
                self.checkpoint_is_durable();
            }
            (LogAction::Create { .. }, Err(fault)) if fault.kind == FaultKind::NoSpace => {
                self.may_take_last = false;
                self.refuse_space(now_mono_ms);
            }
            (_, Err(_)) => self.poison(),
        }
    }

    fn handle_background_done(
        &mut self,
        now_mono_ms: u64,
        action: BackgroundAction,
        result: Result<(), DiskFault>,
    ) {
        let retry_ms = now_mono_ms.saturating_add(NO_SPACE_RETRY_MS);
        match (action, result) {
            (BackgroundAction::Prepare, Ok(())) => {
                self.space = Space::Ready;
                self.is_awaited = false;
                (self.may_take_last, self.on_last, self.has_last) = (true, false, true);
            }
            (BackgroundAction::Remove, Ok(())) => self.finish_remove(),
            (BackgroundAction::Flush, Ok(())) => {}
            (BackgroundAction::Remove, Err(fault)) if fault.kind == FaultKind::Later => {
                self.remove_retry_ms = retry_ms;
            }
            (action, Err(fault)) if fault.kind == FaultKind::NoSpace => match action {
                BackgroundAction::Prepare => self.refuse_space(now_mono_ms),
                // Some file systems need space even to free some.
                BackgroundAction::Remove => self.remove_retry_ms = retry_ms,
                // It was not begun. What is written next brings the next one.
                BackgroundAction::Flush => {}
            },
            (_, Err(_)) => self.poison(),
        }
    }

    fn mark_synced(&mut self, through: u64) {
        self.synced = through;
        if let Some(back) = self.segments.back_mut() {
            back.is_unsynced = false;
        }
    }

    fn begin_segment(&mut self, number: u64, first_seq: u64, salt: u64) {
        self.segments.push(Segment::new(number, first_seq, salt, self.config.segment_bytes));
        self.next_segment = number + 1;
        self.active = Some(Active { crc: HeadCrc::new(salt) });
        match self.space {
            Space::Refused { .. } => {
                (self.may_take_last, self.on_last, self.has_last) = (false, true, false);
            }
            Space::Unknown | Space::Ready => self.space = Space::Unknown,
        }
    }

    /// After recovery: the log goes on in the segment that was read last, behind what is in it, and not in a new one. Only for want of space, since it is work: all bytes
    /// from there on, see [`Writer::recover_read`], must have been overwritten with zeros and synced before, and so must its name: the process that made it may have been killed in the middle of that. So nothing is left of
    /// a tail that was cut.
    pub fn go_on_in_last(&mut self) {
        if let Some(back) = self.segments.back_mut() {
            back.end_seq = u64::MAX;
            self.active = Some(Active { crc: HeadCrc::new(back.salt) });
            self.superblock.newest_segment = self.superblock.newest_segment.max(back.number);
        }
    }

    fn poison(&mut self) {
        self.poisoned = true;
        self.sealed = VecDeque::new();
        self.open = Batch::new();
        self.buffer = BytesMut::new();
        self.sync_due = None;
    }

    /// How far the log is.
    pub fn progress(&self) -> Progress {
        Progress { written: Seq(self.written), synced: Seq(self.synced), poisoned: self.poisoned }
    }

    /// When [`Writer::poll_job`] has something to do by itself, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.poisoned {
            return None;
        }
        let mut due = None;
        let mut at = |time_ms: u64| due = Some(due.map_or(time_ms, |due: u64| due.min(time_ms)));
        if self.log_job.is_none() {
            let is_stuck = self.front_batch().is_some_and(|(bytes, _)| !self.fits(bytes));
            match (self.sync_due, self.space) {
                (Some((due_ms, _)), _) if self.written > self.synced || !is_stuck => at(due_ms),
                _ => {}
            }
            match self.space {
                Space::Refused { retry_ms } if is_stuck => at(retry_ms),
                _ => {}
            }
        }
        if self.background_job.is_none() {
            if let Space::Refused { retry_ms } = self.space {
                at(retry_ms);
            }
            if self.remove_retry_ms > 0 && !self.freeing.is_empty() {
                at(self.remove_retry_ms);
            }
        }
        due
    }

    /// Whether a log job is in flight: what is appended now leaves with the next one.
    pub fn is_busy(&self) -> bool {
        self.log_job.is_some()
    }

    /// Whether segments may be free of references: the next [`Writer::poll_job`] appends records that say so.
    pub fn may_free(&self) -> bool {
        self.segments.may_be_dead
    }

    /// Sequence number of the last record appended; commit markers do not count.
    pub fn last_seq(&self) -> Seq {
        Seq(self.last_seq)
    }

    /// The record `seq` is referred to `refs` times more, which keeps `bytes` of it alive.
    pub fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.segments.add_ref(seq.0, refs, bytes);
    }

    /// `refs` references to records are gone, and the `bytes` that they kept alive. The records are all in the segment in which `seq` is.
    pub fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.segments.unref(seq.0, refs, bytes);
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> + '_ {
        self.segments.iter().map(|segment| SegmentInfo {
            segment: segment.number,
            first_seq: Seq(segment.first_seq),
            file_bytes: segment.file_bytes,
            live_refs: segment.refs,
            live_bytes: segment.bytes,
        })
    }

    /// Total length of the segments' files.
    pub fn log_bytes(&self) -> u64 {
        self.segments.file_bytes()
    }

    /// Bytes of all records that are referred to.
    pub fn live_bytes(&self) -> u64 {
        self.segments.live_bytes()
    }

    /// The superblock as it is on the disk.
    pub fn superblock(&self) -> Superblock {
        self.superblock
    }
}

/// A salt of its own for every segment (splitmix64's finalizer over seed and number).
fn salt_of(seed: u64, segment: u64) -> u64 {
    let mut z = seed.wrapping_add(segment.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
