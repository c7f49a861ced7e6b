//! Work that keeps the log short: checkpoints, and emptying a segment of which little is alive.
//!
//! Both go on in steps, so that no lock section is long; what a step appended has to be written before the next one, so that they never pile up in memory.
//! Must not: decide when either is due; the journal does.

use alloc::vec::Vec;

use kqueue_engine::{Moves, QueueNo, RecordBuf};
use kqueue_journal::Retire;

use crate::broker::Broker;
use crate::read::{BadPlace, Kept, Pieces, SegmentRead, kept_records};

/// Records that one step looks at, at most.
const STEP_RECORDS: usize = 256;
/// Bytes of bodies that one step appends at most, beyond the first.
const STEP_BYTES: usize = 128 * 1024;
/// Queues of which one step writes something down.
const STEP_QUEUES: usize = 256;
/// Keys of puts that are written down in one step.
const STEP_KEYS: usize = 1500;

/// A segment that is being emptied. The shell calls [`Broker::retire_step`] and does what it says.
#[derive(Debug)]
pub struct Retirement {
    retire: Retire,
    pieces: Pieces,
    records: Vec<Kept>,
    at: usize,
    moves: Moves,
    lost: u64,
}

/// What has to be done before the next step of a retirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireStep {
    /// Read this and give it to [`Retirement::feed`].
    Read(SegmentRead),
    /// Wait until everything appended is written.
    Write,
    /// Nothing: it is over.
    Done,
}

impl Retirement {
    /// The segment.
    pub fn segment(&self) -> u64 {
        self.retire.segment
    }

    /// Takes what was read. Takes a while and needs no lock.
    pub fn feed(&mut self, piece: &[u8]) {
        self.records.clear();
        self.at = 0;
        kept_records(&mut self.pieces, piece, &mut self.records);
    }

    /// The segment cannot be read: what is left in it stays there.
    pub fn give_up(&mut self) {
        self.pieces.is_over = true;
        self.records.clear();
        self.at = 0;
    }

    /// At the end: places found that cannot be read any more and held something, and how many items are lost for sure.
    pub fn take_bad(&mut self) -> (Vec<BadPlace>, u64) {
        (core::mem::take(&mut self.pieces.bad), self.lost)
    }
}

/// A checkpoint in the making. The shell calls [`Broker::checkpoint_step`] until it is done.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint(Phase);

#[derive(Clone, Copy, Debug)]
enum Phase {
    Segments(u64),
    Definitions(QueueNo),
    States(QueueNo),
    Keys(u64),
}

impl Broker {
    /// A segment that has to be emptied, if there is one. One that holds nothing needed goes by itself.
    pub fn poll_retire(&mut self) -> Option<Retirement> {
        let retire = self.log.writer.poll_retire()?;
        Some(Retirement {
            retire,
            pieces: Pieces::new(&retire.place),
            records: Vec::new(),
            at: 0,
            moves: Moves::default(),
            lost: 0,
        })
    }

    /// Goes on with a retirement: everything appended by the last step has been written.
    pub fn retire_step(&mut self, retirement: &mut Retirement) -> RetireStep {
        if self.log.writer.progress().poisoned {
            return RetireStep::Done;
        }
        let lost = retirement.moves.settle(&mut self.engine, &mut self.log);
        retirement.lost += lost;
        self.damage.damaged_items += lost;
        let before = self.log.writer.last_seq();
        let end = retirement.records.len().min(retirement.at + STEP_RECORDS);
        let mut bytes = 0;
        while retirement.at < end && bytes < STEP_BYTES {
            let kept = &retirement.records[retirement.at];
            retirement.at += 1;
            let last = self.log.writer.last_seq();
            if let Ok(record) = RecordBuf::decode(kept.kind, &kept.meta) {
                let moves = &mut retirement.moves;
                let (body, crc, share) = (&kept.body, kept.body_crc, kept.share);
                self.engine.rerecord(kept.seq, &record, body, crc, share, moves, &mut self.log);
            }
            if self.log.writer.last_seq() > last {
                bytes += kept.body.len();
            }
        }
        if self.log.writer.last_seq() > before || retirement.at < retirement.records.len() {
            return RetireStep::Write;
        }
        if !retirement.pieces.is_over {
            return RetireStep::Read(retirement.pieces.next_read());
        }
        if self.log.writer.retire_done(retirement.retire.segment) && retirement.lost == 0 {
            // Nothing of what could not be read was needed.
            retirement.pieces.bad.clear();
        }
        RetireStep::Done
    }

    /// Whether a checkpoint is due.
    pub fn wants_checkpoint(&self) -> bool {
        let is_wanted = self.log.writer.wants_checkpoint();
        // One that is begun and finds no room would keep all that comes behind it from the disk, for ever.
        is_wanted
            && (!self.log.writer.is_full()
                || self.log.writer.has_room_for_checkpoint(self.engine.checkpoint_bytes()))
    }

    /// How many bytes of the log a start would have to read, about.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.log.writer.bytes_since_checkpoint()
    }

    /// Begins a checkpoint; at most one at a time.
    pub fn begin_checkpoint(&mut self) -> Checkpoint {
        self.log.flush();
        self.log.writer.begin_checkpoint();
        Checkpoint(Phase::Segments(0))
    }

    /// Appends a part of it; true if that was the last one. Let what was appended be written before the next step.
    pub fn checkpoint_step(&mut self, checkpoint: &mut Checkpoint) -> bool {
        let Self { engine, log, .. } = self;
        log.flush();
        let first = QueueNo(0);
        checkpoint.0 = match checkpoint.0 {
            Phase::Segments(from) => match log.writer.checkpoint_segments(from) {
                Some(next) => Phase::Segments(next),
                None => Phase::Definitions(first),
            },
            Phase::Definitions(from) => {
                match engine.checkpoint_definitions(from, STEP_QUEUES, log) {
                    Some(next) => Phase::Definitions(next),
                    None => Phase::States(first),
                }
            }
            Phase::States(from) => match engine.checkpoint_states(from, STEP_QUEUES, log) {
                Some(next) => Phase::States(next),
                None => Phase::Keys(0),
            },
            Phase::Keys(from) => match engine.checkpoint_keys(from, STEP_KEYS, log) {
                Some(next) => Phase::Keys(next),
                None => {
                    self.log.writer.end_checkpoint();
                    self.counters.checkpoints += 1;
                    return true;
                }
            },
        };
        false
    }
}
