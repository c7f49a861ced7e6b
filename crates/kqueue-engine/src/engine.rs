//! The queues of a server: how they come and go, and what is put into them.
//!
//! Invariants
//! - Every change that must survive a restart is recorded before the call returns, in one record if it must be all or nothing.
//! - A session that waits is served in order of arrival and gets exactly one [`Delivery`].
//! - An item is in exactly one place: waiting in its queue, or open with one session.
//! - An item's id is the sequence number of the record that put it, so ids rise for ever without a counter of their own. The same goes for queue numbers.
//!
//! Must not: know the wire, files, clocks or how records are stored.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;

use crate::alias::AliasCounters;
use crate::config::{ConfigTable, SyncPolicy, master_of};
use crate::extra::{Extra, KeyHash, Lane};
use crate::keys::Keys;
use crate::lanes::{Entry, lane_for};
use crate::queue::{ITEM_COST_BYTES, Item, KEEP_ALL, Queue};
use crate::record::{PutRecord, Reason, Record, Recorder};
use crate::types::{
    Delivery, ItemId, Now, Priority, PutArgs, PutOutcome, QueueNo, Refusal, Seq, SessionId,
};
use crate::waiting::{Leases, Waiters};

/// Sub-queues of one master. A put names all its queues in one record, which has room for twice as many, also when it is written again.
pub(crate) const SUB_QUEUES_MAX: usize = 4000;
/// Up to this length a body is copied rather than shared with whoever brought it, in bytes: what counts the references to a shared one takes more memory than a copy saves.
const COPIED_BODY_BYTES_MAX: usize = 256;

/// Place of a queue in the list of queues.
pub(crate) type Slot = u32;
/// Some queues.
pub(crate) type Slots = SmallVec<[Slot; 4]>;

/// An item in a session's hands.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) slot: Slot,
    pub(crate) item: Item,
    /// Handed to a plain get that waited; removed when the session picks it up.
    pub(crate) is_handed: bool,
    /// Others may settle it: it stays open until its lease ends, whether its session still lives or not.
    pub(crate) is_lent: bool,
    /// Its entry among the leases.
    pub(crate) lease: Option<(u64, u64)>,
}

/// What is discarded next.
enum Discard {
    /// The head of this lane.
    Head(Slot),
    /// This one, whose time has come.
    Due(Priority, Entry),
}

/// What happened on the server since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names are those of Kestrel's statistics, see docs/protocol.md"
)]
pub struct EngineCounters {
    pub total_items: u64,
    pub queue_creates: u64,
    pub queue_deletes: u64,
    pub queue_expires: u64,
    /// Puts that were answered as stored because they repeated one.
    pub repeated_puts: u64,
}

