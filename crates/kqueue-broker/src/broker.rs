//! Engine, journal and gates composed: the one object that a shell drives.
//!
//! Contract for the shell
//! - Call [`Broker::execute`] for a session that [`Session::wants_broker`], and for one that [`Broker::poll_event`] named after
//!   [`Session::set_ready`]; or its two halves, [`Broker::run`] and, always, [`Broker::await_disk`], with anything in between. Who asks [`Broker::poll_opened`] first may only
//!   [`Session::encode`] what that names.
//! - Also after any call: [`Broker::poll_load`] until there is none; each load is read (in any thread, without the lock) and reported with [`Broker::handle_loaded`].
//! - After any call: take jobs with [`Broker::poll_job`] until there is none, run each to its end, in order, and report it with
//!   [`Broker::handle_done`]; drain [`Broker::poll_event`]; call [`Broker::handle_timeout`] no later than [`Broker::poll_timeout`] says, and
//!   [`Broker::poll_job`] no later than [`Broker::poll_journal_timeout`] says.
//! - `now` goes back by as much as its caller waited for the lock at most, some milliseconds: nothing may depend on more than that.
//!
//! Invariants: a reply that promises something is behind the gate of the record that makes it true; a session is named whenever its gate opened
//! or its wait ended; nothing is handed to a session that is gone.
//! Must not: perform I/O, read a clock, know sockets or files.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use kqueue_engine::{
    ConfigTable, Delivery, Engine, EngineLimits, ItemId, LoadRequest, Now, Seq, SessionId,
    SyncPolicy,
};
use kqueue_journal::{DiskFault, DiskOp, Job, JobId, Progress};
use kqueue_proto::Request;

use crate::admin::Ask;
use crate::gate::Gates;
use crate::handles::Handles;
use crate::log::Log;
use crate::read::{BadPlace, Load};
use crate::session::{Access, Input, Session, Shape, State, queue_and_body_of};
use crate::status::{Status, StatusControl};
use crate::task::Task;
use crate::walk::Looked;

/// Confirmed and removed items are synced within this time even if no put comes along; until then a power cut redelivers them.
const LAZY_SYNC_MS: u64 = 1000;

/// Places that could not be read and may have held something; older ones are forgotten.
const SUSPECTS_MAX: usize = 64;

/// What the broker is built from, besides what recovery found.
#[derive(Debug)]
pub struct BrokerConfig {
    /// Every queue's configuration.
    pub table: ConfigTable,
    /// Limits over all queues.
    pub limits: EngineLimits,
    /// Largest item accepted, in bytes.
    pub max_item_size: usize,
    /// How often expired items are swept, in milliseconds; 0: only when they are met.
    pub sweep_every_ms: u64,
    /// Version shown to clients.
    pub version: &'static str,
    /// The status to begin with.
    pub status: Status,
    /// How long a status that allows less is told before it is enforced, in milliseconds.
    pub status_grace_ms: u64,
    /// A connection that makes more than so many may not take items, as long as it lasts.
    pub refuse_reads_over: Option<u64>,
    /// A connection that makes more than so many may not put, flush or delete, as long as it lasts.
    pub refuse_writes_over: Option<u64>,
}

/// What clients asked for, since start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) cmd_get: u64,
    pub(crate) cmd_set: u64,
    pub(crate) cmd_peek: u64,
    /// Monitors, and Thrift's gets.
    pub(crate) cmd_monitor: u64,
    /// What monitors asked their queue for.
    pub(crate) cmd_monitor_get: u64,
    /// Open reads that returned because their connection ended.
    pub(crate) cmd_get_open_dropped: u64,
    /// Waits that ended because their client went away.
    pub(crate) cmd_get_timeout_dropped: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) get_hits: u64,
    pub(crate) get_misses: u64,
    pub(crate) connections: u64,
    pub(crate) connections_total: u64,
    pub(crate) journal_writes: u64,
    pub(crate) journal_syncs: u64,
    pub(crate) checkpoints: u64,
    pub(crate) loads: u64,
    /// Puts refused because the disk was full.
    pub(crate) refused_no_space: u64,
    /// Puts refused because too many large ones were on their way.
    pub(crate) refused_no_memory: u64,
    /// Puts refused because a queue was full, or the item too large for it or the server.
    pub(crate) refused_by_limits: u64,
    /// Puts refused because there would have been one queue too many.
    pub(crate) refused_too_many_queues: u64,
    /// Reads refused by the status or a connection limit.
    pub(crate) refused_reads: u64,
    /// Puts, flushes and deletes refused by the status or a connection limit.
    pub(crate) refused_writes: u64,
    pub(crate) clock_ahead_ms: i64,
}

