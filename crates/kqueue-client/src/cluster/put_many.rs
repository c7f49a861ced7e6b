//! Many pushes, pipelined on one connection: answers are read while requests are written, so that
//! two full socket buffers cannot face each other.
//!
//! Invariants:
//! - unanswered items are kept, in order, and bounded in number and bytes; after a failure they are
//!   the first to go to the next server;
//! - every item of the caller ends in exactly one of `stored` and `failed`.
//!
//! There is no deadline for all of them together: the timeout runs from the last progress.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io::IoSlice;
use std::iter::{self, Fuse};
use std::time::Instant;

use kqueue_proto::NameRef;
use kqueue_proto::client::BODY_END;

use super::put::{Push, Verdict, invalid};
use super::tally::{Operation, Tally};
use super::{Cluster, Resend, checked};
use crate::error::{Error, PushError};
use crate::link::{Cause, Fault, Link};
use crate::options::RetryMode;
use crate::session::{Answer, Expect};
use crate::stream::{Interest, Woken};

/// Bytes sent and not answered.
const WINDOW_BYTES: usize = 1 << 20;
/// Items sent and not answered.
const WINDOW_ITEMS: usize = 1024;
/// Small requests are collected to this size before they are sent; larger bodies are sent from
/// where they are.
const BATCH_BYTES: usize = 64 * 1024;

/// An item that is pushed with others.
pub(super) trait Parcel {
    /// What the caller knows it by.
    type Key;
    fn name(&self) -> NameRef<'_>;
    fn body(&self) -> &[u8];
    fn ttl_seconds(&self) -> u32;
    /// Its place in the caller's order, unique in its job.
    fn nth(&self) -> usize;
    fn into_key(self) -> Self::Key;
}

struct Entry<'a, K, B> {
    name: NameRef<'a>,
    ttl_seconds: u32,
    nth: usize,
    key: K,
    body: B,
}

impl<K, B: AsRef<[u8]>> Parcel for Entry<'_, K, B> {
    type Key = K;

    fn name(&self) -> NameRef<'_> {
        self.name
    }

    fn body(&self) -> &[u8] {
        self.body.as_ref()
    }

    fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    fn nth(&self) -> usize {
        self.nth
    }

    fn into_key(self) -> K {
        self.key
    }
}

/// The keys of the items of one job.
struct Stamps {
    /// `<job>.<nth>`.
    text: String,
    job_bytes: usize,
    is_used: bool,
}

impl Stamps {
    fn of(&mut self, nth: usize) -> Option<&str> {
        if !self.is_used {
            return None;
        }
        self.text.truncate(self.job_bytes);
        // Writing to a string cannot fail.
        let _ = write!(self.text, ".{nth:x}");
        Some(&self.text)
    }
}

/// The state of pushes over all servers.
pub(super) struct Job<P: Parcel, I: Iterator<Item = P>> {
    source: Fuse<I>,
    stamps: Stamps,
    /// To be sent again, before anything new.
    pub(super) again: VecDeque<P>,
    pub(super) stored: Vec<(usize, P::Key, String)>,
    pub(super) tally: Tally,
    /// Ends the whole call.
    fatal: Option<Error>,
    /// Nothing is waited for beyond it.
    pub(super) limit: Option<Instant>,
}

/// How it ended on one connection.
pub(super) enum Ended {
    AllStored,
    /// The server failed or refused.
    Failed,
    /// An old connection was found broken; a new one may do.
    Stale,
}

/// The state on one connection.
pub(super) struct Pipe<P> {
    in_flight: VecDeque<P>,
    in_flight_bytes: usize,
    /// Requests not yet sent, from `sent` on.
    batch: Vec<u8>,
    sent: usize,
    /// The body of the last entry follows the batch, and then [`BODY_END`].
    has_large: bool,
    /// The server takes nothing more, but its last answers are still to be read.
    is_deaf: bool,
    /// Refused here; they come before what is in flight.
    refused: VecDeque<P>,
    progress: Instant,
}

