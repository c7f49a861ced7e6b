//! Bytes to replies.
//!
//! Invariants
//! - No byte is searched for a line end twice, however small the reads are.
//! - An announced length is compared with the limit before anything is kept for it, and memory
//!   grows only as bytes arrive (in the caller's buffer; a body is a slice of it, not a copy).
//! - After an error the decoder only repeats it.

use core::mem;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

use super::{Capabilities, Reply, ReplyError, ReplyLimits, found};
use crate::number::{parse_u32, parse_u64};
use crate::{Cursor, Excerpt, Found};

/// Decodes replies from a growing buffer; resumable at any byte.
#[derive(Debug)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Within a line; so many bytes of it hold no line end.
    Line { scanned: usize },
    /// The line is known, so many bytes of body and a CRLF are to follow.
    Body { head: BodyHead, bytes: usize },
    /// The peer is not to be understood any more.
    Failed(ReplyError),
}

/// A reply whose body has not arrived.
#[derive(Debug)]
enum BodyHead {
    Value {
        key: Bytes,
        flags: u32,
    },
    Item {
        key: Bytes,
        id: u64,
        flags: u32,
        attempts: u32,
        age_ms: u64,
    },
    /// Its body is empty until it has arrived.
    Found(Box<Found>),
}

enum Parsed {
    Reply(Reply),
    Body { head: BodyHead, bytes: u64 },
}

impl ReplyDecoder {
    /// At the beginning of a reply.
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, state: State::Line { scanned: 0 } }
    }

    /// Takes the next reply out of `buf`; `None`: more bytes are needed.
    ///
    /// # Errors
    /// Anything but a well-formed reply within the limits; from then on always the same error.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        let result = self.step(buf);
        if let Err(error) = &result {
            buf.clear();
            self.state = State::Failed(error.clone());
        }
        result
    }

    /// Whether the last reply was taken completely and nothing follows it in `buf`.
    pub fn is_at_boundary(&self, buf: &BytesMut) -> bool {
        matches!(self.state, State::Line { .. }) && buf.is_empty()
    }

    /// How many bytes are certainly missing until `decode` can go on; at least 1. A hint for the
    /// size of the next read, not for an allocation.
    pub fn missing_bytes(&self, buf: &BytesMut) -> usize {
        match &self.state {
            State::Body { bytes, .. } => bytes.saturating_add(2).saturating_sub(buf.len()).max(1),
            _ => 1,
        }
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        if matches!(self.state, State::Line { .. }) {
            let Some(line) = self.take_line(buf)? else { return Ok(None) };
            match parse_line(&line).ok_or_else(|| malformed(&line))? {
                Parsed::Reply(reply) => return Ok(Some(reply)),
                Parsed::Body { head, bytes } => {
                    let limit = self.limits.body_bytes;
                    let within = usize::try_from(bytes).ok().filter(|&bytes| bytes <= limit);
                    let Some(bytes) = within else {
                        return Err(ReplyError::BodyTooLarge { bytes, limit });
                    };
                    self.state = State::Body { head, bytes };
                }
            }
        }
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            State::Body { bytes, .. } => {
                let bytes = *bytes;
                self.take_body(buf, bytes)
            }
            State::Line { .. } => Ok(None),
        }
    }

    /// Takes a line without its CRLF.
    fn take_line(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, ReplyError> {
        let State::Line { scanned } = &mut self.state else { return Ok(None) };
        let window = buf.len().min(self.limits.line_bytes.saturating_add(1));
        let Some(at) = memchr2(b'\r', b'\n', &buf[*scanned..window]).map(|at| at + *scanned) else {
            if window > self.limits.line_bytes {
                return Err(ReplyError::LineTooLong { excerpt: excerpt(&buf[..window]) });
            }
            *scanned = window;
            return Ok(None);
        };
        *scanned = at;
        match buf[at..] {
            [b'\r', b'\n', ..] => {}
            [b'\r'] => return Ok(None),
            _ => return Err(malformed(&buf[..=at])),
        }
        let mut line = buf.split_to(at + 2);
        line.truncate(at);
        *scanned = 0;
        Ok(Some(line.freeze()))
    }

    fn take_body(&mut self, buf: &mut BytesMut, bytes: usize) -> Result<Option<Reply>, ReplyError> {
        // The first wrong byte behind the body is enough: the rest may never come.
        let end = &buf[bytes.min(buf.len())..];
        let end = &end[..end.len().min(2)];
        if !b"\r\n".starts_with(end) {
            let wrong = if end[0] == b'\r' { end } else { &end[..1] };
            return Err(malformed(wrong));
        }
        if end.len() < 2 {
            return Ok(None);
        }
        let body = buf.split_to(bytes).freeze();
        buf.advance(2);
        let State::Body { head, .. } = mem::replace(&mut self.state, State::Line { scanned: 0 })
        else {
            return Ok(None);
        };
        Ok(Some(match head {
            BodyHead::Value { key, flags } => Reply::Value { key, flags, body },
            BodyHead::Item { key, id, flags, attempts, age_ms } => {
                Reply::Item { key, id, flags, attempts, age_ms, body }
            }
            BodyHead::Found(mut found) => {
                found.body = body;
                Reply::Found(found)
            }
        }))
    }
}

fn malformed(bytes: &[u8]) -> ReplyError {
    ReplyError::Malformed { excerpt: excerpt(bytes) }
}

