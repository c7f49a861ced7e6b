//! What a protocol is to the server: bytes to [`Request`]s, [`Response`]s to bytes.
//!
//! Invariant: a codec sees the replies to the requests that it gave out, in their order; a request
//! with several replies ([`Response::Lines`], the items of a monitor) ends with [`Response::End`].
//!
//! Must not: know what a queue does.

use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::{Decoder, Fatal, Request, Response};

/// The protocol of one connection, with what it has to remember of it.
pub trait Codec: fmt::Debug + Send {
    /// Takes the next request out of `input`; `None`: more bytes are needed. May shorten `input` without giving anything out.
    ///
    /// # Errors
    /// [`Fatal`]: the reason is answered, then the connection is closed. From then on always the same error.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal>;

    /// Whether a request has begun that has not been given out, `input` being what is left.
    fn is_mid_request(&self, input: &BytesMut) -> bool;

    /// How much has been collected of a request that is not complete, in bytes, besides what is in the caller's buffer.
    fn collected(&self) -> usize {
        0
    }

    /// The server cannot keep what has been collected: it is forgotten, and the rest of the body will be swallowed ([`crate::Body::NoRoom`]). False if the protocol has no way to go on
    /// then: the connection is to be closed.
    fn refuse_body(&mut self) -> bool {
        false
    }

    /// Appends the bytes of a reply to `head`, up to the body that is passed on without a copy.
    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r>;

    /// Whether an error that Kestrel closes a memcache connection for ends this conversation, too.
    fn closes_on_error(&self) -> bool {
        true
    }
}

/// What follows the head of a reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoded<'r> {
    /// Sent as it is.
    pub body: Option<&'r Bytes>,
    /// The bytes behind the body; empty if there is none.
    pub tail: &'static [u8],
}

/// The memcache protocol.
impl Codec for Decoder {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        Decoder::decode(self, input)
    }

    fn is_mid_request(&self, input: &BytesMut) -> bool {
        Decoder::is_mid_request(self, input)
    }

    fn collected(&self) -> usize {
        Decoder::collected(self)
    }

    fn refuse_body(&mut self) -> bool {
        Decoder::refuse_body(self);
        true
    }

    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
        response.head(head);
        Encoded { body: response.body(), tail: response.tail() }
    }
}
