//! What the engine writes down: every change that must survive a restart.
//!
//! A record is a kind (one byte), some `meta` (its numbers) and for a put the body. Numbers are little-endian. The kinds and their bytes are frozen:
//! a new meaning gets a new kind (`docs/journal_format.md` has the checklist).
//! References: a `Put` is kept alive by every queue that still has the item, a `QueueCreated` by its queue. All others refer to something older, or to
//! something that is appended again later, and may go with their segment.
//! Must not: know how records lie in files.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::types::{ItemId, QueueNo, Seq};
use crate::varint;

/// Why an item is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// By a plain get.
    Taken,
    /// Its open read was confirmed.
    Acked,
    /// Its time was over.
    Expired,
    /// To make room in a full queue.
    Discarded,
    /// It was delivered `max_attempts` times and never confirmed.
    DeadLettered,
}

/// Where an item was before it came to the queue in which it is: of expired and dead items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Name of the queue.
    pub queue: &'a [u8],
    /// Its id there.
    pub id: ItemId,
    /// When it was put there, unix time in milliseconds.
    pub put_ms: u64,
    /// How often it was delivered there.
    pub attempts: u32,
    /// Why it is there no more.
    pub reason: Reason,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A queue exists from here on.
    QueueCreated {
        /// Its number.
        queue: QueueNo,
        /// Its name.
        name: &'a [u8],
    },
    /// A queue is gone, with all its items.
    QueueDeleted {
        /// Its number.
        queue: QueueNo,
    },
    /// An item is in these queues: all of them, or after a crash none.
    Put {
        /// Its id.
        id: ItemId,
        /// As put.
        flags: u32,
        /// Unix time in milliseconds.
        put_ms: u64,
        /// Unix time in milliseconds, 0: never.
        expiry_ms: u64,
        /// Deliveries so far: 0 unless the item was appended again (which format 1 did with this kind).
        attempts: u32,
        /// Who has it.
        queues: &'a [QueueNo],
        /// The item.
        body: &'a Bytes,
        /// CRC-32 of the body.
        body_crc: u32,
    },
    /// Items that were at `old` are here now: their segment is to go.
    #[expect(missing_docs, reason = "the other fields are those of Put")]
    PutAgain {
        /// The record that this one replaces, for these queues.
        old: Seq,
        id: ItemId,
        flags: u32,
        put_ms: u64,
        expiry_ms: u64,
        attempts: u32,
        queues: &'a [QueueNo],
        /// Where it came from, if it was transferred.
        origin: Option<Origin<'a>>,
        body: &'a Bytes,
        body_crc: u32,
    },
    /// An item leaves one queue and is in another one, in one step.
    #[expect(missing_docs, reason = "the other fields are those of Put")]
    Transfer {
        /// The queue that does not have it any more (`origin.id` is its id there).
        from: QueueNo,
        origin: Origin<'a>,
        id: ItemId,
        flags: u32,
        put_ms: u64,
        /// The queue that has it now.
        to: QueueNo,
        body: &'a Bytes,
        body_crc: u32,
    },
    /// Of a checkpoint: this, and what the parts that follow say, is all that the queue holds.
    QueueState {
        /// The queue.
        queue: QueueNo,
        /// One part of it, see `checkpoint.rs`.
        part: &'a [u8],
    },
    /// As `Flushed`, for the items from `from` on: a queue with very many open items takes several.
    #[expect(missing_docs, reason = "the fields are those of Flushed")]
    FlushedRange { queue: QueueNo, from: ItemId, through: ItemId, except: &'a [ItemId] },
    /// One queue does not have the item any more.
    Removed {
        /// The queue.
        queue: QueueNo,
        /// The item.
        id: ItemId,
        /// Why.
        reason: Reason,
    },
    /// A queue has none of the items up to `through` any more, but for those that were open.
    Flushed {
        /// The queue.
        queue: QueueNo,
        /// The last id concerned.
        through: ItemId,
        /// Items that stay.
        except: &'a [ItemId],
    },
    /// An item was delivered tentatively.
    Attempted {
        /// The queue.
        queue: QueueNo,
        /// The item.
        id: ItemId,
        /// Deliveries so far, this one included.
        attempts: u32,
    },
    /// As several `Removed`, in far less space.
    RemovedMany {
        /// The queue.
        queue: QueueNo,
        /// Why, all of them.
        reason: Reason,
        /// The items; they rise. At most [`Record::MANY_MAX`].
        ids: &'a [u64],
    },
    /// As several `Attempted`, in far less space.
    AttemptedMany {
        /// The queue.
        queue: QueueNo,
        /// Items, rising, and their deliveries so far. At most [`Record::MANY_MAX`].
        attempts: &'a [(u64, u32)],
    },
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place.
    pub seq: Seq,
    /// What each of its references keeps alive, in bytes; 0 for a record without references.
    pub share: u32,
}

