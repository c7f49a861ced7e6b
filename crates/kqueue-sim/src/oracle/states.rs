//! What clients see when they look at the items of a state, and at all of them while nothing happens.
//!
//! Must not: know how it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::course::LATE_MS;
use super::{Check, Command, Copy, Moment, Oracle, Put, State, number_of};
use crate::queues::{JOBS, Queue, TASKS, attempts_max, named, way};

/// An item as a look at a state showed it.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) queue: &'a str,
    pub(crate) id: u64,
    pub(crate) state: &'a str,
    pub(crate) named: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    /// No more of the body was asked for.
    pub(crate) body_max: usize,
    pub(crate) asked: Moment,
}

impl Found<'_> {
    fn number(&self, name: &str) -> Result<u64, String> {
        let value = self.named.get(name).ok_or_else(|| format!("no {name}"))?;
        value.parse().map_err(|_| format!("{name}={value}"))
    }
}

/// What is said of an item that is buried.
pub(crate) fn reason(number: usize) -> String {
    format!("why {number}: 100%\n")
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Oracle {
    /// A client saw an item in a state. Answers its put's number.
    pub(crate) fn found(&mut self, at: Moment, found: &Found<'_>) -> Result<usize, String> {
        let number = number_of(found.body).ok_or("a body that nobody sent")?;
        let put = self.puts.get(number).ok_or("a body that nobody sent")?;
        let is_moved = found.state == "dead" && found.queue != JOBS;
        let (root, place) = match put.find(found.queue) {
            Some((root, ..)) if is_moved => (root, way(root).len() - 1),
            Some((root, _, here)) => (root, here),
            None => return Err(format!("item {number} in a queue that it was not sent to")),
        };
        if let Some(notes) = &mut self.notes {
            notes.push(format!("item {number} is {} in {}", found.state, found.queue));
        }
        let check = check_form(put, number, found)
            .and_then(|()| self.check_place(number, root, place, found, at));
        check.map_err(|what| format!("item {number} of {root}: {what}"))?;
        if self.is_damage_told {
            return Ok(number);
        }
        match (place, is_moved) {
            (0, _) => self.learn_id(number, found.id)?,
            (_, true) if found.queue == root => {
                self.learn_id(number, found.number("origin_id")?)?
            }
            _ => {}
        }
        if found.state == "dead"
            && let Some(copy) = self.puts[number].copies.get_mut(root)
        {
            copy.course.dead = Some((found.asked, at));
        }
        Ok(number)
    }

    fn check_place(
        &self,
        number: usize,
        root: Queue,
        place: usize,
        found: &Found<'_>,
        at: Moment,
    ) -> Check {
        let (put, copy) = (&self.puts[number], &self.puts[number].copies[root]);
        if put.arrived.is_none() || put.state == State::Refused {
            return Err("it was refused, or never sent whole".into());
        }
        if self.is_damage_told || copy.may_be_twice_here {
            return Ok(());
        }
        let is_gone = copy.gone_since.is_some_and(|since| since < found.asked.mono_ms);
        // The look may have come before the purge, although its answer was read later.
        let is_purged =
            copy.is_flushed && !self.may_have_run(Command::Purge, root, found.asked.step);
        if is_purged || is_gone && !copy.may_be_twice {
            return Err("it is gone".into());
        }
        if found.state == "dead" {
            return self.check_dead(put, copy, root, number, found, at);
        }
        if place > 0 {
            return Ok(());
        }
        // A queue for dead letters does not keep their levels.
        let may_be_kicked = root == TASKS && self.may_have_run(Command::Kick, root, 0);
        let priority = found.named.get("priority").ok_or("no priority")?;
        if priority != put.options.priority() && !(may_be_kicked && priority == "normal") {
            return Err(format!("it is {}", put.options.priority()));
        }
        if self.is_dead(copy, root, found.asked) {
            return Err("it is dead".into());
        }
        let seen = self.attempts_seen(copy, root, found.asked);
        if found.number("attempts")? < u64::from(seen) {
            return Err(format!("it has come {seen} times"));
        }
        check_times(put, copy, root, found, at)
    }

    fn check_dead(
        &self,
        put: &Put,
        copy: &Copy,
        root: Queue,
        number: usize,
        found: &Found<'_>,
        at: Moment,
    ) -> Check {
        if !self.may_be_dead(put, copy, root, at) {
            return Err("nothing has killed it".into());
        }
        let (cause, reason_told) = (found.named.get("cause"), found.named.get("reason"));
        let attempts = found.number("attempts")?;
        let seen = self.attempts_seen(copy, root, found.asked);
        match cause.map_or("", String::as_str) {
            _ if attempts < u64::from(seen) => Err(format!("it has come {seen} times")),
            "attempts" if attempts < u64::from(attempts_max(found.queue).unwrap_or(1)) => {
                Err("it has not come too often".into())
            }
            "attempts" if reason_told.is_some() => Err("nobody said anything".into()),
            "attempts" => Ok(()),
            "buried" if !copy.course.may_be_buried => Err("nobody buried it".into()),
            "buried" if reason_told.is_none_or(|told| *told != escaped(&reason(number))) => {
                Err("that is not what was said".into())
            }
            "buried" => Ok(()),
            other => Err(format!("cause {other:?}")),
        }
    }

    /// Nobody is connected, and everything was looked through: what must be there was found, in the state that it must have. `began`: when that was asked for first.
    pub(crate) fn inspected(
        &self,
        began: Moment,
        now: Moment,
        seen: &BTreeSet<(Queue, &'static str, usize)>,
    ) -> Check {
        if self.is_damage_told || self.scenario.flip_every > 0 {
            // What cannot be read is told when it is wanted.
            return Ok(());
        }
        let is_seen = |queue: Queue, number: usize| {
            let states = ["ready", "delayed", "open", "dead"];
            states.iter().any(|state| seen.contains(&(queue, *state, number)))
        };
        let mut missing: BTreeMap<Queue, Vec<usize>> = BTreeMap::new();
        for (number, put) in self.puts.iter().enumerate() {
            for (&root, copy) in &put.copies {
                let mut instead = put.alternatives.iter().chain([&number]);
                let is_here = instead.any(|one| way(root).iter().any(|queue| is_seen(queue, *one)));
                if !is_here && self.is_missing(number, root, copy, now) {
                    missing.entry(root).or_default().push(number);
                }
                let is_own = root == JOBS && !copy.may_be_flushed && !copy.may_be_twice_here;
                if is_own
                    && self.is_dead(copy, root, began)
                    && !seen.contains(&(root, "dead", number))
                {
                    return Err(format!("item {number} of {root} is dead, and is not found there"));
                }
            }
        }
        self.check_missing(missing)
    }

    /// What was ready long before something was asked, and has not come since.
    pub(crate) fn check_due(&self, asked: Moment, now: Moment) -> Check {
        if !self.scenario.has_memory() {
            // What is on the disk is read when there is room.
            return Ok(());
        }
        let mut missing: BTreeMap<Queue, Vec<usize>> = BTreeMap::new();
        for (number, put) in self.puts.iter().enumerate() {
            let is_over = |due_ms: u64| due_ms.saturating_add(LATE_MS) < asked.wall_ms;
            let is_due = put.due_ms().1.is_some_and(is_over) && put.options.delay_ms > 0;
            for (&root, copy) in &put.copies {
                // Who had it may not have seen it before its lease ended.
                let may_have_died = root == JOBS && self.may_be_dead(put, copy, root, now);
                // Another one may be stored instead, and its time has not come.
                let waits_instead = put.alternatives.iter().any(|&other| {
                    let other = &self.puts[other];
                    let due_by_ms = other.copies.get(root).map_or(0, |copy| copy.course.due_by_ms);
                    !is_over(other.due_ms().1.unwrap_or(0).max(due_by_ms))
                });
                let is_late = is_due
                    && !waits_instead
                    && is_over(copy.course.due_by_ms)
                    && !copy.course.may_be_buried
                    && !may_have_died;
                if is_late && copy.deliveries == 0 && self.is_missing(number, root, copy, now) {
                    missing.entry(root).or_default().push(number);
                }
            }
        }
        self.check_missing(missing).map_err(|what| format!("late: {what}"))
    }

    /// When the next delayed item of a queue comes at the latest that certainly comes, unix time in milliseconds.
    pub(crate) fn next_due_ms(&self, queue: Queue, now: Moment) -> Option<u64> {
        let due = self.puts.iter().enumerate().filter_map(|(number, put)| {
            let copy = put.copies.get(queue)?;
            let due_ms = put.due_ms().1?.max(copy.course.due_by_ms);
            let waits = copy.deliveries == 0
                && !copy.course.may_be_buried
                && put.state == State::Stored
                && put.alternatives.is_empty()
                && self.is_missing(number, queue, copy, now);
            waits.then_some(due_ms)
        });
        due.min().filter(|_| self.excuses.is_empty() && !self.is_damage_told)
    }

    /// Whether everything that is delayed is over.
    pub(crate) fn last_due_ms(&self) -> u64 {
        let sent = |put: &Put| {
            let latest = put.ended_wall_ms.max(put.answered.map_or(0, |at| at.wall_ms));
            latest.max(put.sent.wall_ms) + put.options.delay_ms
        };
        self.puts.iter().map(sent).max().unwrap_or(0)
    }
}

fn check_form(put: &Put, number: usize, found: &Found<'_>) -> Check {
    let shown = put.body.len().min(found.body_max);
    if named(found.queue).is_none() || found.body != &put.body[..shown] {
        return Err(format!("item {number}: not what was put"));
    }
    if found.number("size")? != put.body.len() as u64 || found.number("flags")? != put.flags.into()
    {
        return Err("neither size nor flags may change".into());
    }
    let is_delayed = found.named.contains_key("due_ms");
    match is_delayed == (found.state == "delayed") {
        true => Ok(()),
        false => Err("due_ms is of what is delayed".into()),
    }
}

fn check_times(put: &Put, copy: &Copy, root: Queue, found: &Found<'_>, at: Moment) -> Check {
    let (earliest_ms, latest_ms) = put.due_ms();
    let delay_ms = put.options.delay_ms;
    // Given back, it may have been delayed since.
    let is_first = copy.course.due_by_ms == 0 && root != TASKS;
    match found.state {
        "ready" if delay_ms > 0 && at.wall_ms < earliest_ms => Err("before its time".into()),
        "delayed" if delay_ms == 0 && is_first => Err("nobody delayed it".into()),
        "delayed" if is_first => {
            let due_ms = found.number("due_ms")?;
            let is_late =
                latest_ms.is_some_and(|latest_ms| found.asked.wall_ms + due_ms > latest_ms);
            match at.wall_ms + due_ms < earliest_ms || is_late {
                true => Err("that is not its time".into()),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