/// Limits of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// How many items of one queue a session may hold.
    pub max_open_per_queue: u32,
    /// What the waiting items of all queues may take in memory, in bytes.
    pub max_memory_size: u64,
    /// How many queues there may be.
    pub max_queues: u64,
    /// For how long a key is known after its put, in milliseconds.
    pub key_window_ms: u64,
    /// How many keys are known at most.
    pub keys_max: u64,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            max_open_per_queue: 100,
            max_memory_size: 128 << 20,
            max_queues: 1_000_000,
            key_window_ms: 600_000,
            keys_max: 1_000_000,
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    pub(crate) table: ConfigTable,
    pub(crate) limits: EngineLimits,
    pub(crate) queues: Vec<Option<Box<Queue>>>,
    free: Vec<Slot>,
    pub(crate) by_name: HashMap<Bytes, Slot>,
    pub(crate) by_number: BTreeMap<u64, Slot>,
    /// By the master's name, whether or not the master exists.
    pub(crate) children: HashMap<Bytes, Slots>,
    pub(crate) held: HashMap<SessionId, VecDeque<Held>>,
    pub(crate) waiters: Waiters,
    pub(crate) leases: Leases,
    pub(crate) deliveries: VecDeque<Delivery>,
    /// Queues that may hold items which expire.
    pub(crate) expiring: BTreeSet<Slot>,
    /// Queues with something at their head that is to go elsewhere, for which there was no room.
    pub(crate) stayed: BTreeSet<Slot>,
    /// Queues that may only have been looked into, in order of creation; some may be gone, or used by now.
    pub(crate) looked_into: VecDeque<Slot>,
    /// Queues that are deleted when they are old and unused.
    pub(crate) aging: BTreeSet<Slot>,
    /// Queues with items that have to be written before they are forgotten.
    pub(crate) folding: BTreeSet<Slot>,
    /// Queues whose items have to be read from the disk.
    pub(crate) loads: VecDeque<Slot>,
    pub(crate) stalled_loads: Vec<Slot>,
    pub(crate) next_token: u64,
    /// Queues that received items in the course of something else, and whose waiters were not served yet.
    pub(crate) pending: Vec<Slot>,
    /// What `ready` and `returned` of all queues take in memory.
    pub(crate) hot_cost: u64,
    /// What lent items take in memory.
    pub(crate) lent_bytes: u64,
    /// Nothing of what is replayed is forgotten: it was written by a version that kept everything in memory.
    pub(crate) keeps_all: bool,
    /// See [`Engine::keep_old`].
    pub(crate) keeps_old: bool,
    /// During replay: what queues known by number only are called, to judge by what was moved into them.
    pub(crate) likely_names: BTreeMap<u64, Bytes>,
    /// During replay: keys of what was put into queues that had no name by then.
    pub(crate) keys_of_nameless: Vec<(QueueNo, KeyHash, ItemId)>,
    pub(crate) last_id: u64,
    /// The latest put time that was replayed, unix time in milliseconds.
    pub(crate) newest_put_ms: u64,
    last_no: u64,
    /// Queues whose lanes have something to do by themselves, by when: unix time in milliseconds.
    pub(crate) alarms: BTreeSet<(u64, Slot)>,
    /// Buckets that may be empty.
    pub(crate) emptied: Vec<Slot>,
    pub(crate) keys: Keys,
    /// The latest moment that the engine was told, on both clocks.
    pub(crate) mono_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) counters: EngineCounters,
    pub(crate) alias_counters: BTreeMap<Box<[u8]>, AliasCounters>,
}

impl Engine {
    /// No queue yet.
    pub fn new(table: ConfigTable, limits: EngineLimits) -> Self {
        Self {
            table,
            limits,
            queues: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::with_hasher(DefaultHashBuilder::default()),
            by_number: BTreeMap::new(),
            children: HashMap::with_hasher(DefaultHashBuilder::default()),
            held: HashMap::with_hasher(DefaultHashBuilder::default()),
            waiters: Waiters::default(),
            leases: Leases::default(),
            deliveries: VecDeque::new(),
            expiring: BTreeSet::new(),
            stayed: BTreeSet::new(),
            looked_into: VecDeque::new(),
            aging: BTreeSet::new(),
            folding: BTreeSet::new(),
            loads: VecDeque::new(),
            stalled_loads: Vec::new(),
            next_token: 1,
            pending: Vec::new(),
            hot_cost: 0,
            lent_bytes: 0,
            keeps_all: false,
            keeps_old: false,
            likely_names: BTreeMap::new(),
            keys_of_nameless: Vec::new(),
            last_id: 0,
            newest_put_ms: 0,
            last_no: 0,
            alarms: BTreeSet::new(),
            emptied: Vec::new(),
            keys: Keys::default(),
            mono_ms: 0,
            wall_ms: 0,
            counters: EngineCounters::default(),
            alias_counters: BTreeMap::new(),
        }
    }

    /// Puts an item into a queue, which is made if there is none, and into its sub-queues; or to everything that an alias stands for.
    pub fn put(&mut self, now: Now, args: PutArgs<'_>, rec: &mut impl Recorder) -> PutOutcome {
        self.note_now(now);
        let Some(key) = args.key else { return self.put_anywhere(now, args, rec) };
        if let Some(repeated) = self.repeated(now, key) {
            self.counters.repeated_puts += 1;
            return repeated;
        }
        let outcome = self.put_anywhere(now, args, rec);
        if let PutOutcome::Stored { id, seq, sync } = outcome {
            self.note_key(key, now.wall_ms, id, seq, sync);
        }
        outcome
    }

    fn put_anywhere(&mut self, now: Now, args: PutArgs<'_>, rec: &mut impl Recorder) -> PutOutcome {
        match self.table.aliases.get(args.queue) {
            None => self.put_one(now, args, rec),
            Some(destinations) => self.put_to_all(now, &args, &destinations.clone(), rec),
        }
    }

