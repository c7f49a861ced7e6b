//! What clients do with the extended commands: delays, levels, keys, leases anew, dead letters, looks, pauses.
//!
//! Must not: judge.

use fastrand::Rng;

use crate::conn::{Asked, Conn, Held, LEASE_MS_MAX, Want};
use crate::oracle::{Command, Found, Moment, Options, Oracle, reason};
use crate::queues::{JOBS, KEPT, Queue, TASKS, has_options, named};
use crate::reply::Part;

/// States of items, as they are asked for.
pub(crate) const STATES: [&str; 4] = ["delayed", "ready", "open", "dead"];
/// Queues that are paused.
const PAUSED: [Queue; 4] = [JOBS, TASKS, "plain", "posts+a"];

/// Options of a put, as words, and what they mean.
pub(super) fn put_options(rng: &mut Rng, queue: Queue, oracle: &Oracle) -> (String, Options) {
    let mut options = Options::default();
    let mut words = String::new();
    if !has_options(queue) {
        return (words, options);
    }
    if rng.u32(..3) == 0 {
        options.delay_ms = match rng.u32(..3) {
            0 => rng.u64(1..50),
            1 => rng.u64(1..2_000),
            _ => rng.u64(1..20_000),
        };
        words += &format!(" delay={}", options.delay_ms);
    }
    if rng.bool() {
        options.level = rng.i8(-1..=1);
        words += &format!(" priority={}", options.priority());
    }
    if ["posts", "plain", JOBS, TASKS].contains(&queue) && rng.u32(..3) == 0 {
        // One of the last few, or a new one, or now and then an older one.
        let key = oracle.next_put() as u32 / 8 * 2 + rng.u32(..2);
        let key = if rng.u32(..4) == 0 { key.saturating_sub(rng.u32(..30)) } else { key };
        options.key = Some((queue, key));
        words += &format!(" key=k{key}");
    }
    (words, options)
}

impl Conn {
    /// Does something with one of the items that it holds, which is taken out of its list if that ends it. False: it holds none with which this can be done.
    pub(super) fn settle_extended(
        &mut self,
        rng: &mut Rng,
        at: Moment,
        oracle: &mut Oracle,
    ) -> bool {
        let is_kept = |held: &Held| KEPT.contains(&held.queue);
        let Some(index) = self.held.iter().position(is_kept) else { return false };
        let Held { queue, put, id, attempts } = self.held[index].clone();
        let deliveries = oracle.deliveries_of(queue, put);
        match rng.u32(..3) {
            0 => {
                let lease_ms = if rng.u32(..3) == 0 { 0 } else { rng.u64(1..LEASE_MS_MAX) };
                if oracle.touch_sent(at, self.id, queue, put, lease_ms) {
                    let line = format!("touch {queue} {id} {lease_ms}\r\n");
                    self.ask(at, &line, Want::Touch { queue, put, lease_ms });
                }
            }
            1 => {
                self.held.swap_remove(index);
                let delay_ms = (rng.u32(..4) > 0).then(|| rng.u64(..3) * rng.u64(..1500));
                let word = delay_ms.map(|ms| format!(" delay={ms}")).unwrap_or_default();
                oracle.release_later_sent(queue, put, delay_ms);
                oracle.release_sent(self.id, queue, put);
                let line = format!("release {queue} {id}{word}\r\n");
                self.ask(
                    at,
                    &line,
                    Want::ReleaseLater { queue, put, later: (delay_ms, attempts, deliveries) },
                );
            }
            _ => {
                self.held.swap_remove(index);
                oracle.bury_sent(queue, put);
                oracle.release_sent(self.id, queue, put);
                let said = reason(put);
                let line = format!("bury {queue} {id} {}\r\n{said}\r\n", said.len());
                self.ask(at, &line, Want::Bury { queue, put });
            }
        }
        true
    }

    /// What concerns whole queues.
    pub(super) fn steward(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let kept = KEPT[rng.usize(..KEPT.len())];
        let pauses = PAUSED[rng.usize(..PAUSED.len())];
        match rng.u32(..40) {
            0..4 => {
                let known = self.dead_ids.iter().copied().find(|(queue, _)| *queue == kept);
                let which = match (rng.u32(..3), known) {
                    (0, _) => "all".to_owned(),
                    (1, Some((_, id))) => format!("id={id}"),
                    _ => rng.u32(1..4).to_string(),
                };
                self.kick(at, kept, &which, oracle);
            }
            4 => {
                let what = ["ready", "delayed", "dead", "all"][rng.usize(..4)];
                self.purge(at, kept, what, oracle);
            }
            5 => self.ask(at, &format!("pause {pauses}\r\n"), Want::Pause(pauses)),
            6..10 => self.resume(at, pauses, oracle),
            10..30 => {
                let queue = match rng.u32(..4) {
                    0 => {
                        ["plain", "posts", "posts+b", "work", "late", "dead", "mem"][rng.usize(..7)]
                    }
                    _ => kept,
                };
                let max = if rng.bool() { rng.u32(1..5) } else { 1000 };
                let body_max = if rng.bool() { rng.usize(10..40) } else { usize::MAX };
                self.found.clear();
                self.cursor = None;
                self.browse(at, queue, STATES[rng.usize(..4)], max, body_max);
            }
            _ => {}
        }
    }

    pub(crate) fn browse(
        &mut self,
        at: Moment,
        queue: Queue,
        state: &'static str,
        max: u32,
        body_max: usize,
    ) {
        let after = self.cursor.take().map(|cursor| format!(" after={cursor}")).unwrap_or_default();
        let body = match body_max {
            usize::MAX => String::new(),
            bytes => format!(" body={bytes}"),
        };
        let line = format!("browse {queue} {state} {max}{after}{body}\r\n");
        self.ask(at, &line, Want::Browse { queue, state, left: max, body_max });
    }

