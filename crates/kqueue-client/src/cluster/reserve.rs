//! Taking items: asks every living server once without waiting, then waits at all of them (`wait`).
//!
//! An item is always taken tentatively and confirmed afterwards, by `pop` too: whatever happens to
//! a connection, a signal or a deadline in
//! between, the server takes back what was not confirmed.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kqueue_proto::client::EncodeError;
use kqueue_proto::{GetOptions, NameRef};

use super::put::invalid;
use super::tally::{Operation, Tally};
use super::wait::Waited;
use super::{Cluster, Resend, checked, has_peer, millis, share};
use crate::error::{Error, ErrorKind};
use crate::held::{Held, Pin};
use crate::interrupt::Interrupt;
use crate::link::{Dialect, Fault, Link};
use crate::session::{Answer, Expect, Item};

/// The most items one request may ask for.
const ITEMS_MAX: u32 = 1000;
/// A request line of one queue is hardly longer.
const HEAD_BYTES: usize = 64;
/// How often `pop` begins anew when the item it got was taken back before the ack.
const POP_TRIES: u32 = 3;

/// What the caller wants.
pub(super) struct Want<'a> {
    pub(super) names: Vec<NameRef<'a>>,
    pub(super) max: u32,
    lease_ms: u32,
    pub(super) operation: Operation<'a>,
    /// The request that does not wait, encoded to check it: for the first server that is asked for all items.
    first: Cell<Option<(Vec<u8>, Expect)>>,
}

impl Want<'_> {
    /// The request to a server of the extended commands, for up to `max` of the items.
    pub(super) fn reserve(
        &self,
        head: &mut Vec<u8>,
        max: u32,
        wait_ms: u32,
    ) -> Result<Expect, EncodeError> {
        head.clear();
        kqueue_proto::client::reserve(head, max, wait_ms, self.lease_ms, &self.names)?;
        let copy = |name: &NameRef<'_>| Bytes::copy_from_slice(name.as_bytes());
        Ok(Expect::Items { max, queues: self.names.iter().map(copy).collect() })
    }

    /// The request that does not wait, for up to `max` of the items.
    fn encoded(&self, max: u32) -> Result<(Vec<u8>, Expect), EncodeError> {
        if let Some(first) = self.first.take().filter(|_| max == self.max) {
            return Ok(first);
        }
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let expect = self.reserve(&mut head, max, 0)?;
        Ok((head, expect))
    }

    /// The request to a Kestrel, for one of the queues.
    pub(super) fn open(head: &mut Vec<u8>, name: NameRef<'_>, wait_ms: u32) -> Expect {
        head.clear();
        let options = GetOptions { open: true, wait_ms, ..GetOptions::default() };
        // `open` alone excludes nothing.
        let _ = kqueue_proto::client::get(head, name, &options);
        Expect::Value { queue: Bytes::copy_from_slice(name.as_bytes()) }
    }
}

/// What one server said when it was asked for items.
enum Asked {
    /// The connection that holds them; boxed, because it is large.
    Items(Vec<Item>, Box<Link>),
    Nothing,
}

impl Cluster {
    /// Takes one item for good: reserves it, and confirms before it is returned. `None`: nothing
    /// came in `wait`, or `interrupt` said so.
    /// If the confirmation is not answered, the item is returned all the same; it may then come
    /// again (at least once).
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn pop(
        &self,
        queue: &[u8],
        wait: Duration,
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Bytes>, Error> {
        let end = Instant::now() + wait;
        let mut tries = 1;
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            let want = Operation { verb: "pop from", queues: &[queue] };
            let held = self.reserve_as(want, 1, remaining, Duration::ZERO, interrupt)?;
            let Some(mut held) = held.into_iter().next() else { return Ok(None) };
            match held.ack() {
                Ok(()) => return Ok(Some(held.body().clone())),
                Err(error) if error.outcome_unknown() => return Ok(Some(held.body().clone())),
                // Certainly not confirmed: the server has it back and will deliver it to somebody.
                Err(_) if tries < POP_TRIES => tries += 1,
                Err(error) => {
                    return Err(Error::new(ErrorKind::Connection, error.message().to_owned()));
                }
            }
        }
    }

    /// Takes up to `max` items tentatively from 1 to 16 queues, tried in the order given; waits, at
    /// most `wait`, only for the first. Empty: nothing
    /// came, or `interrupt` said so. After `lease` (zero: as the server likes) an item returns to
    /// its queue; Kestrel knows no lease and ignores it.
    /// Each call uses connections of its own for as long as its items are held; over Kestrel's
    /// commands, one connection per item.
    ///
    /// # Errors
    /// `Connection`, `Timeout`, `Protocol`: no server answered. `Server`: the servers refuse.
    /// `InvalidArgument`: nothing was sent. No item is lost.
    pub fn reserve(
        &self,
        queues: &[&[u8]],
        max: u32,
        wait: Duration,
        lease: Duration,
        interrupt: &dyn Interrupt,
    ) -> Result<Vec<Held>, Error> {
        let operation = Operation { verb: "reserve from", queues };
        self.reserve_as(operation, max, wait, lease, interrupt)
    }

