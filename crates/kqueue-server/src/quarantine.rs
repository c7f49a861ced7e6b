//! Copies of what was damaged: whoever repairs disks can still look at it when the segment is gone.
//!
//! Invariants: a place is copied once, and never over another copy; a copy has its name only once all of it is on the disk. Must not: judge.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kqueue_broker::{BadPlace, segment_file_name};
use tracing::error;

use crate::datadir::QUARANTINE;

/// More of one place is not copied, in bytes.
const COPY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A copy while it is made, in the directory of the copies.
const PART: &str = "part";

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
        let copy = self.path_of(place, 0);
        if copy.exists() {
            return self.sync(copy);
        }
        self.write(&copy, |file| self.copy_to(place, file))
    }

    /// Copies bytes that are about to be overwritten: all of them, also if other bytes were at the same place before.
    ///
    /// # Errors
    /// As [`Quarantine::copy`]; also if a byte of them cannot be read.
    pub(crate) fn copy_before_it_goes(
        &self,
        place: &BadPlace,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let bytes = self.read(place).map_err(|error| (self.path_of(place, 0), error))?;
        let mut number = 0;
        loop {
            let copy = self.path_of(place, number);
            match fs::read(&copy) {
                Ok(found) if found == bytes => return self.sync(copy),
                Ok(_) => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return self.write(&copy, |file| file.write_all(&bytes));
                }
                Err(error) => return Err((copy, error)),
            }
        }
    }

    /// Where copy number `number` of a place goes.
    fn path_of(&self, place: &BadPlace, number: u64) -> PathBuf {
        let mut name = format!("{}.{}", segment_file_name(place.segment), place.offset);
        if number > 0 {
            name.push_str(&format!(".{number}"));
        }
        self.data_dir.join(QUARANTINE).join(name)
    }

    fn sync(&self, copy: PathBuf) -> Result<PathBuf, (PathBuf, io::Error)> {
        let directory = self.data_dir.join(QUARANTINE);
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| (directory, error))?;
        Ok(copy)
    }

    /// Makes a copy, whole or not at all.
    fn write(
        &self,
        copy: &Path,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let directory = self.data_dir.join(QUARANTINE);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .and_then(|()| File::open(&self.data_dir)?.sync_all())
            .map_err(|error| (directory.clone(), error))?;
        let part = directory.join(PART);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&part).and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&part, copy)
        });
        if let Err(error) = written {
            // The disk is full or broken: that is what gets reported, not what comes of tidying up.
            let _ = fs::remove_file(&part);
            return Err((copy.to_path_buf(), error));
        }
        self.sync(copy.to_path_buf())
    }

    fn copy_to(&self, place: &BadPlace, file: &mut File) -> io::Result<()> {
        let segment = File::open(self.data_dir.join(segment_file_name(place.segment)))?;
        let available = segment.metadata()?.len().saturating_sub(place.offset);
        let bytes = place.bytes.min(available).min(COPY_BYTES_MAX);
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
        Ok(())
    }

    /// All bytes of a place.
    fn read(&self, place: &BadPlace) -> io::Result<Vec<u8>> {
        if place.bytes > COPY_BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        let segment = File::open(self.data_dir.join(segment_file_name(place.segment)))?;
        let mut bytes = vec![0; usize::try_from(place.bytes).map_err(io::Error::other)?];
        segment.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory.join(QUARANTINE)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_of_what_goes_is_made_whatever_was_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(directory.path());
        let segment = directory.path().join(segment_file_name(1));
        let place = BadPlace { segment: 1, offset: 2, bytes: 3 };
        let mut copies = Vec::new();
        for text in ["..abc..", "..def..", "..abc..", "..def.."] {
            fs::write(&segment, text).unwrap();
            let copy = quarantine.copy_before_it_goes(&place).unwrap();
            assert_eq!(fs::read(&copy).unwrap(), text.as_bytes()[2..5]);
            copies.push(copy);
        }
        assert_eq!((&copies[0], &copies[1]), (&copies[2], &copies[3]));
        assert_eq!(names(directory.path()).len(), 2);
        // A place that is only looked at is copied once.
        assert_eq!(quarantine.copy(&place).unwrap(), copies[0]);
        let behind = BadPlace { offset: 6, ..place };
        assert!(quarantine.copy_before_it_goes(&behind).is_err(), "not all of it is there");
        assert_eq!(names(directory.path()).len(), 2);
    }

    #[test]
    fn a_copy_that_was_not_finished_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(directory.path());
        fs::write(directory.path().join(segment_file_name(1)), "abc").unwrap();
        let copy = quarantine.path_of(&BadPlace { segment: 1, offset: 0, bytes: 3 }, 0);
        let failed = quarantine.write(&copy, |file| {
            file.write_all(b"a")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert!(names(directory.path()).is_empty());
        // Nor is what a killed server left.
        fs::write(directory.path().join(QUARANTINE).join(PART), "abcd").unwrap();
        let copied = quarantine.copy(&BadPlace { segment: 1, offset: 0, bytes: 3 }).unwrap();
        assert_eq!(fs::read(copied).unwrap(), b"abc");
        assert_eq!(names(directory.path()).len(), 1);
    }
}
