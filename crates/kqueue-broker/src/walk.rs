//! `browse`, `kick`, `purge` of dead letters: walks over the items of a queue in one state, a piece at a time.
//!
//! Invariants: between two pieces others are served; what is only on the disk is read first, by the shell, and the session waits for that while nobody else does.
//! Must not: know bytes on the wire.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use kqueue_engine::{
    ItemId, ItemState, LoadRequest, Loaded, Now, Origin, Priority, Reason, Recorder, Seen, Seq,
    SessionId, WalkNext, WalkPlace, Walked,
};
use kqueue_proto::{Cursor, DeadCause, Found, FoundDead, Name, Response};

use crate::broker::Broker;
use crate::extended::out_of_space;
use crate::gate::Gate;
use crate::session::{Session, Shape, State};
use crate::task::Task;

/// Items that are seen to in one piece.
const STEP_ITEMS: usize = 100;
/// Bytes of bodies that one `browse` shows at most, beyond its last item.
const BROWSE_BYTES_MAX: usize = 1024 * 1024;

/// What is done with the items.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// They are shown.
    Show {
        /// No more of each body.
        body_bytes: Option<u32>,
    },
    /// They become items of their queue again: all, or the one with this id.
    Kick { id: Option<u64> },
    /// They are removed.
    Purge,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Walk {
    key: Bytes,
    state: ItemState,
    place: WalkPlace,
    left: u64,
    bytes: usize,
    done: u64,
    purpose: Purpose,
    /// What came to its place later is left alone: what is kicked may die again before the walk is over.
    through: ItemId,
    /// An item was there, perhaps, that cannot be read.
    lacks_some: bool,
    /// What is being read, or goes on being read: the rest of a stretch on the disk.
    reading: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    request: LoadRequest,
    /// The last item that may be in it.
    last_id: u64,
    /// How many items are to be met there, if that is known, and how many were.
    count: Option<u64>,
    met: u64,
    /// A part of it cannot be read.
    is_bad: bool,
}

impl Reading {
    /// Whether an item may be missing in what was read: the part that cannot be read need not have held one.
    fn lacks_some(&self) -> bool {
        self.is_bad && self.count.is_none_or(|count| self.met < count)
    }
}

/// What is to be moved has no place on the disk at the moment: a body of so many bytes.
#[derive(Debug)]
struct NoRoom {
    bytes: u64,
}

/// What was read for a walk.
#[derive(Debug)]
pub(crate) struct Looked {
    items: Vec<Loaded>,
    through: Seq,
    is_bad: bool,
}

impl Looked {
    /// Instead of how far was read: what was to be read is not there any more.
    pub(crate) const MOVED: Seq = Seq(0);
}

impl Walk {
    pub(crate) fn new(key: &Name, state: ItemState, purpose: Purpose) -> Self {
        Self {
            key: Bytes::copy_from_slice(key),
            state,
            place: WalkPlace::default(),
            left: u64::MAX,
            bytes: 0,
            done: 0,
            purpose,
            through: ItemId(u64::MAX),
            lacks_some: false,
            reading: None,
        }
    }

    pub(crate) fn from(self, after: Option<Cursor>) -> Self {
        let place = after.map_or(self.place, |Cursor(lane, id)| WalkPlace { lane, id });
        Self { place, ..self }
    }

    pub(crate) fn up_to(self, left: u64) -> Self {
        Self { left, ..self }
    }

    pub(crate) fn through(self, through: ItemId) -> Self {
        Self { through, ..self }
    }

    pub(crate) fn having_done(self, done: u64) -> Self {
        Self { done, ..self }
    }

    fn is_over(&self) -> bool {
        self.left == 0 || self.bytes >= BROWSE_BYTES_MAX
    }
}

