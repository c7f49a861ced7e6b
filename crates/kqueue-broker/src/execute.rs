//! From a request to an engine call and back to a reply: a table, one arm per command.
//!
//! This is the only place that decides which reply waits for the disk. Must not: know bytes on the wire or in the journal.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use kqueue_engine::{
    ItemId, KeyHash, Mode, Now, Priority, PutArgs, PutOutcome, Refusal, Settled, SyncPolicy,
    TakeArgs, TakeOutcome, Taken,
};
use kqueue_proto::{
    Body, ClientError, Expiry, GetOptions, Name, NameError, QueueInfo, Request, Response,
};
use smallvec::SmallVec;

use crate::admin::Ask;
use crate::broker::Broker;
use crate::extended::PutOptions;
use crate::gate::Gate;
use crate::handles::Handle;
use crate::session::{Decoded, Input, Session, Shape, State};
use crate::stats::Listing;
use crate::task::{Fetch, Monitor, PutAll, Task};
use crate::timing::{Timed, Timing};

/// Expiries below this count from now, others are unix times (Kestrel's threshold, not memcached's).
const ABSOLUTE_EXPIRY_MIN: i64 = 1_000_000;
/// Bytes of bodies that one `reserve` hands out at most, beyond its first item.
const RESERVE_BYTES_MAX: u64 = 1024 * 1024;

/// A put of either grammar.
pub(crate) struct Put<'a> {
    pub(crate) queue: &'a [u8],
    pub(crate) flags: u32,
    pub(crate) expiry_ms: u64,
    pub(crate) body: &'a Body,
    pub(crate) body_crc: u32,
    /// When it is ready, unix time in milliseconds; 0: at once.
    pub(crate) due_ms: u64,
    pub(crate) priority: Priority,
    pub(crate) key: Option<KeyHash>,
}

impl<'a> Put<'a> {
    /// One that is ready at once.
    pub(crate) fn plain(
        queue: &'a [u8],
        flags: u32,
        expiry_ms: u64,
        body: &'a Body,
        body_crc: u32,
    ) -> Self {
        let priority = Priority::Normal;
        Self { queue, flags, expiry_ms, body, body_crc, due_ms: 0, priority, key: None }
    }
}

