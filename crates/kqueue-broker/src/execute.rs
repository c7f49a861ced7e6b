//! From a request to an engine call and back to a reply: a table, one arm per command.
//!
//! This is the only place that decides which reply waits for the disk. Must not: know bytes on the wire or in the journal.

use alloc::borrow::Cow;
use alloc::format;

use bytes::Bytes;
use kqueue_engine::{
    ItemId, Mode, Now, PutArgs, PutOutcome, Refusal, SyncPolicy, TakeArgs, TakeOutcome, Taken,
};
use kqueue_proto::{Body, ClientError, GetOptions, Name, NameError, Request, Response};
use smallvec::SmallVec;

use crate::broker::Broker;
use crate::gate::Gate;
use crate::session::{Decoded, Input, Session, Shape, State};

/// Expiries below this count from now, others are unix times (Kestrel's threshold, not memcached's).
const ABSOLUTE_EXPIRY_MIN: i64 = 1_000_000;
/// Bytes of bodies that one `reserve` hands out at most, beyond its first item.
const RESERVE_BYTES_MAX: u64 = 1024 * 1024;

/// A put of either grammar.
struct Put<'a> {
    queue: &'a [u8],
    flags: u32,
    expiry_ms: u64,
    body: &'a Body,
    body_crc: u32,
}

