//! Items in the hands of sessions: how they are confirmed, and how they return.
//!
//! Invariants: an item that is taken out of a session's hands is confirmed or put back before the call ends; what a session holds stays its own, also when an alias hides the queue
//! meanwhile.
//! Must not: know why a session ended.

use bytes::Bytes;

use crate::config::QueueConfig;
use crate::engine::{Engine, Held, Slot, remove};
use crate::lanes::lane_for;
use crate::queue::Item;
use crate::record::{Reason, Recorder};
use crate::types::{ItemId, Now, SessionId, Settled};

impl Engine {
    /// Confirms the session's oldest open read of a queue; false if there is none.
    pub fn close_oldest(
        &mut self,
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
        self.settle(now, rec);
        true
    }

    /// Confirms an item that the session holds; false if it does not.
    pub fn ack(
        &mut self,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(held) = self.take_held(session, queue, id) else { return false };
        self.confirm(held, Reason::Acked, rec);
        true
    }

    /// Gives an item that the session holds back to its old place, or to come again after `delay_ms`; `None`: as the queue's settings say.
    pub fn release(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        delay_ms: Option<u64>,
        rec: &mut impl Recorder,
    ) -> Settled {
        self.note_now(now);
        let Some(index) = self.find_held(session, queue, id) else { return Settled::NotHeld };
        let is_moved = delay_ms.is_some_and(|delay_ms| delay_ms > 0);
        if is_moved && !self.may_move(session, index, rec) {
            return Settled::NoRoom;
        }
        let Some(held) = self.take_at(session, index) else { return Settled::NotHeld };
        self.give_back_after(now, held, delay_ms, rec);
        self.settle(now, rec);
        Settled::Done
    }

    /// Makes an item that the session holds a dead letter; `note` is what is said of it.
    pub fn bury(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        note: Bytes,
        rec: &mut impl Recorder,
    ) -> Settled {
        self.note_now(now);
        let Some(index) = self.find_held(session, queue, id) else { return Settled::NotHeld };
        if !self.may_move(session, index, rec) {
            return Settled::NoRoom;
        }
        let Some(held) = self.take_at(session, index) else { return Settled::NotHeld };
        self.queue_mut(held.slot).counters.canceled_transactions += 1;
        self.make_dead(now, held.slot, held.item, Reason::Buried, note, rec);
        self.settle(now, rec);
        Settled::Done
    }

    /// Lets the lease of an item that the session holds end `lease_ms` from now; 0: as if it were handed out now without a lease of its own. False if it does not hold it.
    pub fn touch(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        lease_ms: u32,
    ) -> bool {
        let Some(index) = self.find_held(session, queue, id) else { return false };
        let Some((slot, item_id)) = self
            .held
            .get(&session)
            .and_then(|held| held.get(index))
            .map(|held| (held.slot, held.item.id))
        else {
            return false;
        };
        let lease_ms = match lease_ms {
            0 => self.queue(slot).config.open_transaction_timeout_ms,
            lease_ms => Some(u64::from(lease_ms)),
        };
        let Self { held, leases, .. } = self;
        let Some(held) = held.get_mut(&session).and_then(|held| held.get_mut(index)) else {
            return false;
        };
        if let Some(lease) = held.lease.take() {
            leases.remove(lease);
        }
        held.lease =
            lease_ms.map(|ms| leases.add(now.mono_ms.saturating_add(ms), session, slot, item_id));
        true
    }

    /// Bytes of the body of an item that the session holds.
    pub fn held_bytes(&self, session: SessionId, queue: &[u8], id: ItemId) -> Option<u64> {
        let index = self.find_held(session, queue, id)?;
        Some(self.held.get(&session)?.get(index)?.item.body.len() as u64)
    }

    /// Whether there is room on the disk to write an item again that the session holds.
    fn may_move(&self, session: SessionId, index: usize, rec: &impl Recorder) -> bool {
        let held = self.held.get(&session).and_then(|held| held.get(index));
        held.is_some_and(|held| rec.has_room(held.item.body.len() as u64))
    }

