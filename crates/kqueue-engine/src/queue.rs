//! One queue: its waiting items in id order, and its counters.
//!
//! Invariants
//! - `ready` is in rising order of id; `returned` holds items that were open and came back (or were read back out of order), also by id. The head of the
//!   queue is the smaller of both heads: a returned item is at its old place without being inserted into the long list.
//! - An id is in at most one of `ready`, `returned` and `open`.
//! - `bytes` is the sum of the bodies of `ready` and `returned`: open items do not count.
//!
//! Must not: record anything, know sessions' other items or other queues.

use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::config::QueueConfig;
use crate::types::{ItemId, Now, QueueNo, Seq, SessionId, Taken};

/// An item of one queue. Copies in sub-queues share the body.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: u64,
    /// Its record in the journal.
    pub(crate) seq: Seq,
    pub(crate) put_ms: u64,
    pub(crate) expiry_ms: u64,
    pub(crate) flags: u32,
    pub(crate) attempts: u32,
    pub(crate) body: Bytes,
    pub(crate) body_crc: u32,
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
    /// When the last item that was removed had been put, unix time in milliseconds; 0: none was removed.
    pub last_put_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) no: QueueNo,
    pub(crate) name: Bytes,
    /// The record that defines it.
    pub(crate) definition: Seq,
    pub(crate) config: QueueConfig,
    ready: VecDeque<Item>,
    returned: BTreeMap<u64, Item>,
    bytes: u64,
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
    pub(crate) fn new(no: QueueNo, name: Bytes, definition: Seq, config: QueueConfig) -> Self {
        Self {
            no,
            name,
            definition,
            config,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            bytes: 0,
            open: BTreeMap::new(),
            takers: VecDeque::new(),
            peekers: VecDeque::new(),
            waiting: 0,
            counters: QueueCounters::default(),
        }
    }

    /// Waiting items.
    pub(crate) fn len(&self) -> u64 {
        (self.ready.len() + self.returned.len()) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty()
    }

    /// Bytes of the bodies of waiting items.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a put has to be refused, or something discarded for it.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.config.max_items || self.bytes >= self.config.max_size
    }

    pub(crate) fn is_expired(&self, item: &Item, now: Now) -> bool {
        let by_age =
            self.config.max_age_ms.is_some_and(|age| item.put_ms.saturating_add(age) < now.wall_ms);
        by_age || (item.expiry_ms != 0 && item.expiry_ms < now.wall_ms)
    }

    /// Whether items of this queue can expire while nobody looks.
    pub(crate) fn can_expire(&self, item: &Item) -> bool {
        item.expiry_ms != 0 || self.config.max_age_ms.is_some()
    }

    /// Puts an item at its place.
    pub(crate) fn insert(&mut self, item: Item) {
        self.bytes += item.body.len() as u64;
        if self.ready.back().is_none_or(|last| last.id < item.id) {
            self.ready.push_back(item);
        } else {
            self.returned.insert(item.id, item);
        }
    }

    /// The next item to be handed out.
    pub(crate) fn head(&self) -> Option<&Item> {
        let returned = self.returned.first_key_value().map(|(_, item)| item);
        match (self.ready.front(), returned) {
            (Some(ready), Some(returned)) if returned.id > ready.id => Some(ready),
            (ready, None) => ready,
            (_, returned) => returned,
        }
    }

    /// Takes the next item out.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let id = self.head()?.id;
        let from_ready = self.ready.front().is_some_and(|item| item.id == id);
        let item = if from_ready { self.ready.pop_front() } else { self.returned.remove(&id) };
        self.bytes -= item.as_ref().map_or(0, |item| item.body.len() as u64);
        self.give_back_memory();
        item
    }

    /// Takes an item out, wherever it waits.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Item> {
        let item = match self.position(id) {
            Some(index) => self.ready.remove(index),
            None => self.returned.remove(&id),
        }?;
        self.bytes -= item.body.len() as u64;
        self.give_back_memory();
        Some(item)
    }

    pub(crate) fn find_mut(&mut self, id: u64) -> Option<&mut Item> {
        match self.position(id) {
            Some(index) => self.ready.get_mut(index),
            None => self.returned.get_mut(&id),
        }
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.ready.binary_search_by_key(&id, |item| item.id).ok()
    }

    /// All waiting items, in no particular order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.ready.iter().chain(self.returned.values())
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
            id: ItemId(item.id),
            flags: item.flags,
            attempts: item.attempts,
            put_ms: item.put_ms,
            body: item.body.clone(),
        }
    }

    /// Checks the invariants of the module's description.
    pub(crate) fn check_invariants(&self) {
        assert!(self.ready.iter().is_sorted_by(|a, b| a.id < b.id), "ready items are in id order");
        let bytes: u64 = self.items().map(|item| item.body.len() as u64).sum();
        assert_eq!(bytes, self.bytes, "bytes are the sum of the waiting bodies");
        for id in self.returned.keys() {
            assert!(self.position(*id).is_none(), "{id} is ready and returned");
        }
        for id in self.open.keys() {
            assert!(self.position(*id).is_none(), "{id} is open and ready");
            assert!(!self.returned.contains_key(id), "{id} is open and returned");
        }
        let c = self.counters;
        assert_eq!(
            c.total_items,
            self.len()
                + self.open.len() as u64
                + c.removed_items
                + c.expired_items
                + c.discarded
                + c.flushed_items,
            "put = waiting + open + removed + expired + discarded + flushed in {:?}",
            self.name
        );
    }
}
