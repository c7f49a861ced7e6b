//! Settings and status: what was in force between question and answer, and what follows from that.
//!
//! Where they changed meanwhile, everything is right that would have been right before or after. Must not: guess when the server ran a request.

use kqueue_broker::{Status, SyncPolicy};

use super::{Check, How, Moment, Oracle, Put, Shown, State};
use crate::queues::{NOW, Queue, groups, may_lack, may_refuse, ring_items, turns};
use crate::rules::{Rules, weakest};

impl Oracle {
    /// The settings in force while a put may have been run.
    fn rules_of(&self, number: usize, now: Moment) -> impl Iterator<Item = &Rules> {
        let put = &self.puts[number];
        let from = put.arrived.unwrap_or(put.sent.step);
        let answered = put.answered.map(|at| at.step);
        self.rules.between(from, answered.or(put.ended).unwrap_or(now.step))
    }

    /// The weakest policy by which a put may be kept.
    pub(super) fn policy_of(&self, number: usize, now: Moment) -> SyncPolicy {
        let put = &self.puts[number];
        let policies = self.rules_of(number, now).map(|rules| rules.policy(&put.groups(rules)));
        policies.reduce(weakest).unwrap_or(self.scenario.policy)
    }

    /// The weakest policy that was ever in force.
    pub(super) fn weakest_policy(&self) -> SyncPolicy {
        let policies = self.rules.all().map(|(rules, _)| weakest(rules.sync, rules.turn_sync));
        policies.reduce(weakest).unwrap_or(self.scenario.policy)
    }

    /// A put was refused for want of room in a queue: whether others may have it.
    pub(super) fn check_limit(&self, number: usize, at: Moment) -> Result<bool, String> {
        let put = &self.puts[number];
        let mut has_limit = false;
        let mut has_several = false;
        for rules in self.rules_of(number, at) {
            let groups = put.groups(rules);
            has_several |= groups.len() > 1;
            has_limit |=
                groups.iter().any(|group| may_refuse(put.to, group, rules, &self.scenario));
        }
        match has_limit {
            true => Ok(has_several),
            false => Err("refused although nothing is full".into()),
        }
    }

    /// Something was refused for the status.
    pub(crate) fn check_blocked(
        &self,
        asked: Moment,
        at: Moment,
        allows: impl Fn(Status) -> bool,
    ) -> Check {
        match self.may_be_blocked(asked.step, at, allows) {
            true => Ok(()),
            false => Err("refused although the status allows it".into()),
        }
    }

    /// Whether the status did not allow something at any time since a step.
    pub(crate) fn may_be_blocked(
        &self,
        since: u64,
        at: Moment,
        allows: impl Fn(Status) -> bool,
    ) -> bool {
        self.enforced.between(since, at.step).any(|&status| !allows(status))
    }

    /// Whether the name of the queue that is hidden at times may have stood for others.
    pub(crate) fn may_be_hidden(&self, asked: Moment, at: Moment) -> bool {
        self.rules.between(asked.step, at.step).any(|rules| rules.hides_now)
    }

    /// Nothing is handed out unless the status allows it.
    pub(super) fn check_status(&self, shown: &Shown<'_>, at: Moment) -> Check {
        let mut statuses = self.enforced.between(shown.asked.step, at.step);
        match statuses.any(|status| status.gives()) {
            true => Ok(()),
            false => Err("handed out although the server gives nothing".into()),
        }
    }

    /// An item is where the settings led it, and not older than they allow.
    pub(super) fn check_settings(
        &self,
        number: usize,
        root: Queue,
        place: usize,
        shown: &Shown<'_>,
        at: Moment,
    ) -> Check {
        let put = &self.puts[number];
        if put.to.is_some() {
            let leads_here = |rules| put.groups(rules).iter().any(|group| group.contains(&root));
            if !self.rules_of(number, at).any(leads_here) {
                return Err("delivered although it was put elsewhere".into());
            }
            if put.state == State::Partly && self.is_only_refuser(number, root, at) {
                return Err("delivered although only this queue can have refused it".into());
            }
        }
        if root == NOW && self.rules.between(shown.asked.step, at.step).all(|rules| rules.hides_now)
        {
            return Err("shown although an alias hides its queue".into());
        }
        if !turns(root) || place > 0 || self.is_damage_told {
            return Ok(());
        }
        let Some(answered) = put.answered else { return Ok(()) };
        let is_too_old = |rules: &Rules| {
            rules.max_age_ms.is_some_and(|age| answered.wall_ms + age < shown.asked.wall_ms)
        };
        match self.rules.between(shown.asked.step, at.step).all(is_too_old) {
            true if shown.how != How::Peeked => Err("delivered although it was too old".into()),
            _ => Ok(()),
        }
    }