    pub(crate) fn put_one(
        &mut self,
        now: Now,
        args: PutArgs<'_>,
        rec: &mut impl Recorder,
    ) -> PutOutcome {
        let master = match self.slot_or_create(now, args.queue, &[], rec) {
            Ok(slot) => slot,
            Err(refusal) => return PutOutcome::Refused(refusal),
        };
        let config = &self.queue(master).config;
        let (sync, fanout_only) =
            (config.sync, config.fanout_only && master_of(args.queue).is_none());
        if let Err(refusal) = self.make_room(now, master, args.body, fanout_only, rec) {
            self.settle(now, rec);
            return PutOutcome::Refused(refusal);
        }
        let (receivers, sync) = self.receivers(now, &args, master, fanout_only, sync, rec);
        let id = self.next_id(rec);
        let outcome = self.store(now, &args, id, &receivers, sync, rec);
        self.settle(now, rec);
        outcome
    }

    /// An id above all others. Items of queues without a journal use up ids, too, so it may run ahead of the log.
    pub(crate) fn next_id(&mut self, rec: &impl Recorder) -> ItemId {
        self.last_id = rec.next_seq().0.max(self.last_id + 1);
        ItemId(self.last_id)
    }

    pub(crate) fn store(
        &mut self,
        now: Now,
        args: &PutArgs<'_>,
        id: ItemId,
        receivers: &Slots,
        sync: SyncPolicy,
        rec: &mut impl Recorder,
    ) -> PutOutcome {
        let lane = lane_for(now, args.due_ms, args.priority);
        let due_ms = if matches!(lane, Lane::Delayed { .. }) { args.due_ms } else { 0 };
        let extra = Extra { priority: args.priority, due_ms, key: args.key, ..Extra::NONE };
        let of_item = extra.clone().of_item();
        let mut numbers = SmallVec::<[QueueNo; 4]>::new();
        let mut homes = SmallVec::<[QueueNo; 4]>::new();
        let mut slots = Slots::new();
        for &home in receivers {
            let slot = self.lane_slot(home, lane, rec);
            if self.queue(home).config.keep_journal {
                numbers.push(self.queue(slot).no);
                if slot != home {
                    homes.push(self.queue(home).no);
                }
            }
            slots.push(slot);
        }
        let (mut seq, mut share) = (Seq(0), 0);
        if !numbers.is_empty() {
            for &slot in receivers {
                self.define(slot, rec);
            }
            let recorded = rec.record(&Record::Put(PutRecord {
                old: None,
                from: None,
                id,
                flags: args.flags,
                put_ms: now.wall_ms,
                expiry_ms: args.expiry_ms,
                attempts: 0,
                queues: &numbers,
                lane,
                homes: &homes,
                extra: &extra,
                body: args.body,
                body_crc: args.body_crc,
            }));
            (seq, share) = (recorded.seq, recorded.share);
        }
        for (&slot, &home) in slots.iter().zip(receivers) {
            let is_journaled = self.queue(slot).config.keep_journal;
            let item = Item {
                id: id.0,
                seq: if is_journaled { seq } else { Seq(0) },
                put_ms: now.wall_ms,
                expiry_ms: args.expiry_ms,
                flags: args.flags,
                attempts: 0,
                share: if is_journaled { share } else { 0 },
                ord: 0,
                body: kept_body(args.body, receivers.len()),
                body_crc: args.body_crc,
                extra: of_item.clone(),
            };
            self.add(slot, item);
            self.serve(now, home, rec);
        }
        let sync = if numbers.is_empty() { SyncPolicy::Never } else { sync };
        PutOutcome::Stored { id, seq, sync }
    }

    /// Writes down that a queue exists, if that has not been done; a queue that lives in memory only does not.
    pub(crate) fn define(&mut self, slot: Slot, rec: &mut impl Recorder) {
        let queue = self.queue_mut(slot);
        if (!queue.is_defined || queue.is_name_guessed) && queue.config.keep_journal {
            (queue.is_defined, queue.is_name_guessed) = (true, false);
            rec.record(&Record::QueueCreated { queue: queue.no, name: &queue.name });
        }
    }

