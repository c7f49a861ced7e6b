//! Reserved items, and the connections that hold them.
//!
//! Invariants:
//! - ack and release travel over the very connection that reserved the item; when it is gone, the
//!   server has taken the item back;
//! - a connection returns to its pool only when nothing is held on it any more;
//! - an item is settled at most once, whatever the outcome; an unsettled one is released when its
//!   [`Held`] is dropped;
//! - in another process than the one that reserved it (after `fork`), nothing is sent.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kqueue_proto::{GetOptions, Name};

use crate::error::{Error, ErrorKind};
use crate::link::{Dialect, Link};
use crate::options::Options;
use crate::pools::{Node, Pools};
use crate::session::{Answer, Expect, Item, shown};

/// After so long, the connection is looked at before an ack: a closed one is then known to have
/// carried nothing.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// What is to become of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ack,
    Release,
}

/// What identifies an item on its connection. Kestrel's commands know one open item per queue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ticket {
    queue: Bytes,
    id: Option<u64>,
}

/// A connection that holds items.
pub(crate) struct Pin {
    link: RefCell<Option<Link>>,
    held: RefCell<Vec<Ticket>>,
    node: Rc<Node>,
    pools: Pools,
    options: Options,
    pid: u32,
}

/// One reserved item. Dropped unsettled, it is released: one exchange within the timeout, or else
/// the connection is closed and the server takes it back.
pub struct Held {
    pin: Rc<Pin>,
    ticket: Ticket,
    id: String,
    body: Bytes,
    attempts: u32,
    age_ms: u64,
    received: Instant,
    is_settled: bool,
}

impl Pin {
    /// Takes over a clean connection and the items it holds.
    pub(crate) fn hold(
        link: Link,
        items: Vec<Item>,
        node: Rc<Node>,
        pools: &Pools,
        options: &Options,
    ) -> (Rc<Self>, Vec<Held>) {
        let pid = link.pid();
        let received = Instant::now();
        let ticket = |item: &Item| Ticket { queue: item.queue.clone(), id: item.id };
        let pin = Rc::new(Self {
            link: RefCell::new(Some(link)),
            held: RefCell::new(items.iter().map(ticket).collect()),
            node,
            pools: pools.clone(),
            options: options.clone(),
            pid,
        });
        let held = items
            .into_iter()
            .map(|item| Held {
                pin: Rc::clone(&pin),
                ticket: ticket(&item),
                id: item.id.map_or_else(|| pools.local_id(), |id| id.to_string()),
                body: item.body,
                attempts: item.attempts,
                age_ms: item.age_ms,
                received,
                is_settled: false,
            })
            .collect();
        (pin, held)
    }

    /// Releases everything it holds and gives the connection back.
    pub(crate) fn return_all(&self) {
        let tickets: Vec<_> = self.held.borrow().clone();
        for ticket in &tickets {
            // Failing closes the connection, and with it the server takes back the rest.
            let _ = self.settle(ticket, Verb::Release);
        }
    }

    fn settle(&self, ticket: &Ticket, verb: Verb) -> Result<(), Error> {
        let at = self.held.borrow().iter().position(|held| held == ticket);
        let Some(at) = at else {
            return Err(lost(ticket, "it was given back when its KQueue was closed", false));
        };
        self.held.borrow_mut().remove(at);
        let link = self.link.take();
        if self.pools.check_pid() != self.pid {
            return Err(lost(ticket, "another process reserved it", false));
        }
        let Some(mut link) = link else {
            return Err(lost(ticket, "its connection is gone", false));
        };
        if link.last_used().elapsed() > TRUSTED_IDLE && !link.is_quiet() {
            return Err(lost(ticket, "the server closed its connection", false));
        }
        let result = self.exchange(&mut link, ticket, verb);
        if link.is_clean() {
            if self.held.borrow().is_empty() {
                self.pools.check_in(&self.node, link, &self.options);
            } else {
                self.link.replace(Some(link));
            }
        }
        result
    }

