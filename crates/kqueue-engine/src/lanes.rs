//! The parts of a queue: levels of priority, items that are ready at their time, dead letters.
//!
//! A lane is a queue of its own for the log and the memory: it has a number, extents, a window. To clients it is its queue, its *home*. Most queues have none.
//!
//! Delayed items lie in *buckets*, lanes for a stretch of time that is about a 64th of the delay. Within a bucket they are in the order in which they came, as in
//! every lane. When its time begins, a bucket is *pulled*: item by item it is brought to memory and entered by the time at which it is ready. So the memory that
//! delayed items take does not grow with their number; if very many are due within one bucket, some come late by a part of its width, and none early.
//!
//! Invariants
//! - Every item of a bucket in `returned` is entered in `waiting` or `due`, and no other.
//! - Who waits for an item waits on the home.
//! - A queue whose lanes have something to do by themselves has an alarm.
//!
//! Must not: look at a clock.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::engine::{Engine, Slot, Slots};
use crate::extra::Lane;
use crate::queue::{Item, KEEP_ALL, Queue, QueueCounters};
use crate::record::Recorder;
use crate::types::{Now, Priority, QueueNo};

/// A bucket is at least so wide, as a power of two of milliseconds.
const WIDTH_LOG2_MIN: u32 = 10;
/// A bucket is not wider than this part of the delay, as a power of two.
const PART_LOG2: u32 = 6;
/// A bucket is pulled so long before its time, in milliseconds.
const LEAD_MS: u64 = 1000;
/// So many delayed items of a queue are entered by their times at most, but for those that come back.
const ENTERED_MAX: usize = 100_000;
/// So many are seen to at a time, so that others come between.
const STEP_ITEMS: usize = 1000;
/// What waits for room in memory is tried again after so long, in milliseconds.
const RETRY_MS: u64 = 100;

/// A delayed item: when it is ready, its id, its bucket.
pub(crate) type Entry = (u64, u64, Slot);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// By level. There may be several of one after damage only.
    pub(crate) fifo: [Slots; 3],
    pub(crate) dead: Slots,
    /// By the time at which they begin, and their number.
    pub(crate) buckets: BTreeMap<(u64, u64), Slot>,
    /// Buckets that have begun and have something that is not entered yet.
    pulling: BTreeSet<(u64, Slot)>,
    /// Those that begin before this have been looked at.
    begun_to_ms: u64,
    pub(crate) waiting: BTreeSet<Entry>,
    pub(crate) due: [BTreeSet<Entry>; 3],
    pub(crate) alarm_ms: Option<u64>,
    /// What happened in lanes that are gone.
    past: QueueCounters,
}

impl Lanes {
    /// All of them, without the home.
    pub(crate) fn all(&self) -> impl Iterator<Item = Slot> {
        let others = self.fifo.iter().flatten().chain(&self.dead).chain(self.buckets.values());
        others.copied()
    }

    pub(crate) fn due_count(&self) -> usize {
        self.due.iter().map(BTreeSet::len).sum()
    }

    fn entered(&self) -> usize {
        self.waiting.len() + self.due_count()
    }
}

/// Where the next item of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At the head of this lane, in memory.
    Head(Slot),
    /// Among those whose time has come.
    Due(Priority, Entry),
    /// There is none, or it has to be read first, or it stays for want of room.
    None,
}

/// The lane of an item that is put now and is ready at `due_ms` (0: at once).
pub(crate) fn lane_for(now: Now, due_ms: u64, priority: Priority) -> Lane {
    if due_ms > now.wall_ms {
        let delay_ms = due_ms - now.wall_ms;
        let width_log2 =
            (u64::BITS - (delay_ms >> PART_LOG2).leading_zeros()).clamp(WIDTH_LOG2_MIN, 62) as u8;
        let start_ms = due_ms >> width_log2 << width_log2;
        return Lane::Delayed { start_ms, width_log2, priority };
    }
    match priority {
        Priority::High => Lane::High,
        Priority::Normal => Lane::Main,
        Priority::Low => Lane::Low,
    }
}

