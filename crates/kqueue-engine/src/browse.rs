//! Looking at the items of a queue by their state while it is used, and moving those that are dead.
//!
//! A walk goes through the lanes of a queue, each in the order of its items. What is in memory is shown at once; for what is only on the disk the caller is told what
//! to read, and shows what it read ([`Engine::seen_of_loaded`]). Between two steps anything may happen to the queue: a walk shows what is there when it comes by.
//!
//! Invariant: looking changes nothing. Must not: read anything.

use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::engine::{Engine, Slot, remove};
use crate::extra::{Extra, Lane, Origin};
use crate::load::item_of;
use crate::queue::{Item, Queue};
use crate::record::{Reason, Recorder};
use crate::types::{ItemId, LoadRequest, Loaded, Now, Priority, QueueNo, Seq};

/// What an item of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// It is handed out to the next one who asks.
    Ready,
    /// Not before its time.
    Delayed,
    /// Somebody holds it.
    Open,
    /// It was buried, or came too often.
    Dead,
}

/// How far a walk has come: behind this item of this lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkPlace {
    /// Rises from lane to lane; 0: at the beginning.
    pub lane: u64,
    /// The item's place in it.
    pub id: u64,
}

/// An item that a walk came by.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is.
    pub place: WalkPlace,
    /// The number of the lane in which it is.
    pub part: QueueNo,
    /// By which clients know it.
    pub id: ItemId,
    /// Its level.
    pub priority: Priority,
    /// When its lease ends, on the monotonic clock.
    pub lease_end_ms: Option<u64>,
    /// The item, as its record says.
    pub item: Loaded,
}

/// What a walk makes of items that it had read.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Those that it shows.
    pub seen: Vec<Seen>,
    /// How many of the stretch there were, shown or not.
    pub met: u64,
    /// The rest was written again elsewhere meanwhile: go on behind what was seen.
    pub is_moved: bool,
}

/// What a walk does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkNext {
    /// Go on from here: there may be more.
    Goon(WalkPlace),
    /// Read this first, for items behind `place`; when all of it was seen, go on behind `last_id`.
    Read {
        /// What to read.
        request: LoadRequest,
        /// What was seen before.
        place: WalkPlace,
        /// The last item that may be in it.
        last_id: u64,
        /// How many items there are to be met; `None`: some of them were seen before.
        count: Option<u64>,
    },
    /// There is no more.
    End,
}

/// Codes of the lanes that are not buckets, in the order in which they are walked through.
const HIGH: u64 = 1;
const MAIN: u64 = 2;
const LOW: u64 = 3;
const OWN_DEAD: u64 = 4;
/// Parts of the dead-letter queue: their codes are those above, and this.
const ELSEWHERE: u64 = 4;

impl Engine {
    /// Goes on with a walk over a queue's items in a state: up to `max` items behind `after`, and what to do next. An alias has none.
    pub fn walk(
        &self,
        queue: &[u8],
        state: ItemState,
        after: WalkPlace,
        max: usize,
    ) -> (Vec<Seen>, WalkNext) {
        let mut seen = Vec::new();
        let Some(home) = self.slot_named(queue) else { return (seen, WalkNext::End) };
        let mut lanes = self.lanes_of_state(home, state);
        lanes.sort_unstable();
        for (code, slot) in lanes.into_iter().filter(|(code, _)| *code >= after.lane) {
            let behind = if code == after.lane { after.id } else { 0 };
            let place = WalkPlace { lane: code, id: behind };
            let next = match state {
                ItemState::Open => self.walk_open(slot, place, max, &mut seen),
                _ => self.walk_lane(queue, state, slot, place, max, &mut seen),
            };
            if next != WalkNext::End {
                return (seen, next);
            }
        }
        (seen, WalkNext::End)
    }

    fn lanes_of_state(&self, home: Slot, state: ItemState) -> Vec<(u64, Slot)> {
        let code = |slot: Slot| match self.queue(slot).lane {
            Lane::High => HIGH,
            Lane::Main => MAIN,
            Lane::Low => LOW,
            Lane::Dead => OWN_DEAD,
            // Above all others, and by time.
            Lane::Delayed { start_ms, width_log2, priority } => {
                start_ms << 8 | u64::from(width_log2) << 2 | priority as u64
            }
        };
        let parts = self.parts(home).map(|slot| (code(slot), slot));
        // A stretch of time in which nothing can be in this state is not read for it.
        let is_wanted = |slot: Slot| match state {
            ItemState::Ready => match self.queue(slot).lane {
                Lane::Delayed { start_ms, .. } => start_ms <= self.wall_ms,
                lane => lane != Lane::Dead,
            },
            ItemState::Delayed => {
                self.queue(slot).is_delayed() && !self.is_over(self.queue(slot).lane)
            }
            ItemState::Open => true,
            ItemState::Dead => self.queue(slot).lane == Lane::Dead,
        };
        let mut lanes: Vec<(u64, Slot)> = parts.filter(|&(_, slot)| is_wanted(slot)).collect();
        let target = self.queue(home).dead_letter_queue();
        if state == ItemState::Dead
            && let Some(other) = target.and_then(|target| self.slot_named(target))
        {
            let parts = self.parts(other).map(|slot| (code(slot) + ELSEWHERE, slot));
            lanes.extend(parts.filter(|&(_, slot)| self.queue(slot).lane != Lane::Dead));
        }
        lanes
    }

