//! What a client can ask, after parsing, in whichever protocol it was asked.
//!
//! Invariant: a request that exists is complete (its body has arrived or was swallowed) and its
//! numbers are in range. Keys of Kestrel's commands are raw: whether a bad name is an error or
//! just an absent queue depends on the command, and that is not syntax. Keys of the extended
//! commands are checked [`Name`]s.
//!
//! Must not: say what a request does.

use core::fmt;

use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{ClientError, Name};

/// One decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `set <key> <flags> <expiry> <bytes> [noreply]`
    Set {
        /// Raw queue name, to be checked by whoever executes it.
        key: Bytes,
        /// Opaque to the server, returned with the item.
        flags: u32,
        /// When the item expires.
        expiry: Expiry,
        /// The item.
        body: Body,
        /// No reply of any kind may be sent.
        noreply: bool,
    },
    /// `get <key>[/option...]`, `gets`
    Get {
        /// Raw queue name without the options; never empty.
        key: Bytes,
        /// What stood behind the name.
        options: GetOptions,
        /// It was `gets`.
        with_cas: bool,
    },
    /// `delete <key> [noreply]`
    Delete {
        /// Raw queue name.
        key: Bytes,
        /// No reply may be sent.
        noreply: bool,
    },
    /// `flush <key>`
    Flush {
        /// Raw queue name.
        key: Bytes,
    },
    /// `flush_all [noreply]`
    FlushAll {
        /// No reply may be sent.
        noreply: bool,
    },
    /// `monitor <key> <seconds> [max]`: items as they come, held as by `get .../open`.
    Monitor {
        /// Raw queue name.
        key: Bytes,
        /// How long to go on, in milliseconds.
        wait_ms: u64,
        /// End after so many items; `None`: as many as may be open.
        max: Option<u32>,
        /// Confirm what is open of this queue first (the text protocol does).
        close_all: bool,
    },
    /// `confirm <key> <count>`
    Confirm {
        /// Raw queue name.
        key: Bytes,
        /// How many, oldest first; within the range of an `i32`.
        count: i32,
    },
    /// `flush_expired <key>`
    FlushExpired {
        /// Raw queue name.
        key: Bytes,
    },
    /// `flush_all_expired`
    FlushAllExpired,
    /// `stats`
    Stats,
    /// `dump_stats [<key>...]`
    DumpStats {
        /// Raw queue names; empty: all queues.
        keys: Vec<Bytes>,
    },
    /// `status [<name>]`
    Status {
        /// What the server is to become; `None`: the client asks what it is.
        set: Option<Bytes>,
    },
    /// `reload`
    Reload,
    /// `shutdown`
    Shutdown,
    /// `verbosity ... [noreply]`, of memcached: nothing happens.
    Verbosity {
        /// No reply may be sent.
        noreply: bool,
    },
    /// `mn`, of memcached: answered `MN`, nothing happens.
    MetaNoop,
    /// `version`
    Version,
    /// `quit`
    Quit,
    /// A request that cannot be understood, but whose end is known: answer `CLIENT_ERROR`, go on.
    Malformed {
        /// The reason to answer with.
        error: ClientError,
        /// The client asked for no reply, and would be out of step if it got one.
        noreply: bool,
    },
    /// `capabilities`
    Capabilities,
    /// `put <key> <bytes> [ttl=<seconds>] [flags=<n>]`
    Put {
        /// The queue.
        key: Name,
        /// Seconds until the item expires; 0 never.
        ttl_seconds: u32,
        /// Opaque to the server, returned with the item.
        flags: u32,
        /// The item.
        body: Body,
    },
    /// `reserve <max> <wait_ms> <lease_ms> <key>...`
    Reserve {
        /// At most so many items; at least 1.
        max: u32,
        /// How long to wait for the first item; 0 not at all.
        wait_ms: u32,
        /// When the items return by themselves; 0: when the connection closes.
        lease_ms: u32,
        /// 1 to 16 queues, tried in this order.
        keys: SmallVec<[Name; 1]>,
    },
    /// `ack <key> <id>`
    Ack {
        /// The queue.
        key: Name,
        /// The item.
        id: u64,
    },
    /// `release <key> <id>`
    Release {
        /// The queue.
        key: Name,
        /// The item.
        id: u64,
    },
    /// Thrift's `put`: items in order, up to the first that is refused.
    PutAll {
        /// Raw queue name.
        key: Bytes,
        /// When they expire.
        expiry: Expiry,
        /// The items.
        bodies: Vec<Body>,
    },
    /// Thrift's `get`: items until there are `max` or the time is over.
    Fetch {
        /// Raw queue name.
        key: Bytes,
        /// At most so many.
        max: u32,
        /// How long to wait for them, in milliseconds; 0 not at all.
        wait_ms: u32,
        /// When they return by themselves, in milliseconds after the reply; 0: they are removed.
        auto_abort_ms: u32,
    },
    /// Thrift's `confirm` and `abort`, of items that any connection fetched.
    Settle {
        /// What [`crate::Response::Fetched`] named.
        ids: Vec<i64>,
        /// Give them back instead of confirming them.
        abort: bool,
    },
    /// Thrift's `peek`: the queue's head and figures.
    QueueInfo {
        /// Raw queue name.
        key: Bytes,
    },
}

/// When an item expires, as the protocols say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Kestrel's number: 0 never; below 1 000 000 seconds from now (negative: already expired);
    /// otherwise absolute unix seconds. Within the range of an `i32`.
    Kestrel(i32),
    /// So many milliseconds from now; 0 never.
    AfterMs(u64),
}

/// The body of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The item, in an allocation of its own.
    Bytes(Bytes),
    /// It was larger than [`crate::Limits::item_bytes`] and has been swallowed.
    TooLarge {
        /// The announced size.
        bytes: u64,
    },
    /// The server could not keep it ([`crate::Codec::refuse_body`]), and it has been swallowed.
    NoRoom,
}

/// What may stand behind the queue name of a `get`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GetOptions {
    /// `t=<ms>`: how long to wait for an item; 0 not at all.
    pub wait_ms: u32,
    /// Reserve the item instead of removing it.
    pub open: bool,
    /// Confirm the oldest open read of this queue first.
    pub close: bool,
    /// Give the oldest open read of this queue back.
    pub abort: bool,
    /// Look at the head without removing it.
    pub peek: bool,
    /// Confirm all open reads of this queue first; the text protocol does, `get` has no word for it.
    pub close_all: bool,
}

/// Options of a `get` that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOptions;

impl GetOptions {
    /// `peek` and `abort` go neither with `open` or `close` nor with each other.
    ///
    /// # Errors
    /// [`BadOptions`] if they do.
    pub fn check(&self) -> Result<(), BadOptions> {
        let moves = self.open || self.close;
        if (self.peek && (self.abort || moves)) || (self.abort && moves) {
            return Err(BadOptions);
        }
        Ok(())
    }
}

impl fmt::Display for BadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options exclude each other")
    }
}

impl core::error::Error for BadOptions {}