impl Engine {
    /// The queue of which this is a lane, or itself.
    pub(crate) fn home(&self, slot: Slot) -> Slot {
        self.queue(slot).home
    }

    /// The queue and all its lanes.
    pub(crate) fn parts(&self, home: Slot) -> impl Iterator<Item = Slot> {
        let lanes = self.queue(home).lanes.as_deref();
        core::iter::once(home).chain(lanes.into_iter().flat_map(Lanes::all))
    }

    /// Items that wait in a queue, now or for later, without dead letters, and bytes of their bodies.
    pub(crate) fn waiting_in(&self, home: Slot) -> (u64, u64) {
        let queue = self.queue(home);
        let mut sums = (queue.len(), queue.bytes());
        if let Some(lanes) = &queue.lanes {
            for slot in lanes.fifo.iter().flatten().chain(lanes.buckets.values()) {
                let lane = self.queue(*slot);
                sums = (sums.0 + lane.len(), sums.1 + lane.bytes());
            }
        }
        sums
    }

    /// Whether nothing is in the queue or any lane, nothing is held, and nobody waits.
    pub(crate) fn is_all_unused(&self, home: Slot) -> bool {
        self.parts(home).all(|slot| self.queue(slot).is_unused())
    }

    /// Whether something at the front of the queue has to be read before it is known what comes next.
    pub(crate) fn needs_load(&self, home: Slot) -> bool {
        let queue = self.queue(home);
        let Some(lanes) = &queue.lanes else { return queue.needs_load() };
        queue.needs_load()
            || lanes.fifo.iter().flatten().any(|&slot| self.queue(slot).needs_load())
            || lanes.due_count() == 0
                && lanes.pulling.iter().any(|&(start_ms, slot)| {
                    start_ms <= self.wall_ms && self.queue(slot).loading.is_some()
                })
    }

    /// The lane of a queue, made if there is none.
    pub(crate) fn lane_slot(&mut self, home: Slot, lane: Lane, rec: &impl Recorder) -> Slot {
        let Lane::Delayed { start_ms, width_log2, priority } = lane else {
            let found = match (lane, &self.queue(home).lanes) {
                (Lane::Main, _) => return home,
                (_, None) => None,
                (Lane::High, Some(lanes)) => lanes.fifo[0].last(),
                (Lane::Low, Some(lanes)) => lanes.fifo[2].last(),
                (_, Some(lanes)) => lanes.dead.last(),
            };
            return match found.copied() {
                Some(slot) => slot,
                None => self.new_lane(home, lane, rec),
            };
        };
        let wanted = Lane::Delayed { start_ms, width_log2, priority };
        let lanes = self.queue(home).lanes.as_deref();
        let found = lanes.and_then(|lanes| {
            let mut alike = lanes.buckets.range((start_ms, 0)..=(start_ms, u64::MAX));
            alike.find(|&(_, &slot)| self.queue(slot).lane == wanted).map(|(_, &slot)| slot)
        });
        match found {
            Some(slot) => slot,
            None => self.new_lane(home, lane, rec),
        }
    }

    fn new_lane(&mut self, home: Slot, lane: Lane, rec: &impl Recorder) -> Slot {
        let no = self.next_queue_no(rec);
        self.insert_lane(no, home, lane)
    }

    pub(crate) fn insert_lane(&mut self, no: QueueNo, home: Slot, lane: Lane) -> Slot {
        let slot = self.insert_queue(no, bytes::Bytes::new());
        let (name, config) = (self.queue(home).name.clone(), self.queue(home).config.clone());
        let queue = self.queue_mut(slot);
        (queue.lane, queue.home, queue.name, queue.config) = (lane, home, name, config);
        let lanes = self.queue_mut(home).lanes.get_or_insert_default();
        match lane {
            Lane::Delayed { start_ms, .. } => {
                lanes.buckets.insert((start_ms, no.0), slot);
                self.wake(home, start_ms.saturating_sub(LEAD_MS));
            }
            Lane::High => lanes.fifo[0].push(slot),
            Lane::Main => lanes.fifo[1].push(slot),
            Lane::Low => lanes.fifo[2].push(slot),
            Lane::Dead => lanes.dead.push(slot),
        }
        slot
    }