    fn reserve_as(
        &self,
        operation: Operation<'_>,
        max: u32,
        wait: Duration,
        lease: Duration,
        interrupt: &dyn Interrupt,
    ) -> Result<Vec<Held>, Error> {
        self.pools.check_pid();
        let names: Result<Vec<_>, _> = operation.queues.iter().map(|name| checked(name)).collect();
        let lease_ms = to_wire_ms(lease);
        let first = Cell::default();
        let want = Want { names: names?, max: max.min(ITEMS_MAX), lease_ms, operation, first };
        let first = want.encoded(want.max).map_err(|problem| invalid(operation, &problem))?;
        want.first.set(Some(first));
        let end = Instant::now() + wait;
        // With one living server, one request both asks and waits.
        if wait.is_zero() || self.order(false).living.len() != 1 {
            let held = self.ask_all(&want)?;
            if !held.is_empty() || wait.is_zero() {
                return Ok(held);
            }
        }
        match self.wait_all(&want, end, interrupt)? {
            Waited::Items { at, link, items } => {
                let mut held = self.hold(at, *link, items);
                self.top_up(&want, at, &mut held);
                Ok(held)
            }
            Waited::Nothing | Waited::Interrupted => Ok(Vec::new()),
        }
    }

    /// Asks the living servers in turn, the ejected ones if none answers, in rounds until one
    /// answers.
    fn ask_all(&self, want: &Want<'_>) -> Result<Vec<Held>, Error> {
        let deadline = self.deadline();
        let mut tally = Tally::default();
        for round in 0..=self.options.retries {
            if round > 0 && !self.pause(round, deadline) {
                break;
            }
            let order = self.order(false);
            let candidates: Vec<_> = order.all().collect();
            let mut held = Vec::new();
            let mut has_answer = false;
            for (nth, &at) in candidates.iter().enumerate() {
                if has_answer && order.ejected.contains(&at) || Instant::now() >= deadline {
                    break;
                }
                let limit = share(deadline, has_peer(&order, at, &candidates[nth + 1..]));
                // What other servers gave counts.
                let most = want.max - held.len() as u32;
                match self.ask(at, limit, want, most, &mut tally) {
                    Some(Asked::Items(items, link)) => {
                        has_answer = true;
                        held.extend(self.hold(at, *link, items));
                        self.top_up(want, at, &mut held);
                    }
                    Some(Asked::Nothing) => has_answer = true,
                    None => {}
                }
                if held.len() >= want.max as usize {
                    return Ok(held);
                }
            }
            if has_answer {
                return Ok(held);
            }
        }
        Err(tally.error(want.operation, &self.addresses, false))
    }

    /// Asks one server for up to `max` items without waiting.
    fn ask(
        &self,
        at: usize,
        limit: Instant,
        want: &Want<'_>,
        max: u32,
        tally: &mut Tally,
    ) -> Option<Asked> {
        let run = |link: &mut Link, limit| ask_on(link, want, max, limit);
        let (answer, link) = self.attempt(at, limit, Resend::Yes, tally, run)?;
        match answer {
            Answer::Items(items) if !items.is_empty() => Some(Asked::Items(items, Box::new(link))),
            Answer::Refused { text, .. } => {
                tally.note_refused(at, &text);
                None
            }
            _ => {
                self.check_in(at, link);
                Some(Asked::Nothing)
            }
        }
    }

    /// A Kestrel gives one item per connection: takes more of what it has at once, on further
    /// connections, within the pool's bound.
    fn top_up(&self, want: &Want<'_>, at: usize, held: &mut Vec<Held>) {
        let is_kestrel = self.nodes[at].server.dialect() == Some(Dialect::Kestrel);
        let most = self.options.pool_max_connections.min(want.max as usize);
        let mut tally = Tally::default();
        while is_kestrel && held.len() < most {
            match self.ask(at, self.deadline(), want, 1, &mut tally) {
                Some(Asked::Items(items, link)) => held.extend(self.hold(at, *link, items)),
                // What is in hand already is worth more than an error.
                Some(Asked::Nothing) | None => return,
            }
        }
    }

    fn hold(&self, at: usize, link: Link, items: Vec<Item>) -> Vec<Held> {
        let (pin, held) =
            Pin::hold(link, items, self.nodes[at].clone(), &self.pools, &self.options);
        self.remember(&pin);
        held
    }
}

/// One question, without waiting, to all the queues.
fn ask_on(link: &mut Link, want: &Want<'_>, max: u32, limit: Instant) -> Result<Answer, Fault> {
    if link.dialect().is_extended()
        && let Ok((head, expect)) = want.encoded(max)
    {
        return link.exchange(expect, &[&head], limit);
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut answer = Answer::Items(Vec::new());
    for name in &want.names {
        let expect = Want::open(&mut head, *name, 0);
        answer = link.exchange(expect, &[&head], limit)?;
        if !matches!(&answer, Answer::Items(items) if items.is_empty()) {
            break;
        }
    }
    Ok(answer)
}

/// Milliseconds as both grammars accept them, rounded up: a short wait must not become none.
pub(super) fn to_wire_ms(duration: Duration) -> u32 {
    let ms = millis(duration) + u64::from(!duration.subsec_nanos().is_multiple_of(1_000_000));
    u32::try_from(ms.min(i32::MAX as u64)).unwrap_or(u32::MAX)
}
