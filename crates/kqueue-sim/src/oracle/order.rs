//! The order of items, their ways from queue to queue, and the times in which they may have been in hands that never showed them.
//!
//! Must not: know settings.

use std::cmp::Ordering;

use super::{Check, ConnId, Copy, First, How, Moment, Oracle, Put, Shown, State, Take, Window};
use super::{Command, course::LATE_MS};
use crate::queues::{ATTEMPTS_MAX, DEAD, Entry, KEPT, Queue, attempts_max, entry, turns, way};

impl Oracle {
    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    pub(super) fn check_move(
        &self,
        put: &Put,
        copy: &Copy,
        root: Queue,
        queue: Queue,
        place: usize,
        shown: &Shown<'_>,
        at: Moment,
    ) -> Check {
        if self.is_damage_told || copy.may_be_twice_here {
            return Ok(());
        }
        if place < copy.place() && copy.may_be_twice {
            // A power cut lost one of its moves: it is at both places.
            return Ok(());
        }
        if place < copy.place() && !shown.is_stale(at) {
            let (seen, since) = (way(root)[copy.place()], copy.moved.map_or(0, |(_, ms)| ms));
            // A peek may have been asked before, and be answered late.
            let is_old = shown.how == How::Peeked && shown.asked.mono_ms <= since;
            return match is_old || self.may_have_run(Command::Kick, root, put.sent.step) {
                true => Ok(()),
                false => Err(format!("here although it had moved to {seen}")),
            };
        }
        match entry(queue).filter(|_| place > copy.place()) {
            Some(Entry::Expired) if put.expiry.earliest_ms == 0 => {
                Err("expired, and has no time to live".into())
            }
            Some(Entry::Expired) if put.expiry.earliest_ms >= at.wall_ms => {
                Err("expired before its time".into())
            }
            Some(Entry::Dead) if turns(root) && !self.buried_since(put.sent, at) => {
                Err("dead although nothing died there".into())
            }
            Some(Entry::Dead) if copy.course.may_be_buried => Ok(()),
            Some(Entry::Dead) if copy.opens < attempts_max(root).unwrap_or(ATTEMPTS_MAX) => {
                let may_have_been_open =
                    way(root).iter().any(|from| self.may_have_been_held(from, put.sent, at));
                match may_have_been_open {
                    true => Ok(()),
                    false => Err(format!("dead after {} deliveries", copy.opens)),
                }
            }
            _ => Ok(()),
        }
    }

    /// No item that came later may have been handed out while this one was certainly waiting.
    pub(super) fn check_order(
        &self,
        number: usize,
        queue: Queue,
        shown: &Shown<'_>,
        at: Moment,
    ) -> Check {
        if self.has_unread_block {
            // It was in there perhaps, and a later start could read it.
            return Ok(());
        }
        if self.may_be_dropped(number, queue, at) {
            // It made room for others then, and a power cut brought it back.
            return Ok(());
        }
        if self.may_have_been_too_old(number, queue, at) {
            // It had gone for its age, a power cut brought it back, and by then nobody minded its age any more.
            return Ok(());
        }
        let put_in = self.puts[number].sent.step;
        if self.had_power_cut && self.may_have_run(Command::Purge, queue, put_in) {
            // It had been purged, and a power cut brought it back.
            return Ok(());
        }
        if self.had_power_cut && self.may_have_died(number, queue, at) {
            // It had moved to the dead ones, and a power cut brought it back.
            return Ok(());
        }
        for first in self.order.get(queue).into_iter().flatten() {
            let &First { put: later, conn, asked, received } = first;
            // What one request is answered with was handed out in that order.
            let is_same_answer = conn == shown.conn && asked.step == shown.asked.step;
            if (received.step < shown.asked.step || is_same_answer)
                && self.goes_before(number, later, asked)
                && !self.may_have_been_away(queue, asked, received)
            {
                return Err(format!("item {later} of {queue} was handed out before item {number}"));
            }
        }
        Ok(())
    }

    /// Whether an item that is in a queue now may have left it, for a while, for that of its dead letters.
    fn may_have_died(&self, number: usize, queue: Queue, at: Moment) -> bool {
        let put = &self.puts[number];
        let Some((root, ..)) = put.find(queue) else { return false };
        queue != DEAD
            && way(root).contains(&DEAD)
            && self.may_be_dead(put, &put.copies[root], root, at)
    }

    fn precedes(&self, a: usize, b: usize) -> bool {
        let (first, second) = (&self.puts[a], &self.puts[b]);
        (first.conn == second.conn && a < b)
            || first.answered.is_some_and(|at| at.step < second.sent.step)
    }