impl Cluster {
    /// Stores many items, in order unless a failure intervenes, and returns their keys and ids in
    /// the caller's order. The iterator is advanced as
    /// servers take the items; it may run foreign code, also such that uses the same cluster.
    /// `timeout` limits each wait, not the whole.
    ///
    /// # Errors
    /// Some were not stored: which, and why (kinds as for [`Cluster::put`]).
    pub fn put_many<K, B, I>(
        &self,
        queue: &[u8],
        ttl_seconds: u32,
        items: I,
    ) -> Result<Vec<(K, String)>, PushError<K>>
    where
        B: AsRef<[u8]>,
        I: IntoIterator<Item = (K, B)>,
    {
        self.pools.check_pid();
        let mut items = items.into_iter();
        let name = match checked(queue) {
            Ok(name) => name,
            Err(error) => {
                let failed = items.map(|(key, _)| key).collect();
                return Err(PushError { stored: Vec::new(), failed, source: error });
            }
        };
        let mut nth = 0;
        let source = iter::from_fn(move || {
            let (key, body) = items.next()?;
            nth += 1;
            Some(Entry { name, ttl_seconds, nth, key, body })
        });
        let mut job = self.job(source);
        let is_done = self.run_job(&mut job);
        let operation = Operation { verb: "push many to", queues: &[queue] };
        let error = (!is_done).then(|| self.why_not(&mut job, operation));
        job.finish(error)
    }

    pub(super) fn job<P: Parcel, I: Iterator<Item = P>>(&self, source: I) -> Job<P, I> {
        let text = self.pools.local_id();
        Job {
            source: source.fuse(),
            stamps: Stamps { job_bytes: text.len(), text, is_used: self.may_repeat() },
            again: VecDeque::new(),
            stored: Vec::new(),
            tally: Tally::default(),
            fatal: None,
            limit: None,
        }
    }

    /// What kept a job from its end.
    pub(super) fn why_not<P: Parcel, I: Iterator<Item = P>>(
        &self,
        job: &mut Job<P, I>,
        operation: Operation<'_>,
    ) -> Error {
        let tally = &job.tally;
        let error = job.fatal.take();
        let error = error.unwrap_or_else(|| tally.error(operation, &self.addresses, true));
        // What came after the item that ended it all may have been stored unseen.
        error.with_unknown_outcome(tally.is_unknown)
    }

    /// True: all stored.
    pub(super) fn run_job<P: Parcel, I: Iterator<Item = P>>(&self, job: &mut Job<P, I>) -> bool {
        let (mut stored, mut since) = (job.stored.len(), Instant::now());
        for round in 0..=self.options.retries {
            // A round without progress uses up the time, unless the silent are to be asked again.
            if job.stored.len() > stored || self.options.retry_mode == RetryMode::Always {
                (stored, since) = (job.stored.len(), Instant::now());
            }
            let deadline = since + self.options.timeout;
            let deadline = job.limit.map_or(deadline, |limit| limit.min(deadline));
            if round > 0 && (job.tally.is_full() || !self.pause(round, deadline)) {
                return false;
            }
            let order = self.order(true);
            for at in order.all() {
                if job.tally.is_closed(at) {
                    continue;
                }
                if !job.has_work() || self.run_at(at, job) {
                    return true;
                }
                // It failed behind the last answer.
                if job.fatal.is_none() && !job.has_work() {
                    return true;
                }
                if job.is_over() || self.must_stop(at, &mut job.tally) {
                    return false;
                }
                self.pools.count(|counters| counters.retried += 1);
            }
        }
        false
    }

    pub(super) fn deadline_of<P: Parcel, I: Iterator<Item = P>>(&self, job: &Job<P, I>) -> Instant {
        let deadline = self.deadline();
        job.limit.map_or(deadline, |limit| limit.min(deadline))
    }

