//! Records gathered for one commit.
//!
//! Owns the encoded bytes from `append` until they leave in a job. Heads are written without their checksum at first: it is mixed with the salt
//! of the segment, and in which segment a batch goes is known only when it leaves ([`Batch::finish`]).
//! Invariants: an inline part begins with a head; a body longer than [`INLINE_BODY_BYTES_MAX`] is a part of its own and ends the part before it.
//! Must not: decide when or where a batch is written.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;

use crate::format::{HEAD_BYTES, Head, HeadCrc, MARKER_BYTES, Marker};

/// Bodies up to this length are copied into the batch (one contiguous write is cheaper than many pieces); longer ones are kept by reference.
pub(crate) const INLINE_BODY_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
enum Part {
    /// Heads, `meta` and short bodies.
    Inline(BytesMut),
    /// One long body, shared with whoever holds the item.
    Shared(Bytes),
}

/// A batch that is still open (its last part is in the writer's buffer) or sealed.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    /// Length on disk, the commit marker included.
    pub(crate) bytes: u64,
    /// The marker's sequence number; 0 while the batch is open.
    pub(crate) marker_seq: u64,
    parts: Vec<Part>,
}

/// One record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) seq: u64,
    pub(crate) kind: u8,
    pub(crate) meta: &'a [u8],
    pub(crate) body: Option<&'a Bytes>,
    pub(crate) body_crc: u32,
}

impl NewRecord<'_> {
    pub(crate) fn record_bytes(&self) -> u64 {
        (HEAD_BYTES + self.meta.len() + self.body.map_or(0, Bytes::len)) as u64
    }
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new() -> Self {
        Self {
            first_seq: 0,
            count: 0,
            bytes: MARKER_BYTES as u64,
            marker_seq: 0,
            parts: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record; `buffer` is the writer's, and holds the batch's last inline part.
    pub(crate) fn push(&mut self, buffer: &mut BytesMut, record: NewRecord<'_>) {
        if self.count == 0 {
            self.first_seq = record.seq;
        }
        let body = record.body.map_or(&[][..], |body| &body[..]);
        let head = Head {
            meta_len: record.meta.len() as u32,
            body_len: body.len() as u32,
            seq: record.seq,
            kind: record.kind,
            body_crc: record.body_crc,
            head_crc: 0,
        };
        buffer.extend_from_slice(&head.encode());
        buffer.extend_from_slice(record.meta);
        match record.body {
            Some(shared) if shared.len() > INLINE_BODY_BYTES_MAX => {
                self.parts.push(Part::Inline(buffer.split()));
                self.parts.push(Part::Shared(shared.clone()));
            }
            _ => buffer.extend_from_slice(body),
        }
        self.count += 1;
        self.bytes += record.record_bytes();
    }

    /// Ends the batch: what is in `buffer` is its last part, `marker_seq` the sequence number of its marker.
    pub(crate) fn seal(&mut self, buffer: &mut BytesMut, marker_seq: u64) {
        // Room for the marker, so that small batches stay one contiguous piece.
        buffer.reserve(MARKER_BYTES);
        self.parts.push(Part::Inline(split_with_room(buffer)));
        self.marker_seq = marker_seq;
    }

    /// Computes the checksums for the segment that it goes into, and moves the bytes to the end of `chunks`.
    pub(crate) fn finish(self, crc: &HeadCrc, synced_through: u64, chunks: &mut Vec<Bytes>) {
        let Self { first_seq, count, marker_seq, parts, .. } = self;
        let mut heads = Hasher::new();
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.into_iter().enumerate() {
            match part {
                Part::Shared(body) => chunks.push(body),
                Part::Inline(mut bytes) => {
                    stamp_heads(&mut bytes, crc, &mut heads);
                    if index == last {
                        let heads_crc = heads.clone().finalize();
                        let marker =
                            Marker { seq: marker_seq, first_seq, count, heads_crc, synced_through };
                        bytes.extend_from_slice(&marker.encode(crc));
                    }
                    chunks.push(bytes.freeze());
                }
            }
        }
    }
}

/// Splits off what is in the buffer together with room for a marker behind it.
fn split_with_room(buffer: &mut BytesMut) -> BytesMut {
    let filled = buffer.len();
    buffer.resize(filled + MARKER_BYTES, 0);
    let mut part = buffer.split();
    part.truncate(filled);
    part
}

/// Fills in the checksum of every head in an inline part.
fn stamp_heads(part: &mut BytesMut, crc: &HeadCrc, heads: &mut Hasher) {
    let mut rest = &mut part[..];
    while let Some(head) = Head::parse(rest) {
        let stamped = crc.stamp(rest, head.meta_len as usize);
        heads.update(&stamped.to_le_bytes());
        // A long body is not here but in the next part: the skip then ends this part.
        let record_bytes = usize::try_from(head.record_bytes()).unwrap_or(usize::MAX);
        rest = rest.split_at_mut_checked(record_bytes).map_or(&mut [][..], |(_, rest)| rest);
    }
}
