//! Executes the journal's disk operations on real files.
//!
//! Invariants
//! - A segment gets its name only once its header is on the disk; a file that has a segment's name has a whole header.
//! - A new segment's blocks have really been written once (zeros): overwriting written blocks syncs in half the time of appending, and cannot fail for want of space.
//! - Nothing is retried: what failed is reported, and the journal decides.
//!
//! Must not: decide what is written where or when.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kqueue_broker::{
    DiskFault, DiskOp, FaultKind, HEADER_BYTES, Job, SLOT_BYTES, SUPERBLOCK_FILE, SegmentRead,
    Superblock, segment_file_name,
};
use parking_lot::Mutex;

use crate::datadir::{SPARE_PREFIX, SUPERBLOCK_NEW};

/// Spare files kept; more segments that go are unlinked.
const SPARES_MAX: usize = 3;
/// Where a piece cannot be read, it is tried in blocks of this size, so that only what is really gone is given up.
const BLOCK_BYTES: usize = 4096;
const EMFILE: i32 = 24;
/// What the system says when it cannot give another file descriptor, or memory, for the moment: `EMFILE`, `ENFILE`, `ENOMEM`.
const TRANSIENT: [i32; 3] = [EMFILE, 23, 12];
/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 1024 * 1024;

/// The directory with the segments, and the files that are open.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    segment_bytes: u64,
    files: Mutex<Files>,
    superblock: File,
    /// A descriptor that is given up when the system has no other one for the journal.
    reserve: Mutex<Option<File>>,
}

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
            reserve: Mutex::new(File::open("/dev/null").ok()),
        })
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
            DiskOp::Create { segment, header } => self
                .create(*segment, header)
                .map_err(|error| self.fault_in("create", *segment, &error)),
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
            DiskOp::Remove { segment } => {
                self.remove(*segment).map_err(|error| self.fault_in("remove", *segment, &error))
            }
            DiskOp::WriteSuper { slot, bytes } => {
                let write = || {
                    self.superblock.write_all_at(bytes, (slot * SLOT_BYTES) as u64)?;
                    self.superblock.sync_data()
                };
                write()
                    .map_err(|error| fault("write", &self.directory.join(SUPERBLOCK_FILE), &error))
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
            Ok(()) => Ok((buffer, Vec::new())),
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
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(segment))?);
        self.files.lock().open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    /// Makes the first spare if there is none: false if there is no space for it.
    ///
    /// # Errors
    /// Any other fault.
    pub(crate) fn has_space(&self) -> io::Result<bool> {
        match self.prepare(1) {
            Err(error) if is_full(&error) => Ok(false),
            other => other.map(|()| true),
        }
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
            let path = self.directory.join(format!("{SPARE_PREFIX}{:016x}.kq", files.next_spare));
            files.next_spare += 1;
            if !path.exists() {
                return path;
            }
        }
    }

    fn create(&self, segment: u64, header: &[u8]) -> io::Result<()> {
        let path = self.path(segment);
        let spare = self.files.lock().spares.pop();
        let spare = match spare {
            Some(spare) => spare,
            None => self.make_spare()?,
        };
        let open = || OpenOptions::new().read(true).write(true).open(&spare);
        let file = self.with_descriptor(open).inspect_err(|_| {
            // It is still a spare.
            self.files.lock().spares.push(spare.clone());
        })?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        fs::rename(&spare, &path)?;
        self.sync_directory()?;
        let mut files = self.files.lock();
        // Only the newest segment is written; those that are being read are opened again.
        files.open.clear();
        files.open.insert(segment, Arc::new(file));
        Ok(())
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
        self.with_descriptor(|| File::open(&self.directory))?.sync_all()
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

/// Reads block by block; answers the offsets of those that cannot be read.
fn read_in_blocks(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Vec<u64>> {
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

/// Writes a file of zeros and syncs it.
fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let zeros = vec![0; ZEROS_BYTES.max(HEADER_BYTES)];
    let mut left = bytes;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..piece])?;
        left -= piece as u64;
    }
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || is_transient(error)
}

fn fault(what: &str, path: &Path, error: &io::Error) -> DiskFault {
    DiskFault {
        kind: if is_full(error) { FaultKind::NoSpace } else { FaultKind::Io },
        text: format!("cannot {what} {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_broker::JobId;

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
        // One more file is the superblock.
        let files = || fs::read_dir(directory.path()).unwrap().count() - 1;
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Prepare { spares: 3 }])).unwrap();
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Create { segment: 5, header: header() }])).unwrap();
        assert!(directory.path().join(segment_file_name(5)).exists());
        assert_eq!(files(), SPARES_MAX);
        disk.run(&job([DiskOp::Prepare { spares: 3 }])).unwrap();
        assert_eq!(files(), SPARES_MAX + 1);
    }

    #[test]
    fn a_spare_from_before_is_not_overwritten_while_it_becomes_a_segment() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join(format!("{SPARE_PREFIX}{:016x}.kq", 0));
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