    /// Sends to one server until everything is stored (true), or it refuses or fails.
    fn run_at<P: Parcel, I: Iterator<Item = P>>(&self, at: usize, job: &mut Job<P, I>) -> bool {
        let server = &self.nodes[at].server;
        server.begin_attempt(self.pools.now_ms(), self.eject_ms());
        let mut opened = self.check_out(at, self.deadline_of(job));
        loop {
            let link = match opened {
                Ok(link) => link,
                Err(fault) => {
                    self.fail::<()>(at, false, &fault, &mut job.tally);
                    return false;
                }
            };
            match self.run_on(at, link, Pipe::new(), job) {
                Ended::AllStored => return true,
                Ended::Failed => return false,
                Ended::Stale => opened = self.replace(at, self.deadline_of(job)),
            }
        }
    }

    /// Sends on one connection until nothing is left, or it ends. What is not stored is then first
    /// in `job.again`.
    pub(super) fn run_on<P: Parcel, I: Iterator<Item = P>>(
        &self,
        at: usize,
        mut link: Link,
        mut pipe: Pipe<P>,
        job: &mut Job<P, I>,
    ) -> Ended {
        let result = self.pump(at, &mut link, job, &mut pipe);
        let is_refused = pipe.is_refused();
        pipe.give_back(&mut job.again);
        let Err(fault) = result else {
            self.nodes[at].server.note_success();
            self.check_in(at, link);
            let is_done = !is_refused && job.fatal.is_none() && job.again.is_empty();
            return if is_done { Ended::AllStored } else { Ended::Failed };
        };
        self.broken_off(at, &link, &fault, is_refused, job)
    }

    /// What a fault means for the job; everything unanswered is back in `job.again`.
    pub(super) fn broken_off<P: Parcel, I: Iterator<Item = P>>(
        &self,
        at: usize,
        link: &Link,
        fault: &Fault,
        is_refused: bool,
        job: &mut Job<P, I>,
    ) -> Ended {
        job.tally.is_unknown |= fault.is_sent;
        let may_resend = !fault.is_sent || self.resend() == Resend::Yes;
        if is_refused {
            // It answered, and closed or lost step after it: it is alive, and gets nothing more in
            // this call.
            return Ended::Failed;
        }
        if link.is_reused() && fault.cause == Cause::Broken && may_resend {
            return Ended::Stale;
        }
        self.fail::<()>(at, link.is_reused(), fault, &mut job.tally);
        Ended::Failed
    }

    /// Writes and reads until nothing is left to send and nothing is unanswered. Stops sending at
    /// the first refusal.
    fn pump<P: Parcel, I: Iterator<Item = P>>(
        &self,
        at: usize,
        link: &mut Link,
        job: &mut Job<P, I>,
        pipe: &mut Pipe<P>,
    ) -> Result<(), Fault> {
        loop {
            let has_sent = pipe.push_on(link, job)?;
            if pipe.in_flight.is_empty() {
                return Ok(());
            }
            match self.settle_all(at, link, job, pipe)? {
                Settled::Cut => return Ok(()),
                Settled::None if !has_sent => self.await_progress(link, job, pipe)?,
                Settled::None | Settled::Some => {}
            }
        }
    }

    /// Takes the answers that have been received.
    pub(super) fn settle_all<P: Parcel, I: Iterator<Item = P>>(
        &self,
        at: usize,
        link: &mut Link,
        job: &mut Job<P, I>,
        pipe: &mut Pipe<P>,
    ) -> Result<Settled, Fault> {
        let mut settled = Settled::None;
        while let Some(answer) = link.poll_answer()? {
            settled = Settled::Some;
            if !self.settle(at, link, answer, job, pipe)? {
                return Ok(Settled::Cut);
            }
        }
        Ok(settled)
    }

