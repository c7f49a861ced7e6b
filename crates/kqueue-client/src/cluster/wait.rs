//! Waiting for an item at several servers at once.
//!
//! Every living server gets a waiting request on a connection of its own; the first item wins, and
//! the other waits are given up by closing their
//! connections: whatever a server had handed over there, it takes back. So no item is lost or
//! delayed, and the price, a new connection, is only
//! paid by those who had to wait.
//!
//! The wait is cut where an ejected server may be probed, so that a server that comes back is asked
//! too.

use std::time::{Duration, Instant};

use super::Cluster;
use super::reserve::{Want, to_wire_ms};
use super::tally::Tally;
use super::{Resend, share, sleep_until};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::link::{Cause, Dialect, Fault, Link};
use crate::session::{Answer, Item};
use crate::stream::{Interest, wait_any};

/// The interrupt is asked at least this often, for a signal that came just before the system call.
const INTERRUPT_EVERY: Duration = Duration::from_millis(250);
/// A Kestrel waits at one queue at a time: for several queues, this long at each in turn.
const TURN: Duration = Duration::from_millis(100);
/// If every server ends its wait early (it shuts down, the queue is an alias), do not ask again at
/// once.
const EARLY_END_PAUSE: Duration = Duration::from_millis(50);

/// How a wait ended.
pub(super) enum Waited {
    Items { at: usize, link: Box<Link>, items: Vec<Item> },
    Nothing,
    Interrupted,
}

/// One connection with a waiting request.
struct Waiter {
    at: usize,
    link: Link,
    /// Which queue it waits at, if it is a Kestrel.
    turn: usize,
    /// When that turn began.
    asked: Instant,
    /// How many turns in a row ended early.
    early_turns: usize,
}

/// One wait at a fixed set of servers.
struct Group<'a> {
    cluster: &'a Cluster,
    want: &'a Want<'a>,
    end: Instant,
    waiters: Vec<Waiter>,
    /// Servers that failed, refused or ended their wait meanwhile: to be asked again, not before the
    /// moment given.
    gone: Vec<(usize, Instant)>,
    has_answer: bool,
}

impl Cluster {
    /// Waits at all living servers until `end`.
    pub(super) fn wait_all(
        &self,
        want: &Want<'_>,
        end: Instant,
        interrupt: &dyn Interrupt,
    ) -> Result<Waited, Error> {
        let mut tally = Tally::default();
        let mut failed_rounds = 0;
        loop {
            let order = self.order(false);
            let mut members = if order.living.is_empty() { order.ejected } else { order.living };
            // A probe may take its time: the others wait meanwhile.
            members.sort_by_key(|&at| self.nodes[at].server.is_doubtful());
            let slice_end = end.min(self.next_probe());
            let mut group = Group::new(self, want, slice_end);
            // They share the time of one call, as everywhere: several stopped ones cost no more than one.
            let deadline = self.deadline();
            for (nth, &at) in members.iter().enumerate() {
                group.start(at, share(deadline, nth + 1 < members.len()), &mut tally);
            }
            match group.run(interrupt, &mut tally) {
                Waited::Nothing => {}
                ended => return Ok(ended),
            }
            let has_answer = group.has_answer;
            failed_rounds = if has_answer { 0 } else { failed_rounds + 1 };
            if failed_rounds > self.options.retries {
                return Err(tally.error(want.operation, &self.addresses, false));
            }
            let now = Instant::now();
            if now >= end {
                return if has_answer {
                    Ok(Waited::Nothing)
                } else {
                    Err(tally.error(want.operation, &self.addresses, false))
                };
            }
            if !has_answer {
                self.pause(failed_rounds, end);
            } else if now < slice_end {
                sleep_until(slice_end.min(now + EARLY_END_PAUSE));
            }
            if interrupt.interrupted() {
                return Ok(Waited::Interrupted);
            }
        }
    }

    /// When the first ejected server may be probed; far away if none is.
    fn next_probe(&self) -> Instant {
        let now_ms = self.pools.now_ms();
        let far_ms = now_ms + 3_600_000;
        let probes = self.nodes.iter().filter_map(|node| node.server.probe_at_ms(now_ms));
        let at_ms = probes.min().unwrap_or(far_ms);
        Instant::now() + Duration::from_millis(at_ms - now_ms + 1)
    }
}

impl<'a> Group<'a> {
    fn new(cluster: &'a Cluster, want: &'a Want<'a>, end: Instant) -> Self {
        Self { cluster, want, end, waiters: Vec::new(), gone: Vec::new(), has_answer: false }
    }

    /// Sends the waiting request to one server.
    fn start(&mut self, at: usize, limit: Instant, tally: &mut Tally) {
        let (want, end) = (self.want, self.end);
        let sent = self.cluster.attempt(at, limit, Resend::Yes, tally, |link, limit| {
            ask_waiting(link, want, 0, end, limit)
        });
        if let Some(((), link)) = sent {
            self.waiters.push(Waiter { at, link, turn: 0, asked: Instant::now(), early_turns: 0 });
        } else {
            self.gone.push((at, Instant::now()));
        }
    }

    fn fail(&mut self, at: usize, is_reused: bool, fault: &Fault, tally: &mut Tally) {
        self.cluster.fail::<()>(at, is_reused, fault, tally);
        self.gone.push((at, Instant::now()));
    }

    /// Asks a server again that may be back: one at a time, the others wait.
    fn probe_gone(&mut self, tally: &mut Tally) {
        let (now, now_ms) = (Instant::now(), self.cluster.pools.now_ms());
        let is_due = |&(at, from): &(usize, Instant)| {
            now >= from && !self.cluster.nodes[at].server.is_ejected(now_ms)
        };
        if let Some(nth) = self.gone.iter().position(is_due) {
            let (at, _) = self.gone.swap_remove(nth);
            self.start(at, self.cluster.deadline(), tally);
        }
    }

