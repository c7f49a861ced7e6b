//! What queues do, said as simply as possible.

use super::*;

/// In which part of its queue an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Fifo,
    Timed,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) queue: usize,
    pub(super) id: u64,
    pub(super) put_ms: u64,
    pub(super) moved_ms: u64,
    pub(super) attempts: u32,
    pub(super) reason: Reason,
    pub(super) priority: Priority,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) id: u64,
    /// Rises with every put and every move: the order within a part.
    pub(super) place: u64,
    pub(super) part: Part,
    pub(super) priority: Priority,
    pub(super) due_ms: u64,
    pub(super) put_ms: u64,
    pub(super) expiry_ms: u64,
    pub(super) attempts: u32,
    pub(super) body: Bytes,
    pub(super) from: Option<From>,
    pub(super) note: Bytes,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) items: Vec<Thing>,
    pub(super) is_paused: bool,
    pub(super) is_written: bool,
}

impl Queue {
    /// The first item of a level in one of its two parts.
    pub(super) fn first(&self, priority: Priority, part: Part, now: Now) -> Option<usize> {
        let all = self.items.iter().enumerate();
        let mine = all.filter(|(_, thing)| thing.priority == priority && thing.part == part);
        let ready = mine.filter(|(_, thing)| part == Part::Fifo || thing.due_ms <= now.wall_ms);
        ready.min_by_key(|(_, thing)| (thing.due_ms, thing.place)).map(|(index, _)| index)
    }

    pub(super) fn waiting(&self) -> usize {
        self.items.iter().filter(|thing| thing.part != Part::Dead).count()
    }
}

pub(super) fn state_of(thing: &Thing, now: Now) -> ItemState {
    match thing.part {
        Part::Dead => ItemState::Dead,
        Part::Timed if thing.due_ms > now.wall_ms => ItemState::Delayed,
        _ => ItemState::Ready,
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) queues: BTreeMap<usize, Queue>,
    /// In the order in which they were handed out: to whom, from where.
    pub(super) held: Vec<(u64, usize, Thing)>,
    pub(super) keys: Vec<(u8, u64, u64)>,
    pub(super) place: u64,
    /// Dead letters whose ids in the other queue are not known yet, by their places.
    pub(super) nameless: Vec<u64>,
}

impl Model {
    pub(super) fn queue(&mut self, queue: usize) -> &mut Queue {
        self.queues.entry(queue).or_default()
    }

    pub(super) fn next_place(&mut self) -> u64 {
        self.place += 1;
        self.place
    }

    pub(super) fn is_spent(queue: usize, thing: &Thing) -> bool {
        ["jobs", "own", "mem"].contains(&NAMES[queue]) && thing.attempts >= MAX_ATTEMPTS
    }

    pub(super) fn is_expired(thing: &Thing, now: Now) -> bool {
        thing.expiry_ms != 0 && thing.expiry_ms < now.wall_ms
    }

    /// The first one of a level and a part that may be handed out; others leave on the way.
    pub(super) fn settle_first(
        &mut self,
        queue: usize,
        priority: Priority,
        part: Part,
        now: Now,
    ) -> Option<usize> {
        loop {
            let index = self.queue(queue).first(priority, part, now)?;
            let thing = &self.queue(queue).items[index];
            let (is_expired, is_spent) =
                (Self::is_expired(thing, now), Self::is_spent(queue, thing));
            if !is_expired && !is_spent {
                return Some(index);
            }
            let thing = self.queue(queue).items.remove(index);
            if !is_expired {
                self.bury(queue, thing, Reason::DeadLettered, Bytes::new(), now);
            }
        }
    }

    pub(super) fn next(&mut self, queue: usize, now: Now) -> Option<usize> {
        for priority in Priority::ALL {
            // A removal on the way changes the places in the list.
            self.settle_first(queue, priority, Part::Fifo, now);
            let due = self.settle_first(queue, priority, Part::Timed, now);
            let fifo = self.queue(queue).first(priority, Part::Fifo, now);
            let items = &self.queue(queue).items;
            match (fifo, due) {
                (Some(fifo), Some(due)) if items[due].due_ms < items[fifo].put_ms => {
                    return Some(due);
                }
                (Some(first), _) | (None, Some(first)) => return Some(first),
                (None, None) => {}
            }
        }
        None
    }