    /// Who gets a put that the master accepts: sub-queues that have no room drop it and count that.
    fn receivers(
        &mut self,
        now: Now,
        args: &PutArgs<'_>,
        master: Slot,
        fanout_only: bool,
        mut sync: SyncPolicy,
        rec: &mut impl Recorder,
    ) -> (Slots, SyncPolicy) {
        let mut receivers = Slots::new();
        if !fanout_only {
            receivers.push(master);
        }
        let children = match self.children.is_empty() {
            true => Slots::new(),
            false => self.children.get(args.queue).cloned().unwrap_or_default(),
        };
        for child in children {
            if self.is_hidden(child) {
                continue;
            }
            if self.make_room(now, child, args.body, false, rec).is_ok() {
                sync = sync.strictest(self.queue(child).config.sync);
                receivers.push(child);
            } else {
                let counters = &mut self.queue_mut(child).counters;
                counters.total_items += 1;
                counters.discarded += 1;
            }
        }
        (receivers, sync)
    }

    /// Checks the limits of a queue for one more item; discards old ones where that is the policy.
    fn make_room(
        &mut self,
        now: Now,
        slot: Slot,
        body: &Bytes,
        stores_nothing: bool,
        rec: &mut impl Recorder,
    ) -> Result<(), Refusal> {
        self.drop_expired_head(now, slot, u64::MAX, rec);
        if let Some(lanes) = &self.queue(slot).lanes {
            let others: Slots = lanes.fifo.iter().flatten().copied().collect();
            others.into_iter().for_each(|lane| self.drop_expired_head(now, lane, u64::MAX, rec));
        }
        let limit = self.queue(slot).config.max_item_size;
        if body.len() as u64 > limit {
            return Err(Refusal::ItemTooLarge { limit });
        }
        while !stores_nothing && self.is_full_for(slot, body.len() as u64) {
            if !self.queue(slot).config.discard_old_when_full {
                return Err(Refusal::QueueFull);
            }
            let part = match self.part_to_discard(slot) {
                Some(Discard::Head(part)) => part,
                Some(Discard::Due(priority, entry)) => {
                    let Some(item) = self.take_due(priority, entry) else { continue };
                    self.discard(entry.2, &item, rec);
                    self.note_emptied(entry.2);
                    continue;
                }
                None => return Err(Refusal::QueueFull),
            };
            if self.queue(part).needs_load() {
                // The oldest items are on the disk: they are read and then discarded; the limit is exceeded for so long.
                self.want_load(part);
                let over =
                    (self.waiting_in(slot).0 + 1).saturating_sub(self.queue(slot).config.max_items);
                let queue = self.queue_mut(part);
                queue.to_discard = (queue.to_discard + 1).max(over);
                return Ok(());
            }
            let Some(item) = self.pop(part) else { return Err(Refusal::QueueFull) };
            self.discard(part, &item, rec);
        }
        Ok(())
    }

    /// Where the oldest items of the lowest priority are. What is delayed is not discarded before its time.
    fn part_to_discard(&self, slot: Slot) -> Option<Discard> {
        let has_some = |slot: &Slot| !self.queue(*slot).is_empty();
        let Some(lanes) = &self.queue(slot).lanes else {
            return Some(slot).filter(has_some).map(Discard::Head);
        };
        Priority::ALL.into_iter().rev().find_map(|priority| {
            let home = (priority == Priority::Normal).then_some(slot);
            let fifo = lanes.fifo[priority as usize].iter().copied();
            let head = home.into_iter().chain(fifo).find(has_some).map(Discard::Head);
            let due = lanes.due[priority as usize].first();
            head.or_else(|| due.map(|&entry| Discard::Due(priority, entry)))
        })
    }

    fn is_full_for(&self, slot: Slot, body_bytes: u64) -> bool {
        let queue = self.queue(slot);
        let config = &queue.config;
        let is_limited = config.max_items < u64::MAX || config.max_size < u64::MAX;
        // Adding up what is in all lanes, of which there may be thousands, takes longer than the rest of a put.
        let is_over = is_limited && {
            let (items, bytes) = self.waiting_in(slot);
            items >= config.max_items || bytes >= config.max_size
        };
        is_over
            || (!config.keep_journal
                && !queue.has_room_in_memory(body_bytes + ITEM_COST_BYTES, self.memory_left()))
    }

