//! The queues of a server: puts, takes, settlements.
//!
//! Invariants
//! - Every change that must survive a restart is recorded before the call returns, in one record if it must be all or nothing.
//! - A session that waits is served in order of arrival and gets exactly one [`Delivery`].
//! - An item is in exactly one place: waiting in its queue, or open with one session.
//! - An item's id is the sequence number of the record that put it, so ids rise for ever without a counter of their own. The same goes for queue numbers.
//!
//! Must not: know the wire, files, clocks or how records are stored.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;

use crate::config::{ConfigTable, SyncPolicy, master_of};
use crate::queue::{Item, Queue};
use crate::record::{Reason, Record, Recorder};
use crate::types::{
    Delivery, ItemId, Items, Mode, Now, PutArgs, PutOutcome, QueueNo, Refusal, Seq, SessionId,
    TakeArgs, TakeOutcome,
};
use crate::waiting::{Leases, Waiter, Waiters};

/// Ids that one flush record names as exceptions; a queue with more open items is flushed item by item.
const FLUSH_EXCEPTIONS_MAX: usize = 4000;

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
    /// Its entry among the leases.
    pub(crate) lease: Option<(u64, u64)>,
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
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    pub(crate) table: ConfigTable,
    max_open_per_queue: usize,
    pub(crate) queues: Vec<Option<Queue>>,
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
    pub(crate) counters: EngineCounters,
}

impl Engine {
    /// No queue yet. `max_open_per_queue`: how many items of one queue a session may hold.
    pub fn new(table: ConfigTable, max_open_per_queue: u32) -> Self {
        Self {
            table,
            max_open_per_queue: max_open_per_queue as usize,
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
            counters: EngineCounters::default(),
        }
    }

    /// Puts an item into a queue, which is made if there is none, and into its sub-queues.
    pub fn put(&mut self, now: Now, args: PutArgs<'_>, rec: &mut impl Recorder) -> PutOutcome {
        let master = self.slot_or_create(args.queue, rec);
        let config = &self.queue(master).config;
        let (sync, fanout_only) =
            (config.sync, config.fanout_only && master_of(args.queue).is_none());
        if let Err(refusal) = self.make_room(now, master, args.body, fanout_only, rec) {
            return PutOutcome::Refused(refusal);
        }
        let (receivers, sync) = self.receivers(now, &args, master, fanout_only, sync, rec);
        if receivers.is_empty() {
            return PutOutcome::Stored {
                id: ItemId(rec.next_seq().0),
                seq: Seq(0),
                sync: SyncPolicy::Never,
            };
        }
        let numbers: SmallVec<[QueueNo; 4]> =
            receivers.iter().map(|&slot| self.queue(slot).no).collect();
        let id = ItemId(rec.next_seq().0);
        let seq = rec.record(&Record::Put {
            id,
            flags: args.flags,
            put_ms: now.wall_ms,
            expiry_ms: args.expiry_ms,
            attempts: 0,
            queues: &numbers,
            body: args.body,
            body_crc: args.body_crc,
        });
        let item = Item {
            id: id.0,
            seq,
            put_ms: now.wall_ms,
            expiry_ms: args.expiry_ms,
            flags: args.flags,
            attempts: 0,
            body: args.body.clone(),
            body_crc: args.body_crc,
        };
        for &slot in &receivers {
            self.add(slot, item.clone());
            self.serve(now, slot, rec);
        }
        PutOutcome::Stored { id, seq, sync }
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
        self.drop_expired_head(now, slot, rec);
        let queue = self.queue_mut(slot);
        let limit = queue.config.max_item_size;
        if body.len() as u64 > limit {
            return Err(Refusal::ItemTooLarge { limit });
        }
        while !stores_nothing && self.queue(slot).is_full() {
            let queue = self.queue_mut(slot);
            if !queue.config.discard_old_when_full {
                return Err(Refusal::QueueFull);
            }
            let Some(item) = queue.pop() else { return Err(Refusal::QueueFull) };
            queue.counters.discarded += 1;
            let queue = queue.no;
            rec.record(&Record::Removed { queue, id: ItemId(item.id), reason: Reason::Discarded });
            rec.unref(item.seq);
        }
        Ok(())
    }

