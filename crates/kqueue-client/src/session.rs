//! One connection's conversation, without its socket: which answers are due, and whether the
//! connection may be used again.
//!
//! Invariants:
//! - dirty from the moment a request is announced until its whole answer is taken, and for ever
//!   after anything unexpected;
//! - an answer belongs to the oldest unanswered request, names a queue that was asked for and
//!   carries no more than was asked for;
//! - what is collected for one answer is bounded.
//!
//! Must not: read or write a socket, know the time, decide about retries.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use kqueue_proto::client::{Capabilities, Reply, ReplyDecoder, ReplyLimits};

/// What kind of answer a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// `set`, `put`.
    Stored,
    /// `get` of this queue.
    Value { queue: Bytes },
    /// `reserve`.
    Items { max: u32, queues: Vec<Bytes> },
    /// `get q/close`, `get q/abort`, `flush`, `delete`: done.
    Done,
    /// `ack`, `release`, `bury`, `touch`: done, `NOT_HELD`, or not now.
    Settled,
    /// `stats`.
    Stats,
    /// `version`.
    Version,
    /// `capabilities`.
    Capabilities,
}

/// An item as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) queue: Bytes,
    /// `None`: the server has no ids (Kestrel's commands).
    pub(crate) id: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) age_ms: u64,
    pub(crate) body: Bytes,
}

/// One whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored(Option<u64>),
    NotStored(String),
    Items(Vec<Item>),
    Done,
    NotHeld,
    /// Not now: nothing has changed, the item stays held, and the connection in step.
    Unable(String),
    Stats(Vec<(Bytes, Bytes)>),
    Version,
    Capabilities(Capabilities),
    /// An error line. The connection is not used again: whether the server closes it depends on the
    /// error.
    Refused {
        by_server: bool,
        text: String,
    },
}

/// What is collected of an answer made of several replies.
#[derive(Debug, Default)]
struct Partial {
    items: Vec<Item>,
    stats: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    decoder: ReplyDecoder,
    input: BytesMut,
    due: VecDeque<Expect>,
    partial: Partial,
    stats_bytes_max: usize,
    is_spoiled: bool,
}

impl Session {
    pub(crate) fn new(max_body_bytes: usize) -> Self {
        let limits = ReplyLimits { body_bytes: max_body_bytes, ..ReplyLimits::default() };
        Self {
            decoder: ReplyDecoder::new(limits),
            input: BytesMut::new(),
            due: VecDeque::new(),
            partial: Partial::default(),
            stats_bytes_max: max_body_bytes.max(1 << 20),
            is_spoiled: false,
        }
    }

    /// Announces a request; call it before its first byte is sent.
    pub(crate) fn expect(&mut self, answer: Expect) {
        self.due.push_back(answer);
    }

    /// Takes bytes from the server.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// How many requests are unanswered.
    pub(crate) fn due(&self) -> usize {
        self.due.len()
    }

    /// True at a proven reply boundary: the connection may carry the next request.
    pub(crate) fn is_clean(&self) -> bool {
        !self.is_spoiled && self.due.is_empty() && self.decoder.is_at_boundary(&self.input)
    }

    /// The next whole answer; `None`: more bytes are needed.
    ///
    /// # Errors
    /// The peer broke the protocol; the text says how. The session stays dirty for ever.
    pub(crate) fn poll(&mut self) -> Result<Option<Answer>, String> {
        let result = self.step();
        match &result {
            Err(_) | Ok(Some(Answer::Refused { .. })) => self.is_spoiled = true,
            Ok(_) => {}
        }
        result
    }

