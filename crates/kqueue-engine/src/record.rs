//! What the engine writes down: every change that must survive a restart.
//!
//! A record is a kind (one byte), some `meta` (its numbers) and for a put the body. Numbers are little-endian. The kinds and their bytes are frozen:
//! a new meaning gets a new kind (`docs/journal_format.md` has the checklist).
//! References: a `Put` is kept alive by every queue that still has the item, a `QueueCreated` by its queue. All others refer to something older, or to
//! something that is appended again later, and may go with their segment.
//! Must not: know how records lie in files.

mod decode;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::extra::{Extra, KeyHash, Lane, put_fields};
use crate::types::{ItemId, QueueNo, Seq};
use crate::varint;

pub use decode::{PutBuf, RecordBuf, RecordError};

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
    /// A client said that it is not to come again.
    Buried,
    /// It comes again, but later.
    Delayed,
    /// It was dead, and comes again.
    Kicked,
    /// A queue was emptied, of one kind of items only.
    Purged,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Taken,
        Self::Acked,
        Self::Expired,
        Self::Discarded,
        Self::DeadLettered,
        Self::Buried,
        Self::Delayed,
        Self::Kicked,
        Self::Purged,
    ];

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&reason| reason_number(reason) == number)
    }
}

/// Which item of which queue was moved, and why: it is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedFrom {
    /// The queue, or the part of it, that does not have it any more.
    pub queue: QueueNo,
    /// Its id there.
    pub id: ItemId,
    /// Why.
    pub reason: Reason,
}

/// See [`Record::Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutRecord<'a> {
    /// The record that this one replaces, for these queues: its segment is to go.
    pub old: Option<Seq>,
    /// It leaves another place, in the same step.
    pub from: Option<MovedFrom>,
    /// Its id: its place in its queues.
    pub id: ItemId,
    /// As put.
    pub flags: u32,
    /// Unix time in milliseconds.
    pub put_ms: u64,
    /// Unix time in milliseconds, 0: never.
    pub expiry_ms: u64,
    /// Deliveries so far.
    pub attempts: u32,
    /// Who has it. If it is in a lane, these are the lanes' numbers.
    pub queues: &'a [QueueNo],
    /// In which part of them it is.
    pub lane: Lane,
    /// If it is in a lane: the queues whose lanes `queues` are.
    pub homes: &'a [QueueNo],
    /// What else it has.
    pub extra: &'a Extra,
    /// The item.
    pub body: &'a Bytes,
    /// CRC-32 of the body.
    pub body_crc: u32,
}

