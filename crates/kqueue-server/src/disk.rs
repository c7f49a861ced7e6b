//! Executes the journal's disk operations on real files.
//!
//! Invariants
//! - A segment gets its name only once its header is on the disk; a file that has a segment's name has a whole header.
//! - A new segment's blocks have really been written once (zeros): overwriting written blocks syncs in half the time of appending, and cannot fail for want of space.
//! - Nothing is retried: what failed is reported, and the journal decides.
//!
//! Must not: decide what is written where or when.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kqueue_broker::{
    DiskFault, DiskOp, FaultKind, Job, SLOT_BYTES, SUPERBLOCK_FILE, SegmentRead, Superblock,
    segment_file_name,
};
use parking_lot::Mutex;
use rustix::fs::{Advice, fadvise};
use tracing::warn;

use crate::datadir::{SUPERBLOCK_NEW, open_backup_lock, spare_file_name};

/// Spare files kept; more segments that go are unlinked.
const SPARES_MAX: usize = 2;
/// Where a piece cannot be read, it is tried in blocks of this size, so that only what is really gone is given up.
const BLOCK_BYTES: usize = 4096;
/// Behind a piece that is at least so long, so much more is asked of the disk ahead of time.
const READ_AHEAD_FROM: u64 = 256 * 1024;
const READ_AHEAD_BYTES: u64 = 1024 * 1024;
const EMFILE: i32 = 24;
/// What the system says when it cannot give another file descriptor, or memory, for the moment: `EMFILE`, `ENFILE`, `ENOMEM`.
const TRANSIENT: [i32; 3] = [EMFILE, 23, 12];
/// A removal that had to wait for a backup is tried again every second; after so many tries somebody should look at it.
const LONG_BACKUP_TRIES: u32 = 600;
/// Zeros are written so many at a time. What is written at once stays together in the page cache (large folios), and every later write of a record there goes through all
/// blocks of it: 1 MiB makes those take 2.7 times as long, on ext4 of Linux 6.18; less than this makes none faster, and filling the file slower.
const ZEROS_BYTES: usize = 64 * 1024;
/// And synced so many at a time, see [`write_zeros`].
const PIECE_BYTES_MIN: u64 = 1024 * 1024;
const PIECE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SLOW_SYNC: Duration = Duration::from_millis(5);

/// The directory with the segments, and the files that are open.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    segment_bytes: u64,
    files: Mutex<Files>,
    superblock: File,
    /// The directory itself, to sync it: that must not fail for want of a descriptor.
    directory_file: File,
    /// A descriptor that is given up when the system has no other one for the journal.
    reserve: Mutex<Option<File>>,
    /// How often in a row a removal had to wait for a backup.
    postponed: AtomicU32,
}

/// Segments that are kept open.
const OPEN_MAX: usize = 8;

#[derive(Debug, Default)]
struct Files {
    open: HashMap<u64, Arc<File>>,
    spares: Vec<PathBuf>,
    next_spare: u64,
}

