//! Takes over a data directory: lock, recovery, report.
//!
//! Invariants: nothing in the directory is changed unless the whole log could be read; what was damaged is copied to `quarantine/` before
//! the server accepts anything, and the segment itself is left as it is.
//! Must not: judge damage; the journal does.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kqueue_broker::{
    Boot, Broker, BrokerConfig, ConfigError, Gap, HEADER_BYTES, HeaderError, Report, SegmentHeader,
    Verdict, WriterConfig, parse_header, segment_file_name,
};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError, QUARANTINE};
use crate::disk::Disk;

/// What a record has besides its body, at most (its list of queues).
const META_BYTES_MAX: u64 = 64 * 1024;

/// A broker, and the disk on which its journal lies.
pub(crate) struct Booted {
    pub(crate) broker: Broker,
    pub(crate) disk: Disk,
    pub(crate) data_dir: DataDir,
}

/// Why the server could not start. Nothing in the directory has been changed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The configured sizes cannot work.
    #[error("journal.segment_size: {0}")]
    Sizes(#[from] ConfigError),
    /// A segment cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment of a format that this version does not know, or no segment at all.
    #[error("{path}: {error}. Nothing was changed; use the version of kqueue-server that wrote it")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: HeaderError,
    },
    /// The segments are not one log.
    #[error(
        "data_dir {path}: {error}. Nothing was changed; restore the missing files, or move all of them away to begin anew"
    )]
    Log {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        error: kqueue_broker::BootError,
    },
    /// What was damaged could not be copied aside.
    #[error("cannot copy damaged bytes to {path}: {source}")]
    Quarantine {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("cannot get random bytes for the journal: {0}")]
    Random(io::Error),
}

/// Reads the whole log and makes a broker of it.
pub(crate) fn boot(config: &Config, clock: Clock) -> Result<Booted, BootError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let segments = read_headers(&data_dir)?;
    let mut boot = Boot::new(broker_config(config), sizes(config), random_seed()?)?;
    for (index, segment) in segments.iter().enumerate() {
        let next = segments[index + 1..].iter().find_map(|later| later.header.as_ref());
        let file = fs::read(&segment.path).map_err(|source| read_error(&segment.path, source))?;
        let taken = match &segment.header {
            Some(header) => boot.segment(header, &file, next),
            None => boot.unreadable_segment(segment.number, file.len() as u64, next),
        };
        taken.map_err(|error| BootError::Log { path: data_dir.path.clone(), error })?;
    }
    let (broker, report) = boot.finish(clock.now());
    tell(&data_dir, &report, segments.len());
    quarantine(&data_dir.path, &report)?;
    let spares = usable_spares(&data_dir, config.segment_bytes);
    let disk = Disk::new(&data_dir.path, config.segment_bytes, spares);
    Ok(Booted { broker, disk, data_dir })
}

struct Segment {
    number: u64,
    path: PathBuf,
    /// `None`: both copies are damaged.
    header: Option<SegmentHeader>,
}

fn read_headers(data_dir: &DataDir) -> Result<Vec<Segment>, BootError> {
    let mut segments = Vec::with_capacity(data_dir.segments.len());
    for (number, path) in &data_dir.segments {
        let mut start = Vec::with_capacity(HEADER_BYTES);
        File::open(path)
            .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut start))
            .map_err(|source| read_error(path, source))?;
        let header = match parse_header(&start) {
            Ok(header) if header.segment == *number => Some(header),
            Err(error @ (HeaderError::Version { .. } | HeaderError::NotASegment)) => {
                return Err(BootError::Foreign { path: path.clone(), error });
            }
            Ok(_) | Err(_) => None,
        };
        segments.push(Segment { number: *number, path: path.clone(), header });
    }
    Ok(segments)
}

fn read_error(path: &Path, source: io::Error) -> BootError {
    BootError::Read { path: path.to_path_buf(), source }
}

