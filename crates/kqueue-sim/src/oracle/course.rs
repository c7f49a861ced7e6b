//! What only extended commands say of an item: when it is ready, its id, how often it came, whether it is dead; and which queues hand out nothing.
//!
//! What a command does is certain once it was answered; between question and answer everything is right that would have been right before or after.
//! Must not: know other items but by their ids and keys.

use super::{Check, ConnId, Copy, How, Moment, Oracle, Put, Shown, State};
use crate::disk::Cut;
use crate::queues::{ATTEMPTS_MAX, Queue, attempts_max, retry_ms, turns, way};

/// Items that are ready at their time may come so much later, where memory is not short.
pub(super) const LATE_MS: u64 = 2000;

/// What a put says besides what `set` can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) delay_ms: u64,
    /// -1 is high, 1 is low.
    pub(crate) level: i8,
    /// The name that was put to, and the client's word.
    pub(crate) key: Option<(Queue, u32)>,
}

impl Options {
    /// The word for the level.
    pub(crate) fn priority(&self) -> &'static str {
        match self.level {
            ..0 => "high",
            0 => "normal",
            _ => "low",
        }
    }
}

/// What is known of one copy's way through the states.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Deliveries that may be given back and were seen.
    opens: Vec<Open>,
    /// A crash may have forgotten some of them, or they were taken for good, which may have been counted.
    is_vague: bool,
    /// It is a dead letter: when somebody did or asked what told that, and when that was answered.
    pub(super) dead: Option<(Moment, Moment)>,
    /// Somebody has asked for that.
    pub(super) may_be_buried: bool,
    later: Option<Later>,
    /// When delays that clients asked for are over at the latest, unix time in milliseconds.
    pub(super) due_by_ms: u64,
}

impl Course {
    /// Whether it may have gone from one part of its queue to another.
    pub(super) fn may_have_moved(&self) -> bool {
        !self.opens.is_empty() || self.later.is_some() || self.dead.is_some() || self.may_be_buried
    }
}

#[derive(Clone, Copy, Debug)]
struct Open {
    asked: u64,
    received: Moment,
    /// 0: that was not told.
    attempts: u32,
}

/// It was given back, to come later.
#[derive(Clone, Copy, Debug)]
struct Later {
    asked: Moment,
    known: Moment,
    not_before_ms: u64,
}

/// A command that changes what is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Kick,
    Purge,
    Resume,
}

/// When it may have been run.
#[derive(Debug)]
pub(super) struct Run {
    command: Command,
    conn: ConnId,
    queue: Queue,
    end: Option<u64>,
}

impl Course {
    pub(super) fn opened(&mut self, asked: Moment, received: Moment) {
        self.opens.push(Open { asked: asked.step, received, attempts: 0 });
    }

    /// Taken for good: should a crash bring it back, what was taken on the way through the server may count.
    pub(super) fn taken(&mut self) {
        self.is_vague = true;
    }

    /// What a crash may have taken is not certain any more.
    pub(super) fn cut(&mut self, is_kept: impl Fn(Moment) -> bool) {
        let before = self.opens.len();
        self.opens.retain(|open| is_kept(open.received));
        self.is_vague |= self.opens.len() < before;
        self.dead = self.dead.filter(|(_, known)| is_kept(*known));
        self.later = self.later.filter(|later| is_kept(later.known));
    }
}

impl Put {
    /// The earliest and the latest time at which it is ready, unix time in milliseconds.
    pub(super) fn due_ms(&self) -> (u64, Option<u64>) {
        let delay_ms = self.options.delay_ms;
        (self.arrived_ms + delay_ms, self.answered.map(|at| at.wall_ms + delay_ms))
    }
}

impl Oracle {
    /// The put that was sent last says more.
    pub(crate) fn put_options(&mut self, number: usize, options: Options) {
        self.puts[number].options = options;
        if let Some(key) = options.key {
            self.keys.entry(key).or_default().push(number);
        }
    }