/// Where records go.
pub trait Recorder {
    /// A number above every sequence number given so far, and not above the next one: what ids are made of.
    fn next_seq(&self) -> Seq;
    /// Appends a record; the log holds [`Record::references`] references to it from then on.
    fn record(&mut self, record: &Record<'_>) -> Recorded;
    /// During replay of a checkpoint: `refs` references exist to records in the segment in which `seq` is, which keep `bytes` alive.
    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64);
    /// `refs` references are gone to records in the segment in which `seq` is, which kept `bytes` alive. [`Seq`] 0 is no record: nothing happens.
    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64);
    /// The first sequence number behind the segment in which `seq` is; one more than `seq` as long as nobody knows in which segment it will be.
    fn segment_end(&self, seq: Seq) -> Seq;
    /// Whether the segment in which the record is, or will be, is there.
    fn has_segment(&self, seq: Seq) -> bool;
    /// Whether an item with a body of so many bytes may be written again somewhere else, which nobody waits for. False on a full disk, before what is kept there for
    /// removals is used up.
    fn has_room(&self, body_bytes: u64) -> bool;
    /// Whether room that there is not now may not come for long: the disk is full.
    fn is_full(&self) -> bool;
    /// Roughly where in its segment a record is, in bytes.
    fn offset_near(&self, seq: Seq) -> u64;
}

const QUEUE_CREATED: u8 = 1;
const QUEUE_DELETED: u8 = 2;
const PUT: u8 = 3;
const REMOVED: u8 = 4;
const FLUSHED: u8 = 5;
const ATTEMPTED: u8 = 6;
const QUEUE_STATE: u8 = 7;
const PUT_AGAIN: u8 = 8;
const TRANSFER: u8 = 9;
const TRANSFER_AGAIN: u8 = 10;
const FLUSHED_RANGE: u8 = 11;
const REMOVED_MANY: u8 = 12;
const ATTEMPTED_MANY: u8 = 13;

impl Record<'_> {
    /// So many items fit into one record that names many, whatever their ids are.
    pub const MANY_MAX: usize = 3000;

    /// The kind's number in the journal.
    pub fn kind(&self) -> u8 {
        match self {
            Self::QueueCreated { .. } => QUEUE_CREATED,
            Self::QueueDeleted { .. } => QUEUE_DELETED,
            Self::Put { .. } => PUT,
            Self::Removed { .. } => REMOVED,
            Self::Flushed { .. } => FLUSHED,
            Self::Attempted { .. } => ATTEMPTED,
            Self::QueueState { .. } => QUEUE_STATE,
            Self::PutAgain { origin: None, .. } => PUT_AGAIN,
            Self::PutAgain { .. } => TRANSFER_AGAIN,
            Self::Transfer { .. } => TRANSFER,
            Self::FlushedRange { .. } => FLUSHED_RANGE,
            Self::RemovedMany { .. } => REMOVED_MANY,
            Self::AttemptedMany { .. } => ATTEMPTED_MANY,
        }
    }

    /// How many references keep the record alive from the beginning.
    pub fn references(&self) -> u32 {
        match self {
            Self::Put { queues, .. } | Self::PutAgain { queues, .. } => queues.len() as u32,
            Self::Transfer { .. } => 1,
            _ => 0,
        }
    }

    /// The body, if the record has one.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Put { body, .. } | Self::PutAgain { body, .. } | Self::Transfer { body, .. } => {
                Some(body)
            }
            _ => None,
        }
    }

    /// CRC-32 of the body; 0 if there is none.
    pub fn body_crc(&self) -> u32 {
        match self {
            Self::Put { body_crc, .. }
            | Self::PutAgain { body_crc, .. }
            | Self::Transfer { body_crc, .. } => *body_crc,
            _ => 0,
        }
    }

    /// Appends the record's `meta`.
    pub fn encode(&self, meta: &mut Vec<u8>) {
        match self {
            Self::QueueCreated { queue, name } => {
                put_u64(meta, queue.0);
                meta.extend_from_slice(name);
            }
            Self::QueueDeleted { queue } => put_u64(meta, queue.0),
            Self::Put { id, flags, put_ms, expiry_ms, attempts, queues, .. } => {
                put_item(meta, *id, *put_ms, *expiry_ms, *flags, *attempts, queues);
            }
            Self::PutAgain {
                old, id, flags, put_ms, expiry_ms, attempts, queues, origin, ..
            } => {
                put_u64(meta, old.0);
                if let Some(origin) = origin {
                    put_origin(meta, origin);
                }
                put_item(meta, *id, *put_ms, *expiry_ms, *flags, *attempts, queues);
            }
            Self::Transfer { from, origin, id, flags, put_ms, to, .. } => {
                put_u64(meta, from.0);
                put_origin(meta, origin);
                put_item(meta, *id, *put_ms, 0, *flags, 0, &[*to]);
            }
            Self::QueueState { queue, part } => {
                put_u64(meta, queue.0);
                meta.extend_from_slice(part);
            }
            Self::FlushedRange { queue, from, through, except } => {
                put_u64(meta, queue.0);
                put_u64(meta, from.0);
                put_u64(meta, through.0);
                except.iter().for_each(|id| put_u64(meta, id.0));
            }
            Self::Removed { queue, id, reason } => {
                put_u64(meta, queue.0);
                put_u64(meta, id.0);
                meta.push(reason_number(*reason));
            }
            Self::Flushed { queue, through, except } => {
                put_u64(meta, queue.0);
                put_u64(meta, through.0);
                except.iter().for_each(|id| put_u64(meta, id.0));
            }
            Self::Attempted { queue, id, attempts } => {
                put_u64(meta, queue.0);
                put_u64(meta, id.0);
                put_u32(meta, *attempts);
            }
            Self::RemovedMany { queue, reason, ids } => {
                put_u64(meta, queue.0);
                meta.push(reason_number(*reason));
                varint::put_ids(meta, ids);
            }
            Self::AttemptedMany { queue, attempts } => {
                put_u64(meta, queue.0);
                varint::put_attempts(meta, attempts);
            }
        }
    }
}

