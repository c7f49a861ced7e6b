//! `kqueue-server check`: reads every byte of a journal and says what is wrong with it.
//!
//! Invariants: nothing is opened for writing, nothing is made or removed; what is said to be damaged is damaged: beside a working server, where the end of the log is being
//! written, only that is said which is found again and again.
//! Must not: repair; judge bytes, the journal does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use kqueue_broker::{
    Broker, Gap, Now, RawRecord, RecordBuf, Recovery, SUPERBLOCK_FILE, Start, SuperState, Verdict,
    segment_file_name,
};

use super::{DAMAGED, DONE, FAILED, Segments, count, human_bytes, now_ms, reading_config};
use crate::boot::{self, Layout};
use crate::datadir::{BACKUP_LOCK, DataDir, DataDirError, IMPORT_STATE, QUARANTINE};
use crate::disk::read_whole;

/// Beside a working server damage counts when it is found so many times in a row.
const LIVE_READS: usize = 3;
/// How long to wait for the server to end the removal of a segment.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// The kind of a record that says that a queue exists.
const QUEUE_CREATED: u8 = 1;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It holds no journal.
    #[error(
        "{0}: no journal is in it (neither {SUPERBLOCK_FILE} nor log-*.kq): is it the data_dir of a server?"
    )]
    NoJournal(PathBuf),
    /// A server works there, and cannot be kept from removing segments.
    #[error(
        "{path} is in use by the server with process id {pid}, and {BACKUP_LOCK} in it cannot be locked ({source}). Stop the server to check its journal"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who works there.
        pid: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file's name in the directory; empty: it is about the whole.
    pub file: String,
    /// First byte concerned, if it is about a part of the file.
    pub offset: Option<u64>,
    /// What is wrong, and what that means.
    pub text: String,
}

impl Finding {
    fn of_file(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), offset: None, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.offset) {
            ("", _) => f.write_str(&self.text),
            (file, None) => write!(f, "{file}: {}", self.text),
            (file, Some(offset)) => write!(f, "{file} byte {offset}: {}", self.text),
        }
    }
}

/// What is in a directory.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong. Empty: the journal is sound.
    pub findings: Vec<Finding>,
    /// What somebody may want to know and is as it should be.
    pub notes: Vec<String>,
    /// Process id of the server that works there.
    pub server: Option<String>,
    /// Segments, and the length of their files in bytes.
    pub segments: (u64, u64),
    /// What the queues hold; `None` if the log cannot be read.
    pub queues: Option<Holdings>,
}

/// What queues hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// How many there are.
    pub queues: u64,
    /// Waiting items, delayed ones too.
    pub items: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Those of them whose time has not come.
    pub delayed: u64,
    /// Dead letters that stayed in their queues.
    pub dead: u64,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queues, items) = (count(self.queues, "queue"), count(self.items, "item"));
        write!(f, "{queues}, {items} with {}", human_bytes(self.bytes))?;
        if self.delayed > 0 {
            write!(f, " ({} of them delayed)", self.delayed)?;
        }
        if self.dead > 0 {
            write!(f, ", {}", count(self.dead, "dead letter"))?;
        }
        Ok(())
    }
}

/// Checks a directory and prints what was found to standard output. Answers the exit code.
pub fn run(directory: &Path) -> u8 {
    match check(directory) {
        Err(error) => {
            eprintln!("kqueue-server check: {error}");
            FAILED
        }
        Ok(outcome) => {
            let code = if outcome.findings.is_empty() { DONE } else { DAMAGED };
            let text = render(directory, &outcome);
            match io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) => code,
                // Whoever closed the pipe has read enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
                Err(_) => FAILED,
            }
        }
    }
}

