//! The engine's records on their way into the journal: encoding, sequence numbers, references.
//!
//! Deliveries and removals are gathered until something else is appended or the disk is ready for more: one record then names many items of a queue. On a full disk they are
//! gathered for as long as they may stay unsynced, since what they may be written to is little, and they are what gives space back.
//!
//! Invariants: a record's references are counted from the moment it is appended, so that its segment is never freed under it. No record overtakes another one, but for
//! removals and deliveries that follow each other; no segment is said to be free before the removals that made it so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use kqueue_engine::{ItemId, QueueNo, Reason, Record, Recorded, Recorder, Seq};
use kqueue_journal::{HEAD_BYTES, Job, Writer};

/// On a full disk what was removed is written after so long, in milliseconds.
const HELD_MS: u64 = 1000;
/// More than so many removals and deliveries are not gathered on a full disk.
const HELD_MAX: usize = 100_000;

/// The journal's writer as the engine sees it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) writer: Writer,
    meta: Vec<u8>,
    gathered: BTreeMap<u64, Gathered>,
    gathered_items: usize,
    /// When what is gathered must be on the disk, on the monotonic clock.
    sync_due_ms: Option<u64>,
    /// Something moved, was delivered or is gone, and nobody has asked for a sync since.
    is_unsynced: bool,
    /// When what is gathered leaves although the disk is full, on the monotonic clock.
    held_until_ms: Option<u64>,
}

/// What became of items of one queue.
#[derive(Debug, Default)]
struct Gathered {
    removed: Vec<(Reason, u64)>,
    attempts: BTreeMap<u64, u32>,
}

impl Log {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer,
            meta: Vec::with_capacity(256),
            gathered: BTreeMap::new(),
            gathered_items: 0,
            sync_due_ms: None,
            is_unsynced: false,
            held_until_ms: None,
        }
    }

    /// Everything recorded so far, what is gathered included, must be on the disk within `within_ms`.
    pub(crate) fn require_sync(&mut self, now_mono_ms: u64, within_ms: u64) {
        if within_ms == 0 {
            self.flush();
        }
        if self.gathered.is_empty() {
            return self.writer.require_sync(now_mono_ms, within_ms);
        }
        let due_ms = now_mono_ms.saturating_add(within_ms);
        self.sync_due_ms = Some(self.sync_due_ms.map_or(due_ms, |earlier| earlier.min(due_ms)));
    }

    /// Whether everything recorded so far has been appended.
    pub(crate) fn is_flushed(&self) -> bool {
        self.gathered.is_empty()
    }

    /// Whether something moved, was delivered or is gone since this was asked for last. Who caused it need not have asked for a sync: it may have been a timer.
    pub(crate) fn take_unsynced(&mut self) -> bool {
        core::mem::take(&mut self.is_unsynced)
    }

    /// The next disk job, see [`Writer::poll_job`].
    pub(crate) fn poll_job(&mut self, now_mono_ms: u64) -> Option<Job> {
        if !self.gathered.is_empty() && !self.may_gather_more(now_mono_ms) {
            self.flush();
        }
        self.writer.poll_job(now_mono_ms)
    }

    /// When a job may become due by itself, on the monotonic clock.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let held = self.held_until_ms.filter(|_| !self.gathered.is_empty());
        match (self.writer.poll_timeout(), held) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn may_gather_more(&mut self, now_mono_ms: u64) -> bool {
        if self.writer.may_free() || self.gathered_items > HELD_MAX {
            return false;
        }
        if self.writer.is_busy() {
            return true;
        }
        if !self.writer.is_full() {
            return false;
        }
        let until_ms =
            *self.held_until_ms.get_or_insert_with(|| now_mono_ms.saturating_add(HELD_MS));
        now_mono_ms < until_ms
    }

    /// Appends what is gathered.
    pub(crate) fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        for (queue, gathered) in core::mem::take(&mut self.gathered) {
            self.append_gathered(QueueNo(queue), gathered);
        }
        self.gathered_items = 0;
        self.held_until_ms = None;
        if let Some(due_ms) = self.sync_due_ms.take() {
            self.writer.require_sync(due_ms, 0);
        }
    }

    fn append_gathered(&mut self, queue: QueueNo, gathered: Gathered) {
        let Gathered { mut removed, attempts } = gathered;
        let attempts: Vec<(u64, u32)> = attempts.into_iter().collect();
        for some in attempts.chunks(Record::MANY_MAX) {
            match *some {
                [(id, attempts)] => {
                    self.append(&Record::Attempted { queue, id: ItemId(id), attempts })
                }
                _ => self.append(&Record::AttemptedMany { queue, attempts: some }),
            };
        }
        removed.sort_unstable();
        for alike in removed.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(reason, _)) = alike.first() else { continue };
            let ids: Vec<u64> = alike.iter().map(|(_, id)| *id).collect();
            for some in ids.chunks(Record::MANY_MAX) {
                match *some {
                    [id] => self.append(&Record::Removed { queue, id: ItemId(id), reason }),
                    _ => self.append(&Record::RemovedMany { queue, reason, ids: some }),
                };
            }
        }
    }

    fn append(&mut self, record: &Record<'_>) -> Recorded {
        self.meta.clear();
        record.encode(&mut self.meta);
        let seq = self.writer.append(record.kind(), &self.meta, record.body(), record.body_crc());
        let references = record.references();
        let mut share = 0;
        if references > 0 {
            share =
                share_of(self.meta.len(), record.body().map_or(0, |body| body.len()), references);
            let refs = u64::from(references);
            self.writer.add_ref(seq, refs, refs * u64::from(share));
        }
        Recorded { seq: Seq(seq.0), share }
    }
}