    /// Puts an item that came back to its old place in its lane.
    pub(crate) fn insert_in_place(&mut self, slot: Slot, item: Item) {
        if !self.queue(slot).is_delayed() {
            return self.with(slot, |queue| queue.insert(item));
        }
        self.enter(slot, item);
        let home = self.home(slot);
        self.wake_for_entries(home);
    }

    /// Enters an item of a bucket by its time.
    fn enter(&mut self, slot: Slot, item: Item) {
        let (wall_ms, home) = (self.wall_ms, self.home(slot));
        let entry = (item.due_ms(), item.id, slot);
        let Lane::Delayed { priority, .. } = self.queue(slot).lane else { return };
        if entry.0 <= wall_ms && self.queue(slot).can_expire(&item) {
            self.expiring.insert(home);
        }
        self.with(slot, |queue| queue.insert_returned(item));
        let lanes = self.queue_mut(home).lanes.get_or_insert_default();
        let entries = match entry.0 <= wall_ms {
            true => &mut lanes.due[priority as usize],
            false => &mut lanes.waiting,
        };
        entries.insert(entry);
    }

    /// Takes an item out whose time has come.
    pub(crate) fn take_due(&mut self, priority: Priority, entry: Entry) -> Option<Item> {
        let (_, id, slot) = entry;
        let home = self.home(slot);
        let lanes = self.queue_mut(home).lanes.as_deref_mut()?;
        lanes.due[priority as usize].remove(&entry);
        if !lanes.pulling.is_empty() && lanes.due_count() < STEP_ITEMS / 2 {
            self.wake(home, 0);
        }
        self.with(slot, |queue| queue.returned.remove(&id).inspect(|item| queue.left(item)))
    }

    /// Takes an item of a bucket out that is in memory, whether or not it is entered or its time has come.
    pub(crate) fn take_timed(&mut self, slot: Slot, id: u64) -> Option<Item> {
        let home = self.home(slot);
        if let Some(entry) =
            self.queue(slot).returned.get(&id).map(|item| (item.due_ms(), id, slot))
            && let Some(lanes) = &mut self.queue_mut(home).lanes
        {
            lanes.waiting.remove(&entry);
            lanes.due.iter_mut().for_each(|due| _ = due.remove(&entry));
        }
        self.with(slot, |queue| queue.remove(id))
    }

    /// Nothing of this lane is entered any more; to be called before its items go.
    pub(crate) fn forget_entries(&mut self, slot: Slot) {
        let Lane::Delayed { start_ms, .. } = self.queue(slot).lane else { return };
        let home = self.home(slot);
        let Self { queues, .. } = self;
        let Ok([bucket, queue]) = queues.get_disjoint_mut([slot as usize, home as usize]) else {
            return;
        };
        let (Some(bucket), Some(queue)) = (bucket, queue) else { return };
        let Some(lanes) = &mut queue.lanes else { return };
        lanes.pulling.remove(&(start_ms, slot));
        for item in bucket.returned.values() {
            let entry = (item.due_ms(), item.id, slot);
            if !lanes.waiting.remove(&entry) {
                lanes.due.iter_mut().for_each(|due| _ = due.remove(&entry));
            }
        }
    }

    /// A bucket may have become empty: it goes then, when nobody is in the middle of something.
    pub(crate) fn note_emptied(&mut self, slot: Slot) {
        if self.queue(slot).is_delayed() {
            self.emptied.push(slot);
        }
    }

    /// Buckets that are empty go, in memory only: nothing in the log needs them.
    pub(crate) fn tidy(&mut self) {
        while let Some(slot) = self.emptied.pop() {
            let is_over = |queue: &Queue| queue.is_delayed() && queue.is_unused();
            if self.queues.get(slot as usize).and_then(Option::as_deref).is_some_and(is_over) {
                self.drop_lane(slot);
            }
        }
    }

