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
use std::io::IoSlice;
use std::iter::Fuse;
use std::time::Instant;

use kqueue_proto::NameRef;
use kqueue_proto::client::BODY_END;

use super::put::{Verdict, encode_put, invalid};
use super::tally::{Operation, Tally};
use super::{Cluster, Resend, checked};
use crate::error::{Error, PushError};
use crate::link::{Cause, Fault, Link};
use crate::session::{Answer, Expect};
use crate::stream::{Interest, Woken};

/// Bytes sent and not answered.
const WINDOW_BYTES: usize = 1 << 20;
/// Items sent and not answered.
const WINDOW_ITEMS: usize = 1024;
/// Small requests are collected to this size before they are sent; larger bodies are sent from
/// where they are.
const BATCH_BYTES: usize = 64 * 1024;

struct Entry<K, B> {
    nth: usize,
    key: K,
    body: B,
}

/// The state of one call over all servers.
struct Job<'a, K, B, I: Iterator<Item = (K, B)>> {
    name: NameRef<'a>,
    ttl_seconds: u32,
    source: Fuse<I>,
    taken: usize,
    /// To be sent again, before anything new.
    again: VecDeque<Entry<K, B>>,
    stored: Vec<(usize, K, String)>,
    tally: Tally,
    /// Ends the whole call.
    fatal: Option<Error>,
}

