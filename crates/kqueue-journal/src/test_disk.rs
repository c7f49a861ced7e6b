//! A disk for tests: files in memory, and what a power cut may do to them.
//!
//! Invariant: `stable` is what is on the platter; what was written since the last sync is in `cache` too, block by block of 512 bytes, and any subset of
//! it may survive.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use crate::{
    DiskFault, DiskOp, FaultKind, Gap, Job, Recovery, Report, Seq, Writer, WriterConfig,
    parse_header,
};

pub(crate) const BLOCK: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct TestDisk {
    /// As a process that lives sees them.
    pub(crate) files: BTreeMap<u64, Vec<u8>>,
    pub(crate) stable: BTreeMap<u64, Vec<u8>>,
    /// Every operation, in order.
    pub(crate) ops: Vec<DiskOp>,
    pub(crate) segment_bytes: usize,
    /// Fresh files hold this, as recycled ones do.
    pub(crate) garbage: Option<Vec<u8>>,
    pub(crate) is_full: bool,
}

impl TestDisk {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes: segment_bytes as usize, ..Self::default() }
    }

    pub(crate) fn run(&mut self, job: &Job) -> Result<(), DiskFault> {
        for op in &job.ops {
            self.run_op(op)?;
            self.ops.push(op.clone());
        }
        Ok(())
    }

    fn run_op(&mut self, op: &DiskOp) -> Result<(), DiskFault> {
        match op {
            DiskOp::Prepare | DiskOp::Create { .. } if self.is_full => return Err(no_space()),
            DiskOp::Prepare | DiskOp::Read { .. } => {}
            DiskOp::Create { segment, header } => {
                let mut file = self.garbage.clone().unwrap_or_default();
                file.resize(self.segment_bytes, 0);
                file[..header.len()].copy_from_slice(header);
                assert!(self.files.insert(*segment, file.clone()).is_none(), "created twice");
                self.stable.insert(*segment, file);
            }
            DiskOp::Write { segment, offset, chunks } => {
                let file = self.files.get_mut(segment).expect("written before it was created");
                let mut at = *offset as usize;
                for chunk in chunks {
                    file[at..at + chunk.len()].copy_from_slice(chunk);
                    at += chunk.len();
                }
            }
            DiskOp::Sync { segment } => {
                self.stable.insert(*segment, self.files[segment].clone());
            }
            DiskOp::Remove { segment } => {
                // Recycled: the next segment gets this file with what it holds.
                self.garbage = self.files.remove(segment).or(self.garbage.take());
                self.stable.remove(segment);
            }
        }
        Ok(())
    }

    /// Runs jobs until there is none.
    pub(crate) fn drain(&mut self, writer: &mut Writer, now_ms: u64) {
        while let Some(job) = writer.poll_job(now_ms) {
            let result = self.run(&job);
            writer.handle_done(now_ms, job.id, result);
        }
    }

    /// Blocks that a power cut may lose, as (segment, byte in the file).
    pub(crate) fn unsynced_blocks(&self) -> Vec<(u64, usize)> {
        let mut blocks = Vec::new();
        for (&segment, file) in &self.files {
            let stable = &self.stable[&segment];
            for at in (0..file.len()).step_by(BLOCK) {
                let end = (at + BLOCK).min(file.len());
                if file[at..end] != stable[at..end] {
                    blocks.push((segment, at));
                }
            }
        }
        blocks
    }

    /// What is there after a power cut that only the `survivors` among the unsynced blocks outlived.
    pub(crate) fn power_cut(&self, survivors: &[(u64, usize)]) -> BTreeMap<u64, Vec<u8>> {
        let mut files = self.stable.clone();
        for &(segment, at) in survivors {
            let (from, to) = (&self.files[&segment], files.get_mut(&segment).unwrap());
            let end = (at + BLOCK).min(from.len());
            to[at..end].copy_from_slice(&from[at..end]);
        }
        files
    }
}

pub(crate) fn no_space() -> DiskFault {
    DiskFault { kind: FaultKind::NoSpace, text: "no space left".into() }
}

