//! What ends with a connection, and with a life of the server.
//!
//! Must not: know what comes afterwards.

use std::collections::BTreeSet;

use kqueue_broker::SyncPolicy;

use super::{ConnId, Moment, Oracle, REMOVAL_SLACK_MS, State, Take};
use crate::disk::Cut;
use crate::queues::{JOBS, is_volatile, way};

impl Oracle {
    /// The connection is gone as its client sees it. `asked` are takes without an answer.
    pub(crate) fn conn_gone(&mut self, conn: ConnId, asked: &[Take]) {
        for put in &mut self.puts {
            for copy in put.copies.values_mut() {
                if copy.holder.is_some_and(|hold| hold.conn == conn && !hold.is_lent) {
                    copy.holder = None;
                }
            }
        }
        for take in asked {
            self.open_window(conn, take);
            for queue in take.queues.iter().filter(|_| take.removes > 0) {
                *self.excuses.entry(queue).or_default() += take.removes;
            }
        }
    }

    /// The client will send nothing more: a wait of its own is given up, and what it was about to be handed goes back.
    pub(crate) fn half_closed(&mut self, conn: ConnId, asked: &[Take]) {
        for take in asked {
            self.open_window(conn, take);
        }
    }

    /// The server's life ended. `is_faulty`: its disk failed before, so that nothing was synced in time.
    pub(crate) fn cut(&mut self, at: Moment, cut: Cut, is_faulty: bool) {
        self.had_power_cut |= cut == Cut::Power;
        self.started_ms = at.wall_ms;
        self.poisoned_in = None;
        self.numbers.forget();
        // What was removed is as durable as the settings made it at that time, or less.
        let policy = self.weakest_policy();
        let removal_ms = match (cut, policy) {
            _ if is_faulty => None,
            (Cut::Kill, _) => Some(REMOVAL_SLACK_MS),
            (Cut::Power, SyncPolicy::Never) => None,
            (Cut::Power, _) => Some(1000 + REMOVAL_SLACK_MS),
        };
        let flush_survives = survives_ms(cut, policy, is_faulty) == Some(0);
        // Also in hands that never saw it: then nobody knows that it has moved.
        let mut may_have_died = BTreeSet::new();
        for (number, put) in self.puts.iter().enumerate() {
            let copy = put.copies.get(JOBS);
            if copy.is_some_and(|copy| self.may_be_dead(put, copy, JOBS, at)) {
                may_have_died.insert(number);
            }
        }
        for (number, put) in self.puts.iter_mut().enumerate() {
            if put.ended.is_none() {
                (put.ended, put.ended_wall_ms) = (Some(at.step), at.wall_ms);
            }
            let limit_ms = survives_ms(cut, put.policy, is_faulty);
            let is_kept = put.answered.is_some_and(|stored| is_past(stored.mono_ms, limit_ms, at));
            // Nobody was told that anything is kept of what is stored in part.
            if put.state == State::Partly || put.state == State::Stored && !is_kept {
                put.state = State::Sent;
            }
            for (&root, copy) in &mut put.copies {
                copy.holder = None;
                copy.since_cut = 0;
                // Nothing need have synced the move of something that nobody took, so after a power cut it may be back.
                let moved_ms = if cut == Cut::Kill { removal_ms } else { None };
                // Of several moves that were not synced an earlier one may be lost and a later one not.
                let may_have_moved =
                    copy.course.may_have_moved() || root == JOBS && may_have_died.contains(&number);
                copy.may_be_twice_here |= cut == Cut::Power && may_have_moved;
                copy.may_be_twice |=
                    copy.may_be_twice_here || cut == Cut::Power && way(root).len() > 2;
                copy.moved = copy.moved.filter(|&(_, since)| is_past(since, moved_ms, at));
                if is_volatile(root) {
                    copy.is_dropped = true;
                    copy.may_be_dropped |= copy.moved.is_none();
                }
                copy.gone_since = copy.gone_since.filter(|&since| is_past(since, removal_ms, at));
                copy.is_flushed &= flush_survives;
                copy.course.cut(|known| is_past(known.mono_ms, removal_ms, at));
            }
        }
        self.cut_courses(at, cut, flush_survives);
        self.forget_order_of_rings();
        for window in &mut self.windows {
            // What was taken by one who never showed it may be back, at its old place: until now it was away.
            let is_back = window.taken_ms.is_some_and(|since| !is_past(since, removal_ms, at));
            let was_away = is_back || window.to_ms >= at.mono_ms;
            window.to = if was_away { at.step } else { window.to.min(at.step) };
            window.to_ms = window.to_ms.min(at.mono_ms);
        }
    }
}

impl Oracle {
    /// Whether an item may be at two places of its queue, after a power cut.
    pub(crate) fn may_be_twice(&self, number: usize) -> bool {
        self.puts[number].copies.values().any(|copy| copy.may_be_twice)
    }
}

/// After which time what was acknowledged survives.
fn survives_ms(cut: Cut, policy: SyncPolicy, is_faulty: bool) -> Option<u64> {
    match (cut, policy) {
        (Cut::Kill, _) | (Cut::Power, SyncPolicy::Always) => Some(0),
        (Cut::Power, SyncPolicy::Every { ms }) if !is_faulty => Some(ms + REMOVAL_SLACK_MS),
        (Cut::Power, _) => None,
    }
}

fn is_past(since: u64, limit_ms: Option<u64>, at: Moment) -> bool {
    limit_ms.is_some_and(|ms| since.saturating_add(ms) <= at.mono_ms)
}
