//! Emptying the oldest segment: what is still needed in it is appended again, then its file goes.
//!
//! The segment is read from the disk by the shell, in the background, and walked here in steps, so that no lock section is long.
//! Must not: decide when a segment goes; the journal does.

use alloc::vec::Vec;

use kqueue_engine::{RecordBuf, Seq};
use kqueue_journal::{Job, RawRecord, Retire, replay_segment};

use crate::broker::Broker;

/// Records that one step appends again at most.
const STEP_RECORDS: usize = 256;
/// Bytes of bodies that one step appends again at most, beyond the first.
const STEP_BYTES: u64 = 1024 * 1024;

/// A segment on its way out. Read it ([`Retirement::read`]), give the bytes to [`Retirement::load`], then [`Broker::retire_step`] until it says that it is done.
#[derive(Debug)]
pub struct Retirement {
    retire: Retire,
    /// To be run by the shell; the bytes that it reads go to [`Retirement::load`].
    pub read: Job,
    records: Vec<Kept>,
    at: usize,
}

/// A record that may still be referred to.
#[derive(Debug)]
struct Kept {
    seq: Seq,
    kind: u8,
    meta: Vec<u8>,
    body_bytes: u64,
}

impl Retirement {
    /// Finds the records in the bytes of the segment. Takes a while and needs no lock. What cannot be read was damaged since it was loaded: the queues have it
    /// in memory, and the segment stays as long as anything in it is referred to.
    pub fn load(&mut self, file: &[u8]) {
        let records = &mut self.records;
        let mut keep = |raw: RawRecord<'_>| {
            let refers =
                RecordBuf::decode(raw.kind, raw.meta).is_ok_and(|record| record.references() > 0);
            if refers {
                records.push(Kept {
                    seq: Seq(raw.seq.0),
                    kind: raw.kind,
                    meta: raw.meta.to_vec(),
                    body_bytes: raw.body.len() as u64,
                });
            }
        };
        // A header that cannot be read any more leaves no record: the segment stays.
        let _ = replay_segment(file, self.retire.end_seq, &mut keep);
    }
}

impl Broker {
    /// A segment that has to be emptied, if there is one. One that holds nothing needed goes by itself.
    pub fn poll_retire(&mut self) -> Option<Retirement> {
        loop {
            let retire = self.log.writer.poll_retire()?;
            if !retire.needs_rerecord {
                self.log.writer.retire_done(retire.segment);
                return None;
            }
            if let Some(read) = self.log.writer.read_job(retire.segment) {
                return Some(Retirement { retire, read, records: Vec::new(), at: 0 });
            }
        }
    }

    /// Appends some of what is still needed again; true once all of it is. Let what was appended be written before the next step.
    pub fn retire_step(&mut self, retirement: &mut Retirement) -> bool {
        let mut bytes = 0;
        let end = retirement.records.len().min(retirement.at + STEP_RECORDS);
        while retirement.at < end && bytes < STEP_BYTES {
            let kept = &retirement.records[retirement.at];
            retirement.at += 1;
            let before = self.log.writer.last_seq();
            if let Ok(record) = RecordBuf::decode(kept.kind, &kept.meta) {
                self.engine.rerecord(kept.seq, &record, &mut self.log);
            }
            if self.log.writer.last_seq() > before {
                bytes += kept.body_bytes;
            }
        }
        if retirement.at < retirement.records.len() {
            return false;
        }
        self.log.writer.retire_done(retirement.retire.segment);
        true
    }
}
