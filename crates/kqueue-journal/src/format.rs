//! The bytes: segment header, record head, commit marker. `docs/journal_format.md` says the same in words.
//!
//! Invariants: little-endian throughout; everything read is bounds-checked; a checksum is looked at before anything that it covers is believed.
//!
//! # Checklist for changing the format
//! See the end of `docs/journal_format.md`; the fixture `fixtures/v<version>.kq` must stay readable for ever.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crc32fast::Hasher;

/// The first eight bytes of every segment.
pub const MAGIC: [u8; 8] = *b"KQUEUELG";
/// Version of the format that this build writes. It also reads version 2, which had fewer kinds of records, and version 1, whose segments were removed from the front
/// only, and which had no superblock.
pub const VERSION: u32 = 3;
const VERSION_MIN: u32 = 1;
/// Length of a segment's header, in bytes; the first record begins there.
pub const HEADER_BYTES: usize = 4096;
/// Length of a record's fixed part, in bytes; `meta` and body follow.
pub const HEAD_BYTES: usize = 28;
/// Largest `meta` of a record, in bytes. Keeps the search for the next record after damage cheap.
pub const META_BYTES_MAX: usize = 64 * 1024;
/// The kind of a commit marker; no other record may use it.
pub const KIND_MARKER: u8 = 255;
/// Length of a whole commit marker, in bytes.
pub const MARKER_BYTES: usize = HEAD_BYTES + MARKER_META_BYTES;

const MARKER_META_BYTES: usize = 24;
/// The header's fields stand in the file twice, so that one damaged sector does not make a whole segment unreadable.
const HEADER_COPIES: [usize; 2] = [0, 2048];
const HEADER_FIELDS_BYTES: usize = 60;
const HEADER_CRC_AT: usize = 56;
const HEAD_CRC_AT: usize = 24;

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

/// What the first bytes of a segment say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of the segment; rises by one per segment.
    pub segment: u64,
    /// Sequence number of the first record in the segment: every record before it lies in an earlier segment.
    pub first_seq: u64,
    /// Mixed into every checksum of a head in this segment, so that what a recycled file held before cannot pass.
    pub salt: u64,
    /// Length of the file.
    pub segment_bytes: u64,
    /// Highest sequence number known to be synced when the segment was created.
    pub synced_through: u64,
    /// Version of the format.
    pub version: u32,
    /// One of the two copies or the padding is not as it was written; the fields are sound. Not in the file.
    pub is_damaged: bool,
}

impl SegmentHeader {
    /// The header as it lies in the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(HEADER_FIELDS_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&self.version.to_le_bytes());
        fields.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        fields.extend_from_slice(&self.segment.to_le_bytes());
        fields.extend_from_slice(&self.first_seq.to_le_bytes());
        fields.extend_from_slice(&self.salt.to_le_bytes());
        fields.extend_from_slice(&self.segment_bytes.to_le_bytes());
        fields.extend_from_slice(&self.synced_through.to_le_bytes());
        let crc = crc32fast::hash(&fields);
        fields.extend_from_slice(&crc.to_le_bytes());
        let mut header = vec![0; HEADER_BYTES];
        for at in HEADER_COPIES {
            header[at..at + HEADER_FIELDS_BYTES].copy_from_slice(&fields);
        }
        header
    }

    fn parse_copy(copy: &[u8]) -> Option<Result<Self, HeaderError>> {
        let covered = copy.get(..HEADER_CRC_AT)?;
        if crc32fast::hash(covered) != u32_at(copy, HEADER_CRC_AT)? || !copy.starts_with(&MAGIC) {
            return None;
        }
        let version = u32_at(copy, 8)?;
        if !(VERSION_MIN..=VERSION).contains(&version) || u32_at(copy, 12)? != HEADER_BYTES as u32 {
            return Some(Err(HeaderError::Version { found: version }));
        }
        Some(Ok(Self {
            segment: u64_at(copy, 16)?,
            first_seq: u64_at(copy, 24)?,
            salt: u64_at(copy, 32)?,
            segment_bytes: u64_at(copy, 40)?,
            synced_through: u64_at(copy, 48)?,
            version,
            is_damaged: false,
        }))
    }
}

/// Why a file's beginning is not the header of a segment that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The file ends before the header does.
    TooShort {
        /// Length of what there is.
        bytes: usize,
    },
    /// Nothing but zeros: no header was ever written.
    Blank,
    /// Not a segment at all.
    NotASegment,
    /// A sound header of a format that this build does not know.
    Version {
        /// The version in the file.
        found: u32,
    },
    /// Both copies are damaged.
    Damaged,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { bytes } => {
                write!(f, "the file ends inside its header, after {bytes} of {HEADER_BYTES} bytes")
            }
            Self::Blank => f.write_str("the header was never written (all zeros)"),
            Self::NotASegment => f.write_str("not a segment of a KQueue journal"),
            Self::Version { found } => {
                write!(
                    f,
                    "journal format {found}, this version reads formats {VERSION_MIN} to {VERSION}"
                )
            }
            Self::Damaged => f.write_str("both copies of the header are damaged"),
        }
    }
}

impl core::error::Error for HeaderError {}