fn excerpt(bytes: &[u8]) -> String {
    format!("{}", Excerpt(bytes))
}

/// One reply line, without its CRLF; `None`: no reply this client knows.
fn parse_line(line: &Bytes) -> Option<Parsed> {
    let at = line.iter().position(|&byte| byte == b' ');
    let (word, rest) = match at {
        Some(at) => (&line[..at], Some(line.slice(at + 1..))),
        None => (&line[..], None),
    };
    Some(Parsed::Reply(match (word, rest) {
        (b"STORED", None) => Reply::Stored(None),
        (b"STORED", Some(id)) => Reply::Stored(Some(parse_u64(&id)?)),
        (b"NOT_STORED", reason) => Reply::NotStored(reason.map(|reason| printable(&reason))),
        (b"VALUE", Some(rest)) => return parse_value(&rest),
        (b"ITEM", Some(rest)) => return parse_item(&rest),
        (b"FOUND", Some(rest)) => return parse_found(&rest),
        (b"END", None) => Reply::End,
        (b"END", Some(cursor)) => Reply::EndWithCursor(Cursor::parse(&cursor)?),
        (b"DELETED", None) => Reply::Deleted,
        (b"Flushed", Some(rest)) if &rest[..] == b"all queues." => Reply::Flushed,
        (b"STAT", Some(rest)) => parse_stat(&rest)?,
        (b"queue", Some(rest)) => parse_queue(&rest)?,
        (b"", Some(rest)) => parse_figure(&rest)?,
        (b"}", None) => Reply::QueueEnd,
        (b"", None) => Reply::Blank,
        (b"VERSION", Some(version)) => Reply::Version(version),
        (b"CAPABILITIES", Some(line)) => Reply::Capabilities(Capabilities::new(line)),
        (b"OK", None) => Reply::Ok,
        (b"OK", Some(count)) => Reply::OkCount(parse_u64(&count)?),
        (b"NOT_HELD", None) => Reply::NotHeld,
        (b"NOT_FOUND", None) => Reply::NotFound,
        (b"UP" | b"WRITEAVOID" | b"READONLY" | b"QUIESCENT", None) => Reply::Status(line.clone()),
        (b"CLIENT_ERROR", text) => Reply::ClientError(printable(&text.unwrap_or_default())),
        (b"ERROR", text) => Reply::Error(printable(&text.unwrap_or_default())),
        (b"SERVER_ERROR", text) => Reply::ServerError(printable(&text.unwrap_or_default())),
        _ => return None,
    }))
}

/// `<key> <flags> <bytes>`
fn parse_value(rest: &Bytes) -> Option<Parsed> {
    let [key, flags, bytes] = words(rest)?;
    let head = BodyHead::Value { key: parse_key(rest, key)?, flags: parse_u32(flags)? };
    Some(Parsed::Body { head, bytes: parse_u64(bytes)? })
}

/// `<key> <id> <flags> <attempts> <age_ms> <bytes>`
fn parse_item(rest: &Bytes) -> Option<Parsed> {
    let [key, id, flags, attempts, age_ms, bytes] = words(rest)?;
    let head = BodyHead::Item {
        key: parse_key(rest, key)?,
        id: parse_u64(id)?,
        flags: parse_u32(flags)?,
        attempts: parse_u32(attempts)?,
        age_ms: parse_u64(age_ms)?,
    };
    Some(Parsed::Body { head, bytes: parse_u64(bytes)? })
}

/// `<key> <id> <state> <bytes> <name>=<value>...`
fn parse_found(rest: &Bytes) -> Option<Parsed> {
    let (found, bytes) = found::parse(rest)?;
    Some(Parsed::Body { head: BodyHead::Found(Box::new(found)), bytes })
}

/// `<name> <value>`
fn parse_stat(rest: &Bytes) -> Option<Reply> {
    let at = rest.iter().position(|&byte| byte == b' ').filter(|&at| at > 0)?;
    Some(Reply::Stat { name: rest.slice(..at), value: rest.slice(at + 1..) })
}

/// `'<queue>' {`; a name may have quotes inside.
fn parse_queue(rest: &Bytes) -> Option<Reply> {
    let name = rest.strip_prefix(b"'")?.strip_suffix(b"' {").filter(|name| !name.is_empty())?;
    Some(Reply::QueueBegin(rest.slice_ref(name)))
}

/// ` <name>=<value>`, or a space only.
fn parse_figure(rest: &Bytes) -> Option<Reply> {
    if &rest[..] == b" " {
        return Some(Reply::Blank);
    }
    let at = rest.iter().position(|&byte| byte == b'=').filter(|&at| at > 1 && rest[0] == b' ')?;
    Some(Reply::Figure { name: rest.slice(1..at), value: rest.slice(at + 1..) })
}

/// A key is compared by the caller; here it only has to be there.
pub(super) fn parse_key(line: &Bytes, key: &[u8]) -> Option<Bytes> {
    if key.is_empty() { None } else { Some(line.slice_ref(key)) }
}

/// Exactly `N` words.
fn words<const N: usize>(rest: &[u8]) -> Option<[&[u8]; N]> {
    let mut words = [&rest[..0]; N];
    let mut split = rest.split(|&byte| byte == b' ');
    for word in &mut words {
        *word = split.next()?;
    }
    if split.next().is_some() { None } else { Some(words) }
}

/// A reason as text: what is not UTF-8 or a control character is replaced.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}
