//! The data directory: who may use it, and what lies in it.
//!
//! Invariants: at most one daemon works in a directory (`lock`, which also names the pid); a file that nobody knows stops the start, it is never deleted or
//! skipped; nothing is changed before the lock is held.
//! Must not: read segments.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use kqueue_broker::{SUPERBLOCK_FILE, segment_number};
use rustix::fs::OFlags;

/// Names of spare files begin and end like this.
const SPARE_PREFIX: &str = "spare-";
const SPARE_SUFFIX: &str = ".kq";
/// Copies of what was damaged go here.
pub(crate) const QUARANTINE: &str = "quarantine";
/// The superblock while it is made.
pub(crate) const SUPERBLOCK_NEW: &str = "journal.kq.new";
/// What is left of an import that was interrupted.
pub(crate) const IMPORT_STATE: &str = "import-kestrel.json";
/// The same while it is written.
pub(crate) const IMPORT_STATE_NEW: &str = "import-kestrel.json.new";
/// Whoever copies the segments holds it, shared: none is removed meanwhile.
pub(crate) const BACKUP_LOCK: &str = "backup.lock";
const LOCK: &str = "lock";
/// The server's status, unless the configuration has it elsewhere.
pub(crate) const STATUS: &str = "status";
/// The same while it is written.
const STATUS_NEW: &str = "status.new";
/// Files and directories of ours that are no part of the log.
const OTHERS: [&str; 9] = [
    LOCK,
    BACKUP_LOCK,
    QUARANTINE,
    SUPERBLOCK_NEW,
    IMPORT_STATE,
    IMPORT_STATE_NEW,
    STATUS,
    STATUS_NEW,
    "lost+found",
];

/// A directory that this process has for itself, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    /// The directory.
    pub path: PathBuf,
    /// The segments' numbers, rising, and their files.
    pub segments: Vec<(u64, PathBuf)>,
    /// Spare files.
    pub spares: Vec<PathBuf>,
    /// The superblock's file, if there is one.
    pub superblock: Option<PathBuf>,
    /// It was not there before.
    pub(crate) is_made: bool,
    lock: Option<File>,
}

/// Why a data directory cannot be used. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or read.
    #[error("data_dir {path}: cannot {what}: {source}{}", advice(.source))]
    Io {
        /// The file or directory concerned.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is not there and cannot be made.
    #[error("data_dir {path}: cannot make it: {source}{}", advice_to_make(.source, .parent))]
    Make {
        /// The directory.
        path: PathBuf,
        /// The directory that is there, in which it or those around it were to be made.
        parent: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else has its name.
    #[error(
        "data_dir {path} is {what}. It was not touched; move it away or choose another data_dir"
    )]
    NotADirectory {
        /// What should be a directory.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Another daemon works in it.
    #[error(
        "data_dir {path} is in use: its lock is held by process {pid}. Two servers must not share a directory; stop the other one or choose another data_dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as it wrote that down.
        pid: String,
    },
    /// A file that is not part of a journal.
    #[error(
        "data_dir {path}: unknown file {name}. It was not touched; move it away if it does not belong here, or use the version of kqueue-server that wrote it"
    )]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// Its name.
        name: String,
    },
}

/// The name of a spare file; see [`is_spare`].
pub(crate) fn spare_file_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number:016x}{SPARE_SUFFIX}")
}

/// Whether a name is exactly what [`spare_file_name`] gives: spares are overwritten and removed, so nothing else may ever be taken for one.
fn is_spare(name: &str) -> bool {
    let number = name.strip_prefix(SPARE_PREFIX).and_then(|rest| rest.strip_suffix(SPARE_SUFFIX));
    number.is_some_and(|number| {
        number.len() == 16 && number.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// What to do about an error of the system, if that is known: it goes behind the error.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; data_dir and all that is in it must belong to the user that the server runs as"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system so that it can be written to",
        _ => "",
    }
}

fn advice_to_make(error: &io::Error, parent: &Path) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "; make it, and give it to the user that the server runs as, who may not write to {}",
            parent.display()
        ),
        _ => advice(error).to_owned(),
    }
}

