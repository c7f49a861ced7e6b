//! A disk in memory, with everything that a real one may do at a power cut.
//!
//! Invariants: `stable` is what is on the platter; what was written since the last sync is in `cache` and in `dirty`, sector by sector, and any subset of it may
//! survive. A file that has a segment's name has a whole header. Every call (make, fill, write, sync, rename, sync of the directory, read) is numbered, and any of them can be made
//! to fail, or to be the last one. Must not: know records.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use kqueue_broker::{DiskFault, DiskOp, FaultKind, Job, SLOT_BYTES, SegmentRead, Superblock};

/// More files that are removed are not kept.
const SPARES_MAX: usize = 2;
/// What cannot be read, where a read fails.
const BLOCK: usize = 4096;
/// What is written whole or not at all.
const SECTOR: usize = 512;

/// What ends a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The process dies; what it wrote stays in the page cache.
    Kill,
    /// The machine dies; any subset of the unsynced sectors survives.
    Power,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `EIO`. A write has written a part, a sync has thrown away what it should have written.
    Io,
    /// `ENOSPC`. A write has written a part.
    NoSpace,
    /// `ENOSPC` where a real disk says so: where a file is made, filled or taken away. Other calls succeed.
    Full,
    /// The process dies in it.
    Kill,
    /// The power goes in it.
    Power,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first one, counted from 1.
    pub from: u64,
    /// How many.
    pub calls: u64,
    /// How.
    pub failure: Failure,
}

/// What the operations consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Make,
    Fill,
    Write,
    Sync,
    Name,
    SyncDirectory,
    TakeAway,
    Read,
}

#[derive(Debug)]
struct File {
    stable: Vec<u8>,
    cache: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync has given up: the process still sees them, the platter never does.
    lost: BTreeSet<usize>,
    /// Its name survives a power cut.
    is_named: bool,
}

/// The files of one data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    files: BTreeMap<u64, File>,
    /// What recycled files hold.
    spares: Vec<Vec<u8>>,
    superblock: Vec<u8>,
    /// What was in the superblock before a write that was not synced.
    old_superblock: Option<Vec<u8>>,
    /// Files that lost their names, which a power cut may give back to them.
    ghosts: BTreeMap<u64, File>,
    segment_bytes: usize,
    /// Calls so far.
    pub(crate) calls: u64,
    /// Calls that are to fail.
    pub(crate) fault: Option<Fault>,
    /// Calls that failed.
    pub(crate) failed: u64,
    /// How the server ended in the middle of a call; nothing happens any more then.
    pub(crate) died: Option<Cut>,
    /// New segments cannot be had.
    pub(crate) is_full: bool,
    /// Answers syncs without doing them: for the test of the simulator itself.
    pub(crate) lies: bool,
}

