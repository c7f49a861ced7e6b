//! Request lines to requests: the only place that knows the words of the server's half.
//!
//! Kestrel's commands keep Kestrel's rules: only the command is lower-cased, options of `get` that
//! nobody knows are ignored. The extended commands are strict: an unknown word is an error.
//!
//! Invariant: an error is [`Fatal`] exactly if the end of the request is not known, or if Kestrel
//! closes the connection for it.
//!
//! Must not: look behind the line.

use alloc::vec::Vec;

use bytes::Bytes;

use super::extended;
use crate::number::{parse_kestrel, parse_u32};
use crate::words::{COMMAND_BYTES_MAX, Words, lower};
use crate::{
    Body, ClientError, Expiry, Fatal, GetOptions, Limits, Name, Priority, REASON_BYTES_MAX, Request,
};

/// What a line turned out to be.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A whole request.
    Request(Request),
    /// The beginning of a request; the body and a CRLF follow.
    Body { pending: Pending, bytes: u64 },
}

/// What stands in the line of a `put`.
#[derive(Debug)]
pub(super) struct PutOptions {
    pub(super) key: Name,
    pub(super) ttl_seconds: u32,
    pub(super) flags: u32,
    pub(super) delay_ms: u64,
    pub(super) priority: Priority,
    pub(super) idempotency_key: Option<Bytes>,
}

/// A request whose body has not arrived.
#[derive(Debug)]
pub(super) enum Pending {
    Set {
        key: Bytes,
        flags: u32,
        expiry: Expiry,
        noreply: bool,
    },
    Put(PutOptions),
    Bury {
        key: Name,
        id: u64,
    },
    /// Will be refused, but the body has to be passed over first.
    Refused {
        error: ClientError,
        noreply: bool,
    },
}

impl Pending {
    /// The largest body that is kept; `None`: none is.
    pub(super) fn body_bytes_max(&self, limits: &Limits) -> Option<usize> {
        match self {
            Self::Set { .. } | Self::Put(_) => Some(limits.item_bytes),
            // A reason is no item: where items must be smaller it may still be so long.
            Self::Bury { .. } => Some(REASON_BYTES_MAX as usize),
            Self::Refused { .. } => None,
        }
    }

    pub(super) fn with_body(self, body: Body) -> Request {
        match self {
            Self::Set { key, flags, expiry, noreply } => {
                Request::Set { key, flags, expiry, body, noreply }
            }
            Self::Put(put) => Request::Put {
                key: put.key,
                ttl_seconds: put.ttl_seconds,
                flags: put.flags,
                delay_ms: put.delay_ms,
                priority: put.priority,
                idempotency_key: put.idempotency_key,
                body,
            },
            Self::Bury { key, id } => match body {
                Body::Bytes(reason) => Request::Bury { key, id, reason },
                // It has been swallowed, and the item is as it was.
                Body::TooLarge { .. } | Body::NoRoom => {
                    let error = ClientError::ReasonNotKept;
                    Request::Malformed { error, noreply: false }
                }
            },
            Self::Refused { error, noreply } => Request::Malformed { error, noreply },
        }
    }
}

/// Parses one line, its line end removed.
pub(super) fn parse_line(line: &Bytes, limits: &Limits) -> Result<Parsed, Fatal> {
    let mut words = Words::new(line);
    let command = words.next().unwrap_or_default();
    match lower(command, &mut [0; COMMAND_BYTES_MAX]) {
        b"set" => set(words),
        b"get" => get(words, false),
        b"gets" => get(words, true),
        b"put" => extended::put(words),
        b"reserve" => Ok(settle(extended::reserve(words, limits))),
        b"ack" => Ok(settle(extended::ack(words))),
        b"release" => Ok(settle(extended::release(words))),
        b"touch" => extended::touch(words),
        b"bury" => extended::bury(words),
        b"browse" => Ok(settle(extended::browse(words, limits))),
        b"kick" => Ok(settle(extended::kick(words))),
        b"purge" => Ok(settle(extended::purge(words))),
        b"pause" => Ok(settle(extended::key_alone(words).map(|key| Request::Pause { key }))),
        b"resume" => Ok(settle(extended::key_alone(words).map(|key| Request::Resume { key }))),
        b"delete" => Ok(settle(delete(words))),
        b"flush" => Ok(settle(flush(words))),
        b"flush_all" => Ok(done(Request::FlushAll { noreply: words.ends_with_noreply() })),
        b"monitor" => monitor(words).map(done),
        b"confirm" => confirm(words),
        b"flush_expired" => flush_expired(words).map(done),
        b"flush_all_expired" => Ok(done(Request::FlushAllExpired)),
        b"stats" => Ok(done(Request::Stats)),
        b"dump_stats" => Ok(done(dump_stats(words))),
        b"status" => Ok(done(Request::Status { set: words.next().map(|word| words.share(word)) })),
        b"reload" => Ok(done(Request::Reload)),
        b"shutdown" => Ok(done(Request::Shutdown)),
        b"verbosity" => Ok(done(Request::Verbosity { noreply: words.ends_with_noreply() })),
        b"mn" => Ok(done(Request::MetaNoop)),
        b"version" => Ok(done(Request::Version)),
        b"quit" => Ok(done(Request::Quit)),
        b"capabilities" => Ok(settle(extended::capabilities(words))),
        _ => Err(ClientError::UnknownCommand(words.share(command)).into()),
    }
}

fn done(request: Request) -> Parsed {
    Parsed::Request(request)
}

