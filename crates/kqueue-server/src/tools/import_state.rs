//! What an import from Kestrel has to remember beside the journal: `import-kestrel.json` in the data directory.
//!
//! How many items of a queue are imported is not written down anywhere: the journal knows. The file says from which id on items are imported ones, at which moment it was decided
//! what has expired, and which files were read; so an import that was killed goes on exactly where it was. It stays when the import is done, so that another run of the same import does nothing.
//!
//! Invariants: it is replaced whole (written beside, synced, renamed); while it says that an import runs, no server starts here, so that nobody but the import has put or taken anything.
//! Must not: know what a journal is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kqueue_kestrel::Queue;
use serde::{Deserialize, Serialize};

use crate::datadir::{IMPORT_STATE, IMPORT_STATE_NEW, advice};

/// Of this format; another one is of another version.
const VERSION: u32 = 1;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("cannot {what} {path}: {source}{}", advice(.source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It makes no sense.
    #[error(
        "{path} cannot be understood: {error}. It says how far an import from Kestrel is; use the version of kqueue-server that wrote it"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// An import is not done.
    #[error(
        "an import from {from} into {directory} has not come to its end. Run `kqueue-server import-kestrel {from} --data-dir {directory}` again: it goes on where it was. To do without the rest, and never go on, remove {IMPORT_STATE}"
    )]
    Unfinished {
        /// The directory.
        directory: PathBuf,
        /// Where the queues come from.
        from: String,
    },
}

/// All that was imported into a directory, or is being imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    pub(crate) running: Option<Running>,
    pub(crate) finished: Vec<Finished>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, running: None, finished: Vec::new() }
    }
}

/// An import that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The directory, for people.
    pub(crate) from: String,
    /// The highest id before it began.
    pub(crate) last_id: u64,
    /// When it began, unix time in milliseconds: what had expired by then is left out.
    pub(crate) begun_ms: u64,
    pub(crate) queues: Vec<Print>,
}

/// A queue that is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) from: String,
    pub(crate) ended_ms: u64,
    #[serde(flatten)]
    pub(crate) print: Print,
}

/// By what a queue's files are known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Print {
    pub(crate) queue: String,
    pub(crate) files: Vec<FilePrint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilePrint {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) mtime_ms: u64,
}

impl Print {
    pub(crate) fn of(queue: &Queue) -> Self {
        let files = queue.files.iter().map(|file| FilePrint {
            name: file
                .path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            bytes: file.bytes,
            mtime_ms: file.mtime_ms,
        });
        Self { queue: String::from_utf8_lossy(&queue.name).into_owned(), files: files.collect() }
    }
}

impl State {
    /// Reads the state of a directory; one without a file has imported nothing.
    ///
    /// # Errors
    /// [`StateError::Io`], [`StateError::Malformed`].
    pub(crate) fn read(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(IMPORT_STATE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(StateError::Io { what: "read", path, source }),
        };
        let malformed = |error: String| StateError::Malformed { path: path.clone(), error };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        match state.version {
            VERSION => Ok(state),
            other => Err(malformed(format!("version {other}"))),
        }
    }

    /// Replaces the state of a directory, durably.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn write(&self, directory: &Path) -> Result<(), StateError> {
        let (path, new) = (directory.join(IMPORT_STATE), directory.join(IMPORT_STATE_NEW));
        let write = || {
            let text = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|source| StateError::Io { what: "write", path: path.clone(), source })
    }

    /// Whether exactly these files were imported.
    pub(crate) fn has(&self, print: &Print) -> Option<&Finished> {
        self.finished.iter().find(|finished| finished.print == *print)
    }
}

/// Whether a server may start in a directory.
///
/// # Errors
/// [`StateError::Unfinished`], or that it cannot be told.
pub(crate) fn check_finished(directory: &Path) -> Result<(), StateError> {
    match State::read(directory)?.running {
        None => Ok(()),
        Some(Running { from, .. }) => {
            Err(StateError::Unfinished { directory: directory.to_path_buf(), from })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(queue: &str) -> Print {
        let file = FilePrint { name: queue.to_owned(), bytes: 5, mtime_ms: 6 };
        Print { queue: queue.to_owned(), files: vec![file] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(State::read(directory.path()).unwrap(), State::default());
        let mut state = State::default();
        let queues = vec![print("a"), print("b")];
        state.running = Some(Running { from: "/k".into(), last_id: 7, begun_ms: 8, queues });
        state.finished.push(Finished { from: "/j".into(), ended_ms: 9, print: print("c") });
        state.write(directory.path()).unwrap();
        assert_eq!(State::read(directory.path()).unwrap(), state);
        assert!(state.has(&print("c")).is_some() && state.has(&print("a")).is_none());
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn no_server_starts_beside_an_import_that_is_not_done() {
        let directory = tempfile::tempdir().unwrap();
        check_finished(directory.path()).unwrap();
        let mut state = State::default();
        let running = Running { from: "/k".into(), last_id: 0, begun_ms: 8, queues: Vec::new() };
        state.running = Some(running);
        state.write(directory.path()).unwrap();
        let text = check_finished(directory.path()).unwrap_err().to_string();
        assert!(text.contains("import-kestrel /k --data-dir"), "{text}");
        state.running = None;
        state.write(directory.path()).unwrap();
        check_finished(directory.path()).unwrap();
        for garbage in ["", "{", "{\"version\":2,\"running\":null,\"finished\":[]}"] {
            fs::write(directory.path().join(IMPORT_STATE), garbage).unwrap();
            let error = check_finished(directory.path()).unwrap_err();
            assert!(matches!(error, StateError::Malformed { .. }), "{garbage}: {error}");
        }
    }
}
