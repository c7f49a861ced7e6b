//! Disks that are small, full, read-only, slow or broken.
//!
//! Neither needs root: a small disk is a tmpfs in a namespace of its own (`unshare`), a broken one is `strace` that lets system calls fail. Where the
//! system forbids the one or the other, [`SmallDisk::new`] and [`Strace::new`] say so and return `None`.
//! Invariant: the namespace, and with it the mount, goes when the test goes, however that happens: its process ends at the end of its input.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// Mounts, then runs the commands it is given, each in a line.
const HOLDER: &str = "mount -t tmpfs -o \"size=$2\" tmpfs \"$1\" || exit; echo mounted; while read -r line; do eval \"$line\"; echo \"$?\"; done";

/// Says something that is seen even when the test passes.
pub fn announce(text: &str) {
    // Not `eprintln`, which the test harness catches. Without a standard error nobody listens.
    let _ = writeln!(std::io::stderr(), "\n*** {text}\n");
}

/// A tmpfs of limited size.
pub struct SmallDisk {
    holder: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    base: TempDir,
}

impl SmallDisk {
    /// A disk of so many bytes; `None`, said aloud, if the system does not permit it.
    pub fn new(bytes: u64) -> Option<Self> {
        let base = tempfile::tempdir().expect("a temporary directory");
        let mount = base.path().join("disk");
        fs::create_dir(&mount).expect("a directory");
        // A daemon's configuration lies beside its data directory: not on the small disk.
        std::os::unix::fs::symlink("disk/data", base.path().join("data")).expect("a link");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLDER, "sh"]);
        command.arg(&mount).arg(bytes.to_string());
        let mut holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("util-linux is there");
        let commands = holder.stdin.take();
        let mut replies = BufReader::new(holder.stdout.take().expect("piped"));
        let mut line = String::new();
        replies.read_line(&mut line).expect("text");
        if line != "mounted\n" {
            // It has ended by itself; a test says that it tested nothing.
            let _ = holder.wait();
            announce("NOT TESTED: this system does not permit to mount a small disk (unshare -rm)");
            return None;
        }
        let disk = Self { holder, commands, replies, base };
        fs::create_dir(disk.mount().join("data")).expect("a directory on the small disk");
        Some(disk)
    }

    /// A directory for [`crate::Daemon::start_in`], whose data directory lies on the disk.
    pub fn directory(&self) -> PathBuf {
        let seen_from_holder = self.base.path().strip_prefix("/").expect("absolute");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(seen_from_holder)
    }

    /// Where the disk is mounted.
    pub fn mount(&self) -> PathBuf {
        self.directory().join("disk")
    }

    /// Nothing can be written any more; or it can, again.
    pub fn set_read_only(&mut self, is_read_only: bool) {
        let mode = if is_read_only { "ro" } else { "rw" };
        let mount = self.base.path().join("disk");
        let line = format!("mount -o remount,bind,{mode} '{}'\n", mount.display());
        let commands = self.commands.as_mut().expect("it runs");
        commands.write_all(line.as_bytes()).expect("it reads");
        let mut reply = String::new();
        self.replies.read_line(&mut reply).expect("text");
        assert_eq!(reply, "0\n", "remounted");
    }

    /// Takes all the space that is left, in a file that is not the daemon's.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a file");
        let piece = vec![b'x'; 64 * 1024];
        let error = loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives the space back that [`SmallDisk::fill`] took.
    pub fn relieve(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.mount().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.commands = None;
        // It ends at the end of its input.
        let _ = self.holder.wait();
    }
}

/// A `strace` that lets a daemon's system calls fail or take long.
pub struct Strace {
    injection: String,
    log: TempDir,
}

impl Strace {
    /// `injection` is what strace's `inject` takes; `None`, said aloud, if the system does not permit it.
    ///
    /// # Panics
    /// If strace is not installed.
    pub fn new(injection: &str) -> Option<Self> {
        let mut probe = Command::new("strace");
        let probe = probe.args(["-D", "-f", "-qq", "-o", "/dev/null", "true"]).output();
        let probe = probe.expect("strace is not installed: run scripts/install.sh test");
        if !probe.status.success() {
            announce("NOT TESTED: this system does not permit to trace a process (strace)");
            return None;
        }
        let log = tempfile::tempdir().expect("a temporary directory");
        Some(Self { injection: format!("inject={injection}"), log })
    }

    /// For [`crate::Daemon::start_under`]. The process that is started is the daemon itself; strace is no parent of it.
    pub fn wrapper(&self) -> Vec<String> {
        let call = self.injection.trim_start_matches("inject=").split(':').next().unwrap_or("");
        let trace = format!("trace={call}");
        let log = self.log.path().join("log").display().to_string();
        ["-D", "-f", "-qq", "-o", &log, "-e", &trace, "-e", &self.injection].iter().fold(
            vec!["strace".to_owned()],
            |mut all, word| {
                all.push((*word).to_owned());
                all
            },
        )
    }

    /// Whether any call was made to fail or to wait; complete once the daemon has ended.
    pub fn has_struck(&self) -> bool {
        let log = fs::read(self.log.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.contains("(INJECTED)") || log.contains("(DELAYED)")
    }
}
