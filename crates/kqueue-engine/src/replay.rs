//! The log read back.
//!
//! Invariants
//! - Replay is idempotent per (queue, item): a put that was appended again counts once, with its newer record.
//! - It may begin in the middle of a life, at a checkpoint: what is said of a queue before its state is replaced by the state, whole. A queue exists by number
//!   until its name comes; one whose name never comes was deleted before, unless items were moved into it.
//! - After replay nothing is open: what was open is ready again, at its place.
//!
//! Must not: judge damage; what arrives here had right checksums.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cold::ColdItem;
use crate::config::master_of;
use crate::engine::{Engine, Slot};
use crate::extra::{KeyHash, Origin};
use crate::load::item_of;
use crate::queue::Item;
use crate::record::{PutBuf, Reason, RecordBuf, Recorder};
use crate::types::{ItemId, QueueNo, Seq};

/// A record that cannot be applied: a state that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadState;

impl Engine {
    /// Applies a record from the log. `body` and `body_crc` are those of a put, `share` is what one reference to it keeps alive. `rec` hears which older records lost
    /// a reference; the references of the record itself are the caller's to add before ([`RecordBuf::references`]).
    ///
    /// # Errors
    /// [`BadState`] for a [`RecordBuf::QueueState`] that cannot be read, and for one queue with two names.
    pub fn replay(
        &mut self,
        seq: Seq,
        record: RecordBuf<'_>,
        body: &Bytes,
        body_crc: u32,
        share: u32,
        rec: &mut impl Recorder,
    ) -> Result<(), BadState> {
        match record {
            RecordBuf::QueueCreated { queue, name } => {
                return self.replay_created(queue, name, rec).ok_or(BadState);
            }
            RecordBuf::QueueDeleted { queue } => {
                if let Some(slot) = self.by_number.get(&queue.0).copied() {
                    self.drop_replayed(slot, rec);
                }
            }
            RecordBuf::Put(put) => self.replay_put_record(seq, put, body, body_crc, share, rec),
            RecordBuf::QueuePaused { queue, is_paused } => {
                let slot = self.slot_of(queue);
                self.queue_mut(slot).is_paused = is_paused;
            }
            RecordBuf::Keys { keys } => {
                keys.into_iter().for_each(|(key, id, put_ms)| self.replay_key(key, put_ms, id));
            }
            RecordBuf::Removed { queue, id, .. } => self.replay_removed(queue, id.0, rec),
            RecordBuf::Flushed { queue, through, except } => {
                self.replay_flushed(queue, ItemId(0), through, &except, rec);
            }
            RecordBuf::FlushedRange { queue, from, through, except } => {
                self.replay_flushed(queue, from, through, &except, rec);
            }
            RecordBuf::Attempted { queue, id, attempts } => {
                self.replay_attempted(queue, id.0, attempts);
            }
            RecordBuf::RemovedMany { queue, ids, .. } => {
                ids.into_iter().for_each(|id| self.replay_removed(queue, id, rec));
            }
            RecordBuf::AttemptedMany { queue, attempts } => {
                attempts.into_iter().for_each(|(id, n)| self.replay_attempted(queue, id, n));
            }
            RecordBuf::QueueState { queue, part } => {
                return self.replay_state(queue, part, rec).ok_or(BadState);
            }
        }
        Ok(())
    }

    fn replay_put_record(
        &mut self,
        seq: Seq,
        put: PutBuf,
        body: &Bytes,
        body_crc: u32,
        share: u32,
        rec: &mut impl Recorder,
    ) {
        if let Some(from) = put.from {
            self.replay_removed(from.queue, from.id.0, rec);
        }
        if let Some(key) = put.extra.key {
            self.replay_key(key, put.put_ms, put.id);
            let home = put.homes.first().or(put.queues.first());
            self.note_key_of_nameless(home.copied(), key, put.id);
        }
        let item = item_of(put.loaded(seq, body.clone(), body_crc, share), put.attempts);
        for (index, &queue) in put.queues.iter().enumerate() {
            let slot = match put.homes.get(index) {
                Some(&home) => self.replay_lane(queue, home, put.lane),
                None => self.slot_of(queue),
            };
            self.replay_put(slot, item.clone(), put.old, rec);
            if let Some(origin) = &put.extra.origin {
                self.note_target(put.homes.get(index).copied().unwrap_or(queue), origin);
            }
        }
        self.note_master(if put.homes.is_empty() { &put.queues } else { &put.homes });
    }

