//! What concerns queues as a whole: they are deleted, emptied, and get other settings.
//!
//! Invariant: a reload changes nothing that waits; who waits meanwhile gets what may be handed out by the new settings.
//! Must not: know who asks, or where settings come from.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{ConfigTable, QueueConfig};
use crate::engine::{Engine, Slot};
use crate::queue::Queue;
use crate::record::{Record, Recorder};
use crate::types::{ItemId, Now, SessionId};

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
        self.end_waits_on(slot, rec);
        self.with(slot, |queue| queue.drain(rec));
        let Some(queue) = self.queues[slot as usize].take() else { return };
        if queue.is_defined {
            rec.record(&Record::QueueDeleted { queue: queue.no });
        }
        self.forget(slot, &queue);
    }

    /// Removes a queue's waiting items and returns how many; open ones stay.
    pub fn flush(&mut self, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        match self.slot_named(queue) {
            Some(slot) => self.flush_slot(slot, rec),
            None => 0,
        }
    }

    /// Flushes all queues but those that an alias hides.
    pub fn flush_all(&mut self, rec: &mut impl Recorder) -> u64 {
        let slots = self.by_number.values().copied().filter(|&slot| !self.is_hidden(slot));
        let slots: Vec<Slot> = slots.collect();
        slots.into_iter().map(|slot| self.flush_slot(slot, rec)).sum()
    }

    fn flush_slot(&mut self, slot: Slot, rec: &mut impl Recorder) -> u64 {
        let queue = self.queue_mut(slot);
        queue.counters.total_flushes += 1;
        let count = queue.len();
        if count == 0 {
            return 0;
        }
        if queue.is_defined {
            record_flush(queue, rec);
        }
        queue.counters.flushed_items += count;
        self.with(slot, |queue| queue.drain(rec));
        // What is being read is not wanted any more.
        self.queue_mut(slot).loading = None;
        self.end_hopeless(slot, rec);
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
                unchanged += 1;
                Arc::make_mut(&mut config).keep_journal = keep_journal;
            }
            self.set_config(slot, config);
            if is_alias {
                self.end_waits_on(slot, rec);
            }
            // What was too old or had come too often may not be that any more.
            self.serve(now, slot, rec);
        }
        self.settle(now, rec);
        unchanged
    }

    fn set_config(&mut self, slot: Slot, config: Arc<QueueConfig>) {
        let may_age = config.max_queue_age_ms.is_some();
        if config.max_age_ms.is_some() {
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
fn record_flush(queue: &Queue, rec: &mut impl Recorder) {
    let open: Vec<ItemId> = queue.open.keys().map(|&id| ItemId(id)).collect();
    let last = ItemId(rec.next_seq().0.saturating_sub(1).max(queue.newest_id().unwrap_or(0)));
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