impl PutRecord<'_> {
    fn kind(&self) -> u8 {
        let is_plain = self.extra.is_none() && self.lane == Lane::Main;
        match (self.from, self.old) {
            (Some(_), _) => MOVED,
            (None, None) if is_plain => PUT,
            (None, Some(_)) if is_plain => PUT_AGAIN,
            (None, None) => PUT_EXTRA,
            (None, Some(_)) => PUT_EXTRA_AGAIN,
        }
    }

    fn encode(&self, meta: &mut Vec<u8>) {
        if let Some(old) = self.old {
            put_u64(meta, old.0);
        }
        if let Some(from) = self.from {
            put_u64(meta, from.queue.0);
            put_u64(meta, from.id.0);
            meta.push(reason_number(from.reason));
        }
        put_u64(meta, self.id.0);
        put_u64(meta, self.put_ms);
        put_u64(meta, self.expiry_ms);
        put_u32(meta, self.flags);
        put_u32(meta, self.attempts);
        if !matches!(self.kind(), PUT | PUT_AGAIN) {
            put_fields(meta, self.extra, self.lane);
        }
        self.queues.iter().for_each(|queue| put_u64(meta, queue.0));
        self.homes.iter().for_each(|queue| put_u64(meta, queue.0));
    }
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
    Put(PutRecord<'a>),
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
    /// A queue hands nothing out from here on, or does so again.
    QueuePaused {
        /// The queue.
        queue: QueueNo,
        /// Which of both.
        is_paused: bool,
    },
    /// Of a checkpoint: puts with these keys were stored. At most [`Record::MANY_MAX`] / 2.
    Keys {
        /// The key, the item's id, and when it was put, unix time in milliseconds.
        keys: &'a [(KeyHash, ItemId, u64)],
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
    /// What is known of where the segment ends in which `seq` is: from this sequence number on, nothing is known to be in it. That is not above the first record of which nobody
    /// knows yet in which segment it will be; one more than `seq` if that is such a one itself.
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
const PUT_EXTRA: u8 = 14;
const PUT_EXTRA_AGAIN: u8 = 15;
const MOVED: u8 = 16;
const QUEUE_PAUSED: u8 = 17;
const KEYS: u8 = 18;

impl Record<'_> {
    /// So many items fit into one record that names many, whatever their ids are.
    pub const MANY_MAX: usize = 3000;

    /// The kind's number in the journal.
    pub fn kind(&self) -> u8 {
        match self {
            Self::QueueCreated { .. } => QUEUE_CREATED,
            Self::QueueDeleted { .. } => QUEUE_DELETED,
            Self::Put(put) => put.kind(),
            Self::Removed { .. } => REMOVED,
            Self::Flushed { .. } => FLUSHED,
            Self::Attempted { .. } => ATTEMPTED,
            Self::QueueState { .. } => QUEUE_STATE,
            Self::FlushedRange { .. } => FLUSHED_RANGE,
            Self::RemovedMany { .. } => REMOVED_MANY,
            Self::AttemptedMany { .. } => ATTEMPTED_MANY,
            Self::QueuePaused { .. } => QUEUE_PAUSED,
            Self::Keys { .. } => KEYS,
        }
    }

    /// How many references keep the record alive from the beginning.
    pub fn references(&self) -> u32 {
        match self {
            Self::Put(put) => put.queues.len() as u32,
            _ => 0,
        }
    }

    /// The body, if the record has one.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Put(put) => Some(put.body),
            _ => None,
        }
    }

    /// CRC-32 of the body; 0 if there is none.
    pub fn body_crc(&self) -> u32 {
        match self {
            Self::Put(put) => put.body_crc,
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
            Self::Put(put) => put.encode(meta),
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
            Self::QueuePaused { queue, is_paused } => {
                put_u64(meta, queue.0);
                meta.push(u8::from(*is_paused));
            }
            Self::Keys { keys } => {
                for (key, id, put_ms) in *keys {
                    meta.extend_from_slice(key);
                    put_u64(meta, id.0);
                    put_u64(meta, *put_ms);
                }
            }
        }
    }
}

fn put_u64(meta: &mut Vec<u8>, number: u64) {
    meta.extend_from_slice(&number.to_le_bytes());
}