/// What recovery had to report, for `stats`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Damage {
    /// How many torn tails were cut.
    pub torn_tails: u64,
    /// Bytes in them.
    pub torn_tail_bytes: u64,
    /// Damaged places in acknowledged data.
    pub damaged: u64,
    /// Bytes in them.
    pub damaged_bytes: u64,
    /// Items that could not be read from the disk when they were wanted.
    pub damaged_items: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Broker {
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    pub(crate) damage: Damage,
    pub(crate) version: &'static str,
    pub(crate) default_sync: SyncPolicy,
    pub(crate) item_bytes_max: usize,
    pub(crate) started: Now,
    pub(crate) status: StatusControl,
    refuse_reads_over: Option<u64>,
    refuse_writes_over: Option<u64>,
    pub(crate) asks: VecDeque<Ask>,
    /// Answers of the shell's, by who waits for one.
    pub(crate) answers: BTreeMap<SessionId, Option<Result<(), String>>>,
    /// What walks want to have read, and by whom.
    pub(crate) looks: VecDeque<(SessionId, LoadRequest)>,
    /// Those that wait until what they want to have read has been written.
    stalled_looks: alloc::vec::Vec<(SessionId, LoadRequest)>,
    /// What was read for walks, by who waits for it.
    pub(crate) looked: BTreeMap<SessionId, Option<Looked>>,
    pub(crate) handles: Handles,
    gates: Gates,
    /// What sessions waited for and have not picked up yet.
    delivered: BTreeMap<SessionId, Delivery>,
    pub(crate) ready: VecDeque<SessionId>,
    /// Sessions with a put that waits until it is known whether there is space.
    wait_for_space: alloc::vec::Vec<SessionId>,
    /// Places that could not be read, and the queue that looked there for items.
    suspects: alloc::vec::Vec<(u64, BadPlace)>,
    sweep_every_ms: u64,
    sweep_due_ms: u64,
}

impl Broker {
    pub(crate) fn new(
        now: Now,
        config: BrokerConfig,
        mut engine: Engine,
        log: Log,
        damage: Damage,
    ) -> Self {
        // Statistics may be asked for before anything happens.
        engine.note_now(now);
        Self {
            engine,
            log,
            counters: Counters::default(),
            damage,
            version: config.version,
            default_sync: config.table.defaults.sync,
            item_bytes_max: config.max_item_size,
            started: now,
            status: StatusControl::new(config.status, config.status_grace_ms),
            refuse_reads_over: config.refuse_reads_over,
            refuse_writes_over: config.refuse_writes_over,
            asks: VecDeque::new(),
            answers: BTreeMap::new(),
            looks: VecDeque::new(),
            stalled_looks: alloc::vec::Vec::new(),
            looked: BTreeMap::new(),
            handles: Handles::default(),
            gates: Gates::default(),
            delivered: BTreeMap::new(),
            ready: VecDeque::new(),
            wait_for_space: alloc::vec::Vec::new(),
            suspects: alloc::vec::Vec::new(),
            sweep_every_ms: config.sweep_every_ms,
            sweep_due_ms: now.mono_ms.saturating_add(config.sweep_every_ms),
        }
    }

    /// Replaces the status that was configured, before anybody is served.
    pub fn begin_with_status(&mut self, status: Status) {
        self.status.begin_with(status);
    }

