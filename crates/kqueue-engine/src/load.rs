//! Items on their way out of memory and back: the tail joins the extents, extents are read ahead of those who take.
//!
//! Invariants: at most one read per queue is under way; what it brings is taken only if nothing changed meanwhile in what was asked for; an item that cannot be read
//! is counted and given up, never replaced by another one.
//! Must not: read anything, know where records lie.

use alloc::vec::Vec;

use crate::engine::{Engine, Slot};
use crate::queue::Item;
use crate::record::Recorder;
use crate::types::{LoadRequest, Loaded, Now, Seq};

/// Items are read ahead as long as a queue that is being emptied has less than this in memory, in bytes.
const READ_AHEAD_BYTES: u64 = 1024 * 1024;

impl Engine {
    /// Everything up to `written` can be read from the disk now: what waits for that in the tails of queues joins their extents.
    pub fn handle_written(&mut self, written: Seq, rec: &impl Recorder) {
        if !self.folding.is_empty() {
            let slots: Vec<Slot> = self.folding.iter().copied().collect();
            for slot in slots {
                let left = self.memory_for(slot);
                if self.with(slot, |queue| queue.fold(written, left, rec)) {
                    self.folding.remove(&slot);
                }
                self.wake_bucket(slot);
            }
        }
        self.loads.extend(self.stalled_loads.drain(..));
    }

    /// The next items have to be read before anything can be handed out.
    pub(crate) fn want_load(&mut self, slot: Slot) {
        let queue = self.queue_mut(slot);
        if queue.loading.is_none() && queue.has_cold() {
            // A token that no read has: it only says that one was asked for.
            queue.loading = Some(0);
            self.loads.push_back(slot);
        }
    }

    /// Somebody takes items: the next ones should be in memory when they are wanted.
    pub(crate) fn read_ahead(&mut self, slot: Slot) {
        let queue = self.queue(slot);
        let is_low = queue.hot_cost() < READ_AHEAD_BYTES.min(queue.config.max_memory_size / 2);
        let has_room = self.memory_left() > READ_AHEAD_BYTES || queue.needs_load();
        if is_low && has_room && queue.has_cold() {
            self.want_load(slot);
        }
    }

    /// Items that are to be read next. Answer with [`Engine::handle_loaded`], or with [`Engine::load_later`].
    pub fn poll_load(&mut self) -> Option<LoadRequest> {
        while let Some(slot) = self.loads.pop_front() {
            let token = self.next_token;
            let Some(queue) = self.queues.get_mut(slot as usize).and_then(Option::as_deref_mut)
            else {
                continue;
            };
            if queue.loading != Some(0) {
                continue;
            }
            let Some(extent) = queue.cold().and_then(|cold| cold.extents.front()) else {
                queue.loading = None;
                continue;
            };
            let (first, last) = (Seq(extent.first_seq), Seq(extent.last_seq));
            queue.loading = Some(token);
            self.next_token += 1;
            return Some(LoadRequest { queue: queue.no, first, last, token });
        }
        None
    }

    /// What was asked for is not written yet: it will be asked for again after the next [`Engine::handle_written`].
    pub fn load_later(&mut self, request: &LoadRequest) {
        if let Some(slot) = self.slot_of_load(request) {
            self.queue_mut(slot).loading = Some(0);
            self.stalled_loads.push(slot);
        }
    }

    fn slot_of_load(&self, request: &LoadRequest) -> Option<Slot> {
        let slot = self.by_number.get(&request.queue.0).copied()?;
        (self.queue(slot).loading == Some(request.token)).then_some(slot)
    }

