//! Takes over a data directory: lock, recovery, report.
//!
//! Invariants: nothing in the directory is changed unless the whole log could be read; what was damaged is copied to `quarantine/` before
//! the server accepts anything, and the segment itself is left as it is.
//! Must not: judge damage; the journal does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kqueue_broker::{
    BadPlace, Boot, Broker, BrokerConfig, ConfigError, FaultKind, Gap, HEADER_BYTES, HeaderError,
    Now, RecoveryError, Report, Rest, SUPERBLOCK_FILE, SegmentHeader, Start, SuperState,
    Superblock, Survey, Verdict, WriterConfig, parse_header, segment_file_name,
};
use rustix::fs::{Access, access};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError, advice};
use crate::disk::{Disk, read_whole};
use crate::quarantine::Quarantine;
use crate::tools::import_state;

/// What a record has besides its body, at most (its list of queues).
const META_BYTES_MAX: u64 = 64 * 1024;
/// The sync of the last of so many parts is what puts wait for at the end of a segment; more of them would only be more work for the disk.
const FLUSHES_PER_SEGMENT: u64 = 16;

/// A broker, and the disk on which its journal lies.
pub(crate) struct Booted {
    pub(crate) broker: Broker,
    pub(crate) disk: Disk,
    pub(crate) quarantine: Quarantine,
    pub(crate) data_dir: DataDir,
}

