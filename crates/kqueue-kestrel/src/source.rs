//! A Kestrel server's journal directory: which queues there are, and which files each is made of.
//!
//! Invariants: a queue's files stand in the order of their replay; a file that does not count is named with the reason, never silently left out.
//! Must not: open a file, change anything. What Kestrel would rename or remove is only left out of the list.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::Error;
use crate::names::{self, FileName, Role};

/// The queues in a directory.
#[derive(Clone, Debug)]
pub struct Source {
    queues: Vec<Queue>,
    skipped: Vec<Skipped>,
}

/// A queue, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name; any bytes that a file name may have, without a dot.
    pub name: Vec<u8>,
    /// Its files, in the order of their replay.
    pub files: Vec<JournalFile>,
}

impl Queue {
    /// Length of all its files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// One file of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it was when the directory was listed; what is appended later is not read.
    pub bytes: u64,
    /// When it was last written, in milliseconds since 1970.
    pub mtime_ms: u64,
    /// The number in its name: when Kestrel put it aside, in milliseconds since 1970. `None`: the file that Kestrel appends to.
    pub archived_at_ms: Option<i64>,
}

/// A file that is not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A file that Kestrel never finished (`~~`); what it was made from is still there.
    Temporary,
    /// Its name is none of a journal.
    Foreign,
    /// A `.pack` file has the contents of this one and those before it.
    Packed,
    /// A socket, a device, or a link to nothing.
    NotAFile,
}

impl Source {
    /// Lists a directory. Directories in it are ignored, as Kestrel does.
    ///
    /// # Errors
    /// [`Error::List`] if it, or a file in it, cannot be looked at.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |source| Error::List { path: directory.to_path_buf(), source };
        let mut listing = Listing::default();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            listing.add(entry.file_name(), entry.path())?;
        }
        Ok(listing.finish())
    }

    /// The queues, ordered by name.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// The files that belong to no queue or do not count, ordered by path.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

#[derive(Default)]
struct Listing {
    queues: BTreeMap<Vec<u8>, Vec<(Role, Found)>>,
    skipped: Vec<Skipped>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    path: PathBuf,
    bytes: u64,
    mtime_ms: u64,
}

impl Listing {
    fn add(&mut self, name: OsString, path: PathBuf) -> Result<(), Error> {
        // Links are followed, as Kestrel does.
        let metadata = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return self.skip(path, SkipReason::NotAFile),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.skip(path, SkipReason::NotAFile);
            }
            Err(source) => return Err(Error::List { path, source }),
        };
        match names::parse(name.as_bytes()) {
            FileName::Temporary => self.skip(path, SkipReason::Temporary),
            FileName::Foreign => self.skip(path, SkipReason::Foreign),
            FileName::Journal { queue, role } => {
                let mtime_ms = mtime_ms(&metadata);
                let found = Found { path, bytes: metadata.len(), mtime_ms };
                self.queues.entry(queue.to_vec()).or_default().push((role, found));
                Ok(())
            }
        }
    }

    fn skip(&mut self, path: PathBuf, reason: SkipReason) -> Result<(), Error> {
        self.skipped.push(Skipped { path, reason });
        Ok(())
    }

    fn finish(self) -> Source {
        let mut skipped = self.skipped;
        let mut queues = Vec::new();
        for (name, files) in self.queues {
            let (kept, packed) = names::replay_order(files);
            let files = kept.into_iter().map(|(role, found)| found.into_file(role)).collect();
            queues.push(Queue { name, files });
            let packed = packed.into_iter();
            skipped.extend(
                packed.map(|found| Skipped { path: found.path, reason: SkipReason::Packed }),
            );
        }
        skipped.sort_by(|one, other| one.path.cmp(&other.path));
        Source { queues, skipped }
    }
}

impl Found {
    fn into_file(self, role: Role) -> JournalFile {
        let archived_at_ms = match role {
            Role::Archive(number) | Role::Pack(number) => Some(number),
            Role::Current => None,
        };
        let Self { path, bytes, mtime_ms } = self;
        JournalFile { path, bytes, mtime_ms, archived_at_ms }
    }
}

/// A time that the file system does not know, or from before 1970, is 0: the items are then as old as can be.
fn mtime_ms(metadata: &Metadata) -> u64 {
    let since_1970 = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_1970.and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