    /// What may still be kept in memory, in bytes.
    pub(crate) fn memory_left(&self) -> u64 {
        match self.keeps_all {
            true => KEEP_ALL,
            false => self.limits.max_memory_size.saturating_sub(self.hot_cost).min(KEEP_ALL - 1),
        }
    }

    fn discard(&mut self, slot: Slot, item: &Item, rec: &mut impl Recorder) {
        let queue = self.queue_mut(slot);
        queue.counters.discarded += 1;
        remove(queue.no, item, Reason::Discarded, rec);
    }

    /// After old items were read: discards what had to wait for that. What is over the limits for another reason stays, and so does everything if the queue is not full
    /// any more.
    pub(crate) fn trim(&mut self, now: Now, slot: Slot, rec: &mut impl Recorder) {
        while self.queue(slot).to_discard > 0 {
            self.drop_expired_head(now, slot, u64::MAX, rec);
            let (items, bytes) = self.waiting_in(self.home(slot));
            let queue = self.queue_mut(slot);
            if items <= queue.config.max_items && bytes < queue.config.max_size {
                queue.to_discard = 0;
                return;
            }
            let Some(item) = self.pop(slot) else { return self.want_load(slot) };
            self.queue_mut(slot).to_discard -= 1;
            self.discard(slot, &item, rec);
        }
    }

    /// Does something with a queue that changes what it has in memory.
    pub(crate) fn with<R>(&mut self, slot: Slot, change: impl FnOnce(&mut Queue) -> R) -> R {
        let queue = self.queue_mut(slot);
        let before = queue.hot_cost();
        let result = change(queue);
        let after = queue.hot_cost();
        self.hot_cost = self.hot_cost + after - before;
        result
    }

    /// Takes the next item out, if it is in memory, and sees to it that the following ones will be.
    pub(crate) fn pop(&mut self, slot: Slot) -> Option<Item> {
        let item = self.with(slot, Queue::pop);
        self.read_ahead(slot);
        item
    }

    /// Puts a new item at the end of a queue.
    pub(crate) fn add(&mut self, slot: Slot, item: Item) {
        self.counters.total_items += 1;
        let left = self.memory_for(slot);
        self.queue_mut(slot).counters.total_items += 1;
        let can_expire = self.queue(slot).can_expire(&item);
        if self.with(slot, |queue| queue.append(item, left)) {
            self.folding.insert(slot);
        }
        match self.queue(slot).is_delayed() {
            // It is looked at when its time comes.
            true => self.wake_bucket(slot),
            false if can_expire => _ = self.expiring.insert(slot),
            false => {}
        }
    }

    /// A lane is not there any more.
    pub(crate) fn forget_lane(&mut self, slot: Slot, lane: &Queue) {
        self.by_number.remove(&lane.no.0);
        self.expiring.remove(&slot);
        self.aging.remove(&slot);
        self.folding.remove(&slot);
        self.free.push(slot);
    }

    /// A queue is not there any more. Its lanes went before.
    pub(crate) fn forget(&mut self, slot: Slot, queue: &Queue) {
        self.by_name.remove(&queue.name);
        if let Some(at_ms) = queue.lanes.as_ref().and_then(|lanes| lanes.alarm_ms) {
            self.alarms.remove(&(at_ms, slot));
        }
        if let Some(master) = master_of(&queue.name)
            && let Some(children) = self.children.get_mut(master)
        {
            children.retain(|child| *child != slot);
            if children.is_empty() {
                self.children.remove(master);
            }
        }
        self.forget_lane(slot, queue);
    }

    /// The queue that a client means by a name: none if it is an alias.
    pub(crate) fn slot_named(&self, queue: &[u8]) -> Option<Slot> {
        if self.is_alias(queue) { None } else { self.by_name.get(queue).copied() }
    }