/// The nearest directory around a path that is there.
fn existing_parent(path: &Path) -> PathBuf {
    let around = path.ancestors().skip(1).find(|around| around.is_dir());
    around.unwrap_or(Path::new(".")).to_path_buf()
}

/// What has the name of a directory and is none; `None` if nothing has it.
fn no_directory(path: &Path) -> Option<&'static str> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Some("not a directory"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::symlink_metadata(path).is_ok().then_some("a link to something that does not exist")
        }
        // Whoever uses it finds out.
        _ => None,
    }
}

impl DataDir {
    /// Takes the directory, making it if need be.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_if(path, |_| Ok(()))
    }

    /// As [`DataDir::open`], if `check` likes what is there. A file is made only after that; if there is a lock already it is held before.
    ///
    /// # Errors
    /// See [`DataDirError`], or what `check` says.
    pub fn open_if<E: From<DataDirError>>(
        path: &Path,
        check: impl FnOnce(&Self) -> Result<(), E>,
    ) -> Result<Self, E> {
        let failed =
            |what, path: &Path, source| DataDirError::Io { path: path.to_path_buf(), what, source };
        if let Some(what) = no_directory(path) {
            return Err(DataDirError::NotADirectory { path: path.to_path_buf(), what }.into());
        }
        let is_made = !path.is_dir();
        let parent = existing_parent(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| DataDirError::Make { path: path.to_path_buf(), parent, source })?;
        // Not even a lock is left where something lies that is not ours.
        Self::list(path)?;
        let held = take_lock(path, false)?;
        check(&Self::list(path)?)?;
        let lock = match held {
            Some(held) => Some(held),
            None => take_lock(path, true)?,
        };
        open_backup_lock(path)
            .map_err(|source| failed("make the file backup.lock in it", path, source))?;
        let mut found = Self::list(path)?;
        found.lock = lock;
        found.is_made = is_made;
        Ok(found)
    }

    /// Looks at a directory without changing anything in it, and makes sure that nobody works in it.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn inspect(path: &Path) -> Result<Self, DataDirError> {
        let mut found = Self::list(path)?;
        found.lock = Self::lock_if_there(path)?;
        Ok(found)
    }

    /// Takes the lock of a directory without changing anything in it; `None` if it has none: it was never used, or is a copy.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub(crate) fn lock_if_there(path: &Path) -> Result<Option<File>, DataDirError> {
        let lock = path.join(LOCK);
        match File::open(&lock) {
            Ok(file) => hold(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let what = "open the lock file";
                Err(DataDirError::Io { path: lock, what, source })
            }
        }
    }

    fn list(path: &Path) -> Result<Self, DataDirError> {
        let (found, strangers) = Self::look(path)?;
        match strangers.into_iter().next() {
            None => Ok(found),
            Some(name) => Err(DataDirError::Unknown { path: path.to_path_buf(), name }),
        }
    }

    /// Lists a directory without any lock; also answers the names that are not ours.
    ///
    /// # Errors
    /// [`DataDirError::Io`] if it cannot be listed.
    pub(crate) fn look(path: &Path) -> Result<(Self, Vec<String>), DataDirError> {
        let failed =
            |source| DataDirError::Io { path: path.to_path_buf(), what: "list it", source };
        let mut found = Self {
            path: path.to_path_buf(),
            segments: Vec::new(),
            spares: Vec::new(),
            superblock: None,
            is_made: false,
            lock: None,
        };
        let mut strangers = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !found.classify(&name, entry.path()) {
                strangers.push(name);
            }
        }
        found.segments.sort();
        strangers.sort();
        Ok((found, strangers))
    }

    /// Writes down who works here, for whoever is refused.
    ///
    /// # Errors
    /// What the system said.
    pub fn sign(&self) -> io::Result<()> {
        let Some(mut lock) = self.lock.as_ref() else { return Ok(()) };
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    }

    /// False: a name that is not ours.
    fn classify(&mut self, name: &str, path: PathBuf) -> bool {
        if let Some(number) = segment_number(name) {
            self.segments.push((number, path));
        } else if is_spare(name) {
            self.spares.push(path);
        } else if name == SUPERBLOCK_FILE {
            self.superblock = Some(path);
        } else {
            return OTHERS.contains(&name);
        }
        true
    }
}