/// Reads the header from a segment's first [`HEADER_BYTES`] bytes (more may follow).
///
/// # Errors
/// See [`HeaderError`]. A header of which only one copy is damaged is no error, see [`SegmentHeader::is_damaged`].
pub fn parse_header(file: &[u8]) -> Result<SegmentHeader, HeaderError> {
    let Some(header) = file.get(..HEADER_BYTES) else {
        // What is left of a segment, or something that never was one.
        let is_left_of_ours = file.iter().zip(&MAGIC).all(|(byte, magic)| byte == magic)
            || file.iter().all(|&byte| byte == 0);
        return Err(match is_left_of_ours {
            true => HeaderError::TooShort { bytes: file.len() },
            false => HeaderError::NotASegment,
        });
    };
    let copies = HEADER_COPIES.map(|at| header.get(at..at + HEADER_FIELDS_BYTES).unwrap_or(&[]));
    if let Some(parsed) = copies.into_iter().find_map(SegmentHeader::parse_copy) {
        let mut parsed = parsed?;
        parsed.is_damaged = parsed.encode() != header;
        return Ok(parsed);
    }
    if header.iter().all(|&byte| byte == 0) {
        return Err(HeaderError::Blank);
    }
    let has_magic = copies.into_iter().any(|copy| copy.starts_with(&MAGIC));
    Err(if has_magic { HeaderError::Damaged } else { HeaderError::NotASegment })
}

/// Computes head checksums of one segment.
#[derive(Clone, Debug)]
pub(crate) struct HeadCrc(Hasher);

impl HeadCrc {
    pub(crate) fn new(salt: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&salt.to_le_bytes());
        Self(hasher)
    }

    /// The checksum over a head's fields and `meta`; `record` must hold both.
    pub(crate) fn of(&self, record: &[u8], meta_len: usize) -> Option<u32> {
        let mut hasher = self.0.clone();
        hasher.update(record.get(..HEAD_CRC_AT)?);
        hasher.update(record.get(HEAD_BYTES..HEAD_BYTES.checked_add(meta_len)?)?);
        Some(hasher.finalize())
    }

    /// Puts the checksum into the head at the beginning of `record` and returns it.
    ///
    /// # Panics
    /// If `record` is shorter than head and `meta`: only what this crate encoded itself comes here.
    pub(crate) fn stamp(&self, record: &mut [u8], meta_len: usize) -> u32 {
        let crc = self.of(record, meta_len).expect("an encoded record is whole");
        record[HEAD_CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        crc
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) meta_len: u32,
    pub(crate) body_len: u32,
    pub(crate) seq: u64,
    pub(crate) kind: u8,
    pub(crate) body_crc: u32,
    pub(crate) head_crc: u32,
}

impl Head {
    /// The head as it lies in the file, its own checksum as given.
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&self.meta_len.to_le_bytes());
        head[4..8].copy_from_slice(&self.body_len.to_le_bytes());
        head[8..16].copy_from_slice(&self.seq.to_le_bytes());
        head[16] = self.kind;
        head[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        head[24..28].copy_from_slice(&self.head_crc.to_le_bytes());
        head
    }

    /// The fields at the beginning of `bytes`, unchecked; `None` if they are cut off or flags and reserved bytes are not zero.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(17..20)? != [0, 0, 0] {
            return None;
        }
        Some(Self {
            meta_len: u32_at(bytes, 0)?,
            body_len: u32_at(bytes, 4)?,
            seq: u64_at(bytes, 8)?,
            kind: *bytes.get(16)?,
            body_crc: u32_at(bytes, 20)?,
            head_crc: u32_at(bytes, HEAD_CRC_AT)?,
        })
    }

    /// Length of the whole record, in bytes.
    pub(crate) fn record_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.meta_len) + u64::from(self.body_len)
    }
}

/// What a commit marker says about the batch that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The marker's own sequence number.
    pub(crate) seq: u64,
    /// Sequence number of the batch's first record.
    pub(crate) first_seq: u64,
    /// How many records, the marker not counted.
    pub(crate) count: u32,
    /// Checksum over the head checksums of the records, in order.
    pub(crate) heads_crc: u32,
    /// Highest sequence number known to be synced when the batch was built.
    pub(crate) synced_through: u64,
}

impl Marker {
    /// The whole record.
    pub(crate) fn encode(&self, crc: &HeadCrc) -> [u8; MARKER_BYTES] {
        let head = Head {
            meta_len: MARKER_META_BYTES as u32,
            body_len: 0,
            seq: self.seq,
            kind: KIND_MARKER,
            body_crc: 0,
            head_crc: 0,
        };
        let mut record = [0; MARKER_BYTES];
        record[..HEAD_BYTES].copy_from_slice(&head.encode());
        record[28..36].copy_from_slice(&self.first_seq.to_le_bytes());
        record[36..40].copy_from_slice(&self.count.to_le_bytes());
        record[40..44].copy_from_slice(&self.heads_crc.to_le_bytes());
        record[44..52].copy_from_slice(&self.synced_through.to_le_bytes());
        crc.stamp(&mut record, MARKER_META_BYTES);
        record
    }

    /// The marker with sequence number `seq` whose `meta` this is; `None` if it is no marker's.
    pub(crate) fn parse(seq: u64, meta: &[u8]) -> Option<Self> {
        if meta.len() != MARKER_META_BYTES {
            return None;
        }
        Some(Self {
            seq,
            first_seq: u64_at(meta, 0)?,
            count: u32_at(meta, 8)?,
            heads_crc: u32_at(meta, 12)?,
            synced_through: u64_at(meta, 16)?,
        })
    }
}

#[cfg(test)]
mod tests;
