//! `kqueue-server import-kestrel`: takes over the queues of a Kestrel server.
//!
//! Items go through engine and journal like puts, each into exactly the queue in which it was, with the time at which it was put there. A piece is synced before the next one is
//! put, so after any end of the process the journal holds the first so many items of each queue, and no others; another run counts them and goes on behind
//! (`import_state.rs`).
//!
//! Invariants: Kestrel's files are only read; no item is left out without being counted and said.
//! Must not: run beside a server.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kqueue_broker::{ConfigTable, ItemId, Name};
use kqueue_kestrel::{
    Anomaly, Broken, Error as SourceError, Item, Queue, QueueReader, SkipReason, Source, Warning,
};

use super::import_state::{Finished, Print, Running, State, StateError};
use super::progress::Progress;
use super::{DAMAGED, DONE, FAILED, count, human_bytes};
use crate::boot::{self, BootError};
use crate::clock::Clock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError, give_to};
use crate::run::start_threads;
use crate::shared::{Settled, Shared};

/// Put and synced in one go, in bytes: below what the journal writes as one batch, so that a power cut takes all of it or nothing.
const PIECE_BYTES_MAX: u64 = 512 * 1024;
/// The same as a part of a segment, where segments are short.
const PIECES_PER_SEGMENT: u64 = 16;
/// What an item takes in the journal besides its body, at most, in bytes.
const OVERHEAD_BYTES: u64 = 100;
/// What may stay in memory of the items that were put, in bytes.
const MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// What to import.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kestrel's journal directory.
    pub from: PathBuf,
    /// Names of queues; none: all of them.
    pub queues: Vec<String>,
    /// Also queues that were imported before, and whose files are others since.
    pub is_again: bool,
}

#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("{from}: there is no queue {name}; there are: {there}")]
    NoQueue { from: PathBuf, name: String, there: String },
    #[error("{0}: no Kestrel journal is in it")]
    NothingThere(PathBuf),
    #[error(
        "{data_dir}: another import has not come to its end: that of {queues} from {from}. Run that one again first, with the same --queue arguments"
    )]
    Other { data_dir: PathBuf, from: String, queues: String },
    #[error(
        "{from}: the files of queue {queue} are not those with which the import began (another length or time). Bring them back and run it again; or begin anew with an empty --data-dir"
    )]
    SourceChanged { from: PathBuf, queue: String },
    #[error(
        "imported before, and the files have changed since: {0}. All that is in them would be put again, so nothing was imported. Begin anew with an empty --data-dir, name the other queues with --queue; or say --again if all of it is wanted (a queue of another Kestrel server has the same name)"
    )]
    Before(String),
    #[error(
        "queue {queue} holds {there} imported items, but only {left} are left to import: this data directory was changed by something else. Begin anew with an empty --data-dir"
    )]
    TooMany { queue: String, there: u64, left: u64 },
    #[error(
        "how many items of queue {queue} are imported cannot be told any more, because older ones were moved between them. Begin anew with an empty --data-dir"
    )]
    Unknown { queue: String },
    #[error(
        "queue {queue}: its item {number} has {bytes} bytes, more than server.max_item_size ({max}). Raise that in the configuration and run the import again with --config: it goes on with this item"
    )]
    TooLarge { queue: String, number: u64, bytes: usize, max: usize },
    #[error(
        "out of disk space in {0}. Make space and run the import again: it goes on where it was"
    )]
    NoSpace(PathBuf),
    #[error(
        "the journal in {0} failed, see above. Repair the disk and run the import again: it goes on where it was"
    )]
    JournalFailed(PathBuf),
}

/// Imports into `config.data_dir`. Answers the exit code.
pub fn run(config: Config, options: &Options) -> u8 {
    let data_dir = config.data_dir.clone();
    let result = import(config, options);
    // Also if it is not done: the server must be able to say so.
    give_to_owner(&data_dir);
    match result {
        Ok(is_whole) => {
            if is_whole {
                DONE
            } else {
                DAMAGED
            }
        }
        Err(error) => {
            eprintln!("kqueue-server import-kestrel: {error}");
            FAILED
        }
    }
}

/// What an import by root made must be the server's.
fn give_to_owner(data_dir: &Path) {
    // A directory that is not there has no owner.
    let Ok(owner) = fs::metadata(data_dir) else { return };
    if let Err((path, error)) = give_to(data_dir, owner.uid(), owner.gid()) {
        eprintln!(
            "warning: cannot give {} to the owner of {}: {error}. Do it before the server starts, with chown",
            path.display(),
            data_dir.display()
        );
    }
}

