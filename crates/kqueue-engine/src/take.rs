//! Taking items: what is there is handed out, otherwise the session waits.
//!
//! Invariant: nothing that is expired, or was delivered too often, is handed out.
//! Must not: know how a wait ends.

use crate::engine::{Engine, Held, Slot, Slots, remove};
use crate::lanes::Next;
use crate::record::{Reason, Record, Recorder};
use crate::types::{ItemId, Items, Mode, Now, Seq, SessionId, TakeArgs, TakeOutcome, Taken};
use crate::waiting::Waiter;

/// What a taker wants of each queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) mode: Mode,
    pub(crate) max: usize,
    pub(crate) max_bytes: u64,
    pub(crate) lease_ms: u32,
}

impl Engine {
    /// Takes items, or begins to wait for one.
    pub fn take(
        &mut self,
        now: Now,
        session: SessionId,
        args: TakeArgs<'_>,
        rec: &mut impl Recorder,
    ) -> TakeOutcome {
        self.note_now(now);
        let mut slots = Slots::new();
        for name in args.queues {
            if !self.is_alias(name) {
                slots.extend(self.slot_or_create(now, name, &slots, rec));
            }
        }
        if slots.is_empty() {
            // An alias has nothing. No further queue may be made, and one that is not there has nothing.
            return TakeOutcome::Empty;
        }
        // Whose time has come is for those who came before.
        slots.iter().for_each(|&slot| self.serve_due(now, slot, rec));
        let outcome = self.take_from(now, session, &args, slots.clone(), rec);
        slots.into_iter().for_each(|slot| self.serve_soon(slot));
        self.settle(now, rec);
        outcome
    }

    fn take_from(
        &mut self,
        now: Now,
        session: SessionId,
        args: &TakeArgs<'_>,
        mut slots: Slots,
        rec: &mut impl Recorder,
    ) -> TakeOutcome {
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
                wants.max = max.min(items.len() + self.room_for_open(session, slot));
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
        if args.mode == Mode::Open {
            // Nobody waits for what he may not take.
            slots.retain(|slot| self.room_for_open(session, *slot) > 0);
        }
        let may_come = slots.iter().any(|&slot| self.comes_by_itself(slot, args.mode, rec));
        if args.wait_ms == 0 && !may_come {
            return TakeOutcome::Empty;
        }
        wants.max = max;
        let deadline_ms = match args.wait_ms {
            0 => None,
            wait_ms => Some(now.mono_ms.saturating_add(u64::from(wait_ms))),
        };
        self.begin_wait(Waiter { session, slots, wants, deadline_ms });
        TakeOutcome::Waiting
    }

    /// How many more items of a queue the session may hold.
    pub(crate) fn room_for_open(&self, session: SessionId, slot: Slot) -> usize {
        let open = self.open_here(session, slot);
        (self.limits.max_open_per_queue as usize).saturating_sub(open)
    }

    fn open_here(&self, session: SessionId, slot: Slot) -> usize {
        self.held
            .get(&session)
            .map_or(0, |held| held.iter().filter(|held| self.home(held.slot) == slot).count())
    }

    /// Hands items of one queue to a session until it has what it wants or there is none; expired ones are dropped on the way.
    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    pub(crate) fn hand_out(
        &mut self,
        now: Now,
        session: SessionId,
        home: Slot,
        wants: &Wants,
        is_handed: bool,
        items: &mut Items,
        rec: &mut impl Recorder,
    ) {
        let mut bytes: u64 = items.iter().map(|item| item.body.len() as u64).sum();
        while items.len() < wants.max && (items.is_empty() || bytes < wants.max_bytes) {
            if wants.mode == Mode::Peek {
                let next = self.next_item(now, home, rec);
                items.extend(self.shown(next));
                return;
            }
            if self.queue(home).is_paused {
                return;
            }
            let (slot, item) = match self.next_item(now, home, rec) {
                Next::Head(slot) => (slot, self.pop(slot)),
                Next::Due(priority, entry) => (entry.2, self.take_due(priority, entry)),
                Next::None => return,
            };
            let Some(mut item) = item else { return };
            bytes += item.body.len() as u64;
            let queue = self.queue_mut(slot);
            let (id, queue_no) = (ItemId(item.id), queue.no);
            if wants.mode == Mode::Take && !is_handed {
                items.push(queue.show(&item));
                queue.counters.removed_items += 1;
                queue.counters.last_put_ms = item.put_ms;
                remove(queue_no, &item, Reason::Taken, rec);
                self.note_emptied(slot);
                continue;
            }
            if wants.mode == Mode::Open {
                item.attempts = item.attempts.saturating_add(1);
                queue.counters.transactions += 1;
                let attempts = item.attempts;
                if item.seq != Seq(0) {
                    rec.record(&Record::Attempted { queue: queue_no, id, attempts });
                }
            }
            items.push(queue.show(&item));
            queue.open.insert(item.id, session);
            let lease_ms = match wants.lease_ms {
                0 => queue.config.open_transaction_timeout_ms.filter(|_| !is_handed),
                lease_ms => Some(u64::from(lease_ms)),
            };
            let lease = lease_ms
                .map(|ms| self.leases.add(now.mono_ms.saturating_add(ms), session, slot, item.id));
            let held = Held { slot, item, is_handed, is_lent: false, lease };
            self.held.entry(session).or_default().push_back(held);
        }
    }

    fn shown(&self, next: Next) -> Option<Taken> {
        match next {
            Next::Head(slot) => {
                let queue = self.queue(slot);
                queue.head().map(|item| queue.show(item))
            }
            Next::Due(_, (_, id, slot)) => {
                let queue = self.queue(slot);
                queue.returned.get(&id).map(|item| queue.show(item))
            }
            Next::None => None,
        }
    }
}
