//! Bytes on their way to a peer.
//!
//! Owns encoded replies as a list of chunks: small replies are gathered in one chunk, large bodies are passed on without a copy. Must not: know
//! gates or sessions.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use kqueue_proto::{Codec, Response};

/// Bodies from this size on are a chunk of their own; below, copying is cheaper than another slice in `writev`.
const SHARED_BODY_MIN: usize = 4096;
/// A buffer that has grown beyond this is not kept once it has been sent.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A queue of bytes to send.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Output {
    /// Appends a reply.
    pub(crate) fn push(&mut self, codec: &mut dyn Codec, response: &Response) {
        let before = self.tail.len();
        let encoded = codec.encode(response, &mut self.tail);
        match encoded.body {
            Some(body) if body.len() >= SHARED_BODY_MIN => {
                self.bytes += self.tail.len() - before + body.len() + encoded.tail.len();
                if !self.tail.is_empty() {
                    self.chunks.push_back(self.tail.split().freeze());
                }
                self.chunks.push_back(body.clone());
                self.tail.extend_from_slice(encoded.tail);
            }
            body => {
                self.tail.extend_from_slice(body.map_or(&[], |body| body));
                self.tail.extend_from_slice(encoded.tail);
                self.bytes += self.tail.len() - before;
            }
        }
        if self.tail.len() > KEPT_BYTES_MAX {
            // A codec that copies bodies made it large; as a chunk it goes when it has been sent.
            self.chunks.push_back(core::mem::take(&mut self.tail).freeze());
        }
    }

    /// Bytes not yet sent.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The bytes to send, in order, none of the chunks empty.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        self.chunks.iter().map(|chunk| &chunk[..]).chain(tail)
    }

    /// Forgets the first `count` bytes: they were sent.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count > 0 {
            let Some(front) = self.chunks.front_mut() else {
                self.tail.advance(count);
                return;
            };
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kqueue_proto::{Encoded, Fatal, Request};

    use super::*;

    /// Bodies are copied, whatever their size.
    #[derive(Debug)]
    struct Copies;

    impl Codec for Copies {
        fn decode(&mut self, _: &mut BytesMut) -> Result<Option<Request>, Fatal> {
            Ok(None)
        }

        fn is_mid_request(&self, _: &BytesMut) -> bool {
            false
        }

        fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
            response.encode(head);
            Encoded::default()
        }
    }

    #[test]
    fn a_large_buffer_goes_with_what_was_in_it() {
        let body = Bytes::from(alloc::vec![b'x'; 1 << 20]);
        let large = Response::ValueEnd { key: "q".into(), flags: 0, body, cas: None };
        let (mut output, mut expected) = (Output::default(), BytesMut::new());
        for response in [&Response::End, &large, &Response::Stored, &large] {
            output.push(&mut Copies, response);
            response.encode(&mut expected);
        }
        assert_eq!(output.chunks().flatten().copied().collect::<BytesMut>(), expected);
        assert_eq!(output.len(), expected.len());
        output.advance(expected.len() - 1);
        output.advance(1);
        assert!(output.is_empty() && output.chunks.is_empty());
        assert_eq!(output.tail.capacity(), 0);
    }
}
