//! Records read back.
//!
//! Every kind that was ever written is read, as the record that is written for it today. The bytes of an unknown kind, too few or too many of them, or an impossible value
//! are an error, never a guess.
//! Must not: judge damage; what arrives here had right checksums.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    ATTEMPTED_MANY, FLUSHED, FLUSHED_RANGE, KEYS, MOVED, MovedFrom, PUT, PUT_AGAIN, PUT_EXTRA,
    PUT_EXTRA_AGAIN, QUEUE_CREATED, QUEUE_DELETED, QUEUE_PAUSED, QUEUE_STATE, REMOVED,
    REMOVED_MANY, Reason, TRANSFER, TRANSFER_AGAIN,
};
#[cfg(test)]
use super::{PutRecord, Record};
use crate::extra::{Extra, KeyHash, Lane, Origin};
use crate::types::{ItemId, Loaded, QueueNo, Seq};
use crate::varint;

/// A record whose checksums are right and whose contents make no sense: it was written by a newer version, or by a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A kind that this version does not know.
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// `meta` is too short, too long, or holds an impossible value.
    Malformed {
        /// The kind.
        kind: u8,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { kind } => write!(f, "record of the unknown kind {kind}"),
            Self::Malformed { kind } => write!(f, "record of kind {kind} with impossible contents"),
        }
    }
}

impl core::error::Error for RecordError {}

/// A record read back, owning its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most are puts, and none is kept")]
pub enum RecordBuf<'a> {
    /// See [`Record::QueueCreated`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueCreated { queue: QueueNo, name: &'a [u8] },
    /// See [`Record::QueueDeleted`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueDeleted { queue: QueueNo },
    /// See [`Record::Put`].
    Put(PutBuf),
    /// See [`Record::Removed`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Removed { queue: QueueNo, id: ItemId, reason: Reason },
    /// See [`Record::Flushed`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Flushed { queue: QueueNo, through: ItemId, except: Vec<ItemId> },
    /// See [`Record::Attempted`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Attempted { queue: QueueNo, id: ItemId, attempts: u32 },
    /// See [`Record::RemovedMany`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    RemovedMany { queue: QueueNo, reason: Reason, ids: Vec<u64> },
    /// See [`Record::AttemptedMany`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    AttemptedMany { queue: QueueNo, attempts: Vec<(u64, u32)> },
    /// See [`Record::QueueState`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueState { queue: QueueNo, part: &'a [u8] },
    /// See [`Record::FlushedRange`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    FlushedRange { queue: QueueNo, from: ItemId, through: ItemId, except: Vec<ItemId> },
    /// See [`Record::QueuePaused`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueuePaused { queue: QueueNo, is_paused: bool },
    /// See [`Record::Keys`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Keys { keys: Vec<(KeyHash, ItemId, u64)> },
}

/// See [`PutRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of PutRecord")]
pub struct PutBuf {
    pub old: Option<Seq>,
    pub from: Option<MovedFrom>,
    pub id: ItemId,
    pub flags: u32,
    pub put_ms: u64,
    pub expiry_ms: u64,
    pub attempts: u32,
    pub queues: SmallVec<[QueueNo; 4]>,
    pub lane: Lane,
    pub homes: SmallVec<[QueueNo; 4]>,
    pub extra: Extra,
}

impl PutBuf {
    /// The item as one of its queues has it; `seq` is where its record is now.
    pub fn loaded(&self, seq: Seq, body: Bytes, body_crc: u32, share: u32) -> Loaded {
        Loaded {
            seq,
            id: self.id,
            flags: self.flags,
            put_ms: self.put_ms,
            expiry_ms: self.expiry_ms,
            attempts: self.attempts,
            body,
            body_crc,
            extra: self.extra.clone().of_item(),
            share,
        }
    }
}