/// The file that keeps segments from being removed while somebody holds a shared lock on it; made if need be.
///
/// # Errors
/// What the system said.
pub(crate) fn open_backup_lock(directory: &Path) -> io::Result<File> {
    let path = directory.join(BACKUP_LOCK);
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Gives what root made in a directory, also that itself, to this user and group. Nothing is done for who is not root: what that one makes can only be its own.
///
/// # Errors
/// The file concerned, and what the system said.
pub(crate) fn give_to(directory: &Path, user: u32, group: u32) -> Result<(), (PathBuf, io::Error)> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        |error| (path, error)
    };
    let mut paths = vec![directory.to_path_buf()];
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let kind = entry.file_type().map_err(failed(&entry.path()))?;
        // `lost+found` stays root's.
        if kind.is_file() || (kind.is_dir() && entry.file_name() == QUARANTINE) {
            paths.push(entry.path());
        }
    }
    for path in paths {
        // The directory itself may be a link, as systemd makes one; what is in it is not.
        let flags = if path == directory { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = (flags | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let file = file.map_err(failed(&path))?;
        let found = file.metadata().map_err(failed(&path))?;
        // A second name is none that we gave: the file may be anything of root's.
        let is_roots =
            found.uid() == 0 && (found.is_dir() || (found.is_file() && found.nlink() == 1));
        if is_roots && (user, group) != (found.uid(), found.gid()) {
            fchown(&file, Some(user), Some(group)).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// The kernel releases the lock when the process ends, however it ends. `None`: there is no lock file, and none is to be made.
fn take_lock(directory: &Path, is_made: bool) -> Result<Option<File>, DataDirError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(is_made).truncate(false).mode(0o600);
    match options.open(&path) {
        Ok(file) => hold(directory, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_made => Ok(None),
        Err(source) => Err(DataDirError::Io { path, what: "open the lock file", source }),
    }
}

fn hold(directory: &Path, mut file: File) -> Result<File, DataDirError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds it is a help, not a need.
            let _ = file.read_to_string(&mut pid);
            let pid =
                if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            Err(DataDirError::Locked { path: directory.to_path_buf(), pid })
        }
        Err(TryLockError::Error(source)) => {
            Err(DataDirError::Io { path: directory.join(LOCK), what: "lock", source })
        }
    }
}

#[cfg(test)]
mod tests {
    use kqueue_broker::segment_file_name;

    use super::*;

    #[test]
    fn a_directory_is_made_listed_and_held() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        assert!(held.segments.is_empty() && held.spares.is_empty());
        held.sign().unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(
            error.contains("lock") && error.contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(held);
        for name in [segment_file_name(10), segment_file_name(9), spare_file_name(1)] {
            fs::write(path.join(name), b"").unwrap();
        }
        fs::create_dir(path.join(QUARANTINE)).unwrap();
        let found = DataDir::open(&path).unwrap();
        let numbers: Vec<u64> = found.segments.iter().map(|(number, _)| *number).collect();
        assert_eq!((numbers, found.spares.len()), (vec![9, 10], 1));
    }

    #[test]
    fn an_unknown_file_stops_the_start_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let stranger = directory.path().join("precious.txt");
        fs::write(&stranger, b"x").unwrap();
        let error = DataDir::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("precious.txt"), "{error}");
        assert_eq!(fs::read(stranger).unwrap(), b"x");
    }

    #[test]
    fn only_what_is_named_exactly_like_a_spare_is_one() {
        assert!(is_spare(&spare_file_name(0)) && is_spare(&spare_file_name(u64::MAX)));
        for stranger in [
            "spare-keys.txt",
            "spare-2025.tar.gz",
            "spare-",
            "spare-.kq",
            "spare-1.kq",
            "spare-0000000000000001",
            "spare-0000000000000001.kq.gz",
            "spare-00000000000000001.kq",
            "spare-000000000000000A.kq",
            "spare-+000000000000001.kq",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(stranger);
            fs::write(&path, b"precious").unwrap();
            let error = DataDir::open(directory.path()).map(drop).unwrap_err().to_string();
            assert!(error.contains(stranger), "{error}");
            assert_eq!(fs::read(path).unwrap(), b"precious");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made");
        }
    }
}