/// What became of a put.
pub(crate) enum PutResult {
    Stored { id: ItemId, gate: Gate },
    Refused(Cow<'static, str>),
    Unavailable(Cow<'static, str>),
}

impl Broker {
    /// Runs one request. Every reply it makes is queued in the session, behind the gate that it needs.
    pub(crate) fn dispatch(&mut self, now: Now, session: &mut Session, decoded: Decoded) {
        let Decoded { input, body_crc, body_crcs, .. } = decoded;
        let request = match input {
            Input::Request(request) => request,
            Input::Fatal(fatal) => return session.refuse(Response::from(&fatal)),
        };
        match request {
            Request::Set { key, flags, expiry, body, noreply } => {
                let expiry_ms = expiry_ms(now, expiry);
                let put = Put::plain(&key, flags, expiry_ms, &body, body_crc);
                self.set(now, session, put, noreply);
            }
            Request::Get { key, options, .. } => self.get(now, session, &key, options),
            Request::Delete { key, noreply } => self.delete(now, session, &key, noreply),
            Request::Flush { key } => self.flush(now, session, &key),
            Request::FlushAll { noreply } => self.flush_all(now, session, noreply),
            Request::Monitor { key, wait_ms, max, close_all } => {
                self.monitor(now, session, key, wait_ms, max, close_all);
            }
            Request::Confirm { key, count } => self.confirm(now, session, &key, count),
            Request::FlushExpired { key } => self.flush_expired(now, session, &key),
            Request::FlushAllExpired => self.flush_all_expired(now, session),
            Request::Stats => session.task = Some(Task::List(Listing::stats())),
            Request::DumpStats { keys } => session.task = Some(Task::List(Listing::dump(keys))),
            Request::Status { set } => self.show_or_set_status(now, session, set.as_deref()),
            Request::Reload => self.ask(session, Ask::Reload { session: session.id }),
            Request::Shutdown => self.shut_down(session),
            Request::Verbosity { noreply } => {
                if !noreply {
                    session.reply(Gate::Open, Response::Ok);
                }
            }
            Request::MetaNoop => session.reply(Gate::Open, Response::MetaNoop),
            Request::Version => session.reply(Gate::Open, Response::Version(self.version)),
            Request::Quit => session.state = State::Closing,
            Request::Malformed { error, noreply } => {
                if !noreply {
                    session.reply(Gate::Open, Response::from(&error));
                }
            }
            Request::Capabilities => {
                session.reply(Gate::Open, Response::Capabilities(self.version))
            }
            Request::Put { key, ttl_seconds, flags, delay_ms, priority, idempotency_key, body } => {
                let options =
                    PutOptions { ttl_seconds, flags, delay_ms, priority, idempotency_key };
                self.put(now, session, &key, options, &body, body_crc);
            }
            Request::Reserve { max, wait_ms, lease_ms, keys } => {
                self.reserve(now, session, max, wait_ms, lease_ms, &keys);
            }
            Request::Ack { key, id } => self.ack(now, session, &key, id),
            Request::Release { key, id, delay_ms } => {
                self.release(now, session, &key, id, delay_ms);
            }
            Request::Touch { key, id, lease_ms } => self.touch(now, session, &key, id, lease_ms),
            Request::Bury { key, id, reason } => self.bury(now, session, &key, id, reason),
            Request::Browse { key, state, max, after, body_bytes } => {
                self.browse(session, &key, state, max, after, body_bytes);
            }
            Request::Kick { key, which } => self.kick(session, &key, which),
            Request::Purge { key, what } => self.purge(now, session, &key, what),
            Request::Pause { key } => self.pause(now, session, &key, true),
            Request::Resume { key } => self.pause(now, session, &key, false),
            Request::PutAll { key, expiry, bodies } => {
                let expiry_ms = expiry_ms(now, expiry);
                self.put_all(session, key, expiry_ms, bodies, body_crcs);
            }
            Request::Fetch { key, max, wait_ms, auto_abort_ms } => {
                self.fetch(now, session, key, max, wait_ms, auto_abort_ms);
            }
            Request::Settle { ids, abort } => self.settle(now, session, &ids, abort),
            Request::QueueInfo { key } => self.queue_info(now, session, &key),
        }
    }

    fn set(&mut self, now: Now, session: &mut Session, put: Put<'_>, noreply: bool) {
        if self.refuses_write(session, noreply) {
            return;
        }
        if let Err(error) = Name::check(put.queue) {
            return refuse_name(session, error, put.queue, noreply);
        }
        let (gate, response) = match self.store(now, put) {
            PutResult::Stored { gate, .. } => (gate, Response::Stored),
            PutResult::Refused(_) => (Gate::Open, Response::NotStored),
            PutResult::Unavailable(reason) => (Gate::Open, Response::ServerError(reason)),
        };
        if !noreply {
            session.reply_timed(gate, response, timed_put(gate));
        }
    }

    /// Items in order, up to the first that is refused.
    fn put_all(
        &mut self,
        session: &mut Session,
        key: Bytes,
        expiry_ms: u64,
        bodies: Vec<Body>,
        crcs: Vec<u32>,
    ) {
        if self.refuses_write(session, false) {
            return;
        }
        if let Err(error) = Name::check(&key) {
            return refuse_name(session, error, &key, false);
        }
        session.task = Some(Task::Put(PutAll::new(key, expiry_ms, bodies, crcs).into()));
    }

    /// The gate behind two others, the second one of a later put. A sub-queue without room, and with it what it demands, may be missing there.
    pub(crate) fn join(&mut self, now: Now, first: Gate, second: Gate) -> Gate {
        match (first, second) {
            (first, Gate::Open) => first,
            (Gate::Synced(_), Gate::Written(seq)) => self.gate_for(now, SyncPolicy::Always, seq),
            (_, second) => second,
        }
    }

    pub(crate) fn store(&mut self, now: Now, put: Put<'_>) -> PutResult {
        self.counters.cmd_set += 1;
        let body = match put.body {
            Body::Bytes(body) => body,
            Body::TooLarge { bytes } => {
                self.counters.refused_by_limits += 1;
                return PutResult::Refused(too_large(*bytes, self.item_bytes_max));
            }
            Body::NoRoom => {
                self.counters.refused_no_memory += 1;
                return PutResult::Unavailable(
                    "out of memory for requests: too many large ones at a time".into(),
                );
            }
        };
        let progress = self.log.writer.progress();
        if progress.poisoned {
            return PutResult::Unavailable("the journal failed, the server needs attention".into());
        }
        let puts = self.engine.puts_to(put.queue);
        if !self.log.writer.has_room_for(puts, body.len() as u64) {
            self.counters.refused_no_space += 1;
            return PutResult::Unavailable("out of disk space".into());
        }
        let args = PutArgs {
            queue: put.queue,
            flags: put.flags,
            expiry_ms: put.expiry_ms,
            body,
            body_crc: put.body_crc,
            due_ms: put.due_ms,
            priority: put.priority,
            key: put.key,
        };
        match self.engine.put(now, args, &mut self.log) {
            PutOutcome::Stored { id, seq, sync } => {
                PutResult::Stored { id, gate: self.gate_for(now, sync, seq.0) }
            }
            PutOutcome::Repeated { id, seq, sync } => {
                PutResult::Stored { id, gate: self.gate_for_repeated(now, sync, seq) }
            }
            PutOutcome::Refused(
                refusal @ (Refusal::TooManyQueues { .. } | Refusal::TooManySubQueues { .. }),
            ) => {
                self.counters.refused_too_many_queues += 1;
                PutResult::Unavailable(refusal_text(refusal, body.len()))
            }
            PutOutcome::Refused(refusal) => {
                self.counters.refused_by_limits += 1;
                PutResult::Refused(refusal_text(refusal, body.len()))
            }
        }
    }

    /// The gate that a queue's `sync_journal` puts before the reply; asks the journal for the sync that it promises.
    pub(crate) fn gate_for(&mut self, now: Now, sync: SyncPolicy, seq: u64) -> Gate {
        if seq == 0 {
            // Nothing was recorded. A gate would be older than those of the replies before it, and a session waits for its last ones only.
            return Gate::Open;
        }
        match sync {
            SyncPolicy::Always => {
                self.log.writer.require_sync(now.mono_ms, 0);
                Gate::Synced(seq)
            }
            SyncPolicy::Every { ms } => {
                self.log.writer.require_sync(now.mono_ms, ms.max(1));
                Gate::Written(seq)
            }
            SyncPolicy::Never => Gate::Written(seq),
        }
    }

    fn get(&mut self, now: Now, session: &mut Session, queue: &[u8], options: GetOptions) {
        if let Err(error) = Name::check(queue) {
            return refuse_name(session, error, queue, false);
        }
        if options.abort {
            self.engine.abort_oldest(now, session.id, queue, &mut self.log);
            return session.reply(Gate::Open, Response::End);
        }
        if options.close_all {
            self.engine.close_all(session.id, queue, &mut self.log);
            self.sync_lazily(now);
        }
        if options.close {
            self.engine.close_oldest(session.id, queue, &mut self.log);
            self.sync_lazily(now);
            if !options.open {
                return session.reply(Gate::Open, Response::End);
            }
        }
        if self.refuses_read(session) {
            return;
        }
        let (mode, shape) = match (options.peek, options.open) {
            (true, _) => (Mode::Peek, Shape::Value),
            (_, true) => (Mode::Open, Shape::Value),
            (_, false) => (Mode::Take, Shape::TakenValue),
        };
        match mode {
            Mode::Peek => self.counters.cmd_peek += 1,
            _ => self.counters.cmd_get += 1,
        }
        if self.engine.is_alias(queue) {
            return session.reply(Gate::Open, Response::End);
        }
        let queues: SmallVec<[&[u8]; 1]> = SmallVec::from_buf([queue]);
        let wait_ms = if session.must_not_wait() { 0 } else { options.wait_ms };
        let args =
            TakeArgs { queues: &queues, mode, max: 1, max_bytes: u64::MAX, wait_ms, lease_ms: 0 };
        let outcome = self.take(now, session, args);
        self.finish_take(now, session, outcome, shape);
    }

    fn reserve(
        &mut self,
        now: Now,
        session: &mut Session,
        max: u32,
        wait_ms: u32,
        lease_ms: u32,
        keys: &[Name],
    ) {
        if !self.gives_to(session) {
            self.counters.refused_reads += 1;
            let reason = self.unavailable(session.access.reads);
            return session.reply(Gate::Open, reason);
        }
        self.counters.cmd_get += 1;
        let mut queues = SmallVec::<[&[u8]; 1]>::new();
        for key in keys {
            // One that is named again is waited for once: it would count as another waiter.
            if !queues.contains(&key.as_bytes()) {
                queues.push(key.as_bytes());
            }
        }
        let wait_ms = if session.must_not_wait() { 0 } else { wait_ms };
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Open,
            max,
            max_bytes: RESERVE_BYTES_MAX,
            wait_ms,
            lease_ms,
        };
        let outcome = self.take(now, session, args);
        self.finish_take(now, session, outcome, Shape::Item);
    }

    fn monitor(
        &mut self,
        now: Now,
        session: &mut Session,
        key: Bytes,
        wait_ms: u64,
        max: Option<u32>,
        close_all: bool,
    ) {
        if let Err(error) = Name::check(&key) {
            return session.deny(Response::from(&ClientError::BadName(error, key)));
        }
        if close_all {
            self.engine.close_all(session.id, &key, &mut self.log);
            self.sync_lazily(now);
        }
        if self.refuses_read(session) {
            return;
        }
        self.counters.cmd_monitor += 1;
        let deadline_ms = now.mono_ms.saturating_add(wait_ms);
        let left = max.unwrap_or(u32::MAX);
        session.task = Some(Task::Monitor(Monitor { key, deadline_ms, left }));
    }

    fn fetch(
        &mut self,
        now: Now,
        session: &mut Session,
        key: Bytes,
        max: u32,
        wait_ms: u32,
        auto_abort_ms: u32,
    ) {
        if self.refuses_read(session) {
            return;
        }
        if let Err(error) = Name::check(&key) {
            return refuse_name(session, error, &key, false);
        }
        if auto_abort_ms > 0 && self.engine.has_lent_much() {
            // Those who fetched may be gone, so that no connection bounds what they hold.
            let reason = "too much is fetched and neither confirmed nor aborted";
            return session.reply(Gate::Open, Response::ServerError(reason.into()));
        }
        self.counters.cmd_monitor += 1;
        let fetch = Fetch::new(now, key, max, wait_ms, auto_abort_ms);
        session.task = Some(Task::Fetch(fetch.into()));
    }

    /// Confirms or gives back what any connection fetched, and answers how many items that were.
    fn settle(&mut self, now: Now, session: &mut Session, ids: &[i64], abort: bool) {
        let mut count = 0;
        for &id in ids {
            let Some(Handle { session: owner, queue, item }) = self.handles.take(id) else {
                continue;
            };
            let is_settled = match abort {
                // It returned by itself, and the same connection is fetching it again.
                _ if !self.engine.has_lent(owner, &queue, item) => false,
                true => {
                    let settled =
                        self.engine.release(now, owner, &queue, item, None, &mut self.log);
                    settled == Settled::Done
                }
                false => self.engine.ack(owner, &queue, item, &mut self.log),
            };
            count += u64::from(is_settled);
        }
        self.sync_lazily(now);
        session.reply(Gate::Open, Response::Count(count));
    }

    fn queue_info(&mut self, now: Now, session: &mut Session, queue: &[u8]) {
        if self.refuses_read(session) {
            return;
        }
        if let Err(error) = Name::check(queue) {
            return refuse_name(session, error, queue, false);
        }
        if self.engine.is_alias(queue) {
            let reason = "an alias has no items: ask for one of its destinations";
            return session.deny(Response::ClientError(reason.into()));
        }
        self.counters.cmd_peek += 1;
        let queues = [queue];
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Peek,
            max: 1,
            max_bytes: u64::MAX,
            wait_ms: 0,
            lease_ms: 0,
        };
        session.asked_of = Bytes::copy_from_slice(queue);
        match self.take(now, session, args) {
            TakeOutcome::Items(items) => self.show_info(now, session, &items),
            TakeOutcome::Waiting => session.state = State::Waiting(Shape::Info),
            _ => self.show_info(now, session, &[]),
        }
    }

