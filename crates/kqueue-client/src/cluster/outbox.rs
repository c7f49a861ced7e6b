//! Pushes whose answers are awaited later: sent at once, as far as the kernel takes them, on a
//! connection of their own; settled by [`Cluster::sync`].
//!
//! Invariants:
//! - every item is counted once: stored, or shown as failed, by exactly one `sync`;
//! - what is unanswered is bounded in bytes and number: at the bound, a push waits for room;
//! - after a failure nothing is forgotten: what was unanswered waits for the next connection, in
//!   order;
//! - after `fork` the child knows nothing of its parent's pushes.

use std::iter::{self, Empty};
use std::time::Instant;

use kqueue_proto::{Name, NameRef};

use super::put::{Push, invalid};
use super::put_many::{Ended, Job, Parcel, Pipe, Settled};
use super::tally::{Operation, Tally};
use super::{Cluster, checked};
use crate::error::{Error, PushError};
use crate::link::{Dialect, Fault, Link};

/// Bodies that wait for an answer, bytes; each counts some more.
const UNANSWERED_BYTES: usize = 8 << 20;
/// What an item costs besides its body, about.
const ITEM_BYTES: usize = 128;
/// How many pushes go by before the answers are looked at.
const LOOK_EVERY: usize = 32;
/// Or how many bytes: so much can the bound be passed by, and by one item.
const LOOK_BYTES: usize = 1 << 20;
/// So many ids of stored items are kept for an error, up to twice as many for a while.
const RECEIPTS: usize = 100_000;
/// For messages: the queues may be many.
const PUSH: Operation<'_> = Operation { verb: "push", queues: &[] };

/// One item of [`Cluster::put_async`]. Its key is how many came before it since the last `sync`.
struct Letter {
    name: Name,
    body: Box<[u8]>,
    ttl_seconds: u32,
    nth: usize,
}

impl Parcel for Letter {
    type Key = usize;

    fn name(&self) -> NameRef<'_> {
        self.name.by_ref()
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    fn nth(&self) -> usize {
        self.nth
    }

    fn into_key(self) -> usize {
        self.nth
    }
}

/// The pushes of one cluster since its last `sync`.
pub(super) struct Outbox {
    pid: u32,
    job: Job<Letter, Empty<Letter>>,
    open: Option<Open>,
    /// Pushes so far.
    count: usize,
    /// Bytes of pushes since the bound was looked at.
    unlooked: usize,
    /// Stored items whose ids are not kept.
    unlisted: usize,
    /// Since when nothing is sent, because a server refused: until `sync`, or for the time that a
    /// refusing server is left alone.
    stuck: Option<Instant>,
    /// Nothing more may be sent at all: an outcome is unknown, and nothing is to be sent twice.
    is_stopped: bool,
}

/// The connection in use.
struct Open {
    at: usize,
    link: Link,
    pipe: Pipe<Letter>,
}

impl Outbox {
    fn new(pid: u32, job: Job<Letter, Empty<Letter>>) -> Self {
        let (open, stuck) = (None, None);
        Self { pid, job, open, count: 0, unlooked: 0, unlisted: 0, stuck, is_stopped: false }
    }

    /// Roughly what it holds in memory.
    fn bytes(&self) -> usize {
        let waiting = self.job.again.iter().map(|letter| letter.body.len() + ITEM_BYTES);
        let sent = self
            .open
            .as_ref()
            .map_or(0, |open| open.pipe.unanswered_bytes() + open.pipe.unanswered() * ITEM_BYTES);
        sent + waiting.sum::<usize>()
    }

    fn set_stuck(&mut self, is_stuck: bool) {
        self.stuck = is_stuck.then(Instant::now);
    }

    fn forget_old_receipts(&mut self) {
        if self.job.stored.len() >= 2 * RECEIPTS {
            self.unlisted += RECEIPTS;
            self.job.stored.drain(..RECEIPTS);
        }
    }
}

impl Cluster {
    /// Sends one item without waiting for the answer, which [`Self::sync`] waits for. The first of
    /// them may wait for a connection; at 8 MiB without an answer, it waits for answers first.
    ///
    /// # Errors
    /// `InvalidArgument`: nothing was sent. Else nothing can be sent and there is no room to keep
    /// another; this item is then not among those of the next `sync`.
    pub fn put_async(&self, queue: &[u8], body: &[u8], ttl_seconds: u32) -> Result<(), Error> {
        let pid = self.pools.check_pid();
        let name = checked(queue)?;
        let operation = Operation { verb: "push to", queues: &[queue] };
        Push { name, body, ttl_seconds, stamp: None }
            .encode(&mut Vec::with_capacity(96 + queue.len()), Dialect::ALL)
            .map_err(|problem| invalid(operation, &problem))?;
        let ours = self.outbox.take().filter(|outbox| outbox.pid == pid);
        let mut outbox =
            ours.unwrap_or_else(|| Box::new(Outbox::new(pid, self.job(iter::empty()))));
        let has_room = self.make_room(&mut outbox);
        if has_room.is_ok() {
            let nth = outbox.count;
            outbox.count += 1;
            outbox.unlooked += body.len() + ITEM_BYTES;
            let (name, body) = (name.to_name(), body.into());
            outbox.job.again.push_back(Letter { name, body, ttl_seconds, nth });
            self.advance(&mut outbox);
        }
        self.outbox.replace(Some(outbox));
        has_room
    }