    /// A lane goes; nothing is in it any more.
    pub(crate) fn drop_lane(&mut self, slot: Slot) {
        let Some(lane) = self.queues[slot as usize].take() else { return };
        let home = self.queues[lane.home as usize].as_deref_mut();
        if let Some(lanes) = home.and_then(|home| home.lanes.as_deref_mut()) {
            lanes.past.add(&lane.counters);
            if let Lane::Delayed { start_ms, .. } = lane.lane {
                lanes.buckets.remove(&(start_ms, lane.no.0));
                lanes.pulling.remove(&(start_ms, slot));
            }
            lanes.fifo.iter_mut().for_each(|fifo| fifo.retain(|fifo| *fifo != slot));
            lanes.dead.retain(|dead| *dead != slot);
        }
        self.forget_lane(slot, &lane);
    }

    /// What happened in a queue and in all its lanes, also those that are gone.
    pub(crate) fn counters_of(&self, home: Slot) -> QueueCounters {
        let queue = self.queue(home);
        let mut sum = queue.counters;
        if let Some(lanes) = &queue.lanes {
            sum.add(&lanes.past);
            lanes.all().for_each(|slot| sum.add(&self.queue(slot).counters));
            // Who moved within the queue is counted where he came to, too.
            sum.total_items -= sum.moved_within;
        }
        sum
    }

    /// What is to be handed out next. What has expired or has come too often leaves on the way.
    pub(crate) fn next_item(&mut self, now: Now, home: Slot, rec: &mut impl Recorder) -> Next {
        if self.queue(home).lanes.is_none() {
            return match self.next_of_lane(now, home, rec) {
                Ok(Some(_)) => Next::Head(home),
                _ => Next::None,
            };
        }
        for _ in 0..2 {
            self.advance(now, home);
            for priority in Priority::ALL {
                match self.next_of_level(now, home, priority, rec) {
                    Err(()) => return Next::None,
                    Ok(Next::None) => {}
                    Ok(next) => return next,
                }
            }
            // What has just expired may have been what the next bucket had to wait for.
            if !self.is_alarmed(now, home) {
                break;
            }
        }
        Next::None
    }

    fn is_alarmed(&self, now: Now, home: Slot) -> bool {
        let alarm_ms = self.queue(home).lanes.as_ref().and_then(|lanes| lanes.alarm_ms);
        alarm_ms.is_some_and(|alarm_ms| alarm_ms <= now.wall_ms)
    }

    /// `Err`: nothing of a lower level may overtake what cannot be handed out at the moment.
    fn next_of_level(
        &mut self,
        now: Now,
        home: Slot,
        priority: Priority,
        rec: &mut impl Recorder,
    ) -> Result<Next, ()> {
        let mut slots = Slots::new();
        if priority == Priority::Normal {
            slots.push(home);
        }
        if let Some(lanes) = &self.queue(home).lanes {
            slots.extend(lanes.fifo[priority as usize].iter().copied());
        }
        let mut first: Option<(u64, u64, Slot)> = None;
        for slot in slots {
            match self.next_of_lane(now, slot, rec) {
                Ok(Some((put_ms, id))) => {
                    let found = (put_ms, id, slot);
                    first = Some(first.map_or(found, |first| first.min(found)));
                }
                Ok(None) => {}
                Err(()) => return Err(()),
            }
        }
        let due = self.next_due(now, home, priority, u64::MAX, rec)?;
        Ok(match (first, due) {
            (Some((put_ms, ..)), Some(entry)) if entry.0 < put_ms => Next::Due(priority, entry),
            (Some((_, _, slot)), _) => Next::Head(slot),
            (None, Some(entry)) => Next::Due(priority, entry),
            (None, None) => Next::None,
        })
    }