/// The state on one connection.
struct Pipe<K, B> {
    in_flight: VecDeque<Entry<K, B>>,
    in_flight_bytes: usize,
    /// Requests not yet sent, from `sent` on.
    batch: Vec<u8>,
    sent: usize,
    /// The body of the last entry follows the batch, and then [`BODY_END`].
    has_large: bool,
    /// The server takes nothing more, but its last answers are still to be read.
    is_deaf: bool,
    /// Refused here; they come before what is in flight.
    refused: VecDeque<Entry<K, B>>,
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
        let source = items.into_iter().fuse();
        let name = match checked(queue) {
            Ok(name) => name,
            Err(error) => {
                let failed = source.map(|(key, _)| key).collect();
                return Err(PushError { stored: Vec::new(), failed, source: error });
            }
        };
        let mut job = Job {
            name,
            ttl_seconds,
            source,
            taken: 0,
            again: VecDeque::new(),
            stored: Vec::new(),
            tally: Tally::default(),
            fatal: None,
        };
        let is_done = self.run_job(&mut job);
        let error = (!is_done).then(|| {
            let operation = Operation { verb: "push many to", queues: &[queue] };
            let tally = &job.tally;
            job.fatal.take().unwrap_or_else(|| tally.error(operation, &self.addresses, true))
        });
        job.finish(error)
    }

    /// True: all stored.
    fn run_job<K, B: AsRef<[u8]>, I: Iterator<Item = (K, B)>>(
        &self,
        job: &mut Job<'_, K, B, I>,
    ) -> bool {
        for round in 0..=self.options.retries {
            if round > 0 && (job.tally.is_full() || !self.pause(round, self.deadline())) {
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
                if job.fatal.is_some() || self.must_stop(at, &mut job.tally) {
                    return false;
                }
                self.pools.count(|counters| counters.retried += 1);
            }
        }
        false
    }

    /// Sends to one server until everything is stored (true), or it refuses or fails.
    fn run_at<K, B: AsRef<[u8]>, I: Iterator<Item = (K, B)>>(
        &self,
        at: usize,
        job: &mut Job<'_, K, B, I>,
    ) -> bool {
        let server = &self.nodes[at].server;
        server.begin_attempt(self.pools.now_ms(), self.eject_ms());
        let mut opened = self.check_out(at, self.deadline());
        loop {
            let mut link = match opened {
                Ok(link) => link,
                Err(fault) => {
                    self.fail::<()>(at, false, &fault, &mut job.tally);
                    return false;
                }
            };
            let mut pipe = Pipe::new();
            let result = self.pump(at, &mut link, job, &mut pipe);
            let is_refused = !pipe.refused.is_empty();
            pipe.give_back(&mut job.again);
            let Err(fault) = result else {
                server.note_success();
                self.check_in(at, link);
                return !is_refused && job.fatal.is_none() && job.again.is_empty();
            };
            job.tally.is_unknown |= fault.is_sent;
            let may_resend = !fault.is_sent || self.resend() == Resend::Yes;
            if is_refused {
                // It answered, and closed or lost step after it: it is alive, and gets nothing more
                // in this call.
                return false;
            }
            if !(link.is_reused() && fault.cause == Cause::Broken && may_resend) {
                self.fail::<()>(at, link.is_reused(), &fault, &mut job.tally);
                return false;
            }
            opened = self.replace(at, self.deadline());
        }
    }

    /// Writes and reads until nothing is left to send and nothing is unanswered. Stops sending at
    /// the first refusal.
    fn pump<K, B: AsRef<[u8]>, I: Iterator<Item = (K, B)>>(
        &self,
        at: usize,
        link: &mut Link,
        job: &mut Job<'_, K, B, I>,
        pipe: &mut Pipe<K, B>,
    ) -> Result<(), Fault> {
        loop {
            if pipe.refused.is_empty() && job.fatal.is_none() && !pipe.is_deaf {
                pipe.fill(link, job);
            }
            if pipe.in_flight.is_empty() {
                return Ok(());
            }
            let mut has_sent = false;
            if pipe.unsent() > 0 && !pipe.is_deaf {
                match pipe.send(link) {
                    Ok(sent) => has_sent = sent > 0,
                    // The server may have said why before it closed.
                    Err(fault) => match link.receive_now() {
                        Ok(1..) => pipe.is_deaf = true,
                        _ => return Err(fault),
                    },
                }
            }
            let mut has_answer = false;
            while let Some(answer) = link.poll_answer()? {
                has_answer = true;
                if !self.settle(at, link, answer, job, pipe)? {
                    return Ok(());
                }
            }
            if !has_sent && !has_answer {
                self.await_progress(link, pipe)?;
            }
        }
    }

    /// Gives the oldest unanswered entry its answer. False: the server refused it before all of it
    /// was sent, so this connection is at its end.
    fn settle<K, B: AsRef<[u8]>, I: Iterator<Item = (K, B)>>(
        &self,
        at: usize,
        link: &mut Link,
        answer: Answer,
        job: &mut Job<'_, K, B, I>,
        pipe: &mut Pipe<K, B>,
    ) -> Result<bool, Fault> {
        let is_early = pipe.in_flight.len() == 1 && pipe.unsent() > 0;
        if is_early {
            link.cut();
            if !matches!(answer, Answer::Refused { .. }) {
                return Err(link.garbage("an answer to an item that was not sent yet"));
            }
        }
        let Some(entry) = pipe.answered() else { return Ok(false) };
        match self.verdict(at, answer, job.name, &mut job.tally) {
            Verdict::Stored(id) => job.stored.push((entry.nth, entry.key, id)),
            Verdict::Full => pipe.refused.push_back(entry),
            Verdict::Invalid(error) => {
                job.fatal = Some(error);
                pipe.refused.push_back(entry);
            }
        }
        Ok(!is_early)
    }

    /// Waits until the connection can be read or, if something is unsent, written; reads what is
    /// there.
    fn await_progress<K, B: AsRef<[u8]>>(
        &self,
        link: &mut Link,
        pipe: &Pipe<K, B>,
    ) -> Result<(), Fault> {
        let deadline = pipe.progress + self.options.timeout;
        let is_sending = pipe.unsent() > 0 && !pipe.is_deaf;
        let interest = if is_sending { Interest::Both } else { Interest::Readable };
        match link.wait(interest, deadline)? {
            Woken::TimedOut => Err(link.silent("waiting for the answers")),
            Woken::Interrupted => Ok(()),
            Woken::Ready => link.receive_now().map(|_| ()),
        }
    }
}

