//! The server's replies, and their bytes.
//!
//! Invariants
//! - A reply is head, then body, then tail; most have only a head. The body is never copied by
//!   [`Response::head`], so the caller can hand it to `writev`.
//! - Whatever text a caller passes in, a reply is well-formed: control characters become `?`, long
//!   reasons are cut.
//!
//! Must not: decide which reply a request gets.

use core::fmt::{self, Write as _};

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::number::put_u64;
use crate::{CAPABILITY_WORDS, ClientError, Fatal};

/// A reason: fixed, or made for the occasion.
pub type Text = Cow<'static, str>;

/// Longer reasons are cut, so that a reply line stays far below what clients accept.
const TEXT_BYTES_MAX: usize = 1024;

/// One reply, or one part of the reply to `reserve` (items, then [`Response::End`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// `STORED`
    Stored,
    /// `STORED <id>`: the answer to `put`.
    StoredId(u64),
    /// `NOT_STORED`: the answer to `set`; old clients compare the whole line.
    NotStored,
    /// `NOT_STORED <reason>`: the answer to `put`.
    NotStoredBecause(Text),
    /// `VALUE <key> <flags> <bytes>[ <cas>]`, the body, and the `END` that follows it.
    ValueEnd {
        /// Queue name without options.
        key: Bytes,
        /// As they were put.
        flags: u32,
        /// The item.
        body: Bytes,
        /// The fourth number of `gets`; Kestrel has none.
        cas: Option<u64>,
    },
    /// `ITEM <key> <id> <flags> <attempts> <age_ms> <bytes>` and the body; no `END`.
    Item {
        /// The queue it came from.
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
    /// `END`
    End,
    /// `DELETED`
    Deleted,
    /// `Flushed all queues.`
    Flushed,
    /// Whole lines; [`Response::End`] follows after the last of them.
    Lines(Bytes),
    /// A number alone: the answer to `flush_expired`, or how many items a request was about.
    Count(u64),
    /// The server's status in capitals.
    Status(&'static str),
    /// `Reloaded config.`
    Reloaded,
    /// Nothing: the connection is closed instead.
    Nothing,
    /// `MN`
    MetaNoop,
    /// The answer to [`crate::Request::Fetch`]; no line protocol has it.
    Fetched(Vec<Fetched>),
    /// The answer to [`crate::Request::QueueInfo`]; no line protocol has it.
    QueueInfo(Box<QueueInfo>),
    /// `VERSION <version>`
    Version(&'static str),
    /// `CAPABILITIES kqueue/<version> <words>`; the version is given.
    Capabilities(&'static str),
    /// `OK`
    Ok,
    /// `NOT_HELD`
    NotHeld,
    /// `CLIENT_ERROR <reason>`
    ClientError(Text),
    /// `ERROR <reason>`
    Error(Text),
    /// `SERVER_ERROR <reason>`
    ServerError(Text),
}

/// An item that Thrift's `get` hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What `confirm` and `abort` take, unique since the server started; 0: there is nothing to confirm.
    pub id: i64,
    /// The item.
    pub body: Bytes,
}

/// What Thrift's `peek` tells of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInfo {
    /// The item that would be handed out next.
    pub head: Option<Bytes>,
    /// Waiting items.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// About what they take in the journal, in bytes.
    pub journal_bytes: u64,
    /// Milliseconds since the item that was removed last had been put.
    pub age_ms: u64,
    /// Clients that wait.
    pub waiters: u64,
    /// Items handed out tentatively.
    pub open_transactions: u64,
}

impl Response {
    /// Appends the bytes before the body: the whole reply if it has none.
    pub fn head(&self, out: &mut BytesMut) {
        match self {
            Self::Stored => out.put_slice(b"STORED\r\n"),
            Self::StoredId(id) => numbers(out, b"STORED", &[*id]),
            Self::NotStored => out.put_slice(b"NOT_STORED\r\n"),
            Self::NotStoredBecause(reason) => word_and_text(out, b"NOT_STORED", reason),
            Self::ValueEnd { key, flags, body, cas } => {
                word_and_key(out, b"VALUE ", key);
                let bytes = body.len() as u64;
                match cas {
                    None => numbers(out, b"", &[u64::from(*flags), bytes]),
                    Some(cas) => numbers(out, b"", &[u64::from(*flags), bytes, *cas]),
                }
            }
            Self::Item { key, id, flags, attempts, age_ms, body } => {
                word_and_key(out, b"ITEM ", key);
                let (flags, attempts) = (u64::from(*flags), u64::from(*attempts));
                numbers(out, b"", &[*id, flags, attempts, *age_ms, body.len() as u64]);
            }
            Self::End => out.put_slice(b"END\r\n"),
            Self::Deleted => out.put_slice(b"DELETED\r\n"),
            Self::Flushed => out.put_slice(b"Flushed all queues.\r\n"),
            Self::Lines(_) | Self::Nothing => {}
            Self::Count(count) => {
                put_u64(out, *count);
                out.put_slice(b"\r\n");
            }
            Self::Status(status) => {
                out.put_slice(status.as_bytes());
                out.put_slice(b"\r\n");
            }
            Self::Reloaded => out.put_slice(b"Reloaded config.\r\n"),
            Self::MetaNoop => out.put_slice(b"MN\r\n"),
            Self::Fetched(_) | Self::QueueInfo(_) => {
                debug_assert!(false, "no line protocol asks for it");
                out.put_slice(b"SERVER_ERROR this answer has no words here\r\n");
            }
            Self::Version(version) => word_and_text(out, b"VERSION", version),
            Self::Capabilities(version) => {
                out.put_slice(b"CAPABILITIES kqueue/");
                text(out, version);
                word_and_text(out, b"", CAPABILITY_WORDS);
            }
            Self::Ok => out.put_slice(b"OK\r\n"),
            Self::NotHeld => out.put_slice(b"NOT_HELD\r\n"),
            Self::ClientError(reason) => word_and_text(out, b"CLIENT_ERROR", reason),
            Self::Error(reason) => word_and_text(out, b"ERROR", reason),
            Self::ServerError(reason) => word_and_text(out, b"SERVER_ERROR", reason),
        }
    }

    /// The bytes between head and tail, by reference.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::ValueEnd { body, .. } | Self::Item { body, .. } | Self::Lines(body) => Some(body),
            _ => None,
        }
    }

    /// The bytes after the body; empty if there is none.
    pub fn tail(&self) -> &'static [u8] {
        match self {
            Self::ValueEnd { .. } => b"\r\nEND\r\n",
            Self::Item { .. } => b"\r\n",
            _ => b"",
        }
    }

    /// Appends the whole reply; the body is copied.
    pub fn encode(&self, out: &mut BytesMut) {
        self.head(out);
        if let Some(body) = self.body() {
            out.reserve(body.len() + self.tail().len());
            out.put_slice(body);
            out.put_slice(self.tail());
        }
    }
}

