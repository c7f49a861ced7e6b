//! Questions and orders to all servers: peek, size, purge, delete, stats, ping.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kqueue_proto::{GetOptions, NameRef};

use super::tally::{Operation, Tally};
use super::{Cluster, Resend, checked, has_peer, share};
use crate::address::Address;
use crate::error::Error;
use crate::link::Link;
use crate::pools::Health;
use crate::session::{Answer, Expect};

/// What one server says of itself, and what this process knows of it.
#[derive(Debug)]
pub struct ServerStats {
    /// As it was given.
    pub address: Address,
    /// Names and values as the server sent them, in its order; or why it did not.
    pub stats: Result<Vec<(Bytes, Bytes)>, Error>,
    /// This process's view, after the attempt.
    pub health: Health,
}

/// A request without a body.
struct Question<'a> {
    head: &'a [u8],
    expect: Expect,
}

impl Cluster {
    /// The head item's body, left where it is; of the first server that has one.
    ///
    /// # Errors
    /// No server answered, or they refuse.
    pub fn peek(&self, queue: &[u8]) -> Result<Option<Bytes>, Error> {
        let name = checked(queue)?;
        let mut head = Vec::new();
        let options = GetOptions { peek: true, ..GetOptions::default() };
        // `peek` alone excludes nothing.
        let _ = kqueue_proto::client::get(&mut head, name, &options);
        let expect = Expect::Value { queue: Bytes::copy_from_slice(queue) };
        let operation = Operation { verb: "peek at", queues: &[queue] };
        let mut found = None;
        self.ask_living(operation, &Question { head: &head, expect }, |answer| {
            if let Answer::Items(items) = answer {
                found = items.into_iter().next().map(|item| item.body);
            }
            found.is_some()
        })?;
        Ok(found)
    }

    /// Items waiting, summed over the living servers.
    ///
    /// # Errors
    /// No server answered, or they refuse.
    pub fn size(&self, queue: &[u8]) -> Result<u64, Error> {
        let key = stat_key(checked(queue)?);
        let operation = Operation { verb: "ask the size of", queues: &[queue] };
        let mut total = 0_u64;
        let question = Question { head: b"stats\r\n", expect: Expect::Stats };
        self.ask_living(operation, &question, |answer| {
            if let Answer::Stats(stats) = answer {
                let value = stats.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
                let items = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
                total = total.saturating_add(items.unwrap_or(0));
            }
            false
        })?;
        Ok(total)
    }

    /// Discards all waiting items on all servers.
    ///
    /// # Errors
    /// Some server did not do it; the others were told all the same.
    pub fn purge(&self, queue: &[u8]) -> Result<(), Error> {
        let mut head = Vec::new();
        kqueue_proto::client::flush(&mut head, checked(queue)?);
        self.order_all(Operation { verb: "purge", queues: &[queue] }, &head)
    }

    /// Deletes the queue on all servers.
    ///
    /// # Errors
    /// As [`Self::purge`].
    pub fn delete(&self, queue: &[u8]) -> Result<(), Error> {
        let mut head = Vec::new();
        kqueue_proto::client::delete(&mut head, checked(queue)?);
        self.order_all(Operation { verb: "delete", queues: &[queue] }, &head)
    }

    /// One entry per server, in the order given.
    #[must_use]
    pub fn stats(&self) -> Vec<ServerStats> {
        let mut head = Vec::new();
        kqueue_proto::client::stats(&mut head);
        let operation = Operation { verb: "stats", queues: &[] };
        self.each(|at, limit| {
            let mut tally = Tally::default();
            let question = Question { head: &head, expect: Expect::Stats };
            let stats = match self.ask_one(at, limit, &question, &mut tally) {
                Some(Answer::Stats(stats)) => Ok(stats),
                _ => Err(tally.error(operation, &self.addresses, false)),
            };
            let health = self.nodes[at].health(self.pools.now_ms());
            ServerStats { address: self.addresses[at].clone(), stats, health }
        })
    }