impl Broker {
    pub(crate) fn step_walk(&mut self, now: Now, session: &mut Session, mut walk: Box<Walk>) {
        // What has become ready since somebody did something is.
        self.engine.note_now(now);
        if let Some(Some(Looked { items, through, is_bad })) = self.looked.remove(&session.id) {
            let Some(mut reading) = walk.reading.take() else { return };
            let (state, place, last_id) = (walk.state, walk.place, reading.last_id);
            let request = &reading.request;
            let Walked { seen, met, is_moved } =
                self.engine.seen_of_loaded(&walk.key, state, request, place, last_id, items);
            (reading.met, reading.is_bad) = (reading.met + met, reading.is_bad | is_bad);
            let is_whole = !is_moved && through.0 >= reading.request.last.0;
            let seen_all = self.see_all(now, session, &mut walk, seen);
            let goes_on = !is_moved && seen_all.is_ok() && !walk.is_over();
            walk.lacks_some |= match is_whole {
                true => reading.lacks_some(),
                // Where the rest is not read now, nobody knows how many there are.
                false => !goes_on && reading.is_bad,
            };
            if let Err(NoRoom { bytes }) = seen_all {
                return self.wait_or_end(now, session, walk, bytes);
            }
            if walk.is_over() {
                return self.end_walk(now, session, &walk, true, false);
            }
            reading.request.first = Seq(through.0.saturating_add(1));
            if is_moved || through == Looked::MOVED {
                // It is looked for where it is now.
            } else if reading.request.first <= reading.request.last {
                walk.reading = Some(reading);
            } else {
                walk.place.id = walk.place.id.max(last_id);
            }
        }
        if let Some(Reading { request, .. }) = walk.reading {
            self.looks.push_back((session.id, request));
            self.looked.insert(session.id, None);
            session.state = State::Waiting(Shape::Look);
            session.task = Some(Task::Walk(walk));
            return;
        }
        let max = usize::try_from(walk.left).unwrap_or(usize::MAX).min(STEP_ITEMS);
        let (seen, next) = self.engine.walk(&walk.key, walk.state, walk.place, max);
        if let Err(NoRoom { bytes }) = self.see_all(now, session, &mut walk, seen) {
            return self.wait_or_end(now, session, walk, bytes);
        }
        if walk.is_over() {
            return self.end_walk(now, session, &walk, next != WalkNext::End, false);
        }
        match next {
            WalkNext::End => return self.end_walk(now, session, &walk, false, false),
            WalkNext::Goon(place) => walk.place = place,
            WalkNext::Read { request, place, last_id, count } => {
                walk.place = place;
                walk.reading = Some(Reading { request, last_id, count, met: 0, is_bad: false });
            }
        }
        session.task = Some(Task::Walk(walk));
    }

    /// There was no room to move something: either there will be soon, and the walk goes on with it then, or the disk is full.
    fn wait_or_end(&mut self, now: Now, session: &mut Session, walk: Box<Walk>, bytes: u64) {
        if self.must_wait_for_room(session.id, bytes) {
            return session.block_task(Task::Walk(walk));
        }
        self.end_walk(now, session, &walk, true, true);
    }

    fn see_all(
        &mut self,
        now: Now,
        session: &mut Session,
        walk: &mut Walk,
        seen: Vec<Seen>,
    ) -> Result<(), NoRoom> {
        for seen in seen {
            if walk.is_over() {
                return Ok(());
            }
            let bytes = seen.item.body.len() as u64;
            let moves = match walk.purpose {
                Purpose::Kick { id } => {
                    seen.item.id <= walk.through && id.is_none_or(|id| is_named(&seen, id))
                }
                Purpose::Show { .. } | Purpose::Purge => false,
            };
            if moves && !self.log.has_room(bytes) {
                return Err(NoRoom { bytes });
            }
            walk.place = seen.place;
            if seen.item.id > walk.through {
                continue;
            }
            let is_done = match walk.purpose {
                Purpose::Show { body_bytes } => {
                    let found = found(now, &walk.key, walk.state, &seen, body_bytes);
                    walk.bytes += found.body.len();
                    session.reply(Gate::Open, Response::Found(found.into()));
                    true
                }
                Purpose::Kick { .. } if !moves => false,
                Purpose::Kick { .. } => self.engine.kick(now, &walk.key, &seen, &mut self.log),
                Purpose::Purge => self.engine.remove_seen(&seen, &mut self.log),
            };
            if is_done {
                (walk.done, walk.left) = (walk.done + 1, walk.left - 1);
            }
        }
        Ok(())
    }

