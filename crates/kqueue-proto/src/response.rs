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
use crate::{CAPABILITY_WORDS, ClientError, Cursor, Fatal, ItemState, Priority};

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
    /// `FOUND ...` and the body, of `browse`; no `END`.
    Found(Box<Found>),
    /// `END <cursor>`
    EndWithCursor(Cursor),
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
    /// `OK <n>`
    OkCount(u64),
    /// `NOT_HELD`
    NotHeld,
    /// `NOT_FOUND`
    NotFound,
    /// `CLIENT_ERROR <reason>`
    ClientError(Text),
    /// `ERROR <reason>`
    Error(Text),
    /// `SERVER_ERROR <reason>`
    ServerError(Text),
}

/// An item that `browse` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The queue that was asked for.
    pub key: Bytes,
    /// By which it is known.
    pub id: u64,
    /// What it is.
    pub state: ItemState,
    /// Bytes of the whole body.
    pub size: u64,
    /// As they were put.
    pub flags: u32,
    /// How often it has been delivered.
    pub attempts: u32,
    /// Milliseconds since it was put.
    pub age_ms: u64,
    /// Its level.
    pub priority: Priority,
    /// Milliseconds until it expires; `None`: never.
    pub ttl_ms: Option<u64>,
    /// Milliseconds until it is ready, if it is delayed.
    pub due_ms: Option<u64>,
    /// Milliseconds until its lease ends, if it has one.
    pub lease_ms: Option<u64>,
    /// How it died, if it is dead.
    pub dead: Option<FoundDead>,
    /// The queue it came from, and its id there.
    pub origin: Option<(Bytes, u64)>,
    /// As much of it as was asked for.
    pub body: Bytes,
}

/// How an item died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDead {
    /// Why.
    pub cause: DeadCause,
    /// When it was put first, unix time in milliseconds.
    pub first_ms: u64,
    /// When it died, unix time in milliseconds.
    pub last_ms: u64,
    /// What was said of it then.
    pub reason: Bytes,
}

/// Why an item is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadCause {
    /// `attempts`: it was delivered too often.
    Attempts,
    /// `buried`: a client said so.
    Buried,
}

impl DeadCause {
    /// As it is written.
    pub fn word(self) -> &'static [u8] {
        match self {
            Self::Attempts => b"attempts",
            Self::Buried => b"buried",
        }
    }

    /// `None`: it is none of the words.
    pub fn parse(word: &[u8]) -> Option<Self> {
        [Self::Attempts, Self::Buried].into_iter().find(|cause| cause.word() == word)
    }
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
            Self::Found(found) => found_line(out, found),
            Self::EndWithCursor(cursor) => {
                out.put_slice(b"END ");
                cursor.put(out);
                out.put_slice(b"\r\n");
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
            Self::OkCount(count) => numbers(out, b"OK", &[*count]),
            Self::NotFound => out.put_slice(b"NOT_FOUND\r\n"),
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
            Self::Found(found) => Some(&found.body),
            _ => None,
        }
    }

    /// The bytes after the body; empty if there is none.
    pub fn tail(&self) -> &'static [u8] {
        match self {
            Self::ValueEnd { .. } => b"\r\nEND\r\n",
            Self::Item { .. } | Self::Found(_) => b"\r\n",
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

/// `FOUND <key> <id> <state> <bytes> <name>=<value>...`, end of line.
fn found_line(out: &mut BytesMut, found: &Found) {
    word_and_key(out, b"FOUND ", &found.key);
    out.put_u8(b' ');
    put_u64(out, found.id);
    out.put_u8(b' ');
    out.put_slice(found.state.word());
    out.put_u8(b' ');
    put_u64(out, found.body.len() as u64);
    named(out, b"size", found.size);
    named(out, b"flags", u64::from(found.flags));
    named(out, b"attempts", u64::from(found.attempts));
    named(out, b"age_ms", found.age_ms);
    out.put_slice(b" priority=");
    out.put_slice(found.priority.word());
    let times =
        [(&b"ttl_ms"[..], found.ttl_ms), (b"due_ms", found.due_ms), (b"lease_ms", found.lease_ms)];
    for (name, ms) in times {
        if let Some(ms) = ms {
            named(out, name, ms);
        }
    }
    if let Some(dead) = &found.dead {
        out.put_slice(b" cause=");
        out.put_slice(dead.cause.word());
    }
    if let Some((queue, id)) = &found.origin {
        out.put_slice(b" origin=");
        out.put_slice(queue);
        named(out, b"origin_id", *id);
    }
    if let Some(dead) = &found.dead {
        named(out, b"first_ms", dead.first_ms);
        named(out, b"last_ms", dead.last_ms);
        if !dead.reason.is_empty() {
            out.put_slice(b" reason=");
            escaped(out, &dead.reason);
        }
    }
    out.put_slice(b"\r\n");
}

fn named(out: &mut BytesMut, name: &[u8], value: u64) {
    out.put_u8(b' ');
    out.put_slice(name);
    out.put_u8(b'=');
    put_u64(out, value);
}

/// Bytes as `%XX` that are not letters, digits or `-._~` (RFC 3986).
fn escaped(out: &mut BytesMut, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.put_u8(byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.put_slice(&[b'%', DIGITS[high], DIGITS[low]]);
        }
    }
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
