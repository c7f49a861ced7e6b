//! A server's start: the configuration of the simulated queues, and recovery.

use kqueue_broker::{
    Boot, BootError, Booted, Broker, BrokerConfig, EngineLimits, HEADER_BYTES, Now, Report, Rest,
    SegmentHeader, Start, Status, SuperState, Superblock, Survey, Verdict, WriterConfig,
    parse_header,
};

use crate::conn::{ITEM_BYTES_MAX, OPEN_MAX};
use crate::disk::Disk;
use crate::queues::table;
use crate::rules::Rules;
use crate::scenario::{Sabotage, Scenario};

/// Small, so that segments are left and emptied often.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024;
/// What a record has besides its body, at most.
const META_BYTES_MAX: u64 = 4 * 1024;

/// What a server is told before it starts.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) rules: &'a Rules,
}

/// A server that has started.
pub(crate) struct Started {
    pub(crate) broker: Broker,
    /// Ends of the log that were cut.
    pub(crate) torn_tails: u64,
    /// It said that something is damaged.
    pub(crate) told_damage: bool,
    /// Where the log can go on for want of space.
    pub(crate) rest: Option<Rest>,
}

/// Reads what is on the disk as the server does at start.
pub(crate) fn boot(
    disk: &Disk,
    settings: Settings<'_>,
    salt_seed: u64,
    now: Now,
) -> Result<Started, String> {
    let booted = read(disk, settings, salt_seed, now)?;
    // What had not been synced may be gone in any form; what had been synced was promised.
    let gaps = &booted.report.gaps;
    let loss = gaps.iter().find(|gap| gap.was_synced && gap.is_loss());
    if let Some(gap) = loss.filter(|_| settings.scenario.flip_every == 0) {
        return Err(format!("recovery found damage on a disk that has none: {gap:?}"));
    }
    let told_damage = gaps.iter().any(|gap| gap.verdict != Verdict::TornTail);
    let torn_tails = u64::from(booted.report.torn_tail_bytes > 0);
    let told_damage = told_damage || booted.read_everything;
    Ok(Started { broker: booted.broker, torn_tails, told_damage, rest: booted.rest })
}

/// From the checkpoint on, or if that does not do, everything.
fn read(disk: &Disk, settings: Settings<'_>, salt_seed: u64, now: Now) -> Result<Read, String> {
    let Settings { scenario, .. } = settings;
    let sizes = WriterConfig {
        segment_bytes: SEGMENT_BYTES,
        log_cap_bytes: scenario.log_cap_segments * SEGMENT_BYTES,
        max_record_bytes: ITEM_BYTES_MAX as u64 + META_BYTES_MAX,
        flush_bytes: SEGMENT_BYTES / 8,
    };
    let headers: Vec<(u64, Option<SegmentHeader>)> = disk
        .segments()
        .map(|(number, file)| (number, parse_header(&file[..HEADER_BYTES]).ok()))
        .collect();
    let state = Superblock::read(disk.superblock());
    let is_sound = matches!(state, SuperState::Sound(_));
    if !is_sound && scenario.flip_every == 0 && !matches!(state, SuperState::OneSlot(_)) {
        return Err(format!("the superblock is {state:?}"));
    }
    let (SuperState::Sound(known) | SuperState::OneSlot(known)) = state else {
        let known =
            Superblock { generation: Superblock::GENERATION_UNKNOWN, ..Superblock::default() };
        return read_everything(disk, settings, &headers, sizes, salt_seed, known, now);
    };
    let newest = headers.last().map_or(0, |(number, _)| *number);
    if newest < known.newest_segment {
        return Err(format!("segment {} is missing", known.newest_segment));
    }
    if known.start != Start::EVERYTHING {
        let start = known.start.checkpoint_segment();
        let data = headers.iter().filter(|(number, _)| *number < start);
        let salts = data.map(|(number, header)| (*number, header.as_ref().map_or(0, |h| h.salt)));
        let boot = Boot::from_checkpoint(config(settings), sizes, salt_seed, known, salts)
            .map_err(|error| error.to_string())?;
        match run(disk, &headers, boot, start, now) {
            Ok(Some(booted)) => return Ok(Read::new(booted, false)),
            Ok(None) => {}
            Err(error) if is_sound || scenario.flip_every == 0 => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    read_everything(disk, settings, &headers, sizes, salt_seed, known, now)
}

/// What was read, and how.
struct Read {
    broker: Broker,
    report: Report,
    read_everything: bool,
    rest: Option<Rest>,
}

impl Read {
    fn new(booted: Booted, read_everything: bool) -> Self {
        let Booted { broker, report, rest } = booted;
        Self { broker, report, read_everything, rest }
    }
}

fn read_everything(
    disk: &Disk,
    settings: Settings<'_>,
    headers: &[(u64, Option<SegmentHeader>)],
    sizes: WriterConfig,
    salt_seed: u64,
    known: Superblock,
    now: Now,
) -> Result<Read, String> {
    let mut survey = Survey::default();
    for ((_, header), (_, file)) in headers.iter().zip(disk.segments()) {
        header.iter().for_each(|header| survey.segment(header, file));
    }
    let boot = Boot::from_everything(config(settings), sizes, salt_seed, known, survey)
        .map_err(|error| error.to_string())?;
    let booted = run(disk, headers, boot, 0, now).map_err(|error| error.to_string())?;
    Ok(Read::new(booted.ok_or("everything was read, and is not enough")?, true))
}

fn run(
    disk: &Disk,
    headers: &[(u64, Option<SegmentHeader>)],
    mut boot: Boot,
    start: u64,
    now: Now,
) -> Result<Option<Booted>, BootError> {
    for (index, (number, file)) in disk.segments().enumerate() {
        if number < start {
            continue;
        }
        let next = headers[index + 1..].iter().find_map(|(_, header)| header.as_ref());
        match &headers[index].1 {
            Some(header) => boot.segment(header, file, next)?,
            None => boot.unreadable_segment(number, file.len() as u64, next)?,
        }
    }
    boot.finish(now)
}

fn config(Settings { scenario, rules }: Settings<'_>) -> BrokerConfig {
    let keys_max = EngineLimits::default().keys_max;
    BrokerConfig {
        table: table(scenario, rules),
        limits: EngineLimits {
            max_open_per_queue: OPEN_MAX,
            max_memory_size: scenario.memory,
            key_window_ms: scenario.key_window_ms,
            keys_max: if scenario.sabotage == Some(Sabotage::ForgetsKeys) { 0 } else { keys_max },
            ..EngineLimits::default()
        },
        max_item_size: ITEM_BYTES_MAX,
        sweep_every_ms: 500,
        version: "sim",
        status: Status::Up,
        status_grace_ms: scenario.extras.grace_ms,
        refuse_reads_over: None,
        refuse_writes_over: None,
    }
}