    /// A command was sent.
    pub(crate) fn command_sent(&mut self, conn: ConnId, queue: Queue, command: Command) {
        self.runs.push(Run { command, conn, queue, end: None });
        match command {
            Command::Resume => _ = self.paused.remove(queue),
            Command::Purge => self.flush_sent(queue),
            Command::Kick => {}
        }
    }

    /// It was answered.
    pub(crate) fn command_answered(&mut self, at: Moment, conn: ConnId, command: Command) {
        let mut open =
            self.runs.iter_mut().filter(|run| (run.conn, run.command) == (conn, command));
        if let Some(run) = open.find(|run| run.end.is_none()) {
            run.end = Some(at.step);
        }
    }

    /// What was sent by this connection, or by all, is not run any more.
    pub(super) fn end_commands(&mut self, at: Moment, conn: Option<ConnId>) {
        let ended = self.runs.iter_mut().filter(|run| conn.is_none_or(|conn| run.conn == conn));
        ended.for_each(|run| run.end = run.end.or(Some(at.step)));
    }

    /// Whether a command may have been run since a step.
    pub(super) fn may_have_run(&self, command: Command, queue: Queue, since: u64) -> bool {
        self.runs.iter().any(|run| {
            (run.command, run.queue) == (command, queue) && run.end.is_none_or(|end| end >= since)
        })
    }

    /// Dead letters of a queue that it keeps itself were removed: those that were certainly there are gone.
    pub(crate) fn dead_purged(&mut self, asked: Moment, queue: Queue) {
        for number in 0..self.puts.len() {
            let Some(copy) = self.puts[number].copies.get(queue) else { continue };
            if self.is_dead(copy, queue, asked) {
                let copy = self.puts[number].copies.get_mut(queue);
                copy.into_iter().for_each(|copy| copy.is_flushed = true);
            }
        }
    }

    /// Whether this was a dead letter for certain when something was asked, and is since.
    pub(super) fn is_dead(&self, copy: &Copy, root: Queue, asked: Moment) -> bool {
        copy.course.dead.is_some_and(|(from, known)| {
            known.step < asked.step && !self.may_have_run(Command::Kick, root, from.step)
        })
    }

    /// Nothing of the queue is handed out from now on.
    pub(crate) fn paused(&mut self, asked: Moment, at: Moment, queue: Queue) {
        if !self.may_have_run(Command::Resume, queue, asked.step) {
            self.paused.insert(queue, at);
        }
    }

    pub(super) fn forget_pauses(&mut self) {
        self.paused.clear();
    }

    /// Whether an item may be shown as far as time, death and pauses go.
    pub(super) fn check_course(
        &self,
        number: usize,
        root: Queue,
        place: usize,
        shown: &Shown<'_>,
        at: Moment,
    ) -> Check {
        let (put, copy) = (&self.puts[number], &self.puts[number].copies[root]);
        if self.is_damage_told {
            return Ok(());
        }
        if place == 0 && put.options.delay_ms > 0 && at.wall_ms < put.due_ms().0 {
            let early_ms = put.due_ms().0 - at.wall_ms;
            return Err(format!("{early_ms} ms before its time"));
        }
        if shown.is_stale(at) {
            return Ok(());
        }
        let since = self.paused.get(shown.queue);
        if shown.how != How::Peeked && since.is_some_and(|since| since.step < shown.asked.step) {
            return Err("handed out although its queue is paused".into());
        }
        if place > 0 || copy.may_be_twice_here {
            return Ok(());
        }
        if let Some(later) = copy.course.later
            && later.known.step < shown.asked.step
            && at.wall_ms < later.not_before_ms
            && !self.may_have_run(Command::Kick, root, later.asked.step)
        {
            let early_ms = later.not_before_ms - at.wall_ms;
            return Err(format!("{early_ms} ms before it was to come again"));
        }
        match self.is_dead(copy, root, shown.asked) {
            true => Err("shown as alive although it is dead".into()),
            false => self.check_twice(number, root, at),
        }
    }