pub(crate) fn io_fault() -> DiskFault {
    DiskFault { kind: FaultKind::Io, text: "input/output error".into() }
}

/// A record that recovery delivered, or that was appended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    pub(crate) seq: u64,
    pub(crate) kind: u8,
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Reads a whole log as the server does at start.
pub(crate) fn recover(files: &BTreeMap<u64, Vec<u8>>) -> (Vec<Kept>, Report) {
    let headers: Vec<_> =
        files.values().map(|file| parse_header(file).expect("a sound header")).collect();
    let mut recovery = Recovery::new();
    let mut kept = Vec::new();
    for (index, file) in files.values().enumerate() {
        let mut deliver = |record: crate::RawRecord<'_>| {
            assert_eq!(crc32fast::hash(record.body), record.body_crc);
            assert_eq!(&file[record.body_offset as usize..][..record.body.len()], record.body);
            kept.push(Kept {
                seq: record.seq.0,
                kind: record.kind,
                meta: record.meta.to_vec(),
                body: record.body.to_vec(),
            });
        };
        recovery
            .segment(&headers[index], file, headers.get(index + 1), &mut deliver)
            .expect("one log");
    }
    (kept, recovery.finish())
}

/// A writer that goes on behind what recovery found in these files.
pub(crate) fn reopen(config: WriterConfig, seed: u64, files: &BTreeMap<u64, Vec<u8>>) -> Writer {
    let (_, report) = recover(files);
    let mut writer = Writer::new(config, seed).unwrap();
    for file in files.values() {
        let header = parse_header(file).unwrap();
        writer.recover_segment(header.segment, Seq(header.first_seq), file.len() as u64);
    }
    writer.recover_end(&report);
    writer
}

pub(crate) fn config(segment_bytes: u64) -> WriterConfig {
    WriterConfig {
        segment_bytes,
        log_cap_bytes: 4 * segment_bytes,
        max_record_bytes: segment_bytes / 2,
    }
}

/// A record whose content follows from `tag`, so that two never look alike.
pub(crate) fn append(writer: &mut Writer, tag: u64, body_bytes: usize) -> Kept {
    let kind = (tag % 7) as u8;
    let meta = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().to_vec();
    let body: Vec<u8> =
        meta.iter().cycle().zip(1u8..=255).map(|(a, b)| a ^ b).cycle().take(body_bytes).collect();
    let crc = crc32fast::hash(&body);
    let shared = Bytes::from(body.clone());
    let seq = writer.append(kind, &meta, (body_bytes > 0).then_some(&shared), crc);
    Kept { seq: seq.0, kind, meta, body }
}

/// A small log of one segment: batches of these numbers of records, each synced but perhaps the last.
pub(crate) struct Small {
    pub(crate) disk: TestDisk,
    pub(crate) batches: Vec<Vec<Kept>>,
    /// Where each batch ends in the file.
    pub(crate) ends: Vec<usize>,
}

pub(crate) fn small_log(sizes: &[usize], is_last_synced: bool) -> Small {
    let config = config(64 * 1024);
    let mut writer = Writer::new(config, 7).unwrap();
    let mut disk = TestDisk::new(config.segment_bytes);
    let (mut batches, mut ends, mut tag) = (vec![], vec![], 0);
    for (index, &size) in sizes.iter().enumerate() {
        let mut batch = Vec::new();
        for _ in 0..size {
            tag += 1;
            batch.push(append(&mut writer, tag, (tag as usize * 37) % 190));
        }
        if is_last_synced || index + 1 < sizes.len() {
            writer.require_sync(0, 0);
        }
        disk.drain(&mut writer, 0);
        let Some(DiskOp::Write { offset, chunks, .. }) =
            disk.ops.iter().rfind(|op| matches!(op, DiskOp::Write { .. }))
        else {
            panic!("nothing written");
        };
        ends.push(*offset as usize + chunks.iter().map(Bytes::len).sum::<usize>());
        batches.push(batch);
    }
    Small { disk, batches, ends }
}

pub(crate) fn lost(gaps: &[Gap]) -> u64 {
    gaps.iter().filter(|gap| gap.is_loss()).map(|gap| gap.missing).sum()
}
