//! A machine whose clock is wrong, and is set while a daemon runs: libfaketime shows the daemon another unix time. Its monotonic clock is the machine's.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where Debian has the library: below a directory that is called after the machine.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock that is ahead of the machine's or behind it.
pub struct FakeClock {
    directory: TempDir,
    library: PathBuf,
}

impl FakeClock {
    /// A clock that is so many seconds ahead (negative: behind).
    ///
    /// # Panics
    /// If libfaketime is not installed.
    pub fn new(ahead_seconds: i64) -> Self {
        let places = fs::read_dir("/usr/lib").expect("a directory");
        let mut places =
            places.map(|entry| entry.expect("an entry").path().join(LIBRARY)).collect::<Vec<_>>();
        places.push(Path::new("/usr/lib").join(LIBRARY));
        let library = places.into_iter().find(|path| path.exists());
        let library = library.expect("libfaketime is not installed: run scripts/install.sh test");
        let clock = Self { directory: tempfile::tempdir().expect("a directory"), library };
        clock.set(ahead_seconds);
        clock
    }

    /// Sets it, at once and for every daemon that has it.
    pub fn set(&self, ahead_seconds: i64) {
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{ahead_seconds:+}\n")).expect("a file");
        // Whoever reads it finds the old one or the new one.
        fs::rename(new, self.file()).expect("the same directory");
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// For [`crate::Daemon::start_under`].
    pub fn wrapper(&self) -> Vec<String> {
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        words.to_vec()
    }
}
