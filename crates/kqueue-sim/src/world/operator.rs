//! What whoever runs the server does to it: settings, status, and what the broker asks of its shell.
//!
//! Must not: judge what the clients see.

use kqueue_broker::{Ask, Status};

use super::{Outcome, World};
use crate::queues::table;
use crate::rules::Rules;

/// Longest time that the shell takes for what it is asked, in milliseconds.
const ASK_MS: u64 = 50;

impl World {
    /// Something of this happens in some steps.
    pub(super) fn operate(&mut self) -> Outcome {
        let extras = self.scenario.extras;
        if self.one_in(extras.reload_every) {
            let rules = Rules::random(&mut self.rng, &self.scenario);
            self.reload(rules);
        }
        if self.one_in(extras.status_every) {
            // Mostly it serves.
            let status = match self.rng.u32(..8) {
                0 => Status::ReadOnly,
                1 => Status::Quiescent,
                2 => Status::WriteAvoid,
                _ => Status::Up,
            };
            self.set_status(status)?;
        }
        Ok(())
    }

    /// Other settings, at once and as a whole.
    pub(super) fn reload(&mut self, rules: Rules) {
        let (at, now) = (self.at(), self.now());
        self.broker.reload(now, table(&self.scenario, &rules));
        self.oracle.rules.change(at, rules);
        self.summary.reloads += 1;
        self.note(|| format!("{rules:?}"));
    }

    pub(super) fn set_status(&mut self, status: Status) -> Outcome {
        let now = self.now();
        let has_changed = self.broker.set_status(now, status);
        if has_changed != self.status.ask(now.mono_ms, status) {
            return Err(format!("status {status}: changed is {has_changed}"));
        }
        self.note_status()
    }

    /// A client may have changed the status.
    pub(super) fn see_status(&mut self) -> Outcome {
        let shown = self.broker.status();
        if shown != self.status.shown && !self.status.ask(self.mono_ms, shown) {
            return Err(format!("status {shown} during a grace period"));
        }
        self.note_status()
    }

    /// What is enforced follows from what was asked for and when.
    pub(super) fn note_status(&mut self) -> Outcome {
        let (shown, enforced) = (self.broker.status(), self.broker.enforced_status());
        let model = self.status;
        if (shown, enforced) != (model.shown, model.enforced) {
            return Err(format!("status {shown}, enforced {enforced}, instead of {model:?}"));
        }
        let at = self.at();
        if *self.oracle.told.last() != shown {
            self.oracle.told.change(at, shown);
            self.summary.status_changes += 1;
            self.note(|| format!("status {shown}"));
        }
        if *self.oracle.enforced.last() != enforced {
            self.oracle.enforced.change(at, enforced);
            self.note(|| format!("enforced: {enforced}"));
        }
        Ok(())
    }

    /// Everything is served again, and nothing is hidden or limited.
    pub(super) fn serve_everything(&mut self) -> Outcome {
        self.set_status(Status::Up)?;
        let rules = Rules::first(&self.scenario);
        if *self.oracle.rules.last() != rules {
            self.reload(rules);
        }
        Ok(())
    }

    /// What the broker asks of its shell: it is done after a while, or is not.
    pub(super) fn answer_asks(&mut self) {
        while let Some(ask) = self.broker.poll_ask() {
            // Nothing is drawn in lives in which nobody asks.
            let takes_ms = self.rng.u64(..=ASK_MS);
            self.asks.push_back((ask, self.mono_ms + takes_ms));
        }
        // One at a time, in order.
        while self.asks.front().is_some_and(|(_, due)| *due <= self.mono_ms) {
            let Some((ask, _)) = self.asks.pop_front() else { break };
            let is_done = self.calm || self.rng.u32(..5) > 0;
            let result = if is_done { Ok(()) } else { Err("not done, for some reason") };
            self.note(|| format!("{ask:?}: {result:?}"));
            match ask {
                Ask::Reload { session } => {
                    if is_done {
                        let rules = match self.calm {
                            true => Rules::first(&self.scenario),
                            false => Rules::random(&mut self.rng, &self.scenario),
                        };
                        self.reload(rules);
                    }
                    self.broker.answer(session, result);
                }
                Ask::SaveStatus { session, status } => {
                    if is_done {
                        self.saved_status = status;
                    }
                    if let Some(session) = session {
                        self.broker.answer(session, result);
                    }
                }
                Ask::Shutdown => {}
            }
        }
    }
}
