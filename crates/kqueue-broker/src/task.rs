//! Requests that take several steps: `monitor`, Thrift's `get` and `put`, `stats` and `dump_stats` of very many queues.
//!
//! A task is what its session runs instead of the next request. A step does what can be done at once and either ends the task with its last reply or leaves it in the session, to
//! be gone on with when an item came, or when the replies so far have left: so neither memory nor the time under the lock grows with what was asked for.
//!
//! Invariant: a task ends with exactly one last reply, whatever happens to its session meanwhile.
//! Must not: know bytes on the wire.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use kqueue_engine::{ItemId, Mode, Now, SessionId, TakeArgs, TakeOutcome, Taken};
use kqueue_proto::{Body, Fetched, Response};

use crate::broker::Broker;
use crate::execute::{Put, PutResult, show, timed_put};
use crate::gate::Gate;
use crate::handles::Handle;
use crate::session::{Session, Shape, State};
use crate::stats::Listing;
use crate::walk::Walk;

/// Bytes of bodies that one Thrift `get` hands out at most, beyond its last item.
const FETCH_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Items that one Thrift `get` hands out at most.
const FETCH_ITEMS_MAX: u32 = 10_000;
/// Nothing that is being collected returns by itself: it would be collected twice. It does return when the session ends.
const COLLECTING_LEASE_MS: u32 = u32::MAX;

/// Items of one Thrift `put` that are put at a time; each may go to thousands of sub-queues.
const PUTS_AT_A_TIME: usize = 16;

/// What a session is in the middle of.
#[derive(Debug)]
pub(crate) enum Task {
    Monitor(Monitor),
    Fetch(Box<Fetch>),
    Put(Box<PutAll>),
    List(Box<Listing>),
    Walk(Box<Walk>),
}

/// `monitor`: items are shown as they come.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) key: Bytes,
    pub(crate) deadline_ms: u64,
    /// How many may still come.
    pub(crate) left: u32,
}

/// Thrift's `get`: items are collected.
#[derive(Debug)]
pub(crate) struct Fetch {
    key: Bytes,
    deadline_ms: Option<u64>,
    left: u32,
    auto_abort_ms: u32,
    items: Vec<(ItemId, Bytes)>,
    bytes: u64,
    /// So many of them have been confirmed already, to make room for more.
    confirmed: usize,
}

impl Fetch {
    pub(crate) fn new(now: Now, key: Bytes, max: u32, wait_ms: u32, auto_abort_ms: u32) -> Self {
        let deadline_ms = (wait_ms > 0).then(|| now.mono_ms.saturating_add(u64::from(wait_ms)));
        Self {
            key,
            deadline_ms,
            left: max.min(FETCH_ITEMS_MAX),
            auto_abort_ms,
            items: Vec::new(),
            bytes: 0,
            confirmed: 0,
        }
    }