/// The configuration with what an import needs: nothing is dropped, moved or expired while it runs, and a journal that is damaged is not touched.
fn import_config(config: Config) -> Config {
    let mut config = Config {
        queues: ConfigTable::default(),
        log_cap_bytes: u64::MAX,
        strict: true,
        expiration_timer_frequency: None,
        ..config
    };
    config.engine.max_memory_size = MEMORY_BYTES;
    config.engine.max_queues = u64::MAX;
    config
}

/// Answers whether everything could be imported.
fn import(config: Config, options: &Options) -> Result<bool, ImportError> {
    let config = import_config(config);
    let source = Source::open(&options.from)?;
    let chosen = choose(&source, options)?;
    let mut is_whole = true;
    for skipped in source.skipped() {
        eprintln!("note: {}: {}", skipped.path.display(), reason(skipped.reason));
    }
    let (chosen, unusable): (Vec<&Queue>, Vec<&Queue>) =
        chosen.into_iter().partition(|queue| Name::check(&queue.name).is_ok());
    for queue in unusable {
        is_whole = false;
        let error = Name::check(&queue.name).err().map(|error| error.to_string());
        let items = QueueReader::replay(queue, &mut |_| {})?.summary().items;
        eprintln!(
            "NOT IMPORTED: queue \"{}\", {}: not a name of a queue here: {}",
            queue.name.escape_ascii(),
            count(items, "item"),
            error.unwrap_or_default()
        );
    }
    let data_dir = DataDir::open_if(&config.data_dir, |found| {
        boot::check_formats(found).map_err(ImportError::from)
    })?;
    let mut state = State::read(&config.data_dir)?;
    let left = left_to_do(&state, &config.data_dir, options, &chosen)?;
    if left.is_empty() && state.running.is_none() {
        println!("nothing to import");
        return Ok(is_whole);
    }
    let clock = Clock::start();
    let booted = boot::boot_in(&config, &clock, data_dir)?;
    let running = match state.running.clone() {
        Some(running) => running,
        None => {
            let running = Running {
                from: absolute(&options.from),
                last_id: booted.broker.last_id().0,
                begun_ms: now_ms(),
                queues: left.iter().map(|queue| Print::of(queue)).collect(),
            };
            state.running = Some(running.clone());
            state.write(&config.data_dir)?;
            running
        }
    };
    let mut work = Importer::start(&config, booted, clock, &running, &left)?;
    let result = left.iter().try_for_each(|queue| work.queue(queue).map(|ok| is_whole &= ok));
    // On a full disk there is no good end to wait for: it is as if the process were killed.
    if !matches!(result, Err(ImportError::NoSpace(_))) {
        work.stop()?;
    }
    result?;
    is_whole &= !has_changed(&options.from, &running)?;
    state.running = None;
    let ended_ms = now_ms();
    state.finished.extend(running.queues.into_iter().map(|print| Finished {
        from: running.from.clone(),
        ended_ms,
        print,
    }));
    state.write(&config.data_dir)?;
    Ok(is_whole)
}

/// The queues that the arguments name.
fn choose<'a>(source: &'a Source, options: &Options) -> Result<Vec<&'a Queue>, ImportError> {
    if source.queues().is_empty() {
        return Err(ImportError::NothingThere(options.from.clone()));
    }
    if options.queues.is_empty() {
        return Ok(source.queues().iter().collect());
    }
    let find = |name: &String| {
        source.queues().iter().find(|queue| queue.name == name.as_bytes()).ok_or_else(|| {
            let names = source.queues().iter().map(|queue| queue.name.escape_ascii().to_string());
            ImportError::NoQueue {
                from: options.from.clone(),
                name: name.clone(),
                there: names.collect::<Vec<_>>().join(", "),
            }
        })
    };
    let mut queues: Vec<&Queue> = options.queues.iter().map(find).collect::<Result<_, _>>()?;
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    queues.dedup();
    Ok(queues)
}

