//! One push: to a living server within the deadline, by the rules of the retry mode.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kqueue_proto::NameRef;
use kqueue_proto::client::{BODY_END, EncodeError, PutOptions};

use super::tally::{Operation, Tally};
use super::{Cluster, Resend, checked, has_peer, share};
use crate::error::{Error, ErrorKind};
use crate::link::{Cause, Dialect, Link};
use crate::options::RetryMode;
use crate::session::{Answer, Expect};

/// From this value on, Kestrel takes an expiry for an absolute time in unix seconds.
const KESTREL_RELATIVE_MAX: u32 = 1_000_000;

/// What a server said to one item.
pub(super) enum Verdict {
    Stored(String),
    /// Another server may take it.
    Full,
    /// No server will.
    Invalid(Error),
}

impl Cluster {
    /// Stores one item on one living server and returns its id: the server's in decimal, or a
    /// unique local text where the server gives none.
    /// `ttl_seconds` 0: it never expires.
    ///
    /// # Errors
    /// `Connection`, `Timeout`, `Protocol`: no server answered. `Full`: every server that answered
    /// refused. `Server`: the request is refused.
    /// `InvalidArgument`: nothing was sent. With [`Error::outcome_unknown`], a server may have
    /// stored it all the same.
    pub fn put(&self, queue: &[u8], body: &[u8], ttl_seconds: u32) -> Result<String, Error> {
        self.pools.check_pid();
        let name = checked(queue)?;
        let operation = Operation { verb: "push to", queues: &[queue] };
        let stamp = self.may_repeat().then(|| self.pools.local_id());
        let push = Push { name, body, ttl_seconds, stamp: stamp.as_deref() };
        let mut head = Head::new(queue);
        head.encode(&push, Dialect::ALL).map_err(|problem| invalid(operation, &problem))?;
        let deadline = self.deadline();
        let mut tally = Tally::default();
        for round in 0..=self.options.retries {
            if round > 0 && (tally.is_full() || !self.pause(round, deadline)) {
                break;
            }
            let order = self.order(true);
            let candidates: Vec<_> = order.all().filter(|&at| !tally.is_closed(at)).collect();
            for (nth, &at) in candidates.iter().enumerate() {
                let has_other = has_peer(&order, at, &candidates[nth + 1..]);
                let is_shared = match self.options.retry_mode {
                    RetryMode::Safe => has_other,
                    // A silent server is to be asked again.
                    RetryMode::Always => has_other || round < self.options.retries,
                    RetryMode::Never => false,
                };
                let limit = share(deadline, is_shared);
                if Instant::now() >= deadline {
                    return Err(tally.error(operation, &self.addresses, true));
                }
                if tally.has_notes() {
                    self.pools.count(|counters| counters.retried += 1);
                }
                match self.put_at(at, limit, &push, &mut head, &mut tally) {
                    Some(Verdict::Stored(id)) => return Ok(id),
                    Some(Verdict::Invalid(error)) => {
                        return Err(error.with_unknown_outcome(tally.is_unknown));
                    }
                    Some(Verdict::Full) => {}
                    None if self.must_stop(at, &mut tally) => {
                        return Err(tally.error(operation, &self.addresses, true));
                    }
                    None => {}
                }
            }
        }
        Err(tally.error(operation, &self.addresses, true))
    }

    fn put_at(
        &self,
        at: usize,
        limit: Instant,
        push: &Push<'_>,
        head: &mut Head,
        tally: &mut Tally,
    ) -> Option<Verdict> {
        let run = |link: &mut Link, limit| {
            // Cannot fail: the same body was accepted before, and Kestrel's form has the same
            // limit.
            let _ = head.encode(push, link.dialect());
            link.exchange(Expect::Stored, &[&head.line, push.body, BODY_END], limit)
        };
        let (answer, link) = self.attempt(at, limit, self.resend(), tally, run)?;
        self.check_in(at, link);
        Some(self.verdict(at, answer, push.name, tally))
    }

    /// Whether a push of this cluster may be sent twice: then it carries a key, by which a server
    /// that stored the first copy knows the second.
    pub(super) fn may_repeat(&self) -> bool {
        self.options.retry_mode != RetryMode::Never
    }

    /// Whether an unanswered push may be sent again on a new connection to the same server.
    pub(super) fn resend(&self) -> Resend {
        if self.options.retry_mode == RetryMode::Never { Resend::No } else { Resend::Yes }
    }