impl<K, B: AsRef<[u8]>, I: Iterator<Item = (K, B)>> Job<'_, K, B, I> {
    /// Makes sure that the next item, if any, is in `again`.
    fn has_work(&mut self) -> bool {
        if self.again.is_empty()
            && let Some(entry) = self.take_new()
        {
            self.again.push_back(entry);
        }
        !self.again.is_empty()
    }

    fn next(&mut self) -> Option<Entry<K, B>> {
        self.again.pop_front().or_else(|| self.take_new())
    }

    fn take_new(&mut self) -> Option<Entry<K, B>> {
        let (key, body) = self.source.next()?;
        let nth = self.taken;
        self.taken += 1;
        Some(Entry { nth, key, body })
    }

    /// Sorts everything into stored and failed, in the caller's order.
    fn finish(mut self, error: Option<Error>) -> Result<Vec<(K, String)>, PushError<K>> {
        self.stored.sort_unstable_by_key(|(nth, ..)| *nth);
        let stored = self.stored.into_iter().map(|(_, key, id)| (key, id)).collect();
        let Some(source) = error else { return Ok(stored) };
        let mut unfinished: Vec<_> = self.again.into_iter().collect();
        unfinished.sort_unstable_by_key(|entry| entry.nth);
        let failed = unfinished.into_iter().map(|entry| entry.key);
        let failed = failed.chain(self.source.map(|(key, _)| key)).collect();
        Err(PushError { stored, failed, source })
    }
}

impl<K, B: AsRef<[u8]>> Pipe<K, B> {
    fn new() -> Self {
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

    /// Adds requests while the window and the batch have room.
    fn fill<I: Iterator<Item = (K, B)>>(&mut self, link: &mut Link, job: &mut Job<'_, K, B, I>) {
        let mut has_added = false;
        while !self.has_large
            && self.batch.len() < BATCH_BYTES
            && self.in_flight.len() < WINDOW_ITEMS
            && (self.in_flight_bytes < WINDOW_BYTES || self.in_flight.is_empty())
        {
            let Some(entry) = job.next() else { break };
            let body = entry.body.as_ref();
            let encoded =
                encode_put(&mut self.batch, link.dialect(), job.name, body.len(), job.ttl_seconds);
            if let Err(problem) = encoded {
                let operation = Operation { verb: "push many to", queues: &[job.name.as_bytes()] };
                job.fatal = Some(invalid(operation, &problem));
                job.again.push_front(entry);
                break;
            }
            link.begin(Expect::Stored);
            self.in_flight_bytes += body.len();
            if body.len() > BATCH_BYTES {
                self.has_large = true;
            } else {
                self.batch.extend_from_slice(body);
                self.batch.extend_from_slice(BODY_END);
            }
            self.in_flight.push_back(entry);
            has_added = true;
        }
        if has_added {
            // The caller's iterator may have taken its time; that is not the server's fault.
            self.progress = Instant::now();
        }
    }

    fn large(&self) -> &[u8] {
        match self.in_flight.back() {
            Some(entry) if self.has_large => entry.body.as_ref(),
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
        let sent = link.send_now(&slices)?;
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

    /// The oldest unanswered entry got its answer.
    fn answered(&mut self) -> Option<Entry<K, B>> {
        let entry = self.in_flight.pop_front()?;
        self.in_flight_bytes -= entry.body.as_ref().len();
        self.progress = Instant::now();
        Some(entry)
    }

    /// What this connection did not store goes to the front, in order.
    fn give_back(self, again: &mut VecDeque<Entry<K, B>>) {
        for entry in self.in_flight.into_iter().rev().chain(self.refused.into_iter().rev()) {
            again.push_front(entry);
        }
    }
}
