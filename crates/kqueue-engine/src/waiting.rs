//! Who waits for an item, and which open items return by themselves.
//!
//! Invariants
//! - Every waiter ends exactly once: with items, at its deadline, with its last queue or with its session; the first three produce one delivery.
//! - Waiters of a queue are served in order of arrival. Looking at the head is not a turn: it takes nothing from those who wait to take.
//! - Lists of arrival numbers in the queues may hold waiters that have ended; they are skipped, and cleaned out before they outnumber the living.
//!
//! Must not: look at a clock.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::engine::{Engine, Held, Slot, Slots};
use crate::record::{Reason, Recorder};
use crate::take::Wants;
use crate::types::{Delivery, Items, Mode, Now, SessionId, Taken};

/// Dead entries that a queue's list may hold besides as many as there are living ones.
const STALE_MAX: usize = 32;

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) session: SessionId,
    pub(crate) slots: Slots,
    pub(crate) wants: Wants,
    /// `None`: it does not want to wait, but what it is to get has to be read from the disk first.
    pub(crate) deadline_ms: Option<u64>,
}

/// All waiters, by arrival number.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_arrival: BTreeMap<u64, Waiter>,
    by_session: HashMap<SessionId, u64>,
    deadlines: BTreeSet<(u64, u64)>,
    next_arrival: u64,
}

impl Waiters {
    fn add(&mut self, waiter: Waiter) -> u64 {
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        if let Some(deadline_ms) = waiter.deadline_ms {
            self.deadlines.insert((deadline_ms, arrival));
        }
        self.by_session.insert(waiter.session, arrival);
        self.by_arrival.insert(arrival, waiter);
        arrival
    }

    fn remove(&mut self, arrival: u64) -> Option<Waiter> {
        let waiter = self.by_arrival.remove(&arrival)?;
        if let Some(deadline_ms) = waiter.deadline_ms {
            self.deadlines.remove(&(deadline_ms, arrival));
        }
        self.by_session.remove(&waiter.session);
        Some(waiter)
    }

    /// How many wait on a queue; for checks.
    pub(crate) fn count_on(&self, slot: Slot) -> usize {
        self.by_arrival.values().flat_map(|waiter| &waiter.slots).filter(|&&on| on == slot).count()
    }
}

/// Leases of open items, by when they end.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_end: BTreeMap<(u64, u64), (SessionId, Slot, u64)>,
    next: u64,
}

impl Leases {
    /// The key by which the lease is removed.
    pub(crate) fn add(
        &mut self,
        end_ms: u64,
        session: SessionId,
        slot: Slot,
        id: u64,
    ) -> (u64, u64) {
        let key = (end_ms, self.next);
        self.next += 1;
        self.by_end.insert(key, (session, slot, id));
        key
    }

    pub(crate) fn remove(&mut self, key: (u64, u64)) {
        self.by_end.remove(&key);
    }

    /// The next lease that ended before or at `mono_ms`.
    fn pop_ended(&mut self, mono_ms: u64) -> Option<(SessionId, Slot, u64)> {
        let (&(end_ms, _), _) = self.by_end.first_key_value()?;
        if end_ms > mono_ms {
            return None;
        }
        self.by_end.pop_first().map(|(_, lease)| lease)
    }
}

impl Engine {
    pub(crate) fn begin_wait(&mut self, waiter: Waiter) {
        let (slots, is_peek) = (waiter.slots.clone(), waiter.wants.mode == Mode::Peek);
        let arrival = self.waiters.add(waiter);
        for slot in slots {
            let Self { queues, waiters, .. } = self;
            let Some(queue) = queues[slot as usize].as_deref_mut() else { continue };
            queue.waiting += 1;
            let list = if is_peek { &mut queue.peekers } else { &mut queue.takers };
            list.push_back(arrival);
            if list.len() > 2 * queue.waiting + STALE_MAX {
                list.retain(|arrival| waiters.by_arrival.contains_key(arrival));
            }
        }
    }

    /// Ends a wait; the caller says how.
    fn end_wait(&mut self, arrival: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(arrival)?;
        for &slot in &waiter.slots {
            if let Some(queue) = self.queues[slot as usize].as_mut() {
                queue.waiting -= 1;
            }
        }
        Some(waiter)
    }