    /// After a failure at one server: true if nothing more may be sent. Decides whether that server
    /// may be asked again in this call.
    pub(super) fn must_stop(&self, at: usize, tally: &mut Tally) -> bool {
        if !tally.is_unknown {
            return false;
        }
        match self.options.retry_mode {
            RetryMode::Never => return true,
            RetryMode::Safe => {
                // It may still be working on the first copy.
                if matches!(tally.last_cause(at), Some(Cause::Silent | Cause::Garbage)) {
                    tally.close(at);
                }
            }
            RetryMode::Always => {}
        }
        false
    }

    /// What an answer to a push means for the item and for the server.
    pub(super) fn verdict(
        &self,
        at: usize,
        answer: Answer,
        name: NameRef<'_>,
        tally: &mut Tally,
    ) -> Verdict {
        let server = &self.nodes[at].server;
        match answer {
            Answer::Stored(id) => {
                server.note_push_taken();
                Verdict::Stored(id.map_or_else(|| self.pools.local_id(), |id| id.to_string()))
            }
            Answer::NotStored(why) => {
                tally.note_full(at, &why);
                Verdict::Full
            }
            Answer::Refused { by_server: true, text } => {
                server.note_push_refused(self.pools.now_ms(), self.eject_ms());
                tally.note_unable(at, &text);
                Verdict::Full
            }
            Answer::Refused { by_server: false, text } => {
                server.forget();
                tally.note_refused(at, &text);
                let operation = Operation { verb: "push to", queues: &[name.as_bytes()] };
                Verdict::Invalid(tally.error(operation, &self.addresses, true))
            }
            // The session lets no other answer to a push through.
            _ => Verdict::Full,
        }
    }
}

/// The request line of a push, as one dialect has it.
struct Head {
    line: Vec<u8>,
    dialect: Option<Dialect>,
}

impl Head {
    fn new(queue: &[u8]) -> Self {
        Self { line: Vec::with_capacity(96 + queue.len()), dialect: None }
    }

    /// Does nothing if it is in this dialect already.
    fn encode(&mut self, push: &Push<'_>, dialect: Dialect) -> Result<(), EncodeError> {
        if self.dialect != Some(dialect) {
            self.line.clear();
            push.encode(&mut self.line, dialect)?;
            self.dialect = Some(dialect);
        }
        Ok(())
    }
}

/// One item on its way to a server.
#[derive(Clone, Copy)]
pub(super) struct Push<'a> {
    pub(super) name: NameRef<'a>,
    pub(super) body: &'a [u8],
    pub(super) ttl_seconds: u32,
    /// The same for every copy of the item.
    pub(super) stamp: Option<&'a str>,
}

impl Push<'_> {
    /// Appends the request line.
    pub(super) fn encode(&self, head: &mut Vec<u8>, dialect: Dialect) -> Result<(), EncodeError> {
        let bytes = self.body.len();
        match dialect {
            Dialect::Extended(words) => {
                let options = PutOptions {
                    ttl_seconds: self.ttl_seconds,
                    idempotency_key: self.stamp.filter(|_| words.key).map(str::as_bytes),
                    ..PutOptions::default()
                };
                kqueue_proto::client::put(head, self.name, bytes, &options)
            }
            Dialect::Kestrel => {
                let expiry = kestrel_expiry(self.ttl_seconds, unix_seconds());
                kqueue_proto::client::set(head, self.name, 0, expiry, bytes)
            }
        }
    }
}

pub(super) fn invalid(operation: Operation<'_>, problem: &EncodeError) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{operation}: {problem}"))
}

/// A long time to live must be said as an absolute time, and Kestrel knows no time after January
/// 2038.
fn kestrel_expiry(ttl_seconds: u32, unix_seconds: u64) -> i32 {
    if ttl_seconds < KESTREL_RELATIVE_MAX {
        return ttl_seconds as i32;
    }
    let absolute = unix_seconds.saturating_add(ttl_seconds.into());
    i32::try_from(absolute).unwrap_or(i32::MAX)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_to_live_are_absolute_for_kestrel() {
        assert_eq!(kestrel_expiry(0, 1_700_000_000), 0);
        assert_eq!(kestrel_expiry(999_999, 1_700_000_000), 999_999);
        assert_eq!(kestrel_expiry(1_000_000, 1_700_000_000), 1_701_000_000);
        assert_eq!(kestrel_expiry(u32::MAX, 1_700_000_000), i32::MAX);
    }
}
