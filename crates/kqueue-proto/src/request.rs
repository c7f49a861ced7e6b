//! What a client can ask, after parsing.
//!
//! Invariant: a request that exists is complete (its body has arrived or was swallowed) and its
//! numbers are in range. Keys of Kestrel's commands are raw: whether a bad name is an error or
//! just an absent queue depends on the command, and that is not syntax. Keys of the extended
//! commands are checked [`Name`]s.
//!
//! Must not: say what a request does.

use core::fmt;

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
        /// As sent: 0 never; below 1 000 000 seconds from now (negative: already expired);
        /// otherwise absolute unix seconds. Within the range of an `i32`.
        expiry: i64,
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
    /// `stats`
    Stats,
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
