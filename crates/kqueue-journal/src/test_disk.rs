//! A disk for tests: files in memory, and what a power cut may do to them; and a start, as the server does it.
//!
//! Invariant: `stable` is what is on the platter; what was written since the last sync is in `files` too, block by block of 512 bytes, and any subset of
//! it may survive. The superblock likewise.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use crate::{
    DiskFault, DiskOp, FaultKind, Gap, Job, KIND_CHECKPOINT_END, KIND_FREED, KIND_SEGMENT,
    RawRecord, Recovery, RecoveryError, Report, SLOT_BYTES, SegmentHeader, SegmentRecord, Seq,
    Start, SuperState, Superblock, Writer, WriterConfig, decode_number, parse_header,
};

pub(crate) const BLOCK: usize = 512;
/// Files that are removed beyond so many spares are not kept.
const SPARES_MAX: usize = 2;

pub(crate) type Files = BTreeMap<u64, Vec<u8>>;

#[derive(Clone, Debug)]
pub(crate) struct TestDisk {
    /// As a process that lives sees them.
    pub(crate) files: Files,
    pub(crate) stable: Files,
    /// Both slots.
    pub(crate) superblock: Vec<u8>,
    pub(crate) stable_superblock: Vec<u8>,
    /// Every operation, in order.
    pub(crate) ops: Vec<DiskOp>,
    pub(crate) segment_bytes: usize,
    /// What becomes of them is what the next segments hold.
    pub(crate) spares: Vec<Vec<u8>>,
    /// No further file can be made.
    pub(crate) is_full: bool,
}