    /// When the head of a lane was put, and its id; `None` if there is none. `Err`: it cannot be handed out at the moment.
    fn next_of_lane(
        &mut self,
        now: Now,
        slot: Slot,
        rec: &mut impl Recorder,
    ) -> Result<Option<(u64, u64)>, ()> {
        self.drop_expired_head(now, slot, u64::MAX, rec);
        let queue = self.queue(slot);
        let Some(head) = queue.head() else {
            if queue.needs_load() {
                self.want_load(slot);
                return Err(());
            }
            return Ok(None);
        };
        if queue.is_expired(head, now) || queue.is_dead(head) {
            // It is to go to another queue, for which there is no room on the disk at the moment.
            return Err(());
        }
        Ok(Some((head.put_ms, head.id)))
    }

    /// Of the items of a level whose time has come the first one, after at most `max` that have expired.
    pub(crate) fn next_due(
        &mut self,
        now: Now,
        home: Slot,
        priority: Priority,
        max: u64,
        rec: &mut impl Recorder,
    ) -> Result<Option<Entry>, ()> {
        let mut expired = 0;
        loop {
            let lanes = self.queue(home).lanes.as_deref();
            let Some(&entry) = lanes.and_then(|lanes| lanes.due[priority as usize].first()) else {
                return Ok(None);
            };
            let (_, id, slot) = entry;
            let queue = self.queue(slot);
            let Some(item) = queue.returned.get(&id) else {
                debug_assert!(false, "what is entered is there");
                self.take_due(priority, entry);
                continue;
            };
            let is_expired = queue.is_expired(item, now);
            if !(is_expired && expired < max || queue.is_dead(item)) {
                return Ok(Some(entry));
            }
            let moves = !is_expired || queue.expires_elsewhere();
            if moves && !rec.has_room(item.body.len() as u64) {
                self.stayed.insert(home);
                return Err(());
            }
            let Some(item) = self.take_due(priority, entry) else { continue };
            match is_expired {
                true => {
                    expired += 1;
                    self.expire(now, slot, item, rec);
                }
                false => self.bury_dead(now, slot, item, rec),
            }
            self.note_emptied(slot);
        }
    }

    /// Time has passed for a queue: what has become ready is, and buckets that begin are pulled. A bounded piece of it; there is an alarm for the rest.
    pub(crate) fn advance(&mut self, now: Now, home: Slot) {
        let Some(lanes) = &self.queue(home).lanes else { return };
        if lanes.alarm_ms.is_none_or(|alarm_ms| alarm_ms > now.wall_ms) {
            return;
        }
        self.set_alarm(home, None);
        let begins_by_ms = now.wall_ms.saturating_add(LEAD_MS);
        // Not if that was done in this millisecond, or before the clock was put back.
        if let Some(lanes) = &mut self.queue_mut(home).lanes
            && lanes.begun_to_ms <= begins_by_ms
        {
            let begun = lanes.buckets.range((lanes.begun_to_ms, 0)..=(begins_by_ms, u64::MAX));
            lanes.pulling.extend(begun.map(|(&(start_ms, _), &slot)| (start_ms, slot)));
            lanes.begun_to_ms = begins_by_ms.saturating_add(1);
        }
        let is_stuck = self.pull(home);
        self.promote(now, home);
        let Some(lanes) = &self.queue(home).lanes else { return };
        let is_pulling = !lanes.pulling.is_empty();
        let not_begun = (lanes.begun_to_ms, 0)..;
        let later = lanes.buckets.range(not_begun).next().map(|(&(start_ms, _), _)| start_ms);
        if let Some(start_ms) = later {
            self.wake(home, start_ms.saturating_sub(LEAD_MS));
        }
        if is_pulling {
            self.wake(home, if is_stuck { now.wall_ms + RETRY_MS } else { 0 });
        }
        self.wake_for_entries(home);
    }

    /// As [`Engine::advance`], until nothing more can be done at the moment.
    pub(crate) fn advance_all(&mut self, now: Now, home: Slot) {
        let is_due = |lanes: &Lanes| lanes.alarm_ms.is_some_and(|at_ms| at_ms <= now.wall_ms);
        while self.queue(home).lanes.as_deref().is_some_and(is_due) {
            self.advance(now, home);
        }
    }

