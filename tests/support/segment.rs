//! The bytes of a segment, as `docs/journal_format.md` has them: enough to find the place that a test wants to damage, or to see what is in a file.
//!
//! Invariant: knows nothing of the code that is tested; what is read was written by a sound server.

/// Bytes of a segment's header; the first record begins there.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of a record before its `meta`.
pub const HEAD_BYTES: usize = 28;
/// The kind of a put.
pub const PUT: u8 = 3;
/// The kind of a queue's state in a checkpoint.
pub const STATE: u8 = 7;
/// The kind of a commit marker.
pub const MARKER: u8 = 255;

/// A record in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where it begins.
    pub at: usize,
    /// Its sequence number.
    pub seq: u64,
    /// Its kind.
    pub kind: u8,
    /// Bytes of its `meta`.
    pub meta_len: usize,
    /// Bytes of its body.
    pub body_len: usize,
}

impl Record {
    /// Where its body begins.
    pub fn body_at(&self) -> usize {
        self.at + HEAD_BYTES + self.meta_len
    }

    /// The first byte behind it.
    pub fn end(&self) -> usize {
        self.body_at() + self.body_len
    }

    /// Its body.
    pub fn body<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        &segment[self.body_at()..self.end()]
    }
}

/// The file of a segment.
pub fn segment_name(number: u64) -> String {
    format!("log-{number:016x}.kq")
}

/// The number at a place.
///
/// # Panics
/// If it is cut off.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The number at a place.
///
/// # Panics
/// If it is cut off.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The records of a sound segment, from its header's first sequence number on.
pub fn records(segment: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let (mut at, mut seq) = (HEADER_BYTES, u64_at(segment, 24));
    while at + HEAD_BYTES <= segment.len() && u64_at(segment, at + 8) == seq {
        let meta_len = u32_at(segment, at) as usize;
        let body_len = u32_at(segment, at + 4) as usize;
        let record = Record { at, seq, kind: segment[at + 16], meta_len, body_len };
        at = record.end();
        seq += 1;
        found.push(record);
    }
    found
}