    /// Waits for the answers of all [`Self::put_async`] since the last `sync`; what a server did not
    /// store goes to another one. How many were stored. `limit`: when to give up, whatever happens;
    /// without it, `timeout` runs from the last progress.
    ///
    /// # Errors
    /// Some were not stored: which, by how many pushes came before each of them (of what is stored,
    /// at most the last 200,000 are listed), and why (kinds as for [`Cluster::put`]).
    pub fn sync(&self, limit: Option<Instant>) -> Result<usize, PushError<usize>> {
        let pid = self.pools.check_pid();
        let Some(mut outbox) = self.outbox.take().filter(|outbox| outbox.pid == pid) else {
            return Ok(0);
        };
        outbox.job.limit = limit;
        let is_done = self.settle_outbox(&mut outbox);
        let error = (!is_done).then(|| self.why_not(&mut outbox.job, PUSH));
        let stored = outbox.unlisted + outbox.job.stored.len();
        outbox.job.finish(error).map(|_| stored)
    }

    /// Whether there is something for [`Self::sync`] to do.
    #[must_use]
    pub fn has_unsynced(&self) -> bool {
        let pid = self.pools.check_pid();
        self.outbox.borrow().as_ref().is_some_and(|outbox| outbox.pid == pid)
    }

    /// Looks at what is unanswered, now and then; at the bound, waits until it is answered.
    fn make_room(&self, outbox: &mut Outbox) -> Result<(), Error> {
        if !outbox.count.is_multiple_of(LOOK_EVERY) && outbox.unlooked < LOOK_BYTES {
            return Ok(());
        }
        if outbox.bytes() < UNANSWERED_BYTES {
            outbox.unlooked = 0;
            return Ok(());
        }
        // Who had no room may have some now, and each of these pushes is a call of its own.
        outbox.job.tally.forget_refusals();
        if self.settle_outbox(outbox) {
            outbox.unlooked = 0;
            outbox.job.tally = Tally::default();
            outbox.set_stuck(false);
            return Ok(());
        }
        let error = self.why_not(&mut outbox.job, PUSH);
        if outbox.bytes() < UNANSWERED_BYTES { Ok(()) } else { Err(error) }
    }

    /// Sends what can be sent without waiting, and takes what has been answered.
    fn advance(&self, outbox: &mut Outbox) {
        if outbox.stuck.is_some_and(|since| !self.may_try_again(outbox, since)) {
            return;
        }
        let Some(mut open) = outbox.open.take().or_else(|| self.open_any(&mut outbox.job)) else {
            // It waits for a server to come back, or for `sync`.
            return;
        };
        let is_time = outbox.count.is_multiple_of(LOOK_EVERY);
        match self.step(&mut open, &mut outbox.job, is_time) {
            Ok(Settled::Cut) => {
                outbox.set_stuck(true);
                open.pipe.give_back(&mut outbox.job.again);
            }
            Ok(_) => {
                outbox.set_stuck(open.pipe.is_refused() || outbox.job.is_over());
                outbox.open = Some(open);
            }
            Err(fault) => {
                let Open { at, link, pipe } = open;
                let is_refused = pipe.is_refused();
                pipe.give_back(&mut outbox.job.again);
                let ended = self.broken_off(at, &link, &fault, is_refused, &mut outbox.job);
                outbox.set_stuck(is_refused);
                self.note_end(at, &ended, outbox);
            }
        }
        outbox.forget_old_receipts();
    }

    /// After a refusal: once in a while, for a program that never calls `sync`.
    fn may_try_again(&self, outbox: &mut Outbox, since: Instant) -> bool {
        let is_closed = |outbox: &Outbox| outbox.is_stopped || outbox.job.is_over();
        if is_closed(outbox) || since.elapsed() < self.options.eject_time {
            return false;
        }
        if let Some(Open { at, link, pipe }) = outbox.open.take() {
            // What it still had to say has come long ago.
            let ended = self.run_on(at, link, pipe, &mut outbox.job);
            self.note_end(at, &ended, outbox);
        }
        outbox.job.tally.forget_refusals();
        !is_closed(outbox)
    }

    fn step(
        &self,
        open: &mut Open,
        job: &mut Job<Letter, Empty<Letter>>,
        is_time: bool,
    ) -> Result<Settled, Fault> {
        open.pipe.push_on(&mut open.link, job)?;
        if !is_time && job.again.is_empty() {
            return Ok(Settled::None);
        }
        open.link.receive_now()?;
        self.settle_all(open.at, &mut open.link, job, &mut open.pipe)
    }

    /// A connection to the first living server.
    fn open_any(&self, job: &mut Job<Letter, Empty<Letter>>) -> Option<Open> {
        let order = self.order(true);
        let candidates = order.living.iter().copied().filter(|&at| !job.tally.is_closed(at));
        for at in candidates.collect::<Vec<_>>() {
            self.nodes[at].server.begin_attempt(self.pools.now_ms(), self.eject_ms());
            match self.check_out(at, self.deadline_of(job)) {
                Ok(link) => return Some(Open { at, link, pipe: Pipe::new() }),
                Err(fault) => {
                    self.fail::<()>(at, false, &fault, &mut job.tally);
                }
            }
        }
        None
    }

    /// Waits until everything is answered, at other servers if need be: true if all is stored.
    fn settle_outbox(&self, outbox: &mut Outbox) -> bool {
        if let Some(Open { at, link, pipe }) = outbox.open.take() {
            let ended = self.run_on(at, link, pipe, &mut outbox.job);
            self.note_end(at, &ended, outbox);
        }
        if outbox.job.again.is_empty() {
            return true;
        }
        !outbox.is_stopped && !outbox.job.is_over() && self.run_job(&mut outbox.job)
    }

    fn note_end(&self, at: usize, ended: &Ended, outbox: &mut Outbox) {
        match ended {
            Ended::AllStored => {}
            Ended::Stale => self.distrust(at),
            Ended::Failed => {
                if self.must_stop(at, &mut outbox.job.tally) {
                    outbox.set_stuck(true);
                    outbox.is_stopped = true;
                }
            }
        }
    }
}
