//! Reserved items, and the connections that hold them.
//!
//! Invariants:
//! - ack and release travel over the very connection that reserved the item; when it is gone, the
//!   server has taken the item back;
//! - a connection returns to its pool only when nothing is held on it any more;
//! - an item is settled at most once; what the server cannot do now leaves it held; an unsettled one is released when its
//!   [`Held`] is dropped;
//! - in another process than the one that reserved it (after `fork`), nothing is sent.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kqueue_proto::client::{BODY_END, EncodeError};
use kqueue_proto::{GetOptions, Name};

use crate::error::{Error, ErrorKind, is_about_room};
use crate::link::{Cause, Dialect, Link};
use crate::options::Options;
use crate::pools::{Node, Pools};
use crate::session::{Answer, Expect, Item, shown};

/// After so long, the connection is looked at before an ack: a closed one is then known to have
/// carried nothing.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// What is to become of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb<'a> {
    Ack,
    /// `None`: as the queue's settings say.
    Release(Option<Duration>),
    Bury(&'a [u8]),
    /// Zero: as when it was reserved without a lease.
    Touch(Duration),
}

impl Verb<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Release(_) => "release",
            Self::Bury(_) => "bury",
            Self::Touch(_) => "touch",
        }
    }
}

/// How it went.
enum Told {
    Done,
    /// Nothing has changed: the item is still held.
    Unable(Error),
    /// The item is not ours any more.
    Lost(Error),
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
            // Bytes behind the items answer nothing that will be asked.
            link: RefCell::new(Some(link).filter(Link::is_clean)),
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
        self.drop_if_ejected();
        for ticket in &tickets {
            // Failing closes the connection, and with it the server takes back the rest.
            if let Told::Unable(_) = self.tell(ticket, Verb::Release(None)) {
                self.link.take();
            }
        }
    }

    /// Closes the connection instead of asking a server that is silent or gone.
    fn drop_if_ejected(&self) -> bool {
        let is_ejected = self.node.server.is_ejected(self.pools.now_ms());
        if is_ejected {
            self.link.take();
        }
        is_ejected
    }

    fn tell(&self, ticket: &Ticket, verb: Verb<'_>) -> Told {
        let at = self.held.borrow().iter().position(|held| held == ticket);
        let Some(at) = at else {
            return Told::Lost(lost(ticket, "it was given back when its KQueue was closed", false));
        };
        let link = self.link.take();
        if self.pools.check_pid() != self.pid {
            return Told::Lost(lost(ticket, "another process reserved it", false));
        }
        let Some(mut link) = link else {
            return Told::Lost(lost(ticket, "its connection is gone", false));
        };
        if link.last_used().elapsed() > TRUSTED_IDLE && !link.is_quiet() {
            return Told::Lost(lost(ticket, "the server closed its connection", false));
        }
        let told = self.exchange(&mut link, ticket, verb);
        let is_kept = match &told {
            Told::Done => matches!(verb, Verb::Touch(_)),
            Told::Unable(_) => true,
            Told::Lost(_) => false,
        };
        if !is_kept {
            self.held.borrow_mut().remove(at);
        }
        if link.is_clean() {
            if self.held.borrow().is_empty() {
                self.pools.check_in(&self.node, link, &self.options);
            } else {
                self.link.replace(Some(link));
            }
        }
        told
    }

    fn exchange(&self, link: &mut Link, ticket: &Ticket, verb: Verb<'_>) -> Told {
        let server = self.node.server.address();
        let unable = |kind, reason: &str| {
            let text = format!("{} failed: {server} {reason}", shown_verb(verb, ticket));
            Told::Unable(Error::new(kind, text))
        };
        let mut head = Vec::with_capacity(32 + ticket.queue.len());
        let expect = match encode(&mut head, link.dialect(), ticket, verb) {
            Ok(Some(expect)) => expect,
            Ok(None) => return Told::Done,
            Err(Impossible::Argument(problem)) => {
                let text = format!("{}: {problem}", shown_verb(verb, ticket));
                return Told::Unable(Error::new(ErrorKind::InvalidArgument, text));
            }
            Err(Impossible::Here) => {
                let reason = "does not offer this, so the item stays held: settle it otherwise";
                return unable(ErrorKind::Server, reason);
            }
        };
        let parts: [&[u8]; 3] = match verb {
            Verb::Bury(reason) => [&head, reason, BODY_END],
            _ => [&head, &[], &[]],
        };
        let deadline = Instant::now() + self.options.timeout;
        match link.exchange(expect, &parts, deadline) {
            Ok(Answer::Done) => Told::Done,
            Ok(Answer::Unable(text)) => {
                let kind = if is_about_room(&text) { ErrorKind::Full } else { ErrorKind::Server };
                unable(kind, &format!("refused: {text}; the item stays held"))
            }
            Ok(Answer::Refused { text, .. }) => {
                Told::Lost(lost(ticket, &format!("{server} refused: {text}"), false))
            }
            Ok(_) => Told::Lost(lost(ticket, "its lease has ended", false)),
            Err(fault) => {
                self.pools.count(|counters| counters.failures += 1);
                if fault.cause == Cause::Silent {
                    // The next call does not wait for it, and what else is given back does not.
                    let eject_ms = whole_millis(self.options.eject_time);
                    self.node.server.note_failure(self.pools.now_ms(), eject_ms, &fault.text);
                }
                Told::Lost(lost(ticket, &format!("{server}: {}", fault.text), fault.is_sent))
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

    /// The body, which is not kept here any longer.
    #[must_use]
    pub fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
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

    /// True once it is not ours any more: acknowledged, given back, buried, or found lost.
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
        self.tell(Verb::Ack)
    }

    /// Gives the item back to its place in the queue: after `delay` (at once if zero), or, without
    /// one, as the queue's settings say.
    ///
    /// # Errors
    /// As [`Self::ack`]; the item is then back, or will be when the server notices that the
    /// connection is gone. `Server`, `Full`, `InvalidArgument` (over ten years): the server cannot delay it, or not now; it
    /// stays held.
    pub fn release(&mut self, delay: Option<Duration>) -> Result<(), Error> {
        self.tell(Verb::Release(delay))
    }

    /// Puts the item among its queue's dead letters, with a reason of up to 1024 bytes.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn bury(&mut self, reason: &[u8]) -> Result<(), Error> {
        self.tell(Verb::Bury(reason))
    }

    /// Lets the lease end `lease` from now; zero: none but the queue's own. Kestrel knows no lease:
    /// there, an item that is held stays so, and this only looks whether its connection lives.
    ///
    /// # Errors
    /// As [`Self::ack`]. `Server`: the server has no such command; the item stays held.
    pub fn touch(&mut self, lease: Duration) -> Result<(), Error> {
        self.tell(Verb::Touch(lease))
    }

    /// Gives it back together with everything else of its connection: a server that is believed dead
    /// is not waited for once more, its connection is closed.
    pub fn abandon(self) {
        self.pin.drop_if_ejected();
    }

    fn tell(&mut self, verb: Verb<'_>) -> Result<(), Error> {
        if self.is_settled {
            return Err(lost(&self.ticket, "it was settled before", false));
        }
        match self.pin.tell(&self.ticket, verb) {
            Told::Done => {
                self.is_settled = !matches!(verb, Verb::Touch(_));
                Ok(())
            }
            Told::Unable(error) => Err(error),
            Told::Lost(error) => {
                self.is_settled = true;
                Err(error)
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            if self.pin.held.borrow().len() == 1 {
                self.pin.drop_if_ejected();
            }
            // Nobody to tell of a failure: then it goes back with the connection, which is not used
            // for anything else while an item is held on it.
            let _ = self.tell(Verb::Release(None));
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = shown(&self.ticket.queue);
        write!(f, "Held({} of {queue}, settled: {})", self.id, self.is_settled)
    }
}

/// Why there is nothing to send.
enum Impossible {
    /// The server has no word for it.
    Here,
    /// No server would take it.
    Argument(EncodeError),
}

/// Appends the request; `None`: there is nothing to be said.
fn encode(
    head: &mut Vec<u8>,
    dialect: Dialect,
    ticket: &Ticket,
    verb: Verb<'_>,
) -> Result<Option<Expect>, Impossible> {
    // The name came from a server, which was asked for it.
    let name = Name::check(&ticket.queue).map_err(|_| Impossible::Here)?;
    let words = dialect.words();
    let encoded = match (ticket.id, verb) {
        (Some(id), Verb::Ack) => {
            kqueue_proto::client::ack(head, name, id);
            Ok(())
        }
        (Some(id), Verb::Release(delay)) => {
            let delay = delay.filter(|delay| words.delay || !delay.is_zero());
            if delay.is_some() && !words.delay {
                return Err(Impossible::Here);
            }
            kqueue_proto::client::release(head, name, id, delay.map(whole_millis))
        }
        (Some(id), Verb::Bury(reason)) if words.bury => {
            kqueue_proto::client::bury(head, name, id, reason.len())
        }
        (Some(id), Verb::Touch(lease)) if words.touch => {
            let lease_ms = u32::try_from(whole_millis(lease)).unwrap_or(u32::MAX);
            kqueue_proto::client::touch(head, name, id, lease_ms);
            Ok(())
        }
        (None, Verb::Ack | Verb::Release(None | Some(Duration::ZERO))) => {
            let is_ack = verb == Verb::Ack;
            let options = GetOptions { close: is_ack, abort: !is_ack, ..GetOptions::default() };
            // Each of them alone excludes nothing.
            let _ = kqueue_proto::client::get(head, name, &options);
            return Ok(Some(Expect::Done));
        }
        (None, Verb::Touch(_)) => return Ok(None),
        (_, Verb::Release(_) | Verb::Bury(_) | Verb::Touch(_)) => return Err(Impossible::Here),
    };
    encoded.map(|()| Some(Expect::Settled)).map_err(Impossible::Argument)
}

/// Rounded up: what is short must not become nothing.
fn whole_millis(duration: Duration) -> u64 {
    let part = u64::from(!duration.subsec_nanos().is_multiple_of(1_000_000));
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).saturating_add(part)
}

fn shown_verb(verb: Verb<'_>, ticket: &Ticket) -> String {
    let queue = shown(&ticket.queue);
    match ticket.id {
        Some(id) => format!("{} of item {id} of queue {queue}", verb.name()),
        None => format!("{} of an item of queue {queue}", verb.name()),
    }
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