impl From<&ClientError> for Response {
    fn from(error: &ClientError) -> Self {
        Self::ClientError(error.text())
    }
}

impl From<&Fatal> for Response {
    fn from(fatal: &Fatal) -> Self {
        Self::from(&fatal.error)
    }
}

/// Builds lines of the replies to `stats` and `dump_stats` in one buffer.
#[derive(Debug, Default)]
pub struct StatsWriter {
    out: BytesMut,
}

impl StatsWriter {
    /// No line yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is no line yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// `STAT <name> <value>`
    pub fn stat(&mut self, name: &str, value: impl fmt::Display) {
        self.out.put_slice(b"STAT ");
        self.finish_line(name, value);
    }

    /// `STAT queue_<queue>_<name> <value>`
    pub fn queue_stat(&mut self, queue: &[u8], name: &str, value: impl fmt::Display) {
        self.out.put_slice(b"STAT queue_");
        self.out.put_slice(queue);
        self.out.put_u8(b'_');
        self.finish_line(name, value);
    }

    /// `queue '<name>' {`, of `dump_stats`.
    pub fn begin_block(&mut self, queue: &[u8]) {
        self.out.put_slice(b"queue '");
        self.out
            .extend(queue.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
        self.out.put_slice(b"' {\r\n");
    }

    /// `  <name>=<value>` in a block.
    pub fn block_stat(&mut self, name: &str, value: impl fmt::Display) {
        self.out.put_slice(b"  ");
        text(&mut self.out, name);
        self.out.put_u8(b'=');
        self.value(value);
    }

    /// The line of a block that has nothing in it.
    pub fn empty_block(&mut self) {
        self.out.put_slice(b"  \r\n");
    }

    /// `}`
    pub fn end_block(&mut self) {
        self.out.put_slice(b"}\r\n");
    }

    /// An empty line: what `dump_stats` says of no queues.
    pub fn empty_line(&mut self) {
        self.out.put_slice(b"\r\n");
    }

    /// The lines, without the `END` that follows them.
    pub fn finish(self) -> Response {
        Response::Lines(self.out.freeze())
    }

    fn finish_line(&mut self, name: &str, value: impl fmt::Display) {
        text(&mut self.out, name);
        self.out.put_u8(b' ');
        self.value(value);
    }

    fn value(&mut self, value: impl fmt::Display) {
        // Writing into memory cannot fail; a Display that claims it did loses only its own text.
        let _ = write!(TextSink(&mut self.out), "{value}");
        self.out.put_slice(b"\r\n");
    }
}

/// Lets a `Display` write into a line without breaking it.
struct TextSink<'a>(&'a mut BytesMut);

impl fmt::Write for TextSink<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        text(self.0, part);
        Ok(())
    }
}

fn word_and_key(out: &mut BytesMut, word: &[u8], key: &[u8]) {
    // One growth for the whole line: 6 numbers of at most 20 digits.
    out.reserve(word.len() + key.len() + 130);
    out.put_slice(word);
    out.put_slice(key);
}

/// `<word> <n> <n>...`, end of line.
fn numbers(out: &mut BytesMut, word: &[u8], numbers: &[u64]) {
    out.put_slice(word);
    for &number in numbers {
        out.put_u8(b' ');
        put_u64(out, number);
    }
    out.put_slice(b"\r\n");
}

/// `<word>[ <text>]`, end of line.
fn word_and_text(out: &mut BytesMut, word: &[u8], reason: &str) {
    out.put_slice(word);
    if !reason.is_empty() {
        out.put_u8(b' ');
        text(out, reason);
    }
    out.put_slice(b"\r\n");
}

/// Text that stays on its line.
pub(crate) fn text(out: &mut BytesMut, text: &str) {
    let mut cut = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    out.extend(text[..cut].bytes().map(|byte| if byte.is_ascii_control() { b'?' } else { byte }));
}

#[cfg(test)]
mod tests;
