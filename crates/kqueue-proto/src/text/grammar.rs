//! Command lines of the text protocol to requests.
//!
//! Only the command is lower-cased, words too many are ignored, both as by Kestrel. Where Kestrel
//! closes without a word, the reason is said first.
//!
//! Must not: look behind the line.

use alloc::borrow::Cow;
use alloc::format;

use bytes::Bytes;

use super::reply::Asked;
use crate::number::{parse_kestrel, parse_u64};
use crate::words::{COMMAND_BYTES_MAX, Words, lower};
use crate::{ClientError, Excerpt, Expiry, Fatal, GetOptions, Name, Request, Text};

/// What a line turned out to be.
#[derive(Debug)]
pub(super) enum Parsed {
    /// `put`, perhaps with items behind it.
    Put { key: Bytes, expiry: Expiry },
    /// Everything else, and what its reply will answer; `quit` has none.
    Other(Request, Option<Asked>),
}

/// What is wrong with a line.
enum Refusal {
    /// Answered, and the connection stays.
    Answer(Text),
    /// Kestrel closes the connection for it.
    Close(ClientError),
}

impl From<&'static str> for Refusal {
    fn from(answer: &'static str) -> Self {
        Self::Answer(Cow::Borrowed(answer))
    }
}

const NO_QUEUE: &str = "Queue name required.";
const NO_TIMEOUT: &str = "Queue name & timeout required.";
const NO_COUNT: &str = "Queue name & count required.";
const BAD_TIMEOUT: &str = "Error parsing timeout.";
const BAD_EXPIRY: &str = "Error parsing expiration time.";

/// Parses one line, its line end and a colon before it removed.
pub(super) fn parse_line(line: &Bytes) -> Result<Parsed, Fatal> {
    match parse(line) {
        Ok(parsed) => Ok(parsed),
        Err(Refusal::Answer(text)) => other(Request::MetaNoop, Asked::Refused(text)),
        Err(Refusal::Close(error)) => Err(error.into()),
    }
}

fn parse(line: &Bytes) -> Result<Parsed, Refusal> {
    let mut words = Words::new(line);
    let command = words.next().unwrap_or_default();
    match lower(command, &mut [0; COMMAND_BYTES_MAX]) {
        b"put" => put(words),
        b"get" => get(words, GetOptions { open: true, ..GetOptions::default() }),
        b"peek" => get(words, GetOptions { peek: true, ..GetOptions::default() }),
        b"monitor" => monitor(words),
        b"confirm" => confirm(words),
        b"flush" => other(Request::Flush { key: queue(&mut words)? }, Asked::Flush),
        b"delete" => {
            let key = queue(&mut words)?;
            other(Request::Delete { key, noreply: false }, Asked::Delete)
        }
        b"status" => match words.next() {
            None => other(Request::Status { set: None }, Asked::Status),
            Some(status) => {
                other(Request::Status { set: Some(words.share(status)) }, Asked::SetStatus)
            }
        },
        b"version" => other(Request::Version, Asked::Version),
        b"shutdown" => other(Request::Shutdown, Asked::Shutdown),
        b"quit" => Ok(Parsed::Other(Request::Quit, None)),
        // A browser that was made to talk to this port: what follows is not for us.
        _ if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") => {
            Err(Refusal::Close(ClientError::UnknownCommand(words.share(command))))
        }
        _ => {
            let command = command.to_ascii_lowercase();
            let text = format!("Unknown command: {}", Excerpt(&command));
            Err(Refusal::Answer(Cow::Owned(text)))
        }
    }
}

fn other<E>(request: Request, asked: Asked) -> Result<Parsed, E> {
    Ok(Parsed::Other(request, Some(asked)))
}

/// `<queue> [expiry_ms]`
fn put(mut words: Words<'_>) -> Result<Parsed, Refusal> {
    // The queue's name outlives the line by far: it must not keep the input buffer alive.
    let key = Bytes::copy_from_slice(&queue(&mut words)?);
    let expiry = words.next().map_or(Some(Expiry::AfterMs(0)), expiry).ok_or(BAD_EXPIRY)?;
    Ok(Parsed::Put { key, expiry })
}

/// Milliseconds from now; 0 is never, and what is before now has expired.
fn expiry(word: &[u8]) -> Option<Expiry> {
    match word {
        [b'-', digits @ ..] => match parse_u64(digits)? {
            0 => Some(Expiry::AfterMs(0)),
            _ => Some(Expiry::Kestrel(-1)),
        },
        digits => parse_u64(digits).map(Expiry::AfterMs),
    }
}

/// `<queue> [timeout_ms]`
fn get(mut words: Words<'_>, options: GetOptions) -> Result<Parsed, Refusal> {
    let key = queue(&mut words)?;
    let wait = words.next().map_or(Some(0), parse_kestrel).ok_or(BAD_TIMEOUT)?;
    let options =
        GetOptions { close_all: true, wait_ms: u32::try_from(wait).unwrap_or(0), ..options };
    other(Request::Get { key, options, with_cas: false }, Asked::Get)
}

/// `<queue> <timeout_ms>`
fn monitor(words: Words<'_>) -> Result<Parsed, Refusal> {
    let (key, wait) = queue_and_number(words, NO_TIMEOUT, "timeout")?;
    let wait_ms = u64::try_from(wait).unwrap_or(0);
    other(Request::Monitor { key, wait_ms, max: None, close_all: true }, Asked::Monitor)
}

/// `<queue> <count>`
fn confirm(words: Words<'_>) -> Result<Parsed, Refusal> {
    let (key, count) = queue_and_number(words, NO_COUNT, "count")?;
    other(Request::Confirm { key, count }, Asked::Confirm(count))
}

fn queue(words: &mut Words<'_>) -> Result<Bytes, Refusal> {
    let word = words.next().ok_or(NO_QUEUE)?;
    checked(words.share(word))
}

fn queue_and_number(
    mut words: Words<'_>,
    missing: &'static str,
    what: &'static str,
) -> Result<(Bytes, i32), Refusal> {
    let key = words.next().ok_or(missing)?;
    let number = words.next().ok_or(missing)?;
    let key = checked(words.share(key))?;
    match parse_kestrel(number) {
        Some(number) => Ok((key, number)),
        None => Err(Refusal::Close(ClientError::BadNumber(what, words.share(number)))),
    }
}

fn checked(word: Bytes) -> Result<Bytes, Refusal> {
    match Name::check(&word) {
        Ok(_) => Ok(word),
        Err(error) => Err(Refusal::Close(ClientError::BadName(error, word))),
    }
}