    /// Gives what a queue has to those who wait for it.
    pub(crate) fn serve(&mut self, now: Now, slot: Slot, rec: &mut impl Recorder) {
        let slot = self.home(slot);
        if self.queue(slot).waiting == 0 {
            return;
        }
        while let Some(arrival) = self.next_waiter(slot, true) {
            if !self.serve_one(now, slot, arrival, rec) {
                break;
            }
        }
        while let Some(arrival) = self.next_waiter(slot, false) {
            if !self.serve_one(now, slot, arrival, rec) {
                break;
            }
        }
    }

    /// The living waiter that came first; it stays in the list.
    fn next_waiter(&mut self, slot: Slot, peek: bool) -> Option<u64> {
        let Self { queues, waiters, .. } = self;
        let queue = queues[slot as usize].as_deref_mut()?;
        let list = if peek { &mut queue.peekers } else { &mut queue.takers };
        while let Some(&arrival) = list.front() {
            if waiters.by_arrival.contains_key(&arrival) {
                return Some(arrival);
            }
            list.pop_front();
        }
        None
    }

    fn serve_one(&mut self, now: Now, slot: Slot, arrival: u64, rec: &mut impl Recorder) -> bool {
        let Some(waiter) = self.waiters.by_arrival.get(&arrival) else { return true };
        let (session, mut wants) = (waiter.session, waiter.wants);
        if wants.mode == Mode::Open {
            // At least one: it waits, so it takes nothing elsewhere meanwhile.
            wants.max = wants.max.min(self.room_for_open(session, slot));
        }
        let mut items = Items::new();
        self.hand_out(now, session, slot, &wants, wants.mode == Mode::Take, &mut items, rec);
        if items.is_empty() {
            return false;
        }
        self.end_wait(arrival);
        self.deliveries.push_back(Delivery { session, items });
        true
    }

    /// Those who only wait for the disk get nothing if there is nothing any more, or what is there is not to be handed out.
    pub(crate) fn end_hopeless(&mut self, slot: Slot, rec: &impl Recorder) {
        let slot = self.home(slot);
        let queue = self.queue(slot);
        if queue.waiting == 0 || self.comes_by_itself(slot, Mode::Take, rec) {
            return;
        }
        let arrivals: Vec<u64> = queue.takers.iter().chain(&queue.peekers).copied().collect();
        for arrival in arrivals {
            let Some(waiter) = self.waiters.by_arrival.get(&arrival) else { continue };
            let mode = waiter.wants.mode;
            let may_come = waiter.slots.iter().any(|&slot| self.comes_by_itself(slot, mode, rec));
            if waiter.deadline_ms.is_none() && !may_come {
                self.end_empty(arrival);
            }
        }
    }

    fn end_empty(&mut self, arrival: u64) {
        if let Some(waiter) = self.end_wait(arrival) {
            self.deliveries.push_back(Delivery { session: waiter.session, items: Items::new() });
        }
    }

    fn waits_for_read(&self, waiter: &Waiter) -> bool {
        waiter.slots.iter().any(|&slot| self.is_read_for(slot, waiter.wants.mode))
    }

    /// Whether the session waits for the disk to be read: that ends soon, and by itself.
    pub fn waits_for_disk(&self, session: SessionId) -> bool {
        let arrival = self.waiters.by_session.get(&session);
        let waiter = arrival.and_then(|arrival| self.waiters.by_arrival.get(arrival));
        waiter.is_some_and(|waiter| self.waits_for_read(waiter))
    }

    /// A queue goes, or is hidden: who waits on it alone gets nothing, the others wait on, unless they only waited for the disk and there is nothing for them there elsewhere.
    pub(crate) fn end_waits_on(&mut self, slot: Slot, rec: &impl Recorder) {
        let queue = self.queue_mut(slot);
        queue.waiting = 0;
        let arrivals: Vec<u64> = queue.takers.drain(..).chain(queue.peekers.drain(..)).collect();
        for arrival in arrivals {
            let Some(waiter) = self.waiters.by_arrival.get_mut(&arrival) else { continue };
            waiter.slots.retain(|waiting| *waiting != slot);
            let (others, waits_on) = (waiter.slots.clone(), waiter.deadline_ms.is_some());
            let mode = waiter.wants.mode;
            let may_come = || others.iter().any(|&slot| self.comes_by_itself(slot, mode, rec));
            if others.is_empty() || !waits_on && !may_come() {
                self.end_empty(arrival);
            }
        }
    }

