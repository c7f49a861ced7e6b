//! Any bytes, in any cut, to the server's decoder.
//!
//! Checked: the cut makes no difference; what waits in the buffer is bounded; a request that the
//! client's half can also say survives being said again.
//!
//! Input: how long the pieces are (one byte), then the stream.

use bytes::BytesMut;
use kqueue_proto::client::{self, BrowseOptions, PutOptions};
use kqueue_proto::{Body, Decoder, Expiry, Fatal, Limits, Name, REASON_BYTES_MAX, Request};

const LIMITS: Limits = Limits { line_bytes: 300, item_bytes: 64, reserve_max: 100 };
/// A small body (a reason is the longest here) or a line, and its line end: more must never have to wait.
const WAITING_MAX: usize = REASON_BYTES_MAX as usize + 2;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Request>, Option<Fatal>) {
    let mut decoder = Decoder::new(LIMITS);
    let (mut buf, mut requests) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(fatal) => return (requests, Some(fatal)),
            }
        }
        assert!(buf.len() <= WAITING_MAX, "{} bytes wait", buf.len());
    }
    (requests, None)
}

/// Says the request as a client would, if there are words for it.
fn encode(request: &Request) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let body = match request {
        Request::Set {
            key,
            flags,
            expiry: Expiry::Kestrel(expiry),
            body: Body::Bytes(body),
            noreply: false,
        } => {
            let key = Name::check(key).ok()?;
            client::set(&mut out, key, *flags, *expiry, body.len()).unwrap();
            Some(body)
        }
        Request::Put {
            key,
            ttl_seconds,
            flags,
            delay_ms,
            priority,
            idempotency_key,
            body: Body::Bytes(body),
        } => {
            let options = PutOptions {
                ttl_seconds: *ttl_seconds,
                flags: *flags,
                delay_ms: *delay_ms,
                priority: *priority,
                idempotency_key: idempotency_key.as_deref(),
            };
            client::put(&mut out, key.by_ref(), body.len(), &options).unwrap();
            Some(body)
        }
        Request::Bury { key, id, reason } => {
            client::bury(&mut out, key.by_ref(), *id, reason.len()).unwrap();
            Some(reason)
        }
        other => {
            encode_line(&mut out, other)?;
            None
        }
    };
    if let Some(body) = body {
        out.extend_from_slice(body);
        out.extend_from_slice(client::BODY_END);
    }
    Some(out)
}

fn encode_line(out: &mut Vec<u8>, request: &Request) -> Option<()> {
    match request {
        Request::Get { key, options, with_cas: false } => {
            client::get(out, Name::check(key).ok()?, options).unwrap();
        }
        Request::Reserve { max, wait_ms, lease_ms, keys } => {
            let keys: Vec<_> = keys.iter().map(Name::by_ref).collect();
            client::reserve(out, *max, *wait_ms, *lease_ms, &keys).unwrap();
        }
        Request::Ack { key, id } => client::ack(out, key.by_ref(), *id),
        Request::Release { key, id, delay_ms } => {
            client::release(out, key.by_ref(), *id, *delay_ms).unwrap();
        }
        Request::Touch { key, id, lease_ms } => {
            client::touch(out, key.by_ref(), *id, *lease_ms);
        }
        Request::Browse { key, state, max, after, body_bytes } => {
            let options = BrowseOptions { after: *after, body_bytes: *body_bytes };
            client::browse(out, key.by_ref(), *state, *max, &options).unwrap();
        }
        Request::Kick { key, which } => client::kick(out, key.by_ref(), *which).unwrap(),
        Request::Purge { key, what } => client::purge(out, key.by_ref(), *what),
        Request::Pause { key } => client::pause(out, key.by_ref()),
        Request::Resume { key } => client::resume(out, key.by_ref()),
        _ => return None,
    }
    Some(())
}

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn proto_request(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(usize::from(step).max(1))), whole);
    for request in &whole.0 {
        if let Some(wire) = encode(request) {
            assert_eq!(decode(std::iter::once(&wire[..])), (vec![request.clone()], None));
        }
    }
}