    /// A queue known by number only has an empty name, which no client can say.
    pub(crate) fn slot_of(&mut self, queue: QueueNo) -> Slot {
        match self.by_number.get(&queue.0) {
            Some(&slot) => slot,
            None => self.insert_queue(queue, Bytes::new()),
        }
    }

    /// `None`: the queue has another name.
    fn replay_created(
        &mut self,
        queue: QueueNo,
        name: &[u8],
        rec: &mut impl Recorder,
    ) -> Option<()> {
        let slot = self.slot_of(queue);
        self.queue_mut(slot).is_defined = true;
        if self.queue(slot).name == name {
            return Some(());
        }
        if !self.queue(slot).name.is_empty() {
            return None;
        }
        // An older queue of that name whose deletion was lost with a damaged record goes: clients saw it go.
        if let Some(older) = self.by_name.get(name).copied() {
            self.drop_replayed(older, rec);
        }
        self.name_queue(slot, Bytes::copy_from_slice(name));
        Some(())
    }

    fn replay_put(&mut self, slot: Slot, item: Item, old: Option<Seq>, rec: &mut impl Recorder) {
        self.last_id = self.last_id.max(item.id);
        self.newest_put_ms = self.newest_put_ms.max(item.put_ms);
        let mut previous = Seq(0);
        if old.is_some() {
            previous = core::mem::replace(&mut self.queue_mut(slot).last_again, item.seq);
        }
        let item = match self.with(slot, |queue| queue.replace(item)) {
            Ok(old) => return rec.unref(old.seq, 1, u64::from(old.share)),
            Err(item) => item,
        };
        if let Some(old) = old
            && self.replay_moved(slot, &item, old, previous, rec)
        {
            return;
        }
        let is_due = item.expiry_ms != 0 && self.queue(slot).can_expire(&item);
        if old.is_some() {
            // Items with ids around it may be met later, and are told by their ids: it is an extent of its own.
            self.queue_mut(slot).break_order();
        }
        self.add(slot, item);
        if old.is_some() {
            self.queue_mut(slot).break_order();
        }
        if is_due && !self.queue(slot).is_delayed() {
            self.expiring.insert(slot);
        }
        let left = self.memory_left();
        self.with(slot, |queue| queue.fold(Seq(u64::MAX), left, rec));
        self.folding.remove(&slot);
    }

    /// A cold item that was written again; false if nothing is known of it.
    fn replay_moved(
        &mut self,
        slot: Slot,
        item: &Item,
        old: Seq,
        previous: Seq,
        rec: &mut impl Recorder,
    ) -> bool {
        let keeps_old = self.keeps_old && rec.has_segment(old);
        let Some(cold) = self.queue(slot).cold() else { return false };
        let Some(index) = cold.find(item.id, old.0) else {
            // Written again more than once, and the first time was not believed: it is still where it was first.
            if self.keeps_old
                && cold.index_of(item.id).is_some_and(|at| cold.extents[at].passes(item.id))
            {
                rec.unref(item.seq, 1, u64::from(item.share));
                return true;
            }
            return self.replay_between(slot, item, rec);
        };
        if keeps_old {
            // Others that were moved with it may have been lost on the way: it stays where it was, in their company.
            rec.unref(item.seq, 1, u64::from(item.share));
            return true;
        }
        let extent = &cold.extents[index];
        // What its old record kept alive is known on average only.
        let cost = extent.cost / u64::from(extent.count.max(1));
        let new = item.as_cold(true);
        let old = ColdItem { seq: old.0, cost, ..new };
        self.move_cold(slot, old, new, previous, rec).is_some()
    }

