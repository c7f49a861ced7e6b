//! For tools: what lies in the queues, item by item, without taking any; and items that another server had.
//!
//! Invariants: looking changes nothing; of what is on the disk at most one piece is in memory. Must not: perform I/O; the shell reads.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use kqueue_engine::{Contents, ItemId, Lane, Loaded, Now, OnDisk, Priority, PutArgs, Stretch};
use kqueue_journal::Seq;

use crate::broker::Broker;
use crate::read::{BadPlace, Pieces, SegmentRead, feed_items};

/// How much a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSize {
    /// Its name.
    pub name: Bytes,
    /// Waiting items, delayed ones too.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Those of them whose time has not come.
    pub delayed: u64,
    /// Dead letters that it keeps.
    pub dead: u64,
}

/// A walk over the items of a queue, part by part. Ask [`Look::step`] for the next one, and do what it says.
#[derive(Debug)]
pub struct Look {
    parts: alloc::vec::IntoIter<Contents>,
    /// In which it is, but for its stretches.
    part: Contents,
    stretches: alloc::vec::IntoIter<Stretch>,
    reading: Option<Reading>,
    ready: VecDeque<Loaded>,
    bad: Vec<BadPlace>,
}

#[derive(Debug)]
struct Reading {
    on_disk: OnDisk,
    pieces: Pieces,
    found: u64,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookStep {
    /// An item, and in which part of the queue it is. Its `attempts` are those of now.
    Item(Lane, Loaded),
    /// Read this and give it to [`Look::feed`], or tell [`Look::give_up`].
    Read(SegmentRead),
    /// So many items that should have been here cannot be read.
    Lost(u64),
    /// There is nothing more.
    Done,
}

impl Broker {
    /// All queues, by name.
    pub fn queues(&self) -> Vec<QueueSize> {
        let sizes = self.engine.queue_stats(Now::default(), 0).map(|queue| QueueSize {
            name: queue.name,
            items: queue.items + queue.delayed_items,
            bytes: queue.bytes,
            delayed: queue.delayed_items,
            dead: queue.dead_items,
        });
        let mut sizes: Vec<QueueSize> = sizes.collect();
        sizes.sort_by(|one, other| one.name.cmp(&other.name));
        sizes
    }

    /// Begins a walk over a queue, as it is now; `None` if there is none of this name.
    pub fn look(&self, queue: &[u8]) -> Option<Look> {
        let mut parts = self.engine.contents(queue)?.into_iter();
        let mut part = parts.next()?;
        let stretches = core::mem::take(&mut part.stretches).into_iter();
        let (ready, bad) = (VecDeque::new(), Vec::new());
        Some(Look { parts, part, stretches, reading: None, ready, bad })
    }

    /// The numbers of the segments in which a queue's items lie that are only on the disk.
    pub fn segments_of(&self, queue: &[u8]) -> Vec<u64> {
        let parts = self.engine.contents(queue).unwrap_or_default();
        let stretches = parts.into_iter().flat_map(|part| part.stretches);
        let on_disk = stretches.filter_map(|stretch| match stretch {
            Stretch::OnDisk(on_disk) => self.log.writer.segment_of(Seq(on_disk.records().0.0)),
            Stretch::InMemory(_) => None,
        });
        let mut segments: Vec<u64> = on_disk.collect();
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// The highest id that any item has or had.
    pub fn last_id(&self) -> ItemId {
        self.engine.last_id()
    }

    /// How many items of a queue that are not open have ids above `id`; `None`: they have been moved together with others, and it cannot be told.
    pub fn count_above(&self, queue: &[u8], id: ItemId) -> Option<u64> {
        self.engine.count_above(queue, id)
    }

    /// Makes a queue if there is none, and asks for a sync of the record that says so.
    pub fn import_queue(&mut self, now: Now, queue: &[u8]) {
        self.engine.import_queue(now, queue, &mut self.log);
        self.log.writer.require_sync(now.mono_ms, 0);
    }

    /// Puts an item that another server had into exactly this queue, whatever its limits, and asks for a sync. False: the disk is full or failed, nothing was put.
    ///
    /// `put_ms` is when it was put there, `expiry_ms` when it expires (0: never), both in unix time. The body must not be longer than the longest item that the broker was made for.
    pub fn import(
        &mut self,
        now: Now,
        queue: &[u8],
        body: &Bytes,
        put_ms: u64,
        expiry_ms: u64,
    ) -> bool {
        if !self.log.writer.has_room(body.len() as u64) {
            return false;
        }
        let body_crc = crc32fast::hash(body);
        let args = PutArgs {
            queue,
            flags: 0,
            expiry_ms,
            body,
            body_crc,
            due_ms: 0,
            priority: Priority::Normal,
            key: None,
        };
        self.engine.import(Now { wall_ms: put_ms, ..now }, args, &mut self.log);
        self.log.writer.require_sync(now.mono_ms, 0);
        true
    }
}

impl Look {
    /// What comes next. `broker` is the one that began the walk, unchanged.
    pub fn step(&mut self, broker: &Broker) -> LookStep {
        loop {
            if let Some(mut item) = self.ready.pop_front() {
                item.attempts = self.part.attempts(&item);
                return LookStep::Item(self.part.lane, item);
            }
            if let Some(reading) = &self.reading {
                if !reading.pieces.is_over {
                    return LookStep::Read(reading.pieces.next_read());
                }
                let lost = reading.on_disk.count().saturating_sub(reading.found);
                if let Some(over) = self.reading.take() {
                    self.bad.extend(over.pieces.bad);
                }
                if lost > 0 {
                    return LookStep::Lost(lost);
                }
            }
            match self.stretches.next() {
                None => {
                    let Some(mut part) = self.parts.next() else { return LookStep::Done };
                    self.stretches = core::mem::take(&mut part.stretches).into_iter();
                    self.part = part;
                }
                Some(Stretch::InMemory(item)) => return LookStep::Item(self.part.lane, item),
                Some(Stretch::OnDisk(on_disk)) => {
                    let (first, last) = on_disk.records();
                    let Some(place) = broker.log.writer.locate(Seq(first.0), Seq(last.0)) else {
                        return LookStep::Lost(on_disk.count());
                    };
                    let pieces = Pieces::new(&place);
                    self.reading = Some(Reading { on_disk, pieces, found: 0 });
                }
            }
        }
    }

    /// Takes what was read.
    pub fn feed(&mut self, piece: &[u8]) {
        let Some(Reading { on_disk, pieces, found }) = &mut self.reading else { return };
        let ready = &mut self.ready;
        feed_items(pieces, piece, self.part.queue, on_disk.records(), &mut |item| {
            if on_disk.has(&item) {
                *found += 1;
                ready.push_back(item);
            }
        });
        if pieces.has_passed(on_disk.records().1) {
            pieces.is_over = true;
        }
    }

    /// The segment cannot be read: what lies there is lost.
    pub fn give_up(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.pieces.is_over = true;
        }
    }

    /// Places that could not be read so far. They need not have held anything.
    pub fn bad(&self) -> &[BadPlace] {
        &self.bad
    }
}