    /// Whether, whatever the settings were, this queue and no other one can have refused a put that was refused in part.
    fn is_only_refuser(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let put = &self.puts[number];
        self.rules_of(number, now).all(|rules| {
            let groups = put.groups(rules);
            let mut refusers =
                groups.iter().filter(|group| may_refuse(put.to, group, rules, &self.scenario));
            refusers.next().is_some_and(|first| first.contains(&queue)) && refusers.next().is_none()
        })
    }

    /// Whether a stored item must be in this queue.
    pub(super) fn must_have(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let put = &self.puts[number];
        self.rules_of(number, now)
            .all(|rules| put.groups(rules).iter().any(|group| group.contains(&queue)))
    }

    /// Whether an item that was refused in part must be in this queue, because that cannot have refused it.
    pub(super) fn must_have_part(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let put = &self.puts[number];
        self.rules_of(number, now).all(|rules| {
            let refuses = |group: &Vec<Queue>| may_refuse(put.to, group, rules, &self.scenario);
            put.groups(rules).iter().any(|group| group.contains(&queue) && !refuses(group))
        })
    }

    /// Whether two queues got a put in one record.
    pub(super) fn is_same_record(&self, number: usize, a: Queue, b: Queue, now: Moment) -> bool {
        let put = &self.puts[number];
        self.rules_of(number, now).all(|rules| {
            put.groups(rules).iter().any(|group| group.contains(&a) && group.contains(&b))
        })
    }

    /// Whether an acknowledged item need not be in this queue, or not any more, because of the settings.
    pub(super) fn settings_may_lack(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let put = &self.puts[number];
        let may_age = |(rules, end_ms): (&Rules, u64)| {
            let max = rules.max_age_ms.filter(|_| turns(queue));
            max.is_some_and(|age| put.sent.wall_ms + age <= end_ms.min(now.wall_ms))
        };
        self.rules_of(number, now).any(|rules| may_lack(queue, rules, &self.scenario))
            || self.rules.all().any(may_age)
    }

    /// Whether an item may have been too old by settings that were in force since it was put.
    pub(super) fn may_have_been_too_old(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let since = self.puts[number].sent.step;
        let mut rules = self.rules.between(since, now.step);
        turns(queue) && rules.any(|rules| rules.max_age_ms.is_some())
    }

    /// Whether an item may have made room for later ones.
    pub(super) fn may_be_dropped(&self, number: usize, queue: Queue, now: Moment) -> bool {
        let since = self.puts[number].sent.step;
        let rules = self.rules.between(since, now.step);
        let items = rules.filter_map(|rules| ring_items(queue, rules)).min();
        items.is_some_and(|items| self.later_puts(number, queue) >= items)
    }

    /// What was dropped to make room may be back.
    pub(super) fn forget_order_of_rings(&mut self) {
        let Self { order, rules, .. } = self;
        order.retain(|queue, _| rules.all().all(|(rules, _)| ring_items(queue, rules).is_none()));
    }

    /// Whether what came too often may have gone to the dead letters since then.
    pub(super) fn buried_since(&self, since: Moment, at: Moment) -> bool {
        self.rules.between(since.step, at.step).any(|rules| rules.buries)
    }

    /// How many items of a queue may have expired, and have not been taken.
    pub(crate) fn may_have_expired(&self, queue: Option<Queue>, at: Moment) -> u64 {
        let has_age = self.rules.all().any(|(rules, _)| rules.max_age_ms.is_some());
        let may = |put: &Put, root: Queue| {
            let has_ended = put.expiry.earliest_ms != 0 && put.expiry.earliest_ms <= at.wall_ms;
            put.state != State::Refused && (has_ended || has_age && turns(root))
        };
        let copies = self.puts.iter().flat_map(|put| put.copies.keys().map(move |key| (put, *key)));
        copies
            .filter(|(put, root)| queue.is_none_or(|queue| queue == *root) && may(put, root))
            .count() as u64
    }
}

impl Put {
    /// The queues that get it, each list in one record.
    fn groups(&self, rules: &Rules) -> Vec<Vec<Queue>> {
        match self.to {
            None => vec![self.copies.keys().copied().collect()],
            Some(to) => groups(to, rules).into_iter().map(<[Queue]>::to_vec).collect(),
        }
    }
}