fn broker_config(config: &Config) -> BrokerConfig {
    BrokerConfig {
        table: config.queues.clone(),
        max_open_transactions: config.max_open_transactions,
        max_item_size: config.max_item_size,
        sweep_every_ms: config
            .expiration_timer_frequency
            .map_or(0, |every| every.as_millis() as u64),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn sizes(config: &Config) -> WriterConfig {
    WriterConfig {
        segment_bytes: config.segment_bytes,
        log_cap_bytes: config.log_cap_bytes,
        max_record_bytes: config.max_item_size as u64 + META_BYTES_MAX,
    }
}

fn random_seed() -> Result<u64, BootError> {
    let mut seed = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(BootError::Random)?;
    Ok(u64::from_le_bytes(seed))
}

/// Spares of another length are of another configuration: they go.
fn usable_spares(data_dir: &DataDir, segment_bytes: u64) -> Vec<PathBuf> {
    let is_usable =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() == segment_bytes);
    let (usable, others): (Vec<_>, Vec<_>) = data_dir.spares.iter().cloned().partition(is_usable);
    for path in others {
        if let Err(error) = fs::remove_file(&path) {
            warn!("cannot remove the unusable spare file {}: {error}", path.display());
        }
    }
    usable
}

fn tell(data_dir: &DataDir, report: &Report, segments: usize) {
    info!(
        "recovered {} records from {segments} segments in {}",
        report.records,
        data_dir.path.display()
    );
    for gap in &report.gaps {
        let place =
            format!("{} byte {}, {} bytes", segment_file_name(gap.segment), gap.offset, gap.bytes);
        match &gap.verdict {
            Verdict::TornTail => {
                info!("torn tail cut: {place}; nobody had been told that it is stored")
            }
            Verdict::DamagedHeader | Verdict::DamagedMarker | Verdict::ShortFile => {
                warn!("damage without loss: {place}: {:?}", gap.verdict);
            }
            Verdict::DamagedBody { seq, .. } if !gap.was_synced => {
                error!("LOST: {place}: the body of record {}, which had not been synced", seq.0);
            }
            Verdict::DamagedBody { seq, .. } => {
                error!("DAMAGED: {place}: the body of record {} is lost", seq.0)
            }
            Verdict::DamagedSynced => {
                error!("DAMAGED: {place}: {} records that had been synced are lost", gap.missing);
            }
            Verdict::LostUnsynced => {
                error!("LOST: {place}: {} records that had not been synced are lost", gap.missing);
            }
        }
    }
}

/// Copies what could not be read aside, once per place: whoever repairs disks can still look at it when the segment is gone.
fn quarantine(data_dir: &Path, report: &Report) -> Result<(), BootError> {
    let mut lost = report.gaps.iter().filter(|gap| gap.is_loss()).peekable();
    if lost.peek().is_none() {
        return Ok(());
    }
    let directory = data_dir.join(QUARANTINE);
    let failed = |path: &Path, source| BootError::Quarantine { path: path.to_path_buf(), source };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|source| failed(&directory, source))?;
    for gap in lost {
        let copy = directory.join(format!("{}.{}", segment_file_name(gap.segment), gap.offset));
        if !copy.exists() {
            copy_gap(data_dir, gap, &copy).map_err(|source| failed(&copy, source))?;
        }
    }
    File::open(&directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| failed(&directory, source))
}

fn copy_gap(data_dir: &Path, gap: &Gap, copy: &Path) -> io::Result<()> {
    let segment = File::open(data_dir.join(segment_file_name(gap.segment)))?;
    let available = segment.metadata()?.len().saturating_sub(gap.offset);
    let mut bytes = vec![0; usize::try_from(gap.bytes.min(available)).map_err(io::Error::other)?];
    segment.read_exact_at(&mut bytes, gap.offset)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
    file.write_all(&bytes)?;
    file.sync_all()
}
