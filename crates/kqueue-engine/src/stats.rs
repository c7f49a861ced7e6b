//! What the queues can tell about themselves. Changes nothing.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::config::QueueConfig;
use crate::engine::{Engine, EngineCounters, Slot};
use crate::extra::Lane;
use crate::queue::QueueCounters;
use crate::types::{Now, Seq};

/// One queue's figures.
#[derive(Clone, Debug)]
pub struct QueueStats {
    /// Its number: it rises with every queue that is made.
    pub number: u64,
    /// Its name.
    pub name: Bytes,
    /// Items that wait to be handed out.
    pub items: u64,
    /// Bytes of their bodies, and of those of delayed items.
    pub bytes: u64,
    /// Items that are not ready yet.
    pub delayed_items: u64,
    /// Dead letters that the queue keeps itself.
    pub dead_items: u64,
    /// Whether it hands nothing out.
    pub is_paused: bool,
    /// Items in memory, whatever their state, but for open ones.
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
    /// As configured; `u64::MAX`: no limit.
    pub max_items: u64,
    /// As configured; `u64::MAX`: no limit.
    pub max_bytes: u64,
    /// About what its waiting items take in the journal, in bytes.
    pub journal_bytes: u64,
    /// When it was made, or found at start, on the monotonic clock.
    pub created_ms: u64,
    /// Since when the item waits that is next or, of those that are next of their level, waits longest: unix time in milliseconds. An item that was delayed waits from
    /// when it became ready on. `None`: there is none, or one of them is on the disk only.
    pub oldest_ready_ms: Option<u64>,
    /// The settings that hold.
    pub config: Arc<QueueConfig>,
}

/// Sums over all queues, made piece by piece: there may be very many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Waiting items.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Items that are not ready yet.
    pub delayed_items: u64,
    /// Dead letters that queues keep themselves.
    pub dead_items: u64,
    /// Clients that wait.
    pub waiters: u64,
    /// Items handed out tentatively.
    pub open_transactions: u64,
    /// What the queues were promised in memory: the sum of their `max_memory_size`, in bytes.
    pub reserved_memory: u64,
}

/// What is in a queue and its lanes.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    ready: u64,
    delayed: u64,
    dead: u64,
    bytes: u64,
    open: u64,
    mem_items: u64,
    mem_bytes: u64,
    journal_bytes: u64,
}

