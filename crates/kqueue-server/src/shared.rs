//! The one shared object: the broker behind its lock, the way to the disk, and whom to wake.
//!
//! Invariants
//! - No I/O and no await happens under the lock; a lock section is a few microseconds.
//! - At most one log job is in flight (the broker sees to it). A job that is only a write runs on the thread that made it necessary: an idle
//!   server with `sync = "never"` pays no thread hop for a put. A job that syncs or makes a file goes to the disk thread, and while it syncs
//!   the next batch fills: group commit without a timer.
//! - Whoever leaves a lock section wakes the connections that it made ready, after the lock is released.
//!
//! Must not: know protocols, replies or queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kqueue_broker::{Broker, Job, Now, Session, SessionId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::disk::Disk;

/// How many batches a connection's thread writes for others before it hands the log to the disk thread.
const INLINE_JOBS_MAX: usize = 4;
/// How long the disk thread sleeps at most when nothing is due.
const DISK_IDLE: Duration = Duration::from_secs(60);

/// What the lock protects.
pub(crate) struct Core {
    /// Queues, journal, gates.
    pub(crate) broker: Broker,
    connections: Connections,
    /// A job that its maker may not run itself, on its way to the disk thread.
    handed: Option<Job>,
    /// When the timer task will wake, on the monotonic clock.
    timer_armed_ms: u64,
    stopping: bool,
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
    retire_wake: Condvar,
}

impl Shared {
    pub(crate) fn new(broker: Broker, disk: Disk, clock: Clock) -> Arc<Self> {
        let core = Core {
            broker,
            connections: Connections::default(),
            handed: None,
            timer_armed_ms: u64::MAX,
            stopping: false,
        };
        Arc::new(Self {
            core: Mutex::new(core),
            disk,
            disk_wake: Condvar::new(),
            clock,
            timer_wake: Notify::new(),
            journal_failed: Notify::new(),
            failed: AtomicBool::new(false),
            retire_wake: Condvar::new(),
        })
    }

    /// Registers a connection; `notify` is told whenever the broker has something for it.
    pub(crate) fn connect(&self, notify: Arc<Notify>) -> SessionId {
        let mut core = self.core.lock();
        let session = core.connections.insert(notify);
        core.broker.handle_connect(session);
        session
    }

    /// Ends a connection: what it holds goes back to the queues.
    pub(crate) fn disconnect(&self, session: SessionId) {
        let now = self.clock.now();
        self.drive(now, |core| {
            core.broker.handle_disconnect(now, session);
            core.connections.remove(session);
        });
    }

    /// Runs what the session has decoded and picks up what the broker has for it; the replies whose gate is open when this returns may leave.
    pub(crate) fn run_session(&self, session: &mut Session) {
        let now = self.clock.now();
        self.drive(now, |core| core.broker.execute(now, session));
    }

    /// Lets `work` change the broker, then writes what that put into the journal and wakes whom it concerns.
    fn drive(&self, now: Now, work: impl FnOnce(&mut Core)) {
        let mut ready = Ready::default();
        let mut core = self.core.lock();
        work(&mut core);
        let mut job = core.next_inline_job(now, &self.disk_wake);
        core.collect_ready(&mut ready);
        self.rearm_timer(&mut core);
        drop(core);
        ready.wake();

        let mut left = INLINE_JOBS_MAX;
        while let Some(current) = job.take() {
            let result = self.disk.run(&current);
            let now = self.clock.now();
            let mut core = self.core.lock();
            core.broker.handle_done(now, current.id, result);
            left -= 1;
            job = if left > 0 {
                core.next_inline_job(now, &self.disk_wake)
            } else {
                core.hand_over(now, &self.disk_wake);
                None
            };
            core.collect_ready(&mut ready);
            let failed = core.broker.progress().poisoned;
            drop(core);
            ready.wake();
            self.note_failure(failed);
        }
    }

    fn rearm_timer(&self, core: &mut Core) {
        let due = core.broker.poll_timeout().unwrap_or(u64::MAX);
        if due < core.timer_armed_ms {
            core.timer_armed_ms = due;
            self.timer_wake.notify_one();
        }
    }

    fn note_failure(&self, failed: bool) {
        if failed && !self.failed.swap(true, Ordering::AcqRel) {
            error!("the journal failed: no further put is accepted; restart the server to recover from what is on the disk");
            self.journal_failed.notify_one();
        }
    }