    /// A connection was opened. `session` must differ from every session that is connected, and from every one that left ([`Broker::handle_leave`]) and still holds items.
    /// Answers what it may do.
    pub fn handle_connect(&mut self, _session: SessionId) -> Access {
        self.counters.connections += 1;
        self.counters.connections_total += 1;
        let connections = self.counters.connections;
        let is_within = |limit: Option<u64>| limit.is_none_or(|limit| connections <= limit);
        Access {
            reads: is_within(self.refuse_reads_over),
            writes: is_within(self.refuse_writes_over),
        }
    }

    /// A connection ended: it waits no more, and what it held returns to its place.
    pub fn handle_disconnect(&mut self, now: Now, session: SessionId) {
        self.counters.cmd_get_open_dropped += self.engine.held_by(session) as u64;
        self.forget_connection(session);
        self.engine.handle_disconnect(now, session, &mut self.log);
        self.collect_deliveries();
    }

    /// A connection ended whose fetched items others may confirm (Thrift's): they stay held until their time is over.
    pub fn handle_leave(&mut self, now: Now, session: SessionId) {
        self.forget_connection(session);
        self.engine.handle_leave(now, session, &mut self.log);
        self.collect_deliveries();
    }

    fn forget_connection(&mut self, session: SessionId) {
        self.counters.connections -= 1;
        self.delivered.remove(&session);
        self.answers.remove(&session);
        self.looked.remove(&session);
    }

    /// So many more bytes were read from clients and written to them.
    pub fn note_traffic(&mut self, read: u64, written: u64) {
        self.counters.bytes_read += read;
        self.counters.bytes_written += written;
    }

    /// Gives the session what it waited for and runs its requests, until one has to wait, there is none, or its replies pile up. It is named once those replies may leave
    /// that wait for the disk.
    pub fn execute(&mut self, now: Now, session: &mut Session) {
        self.run(now, session);
        self.await_disk(session);
    }

    /// As [`Broker::execute`], but the session is named for its replies only if [`Broker::await_disk`] is called after this: who first sees to the disk may find that
    /// nothing has to be waited for.
    pub fn run(&mut self, now: Now, session: &mut Session) {
        session.take_ready();
        self.finish_waiting(now, session);
        loop {
            if let Some(task) = session.next_step() {
                // These may be long: others come between their pieces.
                let lets_others_in = matches!(task, Task::List(_) | Task::Put(_) | Task::Walk(_));
                self.step(now, session, task);
                if session.is_blocked() || lets_others_in {
                    // Who was served by this step may give up before the next one.
                    self.collect_deliveries();
                    break;
                }
            } else if let Some(decoded) = session.next_request() {
                let put = queue_and_body_of(&decoded.input);
                let must_wait = match put {
                    Some((queue, body)) => self.must_wait_for_space(session.id, queue, body.len()),
                    None => self.move_must_wait(session.id, &decoded.input),
                };
                if must_wait {
                    session.block(decoded);
                    break;
                }
                self.dispatch(now, session, decoded);
            } else {
                break;
            }
            self.collect_deliveries();
            // A request may have been served while it was still being asked: by an item that its own confirmation made room for.
            self.finish_waiting(now, session);
        }
        if session.must_close() {
            session.state = State::Closing;
        }
    }

    /// The session is to be named once those of its replies may leave that wait for the disk now.
    pub fn await_disk(&mut self, session: &Session) {
        let (written, synced) = session.last_gates();
        let progress = self.log.writer.progress();
        for gate in [written, synced] {
            if !gate.is_open(&progress) {
                self.gates.wait(session.id, gate);
            }
        }
    }

    /// Whether a put of so many bytes has to wait until it is known whether there is a place for it (one for each destination of an alias); the session is named then.
    pub(crate) fn must_wait_for_space(
        &mut self,
        session: SessionId,
        queue: &[u8],
        bytes: usize,
    ) -> bool {
        let bytes = (bytes as u64).saturating_mul(self.engine.puts_to(queue));
        self.must_wait_for_room(session, bytes)
    }

