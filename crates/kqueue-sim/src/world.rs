//! One simulated life of a data directory: servers that die and start again, clients that come and go, a disk that loses what was not synced.
//!
//! Everything that happens follows from the seed: each step the world picks one of the things that could happen next. It drives the broker as the server's shell
//! does. Invariants: a step uses no clock, no thread and no randomness but the seed's.
//! Must not: judge what the clients see; the oracle does.

use std::collections::VecDeque;
use std::panic;

use fastrand::Rng;
use kqueue_broker::{
    Ask, Broker, Checkpoint, Job, Load, Now, RecordSeq, Rest, Retirement, SessionId, Status,
};

use crate::conn::{Conn, Link, Role};
use crate::disk::{Cut, Disk, Failure};
use crate::oracle::{ConnId, How, Moment, Oracle};
use crate::queues::{BOTH, is_volatile, queues, sub_queues};
use crate::rules::Rules;
use crate::scenario::{Sabotage, Scenario, Summary, Violation};
use crate::start::{SEGMENT_BYTES, Settings, boot};
use crate::status::StatusModel;

mod end;
mod inspect;
mod operator;
mod plant;
mod shell;

/// Replies that the shell keeps for a client that does not read.
const OUTPUT_HIGH: usize = 256 * 1024;
/// Unix time at the beginning, in milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How long a life goes on after the fault that was planned for it.
const STEPS_AFTER_FAULT: u64 = 80;
/// More than any wait needs to end.
const SETTLE_STEPS: u32 = 20_000;

/// See the module's description.
pub(crate) struct World {
    rng: Rng,
    scenario: Scenario,
    step: u64,
    mono_ms: u64,
    broker: Broker,
    disk: Disk,
    conns: Vec<Conn>,
    next_conn: ConnId,
    log_job: Option<(Job, u64)>,
    background: Option<(Job, u64)>,
    retirement: Option<Retirement>,
    checkpoint: Option<Checkpoint>,
    /// What housekeeping appended last has been written: it goes on, whatever others append before it does.
    goes_on: bool,
    /// What housekeeping has appended: its next step waits until that is written.
    kept_through: RecordSeq,
    loads: Vec<(Load, u64)>,
    /// What the broker has asked its shell for, and when that is done.
    asks: VecDeque<(Ask, u64)>,
    status: StatusModel,
    /// What the next server begins with.
    saved_status: Status,
    oracle: Oracle,
    summary: Summary,
    /// Nothing fails any more: the end has come.
    calm: bool,
    /// The disk has failed, and nothing has been synced since.
    is_faulty: bool,
    /// When the life ends that had the planned fault.
    is_over: Option<u64>,
    trace: Option<Vec<String>>,
}

type Outcome = Result<(), String>;

/// Runs one seed to its end.
///
/// # Errors
/// The first broken promise.
pub fn run(seed: u64) -> Result<Summary, Violation> {
    run_changed(seed, |_| {})
}

/// Like [`run`], with a line for everything that happened.
pub fn replay(seed: u64) -> (Result<Summary, Violation>, Vec<String>) {
    World::new(seed, |_| {}).live_traced(seed)
}

/// Like [`run`], in a scenario that `change` has changed.
///
/// # Errors
/// The first broken promise.
pub fn run_changed(seed: u64, change: impl FnOnce(&mut Scenario)) -> Result<Summary, Violation> {
    let mut world = panic::catch_unwind(panic::AssertUnwindSafe(|| World::new(seed, change)))
        .map_err(|_| panicked(seed, 0))?;
    world.live_caught(seed)
}

fn panicked(seed: u64, step: u64) -> Violation {
    Violation { seed, step, what: "panicked, see above".into() }
}