    fn walk_open(
        &self,
        slot: Slot,
        mut place: WalkPlace,
        max: usize,
        seen: &mut Vec<Seen>,
    ) -> WalkNext {
        // Whoever asks may say any number.
        let behind = (Bound::Excluded(place.id), Bound::Unbounded);
        for (&id, session) in self.queue(slot).open.range(behind) {
            if seen.len() >= max {
                return WalkNext::Goon(place);
            }
            place.id = id;
            let held = self.held.get(session).into_iter().flatten();
            let mut held = held.filter(|held| held.slot == slot && held.item.id == id);
            if let Some(held) = held.next() {
                let lease_end_ms = held.lease.map(|(end_ms, _)| end_ms);
                seen.push(Seen { lease_end_ms, ..self.seen(slot, place, loaded_of(&held.item)) });
            }
        }
        WalkNext::End
    }

    fn walk_lane(
        &self,
        queue: &[u8],
        state: ItemState,
        slot: Slot,
        mut place: WalkPlace,
        max: usize,
        seen: &mut Vec<Seen>,
    ) -> WalkNext {
        /// In one step; what is not wanted costs time, too.
        const LOOKS_MAX: usize = 10_000;
        let lane = self.queue(slot);
        let first_cold = lane.first_cold_behind(place.id);
        let mut looks = 0;
        for item in lane.in_memory_behind(place.id) {
            if first_cold.as_ref().is_some_and(|extent| extent.first_id < item.id) {
                break;
            }
            if seen.len() >= max || looks == LOOKS_MAX {
                return WalkNext::Goon(place);
            }
            (place.id, looks) = (item.id, looks + 1);
            if self.is_wanted(queue, state, slot, item.due_ms(), item.extra.as_deref()) {
                seen.push(self.seen(slot, place, loaded_of(item)));
            }
        }
        match first_cold {
            None => WalkNext::End,
            Some(_) if seen.len() >= max => WalkNext::Goon(place),
            Some(extent) => {
                let (first, last) = (Seq(extent.first_seq), Seq(extent.last_seq));
                let request = LoadRequest { queue: lane.no, first, last, token: u64::MAX };
                let is_whole = place.id < extent.first_id;
                let count = is_whole.then_some(u64::from(extent.count));
                WalkNext::Read { request, place, last_id: extent.last_id, count }
            }
        }
    }

    /// What a walk shows of items that it had read; those that are not there any more, and others, are left out. Items up to `place` were seen before, those behind
    /// `last_id` come later, although their records may lie between.
    pub fn seen_of_loaded(
        &self,
        queue: &[u8],
        state: ItemState,
        request: &LoadRequest,
        place: WalkPlace,
        last_id: u64,
        items: Vec<Loaded>,
    ) -> Walked {
        let mut walked = Walked::default();
        let Some(&slot) = self.by_number.get(&request.queue.0) else { return walked };
        let lane = self.queue(slot);
        let is_here = |item: &Loaded| item.id.0 > place.id && item.id.0 <= last_id;
        for mut item in items.into_iter().filter(is_here) {
            let (id, seq) = (item.id.0, item.seq.0);
            let (in_memory, cold) = (lane.find(id), lane.cold());
            if let Some(found) = in_memory.filter(|found| found.seq == item.seq) {
                item.attempts = found.attempts;
            } else if let Some(cold) = cold.filter(|cold| cold.find(id, seq).is_some()) {
                item.attempts = cold.attempts.get(&id).copied().unwrap_or(item.attempts);
            } else if in_memory.is_some() || cold.is_some_and(|cold| cold.may_have(id)) {
                walked.is_moved = true;
                return walked;
            } else {
                continue;
            }
            walked.met += 1;
            let due_ms = item.extra.as_ref().map_or(0, |extra| extra.due_ms);
            if self.is_wanted(queue, state, slot, due_ms, item.extra.as_deref()) {
                walked.seen.push(self.seen(slot, WalkPlace { id, ..place }, item));
            }
        }
        walked
    }