    /// The record that this one replaces was in a segment that is gone, and the state that would know of it was damaged: the item takes its place by id.
    fn replay_between(&mut self, slot: Slot, item: &Item, rec: &mut impl Recorder) -> bool {
        let queue = self.queue_mut(slot);
        if queue.last_ready_id().is_some_and(|last| last > item.id) {
            return false;
        }
        let cold = queue.cold_mut();
        let index = cold.extents.partition_point(|extent| extent.last_id < item.id);
        if index == cold.extents.len() || cold.index_of(item.id).is_some() {
            return false;
        }
        cold.insert_before(index, item.as_cold(false), Seq(0), rec);
        queue.counters.total_items += 1;
        true
    }

    /// If the first queue of a put has no name and another one is a sub-queue, it is the master of that: a power cut may have kept the put and not the record before it
    /// that named the queue, and an item is in all of its queues or in none.
    fn note_master(&mut self, queues: &[QueueNo]) {
        let [first, others @ ..] = queues else { return };
        let name_of = |no: &QueueNo| self.by_number.get(&no.0).map(|&slot| &self.queue(slot).name);
        if others.is_empty() || name_of(first).is_none_or(|name| !name.is_empty()) {
            return;
        }
        let master = others.iter().filter_map(name_of).find_map(|name| master_of(name));
        if let Some(master) = master.map(Bytes::copy_from_slice) {
            self.likely_names.insert(first.0, master);
        }
    }

    /// A put with a key into a queue of which only the number is known, so far.
    fn note_key_of_nameless(&mut self, home: Option<QueueNo>, key: KeyHash, id: ItemId) {
        let Some(home) = home else { return };
        let slot = self.slot_of(home);
        if self.queue(slot).name.is_empty() {
            self.keys_of_nameless.push((home, key, id));
        }
    }

    /// An item was moved into a queue of which only the number is known, so far. If it stays like that, the record that made the queue was lost in a power cut, and the
    /// one that moved the item was not, although it came later: the item left the other queue, where it was safe, so it must not go with a queue that has no name.
    fn note_target(&mut self, queue: QueueNo, origin: &Origin) {
        let slot = self.slot_of(queue);
        if !self.queue(slot).name.is_empty() {
            return;
        }
        let config = self.table.resolve(&origin.queue);
        let name = match origin.reason {
            Reason::Expired => &config.expire_to_queue,
            _ => &config.dead_letter_queue,
        };
        if let Some(name) = name {
            self.likely_names.insert(queue.0, Bytes::copy_from_slice(name));
        }
    }

