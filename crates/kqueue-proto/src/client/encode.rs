//! Requests to bytes.
//!
//! Invariant: a function either appends one whole request line, or appends nothing and says why.
//! The body is not copied: the caller sends the line, the body, and [`BODY_END`], in one `writev`.

use core::fmt;

use alloc::vec::Vec;

use crate::number::put_u64;
use crate::{BODY_BYTES_MAX, BadOptions, GetOptions, Limits, NameRef, RESERVE_QUEUES_MAX};

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
    /// `reserve` asks for nothing.
    NoItems,
    /// The queue names do not fit into one request line.
    LineTooLong,
}

/// The options of `put`; the default is an item that stays, with flags 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Seconds until the item expires; 0 never.
    pub ttl_seconds: u32,
    /// Opaque to the server.
    pub flags: u32,
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

/// `put <key> <bytes> [ttl=<s>] [flags=<n>]`; send the body and [`BODY_END`] behind it.
///
/// # Errors
/// The body is too large.
pub fn put(
    out: &mut Vec<u8>,
    key: NameRef<'_>,
    body_bytes: usize,
    options: &PutOptions,
) -> Result<(), EncodeError> {
    let bytes = check_body(body_bytes)?;
    word_key(out, b"put ", key);
    number(out, bytes);
    for (word, value) in [(&b" ttl="[..], options.ttl_seconds), (b" flags=", options.flags)] {
        if value > 0 {
            out.extend_from_slice(word);
            put_u64(out, u64::from(value));
        }
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

/// `release <key> <id>`
pub fn release(out: &mut Vec<u8>, key: NameRef<'_>, id: u64) {
    word_key(out, b"release ", key);
    number(out, id);
    end(out);
}

fn check_body(bytes: usize) -> Result<u64, EncodeError> {
    let bytes = bytes as u64;
    if bytes > BODY_BYTES_MAX { Err(EncodeError::BodyTooLarge) } else { Ok(bytes) }
}

fn word_key(out: &mut Vec<u8>, word: &[u8], key: NameRef<'_>) {
    out.extend_from_slice(word);
    out.extend_from_slice(key.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    put_u64(out, number);
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
            Self::LineTooLong => f.write_str("queue names too long for one request"),
        }
    }
}

impl core::error::Error for EncodeError {}
