//! What leaves a queue by itself: expired items, items that were delivered too often, queues that are old and unused.
//!
//! Invariant: an item that goes to another queue does so in one record, and stays where it is while there is no room for that record.
//! Must not: look at a clock.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::master_of;
use crate::engine::{Engine, Slot, Slots, remove};
use crate::extra::{Extra, Lane, Origin};
use crate::queue::{Item, Queue};
use crate::record::{MovedFrom, PutRecord, Reason, Record, Recorder};
use crate::types::{ItemId, Mode, Now, Priority, Seq};

impl Engine {
    /// Removes expired items from the head of a queue, at most so many, and those that were delivered too often. What is to go to another queue stays while there is no
    /// room for it on the disk.
    pub(crate) fn drop_expired_head(
        &mut self,
        now: Now,
        slot: Slot,
        max: u64,
        rec: &mut impl Recorder,
    ) {
        let mut expired = 0;
        loop {
            let queue = self.queue(slot);
            let Some(head) = queue.head() else { return };
            let is_expired = queue.is_expired(head, now);
            if !(is_expired && expired < max || queue.is_dead(head)) {
                return;
            }
            let moves = !is_expired || queue.expires_elsewhere();
            if moves && !rec.has_room(head.body.len() as u64) {
                self.stayed.insert(self.home(slot));
                return;
            }
            let Some(item) = self.pop(slot) else { return };
            if is_expired {
                expired += 1;
                self.expire(now, slot, item, rec);
            } else {
                self.bury_dead(now, slot, item, rec);
            }
        }
    }

    /// An item's time is over: it goes, or to another queue.
    pub(crate) fn expire(&mut self, now: Now, slot: Slot, item: Item, rec: &mut impl Recorder) {
        let queue = self.queue_mut(slot);
        queue.counters.expired_items += 1;
        let target = queue.config.expire_to_queue.clone().filter(|_| queue.expires_elsewhere());
        match target {
            Some(target) => {
                let to = self.slot_of_name(now, &target, rec);
                let moved = self.with_origin(now, slot, &item, Reason::Expired, Bytes::new());
                self.move_item(slot, &item, to, Lane::Main, moved, Reason::Expired, rec);
            }
            None => remove(queue.no, &item, Reason::Expired, rec),
        }
    }

    /// An item was delivered too often: it is a dead letter.
    pub(crate) fn bury_dead(&mut self, now: Now, slot: Slot, item: Item, rec: &mut impl Recorder) {
        self.make_dead(now, slot, item, Reason::DeadLettered, Bytes::new(), rec);
    }

    /// An item becomes a dead letter, in the dead-letter queue or, if there is none, in its own, with what is known of it.
    pub(crate) fn make_dead(
        &mut self,
        now: Now,
        slot: Slot,
        item: Item,
        reason: Reason,
        note: Bytes,
        rec: &mut impl Recorder,
    ) {
        let mut moved = self.with_origin(now, slot, &item, reason, note);
        // It has none where it is, but again when it comes back.
        moved.extra.get_or_insert_default().priority = self.priority_of(slot);
        let queue = self.queue_mut(slot);
        let home = queue.home;
        let (to, lane) = match queue.dead_letter_queue().cloned() {
            Some(target) => {
                queue.counters.dead_lettered += 1;
                (self.slot_of_name(now, &target, rec), Lane::Main)
            }
            None => {
                (queue.counters.dead_within, queue.counters.moved_within) =
                    (queue.counters.dead_within + 1, queue.counters.moved_within + 1);
                moved.extra.get_or_insert_default().id = Some(item.public_id());
                (home, Lane::Dead)
            }
        };
        self.move_item(slot, &item, to, lane, moved, reason, rec);
    }

    pub(crate) fn priority_of(&self, slot: Slot) -> Priority {
        self.queue(slot).lane.priority(None)
    }

    /// The item as it begins a new life elsewhere.
    fn with_origin(&self, now: Now, slot: Slot, item: &Item, reason: Reason, note: Bytes) -> Item {
        let origin = Origin {
            queue: self.queue(slot).name.clone(),
            id: item.public_id(),
            put_ms: item.put_ms,
            attempts: item.attempts,
            reason,
            moved_ms: now.wall_ms,
        };
        let extra = Extra { origin: Some(origin), note, ..Extra::NONE };
        Item {
            put_ms: now.wall_ms,
            expiry_ms: 0,
            attempts: 0,
            extra: extra.of_item(),
            ..item.clone()
        }
    }