    fn show_info(&mut self, now: Now, session: &mut Session, items: &[Taken]) {
        let name = core::mem::take(&mut session.asked_of);
        let head = items.first().map(|item| item.body.clone());
        let info = match self.engine.stats_of_queue(now, &name) {
            None => QueueInfo::default(),
            Some(queue) => QueueInfo {
                head,
                items: queue.items,
                bytes: queue.bytes,
                journal_bytes: queue.journal_bytes,
                age_ms: queue.age_ms,
                waiters: queue.waiters,
                open_transactions: queue.open_transactions,
            },
        };
        session.reply(Gate::Open, Response::QueueInfo(info.into()));
    }

    pub(crate) fn take(&mut self, now: Now, session: &Session, args: TakeArgs<'_>) -> TakeOutcome {
        let before = self.log.writer.last_seq();
        let outcome = self.engine.take(now, session.id, args, &mut self.log);
        if self.log.writer.last_seq() != before {
            // A subscription was made, or something moved: nobody waits for that, and it must not stay unsynced for ever.
            self.sync_lazily(now);
        }
        outcome
    }

    fn finish_take(&mut self, now: Now, session: &mut Session, outcome: TakeOutcome, shape: Shape) {
        match outcome {
            TakeOutcome::Items(items) => {
                self.counters.get_hits += 1;
                if shape == Shape::TakenValue {
                    self.sync_lazily(now);
                }
                show(now, session, &items, shape);
            }
            TakeOutcome::Empty => {
                self.counters.get_misses += 1;
                session.reply_timed(Gate::Open, Response::End, Timed::GetMiss);
            }
            TakeOutcome::Waiting => session.state = State::Waiting(shape),
            TakeOutcome::TooManyOpen => {
                let reason = "too many open reads on this queue by this connection";
                session.deny(Response::Error(reason.into()));
            }
            TakeOutcome::HoldsOpen => {
                let reason = "this connection holds an open read of this queue";
                session.deny(Response::Error(reason.into()));
            }
        }
    }