/// Why the server could not start. Nothing in the directory has been changed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// An import into it has not come to its end, or nobody can tell.
    #[error(transparent)]
    Import(#[from] import_state::StateError),
    /// The configured sizes cannot work.
    #[error("journal.segment_size: {0}")]
    Sizes(#[from] ConfigError),
    /// A file cannot be read, made or written.
    #[error("cannot use {path}: {source}{}", advice(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be written to.
    #[error("{0}")]
    NoSegment(String),
    /// A file of a format that this version does not know, or no file of ours at all.
    #[error("{path}: {error}. Nothing was changed; use the version of kqueue-server that wrote it")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Files are missing.
    #[error(
        "data_dir {path}: {what}. Nothing was changed; bring the missing files back (from a backup, if need be), or move all files of the journal away to begin anew"
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The segments are not one log.
    #[error(
        "data_dir {path}: {error}. Nothing was changed; {}", log_advice(.error)
    )]
    Log {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        error: kqueue_broker::BootError,
    },
    /// `journal.strict` is set, and something is damaged.
    #[error(
        "data_dir {path}: {count} damaged places, see above, and journal.strict = true. Nothing was changed; restore a backup, or start without strict: everything readable is served then, and copies of what is damaged are kept"
    )]
    Strict {
        /// The directory.
        path: PathBuf,
        /// How many.
        count: usize,
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

/// Reads the log and makes a broker of it.
pub(crate) fn boot(config: &Config, clock: &Clock) -> Result<Booted, BootError> {
    let data_dir = DataDir::open_if(&config.data_dir, check_formats)?;
    tell_if_empty(&data_dir);
    import_state::check_finished(&data_dir.path)?;
    boot_in(config, clock, data_dir)
}

/// What a first start finds, and also one whose directory is misspelt or not mounted.
fn tell_if_empty(data_dir: &DataDir) {
    if !data_dir.segments.is_empty() || data_dir.superblock.is_some() {
        return;
    }
    let path = std::path::absolute(&data_dir.path).unwrap_or_else(|_| data_dir.path.clone());
    let path = path.display();
    if data_dir.is_made {
        warn!("made a new, empty data_dir {path}: right at a first start only");
    } else {
        warn!("nothing is in data_dir {path}: right at a first start only");
    }
}

/// Whether the files in a directory are of a format that is known here, and complete as far as that can be seen without reading them. To be asked before a file is made.
pub(crate) fn check_formats(found: &DataDir) -> Result<(), BootError> {
    Layout::read(found).map(drop)
}

/// As [`boot`], in a directory that is taken already, also if an import into it is not done.
pub(crate) fn boot_in(
    config: &Config,
    clock: &Clock,
    data_dir: DataDir,
) -> Result<Booted, BootError> {
    let recovered = recover(config, &data_dir, clock.now())?;
    tell(&data_dir.path, &recovered.booted.report, recovered.segments_read);
    recovered.tell_unread_headers();
    let mut gaps = recovered.booted.report.gaps.clone();
    if config.strict {
        gaps.extend(verify_data(&recovered.layout)?);
        let damaged: Vec<&Gap> =
            gaps.iter().filter(|gap| gap.verdict != Verdict::TornTail).collect();
        let count = damaged.len() + usize::from(recovered.is_superblock_lost);
        if count > 0 {
            return Err(BootError::Strict { path: data_dir.path.clone(), count });
        }
    }
    recovered.layout.check_writable(&data_dir)?;
    clock.not_before(recovered.booted.broker.newest_put_ms());
    // From here on the directory is changed.
    let quarantine = Quarantine::new(&data_dir.path);
    for gap in gaps.iter().filter(|gap| gap.is_loss()) {
        let place = BadPlace { segment: gap.segment, offset: gap.offset, bytes: gap.bytes };
        quarantine.copy(&place).map_err(|(path, source)| BootError::Quarantine { path, source })?;
    }
    let segment_bytes = recovered.sizes.segment_bytes;
    if segment_bytes > config.segment_bytes {
        info!(
            "journal.segment_size = {} has no effect yet: there are segments of {segment_bytes} bytes, whose items may be too long for shorter ones; new segments are made as long as these",
            config.segment_bytes
        );
    }
    let spares = usable_spares(&data_dir, segment_bytes);
    let disk = Disk::new(&data_dir.path, segment_bytes, spares)
        .map_err(|source| file_error(&data_dir.path.join(SUPERBLOCK_FILE), source))?;
    let mut broker = recovered.booted.broker;
    disk.run(&broker.begin_run()).map_err(|fault| BootError::NoSegment(fault.text))?;
    if let Err(fault) = disk.make_first_spare() {
        if fault.kind != FaultKind::NoSpace {
            return Err(BootError::NoSegment(fault.text));
        }
        warn!("journal: {}; puts are refused until there is space", fault.text);
        broker.no_space(clock.now());
        if let Some(rest) = recovered.booted.rest {
            let is_readable = !recovered.layout.unreadable.borrow().contains(&rest.segment);
            // Removals need a place, or nothing would ever become free.
            match go_on_in(&disk, &quarantine, rest, &gaps, is_readable)? {
                Ok(()) => broker.go_on_in_last(),
                Err(why) => warn!(
                    "journal: {why}: the log does not go on in {}; until there is space nothing is written, and what is confirmed may come again",
                    segment_file_name(rest.segment)
                ),
            }
        }
    }
    if let Err(error) = data_dir.sign() {
        warn!("cannot write the process id to the lock file: {error}");
    }
    Ok(Booted { broker, disk, quarantine, data_dir })
}

/// Prepares the rest of the last segment for the log to go on there, which needs no space on most file systems. Answers why that is impossible, if so: nothing is overwritten then that
/// is not in quarantine.
fn go_on_in(
    disk: &Disk,
    quarantine: &Quarantine,
    rest: Rest,
    gaps: &[Gap],
    is_readable: bool,
) -> Result<Result<(), String>, BootError> {
    let Rest { segment, offset } = rest;
    if !is_readable {
        return Ok(Err("not all of it can be read".to_owned()));
    }
    // Nobody can tell a batch that was never finished from one that is damaged.
    for gap in gaps.iter().filter(|gap| gap.segment == segment && gap.offset + gap.bytes > offset) {
        let place = BadPlace { segment, offset: gap.offset, bytes: gap.bytes };
        match quarantine.copy_before_it_goes(&place) {
            Ok(path) => {
                info!("a copy of the {} bytes that were cut is in {}", gap.bytes, path.display());
            }
            Err((path, error)) => {
                let path = path.display();
                return Ok(Err(format!("cannot copy its end to {path}: {error}")));
            }
        }
    }
    match disk.clear(segment, offset) {
        Ok(()) => Ok(Ok(())),
        Err(fault) if fault.kind == FaultKind::NoSpace => Ok(Err(fault.text)),
        Err(fault) => Err(BootError::NoSegment(fault.text)),
    }
}

/// What was read, before anything is changed.
pub(crate) struct Recovered {
    pub(crate) booted: kqueue_broker::Booted,
    pub(crate) layout: Layout,
    /// What the journal is written with, see [`sizes`].
    sizes: WriterConfig,
    /// How many segments were read from their beginning or from the checkpoint in them.
    pub(crate) segments_read: usize,
    /// The superblock is damaged in a way that no crash leaves.
    pub(crate) is_superblock_lost: bool,
}

impl Recovered {
    /// Damaged headers of the segments of which nothing else was read yet.
    fn tell_unread_headers(&self) {
        let segments = &self.layout.segments;
        for segment in &segments[..segments.len() - self.segments_read] {
            let name = segment_file_name(segment.number);
            match &segment.header {
                Some(header) if header.is_damaged => {
                    let bytes = HEADER_BYTES;
                    warn!("damage without loss: {name} byte 0, {bytes} bytes: DamagedHeader");
                }
                Some(_) => {}
                None => error!(
                    "DAMAGED: {name} byte 0: its header cannot be read; items in it are lost when they are wanted"
                ),
            }
        }
    }
}

/// Reads a log without changing anything.
pub(crate) fn recover(
    config: &Config,
    data_dir: &DataDir,
    now: Now,
) -> Result<Recovered, BootError> {
    recover_layout(config, Layout::read(data_dir)?, now)
}

/// As [`recover`], when superblock and headers have been read.
pub(crate) fn recover_layout(
    config: &Config,
    layout: Layout,
    now: Now,
) -> Result<Recovered, BootError> {
    let seed = random_seed()?;
    let sizes = sizes(config, &layout);
    let is_whole = matches!(layout.superblock, SuperState::Sound(_));
    let mut is_superblock_lost = matches!(layout.superblock, SuperState::Damaged);
    if let SuperState::Sound(superblock) | SuperState::OneSlot(superblock) = layout.superblock
        && superblock.start != Start::EVERYTHING
    {
        let start = superblock.start.segment;
        let data = layout.data_before(start);
        let boot = Boot::from_checkpoint(broker_config(config), sizes, seed, superblock, data)?;
        match layout.run(boot, start, now) {
            Ok(Some((booted, segments_read))) => {
                if !is_whole {
                    warn!(
                        "one half of {SUPERBLOCK_FILE} is damaged: a write that was cut short, or the disk; the other half says all that is needed"
                    );
                }
                return Ok(Recovered { booted, layout, sizes, segments_read, is_superblock_lost });
            }
            Ok(None) => warn!(
                "something was lost behind the last checkpoint: reading the whole log; items may come again that were consumed"
            ),
            // One slot of the superblock is damaged, and the older one may name a checkpoint that is gone.
            Err(error) if !is_whole => {
                warn!("{error}; one half of {SUPERBLOCK_FILE} is damaged: reading the whole log");
                is_superblock_lost = true;
            }
            Err(error) => return Err(error),
        }
    } else {
        if is_superblock_lost {
            error!("DAMAGED: {SUPERBLOCK_FILE}: neither half can be read");
        }
        warn!(
            "no checkpoint can be relied on: reading the whole log; items may come again that were consumed"
        );
    }
    let known = match layout.superblock {
        SuperState::Sound(superblock) | SuperState::OneSlot(superblock) => superblock,
        // Above all that it may ever have said.
        _ => Superblock { generation: Superblock::GENERATION_UNKNOWN, ..Superblock::default() },
    };
    let survey = layout.survey()?;
    let boot = Boot::from_everything(broker_config(config), sizes, seed, known, survey)?;
    let whole = layout.run(boot, 0, now)?;
    let (booted, segments_read) =
        whole.ok_or_else(|| missing(&layout.path, "the log cannot be read".to_owned()))?;
    Ok(Recovered { booted, layout, sizes, segments_read, is_superblock_lost })
}

/// The files of a journal, their headers read.
pub(crate) struct Layout {
    pub(crate) path: PathBuf,
    pub(crate) superblock: SuperState,
    pub(crate) segments: Vec<Segment>,
    /// Segments of which the disk did not give every byte.
    unreadable: RefCell<BTreeSet<u64>>,
}

pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// `None`: both copies are damaged.
    pub(crate) header: Option<SegmentHeader>,
}

