//! Requests to bytes.
//!
//! Invariant: a function either appends one whole request line, or appends nothing and says why.
//! The body is not copied: the caller sends the line, the body, and [`BODY_END`], in one `writev`.

use core::fmt;

use alloc::vec::Vec;

use crate::number::put_u64;
use crate::{
    BODY_BYTES_MAX, BadOptions, Cursor, DELAY_MS_MAX, GetOptions, ItemState, KEY_BYTES_MAX, Kick,
    Limits, NameRef, Priority, Purge, REASON_BYTES_MAX, RESERVE_QUEUES_MAX,
};

/// What follows every body.
pub const BODY_END: &[u8] = b"\r\n";

/// Why a request cannot be sent to any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The body is larger than the protocol can say.
    BodyTooLarge,
    /// `get` options exclude each other.
    BadOptions,
    /// `reserve` names no queue, or more than [`RESERVE_QUEUES_MAX`].
    QueueCount,
    /// `reserve`, `browse` or `kick` asks for nothing.
    NoItems,
    /// A delay longer than [`DELAY_MS_MAX`].
    DelayTooLong,
    /// A key of a put that is empty, longer than [`KEY_BYTES_MAX`], or has a space or a control byte.
    BadKey,
    /// A reason longer than [`REASON_BYTES_MAX`].
    ReasonTooLong,
    /// The queue names do not fit into one request line.
    LineTooLong,
    /// No server has a status of this name.
    BadStatus,
}

/// The options of `put`; the default is an item that is ready at once and stays, with flags 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions<'a> {
    /// Seconds until the item expires; 0 never.
    pub ttl_seconds: u32,
    /// Opaque to the server.
    pub flags: u32,
    /// Milliseconds until the item is ready, at most [`DELAY_MS_MAX`]. Unless it is 0, the server must list `delay`.
    pub delay_ms: u64,
    /// Unless it is normal, the server must list `priority`.
    pub priority: Priority,
    /// A put that is repeated with the same key is stored once. The server must list `key`.
    pub idempotency_key: Option<&'a [u8]>,
}

/// The options of `browse`; the default shows whole bodies from the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrowseOptions {
    /// Go on behind this: what the last answer ended with.
    pub after: Option<Cursor>,
    /// No more of each body.
    pub body_bytes: Option<u32>,
}

/// `set <key> <flags> <expiry> <bytes>`; send the body and [`BODY_END`] behind it.
///
/// # Errors
/// The body is too large.
pub fn set(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    flags: u32,
    expiry: i32,
    body_bytes: usize,
) -> Result<(), EncodeError> {
    let bytes = check_body(body_bytes)?;
    word_key(out, b"set ", key);
    number(out, u64::from(flags));
    out.extend_from_slice(if expiry < 0 { b" -" } else { b" " });
    put_u64(out, u64::from(expiry.unsigned_abs()));
    number(out, bytes);
    end(out);
    Ok(())
}

/// `get <key>[/t=<ms>][/open]...`
///
/// # Errors
/// The options exclude each other.
pub fn get(out: &mut Vec<u8>, key: NameRef<'_>, options: &GetOptions) -> Result<(), EncodeError> {
    options.check()?;
    word_key(out, b"get ", key);
    if options.wait_ms > 0 {
        out.extend_from_slice(b"/t=");
        // Kestrel reads it as a signed 32-bit number, and closes if it is larger.
        put_u64(out, u64::from(options.wait_ms.min(i32::MAX as u32)));
    }
    for (is_set, word) in [
        (options.close, &b"/close"[..]),
        (options.open, b"/open"),
        (options.abort, b"/abort"),
        (options.peek, b"/peek"),
    ] {
        if is_set {
            out.extend_from_slice(word);
        }
    }
    end(out);
    Ok(())
}

/// `delete <key>`
pub fn delete(out: &mut Vec<u8>, key: NameRef<'_>) {
    word_key(out, b"delete ", key);
    end(out);
}

/// `flush <key>`
pub fn flush(out: &mut Vec<u8>, key: NameRef<'_>) {
    word_key(out, b"flush ", key);
    end(out);
}

/// `flush_all`
pub fn flush_all(out: &mut Vec<u8>) {
    out.extend_from_slice(b"flush_all\r\n");
}

/// `stats`
pub fn stats(out: &mut Vec<u8>) {
    out.extend_from_slice(b"stats\r\n");
}

