//! What the queues can tell about themselves. Changes nothing.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::engine::{Engine, EngineCounters};
use crate::queue::QueueCounters;
use crate::types::{Now, Seq};

/// One queue's figures.
#[derive(Clone, Debug)]
pub struct QueueStats {
    /// Its name.
    pub name: Bytes,
    /// Waiting items.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Those of them that are in memory.
    pub mem_items: u64,
    /// Bytes of their bodies.
    pub mem_bytes: u64,
    /// Clients that wait for an item.
    pub waiters: u64,
    /// Items handed out tentatively.
    pub open_transactions: u64,
    /// Milliseconds since the item that was removed last had been put; 0 if the queue is empty or nothing was removed since start.
    pub age_ms: u64,
    /// What happened.
    pub counters: QueueCounters,
    /// Names of the sub-queues, in order of creation.
    pub children: Vec<Bytes>,
}

impl Engine {
    /// All queues, in order of creation.
    pub fn queue_stats(&self, now: Now) -> impl Iterator<Item = QueueStats> {
        self.by_number.values().map(move |&slot| {
            let queue = self.queue(slot);
            let counters = queue.counters;
            let has_age = queue.bytes() > 0 && counters.last_put_ms > 0;
            let children = self.children.get(&queue.name).map(|children| {
                children.iter().map(|&child| self.queue(child).name.clone()).collect()
            });
            QueueStats {
                name: queue.name.clone(),
                items: queue.len(),
                bytes: queue.bytes(),
                mem_items: queue.mem_len(),
                mem_bytes: queue.mem_bytes(),
                waiters: queue.waiting as u64,
                open_transactions: queue.open.len() as u64,
                age_ms: if has_age { now.wall_ms.saturating_sub(counters.last_put_ms) } else { 0 },
                counters,
                children: children.unwrap_or_default(),
            }
        })
    }

    /// Waiting items of all queues, and the bytes of their bodies.
    pub fn totals(&self) -> (u64, u64) {
        self.by_number.values().fold((0, 0), |(items, bytes), &slot| {
            let queue = self.queue(slot);
            (items + queue.len(), bytes + queue.bytes())
        })
    }

    /// What waiting items take in memory, about, in bytes.
    pub fn hot_cost(&self) -> u64 {
        self.hot_cost
    }

    /// What happened since start.
    pub fn counters(&self) -> EngineCounters {
        self.counters
    }

    /// Says for every reference that the queues hold: a record in its segment, and how many; for tests and the simulator.
    pub fn references(&self, mut visit: impl FnMut(Seq, u64)) {
        for &slot in self.by_number.values() {
            let queue = self.queue(slot);
            queue.items().for_each(|item| visit(item.seq, 1));
            for extent in queue.cold().into_iter().flat_map(|cold| &cold.extents) {
                visit(Seq(extent.first_seq), u64::from(extent.count));
            }
        }
        self.held.values().flatten().for_each(|held| visit(held.item.seq, 1));
    }

    /// Checks what must always be true; for tests and the simulator.
    ///
    /// # Panics
    /// If something is not.
    pub fn check_invariants(&self) {
        for &slot in self.by_number.values() {
            let queue = self.queue(slot);
            queue.check_invariants();
            assert_eq!(self.by_name.get(&queue.name), Some(&slot), "a queue is found by its name");
            for (id, session) in &queue.open {
                let count = self.held.get(session).map_or(0, |held| {
                    held.iter().filter(|held| held.slot == slot && held.item.id == *id).count()
                });
                assert_eq!(count, 1, "item {id} is in the hands of {session:?}");
            }
            assert!(
                queue.head().is_none_or(|head| queue.may_stay(head))
                    || queue.waiting == 0
                    || queue.takers.is_empty(),
                "nobody waits beside an item"
            );
        }
        let hot: u64 = self.by_number.values().map(|&slot| self.queue(slot).hot_cost()).sum();
        assert_eq!(hot, self.hot_cost(), "what is in memory");
        let held: usize = self.held.values().map(|held| held.len()).sum();
        let open: usize = self.by_number.values().map(|&slot| self.queue(slot).open.len()).sum();
        assert_eq!(held, open, "every item in somebody's hands is open in its queue");
    }
}