/// The queues that are not imported yet; if an import was begun, exactly its queues.
fn left_to_do<'a>(
    state: &State,
    data_dir: &Path,
    options: &Options,
    chosen: &[&'a Queue],
) -> Result<Vec<&'a Queue>, ImportError> {
    let mut left = Vec::new();
    for queue in chosen {
        let print = Print::of(queue);
        match state.has(&print) {
            Some(finished) => println!(
                "{}: was imported already, from {}; nothing is done",
                print.queue, finished.from
            ),
            None => left.push(*queue),
        }
    }
    let Some(running) = &state.running else {
        let before: Vec<String> =
            left.iter().filter_map(|queue| imported_before(state, queue)).collect();
        return match before.is_empty() || options.is_again {
            true => Ok(left),
            false => Err(ImportError::Before(before.join(", "))),
        };
    };
    let names = |queues: &mut dyn Iterator<Item = String>| queues.collect::<Vec<_>>();
    let wanted = names(&mut left.iter().map(|queue| Print::of(queue).queue));
    let begun = names(&mut running.queues.iter().map(|print| print.queue.clone()));
    if wanted != begun {
        return Err(ImportError::Other {
            data_dir: data_dir.to_path_buf(),
            from: running.from.clone(),
            queues: begun.join(", "),
        });
    }
    for (queue, print) in left.iter().zip(&running.queues) {
        if Print::of(queue) != *print {
            let (from, queue) = (options.from.clone(), print.queue.clone());
            return Err(ImportError::SourceChanged { from, queue });
        }
    }
    Ok(left)
}

/// What to say of a queue of which other files were imported: what is still in them would come a second time.
fn imported_before(state: &State, queue: &Queue) -> Option<String> {
    let Print { queue: name, .. } = Print::of(queue);
    let before = state.finished.iter().rev().find(|finished| finished.print.queue == name)?;
    let then = before.print.files.iter().map(|file| file.bytes).sum();
    Some(format!(
        "{name} (from {}, which had {} of it, and now {})",
        before.from,
        count(then, "byte"),
        count(queue.bytes(), "byte")
    ))
}

/// Whether the files are not those with which the import began; says so.
fn has_changed(from: &Path, running: &Running) -> Result<bool, ImportError> {
    let source = Source::open(from)?;
    let now: Vec<Print> = source.queues().iter().map(Print::of).collect();
    let mut has_changed = false;
    for print in running.queues.iter().filter(|print| !now.contains(print)) {
        has_changed = true;
        eprintln!(
            "WARNING: the files of queue {} changed while they were read: is a Kestrel server still at work there? What it did since is not imported",
            print.queue
        );
    }
    Ok(has_changed)
}

/// The journal into which the items go.
struct Importer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // Held until the end: nobody else may use the directory.
    data_dir: DataDir,
    progress: Progress,
    /// What is done of it.
    done_bytes: u64,
    max_item_size: usize,
    piece_bytes_max: u64,
    begun_ms: u64,
    /// Queues, and how many of their items are in the journal.
    there: Vec<(Vec<u8>, u64)>,
}

impl Importer {
    fn start(
        config: &Config,
        booted: boot::Booted,
        clock: Clock,
        running: &Running,
        queues: &[&Queue],
    ) -> Result<Self, ImportError> {
        let mut there = Vec::new();
        for queue in queues {
            let counted = booted.broker.count_above(&queue.name, ItemId(running.last_id));
            let counted =
                counted.ok_or_else(|| ImportError::Unknown { queue: text(&queue.name) })?;
            there.push((queue.name.clone(), counted));
        }
        let shared = Shared::new(booted.broker, booted.disk, booted.quarantine, clock);
        let threads = start_threads(&shared).map_err(|error| match error {
            crate::run::RunError::Thread(source) => ImportError::Thread(source),
            _ => ImportError::JournalFailed(config.data_dir.clone()),
        })?;
        // Every file is read twice.
        let bytes = queues.iter().map(|queue| 2 * queue.bytes()).sum();
        Ok(Self {
            shared,
            threads,
            data_dir: booted.data_dir,
            progress: Progress::new(bytes),
            done_bytes: 0,
            max_item_size: config.max_item_size,
            piece_bytes_max: PIECE_BYTES_MAX.min(config.segment_bytes / PIECES_PER_SEGMENT),
            begun_ms: running.begun_ms,
            there,
        })
    }