    /// Enters items of the buckets that have begun; true if nothing more can be done at the moment.
    fn pull(&mut self, home: Slot) -> bool {
        const STEP_BUCKETS: usize = 256;
        let mut left = STEP_ITEMS;
        let lanes = self.queue(home).lanes.as_deref();
        let pulling: Vec<(u64, Slot)> = lanes
            .into_iter()
            .flat_map(|lanes| &lanes.pulling)
            .copied()
            .take(STEP_BUCKETS)
            .collect();
        for (start_ms, slot) in pulling {
            while left > 0 {
                let Some(item) = self.with(slot, Queue::take_ready) else { break };
                left -= 1;
                self.enter(slot, item);
            }
            let queue = self.queue(slot);
            if queue.is_pulled() {
                if let Some(lanes) = &mut self.queue_mut(home).lanes {
                    lanes.pulling.remove(&(start_ms, slot));
                }
            } else if left > 0 && self.may_load_bucket(home, slot) {
                self.want_load(slot);
            }
            if left == 0 {
                return false;
            }
        }
        true
    }

    fn may_load_bucket(&self, home: Slot, slot: Slot) -> bool {
        const KEPT_FREE_BYTES: u64 = 1024 * 1024;
        // So much has to be in memory, however full it is: what is due first need not have come first.
        const ALWAYS_ITEMS: usize = 10_000;
        const ALWAYS_BYTES: u64 = 4 * 1024 * 1024;
        let queue = self.queue(home);
        let entered = queue.lanes.as_ref().map_or(0, |lanes| lanes.entered());
        let bucket = self.queue(slot);
        // One of which nothing is known may hold what is due first.
        bucket.returned.is_empty()
            || entered < ALWAYS_ITEMS && bucket.hot_cost() < ALWAYS_BYTES
            || entered < ENTERED_MAX
                && self.memory_left() > KEPT_FREE_BYTES
                && bucket.hot_cost() < bucket.config.max_memory_size / 2
    }

    /// Items whose time has come are ready.
    fn promote(&mut self, now: Now, home: Slot) {
        let Self { queues, .. } = self;
        let mut moved = Vec::new();
        if let Some(lanes) =
            queues[home as usize].as_deref_mut().and_then(|queue| queue.lanes.as_deref_mut())
        {
            while moved.len() < STEP_ITEMS
                && lanes.waiting.first().is_some_and(|entry| entry.0 <= now.wall_ms)
            {
                moved.extend(lanes.waiting.pop_first());
            }
        }
        for entry in moved {
            let (_, id, slot) = entry;
            let bucket = self.queue(slot);
            let Lane::Delayed { priority, .. } = bucket.lane else { continue };
            if bucket.returned.get(&id).is_some_and(|item| bucket.can_expire(item)) {
                self.expiring.insert(home);
            }
            if let Some(lanes) = &mut self.queue_mut(home).lanes {
                lanes.due[priority as usize].insert(entry);
            }
        }
    }

    fn wake_for_entries(&mut self, home: Slot) {
        let lanes = self.queue(home).lanes.as_deref();
        if let Some(&(due_ms, ..)) = lanes.and_then(|lanes| lanes.waiting.first()) {
            self.wake(home, due_ms);
        }
    }

    /// The queue is to be seen to no later than that, unix time in milliseconds.
    pub(crate) fn wake(&mut self, home: Slot, at_ms: u64) {
        let alarm_ms = self.queue(home).lanes.as_ref().and_then(|lanes| lanes.alarm_ms);
        if alarm_ms.is_none_or(|alarm_ms| at_ms < alarm_ms) {
            self.set_alarm(home, Some(at_ms));
        }
    }

    fn set_alarm(&mut self, home: Slot, at_ms: Option<u64>) {
        let Some(lanes) = self.queue_mut(home).lanes.as_deref_mut() else { return };
        let before = core::mem::replace(&mut lanes.alarm_ms, at_ms);
        if let Some(before) = before {
            self.alarms.remove(&(before, home));
        }
        if let Some(at_ms) = at_ms {
            self.alarms.insert((at_ms, home));
        }
    }

