//! One queue: its waiting items in id order, and its counters.
//!
//! ```text
//!   head                                                            tail
//!    returned ∪ ready          │ cold extents          │ tail
//!    in memory                 │ on the disk only      │ in memory until it is written
//! ```
//!
//! Invariants
//! - `ready` is in rising order of id; `returned` holds items that were open and came back (or were read back out of order, or were before one that was taken out of the
//!   middle), also by id. The head of the
//!   queue is the smaller of both heads: a returned item is at its old place without being inserted into the long list.
//! - Items in `tail` come after all extents, those in extents after all in `ready`. There is a `tail` only where there was no room in memory.
//! - An id is in at most one of all of them and `open`.
//! - `bytes` is the sum of the bodies of all waiting items: open ones do not count. `hot_cost` is what `ready` and `returned` take in memory.
//!
//! Must not: record anything, know sessions' other items or other queues.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use bytes::Bytes;

use crate::cold::{Cold, ColdItem, Extent};
use crate::config::QueueConfig;
use crate::extra::{Extra, Lane};
use crate::lanes::Lanes;
use crate::record::Recorder;
use crate::types::{ItemId, Now, QueueNo, Seq, SessionId, Taken};

/// What an item in memory costs besides its body, about, in bytes.
pub(crate) const ITEM_COST_BYTES: u64 = 160;
/// What an [`Extra`], and the entry by its time, cost besides, about, in bytes.
const EXTRA_COST_BYTES: u64 = 240;

/// Items read from the disk are numbered from here on, see [`Item::ord`].
const LOADED_ORD: u32 = 1 << 31;

/// Instead of what is left in memory: everything stays there, whatever the limits say.
pub(crate) const KEEP_ALL: u64 = u64::MAX;

/// An item of one queue. Copies in sub-queues share the body.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: u64,
    /// Its record in the journal; 0: it has none.
    pub(crate) seq: Seq,
    pub(crate) put_ms: u64,
    pub(crate) expiry_ms: u64,
    pub(crate) flags: u32,
    pub(crate) attempts: u32,
    /// What its reference keeps alive in the journal, in bytes.
    pub(crate) share: u32,
    /// Consecutive numbers: no record of this queue lies between two items that is not alive. Items that are put and items that are read from the disk are
    /// numbered apart, for both happen at the same time at different places of the queue.
    pub(crate) ord: u32,
    pub(crate) body: Bytes,
    pub(crate) body_crc: u32,
    pub(crate) extra: Option<Box<Extra>>,
}

impl Item {
    pub(crate) fn cost(&self) -> u64 {
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let origin = extra.origin.as_ref().map_or(0, |origin| origin.queue.len());
            EXTRA_COST_BYTES + (extra.note.len() + origin) as u64
        });
        self.body.len() as u64 + ITEM_COST_BYTES + extra
    }

    /// By which clients know it.
    pub(crate) fn public_id(&self) -> ItemId {
        self.extra.as_ref().and_then(|extra| extra.id).unwrap_or(ItemId(self.id))
    }

    /// When it is, or was, ready: unix time in milliseconds.
    pub(crate) fn due_ms(&self) -> u64 {
        self.extra.as_ref().map_or(0, |extra| extra.due_ms)
    }

    pub(crate) fn as_cold(&self, follows: bool) -> ColdItem {
        ColdItem {
            id: self.id,
            seq: self.seq.0,
            bytes: self.body.len() as u64,
            cost: u64::from(self.share),
            follows,
        }
    }
}

/// What happened in a queue since start, but for `total_items`, which counts what was read back, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are those of Kestrel's statistics, see docs/protocol.md"
)]
pub struct QueueCounters {
    pub total_items: u64,
    pub removed_items: u64,
    pub expired_items: u64,
    pub discarded: u64,
    pub flushed_items: u64,
    pub transactions: u64,
    pub canceled_transactions: u64,
    pub total_flushes: u64,
    /// Items that went to the dead-letter queue.
    pub dead_lettered: u64,
    /// Items that could not be read from the disk any more.
    pub damaged_items: u64,
    /// Items that were written again because their segment was emptied.
    pub rewritten_items: u64,
    /// When the last item that was removed had been put, unix time in milliseconds; 0: none was removed.
    pub last_put_ms: u64,
    /// Items that went to another part of the same queue.
    pub moved_within: u64,
    /// Items that became dead letters and stayed in the queue.
    pub dead_within: u64,
    /// Dead letters that went back to another queue.
    pub moved_away: u64,
    /// Dead letters that became items of the queue again.
    pub kicked: u64,
}