    /// Items were read: all readable ones of the request up to the record `through`, in order. Answers how many items of the request cannot be read any more.
    pub fn handle_loaded(
        &mut self,
        now: Now,
        request: &LoadRequest,
        items: Vec<Loaded>,
        through: Seq,
        rec: &mut impl Recorder,
    ) -> u64 {
        let Some(slot) = self.slot_of_load(request) else { return 0 };
        self.queue_mut(slot).loading = None;
        let is_same = |first: Option<&crate::cold::Extent>| {
            first.is_some_and(|first| {
                first.first_seq == request.first.0 && first.last_seq >= request.last.0
            })
        };
        let lost = match is_same(self.queue(slot).cold().and_then(|cold| cold.extents.front())) {
            true => self.take_loaded(slot, items, through, rec),
            // The items were moved while they were read: they are read again where they are now.
            false => 0,
        };
        self.note_now(now);
        self.trim(now, slot, rec);
        self.wake_bucket(slot);
        if self.expiring.contains(&slot) && self.queue(slot).config.max_expire_sweep == u64::MAX {
            // A sweep goes on with what it asked for: this reads on until something has not expired.
            self.drop_expired_head(now, slot, u64::MAX, rec);
        }
        let home = self.home(slot);
        self.advance(now, home);
        self.serve(now, home, rec);
        if self.queue(home).waiting > 0 && self.queue(slot).needs_load() {
            self.want_load(slot);
        }
        self.end_hopeless(home, rec);
        self.settle(now, rec);
        lost
    }

    fn take_loaded(
        &mut self,
        slot: Slot,
        items: Vec<Loaded>,
        through: Seq,
        rec: &mut impl Recorder,
    ) -> u64 {
        let mut can_expire = false;
        let lost = self.with(slot, |queue| {
            let mut is_break = false;
            let Some(last_id) =
                queue.cold().and_then(|cold| cold.extents.front()).map(|e| e.last_id)
            else {
                return 0;
            };
            for loaded in items {
                let cold = queue.cold_mut();
                // With its last item an extent is gone.
                let Some(extent) = cold.extents.front_mut().filter(|e| e.last_id == last_id) else {
                    break;
                };
                if !extent.has(loaded.id.0, loaded.seq.0) {
                    is_break |= (extent.first_id..=extent.last_id).contains(&loaded.id.0);
                    continue;
                }
                let bytes = loaded.body.len() as u64;
                let rest = cold.change(0, |extent| {
                    extent.sub(bytes, u64::from(loaded.share));
                    extent.advance(loaded.id.0, loaded.seq.0);
                });
                rec.unref(loaded.seq, 0, rest);
                let attempts = cold.attempts.remove(&loaded.id.0).unwrap_or(loaded.attempts);
                let item = item_of(loaded, attempts);
                can_expire |= queue.can_expire(&item);
                queue.push_loaded(item, core::mem::take(&mut is_break));
            }
            let lost = finish_extent(queue, last_id, through, rec);
            queue.join_tail();
            lost
        });
        if can_expire && !self.queue(slot).is_delayed() {
            self.expiring.insert(slot);
        }
        let counters = &mut self.queue_mut(slot).counters;
        counters.damaged_items += lost;
        lost
    }
}

/// Everything of the first extent up to `through` was seen. Answers how many of its items were not there although it is at its end.
fn finish_extent(
    queue: &mut crate::queue::Queue,
    last_id: u64,
    through: Seq,
    rec: &mut impl Recorder,
) -> u64 {
    let cold = queue.cold_mut();
    let Some(extent) = cold.extents.front_mut().filter(|extent| extent.last_id == last_id) else {
        queue.break_order();
        return 0;
    };
    extent.first_seq = extent.first_seq.max(through.0.saturating_add(1));
    if extent.first_seq <= extent.last_seq {
        return 0;
    }
    let (last, lost) = (Seq(extent.last_seq), u64::from(extent.count));
    let rest = cold.change(0, |extent| extent.count = 0);
    rec.unref(last, lost, rest);
    queue.break_order();
    lost
}

pub(crate) fn item_of(loaded: Loaded, attempts: u32) -> Item {
    Item {
        id: loaded.id.0,
        seq: loaded.seq,
        put_ms: loaded.put_ms,
        expiry_ms: loaded.expiry_ms,
        flags: loaded.flags,
        attempts,
        share: loaded.share,
        ord: 0,
        body: loaded.body,
        body_crc: loaded.body_crc,
        extra: loaded.extra,
    }
}
