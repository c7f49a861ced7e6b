//! A queue's state as it goes into a checkpoint, and back.
//!
//! A state is one or more parts, each a record of its own and all appended in one go. Numbers are LEB128 varints. `docs/journal_format.md` has the bytes.
//!
//! ```text
//!   part      = flags (1: the first one, 2: begins with more ids for the last extent of the part before, 4: items may expire, 8: of a lane)
//!               [number of the lane's queue, the lane as in the records of puts, if it is one of a lane] [more ids: count, ids as differences]
//!               extent count, extents, attempt count, attempts
//!   extent    = first_id (difference to the last_id before), last_id - first_id, first_seq, last_seq - first_seq, count, bytes, cost,
//!               filter (0 none, 1 without, 2 only) [, id count, ids as differences]
//!   attempt   = id (difference to the one before), deliveries
//! ```
//!
//! Invariant: what is read back is what was written, whatever happened to the queue between parts of other queues. Must not: know segments.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::cold::{Cold, Extent, Filter};
use crate::config::master_of;
use crate::engine::{Engine, Slot};
use crate::extra::put_lane;
use crate::queue::Queue;
use crate::record::{Record, Recorder};
use crate::types::{QueueNo, Seq};
use crate::varint::{Reader, put, put_attempts, put_ids};

/// A part is closed when it is longer than this; the longest thing that can come on top stays below what a record may hold.
const PART_BYTES_MAX: usize = 16 * 1024;
/// What a queue costs a checkpoint, about: heads of two records and some numbers; each stretch of items that is apart; each item that was delivered.
const QUEUE_BYTES: usize = 100;
const APART_BYTES: usize = 48;
const ATTEMPT_BYTES: usize = 8;
const KEY_BYTES: u64 = 33;
/// No extent is as long as that, in bytes.
const EXTENT_BYTES_MAX: u64 = 1 << 48;
/// Ids written in one piece.
const IDS_MAX: usize = 2000;

const FIRST: u8 = 1;
const CONTINUES: u8 = 2;
const EXPIRES: u8 = 4;
const LANE: u8 = 8;

impl Engine {
    /// Writes down that some queues exist: those with numbers from `from` on. Answers where to go on.
    pub fn checkpoint_definitions(
        &mut self,
        from: QueueNo,
        max: usize,
        rec: &mut impl Recorder,
    ) -> Option<QueueNo> {
        let slots = self.next_slots(from, max);
        for &slot in &slots {
            let queue = self.queue_mut(slot);
            if queue.home != slot {
                continue;
            }
            // A subscription may have been made when there was no room to write that down.
            queue.is_defined |= queue.config.keep_journal && master_of(&queue.name).is_some();
            if queue.is_defined {
                rec.record(&Record::QueueCreated { queue: queue.no, name: &queue.name });
                if queue.is_paused {
                    rec.record(&Record::QueuePaused { queue: queue.no, is_paused: true });
                }
            }
        }
        self.go_on_behind(&slots, max)
    }

    /// About how long the definitions and states of all queues are, in bytes.
    pub fn checkpoint_bytes(&self) -> u64 {
        let of_queue = |queue: &Queue| {
            let cold = queue.cold();
            let extents = cold.map_or(0, |cold| cold.extents.len());
            let attempts = cold.map_or(0, |cold| cold.attempts.len());
            let apart = queue.returned.len() + queue.open.len() + extents + 1;
            (QUEUE_BYTES + queue.name.len() + apart * APART_BYTES + attempts * ATTEMPT_BYTES) as u64
        };
        let queues: u64 = self.queues.iter().flatten().map(|queue| of_queue(queue)).sum();
        queues + self.keys_known() * KEY_BYTES
    }

    /// Writes down what some queues hold, like [`Engine::checkpoint_definitions`].
    pub fn checkpoint_states(
        &mut self,
        from: QueueNo,
        max: usize,
        rec: &mut impl Recorder,
    ) -> Option<QueueNo> {
        let slots = self.next_slots(from, max);
        for &slot in &slots {
            let queue = self.queue(slot);
            let home = self.queue(queue.home);
            if home.is_defined {
                let may_expire = self.expiring.contains(&slot);
                record_state(queue, home.no, self.held_of(slot), may_expire, rec);
            }
        }
        self.go_on_behind(&slots, max)
    }

