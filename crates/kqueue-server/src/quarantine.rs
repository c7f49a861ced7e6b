//! Copies of what was damaged: whoever repairs disks can still look at it when the segment is gone.
//!
//! Invariant: a place is copied once, and never over another copy. Must not: judge.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kqueue_broker::{BadPlace, segment_file_name};
use tracing::error;

use crate::datadir::QUARANTINE;

/// More of one place is not copied, in bytes.
const COPY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The directory of the copies.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    data_dir: PathBuf,
}

impl Quarantine {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf() }
    }

    /// Copies a place found while the server works; what prevents that is told, and nothing else happens.
    pub(crate) fn keep(&self, place: &BadPlace) {
        let segment = segment_file_name(place.segment);
        match self.copy(place) {
            Ok(path) => error!(
                "DAMAGED: {segment} byte {}, {} bytes cannot be read any more; a copy is in {}",
                place.offset,
                place.bytes,
                path.display()
            ),
            Err((path, error)) => error!(
                "DAMAGED: {segment} byte {}, {} bytes cannot be read any more, and cannot be copied to {}: {error}",
                place.offset,
                place.bytes,
                path.display()
            ),
        }
    }

    /// Copies a place.
    ///
    /// # Errors
    /// The file or directory that could not be written, and why.
    pub(crate) fn copy(&self, place: &BadPlace) -> Result<PathBuf, (PathBuf, io::Error)> {
        let directory = self.data_dir.join(QUARANTINE);
        let name = format!("{}.{}", segment_file_name(place.segment), place.offset);
        let copy = directory.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| (directory.clone(), error))?;
        if !copy.exists() {
            let copied = self.copy_to(place, &copy);
            copied.map_err(|error| (copy.clone(), error))?;
        }
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| (directory, error))?;
        Ok(copy)
    }

    fn copy_to(&self, place: &BadPlace, copy: &Path) -> io::Result<()> {
        let segment = File::open(self.data_dir.join(segment_file_name(place.segment)))?;
        let available = segment.metadata()?.len().saturating_sub(place.offset);
        let bytes = place.bytes.min(available).min(COPY_BYTES_MAX);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy)?;
        let mut block = [0; 4096];
        let mut at = 0;
        while at < bytes {
            let length = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(block.len());
            // What the disk does not give is zeros: the copy keeps its length.
            if segment.read_exact_at(&mut block[..length], place.offset + at).is_err() {
                block.fill(0);
            }
            file.write_all(&block[..length])?;
            at += length as u64;
        }
        file.sync_all()
    }
}
