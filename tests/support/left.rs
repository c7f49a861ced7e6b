//! What a server leaves behind, and what the tools of an operator say of it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::{Daemon, Done, tool};

/// Small segments, so that there are several.
pub const SMALL: &str =
    "max_item_size = \"16KiB\"----segment_size = \"256KiB\"\nlog_cap = \"1MiB\"";

/// A data directory that a server has left, with some items in it.
pub struct Left {
    /// What the data directory is in.
    pub root: tempfile::TempDir,
}

impl Left {
    /// `fill` puts something into it; the server is killed after that, or stops in good order.
    ///
    /// # Panics
    /// If the server does not start, or does not stop in good order.
    pub fn behind(extra: &str, is_killed: bool, fill: impl FnOnce(&Daemon)) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start_in(root.path(), extra).expect("it starts");
        fill(&daemon);
        if is_killed {
            daemon.kill();
        } else {
            daemon.signal(Signal::TERM);
            assert_eq!(daemon.wait().code, Some(0));
        }
        Self { root }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// The file of a segment.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.data().join(format!("log-{number:016x}.kq"))
    }

    /// What `check` says of it.
    pub fn check(&self) -> Done {
        tool(&[&"check", &self.data()])
    }

    /// Changes a file's bytes.
    ///
    /// # Panics
    /// If it cannot be read or written.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).expect("it is there");
        change(&mut bytes);
        fs::write(path, bytes).expect("it can be written");
    }
}

/// 300 posts of 3 KB, each of them in `posts+search`, too, and 300 jobs, of which ten are taken: 890 items remain.
///
/// # Panics
/// If the server does not take them.
pub fn some_items(daemon: &Daemon) {
    let mut wire = daemon.connect();
    assert_eq!(wire.get("posts+search"), None);
    for n in 0..300 {
        wire.put("posts", format!("post {n} {}", "x".repeat(3000)).as_bytes());
        wire.put("jobs", format!("job {n}").as_bytes());
    }
    for n in 0..10 {
        assert_eq!(wire.get("jobs"), Some(format!("job {n}").into_bytes()));
    }
}

/// Where `needle` is.
///
/// # Panics
/// If it is nowhere.
pub fn position(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|part| part == needle).expect("it is in there")
}

/// The lines of a dump.
///
/// # Panics
/// If `dump` fails, or writes anything but JSON.
pub fn dump(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"dump", &data];
    all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
    let done = tool(&all);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How many items a dump shows.
pub fn dump_lines(data: &Path) -> usize {
    tool(&[&"dump", &data]).out.lines().count()
}
