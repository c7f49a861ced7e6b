//! Looking at what is in a queue without taking anything, and putting items into it that another server had. For tools, while no client is served.
//!
//! Invariant: looking changes nothing. Must not: read anything; the items on the disk are named, not brought.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::cold::Extent;
use crate::engine::Engine;
use crate::extra::Lane;
use crate::queue::{Item, Queue};
use crate::record::Recorder;
use crate::types::{ItemId, Loaded, Now, PutArgs, QueueNo, Seq};

/// A part of a queue.
#[derive(Clone, Debug)]
pub enum Stretch {
    /// An item that is in memory.
    InMemory(Loaded),
    /// Items that are only on the disk.
    OnDisk(OnDisk),
}

/// Items of one queue whose records lie in one segment.
#[derive(Clone, Debug)]
pub struct OnDisk(Extent);

impl OnDisk {
    /// The records among which they are: the first and the last.
    pub fn records(&self) -> (Seq, Seq) {
        (Seq(self.0.first_seq), Seq(self.0.last_seq))
    }

    /// How many items.
    pub fn count(&self) -> u64 {
        u64::from(self.0.count)
    }

    /// Whether an item that a record of the queue holds is one of them; others are gone, or are somewhere else by now.
    pub fn has(&self, item: &Loaded) -> bool {
        self.0.has(item.id.0, item.seq.0)
    }
}

/// What is in a part of a queue, in its order.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The part's number: that of the queue, or of a lane.
    pub queue: QueueNo,
    /// Which part it is.
    pub lane: Lane,
    /// Its items.
    pub stretches: Vec<Stretch>,
    attempts: BTreeMap<u64, u32>,
}

impl Contents {
    /// How often an item read from the disk was delivered: what its record says, or what happened since.
    pub fn attempts(&self, item: &Loaded) -> u32 {
        self.attempts.get(&item.id.0).copied().unwrap_or(item.attempts)
    }
}

impl Engine {
    /// Everything that waits in a queue, now or for later, or is dead, part by part: by priority, then what was delayed, by time, then dead letters. `None` if there is no
    /// queue of this name.
    pub fn contents(&self, name: &[u8]) -> Option<Vec<Contents>> {
        let &home = self.by_name.get(name)?;
        let mut parts: Vec<Contents> =
            self.parts(home).map(|slot| contents_of(self.queue(slot))).collect();
        parts.sort_by_key(|part| match part.lane {
            Lane::High => (0, 0),
            Lane::Main => (1, 0),
            Lane::Low => (2, 0),
            Lane::Delayed { start_ms, .. } => (3, start_ms),
            Lane::Dead => (4, 0),
        });
        Some(parts)
    }

    /// The highest id that any item has or had, as far as the log tells.
    pub fn last_id(&self) -> ItemId {
        ItemId(self.last_id)
    }

    /// How many items of a queue that are not open have ids above `id`; 0 if there is no queue of this name. `None`: that cannot be told without reading them, because items from
    /// before and after have been moved together.
    pub fn count_above(&self, name: &[u8], id: ItemId) -> Option<u64> {
        let Some(&slot) = self.by_name.get(name) else { return Some(0) };
        let mut count = 0;
        for queue in self.parts(slot).map(|part| self.queue(part)) {
            count += queue.items().filter(|item| item.id > id.0).count() as u64;
            for extent in queue.cold().into_iter().flat_map(|cold| &cold.extents) {
                if extent.first_id > id.0 {
                    count += u64::from(extent.count);
                } else if extent.last_id > id.0 {
                    return None;
                }
            }
        }
        Some(count)
    }

    /// Makes a queue if there is none, whatever the limit of their number. Its existence is recorded.
    pub fn import_queue(&mut self, now: Now, name: &[u8], rec: &mut impl Recorder) {
        let slot = self.slot_of_name(now, name, rec);
        self.define(slot, rec);
    }

    /// Puts an item that another server had into exactly this queue: no sub-queue gets it, no limit refuses it. `now.wall_ms` is when it was put there.
    pub fn import(&mut self, now: Now, args: PutArgs<'_>, rec: &mut impl Recorder) {
        let slot = self.slot_of_name(now, args.queue, rec);
        let sync = self.queue(slot).config.sync;
        let id = self.next_id(rec);
        self.store(now, &args, id, &SmallVec::from_slice(&[slot]), sync, rec);
    }
}

fn contents_of(queue: &Queue) -> Contents {
    let (head, tail) = queue.in_memory();
    let mut stretches: Vec<Stretch> = Vec::new();
    let cold = queue.cold();
    // Of a bucket also what was entered by its time.
    stretches.extend(head.map(in_memory));
    let extents = cold.into_iter().flat_map(|cold| &cold.extents);
    stretches.extend(extents.map(|extent| Stretch::OnDisk(OnDisk(extent.clone()))));
    stretches.extend(tail.map(in_memory));
    let attempts = cold.map(|cold| cold.attempts.clone()).unwrap_or_default();
    Contents { queue: queue.no, lane: queue.lane, stretches, attempts }
}

fn in_memory(item: &Item) -> Stretch {
    Stretch::InMemory(Loaded {
        seq: item.seq,
        id: ItemId(item.id),
        flags: item.flags,
        put_ms: item.put_ms,
        expiry_ms: item.expiry_ms,
        attempts: item.attempts,
        body: Bytes::clone(&item.body),
        body_crc: item.body_crc,
        extra: item.extra.clone(),
        share: item.share,
    })
}
