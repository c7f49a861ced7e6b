//! `kqueuectl` as a person or a script runs it.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Daemon, Done, ctl_binary};

/// Runs `kqueuectl` against one server.
pub struct Ctl {
    server: String,
}

impl Ctl {
    /// For a daemon.
    pub fn of(daemon: &Daemon) -> Self {
        Self::at(&daemon.address().to_string())
    }

    /// For an address.
    pub fn at(server: &str) -> Self {
        Self { server: server.to_owned() }
    }

    /// Not started yet; nothing is to be read, and the server is in the environment.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(ctl_binary());
        command.args(arguments).env("KQUEUE_SERVER", &self.server).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Done {
        done(&mut self.command(arguments), b"")
    }

    /// Like [`Self::run`]; it reads `input`.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn run_with_input(&self, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Done {
        done(self.command(arguments).stdin(Stdio::piped()), input)
    }

    /// What it printed; `words` are separated by spaces.
    ///
    /// # Panics
    /// If it fails or complains.
    pub fn says(&self, words: &str) -> String {
        let done = self.run(&words.split(' ').collect::<Vec<_>>());
        assert_eq!((done.code, &done.err[..]), (Some(0), ""), "{words}: {done:?}");
        done.out
    }

    /// The objects that it printed with `--json`.
    ///
    /// # Panics
    /// If it fails, complains, or prints a line that is no object.
    pub fn objects(&self, words: &str) -> Vec<Value> {
        let out = self.says(&format!("{words} --json"));
        let objects = out.lines().map(|line| serde_json::from_str(line).expect("an object"));
        objects.inspect(|object: &Value| assert!(object.is_object(), "{object}")).collect()
    }

    /// What it complains of when it ends with `code`, having printed nothing.
    ///
    /// # Panics
    /// If it ends otherwise.
    pub fn fails(&self, code: i32, words: &str) -> String {
        let done = self.run(&words.split(' ').collect::<Vec<_>>());
        assert_eq!((done.code, &done.out[..]), (Some(code), ""), "{words}: {done:?}");
        done.err
    }
}

fn done(command: &mut Command, input: &[u8]) -> Done {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kqueuectl can be run");
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read everything.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().expect("it ends");
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