impl<'a> RecordBuf<'a> {
    /// Reads a record's `meta`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(kind: u8, meta: &'a [u8]) -> Result<Self, RecordError> {
        if !(QUEUE_CREATED..=KEYS).contains(&kind) {
            return Err(RecordError::UnknownKind { kind });
        }
        Self::decode_known(kind, meta).ok_or(RecordError::Malformed { kind })
    }

    fn decode_known(kind: u8, meta: &'a [u8]) -> Option<Self> {
        let mut read = Reader(meta);
        let record = match kind {
            QUEUE_CREATED => {
                let queue = QueueNo(read.u64()?);
                let name = core::mem::take(&mut read.0);
                (!name.is_empty()).then_some(Self::QueueCreated { queue, name })?
            }
            QUEUE_DELETED => Self::QueueDeleted { queue: QueueNo(read.u64()?) },
            PUT | PUT_AGAIN | PUT_EXTRA | PUT_EXTRA_AGAIN | MOVED | TRANSFER | TRANSFER_AGAIN => {
                Self::Put(read.put(kind)?)
            }
            QUEUE_PAUSED => {
                let queue = QueueNo(read.u64()?);
                let (&is_paused, rest) = read.0.split_first()?;
                read.0 = rest;
                Self::QueuePaused { queue, is_paused: is_paused != 0 }
            }
            KEYS => Self::Keys { keys: read.keys()? },
            QUEUE_STATE => {
                let queue = QueueNo(read.u64()?);
                Self::QueueState { queue, part: core::mem::take(&mut read.0) }
            }
            FLUSHED_RANGE => Self::FlushedRange {
                queue: QueueNo(read.u64()?),
                from: ItemId(read.u64()?),
                through: ItemId(read.u64()?),
                except: read.rest(ItemId)?,
            },
            REMOVED => Self::Removed {
                queue: QueueNo(read.u64()?),
                id: ItemId(read.u64()?),
                reason: read.reason()?,
            },
            FLUSHED => Self::Flushed {
                queue: QueueNo(read.u64()?),
                through: ItemId(read.u64()?),
                except: read.rest(ItemId)?,
            },
            REMOVED_MANY => Self::RemovedMany {
                queue: QueueNo(read.u64()?),
                reason: read.reason()?,
                ids: read.varints(|varints| varints.ids())?,
            },
            ATTEMPTED_MANY => Self::AttemptedMany {
                queue: QueueNo(read.u64()?),
                attempts: read.varints(|varints| varints.attempts())?,
            },
            _ => Self::Attempted {
                queue: QueueNo(read.u64()?),
                id: ItemId(read.u64()?),
                attempts: read.u32()?,
            },
        };
        read.0.is_empty().then_some(record)
    }

    /// See [`Record::references`].
    pub fn references(&self) -> u32 {
        match self {
            Self::Put(put) => put.queues.len() as u32,
            _ => 0,
        }
    }
}