impl Disk {
    /// An empty directory.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            spares: Vec::new(),
            superblock: Superblock::first_file(),
            old_superblock: None,
            ghosts: BTreeMap::new(),
            calls: 0,
            fault: None,
            failed: 0,
            died: None,
            segment_bytes: usize::try_from(segment_bytes).expect("small segments"),
            is_full: false,
            lies: false,
        }
    }

    /// Runs a job to its end.
    ///
    /// # Errors
    /// No space, if the disk is full and the job needs a new segment.
    pub(crate) fn run(&mut self, job: &Job) -> Result<(), DiskFault> {
        job.ops.iter().try_for_each(|op| self.apply(op))
    }

    /// Counts a call, and lets it fail if it is to.
    fn call(&mut self, call: Call) -> Result<(), DiskFault> {
        if self.died.is_some() {
            return Err(io_fault());
        }
        self.calls += 1;
        let needs_space = matches!(call, Call::Make | Call::Fill | Call::TakeAway);
        let fault = self.fault.filter(|fault| {
            (fault.from..fault.from.saturating_add(fault.calls)).contains(&self.calls)
                && (fault.failure != Failure::Full || needs_space)
        });
        let Some(fault) = fault else { return Ok(()) };
        self.failed += 1;
        Err(match fault.failure {
            Failure::Io => io_fault(),
            Failure::NoSpace | Failure::Full => no_space(),
            Failure::Kill => {
                self.died = Some(Cut::Kill);
                io_fault()
            }
            Failure::Power => {
                self.died = Some(Cut::Power);
                io_fault()
            }
        })
    }

    /// How much of a write is done if it fails in this call: anything.
    fn part(&self, bytes: usize) -> usize {
        (self.calls.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % (bytes + 1)
    }

    /// As runs do that begin a segment each and end soon.
    pub(crate) fn use_up_spares(&mut self) {
        self.spares.clear();
    }

    /// No segment can be had, not even a spare.
    pub(crate) fn has_no_space(&self) -> bool {
        self.is_full && self.spares.is_empty()
    }

    /// Overwrites the rest of a segment with zeros, and syncs it.
    pub(crate) fn clear(&mut self, segment: u64, offset: usize) {
        self.files.get_mut(&segment).expect("it was read").cache[offset..].fill(0);
        self.sync(segment);
        let file = self.files.get_mut(&segment).expect("it was read");
        file.stable[offset..].fill(0);
        file.is_named = true;
    }

    fn make_spare(&mut self) -> Result<(), DiskFault> {
        self.call(Call::Make)?;
        if self.is_full {
            return Err(no_space());
        }
        self.call(Call::Fill)?;
        self.call(Call::Sync)?;
        self.spares.push(vec![0; self.segment_bytes]);
        Ok(())
    }

    fn apply(&mut self, op: &DiskOp) -> Result<(), DiskFault> {
        match op {
            DiskOp::Prepare { spares } => {
                while self.spares.len() < *spares {
                    self.make_spare()?;
                }
                Ok(())
            }
            DiskOp::WriteSuper { slot, bytes } => self.write_super(*slot, bytes),
            DiskOp::Create { segment, header } => self.create(*segment, header),
            DiskOp::Write { segment, offset, chunks } => {
                let at = usize::try_from(*offset).expect("small segments");
                let bytes = chunks.concat();
                let result = self.call(Call::Write);
                let done = if result.is_ok() { bytes.len() } else { self.part(bytes.len()) };
                self.write(*segment, at, &bytes[..done]);
                result
            }
            DiskOp::Sync { segment } | DiskOp::Flush { segment } => {
                let result = self.call(Call::Sync);
                let is_flush = matches!(op, DiskOp::Flush { .. });
                match (&result, self.died, self.files.get_mut(segment)) {
                    (Ok(()), ..) => self.sync(*segment),
                    // It was not begun.
                    (Err(fault), ..) if is_flush && fault.kind == FaultKind::NoSpace => {}
                    // The next sync would say that all is well.
                    (Err(_), None, Some(file)) => file.lost.append(&mut file.dirty),
                    _ => {}
                }
                result
            }
            DiskOp::Remove { segment } => {
                self.call(Call::TakeAway)?;
                if let Some(file) = self.files.remove(segment) {
                    // Recycled: the next segment gets this file with what it holds.
                    if self.spares.len() < SPARES_MAX {
                        self.spares.push(file.cache.clone());
                    }
                    self.ghosts.insert(*segment, file);
                }
                self.sync_directory()
            }
        }
    }

    fn write_super(&mut self, slot: usize, bytes: &[u8]) -> Result<(), DiskFault> {
        let before = self.superblock.clone();
        let old = self.old_superblock.get_or_insert(before);
        debug_assert_eq!(old.len(), self.superblock.len());
        let result = self.call(Call::Write).map_err(lasting);
        let done = if result.is_ok() { bytes.len() } else { self.part(bytes.len()) };
        self.superblock[slot * SLOT_BYTES..][..done].copy_from_slice(&bytes[..done]);
        result?;
        self.call(Call::Sync).map_err(lasting)?;
        self.old_superblock = None;
        Ok(())
    }

    fn create(&mut self, segment: u64, header: &[u8]) -> Result<(), DiskFault> {
        if self.spares.is_empty() {
            self.make_spare()?;
        }
        // If anything fails from here on, the file is there, but nobody knows it.
        let mut bytes = self.spares.pop().expect("there is one");
        self.call(Call::Write)?;
        bytes[..header.len()].copy_from_slice(header);
        self.call(Call::Sync)?;
        self.call(Call::Name)?;
        let (stable, dirty) = (bytes.clone(), BTreeSet::new());
        let file = File { stable, cache: bytes, dirty, lost: BTreeSet::new(), is_named: false };
        assert!(self.files.insert(segment, file).is_none(), "segment {segment} created twice");
        self.sync_directory().map_err(lasting)
    }

    fn sync_directory(&mut self) -> Result<(), DiskFault> {
        self.call(Call::SyncDirectory)?;
        self.ghosts.clear();
        self.files.values_mut().for_each(|file| file.is_named = true);
        Ok(())
    }

    fn write(&mut self, segment: u64, at: usize, bytes: &[u8]) {
        let Some(file) = self.files.get_mut(&segment) else {
            assert!(self.died.is_some(), "written before it was created");
            return;
        };
        file.cache[at..at + bytes.len()].copy_from_slice(bytes);
        file.dirty.extend(at / SECTOR..(at + bytes.len()).div_ceil(SECTOR));
    }

    fn sync(&mut self, segment: u64) {
        if self.lies {
            return;
        }
        if let Some(file) = self.files.get_mut(&segment) {
            for sector in std::mem::take(&mut file.dirty) {
                file.keep(sector);
            }
        }
    }

    /// What the shell reads of a segment. What cannot be read is zeros, as the shell has it.
    ///
    /// # Errors
    /// What may pass: nothing was read.
    pub(crate) fn read(&mut self, read: &SegmentRead) -> Result<Vec<u8>, DiskFault> {
        let result = self.call(Call::Read);
        if self.died.is_some() || result.as_ref().is_err_and(|e| e.kind == FaultKind::NoSpace) {
            return Err(result.err().unwrap_or_else(io_fault));
        }
        let file = &self.files[&read.segment].cache;
        let from = usize::try_from(read.offset).expect("small segments").min(file.len());
        let bytes = usize::try_from(read.bytes).unwrap_or(usize::MAX);
        let mut piece = file[from..from.saturating_add(bytes).min(file.len())].to_vec();
        if result.is_err() {
            let at = self.part(piece.len());
            let end = (at + BLOCK).min(piece.len());
            piece[at..end].fill(0);
        }
        Ok(piece)
    }

    /// The superblock's file.
    pub(crate) fn superblock(&self) -> &[u8] {
        &self.superblock
    }

    /// A bit of what is on the platter turns over, somewhere in what a segment holds; answers where.
    pub(crate) fn flip(&mut self, rng: &mut Rng) -> Option<(u64, usize)> {
        if rng.u32(..20) == 0 {
            let at = rng.usize(..self.superblock.len());
            self.superblock[at] ^= 1 << rng.u32(..8);
            return Some((0, at));
        }
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        let number = *rng.choice(&numbers)?;
        let file = self.files.get_mut(&number)?;
        let used = file.cache.iter().rposition(|&byte| byte != 0)? + 1;
        let at = rng.usize(..used);
        let bit = 1 << rng.u32(..8);
        file.cache[at] ^= bit;
        file.stable[at] ^= bit;
        Some((number, at))
    }

    /// Every segment's number and bytes, in order, as a process sees them.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.files.iter().map(|(&number, file)| (number, &file.cache[..]))
    }

    /// A job is cut short: in one of its calls, or right behind it.
    pub(crate) fn run_in_part(&mut self, rng: &mut Rng, job: &Job) {
        let from = self.calls + rng.u64(1..=3 + 3 * job.ops.len() as u64);
        let kept = self.fault.replace(Fault { from, calls: 1, failure: Failure::Kill });
        let was_dead = self.died;
        // What it came to is told to nobody.
        let _ = self.run(job);
        self.fault = kept;
        self.died = was_dead;
    }

    /// A job in which one of the next calls may fail.
    ///
    /// # Errors
    /// As [`Disk::run`], or what was chosen.
    pub(crate) fn run_with_fault(&mut self, rng: &mut Rng, job: &Job) -> Result<(), DiskFault> {
        let from = self.calls + rng.u64(1..=1 + job.ops.len() as u64);
        let failure = if rng.u32(..3) == 0 { Failure::NoSpace } else { Failure::Io };
        let kept = self.fault.replace(Fault { from, calls: 1, failure });
        let result = self.run(job);
        self.fault = kept;
        result
    }

    /// What is left after the server's life ended like this. True if that is less than the process saw.
    pub(crate) fn cut(&mut self, rng: &mut Rng, cut: Cut) -> bool {
        self.died = None;
        let mut is_lost = cut == Cut::Power;
        for file in self.files.values_mut() {
            for sector in std::mem::take(&mut file.lost) {
                is_lost = true;
                let range = file.range(sector);
                file.cache[range.clone()].copy_from_slice(&file.stable[range]);
            }
        }
        if cut == Cut::Kill {
            // The names are as the process left them, and a start syncs the directory before it relies on them.
            self.old_superblock = None;
            self.ghosts.clear();
            return is_lost;
        }
        // Often everything or nothing survives, and between them any mixture.
        let survival = *rng.choice(&[0.0, 0.1, 0.5, 0.9, 1.0]).expect("not empty");
        for file in self.files.values_mut() {
            for sector in std::mem::take(&mut file.dirty) {
                if rng.f64() < survival {
                    file.keep(sector);
                }
            }
            file.cache.clone_from(&file.stable);
        }
        self.files.retain(|_, file| file.is_named || rng.bool());
        self.files.values_mut().for_each(|file| file.is_named = true);
        for (segment, mut file) in std::mem::take(&mut self.ghosts) {
            if rng.bool() {
                file.cache.clone_from(&file.stable);
                file.dirty.clear();
                self.files.insert(segment, file);
            }
        }
        if let Some(old) = self.old_superblock.take() {
            for at in (0..old.len()).step_by(SECTOR).filter(|_| rng.bool()) {
                self.superblock[at..at + SECTOR].copy_from_slice(&old[at..at + SECTOR]);
            }
        }
        is_lost
    }
}