    /// Moves an item to the end of another queue, or of another lane, past its limits: nothing is lost because that one is full. Who waits there is served by
    /// [`Engine::settle`].
    #[expect(clippy::too_many_arguments, reason = "from what, to what, why")]
    pub(crate) fn move_item(
        &mut self,
        from: Slot,
        item: &Item,
        home: Slot,
        lane: Lane,
        mut moved: Item,
        reason: Reason,
        rec: &mut impl Recorder,
    ) {
        // Its name may have been lost in a power cut.
        self.define(home, rec);
        let to = self.lane_slot(home, lane, rec);
        let id = self.next_id(rec);
        (moved.id, moved.seq, moved.share) = (id.0, Seq(0), 0);
        let from_no = self.queue(from).no;
        if self.queue(to).config.keep_journal {
            let homes = [self.queue(home).no];
            let recorded = rec.record(&Record::Put(PutRecord {
                old: None,
                from: Some(MovedFrom { queue: from_no, id: ItemId(item.id), reason }),
                id,
                flags: moved.flags,
                put_ms: moved.put_ms,
                expiry_ms: moved.expiry_ms,
                attempts: moved.attempts,
                queues: &[self.queue(to).no],
                lane,
                homes: if lane == Lane::Main { &[] } else { &homes },
                extra: moved.extra.as_deref().unwrap_or(&Extra::NONE),
                body: &moved.body,
                body_crc: moved.body_crc,
            }));
            (moved.seq, moved.share) = (recorded.seq, recorded.share);
            rec.unref(item.seq, 1, u64::from(item.share));
        } else {
            remove(from_no, item, reason, rec);
        }
        self.add(to, moved);
        self.note_emptied(from);
        self.pending.push(home);
    }

    /// Serves those who wait for what came in the course of something else.
    pub(crate) fn settle(&mut self, now: Now, rec: &mut impl Recorder) {
        while let Some(slot) = self.pending.pop() {
            if self.queues.get(slot as usize).is_some_and(Option::is_some) {
                self.serve(now, slot, rec);
            }
        }
        self.tidy();
    }

    /// Tries again to move what stayed for want of room, and serves those who wait behind it. To be called when something has been written or time has passed.
    pub fn retry_moves(&mut self, now: Now, rec: &mut impl Recorder) {
        if self.stayed.is_empty() {
            return;
        }
        for slot in core::mem::take(&mut self.stayed) {
            if self.queues.get(slot as usize).is_some_and(Option::is_some) {
                let max = self.queue(slot).config.max_expire_sweep;
                for part in self.parts(slot).collect::<Slots>() {
                    if !self.queue(part).is_delayed() && self.queue(part).lane != Lane::Dead {
                        self.drop_expired_head(now, part, max, rec);
                    }
                }
                self.serve(now, slot, rec);
                self.end_hopeless(slot, rec);
            }
        }
        self.settle(now, rec);
    }

    /// Whether something that cannot be handed out yet will be known or out of the way soon: the disk is read, or written.
    pub(crate) fn comes_by_itself(&self, slot: Slot, mode: Mode, rec: &impl Recorder) -> bool {
        let stays = self.stayed.contains(&slot) && !rec.is_full();
        self.is_read_for(slot, mode) || stays && self.gives(slot, mode)
    }

    /// Whether a queue shows or hands out what it has.
    fn gives(&self, slot: Slot, mode: Mode) -> bool {
        mode == Mode::Peek || !self.queue(slot).is_paused
    }

    /// Whether the disk is, or will be, read for who wants something of a queue.
    pub(crate) fn is_read_for(&self, slot: Slot, mode: Mode) -> bool {
        self.gives(slot, mode) && self.needs_load(slot)
    }

    /// Removes expired items from the heads of all queues, and queues that are old and unused.
    pub fn sweep_expired(&mut self, now: Now, rec: &mut impl Recorder) {
        let slots: Vec<Slot> = self.expiring.iter().copied().collect();
        for slot in slots {
            if self.queues.get(slot as usize).is_some_and(Option::is_some) {
                self.sweep_queue(now, slot, rec);
                let queue = self.queue(slot);
                let has_due = queue.lanes.as_ref().is_some_and(|lanes| lanes.due_count() > 0);
                if !queue.is_empty() || !queue.open.is_empty() || has_due {
                    continue;
                }
            }
            self.expiring.remove(&slot);
        }
        self.sweep_queues(now, rec);
        self.settle(now, rec);
    }

