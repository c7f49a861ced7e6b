//! What the server's shell does for the broker: disk jobs, reads, housekeeping.
//!
//! Must not: judge what the clients see.

use kqueue_broker::{DiskOp, FaultKind, Job, RetireStep, Retirement};

use super::{Outcome, World};
use crate::disk::Failure;

impl World {
    /// What the shell does after every call: jobs go to the disk, those that are done are reported, sessions are told.
    pub(super) fn pump(&mut self) -> Outcome {
        loop {
            self.finish_jobs()?;
            if !self.start_job() {
                break;
            }
        }
        self.keep_house()?;
        self.read();
        self.answer_asks();
        // As the real shell: whose replies may leave only sends them.
        let progress = self.broker.progress();
        while let Some(session) = self.broker.poll_opened() {
            if let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == session.0) {
                conn.session.encode(&progress, &mut conn.output);
            }
        }
        while let Some(session) = self.broker.poll_event() {
            if let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == session.0) {
                conn.session.set_ready();
            }
        }
        Ok(())
    }

    fn start_job(&mut self) -> bool {
        if self.disk.died.is_some() {
            return false;
        }
        let now = self.now();
        let Some(job) = self.broker.poll_job(now) else { return false };
        assert!(!self.broker.progress().poisoned, "a job after the journal failed: {job:?}");
        let takes_ms = match job.is_write_only {
            true => 0,
            false => self.rng.u64(..=self.scenario.disk_ms),
        };
        self.note(|| {
            format!(
                "job {}: {}",
                job.id.0,
                job.ops.iter().map(name_of).collect::<Vec<_>>().join(", ")
            )
        });
        let slot = if job.is_background { &mut self.background } else { &mut self.log_job };
        assert!(slot.is_none(), "two jobs of one lane at a time");
        *slot = Some((job, self.mono_ms + takes_ms));
        true
    }

    fn finish_jobs(&mut self) -> Outcome {
        for is_background in [false, true] {
            let slot = if is_background { &mut self.background } else { &mut self.log_job };
            let Some((job, _)) = slot.take_if(|(_, done)| *done <= self.mono_ms) else { continue };
            let before = self.disk.failed;
            let result = match self.one_in(self.scenario.io_fault_every) {
                true => self.disk.run_with_fault(&mut self.rng, &job),
                false => self.disk.run(&job),
            };
            self.summary.disk_failures += self.disk.failed - before;
            if self.disk.died.is_some() {
                self.note(|| format!("job {}: in the middle of it", job.id.0));
                return Ok(());
            }
            let syncs = job.ops.iter().any(|op| matches!(op, DiskOp::Sync { .. }));
            self.is_faulty = result.is_err() || (self.is_faulty && !syncs);
            let kind = result.as_ref().err().map(|fault| fault.kind);
            self.note(|| format!("job {} done: {:?}", job.id.0, kind));
            let was_poisoned = self.broker.progress().poisoned;
            self.broker.handle_done(self.now(), job.id, result);
            if !was_poisoned {
                self.judge_fault(&job, kind)?;
            }
        }
        Ok(())
    }

    /// What has to follow a fault: the server knows that it can promise nothing more, or goes on if it can.
    fn judge_fault(&mut self, job: &Job, kind: Option<FaultKind>) -> Outcome {
        let is_poisoned = self.broker.progress().poisoned;
        let needs_space = |op: &DiskOp| {
            matches!(op, DiskOp::Create { .. } | DiskOp::Prepare { .. } | DiskOp::Remove { .. })
        };
        match kind {
            Some(FaultKind::Io) if !is_poisoned => {
                Err("a fault of the disk, and the journal goes on".into())
            }
            Some(FaultKind::NoSpace) if is_poisoned && job.ops.iter().any(needs_space) => {
                Err("the disk was full for a moment, and the journal gave up".into())
            }
            _ => {
                let step = self.step;
                if is_poisoned && self.oracle.poisoned_in.is_none() {
                    self.oracle.poisoned_in = Some(step);
                }
                Ok(())
            }
        }
    }

    /// What the housekeeping thread does: one thing at a time, each step written before the next. Others may put something between its looking and its going on.
    fn keep_house(&mut self) -> Outcome {
        if self.disk.died.is_some() || self.broker.progress().poisoned {
            return Ok(());
        }
        if !self.goes_on {
            self.goes_on = self.broker.is_written_through(self.kept_through);
            return Ok(());
        }
        self.goes_on = false;
        if let Some(checkpoint) = &mut self.checkpoint {
            let is_done = self.broker.checkpoint_step(checkpoint);
            self.kept_through = self.broker.append_gathered();
            if is_done {
                self.checkpoint = None;
                self.summary.checkpoints += 1;
                self.note(|| "a checkpoint ends".into());
            }
        } else if let Some(retirement) = &mut self.retirement {
            let step = self.broker.retire_step(retirement);
            self.kept_through = self.broker.append_gathered();
            match step {
                RetireStep::Read(read) => loop {
                    // What may pass is tried again; a server that died reads nothing more.
                    match self.disk.read(&read) {
                        Ok(piece) => break retirement.feed(&piece),
                        Err(_) if self.disk.died.is_some() => return Ok(()),
                        Err(_) => {}
                    }
                },
                RetireStep::Write => {}
                RetireStep::Done => {
                    let (bad, lost) = retirement.take_bad();
                    if !self.may_be_damaged() && !bad.is_empty() {
                        return Err(format!("damaged: {bad:?}"));
                    }
                    self.oracle.is_damage_told |= !bad.is_empty() || lost > 0;
                    self.retirement = None;
                    self.summary.retired_segments += 1;
                    self.note(|| "a segment was emptied".into());
                }
            }
        } else if self.broker.wants_checkpoint() {
            self.checkpoint = Some(self.broker.begin_checkpoint());
            self.note(|| "a checkpoint begins".into());
        } else {
            self.retirement = self.broker.poll_retire();
            if let Some(segment) = self.retirement.as_ref().map(Retirement::segment) {
                self.note(|| format!("segment {segment} is to be emptied"));
            }
        }
        Ok(())
    }

    /// Whether something may be unreadable: on the disk, or once.
    pub(super) fn may_be_damaged(&self) -> bool {
        self.scenario.flip_every > 0
            || self.scenario.fault.is_some_and(|fault| fault.failure == Failure::Io)
    }

    /// What the reader thread does.
    fn read(&mut self) {
        while let Some(load) = self.broker.poll_load() {
            let takes_ms = self.rng.u64(..=self.scenario.read_ms);
            self.loads.push((load, self.mono_ms + takes_ms));
        }
        let mut index = 0;
        while index < self.loads.len() {
            if self.loads[index].1 > self.mono_ms {
                index += 1;
                continue;
            }
            let (mut load, _) = self.loads.swap_remove(index);
            let failed_before = self.disk.failed;
            loop {
                match self.disk.read(&load.next_read()) {
                    Ok(piece) if load.feed(&piece) => break,
                    Err(_) if self.disk.died.is_some() => return,
                    _ => {}
                }
            }
            self.summary.loads += 1;
            self.oracle.has_unread_block |= self.disk.failed > failed_before;
            let what = load.segment();
            let (bad, lost) = self.broker.handle_loaded(self.now(), load);
            self.oracle.is_damage_told |= !bad.is_empty() || lost > 0;
            assert!(
                self.may_be_damaged() || bad.is_empty() && lost == 0,
                "damage on a sound disk: {bad:?}, {lost} items of segment {what}"
            );
        }
    }
}

fn name_of(op: &DiskOp) -> String {
    match op {
        DiskOp::Prepare { .. } => "prepare".into(),
        DiskOp::WriteSuper { slot, .. } => format!("superblock {slot}"),
        DiskOp::Create { segment, .. } => format!("create {segment}"),
        DiskOp::Write { segment, offset, chunks } => {
            let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
            format!("write {segment} at {offset}, {bytes} bytes")
        }
        DiskOp::Sync { segment } => format!("sync {segment}"),
        DiskOp::Flush { segment } => format!("flush {segment}"),
        DiskOp::Remove { segment } => format!("remove {segment}"),
    }
}