fn render(directory: &Path, outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    if let Some(pid) = &outcome.server {
        lines.push(format!(
            "the server with process id {pid} works here: this is the journal as it was when it was read"
        ));
    }
    lines.extend(outcome.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(outcome.findings.iter().map(|finding| format!("DAMAGE: {finding}")));
    let (segments, bytes) = outcome.segments;
    let files = format!("{}, {}", count(segments, "segment"), human_bytes(bytes));
    let held = match outcome.queues {
        Some(held) => format!("{held}; {files}"),
        None => format!("what the queues hold cannot be told; {files}"),
    };
    lines.push(held);
    lines.push(match outcome.findings.len() as u64 {
        0 => format!("{}: sound", directory.display()),
        found => format!("{}: {}", directory.display(), count(found, "problem")),
    });
    lines.push(String::new());
    lines.join("\n")
}

/// Reads everything in a directory.
///
/// # Errors
/// [`CheckError`] if nothing can be said.
pub fn check(directory: &Path) -> Result<Outcome, CheckError> {
    // Until the end: no server starts beside this, or none removes a segment.
    let (_held, server) = match DataDir::lock_if_there(directory) {
        Ok(lock) => (lock, None),
        Err(DataDirError::Locked { pid, .. }) => {
            let lock = lock_shared(directory).map_err(|source| CheckError::InUse {
                path: directory.to_path_buf(),
                pid: pid.clone(),
                source,
            })?;
            (Some(lock), Some(pid))
        }
        Err(error) => return Err(error.into()),
    };
    let mut outcome = check_once(directory, server.is_some())?;
    for _ in 1..LIVE_READS {
        if server.is_none() || outcome.findings.is_empty() {
            break;
        }
        let again = check_once(directory, true)?;
        let found = |finding: &Finding| again.findings.contains(finding);
        let findings = outcome.findings.into_iter().filter(found).collect();
        outcome = Outcome { findings, ..again };
    }
    outcome.server = server;
    Ok(outcome)
}

/// Keeps segments from being removed, as a backup does, but never makes the file for it.
pub(crate) fn lock_shared(directory: &Path) -> io::Result<File> {
    let file = File::open(directory.join(BACKUP_LOCK))?;
    wait_for_shared(&file)?;
    Ok(file)
}

/// A server that removes a segment has the file locked for a moment.
pub(crate) fn wait_for_shared(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock_shared() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "somebody holds it and does not let go"))
}

fn check_once(directory: &Path, is_live: bool) -> Result<Outcome, CheckError> {
    let mut outcome = Outcome::default();
    // The superblock first: what it names is there as long as no segment is removed.
    let (early, _) = DataDir::look(directory)?;
    let early = early.superblock.is_some().then(|| boot::read_superblock(&early, &[]));
    let (found, strangers) = DataDir::look(directory)?;
    if found.segments.is_empty() && found.superblock.is_none() {
        return Err(CheckError::NoJournal(directory.to_path_buf()));
    }
    outcome.findings.extend(strangers.into_iter().map(|name| {
        Finding::of_file(
            name,
            "not a file of a journal; the server does not start beside it. Move it away if it does not belong here",
        )
    }));
    note_others(directory, &found, &mut outcome);
    let segments = read_headers(&found, &mut outcome);
    let superblock = match early.unwrap_or_else(|| boot::read_superblock(&found, &segments)) {
        Ok(state) => state,
        Err(error) => {
            outcome.findings.push(Finding::of_file(SUPERBLOCK_FILE, error.to_string()));
            SuperState::Damaged
        }
    };
    match superblock {
        SuperState::OneSlot(_) => outcome.findings.push(Finding::of_file(
            SUPERBLOCK_FILE,
            "one of its two halves is damaged; the other one is used",
        )),
        SuperState::Damaged if outcome.findings.iter().all(|f| f.file != SUPERBLOCK_FILE) => {
            outcome.findings.push(Finding::of_file(
                SUPERBLOCK_FILE,
                "both halves are damaged; a server reads the whole log then, and items may come again that were consumed",
            ));
        }
        _ => {}
    }
    let is_whole = segments.len() == found.segments.len();
    let layout = Layout::new(directory.to_path_buf(), superblock, segments);
    let scanned = scan(&layout, is_live, &mut outcome);
    if is_whole {
        replay(layout, &scanned, &mut outcome);
    }
    outcome.findings.sort();
    outcome.findings.dedup();
    Ok(outcome)
}

/// What lies beside the log.
fn note_others(directory: &Path, found: &DataDir, outcome: &mut Outcome) {
    let copies = fs::read_dir(directory.join(QUARANTINE)).map_or(0, Iterator::count) as u64;
    if copies > 0 {
        outcome.notes.push(format!(
            "{QUARANTINE}/ holds {} of damaged places that a server found",
            count(copies, "copy").replace("copys", "copies")
        ));
    }
    if !found.spares.is_empty() {
        let spares = count(found.spares.len() as u64, "spare file");
        outcome.notes.push(format!("{spares}, no part of the log"));
    }
    if directory.join(IMPORT_STATE).exists() {
        outcome.notes.push(format!("{IMPORT_STATE}: queues of a Kestrel server were imported"));
    }
}