    /// The timer task: waits end, leases end, expired items are swept.
    pub(crate) async fn run_timer(self: Arc<Self>) {
        loop {
            let due = {
                let mut core = self.core.lock();
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
            self.drive(now, |core| core.broker.handle_timeout(now));
        }
    }

    /// The disk thread: runs jobs that sync or make files, until [`Shared::stop`].
    pub(crate) fn run_disk_thread(&self) {
        let mut ready = Ready::default();
        let mut core = self.core.lock();
        loop {
            let now = self.clock.now();
            let next = core.handed.take().or_else(|| core.broker.poll_job(now));
            let Some(job) = next else {
                if core.stopping && core.broker.is_settled() {
                    return;
                }
                let wait = core.broker.poll_journal_timeout().map_or(DISK_IDLE, |due| {
                    Duration::from_millis(due.saturating_sub(now.mono_ms).saturating_add(1))
                });
                self.disk_wake.wait_for(&mut core, wait.min(DISK_IDLE));
                continue;
            };
            drop(core);
            let result = self.disk.run(&job);
            if let Err(fault) = &result {
                warn!("journal: {fault}");
            }
            core = self.core.lock();
            core.broker.handle_done(self.clock.now(), job.id, result);
            core.collect_ready(&mut ready);
            let failed = core.broker.progress().poisoned;
            self.retire_wake.notify_one();
            drop(core);
            ready.wake();
            self.note_failure(failed);
            if failed && self.stopping() {
                return;
            }
            core = self.core.lock();
        }
    }

    fn stopping(&self) -> bool {
        self.core.lock().stopping
    }

    /// Asks both threads to end once everything appended is on the disk.
    pub(crate) fn stop(&self) {
        let now = self.clock.now();
        let mut core = self.core.lock();
        core.stopping = true;
        core.broker.sync_everything(now);
        drop(core);
        self.disk_wake.notify_all();
        self.retire_wake.notify_all();
    }

    /// Looks at the broker: for statistics and tests, never for commands.
    pub(crate) fn with_broker<T>(&self, look: impl FnOnce(&mut Broker, Now) -> T) -> T {
        let now = self.clock.now();
        look(&mut self.core.lock().broker, now)
    }

    /// How far the journal is.
    pub(crate) fn progress(&self) -> kqueue_broker::Progress {
        self.core.lock().broker.progress()
    }
}

impl Core {
    /// The next log job if the caller may run it itself; any other goes to the disk thread.
    fn next_inline_job(&mut self, now: Now, disk_wake: &Condvar) -> Option<Job> {
        let job = self.broker.poll_job(now)?;
        if job.is_write_only {
            return Some(job);
        }
        self.handed = Some(job);
        disk_wake.notify_one();
        None
    }

    fn hand_over(&mut self, now: Now, disk_wake: &Condvar) {
        if let Some(job) = self.broker.poll_job(now) {
            self.handed = Some(job);
            disk_wake.notify_one();
        }
    }

    fn collect_ready(&mut self, ready: &mut Ready) {
        while let Some(session) = self.broker.poll_event() {
            if let Some(notify) = self.connections.get(session) {
                ready.0.push(Arc::clone(notify));
            }
        }
    }
}

/// Connections to wake once the lock is released.
#[derive(Default)]
struct Ready(Vec<Arc<Notify>>);

impl Ready {
    fn wake(&mut self) {
        for notify in self.0.drain(..) {
            notify.notify_one();
        }
    }
}

/// The living connections. A session id is (generation, slot), so that a late event for a closed connection finds nobody.
#[derive(Default)]
struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    notify: Option<Arc<Notify>>,
}

impl Connections {
    fn insert(&mut self, notify: Arc<Notify>) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.notify = Some(notify);
        SessionId(u64::from(entry.generation) << 32 | u64::from(slot))
    }

    fn get(&self, session: SessionId) -> Option<&Arc<Notify>> {
        let (generation, slot) = Self::split(session);
        self.slots.get(slot).filter(|entry| entry.generation == generation)?.notify.as_ref()
    }

    fn remove(&mut self, session: SessionId) {
        let (generation, slot) = Self::split(session);
        if let Some(entry) = self.slots.get_mut(slot).filter(|e| e.generation == generation)
            && entry.notify.take().is_some()
        {
            self.free.push(slot as u32);
        }
    }

    fn split(session: SessionId) -> (u32, usize) {
        ((session.0 >> 32) as u32, (session.0 & 0xffff_ffff) as usize)
    }
}