    /// What a sweep, or a put, removes.
    pub(super) fn sweep(&mut self, queue: usize, parts: &[Part], now: Now) {
        for &part in parts {
            for priority in [Priority::Normal, Priority::High, Priority::Low] {
                self.settle_first(queue, priority, part, now);
            }
        }
    }

    pub(super) fn make_room(&mut self, queue: usize, now: Now) -> bool {
        self.queue(queue);
        self.sweep(queue, &[Part::Fifo], now);
        if NAMES[queue] == "rolling" {
            while self.queue(queue).waiting() >= LIMIT {
                let lowest = Priority::ALL.iter().rev();
                let parts = lowest.flat_map(|&level| [(level, Part::Fifo), (level, Part::Timed)]);
                let mut first =
                    parts.filter_map(|(level, part)| self.queues[&queue].first(level, part, now));
                let Some(index) = first.next() else { return false };
                self.queue(queue).items.remove(index);
            }
        }
        NAMES[queue] != "small" || self.queue(queue).waiting() < LIMIT
    }

    pub(super) fn bury(
        &mut self,
        queue: usize,
        thing: Thing,
        reason: Reason,
        note: Bytes,
        now: Now,
    ) {
        let place = self.next_place();
        let from = From {
            queue,
            id: thing.id,
            put_ms: thing.put_ms,
            moved_ms: now.wall_ms,
            attempts: thing.attempts,
            reason,
            priority: thing.priority,
        };
        let (to, part, priority) = match NAMES[queue] {
            "jobs" => (3, Part::Fifo, Priority::Normal),
            _ => (queue, Part::Dead, thing.priority),
        };
        if to != queue {
            self.nameless.push(place);
        }
        self.queue(to).is_written |= is_journaled(to);
        self.queue(to).items.push(Thing {
            place,
            part,
            priority,
            due_ms: 0,
            put_ms: now.wall_ms,
            expiry_ms: 0,
            attempts: 0,
            from: Some(from),
            note,
            ..thing
        });
    }

    pub(super) fn take_held(
        &mut self,
        session: u64,
        queue: usize,
        id: Option<u64>,
    ) -> Option<Thing> {
        let is_it = |(of, from, thing): &(u64, usize, Thing)| {
            *of == session && *from == queue && id.is_none_or(|id| thing.id == id)
        };
        let index = self.held.iter().position(is_it)?;
        Some(self.held.remove(index).2)
    }

    pub(super) fn open_of(&self, session: u64, queue: usize) -> usize {
        self.held.iter().filter(|(of, from, _)| (*of, *from) == (session, queue)).count()
    }

    /// Dead letters of a queue: where, and at which place.
    pub(super) fn dead_of(&self, queue: usize) -> Vec<(usize, u64)> {
        let own = self.queues.get(&queue).into_iter().flat_map(|queue| &queue.items);
        let own = own.filter(|thing| thing.part == Part::Dead).map(|thing| (queue, thing.place));
        let is_from = |thing: &&Thing| {
            NAMES[queue] == "jobs"
                && thing.part != Part::Dead
                && thing.from.as_ref().is_some_and(|from| from.queue == queue)
        };
        let other = self.queues.get(&3).into_iter().flat_map(|queue| &queue.items);
        let mut all: Vec<(usize, u64)> = own.collect();
        all.extend(other.filter(is_from).map(|thing| (3, thing.place)));
        all
    }

    pub(super) fn restart(&mut self) {
        for (_, queue, thing) in core::mem::take(&mut self.held) {
            self.queue(queue).items.push(thing);
        }
        self.queues.remove(&7);
        self.queues.retain(|&queue, of| NAMES[queue] == "m+a" || of.is_written);
    }
}
