//! The end: what was not seen, and whether it may be missing.
//!
//! Must not: change anything.

use std::collections::BTreeMap;

use kqueue_broker::SyncPolicy;

use super::{Check, Copy, Moment, Oracle, State, Tally};
use crate::queues::{Queue, drops_expired, way};

impl Oracle {
    /// Everything that is left was delivered: what is missing is lost.
    pub(crate) fn finish(&self, now: Moment) -> Result<Tally, String> {
        let mut missing: BTreeMap<Queue, Vec<usize>> = BTreeMap::new();
        let mut tally = Tally { moved: self.moves, repeated: self.repeated, ..Tally::default() };
        for (number, put) in self.puts.iter().enumerate() {
            match put.state {
                State::Stored => tally.stored += 1,
                State::Refused | State::Partly => tally.refused += 1,
                State::Sent => tally.unknown += 1,
            }
            for (queue, copy) in &put.copies {
                tally.delivered += u64::from(copy.deliveries.min(1));
                tally.redelivered += u64::from(copy.deliveries.saturating_sub(1));
                tally.dropped += u64::from(copy.is_dropped && copy.deliveries == 0);
                if self.is_missing(number, queue, copy, now) {
                    missing.entry(queue).or_default().push(number);
                }
            }
        }
        self.check_missing(missing).map(|()| tally)
    }

    pub(super) fn check_missing(&self, missing: BTreeMap<Queue, Vec<usize>>) -> Check {
        for (queue, numbers) in missing.into_iter().filter(|_| !self.is_damage_told) {
            let excuses = way(queue).iter().filter_map(|place| self.excuses.get(place));
            let excused: u64 = excuses.sum();
            // Of several of which one was stored one is missing.
            let is_first = |number: &&usize| {
                let alike = &self.puts[**number].alternatives;
                !alike.iter().any(|other| other < *number && numbers.contains(other))
            };
            if numbers.iter().filter(is_first).count() as u64 > excused {
                return Err(format!(
                    "LOST: items {numbers:?} of {queue}; takes whose answer nobody saw explain {excused} of them"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn is_missing(&self, number: usize, queue: Queue, copy: &Copy, now: Moment) -> bool {
        let put = &self.puts[number];
        let is_expired = drops_expired(queue)
            && put.expiry.earliest_ms != 0
            && put.expiry.earliest_ms < now.wall_ms;
        let may_be_gone = copy.may_be_flushed || copy.may_be_dropped || is_expired;
        if copy.may_be_done || may_be_gone || self.settings_may_lack(number, queue, now) {
            return false;
        }
        if self.may_be_dropped(number, queue, now) {
            return false;
        }
        let may_be_instead = |&other: &usize| {
            let copy = self.puts[other].copies.get(queue);
            copy.is_some_and(|copy| {
                copy.deliveries > 0
                    || copy.may_be_done
                    || copy.may_be_flushed
                    || copy.may_be_dropped
            })
        };
        if put.alternatives.iter().any(may_be_instead) {
            return false;
        }
        let is_whole_fanout_promised =
            self.weakest_policy() == SyncPolicy::Always || !self.had_power_cut;
        match put.state {
            State::Stored => self.must_have(number, queue, now),
            State::Partly => self.must_have_part(number, queue, now),
            State::Refused => false,
            // Nobody was promised anything, but all queues of a record have it or none.
            State::Sent => {
                let is_seen = |(&other, copy): (&Queue, &Copy)| {
                    copy.since_cut > 0 && self.is_same_record(number, queue, other, now)
                };
                let is_new = copy.deliveries == 0;
                is_new && is_whole_fanout_promised && put.copies.iter().any(is_seen)
            }
        }
    }
}