    /// The same of a request that writes an item again which the session holds.
    fn move_must_wait(&mut self, session: SessionId, input: &Input) -> bool {
        let (key, id) = match input {
            Input::Request(Request::Bury { key, id, .. }) => (key, *id),
            Input::Request(Request::Release { key, id, delay_ms: Some(1..) }) => (key, *id),
            _ => return false,
        };
        let bytes = self.engine.held_bytes(session, key, ItemId(id));
        bytes.is_some_and(|bytes| self.must_wait_for_room(session, bytes))
    }

    /// As [`Broker::must_wait_for_space`], for bytes that are written once.
    pub(crate) fn must_wait_for_room(&mut self, session: SessionId, bytes: u64) -> bool {
        let waits = self.log.writer.must_wait_for_space(bytes);
        if waits {
            self.wait_for_space.push(session);
        }
        waits
    }

    fn finish_waiting(&mut self, now: Now, session: &mut Session) {
        let State::Waiting(shape) = session.state else { return };
        if shape == Shape::Answer {
            return self.finish_ask(session);
        }
        if shape == Shape::Look {
            if self.looked.get(&session.id).is_some_and(Option::is_some) {
                session.state = State::Open;
            }
            return;
        }
        if session.must_stop_waiting() && !self.engine.waits_for_disk(session.id) {
            // The peer hangs up, or the server drains: what was handed over goes back before anybody could have seen it.
            let delivery = self.delivered.remove(&session.id);
            let items = delivery.map(|delivery| delivery.items).unwrap_or_default();
            self.engine.cancel_wait(now, session.id, &items, &mut self.log);
            self.collect_deliveries();
            session.state = State::Open;
            if session.has_hung_up() {
                self.counters.cmd_get_timeout_dropped += 1;
            }
            match shape {
                // The task sees for itself that it is to end.
                Shape::Monitor | Shape::Fetch => {}
                _ => self.finish_wait(now, session, &[], shape),
            }
            return;
        }
        if let Some(delivery) = self.delivered.remove(&session.id) {
            session.state = State::Open;
            self.finish_wait(now, session, &delivery.items, shape);
        }
    }

    pub(crate) fn collect_deliveries(&mut self) {
        while let Some(delivery) = self.engine.poll_delivery() {
            self.ready.push_back(delivery.session);
            self.delivered.insert(delivery.session, delivery);
        }
    }

    /// What was removed for good is synced soon, not now: losing it means a redelivery, never a loss.
    pub(crate) fn sync_lazily(&mut self, now: Now) {
        if self.default_sync != SyncPolicy::Never {
            self.log.require_sync(now.mono_ms, LAZY_SYNC_MS);
        }
    }

    /// The next session of which replies may leave that waited for the disk: to be asked for before [`Broker::poll_event`] by who tells the two apart. Such a session need not
    /// be run, only [`Session::encode`]d.
    pub fn poll_opened(&mut self) -> Option<SessionId> {
        let progress = self.log.writer.progress();
        self.gates.pop_open(&progress)
    }

    /// The next session that has something to do: its wait ended or a reply of it may leave. Unknown ids are of sessions that are gone.
    pub fn poll_event(&mut self) -> Option<SessionId> {
        let progress = self.log.writer.progress();
        self.gates.pop_open(&progress).or_else(|| self.ready.pop_front())
    }

    /// Ends waits and leases whose time has come, and sweeps expired items.
    pub fn handle_timeout(&mut self, now: Now) {
        self.status.handle_timeout(now.mono_ms);
        self.engine.handle_timeout(now, &mut self.log);
        self.engine.retry_moves(now, &mut self.log);
        if self.sweep_every_ms > 0 && now.mono_ms >= self.sweep_due_ms {
            self.engine.sweep_expired(now, &mut self.log);
            self.sweep_due_ms = now.mono_ms.saturating_add(self.sweep_every_ms);
        }
        self.collect_deliveries();
    }