    fn next_slots(&self, from: QueueNo, max: usize) -> Vec<Slot> {
        self.by_number.range(from.0..).map(|(_, &slot)| slot).take(max).collect()
    }

    fn go_on_behind(&self, slots: &[Slot], max: usize) -> Option<QueueNo> {
        let last = slots.last().filter(|_| slots.len() == max)?;
        Some(QueueNo(self.queue(*last).no.0 + 1))
    }

    /// Items of a queue that are in somebody's hands, by id: after a restart they wait again.
    fn held_of(&self, slot: Slot) -> Vec<&crate::queue::Item> {
        let queue = self.queue(slot);
        queue
            .open
            .iter()
            .filter_map(|(id, session)| {
                let held = self.held.get(session)?;
                held.iter().find(|held| held.slot == slot && held.item.id == *id)
            })
            .map(|held| &held.item)
            .collect()
    }

    /// Takes over a part of a state.
    pub(crate) fn replay_state(
        &mut self,
        no: QueueNo,
        part: &[u8],
        rec: &mut impl Recorder,
    ) -> Option<()> {
        let mut read = Reader(part);
        let flags = read.byte()?;
        let slot = match flags & LANE {
            0 => self.slot_of(no),
            _ => {
                let home = QueueNo(read.number()?);
                self.replay_lane(no, home, read.lane()?)
            }
        };
        if flags & FIRST != 0 {
            self.with(slot, |queue| queue.drain(rec));
            self.queue_mut(slot).counters = crate::queue::QueueCounters::default();
        }
        if flags & EXPIRES != 0 {
            self.expiring.insert(slot);
        }
        let queue = self.queue_mut(slot);
        if flags & CONTINUES != 0 {
            let more = read.ids()?;
            let last = queue.cold_mut().extents.back_mut()?;
            match last.filter.as_deref_mut()? {
                Filter::Without(ids) | Filter::Only(ids) => ids.extend(more),
            }
        }
        let mut id = 0;
        for _ in 0..read.number()? {
            let extent = read.extent(&mut id)?;
            rec.add_ref(Seq(extent.first_seq), u64::from(extent.count), extent.cost);
            queue.counters.total_items += u64::from(extent.count);
            queue.cold_mut().push_extent(extent);
        }
        let mut id = 0u64;
        for _ in 0..read.number()? {
            id = id.checked_add(read.number()?)?;
            let attempts = u32::try_from(read.number()?).ok()?;
            queue.cold_mut().attempts.insert(id, attempts);
        }
        queue.cold_mut().last_ord = None;
        read.0.is_empty().then_some(())
    }
}

fn record_state(
    queue: &Queue,
    home: QueueNo,
    held: Vec<&crate::queue::Item>,
    may_expire: bool,
    rec: &mut impl Recorder,
) {
    // Hot items as extents of their own; then what is cold anyway; then what has not got there yet.
    let mut hot = Cold::default();
    let mut attempts = Vec::new();
    let (head, tail) = queue.in_memory();
    let mut before: Option<u32> = None;
    let mut head = head.peekable();
    let mut held = held.into_iter().peekable();
    loop {
        let next = match (head.peek(), held.peek()) {
            (Some(waiting), Some(open)) if open.id < waiting.id => held.next(),
            (None, _) => held.next(),
            _ => head.next(),
        };
        let Some(item) = next else { break };
        if item.seq == Seq(0) {
            continue;
        }
        hot.push(item.as_cold(before == Some(item.ord.wrapping_sub(1))), rec);
        before = Some(item.ord);
        if item.attempts > 0 {
            attempts.push((item.id, item.attempts));
        }
    }
    let mut behind = Cold::default();
    let mut before: Option<u32> = None;
    for item in tail {
        behind.push(item.as_cold(before == Some(item.ord.wrapping_sub(1))), rec);
        before = Some(item.ord);
    }
    let mut parts = Parts {
        queue: queue.no,
        rec,
        part: Vec::new(),
        extents: Vec::new(),
        count: 0,
        last_id: 0,
        flags: FIRST | if may_expire { EXPIRES } else { 0 },
        lane: Vec::new(),
    };
    if queue.no != home {
        put(&mut parts.lane, home.0);
        put_lane(&mut parts.lane, queue.lane);
    }
    let cold = queue.cold();
    hot.extents.iter().for_each(|extent| parts.extent(extent));
    cold.into_iter().flat_map(|cold| &cold.extents).for_each(|extent| parts.extent(extent));
    behind.extents.iter().for_each(|extent| parts.extent(extent));
    attempts.extend(cold.into_iter().flat_map(|cold| &cold.attempts).map(|(&id, &n)| (id, n)));
    attempts.sort_unstable();
    attempts.dedup_by_key(|(id, _)| *id);
    parts.finish(&attempts);
}

