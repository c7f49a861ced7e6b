//! Settings that change while the server runs, and what was in force when.
//!
//! Must not: judge.

use fastrand::Rng;
use kqueue_broker::SyncPolicy;

use crate::oracle::Moment;
use crate::queues::{Queue, TURN_SUB, turns};
use crate::scenario::Scenario;

/// What a reload may change; the rest of the settings is in `queues.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Of every queue but those whose settings change.
    pub(crate) sync: SyncPolicy,
    /// Of [`TURN`](crate::queues::TURN) and its sub-queue, as everything that follows.
    pub(crate) turn_sync: SyncPolicy,
    pub(crate) max_items: Option<u64>,
    /// Instead of refusing.
    pub(crate) drops_old: bool,
    pub(crate) max_age_ms: Option<u64>,
    /// What came too often goes to the dead letters.
    pub(crate) buries: bool,
    pub(crate) fanout_only: bool,
    /// [`NOW`](crate::queues::NOW) stands for other queues.
    pub(crate) hides_now: bool,
}

impl Rules {
    /// Nothing is limited, nothing is hidden.
    pub(crate) fn first(scenario: &Scenario) -> Self {
        Self {
            sync: scenario.policy,
            turn_sync: scenario.policy,
            max_items: None,
            drops_old: false,
            max_age_ms: None,
            buries: false,
            fanout_only: false,
            hides_now: false,
        }
    }

    /// Random ones.
    pub(crate) fn random(rng: &mut Rng, scenario: &Scenario) -> Self {
        let sync = match rng.u32(..4) {
            0 if scenario.extras.changes_sync => random_policy(rng),
            _ => scenario.policy,
        };
        Self {
            sync,
            turn_sync: if rng.bool() { sync } else { random_policy(rng) },
            max_items: rng.bool().then(|| rng.u64(1..10)),
            drops_old: rng.bool(),
            max_age_ms: (rng.u32(..3) == 0).then(|| rng.u64(100..3000)),
            buries: rng.bool(),
            fanout_only: rng.u32(..3) == 0,
            hides_now: rng.bool(),
        }
    }

    /// The policy by which a put to these queues is kept.
    pub(crate) fn policy(&self, groups: &[Vec<Queue>]) -> SyncPolicy {
        let of_queue = |queue| if turns(queue) { self.turn_sync } else { self.sync };
        // A sub-queue alone that has no room drops the item, and demands nothing then.
        let may_be_nowhere = |group: &Vec<Queue>| {
            group[..] == [TURN_SUB] && self.max_items.is_some() && !self.drops_old
        };
        let kept = groups.iter().filter(|group| !may_be_nowhere(group));
        let mut policies = kept.flatten().map(|&queue| of_queue(queue));
        let first = policies.next().unwrap_or(self.sync);
        policies.fold(first, SyncPolicy::strictest)
    }
}

fn random_policy(rng: &mut Rng) -> SyncPolicy {
    match rng.u32(..3) {
        0 => SyncPolicy::Always,
        1 => SyncPolicy::Every { ms: rng.u64(1..300) },
        _ => SyncPolicy::Never,
    }
}

/// The less strict one of both.
pub(crate) fn weakest(a: SyncPolicy, b: SyncPolicy) -> SyncPolicy {
    if a.strictest(b) == a { b } else { a }
}

/// What was in force when.
#[derive(Debug)]
pub(crate) struct History<T> {
    since: Vec<(Moment, T)>,
}

impl<T> History<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { since: vec![(Moment::default(), first)] }
    }

    pub(crate) fn change(&mut self, at: Moment, to: T) {
        self.since.push((at, to));
    }

    /// What was in force at any time from one step to another, both included.
    pub(crate) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &T> {
        let ends = self.since.iter().skip(1).map(|(end, _)| end.step).chain([u64::MAX]);
        let is_in = move |((begin, _), end): &(&(Moment, T), u64)| begin.step <= to && *end >= from;
        self.since.iter().zip(ends).filter(is_in).map(|((_, value), _)| value)
    }

    /// Everything that was ever in force, each with the unix time in milliseconds at which it ended.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&T, u64)> {
        let ends = self.since.iter().skip(1).map(|(end, _)| end.wall_ms).chain([u64::MAX]);
        self.since.iter().zip(ends).map(|((_, value), end)| (value, end))
    }

    pub(crate) fn last(&self) -> &T {
        &self.since[self.since.len() - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_force_from_its_step_on_and_what_was_before_up_to_it() {
        let mut history = History::new('a');
        history.change(Moment { step: 5, ..Moment::default() }, 'b');
        history.change(Moment { step: 9, ..Moment::default() }, 'c');
        let between = |from, to| history.between(from, to).copied().collect::<String>();
        assert_eq!(between(0, 4), "a");
        assert_eq!(between(5, 5), "ab");
        assert_eq!(between(6, 8), "b");
        assert_eq!(between(4, 20), "abc");
        assert_eq!(between(10, 20), "c");
        assert_eq!(*history.last(), 'c');
    }

    #[test]
    fn the_less_strict_policy_is_found() {
        let every = |ms| SyncPolicy::Every { ms };
        assert_eq!(weakest(SyncPolicy::Always, every(5)), every(5));
        assert_eq!(weakest(every(9), every(5)), every(9));
        assert_eq!(weakest(SyncPolicy::Never, every(5)), SyncPolicy::Never);
    }
}
