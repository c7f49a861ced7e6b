//! What concerns queues as a whole: they are deleted, emptied, and get other settings.
//!
//! Invariant: a reload changes nothing that waits; who waits meanwhile gets what may be handed out by the new settings.
//! Must not: know who asks, or where settings come from.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{ConfigTable, QueueConfig};
use crate::engine::{Engine, Slot, Slots, remove};
use crate::extra::Lane;
use crate::lanes::Entry;
use crate::queue::{Item, Queue};
use crate::record::{Reason, Record, Recorder};
use crate::types::{ItemId, Now, Priority, SessionId};

/// Ids that one flush record names as exceptions; a queue with more open items is flushed item by item.
const FLUSH_EXCEPTIONS_MAX: usize = 4000;

impl Engine {
    /// Deletes a queue with all its items, open ones too; false if there is none. Who waits on it alone gets nothing.
    pub fn delete(&mut self, queue: &[u8], rec: &mut impl Recorder) -> bool {
        let Some(slot) = self.slot_named(queue) else { return false };
        self.counters.queue_deletes += 1;
        self.remove_queue(slot, rec);
        true
    }

    pub(crate) fn remove_queue(&mut self, slot: Slot, rec: &mut impl Recorder) {
        // Its lanes go with it: one record says so.
        let lanes: Vec<Slot> = self.parts(slot).skip(1).collect();
        for lane in lanes {
            self.empty_hands(lane, rec);
            self.forget_entries(lane);
            self.with(lane, |queue| queue.drain(rec));
            self.drop_lane(lane);
        }
        self.empty_hands(slot, rec);
        self.end_waits_on(slot, rec);
        self.with(slot, |queue| queue.drain(rec));
        let Some(queue) = self.queues[slot as usize].take() else { return };
        if queue.is_defined {
            rec.record(&Record::QueueDeleted { queue: queue.no });
        }
        self.forget(slot, &queue);
    }

    /// What is open of a queue or lane that goes is in nobody's hands any more.
    fn empty_hands(&mut self, slot: Slot, rec: &mut impl Recorder) {
        let owners: BTreeSet<SessionId> = self.queue(slot).open.values().copied().collect();
        for session in owners {
            while let Some(index) = self
                .held
                .get(&session)
                .and_then(|held| held.iter().position(|held| held.slot == slot))
            {
                if let Some(held) = self.take_at(session, index) {
                    rec.unref(held.item.seq, 1, u64::from(held.item.share));
                }
            }
        }
    }

    /// Removes a queue's waiting items, those that are delayed, too, and returns how many; open ones and dead letters stay.
    pub fn flush(&mut self, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        match self.slot_named(queue) {
            Some(slot) => self.flush_slot(slot, rec),
            None => 0,
        }
    }

    /// Removes a queue's items that are ready, as far as nobody holds them, and returns how many.
    pub fn purge_ready(&mut self, now: Now, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        self.note_now(now);
        let Some(home) = self.slot_named(queue) else { return 0 };
        self.advance_all(now, home);
        let mut count = 0;
        for slot in self.parts(home).collect::<Vec<_>>() {
            let lane = self.queue(slot).lane;
            let is_ready = !matches!(lane, Lane::Delayed { .. } | Lane::Dead);
            if is_ready || self.is_over(lane) {
                count += self.flush_lane(slot, &[], rec);
                self.note_emptied(slot);
            }
        }
        for priority in Priority::ALL {
            while let Some(entry) = self.first_due(home, priority) {
                let Some(item) = self.take_due(priority, entry) else { continue };
                let queue = self.queue_mut(entry.2);
                queue.counters.flushed_items += 1;
                remove(queue.no, &item, Reason::Purged, rec);
                self.note_emptied(entry.2);
                count += 1;
            }
        }
        self.tidy();
        self.end_hopeless(home, rec);
        count
    }

    fn first_due(&self, home: Slot, priority: Priority) -> Option<Entry> {
        let lanes = self.queue(home).lanes.as_deref()?;
        lanes.due[priority as usize].first().copied()
    }

    /// Removes a queue's items that are not ready yet and returns how many. What is on the disk only goes by the stretch of time in which it is due: all of it is not ready
    /// before the end.
    pub fn purge_delayed(&mut self, now: Now, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        self.note_now(now);
        let Some(home) = self.slot_named(queue) else { return 0 };
        self.advance_all(now, home);
        let lanes = self.queue(home).lanes.as_deref();
        let buckets: Vec<Slot> =
            lanes.into_iter().flat_map(|lanes| lanes.buckets.values()).copied().collect();
        let mut count = 0;
        for slot in buckets {
            if self.is_over(self.queue(slot).lane) {
                continue;
            }
            let priority = self.priority_of(slot);
            let entered = self.queue(slot).returned.values();
            let due = entered.filter(|item| item.due_ms() <= now.wall_ms);
            let due: Vec<Entry> = due.map(|item| (item.due_ms(), item.id, slot)).collect();
            let stay = due.into_iter().filter_map(|entry| self.take_due(priority, entry));
            let stay: Vec<Item> = stay.collect();
            let ids: Vec<u64> = stay.iter().map(|item| item.id).collect();
            count += self.flush_lane(slot, &ids, rec);
            stay.into_iter().for_each(|item| self.insert_in_place(slot, item));
            self.note_emptied(slot);
        }
        self.serve(now, home, rec);
        self.settle(now, rec);
        self.end_hopeless(home, rec);
        count
    }

    /// Removes the dead letters that a queue keeps itself and returns how many.
    pub fn purge_own_dead(&mut self, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        let Some(home) = self.slot_named(queue) else { return 0 };
        let lanes = self.queue(home).lanes.as_deref();
        let dead: Slots = lanes.map(|lanes| lanes.dead.clone()).unwrap_or_default();
        dead.into_iter().map(|slot| self.flush_lane(slot, &[], rec)).sum()
    }