    fn end_walk(
        &mut self,
        now: Now,
        session: &mut Session,
        walk: &Walk,
        is_more: bool,
        is_full: bool,
    ) {
        let count = walk.done;
        match walk.purpose {
            _ if walk.lacks_some => {
                let what = "a part of the journal cannot be read, and items in it are missing here";
                let reason = format!("{count} items; {what}: see the server's log");
                session.reply(Gate::Open, Response::ServerError(reason.into()));
            }
            Purpose::Show { .. } if is_more => {
                let cursor = Cursor(walk.place.lane, walk.place.id);
                session.reply(Gate::Open, Response::EndWithCursor(cursor));
            }
            Purpose::Show { .. } => session.reply(Gate::Open, Response::End),
            Purpose::Kick { .. } if is_full && count == 0 => {
                session.reply(Gate::Open, out_of_space());
            }
            Purpose::Kick { id: Some(_) } if count == 0 => {
                session.reply(Gate::Open, Response::NotFound);
            }
            Purpose::Kick { .. } | Purpose::Purge => self.finish_purge(now, session, count),
        }
    }

    /// What a walk asked for was read.
    pub(crate) fn handle_looked(
        &mut self,
        session: SessionId,
        items: Vec<Loaded>,
        through: Seq,
        is_bad: bool,
    ) {
        if let Some(looked) = self.looked.get_mut(&session) {
            *looked = Some(Looked { items, through, is_bad });
            self.ready.push_back(session);
        }
    }
}

/// Whether somebody means this item: by the id that it has, or had where it came from.
fn is_named(seen: &Seen, id: u64) -> bool {
    let origin = seen.item.extra.as_ref().and_then(|extra| extra.origin.as_ref());
    seen.id.0 == id || origin.is_some_and(|origin| origin.id.0 == id)
}

fn found(now: Now, key: &Bytes, state: ItemState, seen: &Seen, body_bytes: Option<u32>) -> Found {
    let item = &seen.item;
    let extra = item.extra.as_deref();
    let origin = extra.and_then(|extra| extra.origin.as_ref());
    let size = item.body.len();
    let shown = body_bytes.map_or(size, |max| size.min(max as usize));
    let cause = |origin: &Origin| match origin.reason {
        Reason::Buried => Some(DeadCause::Buried),
        Reason::DeadLettered => Some(DeadCause::Attempts),
        _ => None,
    };
    // Also where it is a ready item of the queue for dead letters.
    let dead = origin.and_then(|origin| {
        Some(FoundDead {
            cause: cause(origin)?,
            first_ms: origin.put_ms,
            last_ms: origin.moved_ms,
            reason: extra.map(|extra| extra.note.clone()).unwrap_or_default(),
        })
    });
    let life = origin.filter(|_| state == ItemState::Dead);
    let attempts = life.map_or(item.attempts, |life| life.attempts);
    let put_ms = life.map_or(item.put_ms, |life| life.put_ms);
    let due_ms = extra.map_or(0, |extra| extra.due_ms).saturating_sub(now.wall_ms);
    Found {
        key: key.clone(),
        id: seen.id.0,
        state: match state {
            ItemState::Ready => kqueue_proto::ItemState::Ready,
            ItemState::Delayed => kqueue_proto::ItemState::Delayed,
            ItemState::Open => kqueue_proto::ItemState::Open,
            ItemState::Dead => kqueue_proto::ItemState::Dead,
        },
        size: size as u64,
        flags: item.flags,
        attempts,
        age_ms: now.wall_ms.saturating_sub(put_ms),
        priority: match seen.priority {
            Priority::High => kqueue_proto::Priority::High,
            Priority::Normal => kqueue_proto::Priority::Normal,
            Priority::Low => kqueue_proto::Priority::Low,
        },
        ttl_ms: (item.expiry_ms != 0).then(|| item.expiry_ms.saturating_sub(now.wall_ms)),
        due_ms: (state == ItemState::Delayed).then_some(due_ms),
        lease_ms: seen.lease_end_ms.map(|end_ms| end_ms.saturating_sub(now.mono_ms)),
        dead,
        origin: origin.map(|origin| (origin.queue.clone(), origin.id.0)),
        body: item.body.slice(..shown),
    }
}
