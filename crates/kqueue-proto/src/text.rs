//! Kestrel's text protocol: a codec for people with `telnet` and for the clients that Kestrel had.
//!
//! Invariants
//! - The answer depends on the bytes alone, never on how they were cut into reads.
//! - Every request that is answered is remembered in [`Replies`] when it is given out, and forgotten
//!   with its last reply. What is answered without asking the broker (an error that leaves the
//!   connection open, the sum of a put) takes its turn behind a [`Request::MetaNoop`].
//! - The items of a put are given out one by one as they arrive; of the put itself only its queue,
//!   its expiry and counters are kept.
//! - No byte is searched for a line end twice, and what waits in the caller's buffer is at most a
//!   command line or [`SMALL_BODY_BYTES`](crate::server::SMALL_BODY_BYTES).
//! - After a fatal error the codec only repeats it, and empties the buffer.
//!
//! Must not: know commands ([`grammar`] does) or what they do. An item that holds a line end, put in
//! another protocol, is sent as it is: this one has no other way to say it.

mod grammar;
mod items;
mod reply;

use core::mem;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::{ClientError, Codec, Encoded, Fatal, Limits, Request, Response};
use grammar::Parsed;
use items::{ItemLines, Line};
use reply::{Asked, Replies};

/// The text protocol of one connection; resumable at any byte.
#[derive(Debug)]
pub struct TextCodec {
    limits: Limits,
    state: State,
    replies: Replies,
}

#[derive(Debug)]
enum State {
    /// Within a command line; so many bytes of it hold no line end.
    Line { scanned: usize },
    /// Behind a line that ended with a colon: items until an empty line.
    Items { of: Parsed, lines: ItemLines },
    /// The peer is not to be understood any more.
    Failed(Fatal),
}

impl TextCodec {
    /// At the beginning of a request.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Line { scanned: 0 }, replies: Replies::default() }
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        loop {
            match &mut self.state {
                State::Line { .. } => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    if let Some(request) = self.begin(line)? {
                        return Ok(Some(request));
                    }
                }
                State::Items { of, lines } => match (lines.take(input), of) {
                    (None, _) => return Ok(None),
                    (Some(Line::Empty), _) => return Ok(self.end_items()),
                    (Some(Line::Item(body)), Parsed::Put { key, expiry }) => {
                        let (key, expiry) = (key.clone(), *expiry);
                        self.replies.ask(Asked::Items(1));
                        return Ok(Some(Request::Set {
                            key,
                            flags: 0,
                            expiry,
                            body,
                            noreply: false,
                        }));
                    }
                    // No other command has a use for items.
                    (Some(Line::Item(_)), Parsed::Other(..)) => {}
                },
                State::Failed(fatal) => return Err(fatal.clone()),
            }
        }
    }

    /// Takes a command line without its line end (LF, or CRLF). A CR elsewhere is part of a word.
    fn take_line(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Fatal> {
        let State::Line { scanned } = &mut self.state else { return Ok(None) };
        let most = self.limits.line_bytes;
        let window = input.len().min(most.saturating_add(2));
        let Some(at) = memchr(b'\n', &input[*scanned..window]).map(|at| at + *scanned) else {
            // A CR may stand behind the longest line.
            if window > most && (window > most + 1 || input[most] != b'\r') {
                return Err(ClientError::LineTooLong.into());
            }
            *scanned = window;
            return Ok(None);
        };
        *scanned = 0;
        let mut line = input.split_to(at + 1);
        line.truncate(if line[..at].ends_with(b"\r") { at - 1 } else { at });
        if line.len() > most {
            return Err(ClientError::LineTooLong.into());
        }
        Ok(Some(line.freeze()))
    }

    /// The request of a line; `None`: items follow.
    fn begin(&mut self, mut line: Bytes) -> Result<Option<Request>, Fatal> {
        let has_items = line.ends_with(b":");
        if has_items {
            line.truncate(line.len() - 1);
        }
        let parsed = grammar::parse_line(&line)?;
        if !has_items {
            return Ok(Some(self.give_out(parsed)));
        }
        let kept = if matches!(parsed, Parsed::Put { .. }) { self.limits.item_bytes } else { 0 };
        self.state = State::Items { of: parsed, lines: ItemLines::new(kept) };
        Ok(None)
    }

    fn end_items(&mut self) -> Option<Request> {
        match mem::replace(&mut self.state, State::Line { scanned: 0 }) {
            State::Items { of, .. } => Some(self.give_out(of)),
            State::Line { .. } | State::Failed(_) => None,
        }
    }

    /// What is to be run of a request that is complete.
    fn give_out(&mut self, parsed: Parsed) -> Request {
        let (request, asked) = match parsed {
            Parsed::Put { .. } => (Request::MetaNoop, Some(Asked::PutEnd)),
            Parsed::Other(request, asked) => (request, asked),
        };
        if let Some(asked) = asked {
            self.replies.ask(asked);
        }
        request
    }
}

impl Codec for TextCodec {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        let result = self.step(input);
        if let Err(fatal) = &result {
            input.clear();
            self.state = State::Failed(fatal.clone());
        }
        result
    }

    fn is_mid_request(&self, input: &BytesMut) -> bool {
        !input.is_empty() || matches!(self.state, State::Items { .. })
    }

    fn collected(&self) -> usize {
        match &self.state {
            State::Items { lines, .. } => lines.collected(),
            _ => 0,
        }
    }

    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
        self.replies.encode(response, head)
    }

    fn closes_on_error(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