/// Parts in the making.
struct Parts<'a, R> {
    queue: QueueNo,
    rec: &'a mut R,
    /// What comes before the extents.
    part: Vec<u8>,
    extents: Vec<u8>,
    count: u64,
    last_id: u64,
    flags: u8,
    /// Which lane of which queue it is; empty: it is none.
    lane: Vec<u8>,
}

impl<R: Recorder> Parts<'_, R> {
    fn extent(&mut self, extent: &Extent) {
        put(&mut self.extents, extent.first_id.saturating_sub(self.last_id));
        put(&mut self.extents, extent.last_id - extent.first_id);
        put(&mut self.extents, extent.first_seq);
        put(&mut self.extents, extent.last_seq - extent.first_seq);
        put(&mut self.extents, u64::from(extent.count));
        put(&mut self.extents, extent.bytes);
        put(&mut self.extents, extent.cost);
        self.last_id = extent.last_id;
        self.count += 1;
        let (kind, ids) = match extent.filter.as_deref() {
            None => (0, &[][..]),
            Some(Filter::Without(ids)) => (1, &ids[..]),
            Some(Filter::Only(ids)) => (2, &ids[..]),
        };
        self.extents.push(kind);
        if kind > 0 {
            let mut chunks = ids.chunks(IDS_MAX);
            put_ids(&mut self.extents, chunks.next().unwrap_or(&[]));
            for more in chunks {
                self.close(&[]);
                self.flags = CONTINUES;
                put_ids(&mut self.part, more);
            }
        }
        if self.extents.len() > PART_BYTES_MAX {
            self.close(&[]);
        }
    }

    fn close(&mut self, attempts: &[(u64, u32)]) {
        let mut bytes = Vec::with_capacity(self.part.len() + self.extents.len() + 32);
        bytes.push(self.flags | if self.lane.is_empty() { 0 } else { LANE });
        bytes.extend_from_slice(&self.lane);
        bytes.append(&mut self.part);
        put(&mut bytes, self.count);
        bytes.append(&mut self.extents);
        put_attempts(&mut bytes, attempts);
        self.rec.record(&Record::QueueState { queue: self.queue, part: &bytes });
        (self.flags, self.count, self.last_id) = (0, 0, 0);
    }

    fn finish(mut self, attempts: &[(u64, u32)]) {
        let mut chunks = attempts.chunks(IDS_MAX);
        self.close(chunks.next().unwrap_or(&[]));
        chunks.for_each(|chunk| self.close(chunk));
    }
}

impl Reader<'_> {
    fn extent(&mut self, before: &mut u64) -> Option<Extent> {
        let first_id = before.checked_add(self.number()?)?;
        let last_id = first_id.checked_add(self.number()?)?;
        let first_seq = self.number()?;
        let last_seq = first_seq.checked_add(self.number()?)?;
        let count = u32::try_from(self.number()?).ok()?;
        let (bytes, cost) = (self.number()?, self.number()?);
        // Nonsense, and too much to be added up.
        if bytes > EXTENT_BYTES_MAX || cost > EXTENT_BYTES_MAX {
            return None;
        }
        *before = last_id;
        let filter = match self.byte()? {
            0 => None,
            1 => Some(Box::new(Filter::Without(self.ids()?))),
            2 => Some(Box::new(Filter::Only(self.ids()?))),
            _ => return None,
        };
        Some(Extent { first_id, last_id, first_seq, last_seq, bytes, cost, count, filter })
    }
}