    fn exchange(&self, link: &mut Link, ticket: &Ticket, verb: Verb) -> Result<(), Error> {
        let mut head = Vec::with_capacity(32 + ticket.queue.len());
        encode_settle(&mut head, link.dialect(), ticket, verb)
            .map_err(|problem| lost(ticket, problem, false))?;
        let deadline = Instant::now() + self.options.timeout;
        let server = self.node.server.address();
        match link.exchange(Expect::Done, &[&head], deadline) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Refused { text, .. }) => {
                Err(lost(ticket, &format!("{server} refused: {text}"), false))
            }
            Ok(_) => Err(lost(ticket, "its lease has ended", false)),
            Err(fault) => {
                self.pools.count(|counters| counters.failures += 1);
                Err(lost(ticket, &format!("{server}: {}", fault.text), fault.is_sent))
            }
        }
    }
}

impl Held {
    /// The queue it came from.
    #[must_use]
    pub fn queue(&self) -> &[u8] {
        &self.ticket.queue
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The server's id in decimal, the same as [`crate::Cluster::put`] returned; a local one over
    /// Kestrel's commands. Never empty.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Deliveries so far, this one included; 1 on a server that does not count.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Milliseconds since it was put, as of now; since it was received on a server that does not
    /// say.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        let held_ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.age_ms.saturating_add(held_ms)
    }

    /// True after [`Self::ack`] or [`Self::release`], successful or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Removes the item for good.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`]: settled before, lease ended, connection gone or another process
    /// reserved it. With [`Error::outcome_unknown`] the
    /// server may have removed it all the same.
    pub fn ack(&mut self) -> Result<(), Error> {
        self.settle(Verb::Ack)
    }

    /// Gives the item back to its place in the queue.
    ///
    /// # Errors
    /// As [`Self::ack`]; the item is then back, or will be when the server notices that the
    /// connection is gone.
    pub fn release(&mut self) -> Result<(), Error> {
        self.settle(Verb::Release)
    }

    fn settle(&mut self, verb: Verb) -> Result<(), Error> {
        if self.is_settled {
            return Err(lost(&self.ticket, "it was settled before", false));
        }
        self.is_settled = true;
        self.pin.settle(&self.ticket, verb)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            // Nobody to tell; what matters holds either way: the item is not ours any more.
            let _ = self.settle(Verb::Release);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = shown(&self.ticket.queue);
        write!(f, "Held({} of {queue}, settled: {})", self.id, self.is_settled)
    }
}

fn encode_settle(
    head: &mut Vec<u8>,
    dialect: Dialect,
    ticket: &Ticket,
    verb: Verb,
) -> Result<(), &'static str> {
    let name = Name::check(&ticket.queue).map_err(|_| "its queue has no valid name")?;
    match (dialect, ticket.id) {
        (Dialect::Extended, Some(id)) => match verb {
            Verb::Ack => kqueue_proto::client::ack(head, name, id),
            Verb::Release => kqueue_proto::client::release(head, name, id, None)
                .map_err(|_| "its delay is too long")?,
        },
        _ => {
            let is_ack = verb == Verb::Ack;
            let options = GetOptions { close: is_ack, abort: !is_ack, ..GetOptions::default() };
            kqueue_proto::client::get(head, name, &options).map_err(|_| "bad options")?;
        }
    }
    Ok(())
}

fn lost(ticket: &Ticket, reason: &str, is_unknown: bool) -> Error {
    let queue = shown(&ticket.queue);
    let (item, outcome) = match (ticket.id, is_unknown) {
        (Some(id), false) => (format!("item {id}"), ""),
        (Some(id), true) => (format!("item {id}"), " (sent without an answer)"),
        (None, false) => ("the item".into(), ""),
        (None, true) => ("the item".into(), " (sent without an answer)"),
    };
    let text =
        format!("{item} of queue {queue} is no longer ours: {reason}{outcome}; stop working on it");
    Error::new(ErrorKind::Lost, text).with_unknown_outcome(is_unknown)
}