impl QueueCounters {
    /// Items that became dead letters, wherever those are.
    pub fn dead_letters(&self) -> u64 {
        self.dead_lettered + self.dead_within
    }

    /// What happened in a part of a queue happened in the queue.
    pub(crate) fn add(&mut self, part: &Self) {
        // An item that moved is counted where it came to.
        self.total_items += part.total_items;
        self.removed_items += part.removed_items;
        self.expired_items += part.expired_items;
        self.discarded += part.discarded;
        self.flushed_items += part.flushed_items;
        self.transactions += part.transactions;
        self.canceled_transactions += part.canceled_transactions;
        self.total_flushes += part.total_flushes;
        self.dead_lettered += part.dead_lettered;
        self.damaged_items += part.damaged_items;
        self.rewritten_items += part.rewritten_items;
        self.last_put_ms = self.last_put_ms.max(part.last_put_ms);
        self.moved_within += part.moved_within;
        self.dead_within += part.dead_within;
        self.moved_away += part.moved_away;
        self.kicked += part.kicked;
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) no: QueueNo,
    /// A lane has its queue's.
    pub(crate) name: Bytes,
    pub(crate) lane: Lane,
    /// The place of the queue that this is a lane of; its own if it is none.
    pub(crate) home: u32,
    /// Its lanes, if there are any.
    pub(crate) lanes: Option<Box<Lanes>>,
    /// It hands nothing out.
    pub(crate) is_paused: bool,
    /// Its existence is in the journal.
    pub(crate) is_defined: bool,
    /// The record with its name was lost: the name is the one that the configuration gives to where items were moved.
    pub(crate) is_name_guessed: bool,
    pub(crate) config: Arc<QueueConfig>,
    /// When it was made or found, on the monotonic clock.
    pub(crate) created_ms: u64,
    ready: VecDeque<Item>,
    pub(crate) returned: BTreeMap<u64, Item>,
    cold: Option<Box<Cold>>,
    tail: VecDeque<Item>,
    bytes: u64,
    hot_cost: u64,
    next_ord: u32,
    next_loaded_ord: u32,
    /// Items to be discarded from the head as soon as it is in memory: puts that found the queue full.
    pub(crate) to_discard: u64,
    /// The record of this queue that was written again last.
    pub(crate) last_again: Seq,
    /// The token of the read that is under way.
    pub(crate) loading: Option<u64>,
    /// Items handed out tentatively, and to whom.
    pub(crate) open: BTreeMap<u64, SessionId>,
    /// Arrival numbers of those who want an item; some may have ended already.
    pub(crate) takers: VecDeque<u64>,
    /// Arrival numbers of those who want to see the head; some may have ended already.
    pub(crate) peekers: VecDeque<u64>,
    /// How many of both have not ended.
    pub(crate) waiting: usize,
    pub(crate) counters: QueueCounters,
}

impl Queue {
    pub(crate) fn new(no: QueueNo, name: Bytes, config: Arc<QueueConfig>) -> Self {
        Self {
            no,
            name,
            lane: Lane::Main,
            home: 0,
            lanes: None,
            is_paused: false,
            is_defined: false,
            is_name_guessed: false,
            config,
            created_ms: 0,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            cold: None,
            tail: VecDeque::new(),
            bytes: 0,
            hot_cost: 0,
            next_ord: 0,
            next_loaded_ord: LOADED_ORD,
            last_again: Seq(0),
            to_discard: 0,
            loading: None,
            open: BTreeMap::new(),
            takers: VecDeque::new(),
            peekers: VecDeque::new(),
            waiting: 0,
            counters: QueueCounters::default(),
        }
    }

    /// Waiting items.
    pub(crate) fn len(&self) -> u64 {
        self.mem_len() + self.cold.as_ref().map_or(0, |cold| cold.count)
    }

    /// Waiting items in memory.
    pub(crate) fn mem_len(&self) -> u64 {
        (self.ready.len() + self.returned.len() + self.tail.len()) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is in it, nothing of it is held, and nobody waits.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_empty() && self.open.is_empty() && self.waiting == 0
    }

