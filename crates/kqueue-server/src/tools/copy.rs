//! Copies a journal, also while a server appends to it: what backup and restore have in common.
//!
//! How it stays whole: while the source's `backup.lock` is held no segment is removed. Segments but for the newest do not change any more. Of the newest one the batches are copied
//! that are there when it is read. The superblock is read before that and after it: if it names the same checkpoint both times, the log up to the end of the copy says nothing that
//! this superblock does not allow for. So the copy is what a server would have left that was killed at that moment.
//!
//! Invariants: nothing is written to the source; the copy has its name only once every byte of it is on the disk and was read again.
//! Must not: copy half a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kqueue_broker::{
    HEADER_BYTES, Recovery, SUPERBLOCK_FILE, SuperState, Superblock, parse_header,
    segment_file_name,
};

use super::check::{self, CheckError, Outcome};
use super::progress::Progress;
use crate::datadir::{DataDir, DataDirError, IMPORT_STATE, give_to};

/// How often the end of the log is tried again when it went on under the copy. Each time only what is new is copied.
const ROUNDS_MAX: u32 = 1000;
/// A hole in what was just being written is read again so often; then it is damage.
const READS_MAX: u32 = 5;
/// Files are copied in pieces of this size, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(
        "{0} exists and is not empty; nothing was written. Name a directory that does not exist"
    )]
    NotEmpty(PathBuf),
    #[error("{0} has no name of its own; name a directory that does not exist")]
    NoName(PathBuf),
    #[error("{to} lies in {from}: the server would not start beside it. Name a directory outside")]
    Inside { to: PathBuf, from: PathBuf },
    #[error("another copy to {0} is being made")]
    Busy(PathBuf),
    #[error(
        "{path} holds {name}, which no copy has; it was not touched. Move it away, and try again"
    )]
    Stranger { path: PathBuf, name: String },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{0}: its log grows faster than it can be copied; try again when less is put")]
    TooFast(PathBuf),
    #[error(
        "what was copied is not what {from} holds: {finding}. The disk under {to} fails; nothing else was changed"
    )]
    BadCopy { from: PathBuf, to: PathBuf, finding: String },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_path_buf();
    move |source| CopyError::Io { what, path, source }
}

/// A directory beside its final name, and what keeps others from it.
pub(crate) struct Target {
    to: PathBuf,
    partial: PathBuf,
    /// User and group of the directory whose place it takes.
    owner: Option<(u32, u32)>,
    _held: File,
}

impl Target {
    /// Makes `TO.partial`, empty: what a copy left that was killed goes.
    pub(crate) fn prepare(to: &Path, from: &Path) -> Result<Self, CopyError> {
        match fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => return Err(CopyError::NotEmpty(to.to_path_buf())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("use", to)(error)),
        }
        let name = to.file_name().ok_or_else(|| CopyError::NoName(to.to_path_buf()))?;
        let parent = parent_of(to);
        if lies_in(parent, from)? {
            return Err(CopyError::Inside { to: to.to_path_buf(), from: from.to_path_buf() });
        }
        let mut partial_name = OsString::from(name);
        partial_name.push(".partial");
        let partial = to.with_file_name(partial_name);
        match DirBuilder::new().mode(0o700).create(&partial) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make", &partial)(error)),
        }
        let held = File::open(&partial).map_err(io_error("open", &partial))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::Busy(to.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &partial)(error)),
        }
        let (left, strangers) = DataDir::look(&partial)?;
        if let Some(name) = strangers.into_iter().next() {
            return Err(CopyError::Stranger { path: partial, name });
        }
        let state = partial.join(IMPORT_STATE);
        let files = left.segments.into_iter().map(|(_, path)| path).chain(left.superblock);
        for file in files.chain(state.exists().then_some(state)) {
            fs::remove_file(&file).map_err(io_error("remove", &file))?;
        }
        let owner = fs::metadata(to).ok().map(|found| (found.uid(), found.gid()));
        Ok(Self { to: to.to_path_buf(), partial, owner, _held: held })
    }

    /// Gives the copy its name, durably.
    fn finish(self) -> Result<(), CopyError> {
        if let Some((user, group)) = self.owner {
            give_to(&self.partial, user, group)
                .map_err(|(path, error)| io_error("give to its owner", &path)(error))?;
        }
        fs::rename(&self.partial, &self.to).map_err(io_error("rename the copy to", &self.to))?;
        let parent = parent_of(&self.to);
        sync_directory(parent)
    }
}