    fn replay_removed(&mut self, queue: QueueNo, id: u64, rec: &mut impl Recorder) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let (seq, cost) = match self.with(slot, |queue| queue.remove(id)) {
            Some(item) => (item.seq, u64::from(item.share)),
            None => {
                let queue = self.queue_mut(slot);
                if !queue.has_cold() {
                    return;
                }
                let Some(gone) = queue.cold_mut().remove(id) else { return };
                gone
            }
        };
        self.queue_mut(slot).counters.total_items -= 1;
        rec.unref(seq, 1, cost);
    }

    fn replay_attempted(&mut self, queue: QueueNo, id: u64, attempts: u32) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let queue = self.queue_mut(slot);
        if let Some(item) = queue.find_mut(id) {
            item.attempts = attempts;
        } else if queue.cold().and_then(|cold| cold.index_of(id)).is_some() {
            queue.cold_mut().attempts.insert(id, attempts);
        }
    }

    fn replay_flushed(
        &mut self,
        queue: QueueNo,
        from: ItemId,
        through: ItemId,
        except: &[ItemId],
        rec: &mut impl Recorder,
    ) {
        let Some(slot) = self.by_number.get(&queue.0).copied() else { return };
        let except: Vec<u64> = except.iter().map(|id| id.0).collect();
        let queue = self.queue(slot);
        let gone: Vec<u64> = queue
            .items()
            .map(|item| item.id)
            .filter(|id| (from.0..=through.0).contains(id) && except.binary_search(id).is_err())
            .collect();
        for id in gone {
            self.replay_removed(self.queue(slot).no, id, rec);
        }
        let queue = self.queue_mut(slot);
        if queue.has_cold() {
            for (seq, refs, cost) in queue.cold_mut().keep_only(from.0, through.0, &except) {
                queue.counters.total_items -= refs;
                rec.unref(seq, refs, cost);
            }
        }
    }

    /// Ends replay: queues without a name go, and the counters of what happened before are forgotten but for what is there.
    pub fn finish_replay(&mut self, rec: &mut impl Recorder) {
        let nameless: Vec<Slot> = self
            .by_number
            .values()
            .copied()
            .filter(|&slot| self.queue(slot).name.is_empty() && self.home(slot) == slot)
            .collect();
        let names = core::mem::take(&mut self.likely_names);
        let mut lost = BTreeSet::new();
        for slot in nameless {
            match names.get(&self.queue(slot).no.0) {
                Some(name)
                    if !self.by_name.contains_key(name)
                        && self.parts(slot).any(|part| !self.queue(part).is_empty()) =>
                {
                    let queue = self.queue_mut(slot);
                    (queue.is_defined, queue.is_name_guessed) = (true, true);
                    self.name_queue(slot, name.clone());
                }
                _ => {
                    lost.insert(self.queue(slot).no.0);
                    self.drop_replayed(slot, rec);
                }
            }
        }
        self.order_keys();
        // Who repeats a put of what is lost must not be told that it is stored.
        for (queue, key, id) in core::mem::take(&mut self.keys_of_nameless) {
            if lost.contains(&queue.0) {
                self.forget_key(key, id);
            }
        }
        let slots: Vec<Slot> = self.by_number.values().copied().collect();
        for &slot in &slots {
            self.drop_unreadable(slot, rec);
            self.with(slot, crate::queue::Queue::join_tail);
            let newest = self.queue(slot).newest_id().unwrap_or(0);
            self.last_id = self.last_id.max(newest);
        }
        let homes = slots.into_iter().filter(|&slot| self.home(slot) == slot);
        for home in homes.collect::<Vec<_>>() {
            self.finish_lanes(home);
        }
        (self.keeps_all, self.keeps_old) = (false, false);
        self.counters.total_items = 0;
        self.counters.queue_deletes = 0;
        self.counters.queue_creates = self.by_name.len() as u64;
    }

    /// Items get ids above this one from now on. A client that waits is given an item before its put is on the disk: after a crash such an id must not come again
    /// for another item, although nobody knows it any more.
    pub fn ids_above(&mut self, id: ItemId) {
        self.last_id = self.last_id.max(id.0);
    }

    /// While what is replayed was written by a version that kept everything in memory, so does this one: such a log says nothing of where items were before.
    pub fn keep_all(&mut self, keep: bool) {
        self.keeps_all = keep;
    }

    /// Where everything was read that there is, a state may name items of a segment that is not: they were moved or consumed later, or they are lost.
    fn drop_unreadable(&mut self, slot: Slot, rec: &impl Recorder) {
        let queue = self.queue_mut(slot);
        let mut index = 0;
        while let Some(extent) = queue.cold().and_then(|cold| cold.extents.get(index)) {
            if !rec.has_segment(Seq(extent.first_seq)) {
                queue.counters.damaged_items += u64::from(extent.count);
                queue.cold_mut().change(index, |extent| extent.count = 0);
            } else {
                index += 1;
            }
        }
    }

    /// The latest put time that was replayed, unix time in milliseconds; 0 if there was none.
    pub fn newest_put_ms(&self) -> u64 {
        self.newest_put_ms
    }

    /// Records are lost between what was replayed and what will be. An item that was lost lies between two extents then, and a record that says that it is gone
    /// concerns neither.
    pub fn note_loss(&mut self) {
        for queue in self.queues.iter_mut().flatten() {
            queue.break_order();
        }
    }

    /// Whether items that were written again stay where they were as long as that is there: after records were lost, nobody knows which others were written again.
    pub fn keep_old(&mut self, keep: bool) {
        self.keeps_old = keep;
    }

    fn drop_replayed(&mut self, slot: Slot, rec: &mut impl Recorder) {
        for lane in self.parts(slot).skip(1).collect::<Vec<_>>() {
            self.forget_entries(lane);
            self.with(lane, |queue| queue.drain(rec));
            self.drop_lane(lane);
        }
        self.with(slot, |queue| queue.drain(rec));
        let Some(queue) = self.queues[slot as usize].take() else { return };
        self.forget(slot, &queue);
    }
}