    /// Shows a session what it waited for.
    pub(crate) fn finish_wait(
        &mut self,
        now: Now,
        session: &mut Session,
        items: &[Taken],
        shape: Shape,
    ) {
        session.has_waited = true;
        match shape {
            Shape::Monitor | Shape::Fetch => return self.finish_task_wait(now, session, items),
            Shape::Info => return self.show_info(now, session, items),
            Shape::Value | Shape::TakenValue | Shape::Item | Shape::Answer | Shape::Look => {}
        }
        if items.is_empty() {
            self.counters.get_misses += 1;
            return session.reply_timed(Gate::Open, Response::End, Timed::GetWait);
        }
        self.counters.get_hits += 1;
        if shape == Shape::TakenValue {
            self.engine.accept_delivery(session.id, &mut self.log);
            self.sync_lazily(now);
        }
        show(now, session, items, shape);
    }
}

/// Queues the replies for items that were handed out.
pub(crate) fn show(now: Now, session: &mut Session, items: &[Taken], shape: Shape) {
    for item in items {
        let key = Bytes::copy_from_slice(&item.queue);
        let (flags, body) = (item.flags, item.body.clone());
        let age_ms = now.wall_ms.saturating_sub(item.put_ms);
        let response = match shape {
            Shape::Item => {
                let attempts = item.attempts;
                Response::Item { key, id: item.id.0, flags, attempts, age_ms, body }
            }
            _ => Response::ValueEnd { key, flags, body, cas: None },
        };
        session.measured(Timing { what: Timed::Delivery, us: age_ms.saturating_mul(1000) });
        session.reply_timed(
            Gate::Open,
            response,
            match session.has_waited {
                true => Timed::GetWait,
                false => Timed::GetHit,
            },
        );
    }
    if shape == Shape::Item {
        session.reply(Gate::Open, Response::End);
    }
}