/// Whether a directory is another one or lies in it, whatever both are called.
fn lies_in(directory: &Path, other: &Path) -> Result<bool, CopyError> {
    let identity = |path: &Path| {
        let found = fs::metadata(path).map_err(io_error("use", path))?;
        Ok::<_, CopyError>((found.dev(), found.ino()))
    };
    let other = identity(other)?;
    let mut path = directory.to_path_buf();
    let mut here = identity(&path)?;
    loop {
        if here == other {
            return Ok(true);
        }
        path.push("..");
        let above = identity(&path)?;
        // Only the root is its own parent.
        if above == here {
            return Ok(false);
        }
        here = above;
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(path: &Path) -> Result<(), CopyError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io_error("sync", path))
}

/// Copies the journal in `from` to the target, reads the copy, and gives it its name if `accept` says so. Answers what was found in it.
pub(crate) fn copy(
    from: &Path,
    target: Target,
    accept: impl FnOnce(&Outcome) -> Result<(), CopyError>,
) -> Result<Outcome, CopyError> {
    let (found, _) = DataDir::look(from)?;
    if found.segments.is_empty() && found.superblock.is_none() {
        return Err(CheckError::NoJournal(from.to_path_buf()).into());
    }
    let held = check::lock_for_copy(from)?;
    let to = target.partial.clone();
    let state = from.join(IMPORT_STATE);
    if state.exists() {
        let bytes = fs::read(&state).map_err(io_error("read", &state))?;
        write_synced(&to.join(IMPORT_STATE), &bytes, bytes.len() as u64)?;
    }
    let bytes = found.segments.iter().map(|(_, path)| fs::metadata(path).map_or(0, |m| m.len()));
    let progress = Progress::new(bytes.sum());
    progress.say("copying");
    copy_log(from, &to, &progress)?;
    drop(held);
    sync_directory(&to)?;
    progress.say("reading the copy");
    let outcome = check::check(&to)?;
    drop(progress);
    accept(&outcome)?;
    target.finish()?;
    Ok(outcome)
}

/// Copies segments and superblock so that they belong together.
fn copy_log(from: &Path, to: &Path, progress: &Progress) -> Result<(), CopyError> {
    let mut copied = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let newest = copy_sealed(from, to, &mut copied, progress)?;
        let before = read_superblock(from)?;
        let (found, _) = DataDir::look(from)?;
        let Some((number, path)) = found.segments.last() else {
            return write_superblock(to, before.as_deref());
        };
        if newest != Some(*number) {
            continue;
        }
        copy_newest(*number, path, to)?;
        let after = read_superblock(from)?;
        if start_of(before.as_deref()) == start_of(after.as_deref()) {
            return write_superblock(to, before.as_deref());
        }
    }
    Err(CopyError::TooFast(from.to_path_buf()))
}

/// Copies all segments but the newest, whose number is answered; they do not change any more.
fn copy_sealed(
    from: &Path,
    to: &Path,
    copied: &mut BTreeSet<u64>,
    progress: &Progress,
) -> Result<Option<u64>, CopyError> {
    let (found, _) = DataDir::look(from)?;
    let Some((newest, sealed)) = found.segments.split_last() else { return Ok(None) };
    for (number, path) in sealed {
        if copied.insert(*number) {
            copy_file(path, &to.join(segment_file_name(*number)), progress)?;
        }
    }
    Ok(Some(newest.0))
}

fn copy_file(from: &Path, to: &Path, progress: &Progress) -> Result<(), CopyError> {
    let mut source = File::open(from).map_err(io_error("read", from))?;
    let mut copy = create(to)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match source.read(&mut piece).map_err(io_error("read", from))? {
            0 => break,
            count => {
                copy.write_all(&piece[..count]).map_err(io_error("write", to))?;
                progress.add(count as u64);
            }
        }
    }
    copy.sync_all().map_err(io_error("sync", to))
}

fn create(path: &Path) -> Result<File, CopyError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(io_error("make", path))
}

/// Writes a file and syncs it. What is left up to `length` is zeros, and really written: a server on a full disk may have to go on in that file.
fn write_synced(path: &Path, bytes: &[u8], length: u64) -> Result<(), CopyError> {
    let mut file = create(path)?;
    let zeros = length.saturating_sub(bytes.len() as u64);
    file.write_all(bytes)
        .and_then(|()| io::copy(&mut io::repeat(0).take(zeros), &mut file))
        .and_then(|_| file.sync_all())
        .map_err(io_error("write", path))
}