    /// Imports what is left of a queue, and says what was done. False: something of it could not be read.
    fn queue(&mut self, queue: &Queue) -> Result<bool, ImportError> {
        let name = text(&queue.name);
        self.progress.say(&name);
        let (base, bytes) = (self.done_bytes, queue.bytes());
        let mut reader =
            QueueReader::replay(queue, &mut |done| self.progress.set(base + done.min(bytes)))?;
        let mut is_whole = true;
        for warning in &reader.warnings().kept {
            is_whole &= is_harmless(warning, queue);
            self.progress.line(&format!("warning: {warning}"));
        }
        let unsaid = reader.warnings().total - reader.warnings().kept.len() as u64;
        if unsaid > 0 {
            self.progress.line(&format!("warning: {name}: {unsaid} more like these"));
        }
        self.shared.change(|now, broker| broker.import_queue(now, &queue.name));
        self.sync()?;
        let there = self.there.iter().find(|(name, _)| *name == queue.name);
        let there = there.map_or(0, |(_, there)| *there);
        let mut done = Counts::default();
        let mut piece = Vec::new();
        let mut piece_bytes = 0;
        while let Some(item) = reader.next().transpose()? {
            if item.expiry_ms.is_some_and(|expiry_ms| expiry_ms < self.begun_ms) {
                done.expired += 1;
                continue;
            }
            done.items += 1;
            done.bytes += item.body.len() as u64;
            done.empty += u64::from(item.body.is_empty());
            if done.items <= there {
                continue;
            }
            if item.body.len() > self.max_item_size {
                self.put(&queue.name, &mut piece)?;
                let (bytes, max) = (item.body.len(), self.max_item_size);
                return Err(ImportError::TooLarge { queue: name, number: done.items, bytes, max });
            }
            let bytes_of_item = item.body.len() as u64 + OVERHEAD_BYTES;
            if piece_bytes + bytes_of_item > self.piece_bytes_max {
                self.put(&queue.name, &mut piece)?;
                piece_bytes = 0;
                let total = reader.summary().body_bytes.max(1);
                let part = u128::from(bytes) * u128::from(reader.body_bytes_done().min(total));
                self.progress.set(base + bytes + (part / u128::from(total)) as u64);
            }
            piece_bytes += bytes_of_item;
            piece.push(item);
        }
        self.put(&queue.name, &mut piece)?;
        self.done_bytes += 2 * bytes;
        self.progress.set(self.done_bytes);
        if done.items < there {
            return Err(ImportError::TooMany { queue: name, there, left: done.items });
        }
        let (warnings, lost) = (reader.warnings().total, reader.warnings().bytes_lost);
        self.progress.print(&done.line(&name, there, reader.summary().were_open, warnings, lost));
        Ok(is_whole)
    }

    /// Puts items into the journal and waits until they are on the disk.
    fn put(&self, queue: &[u8], piece: &mut Vec<Item>) -> Result<(), ImportError> {
        let items: Vec<Item> = std::mem::take(piece);
        if items.is_empty() {
            return Ok(());
        }
        let is_put = self.shared.change(|now, broker| {
            items.into_iter().all(|item| {
                let body = Bytes::from(item.body);
                let expiry_ms = item.expiry_ms.unwrap_or(0);
                broker.import(now, queue, &body, item.add_time_ms, expiry_ms)
            })
        });
        self.sync()?;
        if is_put { Ok(()) } else { Err(ImportError::NoSpace(self.data_dir.path.clone())) }
    }

    fn sync(&self) -> Result<(), ImportError> {
        match self.shared.wait_until_settled() {
            Settled::Synced => Ok(()),
            Settled::Failed => Err(ImportError::JournalFailed(self.data_dir.path.clone())),
            Settled::NoSpace => Err(ImportError::NoSpace(self.data_dir.path.clone())),
        }
    }

    fn stop(self) -> Result<(), ImportError> {
        self.shared.stop();
        let failed = || ImportError::JournalFailed(self.data_dir.path.clone());
        for thread in self.threads {
            thread.join().map_err(|_| failed())?;
        }
        if self.shared.progress().poisoned {
            return Err(failed());
        }
        match self.shared.is_settled() {
            true => Ok(()),
            false => Err(ImportError::NoSpace(self.data_dir.path.clone())),
        }
    }
}

/// What was done with a queue, by this run and those before.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    items: u64,
    bytes: u64,
    expired: u64,
    empty: u64,
}