    /// Of puts with the same key within its time one is stored.
    fn check_twice(&self, number: usize, root: Queue, at: Moment) -> Check {
        let put = &self.puts[number];
        let Some(alike) = put.options.key.and_then(|key| self.keys.get(&key)) else {
            return Ok(());
        };
        let other = alike.iter().find(|&&other| {
            let one = &self.puts[other];
            let since_ms = one.arrived_ms.min(put.arrived_ms);
            other != number
                && one.copies.get(root).is_some_and(|copy| copy.deliveries > 0)
                && (one.life, put.life) == (self.life, self.life)
                && at.wall_ms - since_ms <= self.scenario.key_window_ms
        });
        match other {
            None => Ok(()),
            Some(other) => Err(format!("item {other} has the same key, and both were stored")),
        }
    }

    /// The client was told more of what it received last.
    pub(crate) fn item_told(
        &mut self,
        asked: Moment,
        at: Moment,
        queue: Queue,
        number: usize,
        id: u64,
        attempts: u32,
    ) -> Check {
        let Some((root, _, place)) = self.puts[number].find(queue) else { return Ok(()) };
        if place > 0 || self.is_damage_told {
            return Ok(());
        }
        self.learn_id(number, id)?;
        let copy = &self.puts[number].copies[root];
        if copy.may_be_twice_here {
            return Ok(());
        }
        let seen = self.attempts_seen(copy, root, asked);
        let opens = copy.course.opens.len();
        if attempts <= seen {
            return Err(format!("attempt {attempts} of what had come {seen} times"));
        }
        let sent = self.puts[number].sent;
        let is_exact = !copy.course.is_vague
            && !self.may_have_run(Command::Kick, root, sent.step)
            && !self.may_have_been_held(root, sent, at);
        if is_exact && attempts as usize != opens {
            return Err(format!("attempt {attempts}, and it came {opens} times"));
        }
        if let Some(copy) = self.puts[number].copies.get_mut(root)
            && let Some(open) = copy.course.opens.last_mut()
        {
            open.attempts = attempts;
        }
        Ok(())
    }

    /// How often it had been delivered at least when something was asked.
    pub(super) fn attempts_seen(&self, copy: &Copy, root: Queue, asked: Moment) -> u32 {
        let counts = |open: &&Open| {
            open.received.step < asked.step && !self.may_have_run(Command::Kick, root, open.asked)
        };
        let opens = || copy.course.opens.iter().filter(counts);
        opens().map(|open| open.attempts).max().unwrap_or(0).max(opens().count() as u32)
    }

    /// An item has this id, whatever happens to it.
    pub(super) fn learn_id(&mut self, number: usize, id: u64) -> Check {
        let put = &self.puts[number];
        if put.to.is_some() || put.copies.keys().any(|queue| turns(queue)) {
            // Each destination of an alias has its own.
            return Ok(());
        }
        match put.id {
            Some(known) if known == id => return Ok(()),
            Some(known) => return Err(format!("item {number} has id {id}, and had {known}")),
            None => self.puts[number].id = Some(id),
        }
        let Some(other) = self.ids.insert(id, number) else { return Ok(()) };
        let (put, before) = (&self.puts[number], &self.puts[other]);
        if put.options.key.is_some() && put.options.key == before.options.key {
            let key = put.options.key;
            self.repeats(other, number)?;
            // Others were answered with this id, too, before it was known whose it is.
            let alike = key.and_then(|key| self.keys.get(&key)).cloned().unwrap_or_default();
            for another in alike.into_iter().filter(|&another| another != number) {
                let put = &self.puts[another];
                if put.id == Some(id) && put.state == State::Stored {
                    self.repeats(another, number)?;
                }
            }
            return Ok(());
        }
        // A server that died before it had written anything began no run of its own; what was in memory only died with it.
        let is_same_life = put.life == before.life;
        match is_same_life && put.state == State::Stored && before.state == State::Stored {
            true => Err(format!("items {other} and {number} have the same id {id}")),
            false => Ok(()),
        }
    }

