//! The journal's own records: which segments there are, which one goes, where a checkpoint ends.
//!
//! They lie between the engine's records and are numbered like them. Must not: be appended by anybody but the [`crate::Writer`].

use alloc::vec::Vec;

use crate::format::u64_at;

/// The end of a checkpoint.
pub const KIND_CHECKPOINT_END: u8 = 252;
/// A segment is no part of the log any more.
pub const KIND_FREED: u8 = 253;
/// A segment is part of the log, and what has to be known of it.
pub const KIND_SEGMENT: u8 = 254;

/// A place in a segment where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Sequence number of the batch's first record.
    pub seq: u64,
    /// Byte in the file.
    pub offset: u64,
}

/// A segment as a checkpoint describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    /// Its number.
    pub number: u64,
    /// The first sequence number in it.
    pub first_seq: u64,
    /// The first sequence number behind it.
    pub end_seq: u64,
    /// Bytes from the file's beginning that hold anything.
    pub used_bytes: u64,
    /// Length of its file.
    pub file_bytes: u64,
    /// Some batch beginnings, rising.
    pub index: Vec<IndexEntry>,
}

impl SegmentRecord {
    pub(crate) fn encode(&self, meta: &mut Vec<u8>) {
        for field in [self.number, self.first_seq, self.end_seq, self.used_bytes, self.file_bytes] {
            meta.extend_from_slice(&field.to_le_bytes());
        }
        let (mut seq, mut offset) = (self.first_seq, 0);
        for entry in &self.index {
            put_varint(meta, entry.seq - seq);
            put_varint(meta, entry.offset - offset);
            (seq, offset) = (entry.seq, entry.offset);
        }
    }

    /// Reads a record's `meta`; `None` if it makes no sense.
    pub fn decode(meta: &[u8]) -> Option<Self> {
        let mut rest = meta.get(40..)?;
        let mut record = Self {
            number: u64_at(meta, 0)?,
            first_seq: u64_at(meta, 8)?,
            end_seq: u64_at(meta, 16)?,
            used_bytes: u64_at(meta, 24)?,
            file_bytes: u64_at(meta, 32)?,
            index: Vec::new(),
        };
        let (mut seq, mut offset) = (record.first_seq, 0u64);
        while !rest.is_empty() {
            seq = seq.checked_add(take_varint(&mut rest)?)?;
            offset = offset.checked_add(take_varint(&mut rest)?)?;
            record.index.push(IndexEntry { seq, offset });
        }
        Some(record)
    }
}

/// Appends seven bits per byte, the lowest first; the highest bit says that more follow.
fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The number that the `meta` of a [`KIND_FREED`] (a segment) or a [`KIND_CHECKPOINT_END`] (the first sequence number of the checkpoint) holds.
pub fn decode_number(meta: &[u8]) -> Option<u64> {
    u64_at(meta, 0).filter(|_| meta.len() == 8)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_segment_record_has_these_bytes_and_reads_back() {
        let index = vec![
            IndexEntry { seq: 7, offset: 4096 },
            IndexEntry { seq: 307, offset: 4096 + 70_000 },
        ];
        let record = SegmentRecord {
            number: 3,
            first_seq: 7,
            end_seq: 900,
            used_bytes: 99_000,
            file_bytes: 1 << 20,
            index,
        };
        let mut meta = Vec::new();
        record.encode(&mut meta);
        let numbers = [3u64, 7, 900, 99_000, 1 << 20].map(u64::to_le_bytes).concat();
        let index = [0, 0x80, 0x20, 0xac, 0x02, 0xf0, 0xa2, 0x04];
        assert_eq!(meta, [numbers, index.to_vec()].concat());
        assert_eq!(SegmentRecord::decode(&meta), Some(record));
        assert_eq!(SegmentRecord::decode(&meta[..meta.len() - 1]), None);
        assert_eq!(SegmentRecord::decode(&meta[..39]), None);
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        let mut largest = Vec::new();
        put_varint(&mut largest, u64::MAX);
        assert_eq!(take_varint(&mut &largest[..]), Some(u64::MAX));
        *largest.last_mut().unwrap() = 2;
        assert_eq!(take_varint(&mut &largest[..]), None);
        assert_eq!(take_varint(&mut &[0x80; 11][..]), None);
    }
}
