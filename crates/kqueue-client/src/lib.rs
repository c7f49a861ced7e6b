//! Blocking client of KQueue: sessions, pools, retry, failover. No threads, no runtime, no global
//! state.
//!
//! The host (the PHP extension, a test, a bench) makes one [`Pools`] per process or thread and any
//! number of cheap [`Cluster`] values on it.
//!
//! Invariants:
//! - a connection is dirty from the first byte sent until the whole reply is parsed; a dirty one is
//!   closed, never pooled;
//! - no borrow of [`Pools`] is held during I/O or while the host's code (an iterator, an
//!   [`Interrupt`]) runs, so every call is re-entrant;
//! - after `fork` the child closes inherited sockets without writing to them;
//! - a call that fails never hides that its request may have had an effect:
//!   [`Error::outcome_unknown`].
//!
//! Must not: parse or print wire syntax (`kqueue-proto` does), spawn threads, read the environment,
//! log.

mod address;
mod choice;
mod cluster;
mod error;
mod held;
mod interrupt;
mod link;
mod options;
mod pools;
mod rng;
mod server;
mod session;
mod stream;

pub use address::{Address, DEFAULT_PORT};
pub use cluster::{Cluster, ServerStats};
pub use error::{Error, ErrorKind, PushError};
pub use held::Held;
pub use interrupt::{Interrupt, NeverInterrupted};
pub use options::{Failover, Options, RetryMode};
pub use pools::{Counters, Health, Pools};