    /// Gives the oldest unanswered entry its answer. False: the server refused it before all of it
    /// was sent, so this connection is at its end.
    fn settle<P: Parcel, I: Iterator<Item = P>>(
        &self,
        at: usize,
        link: &mut Link,
        answer: Answer,
        job: &mut Job<P, I>,
        pipe: &mut Pipe<P>,
    ) -> Result<bool, Fault> {
        let is_early = pipe.in_flight.len() == 1 && pipe.unsent() > 0;
        if is_early {
            link.cut();
            if !matches!(answer, Answer::Refused { .. }) {
                return Err(link.garbage("an answer to an item that was not sent yet"));
            }
        }
        let Some(parcel) = pipe.answered() else { return Ok(false) };
        match self.verdict(at, answer, parcel.name(), &mut job.tally) {
            Verdict::Stored(id) => job.stored.push((parcel.nth(), parcel.into_key(), id)),
            Verdict::Full => pipe.refused.push_back(parcel),
            Verdict::Invalid(error) => {
                job.fatal = Some(error);
                pipe.refused.push_back(parcel);
            }
        }
        Ok(!is_early)
    }

    /// Waits until the connection can be read or, if something is unsent, written; reads what is
    /// there.
    pub(super) fn await_progress<P: Parcel, I: Iterator<Item = P>>(
        &self,
        link: &mut Link,
        job: &Job<P, I>,
        pipe: &Pipe<P>,
    ) -> Result<(), Fault> {
        let deadline = pipe.progress + self.options.timeout;
        let deadline = job.limit.map_or(deadline, |limit| limit.min(deadline));
        let is_sending = pipe.unsent() > 0 && !pipe.is_deaf;
        let interest = if is_sending { Interest::Both } else { Interest::Readable };
        match link.wait(interest, deadline)? {
            Woken::TimedOut => Err(link.silent("waiting for the answers")),
            Woken::Interrupted => Ok(()),
            Woken::Ready => link.receive_now().map(|_| ()),
        }
    }
}

/// Keys and ids of what is stored; or what is and what is not.
type Pushed<K> = Result<Vec<(K, String)>, PushError<K>>;

/// What became of the answers received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// There were none.
    None,
    Some,
    /// The connection is at its end.
    Cut,
}

impl<P: Parcel, I: Iterator<Item = P>> Job<P, I> {
    /// Makes sure that the next item, if any, is in `again`.
    fn has_work(&mut self) -> bool {
        if self.again.is_empty()
            && let Some(parcel) = self.source.next()
        {
            self.again.push_back(parcel);
        }
        !self.again.is_empty()
    }

    fn next(&mut self) -> Option<P> {
        self.again.pop_front().or_else(|| self.source.next())
    }

    /// Nothing more may be sent.
    pub(super) fn is_over(&self) -> bool {
        self.fatal.is_some() || self.limit.is_some_and(|limit| limit <= Instant::now())
    }

    /// Sorts everything into stored and failed, in the caller's order.
    pub(super) fn finish(mut self, error: Option<Error>) -> Pushed<P::Key> {
        self.stored.sort_unstable_by_key(|(nth, ..)| *nth);
        let stored = self.stored.into_iter().map(|(_, key, id)| (key, id)).collect();
        let Some(source) = error else { return Ok(stored) };
        let mut unfinished: Vec<_> = self.again.into_iter().collect();
        unfinished.sort_unstable_by_key(Parcel::nth);
        let failed = unfinished.into_iter().chain(self.source).map(Parcel::into_key).collect();
        Err(PushError { stored, failed, source })
    }
}

impl<P: Parcel> Pipe<P> {
    pub(super) fn new() -> Self {
        Self {
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            batch: Vec::new(),
            sent: 0,
            has_large: false,
            is_deaf: false,
            refused: VecDeque::new(),
            progress: Instant::now(),
        }
    }