    /// What items of a bucket may take in memory that has not begun, in bytes: they must leave room for those that have.
    pub(crate) fn memory_for(&self, slot: Slot) -> u64 {
        let left = self.memory_left();
        let Lane::Delayed { start_ms, .. } = self.queue(slot).lane else { return left };
        let lanes = self.queue(self.home(slot)).lanes.as_ref();
        let has_begun = lanes.is_some_and(|lanes| start_ms < lanes.begun_to_ms);
        match has_begun || left == KEEP_ALL {
            true => left,
            false => left.saturating_sub(self.limits.max_memory_size / 2),
        }
    }

    /// Something came into a bucket, or can be reached there: it is pulled if its time has begun.
    pub(crate) fn wake_bucket(&mut self, slot: Slot) {
        let Lane::Delayed { start_ms, .. } = self.queue(slot).lane else { return };
        let home = self.home(slot);
        let Some(lanes) = &mut self.queue_mut(home).lanes else { return };
        if start_ms < lanes.begun_to_ms {
            lanes.pulling.insert((start_ms, slot));
            self.wake(home, 0);
        } else {
            self.wake(home, start_ms.saturating_sub(LEAD_MS));
        }
    }

    /// Sees to the queues whose alarms have come, some of them: the others' alarms have come, too.
    pub(crate) fn handle_alarms(&mut self, now: Now, rec: &mut impl Recorder) {
        const STEP_QUEUES: usize = 16;
        for _ in 0..STEP_QUEUES {
            let Some(&(at_ms, home)) = self.alarms.first() else { return };
            if at_ms > now.wall_ms {
                return;
            }
            self.advance(now, home);
            self.serve(now, home, rec);
        }
    }

    /// Sees to a queue now if its alarm has come and somebody waits: whoever asks for its next item would silence the alarm.
    pub(crate) fn serve_due(&mut self, now: Now, home: Slot, rec: &mut impl Recorder) {
        if self.queue(home).waiting > 0 && self.is_alarmed(now, home) {
            self.advance(now, home);
            self.serve(now, home, rec);
        }
    }

    /// Those who still wait beside something that is ready are served as by an alarm.
    pub(crate) fn serve_soon(&mut self, home: Slot) {
        let queue = self.queue(home);
        if queue.waiting > 0 && queue.lanes.as_ref().is_some_and(|lanes| lanes.due_count() > 0) {
            self.wake(home, 0);
        }
    }

    /// When the next alarm is, on the monotonic clock. Unix time may be corrected meanwhile, so it is looked at again every now and then.
    pub(crate) fn poll_alarm(&self) -> Option<u64> {
        const LOOK_AGAIN_MS: u64 = 1000;
        let &(at_ms, _) = self.alarms.first()?;
        let in_ms = at_ms.saturating_sub(self.wall_ms).min(LOOK_AGAIN_MS);
        Some(self.mono_ms.saturating_add(in_ms))
    }

    /// Takes note of the present moment: by it items are ready or delayed.
    pub fn note_now(&mut self, now: Now) {
        (self.mono_ms, self.wall_ms) = (now.mono_ms, now.wall_ms);
    }

    /// During replay: the lane with this number; it is made if it was not known.
    pub(crate) fn replay_lane(&mut self, no: QueueNo, home: QueueNo, lane: Lane) -> Slot {
        if let Some(&slot) = self.by_number.get(&no.0) {
            return slot;
        }
        let home = self.slot_of(home);
        self.insert_lane(no, home, lane)
    }

