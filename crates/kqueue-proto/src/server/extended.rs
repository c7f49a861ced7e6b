//! The lines of the extended commands.
//!
//! Invariant: an unknown word, a number out of range or a bad name is an error that names it, and nothing is left out or cut silently.
//!
//! Must not: look behind the line.

use bytes::Bytes;
use smallvec::SmallVec;

use super::grammar::{Parsed, Pending, PutOptions, name, number, settle};
use crate::number::parse_u64;
use crate::words::Words;
use crate::{
    BODY_BYTES_MAX, ClientError, Cursor, DELAY_MS_MAX, Fatal, ItemState, KEY_BYTES_MAX, Kick,
    Limits, Name, Priority, Purge, REASON_BYTES_MAX, RESERVE_QUEUES_MAX, Request,
};

/// `<key> <bytes> [<option>...]`
pub(super) fn put(mut words: Words<'_>) -> Result<Parsed, Fatal> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    let bytes = words.next().ok_or(ClientError::Missing("byte count"))?;
    let bytes = byte_count(&words, bytes)?;
    // From here on the end of the request is known, so no error closes the connection.
    let pending = put_options(words, key).map_or_else(refused, Pending::Put);
    Ok(Parsed::Body { pending, bytes })
}

fn byte_count(words: &Words<'_>, word: &[u8]) -> Result<u64, Fatal> {
    let bytes = parse_u64(word).filter(|&bytes| bytes <= BODY_BYTES_MAX);
    bytes.ok_or_else(|| ClientError::BadNumber("byte count", words.share(word)).into())
}

fn refused(error: ClientError) -> Pending {
    Pending::Refused { error, noreply: false }
}

/// Of several options with one name the last wins.
fn put_options(mut words: Words<'_>, key: &[u8]) -> Result<PutOptions, ClientError> {
    let mut put = PutOptions {
        key: name(&words, key)?,
        ttl_seconds: 0,
        flags: 0,
        delay_ms: 0,
        priority: Priority::Normal,
        idempotency_key: None,
    };
    while let Some(option) = words.next() {
        match split(option) {
            Some((b"ttl", value)) => put.ttl_seconds = number(&words, value, "ttl")?,
            Some((b"flags", value)) => put.flags = number(&words, value, "flags")?,
            Some((b"delay", value)) => put.delay_ms = delay(&words, value)?,
            Some((b"priority", value)) => {
                let bad = || ClientError::UnknownWord(words.share(option));
                put.priority = Priority::parse(value).ok_or_else(bad)?;
            }
            Some((b"key", value)) => {
                let is_control = |byte: &u8| byte.is_ascii_control();
                if value.is_empty() || value.len() > KEY_BYTES_MAX || value.iter().any(is_control) {
                    return Err(ClientError::BadKey(words.share(value)));
                }
                put.idempotency_key = Some(Bytes::copy_from_slice(value));
            }
            _ => return Err(ClientError::UnknownWord(words.share(option))),
        }
    }
    Ok(put)
}

/// `name=value`
fn split(option: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = option.iter().position(|&byte| byte == b'=')?;
    Some((&option[..at], &option[at + 1..]))
}

fn delay(words: &Words<'_>, word: &[u8]) -> Result<u64, ClientError> {
    let delay_ms = parse_u64(word).filter(|&delay_ms| delay_ms <= DELAY_MS_MAX);
    delay_ms.ok_or_else(|| ClientError::BadNumber("delay", words.share(word)))
}

/// `<max> <wait_ms> <lease_ms> <key>...`
pub(super) fn reserve(mut words: Words<'_>, limits: &Limits) -> Result<Request, ClientError> {
    let max = item_count(&mut words, limits)?;
    let wait_ms = next_number(&mut words, "wait")?;
    let lease_ms = next_number(&mut words, "lease")?;
    let mut keys = SmallVec::new();
    while let Some(word) = words.next() {
        if keys.len() == RESERVE_QUEUES_MAX {
            return Err(ClientError::TooManyQueues(words.share(word)));
        }
        keys.push(name(&words, word)?);
    }
    if keys.is_empty() {
        return Err(ClientError::Missing("queue name"));
    }
    Ok(Request::Reserve { max, wait_ms, lease_ms, keys })
}

fn item_count(words: &mut Words<'_>, limits: &Limits) -> Result<u32, ClientError> {
    let word = words.next().ok_or(ClientError::Missing("item count"))?;
    let max = number(words, word, "item count")?;
    if max == 0 || max > limits.reserve_max {
        return Err(ClientError::BadNumber("item count", words.share(word)));
    }
    Ok(max)
}

fn next_number(words: &mut Words<'_>, what: &'static str) -> Result<u32, ClientError> {
    let word = words.next().ok_or(ClientError::Missing(what))?;
    number(words, word, what)
}

/// `<key> <id>`
pub(super) fn ack(mut words: Words<'_>) -> Result<Request, ClientError> {
    let (key, id) = key_and_id(&mut words)?;
    end(words)?;
    Ok(Request::Ack { key, id })
}