impl World {
    pub(crate) fn new(seed: u64, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut scenario = Scenario::random(&mut rng);
        change(&mut scenario);
        let mut disk = Disk::new(SEGMENT_BYTES);
        disk.lies = scenario.disk_lies;
        disk.fault = scenario.fault;
        let now = Now { mono_ms: 1, wall_ms: EPOCH_MS + 1 };
        let rules = Rules::first(&scenario);
        let settings =
            Settings { scenario: &Scenario { sabotage: None, ..scenario }, rules: &rules };
        let broker = boot(&disk, settings, rng.u64(..), now)
            .map(|started| started.broker)
            .expect("an empty disk");
        Self {
            rng,
            scenario,
            step: 0,
            mono_ms: 1,
            broker,
            disk,
            conns: Vec::new(),
            next_conn: 1,
            log_job: None,
            background: None,
            retirement: None,
            checkpoint: None,
            goes_on: false,
            kept_through: RecordSeq(0),
            loads: Vec::new(),
            asks: VecDeque::new(),
            status: StatusModel::new(Status::Up, scenario.extras.grace_ms),
            saved_status: Status::Up,
            oracle: Oracle::new(scenario, rules),
            summary: Summary::default(),
            calm: false,
            is_faulty: false,
            is_over: None,
            trace: None,
        }
    }

    /// Like [`World::live`], with a line for everything that happened.
    pub(crate) fn live_traced(mut self, seed: u64) -> (Result<Summary, Violation>, Vec<String>) {
        self.trace = Some(Vec::new());
        self.oracle.notes = Some(Vec::new());
        let outcome = self.live_caught(seed);
        (outcome, self.trace.unwrap_or_default())
    }

    /// To the end. A broken invariant panics; the seed must be told all the same.
    fn live_caught(&mut self, seed: u64) -> Result<Summary, Violation> {
        panic::catch_unwind(panic::AssertUnwindSafe(|| self.live(seed)))
            .unwrap_or_else(|_| Err(panicked(seed, self.step)))
    }

    /// To the end.
    pub(crate) fn live(&mut self, seed: u64) -> Result<Summary, Violation> {
        let outcome = self.live_through();
        let step = self.step;
        outcome.map(|()| self.summary).map_err(|what| Violation { seed, step, what })
    }

    fn live_through(&mut self) -> Outcome {
        let scenario = self.scenario;
        self.note(|| format!("{scenario:?}"));
        self.make_sub_queues()?;
        while self.step < self.scenario.steps {
            self.step += 1;
            self.happen()?;
            self.pump()?;
            self.after_fault()?;
            if self.step.is_multiple_of(16) {
                self.broker.check_invariants();
            }
        }
        self.end()
    }

    /// A server that died in a call is followed by another one. Some time after the planned fault the life ends, for what was to be seen has been seen.
    fn after_fault(&mut self) -> Outcome {
        if let Some(cut) = self.disk.died {
            self.cut(cut)?;
        }
        let Some(fault) = self.scenario.fault else { return Ok(()) };
        if self.disk.failed == 0 || self.is_over.is_some_and(|at| at != self.step) {
            return Ok(());
        }
        match self.is_over {
            None => self.is_over = Some(self.step + STEPS_AFTER_FAULT),
            Some(_) => {
                if fault.failure == Failure::Full {
                    self.ask_while_full()?;
                }
                self.scenario.steps = self.step;
            }
        }
        Ok(())
    }

    /// On a full disk what needs no further space is answered, and a put is answered at all.
    fn ask_while_full(&mut self) -> Outcome {
        if self.broker.progress().poisoned {
            return Ok(());
        }
        let was_calm = std::mem::replace(&mut self.calm, true);
        self.set_status(Status::Up)?;
        self.connect(Role::Admin);
        let (at, id) = (self.at(), self.next_conn - 1);
        for queue in queues(&self.scenario.extras) {
            self.conns.last_mut().ok_or("no connection")?.get_now(at, queue);
        }
        if self.scenario.extras.turns() {
            let conn = self.conns.last_mut().ok_or("no connection")?;
            for _ in 0..8 {
                conn.put_large(at, BOTH, &mut self.oracle);
            }
        }
        for _ in 0..2000 {
            let Some(index) = self.conns.iter().position(|conn| conn.id == id) else { break };
            let at = self.at();
            self.conns[index].arrive(usize::MAX, at, &mut self.oracle);
            self.run_conn(index)?;
            self.pump()?;
            self.flush_conn(index, true)?;
            if !self.conns[index].is_waiting() {
                self.close(index);
                self.calm = was_calm;
                return Ok(());
            }
            self.step += 1;
            self.pass_time()?;
        }
        Err("no answer on a full disk".into())
    }