    /// Puts a new item at the end of a queue.
    pub(crate) fn add(&mut self, slot: Slot, item: Item) {
        self.counters.total_items += 1;
        let queue = self.queue_mut(slot);
        queue.counters.total_items += 1;
        let can_expire = queue.can_expire(&item);
        queue.insert(item);
        if can_expire {
            self.expiring.insert(slot);
        }
    }

    /// Takes items, or begins to wait for one.
    pub fn take(
        &mut self,
        now: Now,
        session: SessionId,
        args: TakeArgs<'_>,
        rec: &mut impl Recorder,
    ) -> TakeOutcome {
        let slots: Slots = args.queues.iter().map(|name| self.slot_or_create(name, rec)).collect();
        let mut items = Items::new();
        let max = args.max.max(1) as usize;
        let mut wants =
            Wants { mode: args.mode, max, max_bytes: args.max_bytes, lease_ms: args.lease_ms };
        let mut may_take = false;
        for &slot in &slots {
            let open = self.open_here(session, slot);
            if args.mode == Mode::Take && open > 0 {
                return TakeOutcome::HoldsOpen;
            }
            if args.mode == Mode::Open {
                let room = self.max_open_per_queue.saturating_sub(open);
                wants.max = max.min(items.len() + room);
            }
            may_take |= wants.max > items.len();
            self.hand_out(now, session, slot, &wants, false, &mut items, rec);
        }
        if !may_take {
            return TakeOutcome::TooManyOpen;
        }
        if !items.is_empty() {
            return TakeOutcome::Items(items);
        }
        if args.wait_ms == 0 {
            return TakeOutcome::Empty;
        }
        wants.max = wants.max.clamp(1, self.max_open_per_queue);
        let deadline_ms = now.mono_ms.saturating_add(u64::from(args.wait_ms));
        self.begin_wait(Waiter { session, slots, wants, deadline_ms });
        TakeOutcome::Waiting
    }

    fn open_here(&self, session: SessionId, slot: Slot) -> usize {
        self.held
            .get(&session)
            .map_or(0, |held| held.iter().filter(|held| held.slot == slot).count())
    }

    /// Hands items of one queue to a session until it has what it wants or there is none; expired ones are dropped on the way.
    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    pub(crate) fn hand_out(
        &mut self,
        now: Now,
        session: SessionId,
        slot: Slot,
        wants: &Wants,
        is_handed: bool,
        items: &mut Items,
        rec: &mut impl Recorder,
    ) {
        let mut bytes: u64 = items.iter().map(|item| item.body.len() as u64).sum();
        while items.len() < wants.max && (items.is_empty() || bytes < wants.max_bytes) {
            self.drop_expired_head(now, slot, rec);
            let queue = self.queue_mut(slot);
            let Some(head) = queue.head() else { return };
            bytes += head.body.len() as u64;
            if wants.mode == Mode::Peek {
                items.push(queue.show(head));
                return;
            }
            let Some(mut item) = queue.pop() else { return };
            let (id, queue_no) = (ItemId(item.id), queue.no);
            if wants.mode == Mode::Take && !is_handed {
                items.push(queue.show(&item));
                queue.counters.removed_items += 1;
                queue.counters.last_put_ms = item.put_ms;
                rec.record(&Record::Removed { queue: queue_no, id, reason: Reason::Taken });
                rec.unref(item.seq);
                continue;
            }
            if wants.mode == Mode::Open {
                item.attempts = item.attempts.saturating_add(1);
                queue.counters.transactions += 1;
                let attempts = item.attempts;
                rec.record(&Record::Attempted { queue: queue_no, id, attempts });
            }
            items.push(queue.show(&item));
            queue.open.insert(item.id, session);
            let lease_ms = match wants.lease_ms {
                0 => queue.config.open_transaction_timeout_ms.filter(|_| !is_handed),
                lease_ms => Some(u64::from(lease_ms)),
            };
            let lease = lease_ms
                .map(|ms| self.leases.add(now.mono_ms.saturating_add(ms), session, slot, item.id));
            self.held.entry(session).or_default().push_back(Held { slot, item, is_handed, lease });
        }
    }

    /// Removes expired items from the head of a queue.
    pub(crate) fn drop_expired_head(&mut self, now: Now, slot: Slot, rec: &mut impl Recorder) {
        let queue = self.queue_mut(slot);
        while queue.head().is_some_and(|item| queue.is_expired(item, now)) {
            let Some(item) = queue.pop() else { return };
            queue.counters.expired_items += 1;
            rec.record(&Record::Removed {
                queue: queue.no,
                id: ItemId(item.id),
                reason: Reason::Expired,
            });
            rec.unref(item.seq);
        }
    }