    /// Until an item comes, every server has answered or failed, or the interrupt says so.
    fn run(&mut self, interrupt: &dyn Interrupt, tally: &mut Tally) -> Waited {
        let last = self.end + self.cluster.options.timeout;
        loop {
            if let Some(items) = self.collect(tally) {
                self.cancel();
                return items;
            }
            if self.waiters.is_empty() {
                return Waited::Nothing;
            }
            if interrupt.interrupted() {
                self.cancel();
                return Waited::Interrupted;
            }
            if Instant::now() < self.end {
                self.probe_gone(tally);
            }
            let now = Instant::now();
            if now >= last {
                for waiter in std::mem::take(&mut self.waiters) {
                    let fault = waiter.link.silent("waiting for an item");
                    self.cluster.fail::<()>(waiter.at, false, &fault, tally);
                }
                return Waited::Nothing;
            }
            let sockets: Vec<_> = self
                .waiters
                .iter()
                .map(|waiter| (waiter.link.stream(), Interest::Readable))
                .collect();
            if wait_any(&sockets, last.min(now + INTERRUPT_EVERY)).is_err() {
                self.cancel();
                return Waited::Nothing;
            }
            self.receive(tally);
        }
    }

    /// Reads what has arrived at each connection; a broken one is replaced or given up.
    fn receive(&mut self, tally: &mut Tally) {
        for mut waiter in std::mem::take(&mut self.waiters) {
            match waiter.link.receive_now() {
                Ok(_) => self.waiters.push(waiter),
                Err(fault) => self.revive(waiter, &fault, tally),
            }
        }
    }

    /// A pooled connection that broke is replaced by a new one; anything else is a failure of the
    /// server.
    fn revive(&mut self, waiter: Waiter, fault: &Fault, tally: &mut Tally) {
        let Waiter { at, link, .. } = waiter;
        if !(link.is_reused() && fault.cause == Cause::Broken) {
            self.fail(at, link.is_reused(), fault, tally);
            return;
        }
        drop(link);
        self.cluster.nodes[at].clear();
        self.cluster.nodes[at].server.forget();
        self.start(at, self.cluster.deadline(), tally);
    }

    /// Takes the whole answers received so far; the first with items ends the wait.
    fn collect(&mut self, tally: &mut Tally) -> Option<Waited> {
        let mut waiting = std::mem::take(&mut self.waiters).into_iter();
        while let Some(mut waiter) = waiting.next() {
            match waiter.link.poll_answer() {
                Ok(None) => self.waiters.push(waiter),
                Ok(Some(Answer::Items(items))) if !items.is_empty() => {
                    self.waiters.extend(waiting);
                    return Some(Waited::Items {
                        at: waiter.at,
                        link: Box::new(waiter.link),
                        items,
                    });
                }
                Ok(Some(Answer::Refused { text, .. })) => {
                    tally.note_refused(waiter.at, &text);
                    let eject_time = self.cluster.options.eject_time;
                    self.gone.push((waiter.at, Instant::now() + eject_time));
                }
                Ok(Some(_)) => self.next_turn(waiter, tally),
                Err(fault) => self.fail(waiter.at, false, &fault, tally),
            }
        }
        None
    }

    /// Nothing came: a Kestrel waits at the next queue, if there are several and time is left; else
    /// this server is done.
    fn next_turn(&mut self, mut waiter: Waiter, tally: &mut Tally) {
        self.has_answer = true;
        let is_rotating = waiter.link.dialect() == Dialect::Kestrel && self.want.names.len() > 1;
        let now = Instant::now();
        let is_early = now < self.end.min(waiter.asked + EARLY_END_PAUSE);
        waiter.early_turns = if is_early { waiter.early_turns + 1 } else { 0 };
        // It waits at none of them: the pause of the whole wait is for this, too.
        let is_useless = waiter.early_turns >= self.want.names.len();
        if !is_rotating || now >= self.end || is_useless {
            self.cluster.check_in(waiter.at, waiter.link);
            self.gone.push((waiter.at, now + EARLY_END_PAUSE));
            return;
        }
        waiter.asked = now;
        waiter.turn = (waiter.turn + 1) % self.want.names.len();
        let limit = self.cluster.deadline();
        match ask_waiting(&mut waiter.link, self.want, waiter.turn, self.end, limit) {
            Ok(()) => self.waiters.push(waiter),
            Err(fault) => self.revive(waiter, &fault, tally),
        }
    }

    /// Closing takes the requests back: a server keeps nothing for a connection that is gone.
    fn cancel(&mut self) {
        let cancelled = self.waiters.drain(..).count() as u64;
        self.cluster.pools.count(|counters| counters.cancelled += cancelled);
    }
}

/// Sends a request that waits until `end`.
fn ask_waiting(
    link: &mut Link,
    want: &Want<'_>,
    turn: usize,
    end: Instant,
    limit: Instant,
) -> Result<(), Fault> {
    let mut head = Vec::with_capacity(64);
    let remaining = end.saturating_duration_since(Instant::now());
    if link.dialect().is_extended()
        && let Ok(expect) = want.reserve(&mut head, want.max, to_wire_ms(remaining))
    {
        return link.request(expect, &[&head], limit);
    }
    let wait = if want.names.len() > 1 { remaining.min(TURN) } else { remaining };
    let expect = Want::open(&mut head, want.names[turn], to_wire_ms(wait));
    link.request(expect, &[&head], limit)
}
