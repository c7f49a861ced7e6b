//! Everything this process keeps between calls: idle connections, what is known of the servers,
//! counters, the random numbers.
//!
//! Invariants:
//! - idle connections are clean, bounded in number and age, and used last in, first out;
//! - one idle for more than a second is looked at before use: readable or closed means dropped;
//! - a connection is taken out for use, and only [`Pools::check_in`] of a clean one brings it back;
//! - after `fork`, the child drops what it inherited without sending a byte and starts its counters
//!   at zero;
//! - cells are borrowed for single statements: never during I/O or foreign code.
//!
//! Must not: decide which server to ask (`cluster` does) or retry anything.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::address::Address;
use crate::link::Link;
use crate::options::Options;
use crate::rng::Rng;
use crate::server::Server;

/// Idle for longer than this, a connection is looked at before use.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How often the connections of other clusters are checked for their age.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What a process keeps; a cheap handle. One per process or thread: it is not `Send`.
#[derive(Clone)]
pub struct Pools(Rc<Shared>);

struct Shared {
    pid: Cell<u32>,
    pid_source: Box<dyn Fn() -> u32>,
    started: Instant,
    rng: RefCell<Rng>,
    ids: Cell<u64>,
    servers: RefCell<HashMap<Address, Rc<Server>>>,
    shared_nodes: RefCell<HashMap<PoolKey, Rc<Node>>>,
    /// Of clusters that are not persistent: their connections go with them.
    private_nodes: RefCell<Vec<Weak<Node>>>,
    counters: Cell<Counters>,
    swept: Cell<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    address: Address,
    persistent_id: String,
    max_body_bytes: usize,
}

/// One server and the idle connections to it of one pool.
pub(crate) struct Node {
    pub(crate) server: Rc<Server>,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    link: Link,
    expires: Instant,
}

/// Sums since the process (or the forked child) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Idle connections used again.
    pub reused: u64,
    /// Idle connections dropped because the server had closed them or sent something.
    pub stale: u64,
    /// Idle connections dropped because they were too old or too many.
    pub retired: u64,
    /// Connections inherited over a fork and dropped unsent.
    pub inherited: u64,
    /// Failed attempts: no connection, broken, silent, garbage.
    pub failures: u64,
    /// Requests sent again, to another server or to the same one.
    pub retried: u64,
    /// Waits given up by closing their connection, because another server or a signal was first.
    pub cancelled: u64,
    /// Connections idle now.
    pub idle: u64,
}

/// This process's view of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// False while it is ejected.
    pub is_up: bool,
    /// True while pushes avoid it, because it refused one (read-only, disk full).
    pub refuses_pushes: bool,
    /// True: it speaks the extended commands; false: Kestrel's; `None`: not known yet.
    pub is_extended: Option<bool>,
    /// Idle connections of this pool.
    pub idle_connections: usize,
    /// Connections opened.
    pub opened: u64,
    /// Failed attempts.
    pub failures: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

