//! The one shared object: the broker behind its lock, the way to the disk, and whom to wake.
//!
//! Four lanes lead to the disk: the thread of a connection (jobs that only write), the disk thread (jobs that sync or make a segment), the housekeeping
//! thread (spares, removals, checkpoints, emptying segments), and the reader thread (items that are not in memory), which never delay the others.
//!
//! Invariants
//! - No I/O and no await happens under the lock; a lock section is a few microseconds.
//! - At most one log job is in flight (the broker sees to it). A job that is only a write runs on the thread that made it necessary: an idle
//!   server with `sync = "never"` pays no thread hop for a put. A job that syncs or makes a file goes to the disk thread, and while it syncs
//!   the next batch fills: group commit without a timer.
//! - A panic in a lock section ends the process.
//! - Whoever leaves a lock section wakes the connections that it made ready, after the lock is released.
//!
//! Must not: know protocols, replies or queues.

mod threads;

use std::collections::VecDeque;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use kqueue_broker::{
    Access, Ask, Broker, DiskFault, DiskOp, FaultKind, Job, Load, Now, Progress, Session, SessionId,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc};
use tracing::{error, info, warn};

use self::threads::STEP_PAUSE;
use crate::budget::{BYTES_MAX, Budget};
use crate::clock::Clock;
use crate::connections::{Bell, Connections, Ready};
use crate::disk::Disk;
use crate::fatal::AbortOnPanic;
use crate::latency::Latencies;
use crate::quarantine::Quarantine;

/// How many batches a connection's thread writes for others before it hands the log to the disk thread.
const INLINE_JOBS_MAX: usize = 4;
/// A server that stops leaves no more than this to be replayed, in bytes, so that the next start is quick.
const REPLAY_BYTES_MAX: u64 = 1024 * 1024;

/// Every so many times somebody waits for others although nobody gathered the last time.
const PROBE_EVERY: u32 = 32;

/// What the lock protects.
pub(crate) struct Core {
    /// Queues, journal, gates.
    pub(crate) broker: Broker,
    connections: Connections,
    /// A job that its maker may not run itself, on its way to the disk thread.
    handed: Option<Job>,
    /// A job on its way to the housekeeping thread.
    background: Option<Job>,
    /// How many sessions have run since something was written last, or there was nothing to be written.
    gathered: u32,
    /// Reads on their way to the reader thread.
    loads: VecDeque<Load>,
    /// It has been told that the disk is full.
    is_full_told: bool,
    /// When the timer task will wake, on the monotonic clock.
    timer_armed_ms: u64,
    /// When the disk thread wakes by itself, on the monotonic clock.
    disk_armed_ms: u64,
    stopping: bool,
    /// Housekeeping has done what it does before the end.
    is_kept: bool,
    /// The checkpoint before the end has been made, or given up.
    has_last_checkpoint: bool,
    /// The disk thread has ended: nothing more is to be done.
    settled: bool,
}

/// What became of everything that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is on the disk.
    Synced,
    /// The journal failed: some of it is not on the disk and never will be.
    Failed,
    /// Some of it waits for space on the disk.
    NoSpace,
}

/// See the module's description.
pub(crate) struct Shared {
    core: Mutex<Core>,
    disk: Disk,
    disk_wake: Condvar,
    clock: Clock,
    timer_wake: Notify,
    /// Told once, when the journal has failed for good.
    pub(crate) journal_failed: Notify,
    failed: AtomicBool,
    /// Several sessions ran before something was written the last time.
    gathers: AtomicBool,
    probes: AtomicU32,
    housekeeping_wake: Condvar,
    reader_wake: Condvar,
    /// Something was written or synced: for tools that wait for it.
    done_wake: Condvar,
    quarantine: Quarantine,
    /// What the broker asks of whoever controls the server.
    asks: mpsc::UnboundedSender<Ask>,
    /// Until somebody takes it.
    asked: Mutex<Option<mpsc::UnboundedReceiver<Ask>>>,
    /// How long things took.
    pub(crate) latencies: Latencies,
    /// What connections read and wrote last before they ended, and nobody has told the broker yet.
    last_read: AtomicU64,
    last_written: AtomicU64,
    /// What connections may keep.
    pub(crate) budget: Budget,
}