impl Layout {
    /// Reads superblock and headers, and sees whether anything is missing as far as that can be known before the log is read.
    pub(crate) fn read(data_dir: &DataDir) -> Result<Self, BootError> {
        let segments = read_headers(data_dir)?;
        let path = data_dir.path.clone();
        let superblock = read_superblock(data_dir, &segments)?;
        let layout = Self::new(path, superblock, segments);
        layout.check_complete()?;
        Ok(layout)
    }

    pub(crate) fn new(path: PathBuf, superblock: SuperState, segments: Vec<Segment>) -> Self {
        Self { path, superblock, segments, unreadable: RefCell::default() }
    }

    /// What the disk does not give is zeros: recovery finds the hole, and everything else is served.
    fn read_segment(&self, segment: &Segment) -> Result<Vec<u8>, BootError> {
        let path = &segment.path;
        let (bytes, unreadable) = read_whole(path).map_err(|source| file_error(path, source))?;
        for offset in unreadable {
            error!("cannot read {} at byte {offset}: the disk fails there", path.display());
            self.unreadable.borrow_mut().insert(segment.number);
        }
        Ok(bytes)
    }

    pub(crate) fn check_complete(&self) -> Result<(), BootError> {
        let (SuperState::Sound(known) | SuperState::OneSlot(known)) = self.superblock else {
            return Ok(());
        };
        let newest = self.segments.last().map_or(0, |last| last.number);
        if newest < known.newest_segment {
            let what = match self.segments.is_empty() {
                true => "all segments are missing".to_owned(),
                false => format!(
                    "{} is missing: the newest segment there is {}",
                    segment_file_name(known.newest_segment),
                    segment_file_name(newest)
                ),
            };
            return Err(missing(&self.path, what));
        }
        let start = known.start.segment;
        let is_sound = matches!(self.superblock, SuperState::Sound(_));
        let is_sound = is_sound && known.start != Start::EVERYTHING;
        if is_sound && start > 0 && !self.segments.iter().any(|segment| segment.number == start) {
            let what =
                format!("{} is missing, where the last checkpoint is", segment_file_name(start));
            return Err(missing(&self.path, what));
        }
        // Without a checkpoint nothing has been removed yet, but by version 1, which removed from the front.
        let first = self.segments.first();
        let is_first_missing = first.is_some_and(|first| {
            first.number > 1 && first.header.as_ref().is_some_and(|header| header.version > 1)
        });
        if is_sound && start == 0 && is_first_missing {
            return Err(missing(&self.path, format!("{} is missing", segment_file_name(1))));
        }
        Ok(())
    }