    pub(crate) fn kick(&mut self, at: Moment, queue: Queue, which: &str, oracle: &mut Oracle) {
        oracle.command_sent(self.id, queue, Command::Kick);
        let max = if which.starts_with("id=") { 1 } else { which.parse().unwrap_or(u64::MAX) };
        self.ask(at, &format!("kick {queue} {which}\r\n"), Want::Kick(max));
    }

    pub(crate) fn purge(
        &mut self,
        at: Moment,
        queue: Queue,
        what: &'static str,
        oracle: &mut Oracle,
    ) {
        oracle.command_sent(self.id, queue, Command::Purge);
        self.ask(at, &format!("purge {queue} {what}\r\n"), Want::Purge { queue, what });
    }

    pub(crate) fn resume(&mut self, at: Moment, queue: Queue, oracle: &mut Oracle) {
        oracle.command_sent(self.id, queue, Command::Resume);
        self.ask(at, &format!("resume {queue}\r\n"), Want::Resume);
    }

    /// Everything is handed out again.
    pub(crate) fn resume_all(&mut self, at: Moment, oracle: &mut Oracle) {
        PAUSED.into_iter().for_each(|queue| self.resume(at, queue, oracle));
    }

    /// Waits long for an item.
    pub(crate) fn get_long(&mut self, at: Moment, queue: Queue) {
        let want = Want::Get { queue, how: crate::oracle::How::Taken, closes: None };
        self.ask(at, &format!("get {queue}/t=100000\r\n"), want);
    }

    /// Takes in a part of an answer; true if it was the last one.
    pub(super) fn answer_extended(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        if let (Want::Browse { .. }, Part::Found { .. }) = (&asked.want, part) {
            return self.answer_browse(asked, part, at, oracle).map(|()| false);
        }
        let Part::Line(line) = part else { return Err("expected a line".into()) };
        let no_room = line == "SERVER_ERROR out of disk space";
        let failed = line.starts_with("SERVER_ERROR the journal failed");
        match asked.want {
            Want::Touch { queue, put, lease_ms } => {
                let is_held = is_held(line)?;
                oracle.touched(asked.at, at, self.id, queue, put, (lease_ms, is_held))?;
            }
            Want::ReleaseLater { queue, put, later } => {
                if no_room && later.0.is_some_and(|ms| ms > 0) {
                    oracle.stays_held(at, self.id, queue);
                } else if is_held(line)? {
                    oracle.released_later(asked.at, at, queue, put, later);
                }
            }
            Want::Bury { queue, put } => {
                if no_room {
                    oracle.stays_held(at, self.id, queue);
                } else if is_held(line)? {
                    oracle.is_buried(asked.at, at, queue, put);
                }
            }
            Want::Kick(max) => {
                self.count = count_of(line);
                let is_known = line == "NOT_FOUND" && max == 1 || no_room || failed;
                if !is_known && self.count.is_none_or(|count| count > max) {
                    return Err(format!("expected OK and up to {max}"));
                }
                oracle.command_answered(at, self.id, Command::Kick);
            }
            Want::Purge { queue, what } => {
                self.count = count_of(line);
                oracle.flush_sent(queue);
                oracle.command_answered(at, self.id, Command::Purge);
                match self.count {
                    Some(_) if queue == JOBS && ["dead", "all"].contains(&what) => {
                        oracle.dead_purged(asked.at, queue);
                    }
                    None if !failed => return Err("expected OK and a number".into()),
                    _ => {}
                }
            }
            Want::Pause(queue) if line == "OK" => oracle.paused(asked.at, at, queue),
            Want::Resume => {
                oracle.command_answered(at, self.id, Command::Resume);
                if line != "OK" && !failed {
                    return Err("expected OK".into());
                }
            }
            Want::Browse { .. } => match line.strip_prefix("END") {
                Some("") => {}
                Some(cursor) if cursor.starts_with(' ') => self.cursor = Some(cursor[1..].into()),
                _ => return Err("expected FOUND or END".into()),
            },
            _ if failed => {}
            _ => return Err("not an answer to this".into()),
        }
        Ok(true)
    }

    fn answer_browse(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        let Want::Browse { queue: of, state: wanted, left, body_max } = asked.want else {
            return Err("not a look".into());
        };
        let Part::Found { queue, id, state, named: values, body } = part else {
            return Err("expected FOUND".into());
        };
        if left == 0 || queue != of || state != wanted {
            return Err("not what was asked for".into());
        }
        let at_asked = asked.at;
        let found = Found { queue, id: *id, state, named: values, body, body_max, asked: at_asked };
        let number = oracle.found(at, &found)?;
        let queue = named(queue).ok_or("unknown queue")?;
        if wanted == "dead" {
            self.dead_ids.push((queue, *id));
            self.dead_ids.drain(..self.dead_ids.len().saturating_sub(5));
        }
        self.found.push((queue, wanted, number));
        if let Some(front) = self.asked.front_mut() {
            front.has_item = true;
            front.want = Want::Browse { queue, state: wanted, left: left - 1, body_max };
        }
        Ok(())
    }
}

fn is_held(line: &str) -> Result<bool, String> {
    match line {
        "OK" => Ok(true),
        "NOT_HELD" => Ok(false),
        _ => Err("expected OK or NOT_HELD".into()),
    }
}

fn count_of(line: &str) -> Option<u64> {
    line.strip_prefix("OK ")?.parse().ok()
}
