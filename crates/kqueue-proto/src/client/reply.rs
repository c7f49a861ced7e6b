//! What a server can answer.
//!
//! Must not: hold anything unbounded; every text is one reply line at most.

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;

use bytes::Bytes;

use crate::{Cursor, Found};

/// One reply, or one part of a reply that ends with [`Reply::End`] or [`Reply::EndWithCursor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `STORED`, to `put` with the item's id.
    Stored(Option<u64>),
    /// `NOT_STORED`, with a reason or without.
    NotStored(Option<String>),
    /// `VALUE`; [`Reply::End`] follows as a reply of its own.
    Value {
        /// As the server names it; compare it with what was asked for.
        key: Bytes,
        /// As they were put.
        flags: u32,
        /// The item.
        body: Bytes,
    },
    /// `ITEM`; more of them or [`Reply::End`] follow.
    Item {
        /// The queue; compare it with those that were asked for.
        key: Bytes,
        /// What `ack` and `release` take.
        id: u64,
        /// As they were put.
        flags: u32,
        /// How often it has been delivered, this time included.
        attempts: u32,
        /// Milliseconds since it was put.
        age_ms: u64,
        /// The item.
        body: Bytes,
    },
    /// `FOUND`; more of them or [`Reply::End`] or [`Reply::EndWithCursor`] follow.
    Found(Box<Found>),
    /// `END`
    End,
    /// `END <cursor>`: there may be more behind it.
    EndWithCursor(Cursor),
    /// `DELETED`
    Deleted,
    /// `Flushed all queues.`
    Flushed,
    /// `STAT <name> <value>`; more of them or [`Reply::End`] follow.
    Stat {
        /// One word.
        name: Bytes,
        /// The rest of the line, possibly empty.
        value: Bytes,
    },
    /// `queue '<queue>' {`, to `dump_stats`: [`Reply::Figure`]s or a [`Reply::Blank`], and
    /// [`Reply::QueueEnd`] follow.
    QueueBegin(Bytes),
    /// `  <name>=<value>`, to `dump_stats`.
    Figure {
        /// Not empty.
        name: Bytes,
        /// The rest of the line, possibly empty.
        value: Bytes,
    },
    /// `}`, to `dump_stats`; another queue or [`Reply::End`] follow.
    QueueEnd,
    /// An empty line: what `dump_stats` says of a queue that is not there.
    Blank,
    /// `VERSION <version>`
    Version(Bytes),
    /// `CAPABILITIES <server> <word>...`
    Capabilities(Capabilities),
    /// `OK`
    Ok,
    /// `OK <n>`: so many items.
    OkCount(u64),
    /// `NOT_HELD`: this connection does not hold that item; nothing was changed.
    NotHeld,
    /// `NOT_FOUND`: no dead letter has this id.
    NotFound,
    /// `UP`, `WRITEAVOID`, `READONLY` or `QUIESCENT`: what the server's status is.
    Status(Bytes),
    /// `CLIENT_ERROR`, printable text, possibly empty.
    ClientError(String),
    /// `ERROR`, printable text, possibly empty.
    Error(String),
    /// `SERVER_ERROR`, printable text, possibly empty.
    ServerError(String),
}

/// What a server says it can do. The default is a server that knows Kestrel's commands only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `<server> <word> <word>...`; empty if unknown.
    line: Bytes,
}

/// The bounds fed to a [`super::ReplyDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Longest reply line in bytes, its CRLF not counted.
    pub line_bytes: usize,
    /// Largest body that is taken.
    pub body_bytes: usize,
}

/// The peer does not speak the protocol, or not within the limits. The connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No reply this client knows.
    Malformed {
        /// The beginning of it, printable.
        excerpt: String,
    },
    /// A line longer than [`ReplyLimits::line_bytes`].
    LineTooLong {
        /// The beginning of it, printable.
        excerpt: String,
    },
    /// A body was announced that is larger than [`ReplyLimits::body_bytes`].
    BodyTooLarge {
        /// The announced size.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
}

impl Capabilities {
    pub(crate) fn new(line: Bytes) -> Self {
        Self { line }
    }

    /// Name and version of the server, as in `kqueue/0.1.0`; empty if unknown.
    pub fn server(&self) -> &[u8] {
        self.line.split(|&byte| byte == b' ').next().unwrap_or_default()
    }

    /// Whether the server lists this command or option.
    pub fn has(&self, word: &str) -> bool {
        self.line.split(|&byte| byte == b' ').skip(1).any(|listed| listed == word.as_bytes())
    }
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line_bytes: 8 * 1024, body_bytes: i32::MAX as usize }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { excerpt } => write!(f, "unexpected reply '{excerpt}'"),
            Self::LineTooLong { excerpt } => write!(f, "reply line too long: '{excerpt}'"),
            Self::BodyTooLarge { bytes, limit } => {
                write!(f, "reply of {bytes} bytes is larger than the limit of {limit}")
            }
        }
    }
}

impl core::error::Error for ReplyError {}