    /// Whether everything that the server will have to write can be opened for that: it is too late when items are wanted, or a segment is to go.
    fn check_writable(&self, data_dir: &DataDir) -> Result<(), BootError> {
        let segments = self.segments.iter().map(|segment| &segment.path);
        access(&self.path, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| file_error(&self.path, error.into()))?;
        for path in data_dir.superblock.iter().chain(&data_dir.spares).chain(segments) {
            let opened = OpenOptions::new().read(true).write(true).open(path);
            opened.map_err(|source| file_error(path, source))?;
        }
        Ok(())
    }

    /// Numbers and salts of the segments before this one.
    fn data_before(&self, start: u64) -> Vec<(u64, u64)> {
        let data = self.segments.iter().filter(|segment| segment.number < start);
        data.map(|segment| {
            (segment.number, segment.header.as_ref().map_or(0, |header| header.salt))
        })
        .collect()
    }

    /// What the segments tell of each other.
    pub(crate) fn survey(&self) -> Result<Survey, BootError> {
        let mut survey = Survey::default();
        for segment in &self.segments {
            if let Some(header) = &segment.header {
                let file = self.read_segment(segment)?;
                survey.segment(header, &file);
            }
        }
        Ok(survey)
    }

    /// Reads the segments from `start` on.
    fn run(
        &self,
        mut boot: Boot,
        start: u64,
        now: Now,
    ) -> Result<Option<(kqueue_broker::Booted, usize)>, BootError> {
        let log_error = |error| BootError::Log { path: self.path.clone(), error };
        let read: Vec<&Segment> =
            self.segments.iter().filter(|segment| segment.number >= start).collect();
        for (index, segment) in read.iter().enumerate() {
            let next = read[index + 1..].iter().find_map(|later| later.header.as_ref());
            let file = self.read_segment(segment)?;
            match &segment.header {
                Some(header) => boot.segment(header, &file, next),
                None => boot.unreadable_segment(segment.number, file.len() as u64, next),
            }
            .map_err(log_error)?;
        }
        let booted = boot.finish(now).map_err(log_error)?;
        Ok(booted.map(|booted| (booted, read.len())))
    }
}

