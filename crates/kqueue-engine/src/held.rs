//! Items in the hands of sessions: how they are confirmed, and how they return.
//!
//! Invariants: an item that is taken out of a session's hands is confirmed or put back before the call ends; what a session holds stays its own, also when an alias hides the queue
//! meanwhile.
//! Must not: know why a session ended.

use bytes::Bytes;

use crate::engine::{Engine, Held, remove};
use crate::record::{Reason, Recorder};
use crate::types::{ItemId, Now, SessionId};

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
        self.settle(now, rec);
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
    }

    /// An item returns to its old place, or to the one who has waited longest.
    pub(crate) fn give_back(&mut self, now: Now, held: Held, rec: &mut impl Recorder) {
        let slot = held.slot;
        self.put_back(now, held, rec);
        self.serve(now, slot, rec);
    }

    /// An item returns to its old place, or goes to the dead-letter queue if it has come too often.
    pub(crate) fn put_back(&mut self, now: Now, held: Held, rec: &mut impl Recorder) {
        let queue = self.queue_mut(held.slot);
        if !held.is_handed {
            queue.counters.canceled_transactions += 1;
        }
        if queue.is_dead(&held.item) {
            if rec.has_room(held.item.body.len() as u64) {
                return self.bury(now, held.slot, held.item, rec);
            }
            self.stayed.insert(held.slot);
        }
        self.with(held.slot, |queue| queue.insert(held.item));
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
        let is_open = |held: &&Held| held.slot == slot && !held.is_handed;
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
        let Some(&slot) = self.by_name.get(queue) else { return false };
        let Self { held, leases, .. } = self;
        let is_it = |held: &&mut Held| held.slot == slot && held.item.id == id.0 && !held.is_handed;
        let Some(held) = held.get_mut(&session).and_then(|all| all.iter_mut().find(is_it)) else {
            return false;
        };
        if let Some(lease) = held.lease.take() {
            leases.remove(lease);
        }
        held.lease = Some(leases.add(now.mono_ms.saturating_add(lease_ms), session, slot, id.0));
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
        let Some(&slot) = self.by_name.get(queue) else { return false };
        let is_it = |held: &Held| held.slot == slot && held.item.id == id.0 && held.is_lent;
        self.held.get(&session).is_some_and(|held| held.iter().any(is_it))
    }

    /// The items that the session holds and has lent, with the queues they came from.
    pub fn lent(&self, session: SessionId) -> impl Iterator<Item = (&Bytes, ItemId)> {
        let lent = self.held.get(&session).into_iter().flatten().filter(|held| held.is_lent);
        lent.map(|held| (&self.queue(held.slot).name, ItemId(held.item.id)))
    }

    /// How many items the session holds.
    pub fn held_by(&self, session: SessionId) -> usize {
        self.held.get(&session).map_or(0, |held| held.len())
    }
}
