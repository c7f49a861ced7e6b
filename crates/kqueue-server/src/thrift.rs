//! Kestrel's Thrift interface: framed transport, binary protocol, service `Kestrel` (`docs/kestrel.thrift`).
//!
//! Invariants
//! - What is decoded depends on the bytes alone, never on how they were cut into reads.
//! - Nothing is allocated by a length that the peer announced: a frame is collected as its bytes arrive, and no length inside it may be larger than it is.
//! - Replies carry the sequence ids of their calls, in the order of the calls.
//!
//! Must not: know what a queue does.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use kqueue_broker::{ClientError, Codec, Encoded, Fatal, Request, Response};

use decode::Decoded;

/// Frames up to here wait in the caller's buffer until they are complete; larger ones are collected as they arrive.
const SMALL_FRAME_BYTES: usize = 16 * 1024;
/// A frame may be longer than the largest item by so much.
const FRAME_BYTES_BESIDES_ITEM: usize = 16 * 1024 * 1024;
/// The length before a frame.
const LENGTH_BYTES: usize = 4;

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A longer frame ends the connection.
    frame_bytes: usize,
    /// A longer item is refused.
    item_bytes: usize,
}

impl Limits {
    /// For items up to so many bytes.
    pub(crate) fn new(item_bytes: usize) -> Self {
        Self { frame_bytes: FRAME_BYTES_BESIDES_ITEM + item_bytes, item_bytes }
    }
}

/// The methods of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Put,
    Get,
    Confirm,
    Abort,
    Peek,
    FlushQueue,
    FlushAllQueues,
    DeleteQueue,
    CurrentStatus,
    SetStatus,
    GetVersion,
}

impl Method {
    const ALL: [Self; 11] = [
        Self::Put,
        Self::Get,
        Self::Confirm,
        Self::Abort,
        Self::Peek,
        Self::FlushQueue,
        Self::FlushAllQueues,
        Self::DeleteQueue,
        Self::CurrentStatus,
        Self::SetStatus,
        Self::GetVersion,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Confirm => "confirm",
            Self::Abort => "abort",
            Self::Peek => "peek",
            Self::FlushQueue => "flush_queue",
            Self::FlushAllQueues => "flush_all_queues",
            Self::DeleteQueue => "delete_queue",
            Self::CurrentStatus => "current_status",
            Self::SetStatus => "set_status",
            Self::GetVersion => "get_version",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A call whose reply has not been encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    sequence: i32,
    what: What,
    /// The peer expects no reply.
    is_oneway: bool,
}

/// What was called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Method(Method),
    /// There is no such method.
    Unknown(String),
    /// The frame could not be understood; what it called, if that is known.
    Broken(String),
}

/// The conversation of one connection.
#[derive(Debug)]
pub(crate) struct Thrift {
    limits: Limits,
    frames: Frames,
    calls: VecDeque<Call>,
    failed: Option<Fatal>,
}

impl Thrift {
    pub(crate) fn new(limits: Limits) -> Self {
        let frames = Frames { bytes_max: limits.frame_bytes, state: Frame::Length };
        Self { limits, frames, calls: VecDeque::new(), failed: None }
    }

    fn note(&mut self, decoded: Decoded) -> Request {
        let Decoded { call, request } = decoded;
        // What is malformed and expects no reply gets none: it has no place in the order of replies.
        if !matches!(request, Request::Malformed { noreply: true, .. }) {
            self.calls.push_back(call);
        }
        request
    }

    /// Nothing behind this can be followed. The reason is a reply to `call`.
    fn fail(&mut self, call: Call, reason: Cow<'static, str>) -> Fatal {
        self.calls.push_back(call);
        let fatal = Fatal::from(ClientError::BadMessage(reason));
        self.failed = Some(fatal.clone());
        fatal
    }
}

impl Codec for Thrift {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        if let Some(fatal) = &self.failed {
            input.clear();
            return Err(fatal.clone());
        }
        let decoded = match self.frames.take(input) {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => decode::frame(&frame, &self.limits),
            Err(reason) => {
                let what = What::Broken(String::new());
                Err((Call { sequence: 0, what, is_oneway: false }, reason))
            }
        };
        match decoded {
            Ok(decoded) => Ok(Some(self.note(decoded))),
            Err((call, reason)) => {
                input.clear();
                Err(self.fail(call, reason))
            }
        }
    }

    fn is_mid_request(&self, input: &BytesMut) -> bool {
        !input.is_empty() || matches!(self.frames.state, Frame::Content { .. })
    }

    fn collected(&self) -> usize {
        match &self.frames.state {
            Frame::Content { collected, .. } => collected.len(),
            Frame::Length => 0,
        }
    }

    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
        match self.calls.pop_front() {
            Some(call) if call.is_oneway => {}
            Some(call) => encode::reply(&call, response, head),
            None => debug_assert!(false, "a reply that nobody asked for: {response:?}"),
        }
        Encoded::default()
    }

    fn closes_on_error(&self) -> bool {
        false
    }
}

/// Cuts a stream into frames.
#[derive(Debug)]
struct Frames {
    bytes_max: usize,
    state: Frame,
}

#[derive(Debug)]
enum Frame {
    /// Before a frame, or within its length.
    Length,
    /// Within a frame; what has been taken out of the caller's buffer so far.
    Content { bytes: usize, collected: Vec<u8> },
}

impl Frames {
    /// Takes the next frame; `None`: more bytes are needed.
    fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Cow<'static, str>> {
        if matches!(self.state, Frame::Length) {
            let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
            let length = i32::from_be_bytes(*length);
            let bytes = usize::try_from(length).ok().filter(|&bytes| bytes <= self.bytes_max);
            let Some(bytes) = bytes else {
                let max = self.bytes_max;
                return Err(format!("a frame has 0 to {max} bytes, not {length}").into());
            };
            input.advance(LENGTH_BYTES);
            self.state = Frame::Content { bytes, collected: Vec::new() };
        }
        let Frame::Content { bytes, collected } = &mut self.state else { return Ok(None) };
        if collected.is_empty() && input.len() >= *bytes {
            let frame = input.split_to(*bytes).freeze();
            self.state = Frame::Length;
            return Ok(Some(frame));
        }
        if *bytes > SMALL_FRAME_BYTES {
            collect(input, *bytes, collected);
        }
        if collected.len() < *bytes {
            return Ok(None);
        }
        let frame = mem::take(collected).into();
        self.state = Frame::Length;
        Ok(Some(frame))
    }
}

/// Moves what `input` holds of a frame of `total` bytes. Capacity doubles with what has arrived.
fn collect(input: &mut BytesMut, total: usize, collected: &mut Vec<u8>) {
    let now = input.len().min(total - collected.len());
    let needed = collected.len() + now;
    if needed > collected.capacity() {
        let capacity = needed.max(collected.capacity() * 2).min(total);
        collected.reserve_exact(capacity - collected.len());
    }
    collected.extend_from_slice(&input[..now]);
    input.advance(now);
}