    /// When [`Broker::handle_timeout`] is due, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<u64> {
        let sweep = (self.sweep_every_ms > 0).then_some(self.sweep_due_ms);
        [self.engine.poll_timeout(), sweep, self.status.poll_timeout()].into_iter().flatten().min()
    }

    /// The next disk job, if one is due and none is in flight.
    pub fn poll_job(&mut self, now: Now) -> Option<Job> {
        if self.log.take_unsynced() {
            self.sync_lazily(now);
        }
        let job = self.log.poll_job(now.mono_ms)?;
        for op in &job.ops {
            match op {
                DiskOp::Write { .. } => self.counters.journal_writes += 1,
                DiskOp::Sync { .. } => self.counters.journal_syncs += 1,
                _ => {}
            }
        }
        Some(job)
    }

    /// Reports how a job ended. Sessions whose gates this opens are named by [`Broker::poll_event`].
    pub fn handle_done(&mut self, now: Now, job: JobId, result: Result<(), DiskFault>) {
        let before = self.log.writer.progress().written;
        self.log.writer.handle_done(now.mono_ms, job, result);
        self.ready.extend(self.wait_for_space.drain(..));
        let written = self.log.writer.progress().written;
        if written != before {
            self.engine.handle_written(Seq(written.0), &self.log);
            self.looks.extend(self.stalled_looks.drain(..));
        }
        self.engine.retry_moves(now, &mut self.log);
        self.collect_deliveries();
    }

    /// Items that have to be read from the disk.
    pub fn poll_load(&mut self) -> Option<Load> {
        while let Some((session, request)) = self.looks.pop_front() {
            let (first, last) =
                (kqueue_journal::Seq(request.first.0), kqueue_journal::Seq(request.last.0));
            match self.log.writer.locate(first, last) {
                // Nothing in it is alive, and its file may be gone before it is read.
                Some(place) if self.log.writer.is_freeing(place.segment) => {
                    self.handle_looked(session, alloc::vec::Vec::new(), Looked::MOVED, false);
                }
                Some(place) => {
                    self.log.writer.begin_read(place.segment);
                    self.counters.loads += 1;
                    return Some(Load { looker: Some(session), ..Load::new(request, &place) });
                }
                None if self.log.writer.segment_of(first).is_none() => {
                    self.handle_looked(session, alloc::vec::Vec::new(), Looked::MOVED, false);
                }
                None => self.stalled_looks.push((session, request)),
            }
        }
        loop {
            let request = self.engine.poll_load()?;
            let (first, last) =
                (kqueue_journal::Seq(request.first.0), kqueue_journal::Seq(request.last.0));
            let Some(place) = self.log.writer.locate(first, last) else {
                self.engine.load_later(&request);
                continue;
            };
            self.log.writer.begin_read(place.segment);
            self.counters.loads += 1;
            return Some(Load::new(request, &place));
        }
    }

    /// What a load wanted was read. Answers what turned out to be damaged: places, and how many items are lost with them.
    pub fn handle_loaded(&mut self, now: Now, load: Load) -> (alloc::vec::Vec<BadPlace>, u64) {
        self.log.writer.end_read(load.segment());
        let Load { request, pieces, items, through, looker } = load;
        if let Some(session) = looker {
            // The client is told; it counts as damage when somebody takes.
            let is_bad = !pieces.bad.is_empty();
            self.suspects.extend(pieces.bad.into_iter().map(|bad| (request.queue.0, bad)));
            self.handle_looked(session, items, through, is_bad);
            return (alloc::vec::Vec::new(), 0);
        }
        let lost = self.engine.handle_loaded(now, &request, items, through, &mut self.log);
        self.damage.damaged_items += lost;
        self.collect_deliveries();
        // A place that cannot be read need not have held anything: recovery may have gone past it. It counts when an item turns out to be missing.
        let no = request.queue.0;
        self.suspects.extend(pieces.bad.into_iter().map(|bad| (no, bad)));
        let mut bad = alloc::vec::Vec::new();
        if lost > 0 {
            self.suspects.retain(|(queue, suspect)| {
                if *queue == no {
                    bad.push(*suspect);
                }
                *queue != no
            });
        }
        let excess = self.suspects.len().saturating_sub(SUSPECTS_MAX);
        self.suspects.drain(..excess);
        (bad, lost)
    }

    /// The latest put time in what was replayed at start, unix time in milliseconds; 0 if there was none.
    pub fn newest_put_ms(&self) -> u64 {
        self.engine.newest_put_ms()
    }

    /// The job that has to be done before anybody is served; see [`kqueue_journal::Writer::begin_run`]. Its end need not be reported.
    pub fn begin_run(&mut self) -> Job {
        self.log.writer.begin_run()
    }

    /// The log goes on in the rest of the last segment, which has been overwritten with zeros; see [`kqueue_journal::Writer::go_on_in_last`].
    pub fn go_on_in_last(&mut self) {
        self.log.writer.go_on_in_last();
    }

    /// There is no space for a segment: puts are refused until there is.
    pub fn no_space(&mut self, now: Now) {
        self.log.writer.no_space(now.mono_ms);
    }

    /// How far the machine's unix time is ahead of what the server goes by, in milliseconds; for `stats`.
    pub fn note_clock(&mut self, ahead_ms: i64) {
        self.counters.clock_ahead_ms = ahead_ms;
    }

    /// A place was found that cannot be read any more.
    pub fn note_damage(&mut self, bad: &BadPlace) {
        self.damage.damaged += 1;
        self.damage.damaged_bytes += bad.bytes;
    }

    /// When a job may become due by itself, on the monotonic clock.
    pub fn poll_journal_timeout(&self) -> Option<u64> {
        self.log.poll_timeout()
    }

    /// How far the journal is.
    pub fn progress(&self) -> Progress {
        self.log.writer.progress()
    }

    /// Asks for a sync of everything appended so far.
    pub fn sync_everything(&mut self, now: Now) {
        self.log.require_sync(now.mono_ms, 0);
    }

    /// Whether everything appended is on the disk (or never will be).
    pub fn is_settled(&self) -> bool {
        let progress = self.log.writer.progress();
        progress.poisoned || self.log.is_flushed() && progress.synced >= self.log.writer.last_seq()
    }

    /// Whether what has to be written next waits for space on the disk.
    pub fn is_stuck(&self) -> bool {
        self.log.writer.is_stuck()
    }

    /// Whether no further segment can be had for the moment.
    pub fn is_full(&self) -> bool {
        self.log.writer.is_full()
    }

    /// Whether everything appended has been written (or never will be).
    pub fn is_written(&self) -> bool {
        let progress = self.log.writer.progress();
        progress.poisoned || self.log.is_flushed() && progress.written >= self.log.writer.last_seq()
    }

    /// Appends what is gathered, and says how far that is: so far has to be written before the next step of a checkpoint, or of emptying a segment. What others append after it
    /// is nothing to wait for: while clients put there is always something.
    pub fn append_gathered(&mut self) -> kqueue_journal::Seq {
        self.log.flush();
        self.log.writer.last_seq()
    }

    /// Whether everything through `seq` has been written (or never will be).
    pub fn is_written_through(&self, seq: kqueue_journal::Seq) -> bool {
        let progress = self.log.writer.progress();
        progress.poisoned || progress.written >= seq
    }

    /// Checks what must always be true of the queues; for tests and the simulator.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check_invariants(&self) {
        self.engine.check_invariants();
        let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
        self.engine.references(|seq, refs| {
            let segment = self.log.writer.segment_of(kqueue_journal::Seq(seq.0));
            let is_written = seq.0 > 0 && seq.0 <= self.log.writer.progress().written.0;
            assert!(segment.is_some() || !is_written, "the segment of record {} is gone", seq.0);
            *wanted.entry(segment.unwrap_or(0)).or_default() += refs;
        });
        for segment in self.log.writer.segments() {
            // Items that are being moved are referred to at both places.
            let refs = wanted.remove(&segment.segment).unwrap_or(0);
            assert!(segment.live_refs >= refs, "{segment:?} holds {refs} items");
        }
    }
}