/// Bytes on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Shared {
    pub(crate) fn new(
        broker: Broker,
        disk: Disk,
        quarantine: Quarantine,
        clock: Clock,
    ) -> Arc<Self> {
        let core = Core {
            broker,
            connections: Connections::default(),
            handed: None,
            gathered: 0,
            background: None,
            loads: VecDeque::new(),
            is_full_told: false,
            timer_armed_ms: u64::MAX,
            disk_armed_ms: u64::MAX,
            stopping: false,
            is_kept: false,
            has_last_checkpoint: false,
            settled: false,
        };
        let (asks, asked) = mpsc::unbounded_channel();
        Arc::new(Self {
            core: Mutex::new(core),
            disk,
            disk_wake: Condvar::new(),
            clock,
            timer_wake: Notify::new(),
            journal_failed: Notify::new(),
            failed: AtomicBool::new(false),
            gathers: AtomicBool::new(false),
            probes: AtomicU32::new(0),
            housekeeping_wake: Condvar::new(),
            reader_wake: Condvar::new(),
            done_wake: Condvar::new(),
            quarantine,
            asks,
            asked: Mutex::new(Some(asked)),
            latencies: Latencies::new(),
            last_read: AtomicU64::new(0),
            last_written: AtomicU64::new(0),
            budget: Budget::new(BYTES_MAX),
        })
    }

    fn lock(&self) -> Locked<'_> {
        let guard = self.core.lock();
        Locked { _fatal: AbortOnPanic::new(), guard }
    }

    /// Registers a connection; `bell` rings whenever the broker has something for it.
    pub(crate) fn connect(&self, bell: Arc<Bell>) -> (SessionId, Access) {
        let mut core = self.lock();
        let session = core.connections.insert(bell);
        let access = core.broker.handle_connect(session);
        (session, access)
    }

    /// Ends a connection: what it holds goes back to the queues, unless others may confirm that (`leaves`).
    pub(crate) fn disconnect(&self, session: SessionId, leaves: bool) {
        let now = self.clock.now();
        self.drive(now, None, |core| {
            match leaves {
                true => core.broker.handle_leave(now, session),
                false => core.broker.handle_disconnect(now, session),
            }
            core.connections.remove(session);
        });
    }

    /// Runs what the session has decoded and picks up what the broker has for it; the replies whose gate is open when this returns may leave. `traffic` is what went
    /// over the wire since the last time. [`Shared::write_session`] has to follow, whatever happens; what this puts into the journal is on its way only then, unless somebody
    /// else writes before.
    pub(crate) fn run_session(
        &self,
        now: Instant,
        session: &mut Session,
        traffic: Traffic,
    ) -> Progress {
        let now = self.clock.at(now);
        let _fatal = AbortOnPanic::new();
        let take = |last: &AtomicU64| match last.load(Ordering::Relaxed) {
            0 => 0,
            _ => last.swap(0, Ordering::Relaxed),
        };
        let read = traffic.read + take(&self.last_read);
        let written = traffic.written + take(&self.last_written);
        let mut ready = Ready::default();
        let mut core = self.lock();
        core.broker.note_traffic(read, written);
        core.broker.run(now, session);
        core.gathered = core.gathered.saturating_add(1);
        self.see_to_others(&mut core, &mut ready);
        self.rearm_timer(&mut core);
        let progress = core.broker.progress();
        drop(core);
        ready.wake();
        progress
    }

    /// Whether other sessions are likely to run before long whose records could be written together with those that wait now. Where it was so the last time, and now and
    /// then to find out.
    pub(crate) fn may_gather(&self) -> bool {
        self.gathers.load(Ordering::Relaxed)
            || self.probes.fetch_add(1, Ordering::Relaxed).is_multiple_of(PROBE_EVERY)
    }

    /// Writes what was put into the journal; the session's replies whose gate is open when this returns may leave, and for the others it will be woken.
    pub(crate) fn write_session(&self, session: &Session) -> Progress {
        self.drive(self.clock.now(), Some(session), |_| {})
    }

    /// What a connection read and wrote after its session ran for the last time.
    pub(crate) fn note_last_traffic(&self, traffic: Traffic) {
        self.last_read.fetch_add(traffic.read, Ordering::Relaxed);
        self.last_written.fetch_add(traffic.written, Ordering::Relaxed);
    }

    /// What the broker will ask for, for the one who controls the server. `None` the second time.
    pub(crate) fn take_asks(&self) -> Option<mpsc::UnboundedReceiver<Ask>> {
        self.asked.lock().take()
    }

    /// Looks at the broker without changing anything.
    pub(crate) fn look<R>(&self, look: impl FnOnce(Now, &Broker) -> R) -> R {
        look(self.clock.now(), &self.lock().broker)
    }

    fn run_job(&self, job: &Job) -> Result<(), DiskFault> {
        let syncs = job.ops.iter().any(|op| matches!(op, DiskOp::Sync { .. }));
        if !syncs {
            return self.disk.run(job);
        }
        let began = std::time::Instant::now();
        let result = self.disk.run(job);
        self.latencies.note_sync(began.elapsed());
        result
    }

    /// Lets `work` change the broker, then writes what that put into the journal and wakes whom it concerns: of `session` only for replies that may not leave by the progress
    /// that is returned.
    fn drive(&self, now: Now, session: Option<&Session>, work: impl FnOnce(&mut Core)) -> Progress {
        // A job that is never reported would stop the journal.
        let _fatal = AbortOnPanic::new();
        let mut ready = Ready::default();
        let mut core = self.lock();
        work(&mut core);
        let mut job = self.next_inline_job(&mut core, now);
        core.await_disk(session, job.is_none());
        self.see_to_others(&mut core, &mut ready);
        self.rearm_timer(&mut core);
        let mut progress = core.broker.progress();
        drop(core);
        ready.wake();

        for left in (0..INLINE_JOBS_MAX).rev() {
            let Some(current) = job.take() else { break };
            let result = self.run_job(&current);
            let now = self.clock.now();
            let mut core = self.lock();
            core.finish(now, &current, result);
            job = match left {
                0 => self.hand_over(&mut core, now),
                _ => self.next_inline_job(&mut core, now),
            };
            core.await_disk(session, job.is_none());
            core.collect_ready(&mut ready);
            self.collect_loads(&mut core);
            self.rearm_disk(&mut core);
            progress = core.broker.progress();
            drop(core);
            ready.wake();
            self.note_failure(progress);
        }
        progress
    }

    /// Changes the queues without a client: for tools, and for whoever controls the server.
    pub(crate) fn change<R>(&self, work: impl FnOnce(Now, &mut Broker) -> R) -> R {
        let now = self.clock.now();
        let mut result = None;
        self.drive(now, None, |core| result = Some(work(now, &mut core.broker)));
        result.expect("drive does the work")
    }

    /// For tools: waits until everything appended is on the disk, never will be, or has no place there. Somebody must have asked for the sync.
    pub(crate) fn wait_until_settled(&self) -> Settled {
        let mut core = self.lock();
        loop {
            if core.broker.progress().poisoned {
                return Settled::Failed;
            }
            if core.broker.is_settled() {
                return Settled::Synced;
            }
            if core.broker.is_stuck() {
                return Settled::NoSpace;
            }
            self.done_wake.wait_for(&mut core.guard, STEP_PAUSE);
        }
    }

    /// Everybody for whom the broker has something is told.
    fn see_to_others(&self, core: &mut Core, ready: &mut Ready) {
        core.collect_ready(ready);
        self.collect_loads(core);
        while let Some(ask) = core.broker.poll_ask() {
            // Without a receiver there is nobody to be asked: the server ends.
            let _ = self.asks.send(ask);
        }
    }

    /// Items that are not in memory are read by the reader thread.
    fn collect_loads(&self, core: &mut Core) {
        while let Some(load) = core.broker.poll_load() {
            core.loads.push_back(load);
            self.reader_wake.notify_one();
        }
    }

    /// The next log job if the caller may run it itself; any other goes to the thread whose it is.
    fn next_inline_job(&self, core: &mut Core, now: Now) -> Option<Job> {
        while let Some(job) = core.broker.poll_job(now) {
            if !job.is_background {
                self.note_gathered(core);
            }
            if job.is_write_only {
                return Some(job);
            }
            self.send(core, job);
        }
        if core.broker.is_written() {
            self.note_gathered(core);
        }
        None
    }

    /// Those who have run since the last time need not be waited for again. Whose records somebody else has written is not among them, and says nothing.
    fn note_gathered(&self, core: &mut Core) {
        match mem::take(&mut core.gathered) {
            0 => {}
            gathered => self.gathers.store(gathered > 1, Ordering::Relaxed),
        }
    }

    /// Gives all jobs to the threads whose they are: the caller has done enough for others.
    fn hand_over(&self, core: &mut Core, now: Now) -> Option<Job> {
        while let Some(job) = core.broker.poll_job(now) {
            self.send(core, job);
        }
        None
    }

    fn send(&self, core: &mut Core, job: Job) {
        if job.is_background {
            core.background = Some(job);
            self.housekeeping_wake.notify_one();
        } else {
            core.handed = Some(job);
            self.disk_wake.notify_one();
        }
    }

    fn rearm_timer(&self, core: &mut Core) {
        let due = core.broker.poll_timeout().unwrap_or(u64::MAX);
        if due < core.timer_armed_ms {
            core.timer_armed_ms = due;
            self.timer_wake.notify_one();
        }
        self.rearm_disk(core);
    }

    /// The disk thread is to see to what comes due by itself: a sync that is not urgent, for example.
    fn rearm_disk(&self, core: &mut Core) {
        let due = core.broker.poll_journal_timeout().unwrap_or(u64::MAX);
        if due < core.disk_armed_ms {
            core.disk_armed_ms = due;
            self.disk_wake.notify_one();
        }
    }

    fn note_failure(&self, progress: Progress) {
        if progress.poisoned && !self.failed.swap(true, Ordering::AcqRel) {
            error!(
                "the journal failed: no further put is accepted; restart the server to recover from what is on the disk"
            );
            self.journal_failed.notify_one();
        }
    }

    /// The timer task: waits end, leases end, expired items are swept.
    pub(crate) async fn run_timer(self: Arc<Self>) {
        let _fatal = AbortOnPanic::new();
        let mut is_apart = false;
        loop {
            let due = {
                let mut core = self.lock();
                let due = core.broker.poll_timeout().unwrap_or(u64::MAX);
                core.timer_armed_ms = due;
                due
            };
            let instant = (due != u64::MAX).then(|| self.clock.instant_at(due)).flatten();
            match instant {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = self.timer_wake.notified() => continue,
                },
                None => {
                    self.timer_wake.notified().await;
                    continue;
                }
            }
            let now = self.clock.now();
            let ahead_ms = self.clock.ahead_ms();
            if (ahead_ms != 0) != is_apart {
                is_apart = ahead_ms != 0;
                tell_clock(ahead_ms);
            }
            self.drive(now, None, |core| {
                core.broker.note_clock(ahead_ms);
                core.broker.handle_timeout(now);
            });
        }
    }

    /// Asks the threads to end once everything appended is on the disk, or waits for space there.
    pub(crate) fn stop(&self) {
        let now = self.clock.now();
        let mut core = self.lock();
        core.stopping = true;
        core.broker.sync_everything(now);
        drop(core);
        self.disk_wake.notify_all();
        self.housekeeping_wake.notify_all();
    }

    /// Whether everything appended is on the disk, or never will be.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().broker.is_settled()
    }

    /// How far the journal is.
    pub(crate) fn progress(&self) -> Progress {
        self.lock().broker.progress()
    }
}

