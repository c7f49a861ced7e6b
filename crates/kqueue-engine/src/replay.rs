//! The log read back, and old records written again.
//!
//! Invariants
//! - Replay is idempotent per (queue, item): a put that was appended again counts once, with its newer record.
//! - A record may stand before the definition of its queue (the definition was appended again when its segment was retired): the queue exists by number
//!   until its name comes; a queue whose name never comes was deleted in a segment that is gone.
//! - After replay nothing is open: what was open is ready again, at its place.
//!
//! Must not: judge damage; what arrives here had right checksums.

use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::config::master_of;
use crate::engine::{Engine, Slot};
use crate::queue::{Item, Queue};
use crate::record::{Record, RecordBuf, Recorder};
use crate::types::{ItemId, QueueNo, Seq};

impl Engine {
    /// Applies a record from the log. `body` and `body_crc` are those of a put. `rec` hears which older records lost a reference; the references of the
    /// record itself are the caller's to add before ([`RecordBuf::references`]).
    pub fn replay(
        &mut self,
        seq: Seq,
        record: RecordBuf<'_>,
        body: &Bytes,
        body_crc: u32,
        rec: &mut impl Recorder,
    ) {
        match record {
            RecordBuf::QueueCreated { queue, name } => self.replay_created(seq, queue, name, rec),
            RecordBuf::QueueDeleted { queue } => {
                if let Some(slot) = self.by_number.get(&queue.0).copied() {
                    self.drop_replayed(slot, rec);
                }
            }
            RecordBuf::Put { id, flags, put_ms, expiry_ms, attempts, queues } => {
                for queue in queues {
                    let item = Item {
                        id: id.0,
                        seq,
                        put_ms,
                        expiry_ms,
                        flags,
                        attempts,
                        body: body.clone(),
                        body_crc,
                    };
                    self.replay_put(queue, item, rec);
                }
            }
            RecordBuf::Removed { queue, id, .. } => self.replay_removed(queue, id.0, rec),
            RecordBuf::Flushed { queue, through, except } => {
                self.replay_flushed(queue, through, &except, rec);
            }
            RecordBuf::Attempted { queue, id, attempts } => {
                let slot = self.by_number.get(&queue.0).copied();
                if let Some(item) = slot.and_then(|slot| self.queue_mut(slot).find_mut(id.0)) {
                    item.attempts = attempts;
                }
            }
        }
    }

    /// A queue known by number only has an empty name, which no client can say.
    fn slot_of(&mut self, queue: QueueNo) -> Slot {
        match self.by_number.get(&queue.0) {
            Some(&slot) => slot,
            None => self.insert_nameless(queue),
        }
    }

    fn insert_nameless(&mut self, queue: QueueNo) -> Slot {
        self.queues.push(Some(Queue::new(
            queue,
            Bytes::new(),
            Seq(0),
            self.table.defaults.clone(),
        )));
        let slot = (self.queues.len() - 1) as Slot;
        self.by_number.insert(queue.0, slot);
        slot
    }

    fn replay_created(&mut self, seq: Seq, queue: QueueNo, name: &[u8], rec: &mut impl Recorder) {
        let slot = self.slot_of(queue);
        let definition = core::mem::replace(&mut self.queue_mut(slot).definition, seq);
        if definition != Seq(0) {
            rec.unref(definition);
            return;
        }
        if let Some(older) = self.by_name.get(name).copied() {
            self.drop_replayed(older, rec);
        }
        self.name_queue(slot, name);
    }

    /// A queue known by number gets its name. An older queue of that name whose deletion was lost with a damaged record goes: clients saw it go.
    fn name_queue(&mut self, slot: Slot, name: &[u8]) {
        let name = Bytes::copy_from_slice(name);
        let config = self.table.resolve(&name);
        let queue = self.queue_mut(slot);
        queue.name = name.clone();
        queue.config = config;
        let may_expire = queue.items().any(|item| queue.can_expire(item));
        if may_expire {
            self.expiring.insert(slot);
        }
        if let Some(master) = master_of(&name) {
            self.children.entry(Bytes::copy_from_slice(master)).or_default().push(slot);
        }
        self.by_name.insert(name, slot);
    }

    fn replay_put(&mut self, queue: QueueNo, item: Item, rec: &mut impl Recorder) {
        let slot = self.slot_of(queue);
        if let Some(old) = self.queue_mut(slot).find_mut(item.id) {
            let old = core::mem::replace(old, item);
            rec.unref(old.seq);
        } else {
            self.add(slot, item);
        }
    }