fn read_headers(found: &DataDir, outcome: &mut Outcome) -> Vec<boot::Segment> {
    let mut segments = Vec::new();
    for (number, path) in &found.segments {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        outcome.segments.0 += 1;
        outcome.segments.1 += bytes;
        match boot::read_header(*number, path) {
            Ok(segment) => segments.push(segment),
            Err(error) => {
                let text = match error {
                    boot::BootError::Foreign { error, .. } => error,
                    boot::BootError::File { source, .. } => format!("cannot be read: {source}"),
                    other => other.to_string(),
                };
                let text = format!("{text}; the server does not start with it");
                outcome.findings.push(Finding::of_file(segment_file_name(*number), text));
            }
        }
    }
    segments
}

/// What reading every record gave.
#[derive(Default)]
struct Scanned {
    /// Names of queues by number.
    names: BTreeMap<u64, String>,
    /// Places where records or bodies are lost.
    losses: Vec<Gap>,
}

/// Reads every segment from its beginning to its end.
fn scan(layout: &Layout, is_live: bool, outcome: &mut Outcome) -> Scanned {
    let mut scanned = Scanned::default();
    let survey = match layout.segments.windows(2).all(|pair| pair[0].number + 1 == pair[1].number) {
        true => Ok(Default::default()),
        false => layout.survey(),
    };
    let survey = survey.unwrap_or_else(|error| {
        outcome.findings.push(Finding::of_file("", error.to_string()));
        Default::default()
    });
    let mut recovery = Recovery::with_holes(survey.ends());
    for (index, segment) in layout.segments.iter().enumerate() {
        let name = segment_file_name(segment.number);
        let next = layout.segments[index + 1..].iter().find_map(|later| later.header.as_ref());
        let file = match read_whole(&segment.path) {
            Ok((file, unreadable)) => {
                outcome.findings.extend(unreadable.into_iter().map(|offset| Finding {
                    file: name.clone(),
                    offset: Some(offset),
                    text: "the disk cannot read 4096 bytes here".to_owned(),
                }));
                file
            }
            Err(error) => {
                outcome.findings.push(Finding::of_file(name, format!("cannot be read: {error}")));
                continue;
            }
        };
        let names = &mut scanned.names;
        let read = match &segment.header {
            Some(header) => {
                recovery.segment(header, &file, next, &mut |raw| note_name(names, &raw)).map(drop)
            }
            None => recovery.unreadable_segment(segment.number, file.len() as u64, next),
        };
        if let Err(error) = read {
            outcome.findings.push(Finding::of_file(name, error.to_string()));
        }
    }
    for gap in recovery.finish().gaps {
        let file = segment_file_name(gap.segment);
        if gap.verdict == Verdict::TornTail {
            if !is_live {
                outcome.notes.push(format!(
                    "{file} byte {}: a torn tail of {} bytes, which an unclean stop leaves; nobody had been told that it is stored",
                    gap.offset, gap.bytes
                ));
            }
            continue;
        }
        let text = describe(&gap, &scanned.names);
        outcome.findings.push(Finding { file, offset: Some(gap.offset), text });
        if gap.is_loss() {
            scanned.losses.push(gap);
        }
    }
    scanned
}

fn note_name(names: &mut BTreeMap<u64, String>, raw: &RawRecord<'_>) {
    if raw.kind == QUEUE_CREATED
        && let Ok(RecordBuf::QueueCreated { queue, name }) = RecordBuf::decode(raw.kind, raw.meta)
    {
        names.insert(queue.0, String::from_utf8_lossy(name).into_owned());
    }
}