impl TestDisk {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self {
            files: Files::new(),
            stable: Files::new(),
            superblock: Superblock::first_file(),
            stable_superblock: Superblock::first_file(),
            ops: Vec::new(),
            segment_bytes: segment_bytes as usize,
            spares: Vec::new(),
            is_full: false,
        }
    }

    pub(crate) fn run(&mut self, job: &Job) -> Result<(), DiskFault> {
        for op in &job.ops {
            self.run_op(op)?;
            self.ops.push(op.clone());
        }
        Ok(())
    }

    pub(crate) fn run_op(&mut self, op: &DiskOp) -> Result<(), DiskFault> {
        match op {
            DiskOp::Prepare { spares } => {
                while self.spares.len() < *spares {
                    if self.is_full {
                        return Err(no_space());
                    }
                    self.spares.push(vec![0; self.segment_bytes]);
                }
            }
            DiskOp::Create { segment, header } => {
                let mut file = match self.spares.pop() {
                    None if self.is_full => return Err(no_space()),
                    spare => spare.unwrap_or_default(),
                };
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
            DiskOp::WriteSuper { slot, bytes } => {
                self.superblock[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(bytes);
                self.stable_superblock = self.superblock.clone();
            }
            DiskOp::Sync { segment } | DiskOp::Flush { segment } => {
                self.stable.insert(*segment, self.files[segment].clone());
            }
            DiskOp::Remove { segment } => {
                self.stable.remove(segment);
                // Recycled: a later segment gets this file with what it holds.
                let gone = self.files.remove(segment);
                self.spares.extend(gone.filter(|_| self.spares.len() < SPARES_MAX));
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
    pub(crate) fn power_cut(&self, survivors: &[(u64, usize)]) -> Files {
        let mut files = self.stable.clone();
        for &(segment, at) in survivors {
            let (from, to) = (&self.files[&segment], files.get_mut(&segment).unwrap());
            let end = (at + BLOCK).min(from.len());
            to[at..end].copy_from_slice(&from[at..end]);
        }
        files
    }

    /// The superblock that counts.
    pub(crate) fn known(&self) -> Superblock {
        match Superblock::read(&self.superblock) {
            SuperState::Sound(known) | SuperState::OneSlot(known) => known,
            state => panic!("{state:?}"),
        }
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

impl Kept {
    pub(crate) fn of(record: &RawRecord<'_>) -> Self {
        let (meta, body) = (record.meta.to_vec(), record.body.to_vec());
        Self { seq: record.seq.0, kind: record.kind, meta, body }
    }
}

pub(crate) fn headers_of(files: &Files) -> Vec<SegmentHeader> {
    files.values().map(|file| parse_header(file).expect("a sound header")).collect()
}

/// Reads a whole log without a superblock; the journal's own records are left out.
pub(crate) fn recover(files: &Files) -> (Vec<Kept>, Report) {
    let headers = headers_of(files);
    let mut recovery = Recovery::new();
    let mut kept = Vec::new();
    for (index, file) in files.values().enumerate() {
        let mut deliver = |record: RawRecord<'_>| {
            assert_eq!(crc32fast::hash(record.body), record.body_crc);
            assert_eq!(&file[record.body_offset as usize..][..record.body.len()], record.body);
            if record.kind < KIND_CHECKPOINT_END {
                kept.push(Kept::of(&record));
            }
        };
        recovery
            .segment(&headers[index], file, headers.get(index + 1), &mut deliver)
            .expect("one log");
    }
    (kept, recovery.finish())
}

/// A writer that goes on behind what recovery found in these files, which had no checkpoint.
pub(crate) fn reopen(config: WriterConfig, seed: u64, files: &Files) -> Writer {
    boot(config, seed, files, &Superblock::first_file(), &mut |_, _| {}).writer
}

/// What a start gave.
pub(crate) struct Booted {
    pub(crate) writer: Writer,
    pub(crate) report: Report,
    /// Not from a checkpoint, for something was lost behind it.
    pub(crate) is_everything: bool,
}

/// What happens to whoever knows what the records mean: `None` when reading begins (anew).
pub(crate) type Apply<'a> = &'a mut dyn FnMut(&mut Writer, Option<&RawRecord<'_>>);

/// Reads a log as the server does at start.
pub(crate) fn boot(
    config: WriterConfig,
    seed: u64,
    files: &Files,
    superblock: &[u8],
    apply: Apply<'_>,
) -> Booted {
    let state = Superblock::read(superblock);
    let (SuperState::Sound(known) | SuperState::OneSlot(known)) = state else {
        panic!("the superblock is {state:?}")
    };
    assert!(files.keys().last().copied().unwrap_or(0) >= known.newest_segment, "{known:?}");
    if known.start != Start::EVERYTHING {
        match from_checkpoint(config, seed, files, known, apply) {
            Ok(Some(booted)) => return booted,
            Ok(None) => {}
            Err(error) => {
                assert!(matches!(state, SuperState::OneSlot(_)), "{error:?} with {known:?}");
            }
        }
    }
    from_everything(config, seed, files, known, apply)
}

/// `None` if something is lost behind the checkpoint.
pub(crate) fn from_checkpoint(
    config: WriterConfig,
    seed: u64,
    files: &Files,
    known: Superblock,
    apply: Apply<'_>,
) -> Result<Option<Booted>, RecoveryError> {
    let start = known.start.segment;
    let mut recovery = match start {
        0 => Recovery::new(),
        _ => Recovery::from_checkpoint(known.start),
    };
    let salts: BTreeMap<u64, u64> = headers_of(files)
        .iter()
        .filter(|header| header.segment < start)
        .map(|header| (header.segment, header.salt))
        .collect();
    let mut writer = Writer::new(config, seed).unwrap();
    let mut missing = Vec::new();
    apply(&mut writer, None);
    read_from(files, start, &mut writer, &mut recovery, &mut |writer, record| match record.kind {
        _ if record.seq.0 < known.start.checkpoint_seq => {}
        KIND_SEGMENT => {
            let described = SegmentRecord::decode(record.meta).unwrap();
            let number = described.number;
            let salt = salts.get(&number).copied();
            if writer.recover_data_segment(described, salt.unwrap_or(0)) && salt.is_none() {
                missing.push(number);
            }
        }
        KIND_FREED => {
            let number = decode_number(record.meta).unwrap();
            missing.retain(|missing| *missing != number);
            writer.recover_freed(number);
        }
        KIND_CHECKPOINT_END => assert!(decode_number(record.meta).unwrap() > 0),
        _ => apply(writer, Some(record)),
    })?;
    let report = recovery.finish();
    if start > 0 && report.gaps.iter().any(Gap::is_loss) {
        return Ok(None);
    }
    assert_eq!(missing, [], "segments that are needed are gone");
    let found: Vec<u64> = writer.segments().map(|segment| segment.segment).collect();
    writer.recover_end(&report, known);
    for &number in salts.keys().filter(|number| !found.contains(number)) {
        writer.free_stale(number);
    }
    Ok(Some(Booted { writer, report, is_everything: false }))
}

/// Whatever is missing.
pub(crate) fn from_everything(
    config: WriterConfig,
    seed: u64,
    files: &Files,
    known: Superblock,
    apply: Apply<'_>,
) -> Booted {
    let mut recovery = Recovery::with_holes(survey(files));
    let mut writer = Writer::new(config, seed).unwrap();
    apply(&mut writer, None);
    read_from(files, 0, &mut writer, &mut recovery, &mut |writer, record| {
        if record.kind < KIND_CHECKPOINT_END {
            apply(writer, Some(record));
        }
    })
    .expect("one log, with holes");
    let report = recovery.finish();
    writer.recover_end(&report, Superblock { start: Start::EVERYTHING, ..known });
    Booted { writer, report, is_everything: true }
}

/// The ends of segments, as checkpoints anywhere in the log tell them.
pub(crate) fn survey(files: &Files) -> BTreeMap<u64, u64> {
    let mut ends = BTreeMap::new();
    for (header, file) in headers_of(files).iter().zip(files.values()) {
        let mut recovery = Recovery::with_holes(BTreeMap::new());
        let mut deliver = |record: RawRecord<'_>| {
            if record.kind == KIND_SEGMENT {
                let described = SegmentRecord::decode(record.meta).unwrap();
                if described.end_seq < u64::MAX {
                    ends.insert(described.number, described.end_seq);
                }
            }
        };
        recovery.segment(header, file, None, &mut deliver).unwrap();
    }
    ends
}

fn read_from(
    files: &Files,
    start: u64,
    writer: &mut Writer,
    recovery: &mut Recovery,
    deliver: &mut dyn FnMut(&mut Writer, &RawRecord<'_>),
) -> Result<(), RecoveryError> {
    let headers = headers_of(files);
    for (index, (header, file)) in headers.iter().zip(files.values()).enumerate() {
        if header.segment < start {
            continue;
        }
        let (first_seq, bytes) = (Seq(header.first_seq), file.len() as u64);
        writer.recover_segment(header.segment, first_seq, header.salt, bytes);
        let mut each = |record: RawRecord<'_>| deliver(writer, &record);
        let end = recovery.segment(header, file, headers.get(index + 1), &mut each)?;
        writer.recover_read(end);
    }
    Ok(())
}

/// A whole checkpoint in one go, without anything in it but the journal's own records; not yet written.
pub(crate) fn checkpoint(writer: &mut Writer) {
    writer.begin_checkpoint();
    let mut from = Some(0);
    while let Some(number) = from {
        from = writer.checkpoint_segments(number);
    }
    writer.end_checkpoint();
}

pub(crate) fn config(segment_bytes: u64) -> WriterConfig {
    WriterConfig {
        segment_bytes,
        log_cap_bytes: 4 * segment_bytes,
        max_record_bytes: segment_bytes / 2,
        flush_bytes: u64::MAX,
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