    fn at(&self) -> Moment {
        Moment { step: self.step, mono_ms: self.mono_ms, wall_ms: EPOCH_MS + self.mono_ms }
    }

    /// What the server is told of the time.
    fn now(&self) -> Now {
        let ahead_ms = match self.scenario.sabotage {
            Some(Sabotage::Early(ms)) if self.step.is_multiple_of(2) => ms,
            _ => 0,
        };
        Now { mono_ms: self.mono_ms, wall_ms: EPOCH_MS + self.mono_ms + ahead_ms }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let notes = self.oracle.notes.as_mut().map(std::mem::take).unwrap_or_default();
            let mut lines: Vec<_> =
                notes.into_iter().map(|note| format!("{:>22}{note}", "")).collect();
            lines.push(format!("{:>6} {:>8} ms  {}", self.step, self.mono_ms, line()));
            if std::env::var_os("KQUEUE_SIM_TRACE").is_some() {
                // A panic ends the run before anybody can print the trace.
                lines.iter().for_each(|text| eprintln!("{text}"));
            }
            trace.append(&mut lines);
        }
    }

    fn one_in(&mut self, steps: u64) -> bool {
        steps > 0 && !self.calm && self.rng.u64(..steps) == 0
    }

    /// The one thing that happens in this step.
    fn happen(&mut self) -> Outcome {
        if self.one_in(self.scenario.cut_every) {
            let cut = if self.rng.bool() { Cut::Kill } else { Cut::Power };
            return self.cut(cut);
        }
        if self.one_in(self.scenario.disconnect_every) {
            self.disconnect_one();
        }
        if self.one_in(self.scenario.full_every) {
            self.disk.is_full = !self.disk.is_full;
            let is_full = self.disk.is_full;
            self.note(|| format!("disk full: {is_full}"));
        }
        if self.one_in(self.scenario.flip_every)
            && let Some((file, byte)) = self.disk.flip(&mut self.rng)
        {
            self.summary.flips += 1;
            self.note(|| format!("a bit of segment {file}, byte {byte} turns over"));
        }
        self.go_on();
        if self.broker.progress().poisoned && self.rng.u32(..30) == 0 {
            // The server says so and ends.
            let cut = if self.rng.bool() { Cut::Kill } else { Cut::Power };
            return self.cut(cut);
        }
        if self.one_in(self.scenario.extras.inspect_every) {
            return self.inspect_now();
        }
        self.operate()?;
        if self.conns.len() < self.scenario.conns {
            let role = Role::random(&mut self.rng, &self.scenario.extras);
            self.connect(role);
        }
        let index = self.rng.usize(..self.conns.len());
        match self.rng.u32(..100) {
            0..40 => {
                let (at, conn) = (self.at(), &mut self.conns[index]);
                if conn.link == Link::Open && !conn.expects_close {
                    let before = conn.wire.len();
                    conn.act(&mut self.rng, at, &mut self.oracle);
                    let (id, sent): (_, Vec<u8>) =
                        (conn.id, conn.wire.iter().skip(before).copied().collect());
                    if !sent.is_empty() {
                        self.note(|| format!("{id} -> {}", shorten(&sent)));
                    }
                }
            }
            40..60 => {
                let count = match self.rng.u32(..4) {
                    0 => self.rng.usize(1..60),
                    _ => usize::MAX,
                };
                let at = self.at();
                self.conns[index].arrive(count, at, &mut self.oracle);
                self.run_conn(index)?;
            }
            60..75 => self.run_conn(index)?,
            75..90 => self.flush_conn(index, false)?,
            90..93 => self.notice_one(),
            _ => self.pass_time()?,
        }
        Ok(())
    }

    fn connect(&mut self, role: Role) {
        let id = self.next_conn;
        self.next_conn += 1;
        self.broker.handle_connect(SessionId(id));
        self.conns.push(Conn::new(id, role, self.scenario.extras));
        self.note(|| format!("connection {id}: {role:?}"));
    }

    /// What the shell does when a connection's task runs.
    fn run_conn(&mut self, index: usize) -> Outcome {
        self.await_disk(index);
        let now = self.now();
        let conn = &mut self.conns[index];
        if conn.output.len() >= OUTPUT_HIGH {
            return Ok(());
        }
        conn.session.feed(&mut conn.input);
        if conn.session.wants_broker() {
            self.broker.run(now, &mut conn.session);
            let progress = self.broker.progress();
            conn.session.encode(&progress, &mut conn.output);
            conn.lets_others_run = true;
            if self.calm || self.rng.bool() {
                self.await_disk(index);
            }
            self.see_status()?;
        }
        Ok(())
    }

    /// What a connection's task does after its session has run, and perhaps those of others.
    fn await_disk(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if std::mem::take(&mut conn.lets_others_run) {
            self.broker.await_disk(&conn.session);
            let progress = self.broker.progress();
            conn.session.encode(&progress, &mut conn.output);
        }
    }

    /// Some of those that let others run go on.
    fn go_on(&mut self) {
        for index in 0..self.conns.len() {
            if self.conns[index].lets_others_run && (self.calm || self.rng.bool()) {
                self.await_disk(index);
            }
        }
    }

    /// Some of the server's bytes reach the client; the connection ends if the server is done with it.
    fn flush_conn(&mut self, index: usize, all: bool) -> Outcome {
        let at = self.at();
        let conn = &mut self.conns[index];
        let count = match self.rng.bool() {
            _ if all => conn.output.len(),
            true => conn.output.len(),
            false => self.rng.usize(..=conn.output.len()),
        };
        let bytes: Vec<u8> = conn.output.chunks().flatten().copied().take(count).collect();
        conn.output.advance(count);
        conn.receive(&bytes, at, &mut self.oracle)?;
        if count > 0 {
            let id = self.conns[index].id;
            self.note(|| format!("{id} <- {}", shorten(&bytes)));
        }
        let conn = &self.conns[index];
        let is_over = conn.session.is_finished()
            || (conn.link == Link::HalfClosed && conn.session.is_idle() && conn.wire.is_empty());
        if is_over && conn.output.is_empty() {
            let may_close = conn.expects_close
                || conn.link != Link::Open
                || conn.session.is_closing() && self.calm
                || conn.may_be_closed_silently(at, &self.oracle);
            if !may_close {
                return Err(format!(
                    "the server closed connection {}, awaiting {}",
                    conn.id,
                    conn.awaits()
                ));
            }
            self.close(index);
        }
        Ok(())
    }

    /// Both ends are gone.
    fn close(&mut self, index: usize) {
        let (now, at) = (self.now(), self.at());
        let conn = self.conns.swap_remove(index);
        conn.settle_flushes(&mut self.oracle);
        if conn.link != Link::Abandoned {
            self.oracle.conn_gone(conn.id, &conn.unanswered_takes());
        }
        match conn.leaves() {
            true => self.broker.handle_leave(now, SessionId(conn.id)),
            false => self.broker.handle_disconnect(now, SessionId(conn.id)),
        }
        self.oracle.conn_noticed(at, conn.id);
        self.note(|| format!("connection {} is over", conn.id));
    }

    /// A client goes, with or without a word.
    fn disconnect_one(&mut self) {
        if self.conns.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.conns.len());
        let conn = &mut self.conns[index];
        if conn.link != Link::Open {
            return;
        }
        self.summary.disconnects += 1;
        let id = conn.id;
        match self.rng.u32(..3) {
            0 if conn.wire.is_empty() => {
                conn.link = Link::HalfClosed;
                conn.session.peer_closed();
                let asked = conn.unanswered_takes();
                self.oracle.half_closed(id, &asked);
                self.note(|| format!("{id} half-closed"));
            }
            1 => {
                // Nobody has seen what is still on its way, but it may arrive.
                conn.link = Link::Abandoned;
                let asked = conn.unanswered_takes();
                self.oracle.conn_gone(id, &asked);
                self.note(|| format!("{id} abandoned"));
            }
            _ => self.close(index),
        }
    }

    /// The server notices that a client is gone.
    fn notice_one(&mut self) {
        if let Some(index) = self.conns.iter().position(|conn| conn.link == Link::Abandoned) {
            self.close(index);
        }
    }

    /// Time goes on, a little, or up to what is due next; the server's timer may be late.
    fn pass_time(&mut self) -> Outcome {
        let due = [self.broker.poll_timeout(), self.broker.poll_journal_timeout()];
        let reads = self.loads.iter().map(|(_, done)| *done).min();
        let asks = self.asks.front().map(|(_, done)| *done);
        let due =
            due.into_iter().chain([reads, asks]).flatten().min().filter(|&due| due > self.mono_ms);
        match due.filter(|_| self.rng.bool()) {
            Some(due) => self.mono_ms = due.min(self.mono_ms + 5_000) + self.rng.u64(..3),
            None => self.mono_ms += self.rng.u64(..20),
        }
        if self.broker.poll_timeout().is_some_and(|due| due <= self.mono_ms) {
            self.broker.handle_timeout(self.now());
            self.status.timer(self.mono_ms);
        }
        self.note_status()
    }

    /// The server's life ends, and the next one begins.
    fn cut(&mut self, cut: Cut) -> Outcome {
        let at = self.at();
        match cut {
            Cut::Kill => self.summary.kills += 1,
            Cut::Power => self.summary.power_cuts += 1,
        }
        self.note(|| format!("---- {cut:?}"));
        for (job, _) in [self.log_job.take(), self.background.take()].into_iter().flatten() {
            self.disk.run_in_part(&mut self.rng, &job);
        }
        let is_lost = self.disk.cut(&mut self.rng, cut);
        for conn in self.conns.drain(..) {
            conn.settle_flushes(&mut self.oracle);
            if conn.link != Link::Abandoned {
                self.oracle.conn_gone(conn.id, &conn.unanswered_takes());
            }
        }
        // After a failed sync the next process may see less than this one, as after a power cut.
        let cut = if is_lost { Cut::Power } else { cut };
        self.oracle.cut(at, cut, self.is_faulty);
        self.restart()
    }

    fn restart(&mut self) -> Outcome {
        (self.log_job, self.background) = (None, None);
        (self.retirement, self.checkpoint, self.goes_on) = (None, None, false);
        self.kept_through = RecordSeq(0);
        self.loads.clear();
        self.asks.clear();
        self.disk.is_full &= self.rng.bool();
        if self.disk.is_full && self.rng.bool() {
            self.disk.use_up_spares();
        }
        let seed = self.rng.u64(..);
        let now = self.now();
        let rules = *self.oracle.rules.last();
        let settings = Settings { scenario: &self.scenario, rules: &rules };
        let started = boot(&self.disk, settings, seed, now)?;
        self.broker = started.broker;
        self.plant();
        self.broker.begin_with_status(self.saved_status);
        self.status = StatusModel::new(self.saved_status, self.scenario.extras.grace_ms);
        self.note_status()?;
        // A server that cannot do this ends, and is started again.
        while self.disk.run(&self.broker.begin_run()).is_err() {
            if let Some(cut) = self.disk.died {
                return self.cut(cut);
            }
        }
        // The clients count on their subscriptions, and on a full disk a lost one cannot be made again.
        let queues = self.broker.queues();
        let is_there = |name: &&str| queues.iter().any(|queue| queue.name == name.as_bytes());
        let sub_queues = sub_queues(self.scenario.extras.turns());
        let lasting = sub_queues.iter().filter(|name| !is_volatile(name));
        if !lasting.copied().all(|name| is_there(&name)) {
            self.disk.is_full = false;
        }
        if self.disk.has_no_space() {
            self.broker.no_space(now);
            if let Some(Rest { segment, offset }) = started.rest {
                self.disk.clear(segment, usize::try_from(offset).expect("small segments"));
                self.broker.go_on_in_last();
            }
        }
        self.broker.check_invariants();
        self.summary.torn_tails += started.torn_tails;
        if self.scenario.flip_every > 0 {
            // Damage to all of the last batch's marker cannot be told from a torn write.
            self.oracle.is_damage_told |= started.told_damage || started.torn_tails > 0;
        }
        // It may die again before anybody has asked anything, at once or much later.
        if self.one_in(self.scenario.cut_every.min(4)) {
            if self.rng.bool() {
                self.idle()?;
            }
            return self.cut(Cut::Power);
        }
        self.make_sub_queues()
    }

    /// Nobody asks for anything for a while.
    fn idle(&mut self) -> Outcome {
        for _ in 0..5 {
            self.pump()?;
            self.mono_ms += 1000;
        }
        self.pump()
    }

    /// Sub-queues receive from when they exist; nobody else speaks meanwhile.
    fn make_sub_queues(&mut self) -> Outcome {
        let was_calm = std::mem::replace(&mut self.calm, true);
        self.set_status(Status::Up)?;
        self.connect(Role::Producer);
        let at = self.at();
        for queue in sub_queues(self.scenario.extras.turns()) {
            let conn = self.conns.last_mut().ok_or("no connection")?;
            conn.put(&mut self.rng, at, queue, &mut self.oracle);
            // A full disk refuses the put before it makes the queue.
            conn.get(&mut self.rng, at, queue, How::Peeked);
        }
        let id = self.next_conn - 1;
        let outcome = self.settle();
        // It is gone already if the server died over this.
        if let Some(index) = self.conns.iter().position(|conn| conn.id == id) {
            self.close(index);
        }
        self.calm = was_calm;
        outcome
    }

    /// Lets everything happen that is under way, until nobody waits for an answer.
    fn settle(&mut self) -> Outcome {
        for _ in 0..SETTLE_STEPS {
            self.step += 1;
            for index in (0..self.conns.len()).rev() {
                let at = self.at();
                self.conns[index].arrive(usize::MAX, at, &mut self.oracle);
                self.run_conn(index)?;
                self.pump()?;
                self.run_conn(index)?;
                self.flush_conn(index, true)?;
            }
            self.pump()?;
            if let Some(cut) = self.disk.died {
                return self.cut(cut);
            }
            let is_quiet = |conn: &Conn| {
                conn.link == Link::Abandoned || !conn.is_waiting() && conn.wire.is_empty()
            };
            // A checkpoint that would give space back, and finds none, waits for it.
            let is_written = self.broker.is_written() || self.disk.has_no_space();
            if self.conns.iter().all(is_quiet) && is_written {
                return Ok(());
            }
            self.pass_time()?;
        }
        let waits: Vec<_> =
            self.conns.iter().map(|conn| format!("{}: {}", conn.id, conn.awaits())).collect();
        Err(format!("no answer ever came: {}", waits.join("; ")))
    }
}

fn shorten(bytes: &[u8]) -> String {
    let text = bytes[..bytes.len().min(100)].escape_ascii().to_string();
    if bytes.len() > 100 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}
