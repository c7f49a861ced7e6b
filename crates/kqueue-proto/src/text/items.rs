//! The lines behind a command line that ended with a colon.
//!
//! Invariants
//! - An item larger than is kept passes by and is only counted.
//! - An item is collected as it arrives; in the end it has an allocation of exactly its size.
//!
//! Must not: know whose items they are.

use core::mem;

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::Body;
use crate::server::{SMALL_BODY_BYTES, collect};

/// Takes lines, one after the other; resumable at any byte.
#[derive(Debug)]
pub(super) struct ItemLines {
    /// Larger items are not kept.
    item_bytes: usize,
    /// So many bytes of the caller's buffer hold no line end.
    scanned: usize,
    /// So many bytes of the line have left the caller's buffer, ...
    passed: u64,
    /// ... the last of them was a CR, ...
    ends_with_cr: bool,
    /// ... and here they are, unless the item is known to be too large.
    collected: Vec<u8>,
}

/// A line without its line end (LF, or CRLF).
#[derive(Debug)]
pub(super) enum Line {
    /// The end of the items.
    Empty,
    Item(Body),
}

impl ItemLines {
    pub(super) fn new(item_bytes: usize) -> Self {
        Self { item_bytes, scanned: 0, passed: 0, ends_with_cr: false, collected: Vec::new() }
    }

    /// How much of an item has been collected, in bytes.
    pub(super) fn collected(&self) -> usize {
        self.collected.len()
    }

    /// Takes the next line out of `input`; `None`: more bytes are needed.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Option<Line> {
        let Some(at) = memchr(b'\n', &input[self.scanned..]).map(|at| at + self.scanned) else {
            self.take_part(input);
            return None;
        };
        let cr = if at > 0 { input[at - 1] == b'\r' } else { self.ends_with_cr };
        let bytes = self.passed + at as u64 - u64::from(cr);
        let line = match usize::try_from(bytes).ok().filter(|&bytes| bytes <= self.item_bytes) {
            Some(0) => Line::Empty,
            Some(bytes) => Line::Item(Body::Bytes(self.finish(bytes, input))),
            None => Line::Item(Body::TooLarge { bytes }),
        };
        input.advance(at + 1);
        *self = Self::new(self.item_bytes);
        Some(line)
    }

    /// The item, `bytes` long, whose end is in `input`.
    fn finish(&mut self, bytes: usize, input: &[u8]) -> Bytes {
        if self.passed == 0 {
            // A copy of exactly its size: a small item must not keep a whole input buffer alive.
            return Bytes::copy_from_slice(&input[..bytes]);
        }
        let mut item = mem::take(&mut self.collected);
        let missing = bytes.saturating_sub(item.len());
        item.reserve_exact(missing);
        item.extend_from_slice(&input[..missing]);
        item.truncate(bytes);
        Bytes::from(item.into_boxed_slice())
    }

    /// Looks at a line whose end has not arrived. It stays in `input` as long as it is small.
    fn take_part(&mut self, input: &mut BytesMut) {
        let Some(&last) = input.last() else { return };
        // The line may be an item of the largest size and a CR.
        let most = self.item_bytes.saturating_add(1);
        let passed = self.passed + input.len() as u64;
        if passed > most as u64 {
            self.collected = Vec::new();
            input.clear();
        } else if passed > SMALL_BODY_BYTES as u64 {
            collect(input, input.len(), most, &mut self.collected);
        } else {
            self.scanned = input.len();
            return;
        }
        (self.scanned, self.passed, self.ends_with_cr) = (0, passed, last == b'\r');
    }
    /// How much of a line has left the caller's buffer, and the memory that is held for it.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (u64, usize) {
        (self.passed, self.collected.capacity())
    }
}
