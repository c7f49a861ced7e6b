//! Any bytes, in any cut, to the codec of the text protocol.
//!
//! Input: how long the pieces are (one byte), then the stream. Checked: the cut makes no difference to the requests; what is collected is no more than one item; what is
//! answered is lines.

use bytes::BytesMut;
use kqueue_proto::{Codec, Limits, Request, Response, TextCodec};

const LIMITS: Limits = Limits { line_bytes: 300, item_bytes: 64, reserve_max: 100 };

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn text_request(input: &[u8]) {
    let &[step, ref stream @ ..] = input else { return };
    let whole = decoded(stream, stream.len().max(1));
    let cut = decoded(stream, usize::from(step).max(1));
    assert_eq!(format!("{cut:?}"), format!("{whole:?}"));
}

/// The requests, what each is answered, and how it ends.
fn decoded(stream: &[u8], step: usize) -> (Vec<Request>, Vec<u8>, Option<String>) {
    let mut codec = TextCodec::new(LIMITS);
    let (mut buf, mut requests, mut out) = (BytesMut::new(), Vec::new(), BytesMut::new());
    for piece in stream.chunks(step) {
        buf.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buf) {
                Ok(Some(request)) => {
                    answer(&mut codec, &request, &mut out);
                    requests.push(request);
                }
                Ok(None) => break,
                Err(fatal) => {
                    assert_eq!(codec.decode(&mut buf).unwrap_err().to_string(), fatal.to_string());
                    return (requests, out.to_vec(), Some(fatal.to_string()));
                }
            }
            assert!(codec.collected() <= LIMITS.item_bytes + 1, "no more than an item");
        }
    }
    assert!(out.is_empty() || out.ends_with(b"\n"));
    (requests, out.to_vec(), None)
}

/// A broker's last answer to a request of this kind.
fn answer(codec: &mut TextCodec, request: &Request, out: &mut BytesMut) {
    let response = match request {
        Request::Set { .. } => Response::Stored,
        Request::MetaNoop => Response::MetaNoop,
        Request::Delete { .. } => Response::Deleted,
        Request::Version => Response::Version("1"),
        Request::Status { set: None } => Response::Status("UP"),
        Request::Shutdown => Response::Nothing,
        Request::Quit => return,
        _ => Response::End,
    };
    let encoded = codec.encode(&response, out);
    let (body, tail) = (encoded.body.cloned(), encoded.tail);
    out.extend_from_slice(body.as_deref().unwrap_or_default());
    out.extend_from_slice(tail);
}