#[cfg(test)]
impl RecordBuf<'_> {
    /// The record that this was.
    pub(super) fn as_record<'b>(&'b self, body: &'b Bytes, body_crc: u32) -> Record<'b> {
        match self {
            Self::QueueCreated { queue, name } => Record::QueueCreated { queue: *queue, name },
            Self::QueueDeleted { queue } => Record::QueueDeleted { queue: *queue },
            Self::Put(put) => Record::Put(PutRecord {
                old: put.old,
                from: put.from,
                id: put.id,
                flags: put.flags,
                put_ms: put.put_ms,
                expiry_ms: put.expiry_ms,
                attempts: put.attempts,
                queues: &put.queues,
                lane: put.lane,
                homes: &put.homes,
                extra: &put.extra,
                body,
                body_crc,
            }),
            Self::QueuePaused { queue, is_paused } => {
                Record::QueuePaused { queue: *queue, is_paused: *is_paused }
            }
            Self::Keys { keys } => Record::Keys { keys },
            Self::Removed { queue, id, reason } => {
                Record::Removed { queue: *queue, id: *id, reason: *reason }
            }
            Self::Flushed { queue, through, except } => {
                Record::Flushed { queue: *queue, through: *through, except }
            }
            Self::FlushedRange { queue, from, through, except } => {
                Record::FlushedRange { queue: *queue, from: *from, through: *through, except }
            }
            Self::Attempted { queue, id, attempts } => {
                Record::Attempted { queue: *queue, id: *id, attempts: *attempts }
            }
            Self::RemovedMany { queue, reason, ids } => {
                Record::RemovedMany { queue: *queue, reason: *reason, ids }
            }
            Self::AttemptedMany { queue, attempts } => {
                Record::AttemptedMany { queue: *queue, attempts }
            }
            Self::QueueState { queue, part } => Record::QueueState { queue: *queue, part },
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u64(&mut self) -> Option<u64> {
        let (field, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*field))
    }

    fn u32(&mut self) -> Option<u32> {
        let (field, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*field))
    }

    /// Of the kinds that came before `fields`.
    fn origin(&mut self, moved_ms: u64) -> Option<Origin> {
        let (&length, rest) = self.0.split_first()?;
        let (queue, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Origin {
            queue: Bytes::copy_from_slice(queue),
            id: ItemId(self.u64()?),
            put_ms: self.u64()?,
            attempts: self.u32()?,
            reason: self.reason()?,
            moved_ms,
        })
    }

    fn put(&mut self, kind: u8) -> Option<PutBuf> {
        let is_again = matches!(kind, PUT_AGAIN | PUT_EXTRA_AGAIN | TRANSFER_AGAIN);
        let old = if is_again { Some(Seq(self.u64()?)) } else { None };
        let mut from = None;
        let mut old_origin = None;
        match kind {
            MOVED => {
                let (queue, id) = (QueueNo(self.u64()?), ItemId(self.u64()?));
                from = Some(MovedFrom { queue, id, reason: self.reason()? });
            }
            TRANSFER => {
                let queue = QueueNo(self.u64()?);
                let origin = self.origin(0)?;
                from = Some(MovedFrom { queue, id: origin.id, reason: origin.reason });
                old_origin = Some(origin);
            }
            TRANSFER_AGAIN => old_origin = Some(self.origin(0)?),
            _ => {}
        }
        let (id, put_ms) = (ItemId(self.u64()?), self.u64()?);
        let (expiry_ms, flags, attempts) = (self.u64()?, self.u32()?, self.u32()?);
        let (mut extra, lane) = match kind {
            PUT_EXTRA | PUT_EXTRA_AGAIN | MOVED => self.varints(|varints| varints.fields())?,
            _ => (Extra::NONE, Lane::Main),
        };
        // An item that was moved counted as put when it was moved.
        extra.origin = extra.origin.or(old_origin.map(|of| Origin { moved_ms: put_ms, ..of }));
        let mut queues: SmallVec<[QueueNo; 4]> = self.rest(QueueNo)?;
        let mut homes = SmallVec::new();
        if lane != Lane::Main {
            if !queues.len().is_multiple_of(2) {
                return None;
            }
            homes = queues.drain(queues.len() / 2..).collect();
        }
        Some(PutBuf {
            old,
            from,
            id,
            flags,
            put_ms,
            expiry_ms,
            attempts,
            queues,
            lane,
            homes,
            extra,
        })
    }

    fn keys(&mut self) -> Option<Vec<(KeyHash, ItemId, u64)>> {
        let mut keys = Vec::new();
        while let Some((key, rest)) = self.0.split_first_chunk::<16>() {
            self.0 = rest;
            keys.push((*key, ItemId(self.u64()?), self.u64()?));
        }
        Some(keys)
    }

    fn varints<T>(&mut self, read: impl FnOnce(&mut varint::Reader<'a>) -> Option<T>) -> Option<T> {
        let mut varints = varint::Reader(self.0);
        let found = read(&mut varints)?;
        self.0 = varints.0;
        Some(found)
    }

    fn reason(&mut self) -> Option<Reason> {
        let (field, rest) = self.0.split_first()?;
        self.0 = rest;
        Reason::of_number(*field)
    }

    fn rest<T, L: FromIterator<T>>(&mut self, wrap: impl Fn(u64) -> T) -> Option<L> {
        let (fields, left) = self.0.as_chunks::<8>();
        if !left.is_empty() {
            return None;
        }
        self.0 = left;
        Some(fields.iter().map(|field| wrap(u64::from_le_bytes(*field))).collect())
    }
}