/// Copies the batches of the newest segment that are there now.
fn copy_newest(number: u64, path: &Path, to: &Path) -> Result<(), CopyError> {
    let mut file = Vec::new();
    let mut used_bytes = None;
    for _ in 0..READS_MAX {
        file = fs::read(path).map_err(io_error("read", path))?;
        used_bytes = whole_batches(&file);
        if used_bytes.is_some() {
            break;
        }
    }
    // Damage is copied as it is.
    let used = used_bytes.unwrap_or(file.len()).min(file.len());
    write_synced(&to.join(segment_file_name(number)), &file[..used], file.len() as u64)
}

/// How many bytes of a segment hold whole batches; `None` if there is a hole between them, or no header: it was read while it was written, or it is damaged.
fn whole_batches(file: &[u8]) -> Option<usize> {
    let header = parse_header(file.get(..HEADER_BYTES.min(file.len()))?).ok()?;
    let mut recovery = Recovery::with_holes(BTreeMap::new());
    let end = recovery.segment(&header, file, None, &mut |_| {}).ok()?;
    let has_hole = recovery.finish().gaps.iter().any(|gap| gap.is_loss());
    (!has_hole).then(|| usize::try_from(end.used_bytes).unwrap_or(usize::MAX))
}

/// The superblock's bytes; `None` if there is none. One slot may be in the middle of being written.
fn read_superblock(from: &Path) -> Result<Option<Vec<u8>>, CopyError> {
    let path = from.join(SUPERBLOCK_FILE);
    let mut bytes = Vec::new();
    for _ in 0..READS_MAX {
        bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if matches!(Superblock::read(&bytes), SuperState::Sound(_)) {
            break;
        }
    }
    Ok(Some(bytes))
}

/// Where a superblock says that reading begins.
fn start_of(superblock: Option<&[u8]>) -> Option<kqueue_broker::Start> {
    match superblock.map(Superblock::read)? {
        SuperState::Sound(known) | SuperState::OneSlot(known) => Some(known.start),
        SuperState::Damaged | SuperState::Version(_) => None,
    }
}

fn write_superblock(to: &Path, bytes: Option<&[u8]>) -> Result<(), CopyError> {
    match bytes {
        Some(bytes) => write_synced(&to.join(SUPERBLOCK_FILE), bytes, bytes.len() as u64),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of a batch of two records and a batch of one; ends at 0x10d0.
    fn segment() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kqueue-journal/fixtures/v2.kq");
        fs::read(path).unwrap()
    }

    #[test]
    fn only_whole_batches_are_taken() {
        let file = segment();
        assert_eq!(whole_batches(&file), Some(0x10d0));
        // The marker of the second batch is not there yet, or a part of its record.
        for cut in 0x1080..0x10b0 {
            let mut torn = file.clone();
            torn[cut..].fill(0);
            assert_eq!(whole_batches(&torn), Some(0x107f), "cut at {cut:x}");
        }
    }

    #[test]
    fn a_batch_that_came_while_the_one_before_was_read_is_no_whole() {
        let mut file = segment();
        file[0x1000..0x1080].fill(0);
        assert_eq!(whole_batches(&file), None);
        assert_eq!(whole_batches(&file[..100]), None);
    }

    #[test]
    fn a_target_must_be_new_or_empty_and_outside() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("data");
        fs::create_dir(&from).unwrap();
        let to = root.path().join("backup");
        drop(Target::prepare(&to, &from).unwrap());
        fs::create_dir(&to).unwrap();
        drop(Target::prepare(&to, &from).unwrap());
        fs::write(to.join("x"), "x").unwrap();
        assert!(matches!(Target::prepare(&to, &from), Err(CopyError::NotEmpty(_))));
        fs::create_dir(from.join("deep")).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(from.join("deep"), &link).unwrap();
        for inside in [from.join("backup"), from.join("deep/backup"), link.join("backup")] {
            let inside = Target::prepare(&inside, &from);
            assert!(matches!(inside, Err(CopyError::Inside { .. })));
        }
    }

    #[test]
    fn what_a_killed_copy_left_goes_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("data"), root.path().join("backup"));
        fs::create_dir(&from).unwrap();
        let partial = root.path().join("backup.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join(segment_file_name(4)), "x").unwrap();
        let held = Target::prepare(&to, &from).unwrap();
        assert_eq!(fs::read_dir(&partial).unwrap().count(), 0);
        assert!(matches!(Target::prepare(&to, &from), Err(CopyError::Busy(_))));
        drop(held);
        fs::write(partial.join("letter.txt"), "x").unwrap();
        assert!(matches!(Target::prepare(&to, &from), Err(CopyError::Stranger { .. })));
        assert!(partial.join("letter.txt").exists());
    }
}