/// An error of a command without a body leaves the connection in step.
pub(super) fn settle(result: Result<Request, ClientError>) -> Parsed {
    done(result.unwrap_or_else(|error| Request::Malformed { error, noreply: false }))
}

/// `<key> <flags> <expiry> <bytes> [noreply]`
fn set(mut words: Words<'_>) -> Result<Parsed, Fatal> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    let key = words.share(key);
    let flags = words.next().ok_or(ClientError::Missing("flags"))?;
    let expiry = words.next().ok_or(ClientError::Missing("expiry"))?;
    let bytes = words.next().ok_or(ClientError::Missing("byte count"))?;
    let Some(bytes) = parse_kestrel(bytes).and_then(|bytes| u64::try_from(bytes).ok()) else {
        return Err(ClientError::BadNumber("byte count", words.share(bytes)).into());
    };
    let Some(expiry) = parse_kestrel(expiry) else {
        return Err(ClientError::BadNumber("expiry", words.share(expiry)).into());
    };
    let word = words.share(flags);
    let noreply = words.ends_with_noreply();
    let pending = match parse_flags(flags) {
        Some(flags) => Pending::Set { key, flags, expiry: Expiry::Kestrel(expiry), noreply },
        None => Pending::Refused { error: ClientError::BadNumber("flags", word), noreply },
    };
    Ok(Parsed::Body { pending, bytes })
}

/// Memcached's flags are unsigned, Kestrel's signed: both are taken, and come back unsigned.
fn parse_flags(word: &[u8]) -> Option<u32> {
    parse_u32(word).or_else(|| parse_kestrel(word).map(i32::cast_unsigned))
}

/// `<key>[/option...]`; further keys are ignored.
fn get(mut words: Words<'_>, with_cas: bool) -> Result<Parsed, Fatal> {
    let Some(target) = words.next() else {
        return Ok(settle(Err(ClientError::Missing("queue name"))));
    };
    let mut parts = target.split(|&byte| byte == b'/');
    let key = parts.next().unwrap_or_default();
    if key.is_empty() {
        // Kestrel finds no name at all in "///" and stays, but an empty name in "" and "/open".
        if !target.is_empty() && target.iter().all(|&byte| byte == b'/') {
            return Ok(settle(Err(ClientError::EmptyKey)));
        }
        return Err(ClientError::EmptyKey.into());
    }
    let mut options = GetOptions::default();
    for option in parts {
        match option {
            b"open" => options.open = true,
            b"close" => options.close = true,
            b"abort" => options.abort = true,
            b"peek" => options.peek = true,
            [b't', b'=', wait @ ..] => {
                let Some(wait) = parse_kestrel(wait) else {
                    return Err(ClientError::BadNumber("t=", words.share(wait)).into());
                };
                options.wait_ms = u32::try_from(wait).unwrap_or(0);
            }
            _ => {}
        }
    }
    options.check().map_err(|_| ClientError::BadOptions)?;
    Ok(done(Request::Get { key: words.share(key), options, with_cas }))
}

/// `<key> [noreply]`
fn delete(mut words: Words<'_>) -> Result<Request, ClientError> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    let key = words.share(key);
    Ok(Request::Delete { key, noreply: words.ends_with_noreply() })
}

/// `<key>`
fn flush(mut words: Words<'_>) -> Result<Request, ClientError> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    Ok(Request::Flush { key: words.share(key) })
}

/// `<key> <seconds> [max]`: Kestrel closes for everything that is wrong here.
fn monitor(mut words: Words<'_>) -> Result<Request, Fatal> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    let key = words.share(key);
    let seconds = words.next().ok_or(ClientError::Missing("timeout"))?;
    let seconds = kestrel_number(&words, seconds, "timeout")?;
    let wait_ms = u64::try_from(seconds).unwrap_or(0) * 1000;
    let max = match words.next() {
        Some(max) => Some(u32::try_from(kestrel_number(&words, max, "max")?).unwrap_or(0)),
        None => None,
    };
    Ok(Request::Monitor { key, wait_ms, max, close_all: false })
}

/// `<key> <count>`
fn confirm(mut words: Words<'_>) -> Result<Parsed, Fatal> {
    let Some(key) = words.next() else {
        return Ok(settle(Err(ClientError::Missing("queue name"))));
    };
    let Some(count) = words.next() else {
        return Ok(settle(Err(ClientError::Missing("count"))));
    };
    let count = kestrel_number(&words, count, "count")?;
    Ok(done(Request::Confirm { key: words.share(key), count }))
}

/// `<key>`: Kestrel closes if there is none.
fn flush_expired(mut words: Words<'_>) -> Result<Request, Fatal> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    Ok(Request::FlushExpired { key: words.share(key) })
}

/// `[<key>...]`
fn dump_stats(mut words: Words<'_>) -> Request {
    let mut keys = Vec::new();
    while let Some(key) = words.next() {
        keys.push(words.share(key));
    }
    Request::DumpStats { keys }
}

fn kestrel_number(words: &Words<'_>, word: &[u8], what: &'static str) -> Result<i32, ClientError> {
    parse_kestrel(word).ok_or_else(|| ClientError::BadNumber(what, words.share(word)))
}

pub(super) fn name(words: &Words<'_>, word: &[u8]) -> Result<Name, ClientError> {
    let word = words.share(word);
    Name::parse(&word).map_err(|error| ClientError::BadName(error, word))
}

pub(super) fn number(
    words: &Words<'_>,
    word: &[u8],
    what: &'static str,
) -> Result<u32, ClientError> {
    parse_u32(word).ok_or_else(|| ClientError::BadNumber(what, words.share(word)))
}
