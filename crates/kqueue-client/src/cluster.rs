//! API draft.
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::error::{Error, ErrorKind, PushError};
use crate::held::Held;
use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::pools::{Health, Pools};

/// Several independent servers as one.
pub struct Cluster {
    #[allow(dead_code)]
    pools: Pools,
    addresses: Vec<Address>,
    options: Options,
}

/// What one server says of itself, and what this process knows of it.
#[derive(Debug)]
pub struct ServerStats {
    /// As it was given.
    pub address: Address,
    /// Name and value as the server sent them, in its order; or why it did not.
    pub stats: Result<Vec<(String, String)>, Error>,
    /// This process's view.
    pub health: Health,
}

impl Cluster {
    /// Connects nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]: no address, or [`Options::validate`].
    pub fn new(pools: Pools, addresses: Vec<Address>, options: Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self { pools, addresses, options })
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
    pub fn check_queue_name(_name: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    /// Stores one item on one living server; the id is never empty. `ttl_seconds` 0: never expires.
    pub fn put(&self, _queue: &[u8], _body: &[u8], _ttl_seconds: u32) -> Result<String, Error> {
        unavailable()
    }
    /// Stores many, pipelined. The iterator is advanced as the servers take the items; it may run the caller's code.
    pub fn put_many<K, B, I>(
        &self,
        _queue: &[u8],
        _ttl_seconds: u32,
        _items: I,
    ) -> Result<Vec<(K, String)>, PushError<K>>
    where
        B: AsRef<[u8]>,
        I: IntoIterator<Item = (K, B)>,
    {
        Err(PushError {
            stored: Vec::new(),
            failed: Vec::new(),
            source: unavailable::<()>().unwrap_err(),
        })
    }
    /// Takes one item for good.
    pub fn pop(
        &self,
        _queue: &[u8],
        _wait: Duration,
        _interrupt: &dyn Interrupt,
    ) -> Result<Option<Bytes>, Error> {
        unavailable()
    }
    /// Takes up to `max` items tentatively; waits only for the first. Empty: nothing came in `wait`, or interrupted.
    /// `lease` zero: until the connection closes.
    pub fn reserve(
        &self,
        _queues: &[&[u8]],
        _max: u32,
        _wait: Duration,
        _lease: Duration,
        _interrupt: &dyn Interrupt,
    ) -> Result<Vec<Held>, Error> {
        unavailable()
    }
    /// The head item's body, left where it is.
    pub fn peek(&self, _queue: &[u8]) -> Result<Option<Bytes>, Error> {
        unavailable()
    }
    /// Items waiting, summed over living servers.
    pub fn size(&self, _queue: &[u8]) -> Result<u64, Error> {
        unavailable()
    }
    /// Discards all waiting items on all servers.
    pub fn purge(&self, _queue: &[u8]) -> Result<(), Error> {
        unavailable()
    }
    /// Deletes the queue on all servers.
    pub fn delete(&self, _queue: &[u8]) -> Result<(), Error> {
        unavailable()
    }
    /// One entry per server, in the order given.
    #[must_use]
    pub fn stats(&self) -> Vec<ServerStats> {
        Vec::new()
    }
    /// Round-trip time per server, None where it does not answer.
    #[must_use]
    pub fn ping(&self) -> Vec<(Address, Option<Duration>)> {
        Vec::new()
    }
    /// Returns what is still reserved through this cluster and gives its connections back to the pool.
    pub fn close(&self) {}
}

fn unavailable<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Connection, String::new()))
}