    fn step(&mut self) -> Result<Option<Answer>, String> {
        loop {
            if self.due.is_empty() {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err("bytes that no request asked for".into())
                };
            }
            let Some(reply) = self.decoder.decode(&mut self.input).map_err(|e| e.to_string())?
            else {
                return Ok(None);
            };
            if let Some(answer) = self.accept(reply)? {
                self.due.pop_front();
                self.partial = Partial::default();
                return Ok(Some(answer));
            }
        }
    }

    /// Fits one reply to the oldest request; `None`: the answer goes on.
    fn accept(&mut self, reply: Reply) -> Result<Option<Answer>, String> {
        let Some(expect) = self.due.front() else { return Ok(None) };
        let has_begun = !self.partial.items.is_empty() || !self.partial.stats.is_empty();
        Ok(Some(match (expect, reply) {
            (Expect::Settled, Reply::ServerError(text)) => {
                Answer::Unable(error_text("SERVER_ERROR", text))
            }
            (_, Reply::ClientError(text) | Reply::Error(text)) if !has_begun => {
                Answer::Refused { by_server: false, text: error_text("CLIENT_ERROR", text) }
            }
            (_, Reply::ServerError(text)) if !has_begun => {
                Answer::Refused { by_server: true, text: error_text("SERVER_ERROR", text) }
            }
            (Expect::Stored, Reply::Stored(id)) => Answer::Stored(id),
            (Expect::Stored, Reply::NotStored(why)) => Answer::NotStored(why.unwrap_or_default()),
            (Expect::Value { queue }, Reply::Value { key, body, .. }) => {
                if key != *queue || has_begun {
                    return Err(wrong_queue(&key, std::slice::from_ref(queue)));
                }
                self.partial.items.push(Item {
                    queue: key,
                    id: None,
                    attempts: 1,
                    age_ms: 0,
                    body,
                });
                return Ok(None);
            }
            (
                Expect::Items { max, queues },
                Reply::Item { key, id, attempts, age_ms, body, .. },
            ) => {
                if !queues.contains(&key) {
                    return Err(wrong_queue(&key, queues));
                }
                if self.partial.items.len() >= *max as usize {
                    return Err(format!("more than the {max} items asked for"));
                }
                self.partial.items.push(Item { queue: key, id: Some(id), attempts, age_ms, body });
                return Ok(None);
            }
            (Expect::Value { .. } | Expect::Items { .. }, Reply::End) => {
                Answer::Items(std::mem::take(&mut self.partial.items))
            }
            (Expect::Done, Reply::End | Reply::Deleted | Reply::Flushed) => Answer::Done,
            (Expect::Settled, Reply::Ok) => Answer::Done,
            (Expect::Settled, Reply::NotHeld) => Answer::NotHeld,
            (Expect::Stats, Reply::Stat { name, value }) => return self.collect_stat(name, value),
            (Expect::Stats, Reply::End) => Answer::Stats(std::mem::take(&mut self.partial.stats)),
            (Expect::Version, Reply::Version(_)) => Answer::Version,
            (Expect::Capabilities, Reply::Capabilities(list)) => Answer::Capabilities(list),
            (_, reply) => return Err(format!("a {} reply to another request", word(&reply))),
        }))
    }

    fn collect_stat(&mut self, name: Bytes, value: Bytes) -> Result<Option<Answer>, String> {
        self.partial.bytes += name.len() + value.len() + 64;
        if self.partial.bytes > self.stats_bytes_max {
            return Err("endless stats".into());
        }
        self.partial.stats.push((name, value));
        Ok(None)
    }
}

fn error_text(word: &str, text: String) -> String {
    if text.is_empty() { word.into() } else { text }
}

fn wrong_queue(got: &[u8], asked: &[Bytes]) -> String {
    let asked: Vec<_> = asked.iter().map(|name| shown(name)).collect();
    format!("an item of queue {} where {} was asked for", shown(got), asked.join(" or "))
}

/// A queue name in a message: quoted, control characters escaped, never long.
pub(crate) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(250)]);
    format!("\"{}\"", text.escape_debug())
}

fn word(reply: &Reply) -> &'static str {
    match reply {
        Reply::Stored(_) => "STORED",
        Reply::NotStored(_) => "NOT_STORED",
        Reply::Value { .. } => "VALUE",
        Reply::Item { .. } => "ITEM",
        Reply::Found(_) => "FOUND",
        Reply::End | Reply::EndWithCursor(_) => "END",
        Reply::Deleted => "DELETED",
        Reply::Flushed => "Flushed",
        Reply::Stat { .. } => "STAT",
        Reply::QueueBegin(_) | Reply::Figure { .. } | Reply::QueueEnd => "statistics of a queue",
        Reply::Blank => "an empty line",
        Reply::Version(_) => "VERSION",
        Reply::Capabilities(_) => "CAPABILITIES",
        Reply::Ok | Reply::OkCount(_) => "OK",
        Reply::NotHeld => "NOT_HELD",
        Reply::NotFound => "NOT_FOUND",
        Reply::Status(_) => "a status",
        Reply::ClientError(_) => "CLIENT_ERROR",
        Reply::Error(_) => "ERROR",
        Reply::ServerError(_) => "SERVER_ERROR",
    }
}

#[cfg(test)]
mod tests;
