//! The extended commands about single items and whole queues: what Kestrel cannot say.
//!
//! Must not: know bytes on the wire.

use bytes::Bytes;
use kqueue_engine::{ItemId, ItemState, KeyHash, Now, Priority, Seq, Settled};
use kqueue_proto::{Body, Name, Purge, Response};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::broker::Broker;
use crate::execute::{Put, PutResult, relative_expiry_ms, timed_put};
use crate::gate::Gate;
use crate::session::Session;
use crate::task::Task;
use crate::walk::{Purpose, Walk};

/// The options of `put`.
#[derive(Debug)]
pub(crate) struct PutOptions {
    pub(crate) ttl_seconds: u32,
    pub(crate) flags: u32,
    pub(crate) delay_ms: u64,
    pub(crate) priority: kqueue_proto::Priority,
    pub(crate) idempotency_key: Option<Bytes>,
}

impl Broker {
    pub(crate) fn put(
        &mut self,
        now: Now,
        session: &mut Session,
        key: &Name,
        options: PutOptions,
        body: &Body,
        body_crc: u32,
    ) {
        if self.refuses_change(session) {
            return;
        }
        let due_ms = match options.delay_ms {
            0 => 0,
            delay_ms => now.wall_ms.saturating_add(delay_ms),
        };
        let put = Put {
            queue: key,
            flags: options.flags,
            expiry_ms: relative_expiry_ms(now, options.ttl_seconds),
            body,
            body_crc,
            due_ms,
            priority: priority_of(options.priority),
            key: options.idempotency_key.map(|word| key_hash(key, &word)),
        };
        let (gate, response) = match self.store(now, put) {
            PutResult::Stored { id, gate } => (gate, Response::StoredId(id.0)),
            PutResult::Refused(reason) => (Gate::Open, Response::NotStoredBecause(reason)),
            PutResult::Unavailable(reason) => (Gate::Open, Response::ServerError(reason)),
        };
        session.reply_timed(gate, response, timed_put(gate));
    }

    pub(crate) fn ack(&mut self, now: Now, session: &mut Session, key: &Name, id: u64) {
        let is_held = self.engine.ack(session.id, key, ItemId(id), &mut self.log);
        self.sync_lazily(now);
        session.reply(Gate::Open, if is_held { Response::Ok } else { Response::NotHeld });
    }

    pub(crate) fn release(
        &mut self,
        now: Now,
        session: &mut Session,
        key: &Name,
        id: u64,
        delay_ms: Option<u64>,
    ) {
        let id = ItemId(id);
        let settled = self.engine.release(now, session.id, key, id, delay_ms, &mut self.log);
        self.sync_lazily(now);
        self.reply_settled(session, settled);
    }

    pub(crate) fn bury(
        &mut self,
        now: Now,
        session: &mut Session,
        key: &Name,
        id: u64,
        reason: Bytes,
    ) {
        // It may be a part of a large piece that was read from the client.
        let reason = Bytes::copy_from_slice(&reason);
        let settled = self.engine.bury(now, session.id, key, ItemId(id), reason, &mut self.log);
        self.sync_lazily(now);
        self.reply_settled(session, settled);
    }

    fn reply_settled(&mut self, session: &mut Session, settled: Settled) {
        let response = match settled {
            Settled::Done => Response::Ok,
            Settled::NotHeld => Response::NotHeld,
            Settled::NoRoom => out_of_space(),
        };
        session.reply(Gate::Open, response);
    }

    pub(crate) fn touch(
        &mut self,
        now: Now,
        session: &mut Session,
        key: &Name,
        id: u64,
        lease_ms: u32,
    ) {
        let is_held = self.engine.touch(now, session.id, key, ItemId(id), lease_ms);
        session.reply(Gate::Open, if is_held { Response::Ok } else { Response::NotHeld });
    }

    pub(crate) fn browse(
        &mut self,
        session: &mut Session,
        key: &Name,
        state: kqueue_proto::ItemState,
        max: u32,
        after: Option<kqueue_proto::Cursor>,
        body_bytes: Option<u32>,
    ) {
        if !self.gives_to(session) {
            self.counters.refused_reads += 1;
            let reason = self.unavailable(session.access.reads);
            return session.reply(Gate::Open, reason);
        }
        self.counters.cmd_peek += 1;
        let walk = Walk::new(key, state_of(state), Purpose::Show { body_bytes });
        session.task = Some(Task::Walk(walk.from(after).up_to(u64::from(max)).into()));
    }