impl Counts {
    fn line(&self, name: &str, there: u64, were_open: u64, warnings: u64, lost: u64) -> String {
        let mut line =
            format!("{name}: {} with {}", count(self.items, "item"), human_bytes(self.bytes));
        for (number, what) in [
            (there, "imported by an earlier run"),
            (self.expired, "expired and left out"),
            (were_open, "open when Kestrel ended"),
            (self.empty, "empty (Kestrel leaves some in place of items that are gone)"),
            (warnings, "warnings"),
        ] {
            if number > 0 {
                line.push_str(&format!("; {what}: {number}"));
            }
        }
        if lost > 0 {
            line.push_str(&format!("; could not be read: {}", count(lost, "byte")));
        }
        line
    }
}

/// What a crash of Kestrel leaves at the end of what it wrote last; nothing of it had been acknowledged for longer than a moment.
fn is_harmless(warning: &Warning, queue: &Queue) -> bool {
    let is_newest = queue.files.last().is_some_and(|last| last.path == warning.file);
    match warning.what {
        Anomaly::Broken(Broken::CutOff | Broken::PastTheEnd { .. }) => is_newest,
        Anomaly::Broken(Broken::SizeTooSmall { size: 0 }) => is_newest,
        Anomaly::Broken(_) => false,
        Anomaly::NothingToRemove
        | Anomaly::NothingToReserve
        | Anomaly::NotOpen { .. }
        | Anomaly::StillOpen { .. }
        | Anomaly::OlderThanArchive => true,
    }
}

fn reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Temporary => {
            "not read: Kestrel never finished it; what it was made from is there"
        }
        SkipReason::Foreign => "not read: no file of a Kestrel journal",
        SkipReason::Packed => "not read: a .pack file has its contents",
        SkipReason::NotAFile => "not read: no file",
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn absolute(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(names: &[&str]) -> Queue {
        let file = |name: &&str| kqueue_kestrel::JournalFile {
            path: PathBuf::from(name),
            bytes: 1,
            mtime_ms: 2,
            archived_at_ms: None,
        };
        Queue { name: b"q".to_vec(), files: names.iter().map(file).collect() }
    }

    #[test]
    fn a_torn_tail_is_harmless_only_at_the_end_of_the_newest_file() {
        let queue = queue(&["q.1", "q"]);
        let at = |file: &str, broken| {
            let what = Anomaly::Broken(broken);
            let warning = Warning { file: PathBuf::from(file), offset: 0, bytes_lost: 1, what };
            is_harmless(&warning, &queue)
        };
        for torn in [Broken::CutOff, Broken::PastTheEnd { size: 9 }] {
            assert!(at("q", torn) && !at("q.1", torn), "{torn:?}");
        }
        assert!(at("q", Broken::SizeTooSmall { size: 0 }), "zeros");
        assert!(!at("q", Broken::SizeTooSmall { size: 3 }));
        assert!(!at("q", Broken::UnknownOpcode { opcode: 77 }));
    }

    #[test]
    fn a_queue_is_imported_once_unless_its_files_are_others() {
        let mut options = Options { from: "/k".into(), queues: Vec::new(), is_again: false };
        let (data_dir, old, new) = (Path::new("/d"), queue(&["q"]), queue(&["q.1", "q"]));
        let mut state = State::default();
        let finished = Finished { from: "/k".into(), ended_ms: 1, print: Print::of(&old) };
        state.finished.push(finished);
        let again = |state: &State, queue: &Queue, options: &Options| {
            left_to_do(state, data_dir, options, &[queue]).map(|left| left.len())
        };
        assert_eq!(again(&state, &old, &options).unwrap(), 0);
        let error = again(&state, &new, &options).unwrap_err();
        assert!(matches!(error, ImportError::Before(_)), "{error}");
        options.is_again = true;
        assert_eq!(again(&state, &new, &options).unwrap(), 1);
        // An import that was begun goes on as it began.
        options.is_again = false;
        let left = |state: &State, queue: &Queue| again(state, queue, &options);
        state.running = Some(Running {
            from: "/k".into(),
            last_id: 0,
            begun_ms: 1,
            queues: vec![Print::of(&new)],
        });
        assert_eq!(left(&state, &new).unwrap(), 1);
        assert!(matches!(left(&state, &old), Err(ImportError::Other { .. })));
        let changed = queue(&["q.1", "q.2", "q"]);
        assert!(matches!(left(&state, &changed), Err(ImportError::SourceChanged { .. })));
    }
}