/// As the shell has it: the segment is there already, so this cannot be tried again.
fn lasting(fault: DiskFault) -> DiskFault {
    DiskFault { kind: FaultKind::Io, ..fault }
}

fn io_fault() -> DiskFault {
    DiskFault { kind: FaultKind::Io, text: "virtual fault".into() }
}

fn no_space() -> DiskFault {
    DiskFault { kind: FaultKind::NoSpace, text: "virtual disk full".into() }
}

impl File {
    fn range(&self, sector: usize) -> std::ops::Range<usize> {
        sector * SECTOR..((sector + 1) * SECTOR).min(self.cache.len())
    }

    fn keep(&mut self, sector: usize) {
        let range = self.range(sector);
        self.stable[range.clone()].copy_from_slice(&self.cache[range]);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_broker::JobId;

    use super::*;

    fn job(ops: impl Into<Vec<DiskOp>>) -> Job {
        Job { id: JobId(1), ops: ops.into(), is_write_only: false, is_background: false }
    }

    fn written(is_synced: bool, lies: bool) -> Disk {
        let mut disk = Disk::new(64 * 1024);
        disk.lies = lies;
        let chunks = vec![Bytes::from(vec![7; 4096])];
        disk.run(&job([
            DiskOp::Create { segment: 1, header: vec![1; 4096] },
            DiskOp::Write { segment: 1, offset: 4096, chunks },
        ]))
        .unwrap();
        if is_synced {
            disk.run(&job([DiskOp::Sync { segment: 1 }])).unwrap();
        }
        disk
    }

    fn survivors(mut disk: Disk, seed: u64, cut: Cut) -> usize {
        disk.cut(&mut Rng::with_seed(seed), cut);
        disk.files[&1].cache[4096..8192].iter().filter(|&&byte| byte == 7).count()
    }

    #[test]
    fn only_what_was_synced_is_safe_from_a_power_cut() {
        let lost = (0..50).map(|seed| survivors(written(false, false), seed, Cut::Power));
        let counts: BTreeSet<usize> = lost.collect();
        assert!(counts.contains(&0) && counts.contains(&4096) && counts.len() > 3, "{counts:?}");
        for seed in 0..50 {
            assert_eq!(survivors(written(false, false), seed, Cut::Kill), 4096);
            assert_eq!(survivors(written(true, false), seed, Cut::Power), 4096);
        }
        assert!((0..50).any(|seed| survivors(written(true, true), seed, Cut::Power) < 4096));
    }
}
