//! The engine's vocabulary: ids, time, arguments and outcomes. No behaviour.

use alloc::boxed::Box;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::config::SyncPolicy;
use crate::extra::{Extra, KeyHash};

/// A connection, as far as the engine cares: the owner of open reads and of at most one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// An item's id: unique on a server for ever, rising in put order. Copies in sub-queues share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u64);

/// A queue's number in the journal. Never reused: a queue that was deleted and made again has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNo(pub u64);

/// The place of a record in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The present moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back: for waits and leases.
    pub mono_ms: u64,
    /// Unix time in milliseconds: for put times and expiry.
    pub wall_ms: u64,
}

/// Which items are handed out before which; within a level what became ready first comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Before all others.
    High = 0,
    /// As most are.
    #[default]
    Normal = 1,
    /// After all others.
    Low = 2,
}

impl Priority {
    /// All levels, the first one first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// What to put.
#[derive(Clone, Copy, Debug)]
pub struct PutArgs<'a> {
    /// A name that is valid on the wire.
    pub queue: &'a [u8],
    /// Opaque, returned with the item.
    pub flags: u32,
    /// Unix time in milliseconds after which the item is not returned any more; 0: never.
    pub expiry_ms: u64,
    /// The item.
    pub body: &'a Bytes,
    /// CRC-32 of the body.
    pub body_crc: u32,
    /// Unix time in milliseconds before which the item is not handed out; 0: at once.
    pub due_ms: u64,
    /// Its level.
    pub priority: Priority,
    /// A put with the same key within [`crate::EngineLimits::key_window_ms`] is the same put.
    pub key: Option<KeyHash>,
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is in the queue, and in those of its sub-queues that had room.
    Stored {
        /// Its id.
        id: ItemId,
        /// Its record; 0 if nothing had to be recorded (a fanout-only master without children).
        seq: Seq,
        /// The strictest policy of the queues that received it.
        sync: SyncPolicy,
    },
    /// It was stored before, by a put with the same key.
    Repeated {
        /// Its id.
        id: ItemId,
        /// Its record; 0 if that was written before the server started.
        seq: Seq,
        /// As above.
        sync: SyncPolicy,
    },
    /// Nobody received it.
    Refused(Refusal),
}

/// Why an item was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `max_items` or `max_size` is reached.
    QueueFull,
    /// The item is larger than the queue's `max_item_size`.
    ItemTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The master has as many sub-queues as one may have: a put names them all in one record.
    TooManySubQueues {
        /// The limit.
        limit: u64,
    },
    /// There are as many queues as there may be, and this would be another one.
    TooManyQueues {
        /// The limit.
        limit: u64,
    },
}

/// How to take an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For good.
    Take,
    /// Tentatively: it belongs to the session until it is settled or the session ends.
    Open,
    /// Not at all: the head is shown and stays.
    Peek,
}

/// What to take.
#[derive(Clone, Copy, Debug)]
pub struct TakeArgs<'a> {
    /// Valid names, tried in this order.
    pub queues: &'a [&'a [u8]],
    /// How.
    pub mode: Mode,
    /// At most so many items; peeking shows one.
    pub max: u32,
    /// No further item is added once so many bytes are handed out; the first one always is.
    pub max_bytes: u64,
    /// How long to wait if there is none, in milliseconds.
    pub wait_ms: u32,
    /// When open items return by themselves, in milliseconds; 0: by the queue's `open_transaction_timeout`, if any.
    pub lease_ms: u32,
}

/// What became of a take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOutcome {
    /// At least one item.
    Items(Items),
    /// None is there, and the caller does not want to wait.
    Empty,
    /// None is there: a [`Delivery`] will come, exactly one.
    Waiting,
    /// The session holds as many items of this queue as it may.
    TooManyOpen,
    /// A plain take from a queue of which the session holds an item.
    HoldsOpen,
}

/// Items handed out, in order.
pub type Items = SmallVec<[Taken; 1]>;

/// An item as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Name of the queue it came from.
    pub queue: Bytes,
    /// Its id.
    pub id: ItemId,
    /// As put.
    pub flags: u32,
    /// Tentative deliveries so far, this one included; 0 if it was never opened.
    pub attempts: u32,
    /// When it was put, unix time in milliseconds.
    pub put_ms: u64,
    /// The item.
    pub body: Bytes,
}

/// What became of an item that somebody held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// What was asked for.
    Done,
    /// Nothing: the session does not hold it.
    NotHeld,
    /// Nothing, it is still held: there is no room on the disk to write it again.
    NoRoom,
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who waited.
    pub session: SessionId,
    /// What came; empty: nothing did, in time.
    pub items: Items,
}

/// Items of a queue that are to be read from the disk: those whose records are numbered `first` to `last`, all in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// The queue.
    pub queue: QueueNo,
    /// First record.
    pub first: Seq,
    /// Last record.
    pub last: Seq,
    pub(crate) token: u64,
}

/// An item read from the disk, its checksums verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Record::Put")]
pub struct Loaded {
    pub seq: Seq,
    pub id: ItemId,
    pub flags: u32,
    pub put_ms: u64,
    pub expiry_ms: u64,
    pub attempts: u32,
    pub body: Bytes,
    pub body_crc: u32,
    pub extra: Option<Box<Extra>>,
    /// What one queue's reference keeps alive in the segment, in bytes.
    pub share: u32,
}

impl Loaded {
    /// By which clients know it.
    pub fn public_id(&self) -> ItemId {
        self.extra.as_ref().and_then(|extra| extra.id).unwrap_or(self.id)
    }
}
