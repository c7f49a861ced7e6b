//! The subcommands of the daemon's program, run to their end, and what they may have changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use crate::daemon_binary;

/// How a tool ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Done {
    /// Both together.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// `kqueue-server` with these arguments.
pub fn tool_command(arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(daemon_binary());
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    command.env_remove("RUST_LOG").env_remove("STATE_DIRECTORY").stdin(Stdio::null());
    command
}

/// Runs `kqueue-server` with these arguments.
///
/// # Panics
/// If it cannot be run.
pub fn tool(arguments: &[&dyn AsRef<OsStr>]) -> Done {
    let output = tool_command(arguments).output().expect("it can be run");
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts `kqueue-server` with these arguments; what it says is thrown away.
///
/// # Panics
/// If it cannot be run.
pub fn tool_started(arguments: &[&dyn AsRef<OsStr>]) -> Child {
    let mut command = tool_command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run")
}

/// Every file in a directory and below: its bytes and when it was last changed.
///
/// # Panics
/// If something cannot be read.
pub fn files_in(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            let changed = fs::metadata(&path).and_then(|found| found.modified());
            let bytes = fs::read(&path).expect("it can be read");
            files.insert(path, (bytes, changed.expect("it has a time")));
        }
    }
    files
}

/// What `check-config` printed: the value and the origin by the full name of the key. A setting that is nothing is only a comment, and left out.
///
/// # Panics
/// If a line is neither a table nor a setting with its origin.
pub fn settings_of(printed: &str) -> BTreeMap<String, (String, String)> {
    let mut settings = BTreeMap::new();
    let mut table = "";
    for line in printed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = name;
            continue;
        }
        let (setting, origin) = line.split_once(" # ").expect("a line says where it comes from");
        let (key, value) = setting.split_once(" = ").expect("a key has a value");
        let key = format!("{table}.{key}");
        settings.insert(key, (value.trim().to_owned(), origin.to_owned()));
    }
    settings
}
