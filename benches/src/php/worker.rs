//! A PHP process that does what it is told: `benches/php/worker.php`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

/// A running PHP process; ends with this.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What an action took, and what it said besides.
pub(crate) struct Done {
    pub(crate) elapsed: Duration,
    /// Of PHP's processor.
    pub(crate) busy: Duration,
    pub(crate) said: Vec<u64>,
}

/// PHP with the extension, about to run one of our scripts.
pub(crate) fn php(built: &Path, script: &str) -> Command {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "php", script].iter().collect();
    let mut command = Command::new("php");
    command.arg("-d").arg(format!("extension={}", built.join("libkqueue.so").display()));
    command.arg(script);
    command
}

impl Worker {
    /// `addresses`: the servers as `KQueue` takes them, and perhaps those of Redis and memcached.
    pub(crate) fn start(built: &Path, addresses: &[String]) -> Self {
        let mut child = php(built, "worker.php")
            .args(addresses)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("php is installed: run scripts/install.sh bench");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Does it so many times.
    pub(crate) fn run(&mut self, action: &str, count: usize) -> Done {
        writeln!(self.orders, "{action} {count}").expect("PHP lives");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("PHP lives");
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some([elapsed, busy, said @ ..]) => Done {
                elapsed: Duration::from_nanos(*elapsed),
                busy: Duration::from_nanos(*busy),
                said: said.to_vec(),
            },
            _ => panic!("{action}: {line}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