    fn is_wanted(
        &self,
        queue: &[u8],
        state: ItemState,
        slot: Slot,
        due_ms: u64,
        extra: Option<&Extra>,
    ) -> bool {
        let lane = self.queue(slot);
        match state {
            ItemState::Ready => !lane.is_delayed() || due_ms <= self.wall_ms,
            ItemState::Delayed => due_ms > self.wall_ms,
            ItemState::Open => true,
            ItemState::Dead => {
                lane.lane == Lane::Dead
                    || origin_of(extra).is_some_and(|origin| {
                        origin.queue == queue && origin.reason != Reason::Expired
                    })
            }
        }
    }

    fn seen(&self, slot: Slot, place: WalkPlace, item: Loaded) -> Seen {
        let extra = item.extra.as_deref();
        let id = item.public_id();
        let priority = self.queue(slot).lane.priority(extra);
        Seen { place, part: self.queue(slot).no, id, priority, lease_end_ms: None, item }
    }

    /// A dead letter that a walk came by becomes an item of its queue again, at the end. False: it is not there any more, or there is no room on the disk.
    pub fn kick(&mut self, now: Now, queue: &[u8], seen: &Seen, rec: &mut impl Recorder) -> bool {
        self.note_now(now);
        let Some(home) = self.slot_named(queue) else { return false };
        if !rec.has_room(seen.item.body.len() as u64) {
            return false;
        }
        let Some((slot, item)) = self.extract(seen, rec) else { return false };
        let id = match origin_of(item.extra.as_deref()) {
            Some(origin) if origin.queue == queue => origin.id,
            _ => item.public_id(),
        };
        let is_own = self.home(slot) == home;
        let counters = &mut self.queue_mut(slot).counters;
        match is_own {
            true => counters.moved_within += 1,
            false => counters.moved_away += 1,
        }
        self.queue_mut(home).counters.kicked += 1;
        let priority = item.extra.as_ref().map_or(Priority::Normal, |extra| extra.priority);
        let extra = Extra { id: Some(id), priority, ..Extra::NONE };
        let moved = Item {
            put_ms: now.wall_ms,
            expiry_ms: 0,
            attempts: 0,
            extra: extra.of_item(),
            ..item.clone()
        };
        let lane = crate::lanes::lane_for(now, 0, priority);
        self.move_item(slot, &item, home, lane, moved, Reason::Kicked, rec);
        self.settle(now, rec);
        true
    }

    /// A dead letter that a walk came by is removed. False: it is not there any more.
    pub fn remove_seen(&mut self, seen: &Seen, rec: &mut impl Recorder) -> bool {
        let Some((slot, item)) = self.extract(seen, rec) else { return false };
        let queue = self.queue_mut(slot);
        queue.counters.flushed_items += 1;
        remove(queue.no, &item, Reason::Purged, rec);
        self.tidy();
        true
    }

    /// Takes an item out that waits in a lane, wherever it is; the caller puts it somewhere, or removes it.
    fn extract(&mut self, seen: &Seen, rec: &mut impl Recorder) -> Option<(Slot, Item)> {
        let slot = *self.by_number.get(&seen.part.0)?;
        let (id, seq) = (seen.item.id.0, seen.item.seq);
        let in_memory = match self.queue(slot).is_delayed() {
            true => self.take_timed(slot, id),
            false => self.with(slot, |queue| queue.remove(id)),
        };
        if let Some(item) = in_memory {
            self.note_emptied(slot);
            self.end_hopeless(slot, rec);
            return Some((slot, item));
        }
        let queue = self.queue_mut(slot);
        let index = queue.cold()?.find(id, seq.0)?;
        let bytes = seen.item.body.len() as u64;
        let rest = queue.cold_mut().take_out(index, id, seq.0, bytes, u64::from(seen.item.share));
        rec.unref(seq, 0, rest);
        if !queue.has_cold() {
            self.with(slot, Queue::join_tail);
        }
        self.wake_bucket(slot);
        self.note_emptied(slot);
        // Who only waited for it to be read waits for nothing now.
        self.end_hopeless(slot, rec);
        Some((slot, item_of(seen.item.clone(), seen.item.attempts)))
    }
}

fn origin_of(extra: Option<&Extra>) -> Option<&Origin> {
    extra.and_then(|extra| extra.origin.as_ref())
}

fn loaded_of(item: &Item) -> Loaded {
    Loaded {
        seq: item.seq,
        id: ItemId(item.id),
        flags: item.flags,
        put_ms: item.put_ms,
        expiry_ms: item.expiry_ms,
        attempts: item.attempts,
        body: Bytes::clone(&item.body),
        body_crc: item.body_crc,
        extra: item.extra.clone(),
        share: item.share,
    }
}