    fn take_oldest(&mut self, session: SessionId, queue: &[u8]) -> Option<Held> {
        let slot = *self.by_name.get(queue)?;
        let is_it = |held: &Held| self.home(held.slot) == slot && !held.is_handed;
        let index = self.held.get(&session)?.iter().position(is_it)?;
        self.take_at(session, index)
    }

    fn take_held(&mut self, session: SessionId, queue: &[u8], id: ItemId) -> Option<Held> {
        let index = self.find_held(session, queue, id)?;
        self.take_at(session, index)
    }

    fn find_held(&self, session: SessionId, queue: &[u8], id: ItemId) -> Option<usize> {
        let home = *self.by_name.get(queue)?;
        let is_it = |held: &Held| self.is_held_as(held, home, id) && !held.is_handed;
        self.held.get(&session)?.iter().position(is_it)
    }

    /// Whether this is the item that clients know by this queue and id.
    pub(crate) fn is_held_as(&self, held: &Held, home: Slot, id: ItemId) -> bool {
        held.item.public_id() == id && self.home(held.slot) == home
    }

    /// Takes an item out of a session's hands; it is nowhere until the caller puts it somewhere.
    pub(crate) fn take_at(&mut self, session: SessionId, index: usize) -> Option<Held> {
        let all = self.held.get_mut(&session)?;
        let held = all.remove(index)?;
        if held.is_lent {
            self.lent_bytes -= held.item.cost();
        }
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
        remove(queue.no, &held.item, reason, rec);
        self.note_emptied(held.slot);
    }

    /// An item returns to its old place, or to the one who has waited longest.
    pub(crate) fn give_back(&mut self, now: Now, held: Held, rec: &mut impl Recorder) {
        self.give_back_after(now, held, None, rec);
    }

    fn give_back_after(
        &mut self,
        now: Now,
        held: Held,
        delay_ms: Option<u64>,
        rec: &mut impl Recorder,
    ) {
        let home = self.home(held.slot);
        self.put_back_after(now, held, delay_ms, rec);
        self.serve(now, home, rec);
    }

    /// An item returns to its old place, or is a dead letter if it has come too often, or comes again later if the queue is set to that.
    pub(crate) fn put_back(&mut self, now: Now, held: Held, rec: &mut impl Recorder) {
        self.put_back_after(now, held, None, rec);
    }

    pub(crate) fn put_back_after(
        &mut self,
        now: Now,
        held: Held,
        delay_ms: Option<u64>,
        rec: &mut impl Recorder,
    ) {
        let Held { slot, item, is_handed, .. } = held;
        let home = self.home(slot);
        let has_room = rec.has_room(item.body.len() as u64);
        let queue = self.queue_mut(slot);
        if !is_handed {
            queue.counters.canceled_transactions += 1;
        }
        if queue.is_dead(&item) {
            if has_room {
                return self.bury_dead(now, slot, item, rec);
            }
            self.stayed.insert(home);
            return self.insert_in_place(slot, item);
        }
        let delay_ms = delay_ms.unwrap_or_else(|| match is_handed {
            true => 0,
            false => retry_delay_ms(&queue.config, &item),
        });
        if delay_ms == 0 || !has_room {
            return self.insert_in_place(slot, item);
        }
        self.delay(now, slot, item, delay_ms, rec);
    }

    /// An item comes again after a while.
    fn delay(&mut self, now: Now, slot: Slot, item: Item, delay_ms: u64, rec: &mut impl Recorder) {
        let (home, priority) = (self.home(slot), self.priority_of(slot));
        let due_ms = now.wall_ms.saturating_add(delay_ms);
        self.queue_mut(slot).counters.moved_within += 1;
        let mut moved = item.clone();
        let extra = moved.extra.get_or_insert_default();
        (extra.id, extra.due_ms) = (Some(item.public_id()), due_ms);
        let lane = lane_for(now, due_ms, priority);
        self.move_item(slot, &item, home, lane, moved, Reason::Delayed, rec);
    }

