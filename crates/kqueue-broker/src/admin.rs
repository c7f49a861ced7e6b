//! Commands about the server and about queues as a whole: status, reload, shutdown, flush, delete, confirm by number.
//!
//! What only the shell can do (read a file, write a file, end) is asked of it as an [`Ask`]; the session waits for the answer, and nothing else does.
//! Must not: know files.

use alloc::format;

use bytes::Bytes;
use kqueue_engine::{ConfigTable, Now, SessionId};
use kqueue_proto::{Name, NameError, Response};

use crate::broker::Broker;
use crate::execute::refuse_name;
use crate::gate::Gate;
use crate::session::{Session, Shape, State};
use crate::status::Status;

/// What the shell is to do. Unless it is [`Ask::Shutdown`], the session, if there is one, waits for [`Broker::answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the configuration again and call [`Broker::reload`], or say why not.
    Reload {
        /// Who wants to know how it ended.
        session: SessionId,
    },
    /// Remember the status for the next start.
    SaveStatus {
        /// Who wants to know when it is done.
        session: Option<SessionId>,
        /// The status.
        status: Status,
    },
    /// Drain, and end.
    Shutdown,
}

impl Broker {
    /// What the shell is to do next; to be called after any other call.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// What the shell was asked for is done, or is not: a reason to show. The session is named by [`Broker::poll_event`].
    pub fn answer(&mut self, session: SessionId, result: Result<(), &str>) {
        // The session may be gone.
        if let Some(answer) = self.answers.get_mut(&session) {
            *answer = Some(result.map_err(Into::into));
            self.ready.push_back(session);
        }
    }

    /// Replaces the settings of all queues, at once and as a whole. Answers for how many queues `keep_journal` waits for the next start.
    pub fn reload(&mut self, now: Now, table: ConfigTable) -> u64 {
        self.default_sync = table.defaults.sync;
        let unchanged = self.engine.reload(now, table, &mut self.log);
        self.collect_deliveries();
        unchanged
    }

    /// Queues that an alias hides, and how many items wait in each.
    pub fn masked_queues(&self) -> impl Iterator<Item = (&Bytes, u64)> {
        self.engine.masked_queues()
    }

    /// The status that clients are told.
    pub fn status(&self) -> Status {
        self.status.shown()
    }

    /// The status that is enforced: it may follow the one that is told after a grace period.
    pub fn enforced_status(&self) -> Status {
        self.status.enforced()
    }

    /// Changes the status; false if it stays (it is that already, or a grace period runs).
    pub fn set_status(&mut self, now: Now, status: Status) -> bool {
        let has_changed = self.status.set(now.mono_ms, status);
        if has_changed {
            self.asks.push_back(Ask::SaveStatus { session: None, status });
        }
        has_changed
    }

    /// Whether the session may take items now.
    pub(crate) fn gives_to(&self, session: &Session) -> bool {
        session.access.reads && self.status.enforced().gives()
    }

    /// Answers that the session may not take items now, unless it may.
    pub(crate) fn refuses_read(&mut self, session: &mut Session) -> bool {
        let is_refused = !self.gives_to(session);
        if is_refused {
            self.counters.refused_reads += 1;
            self.refuse_unavailable(session, session.access.reads, false);
        }
        is_refused
    }

    /// Answers that the session may not change queues now, unless it may.
    pub(crate) fn refuses_write(&mut self, session: &mut Session, noreply: bool) -> bool {
        let is_refused = !(session.access.writes && self.status.enforced().takes());
        if is_refused {
            self.counters.refused_writes += 1;
            self.refuse_unavailable(session, session.access.writes, noreply);
        }
        is_refused
    }

    fn refuse_unavailable(&self, session: &mut Session, has_access: bool, noreply: bool) {
        let reason = self.unavailable(has_access);
        match noreply {
            true => session.state = State::Closing,
            false => session.deny(reason),
        }
    }

    /// Why something is not done now.
    pub(crate) fn unavailable(&self, has_access: bool) -> Response {
        Response::ServerError(match has_access {
            true => format!("the server is {}", self.status.enforced()).into(),
            false => "too many connections: this one is refused that".into(),
        })
    }

