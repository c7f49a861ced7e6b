//! From what lies on the disk to a broker: the log read in order and folded into the queues.
//!
//! Reading begins at the last checkpoint. If something between there and the end is lost, it has to be done again from the oldest segment on ([`Mode::Everything`]):
//! what a lost record would have said to be gone may then come again, but nothing readable is withheld.
//! Invariants: replay uses the engine's own transitions; reading the same files twice gives the same queues; a record that this version does not understand
//! stops the start, it is never skipped. Must not: touch files; the shell reads them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use kqueue_engine::{Engine, ItemId, Now, RecordBuf, RecordError, Seq};
use kqueue_journal::{
    ConfigError, Gap, KIND_CHECKPOINT_END, KIND_FREED, KIND_SEGMENT, RawRecord, Recovery,
    RecoveryError, Report, SegmentHeader, SegmentRecord, Start, Superblock, VERSION, Verdict,
    Writer, WriterConfig, decode_number, segment_file_name,
};

use crate::broker::{Broker, BrokerConfig, Damage};
use crate::log::{Log, References, share_of};

/// Why the log cannot be taken over. Nothing has been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The segments are not one log.
    Recovery(RecoveryError),
    /// A sound record that this version cannot understand.
    Record {
        /// Number of the segment.
        segment: u64,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// A segment that holds live items is not there.
    Missing {
        /// Number of the segment.
        segment: u64,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery(error) => error.fmt(f),
            Self::Record { segment, offset, error } => write!(
                f,
                "{} byte {offset}: {error}; was it written by a newer version?",
                segment_file_name(*segment)
            ),
            Self::Missing { segment } => {
                write!(
                    f,
                    "{} is missing; it holds items that were not consumed",
                    segment_file_name(*segment)
                )
            }
        }
    }
}

impl core::error::Error for BootError {}

impl From<RecoveryError> for BootError {
    fn from(error: RecoveryError) -> Self {
        Self::Recovery(error)
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// At a checkpoint, or at the beginning of a log without one.
    Checkpoint,
    /// At the oldest segment that there is, whatever is missing.
    Everything,
}

/// A broker in the making. Give it every segment from [`Boot::first_segment`] on in order, then [`Boot::finish`].
#[derive(Debug)]
pub struct Boot {
    config: BrokerConfig,
    engine: Engine,
    writer: Writer,
    recovery: Recovery,
    mode: Mode,
    superblock: Superblock,
    /// Salts of the segments that are there and are not read.
    data: BTreeMap<u64, u64>,
    /// Segments that should be there and are not.
    missing: BTreeSet<u64>,
    /// First and last record of each checkpoint whose states count.
    checkpoints: Vec<(u64, u64)>,
    /// Of the segment that was read last.
    rest: Option<Rest>,
}

/// What checkpoints anywhere in the log tell of segments: to be made before everything is read.
#[derive(Debug, Default)]
pub struct Survey {
    ends: BTreeMap<u64, u64>,
    /// First and last record of each.
    checkpoints: Vec<(u64, u64)>,
}

impl Survey {
    /// The first sequence number behind a segment, for [`Recovery::with_holes`].
    pub fn ends(self) -> BTreeMap<u64, u64> {
        self.ends
    }

    /// Reads a segment; in any order.
    pub fn segment(&mut self, header: &SegmentHeader, file: &[u8]) {
        let Self { ends, checkpoints } = self;
        // What cannot be read is found and told when it is replayed.
        let _ =
            Recovery::with_holes(BTreeMap::new()).segment(header, file, None, &mut |raw| match raw
                .kind
            {
                KIND_SEGMENT => ends.extend(
                    SegmentRecord::decode(raw.meta)
                        .filter(|record| record.end_seq < u64::MAX)
                        .map(|record| (record.number, record.end_seq)),
                ),
                KIND_CHECKPOINT_END => {
                    checkpoints.extend(decode_number(raw.meta).map(|begun| (begun, raw.seq.0)));
                }
                _ => {}
            });
    }
}

/// A broker, and what was found out on the way.
#[derive(Debug)]
pub struct Booted {
    /// Ready to work.
    pub broker: Broker,
    /// What was read.
    pub report: Report,
    /// Where the log ends, if it can go on there for want of space, see [`Broker::go_on_in_last`].
    pub rest: Option<Rest>,
}

/// The unused rest of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Number of the segment.
    pub segment: u64,
    /// First byte in its file that holds nothing of the log.
    pub offset: u64,
}