    /// Deletes queues that have outlived `max_queue_age`.
    fn sweep_queues(&mut self, now: Now, rec: &mut impl Recorder) {
        let is_old = |queue: &Queue| {
            let age_ms = now.mono_ms.saturating_sub(queue.created_ms);
            queue.config.max_queue_age_ms.is_some_and(|max| age_ms > max)
        };
        let gone: Vec<Slot> = self
            .aging
            .iter()
            .copied()
            .filter(|&slot| is_old(self.queue(slot)) && !self.queue(slot).is_paused)
            .filter(|&slot| self.is_all_unused(slot))
            .collect();
        for slot in gone {
            self.expire_queue(slot, rec);
        }
    }

    fn expire_queue(&mut self, slot: Slot, rec: &mut impl Recorder) {
        self.counters.queue_expires += 1;
        self.counters.queue_deletes += 1;
        self.remove_queue(slot, rec);
    }

    /// Makes room for another queue if there is one that was only looked into: nothing was ever put there, and nobody waits for it. (A sub-queue is a subscription, and
    /// wanted although it is empty.) Some candidates only, so that a client that asks for ever new queues costs the others nothing; true if there is room now.
    pub(crate) fn forget_a_queue(&mut self, needed: &[Slot], rec: &mut impl Recorder) -> bool {
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let Some(slot) = self.looked_into.pop_front() else { return false };
            // The slot may be another queue's by now: what it was entered for does not matter.
            let Some(queue) = self.queues[slot as usize].as_deref() else { continue };
            let is_home = queue.home == slot;
            let is_new = is_home && !queue.is_defined && queue.counters.total_items == 0;
            if !is_new || master_of(&queue.name).is_some() {
                continue;
            }
            if self.is_all_unused(slot) && !needed.contains(&slot) {
                self.expire_queue(slot, rec);
                return true;
            }
            self.looked_into.push_back(slot);
        }
        false
    }

    /// Removes what has expired at the head of a queue and answers how many items that were; what is on the disk only follows as it is read, and what is delayed when its
    /// time comes.
    pub fn flush_expired(&mut self, now: Now, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        let Some(slot) = self.slot_named(queue) else { return 0 };
        let parts: Slots = self.parts(slot).collect();
        let parts = parts.into_iter().filter(|part| self.expiring.contains(part));
        let parts: Slots = parts.collect();
        let count = parts.into_iter().map(|part| self.sweep_queue(now, part, rec)).sum();
        self.settle(now, rec);
        count
    }

    /// [`Engine::flush_expired`] of all queues.
    pub fn flush_all_expired(&mut self, now: Now, rec: &mut impl Recorder) -> u64 {
        let slots: Vec<Slot> = self.expiring.iter().copied().collect();
        let slots = slots.into_iter().filter(|&slot| self.queues[slot as usize].is_some());
        let slots: Vec<Slot> = slots.collect();
        let count = slots.into_iter().map(|slot| self.sweep_queue(now, slot, rec)).sum();
        self.settle(now, rec);
        count
    }

    fn sweep_queue(&mut self, now: Now, slot: Slot, rec: &mut impl Recorder) -> u64 {
        let max = self.queue(slot).config.max_expire_sweep;
        let before = self.expired_of(slot);
        self.drop_expired_head(now, slot, max, rec);
        if self.queue(slot).needs_load() {
            self.want_load(slot);
        }
        for priority in Priority::ALL {
            // What has to stay is noted there.
            let left = max.saturating_sub(self.expired_of(slot) - before);
            _ = self.next_due(now, slot, priority, left, rec);
        }
        self.expired_of(slot) - before
    }

    /// How many items expired in a queue or lane and, if it is a queue, in its buckets, as long as those are there.
    fn expired_of(&self, slot: Slot) -> u64 {
        let lanes = self.queue(slot).lanes.as_deref();
        let buckets = lanes.into_iter().flat_map(|lanes| lanes.buckets.values());
        let slots = core::iter::once(&slot).chain(buckets);
        slots.map(|&slot| self.queue(slot).counters.expired_items).sum()
    }
}
