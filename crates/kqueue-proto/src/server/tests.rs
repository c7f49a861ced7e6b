//! The decoder against every row of the protocol's tables, and against every way to cut the input.

mod bounds;
mod chunks;
mod extended;
mod grammar;

use super::*;
use std::string::String;

/// Limits small enough that every bound is met in a test.
pub(super) fn limits() -> Limits {
    Limits { item_bytes: 100, ..Limits::default() }
}

/// What a stream of bytes decodes to.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum Event {
    Request(Request),
    /// The last event there can be: the connection closes.
    Fatal(ClientError),
}

/// Feeds the pieces one after the other, as a connection would.
pub(super) fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new(limits);
    let mut buf = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(request)) => events.push(Event::Request(request)),
                Ok(None) => break,
                Err(fatal) => {
                    events.push(Event::Fatal(fatal.error));
                    return events;
                }
            }
        }
    }
    events
}

pub(super) fn all(input: &[u8]) -> Vec<Event> {
    feed(limits(), [input])
}

/// The one event of an input that holds one request (or one fatal error).
pub(super) fn one(input: &[u8]) -> Event {
    let mut events = all(input);
    assert_eq!(events.len(), 1, "{}: {events:?}", input.escape_ascii());
    events.remove(0)
}

pub(super) fn request(input: &[u8]) -> Request {
    match one(input) {
        Event::Request(request) => request,
        Event::Fatal(error) => panic!("{}: fatal: {error}", input.escape_ascii()),
    }
}

/// The reason of a request that is answered `CLIENT_ERROR`; the connection is still in step.
pub(super) fn malformed(input: &[u8]) -> String {
    let mut input = input.to_vec();
    input.extend_from_slice(b"version\r\n");
    match &all(&input)[..] {
        [
            Event::Request(Request::Malformed { error, noreply: false }),
            Event::Request(Request::Version),
        ] => error.text().into_owned(),
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

/// The reason of a request after which the connection closes: nothing behind it is decoded.
pub(super) fn fatal(input: &[u8]) -> String {
    let mut input = input.to_vec();
    input.extend_from_slice(b"version\r\nversion\r\n");
    match &all(&input)[..] {
        [Event::Fatal(error)] => error.text().into_owned(),
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

pub(super) fn bytes(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}

pub(super) fn name(text: &[u8]) -> crate::Name {
    crate::Name::parse(&bytes(text)).unwrap()
}