    /// After replay: lanes in which nothing is go, the others get their queue's name and settings.
    pub(crate) fn finish_lanes(&mut self, home: Slot) {
        let lanes: Vec<Slot> = self.parts(home).skip(1).collect();
        for slot in lanes {
            if self.queue(slot).is_empty() {
                self.drop_lane(slot);
                continue;
            }
            let (name, config) = (self.queue(home).name.clone(), self.queue(home).config.clone());
            let queue = self.queue_mut(slot);
            (queue.name, queue.config) = (name, config);
            if queue.is_delayed() {
                // What was replayed out of order.
                for item in core::mem::take(&mut queue.returned).into_values() {
                    self.with(slot, |queue| queue.left(&item));
                    self.enter(slot, item);
                }
                continue;
            }
            let may_expire =
                queue.config.max_age_ms.is_some() || queue.items().any(|item| item.expiry_ms != 0);
            if may_expire && queue.lane != Lane::Dead {
                self.expiring.insert(slot);
            }
        }
        if self.queue(home).lanes.is_some() {
            self.wake(home, 0);
        }
    }

    pub(crate) fn check_lanes(&self, home: Slot) {
        let Some(lanes) = &self.queue(home).lanes else { return };
        let mut entered = 0;
        for &slot in lanes.buckets.values() {
            let bucket = self.queue(slot);
            assert!(bucket.is_delayed() && bucket.home == home, "a bucket of this queue");
            for (id, item) in &bucket.returned {
                let entry = (item.due_ms(), *id, slot);
                let is_entered = lanes.waiting.contains(&entry)
                    || lanes.due.iter().any(|due| due.contains(&entry));
                assert!(is_entered, "item {id} of a bucket is entered");
            }
            entered += bucket.returned.len();
            let has_alarm = lanes.alarm_ms.is_some() || bucket.is_pulled();
            assert!(has_alarm, "somebody sees to the bucket");
        }
        assert_eq!(entered, lanes.entered(), "what is entered is there");
        if let Some(first) = lanes.waiting.first() {
            assert!(
                lanes.alarm_ms.is_some_and(|at_ms| at_ms <= first.0),
                "it becomes ready in time"
            );
        }
        if let Some(at_ms) = lanes.alarm_ms {
            assert!(self.alarms.contains(&(at_ms, home)), "its alarm is set");
        }
        for (&(start_ms, _), &slot) in lanes.buckets.range(..(lanes.begun_to_ms, 0)) {
            let is_pulling = lanes.pulling.contains(&(start_ms, slot));
            assert!(is_pulling || self.queue(slot).is_pulled(), "what has begun is pulled");
        }
        let has_bucket = |&(start_ms, slot): &(u64, Slot)| {
            lanes.buckets.contains_key(&(start_ms, self.queue(slot).no.0))
        };
        assert!(lanes.pulling.iter().all(has_bucket), "what is pulled is there");
        self.check_served(home, lanes);
        for slot in lanes.all() {
            let lane = self.queue(slot);
            let is_listed = match lane.lane {
                Lane::Main => lanes.fifo[1].contains(&slot),
                Lane::High => lanes.fifo[0].contains(&slot),
                Lane::Low => lanes.fifo[2].contains(&slot),
                Lane::Dead => lanes.dead.contains(&slot),
                Lane::Delayed { start_ms, .. } => {
                    lanes.buckets.get(&(start_ms, lane.no.0)) == Some(&slot)
                }
            };
            assert!(is_listed, "a lane is listed as what it is");
            assert_eq!((lane.home, &lane.name), (home, &self.queue(home).name), "a lane of it");
            assert!(lane.waiting == 0 && lane.lanes.is_none(), "who waits waits on the queue");
        }
    }

    fn check_served(&self, home: Slot, lanes: &Lanes) {
        let queue = self.queue(home);
        let is_idle = queue.waiting == 0 || queue.takers.is_empty() || queue.is_paused;
        for &(_, id, slot) in lanes.due.iter().filter_map(BTreeSet::first) {
            let bucket = self.queue(slot);
            let stays = bucket.returned.get(&id).is_none_or(|item| bucket.may_stay(item));
            assert!(
                is_idle || stays || self.needs_load(home) || self.stayed.contains(&home),
                "nobody waits beside an item whose time has come"
            );
        }
    }
}
