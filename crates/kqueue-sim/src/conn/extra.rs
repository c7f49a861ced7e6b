//! What clients and operators do in lives with more than the usual.
//!
//! Must not: judge.

use fastrand::Rng;

use crate::conn::{Conn, OPEN_MAX, Role, Want, consumed, random_wait};
use crate::oracle::{How, Moment, Oracle};
use crate::queues::{BOTH, PRODUCED_TOO, TIGHT};
use crate::queues::{BRIEF, Queue, TURN};
use crate::scenario::Extras;

impl Role {
    pub(super) fn random_extra(rng: &mut Rng, extras: &Extras) -> Self {
        let mut roles = Vec::new();
        if extras.monitors {
            roles.extend([Self::Monitor(consumed(rng, extras)); 2]);
        }
        if extras.fetches {
            roles.extend([Self::Worker; 3]);
        }
        if extras.turns() {
            roles.extend([Self::Feeder; 3]);
        }
        roles.push(Self::Operator);
        roles[rng.usize(..roles.len())]
    }
}

impl Conn {
    pub(super) fn feed(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let queue = PRODUCED_TOO[rng.usize(..PRODUCED_TOO.len())];
        self.put(rng, at, queue, oracle);
    }

    pub(super) fn monitor_or_end(
        &mut self,
        rng: &mut Rng,
        at: Moment,
        queue: Queue,
        oracle: &mut Oracle,
    ) {
        let held = self.held.len();
        match rng.u32(..10) {
            0..4 if held < OPEN_MAX as usize => self.monitor(rng, at, queue),
            4 | 5 if held < OPEN_MAX as usize => {
                let how = How::Held { until_ms: u64::MAX };
                let wait = random_wait(rng);
                let line = format!("get {queue}/open{wait}\r\n");
                self.ask(at, &line, Want::Get { queue, how, closes: None });
            }
            6 | 7 => self.confirm(rng, at, queue, oracle),
            8 if held > 0 => {
                let put = self.held.remove(0).put;
                oracle.release_sent(self.id, queue, put);
                self.ask(at, &format!("get {queue}/abort\r\n"), Want::Abort);
            }
            9 if held > 0 => {
                let put = self.held[0].put;
                oracle.ack_sent(queue, put);
                self.ask(at, &format!("get {queue}/close\r\n"), Want::Close { queue, put });
            }
            _ => {}
        }
    }

    fn monitor(&mut self, rng: &mut Rng, at: Moment, queue: Queue) {
        let seconds = rng.u64(..3);
        let (max, left) = match rng.u32(..6) {
            0 => (String::new(), u32::MAX),
            max => (format!(" {max}"), max),
        };
        let until_ms = at.mono_ms + seconds * 1000;
        let line = format!("monitor {queue} {seconds}{max}\r\n");
        self.ask(at, &line, Want::Monitor { queue, until_ms, left });
    }

    /// As many as there are or fewer, or one too many, or none, which is no number either.
    fn confirm(&mut self, rng: &mut Rng, at: Moment, queue: Queue, oracle: &mut Oracle) {
        let held = self.held.len();
        let count = rng.usize(..held + 2);
        let is_possible = count > 0 && count <= held;
        let oldest = self.held.iter().take(if is_possible { count } else { 0 });
        let puts: Vec<usize> = oldest.map(|held| held.put).collect();
        puts.iter().for_each(|&put| oracle.ack_sent(queue, put));
        self.ask(at, &format!("confirm {queue} {count}\r\n"), Want::Confirm { queue, puts });
    }

    /// Small things of an operator's; the world sees to settings and status, too.
    pub(super) fn operate(&mut self, rng: &mut Rng, at: Moment) {
        let alias = if rng.bool() { BOTH } else { TIGHT };
        let turns = self.extras.turns();
        match rng.u32(..16) {
            0 | 1 => self.ask(at, "status\r\n", Want::Status),
            2 if self.extras.status_every > 0 => {
                let status = ["up", "WriteAvoid", "READONLY", "quiescent"][rng.usize(..4)];
                self.ask(at, &format!("status {status}\r\n"), Want::Grant("END"));
            }
            3 | 4 if turns => self.ask(at, "reload\r\n", Want::Grant("Reloaded config.")),
            5 => self.ask(at, "flush_all_expired\r\n", Want::FlushExpired(None)),
            6 | 7 => {
                let queue = [BRIEF, "plain", TURN][rng.usize(..3)];
                let line = format!("flush_expired {queue}\r\n");
                self.ask(at, &line, Want::FlushExpired(Some(queue)));
            }
            // What is done to an alias concerns nobody.
            8 if turns => self.ask(at, &format!("flush {alias}\r\n"), Want::Grant("END")),
            9 if turns => self.ask(at, &format!("delete {alias}\r\n"), Want::Grant("DELETED")),
            10 if turns => {
                let option = ["/open", "/peek", "/t=50", "/open/t=50"][rng.usize(..4)];
                let line = format!("get {alias}{option}\r\n");
                self.ask(at, &line, Want::Get { queue: alias, how: How::Peeked, closes: None });
            }
            11 if turns => {
                let line = format!("monitor {alias} 1\r\n");
                let want = Want::Monitor { queue: alias, until_ms: 0, left: 0 };
                self.ask(at, &line, want);
            }
            _ => self.ask(at, "version\r\n", Want::Line { begin: "VERSION" }),
        }
    }
}
