//! From what lies on the disk to a broker: the log read in order and folded into the queues.
//!
//! Invariants: replay uses the engine's own transitions; reading the same files twice gives the same queues; a record that this version does not understand
//! stops the start, it is never skipped. Must not: touch files; the shell reads them.

use alloc::string::ToString;
use core::fmt;

use bytes::Bytes;
use kqueue_engine::{Engine, Now, Record, RecordBuf, RecordError, Recorder, Seq};
use kqueue_journal::{
    ConfigError, RawRecord, Recovery, RecoveryError, Report, SegmentHeader, Writer, WriterConfig,
};

use crate::broker::{Broker, BrokerConfig, Damage};
use crate::log::Log;

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
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery(error) => error.fmt(f),
            Self::Record { segment, offset, error } => write!(
                f,
                "segment {segment:016x}, byte {offset}: {error}; was it written by a newer version?"
            ),
        }
    }
}

impl core::error::Error for BootError {}

impl From<RecoveryError> for BootError {
    fn from(error: RecoveryError) -> Self {
        Self::Recovery(error)
    }
}

/// A broker in the making. Give it every segment in order, then [`Boot::finish`].
#[derive(Debug)]
pub struct Boot {
    config: BrokerConfig,
    engine: Engine,
    writer: Writer,
    recovery: Recovery,
}

impl Boot {
    /// Begins with an empty log. `salt_seed` must be random and new for every start.
    ///
    /// # Errors
    /// [`ConfigError`] if the sizes cannot work.
    pub fn new(
        config: BrokerConfig,
        sizes: WriterConfig,
        salt_seed: u64,
    ) -> Result<Self, ConfigError> {
        let engine = Engine::new(config.table.clone(), config.max_open_transactions);
        let writer = Writer::new(sizes, salt_seed)?;
        Ok(Self { config, engine, writer, recovery: Recovery::new() })
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
        self.writer.recover_segment(header.segment, first_seq, file.len() as u64);
        let Self { engine, writer, recovery, .. } = self;
        let mut failed = None;
        recovery.segment(header, file, next, &mut |raw| {
            if failed.is_none()
                && let Err(error) = apply(engine, writer, &raw)
            {
                failed =
                    Some(BootError::Record { segment: raw.segment, offset: raw.offset, error });
            }
        })?;
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
        self.recovery.unreadable_segment(segment, file_bytes, next)?;
        Ok(())
    }

    /// Every segment was read.
    pub fn finish(self, now: Now) -> (Broker, Report) {
        let Self { config, mut engine, mut writer, recovery } = self;
        let report = recovery.finish();
        writer.recover_end(&report);
        engine.finish_replay(&mut References(&mut writer));
        let mut damage = Damage {
            torn_tails: u64::from(report.torn_tail_bytes > 0),
            torn_tail_bytes: report.torn_tail_bytes,
            ..Damage::default()
        };
        for gap in report.gaps.iter().filter(|gap| gap.is_loss()) {
            damage.damaged += 1;
            damage.damaged_bytes += gap.bytes;
        }
        (Broker::new(now, config, engine, Log::new(writer), damage), report)
    }
}

fn apply(engine: &mut Engine, writer: &mut Writer, raw: &RawRecord<'_>) -> Result<(), RecordError> {
    let record = RecordBuf::decode(raw.kind, raw.meta)?;
    let references = record.references();
    if references > 0 {
        writer.add_ref(raw.seq, references, (raw.meta.len() + raw.body.len()) as u64);
    }
    let body = Bytes::copy_from_slice(raw.body);
    engine.replay(Seq(raw.seq.0), record, &body, raw.body_crc, &mut References(writer));
    Ok(())
}

/// The journal during replay: references go, nothing is appended.
struct References<'a>(&'a mut Writer);

impl Recorder for References<'_> {
    fn next_seq(&self) -> Seq {
        Seq(self.0.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Seq {
        unreachable!("replay records nothing, but tried: {}", record.kind().to_string())
    }

    fn unref(&mut self, seq: Seq) {
        self.0.unref(kqueue_journal::Seq(seq.0));
    }
}