    /// Whether, when something was asked for, the first of two items was there and had to be handed out before the second one.
    fn goes_before(&self, a: usize, b: usize, asked: Moment) -> bool {
        let (first, second) = (&self.puts[a], &self.puts[b]);
        let (one, other) = (first.options, second.options);
        if one.level == other.level && one.delay_ms == 0 && other.delay_ms == 0 {
            return self.precedes(a, b);
        }
        let Some(answered) = first.answered.filter(|at| at.step < asked.step) else { return false };
        let ready_ms = match one.delay_ms {
            0 => answered.wall_ms,
            // After a start it is looked for on the disk once more.
            delay_ms => (answered.wall_ms + delay_ms).max(self.started_ms) + LATE_MS,
        };
        if one.delay_ms > 0 && !self.scenario.has_memory() {
            // It is entered by its time when there is room.
            return false;
        }
        match one.level.cmp(&other.level) {
            Ordering::Less => ready_ms <= asked.wall_ms,
            Ordering::Equal => ready_ms <= asked.wall_ms && ready_ms < second.due_ms().0,
            Ordering::Greater => false,
        }
    }

    /// Whether an item may have been in other hands, or may have waited since for its time to come again, or was dead.
    fn may_have_been_away(&self, queue: Queue, from: Moment, to: Moment) -> bool {
        let has_been = |window: &Window| window.from <= to.step && window.queues.contains(&queue);
        match KEPT.contains(&queue) {
            true => self.windows.iter().any(has_been),
            false => self.may_have_been_held(queue, from, to),
        }
    }

    pub(super) fn may_have_been_held(&self, queue: Queue, from: Moment, to: Moment) -> bool {
        let overlaps = |window: &Window| {
            let is_past = window.to < from.step && window.to_ms < from.mono_ms;
            window.from <= to.step && !is_past && window.queues.contains(&queue)
        };
        self.windows.iter().any(overlaps)
    }

    /// A reserve with a lease was sent: it may end before the client sees what it got.
    pub(crate) fn lease_asked(&mut self, at: Moment, conn: ConnId, queues: &[Queue]) {
        let take = Take { sent: at, queues: queues.to_vec(), ..Take::default() };
        self.open_window(conn, &take);
    }

    /// As [`Oracle::lease_asked`], where the lease does not end with the connection.
    pub(crate) fn lease_asked_beyond(
        &mut self,
        at: Moment,
        conn: ConnId,
        queue: Queue,
        lease_ms: u64,
    ) {
        let take = Take { sent: at, queues: vec![queue], removes: 0, lease_ms };
        self.open_window(conn, &take);
    }

    /// What was asked with a lease was answered: whatever of it the client does not see as its own any more is so for the server, too, a lease later.
    pub(crate) fn lease_answered(&mut self, at: Moment, conn: ConnId, lease_ms: u64) {
        for window in self.windows.iter_mut().filter(|window| window.conn == conn) {
            window.close(at, at.mono_ms + lease_ms);
        }
    }

    /// The server has noticed that the connection is gone.
    pub(crate) fn conn_noticed(&mut self, at: Moment, conn: ConnId) {
        self.end_commands(at, Some(conn));
        for window in self.windows.iter_mut().filter(|window| window.conn == conn) {
            let lease_ms = window.lease_ms;
            window.close(at, if lease_ms > 0 { at.mono_ms + lease_ms } else { 0 });
        }
    }

    pub(super) fn open_window(&mut self, conn: ConnId, take: &Take) {
        self.windows.push(Window {
            conn,
            queues: take.queues.clone(),
            from: take.sent.step,
            to: u64::MAX,
            to_ms: u64::MAX,
            taken_ms: (take.removes > 0).then_some(u64::MAX),
            lease_ms: take.lease_ms,
        });
    }

    /// How many other items may have come into a queue after this one.
    pub(super) fn later_puts(&self, number: usize, queue: Queue) -> usize {
        let may_be_later = |&other: &usize| {
            let put = &self.puts[other];
            let may_be_there = put.arrived.is_some() && put.state != State::Refused;
            other != number
                && may_be_there
                && put.copies.contains_key(queue)
                && !self.precedes(other, number)
        };
        (0..self.puts.len()).filter(may_be_later).count()
    }
}

impl Window {
    fn close(&mut self, at: Moment, to_ms: u64) {
        if self.to == u64::MAX {
            (self.to, self.to_ms) = (at.step, to_ms);
            self.taken_ms = self.taken_ms.map(|_| at.mono_ms);
        }
    }
}