impl Engine {
    /// The queues made after the one numbered `after` (0: all), in order of creation, but for those that an alias hides.
    pub fn queue_stats(&self, now: Now, after: u64) -> impl Iterator<Item = QueueStats> {
        let slots =
            self.by_number.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, &slot)| slot);
        let is_shown =
            |&slot: &Slot| self.home(slot) == slot && !self.is_alias(&self.queue(slot).name);
        slots.filter(is_shown).map(move |slot| self.stats_of(now, slot))
    }

    /// One queue; `None` if there is none of this name, or an alias hides it.
    pub fn stats_of_queue(&self, now: Now, name: &[u8]) -> Option<QueueStats> {
        self.slot_named(name).map(|slot| self.stats_of(now, slot))
    }

    fn stats_of(&self, now: Now, slot: Slot) -> QueueStats {
        let queue = self.queue(slot);
        let counters = self.counters_of(slot);
        let sums = self.sums_of(slot);
        let has_age = sums.bytes > 0 && counters.last_put_ms > 0;
        let children = self
            .children
            .get(&queue.name)
            .map(|children| children.iter().map(|&child| self.queue(child).name.clone()).collect());
        QueueStats {
            number: queue.no.0,
            name: queue.name.clone(),
            items: sums.ready,
            bytes: sums.bytes,
            delayed_items: sums.delayed,
            dead_items: sums.dead,
            is_paused: queue.is_paused,
            mem_items: sums.mem_items,
            mem_bytes: sums.mem_bytes,
            waiters: queue.waiting as u64,
            open_transactions: sums.open,
            age_ms: if has_age { now.wall_ms.saturating_sub(counters.last_put_ms) } else { 0 },
            counters,
            children: children.unwrap_or_default(),
            max_items: queue.config.max_items,
            max_bytes: queue.config.max_size,
            journal_bytes: sums.journal_bytes,
            created_ms: queue.created_ms,
            oldest_ready_ms: self.oldest_ready_ms(slot),
            config: Arc::clone(&queue.config),
        }
    }

    fn oldest_ready_ms(&self, home: Slot) -> Option<u64> {
        let mut oldest = None;
        let mut note = |since_ms: u64| {
            oldest = Some(oldest.map_or(since_ms, |oldest: u64| oldest.min(since_ms)));
        };
        for slot in self.parts(home) {
            let part = self.queue(slot);
            match part.lane {
                Lane::Dead | Lane::Delayed { .. } => {}
                _ if part.needs_load() => return None,
                _ => part.head().map(|item| item.put_ms).into_iter().for_each(&mut note),
            }
        }
        if let Some(lanes) = self.queue(home).lanes.as_deref() {
            let due = lanes.due.iter().filter_map(|due| due.first());
            due.for_each(|&(due_ms, ..)| note(due_ms));
        }
        oldest
    }

    fn sums_of(&self, home: Slot) -> Sums {
        let mut sums = Sums::default();
        for slot in self.parts(home) {
            let part = self.queue(slot);
            sums.open += part.open.len() as u64;
            sums.mem_items += part.mem_len();
            sums.mem_bytes += part.mem_bytes();
            sums.journal_bytes += part.journal_bytes();
            match part.lane {
                Lane::Dead => sums.dead += part.len(),
                _ => sums.bytes += part.bytes(),
            }
            match part.lane {
                Lane::Dead => {}
                Lane::Delayed { .. } if !self.is_over(part.lane) => sums.delayed += part.len(),
                // Those whose time is over are ready, whether or not they are in memory.
                _ => sums.ready += part.len(),
            }
        }
        let due = self.due_of_now(home);
        (sums.ready, sums.delayed) = (sums.ready + due, sums.delayed - due);
        sums
    }

    /// How many items are due whose bucket is not over.
    fn due_of_now(&self, home: Slot) -> u64 {
        let Some(lanes) = self.queue(home).lanes.as_deref() else { return 0 };
        let mut now = lanes.buckets.range(..=(self.wall_ms, u64::MAX));
        let is_now = |slot: Slot| !self.is_over(self.queue(slot).lane);
        let Some((&(start_ms, _), _)) = now.find(|&(_, &slot)| is_now(slot)) else { return 0 };
        let due = lanes.due.iter().flat_map(|due| due.range((start_ms, 0, 0)..));
        due.filter(|entry| is_now(entry.2)).count() as u64
    }

    pub(crate) fn is_over(&self, lane: Lane) -> bool {
        match lane {
            Lane::Delayed { start_ms, width_log2, .. } => {
                start_ms.saturating_add(1 << width_log2) <= self.wall_ms
            }
            _ => false,
        }
    }

    /// Adds up to `limit` queues that were made after the one numbered `after` (0: from the first on). Answers after which one to go on; `None`: that was all.
    pub fn add_totals(&self, after: u64, limit: usize, totals: &mut Totals) -> Option<u64> {
        let mut last = None;
        let mut count = 0;
        for (&number, &slot) in
            self.by_number.range((Bound::Excluded(after), Bound::Unbounded)).take(limit)
        {
            let queue = self.queue(slot);
            if queue.home == slot {
                let sums = self.sums_of(slot);
                totals.items += sums.ready;
                totals.delayed_items += sums.delayed;
                totals.dead_items += sums.dead;
                totals.bytes += sums.bytes;
                totals.waiters += queue.waiting as u64;
                totals.open_transactions += sums.open;
                totals.reserved_memory =
                    totals.reserved_memory.saturating_add(queue.config.max_memory_size);
            }
            (last, count) = (Some(number), count + 1);
        }
        last.filter(|_| count == limit)
    }

    /// What waiting items may take in memory, in bytes.
    pub fn max_memory_size(&self) -> u64 {
        self.limits.max_memory_size
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> u64 {
        self.by_name.len() as u64
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
            if queue.home == slot {
                let found = self.by_name.get(&queue.name);
                assert_eq!(found, Some(&slot), "a queue is found by its name");
                self.check_lanes(slot);
            }
            for (id, session) in &queue.open {
                let count = self.held.get(session).map_or(0, |held| {
                    held.iter().filter(|held| held.slot == slot && held.item.id == *id).count()
                });
                assert_eq!(count, 1, "item {id} is in the hands of {session:?}");
            }
            let home = self.queue(queue.home);
            assert!(
                queue.head().is_none_or(|head| queue.may_stay(head))
                    || home.waiting == 0
                    || home.takers.is_empty()
                    || home.is_paused
                    || queue.is_delayed()
                    || queue.lane == Lane::Dead
                    || self.needs_load(queue.home)
                    || self.stayed.contains(&queue.home),
                "nobody waits beside an item"
            );
            assert_eq!(queue.waiting, self.waiters.count_on(slot), "who waits on {:?}", queue.name);
        }
        for &(at_ms, home) in &self.alarms {
            let lanes = self.queue(home).lanes.as_deref();
            assert_eq!(lanes.and_then(|lanes| lanes.alarm_ms), Some(at_ms), "whose alarm it is");
        }
        self.keys.check_invariants(self.limits.keys_max);
        let hot: u64 = self.by_number.values().map(|&slot| self.queue(slot).hot_cost()).sum();
        assert_eq!(hot, self.hot_cost(), "what is in memory");
        let lent = self.held.values().flatten().filter(|held| held.is_lent);
        assert_eq!(lent.map(|held| held.item.cost()).sum::<u64>(), self.lent_bytes, "what is lent");
        let held: usize = self.held.values().map(|held| held.len()).sum();
        let open: usize = self.by_number.values().map(|&slot| self.queue(slot).open.len()).sum();
        assert_eq!(held, open, "every item in somebody's hands is open in its queue");
    }
}
