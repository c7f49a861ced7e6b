//! Puts that may be repeated: which keys were used, and for which items.
//!
//! Invariants: a key is known only if its item is stored; there are never more than `max`, but for a fourth during replay; the one that was used first is forgotten first.
//! Must not: know queues; look at a clock.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::config::SyncPolicy;
use crate::engine::Engine;
use crate::extra::KeyHash;
use crate::record::{Record, Recorder};
use crate::types::{ItemId, Now, PutOutcome, Seq};

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ItemId,
    put_ms: u64,
    /// 0: it was there when the server started.
    seq: Seq,
    sync: SyncPolicy,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    entries: HashMap<KeyHash, Entry>,
    /// In the order in which they were used, but during replay; some may be used again since.
    order: VecDeque<(u64, KeyHash)>,
    /// How many were taken from the front of `order` so far.
    forgotten: u64,
}

impl Keys {
    fn forget_first(&mut self) {
        let Some((put_ms, key)) = self.order.pop_front() else { return };
        self.forgotten += 1;
        if self.entries.get(&key).is_some_and(|entry| entry.put_ms == put_ms) {
            self.entries.remove(&key);
        }
    }

    fn forget_to(&mut self, max: u64) {
        while self.order.len() as u64 > max {
            self.forget_first();
        }
    }

    fn add(&mut self, key: KeyHash, entry: Entry, max: u64) {
        if max == 0 {
            return;
        }
        self.forget_to(max - 1);
        if self.order.len() < self.order.capacity() / 4 {
            self.order.shrink_to(self.order.capacity() / 2);
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
        self.order.push_back((entry.put_ms, key));
        self.entries.insert(key, entry);
    }
}

impl Keys {
    pub(crate) fn check_invariants(&self, max: u64) {
        assert!(self.entries.len() <= self.order.len(), "every key is forgotten some time");
        assert!(self.order.len() as u64 <= max, "no more than may be");
        let is_ordered = |(key, entry): (&KeyHash, &Entry)| {
            self.order.iter().any(|used| *used == (entry.put_ms, *key))
        };
        assert!(self.entries.len() > 100 || self.entries.iter().all(is_ordered), "each of them");
    }
}

impl Engine {
    /// The put that this one repeats.
    pub(crate) fn repeated(&mut self, now: Now, key: KeyHash) -> Option<PutOutcome> {
        let window_ms = self.limits.key_window_ms;
        let is_over = |put_ms: u64| now.wall_ms.saturating_sub(put_ms) > window_ms;
        while self.keys.order.front().is_some_and(|&(put_ms, _)| is_over(put_ms)) {
            self.keys.forget_first();
        }
        let entry = self.keys.entries.get(&key).filter(|entry| !is_over(entry.put_ms))?;
        Some(PutOutcome::Repeated { id: entry.id, seq: entry.seq, sync: entry.sync })
    }

    /// A put with this key was stored.
    pub(crate) fn note_key(
        &mut self,
        key: KeyHash,
        put_ms: u64,
        id: ItemId,
        seq: Seq,
        sync: SyncPolicy,
    ) {
        let max = self.limits.keys_max;
        self.keys.add(key, Entry { id, put_ms, seq, sync }, max);
    }

    /// During replay: the same, which may have been said before. What a checkpoint says of keys comes behind puts that were made while it was written, so somewhat more
    /// than may be are kept until they can be told by their times.
    pub(crate) fn replay_key(&mut self, key: KeyHash, put_ms: u64, id: ItemId) {
        const MORE_MIN: u64 = 1000;
        let max = self.limits.keys_max;
        if max == 0 || self.keys.entries.get(&key).is_some_and(|entry| entry.id == id) {
            return;
        }
        let more = (max / 4).max(MORE_MIN);
        if self.keys.order.len() as u64 >= max.saturating_add(more) {
            self.order_keys();
        }
        let entry = Entry { id, put_ms, seq: Seq(0), sync: SyncPolicy::Never };
        self.keys.add(key, entry, max.saturating_add(more));
    }

    /// At the end of replay: keys are in the order in which they were used, and no more than may be.
    pub(crate) fn order_keys(&mut self) {
        self.keys.order.make_contiguous().sort_by_key(|&(put_ms, _)| put_ms);
        self.keys.forget_to(self.limits.keys_max);
    }

    /// During replay: what was put with this key is lost.
    pub(crate) fn forget_key(&mut self, key: KeyHash, id: ItemId) {
        if self.keys.entries.get(&key).is_some_and(|entry| entry.id == id) {
            self.keys.entries.remove(&key);
        }
    }

    /// How many keys are known.
    pub fn keys_known(&self) -> u64 {
        self.keys.entries.len() as u64
    }

    /// Writes down some of the keys, from the number `from` on. Answers where to go on.
    pub fn checkpoint_keys(&self, from: u64, max: usize, rec: &mut impl Recorder) -> Option<u64> {
        let max = max.min(Record::MANY_MAX / 2);
        let skipped = from.saturating_sub(self.keys.forgotten);
        let start = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.keys.order.len());
        let used = self.keys.order.range(start..).take(max);
        let keys: alloc::vec::Vec<(KeyHash, ItemId, u64)> = used
            .filter_map(|&(put_ms, key)| {
                let entry = self.keys.entries.get(&key)?;
                (entry.put_ms == put_ms).then_some((key, entry.id, put_ms))
            })
            .collect();
        if !keys.is_empty() {
            rec.record(&Record::Keys { keys: &keys });
        }
        let is_more = start + max < self.keys.order.len();
        is_more.then_some(self.keys.forgotten + (start + max) as u64)
    }
}