    /// The queue of a name, made if there is none; none of `needed` is given up for that.
    pub(crate) fn slot_or_create(
        &mut self,
        now: Now,
        name: &[u8],
        needed: &[Slot],
        rec: &mut impl Recorder,
    ) -> Result<Slot, Refusal> {
        if let Some(&slot) = self.by_name.get(name) {
            return Ok(slot);
        }
        if self.by_name.len() as u64 >= self.limits.max_queues && !self.forget_a_queue(needed, rec)
        {
            return Err(Refusal::TooManyQueues { limit: self.limits.max_queues });
        }
        let siblings = master_of(name).and_then(|master| self.children.get(master));
        if siblings.is_some_and(|siblings| siblings.len() >= SUB_QUEUES_MAX) {
            return Err(Refusal::TooManySubQueues { limit: SUB_QUEUES_MAX as u64 });
        }
        Ok(self.slot_of_name(now, name, rec))
    }

    /// As `slot_or_create`, for names that stand in the configuration: they are no danger.
    pub(crate) fn slot_of_name(&mut self, now: Now, name: &[u8], rec: &mut impl Recorder) -> Slot {
        if let Some(&slot) = self.by_name.get(name) {
            return slot;
        }
        let no = self.next_queue_no(rec);
        let slot = self.insert_queue(no, Bytes::copy_from_slice(name));
        self.queue_mut(slot).created_ms = now.mono_ms;
        if (self.looked_into.len() as u64) < self.limits.max_queues {
            self.looked_into.push_back(slot);
        }
        // A sub-queue is a subscription and outlives a restart. Any other queue that nobody has put anything into need not be known then.
        if master_of(name).is_some() && rec.has_room(0) {
            self.define(slot, rec);
        }
        slot
    }

    pub(crate) fn next_queue_no(&self, rec: &impl Recorder) -> QueueNo {
        QueueNo(rec.next_seq().0.max(self.last_no + 1))
    }

    /// Makes a queue of this number; an empty name means that it is not known yet.
    pub(crate) fn insert_queue(&mut self, no: QueueNo, name: Bytes) -> Slot {
        self.last_no = self.last_no.max(no.0);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.queues.push(None);
            (self.queues.len() - 1) as Slot
        });
        let config = Arc::clone(&self.table.defaults);
        let mut queue = Queue::new(no, Bytes::new(), config);
        queue.home = slot;
        self.queues[slot as usize] = Some(Box::new(queue));
        self.by_number.insert(no.0, slot);
        if !name.is_empty() {
            self.name_queue(slot, name);
        }
        slot
    }

    /// A queue gets its name, and with it its settings and its place among sub-queues.
    pub(crate) fn name_queue(&mut self, slot: Slot, name: Bytes) {
        self.counters.queue_creates += 1;
        let config = self.table.resolve(&name);
        if config.max_queue_age_ms.is_some() {
            self.aging.insert(slot);
        }
        let queue = self.queue_mut(slot);
        queue.name = name.clone();
        queue.config = config;
        let may_expire =
            queue.config.max_age_ms.is_some() || queue.items().any(|item| item.expiry_ms != 0);
        if may_expire {
            self.expiring.insert(slot);
        }
        if let Some(master) = master_of(&name) {
            self.children.entry(Bytes::copy_from_slice(master)).or_default().push(slot);
        }
        self.by_name.insert(name, slot);
    }

    /// # Panics
    /// If there is no queue in the slot: slots are only kept as long as their queue.
    pub(crate) fn queue(&self, slot: Slot) -> &Queue {
        self.queues[slot as usize].as_deref().expect("a slot in use holds a queue")
    }

    /// # Panics
    /// As [`Engine::queue`].
    pub(crate) fn queue_mut(&mut self, slot: Slot) -> &mut Queue {
        self.queues[slot as usize].as_deref_mut().expect("a slot in use holds a queue")
    }
}

/// An item of a queue is gone.
pub(crate) fn remove(queue: QueueNo, item: &Item, reason: Reason, rec: &mut impl Recorder) {
    if item.seq != Seq(0) {
        rec.record(&Record::Removed { queue, id: ItemId(item.id), reason });
        rec.unref(item.seq, 1, u64::from(item.share));
    }
}

/// The body as it is kept, once for each of so many receivers.
fn kept_body(body: &Bytes, receivers: usize) -> Bytes {
    match receivers == 1 && body.len() <= COPIED_BODY_BYTES_MAX {
        true => Bytes::copy_from_slice(body),
        false => body.clone(),
    }
}