impl Boot {
    /// Begins at the checkpoint that the superblock names. `salt_seed` must be random and new for every start. `data`: number and salt of the
    /// segments before [`Boot::first_segment`] that are there.
    ///
    /// # Errors
    /// [`ConfigError`] if the sizes cannot work.
    pub fn from_checkpoint(
        config: BrokerConfig,
        sizes: WriterConfig,
        salt_seed: u64,
        superblock: Superblock,
        data: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<Self, ConfigError> {
        let mut boot = Self::new(config, sizes, salt_seed, Mode::Checkpoint)?;
        if superblock.start.segment > 0 {
            boot.recovery = Recovery::from_checkpoint(superblock.start);
        }
        boot.superblock = superblock;
        boot.data = data.into_iter().collect();
        Ok(boot)
    }

    /// Begins at the oldest segment that there is. `superblock`: what is known of it, if anything. `survey`: all segments.
    ///
    /// # Errors
    /// As [`Boot::from_checkpoint`].
    pub fn from_everything(
        config: BrokerConfig,
        sizes: WriterConfig,
        salt_seed: u64,
        superblock: Superblock,
        survey: Survey,
    ) -> Result<Self, ConfigError> {
        let mut boot = Self::new(config, sizes, salt_seed, Mode::Everything)?;
        boot.recovery = Recovery::with_holes(survey.ends);
        boot.checkpoints = survey.checkpoints;
        // Nothing may go before there is a checkpoint that can be read.
        boot.superblock = Superblock { start: Start::EVERYTHING, ..superblock };
        Ok(boot)
    }

    fn new(
        config: BrokerConfig,
        sizes: WriterConfig,
        salt_seed: u64,
        mode: Mode,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            engine: Engine::new(config.table.clone(), config.limits),
            writer: Writer::new(sizes, salt_seed)?,
            recovery: Recovery::new(),
            config,
            mode,
            superblock: Superblock::default(),
            data: BTreeMap::new(),
            missing: BTreeSet::new(),
            checkpoints: Vec::new(),
            rest: None,
        })
    }

    /// The number of the segment at which reading begins; 0: whatever is the first one.
    pub fn first_segment(&self) -> u64 {
        self.superblock.start.segment
    }

    /// Reads a segment: `file` is all of it, `next` the header of the one that follows.
    ///
    /// # Errors
    /// [`BootError`]; the start has to be given up then.
    pub fn segment(
        &mut self,
        header: &SegmentHeader,
        file: &[u8],
        next: Option<&SegmentHeader>,
    ) -> Result<(), BootError> {
        let first_seq = kqueue_journal::Seq(header.first_seq);
        self.writer.recover_segment(header.segment, first_seq, header.salt, file.len() as u64);
        self.engine.keep_all(header.version == 1);
        let mut replay = Replay {
            engine: &mut self.engine,
            writer: &mut self.writer,
            mode: self.mode,
            data: &self.data,
            missing: &mut self.missing,
            start: self.superblock.start.checkpoint_seq,
            // Without a checkpoint no segment has been removed yet.
            keeps_old: self.mode == Mode::Everything || self.superblock.start.segment == 0,
            checkpoints: &mut self.checkpoints,
        };
        let mut failed = None;
        let end = self.recovery.segment(header, file, next, &mut |raw| {
            if failed.is_none()
                && let Err(error) = replay.apply(&raw)
            {
                failed =
                    Some(BootError::Record { segment: raw.segment, offset: raw.offset, error });
            }
        })?;
        let is_whole = header.version == VERSION && !header.is_damaged;
        self.rest = is_whole.then_some(Rest { segment: header.segment, offset: end.used_bytes });
        self.writer.recover_read(end);
        failed.map_or(Ok(()), Err)
    }

    /// Goes past a segment whose header cannot be read; see [`Recovery::unreadable_segment`].
    ///
    /// # Errors
    /// [`BootError`].
    pub fn unreadable_segment(
        &mut self,
        segment: u64,
        file_bytes: u64,
        next: Option<&SegmentHeader>,
    ) -> Result<(), BootError> {
        self.writer.recover_segment(segment, self.recovery.next_seq(), 0, file_bytes);
        self.recovery.unreadable_segment(segment, file_bytes, next)?;
        self.rest = None;
        Ok(())
    }

    /// Every segment was read. `None`: something was lost behind the checkpoint; everything has to be read, with [`Boot::from_everything`].
    ///
    /// # Errors
    /// [`BootError::Missing`].
    pub fn finish(self, now: Now) -> Result<Option<Booted>, BootError> {
        let Self { config, mut engine, mut writer, recovery, mode, superblock, .. } = self;
        let report = recovery.finish();
        let is_partial = mode == Mode::Checkpoint && superblock.start.segment > 0;
        let end = self.checkpoints.first().map_or(u64::MAX, |(_, end)| *end);
        // What was never synced is no loss for what is behind it: see `Replay`.
        let is_bad = |gap: &Gap| {
            let is_body = matches!(gap.verdict, Verdict::DamagedBody { .. });
            gap.is_loss() && !is_body && (gap.was_synced || gap.first_seq.0 <= end)
        };
        let is_bad = report.gaps.iter().any(is_bad);
        // What says that a segment went may be among what was lost.
        let is_unsure = !self.missing.is_empty() && report.gaps.iter().any(Gap::is_loss);
        if is_partial && (end == u64::MAX || is_bad || is_unsure) {
            return Ok(None);
        }
        if let Some(&segment) = self.missing.first() {
            return Err(BootError::Missing { segment });
        }
        let known: BTreeSet<u64> = writer.segments().map(|segment| segment.segment).collect();
        let stale: Vec<u64> =
            self.data.into_keys().filter(|number| !known.contains(number)).collect();
        writer.recover_end(&report, superblock);
        stale.into_iter().for_each(|segment| writer.free_stale(segment));
        engine.finish_replay(&mut References(&mut writer));
        engine.ids_above(first_id(&writer.superblock()));
        let mut damage = Damage {
            torn_tails: u64::from(report.torn_tail_bytes > 0),
            torn_tail_bytes: report.torn_tail_bytes,
            ..Damage::default()
        };
        for gap in report.gaps.iter().filter(|gap| gap.is_loss()) {
            damage.damaged += 1;
            damage.damaged_bytes += gap.bytes;
        }
        let broker = Broker::new(now, config, engine, Log::new(writer), damage);
        let is_torn_only = |rest: &Rest| {
            let mut there = report.gaps.iter().filter(|gap| gap.segment == rest.segment);
            there.all(|gap| gap.verdict == Verdict::TornTail)
        };
        let rest = self.rest.filter(is_torn_only);
        Ok(Some(Booted { broker, report, rest }))
    }
}