    /// Hands nothing of a queue out any more until it is resumed, or does so again. The queue is made if there is none. False: it is an alias, or there may be no further
    /// queue.
    pub fn pause(
        &mut self,
        now: Now,
        queue: &[u8],
        is_paused: bool,
        rec: &mut impl Recorder,
    ) -> bool {
        if self.is_alias(queue) {
            return false;
        }
        let Ok(slot) = self.slot_or_create(now, queue, &[], rec) else { return false };
        if self.queue(slot).is_paused != is_paused {
            self.define(slot, rec);
            self.queue_mut(slot).is_paused = is_paused;
            if self.queue(slot).is_defined {
                rec.record(&Record::QueuePaused { queue: self.queue(slot).no, is_paused });
            }
            self.end_hopeless(slot, rec);
            self.serve(now, slot, rec);
            self.settle(now, rec);
        }
        true
    }

    /// Flushes all queues but those that an alias hides.
    pub fn flush_all(&mut self, rec: &mut impl Recorder) -> u64 {
        let is_shown = |&slot: &Slot| self.home(slot) == slot && !self.is_hidden(slot);
        let slots = self.by_number.values().copied().filter(is_shown);
        let slots: Vec<Slot> = slots.collect();
        slots.into_iter().map(|slot| self.flush_slot(slot, rec)).sum()
    }

    fn flush_slot(&mut self, home: Slot, rec: &mut impl Recorder) -> u64 {
        self.queue_mut(home).counters.total_flushes += 1;
        let mut count = 0;
        for slot in self.parts(home).collect::<Vec<_>>() {
            if self.queue(slot).lane != Lane::Dead {
                count += self.flush_lane(slot, &[], rec);
                self.note_emptied(slot);
            }
        }
        self.tidy();
        if count > 0 {
            self.end_hopeless(home, rec);
        }
        count
    }

    /// Removes what waits in a queue or a lane; `stay` are items that were taken out of it and will be put back.
    fn flush_lane(&mut self, slot: Slot, stay: &[u64], rec: &mut impl Recorder) -> u64 {
        let home = self.home(slot);
        let is_defined = self.queue(home).is_defined;
        let queue = self.queue_mut(slot);
        let count = queue.len();
        if count == 0 {
            return 0;
        }
        if is_defined {
            record_flush(queue, stay, rec);
        }
        queue.counters.flushed_items += count;
        self.forget_entries(slot);
        self.with(slot, |queue| queue.drain(rec));
        // What is being read is not wanted any more.
        self.queue_mut(slot).loading = None;
        count
    }

    /// Every queue gets the settings of `table`; nothing that waits is touched. For the time before anybody is served.
    pub fn reconfigure(&mut self, table: ConfigTable) {
        self.table = table;
        for slot in 0..self.queues.len() {
            if let Some(queue) = &self.queues[slot] {
                let config = self.table.resolve(&queue.name);
                self.set_config(slot as Slot, config);
            }
        }
    }

    /// As [`Engine::reconfigure`], while clients are served. Where a queue is kept does not change before the next start: answers how many queues that concerns.
    pub fn reload(&mut self, now: Now, table: ConfigTable, rec: &mut impl Recorder) -> u64 {
        self.table = table;
        let mut unchanged = 0;
        let slots: Vec<Slot> = self.by_number.values().copied().collect();
        for slot in slots {
            let queue = self.queue(slot);
            let (keep_journal, is_alias) = (queue.config.keep_journal, self.is_alias(&queue.name));
            let mut config = self.table.resolve(&queue.name);
            if config.keep_journal != keep_journal {
                unchanged += u64::from(self.home(slot) == slot);
                Arc::make_mut(&mut config).keep_journal = keep_journal;
            }
            self.set_config(slot, config);
            if is_alias && self.home(slot) == slot {
                self.end_waits_on(slot, rec);
            }
            // What was too old or had come too often may not be that any more.
            self.serve(now, slot, rec);
        }
        self.settle(now, rec);
        unchanged
    }

    fn set_config(&mut self, slot: Slot, config: Arc<QueueConfig>) {
        let queue = self.queue(slot);
        let may_age = config.max_queue_age_ms.is_some() && queue.home == slot;
        if config.max_age_ms.is_some() && !queue.is_delayed() && queue.lane != Lane::Dead {
            self.expiring.insert(slot);
        }
        self.queue_mut(slot).config = config;
        match may_age {
            true => self.aging.insert(slot),
            false => self.aging.remove(&slot),
        };
    }
}

/// All waiting items of a queue are gone, the open ones are not. One record says so, or where very many are open several, each of a range of ids.
fn record_flush(queue: &Queue, stay: &[u64], rec: &mut impl Recorder) {
    let mut open: Vec<ItemId> = queue.open.keys().chain(stay).map(|&id| ItemId(id)).collect();
    open.sort_unstable();
    let newest = queue.newest_id().max(queue.returned.keys().next_back().copied());
    let last = ItemId(rec.next_seq().0.saturating_sub(1).max(newest.unwrap_or(0)));
    if open.len() <= FLUSH_EXCEPTIONS_MAX {
        rec.record(&Record::Flushed { queue: queue.no, through: last, except: &open });
        return;
    }
    let mut from = ItemId(0);
    for (index, except) in open.chunks(FLUSH_EXCEPTIONS_MAX).enumerate() {
        let is_last = (index + 1) * FLUSH_EXCEPTIONS_MAX >= open.len();
        let through = if is_last { last } else { except[except.len() - 1] };
        rec.record(&Record::FlushedRange { queue: queue.no, from, through, except });
        from = ItemId(through.0 + 1);
    }
}