impl Pools {
    /// `seed` feeds the choice of servers, backoff jitter and local ids: different for every
    /// process.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_pid_source(seed, std::process::id)
    }

    /// As [`Self::new`], with another way to learn the process id (asked at each use): for tests of
    /// what happens after `fork`.
    #[must_use]
    pub fn with_pid_source(seed: u64, pid_source: impl Fn() -> u32 + 'static) -> Self {
        let now = Instant::now();
        let pid = pid_source();
        let mut rng = Rng::new(seed);
        rng.mix(pid.into());
        Self(Rc::new(Shared {
            pid: Cell::new(pid),
            pid_source: Box::new(pid_source),
            started: now,
            rng: RefCell::new(rng),
            ids: Cell::new(0),
            servers: RefCell::default(),
            shared_nodes: RefCell::default(),
            private_nodes: RefCell::default(),
            counters: Cell::default(),
            swept: Cell::new(now),
        }))
    }

    /// Drops what was inherited over a `fork`, unsent, and resets the counters; returns the process
    /// id. Every call does this by itself.
    pub fn check_pid(&self) -> u32 {
        let pid = (self.0.pid_source)();
        if pid != self.0.pid.replace(pid) {
            let inherited: usize = self.nodes().iter().map(|node| node.clear()).sum();
            self.0.counters.set(Counters { inherited: inherited as u64, ..Counters::default() });
            let mut rng = self.0.rng.borrow_mut();
            rng.mix(pid.into());
            // A parent that forks often sees its children's numbers again; their keys must not come
            // again, or a server takes a new item for a second copy.
            rng.mix(unix_nanos());
        }
        pid
    }

    /// Closes every idle connection.
    pub fn close_all(&self) {
        self.check_pid();
        for node in self.nodes() {
            node.clear();
        }
    }

    /// The sums.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.check_pid();
        let idle = self.nodes().iter().map(|node| node.idle.borrow().len() as u64).sum();
        Counters { idle, ..self.0.counters.get() }
    }

    /// Milliseconds since these pools were made: the clock of the breakers.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.rng.borrow_mut())
    }

    /// An id for an item whose server gives none, and the key of a push: unique over processes by
    /// its random half, in this process by its count.
    pub(crate) fn local_id(&self) -> String {
        let count = self.0.ids.get() + 1;
        self.0.ids.set(count);
        let mut text = String::with_capacity(1 + 16 + 1 + 16);
        text.push('k');
        push_hex(&mut text, self.random(Rng::next_u64), 16);
        text.push('-');
        push_hex(&mut text, count, 1);
        text
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.0.counters.get();
        change(&mut counters);
        self.0.counters.set(counters);
    }

    /// The node of `address` for these options; persistent ones are shared.
    pub(crate) fn node(&self, address: &Address, options: &Options) -> Rc<Node> {
        let server = Rc::clone(
            self.0
                .servers
                .borrow_mut()
                .entry(address.clone())
                .or_insert_with(|| Rc::new(Server::new(address.clone()))),
        );
        let fresh = Node { server, idle: RefCell::default() };
        if !options.persistent {
            let node = Rc::new(fresh);
            let mut private = self.0.private_nodes.borrow_mut();
            private.retain(|node| node.strong_count() > 0);
            private.push(Rc::downgrade(&node));
            return node;
        }
        let key = PoolKey {
            address: address.clone(),
            persistent_id: options.persistent_id.clone(),
            max_body_bytes: options.max_body_bytes,
        };
        Rc::clone(self.0.shared_nodes.borrow_mut().entry(key).or_insert_with(|| Rc::new(fresh)))
    }

    /// The idle connection used last, if one is fit for use.
    pub(crate) fn take_idle(&self, node: &Node) -> Option<Link> {
        loop {
            let idle = node.idle.borrow_mut().pop()?;
            let now = Instant::now();
            if idle.expires <= now {
                self.count(|counters| counters.retired += 1);
            } else if now - idle.link.last_used() > TRUSTED_IDLE && !idle.link.is_quiet() {
                self.count(|counters| counters.stale += 1);
            } else {
                self.count(|counters| counters.reused += 1);
                let mut link = idle.link;
                link.mark_reused();
                return Some(link);
            }
        }
    }

    /// Takes a connection back. One that is not clean is closed.
    pub(crate) fn check_in(&self, node: &Node, link: Link, options: &Options) {
        if !link.is_clean() || link.pid() != self.0.pid.get() {
            return;
        }
        let now = Instant::now();
        let retired = {
            let mut idle = node.idle.borrow_mut();
            idle.push(Idle { link, expires: now + options.max_idle });
            let expired = idle.iter().take_while(|idle| idle.expires <= now).count();
            let surplus = idle.len().saturating_sub(options.pool_max_connections);
            let retired: Vec<Idle> = idle.drain(..expired.max(surplus)).collect();
            retired.len()
        };
        self.count(|counters| counters.retired += retired as u64);
        if now.duration_since(self.0.swept.get()) >= SWEEP_EVERY {
            self.sweep(now);
        }
    }

    /// Closes the expired connections of all pools, and forgets pools that nobody uses.
    fn sweep(&self, now: Instant) {
        self.0.swept.set(now);
        for node in self.nodes() {
            let before = node.idle.borrow().len();
            node.idle.borrow_mut().retain(|idle| idle.expires > now);
            let retired = before - node.idle.borrow().len();
            self.count(|counters| counters.retired += retired as u64);
        }
        let mut shared = self.0.shared_nodes.borrow_mut();
        shared.retain(|_, node| Rc::strong_count(node) > 1 || !node.idle.borrow().is_empty());
    }

    fn nodes(&self) -> Vec<Rc<Node>> {
        let mut nodes: Vec<_> = self.0.shared_nodes.borrow().values().cloned().collect();
        nodes.extend(self.0.private_nodes.borrow().iter().filter_map(Weak::upgrade));
        nodes
    }
}

/// Appends a number, with zeros in front up to so many digits. Every push makes one: `format!` takes a sixth of its processor time outside of the kernel.
fn push_hex(text: &mut String, number: u64, least: usize) {
    let needed = (u64::BITS - number.leading_zeros()).div_ceil(4) as usize;
    for digit in (0..needed.max(least)).rev() {
        let value = (number >> (4 * digit)) & 0xf;
        text.push(char::from(b"0123456789abcdef"[value as usize]));
    }
}

fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Node {
    /// Closes its idle connections; how many there were.
    pub(crate) fn clear(&self) -> usize {
        let idle = self.idle.take();
        idle.len()
    }

    pub(crate) fn health(&self, now_ms: u64) -> Health {
        Health { idle_connections: self.idle.borrow().len(), ..self.server.health(now_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::push_hex;

    #[test]
    fn hexadecimal_as_format_has_it() {
        for number in [0, 1, 15, 16, 255, 0xabc, u64::from(u32::MAX), u64::MAX] {
            let mut text = String::new();
            push_hex(&mut text, number, 16);
            text.push(' ');
            push_hex(&mut text, number, 1);
            assert_eq!(text, format!("{number:016x} {number:x}"));
        }
    }
}
