//! Everybody goes, and everything that is in the queues is looked at, in every state.
//!
//! Must not: judge; the oracle does.

use std::collections::BTreeSet;

use super::{Outcome, World};
use crate::conn::{Conn, Role, STATES};
use crate::oracle::Moment;
use crate::queues::{JOBS, KEPT, Queue, queues};

/// A wait ends so long after what was waited for is there, in milliseconds: an alarm may be looked at again.
const PROMPT_MS: u64 = 1500;

type Seen = BTreeSet<(Queue, &'static str, usize)>;

impl World {
    /// In the middle of a life.
    pub(super) fn inspect_now(&mut self) -> Outcome {
        if self.broker.progress().poisoned || self.disk.is_full {
            // Nobody gets an answer that waits for the disk.
            return Ok(());
        }
        let was_calm = std::mem::replace(&mut self.calm, true);
        let life = self.lives();
        self.serve_everything()?;
        self.settle()?;
        self.serve_everything()?;
        while !self.conns.is_empty() {
            self.close(0);
        }
        self.pump()?;
        self.let_leases_end()?;
        if life == self.lives() {
            self.connect(Role::Steward);
            self.inspect()?;
        }
        if !self.conns.is_empty() && life == self.lives() {
            self.close(0);
        }
        self.calm = was_calm;
        Ok(())
    }

    fn lives(&self) -> u64 {
        self.summary.kills + self.summary.power_cuts + self.summary.clean_restarts
    }

    fn steward(&mut self) -> Result<&mut Conn, String> {
        self.conns.first_mut().ok_or_else(|| "no connection".into())
    }

    /// Everything in every state, by the only client there is.
    fn inspect(&mut self) -> Result<Seen, String> {
        let (began, life) = (self.at(), self.lives());
        let mut seen = Seen::new();
        for queue in queues(&self.scenario.extras) {
            for state in STATES {
                let max = if self.rng.bool() { self.rng.u32(1..30) } else { 1000 };
                let body_max = if self.rng.bool() { 20 } else { usize::MAX };
                loop {
                    let at = self.at();
                    let conn = self.steward()?;
                    conn.browse(at, queue, state, max, body_max);
                    self.settle()?;
                    if life != self.lives() {
                        return Ok(Seen::new());
                    }
                    let conn = self.steward()?;
                    let found = std::mem::take(&mut conn.found);
                    let is_over = conn.cursor.is_none();
                    for item in found {
                        let may_be_twice =
                            self.oracle.is_damage_told || self.oracle.may_be_twice(item.2);
                        if !seen.insert(item) && !may_be_twice {
                            return Err(format!("item {} of {queue} is {state} twice", item.2));
                        }
                    }
                    if is_over {
                        break;
                    }
                }
            }
        }
        self.oracle.inspected(began, self.at(), &seen)?;
        self.summary.inspections += 1;
        Ok(seen)
    }

    /// Nothing is paused any more.
    pub(super) fn resume_all(&mut self) -> Outcome {
        self.connect(Role::Steward);
        let at = self.at();
        let conn = self.conns.last_mut().ok_or("no connection")?;
        conn.resume_all(at, &mut self.oracle);
        let id = self.next_conn - 1;
        self.settle()?;
        if let Some(index) = self.conns.iter().position(|conn| conn.id == id) {
            self.close(index);
        }
        Ok(())
    }

    /// At the end: everything is where it should be; what is dead comes to life; what is due comes, and what is delayed comes at its time.
    pub(super) fn end_extended(&mut self) -> Outcome {
        self.inspect()?;
        let began = self.at();
        self.drain()?;
        self.oracle.check_due(began, self.at())?;
        // What had come too often before a restart is dead once somebody wants something.
        let seen = self.inspect()?;
        for queue in KEPT {
            let dead = seen.iter().filter(|(of, state, _)| (*of, *state) == (queue, "dead"));
            let dead = dead.count() as u64;
            if queue == JOBS && self.rng.u32(..4) == 0 {
                self.purge_dead(dead)?;
                continue;
            }
            let mut count = None;
            for _ in 0..3 {
                let at = self.at();
                let Self { conns, oracle, .. } = self;
                let conn = conns.first_mut().ok_or("no connection")?;
                conn.kick(at, queue, "all", oracle);
                self.settle()?;
                count = self.steward()?.count;
                if count.is_some() {
                    break;
                }
                // What is left of the segment is too little, and only a put asks for the next one.
                let at = self.at();
                let Self { conns, oracle, .. } = self;
                let conn = conns.first_mut().ok_or("no connection")?;
                conn.put_large(at, "plain", oracle);
                self.settle()?;
            }
            if count != Some(dead) && !self.oracle.is_damage_told {
                return Err(format!("{count:?} dead letters of {queue} came to life, of {dead}"));
            }
            self.summary.kicked += dead;
        }
        self.drain()?;
        for queue in KEPT {
            self.wait_for_delayed(queue)?;
        }
        self.mono_ms =
            self.mono_ms.max(self.oracle.last_due_ms().saturating_sub(super::EPOCH_MS)) + 5000;
        self.broker.handle_timeout(self.now());
        self.pump()
    }

    fn purge_dead(&mut self, dead: u64) -> Outcome {
        let at = self.at();
        let Self { conns, oracle, .. } = self;
        conns.first_mut().ok_or("no connection")?.purge(at, JOBS, "dead", oracle);
        self.settle()?;
        let count = self.steward()?.count;
        match count {
            Some(count) if count == dead || self.oracle.is_damage_told => Ok(()),
            count => Err(format!("{count:?} dead letters were purged, of {dead}")),
        }
    }

    /// Who waits gets what is delayed when its time comes.
    fn wait_for_delayed(&mut self, queue: Queue) -> Outcome {
        loop {
            let (at, before) = (self.at(), self.oracle.deliveries());
            let Some(due_ms) = self.oracle.next_due_ms(queue, at) else { return Ok(()) };
            self.steward()?.get_long(at, queue);
            self.settle()?;
            let Moment { wall_ms, .. } = self.at();
            let by_ms = due_ms.max(at.wall_ms) + PROMPT_MS;
            let is_prompt = self.oracle.deliveries() > before && wall_ms <= by_ms;
            if !is_prompt && self.scenario.has_memory() {
                return Err(format!("{queue}: what was due by {due_ms} came only at {wall_ms}"));
            }
            if self.oracle.deliveries() == before {
                return Ok(());
            }
        }
    }
}