    /// Per server, in the order given: the time of one round trip on an open connection, `None`
    /// where it does not answer.
    #[must_use]
    pub fn ping(&self) -> Vec<(Address, Option<Duration>)> {
        let mut head = Vec::new();
        kqueue_proto::client::version(&mut head);
        self.each(|at, limit| {
            let mut tally = Tally::default();
            let answer = self.attempt(at, limit, Resend::Yes, &mut tally, |link, limit| {
                let begun = Instant::now();
                let answer = link.exchange(Expect::Version, &[&head], limit)?;
                Ok((answer, begun.elapsed()))
            });
            let took = answer.and_then(|((answer, took), link)| {
                self.check_in(at, link);
                (answer == Answer::Version).then_some(took)
            });
            (self.addresses[at].clone(), took)
        })
    }

    /// Visits every server, the ejected ones too, within one call's time.
    fn each<T>(&self, mut visit: impl FnMut(usize, Instant) -> T) -> Vec<T> {
        self.pools.check_pid();
        let deadline = self.deadline();
        let count = self.nodes.len();
        (0..count).map(|at| visit(at, share(deadline, at + 1 < count))).collect()
    }

    /// Asks the living servers, and the ejected ones if none answers, until `is_enough`.
    fn ask_living(
        &self,
        operation: Operation<'_>,
        question: &Question<'_>,
        mut is_enough: impl FnMut(Answer) -> bool,
    ) -> Result<(), Error> {
        self.pools.check_pid();
        let deadline = self.deadline();
        let mut tally = Tally::default();
        let mut has_answer = false;
        for round in 0..=self.options.retries {
            if round > 0 && !self.pause(round, deadline) {
                break;
            }
            let order = self.order(false);
            let candidates: Vec<_> = order.all().collect();
            for (nth, &at) in candidates.iter().enumerate() {
                // An attempt without time would only eject a server that may be back.
                if has_answer && order.ejected.contains(&at) || Instant::now() >= deadline {
                    break;
                }
                let limit = share(deadline, has_peer(&order, at, &candidates[nth + 1..]));
                if let Some(answer) = self.ask_one(at, limit, question, &mut tally) {
                    has_answer = true;
                    if is_enough(answer) {
                        return Ok(());
                    }
                }
            }
            if has_answer {
                return Ok(());
            }
        }
        Err(tally.error(operation, &self.addresses, false))
    }

    /// Tells every server; what is told is idempotent, so a failed one is told again.
    fn order_all(&self, operation: Operation<'_>, head: &[u8]) -> Result<(), Error> {
        self.pools.check_pid();
        let deadline = self.deadline();
        let mut pending: Vec<usize> = (0..self.nodes.len()).collect();
        let mut tally = Tally::default();
        for round in 0..=self.options.retries {
            if round > 0 && !self.pause(round, deadline) {
                break;
            }
            tally = Tally::default();
            let count = pending.len();
            let mut failed = Vec::new();
            for (nth, &at) in pending.iter().enumerate() {
                let limit = share(deadline, nth + 1 < count);
                let question = Question { head, expect: Expect::Done };
                if self.ask_one(at, limit, &question, &mut tally).is_none() {
                    failed.push(at);
                }
            }
            pending = failed;
            if pending.is_empty() {
                return Ok(());
            }
        }
        Err(tally.error(operation, &self.addresses, true))
    }

    /// One question to one server; a refusal is noted like a failure.
    fn ask_one(
        &self,
        at: usize,
        limit: Instant,
        question: &Question<'_>,
        tally: &mut Tally,
    ) -> Option<Answer> {
        let run = |link: &mut Link, limit| {
            link.exchange(question.expect.clone(), &[question.head], limit)
        };
        let (answer, link) = self.attempt(at, limit, Resend::Yes, tally, run)?;
        self.check_in(at, link);
        match answer {
            Answer::Refused { text, .. } => {
                tally.note_refused(at, &text);
                None
            }
            answer => Some(answer),
        }
    }
}

/// `queue_<name>_items`, as Kestrel calls it.
fn stat_key(name: NameRef<'_>) -> Vec<u8> {
    [b"queue_", name.as_bytes(), b"_items"].concat()
}