    pub(crate) fn show_or_set_status(
        &mut self,
        now: Now,
        session: &mut Session,
        set: Option<&[u8]>,
    ) {
        let Some(name) = set else {
            return session.reply(Gate::Open, Response::Status(self.status.shown().name()));
        };
        match Status::parse(name) {
            // It may be that already, and not have been saved.
            Ok(status) if self.status.set(now.mono_ms, status) || status == self.status.shown() => {
                self.ask(session, Ask::SaveStatus { session: Some(session.id), status });
            }
            Ok(_) => session.reply(Gate::Open, Response::End),
            Err(error) => session.deny(Response::ClientError(format!("{error}").into())),
        }
    }

    /// The session waits until the shell has answered.
    pub(crate) fn ask(&mut self, session: &mut Session, ask: Ask) {
        self.asks.push_back(ask);
        self.answers.insert(session.id, None);
        session.state = State::Waiting(Shape::Answer);
        session.last_ask = Some(ask);
    }

    /// The answer to what the session asked for, if it has come.
    pub(crate) fn finish_ask(&mut self, session: &mut Session) {
        let Some(Some(_)) = self.answers.get(&session.id) else { return };
        let Some(Some(result)) = self.answers.remove(&session.id) else { return };
        session.state = State::Open;
        let response = match (result, session.last_ask.take()) {
            (Err(reason), _) => Response::ServerError(reason.into()),
            (Ok(()), Some(Ask::Reload { .. })) => Response::Reloaded,
            (Ok(()), _) => Response::End,
        };
        session.reply(Gate::Open, response);
    }

    pub(crate) fn shut_down(&mut self, session: &mut Session) {
        self.asks.push_back(Ask::Shutdown);
        session.reply(Gate::Open, Response::Nothing);
        session.state = State::Closing;
        // Scripts send a `quit` after it.
        session.cut_off = true;
    }

    pub(crate) fn confirm(&mut self, now: Now, session: &mut Session, queue: &[u8], count: i32) {
        let count = usize::try_from(count).unwrap_or(0);
        if !self.engine.close_many(session.id, queue, count, &mut self.log) {
            let reason = "fewer open reads of this queue by this connection";
            return session.reply(Gate::Open, Response::Error(reason.into()));
        }
        self.sync_lazily(now);
        session.reply(Gate::Open, Response::End);
    }

    pub(crate) fn delete(&mut self, now: Now, session: &mut Session, queue: &[u8], noreply: bool) {
        if self.refuses_write(session, noreply) {
            return;
        }
        if let Err(error @ NameError::OnlyPlus) = Name::check(queue) {
            return refuse_name(session, error, queue, noreply);
        }
        // A name that cannot exist is absent, and deleting what is absent succeeds.
        self.engine.delete(queue, &mut self.log);
        let gate = self.gate_of_last(now);
        if !noreply {
            session.reply(gate, Response::Deleted);
        }
    }

    pub(crate) fn flush(&mut self, now: Now, session: &mut Session, queue: &[u8]) {
        if self.refuses_write(session, false) {
            return;
        }
        self.engine.flush(queue, &mut self.log);
        let gate = self.gate_of_last(now);
        session.reply(gate, Response::End);
    }

    pub(crate) fn flush_all(&mut self, now: Now, session: &mut Session, noreply: bool) {
        if self.refuses_write(session, noreply) {
            return;
        }
        self.engine.flush_all(&mut self.log);
        let gate = self.gate_of_last(now);
        if !noreply {
            session.reply(gate, Response::Flushed);
        }
    }

    pub(crate) fn flush_expired(&mut self, now: Now, session: &mut Session, queue: &[u8]) {
        if self.refuses_write(session, false) {
            return;
        }
        let count = self.engine.flush_expired(now, queue, &mut self.log);
        self.sync_lazily(now);
        session.reply(Gate::Open, Response::Count(count));
    }

    pub(crate) fn flush_all_expired(&mut self, now: Now, session: &mut Session) {
        let count = self.engine.flush_all_expired(now, &mut self.log);
        self.sync_lazily(now);
        session.reply(Gate::Open, Response::Count(count));
    }

    /// Administration is as durable as the default policy makes a put.
    pub(crate) fn gate_of_last(&mut self, now: Now) -> Gate {
        self.log.flush();
        let seq = self.log.writer.last_seq().0;
        self.gate_for(now, self.default_sync, seq)
    }
}