    fn push(&mut self, items: &[Taken]) {
        for item in items {
            self.bytes += item.body.len() as u64;
            self.left = self.left.saturating_sub(1);
            self.items.push((item.id, item.body.clone()));
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.bytes >= FETCH_BYTES_MAX
    }

    /// How long it may still wait, in milliseconds.
    fn wait_ms(&self, now: Now) -> u32 {
        let left = self.deadline_ms.map_or(0, |deadline| deadline.saturating_sub(now.mono_ms));
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

/// Thrift's `put`: items are stored one after the other, since all together they may be more than there is a place for at a time.
#[derive(Debug)]
pub(crate) struct PutAll {
    key: Bytes,
    expiry_ms: u64,
    /// With their checksums.
    left: VecDeque<(Body, u32)>,
    stored: u64,
    gate: Gate,
}

impl PutAll {
    pub(crate) fn new(key: Bytes, expiry_ms: u64, bodies: Vec<Body>, crcs: Vec<u32>) -> Self {
        let left = bodies.into_iter().zip(crcs).collect();
        Self { key, expiry_ms, left, stored: 0, gate: Gate::Open }
    }
}

impl Broker {
    /// Goes on with a task; it is back in the session if it has not ended.
    pub(crate) fn step(&mut self, now: Now, session: &mut Session, task: Task) {
        match task {
            Task::Monitor(monitor) => self.step_monitor(now, session, monitor),
            Task::Fetch(fetch) => self.step_fetch(now, session, fetch),
            Task::Put(put) => self.step_put(now, session, put),
            Task::List(listing) => self.step_listing(now, session, listing),
            Task::Walk(walk) => self.step_walk(now, session, walk),
        }
    }

    /// What a task waited for has come, or its time is over.
    pub(crate) fn finish_task_wait(&mut self, now: Now, session: &mut Session, items: &[Taken]) {
        match session.task.take() {
            Some(Task::Monitor(_)) if items.is_empty() => {
                self.counters.get_misses += 1;
                session.reply(Gate::Open, Response::End);
            }
            Some(Task::Monitor(monitor)) => self.show_monitored(now, session, monitor, items),
            Some(Task::Fetch(mut fetch)) => {
                if items.is_empty() {
                    return self.finish_fetch(now, session, *fetch);
                }
                fetch.push(items);
                session.task = Some(Task::Fetch(fetch));
            }
            other => session.task = other,
        }
    }

    fn step_monitor(&mut self, now: Now, session: &mut Session, monitor: Monitor) {
        let wait_ms = monitor.deadline_ms.saturating_sub(now.mono_ms);
        let is_over = monitor.left == 0 || wait_ms == 0 || session.must_not_wait();
        if is_over || !self.gives_to(session) {
            return session.reply(Gate::Open, Response::End);
        }
        self.counters.cmd_monitor_get += 1;
        let wait_ms = u32::try_from(wait_ms).unwrap_or(u32::MAX);
        let queues = [&monitor.key[..]];
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Open,
            max: 1,
            max_bytes: u64::MAX,
            wait_ms,
            lease_ms: 0,
        };
        match self.take(now, session, args) {
            TakeOutcome::Items(items) => self.show_monitored(now, session, monitor, &items),
            TakeOutcome::Waiting => {
                session.state = State::Waiting(Shape::Monitor);
                session.task = Some(Task::Monitor(monitor));
            }
            TakeOutcome::Empty | TakeOutcome::TooManyOpen | TakeOutcome::HoldsOpen => {
                session.reply(Gate::Open, Response::End);
            }
        }
    }

    fn show_monitored(
        &mut self,
        now: Now,
        session: &mut Session,
        mut monitor: Monitor,
        items: &[Taken],
    ) {
        self.counters.get_hits += 1;
        show(now, session, items, Shape::Monitor);
        monitor.left = monitor.left.saturating_sub(1);
        session.task = Some(Task::Monitor(monitor));
    }

    fn step_fetch(&mut self, now: Now, session: &mut Session, mut fetch: Box<Fetch>) {
        while !fetch.is_done() && !session.must_not_wait() && self.gives_to(session) {
            match self.take_for(now, session, &fetch) {
                TakeOutcome::Items(items) => fetch.push(&items),
                TakeOutcome::Waiting => {
                    session.state = State::Waiting(Shape::Fetch);
                    session.task = Some(Task::Fetch(fetch));
                    return;
                }
                TakeOutcome::TooManyOpen
                    if fetch.auto_abort_ms == 0 && fetch.confirmed < fetch.items.len() =>
                {
                    // What is not to be confirmed by the client has no place among what is open.
                    self.confirm_fetched(now, session, &mut fetch);
                }
                TakeOutcome::Empty | TakeOutcome::TooManyOpen | TakeOutcome::HoldsOpen => break,
            }
        }
        self.finish_fetch(now, session, *fetch);
    }

    fn take_for(&mut self, now: Now, session: &Session, fetch: &Fetch) -> TakeOutcome {
        let queues = [&fetch.key[..]];
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Open,
            max: fetch.left,
            max_bytes: FETCH_BYTES_MAX - fetch.bytes,
            wait_ms: fetch.wait_ms(now),
            lease_ms: COLLECTING_LEASE_MS,
        };
        self.take(now, session, args)
    }

    /// Confirms what was collected; what is not held any more (its queue was deleted, or somebody settled it) is not handed out either.
    fn confirm_fetched(&mut self, now: Now, session: &Session, fetch: &mut Fetch) {
        let unconfirmed = fetch.items.split_off(fetch.confirmed);
        let mut confirm = |id| self.engine.ack(session.id, &fetch.key, id, &mut self.log);
        fetch.items.extend(unconfirmed.into_iter().filter(|(id, _)| confirm(*id)));
        fetch.confirmed = fetch.items.len();
        self.sync_lazily(now);
    }

    /// Hands over what was collected: the time within which it is to be confirmed begins now.
    fn finish_fetch(&mut self, now: Now, session: &mut Session, mut fetch: Fetch) {
        if session.has_hung_up() {
            // Nobody may be there to get them: what can still be given back goes back.
            for (id, _) in fetch.items.drain(fetch.confirmed..) {
                self.engine.release(now, session.id, &fetch.key, id, Some(0), &mut self.log);
            }
        }
        let fetched: Vec<Fetched> = match fetch.auto_abort_ms {
            0 => {
                self.confirm_fetched(now, session, &mut fetch);
                fetch.items.into_iter().map(|(_, body)| Fetched { id: 0, body }).collect()
            }
            lease_ms => self.lend(now, session.id, fetch, u64::from(lease_ms)),
        };
        match fetched.len() as u64 {
            0 => self.counters.get_misses += 1,
            hits => self.counters.get_hits += hits,
        }
        session.reply(Gate::Open, Response::Fetched(fetched));
    }

    /// Gives a number to everything that is still held.
    fn lend(&mut self, now: Now, session: SessionId, fetch: Fetch, lease_ms: u64) -> Vec<Fetched> {
        let queue = Bytes::copy_from_slice(&fetch.key);
        // Each run of a server has 2^32 of them, as it has of ids.
        let above = self.engine.last_id().0 >> 32 << 32;
        let mut fetched = Vec::with_capacity(fetch.items.len());
        for (item, body) in fetch.items {
            if self.engine.lend(now, session, &queue, item, lease_ms) {
                let id = self.handles.add(Handle { session, queue: queue.clone(), item }, above);
                fetched.push(Fetched { id, body });
            }
        }
        self.handles.tidy(&self.engine);
        fetched
    }

    fn step_put(&mut self, now: Now, session: &mut Session, mut put: Box<PutAll>) {
        for _ in 0..PUTS_AT_A_TIME {
            let Some((body, body_crc)) = put.left.pop_front() else { break };
            let bytes = match &body {
                Body::Bytes(body) => body.len(),
                Body::TooLarge { .. } | Body::NoRoom => 0,
            };
            if self.must_wait_for_space(session.id, &put.key, bytes) {
                put.left.push_front((body, body_crc));
                return session.block_task(Task::Put(put));
            }
            let (queue, expiry_ms) = (&put.key[..], put.expiry_ms);
            match self.store(now, Put::plain(queue, 0, expiry_ms, &body, body_crc)) {
                PutResult::Stored { gate, .. } => {
                    put.stored += 1;
                    put.gate = self.join(now, put.gate, gate);
                }
                PutResult::Unavailable(reason) if put.stored == 0 => {
                    return session.reply(Gate::Open, Response::ServerError(reason));
                }
                PutResult::Refused(_) | PutResult::Unavailable(_) => put.left.clear(),
            }
        }
        if !put.left.is_empty() {
            session.task = Some(Task::Put(put));
            return;
        }
        session.reply_timed(put.gate, Response::Count(put.stored), timed_put(put.gate));
    }
}