    /// Removes expired items from the heads of all queues.
    pub fn sweep_expired(&mut self, now: Now, rec: &mut impl Recorder) {
        let slots: Vec<Slot> = self.expiring.iter().copied().collect();
        for slot in slots {
            if self.queues.get(slot as usize).is_some_and(Option::is_some) {
                self.drop_expired_head(now, slot, rec);
                if !self.queue(slot).is_empty() || !self.queue(slot).open.is_empty() {
                    continue;
                }
            }
            self.expiring.remove(&slot);
        }
    }

    /// Confirms the session's oldest open read of a queue; false if there is none.
    pub fn close_oldest(
        &mut self,
        _now: Now,
        session: SessionId,
        queue: &[u8],
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(held) = self.take_oldest(session, queue) else { return false };
        self.confirm(held, Reason::Acked, rec);
        true
    }

    /// Gives the session's oldest open read of a queue back; false if there is none.
    pub fn abort_oldest(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(held) = self.take_oldest(session, queue) else { return false };
        self.give_back(now, held, rec);
        true
    }

    /// Confirms an item that the session holds; false if it does not.
    pub fn ack(
        &mut self,
        _now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(held) = self.take_held(session, queue, id) else { return false };
        self.confirm(held, Reason::Acked, rec);
        true
    }

    /// Gives an item that the session holds back to its old place; false if it does not hold it.
    pub fn release(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(held) = self.take_held(session, queue, id) else { return false };
        self.give_back(now, held, rec);
        true
    }

    fn take_oldest(&mut self, session: SessionId, queue: &[u8]) -> Option<Held> {
        let slot = *self.by_name.get(queue)?;
        let index = self
            .held
            .get(&session)?
            .iter()
            .position(|held| held.slot == slot && !held.is_handed)?;
        self.take_at(session, index)
    }

    fn take_held(&mut self, session: SessionId, queue: &[u8], id: ItemId) -> Option<Held> {
        let slot = *self.by_name.get(queue)?;
        let is_it = |held: &Held| held.slot == slot && held.item.id == id.0 && !held.is_handed;
        let index = self.held.get(&session)?.iter().position(is_it)?;
        self.take_at(session, index)
    }

    /// Takes an item out of a session's hands; it is nowhere until the caller puts it somewhere.
    pub(crate) fn take_at(&mut self, session: SessionId, index: usize) -> Option<Held> {
        let all = self.held.get_mut(&session)?;
        let held = all.remove(index)?;
        if all.is_empty() {
            self.held.remove(&session);
        }
        if let Some(lease) = held.lease {
            self.leases.remove(lease);
        }
        self.queue_mut(held.slot).open.remove(&held.item.id);
        Some(held)
    }

    pub(crate) fn confirm(&mut self, held: Held, reason: Reason, rec: &mut impl Recorder) {
        let queue = self.queue_mut(held.slot);
        queue.counters.removed_items += 1;
        queue.counters.last_put_ms = held.item.put_ms;
        rec.record(&Record::Removed { queue: queue.no, id: ItemId(held.item.id), reason });
        rec.unref(held.item.seq);
    }

    /// An item returns to its old place, or to the one who has waited longest.
    pub(crate) fn give_back(&mut self, now: Now, held: Held, rec: &mut impl Recorder) {
        let slot = held.slot;
        self.put_back(held);
        self.serve(now, slot, rec);
    }

    pub(crate) fn put_back(&mut self, held: Held) {
        let queue = self.queue_mut(held.slot);
        if !held.is_handed {
            queue.counters.canceled_transactions += 1;
        }
        queue.insert(held.item);
    }

