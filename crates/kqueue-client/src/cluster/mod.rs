//! Several independent servers as one: which to ask, with which limits, and what a failure means.
//!
//! Invariants:
//! - one call has one deadline; a server that keeps silent gets only a part of it while others are
//!   untried;
//! - what was sent without an answer is remembered to the end of the call and shown in the error;
//! - a server is ejected by the failure of a *fresh* connection or by silence; a pooled connection
//!   that breaks is first replaced.
//!
//! `put`, `put_many`, `outbox` (pushes whose answers are awaited later), `reserve`, `wait`, `admin` hold the operations, `tally` the errors.

mod admin;
mod outbox;
mod put;
mod put_many;
mod reserve;
mod tally;
mod wait;

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use kqueue_proto::{Name, NameRef};

use crate::address::Address;
use crate::choice::{Order, backoff_ms};
use crate::error::{Error, ErrorKind};
use crate::held::Pin;
use crate::link::{Cause, Dialect, Fault, Link, Words};
use crate::options::Options;
use crate::pools::{Node, Pools};
use crate::session::{Answer, Expect, shown};
use crate::stream::{Stream, wait_any};
use outbox::Outbox;
use tally::Tally;

pub use admin::ServerStats;

/// What a server must list to be spoken to in the extended commands; a server that has fewer words than this crate knows is not sent the others.
const EXTENDED_WORDS: [&str; 4] = ["put", "reserve", "ack", "release"];

/// See the module. Cheap to make; connects at first use.
pub struct Cluster {
    pools: Pools,
    addresses: Vec<Address>,
    options: Options,
    /// One per address.
    nodes: Vec<Rc<Node>>,
    /// Connections that hold items for this cluster's callers.
    pins: RefCell<Vec<Weak<Pin>>>,
    /// Boxed, because most have none.
    outbox: RefCell<Option<Box<Outbox>>>,
}

/// Whether a request that was sent and not answered may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    Yes,
    No,
}

impl Cluster {
    /// Connects nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]: no address, or an option out of range.
    pub fn new(pools: Pools, addresses: Vec<Address>, options: Options) -> Result<Self, Error> {
        options.validate()?;
        if addresses.is_empty() {
            let text = "the list of servers is empty: name at least one, such as 127.0.0.1:22133";
            return Err(Error::new(ErrorKind::InvalidArgument, text.into()));
        }
        let nodes = addresses.iter().map(|address| pools.node(address, &options)).collect();
        let (pins, outbox) = (RefCell::default(), RefCell::default());
        Ok(Self { pools, addresses, options, nodes, pins, outbox })
    }

    /// As given.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// As given.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Checks a queue name as the server would.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] saying what is wrong with it.
    pub fn check_queue_name(name: &[u8]) -> Result<(), Error> {
        checked(name).map(|_| ())
    }

    /// Returns what is still reserved through this cluster to its queues and gives the connections
    /// back. The cluster stays usable.
    pub fn close(&self) {
        self.pools.check_pid();
        let pins = self.pins.take();
        for pin in pins.iter().filter_map(Weak::upgrade) {
            pin.return_all();
        }
        if !self.options.persistent {
            for node in &self.nodes {
                node.clear();
            }
        }
    }