/// What is wrong at a place, in words.
fn describe(gap: &Gap, names: &BTreeMap<u64, String>) -> String {
    let bytes = count(gap.bytes, "byte");
    let synced = if gap.was_synced {
        "which had been synced"
    } else {
        "which had not been synced, as a power cut leaves it"
    };
    match &gap.verdict {
        Verdict::TornTail => format!("{bytes}: a torn tail"),
        Verdict::DamagedHeader => "a part of the header is damaged; nothing is lost".to_owned(),
        Verdict::DamagedMarker => {
            format!("{bytes}: a commit marker is damaged; nothing is lost")
        }
        Verdict::ShortFile => format!(
            "the file is {bytes} shorter than its header says; if it is the last one, nobody can tell what is missing"
        ),
        Verdict::DamagedBody { seq, kind, meta } => format!(
            "{bytes}: the body of record {}, {synced}, is damaged: {}",
            seq.0,
            item_in(*kind, meta, names)
        ),
        Verdict::DamagedSynced | Verdict::LostUnsynced => {
            let last = gap.first_seq.0 + gap.missing.saturating_sub(1);
            let records = match gap.missing {
                0 => "nobody can tell which records were here".to_owned(),
                1 => format!("record {} is lost, {synced}", gap.first_seq.0),
                missing => {
                    format!("{missing} records, {} to {last}, are lost, {synced}", gap.first_seq.0)
                }
            };
            format!("{bytes} cannot be read: {records}")
        }
    }
}

fn item_in(kind: u8, meta: &[u8], names: &BTreeMap<u64, String>) -> String {
    let (id, queues) = match RecordBuf::decode(kind, meta) {
        Ok(RecordBuf::Put(put)) => {
            // Of a lane its queue is told.
            let queues = if put.homes.is_empty() { &put.queues } else { &put.homes };
            let id = put.extra.id.unwrap_or(put.id);
            (id.0, queues.iter().map(|queue| queue.0).collect::<Vec<u64>>())
        }
        _ => return format!("a record of kind {kind}"),
    };
    let named = |queue: &u64| match names.get(queue) {
        Some(name) => name.clone(),
        None => format!("number {queue}"),
    };
    let queues: Vec<String> = queues.iter().map(named).collect();
    format!("item {id} of {}", queues.join(", "))
}

/// Reads the log as a server would, and sees whose items are affected.
fn replay(layout: Layout, scanned: &Scanned, outcome: &mut Outcome) {
    let directory = layout.path.clone();
    let start = match layout.superblock {
        SuperState::Sound(known) | SuperState::OneSlot(known)
            if known.start != Start::EVERYTHING =>
        {
            known.start.checkpoint_segment()
        }
        _ => 0,
    };
    if let Err(error) = layout.check_complete() {
        return outcome.findings.push(Finding::of_file("", error.to_string()));
    }
    let config = reading_config(&directory);
    let recovered =
        match boot::recover_layout(&config, layout, Now { wall_ms: now_ms(), ..Now::default() }) {
            Ok(recovered) => recovered,
            Err(error) => return outcome.findings.push(Finding::of_file("", error.to_string())),
        };
    let broker = &recovered.booted.broker;
    let queues = broker.queues();
    let mut held = Holdings { queues: queues.len() as u64, ..Holdings::default() };
    for queue in &queues {
        held.items += queue.items;
        held.bytes += queue.bytes;
        held.delayed += queue.delayed;
        held.dead += queue.dead;
    }
    outcome.queues = Some(held);
    if scanned.losses.is_empty() {
        return;
    }
    let damaged: BTreeSet<u64> = scanned.losses.iter().map(|gap| gap.segment).collect();
    let lost = affected(&directory, broker, &damaged);
    for (queue, lost) in &lost {
        let text = format!("{} of queue {queue} cannot be read", count(*lost, "waiting item"));
        outcome.findings.push(Finding::of_file("", text));
    }
    // A body that is damaged is an item, and named.
    let is_open =
        |gap: &&Gap| gap.segment >= start && !matches!(gap.verdict, Verdict::DamagedBody { .. });
    if scanned.losses.iter().any(|gap| is_open(&gap)) {
        outcome.notes.push(
            "what is lost behind the last checkpoint may have been items or removals: a server serves what is left, and items may come again that were consumed"
                .to_owned(),
        );
    } else if lost.is_empty() && damaged.iter().all(|segment| *segment < start) {
        outcome.notes.push("no waiting item is at the damaged places".to_owned());
    }
}

