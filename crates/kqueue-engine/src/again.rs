//! Items whose segment is to go: their records are written again, and the queues look for them there from then on.
//!
//! A record is written first and counts once it is on the disk: until then a cold item is where it was, so that it can be read. The two steps are
//! [`Engine::rerecord`] and [`Moves::settle`].
//! Must not: know segments; decide what goes.

use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::cold::ColdItem;
use crate::engine::{Engine, Slot};
use crate::extra::Extra;
use crate::queue::Item;
use crate::record::{PutBuf, PutRecord, Record, RecordBuf, Recorder};
use crate::types::{QueueNo, Seq};

/// Cold items whose new record is not on the disk yet.
#[derive(Debug, Default)]
pub struct Moves(Vec<Move>);

#[derive(Debug)]
struct Move {
    queue: QueueNo,
    id: u64,
    bytes: u64,
    old: (Seq, u32),
    new: (Seq, u32),
    /// What was written again of the queue before it.
    previous: Seq,
}

/// An item as its record says.
struct Recorded<'a> {
    seq: Seq,
    put: &'a PutBuf,
    body: &'a Bytes,
    body_crc: u32,
    share: u32,
}

/// One queue that still has it.
#[derive(Clone, Copy)]
struct Owner {
    slot: Slot,
    no: QueueNo,
    home: Option<QueueNo>,
    attempts: u32,
    is_cold: bool,
}

impl Engine {
    /// Writes a record of a segment that is to go again, as far as something still refers to it. `seq` is its present place, `share` what one reference to it
    /// keeps alive.
    #[expect(clippy::too_many_arguments, reason = "all of it is what a record consists of")]
    pub fn rerecord(
        &mut self,
        seq: Seq,
        record: &RecordBuf<'_>,
        body: &Bytes,
        body_crc: u32,
        share: u32,
        moves: &mut Moves,
        rec: &mut impl Recorder,
    ) {
        let RecordBuf::Put(put) = record else { return };
        let recorded = Recorded { seq, put, body, body_crc, share };
        let mut left: SmallVec<[Owner; 4]> = SmallVec::new();
        for (index, &no) in put.queues.iter().enumerate() {
            left.extend(self.owner(no, put.homes.get(index).copied(), &recorded));
        }
        // Copies of an item share one record as long as they were delivered equally often.
        while let Some(&Owner { attempts, .. }) = left.first() {
            let (same, others) = left
                .into_iter()
                .partition::<SmallVec<[_; 4]>, _>(|owner| owner.attempts == attempts);
            left = others;
            self.rerecord_for(&recorded, &same, attempts, moves, rec);
        }
    }

    fn owner(
        &mut self,
        no: QueueNo,
        home: Option<QueueNo>,
        recorded: &Recorded<'_>,
    ) -> Option<Owner> {
        let slot = *self.by_number.get(&no.0)?;
        let (id, seq) = (recorded.put.id.0, recorded.seq);
        if let Some(item) = self.find_anywhere(slot, id) {
            let attempts = item.attempts;
            return (item.seq == seq).then_some(Owner { slot, no, home, attempts, is_cold: false });
        }
        let cold = self.queue(slot).cold()?;
        cold.find(id, seq.0)?;
        let attempts = cold.attempts.get(&id).copied().unwrap_or(recorded.put.attempts);
        Some(Owner { slot, no, home, attempts, is_cold: true })
    }

    fn rerecord_for(
        &mut self,
        recorded: &Recorded<'_>,
        owners: &[Owner],
        attempts: u32,
        moves: &mut Moves,
        rec: &mut impl Recorder,
    ) {
        let numbers: SmallVec<[QueueNo; 4]> = owners.iter().map(|owner| owner.no).collect();
        let homes: SmallVec<[QueueNo; 4]> = owners.iter().filter_map(|owner| owner.home).collect();
        let put = recorded.put;
        // The key is written down with the other ones.
        let extra = Extra { key: None, ..put.extra.clone() };
        let new = rec.record(&Record::Put(PutRecord {
            old: Some(recorded.seq),
            from: None,
            id: put.id,
            flags: put.flags,
            put_ms: put.put_ms,
            expiry_ms: put.expiry_ms,
            attempts,
            queues: &numbers,
            lane: put.lane,
            homes: &homes,
            extra: &extra,
            body: recorded.body,
            body_crc: recorded.body_crc,
        }));
        for owner in owners {
            let queue = self.queue_mut(owner.slot);
            queue.counters.rewritten_items += 1;
            let previous = core::mem::replace(&mut queue.last_again, new.seq);
            if owner.is_cold {
                moves.0.push(Move {
                    queue: owner.no,
                    id: put.id.0,
                    bytes: recorded.body.len() as u64,
                    old: (recorded.seq, recorded.share),
                    new: (new.seq, new.share),
                    previous,
                });
            } else if let Some(item) = self.find_anywhere(owner.slot, put.id.0) {
                rec.unref(item.seq, 1, u64::from(item.share));
                (item.seq, item.share) = (new.seq, new.share);
            }
        }
    }

    /// An item of a queue in memory, waiting or open.
    pub(crate) fn find_anywhere(&mut self, slot: Slot, id: u64) -> Option<&mut Item> {
        let owner = self.queue(slot).open.get(&id).copied();
        match owner {
            None => self.queue_mut(slot).find_mut(id),
            Some(session) => self
                .held
                .get_mut(&session)?
                .iter_mut()
                .find(|held| held.slot == slot && held.item.id == id)
                .map(|held| &mut held.item),
        }
    }

    /// A cold item is at a new place. Answers how many items before it were not found; `None` if it is not where it was.
    pub(crate) fn move_cold(
        &mut self,
        slot: Slot,
        old: ColdItem,
        new: ColdItem,
        previous: Seq,
        rec: &mut impl Recorder,
    ) -> Option<u64> {
        let queue = self.queue_mut(slot);
        let index = queue.cold().and_then(|cold| cold.find(old.id, old.seq))?;
        let cold = queue.cold_mut();
        // Segments are read from front to back: what lies before the item in its extent was moved before, or is not alive.
        let (lost, rest) = cold.cut_front(index, old);
        cold.insert_before(index, new, previous, rec);
        queue.counters.damaged_items += lost;
        rec.unref(Seq(old.seq), 1 + lost, old.cost + rest);
        Some(lost)
    }
}

impl Moves {
    /// What was written again is on the disk: it counts from now on. Answers how many other items turned out to be lost: they should have been between those
    /// that were written again.
    pub fn settle(&mut self, engine: &mut Engine, rec: &mut impl Recorder) -> u64 {
        let mut all_lost = 0;
        for Move { queue, id, bytes, old, new, previous } in self.0.drain(..) {
            let slot = engine.by_number.get(&queue.0).copied();
            let mut is_moved = false;
            if let Some(slot) = slot {
                let of = |(seq, share): (Seq, u32)| ColdItem {
                    id,
                    seq: seq.0,
                    bytes,
                    cost: u64::from(share),
                    follows: true,
                };
                let lost = engine.move_cold(slot, of(old), of(new), previous, rec);
                is_moved = lost.is_some();
                all_lost += lost.unwrap_or(0);
                // It may have been read into memory meanwhile.
                if !is_moved
                    && let Some(item) = engine.find_anywhere(slot, id)
                    && item.seq == old.0
                {
                    rec.unref(item.seq, 1, u64::from(item.share));
                    (item.seq, item.share) = new;
                    is_moved = true;
                }
            }
            if !is_moved {
                rec.unref(new.0, 1, u64::from(new.1));
            }
        }
        all_lost
    }
}
