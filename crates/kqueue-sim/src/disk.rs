//! A disk in memory, with everything that a real one may do at a power cut.
//!
//! Invariants: `stable` is what is on the platter; what was written since the last sync is in `cache` and in `dirty`, sector by sector, and any subset of it may
//! survive. A file that has a segment's name has a whole header. Must not: know records.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use kqueue_broker::{DiskFault, DiskOp, FaultKind, Job, SLOT_BYTES, SegmentRead, Superblock};

/// More files that are removed are not kept.
const SPARES_MAX: usize = 3;
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

#[derive(Debug)]
struct File {
    stable: Vec<u8>,
    cache: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// The files of one data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    files: BTreeMap<u64, File>,
    /// What recycled files hold.
    spares: Vec<Vec<u8>>,
    superblock: Vec<u8>,
    segment_bytes: usize,
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

    fn apply(&mut self, op: &DiskOp) -> Result<(), DiskFault> {
        match op {
            DiskOp::Create { .. } if self.is_full && self.spares.is_empty() => {
                return Err(no_space());
            }
            DiskOp::Prepare { spares } => {
                while self.spares.len() < *spares {
                    if self.is_full {
                        return Err(no_space());
                    }
                    self.spares.push(vec![0; self.segment_bytes]);
                }
            }
            DiskOp::WriteSuper { slot, bytes } => {
                self.superblock[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(bytes);
            }
            DiskOp::Create { segment, header } => {
                let mut bytes = self.spares.pop().unwrap_or_else(|| vec![0; self.segment_bytes]);
                bytes[..header.len()].copy_from_slice(header);
                let file = File { stable: bytes.clone(), cache: bytes, dirty: BTreeSet::new() };
                assert!(self.files.insert(*segment, file).is_none(), "segment created twice");
            }
            DiskOp::Write { segment, offset, chunks } => {
                let mut at = usize::try_from(*offset).expect("small segments");
                for chunk in chunks {
                    self.write(*segment, at, chunk);
                    at += chunk.len();
                }
            }
            DiskOp::Sync { segment } => self.sync(*segment),
            DiskOp::Remove { segment } => {
                // Recycled: the next segment gets this file with what it holds.
                if let Some(file) = self.files.remove(segment)
                    && self.spares.len() < SPARES_MAX
                {
                    self.spares.push(file.cache);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, segment: u64, at: usize, bytes: &[u8]) {
        let file = self.files.get_mut(&segment).expect("written before it was created");
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

    /// What the shell reads of a segment.
    pub(crate) fn read(&self, read: &SegmentRead) -> Vec<u8> {
        let file = &self.files[&read.segment].cache;
        let from = usize::try_from(read.offset).expect("small segments").min(file.len());
        let bytes = usize::try_from(read.bytes).unwrap_or(usize::MAX);
        file[from..from.saturating_add(bytes).min(file.len())].to_vec()
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

    /// A job is cut short: some of its operations were done, the next one perhaps in part.
    pub(crate) fn run_in_part(&mut self, rng: &mut Rng, job: &Job) {
        let done = rng.usize(..=job.ops.len());
        for op in &job.ops[..done] {
            if self.apply(op).is_err() {
                return;
            }
        }
        if let Some(DiskOp::WriteSuper { slot, bytes }) = job.ops.get(done) {
            // Some of its sectors arrive.
            for sector in (0..SLOT_BYTES).step_by(SECTOR).filter(|_| rng.bool()) {
                let at = slot * SLOT_BYTES + sector;
                self.superblock[at..at + SECTOR].copy_from_slice(&bytes[sector..sector + SECTOR]);
            }
        }
        if let Some(DiskOp::Write { segment, offset, chunks }) = job.ops.get(done) {
            let bytes = chunks.concat();
            let prefix = rng.usize(..=bytes.len());
            self.write(*segment, usize::try_from(*offset).expect("small"), &bytes[..prefix]);
        }
    }

    /// What is left after the server's life ended like this.
    pub(crate) fn cut(&mut self, rng: &mut Rng, cut: Cut) {
        if cut == Cut::Kill {
            return;
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
    }
}

fn no_space() -> DiskFault {
    DiskFault { kind: FaultKind::NoSpace, text: "virtual disk full".into() }
}

impl File {
    fn keep(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR).min(self.cache.len());
        let range = sector * SECTOR..end;
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