/// The core, locked. Whoever panics with it ends the process before anybody else gets at what is half changed: the mutex knows nothing of panics.
struct Locked<'a> {
    // The order matters: fields are dropped from the first on.
    _fatal: AbortOnPanic,
    guard: MutexGuard<'a, Core>,
}

impl Deref for Locked<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.guard
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.guard
    }
}

impl Core {
    /// Whether housekeeping is to begin a checkpoint. On a full disk a server that stops does not: it would have to wait for space.
    fn wants_checkpoint(&self) -> bool {
        if !self.stopping {
            return self.broker.wants_checkpoint();
        }
        // Once at most: one that was given up is not begun again.
        !self.is_kept
            && !self.has_last_checkpoint
            && !self.broker.is_full()
            && (self.broker.wants_checkpoint()
                || self.broker.bytes_since_checkpoint() > REPLAY_BYTES_MAX)
    }

    /// Whether the server stops and nothing is left to be done, or nothing can be done for want of space.
    fn may_end(&self) -> bool {
        let is_done = self.broker.is_settled() || self.broker.is_stuck();
        self.stopping && self.is_kept && is_done
    }

    fn finish(&mut self, now: Now, job: &Job, result: Result<(), DiskFault>) {
        if let Err(fault) = &result
            && fault.kind != FaultKind::Later
            && (fault.kind != FaultKind::NoSpace || !self.is_full_told)
        {
            warn!("journal: {}", fault.text);
        }
        self.broker.handle_done(now, job.id, result);
        // Space is asked for every second: one line when it is gone, and one when it is back.
        let is_full = self.broker.is_full();
        if is_full != self.is_full_told {
            self.is_full_told = is_full;
            match is_full {
                true => warn!(
                    "the disk is full: puts are refused until there is space for another segment; everything else goes on"
                ),
                false => info!("there is space on the disk again: puts are accepted"),
            }
        }
    }

