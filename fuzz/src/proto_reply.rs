//! Any bytes, in any cut, to the client's decoder.
//!
//! Checked: the cut makes no difference; what waits in the buffer is bounded; nothing that is
//! given out is longer than the limits; texts and excerpts are printable; a reply that the
//! server's half can also say survives being said again.
//!
//! Input: how long the pieces are (one byte), then the stream.

use bytes::BytesMut;
use kqueue_proto::Response;
use kqueue_proto::client::{Reply, ReplyDecoder, ReplyError, ReplyLimits};

const LIMITS: ReplyLimits = ReplyLimits { line_bytes: 200, body_bytes: 64 };
/// A line or a body, and its line end: more must never have to wait.
const WAITING_MAX: usize = LIMITS.line_bytes + 2;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(LIMITS);
    let (mut buf, mut replies) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
        assert!(buf.len() <= WAITING_MAX, "{} bytes wait", buf.len());
    }
    (replies, None)
}

fn check(reply: &Reply) {
    match reply {
        Reply::Value { body, .. } | Reply::Item { body, .. } => {
            assert!(body.len() <= LIMITS.body_bytes);
        }
        Reply::Found(found) => {
            assert!(found.body.len() <= LIMITS.body_bytes);
            assert!(found.body.len() as u64 <= found.size);
            let reason = found.dead.as_ref().map_or(0, |dead| dead.reason.len());
            assert!(reason <= LIMITS.line_bytes);
        }
        Reply::ClientError(text)
        | Reply::Error(text)
        | Reply::ServerError(text)
        | Reply::NotStored(Some(text)) => assert!(!text.chars().any(char::is_control)),
        _ => {}
    }
}

/// The same reply as the server would say it, if there are words for it.
fn respond(reply: &Reply) -> Option<Response> {
    Some(match reply.clone() {
        Reply::Stored(Some(id)) => Response::StoredId(id),
        Reply::Item { key, id, flags, attempts, age_ms, body } => {
            Response::Item { key, id, flags, attempts, age_ms, body }
        }
        Reply::ServerError(text) => Response::ServerError(text.into()),
        Reply::Found(found) => Response::Found(found),
        Reply::EndWithCursor(cursor) => Response::EndWithCursor(cursor),
        Reply::Flushed => Response::Flushed,
        Reply::OkCount(count) => Response::OkCount(count),
        Reply::NotHeld => Response::NotHeld,
        Reply::NotFound => Response::NotFound,
        _ => return None,
    })
}

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn proto_reply(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(usize::from(step).max(1))), whole);
    if let Some(error) = &whole.1 {
        assert!(error.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
    for reply in &whole.0 {
        check(reply);
        if let Some(response) = respond(reply) {
            let mut wire = BytesMut::new();
            response.encode(&mut wire);
            if wire.len() <= LIMITS.line_bytes {
                assert_eq!(decode(std::iter::once(&wire[..])), (vec![reply.clone()], None));
            }
        }
    }
}