    /// One put was answered with the id of another one: it is not stored, the other one is.
    fn repeats(&mut self, number: usize, first: usize) -> Check {
        let answered = self.puts[number].answered;
        let policy = self.puts[number].policy;
        let put = &mut self.puts[number];
        put.state = State::Refused;
        put.alternatives.clear();
        self.repeated += 1;
        if put.copies.values().any(|copy| copy.deliveries > 0) {
            return Err("answered as repeated after it had been delivered".into());
        }
        let put = &mut self.puts[first];
        match put.state {
            State::Refused => return Err("repeats a put that was refused".into()),
            State::Sent => {
                (put.state, put.answered, put.policy) = (State::Stored, answered, policy);
            }
            State::Stored | State::Partly => {}
        }
        Ok(())
    }

    /// A put was answered with an id.
    pub(crate) fn put_stored_as(&mut self, at: Moment, number: usize, id: u64) -> Check {
        self.put_stored(at, number)?;
        let key = self.puts[number].options.key;
        let alike = key.and_then(|key| self.keys.get(&key)).cloned().unwrap_or_default();
        let window_ms = self.scenario.key_window_ms;
        let mut is_one_of_several = false;
        for &other in alike.iter().filter(|&&other| other != number) {
            let (put, one) = (&self.puts[number], &self.puts[other]);
            // What repeated another one says nothing that the other one does not.
            if one.arrived.is_none() || (one.id == Some(id) && one.state == State::Refused) {
                continue;
            }
            if one.id == Some(id) {
                // The other one may have been run as late as its server lived.
                let run_by = one.answered.filter(|_| one.life == put.life);
                let is_over = |run_by: Moment| put.arrived_ms > run_by.wall_ms + window_ms;
                if run_by.is_some_and(is_over) && !self.is_damage_told {
                    return Err(format!("repeats item {other}, whose key is over"));
                }
                let is_first = one.answered.is_some_and(|answered| answered.step < put.sent.step);
                if is_first {
                    return self.repeats(number, other);
                }
                // Any of them may have been the first one.
                self.puts[number].id = Some(id);
                self.puts[number].alternatives.push(other);
                self.puts[other].alternatives.push(number);
                is_one_of_several = true;
                continue;
            }
            // If it may repeat another one itself, the time may count from that.
            let perhaps = one.alternatives.iter().map(|&first| self.puts[first].arrived_ms);
            let first_ms = perhaps.min().map_or(one.arrived_ms, |ms| ms.min(one.arrived_ms));
            let is_known = one.state == State::Stored
                && one.id.is_some()
                && one.answered.is_some_and(|answered| answered.step < put.sent.step)
                && at.wall_ms.saturating_sub(first_ms) <= window_ms;
            if is_known && !self.is_damage_told {
                return Err(format!("stored although it repeats item {other}"));
            }
            if one.id.is_none() && one.state != State::Refused {
                self.puts[number].alternatives.push(other);
            }
        }
        match self.is_damage_told || is_one_of_several {
            true => Ok(()),
            false => self.learn_id(number, id),
        }
    }

    /// How often a copy was taken so far: what is said of a delivery counts only while nobody else gets it.
    pub(crate) fn deliveries_of(&self, queue: Queue, put: usize) -> u32 {
        let find = self.puts[put].find(queue);
        find.map_or(0, |(root, ..)| self.puts[put].copies[root].deliveries)
    }

    /// The client gives an item back, to come again later or as the queue's settings say.
    pub(crate) fn release_later_sent(&mut self, queue: Queue, put: usize, delay_ms: Option<u64>) {
        if let Some(copy) = self.puts[put].copy_mut(queue)
            && delay_ms != Some(0)
        {
            copy.course.due_by_ms = u64::MAX;
        }
    }