/// A put that waits for the disk is measured apart.
pub(crate) fn timed_put(gate: Gate) -> Timed {
    match gate {
        Gate::Synced(_) => Timed::SyncedPut,
        Gate::Open | Gate::Written(_) => Timed::Put,
    }
}

/// Kestrel closes on a name that it cannot create, except on one of only `+`.
pub(crate) fn refuse_name(session: &mut Session, error: NameError, name: &[u8], noreply: bool) {
    let reason = ClientError::BadName(error, Bytes::copy_from_slice(name));
    if error.closes() {
        session.deny(Response::from(&reason));
    } else if !noreply {
        session.reply(Gate::Open, Response::from(&reason));
    }
}

fn expiry_ms(now: Now, expiry: Expiry) -> u64 {
    match expiry {
        Expiry::Kestrel(expiry) => absolute_expiry_ms(now, i64::from(expiry)),
        Expiry::AfterMs(0) => 0,
        Expiry::AfterMs(ms) => now.wall_ms.saturating_add(ms),
    }
}

fn absolute_expiry_ms(now: Now, expiry: i64) -> u64 {
    if expiry == 0 {
        return 0;
    }
    if expiry >= ABSOLUTE_EXPIRY_MIN {
        return expiry.unsigned_abs().saturating_mul(1000);
    }
    let relative_ms = expiry.saturating_mul(1000);
    // 0 means "never", so an item that expired at the beginning of time expired a millisecond later.
    now.wall_ms.saturating_add_signed(relative_ms).max(1)
}

pub(crate) fn relative_expiry_ms(now: Now, ttl_seconds: u32) -> u64 {
    match ttl_seconds {
        0 => 0,
        ttl => now.wall_ms.saturating_add(u64::from(ttl) * 1000),
    }
}

fn too_large(bytes: u64, limit: usize) -> Cow<'static, str> {
    format!("the item has {bytes} bytes, max_item_size is {limit}").into()
}

fn refusal_text(refusal: Refusal, bytes: usize) -> Cow<'static, str> {
    match refusal {
        Refusal::QueueFull => "the queue is full".into(),
        Refusal::TooManyQueues { limit } => format!(
            "too many queues: there are max_queues = {limit}, and this would be another one"
        )
        .into(),
        Refusal::TooManySubQueues { limit } => {
            format!("too many sub-queues: a queue may have {limit}").into()
        }
        Refusal::ItemTooLarge { limit } => {
            format!("the item has {bytes} bytes, max_item_size of the queue is {limit}").into()
        }
    }
}