fn put_u64(meta: &mut Vec<u8>, number: u64) {
    meta.extend_from_slice(&number.to_le_bytes());
}

fn put_item(
    meta: &mut Vec<u8>,
    id: ItemId,
    put_ms: u64,
    expiry_ms: u64,
    flags: u32,
    attempts: u32,
    queues: &[QueueNo],
) {
    put_u64(meta, id.0);
    put_u64(meta, put_ms);
    put_u64(meta, expiry_ms);
    put_u32(meta, flags);
    put_u32(meta, attempts);
    queues.iter().for_each(|queue| put_u64(meta, queue.0));
}

/// Names have at most 250 bytes.
fn put_origin(meta: &mut Vec<u8>, origin: &Origin<'_>) {
    meta.push(origin.queue.len() as u8);
    meta.extend_from_slice(origin.queue);
    put_u64(meta, origin.id.0);
    put_u64(meta, origin.put_ms);
    put_u32(meta, origin.attempts);
    meta.push(reason_number(origin.reason));
}

fn put_u32(meta: &mut Vec<u8>, number: u32) {
    meta.extend_from_slice(&number.to_le_bytes());
}

fn reason_number(reason: Reason) -> u8 {
    match reason {
        Reason::Taken => 1,
        Reason::Acked => 2,
        Reason::Expired => 3,
        Reason::Discarded => 4,
        Reason::DeadLettered => 5,
    }
}

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
pub enum RecordBuf<'a> {
    /// See [`Record::QueueCreated`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueCreated { queue: QueueNo, name: &'a [u8] },
    /// See [`Record::QueueDeleted`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueDeleted { queue: QueueNo },
    /// See [`Record::Put`], and [`Record::PutAgain`] where there is an `old`.
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Put {
        old: Option<Seq>,
        origin: Option<Origin<'a>>,
        id: ItemId,
        flags: u32,
        put_ms: u64,
        expiry_ms: u64,
        attempts: u32,
        queues: SmallVec<[QueueNo; 4]>,
    },
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
    /// See [`Record::Transfer`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    Transfer { from: QueueNo, origin: Origin<'a>, id: ItemId, flags: u32, put_ms: u64, to: QueueNo },
    /// See [`Record::QueueState`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    QueueState { queue: QueueNo, part: &'a [u8] },
    /// See [`Record::FlushedRange`].
    #[expect(missing_docs, reason = "the fields are those of Record")]
    FlushedRange { queue: QueueNo, from: ItemId, through: ItemId, except: Vec<ItemId> },
}