    /// Bytes of the bodies of waiting items.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.cold.as_ref().map_or(0, |cold| cold.bytes)
    }

    /// Bytes of the bodies of waiting items in memory.
    pub(crate) fn mem_bytes(&self) -> u64 {
        self.bytes
    }

    /// About what its waiting items take in the journal, in bytes: bodies, and a record's head and ids of each.
    pub(crate) fn journal_bytes(&self) -> u64 {
        const RECORD_BYTES: u64 = 64;
        if self.config.keep_journal { self.bytes() + self.len() * RECORD_BYTES } else { 0 }
    }

    /// What `ready` and `returned` take in memory, in bytes.
    pub(crate) fn hot_cost(&self) -> u64 {
        self.hot_cost
    }

    /// Whether its items are handed out at their time, not in the order in which they came.
    pub(crate) fn is_delayed(&self) -> bool {
        matches!(self.lane, Lane::Delayed { .. })
    }

    /// Dead letters do not expire.
    pub(crate) fn is_expired(&self, item: &Item, now: Now) -> bool {
        if self.lane == Lane::Dead {
            return false;
        }
        let by_age =
            self.config.max_age_ms.is_some_and(|age| item.put_ms.saturating_add(age) < now.wall_ms);
        by_age || (item.expiry_ms != 0 && item.expiry_ms < now.wall_ms)
    }

    /// Whether items of this queue can expire while nobody looks.
    pub(crate) fn can_expire(&self, item: &Item) -> bool {
        self.lane != Lane::Dead && (item.expiry_ms != 0 || self.config.max_age_ms.is_some())
    }

    /// Whether expired items go to another queue.
    pub(crate) fn expires_elsewhere(&self) -> bool {
        self.config.expire_to_queue.as_deref().is_some_and(|target| *target != self.name[..])
    }

    /// Whether it may be an item that is not handed out and waits for room to go elsewhere.
    pub(crate) fn may_stay(&self, item: &Item) -> bool {
        self.is_dead(item) || self.expires_elsewhere() && self.can_expire(item)
    }

    /// Whether it has come so often that it is a dead letter.
    pub(crate) fn is_dead(&self, item: &Item) -> bool {
        // A queue for dead letters that would be its own keeps what it has.
        let is_last = self.config.dead_letter_queue.is_some() && self.dead_letter_queue().is_none();
        self.lane != Lane::Dead
            && !is_last
            && self.config.max_attempts.is_some_and(|max| item.attempts >= max)
    }

    /// The other queue that gets its dead letters; without one it keeps them itself.
    pub(crate) fn dead_letter_queue(&self) -> Option<&Arc<[u8]>> {
        self.config.dead_letter_queue.as_ref().filter(|target| target[..] != self.name[..])
    }

    /// Whether there is something between what is in memory at the head and what is to be put.
    pub(crate) fn has_cold(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.count > 0)
    }

    pub(crate) fn cold(&self) -> Option<&Cold> {
        self.cold.as_deref()
    }

    pub(crate) fn cold_mut(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// The first items are only on the disk: somebody has to read before anything can be handed out.
    pub(crate) fn needs_load(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty() && self.has_cold()
    }

    /// Whether an item that costs so many bytes may stay in memory, given what is left for all queues, or [`KEEP_ALL`].
    pub(crate) fn has_room_in_memory(&self, cost: u64, left: u64) -> bool {
        left == KEEP_ALL || (cost <= left && self.hot_cost + cost <= self.config.max_memory_size)
    }

    /// Puts a new item at the end; true if it goes to the tail, from where it has to be folded.
    pub(crate) fn append(&mut self, mut item: Item, left: u64) -> bool {
        if self.newest_id().is_some_and(|newest| newest > item.id) {
            self.insert(item);
            return false;
        }
        item.ord = self.take_ord();
        let must_stay = item.seq == Seq(0);
        let has_room =
            !self.has_cold() && self.tail.is_empty() && self.has_room_in_memory(item.cost(), left);
        self.bytes += item.body.len() as u64;
        if must_stay || has_room {
            self.hot_cost += item.cost();
            push_exact(&mut self.ready, item);
            return false;
        }
        push_exact(&mut self.tail, item);
        true
    }

    /// The id of the last item that waits, wherever it is (but for those that came back).
    pub(crate) fn newest_id(&self) -> Option<u64> {
        let tail = self.tail.back().map(|item| item.id);
        let cold =
            || self.cold.as_ref().and_then(|cold| cold.extents.back()).map(|last| last.last_id);
        tail.or_else(cold).or_else(|| self.ready.back().map(|item| item.id))
    }

    /// The id of the last item at the head that is in memory (but for those that came back).
    pub(crate) fn last_ready_id(&self) -> Option<u64> {
        self.ready.back().map(|item| item.id)
    }

    fn take_ord(&mut self) -> u32 {
        self.next_ord = (self.next_ord + 1) % LOADED_ORD;
        self.next_ord
    }

    /// Puts an item at its old place.
    pub(crate) fn insert(&mut self, item: Item) {
        self.bytes += item.body.len() as u64;
        self.hot_cost += item.cost();
        let is_last = !self.has_cold() && self.tail.is_empty();
        if is_last && self.ready.back().is_none_or(|last| last.id < item.id) {
            push_exact(&mut self.ready, item);
        } else {
            self.returned.insert(item.id, item);
        }
    }

    /// Puts an item at its place among those that are taken by their time.
    pub(crate) fn insert_returned(&mut self, item: Item) {
        self.bytes += item.body.len() as u64;
        self.hot_cost += item.cost();
        self.returned.insert(item.id, item);
    }

    /// An item was taken out of `returned`.
    pub(crate) fn left(&mut self, item: &Item) {
        self.bytes -= item.body.len() as u64;
        self.hot_cost -= item.cost();
    }

    /// Takes the first item out of those that are in memory in the order in which they came.
    pub(crate) fn take_ready(&mut self) -> Option<Item> {
        let item = self.ready.pop_front();
        self.forget_cost(item.as_ref());
        item
    }

    /// Whether nothing is left but what [`Queue::insert_returned`] put there.
    pub(crate) fn is_pulled(&self) -> bool {
        self.ready.is_empty() && self.tail.is_empty() && !self.has_cold()
    }

    /// Items of the tail that have been written join the extents; they stay if there is room for them again. True if nothing is left in the tail.
    pub(crate) fn fold(&mut self, written: Seq, left: u64, rec: &impl Recorder) -> bool {
        let mut left = left;
        while let Some(item) = self.tail.front().filter(|item| item.seq <= written) {
            let cost = item.cost();
            let stays = !self.has_cold() && self.has_room_in_memory(item.cost(), left);
            let Some(item) = self.tail.pop_front() else { break };
            if stays {
                left -= cost;
                self.hot_cost += cost;
                push_exact(&mut self.ready, item);
            } else {
                self.bytes -= item.body.len() as u64;
                let cold = self.cold_mut();
                let follows = cold.last_ord == Some(item.ord.wrapping_sub(1));
                cold.push(item.as_cold(follows), rec);
                cold.last_ord = Some(item.ord);
            }
        }
        if self.tail.is_empty() {
            self.tail = VecDeque::new();
        }
        self.tail.is_empty()
    }

    /// An item was read from the disk: it comes behind everything in `ready`. `is_break`: something between it and the one before is not alive.
    pub(crate) fn push_loaded(&mut self, mut item: Item, is_break: bool) {
        self.skip_loaded_ords(1 + u32::from(is_break));
        item.ord = self.next_loaded_ord;
        self.bytes += item.body.len() as u64;
        self.hot_cost += item.cost();
        push_exact(&mut self.ready, item);
    }

    fn skip_loaded_ords(&mut self, count: u32) {
        self.next_loaded_ord =
            (self.next_loaded_ord - LOADED_ORD + count) % (LOADED_ORD - 1) + LOADED_ORD;
    }

    /// Whatever is put or read from the disk next does not follow what was before.
    pub(crate) fn break_order(&mut self) {
        self.skip_loaded_ords(1);
        self.take_ord();
        if let Some(cold) = &mut self.cold {
            cold.last_ord = None;
        }
    }

    /// Without extents the tail follows at once.
    pub(crate) fn join_tail(&mut self) {
        if !self.has_cold() {
            self.cold = None;
            self.hot_cost += self.tail.iter().map(Item::cost).sum::<u64>();
            self.ready.append(&mut self.tail);
            self.tail = VecDeque::new();
        }
    }

    /// The next item to be handed out, if it is in memory.
    pub(crate) fn head(&self) -> Option<&Item> {
        let returned = self.returned.first_key_value().map(|(_, item)| item);
        match (self.ready.front(), returned) {
            (Some(ready), Some(returned)) if returned.id > ready.id => Some(ready),
            (None, None) if !self.has_cold() => self.tail.front(),
            (ready, None) => ready,
            (_, returned) => returned,
        }
    }

    /// Takes the next item out, if it is in memory.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let id = self.head()?.id;
        let item = if self.ready.front().is_some_and(|item| item.id == id) {
            self.ready.pop_front()
        } else if let Some(item) = self.returned.remove(&id) {
            Some(item)
        } else {
            let item = self.tail.pop_front()?;
            self.bytes -= item.body.len() as u64;
            return Some(item);
        };
        self.forget_cost(item.as_ref());
        item
    }

    fn forget_cost(&mut self, item: Option<&Item>) {
        self.bytes -= item.map_or(0, |item| item.body.len() as u64);
        self.hot_cost -= item.map_or(0, Item::cost);
        self.give_back_memory();
    }

    /// Takes an item in memory out, wherever it waits.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Item> {
        if let Ok(index) = self.tail.binary_search_by_key(&id, |item| item.id) {
            let item = self.tail.remove(index)?;
            self.bytes -= item.body.len() as u64;
            self.break_order();
            return Some(item);
        }
        let item = match self.position(id) {
            Some(index) => self.remove_ready(index),
            None => self.returned.remove(&id),
        }?;
        self.forget_cost(Some(&item));
        Some(item)
    }

    /// Takes an item out of `ready`. If it is far from both ends those before it become `returned`, each of them once: where every other item is taken out, one by one, each
    /// would move half of the queue otherwise.
    fn remove_ready(&mut self, index: usize) -> Option<Item> {
        const NEAR: usize = 16;
        let behind = self.ready.len() - 1 - index;
        // What is in `returned` of a bucket is entered by its time.
        if index.min(behind) <= NEAR || self.is_delayed() {
            return self.ready.remove(index);
        }
        let before = self.ready.drain(..index).map(|item| (item.id, item));
        match self.returned.is_empty() {
            // Much faster than one by one, as they are in order.
            true => self.returned = before.collect(),
            false => self.returned.extend(before),
        }
        self.ready.pop_front()
    }

    /// Replaces an item in memory by another one with the same id, wherever it waits; gives the old one back, or the new one if there is none to be replaced.
    pub(crate) fn replace(&mut self, item: Item) -> Result<Item, Item> {
        let Some(found) = self.find_mut(item.id) else { return Err(item) };
        let ord = found.ord;
        let (bytes, cost) = (item.body.len() as u64, item.cost());
        let id = item.id;
        let old = core::mem::replace(found, Item { ord, ..item });
        self.bytes = self.bytes + bytes - old.body.len() as u64;
        if self.tail.binary_search_by_key(&id, |item| item.id).is_err() {
            self.hot_cost = self.hot_cost + cost - old.cost();
        }
        Ok(old)
    }

    pub(crate) fn find_mut(&mut self, id: u64) -> Option<&mut Item> {
        if let Some(index) = self.position(id) {
            return self.ready.get_mut(index);
        }
        if self.returned.contains_key(&id) {
            return self.returned.get_mut(&id);
        }
        let index = self.tail.binary_search_by_key(&id, |item| item.id).ok()?;
        self.tail.get_mut(index)
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.ready.binary_search_by_key(&id, |item| item.id).ok()
    }

    /// All waiting items in memory: those before the extents, then those behind, each in order of id.
    pub(crate) fn in_memory(&self) -> (Merged<'_>, impl Iterator<Item = &Item>) {
        let head = Merged {
            ready: self.ready.iter().peekable(),
            returned: self.returned.range(0..).map(value as _).peekable(),
        };
        (head, self.tail.iter())
    }

    /// The waiting items in memory whose ids are above `id`, in order of id.
    pub(crate) fn in_memory_behind(&self, id: u64) -> impl Iterator<Item = &Item> {
        let behind = |items: &VecDeque<Item>| items.partition_point(|item| item.id <= id);
        let head = Merged {
            ready: self.ready.range(behind(&self.ready)..).peekable(),
            returned: self.returned.range(id.saturating_add(1)..).map(value as _).peekable(),
        };
        head.chain(self.tail.range(behind(&self.tail)..))
    }

    /// The first extent that may have an item whose id is above `id`.
    pub(crate) fn first_cold_behind(&self, id: u64) -> Option<&Extent> {
        let extents = &self.cold()?.extents;
        extents.get(extents.partition_point(|extent| extent.last_id <= id))
    }

    /// A waiting item in memory.
    pub(crate) fn find(&self, id: u64) -> Option<&Item> {
        let in_list = |items: &VecDeque<Item>| items.binary_search_by_key(&id, |item| item.id).ok();
        if let Some(index) = self.position(id) {
            return self.ready.get(index);
        }
        let returned = self.returned.get(&id);
        returned.or_else(|| self.tail.get(in_list(&self.tail)?))
    }

    /// All waiting items in memory, in no particular order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.ready.iter().chain(self.returned.values()).chain(&self.tail)
    }

    /// Everything that waits goes; answers what it kept alive in the journal, extents first.
    pub(crate) fn drain(&mut self, rec: &mut impl Recorder) {
        if let Some(mut cold) = self.cold.take() {
            for (seq, refs, cost) in cold.drain() {
                rec.unref(seq, refs, cost);
            }
        }
        for item in self.items() {
            rec.unref(item.seq, 1, u64::from(item.share));
        }
        (self.ready, self.tail) = (VecDeque::new(), VecDeque::new());
        self.returned.clear();
        (self.bytes, self.hot_cost, self.to_discard) = (0, 0, 0);
        self.break_order();
    }

    /// A queue that was long once does not keep its memory for ever.
    fn give_back_memory(&mut self) {
        const KEPT: usize = 64;
        if self.ready.is_empty() && self.ready.capacity() > KEPT {
            self.ready = VecDeque::new();
        } else if self.ready.capacity() > KEPT && self.ready.len() < self.ready.capacity() / 8 {
            self.ready.shrink_to(self.ready.capacity() / 4);
        }
    }

    pub(crate) fn show(&self, item: &Item) -> Taken {
        Taken {
            queue: self.name.clone(),
            id: item.public_id(),
            flags: item.flags,
            attempts: item.attempts,
            put_ms: item.put_ms,
            body: item.body.clone(),
        }
    }

    /// Checks the invariants of the module's description.
    pub(crate) fn check_invariants(&self) {
        assert!(self.ready.iter().is_sorted_by(|a, b| a.id < b.id), "ready items are in id order");
        assert!(self.tail.iter().is_sorted_by(|a, b| a.id < b.id), "the tail is in id order");
        let bytes: u64 = self.items().map(|item| item.body.len() as u64).sum();
        assert_eq!(bytes, self.bytes, "bytes are the sum of the waiting bodies");
        let hot = self.ready.iter().chain(self.returned.values());
        assert_eq!(hot.map(Item::cost).sum::<u64>(), self.hot_cost, "cost of what is in memory");
        for id in self.returned.keys() {
            assert!(self.position(*id).is_none(), "{id} is ready and returned");
        }
        for id in self.open.keys() {
            assert!(self.position(*id).is_none(), "{id} is open and ready");
            assert!(!self.returned.contains_key(id), "{id} is open and returned");
        }
        if let Some(cold) = &self.cold {
            cold.check_invariants();
            let first = cold.extents.front().map(|first| first.first_id);
            let last = cold.extents.back().map(|last| last.last_id);
            let is_before = |item: Option<&Item>| item.is_none_or(|item| Some(item.id) < first);
            assert!(first.is_none() || is_before(self.ready.back()), "ready, then extents");
            let behind = self.tail.front().map(|item| item.id);
            assert!(behind.is_none() || last < behind, "extents, then the tail");
        }
        let c = self.counters;
        assert_eq!(
            c.total_items,
            self.len()
                + self.open.len() as u64
                + c.removed_items
                + c.expired_items
                + c.discarded
                + c.flushed_items
                + c.dead_lettered
                + c.moved_within
                + c.moved_away
                + c.damaged_items,
            "put = waiting + open + removed + expired + discarded + flushed + dead in {:?}",
            self.name
        );
    }
}

/// The first item gets room for itself only: a queue of one item is the usual one where there are many, and it would get room for four.
fn push_exact(items: &mut VecDeque<Item>, item: Item) {
    if items.capacity() == 0 {
        items.reserve_exact(1);
    }
    items.push_back(item);
}

/// The items of two lists in order of id.
pub(crate) struct Merged<'a> {
    ready: core::iter::Peekable<alloc::collections::vec_deque::Iter<'a, Item>>,
    pub(crate) returned: core::iter::Peekable<Returned<'a>>,
}

type Returned<'a> = core::iter::Map<
    alloc::collections::btree_map::Range<'a, u64, Item>,
    fn((&'a u64, &'a Item)) -> &'a Item,
>;

fn value<'a>((_, item): (&'a u64, &'a Item)) -> &'a Item {
    item
}

impl<'a> Iterator for Merged<'a> {
    type Item = &'a Item;

    fn next(&mut self) -> Option<&'a Item> {
        match (self.ready.peek(), self.returned.peek()) {
            (Some(ready), Some(returned)) if returned.id < ready.id => self.returned.next(),
            (None, _) => self.returned.next(),
            _ => self.ready.next(),
        }
    }
}