fn put_u32(meta: &mut Vec<u8>, number: u32) {
    meta.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn reason_number(reason: Reason) -> u8 {
    match reason {
        Reason::Taken => 1,
        Reason::Acked => 2,
        Reason::Expired => 3,
        Reason::Discarded => 4,
        Reason::DeadLettered => 5,
        Reason::Buried => 6,
        Reason::Delayed => 7,
        Reason::Kicked => 8,
        Reason::Purged => 9,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::extra::Origin;
    use crate::types::Priority;

    fn golden(record: &Record<'_>) -> (u8, Vec<u8>) {
        let mut meta = Vec::new();
        record.encode(&mut meta);
        (record.kind(), meta)
    }

    fn all_fields() -> Extra {
        Extra {
            id: Some(ItemId(9)),
            priority: Priority::Low,
            due_ms: 1024,
            origin: Some(Origin {
                queue: Bytes::from_static(b"jobs"),
                id: ItemId(7),
                put_ms: 8,
                attempts: 9,
                reason: Reason::Buried,
                moved_ms: 10,
            }),
            note: Bytes::from_static(b"no"),
            key: Some([11; 16]),
        }
    }

    #[test]
    fn moves_as_they_were_written_before_there_were_fields() {
        let put = [
            &[9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let origin = [
            &[4, b'j', b'o', b'b', b's', 7, 0, 0, 0, 0, 0, 0, 0][..],
            &[8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5],
        ]
        .concat();
        let read = |kind, meta: &[u8]| match RecordBuf::decode(kind, meta) {
            Ok(RecordBuf::Put(put)) => put,
            other => panic!("{other:?}"),
        };
        let moved = read(9, &[&[1, 0, 0, 0, 0, 0, 0, 0], &origin[..], &put].concat());
        let from = MovedFrom { queue: QueueNo(1), id: ItemId(7), reason: Reason::DeadLettered };
        assert_eq!((moved.from, moved.old, moved.id), (Some(from), None, ItemId(9)));
        assert_eq!(&moved.queues[..], [QueueNo(4)]);
        let expected = Origin {
            queue: Bytes::from_static(b"jobs"),
            id: ItemId(7),
            put_ms: 8,
            attempts: 9,
            reason: Reason::DeadLettered,
            moved_ms: 3,
        };
        assert_eq!(moved.extra.origin, Some(expected.clone()));
        let again = read(10, &[&[6, 0, 0, 0, 0, 0, 0, 0], &origin[..], &put].concat());
        assert_eq!((again.from, again.old), (None, Some(Seq(6))));
        assert_eq!(again.extra.origin, Some(expected));
    }

    #[test]
    fn golden_bytes() {
        let body = Bytes::from_static(b"x");
        let plain = PutRecord {
            old: None,
            from: None,
            id: ItemId(0x0102),
            flags: 7,
            put_ms: 3,
            expiry_ms: 4,
            attempts: 5,
            queues: &[QueueNo(8), QueueNo(9)],
            lane: Lane::Main,
            homes: &[],
            extra: &Extra::NONE,
            body: &body,
            body_crc: 6,
        };
        let put = Record::Put(plain);
        let expected = [
            &[2, 1, 0, 0, 0, 0, 0, 0][..],
            &[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 5, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(golden(&put), (3, expected.clone()));
        let again = Record::Put(PutRecord { old: Some(Seq(1)), ..plain });
        assert_eq!(golden(&again), (8, [&[1, 0, 0, 0, 0, 0, 0, 0], &expected[..]].concat()));
        let extra = all_fields();
        let lane = Lane::Delayed { start_ms: 1024, width_log2: 10, priority: Priority::Low };
        let homes = [QueueNo(1), QueueNo(2)];
        let with_all = PutRecord { lane, homes: &homes, extra: &extra, ..plain };
        let fields = [
            &[1, 9, 2, 2, 3, 0x80, 8, 4][..],
            &[4, b'j', b'o', b'b', b's', 7, 8, 9, 6, 10],
            &[5, 2, b'n', b'o', 6],
            &[11; 16],
            &[7, 4, 2, 10, 0x80, 8],
        ]
        .concat();
        let expected = [
            &expected[..32],
            &[fields.len() as u8],
            &fields,
            &expected[32..],
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(golden(&Record::Put(with_all)), (14, expected.clone()));
        let again = Record::Put(PutRecord { old: Some(Seq(1)), ..with_all });
        assert_eq!(golden(&again), (15, [&[1, 0, 0, 0, 0, 0, 0, 0], &expected[..]].concat()));
        let from = MovedFrom { queue: QueueNo(5), id: ItemId(6), reason: Reason::Kicked };
        let moved = Record::Put(PutRecord { from: Some(from), ..with_all });
        let from = [5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 8];
        assert_eq!(golden(&moved), (16, [&from, &expected[..]].concat()));
        let paused = Record::QueuePaused { queue: QueueNo(1), is_paused: true };
        assert_eq!(golden(&paused), (17, vec![1, 0, 0, 0, 0, 0, 0, 0, 1]));
        let keys = Record::Keys { keys: &[([3; 16], ItemId(1), 2)] };
        let expected = [&[3; 16][..], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(golden(&keys), (18, expected));
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
        let extra = all_fields();
        let plain = PutRecord {
            old: None,
            from: None,
            id: ItemId(1),
            flags: 2,
            put_ms: 3,
            expiry_ms: 4,
            attempts: 5,
            queues: &[QueueNo(6)],
            lane: Lane::Main,
            homes: &[],
            extra: &Extra::NONE,
            body: &body,
            body_crc: 0,
        };
        let from = MovedFrom { queue: QueueNo(5), id: ItemId(6), reason: Reason::Delayed };
        let homes = [QueueNo(7)];
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
            Record::QueuePaused { queue: QueueNo(1), is_paused: false },
            Record::Keys { keys: &[([3; 16], ItemId(1), 2), ([4; 16], ItemId(2), 3)] },
            Record::Put(plain),
            Record::Put(PutRecord { old: Some(Seq(3)), ..plain }),
            Record::Put(PutRecord { extra: &extra, ..plain }),
            Record::Put(PutRecord { lane: Lane::High, homes: &homes, ..plain }),
            Record::Put(PutRecord { lane: Lane::Dead, homes: &homes, extra: &extra, ..plain }),
            Record::Put(PutRecord { old: Some(Seq(3)), extra: &extra, ..plain }),
            Record::Put(PutRecord { from: Some(from), ..plain }),
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
                // With fields in front the lists lie elsewhere.
                assert!(cut.is_err() || is_open || matches!(kind, PUT_EXTRA..=MOVED));
            }
        }
        assert_eq!(RecordBuf::decode(0, &[]), Err(RecordError::UnknownKind { kind: 0 }));
        assert_eq!(RecordBuf::decode(200, &[]), Err(RecordError::UnknownKind { kind: 200 }));
    }
}