/// `dump_stats <key>...`; without a key, of all queues.
///
/// # Errors
/// The queue names do not fit into one line.
pub fn dump_stats(out: &mut Vec<u8>, keys: &[NameRef<'_>]) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(b"dump_stats");
    for key in keys {
        word_key(out, b" ", *key);
    }
    if out.len() - start > Limits::default().line_bytes {
        out.truncate(start);
        return Err(EncodeError::LineTooLong);
    }
    end(out);
    Ok(())
}

/// `status [<name>]`; the name is one word, or nothing is appended.
///
/// # Errors
/// It is none of the words that a server knows.
pub fn status(out: &mut Vec<u8>, set: Option<&[u8]>) -> Result<(), EncodeError> {
    const WORDS: [&[u8]; 4] = [b"up", b"writeavoid", b"readonly", b"quiescent"];
    if set.is_some_and(|name| !WORDS.contains(&name)) {
        return Err(EncodeError::BadStatus);
    }
    out.extend_from_slice(b"status");
    if let Some(name) = set {
        word(out, name);
    }
    end(out);
    Ok(())
}

/// `version`
pub fn version(out: &mut Vec<u8>) {
    out.extend_from_slice(b"version\r\n");
}

/// `quit`
pub fn quit(out: &mut Vec<u8>) {
    out.extend_from_slice(b"quit\r\n");
}

/// `capabilities`
pub fn capabilities(out: &mut Vec<u8>) {
    out.extend_from_slice(b"capabilities\r\n");
}

/// `put <key> <bytes> [ttl=<s>] [flags=<n>] [delay=<ms>] [priority=<level>] [key=<key>]`; send the
/// body and [`BODY_END`] behind it. An option that says what holds anyway is left out.
///
/// # Errors
/// The body is too large, the delay too long, or the key none.
pub fn put(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    body_bytes: usize,
    options: &PutOptions<'_>,
) -> Result<(), EncodeError> {
    let bytes = check_body(body_bytes)?;
    let delay_ms = check_delay(options.delay_ms)?;
    if options.idempotency_key.is_some_and(|key| !is_key(key)) {
        return Err(EncodeError::BadKey);
    }
    word_key(out, b"put ", key);
    number(out, bytes);
    for (word, value) in [
        (&b" ttl="[..], u64::from(options.ttl_seconds)),
        (b" flags=", u64::from(options.flags)),
        (b" delay=", delay_ms),
    ] {
        if value > 0 {
            option(out, word, value);
        }
    }
    if options.priority != Priority::default() {
        out.extend_from_slice(b" priority=");
        out.extend_from_slice(options.priority.word());
    }
    if let Some(key) = options.idempotency_key {
        out.extend_from_slice(b" key=");
        out.extend_from_slice(key);
    }
    end(out);
    Ok(())
}

/// `reserve <max> <wait_ms> <lease_ms> <key>...`
///
/// # Errors
/// No item, no queue or too many, or a line that the server would not take.
pub fn reserve(
    out: &mut Vec<u8>,
    max: u32,
    wait_ms: u32,
    lease_ms: u32,
    keys: &[NameRef<'_>],
) -> Result<(), EncodeError> {
    if max == 0 {
        return Err(EncodeError::NoItems);
    }
    if keys.is_empty() || keys.len() > RESERVE_QUEUES_MAX {
        return Err(EncodeError::QueueCount);
    }
    let start = out.len();
    out.extend_from_slice(b"reserve");
    for value in [max, wait_ms, lease_ms] {
        number(out, u64::from(value));
    }
    for key in keys {
        word_key(out, b" ", *key);
    }
    if out.len() - start > Limits::default().line_bytes {
        out.truncate(start);
        return Err(EncodeError::LineTooLong);
    }
    end(out);
    Ok(())
}

/// `ack <key> <id>`
pub fn ack(out: &mut Vec<u8>, key: NameRef<'_>, id: u64) {
    word_key(out, b"ack ", key);
    number(out, id);
    end(out);
}

/// `release <key> <id> [delay=<ms>]`; `None`: as the queue's settings say. With a delay, also with
/// none at all (0), the server must list `delay`.
///
/// # Errors
/// The delay is too long.
pub fn release(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    id: u64,
    delay_ms: Option<u64>,
) -> Result<(), EncodeError> {
    let delay_ms = delay_ms.map(check_delay).transpose()?;
    word_key(out, b"release ", key);
    number(out, id);
    if let Some(delay_ms) = delay_ms {
        option(out, b" delay=", delay_ms);
    }
    end(out);
    Ok(())
}

/// `touch <key> <id> <lease_ms>`
pub fn touch(out: &mut Vec<u8>, key: NameRef<'_>, id: u64, lease_ms: u32) {
    word_key(out, b"touch ", key);
    number(out, id);
    number(out, u64::from(lease_ms));
    end(out);
}

/// `bury <key> <id> <bytes>`; send the reason and [`BODY_END`] behind it.
///
/// # Errors
/// The reason is too long.
pub fn bury(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    id: u64,
    reason_bytes: usize,
) -> Result<(), EncodeError> {
    let bytes = reason_bytes as u64;
    if bytes > REASON_BYTES_MAX {
        return Err(EncodeError::ReasonTooLong);
    }
    word_key(out, b"bury ", key);
    number(out, id);
    number(out, bytes);
    end(out);
    Ok(())
}

/// `browse <key> <state> <max> [after=<cursor>] [body=<bytes>]`
///
/// # Errors
/// No item is asked for.
pub fn browse(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    state: ItemState,
    max: u32,
    options: &BrowseOptions,
) -> Result<(), EncodeError> {
    if max == 0 {
        return Err(EncodeError::NoItems);
    }
    word_key(out, b"browse ", key);
    word(out, state.word());
    number(out, u64::from(max));
    if let Some(cursor) = options.after {
        out.extend_from_slice(b" after=");
        cursor.put(out);
    }
    if let Some(bytes) = options.body_bytes {
        option(out, b" body=", u64::from(bytes));
    }
    end(out);
    Ok(())
}

/// `kick <key> <n>|all|id=<id>`
///
/// # Errors
/// No item is asked for.
pub fn kick(out: &mut Vec<u8>, key: NameRef<'_>, which: Kick) -> Result<(), EncodeError> {
    if which == Kick::Some(0) {
        return Err(EncodeError::NoItems);
    }
    word_key(out, b"kick ", key);
    match which {
        Kick::All => word(out, b"all"),
        Kick::Some(count) => number(out, u64::from(count)),
        Kick::Id(id) => option(out, b" id=", id),
    }
    end(out);
    Ok(())
}

/// `purge <key> ready|delayed|dead|all`
pub fn purge(out: &mut Vec<u8>, key: NameRef<'_>, what: Purge) {
    word_key(out, b"purge ", key);
    word(out, what.word());
    end(out);
}

/// `pause <key>`
pub fn pause(out: &mut Vec<u8>, key: NameRef<'_>) {
    word_key(out, b"pause ", key);
    end(out);
}

/// `resume <key>`
pub fn resume(out: &mut Vec<u8>, key: NameRef<'_>) {
    word_key(out, b"resume ", key);
    end(out);
}

fn check_body(bytes: usize) -> Result<u64, EncodeError> {
    let bytes = bytes as u64;
    if bytes > BODY_BYTES_MAX { Err(EncodeError::BodyTooLarge) } else { Ok(bytes) }
}

fn check_delay(delay_ms: u64) -> Result<u64, EncodeError> {
    if delay_ms > DELAY_MS_MAX { Err(EncodeError::DelayTooLong) } else { Ok(delay_ms) }
}

/// The server takes it as one word.
fn is_key(key: &[u8]) -> bool {
    let is_bad = |&byte: &u8| byte == b' ' || byte.is_ascii_control();
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.iter().any(is_bad)
}

fn word_key(out: &mut Vec<u8>, word: &[u8], key: NameRef<'_>) {
    out.extend_from_slice(word);
    out.extend_from_slice(key.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    put_u64(out, number);
}

/// ` <name>=<value>`; the space and the `=` are part of `name`.
fn option(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    put_u64(out, value);
}

fn word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(word);
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

impl From<BadOptions> for EncodeError {
    fn from(_: BadOptions) -> Self {
        Self::BadOptions
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLarge => write!(f, "body larger than {BODY_BYTES_MAX} bytes"),
            Self::BadOptions => BadOptions.fmt(f),
            Self::QueueCount => write!(f, "not 1 to {RESERVE_QUEUES_MAX} queues"),
            Self::NoItems => f.write_str("no items asked for"),
            Self::DelayTooLong => write!(f, "delay longer than {DELAY_MS_MAX} ms"),
            Self::BadKey => {
                write!(f, "a key has 1 to {KEY_BYTES_MAX} bytes, no space and no control byte")
            }
            Self::ReasonTooLong => write!(f, "reason longer than {REASON_BYTES_MAX} bytes"),
            Self::LineTooLong => f.write_str("queue names too long for one request"),
            Self::BadStatus => f.write_str("a status is up, writeavoid, readonly or quiescent"),
        }
    }
}

impl core::error::Error for EncodeError {}