    /// The end of a wait that has not been reported yet.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// The session has picked up what a plain take waited for: only now it is gone from the queue. Until then it is in the session's hands, so that
    /// a client that vanished meanwhile gives it back.
    pub fn accept_delivery(&mut self, session: SessionId, rec: &mut impl Recorder) {
        while let Some(index) =
            self.held.get(&session).and_then(|held| held.iter().position(|held| held.is_handed))
        {
            if let Some(held) = self.take_at(session, index) {
                self.confirm(held, Reason::Taken, rec);
            }
        }
    }

    /// A session ends: it waits no more, and what it holds returns to its place, in order, before anybody is served.
    pub fn handle_disconnect(&mut self, now: Now, session: SessionId, rec: &mut impl Recorder) {
        self.end_session(now, session, |_| true, rec);
    }

    /// A session ends, but what it has lent stays in its hands: somebody else may confirm it. The id must not be used for another session.
    pub fn handle_leave(&mut self, now: Now, session: SessionId, rec: &mut impl Recorder) {
        self.end_session(now, session, |held| !held.is_lent, rec);
    }

    fn end_session(
        &mut self,
        now: Now,
        session: SessionId,
        returns: impl Fn(&Held) -> bool,
        rec: &mut impl Recorder,
    ) {
        if let Some(arrival) = self.waiters.by_session.get(&session).copied() {
            self.end_wait(arrival);
        }
        self.deliveries.retain(|delivery| delivery.session != session);
        let mut touched = BTreeSet::new();
        let next = |engine: &Self| engine.held.get(&session)?.iter().position(&returns);
        while let Some(held) = next(self).and_then(|index| self.take_at(session, index)) {
            touched.insert(self.home(held.slot));
            self.put_back(now, held, rec);
        }
        for slot in touched {
            self.serve(now, slot, rec);
        }
        self.settle(now, rec);
    }

    /// A session gives up its wait. What it was handed for it and has not picked up (`undelivered`) returns to its place; what it held before stays its own.
    pub fn cancel_wait(
        &mut self,
        now: Now,
        session: SessionId,
        undelivered: &[Taken],
        rec: &mut impl Recorder,
    ) {
        if let Some(arrival) = self.waiters.by_session.get(&session).copied() {
            self.end_wait(arrival);
        }
        let mut touched = BTreeSet::new();
        for item in undelivered {
            let Some(&slot) = self.by_name.get(&item.queue[..]) else { continue };
            let is_it = |held: &Held| self.is_held_as(held, slot, item.id);
            let index = self.held.get(&session).and_then(|held| held.iter().position(is_it));
            if let Some(held) = index.and_then(|index| self.take_at(session, index)) {
                touched.insert(slot);
                // Nobody saw it, so nobody failed.
                self.put_back_after(now, held, Some(0), rec);
            }
        }
        for slot in touched {
            self.serve(now, slot, rec);
        }
        self.settle(now, rec);
    }

    /// Ends waits and leases whose time has come.
    pub fn handle_timeout(&mut self, now: Now, rec: &mut impl Recorder) {
        self.note_now(now);
        while let Some((session, slot, id)) = self.leases.pop_ended(now.mono_ms) {
            let is_it = |held: &Held| held.slot == slot && held.item.id == id;
            let index = self.held.get(&session).and_then(|held| held.iter().position(is_it));
            if let Some(held) = index.and_then(|index| self.take_at(session, index)) {
                self.give_back(now, held, rec);
            }
        }
        while let Some(&(deadline_ms, arrival)) = self.waiters.deadlines.first() {
            if deadline_ms > now.mono_ms {
                break;
            }
            let waiter = self.waiters.by_arrival.get(&arrival);
            if waiter.is_some_and(|waiter| self.waits_for_read(waiter)) {
                // There is something for it: it only has to be read.
                self.waiters.deadlines.pop_first();
                if let Some(waiter) = self.waiters.by_arrival.get_mut(&arrival) {
                    waiter.deadline_ms = None;
                }
                continue;
            }
            self.end_empty(arrival);
        }
        self.handle_alarms(now, rec);
        self.settle(now, rec);
    }

    /// When [`Engine::handle_timeout`] is due, on the monotonic clock. That may be at once, if there was much to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        let wait = self.waiters.deadlines.first().map(|&(deadline_ms, _)| deadline_ms);
        let lease = self.leases.by_end.first_key_value().map(|(&(end_ms, _), _)| end_ms);
        [wait, lease, self.poll_alarm()].into_iter().flatten().min()
    }
}