/// `<key> <id> [delay=<ms>]`
pub(super) fn release(mut words: Words<'_>) -> Result<Request, ClientError> {
    let (key, id) = key_and_id(&mut words)?;
    let mut delay_ms = None;
    while let Some(option) = words.next() {
        match split(option) {
            Some((b"delay", value)) => delay_ms = Some(delay(&words, value)?),
            _ => return Err(ClientError::UnknownWord(words.share(option))),
        }
    }
    Ok(Request::Release { key, id, delay_ms })
}

/// `<key> <id> <lease_ms>`
///
/// memcached's has a time where the id is here. A client that told it `noreply` does not read the error: what it reads next must not be taken for the answer to
/// something else.
pub(super) fn touch(words: Words<'_>) -> Result<Parsed, Fatal> {
    let is_answered = !words.clone().ends_with_noreply();
    match touched(words) {
        Err(error) if !is_answered => Err(error.into()),
        result => Ok(settle(result)),
    }
}

fn touched(mut words: Words<'_>) -> Result<Request, ClientError> {
    let (key, id) = key_and_id(&mut words)?;
    let lease_ms = next_number(&mut words, "lease")?;
    end(words)?;
    Ok(Request::Touch { key, id, lease_ms })
}

/// `<key> <id> <bytes>`
pub(super) fn bury(mut words: Words<'_>) -> Result<Parsed, Fatal> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    let id = words.next().ok_or(ClientError::Missing("id"))?;
    let bytes = words.next().ok_or(ClientError::Missing("byte count"))?;
    let word = words.share(bytes);
    let bytes = byte_count(&words, bytes)?;
    let held =
        name(&words, key).and_then(|key| Ok(Pending::Bury { key, id: item_id(&words, id)? }));
    let held = held.and_then(|held| match bytes <= REASON_BYTES_MAX {
        true => Ok(held),
        false => Err(ClientError::BadNumber("byte count", word)),
    });
    let held = held.and_then(|held| end(words).map(|()| held));
    Ok(Parsed::Body { pending: held.unwrap_or_else(refused), bytes })
}

/// `<key> <state> <max> [after=<cursor>] [body=<bytes>]`
pub(super) fn browse(mut words: Words<'_>, limits: &Limits) -> Result<Request, ClientError> {
    let key = next_name(&mut words)?;
    let word = words.next().ok_or(ClientError::Missing("state"))?;
    let bad_state = || ClientError::UnknownWord(words.share(word));
    let state = ItemState::parse(word).ok_or_else(bad_state)?;
    let max = item_count(&mut words, limits)?;
    let (mut after, mut body_bytes) = (None, None);
    while let Some(option) = words.next() {
        match split(option) {
            Some((b"after", value)) => {
                let bad = || ClientError::BadNumber("cursor", words.share(value));
                after = Some(Cursor::parse(value).ok_or_else(bad)?);
            }
            Some((b"body", value)) => body_bytes = Some(number(&words, value, "body")?),
            _ => return Err(ClientError::UnknownWord(words.share(option))),
        }
    }
    Ok(Request::Browse { key, state, max, after, body_bytes })
}

/// `<key> <n>|all|id=<id>`
pub(super) fn kick(mut words: Words<'_>) -> Result<Request, ClientError> {
    let key = next_name(&mut words)?;
    let word = words.next().ok_or(ClientError::Missing("item count"))?;
    let which = match (word, split(word)) {
        (b"all", _) => Kick::All,
        (_, Some((b"id", id))) => Kick::Id(item_id(&words, id)?),
        _ => match number(&words, word, "item count")? {
            0 => return Err(ClientError::BadNumber("item count", words.share(word))),
            count => Kick::Some(count),
        },
    };
    end(words)?;
    Ok(Request::Kick { key, which })
}

/// `<key> ready|delayed|dead|all`
pub(super) fn purge(mut words: Words<'_>) -> Result<Request, ClientError> {
    let key = next_name(&mut words)?;
    let word = words.next().ok_or(ClientError::Missing("state"))?;
    let what = Purge::parse(word).ok_or_else(|| ClientError::UnknownWord(words.share(word)))?;
    end(words)?;
    Ok(Request::Purge { key, what })
}

/// `<key>` and nothing else
pub(super) fn key_alone(mut words: Words<'_>) -> Result<Name, ClientError> {
    let key = next_name(&mut words)?;
    end(words)?;
    Ok(key)
}

/// Nothing
pub(super) fn capabilities(words: Words<'_>) -> Result<Request, ClientError> {
    end(words).map(|()| Request::Capabilities)
}

fn next_name(words: &mut Words<'_>) -> Result<Name, ClientError> {
    let key = words.next().ok_or(ClientError::Missing("queue name"))?;
    name(words, key)
}

fn key_and_id(words: &mut Words<'_>) -> Result<(Name, u64), ClientError> {
    let key = next_name(words)?;
    let id = words.next().ok_or(ClientError::Missing("id"))?;
    Ok((key, item_id(words, id)?))
}

fn item_id(words: &Words<'_>, word: &[u8]) -> Result<u64, ClientError> {
    parse_u64(word).ok_or_else(|| ClientError::BadNumber("id", words.share(word)))
}

fn end(mut words: Words<'_>) -> Result<(), ClientError> {
    match words.next() {
        None => Ok(()),
        Some(word) => Err(ClientError::UnknownWord(words.share(word))),
    }
}
