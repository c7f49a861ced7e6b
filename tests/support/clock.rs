//! A machine whose clock is set while the server works: `libfaketime`, which changes unix time only.
//!
//! Invariant: monotonic time, by which leases and waits go, is that of the machine.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A clock that can be set.
pub struct FakeClock {
    library: PathBuf,
    directory: TempDir,
}

impl FakeClock {
    /// A clock that is set as libfaketime takes it: `+365d` is a year ahead, `@1970-01-01 00:01:00` goes on from there.
    ///
    /// # Panics
    /// If libfaketime is not installed.
    pub fn new(setting: &str) -> Self {
        let clock =
            Self { library: library(), directory: tempfile::tempdir().expect("a directory") };
        clock.set(setting);
        clock
    }

    /// Sets it.
    pub fn set(&self, setting: &str) {
        // It is read whenever somebody wants to know the time: never half of it.
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{setting}\n")).expect("written");
        fs::rename(new, self.directory.path().join("setting")).expect("renamed");
    }

    /// For [`crate::Daemon::start_under`].
    pub fn wrapper(&self) -> Vec<String> {
        let setting = self.directory.path().join("setting");
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", setting.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            // Under this name older versions know it.
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }
}

fn library() -> PathBuf {
    let places = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let listed = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten();
    let below = listed.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let directories = places.iter().map(PathBuf::from).chain(below);
    let found = directories.map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    let mut found = found.filter(|library| library.is_file());
    found.next().expect("libfaketime is not installed: run scripts/install.sh test")
}