impl Disk {
    /// Works in `directory`, which is locked and listed already; `spares` are the spare files in it. Makes the superblock's file if there is none.
    ///
    /// # Errors
    /// If that file cannot be opened or made.
    pub fn new(directory: &Path, segment_bytes: u64, spares: Vec<PathBuf>) -> io::Result<Self> {
        let files = Files { spares, ..Files::default() };
        let superblock = open_superblock(directory)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            segment_bytes,
            files: Mutex::new(files),
            superblock,
            directory_file: File::open(directory)?,
            reserve: Mutex::new(File::open("/dev/null").ok()),
            postponed: AtomicU32::new(0),
        })
    }

    /// Makes a spare if there is none: the first put does not wait for it, and it is known from the start whether there is space.
    ///
    /// # Errors
    /// The fault.
    pub fn make_first_spare(&self) -> Result<(), DiskFault> {
        self.execute(&DiskOp::Prepare { spares: 1 })
    }

    /// Overwrites a segment with zeros, from `offset` to its end, and syncs it. That needs no space, unless the file has holes, or the file system copies what is overwritten.
    ///
    /// # Errors
    /// The fault.
    pub fn clear(&self, segment: u64, offset: u64) -> Result<(), DiskFault> {
        let clear = || {
            let file = self.file(segment)?;
            let zeros = vec![0; ZEROS_BYTES];
            let (mut at, end) = (offset, file.metadata()?.len());
            while at < end {
                let length = zeros.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                file.write_all_at(&zeros[..length], at)?;
                at += length as u64;
            }
            file.sync_all()?;
            // Whoever made it may have been killed before its name was on the disk.
            self.sync_directory()
        };
        clear().map_err(|error| self.fault_in("clear the rest of", segment, &error))
    }

    /// Does something that needs a descriptor; if there is none left in the process, with the one that is kept for this.
    fn with_descriptor<T>(&self, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if error.raw_os_error() == Some(EMFILE) => {
                let Some(given_up) = self.reserve.lock().take() else { return Err(error) };
                drop(given_up);
                work()
            }
            other => other,
        }
    }

    /// Takes back the descriptor that is kept, as soon as there is one.
    fn refill_reserve(&self) {
        let mut reserve = self.reserve.lock();
        if reserve.is_none() {
            // Without one it is tried again with the next job.
            *reserve = File::open("/dev/null").ok();
        }
    }

    /// Runs a job's operations in order.
    ///
    /// # Errors
    /// The first fault; later operations are not tried.
    pub fn run(&self, job: &Job) -> Result<(), DiskFault> {
        let result = job.ops.iter().try_for_each(|op| self.execute(op));
        if !job.is_write_only {
            self.refill_reserve();
        }
        result
    }

    fn execute(&self, op: &DiskOp) -> Result<(), DiskFault> {
        match op {
            DiskOp::Prepare { spares } => self
                .prepare(*spares)
                .map_err(|error| fault("make a spare segment", &self.directory, &error)),
            DiskOp::Create { segment, header } => self.create(*segment, header),
            DiskOp::Write { segment, offset, chunks } => {
                let mut at = *offset;
                let file =
                    self.file(*segment).map_err(|error| self.fault_in("open", *segment, &error))?;
                for chunk in chunks {
                    file.write_all_at(chunk, at)
                        .map_err(|error| self.fault_in("write", *segment, &error))?;
                    at += chunk.len() as u64;
                }
                Ok(())
            }
            DiskOp::Sync { segment } => self
                .file(*segment)
                .and_then(|file| file.sync_data())
                .map_err(|error| self.fault_in("sync", *segment, &error)),
            DiskOp::Flush { segment } => {
                // One of its own: what it finds wrong, the sync of the others finds, too. The descriptor that is kept is for what must be done.
                let file = File::open(self.path(*segment))
                    .map_err(|error| self.fault_in("open", *segment, &error))?;
                file.sync_data().map_err(|error| lasting(self.fault_in("sync", *segment, &error)))
            }
            DiskOp::Remove { segment } => match self.hold_off_backups() {
                Ok(Some(_held)) => {
                    self.remove(*segment).map_err(|error| self.fault_in("remove", *segment, &error))
                }
                Ok(None) => Err(self.postpone(*segment)),
                Err(error) => Err(self.fault_in("lock backup.lock to remove", *segment, &error)),
            },
            DiskOp::WriteSuper { slot, bytes } => {
                let write = || {
                    self.superblock.write_all_at(bytes, (slot * SLOT_BYTES) as u64)?;
                    self.superblock.sync_data()
                };
                write().map_err(|error| {
                    lasting(fault("write", &self.directory.join(SUPERBLOCK_FILE), &error))
                })
            }
        }
    }

    /// Reads a part of a segment; a file that ends earlier gives fewer bytes. Blocks that cannot be read are zeros, and named in the answer.
    ///
    /// # Errors
    /// What may pass: no descriptor or no memory for the moment. Or the file cannot be opened at all.
    pub fn read(&self, read: &SegmentRead) -> io::Result<(Vec<u8>, Vec<u64>)> {
        let file = self.file(read.segment)?;
        let bytes = read.bytes.min(file.metadata()?.len().saturating_sub(read.offset));
        let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        match file.read_exact_at(&mut buffer, read.offset) {
            Ok(()) => {
                if bytes >= READ_AHEAD_FROM {
                    // What is read in long pieces goes on: the disk works while this piece is looked at. If the system does not, it takes longer.
                    let _ = fadvise(
                        &*file,
                        read.offset + bytes,
                        NonZeroU64::new(READ_AHEAD_BYTES),
                        Advice::WillNeed,
                    );
                }
                Ok((buffer, Vec::new()))
            }
            Err(error) if is_transient(&error) => Err(error),
            Err(_) => {
                let unreadable = read_in_blocks(&file, &mut buffer, read.offset)?;
                Ok((buffer, unreadable))
            }
        }
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.directory.join(segment_file_name(segment))
    }

    fn fault_in(&self, what: &str, segment: u64, error: &io::Error) -> DiskFault {
        fault(what, &self.path(segment), error)
    }

    fn file(&self, segment: u64) -> io::Result<Arc<File>> {
        if let Some(file) = self.files.lock().open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        let open = || OpenOptions::new().read(true).write(true).open(self.path(segment));
        let file = Arc::new(self.with_descriptor(open)?);
        let mut files = self.files.lock();
        if files.open.len() >= OPEN_MAX {
            // All but the newest one are only read now and then.
            let newest = files.open.keys().max().copied();
            files.open.retain(|number, _| Some(*number) == newest);
        }
        files.open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    fn prepare(&self, wanted: usize) -> io::Result<()> {
        while self.files.lock().spares.len() < wanted {
            let spare = self.make_spare()?;
            self.files.lock().spares.push(spare);
        }
        Ok(())
    }

    /// A file of a segment's length whose blocks have all been written. What is left of a failed attempt goes.
    fn make_spare(&self) -> io::Result<PathBuf> {
        let path = self.free_spare_path();
        let result = self.with_descriptor(|| write_zeros(&path, self.segment_bytes));
        if result.is_err() {
            // The disk is full or broken: that is what gets reported, not what comes of tidying up.
            let _ = fs::remove_file(&path);
        }
        result.map(|()| path)
    }

    /// A name that no file has. A spare that is being made into a segment is not in the list of spares any more, but has its name until it is renamed: so
    /// names are never given twice, and what was there at the start is looked at.
    fn free_spare_path(&self) -> PathBuf {
        let mut files = self.files.lock();
        loop {
            let path = self.directory.join(spare_file_name(files.next_spare));
            files.next_spare += 1;
            if !path.exists() {
                return path;
            }
        }
    }

    /// Up to the moment at which the file has its name it can be tried again. From then on it may be there after a power cut, so nothing may be written to the segment
    /// before it any more: whatever fails then is for good.
    fn create(&self, segment: u64, header: &[u8]) -> Result<(), DiskFault> {
        let file = self
            .name_segment(segment, header)
            .map_err(|error| self.fault_in("create", segment, &error))?;
        self.sync_directory().map_err(|error| lasting(self.fault_in("name", segment, &error)))?;
        let mut files = self.files.lock();
        files.open.clear();
        files.open.insert(segment, Arc::new(file));
        Ok(())
    }

    fn name_segment(&self, segment: u64, header: &[u8]) -> io::Result<File> {
        let spare = self.files.lock().spares.pop();
        let spare = match spare {
            Some(spare) => spare,
            None => self.make_spare()?,
        };
        let open = || OpenOptions::new().read(true).write(true).open(&spare);
        let file = self.with_descriptor(open).inspect_err(|_| {
            self.files.lock().spares.push(spare.clone());
        })?;
        file.write_all_at(header, 0)?;
        // Its length and blocks are on the disk since it was made.
        file.sync_data()?;
        fs::rename(&spare, self.path(segment))?;
        Ok(file)
    }

    /// While this is held nobody begins to copy the segments. `None`: somebody is at it.
    fn hold_off_backups(&self) -> io::Result<Option<File>> {
        let lock = self.with_descriptor(|| open_backup_lock(&self.directory))?;
        match lock.try_lock() {
            Ok(()) => {
                self.postponed.store(0, Ordering::Relaxed);
                Ok(Some(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn postpone(&self, segment: u64) -> DiskFault {
        let tries = self.postponed.fetch_add(1, Ordering::Relaxed) + 1;
        if tries.is_multiple_of(LONG_BACKUP_TRIES) {
            warn!(
                "segments cannot be removed since about {} minutes, because somebody holds {} (a backup that is slow or stands still?): the journal grows",
                tries / 60,
                self.directory.join(crate::datadir::BACKUP_LOCK).display()
            );
        }
        let text = format!("{} stays while a backup is made", self.path(segment).display());
        DiskFault { kind: FaultKind::Later, text }
    }

    fn remove(&self, segment: u64) -> io::Result<()> {
        let path = self.path(segment);
        let is_segment_long = fs::metadata(&path).map(|found| found.len() == self.segment_bytes);
        let keep = is_segment_long.unwrap_or(false) && self.files.lock().spares.len() < SPARES_MAX;
        self.files.lock().open.remove(&segment);
        let result = if keep {
            // Its name says that it is no part of the log any more before anything else happens to it.
            let spare = self.free_spare_path();
            fs::rename(&path, &spare).inspect(|()| self.files.lock().spares.push(spare))
        } else {
            fs::remove_file(&path)
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        self.sync_directory()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory_file.sync_all()
    }
}

/// The superblock's file, made with its whole length if there is none. It is written in place ever after.
fn open_superblock(directory: &Path) -> io::Result<File> {
    let path = directory.join(SUPERBLOCK_FILE);
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) if file.metadata()?.len() >= 2 * SLOT_BYTES as u64 => return Ok(file),
        Ok(file) => {
            // Cut off by somebody: what was in it is known to be damaged by now.
            file.set_len(2 * SLOT_BYTES as u64)?;
            file.sync_all()?;
            return Ok(file);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let new = directory.join(SUPERBLOCK_NEW);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&Superblock::first_file())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// A file, whatever of it can be read: blocks that cannot are zeros, and their offsets are answered.
///
/// # Errors
/// If it cannot be opened, or what may pass.
pub(crate) fn read_whole(path: &Path) -> io::Result<(Vec<u8>, Vec<u64>)> {
    let error = match fs::read(path) {
        Ok(bytes) => return Ok((bytes, Vec::new())),
        Err(error) => error,
    };
    let file = File::open(path).map_err(|_| error)?;
    let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut buffer = vec![0; bytes];
    let unreadable = read_in_blocks(&file, &mut buffer, 0)?;
    Ok((buffer, unreadable))
}

/// Reads block by block; answers the offsets of those that cannot be read.
pub(crate) fn read_in_blocks(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Vec<u64>> {
    let mut unreadable = Vec::new();
    let mut at = offset;
    for block in buffer.chunks_mut(BLOCK_BYTES) {
        match file.read_exact_at(block, at) {
            Ok(()) => {}
            Err(error) if is_transient(&error) => return Err(error),
            Err(_) => {
                block.fill(0);
                unreadable.push(at);
            }
        }
        at += block.len() as u64;
    }
    Ok(unreadable)
}

/// Whether the same may succeed a little later.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
        || error.raw_os_error().is_some_and(|code| TRANSIENT.contains(&code))
}

/// Writes a file of zeros and syncs it, piece by piece: a log that is to be synced meanwhile waits for one piece at most. Where a sync takes long whatever there is to be
/// written, pieces get longer, or it would take longer than the segment before lasts, and everybody waits.
fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let zeros = vec![0; ZEROS_BYTES];
    let (mut left, mut synced_at, mut piece) = (bytes, bytes, PIECE_BYTES_MIN);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..length])?;
        left -= length as u64;
        if synced_at - left >= piece {
            let begun = Instant::now();
            file.sync_data()?;
            piece = next_piece(piece, begun.elapsed());
            synced_at = left;
        }
    }
    file.sync_all()
}

/// How much is to be synced at a time after a sync of `piece` bytes that took so long.
fn next_piece(piece: u64, took: Duration) -> u64 {
    match took > SLOW_SYNC {
        true => (2 * piece).min(PIECE_BYTES_MAX),
        false => PIECE_BYTES_MIN,
    }
}

/// Something was changed already, so that it must not be tried again, whatever the reason.
fn lasting(fault: DiskFault) -> DiskFault {
    DiskFault { kind: FaultKind::Io, ..fault }
}

fn fault(what: &str, path: &Path, error: &io::Error) -> DiskFault {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || is_transient(error);
    DiskFault {
        kind: if is_full { FaultKind::NoSpace } else { FaultKind::Io },
        text: format!("cannot {what} {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_broker::{HEADER_BYTES, JobId};

    use super::*;

    const SEGMENT_BYTES: u64 = 64 * 1024;

    fn job(ops: impl Into<Vec<DiskOp>>) -> Job {
        Job { id: JobId(1), ops: ops.into(), is_write_only: false, is_background: false }
    }

    fn header() -> Vec<u8> {
        vec![7; HEADER_BYTES]
    }

    #[test]
    fn what_is_written_can_be_read_and_the_rest_is_zero() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        let chunks = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cde")];
        disk.run(&job([
            DiskOp::Create { segment: 3, header: header() },
            DiskOp::Write { segment: 3, offset: 5000, chunks },
            DiskOp::Sync { segment: 3 },
        ]))
        .unwrap();
        let (read, unreadable) =
            disk.read(&SegmentRead { segment: 3, offset: 0, bytes: u64::MAX }).unwrap();
        assert!(unreadable.is_empty());
        assert_eq!(read.len() as u64, SEGMENT_BYTES);
        assert_eq!(&read[..HEADER_BYTES], &header()[..]);
        assert_eq!(&read[4999..5006], b"\0abcde\0");
        let path = directory.path().join(segment_file_name(3));
        assert_eq!(fs::metadata(path).unwrap().len(), SEGMENT_BYTES);
    }

    #[test]
    fn a_flush_looks_for_itself_and_what_it_finds_is_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        disk.run(&job([DiskOp::Create { segment: 1, header: header() }])).unwrap();
        disk.run(&job([DiskOp::Flush { segment: 1 }])).unwrap();
        // Something that can be opened and not be synced.
        let path = directory.path().join(segment_file_name(1));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        disk.run(&job([DiskOp::Sync { segment: 1 }])).unwrap();
        let fault = disk.run(&job([DiskOp::Flush { segment: 1 }])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Io, "{}", fault.text);
        assert!(fault.text.contains("cannot sync"), "{}", fault.text);
    }

    #[test]
    fn a_spare_is_synced_in_longer_pieces_where_a_sync_is_slow() {
        let slow = SLOW_SYNC + Duration::from_millis(1);
        let mut piece = PIECE_BYTES_MIN;
        for times in [2, 4, 8, 16, 16] {
            piece = next_piece(piece, slow);
            assert_eq!(piece, times * PIECE_BYTES_MIN);
        }
        assert_eq!(next_piece(piece, SLOW_SYNC), PIECE_BYTES_MIN);
        // Whatever the pieces are, the file is whole.
        let directory = tempfile::tempdir().unwrap();
        for bytes in [1, PIECE_BYTES_MIN, 5 * PIECE_BYTES_MIN + 4096] {
            let path = directory.path().join("spare");
            write_zeros(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), vec![0; usize::try_from(bytes).unwrap()]);
        }
    }

    #[test]
    fn removed_segments_become_spares_and_spares_become_segments() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        for segment in 1..=4 {
            disk.run(&job([DiskOp::Create { segment, header: header() }])).unwrap();
        }
        for segment in 1..=4 {
            disk.run(&job([DiskOp::Remove { segment }])).unwrap();
            // Repeatable: a file that is gone is no fault.
            disk.run(&job([DiskOp::Remove { segment }])).unwrap();
        }
        // Two more files are the superblock and the lock of backups.
        let files = || fs::read_dir(directory.path()).unwrap().count() - 2;
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Prepare { spares: 2 }])).unwrap();
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Create { segment: 5, header: header() }])).unwrap();
        assert!(directory.path().join(segment_file_name(5)).exists());
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Prepare { spares: 2 }])).unwrap();
        assert_eq!(files(), SPARES_MAX + 1);
    }

    #[test]
    fn no_segment_goes_while_a_backup_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        disk.run(&job([DiskOp::Create { segment: 1, header: header() }])).unwrap();
        let path = directory.path().join(segment_file_name(1));
        let backup = open_backup_lock(directory.path()).unwrap();
        backup.try_lock_shared().unwrap();
        let fault = disk.run(&job([DiskOp::Remove { segment: 1 }])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Later);
        assert!(path.exists());
        drop(backup);
        disk.run(&job([DiskOp::Remove { segment: 1 }])).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_spare_from_before_is_not_overwritten_while_it_becomes_a_segment() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join(spare_file_name(0));
        fs::write(&old, vec![0; SEGMENT_BYTES as usize]).unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, vec![old.clone()]).unwrap();
        // As in the middle of making a segment of it: it is no spare any more, and has its name still.
        let taken = disk.files.lock().spares.pop();
        assert_eq!(taken, Some(old.clone()));
        let first = disk.free_spare_path();
        assert_ne!(first, old);
        assert_ne!(disk.free_spare_path(), first, "and no name is given twice");
    }

    #[test]
    fn the_journal_has_a_descriptor_when_there_is_no_other_one() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        let tries = std::cell::Cell::new(0);
        let first_fails = || {
            tries.set(tries.get() + 1);
            if tries.get() == 1 { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
        };
        disk.with_descriptor(first_fails).unwrap();
        assert!(disk.reserve.lock().is_none());
        tries.set(0);
        assert!(disk.with_descriptor(first_fails).is_err(), "given up once, and not refilled yet");
        disk.refill_reserve();
        assert!(disk.reserve.lock().is_some());
    }

    #[test]
    fn what_cannot_be_read_of_a_file_is_zeros() {
        let directory = tempfile::tempdir().unwrap();
        // A directory can be opened and has a length, and no byte of it can be read.
        let (bytes, unreadable) = read_whole(directory.path()).unwrap();
        assert_eq!(bytes.len().div_ceil(BLOCK_BYTES), unreadable.len());
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(read_whole(&directory.path().join("missing")).is_err());
        let file = directory.path().join("file");
        fs::write(&file, "abc").unwrap();
        assert_eq!(read_whole(&file).unwrap(), (b"abc".to_vec(), vec![]));
    }

    #[test]
    fn a_fault_names_the_operation_and_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path(), SEGMENT_BYTES, Vec::new()).unwrap();
        let fault = disk.run(&job([DiskOp::Sync { segment: 9 }])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Io);
        assert!(
            fault.text.contains("sync") && fault.text.contains(&segment_file_name(9)),
            "{}",
            fault.text
        );
    }
}
