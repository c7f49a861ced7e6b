//! The end of a life: everything comes to rest, and what is left is counted.
//!
//! Must not: let anything fail any more.

use kqueue_broker::SyncPolicy;

use super::{Outcome, SETTLE_STEPS, World};
use crate::conn::{LEASE_MS_MAX, Link, Role};
use crate::disk::Cut;
use crate::queues::queues;

impl World {
    /// Everything comes to rest, and whatever is left in the queues is taken out and counted.
    pub(super) fn end(&mut self) -> Outcome {
        self.summary.disk_calls = self.disk.calls;
        self.summary.failed_calls = self.disk.failed;
        self.disk.fault = None;
        (self.calm, self.disk.is_full) = (true, false);
        self.note(|| "---- the end begins".into());
        if self.broker.progress().poisoned {
            self.cut(Cut::Kill)?;
        }
        self.serve_everything()?;
        self.settle()?;
        // Somebody may have had a last wish.
        self.serve_everything()?;
        self.is_in_order_again()?;
        let extended = self.scenario.extras.extended;
        if extended {
            self.resume_all()?;
        }
        match self.rng.u32(..4) {
            0 => self.restart_cleanly()?,
            1 => self.cut(Cut::Power)?,
            2 => self.cut(Cut::Kill)?,
            _ => {}
        }
        while !self.conns.is_empty() {
            self.close(0);
        }
        self.let_leases_end()?;
        if extended {
            if self.scenario.policy != SyncPolicy::Always {
                self.resume_all()?;
            }
            self.connect(Role::Steward);
            self.end_extended()?;
        } else {
            self.connect(Role::Admin);
        }
        self.drain()?;
        self.broker.check_invariants();
        self.summary.tally = self.oracle.finish(self.at())?;
        (self.summary.steps, self.summary.virtual_ms) = (self.step, self.mono_ms);
        Ok(())
    }

    /// Whatever happened, a server whose disk is sound again takes puts, without anybody's help.
    fn is_in_order_again(&mut self) -> Outcome {
        self.idle()?;
        self.connect(Role::Producer);
        let (at, number) = (self.at(), self.oracle.next_put());
        let conn = self.conns.last_mut().ok_or("no connection")?;
        conn.put_acknowledged(at, "plain", &mut self.oracle);
        self.settle()?;
        match self.oracle.is_stored(number) {
            true => Ok(()),
            false => Err("a put was refused although the disk is neither full nor failed".into()),
        }
    }

    /// SIGTERM: every session ends, everything is synced.
    fn restart_cleanly(&mut self) -> Outcome {
        for conn in &mut self.conns {
            conn.session.begin_close();
        }
        for _ in 0..SETTLE_STEPS {
            self.step += 1;
            for index in (0..self.conns.len()).rev() {
                self.run_conn(index)?;
                self.flush_conn(index, true)?;
            }
            self.broker.sync_everything(self.now());
            self.pump()?;
            if self.conns.is_empty() && self.broker.is_settled() {
                break;
            }
            if self.conns.iter().all(|conn| conn.link == Link::Abandoned) {
                self.notice_one();
            }
            self.pass_time()?;
        }
        if !self.conns.is_empty() || !self.broker.is_settled() {
            return Err("the server does not come to an end".into());
        }
        self.summary.clean_restarts += 1;
        // Everything was synced, so even a power cut takes nothing, whatever the policy.
        self.disk.cut(&mut self.rng, Cut::Power);
        self.oracle.cut(self.at(), Cut::Kill, self.is_faulty);
        self.restart()
    }

    /// What was fetched for a while returns although whoever fetched it is gone.
    pub(super) fn let_leases_end(&mut self) -> Outcome {
        let extras = self.scenario.extras;
        if !extras.fetches && !extras.extended {
            return Ok(());
        }
        self.mono_ms += LEASE_MS_MAX;
        self.broker.handle_timeout(self.now());
        self.pump()
    }

    pub(super) fn drain(&mut self) -> Outcome {
        for queue in queues(&self.scenario.extras) {
            loop {
                let (at, before) = (self.at(), self.oracle.deliveries());
                self.conns[0].get_now(at, queue);
                self.settle()?;
                if self.oracle.deliveries() == before {
                    break;
                }
            }
        }
        Ok(())
    }
}
