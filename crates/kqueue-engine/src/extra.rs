//! What only some items have: a level, a due time, a history, a key. And in which part of a queue they are.
//!
//! In a record all of it is a list of fields, each a tag and a value; `docs/journal_format.md` has the bytes. The tags are frozen, and one that is not known makes
//! the record malformed: a field is part of what was acknowledged.
//! Must not: decide anything by it.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::record::{Reason, reason_number};
use crate::types::{ItemId, Priority};
use crate::varint::{Reader, put};

/// What tells a repeated put, made of the queue's name and the client's word for it.
pub type KeyHash = [u8; 16];

/// Where an item was before it came to the queue in which it is: of expired and dead items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the queue.
    pub queue: Bytes,
    /// Its id there.
    pub id: ItemId,
    /// When it was put there, unix time in milliseconds.
    pub put_ms: u64,
    /// How often it was delivered there.
    pub attempts: u32,
    /// Why it is there no more.
    pub reason: Reason,
    /// When it left, unix time in milliseconds; 0: that was not written down.
    pub moved_ms: u64,
}

/// What an item has besides what every item has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// By which clients know it, if that is not its place in its queue.
    pub id: Option<ItemId>,
    /// Before whom it is handed out.
    pub priority: Priority,
    /// When it is ready, unix time in milliseconds; 0: it always was.
    pub due_ms: u64,
    /// Where it came from.
    pub origin: Option<Origin>,
    /// What was said when it was buried.
    pub note: Bytes,
    /// Of a put only: see [`KeyHash`].
    pub key: Option<KeyHash>,
}

impl Extra {
    /// Nothing.
    pub const NONE: Self = Self {
        id: None,
        priority: Priority::Normal,
        due_ms: 0,
        origin: None,
        note: Bytes::new(),
        key: None,
    };

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// For an item in memory: without the key, of which the queue knows, and nothing where there is nothing.
    pub(crate) fn of_item(mut self) -> Option<alloc::boxed::Box<Self>> {
        self.key = None;
        (!self.is_none()).then(|| self.into())
    }
}

/// A part of a queue with an order of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The queue itself: items of normal priority that were ready when they were put.
    #[default]
    Main,
    /// Those of high priority.
    High,
    /// Those of low priority.
    Low,
    /// Dead letters, where they have no queue of their own.
    Dead,
    /// Items that are ready at their time, all of which lie between `start_ms` and 2 to the power of `width_log2` milliseconds later.
    Delayed {
        /// Unix time in milliseconds.
        start_ms: u64,
        /// See above.
        width_log2: u8,
        /// Of all of them.
        priority: Priority,
    },
}

impl Lane {
    /// The level of an item in it.
    pub fn priority(self, extra: Option<&Extra>) -> Priority {
        match self {
            Self::High => Priority::High,
            Self::Low => Priority::Low,
            Self::Delayed { priority, .. } => priority,
            Self::Main => Priority::Normal,
            Self::Dead => extra.map_or(Priority::Normal, |extra| extra.priority),
        }
    }
}

const ID: u8 = 1;
const PRIORITY: u8 = 2;
const DUE: u8 = 3;
const ORIGIN: u8 = 4;
const NOTE: u8 = 5;
const KEY: u8 = 6;
const LANE: u8 = 7;

pub(crate) fn put_fields(meta: &mut Vec<u8>, extra: &Extra, lane: Lane) {
    let mut fields = Vec::new();
    if let Some(id) = extra.id {
        fields.push(ID);
        put(&mut fields, id.0);
    }
    if extra.priority != Priority::Normal {
        fields.extend([PRIORITY, extra.priority as u8]);
    }
    if extra.due_ms != 0 {
        fields.push(DUE);
        put(&mut fields, extra.due_ms);
    }
    if let Some(origin) = &extra.origin {
        fields.push(ORIGIN);
        put_bytes(&mut fields, &origin.queue);
        put(&mut fields, origin.id.0);
        put(&mut fields, origin.put_ms);
        put(&mut fields, u64::from(origin.attempts));
        fields.push(reason_number(origin.reason));
        put(&mut fields, origin.moved_ms);
    }
    if !extra.note.is_empty() {
        fields.push(NOTE);
        put_bytes(&mut fields, &extra.note);
    }
    if let Some(key) = &extra.key {
        fields.push(KEY);
        fields.extend(key);
    }
    if lane != Lane::Main {
        fields.push(LANE);
        put_lane(&mut fields, lane);
    }
    put_bytes(meta, &fields);
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

pub(crate) fn put_lane(to: &mut Vec<u8>, lane: Lane) {
    match lane {
        Lane::Main => to.push(0),
        Lane::High => to.push(1),
        Lane::Low => to.push(2),
        Lane::Dead => to.push(3),
        Lane::Delayed { start_ms, width_log2, priority } => {
            to.extend([4, priority as u8, width_log2]);
            put(to, start_ms);
        }
    }
}

impl<'a> Reader<'a> {
    /// What [`put_fields`] wrote.
    pub(crate) fn fields(&mut self) -> Option<(Extra, Lane)> {
        let mut read = Reader(self.bytes()?);
        let (mut extra, mut lane) = (Extra::NONE, Lane::Main);
        while !read.0.is_empty() {
            match read.byte()? {
                ID => extra.id = Some(ItemId(read.number()?)),
                PRIORITY => extra.priority = read.priority()?,
                DUE => extra.due_ms = read.number()?,
                ORIGIN => extra.origin = Some(read.origin()?),
                NOTE => extra.note = Bytes::copy_from_slice(read.bytes()?),
                KEY => {
                    let (key, rest) = read.0.split_first_chunk::<16>()?;
                    (extra.key, read.0) = (Some(*key), rest);
                }
                LANE => lane = read.lane()?,
                _ => return None,
            }
        }
        Some((extra, lane))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn priority(&mut self) -> Option<Priority> {
        let number = self.byte()?;
        Priority::ALL.into_iter().find(|&priority| priority as u8 == number)
    }

    fn origin(&mut self) -> Option<Origin> {
        Some(Origin {
            queue: Bytes::copy_from_slice(self.bytes()?),
            id: ItemId(self.number()?),
            put_ms: self.number()?,
            attempts: u32::try_from(self.number()?).ok()?,
            reason: Reason::of_number(self.byte()?)?,
            moved_ms: self.number()?,
        })
    }

    pub(crate) fn lane(&mut self) -> Option<Lane> {
        Some(match self.byte()? {
            0 => Lane::Main,
            1 => Lane::High,
            2 => Lane::Low,
            3 => Lane::Dead,
            4 => {
                let priority = self.priority()?;
                let width_log2 = self.byte().filter(|&width| width < 64)?;
                Lane::Delayed { start_ms: self.number()?, width_log2, priority }
            }
            _ => return None,
        })
    }
}