/// What became of a put.
enum PutResult {
    Stored { id: ItemId, gate: Gate },
    Refused(Cow<'static, str>),
    Unavailable(Cow<'static, str>),
}

impl Broker {
    /// Runs one request. Every reply it makes is queued in the session, behind the gate that it needs.
    pub(crate) fn dispatch(&mut self, now: Now, session: &mut Session, decoded: Decoded) {
        let Decoded { input, body_crc } = decoded;
        let request = match input {
            Input::Request(request) => request,
            Input::Fatal(fatal) => return close_with(session, &fatal.error),
        };
        match request {
            Request::Set { key, flags, expiry, body, noreply } => {
                let expiry_ms = absolute_expiry_ms(now, expiry);
                let put = Put { queue: &key, flags, expiry_ms, body: &body, body_crc };
                self.set(now, session, put, noreply);
            }
            Request::Get { key, options, .. } => self.get(now, session, &key, options),
            Request::Delete { key, noreply } => self.delete(now, session, &key, noreply),
            Request::Flush { key } => self.flush(now, session, &key),
            Request::FlushAll { noreply } => self.flush_all(now, session, noreply),
            Request::Stats => session.reply(Gate::Open, self.stats(now)),
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
            Request::Put { key, ttl_seconds, flags, body } => {
                let expiry_ms = relative_expiry_ms(now, ttl_seconds);
                let put = Put { queue: &key, flags, expiry_ms, body: &body, body_crc };
                self.put(now, session, put);
            }
            Request::Reserve { max, wait_ms, lease_ms, keys } => {
                self.reserve(now, session, max, wait_ms, lease_ms, &keys);
            }
            Request::Ack { key, id } => {
                let held = self.engine.ack(now, session.id, &key, ItemId(id), &mut self.log);
                self.sync_lazily(now);
                session.reply(Gate::Open, if held { Response::Ok } else { Response::NotHeld });
            }
            Request::Release { key, id } => {
                let held = self.engine.release(now, session.id, &key, ItemId(id), &mut self.log);
                session.reply(Gate::Open, if held { Response::Ok } else { Response::NotHeld });
            }
        }
    }

    fn set(&mut self, now: Now, session: &mut Session, put: Put<'_>, noreply: bool) {
        if let Err(error) = Name::check(put.queue) {
            return refuse_name(session, error, put.queue, noreply);
        }
        let (gate, response) = match self.store(now, put) {
            PutResult::Stored { gate, .. } => (gate, Response::Stored),
            PutResult::Refused(_) => (Gate::Open, Response::NotStored),
            PutResult::Unavailable(reason) => (Gate::Open, Response::ServerError(reason)),
        };
        if !noreply {
            session.reply(gate, response);
        }
    }

    fn put(&mut self, now: Now, session: &mut Session, put: Put<'_>) {
        let (gate, response) = match self.store(now, put) {
            PutResult::Stored { id, gate } => (gate, Response::StoredId(id.0)),
            PutResult::Refused(reason) => (Gate::Open, Response::NotStoredBecause(reason)),
            PutResult::Unavailable(reason) => (Gate::Open, Response::ServerError(reason)),
        };
        session.reply(gate, response);
    }

    fn store(&mut self, now: Now, put: Put<'_>) -> PutResult {
        self.counters.cmd_set += 1;
        let body = match put.body {
            Body::Bytes(body) => body,
            Body::TooLarge { bytes } => {
                return PutResult::Refused(too_large(*bytes, self.item_bytes_max));
            }
        };
        let progress = self.log.writer.progress();
        if progress.poisoned {
            return PutResult::Unavailable("the journal failed, the server needs attention".into());
        }
        if !self.log.writer.has_room(body.len() as u64) {
            self.counters.refused_no_space += 1;
            return PutResult::Unavailable("out of disk space".into());
        }
        let args = PutArgs {
            queue: put.queue,
            flags: put.flags,
            expiry_ms: put.expiry_ms,
            body,
            body_crc: put.body_crc,
        };
        match self.engine.put(now, args, &mut self.log) {
            PutOutcome::Stored { id, seq, sync } => {
                PutResult::Stored { id, gate: self.gate_for(now, sync, seq.0) }
            }
            PutOutcome::Refused(
                refusal @ (Refusal::TooManyQueues { .. } | Refusal::TooManySubQueues { .. }),
            ) => PutResult::Unavailable(refusal_text(refusal, body.len())),
            PutOutcome::Refused(refusal) => PutResult::Refused(refusal_text(refusal, body.len())),
        }
    }

    /// The gate that a queue's `sync_journal` puts before the reply; asks the journal for the sync that it promises.
    fn gate_for(&mut self, now: Now, sync: SyncPolicy, seq: u64) -> Gate {
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
        if options.close {
            self.engine.close_oldest(now, session.id, queue, &mut self.log);
            self.sync_lazily(now);
            if !options.open {
                return session.reply(Gate::Open, Response::End);
            }
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
        self.counters.cmd_get += 1;
        let queues: SmallVec<[&[u8]; 1]> = keys.iter().map(Name::as_bytes).collect();
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

    fn take(&mut self, now: Now, session: &Session, args: TakeArgs<'_>) -> TakeOutcome {
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
                session.reply(Gate::Open, Response::End);
            }
            TakeOutcome::Waiting => session.state = State::Waiting(shape),
            TakeOutcome::TooManyOpen => {
                close_with_error(session, "too many open reads on this queue by this connection");
            }
            TakeOutcome::HoldsOpen => {
                close_with_error(session, "this connection holds an open read of this queue");
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
        if items.is_empty() {
            self.counters.get_misses += 1;
            return session.reply(Gate::Open, Response::End);
        }
        self.counters.get_hits += 1;
        if shape == Shape::TakenValue {
            self.engine.accept_delivery(now, session.id, &mut self.log);
            self.sync_lazily(now);
        }
        show(now, session, items, shape);
    }

    fn delete(&mut self, now: Now, session: &mut Session, queue: &[u8], noreply: bool) {
        // A name that cannot exist is absent, and deleting what is absent succeeds.
        self.engine.delete(now, queue, &mut self.log);
        let gate = self.gate_of_last(now);
        if !noreply {
            session.reply(gate, Response::Deleted);
        }
    }

    fn flush(&mut self, now: Now, session: &mut Session, queue: &[u8]) {
        self.engine.flush(now, queue, &mut self.log);
        let gate = self.gate_of_last(now);
        session.reply(gate, Response::End);
    }

    fn flush_all(&mut self, now: Now, session: &mut Session, noreply: bool) {
        self.engine.flush_all(now, &mut self.log);
        let gate = self.gate_of_last(now);
        if !noreply {
            session.reply(gate, Response::Flushed);
        }
    }

    /// Administration is as durable as the default policy makes a put.
    fn gate_of_last(&mut self, now: Now) -> Gate {
        self.log.flush();
        let seq = self.log.writer.last_seq().0;
        self.gate_for(now, self.default_sync, seq)
    }
}

/// Queues the replies for items that were handed out.
fn show(now: Now, session: &mut Session, items: &[Taken], shape: Shape) {
    for item in items {
        let key = Bytes::copy_from_slice(&item.queue);
        let (flags, body) = (item.flags, item.body.clone());
        let response = match shape {
            Shape::Value | Shape::TakenValue => Response::ValueEnd { key, flags, body, cas: None },
            Shape::Item => Response::Item {
                key,
                id: item.id.0,
                flags,
                attempts: item.attempts,
                age_ms: now.wall_ms.saturating_sub(item.put_ms),
                body,
            },
        };
        session.reply(Gate::Open, response);
    }
    if shape == Shape::Item {
        session.reply(Gate::Open, Response::End);
    }
}

/// Kestrel closes on a name that it cannot create, except on one of only `+`.
fn refuse_name(session: &mut Session, error: NameError, name: &[u8], noreply: bool) {
    let reason = ClientError::BadName(error, Bytes::copy_from_slice(name));
    if error.closes() {
        close_with(session, &reason);
    } else if !noreply {
        session.reply(Gate::Open, Response::from(&reason));
    }
}

fn close_with(session: &mut Session, error: &ClientError) {
    session.refuse(Response::from(error));
}

fn close_with_error(session: &mut Session, reason: &'static str) {
    session.refuse(Response::Error(Cow::Borrowed(reason)));
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

fn relative_expiry_ms(now: Now, ttl_seconds: u32) -> u64 {
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