    /// Confirms all open reads that the session has of a queue.
    pub fn close_all(&mut self, session: SessionId, queue: &[u8], rec: &mut impl Recorder) {
        while self.close_oldest(session, queue, rec) {}
    }

    /// Confirms the session's `count` oldest open reads of a queue, or none if there are fewer (or it is 0): false then.
    pub fn close_many(
        &mut self,
        session: SessionId,
        queue: &[u8],
        count: usize,
        rec: &mut impl Recorder,
    ) -> bool {
        let Some(&slot) = self.by_name.get(queue) else { return false };
        let is_open = |held: &&Held| self.home(held.slot) == slot && !held.is_handed;
        let open = self.held.get(&session).map_or(0, |held| held.iter().filter(is_open).count());
        if count == 0 || open < count {
            return false;
        }
        for _ in 0..count {
            self.close_oldest(session, queue, rec);
        }
        true
    }

    /// Lets others settle an item that the session holds: it returns by itself after `lease_ms` from now instead of when it would have, and not before, even if the
    /// session leaves ([`Engine::handle_leave`]). False if the session does not hold it.
    pub fn lend(
        &mut self,
        now: Now,
        session: SessionId,
        queue: &[u8],
        id: ItemId,
        lease_ms: u64,
    ) -> bool {
        let Some(index) = self.find_held(session, queue, id) else { return false };
        let Self { held, leases, .. } = self;
        let Some(held) = held.get_mut(&session).and_then(|held| held.get_mut(index)) else {
            return false;
        };
        let (slot, id) = (held.slot, held.item.id);
        if let Some(lease) = held.lease.take() {
            leases.remove(lease);
        }
        held.lease = Some(leases.add(now.mono_ms.saturating_add(lease_ms), session, slot, id));
        if !core::mem::replace(&mut held.is_lent, true) {
            self.lent_bytes += held.item.cost();
        }
        true
    }

    /// Whether what is lent takes as much memory as waiting items may: nothing more should be lent until some of it has been settled.
    pub fn has_lent_much(&self) -> bool {
        self.lent_bytes > 0 && self.lent_bytes >= self.limits.max_memory_size
    }

    /// Whether the session holds an item and has lent it.
    pub fn has_lent(&self, session: SessionId, queue: &[u8], id: ItemId) -> bool {
        let Some(&home) = self.by_name.get(queue) else { return false };
        let is_it = |held: &Held| self.is_held_as(held, home, id) && held.is_lent;
        self.held.get(&session).is_some_and(|held| held.iter().any(is_it))
    }

    /// The items that the session holds and has lent, with the queues they came from.
    pub fn lent(&self, session: SessionId) -> impl Iterator<Item = (&Bytes, ItemId)> {
        let lent = self.held.get(&session).into_iter().flatten().filter(|held| held.is_lent);
        lent.map(|held| (&self.queue(held.slot).name, held.item.public_id()))
    }

    /// How many items the session holds.
    pub fn held_by(&self, session: SessionId) -> usize {
        self.held.get(&session).map_or(0, |held| held.len())
    }
}

/// How long an item waits that was delivered and is not done: twice as long after each delivery, up to the longest wait; and up to a tenth less, by its id, so that
/// what failed together does not come again together.
fn retry_delay_ms(config: &QueueConfig, item: &Item) -> u64 {
    if config.retry_delay_ms == 0 || item.attempts == 0 {
        return 0;
    }
    let doublings = (item.attempts - 1).min(62);
    let delay_ms = config.retry_delay_ms.saturating_mul(1 << doublings);
    let delay_ms = delay_ms.min(config.retry_delay_max_ms).max(1);
    // The finalizer of SplitMix64: any good mixing of the bits would do.
    let mut mixed = item.id ^ u64::from(item.attempts) << 48;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let less = (u128::from(delay_ms / 10) * u128::from(mixed >> 32)) >> 32;
    delay_ms - less as u64
}