    /// Adds requests and sends what the kernel takes now: whether that was anything.
    pub(super) fn push_on<I: Iterator<Item = P>>(
        &mut self,
        link: &mut Link,
        job: &mut Job<P, I>,
    ) -> Result<bool, Fault> {
        if self.may_go_on() && job.fatal.is_none() {
            self.fill(link, job);
        }
        if self.unsent() == 0 || self.is_deaf {
            return Ok(false);
        }
        match self.send(link) {
            Ok(sent) => Ok(sent > 0),
            // The server may have said why before it closed.
            Err(fault) => match link.receive_now() {
                Ok(1..) => {
                    self.is_deaf = true;
                    Ok(false)
                }
                _ => Err(fault),
            },
        }
    }

    /// The server said no to one of them.
    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// False: this connection gets nothing more.
    fn may_go_on(&self) -> bool {
        !self.is_refused() && !self.is_deaf
    }

    /// How many items are unanswered.
    pub(super) fn unanswered(&self) -> usize {
        self.in_flight.len()
    }

    /// Bytes of their bodies.
    pub(super) fn unanswered_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Adds requests while the window and the batch have room.
    fn fill<I: Iterator<Item = P>>(&mut self, link: &mut Link, job: &mut Job<P, I>) {
        let mut has_added = false;
        while !self.has_large
            && self.batch.len() < BATCH_BYTES
            && self.in_flight.len() < WINDOW_ITEMS
            && (self.in_flight_bytes < WINDOW_BYTES || self.in_flight.is_empty())
        {
            let Some(parcel) = job.next() else { break };
            let push = Push {
                name: parcel.name(),
                body: parcel.body(),
                ttl_seconds: parcel.ttl_seconds(),
                stamp: job.stamps.of(parcel.nth()),
            };
            if let Err(problem) = push.encode(&mut self.batch, link.dialect()) {
                let queues = &[push.name.as_bytes()];
                job.fatal = Some(invalid(Operation { verb: "push many to", queues }, &problem));
                job.again.push_front(parcel);
                break;
            }
            link.begin(Expect::Stored);
            let bytes = push.body.len();
            self.in_flight_bytes += bytes;
            if bytes > BATCH_BYTES {
                self.has_large = true;
            } else {
                self.batch.extend_from_slice(push.body);
                self.batch.extend_from_slice(BODY_END);
            }
            self.in_flight.push_back(parcel);
            has_added = true;
        }
        if has_added {
            // The caller's iterator may have taken its time; that is not the server's fault.
            self.progress = Instant::now();
        }
    }

    fn large(&self) -> &[u8] {
        match self.in_flight.back() {
            Some(parcel) if self.has_large => parcel.body(),
            _ => &[],
        }
    }

    fn unsent(&self) -> usize {
        let tail = if self.has_large { self.large().len() + BODY_END.len() } else { 0 };
        self.batch.len() + tail - self.sent
    }

    fn send(&mut self, link: &mut Link) -> Result<usize, Fault> {
        let end = if self.has_large { BODY_END } else { &[] };
        let parts = [&self.batch[..], self.large(), end];
        let mut slices = [IoSlice::new(&[]); 3];
        let mut skip = self.sent;
        for (slice, part) in slices.iter_mut().zip(parts) {
            let from = skip.min(part.len());
            skip -= from;
            *slice = IoSlice::new(&part[from..]);
        }
        let used = if self.has_large { slices.len() } else { 1 };
        let sent = link.send_now(&slices[..used])?;
        self.sent += sent;
        if sent > 0 {
            self.progress = Instant::now();
        }
        if self.unsent() == 0 {
            self.batch.clear();
            self.sent = 0;
            self.has_large = false;
        }
        Ok(sent)
    }

    /// The oldest unanswered parcel got its answer.
    fn answered(&mut self) -> Option<P> {
        let parcel = self.in_flight.pop_front()?;
        self.in_flight_bytes -= parcel.body().len();
        self.progress = Instant::now();
        Some(parcel)
    }

    /// What this connection did not store goes to the front, in order.
    pub(super) fn give_back(self, again: &mut VecDeque<P>) {
        for parcel in self.in_flight.into_iter().rev().chain(self.refused.into_iter().rev()) {
            again.push_front(parcel);
        }
    }
}
