//! Both halves against each other, and the decoder against everything that is no reply.

mod decode;
mod found;
mod generators;
mod round_trip;

use super::*;
use crate::{Name, NameRef};
use bytes::{Bytes, BytesMut};
use std::vec::Vec;

pub(super) fn limits() -> ReplyLimits {
    ReplyLimits { line_bytes: 8192, body_bytes: 100 }
}

/// What a stream of bytes decodes to; an error is the last thing there can be.
pub(super) fn feed<'a>(
    limits: ReplyLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Result<Reply, ReplyError>> {
    let mut decoder = ReplyDecoder::new(limits);
    let mut buf = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        while let Some(event) = decoder.decode(&mut buf).transpose() {
            let is_last = event.is_err();
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
    events
}

pub(super) fn key(text: &[u8]) -> NameRef<'_> {
    Name::check(text).unwrap()
}

pub(super) fn bytes(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text)
}