impl<'a> RecordBuf<'a> {
    /// Reads a record's `meta`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(kind: u8, meta: &'a [u8]) -> Result<Self, RecordError> {
        if !(QUEUE_CREATED..=ATTEMPTED_MANY).contains(&kind) {
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
            PUT => read.item(None, None)?,
            PUT_AGAIN => {
                let old = Seq(read.u64()?);
                read.item(Some(old), None)?
            }
            TRANSFER_AGAIN => {
                let old = Seq(read.u64()?);
                let origin = read.origin()?;
                read.item(Some(old), Some(origin))?
            }
            TRANSFER => Self::decode_transfer(&mut read)?,
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

    fn decode_transfer(read: &mut Reader<'a>) -> Option<Self> {
        let from = QueueNo(read.u64()?);
        let origin = read.origin()?;
        let Self::Put { id, put_ms, flags, queues, .. } = read.item(None, None)? else {
            return None;
        };
        let &[to] = &queues[..] else { return None };
        Some(Self::Transfer { from, origin, id, flags, put_ms, to })
    }

    /// See [`Record::references`].
    pub fn references(&self) -> u32 {
        match self {
            Self::Put { queues, .. } => queues.len() as u32,
            Self::Transfer { .. } => 1,
            _ => 0,
        }
    }
}

const REASONS: [Reason; 5] =
    [Reason::Taken, Reason::Acked, Reason::Expired, Reason::Discarded, Reason::DeadLettered];

#[cfg(test)]
impl RecordBuf<'_> {
    /// The record that this was.
    fn as_record<'b>(&'b self, body: &'b Bytes, body_crc: u32) -> Record<'b> {
        match self {
            Self::QueueCreated { queue, name } => Record::QueueCreated { queue: *queue, name },
            Self::QueueDeleted { queue } => Record::QueueDeleted { queue: *queue },
            Self::Put { old: None, id, flags, put_ms, expiry_ms, attempts, queues, .. } => {
                let (id, flags, put_ms) = (*id, *flags, *put_ms);
                let (expiry_ms, attempts) = (*expiry_ms, *attempts);
                Record::Put { id, flags, put_ms, expiry_ms, attempts, queues, body, body_crc }
            }
            Self::Put {
                old: Some(old),
                id,
                flags,
                put_ms,
                expiry_ms,
                attempts,
                queues,
                origin,
            } => Record::PutAgain {
                old: *old,
                id: *id,
                flags: *flags,
                put_ms: *put_ms,
                expiry_ms: *expiry_ms,
                attempts: *attempts,
                queues,
                origin: *origin,
                body,
                body_crc,
            },
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
            Self::Transfer { from, origin, id, flags, put_ms, to } => Record::Transfer {
                from: *from,
                origin: *origin,
                id: *id,
                flags: *flags,
                put_ms: *put_ms,
                to: *to,
                body,
                body_crc,
            },
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

    fn origin(&mut self) -> Option<Origin<'a>> {
        let (&length, rest) = self.0.split_first()?;
        let (queue, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Origin {
            queue,
            id: ItemId(self.u64()?),
            put_ms: self.u64()?,
            attempts: self.u32()?,
            reason: self.reason()?,
        })
    }

    fn item(&mut self, old: Option<Seq>, origin: Option<Origin<'a>>) -> Option<RecordBuf<'a>> {
        Some(RecordBuf::Put {
            old,
            origin,
            id: ItemId(self.u64()?),
            put_ms: self.u64()?,
            expiry_ms: self.u64()?,
            flags: self.u32()?,
            attempts: self.u32()?,
            queues: self.rest(QueueNo)?,
        })
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
        REASONS.into_iter().find(|&reason| reason_number(reason) == *field)
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn golden(record: &Record<'_>) -> (u8, Vec<u8>) {
        let mut meta = Vec::new();
        record.encode(&mut meta);
        (record.kind(), meta)
    }

    #[test]
    fn golden_bytes() {
        let body = Bytes::from_static(b"x");
        let put = Record::Put {
            id: ItemId(0x0102),
            flags: 7,
            put_ms: 3,
            expiry_ms: 4,
            attempts: 5,
            queues: &[QueueNo(8), QueueNo(9)],
            body: &body,
            body_crc: 6,
        };
        let expected = [
            &[2, 1, 0, 0, 0, 0, 0, 0][..],
            &[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 5, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(golden(&put), (3, expected));
        assert_eq!(
            golden(&Record::QueueCreated { queue: QueueNo(1), name: b"ab" }),
            (1, vec![1, 0, 0, 0, 0, 0, 0, 0, b'a', b'b'])
        );
        assert_eq!(
            golden(&Record::QueueDeleted { queue: QueueNo(1) }),
            (2, vec![1, 0, 0, 0, 0, 0, 0, 0])
        );
        let removed = Record::Removed { queue: QueueNo(1), id: ItemId(2), reason: Reason::Acked };
        assert_eq!(golden(&removed), (4, vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2]));
        let flushed =
            Record::Flushed { queue: QueueNo(1), through: ItemId(2), except: &[ItemId(3)] };
        let expected =
            [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(golden(&flushed), (5, expected.concat()));
        let attempted = Record::Attempted { queue: QueueNo(1), id: ItemId(2), attempts: 3 };
        assert_eq!(
            golden(&attempted),
            (6, vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0])
        );
        let removed =
            Record::RemovedMany { queue: QueueNo(1), reason: Reason::Taken, ids: &[2, 3, 300] };
        let expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 3, 2, 1, 0xa9, 2];
        assert_eq!(golden(&removed), (12, expected));
        let attempted = Record::AttemptedMany { queue: QueueNo(1), attempts: &[(2, 1), (300, 5)] };
        let expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 2, 1, 0xaa, 2, 5];
        assert_eq!(golden(&attempted), (13, expected));
    }

    #[test]
    fn every_record_reads_back_and_no_prefix_of_it_does() {
        let body = Bytes::new();
        let ids = [ItemId(1), ItemId(2)];
        let origin = Origin {
            queue: b"jobs",
            id: ItemId(7),
            put_ms: 8,
            attempts: 9,
            reason: Reason::DeadLettered,
        };
        let records = [
            Record::QueueCreated { queue: QueueNo(1), name: b"q" },
            Record::QueueDeleted { queue: QueueNo(1) },
            Record::Removed { queue: QueueNo(1), id: ItemId(2), reason: Reason::Discarded },
            Record::Flushed { queue: QueueNo(1), through: ItemId(9), except: &ids },
            Record::Attempted { queue: QueueNo(1), id: ItemId(9), attempts: 3 },
            Record::QueueState { queue: QueueNo(1), part: &[1, 2, 3, 4, 5, 6, 7] },
            Record::RemovedMany {
                queue: QueueNo(1),
                reason: Reason::Acked,
                ids: &[3, 4, 300, u64::MAX],
            },
            Record::AttemptedMany { queue: QueueNo(1), attempts: &[(3, 1), (500, u32::MAX)] },
            Record::FlushedRange {
                queue: QueueNo(1),
                from: ItemId(4),
                through: ItemId(9),
                except: &ids,
            },
            Record::Transfer {
                from: QueueNo(1),
                origin,
                id: ItemId(9),
                flags: 2,
                put_ms: 3,
                to: QueueNo(4),
                body: &body,
                body_crc: 0,
            },
            Record::PutAgain {
                old: Seq(3),
                id: ItemId(1),
                flags: 2,
                put_ms: 3,
                expiry_ms: 4,
                attempts: 5,
                queues: &[QueueNo(6)],
                origin: None,
                body: &body,
                body_crc: 0,
            },
            Record::PutAgain {
                old: Seq(3),
                id: ItemId(1),
                flags: 2,
                put_ms: 3,
                expiry_ms: 0,
                attempts: 5,
                queues: &[QueueNo(6)],
                origin: Some(origin),
                body: &body,
                body_crc: 0,
            },
            Record::Put {
                id: ItemId(1),
                flags: 2,
                put_ms: 3,
                expiry_ms: 4,
                attempts: 5,
                queues: &[QueueNo(6)],
                body: &body,
                body_crc: 0,
            },
        ];
        for record in &records {
            let (kind, meta) = golden(record);
            let read = RecordBuf::decode(kind, &meta).unwrap();
            let mut again = Vec::new();
            read.as_record(&body, 0).encode(&mut again);
            assert_eq!((read.as_record(&body, 0).kind(), &again), (kind, &meta), "{record:?}");
            // Lists end with the record: only a cut inside an element shows.
            for cut in (0..meta.len()).filter(|cut| cut % 8 != 0) {
                let cut = RecordBuf::decode(kind, &meta[..cut]);
                let is_open = matches!(
                    cut,
                    Ok(RecordBuf::QueueCreated { .. } | RecordBuf::QueueState { .. })
                );
                // With an origin in front the lists lie elsewhere.
                assert!(cut.is_err() || is_open || matches!(kind, TRANSFER | TRANSFER_AGAIN));
            }
        }
        assert_eq!(RecordBuf::decode(0, &[]), Err(RecordError::UnknownKind { kind: 0 }));
        assert_eq!(RecordBuf::decode(200, &[]), Err(RecordError::UnknownKind { kind: 200 }));
    }
}
