//! The threads that lead to the disk besides those of connections: the disk thread, housekeeping and the reader.
//!
//! Must not: do anything under the lock that takes long.

use std::time::Duration;

use kqueue_broker::{
    BadPlace, DiskFault, Job, Now, RecordSeq, RetireStep, Retirement, SegmentRead,
};
use tracing::{error, warn};

use super::{Locked, Shared};
use crate::connections::Ready;
use crate::disk::is_transient;

/// How long a thread sleeps at most when nothing is due.
const DISK_IDLE: Duration = Duration::from_secs(60);
/// How long housekeeping waits before it looks again whether its last step is written.
pub(super) const STEP_PAUSE: Duration = Duration::from_millis(50);
/// How long a read waits before it is tried again when the system had no descriptor or memory for it.
pub(super) const READ_PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    /// The disk thread: runs jobs that sync or make a segment, until [`Shared::stop`] and all is on the disk, or has no place there.
    pub(crate) fn run_disk_thread(&self) {
        let mut core = self.lock();
        loop {
            let now = self.clock.now();
            let job = match core.handed.take() {
                Some(job) => job,
                None => match core.broker.poll_job(now) {
                    Some(job) if job.is_background => {
                        self.send(&mut core, job);
                        continue;
                    }
                    Some(job) => job,
                    None if core.may_end() => break,
                    None => {
                        let due = core.broker.poll_journal_timeout();
                        core.disk_armed_ms = due.unwrap_or(u64::MAX);
                        let wait = due.map_or(DISK_IDLE, |due| until(now, due));
                        self.disk_wake.wait_for(&mut core.guard, wait);
                        continue;
                    }
                },
            };
            drop(core);
            let result = self.run_job(&job);
            core = self.finish_job(&job, result);
        }
        core.settled = true;
        self.housekeeping_wake.notify_one();
        self.reader_wake.notify_one();
    }

    /// Reports a job that was run outside of the lock, and takes the lock again.
    pub(super) fn finish_job(&self, job: &Job, result: Result<(), DiskFault>) -> Locked<'_> {
        let mut ready = Ready::default();
        let mut core = self.lock();
        core.finish(self.clock.now(), job, result);
        core.collect_ready(&mut ready);
        self.collect_loads(&mut core);
        let progress = core.broker.progress();
        drop(core);
        ready.wake();
        self.note_failure(progress);
        self.done_wake.notify_all();
        self.housekeeping_wake.notify_one();
        self.disk_wake.notify_one();
        self.lock()
    }

    /// The housekeeping thread: spare files, removal of segments, checkpoints, and emptying of segments.
    pub(crate) fn run_housekeeping_thread(&self) {
        // It is as good as the others: with less of a processor, space would be won back more slowly than it is used.
        let mut core = self.lock();
        loop {
            if let Some(job) = core.background.take() {
                drop(core);
                let result = self.run_job(&job);
                core = self.finish_job(&job, result);
            } else if core.settled {
                return;
            } else if core.wants_checkpoint() {
                // A long one may be more than what makes one worthwhile: there is no second one.
                core.has_last_checkpoint = core.stopping;
                drop(core);
                self.checkpoint();
                core = self.lock();
            } else if core.stopping {
                core.is_kept = true;
                // Of what was appended since [`Shared::stop`], too.
                core.broker.sync_everything(self.clock.now());
                self.disk_wake.notify_one();
                self.housekeeping_wake.wait_for(&mut core.guard, STEP_PAUSE);
            } else if let Some(retirement) = core.broker.poll_retire() {
                drop(core);
                self.retire(retirement);
                core = self.lock();
            } else {
                self.housekeeping_wake.wait_for(&mut core.guard, DISK_IDLE);
            }
        }
    }

    /// Writes a checkpoint, step by step, each written before the next. One that is given up is not believed at the next start.
    fn checkpoint(&self) {
        let mut checkpoint = self.lock().broker.begin_checkpoint();
        loop {
            let now = self.clock.now();
            let (mut is_done, mut through) = (false, RecordSeq(0));
            self.drive(now, None, |core| {
                is_done = core.broker.checkpoint_step(&mut checkpoint);
                through = core.broker.append_gathered();
            });
            if !self.wait_until_written(through) || is_done {
                self.disk_wake.notify_one();
                return;
            }
        }
    }

    /// Empties a segment, step by step, each written before the next.
    fn retire(&self, mut retirement: Retirement) {
        loop {
            let now = self.clock.now();
            let (mut step, mut through) = (RetireStep::Done, RecordSeq(0));
            self.drive(now, None, |core| {
                step = core.broker.retire_step(&mut retirement);
                through = core.broker.append_gathered();
            });
            match step {
                RetireStep::Read(read) => match self.read_patiently(&read) {
                    Read::Piece(piece) => retirement.feed(&piece),
                    Read::Unreadable | Read::Stopping => retirement.give_up(),
                },
                // Otherwise both copies of what was to be moved may be there at the next start: it finds out.
                RetireStep::Write if !self.wait_until_written(through) => break,
                RetireStep::Write => {}
                RetireStep::Done => break,
            }
        }
        let (bad, lost) = retirement.take_bad();
        self.report_bad(&bad, lost);
        self.disk_wake.notify_one();
    }

    /// False: it will not be written, since the journal failed, or since the server stops and there is no space.
    pub(super) fn wait_until_written(&self, through: RecordSeq) -> bool {
        let mut core = self.lock();
        while !core.broker.is_written_through(through) && !core.settled {
            if core.stopping && core.broker.is_stuck() {
                return false;
            }
            // The job that writes may be this thread's own, or wait for a spare that only this thread makes.
            if let Some(job) = core.background.take() {
                drop(core);
                let result = self.run_job(&job);
                core = self.finish_job(&job, result);
            } else {
                self.housekeeping_wake.wait_for(&mut core.guard, STEP_PAUSE);
            }
        }
        core.broker.is_written_through(through) && !core.broker.progress().poisoned
    }

    /// The reader thread: items that are not in memory.
    pub(crate) fn run_reader_thread(&self) {
        let mut core = self.lock();
        loop {
            let Some(mut load) = core.loads.pop_front() else {
                if core.settled {
                    return;
                }
                self.reader_wake.wait_for(&mut core.guard, DISK_IDLE);
                continue;
            };
            drop(core);
            let is_over = loop {
                match self.read_patiently(&load.next_read()) {
                    Read::Piece(piece) if load.feed(&piece) => break true,
                    Read::Piece(_) => {}
                    Read::Unreadable => break true,
                    Read::Stopping => break false,
                }
            };
            // What was not read because the server stops is not lost: nobody hears of it any more.
            if is_over {
                let now = self.clock.now();
                let mut found = (Vec::new(), 0);
                self.drive(now, None, |core| found = core.broker.handle_loaded(now, load));
                self.report_bad(&found.0, found.1);
            }
            core = self.lock();
        }
    }

    /// Reads a part of a segment, however long it takes to get a descriptor for it, as long as the server does not stop; what cannot be read is zeros.
    pub(super) fn read_patiently(&self, read: &SegmentRead) -> Read {
        loop {
            match self.disk.read(read) {
                Ok((piece, unreadable)) => {
                    for offset in unreadable {
                        error!(
                            "cannot read {} at byte {offset}: the disk fails there",
                            kqueue_broker::segment_file_name(read.segment)
                        );
                    }
                    return Read::Piece(piece);
                }
                Err(error) if is_transient(&error) => {
                    warn!(
                        "cannot read {} for the moment: {error}",
                        kqueue_broker::segment_file_name(read.segment)
                    );
                    if self.lock().stopping {
                        return Read::Stopping;
                    }
                    std::thread::sleep(READ_PAUSE);
                }
                Err(error) => {
                    error!(
                        "cannot open {}: {error}",
                        kqueue_broker::segment_file_name(read.segment)
                    );
                    return Read::Unreadable;
                }
            }
        }
    }

    /// Says what was found damaged, and copies it aside.
    fn report_bad(&self, bad: &[BadPlace], lost: u64) {
        for place in bad {
            self.lock().broker.note_damage(place);
            self.quarantine.keep(place);
        }
        if lost > 0 {
            error!("DAMAGED: {lost} items could not be read from the disk and are lost");
        }
    }
}

/// What became of a read.
pub(super) enum Read {
    Piece(Vec<u8>),
    /// The file cannot be opened.
    Unreadable,
    /// The system had no descriptor or memory for it, and the server stops.
    Stopping,
}

fn until(now: Now, due_ms: u64) -> Duration {
    Duration::from_millis(due_ms.saturating_sub(now.mono_ms).saturating_add(1)).min(DISK_IDLE)
}