/// The queues whose items in these segments cannot all be read, and how many cannot.
fn affected(directory: &Path, broker: &Broker, damaged: &BTreeSet<u64>) -> Vec<(String, u64)> {
    let mut segments = Segments::new(directory);
    let mut lost_items = Vec::new();
    for queue in broker.queues() {
        let lies_there = broker.segments_of(&queue.name).iter().any(|no| damaged.contains(no));
        let Some(mut look) = broker.look(&queue.name).filter(|_| lies_there) else { continue };
        let walked =
            segments.walk(broker, &mut look, |_, _| Ok::<(), std::convert::Infallible>(()));
        let Ok(lost) = walked;
        if lost > 0 {
            lost_items.push((String::from_utf8_lossy(&queue.name).into_owned(), lost));
        }
    }
    lost_items
}

/// What keeps the segments of a directory where they are while they are copied. Makes nothing: a directory without any lock was never used by a server, or is a copy.
pub(crate) fn lock_for_copy(directory: &Path) -> Result<Option<File>, DataDirError> {
    match lock_shared(directory) {
        Ok(file) => Ok(Some(file)),
        // Left by a version that knew no backups: none may start meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => DataDir::lock_if_there(directory),
        Err(source) => {
            let path = directory.join(BACKUP_LOCK);
            Err(DataDirError::Io { path, what: "lock it", source })
        }
    }
}

#[cfg(test)]
mod tests {
    use kqueue_broker::RecordSeq;

    use super::*;
    use crate::datadir::open_backup_lock;

    #[test]
    fn whoever_copies_keeps_segments_from_being_removed_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        assert!(lock_for_copy(directory.path()).unwrap().is_none(), "nothing is made");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let server = DataDir::open(directory.path()).unwrap();
        let held = lock_for_copy(directory.path()).unwrap();
        let beside = lock_for_copy(directory.path()).unwrap();
        let removing = open_backup_lock(directory.path()).unwrap();
        assert!(matches!(removing.try_lock(), Err(TryLockError::WouldBlock)));
        drop((held, beside));
        removing.try_lock().unwrap();
        drop((server, removing));
        // A version that knew no backups has left only its own lock.
        fs::remove_file(directory.path().join(BACKUP_LOCK)).unwrap();
        let _held = lock_for_copy(directory.path()).unwrap();
        assert!(matches!(DataDir::open(directory.path()), Err(DataDirError::Locked { .. })));
    }

    #[test]
    fn damage_is_said_with_what_it_means() {
        let names = BTreeMap::from([(1, "jobs".to_owned())]);
        let mut meta = vec![0; 32];
        meta[0] = 17;
        meta.extend_from_slice(&1u64.to_le_bytes());
        meta.extend_from_slice(&9u64.to_le_bytes());
        let mut gap = Gap {
            segment: 1,
            offset: 4096,
            bytes: 100,
            first_seq: RecordSeq(30),
            missing: 1,
            was_synced: true,
            verdict: Verdict::DamagedBody { seq: RecordSeq(30), kind: 3, meta },
        };
        let text = describe(&gap, &names);
        assert!(text.contains("record 30, which had been synced"), "{text}");
        assert!(text.ends_with("item 17 of jobs, number 9"), "{text}");
        (gap.verdict, gap.missing, gap.was_synced) = (Verdict::LostUnsynced, 3, false);
        let text = describe(&gap, &names);
        assert!(text.contains("3 records, 30 to 32, are lost") && text.contains("power cut"));
    }

    #[test]
    fn a_report_ends_with_the_verdict() {
        let mut held = Holdings { queues: 1, items: 2, bytes: 3, ..Holdings::default() };
        let mut outcome = Outcome { queues: Some(held), segments: (1, 1024), ..Outcome::default() };
        let text = render(Path::new("/d"), &outcome);
        assert_eq!(text, "1 queue, 2 items with 3 bytes; 1 segment, 1.0 KiB\n/d: sound\n");
        (held.delayed, held.dead) = (2, 1);
        let with_all = "1 queue, 2 items with 3 bytes (2 of them delayed), 1 dead letter";
        assert_eq!(held.to_string(), with_all);
        let offset = Some(7);
        outcome.findings.push(Finding { file: "f".into(), offset, text: "gone".into() });
        outcome.queues = None;
        let text = render(Path::new("/d"), &outcome);
        assert!(text.starts_with("DAMAGE: f byte 7: gone\nwhat the queues hold"), "{text}");
        assert!(text.ends_with("/d: 1 problem\n"), "{text}");
    }
}