    fn eject_ms(&self) -> u64 {
        millis(self.options.eject_time)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// Servers in the order to try them; for pushes, those that refuse pushes come last.
    fn order(&self, for_push: bool) -> Order {
        let now_ms = self.pools.now_ms();
        let is_ejected = |at: usize| {
            let server = &self.nodes[at].server;
            server.is_ejected(now_ms) || (for_push && server.refuses_pushes(now_ms))
        };
        self.pools
            .random(|rng| Order::new(self.nodes.len(), self.options.failover, rng, is_ejected))
    }

    /// One attempt at one server: on an idle connection or a new one; if an idle one turns out
    /// broken, on a new one at once.
    /// A failure is noted in `tally`. The caller gives the connection back.
    fn attempt<T>(
        &self,
        at: usize,
        deadline: Instant,
        resend: Resend,
        tally: &mut Tally,
        mut run: impl FnMut(&mut Link, Instant) -> Result<T, Fault>,
    ) -> Option<(T, Link)> {
        let node = &self.nodes[at];
        node.server.begin_attempt(self.pools.now_ms(), self.eject_ms());
        let mut link = match self.check_out(at, deadline) {
            Ok(link) => link,
            Err(fault) => return self.fail(at, false, &fault, tally),
        };
        loop {
            let fault = match run(&mut link, deadline) {
                Ok(value) => {
                    node.server.note_success();
                    return Some((value, link));
                }
                Err(fault) => fault,
            };
            tally.is_unknown |= fault.is_sent;
            let may_resend = !fault.is_sent || resend == Resend::Yes;
            if !(link.is_reused() && fault.cause == Cause::Broken && may_resend) {
                return self.fail(at, link.is_reused(), &fault, tally);
            }
            link = match self.replace(at, deadline) {
                Ok(link) => link,
                Err(fault) => return self.fail(at, false, &fault, tally),
            };
        }
    }

    /// A new connection in place of a pooled one that broke: its companions are of the same age and
    /// not trusted either.
    fn replace(&self, at: usize, deadline: Instant) -> Result<Link, Fault> {
        self.distrust(at);
        self.pools.count(|counters| counters.retried += 1);
        self.open(at, deadline)
    }

    /// A pooled connection broke.
    fn distrust(&self, at: usize) {
        self.nodes[at].clear();
        self.nodes[at].server.forget();
    }

    /// Notes a failure; ejects the server unless only an old connection broke.
    fn fail<T>(&self, at: usize, is_reused: bool, fault: &Fault, tally: &mut Tally) -> Option<T> {
        let node = &self.nodes[at];
        self.pools.count(|counters| counters.failures += 1);
        node.clear();
        if is_reused && fault.cause == Cause::Broken {
            node.server.forget();
        } else {
            node.server.note_failure(self.pools.now_ms(), self.eject_ms(), &fault.text);
        }
        tally.note_fault(at, fault);
        None
    }

    fn check_out(&self, at: usize, deadline: Instant) -> Result<Link, Fault> {
        match self.pools.take_idle(&self.nodes[at]) {
            Some(link) => Ok(link),
            None => self.open(at, deadline),
        }
    }

    fn check_in(&self, at: usize, link: Link) {
        self.pools.check_in(&self.nodes[at], link, &self.options);
    }

    /// Opens a connection; on the first one to an address, asks what the server understands.
    fn open(&self, at: usize, deadline: Instant) -> Result<Link, Fault> {
        let server = &self.nodes[at].server;
        let mut link = self.dial(at, deadline)?;
        let dialect = match server.dialect() {
            Some(dialect) => dialect,
            None => {
                let learnt = learn_dialect(&mut link, deadline)?;
                if !link.is_clean() {
                    link = self.dial(at, deadline)?;
                }
                if let Some(dialect) = learnt {
                    server.learn(dialect);
                }
                learnt.unwrap_or(Dialect::Kestrel)
            }
        };
        link.set_dialect(dialect);
        Ok(link)
    }

    fn dial(&self, at: usize, deadline: Instant) -> Result<Link, Fault> {
        let server = &self.nodes[at].server;
        let deadline = deadline.min(Instant::now() + self.options.connect_timeout);
        let stream = server
            .socket_addresses()
            .and_then(|found| Stream::connect(server.address().endpoint(), &found, deadline))
            .map_err(|error| Fault::connect(&error))?;
        server.note_opened();
        self.pools.count(|counters| counters.opened += 1);
        Ok(Link::new(stream, self.options.max_body_bytes, self.pools.check_pid()))
    }

    /// Sleeps before round `round`; false: no time is left. Signals may shorten it.
    fn pause(&self, round: u32, deadline: Instant) -> bool {
        let (base, cap) = (millis(self.options.backoff_base), millis(self.options.backoff_cap));
        let pause = self.pools.random(|rng| backoff_ms(round, base, cap, rng));
        sleep_until(deadline.min(Instant::now() + Duration::from_millis(pause)));
        Instant::now() < deadline
    }

    /// Makes an item holder known to [`Self::close`].
    fn remember(&self, pin: &Rc<Pin>) {
        let mut pins = self.pins.borrow_mut();
        pins.retain(|pin| pin.strong_count() > 0);
        pins.push(Rc::downgrade(pin));
    }
}

impl Drop for Cluster {
    /// Items held through it stay held: their `Held` values keep what they need.
    fn drop(&mut self) {
        if !self.options.persistent {
            for node in &self.nodes {
                node.clear();
            }
        }
    }
}

/// Asks a new connection which commands its server understands. An old server answers with an error
/// and may close; the link is then not clean.
/// `None`: it closed without a word. That is spoken to like a Kestrel for now, and asked again at
/// the next connection: it may just have died.
fn learn_dialect(link: &mut Link, deadline: Instant) -> Result<Option<Dialect>, Fault> {
    let mut head = Vec::new();
    kqueue_proto::client::capabilities(&mut head);
    match link.exchange(Expect::Capabilities, &[&head], deadline) {
        Ok(Answer::Capabilities(list)) => {
            let is_extended = EXTENDED_WORDS.iter().all(|command| list.has(command));
            let words = || Words {
                touch: list.has("touch"),
                bury: list.has("bury"),
                delay: list.has("delay"),
                key: list.has("key"),
            };
            Ok(Some(if is_extended { Dialect::Extended(words()) } else { Dialect::Kestrel }))
        }
        Ok(_) => Ok(Some(Dialect::Kestrel)),
        Err(fault) if fault.cause == Cause::Broken && fault.is_sent => Ok(None),
        // Nothing of the caller's was sent.
        Err(fault) => Err(Fault { is_sent: false, ..fault }),
    }
}

/// The part of the remaining time that one attempt may use: half of it while another server is
/// untried.
fn share(deadline: Instant, others_untried: bool) -> Instant {
    if !others_untried {
        return deadline;
    }
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// True if another server of the same standing (living or ejected) follows in `rest`.
fn has_peer(order: &Order, at: usize, rest: &[usize]) -> bool {
    let peers = if order.living.contains(&at) { &order.living } else { &order.ejected };
    rest.iter().any(|other| peers.contains(other))
}

fn checked(name: &[u8]) -> Result<NameRef<'_>, Error> {
    Name::check(name).map_err(|problem| {
        let text = format!("invalid queue name {}: {problem}", shown(name));
        Error::new(ErrorKind::InvalidArgument, text)
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Sleeps until `end`; a signal may end it early.
fn sleep_until(end: Instant) {
    if Instant::now() < end {
        // Polling no socket cannot fail in a way that matters: the pause is a courtesy.
        let _ = wait_any(&[], end);
    }
}