fn log_advice(error: &kqueue_broker::BootError) -> &'static str {
    match error {
        kqueue_broker::BootError::Missing { .. }
        | kqueue_broker::BootError::Recovery(RecoveryError::MissingSegments { .. }) => {
            "bring the missing files back (from a backup, if need be), or move all files of the journal away to begin anew"
        }
        kqueue_broker::BootError::Record { .. } => "use the version of kqueue-server that wrote it",
        kqueue_broker::BootError::Recovery(_) => {
            "restore a backup, or move all files of the journal away to begin anew"
        }
    }
}

fn missing(path: &Path, what: String) -> BootError {
    BootError::Missing { path: path.to_path_buf(), what }
}

pub(crate) fn read_superblock(
    data_dir: &DataDir,
    segments: &[Segment],
) -> Result<SuperState, BootError> {
    let Some(path) = &data_dir.superblock else {
        let is_new =
            |segment: &Segment| segment.header.as_ref().is_none_or(|header| header.version > 1);
        if segments.iter().any(is_new) {
            let what = format!(
                "{SUPERBLOCK_FILE} is missing (an empty file of that name makes the server read everything that the segments hold, consumed items included)"
            );
            return Err(missing(&data_dir.path, what));
        }
        return Ok(SuperState::Sound(Superblock::default()));
    };
    let file = fs::read(path).map_err(|source| file_error(path, source))?;
    match Superblock::read(&file) {
        SuperState::Version(found) => {
            let error = HeaderError::Version { found }.to_string();
            Err(BootError::Foreign { path: path.clone(), error })
        }
        state => Ok(state),
    }
}

fn read_headers(data_dir: &DataDir) -> Result<Vec<Segment>, BootError> {
    let segments = data_dir.segments.iter();
    segments.map(|(number, path)| read_header(*number, path)).collect()
}

/// Reads a segment's header.
pub(crate) fn read_header(number: u64, path: &Path) -> Result<Segment, BootError> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    File::open(path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut start))
        .map_err(|source| file_error(path, source))?;
    let header = match parse_header(&start) {
        Ok(header) if header.segment == number => Some(header),
        Err(error @ (HeaderError::Version { .. } | HeaderError::NotASegment)) => {
            return Err(BootError::Foreign { path: path.to_path_buf(), error: error.to_string() });
        }
        Ok(_) | Err(_) => None,
    };
    Ok(Segment { number, path: path.to_path_buf(), header })
}

/// Reads the segments that recovery did not read, and says what is damaged in them.
pub(crate) fn verify_data(layout: &Layout) -> Result<Vec<Gap>, BootError> {
    let (SuperState::Sound(known) | SuperState::OneSlot(known)) = layout.superblock else {
        return Ok(Vec::new());
    };
    let mut recovery = kqueue_broker::Recovery::with_holes(std::collections::BTreeMap::new());
    for (index, segment) in layout.segments.iter().enumerate() {
        if segment.number >= known.start.checkpoint_segment() {
            break;
        }
        let next = layout.segments[index + 1..].iter().find_map(|later| later.header.as_ref());
        let file = layout.read_segment(segment)?;
        let read = match &segment.header {
            Some(header) => recovery.segment(header, &file, next, &mut |_| {}).map(drop),
            None => recovery.unreadable_segment(segment.number, file.len() as u64, next),
        };
        read.map_err(|error| BootError::Log {
            path: layout.path.clone(),
            error: kqueue_broker::BootError::Recovery(error),
        })?;
    }
    let gaps = recovery.finish().gaps;
    gaps.iter().for_each(tell_gap);
    Ok(gaps)
}

fn file_error(path: &Path, source: io::Error) -> BootError {
    BootError::File { path: path.to_path_buf(), source }
}