    /// Deletes a queue with all its items, open ones too; false if there is none. Who waits on it alone gets nothing.
    pub fn delete(&mut self, _now: Now, queue: &[u8], rec: &mut impl Recorder) -> bool {
        let Some(slot) = self.by_name.get(queue).copied() else { return false };
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
                    rec.unref(held.item.seq);
                }
            }
        }
        self.end_waits_on(slot);
        let Some(queue) = self.queues[slot as usize].take() else { return };
        rec.record(&Record::QueueDeleted { queue: queue.no });
        queue.items().for_each(|item| rec.unref(item.seq));
        rec.unref(queue.definition);
        self.forget(slot, &queue);
    }

    pub(crate) fn forget(&mut self, slot: Slot, queue: &Queue) {
        self.by_name.remove(&queue.name);
        self.by_number.remove(&queue.no.0);
        self.expiring.remove(&slot);
        if let Some(master) = master_of(&queue.name)
            && let Some(children) = self.children.get_mut(master)
        {
            children.retain(|child| *child != slot);
            if children.is_empty() {
                self.children.remove(master);
            }
        }
        self.free.push(slot);
    }

    /// Removes a queue's waiting items and returns how many; open ones stay.
    pub fn flush(&mut self, _now: Now, queue: &[u8], rec: &mut impl Recorder) -> u64 {
        match self.by_name.get(queue).copied() {
            Some(slot) => self.flush_slot(slot, rec),
            None => 0,
        }
    }

    /// Flushes all queues.
    pub fn flush_all(&mut self, _now: Now, rec: &mut impl Recorder) -> u64 {
        let slots: Vec<Slot> = self.by_number.values().copied().collect();
        slots.into_iter().map(|slot| self.flush_slot(slot, rec)).sum()
    }

    fn flush_slot(&mut self, slot: Slot, rec: &mut impl Recorder) -> u64 {
        let queue = self.queue_mut(slot);
        queue.counters.total_flushes += 1;
        let Some(through) = queue.items().map(|item| item.id).max() else { return 0 };
        let in_one = queue.open.len() <= FLUSH_EXCEPTIONS_MAX;
        if in_one {
            let except: Vec<ItemId> = queue.open.keys().map(|&id| ItemId(id)).collect();
            rec.record(&Record::Flushed {
                queue: queue.no,
                through: ItemId(through),
                except: &except,
            });
        }
        let mut count = 0;
        while let Some(item) = queue.pop() {
            if !in_one {
                let (queue, id) = (queue.no, ItemId(item.id));
                rec.record(&Record::Removed { queue, id, reason: Reason::Discarded });
            }
            rec.unref(item.seq);
            count += 1;
        }
        queue.counters.flushed_items += count;
        count
    }

    /// Every queue gets the settings of `table`; nothing that waits is touched.
    pub fn reconfigure(&mut self, table: ConfigTable) {
        self.table = table;
        for (slot, queue) in self.queues.iter_mut().enumerate() {
            if let Some(queue) = queue {
                queue.config = self.table.resolve(&queue.name);
                if queue.config.max_age_ms.is_some() {
                    self.expiring.insert(slot as Slot);
                }
            }
        }
    }

    fn slot_or_create(&mut self, name: &[u8], rec: &mut impl Recorder) -> Slot {
        if let Some(&slot) = self.by_name.get(name) {
            return slot;
        }
        let no = QueueNo(rec.next_seq().0);
        let definition = rec.record(&Record::QueueCreated { queue: no, name });
        self.insert_queue(no, Bytes::copy_from_slice(name), definition)
    }

    pub(crate) fn insert_queue(&mut self, no: QueueNo, name: Bytes, definition: Seq) -> Slot {
        self.counters.queue_creates += 1;
        let config = self.table.resolve(&name);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.queues.push(None);
            (self.queues.len() - 1) as Slot
        });
        self.queues[slot as usize] = Some(Queue::new(no, name.clone(), definition, config));
        self.by_number.insert(no.0, slot);
        if let Some(master) = master_of(&name) {
            self.children.entry(Bytes::copy_from_slice(master)).or_default().push(slot);
        }
        self.by_name.insert(name, slot);
        slot
    }

    /// # Panics
    /// If there is no queue in the slot: slots are only kept as long as their queue.
    pub(crate) fn queue(&self, slot: Slot) -> &Queue {
        self.queues[slot as usize].as_ref().expect("a slot in use holds a queue")
    }

    /// # Panics
    /// As [`Engine::queue`].
    pub(crate) fn queue_mut(&mut self, slot: Slot) -> &mut Queue {
        self.queues[slot as usize].as_mut().expect("a slot in use holds a queue")
    }
}

/// What a taker wants of each queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) mode: Mode,
    pub(crate) max: usize,
    pub(crate) max_bytes: u64,
    pub(crate) lease_ms: u32,
}