/// What one of a record's references keeps alive, in bytes.
pub(crate) fn share_of(meta_bytes: usize, body_bytes: usize, references: u32) -> u32 {
    let bytes = (HEAD_BYTES + meta_bytes + body_bytes) as u64;
    u32::try_from(bytes / u64::from(references.max(1))).unwrap_or(u32::MAX)
}

fn journal_seq(seq: Seq) -> kqueue_journal::Seq {
    kqueue_journal::Seq(seq.0)
}

impl Recorder for Log {
    /// Not less than what the next record will get, and more than any record has: good enough for ids that rise.
    fn next_seq(&self) -> Seq {
        Seq(self.writer.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Recorded {
        self.is_unsynced |= match record {
            Record::Removed { .. } | Record::Attempted { .. } => true,
            Record::Put(put) => put.from.is_some(),
            _ => false,
        };
        match *record {
            Record::Removed { queue, id, reason } => {
                let gathered = self.gathered.entry(queue.0).or_default();
                // How often it was delivered does not matter any more.
                gathered.attempts.remove(&id.0);
                gathered.removed.push((reason, id.0));
            }
            Record::Attempted { queue, id, attempts } => {
                self.gathered.entry(queue.0).or_default().attempts.insert(id.0, attempts);
            }
            _ => {
                self.flush();
                return self.append(record);
            }
        }
        self.gathered_items += 1;
        Recorded { seq: self.next_seq(), share: 0 }
    }

    fn has_room(&self, body_bytes: u64) -> bool {
        self.writer.has_room_for_moves(body_bytes)
    }

    fn is_full(&self) -> bool {
        self.writer.is_full() || self.writer.progress().poisoned
    }

    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.writer.add_ref(journal_seq(seq), refs, bytes);
    }

    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        unref(&mut self.writer, seq, refs, bytes);
    }

    fn segment_end(&self, seq: Seq) -> Seq {
        segment_end(&self.writer, seq)
    }

    fn has_segment(&self, seq: Seq) -> bool {
        has_segment(&self.writer, seq)
    }

    fn offset_near(&self, seq: Seq) -> u64 {
        self.writer.offset_near(journal_seq(seq))
    }
}

fn has_segment(writer: &Writer, seq: Seq) -> bool {
    seq.0 > writer.last_seq().0 || writer.segment_of(journal_seq(seq)).is_some()
}

fn unref(writer: &mut Writer, seq: Seq, refs: u64, bytes: u64) {
    if seq != Seq(0) {
        writer.unref(journal_seq(seq), refs, bytes);
    }
}

fn segment_end(writer: &Writer, seq: Seq) -> Seq {
    Seq(writer.segment_end(journal_seq(seq)).0)
}

/// The journal during replay: references come and go, nothing is appended.
pub(crate) struct References<'a>(pub(crate) &'a mut Writer);

impl Recorder for References<'_> {
    fn next_seq(&self) -> Seq {
        Seq(self.0.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Recorded {
        unreachable!("replay records nothing, but tried kind {}", record.kind())
    }

    fn has_room(&self, _body_bytes: u64) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }

    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.0.add_ref(journal_seq(seq), refs, bytes);
    }

    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        unref(self.0, seq, refs, bytes);
    }

    fn segment_end(&self, seq: Seq) -> Seq {
        segment_end(self.0, seq)
    }

    fn has_segment(&self, seq: Seq) -> bool {
        self.0.segment_of(journal_seq(seq)).is_some()
    }

    fn offset_near(&self, seq: Seq) -> u64 {
        self.0.offset_near(journal_seq(seq))
    }
}