    /// Nothing more is written for this session now (`is_last`): what it still waits for comes later.
    fn await_disk(&mut self, session: Option<&Session>, is_last: bool) {
        if let Some(session) = session.filter(|_| is_last) {
            self.broker.await_disk(session);
        }
    }

    fn collect_ready(&mut self, ready: &mut Ready) {
        while let Some(session) = self.broker.poll_opened() {
            if let Some(bell) = self.connections.get(session) {
                ready.push(bell, false);
            }
        }
        while let Some(session) = self.broker.poll_event() {
            if let Some(bell) = self.connections.get(session) {
                ready.push(bell, true);
            }
        }
    }
}

/// Says that the machine's unix time has jumped, or that it has been caught up with.
fn tell_clock(ahead_ms: i64) {
    match ahead_ms {
        0 => info!("the clock has been caught up with"),
        _ => warn!(
            "the machine's clock jumped: it is {ahead_ms} ms ahead of what the server goes by. It is followed slowly, so that items neither expire at once nor stay for ever; restart the server to take it as it is"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;
    use std::process::{Command, ExitStatus};

    use bytes::BytesMut;
    use kqueue_broker::{Limits, RecordSeq, SegmentRead};
    use rustix::process::{Resource, getrlimit, setrlimit};

    use super::threads::{READ_PAUSE, Read};
    use super::*;
    use crate::boot;
    use crate::config::Config;

    /// Names the child's directory to it.
    const CHILD: &str = "KQUEUE_TEST_CHILD";
    const SIGABRT: i32 = 6;

    /// Runs a test again, in a process of its own. Answers a directory there, and how that process ended here.
    fn in_a_child(test: &str) -> Result<PathBuf, ExitStatus> {
        if let Some(directory) = std::env::var_os(CHILD) {
            return Ok(directory.into());
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("shared::tests::{test}")]).env(CHILD, directory.path());
        Err(command.output().unwrap().status)
    }

    fn shared_in(directory: PathBuf) -> Arc<Shared> {
        let clock = Clock::start();
        let mut config = Config::new(directory);
        config.segment_bytes = 4 * 1024 * 1024;
        let booted = boot::boot(&config, &clock).unwrap();
        Shared::new(booted.broker, booted.disk, booted.quarantine, clock)
    }

    #[test]
    fn a_panic_with_the_lock_ends_the_process() {
        match in_a_child("a_panic_with_the_lock_ends_the_process") {
            Err(status) => assert_eq!(status.signal(), Some(SIGABRT), "{status}"),
            Ok(directory) => {
                let shared = shared_in(directory);
                let changed = catch_unwind(AssertUnwindSafe(|| {
                    shared.change(|_, _| panic!("half changed"));
                }));
                assert!(changed.is_err());
            }
        }
    }

    #[test]
    fn a_panic_elsewhere_harms_nobody() {
        struct Tidies(Arc<Shared>);
        impl Drop for Tidies {
            fn drop(&mut self) {
                self.0.change(|_, _| ());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let shared = shared_in(directory.path().to_path_buf());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _tidies = Tidies(Arc::clone(&shared));
            panic!("a connection");
        }));
        assert!(panicked.is_err());
        assert!(!shared.progress().poisoned);
    }

    /// What a client sends is run; it is written later.
    fn run(shared: &Shared, session: &mut Session, request: &[u8]) {
        session.feed(&mut BytesMut::from(request));
        shared.run_session(Instant::now(), session, Traffic::default());
    }

    /// What the threads would do that there are not here.
    fn run_jobs(shared: &Shared) {
        let next = || {
            let mut core = shared.lock();
            let handed = core.handed.take().or_else(|| core.background.take());
            handed.or_else(|| core.broker.poll_job(shared.clock.now()))
        };
        while let Some(job) = next() {
            drop(shared.finish_job(&job, shared.run_job(&job)));
        }
    }

    #[test]
    fn who_runs_alone_waits_for_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let shared = shared_in(directory.path().to_path_buf());
        let connect = || Session::new(shared.connect(Arc::default()).0, Limits::default());
        let (mut one, mut other) = (connect(), connect());
        let gathers = || shared.gathers.load(Ordering::Relaxed);
        let settle = |session: &Session| {
            shared.write_session(session);
            run_jobs(&shared);
        };
        let put: &[u8] = b"set q 0 0 1\r\nx\r\n";
        // Reads write nothing, and nobody has gathered because of them.
        run(&shared, &mut one, b"get none\r\n");
        settle(&one);
        run(&shared, &mut one, put);
        settle(&one);
        assert!(!gathers());
        run(&shared, &mut one, put);
        run(&shared, &mut other, put);
        settle(&one);
        assert!(gathers());
        // It was written by the first: that the second has nothing to write does not mean that it is alone.
        settle(&other);
        assert!(gathers());
        run(&shared, &mut one, b"get none\r\n");
        settle(&one);
        assert!(!gathers());
    }

    #[test]
    fn housekeeping_waits_for_what_it_appended_and_not_for_what_came_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let shared = shared_in(directory.path().to_path_buf());
        let mut session = Session::new(shared.connect(Arc::default()).0, Limits::default());
        let mut through = RecordSeq(0);
        run(&shared, &mut session, b"set q 0 0 1\r\nx\r\n");
        shared.drive(shared.clock.now(), None, |core| through = core.broker.append_gathered());
        run_jobs(&shared);
        // On a busy server there is always somebody whose record is not written yet.
        run(&shared, &mut session, b"set q 0 0 1\r\ny\r\n");
        assert!(!shared.lock().broker.is_written());
        assert!(shared.wait_until_written(through));
    }

    #[test]
    fn a_read_without_a_descriptor_is_given_up_when_the_server_stops() {
        match in_a_child("a_read_without_a_descriptor_is_given_up_when_the_server_stops") {
            Err(status) => assert!(status.success(), "{status}"),
            Ok(directory) => {
                let read = SegmentRead { segment: 1, offset: 0, bytes: 1 };
                std::fs::write(directory.join(kqueue_broker::segment_file_name(1)), "x").unwrap();
                let disk = Disk::new(&directory, 4096, Vec::new()).unwrap();
                let shared = shared_in(directory.join("data"));
                let mut shared = Arc::into_inner(shared).unwrap();
                shared.disk = disk;
                let mut limit = getrlimit(Resource::Nofile);
                limit.current = Some(0);
                setrlimit(Resource::Nofile, limit).unwrap();
                std::thread::scope(|scope| {
                    let reader = scope.spawn(|| shared.read_patiently(&read));
                    std::thread::sleep(2 * READ_PAUSE);
                    assert!(!reader.is_finished(), "it waits for one");
                    shared.stop();
                    let began = std::time::Instant::now();
                    while !reader.is_finished() {
                        if began.elapsed() > 50 * READ_PAUSE {
                            std::process::exit(1);
                        }
                        std::thread::sleep(READ_PAUSE);
                    }
                    assert!(matches!(reader.join().unwrap(), Read::Stopping));
                });
            }
        }
    }
}