    /// That was done. `attempts`: of that delivery.
    pub(crate) fn released_later(
        &mut self,
        asked: Moment,
        known: Moment,
        queue: Queue,
        put: usize,
        (delay_ms, attempts, deliveries): (Option<u64>, u32, u32),
    ) {
        let may_stay = self.scenario.full_every > 0 || self.scenario.fault.is_some();
        let Some((root, _, 0)) = self.puts[put].find(queue) else { return };
        let Some(copy) = self.puts[put].copies.get_mut(root) else { return };
        let wait_ms = delay_ms.unwrap_or_else(|| match may_stay {
            true => 0,
            false => retry_ms(root, attempts),
        });
        let longest_ms = delay_ms.unwrap_or_else(|| crate::queues::retry_ms_max(root));
        if delay_ms != Some(0) {
            copy.course.due_by_ms = known.wall_ms + longest_ms;
        }
        if wait_ms > 0 && copy.deliveries == deliveries && copy.gone_since.is_none() {
            let not_before_ms = asked.wall_ms + wait_ms;
            copy.course.later = Some(Later { asked, known, not_before_ms });
        }
    }

    /// The disk is full, and the client forgets what it still holds.
    pub(crate) fn stays_held(&mut self, at: Moment, conn: ConnId, queue: Queue) {
        self.lease_asked(at, conn, &[queue]);
    }

    /// The client makes an item a dead letter.
    pub(crate) fn bury_sent(&mut self, queue: Queue, put: usize) {
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.course.may_be_buried = true;
        }
    }

    /// It is one.
    pub(crate) fn is_buried(&mut self, asked: Moment, known: Moment, queue: Queue, put: usize) {
        if let Some(copy) = self.puts[put].copy_mut(queue) {
            copy.course.dead = Some((asked, known));
        }
    }

    /// Whether an item may be a dead letter of the queue where it was put.
    pub(super) fn may_be_dead(&self, put: &Put, copy: &Copy, root: Queue, at: Moment) -> bool {
        copy.course.may_be_buried
            || copy.opens >= attempts_max(root).unwrap_or(ATTEMPTS_MAX)
            || way(root).iter().any(|from| self.may_have_been_held(from, put.sent, at))
    }

    /// The lease of an item begins anew; nothing else ends it but the connection if it is 0. What is shorter may end before the client knows.
    pub(crate) fn touch_sent(
        &mut self,
        at: Moment,
        conn: ConnId,
        queue: Queue,
        put: usize,
        lease_ms: u64,
    ) -> bool {
        let Some(copy) = self.puts[put].copy_mut(queue) else { return false };
        let Some(hold) = copy
            .holder
            .as_mut()
            .filter(|hold| hold.conn == conn && hold.queue == queue && at.mono_ms < hold.until_ms)
        else {
            return false;
        };
        if lease_ms > 0 {
            hold.until_ms = hold.until_ms.min(at.mono_ms + lease_ms);
            self.lease_asked(at, conn, &[queue]);
        }
        true
    }

    /// That was done, or was not.
    pub(crate) fn touched(
        &mut self,
        asked: Moment,
        at: Moment,
        conn: ConnId,
        queue: Queue,
        put: usize,
        (lease_ms, is_held): (u64, bool),
    ) -> Check {
        if lease_ms > 0 {
            self.lease_answered(at, conn, lease_ms);
        }
        if !is_held {
            return self.not_held(at, conn, queue, put);
        }
        let copy = self.puts[put].copy_mut(queue);
        let hold = copy.and_then(|copy| copy.holder.as_mut());
        if let Some(hold) = hold.filter(|hold| hold.conn == conn && hold.queue == queue) {
            hold.until_ms = match lease_ms {
                0 => u64::MAX,
                lease_ms => asked.mono_ms + lease_ms,
            };
        }
        Ok(())
    }

    /// The server's life ended: nothing that was sent is run any more.
    pub(super) fn cut_courses(&mut self, at: Moment, cut: Cut, keeps_pauses: bool) {
        self.end_commands(at, None);
        self.life += 1;
        if !keeps_pauses && cut == Cut::Power {
            self.forget_pauses();
        }
    }
}