/// What a record is applied to.
struct Replay<'a> {
    engine: &'a mut Engine,
    writer: &'a mut Writer,
    mode: Mode,
    data: &'a BTreeMap<u64, u64>,
    missing: &'a mut BTreeSet<u64>,
    /// Records before this one are passed over.
    start: u64,
    keeps_old: bool,
    checkpoints: &'a mut Vec<(u64, u64)>,
}

impl Replay<'_> {
    fn apply(&mut self, raw: &RawRecord<'_>) -> Result<(), RecordError> {
        if self.mode == Mode::Checkpoint && raw.seq.0 < self.start {
            return Ok(());
        }
        // Of items that were written again some may be missing: all stay where they were. Their segments are there: none goes before what says so is synced.
        self.engine.keep_old(self.keeps_old || raw.behind_loss);
        if raw.follows_loss {
            self.engine.note_loss();
        }
        match raw.kind {
            KIND_SEGMENT | KIND_FREED | KIND_CHECKPOINT_END => {
                let malformed = RecordError::Malformed { kind: raw.kind };
                self.apply_own(raw).ok_or(malformed)
            }
            _ => self.apply_record(raw),
        }
    }

    /// Whether a state counts. One behind a loss in its segment may name records that a power cut took, while what they replaced is there.
    fn is_believed(&self, raw: &RawRecord<'_>) -> bool {
        let may_name_lost = self.mode == Mode::Everything && raw.behind_loss;
        self.is_in_checkpoint(raw.seq.0) && !may_name_lost
    }

    /// Whether states count: only those of a whole checkpoint do. Of one that did not get to its end, items may be missing that were put before.
    fn is_in_checkpoint(&self, seq: u64) -> bool {
        match self.mode {
            // The one at which reading began, up to its end.
            Mode::Checkpoint => self.start > 0 && self.checkpoints.is_empty(),
            Mode::Everything => {
                self.checkpoints.iter().any(|(begun, end)| (*begun..=*end).contains(&seq))
            }
        }
    }

    fn apply_own(&mut self, raw: &RawRecord<'_>) -> Option<()> {
        // Whoever reads everything knows the segments from the segments, and checkpoints from a survey.
        let is_partial = self.mode == Mode::Checkpoint;
        match raw.kind {
            KIND_SEGMENT => {
                let record = SegmentRecord::decode(raw.meta)?;
                if is_partial && self.is_in_checkpoint(raw.seq.0) {
                    self.take_over(record);
                }
            }
            KIND_FREED => {
                let number = decode_number(raw.meta)?;
                if is_partial && !raw.behind_loss {
                    self.missing.remove(&number);
                    self.writer.recover_freed(number);
                }
            }
            _ => {
                let begun = decode_number(raw.meta)?;
                if is_partial && begun == self.start {
                    self.checkpoints.push((begun, raw.seq.0));
                }
            }
        }
        Some(())
    }

    fn take_over(&mut self, record: SegmentRecord) {
        let number = record.number;
        let salt = self.data.get(&number).copied();
        if self.writer.recover_data_segment(record, salt.unwrap_or(0)) && salt.is_none() {
            self.missing.insert(number);
        }
    }

    fn apply_record(&mut self, raw: &RawRecord<'_>) -> Result<(), RecordError> {
        let record = RecordBuf::decode(raw.kind, raw.meta)?;
        let is_state = matches!(record, RecordBuf::QueueState { .. } | RecordBuf::Keys { .. });
        if is_state && !self.is_believed(raw) {
            return Ok(());
        }
        let references = record.references();
        let share = share_of(raw.meta.len(), raw.body.len(), references);
        if references > 0 {
            let refs = u64::from(references);
            self.writer.add_ref(raw.seq, refs, refs * u64::from(share));
        }
        let body = Bytes::copy_from_slice(raw.body);
        let seq = Seq(raw.seq.0);
        let mut references = References(self.writer);
        self.engine
            .replay(seq, record, &body, raw.body_crc, share, &mut references)
            .map_err(|_| RecordError::Malformed { kind: raw.kind })
    }
}

/// Ids up to this one may have been used, whether or not their items ever came to the disk: every run has a number of its own ([`Broker::begin_run`]), and what is
/// not written when a run ends is far less than 2^32 items.
fn first_id(superblock: &Superblock) -> ItemId {
    let run = superblock.generation.saturating_add(1);
    ItemId(run.min(u64::from(u32::MAX) >> 1) << 32)
}
