//! The server's decoder: bytes to [`Request`]s.
//!
//! Invariants
//! - The answer depends on the bytes alone, never on how they were cut into reads.
//! - One request per call; what follows it stays in the buffer.
//! - No byte is searched for a line end twice.
//! - At most [`Limits::item_bytes`] (rounded up by nothing) is kept of an item, and only as its
//!   bytes arrive; a larger one is swallowed. So is a reason beyond [`crate::REASON_BYTES_MAX`]. The caller's buffer never has to hold more than one
//!   line or [`SMALL_BODY_BYTES`] plus a CRLF for the decoder to go on.
//! - After a fatal error the decoder only repeats it, and empties the buffer.
//!
//! Must not: know commands ([`grammar`] does) or what they do.

mod extended;
mod grammar;

use core::mem;

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr3;

use crate::{Body, ClientError, Fatal, Limits, Request};
use grammar::{Parsed, Pending};

/// Bodies up to here wait in the caller's buffer until they are complete and are then copied once;
/// larger ones are collected as they arrive.
pub(crate) const SMALL_BODY_BYTES: usize = 16 * 1024;

/// Decodes the requests of one connection; resumable at any byte.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Within a line; so many bytes of it hold no line end.
    Line { scanned: usize },
    /// Within a body that is kept; what has been taken out of the caller's buffer so far.
    Body { pending: Pending, bytes: usize, collected: Vec<u8> },
    /// Within a body that is not kept; so many bytes of it are to come.
    Swallow { pending: Pending, body: Body, left: u64 },
    /// The peer is not to be understood any more.
    Failed(Fatal),
}

impl Decoder {
    /// At the beginning of a request.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Line { scanned: 0 } }
    }

    /// Takes the next request out of `buf`; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`Fatal`]: answer with its reason and close. From then on always the same error.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        let result = self.step(buf);
        if let Err(fatal) = &result {
            buf.clear();
            self.state = State::Failed(fatal.clone());
        }
        result
    }

    /// Whether a request has begun that has not been given out, `buf` being what is left.
    pub fn is_mid_request(&self, buf: &BytesMut) -> bool {
        !buf.is_empty() || matches!(self.state, State::Body { .. } | State::Swallow { .. })
    }

    /// How much of a body has been collected, in bytes.
    pub fn collected(&self) -> usize {
        match &self.state {
            State::Body { collected, .. } => collected.len(),
            _ => 0,
        }
    }

    /// Forgets what has been collected of a body; the rest of it will be swallowed and the request be given out with [`Body::NoRoom`].
    pub fn refuse_body(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Line { scanned: 0 }) {
            State::Body { pending, bytes, collected } => {
                let left = (bytes - collected.len()) as u64;
                State::Swallow { pending, body: Body::NoRoom, left }
            }
            other => other,
        };
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        if matches!(self.state, State::Line { .. }) {
            let Some(line) = self.take_line(buf)? else { return Ok(None) };
            match grammar::parse_line(&line, &self.limits)? {
                Parsed::Request(request) => return Ok(Some(request)),
                Parsed::Body { pending, bytes } => self.begin_body(pending, bytes),
            }
        }
        match &mut self.state {
            State::Line { .. } => Ok(None),
            State::Body { bytes, collected, .. } => {
                let Some(body) = take_body(buf, *bytes, collected)? else { return Ok(None) };
                Ok(self.finish(Body::Bytes(body)))
            }
            State::Swallow { body, left, .. } => {
                let now = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                buf.advance(now);
                *left -= now as u64;
                if *left > 0 || !take_body_end(buf)? {
                    return Ok(None);
                }
                let body = body.clone();
                Ok(self.finish(body))
            }
            State::Failed(fatal) => Err(fatal.clone()),
        }
    }

    /// Takes a line without its line end (LF, or CRLF).
    fn take_line(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, Fatal> {
        let State::Line { scanned } = &mut self.state else { return Ok(None) };
        let window = buf.len().min(self.limits.line_bytes.saturating_add(1));
        let hit = memchr3(b'\n', b'\r', 0, &buf[*scanned..window]).map(|at| at + *scanned);
        let Some(at) = hit else {
            if window > self.limits.line_bytes {
                return Err(ClientError::LineTooLong.into());
            }
            *scanned = window;
            return Ok(None);
        };
        *scanned = at;
        let end = match buf[at..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => return Ok(None),
            _ => return Err(ClientError::BadByte.into()),
        };
        let mut line = buf.split_to(at + end);
        line.truncate(at);
        *scanned = 0;
        Ok(Some(line.freeze()))
    }

    fn begin_body(&mut self, pending: Pending, bytes: u64) {
        let max = pending.body_bytes_max(&self.limits);
        let kept = usize::try_from(bytes).ok().filter(|&bytes| max.is_some_and(|max| bytes <= max));
        self.state = match kept {
            Some(bytes) => State::Body { pending, bytes, collected: Vec::new() },
            None => State::Swallow { pending, body: Body::TooLarge { bytes }, left: bytes },
        };
    }

    /// The request whose body has just ended; back to the beginning of a line.
    fn finish(&mut self, body: Body) -> Option<Request> {
        match mem::replace(&mut self.state, State::Line { scanned: 0 }) {
            State::Body { pending, .. } | State::Swallow { pending, .. } => {
                Some(pending.with_body(body))
            }
            State::Line { .. } | State::Failed(_) => None,
        }
    }
}

/// Takes a body of `total` bytes and its CRLF, or what there is of it.
fn take_body(
    buf: &mut BytesMut,
    total: usize,
    collected: &mut Vec<u8>,
) -> Result<Option<Bytes>, Fatal> {
    if collected.is_empty() && buf.len() >= total.saturating_add(2) {
        check_body_end(&buf[total..])?;
        // A copy of exactly its size: a small item must not keep a whole input buffer alive.
        let body = Bytes::copy_from_slice(&buf[..total]);
        buf.advance(total + 2);
        return Ok(Some(body));
    }
    if total > SMALL_BODY_BYTES {
        collect(buf, buf.len().min(total - collected.len()), total, collected);
    }
    let have = collected.len();
    if have + buf.len() < total {
        return Ok(None);
    }
    check_body_end(&buf[total - have..])?;
    if buf.len() < total - have + 2 {
        return Ok(None);
    }
    buf.advance(2);
    Ok(Some(Bytes::from(mem::take(collected))))
}

/// Moves `now` bytes of a body that is at most `total` bytes long. Capacity doubles with what
/// arrived and ends at `total`, so nothing is reserved on the word of the peer, and a body of
/// `total` bytes wastes nothing.
pub(crate) fn collect(buf: &mut BytesMut, now: usize, total: usize, collected: &mut Vec<u8>) {
    let needed = collected.len() + now;
    if needed > collected.capacity() {
        let capacity = needed.max(collected.capacity() * 2).min(total);
        collected.reserve_exact(capacity - collected.len());
    }
    collected.extend_from_slice(&buf[..now]);
    buf.advance(now);
}

/// Takes the CRLF behind a body; `false`: it is not complete.
fn take_body_end(buf: &mut BytesMut) -> Result<bool, Fatal> {
    check_body_end(buf)?;
    if buf.len() < 2 {
        return Ok(false);
    }
    buf.advance(2);
    Ok(true)
}

/// Whether what follows a body can still be its CRLF: the first wrong byte decides.
fn check_body_end(rest: &[u8]) -> Result<(), Fatal> {
    let end = &rest[..rest.len().min(2)];
    if b"\r\n".starts_with(end) { Ok(()) } else { Err(ClientError::BadDataChunk.into()) }
}

#[cfg(test)]
mod tests;
