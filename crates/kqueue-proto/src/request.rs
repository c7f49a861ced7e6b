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

use bytes::{BufMut, Bytes};
use smallvec::SmallVec;

use crate::number::{parse_u64, put_u64};
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
    /// `put <key> <bytes> [<option>...]`
    Put {
        /// The queue.
        key: Name,
        /// Seconds until the item expires; 0 never.
        ttl_seconds: u32,
        /// Opaque to the server, returned with the item.
        flags: u32,
        /// Milliseconds until the item is ready, at most [`DELAY_MS_MAX`]; 0: it is at once.
        delay_ms: u64,
        /// Before which others it is handed out.
        priority: Priority,
        /// A put with the same key is the same put; 1 to [`KEY_BYTES_MAX`] bytes.
        idempotency_key: Option<Bytes>,
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
    /// `release <key> <id> [delay=<ms>]`
    Release {
        /// The queue.
        key: Name,
        /// The item.
        id: u64,
        /// Milliseconds until it is ready again, at most [`DELAY_MS_MAX`]; `None`: as the queue's settings say.
        delay_ms: Option<u64>,
    },
    /// `touch <key> <id> <lease_ms>`
    Touch {
        /// The queue.
        key: Name,
        /// The item.
        id: u64,
        /// When it returns by itself, from now; 0: as if it had been reserved with 0.
        lease_ms: u32,
    },
    /// `bury <key> <id> <bytes>` and the reason.
    Bury {
        /// The queue.
        key: Name,
        /// The item.
        id: u64,
        /// What is said of it; at most [`REASON_BYTES_MAX`].
        reason: Bytes,
    },
    /// `browse <key> <state> <max> [after=<cursor>] [body=<bytes>]`
    Browse {
        /// The queue.
        key: Name,
        /// Which of its items.
        state: ItemState,
        /// At most so many; at least 1.
        max: u32,
        /// Go on behind this.
        after: Option<Cursor>,
        /// No more of each body.
        body_bytes: Option<u32>,
    },
    /// `kick <key> <n>|all|id=<id>`
    Kick {
        /// The queue.
        key: Name,
        /// Which of its dead letters.
        which: Kick,
    },
    /// `purge <key> ready|delayed|dead|all`
    Purge {
        /// The queue.
        key: Name,
        /// Which of its items.
        what: Purge,
    },
    /// `pause <key>`
    Pause {
        /// The queue.
        key: Name,
    },
    /// `resume <key>`
    Resume {
        /// The queue.
        key: Name,
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

/// The longest delay: ten years, in milliseconds.
pub const DELAY_MS_MAX: u64 = 315_360_000_000;
/// The longest key of a put, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// The longest reason of `bury`, in bytes.
pub const REASON_BYTES_MAX: u64 = 1024;

/// Items of a higher level are handed out before all of lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// `high`
    High,
    /// `normal`
    #[default]
    Normal,
    /// `low`
    Low,
}

/// What an item of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// `ready`
    Ready,
    /// `delayed`
    Delayed,
    /// `open`
    Open,
    /// `dead`
    Dead,
}

impl Priority {
    const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// As it is written.
    pub fn word(self) -> &'static [u8] {
        match self {
            Self::High => b"high",
            Self::Normal => b"normal",
            Self::Low => b"low",
        }
    }

    /// `None`: it is none of the words.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.word() == word)
    }
}

impl ItemState {
    const ALL: [Self; 4] = [Self::Ready, Self::Delayed, Self::Open, Self::Dead];

    /// As it is written.
    pub fn word(self) -> &'static [u8] {
        match self {
            Self::Ready => b"ready",
            Self::Delayed => b"delayed",
            Self::Open => b"open",
            Self::Dead => b"dead",
        }
    }

    /// `None`: it is none of the words.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl Cursor {
    /// `None`: no server has written it.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let dot = word.iter().position(|&byte| byte == b'.')?;
        Some(Self(parse_u64(&word[..dot])?, parse_u64(&word[dot + 1..])?))
    }

    /// Appends it as [`Self::parse`] reads it.
    pub(crate) fn put(self, out: &mut impl BufMut) {
        put_u64(out, self.0);
        out.put_u8(b'.');
        put_u64(out, self.1);
    }
}

/// How far a `browse` has come, opaque to clients: `<n>.<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub u64, pub u64);

/// Which dead letters become items again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// `all`
    All,
    /// The oldest ones, so many; at least 1.
    Some(u32),
    /// The one with this id.
    Id(u64),
}

impl Purge {
    const ALL: [Self; 4] = [Self::Ready, Self::Delayed, Self::Dead, Self::All];

    /// As it is written.
    pub fn word(self) -> &'static [u8] {
        match self {
            Self::Ready => b"ready",
            Self::Delayed => b"delayed",
            Self::Dead => b"dead",
            Self::All => b"all",
        }
    }

    /// `None`: it is none of the words.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.word() == word)
    }
}

/// Which items are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// `ready`
    Ready,
    /// `delayed`
    Delayed,
    /// `dead`
    Dead,
    /// `all` of these.
    All,
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
