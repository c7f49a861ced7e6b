//! The line of an item that `browse` shows.
//!
//! Invariants
//! - The fixed words, and the values of names that are known, are exact; what belongs to every item has to be there.
//! - A name that is not known is passed over: a later server has more of them.
//! - What is kept is no longer than the line.
//!
//! Must not: look behind the line.

use alloc::vec::Vec;

use bytes::Bytes;

use super::decode::parse_key;
use crate::number::{parse_u32, parse_u64};
use crate::{DeadCause, Found, FoundDead, ItemState, Priority};

/// What was read of the names so far.
#[derive(Default)]
struct Names {
    size: Option<u64>,
    flags: Option<u32>,
    attempts: Option<u32>,
    age_ms: Option<u64>,
    priority: Option<Priority>,
    ttl_ms: Option<u64>,
    due_ms: Option<u64>,
    lease_ms: Option<u64>,
    cause: Option<DeadCause>,
    first_ms: Option<u64>,
    last_ms: Option<u64>,
    reason: Option<Bytes>,
    origin: Option<Bytes>,
    origin_id: Option<u64>,
}

/// `<key> <id> <state> <bytes> <name>=<value>...`; the item without its body, and how long that is.
pub(super) fn parse(rest: &Bytes) -> Option<(Found, u64)> {
    let mut words = rest.split(|&byte| byte == b' ');
    let key = parse_key(rest, words.next()?)?;
    let id = parse_u64(words.next()?)?;
    let state = ItemState::parse(words.next()?)?;
    let bytes = parse_u64(words.next()?)?;
    let mut names = Names::default();
    for word in words {
        let at = word.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        names.take(rest, &word[..at], &word[at + 1..])?;
    }
    let found = names.found(key, id, state)?;
    // What is shown of a body is a part of it.
    (bytes <= found.size).then_some((found, bytes))
}

impl Names {
    /// `None`: the value is not one of this name, or the name was there before.
    fn take(&mut self, line: &Bytes, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"size" => once(&mut self.size, parse_u64(value)),
            b"flags" => once(&mut self.flags, parse_u32(value)),
            b"attempts" => once(&mut self.attempts, parse_u32(value)),
            b"age_ms" => once(&mut self.age_ms, parse_u64(value)),
            b"priority" => once(&mut self.priority, Priority::parse(value)),
            b"ttl_ms" => once(&mut self.ttl_ms, parse_u64(value)),
            b"due_ms" => once(&mut self.due_ms, parse_u64(value)),
            b"lease_ms" => once(&mut self.lease_ms, parse_u64(value)),
            b"cause" => once(&mut self.cause, DeadCause::parse(value)),
            b"first_ms" => once(&mut self.first_ms, parse_u64(value)),
            b"last_ms" => once(&mut self.last_ms, parse_u64(value)),
            b"reason" => once(&mut self.reason, unescaped(value)),
            b"origin" => once(&mut self.origin, parse_key(line, value)),
            b"origin_id" => once(&mut self.origin_id, parse_u64(value)),
            _ => Some(()),
        }
    }

    /// `None`: something is missing.
    fn found(self, key: Bytes, id: u64, state: ItemState) -> Option<Found> {
        let dead = match self.cause {
            Some(cause) => Some(FoundDead {
                cause,
                first_ms: self.first_ms?,
                last_ms: self.last_ms?,
                reason: self.reason.unwrap_or_default(),
            }),
            None => None,
        };
        let origin = match self.origin {
            Some(queue) => Some((queue, self.origin_id?)),
            None => None,
        };
        Some(Found {
            key,
            id,
            state,
            size: self.size?,
            flags: self.flags?,
            attempts: self.attempts?,
            age_ms: self.age_ms?,
            priority: self.priority?,
            ttl_ms: self.ttl_ms,
            due_ms: self.due_ms,
            lease_ms: self.lease_ms,
            dead,
            origin,
            body: Bytes::new(),
        })
    }
}

fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value?);
    Some(())
}

/// `%XX` is a byte; every other byte is itself, and none but letters, digits and `-._~` may be.
fn unescaped(text: &[u8]) -> Option<Bytes> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'%' => (hex(*bytes.next()?)? << 4) | hex(*bytes.next()?)?,
            b'-' | b'.' | b'_' | b'~' => byte,
            _ if byte.is_ascii_alphanumeric() => byte,
            _ => return None,
        });
    }
    Some(out.into())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
