//! The text protocol against every row of Kestrel's table, and against every way to cut the input.
//!
//! The broker is played by [`answers`]: what a queue does is in its name.

mod bounds;
mod chunks;
mod grammar;
mod replies;

use super::*;
use crate::Body;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// Limits small enough that every bound is met in a test.
fn limits() -> Limits {
    Limits { line_bytes: 60, item_bytes: 20, ..Limits::default() }
}

/// What a stream of bytes decodes to.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Event {
    Request(Request),
    /// The last event there can be: the connection closes.
    Fatal(ClientError),
}

fn decode_all(codec: &mut TextCodec, input: &mut BytesMut) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match codec.decode(input) {
            Ok(Some(request)) => events.push(Event::Request(request)),
            Ok(None) => return events,
            Err(fatal) => {
                events.push(Event::Fatal(fatal.error));
                return events;
            }
        }
    }
}

/// What an input decodes to in one piece.
fn all(input: &[u8]) -> Vec<Event> {
    decode_all(&mut TextCodec::new(limits()), &mut BytesMut::from(input))
}

fn encode(codec: &mut TextCodec, response: &Response, out: &mut BytesMut) {
    let Encoded { body, tail } = codec.encode(response, out);
    out.extend_from_slice(body.map_or(&[], |body| body));
    out.extend_from_slice(tail);
}

/// What the server would answer.
fn answers(request: &Request) -> Vec<Response> {
    let value = |text: &'static [u8]| Response::ValueEnd {
        key: Bytes::from_static(b"key"),
        flags: 7,
        body: Bytes::from_static(text),
        cas: None,
    };
    let read_only = || Response::ServerError("read\nonly".into());
    match request {
        Request::Set { body: Body::TooLarge { .. }, .. } => vec![Response::NotStored],
        Request::Set { key, body: Body::Bytes(body), .. } => vec![match &key[..] {
            b"full" => Response::NotStored,
            b"full_because" => Response::NotStoredBecause("queue full".into()),
            b"down" => read_only(),
            b"half" if body.starts_with(b"bad") => read_only(),
            _ => Response::Stored,
        }],
        Request::Get { key, .. } | Request::Monitor { key, .. } if &**key == b"down" => {
            vec![read_only()]
        }
        Request::Flush { key } | Request::Delete { key, .. } if &**key == b"down" => {
            vec![read_only()]
        }
        Request::Get { key, .. } | Request::Confirm { key, .. } if &**key == b"error" => {
            vec![Response::Error("too many open reads".into())]
        }
        Request::Get { key, .. } if &**key == b"none" => vec![Response::End],
        Request::Get { .. } => vec![value(b"an\xe9 item")],
        Request::Monitor { key, .. } if &**key == b"none" => vec![Response::End],
        Request::Monitor { .. } => vec![value(b"one"), value(b""), Response::End],
        Request::Confirm { .. } | Request::Flush { .. } => vec![Response::End],
        Request::Delete { .. } => vec![Response::Deleted],
        Request::Status { set: None } => vec![Response::Status("READONLY")],
        Request::Status { set: Some(status) } => vec![match &**status {
            b"up" => Response::End,
            b"down" => Response::ClientError("status forbidden".into()),
            b"late" => Response::ServerError("shutting down".into()),
            _ => Response::ClientError("unknown status".into()),
        }],
        Request::Version => vec![Response::Version("1.2.3")],
        Request::Shutdown => vec![Response::Nothing],
        Request::MetaNoop => vec![Response::MetaNoop],
        Request::Quit => vec![],
        other => panic!("the text protocol does not ask {other:?}"),
    }
}

/// When replies are made: at once, or only when everything has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AtOnce,
    AtTheEnd,
}

/// What a client reads that sends the pieces; the end of the connection is shown as `<closed>`.
fn talk<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>, pace: Pace) -> String {
    let mut codec = TextCodec::new(limits);
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let mut waiting = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        for event in decode_all(&mut codec, &mut input) {
            let (responses, closes) = match event {
                Event::Request(request) => (answers(&request), request == Request::Quit),
                Event::Fatal(error) => (vec![(&error).into()], true),
            };
            waiting.extend(responses);
            if pace == Pace::AtOnce || closes {
                waiting.drain(..).for_each(|response| encode(&mut codec, &response, &mut out));
            }
            if closes {
                out.extend_from_slice(b"<closed>");
                return show(&out);
            }
        }
    }
    waiting.iter().for_each(|response| encode(&mut codec, response, &mut out));
    show(&out)
}

/// Latin-1, so that every byte can be seen.
fn show(out: &[u8]) -> String {
    out.iter().map(|&byte| char::from(byte)).collect()
}

fn bytes(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}