    pub(crate) fn kick(&mut self, session: &mut Session, key: &Name, which: kqueue_proto::Kick) {
        if self.refuses_change(session) {
            return;
        }
        let (id, max) = match which {
            kqueue_proto::Kick::All => (None, u64::MAX),
            kqueue_proto::Kick::Some(count) => (None, u64::from(count)),
            kqueue_proto::Kick::Id(id) => (Some(id), 1),
        };
        let walk = Walk::new(key, ItemState::Dead, Purpose::Kick { id });
        let walk = walk.up_to(max).through(self.engine.last_id());
        session.task = Some(Task::Walk(walk.into()));
    }

    pub(crate) fn purge(&mut self, now: Now, session: &mut Session, key: &Name, what: Purge) {
        if self.refuses_change(session) {
            return;
        }
        let mut count = 0;
        if matches!(what, Purge::Ready | Purge::All) {
            count += self.engine.purge_ready(now, key, &mut self.log);
        }
        if matches!(what, Purge::Delayed | Purge::All) {
            count += self.engine.purge_delayed(now, key, &mut self.log);
        }
        if matches!(what, Purge::Dead | Purge::All) {
            count += self.engine.purge_own_dead(key, &mut self.log);
        }
        let walk = Walk::new(key, ItemState::Dead, Purpose::Purge).having_done(count);
        let walk = walk.through(self.engine.last_id());
        if matches!(what, Purge::Dead | Purge::All) {
            session.task = Some(Task::Walk(walk.into()));
            return;
        }
        self.finish_purge(now, session, count);
    }

    pub(crate) fn finish_purge(&mut self, now: Now, session: &mut Session, count: u64) {
        let gate = self.gate_of_last(now);
        session.reply(gate, Response::OkCount(count));
    }

    pub(crate) fn pause(&mut self, now: Now, session: &mut Session, key: &Name, is_paused: bool) {
        if !self.engine.pause(now, key, is_paused, &mut self.log) {
            let reason = match self.engine.is_alias(key) {
                true => "an alias hands nothing out: pause its destinations",
                false => "too many queues: this would be another one",
            };
            return session.reply(Gate::Open, Response::ClientError(reason.into()));
        }
        let gate = self.gate_of_last(now);
        session.reply(gate, Response::Ok);
    }

    /// Answers that the session may not change queues now, unless it may. The connection stays open.
    fn refuses_change(&mut self, session: &mut Session) -> bool {
        let is_refused = !(session.access.writes && self.status.enforced().takes());
        if is_refused {
            self.counters.refused_writes += 1;
            let reason = self.unavailable(session.access.writes);
            session.reply(Gate::Open, reason);
        }
        is_refused
    }

    /// A repeated put promises what the first one does. Its gate must not be older than those of the replies before it, so it waits for everything, if for anything.
    pub(crate) fn gate_for_repeated(
        &mut self,
        now: Now,
        sync: kqueue_engine::SyncPolicy,
        seq: Seq,
    ) -> Gate {
        let progress = self.log.writer.progress();
        let reached = match sync {
            kqueue_engine::SyncPolicy::Always => progress.synced,
            _ => progress.written,
        };
        if reached.0 >= seq.0 {
            return Gate::Open;
        }
        self.log.flush();
        self.gate_for(now, sync, self.log.writer.last_seq().0)
    }
}

pub(crate) fn out_of_space() -> Response {
    Response::ServerError("out of disk space".into())
}

/// Two different keys of two queues are not the same with a probability that nobody has to care about; the queue's name cannot hold the byte between them.
fn key_hash(queue: &Name, word: &[u8]) -> KeyHash {
    let mut hasher = SipHasher13::new();
    core::hash::Hasher::write(&mut hasher, queue.as_bytes());
    core::hash::Hasher::write(&mut hasher, b" ");
    core::hash::Hasher::write(&mut hasher, word);
    hasher.finish128().as_bytes()
}

fn priority_of(priority: kqueue_proto::Priority) -> Priority {
    match priority {
        kqueue_proto::Priority::High => Priority::High,
        kqueue_proto::Priority::Normal => Priority::Normal,
        kqueue_proto::Priority::Low => Priority::Low,
    }
}

fn state_of(state: kqueue_proto::ItemState) -> ItemState {
    match state {
        kqueue_proto::ItemState::Ready => ItemState::Ready,
        kqueue_proto::ItemState::Delayed => ItemState::Delayed,
        kqueue_proto::ItemState::Open => ItemState::Open,
        kqueue_proto::ItemState::Dead => ItemState::Dead,
    }
}
