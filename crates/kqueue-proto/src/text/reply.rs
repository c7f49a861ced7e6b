//! Replies as the text protocol says them.
//!
//! A reply is to be read with what was asked: `END` is `*` to a get and `+0` to a flush.
//!
//! Invariants
//! - What was asked is answered in its order; a reply that nobody asked for is why the connection
//!   ends.
//! - What is kept of the items of a put is how many are still to be answered, how many were
//!   accepted, and the first reason why one was not.
//! - A line that is not an item has no control characters.
//!
//! Must not: decide what is answered.

use core::mem;

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;

use bytes::{BufMut, BytesMut};

use crate::number::put_u64;
use crate::response::text;
use crate::{Encoded, Response, Text};

/// What a reply will answer.
#[derive(Debug)]
pub(super) enum Asked {
    /// So many items of a put, each with a reply that is only counted.
    Items(u64),
    /// How many of the put's items were accepted.
    PutEnd,
    /// Something that was refused when it was read: this is the reason.
    Refused(Text),
    /// `get`, `peek`
    Get,
    Monitor,
    Confirm(i32),
    Flush,
    Delete,
    Status,
    SetStatus,
    Version,
    Shutdown,
}

/// What has been asked and not yet answered.
#[derive(Debug, Default)]
pub(super) struct Replies {
    asked: VecDeque<Asked>,
    /// Of the put whose items are being answered.
    put: Tally,
}

/// What became of the items of a put.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refusal: Option<Text>,
}

impl Replies {
    /// A request was given out that will be answered behind all others.
    pub(super) fn ask(&mut self, asked: Asked) {
        match (self.asked.back_mut(), asked) {
            (Some(Asked::Items(items)), Asked::Items(more)) => *items += more,
            (_, asked) => self.asked.push_back(asked),
        }
    }

    /// Entries that are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    /// See [`crate::Codec::encode`].
    pub(super) fn encode<'r>(
        &mut self,
        response: &'r Response,
        head: &mut BytesMut,
    ) -> Encoded<'r> {
        let asked = match (self.asked.front_mut(), response) {
            (Some(Asked::Items(left @ 2..)), _) => {
                *left -= 1;
                Some(Asked::Items(1))
            }
            (Some(Asked::Monitor), Response::ValueEnd { .. }) => Some(Asked::Monitor),
            _ => self.asked.pop_front(),
        };
        match (&asked, response) {
            (Some(Asked::Items(_)), _) => self.put.count(response),
            (Some(Asked::PutEnd), _) => mem::take(&mut self.put).encode(head),
            (Some(Asked::Refused(reason)), _) => line(head, b'-', reason),
            (Some(Asked::Get | Asked::Monitor), Response::ValueEnd { body, .. }) => {
                head.put_u8(b':');
                return Encoded { body: Some(body), tail: b"\n" };
            }
            (Some(Asked::Get | Asked::Monitor), Response::End) => head.put_slice(b"*\n"),
            (Some(Asked::Confirm(items)), Response::End) => {
                count(head, u64::try_from(*items).unwrap_or(0));
            }
            (Some(Asked::Flush | Asked::SetStatus), Response::End)
            | (Some(Asked::Delete), Response::Deleted)
            | (Some(Asked::Shutdown), Response::Nothing) => count(head, 0),
            (Some(Asked::Status), Response::Status(word))
            | (Some(Asked::Version), Response::Version(word)) => line(head, b':', word),
            (None, Response::Nothing) => {}
            (asked, _) => line(head, b'-', &error(asked.as_ref(), response)),
        }
        Encoded::default()
    }
}

impl Tally {
    fn count(&mut self, response: &Response) {
        match response {
            Response::Stored => self.accepted += 1,
            Response::NotStored | Response::NotStoredBecause(_) => {}
            _ if self.refusal.is_some() => {}
            _ => self.refusal = Some(error(Some(&Asked::PutEnd), response)),
        }
    }

    fn encode(self, head: &mut BytesMut) {
        match self.refusal {
            Some(reason) if self.accepted == 0 => line(head, b'-', &reason),
            _ => count(head, self.accepted),
        }
    }
}

/// An error in Kestrel's words where it has some.
fn error(asked: Option<&Asked>, response: &Response) -> Text {
    let operation = match asked {
        Some(Asked::Get) => Some("getItem"),
        Some(Asked::PutEnd) => Some("setItem"),
        Some(Asked::Monitor) => Some("monitorUntil"),
        Some(Asked::Flush) => Some("flush"),
        Some(Asked::Delete) => Some("delete"),
        _ => None,
    };
    match (asked, operation, response) {
        (_, Some(operation), Response::ServerError(reason)) => {
            Cow::Owned(format!("Server not available for operation {operation}: {reason}"))
        }
        (Some(Asked::Confirm(_)), _, Response::Error(_)) => {
            Cow::Borrowed("Not that many transactions open.")
        }
        (Some(Asked::SetStatus), _, Response::ClientError(reason)) => match &**reason {
            "unknown status" => Cow::Borrowed("Unknown status."),
            "status forbidden" => Cow::Borrowed("Status forbidden."),
            _ => reason.clone(),
        },
        (_, _, Response::ClientError(reason))
        | (_, _, Response::Error(reason))
        | (_, _, Response::ServerError(reason)) => reason.clone(),
        _ => {
            debug_assert!(false, "{response:?} answers {asked:?}");
            Cow::Borrowed("this answer has no words here")
        }
    }
}

/// `+<count>`
fn count(head: &mut BytesMut, count: u64) {
    head.put_u8(b'+');
    put_u64(head, count);
    head.put_u8(b'\n');
}

fn line(head: &mut BytesMut, mark: u8, words: &str) {
    head.put_u8(mark);
    text(head, words);
    head.put_u8(b'\n');
}