    fn replay_removed(&mut self, queue: QueueNo, id: u64, rec: &mut impl Recorder) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let queue = self.queue_mut(slot);
        if let Some(item) = queue.remove(id) {
            queue.counters.total_items -= 1;
            rec.unref(item.seq);
        }
    }

    fn replay_flushed(
        &mut self,
        queue: QueueNo,
        through: ItemId,
        except: &[ItemId],
        rec: &mut impl Recorder,
    ) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let queue = self.queue_mut(slot);
        let gone: Vec<u64> = queue
            .items()
            .map(|item| item.id)
            .filter(|&id| id <= through.0 && !except.contains(&ItemId(id)))
            .collect();
        for id in gone {
            if let Some(item) = queue.remove(id) {
                queue.counters.total_items -= 1;
                rec.unref(item.seq);
            }
        }
    }

    /// Ends replay: queues without a name go, and the counters of what happened before are forgotten but for what is there.
    pub fn finish_replay(&mut self, rec: &mut impl Recorder) {
        let nameless: Vec<Slot> = self
            .by_number
            .values()
            .copied()
            .filter(|&slot| self.queue(slot).name.is_empty())
            .collect();
        for slot in nameless {
            self.drop_replayed(slot, rec);
        }
        self.counters.total_items = 0;
        self.counters.queue_deletes = 0;
        self.counters.queue_creates = self.by_number.len() as u64;
    }

    fn drop_replayed(&mut self, slot: Slot, rec: &mut impl Recorder) {
        let Some(queue) = self.queues[slot as usize].take() else { return };
        queue.items().for_each(|item| rec.unref(item.seq));
        if queue.definition != Seq(0) {
            rec.unref(queue.definition);
        }
        self.forget(slot, &queue);
    }

    /// Appends a record of a segment that is to go again, as far as something still refers to it. `seq` is its present place.
    pub fn rerecord(&mut self, seq: Seq, record: &RecordBuf<'_>, rec: &mut impl Recorder) {
        match record {
            RecordBuf::QueueCreated { queue, .. } => self.rerecord_definition(seq, *queue, rec),
            RecordBuf::Put { id, queues, .. } => self.rerecord_put(seq, *id, queues, rec),
            _ => {}
        }
    }

    fn rerecord_definition(&mut self, seq: Seq, queue: QueueNo, rec: &mut impl Recorder) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let queue = self.queue_mut(slot);
        if queue.definition != seq {
            return;
        }
        queue.definition = rec.record(&Record::QueueCreated { queue: queue.no, name: &queue.name });
        rec.unref(seq);
    }

    /// Copies of an item share one record as long as they were delivered equally often.
    fn rerecord_put(&mut self, seq: Seq, id: ItemId, queues: &[QueueNo], rec: &mut impl Recorder) {
        let mut left: SmallVec<[(QueueNo, Slot, u32); 4]> = SmallVec::new();
        for queue in queues {
            let Some(slot) = self.by_number.get(&queue.0).copied() else { continue };
            if let Some(item) = self.find_anywhere(slot, id.0).filter(|item| item.seq == seq) {
                left.push((*queue, slot, item.attempts));
            }
        }
        while let Some(&(_, slot, attempts)) = left.first() {
            let (same, others) =
                left.into_iter().partition::<SmallVec<[_; 4]>, _>(|entry| entry.2 == attempts);
            left = others;
            let numbers: SmallVec<[QueueNo; 4]> = same.iter().map(|&(queue, ..)| queue).collect();
            let Some(item) = self.find_anywhere(slot, id.0).cloned() else { return };
            let new_seq = rec.record(&Record::Put {
                id,
                flags: item.flags,
                put_ms: item.put_ms,
                expiry_ms: item.expiry_ms,
                attempts,
                queues: &numbers,
                body: &item.body,
                body_crc: item.body_crc,
            });
            for &(_, slot, _) in &same {
                if let Some(item) = self.find_anywhere(slot, id.0) {
                    item.seq = new_seq;
                    rec.unref(seq);
                }
            }
        }
    }

    /// An item of a queue, waiting or open.
    fn find_anywhere(&mut self, slot: Slot, id: u64) -> Option<&mut Item> {
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
}

impl RecordBuf<'_> {
    /// See [`Record::references`].
    pub fn references(&self) -> u32 {
        match self {
            Self::QueueCreated { .. } => 1,
            Self::Put { queues, .. } => queues.len() as u32,
            _ => 0,
        }
    }
}