fn broker_config(config: &Config) -> BrokerConfig {
    BrokerConfig {
        table: config.queues.clone(),
        limits: config.engine,
        max_item_size: config.max_item_size,
        sweep_every_ms: config
            .expiration_timer_frequency
            .map_or(0, |every| every.as_millis() as u64),
        version: crate::CLIENT_VERSION,
        status: config.default_status,
        status_grace_ms: config.status_grace_ms,
        refuse_reads_over: config.connection_limit_refuse_reads,
        refuse_writes_over: config.connection_limit_refuse_writes,
    }
}

/// Every item that is there must fit into a new segment, since it may have to be written again: segments are never made shorter than those that are there.
fn sizes(config: &Config, layout: &Layout) -> WriterConfig {
    let headers = layout.segments.iter().filter_map(|segment| segment.header.as_ref());
    let longest_bytes = headers.map(|header| header.segment_bytes).max().unwrap_or(0);
    let segment_bytes = config.segment_bytes.max(longest_bytes);
    WriterConfig {
        segment_bytes,
        // As the configuration is checked.
        log_cap_bytes: config.log_cap_bytes.max(segment_bytes.saturating_mul(2)),
        max_record_bytes: config.max_item_size as u64 + META_BYTES_MAX,
        flush_bytes: segment_bytes / FLUSHES_PER_SEGMENT,
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

/// Says what recovery found.
pub(crate) fn tell(path: &Path, report: &Report, segments: usize) {
    info!("recovered {} records from {segments} segments in {}", report.records, path.display());
    report.gaps.iter().for_each(tell_gap);
}

fn tell_gap(gap: &Gap) {
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

#[cfg(test)]
mod tests {
    use kqueue_broker::RecordSeq;

    use super::*;

    const BYTES: usize = 8192;

    /// A directory with segment 1, all of it "x".
    fn with_segment() -> (tempfile::TempDir, Disk, Quarantine) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(segment_file_name(1)), [b'x'; BYTES]).unwrap();
        let disk = Disk::new(directory.path(), BYTES as u64, Vec::new()).unwrap();
        let quarantine = Quarantine::new(directory.path());
        (directory, disk, quarantine)
    }

    fn torn(offset: u64, bytes: u64) -> Gap {
        let verdict = Verdict::TornTail;
        let first_seq = RecordSeq(1);
        Gap { segment: 1, offset, bytes, first_seq, missing: 0, was_synced: false, verdict }
    }

    #[test]
    fn the_log_goes_on_in_the_last_segment_only_when_nothing_is_lost_by_that() {
        let (directory, disk, quarantine) = with_segment();
        let segment = || fs::read(directory.path().join(segment_file_name(1))).unwrap();
        let rest = Rest { segment: 1, offset: 5000 };
        let refused = go_on_in(&disk, &quarantine, rest, &[], false).unwrap();
        assert!(refused.is_err(), "not every byte could be read");
        // A copy of the tail cannot be made.
        let place = directory.path().join(crate::datadir::QUARANTINE);
        fs::write(&place, "a file").unwrap();
        let gaps = [torn(5000, 100)];
        assert!(go_on_in(&disk, &quarantine, rest, &gaps, true).unwrap().is_err());
        assert_eq!(segment(), [b'x'; BYTES]);
        fs::remove_file(&place).unwrap();
        go_on_in(&disk, &quarantine, rest, &gaps, true).unwrap().unwrap();
        assert_eq!(segment(), [[b'x'; 5000].as_slice(), &[0; BYTES - 5000]].concat());
        let copy = place.join(format!("{}.5000", segment_file_name(1)));
        assert_eq!(fs::read(copy).unwrap(), [b'x'; 100]);
    }

    #[test]
    fn a_segment_of_which_the_disk_does_not_give_every_byte_is_known() {
        let directory = tempfile::tempdir().unwrap();
        // A directory can be opened and has a length, and no byte of it can be read.
        let segment = Segment { number: 7, path: directory.path().to_path_buf(), header: None };
        let layout = Layout::new(PathBuf::new(), SuperState::Damaged, Vec::new());
        layout.read_segment(&segment).unwrap();
        assert!(layout.unreadable.borrow().contains(&7));
    }
}
