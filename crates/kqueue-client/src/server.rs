//! What this process knows of one server: breakers, dialect, resolved addresses, counts. Shared by
//! all pools that use its address.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::address::{Address, Endpoint};
use crate::choice::Breaker;
use crate::link::Dialect;
use crate::pools::Health;
use crate::stream::resolve;

/// How long a resolved name is used. A failure to connect forgets it at once.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Server {
    address: Address,
    breaker: Cell<Breaker>,
    /// Open while pushes avoid it: it answered, but refused one for a reason that holds for every
    /// queue.
    push_breaker: Cell<Breaker>,
    dialect: Cell<Option<Dialect>>,
    resolved: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
    opened: Cell<u64>,
    failures: Cell<u64>,
    last_error: RefCell<Option<String>>,
}

impl Server {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            breaker: Cell::default(),
            push_breaker: Cell::default(),
            dialect: Cell::default(),
            resolved: RefCell::default(),
            opened: Cell::default(),
            failures: Cell::default(),
            last_error: RefCell::default(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.breaker.get().is_open(now_ms)
    }

    /// True from a failure until the next success.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.breaker.get().is_tripped()
    }

    pub(crate) fn refuses_pushes(&self, now_ms: u64) -> bool {
        self.push_breaker.get().is_open(now_ms)
    }

    pub(crate) fn probe_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.breaker.get().probe_at_ms(now_ms)
    }

    pub(crate) fn begin_attempt(&self, now_ms: u64, eject_ms: u64) {
        let mut breaker = self.breaker.get();
        breaker.begin_attempt(now_ms, eject_ms);
        self.breaker.set(breaker);
    }

    pub(crate) fn note_success(&self) {
        self.breaker.set(Breaker::default());
    }

    /// A failed attempt ejects it; what was learnt about it may be out of date.
    pub(crate) fn note_failure(&self, now_ms: u64, eject_ms: u64, text: &str) {
        let mut breaker = self.breaker.get();
        breaker.trip(now_ms, eject_ms);
        self.breaker.set(breaker);
        self.failures.set(self.failures.get() + 1);
        self.last_error.replace(Some(text.to_owned()));
        self.forget();
    }

    pub(crate) fn note_push_refused(&self, now_ms: u64, eject_ms: u64) {
        let mut breaker = self.push_breaker.get();
        breaker.trip(now_ms, eject_ms);
        self.push_breaker.set(breaker);
    }

    pub(crate) fn note_push_taken(&self) {
        let mut breaker = self.push_breaker.get();
        if breaker.is_tripped() {
            breaker.reset();
            self.push_breaker.set(breaker);
        }
    }

    pub(crate) fn note_opened(&self) {
        self.opened.set(self.opened.get() + 1);
    }

    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.dialect.get()
    }

    pub(crate) fn learn(&self, dialect: Dialect) {
        self.dialect.set(Some(dialect));
    }

    /// A connection broke: another program may answer at this address next time.
    pub(crate) fn forget(&self) {
        self.dialect.set(None);
        self.resolved.take();
    }

    /// Where to connect; empty for a unix socket.
    pub(crate) fn socket_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let Endpoint::Tcp { host, port } = self.address.endpoint() else { return Ok(Vec::new()) };
        if let Some((at, found)) = &*self.resolved.borrow()
            && at.elapsed() < RESOLVED_FOR
        {
            return Ok(found.clone());
        }
        let found = resolve(host, *port)?;
        self.resolved.replace(Some((Instant::now(), found.clone())));
        Ok(found)
    }

    pub(crate) fn health(&self, now_ms: u64) -> Health {
        Health {
            is_up: !self.is_ejected(now_ms),
            refuses_pushes: self.refuses_pushes(now_ms),
            is_extended: self.dialect.get().map(Dialect::is_extended),
            idle_connections: 0,
            opened: self.opened.get(),
            failures: self.failures.get(),
            last_error: self.last_error.borrow().clone(),
        }
    }
}
