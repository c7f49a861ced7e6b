//! A `kqueue-server` process: starting, running, ended.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Wire;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_path_buf()
}

/// The daemon under test: `$KQUEUE_SERVER`, or the one that cargo built beside this test.
///
/// # Panics
/// If there is none: it has to be built first (`make test` does, or `cargo build -p kqueue-server`).
pub fn daemon_binary() -> PathBuf {
    built("KQUEUE_SERVER", "kqueue-server")
}

/// The extension under test: `$KQUEUE_EXTENSION`, or the one that cargo built beside this test.
///
/// # Panics
/// If there is none, like [`daemon_binary`].
pub fn extension() -> PathBuf {
    built("KQUEUE_EXTENSION", "libkqueue.so")
}

/// kqueuectl under test: `$KQUEUECTL`, or the one that cargo built beside this test.
///
/// # Panics
/// If there is none, like [`daemon_binary`].
pub fn ctl_binary() -> PathBuf {
    built("KQUEUECTL", "kqueuectl")
}

fn built(variable: &str, file: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let mut directory = std::env::current_exe().expect("a test has a path");
    while directory.pop() {
        let candidate = directory.join(file);
        if candidate.is_file() {
            return candidate;
        }
    }
    panic!(
        "{file} is not built: run `cargo build -p kqueue -p kqueue-server -p kqueue-ctl` first, or set {variable}"
    );
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Exit {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to standard error.
    pub stderr: String,
}

/// A daemon's process, ended by `SIGKILL` if nothing else has ended it.
struct Process {
    child: Child,
    stderr: Option<JoinHandle<String>>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the daemon can be signalled");
    }

    /// Kills it after `limit`, which is a failure.
    fn wait_within(&mut self, limit: Duration) -> Exit {
        let began = Instant::now();
        while self.child.try_wait().expect("the daemon can be waited for").is_none() {
            if began.elapsed() > limit {
                self.signal(Signal::KILL);
                panic!("not ended after {limit:?}: {:?}", self.wait());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.wait()
    }

    fn wait(&mut self) -> Exit {
        let reader = self.stderr.take().expect("waited for once");
        let status = self.child.wait().expect("the daemon can be waited for");
        Exit { code: status.code(), stderr: reader.join().expect("the log reader does not panic") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A daemon that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon that has been started and has not said yet that it is ready.
pub struct Starting {
    process: Process,
    data: DataDir,
    extra: String,
    is_ready: mpsc::Receiver<SocketAddr>,
}

/// A running daemon.
pub struct Daemon {
    process: Process,
    address: SocketAddr,
    data: DataDir,
    extra: String,
}

enum DataDir {
    Own(TempDir),
    Given(PathBuf),
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            Self::Own(directory) => directory.path(),
            Self::Given(path) => path,
        }
    }
}

impl Starting {
    /// Starts a daemon on an existing data directory. `wrapper` is a program with arguments that becomes the daemon (`exec`), or nothing.
    pub fn spawn(directory: &Path, extra: &str, wrapper: &[String]) -> Self {
        Self::spawn_with(DataDir::Given(directory.to_path_buf()), extra, wrapper)
    }

    fn spawn_with(data: DataDir, extra: &str, wrapper: &[String]) -> Self {
        let config = data.path().join("server.toml");
        fs::write(&config, config_text(data.path(), extra))
            .expect("the configuration can be written");
        let mut command = match wrapper {
            [] => Command::new(daemon_binary()),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(daemon_binary());
                command
            }
        };
        let mut child = command
            .arg("--config")
            .arg(&config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/install.sh test"));
        let (ready, is_ready) = mpsc::channel();
        let stderr = child.stderr.take().expect("standard error is piped");
        let reader = std::thread::spawn(move || read_log(stderr, &ready));
        let process = Process { child, stderr: Some(reader) };
        Self { process, data, extra: extra.to_owned(), is_ready }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// How it ended, if it did not start.
    pub fn ready(mut self) -> Result<Daemon, Exit> {
        match self.is_ready.recv_timeout(PATIENCE) {
            Ok(address) => {
                let Self { process, data, extra, .. } = self;
                Ok(Daemon { process, address, data, extra })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.process.wait()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.process.signal(Signal::KILL);
                panic!("not ready, not ended after {PATIENCE:?}: {:?}", self.process.wait());
            }
        }
    }

    /// Ends it with `SIGKILL` once it is ready, or after `limit`, whichever comes first.
    pub fn kill_within(mut self, limit: Duration) -> Exit {
        // Whatever came first: it is killed.
        let _ = self.is_ready.recv_timeout(limit);
        self.process.signal(Signal::KILL);
        self.process.wait()
    }
}

impl Daemon {
    /// A daemon with a fresh data directory. `extra` is TOML that follows `[server]`, `[listen]` and `[journal]` with small segments.
    pub fn start(extra: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        Self::start_with(DataDir::Own(data), extra).expect("the daemon starts")
    }

    /// A daemon on an existing data directory.
    ///
    /// # Errors
    /// How it ended, if it did not start.
    pub fn start_in(directory: &Path, extra: &str) -> Result<Self, Exit> {
        Self::start_with(DataDir::Given(directory.to_path_buf()), extra)
    }

    /// A daemon on an existing data directory, run by another program; see [`Starting::spawn`].
    ///
    /// # Errors
    /// How it ended, if it did not start.
    pub fn start_under(wrapper: &[String], directory: &Path, extra: &str) -> Result<Self, Exit> {
        Starting::spawn(directory, extra, wrapper).ready()
    }

    fn start_with(data: DataDir, extra: &str) -> Result<Self, Exit> {
        Starting::spawn_with(data, extra, &[]).ready()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The unix socket on which it listens, too; the same after a restart.
    pub fn socket(&self) -> PathBuf {
        self.data.path().join("memcache.sock")
    }

    /// The unix socket on which it speaks the text protocol.
    pub fn text_socket(&self) -> PathBuf {
        self.data.path().join("text.sock")
    }

    /// The unix socket on which it speaks Thrift.
    pub fn thrift_socket(&self) -> PathBuf {
        self.data.path().join("thrift.sock")
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.data.path().join("server.toml")
    }

    /// The address of [`Daemon::socket`] as PHP's `KQueue` takes it.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The memory that is in use by it, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        number.expect("a number of KiB")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// A new connection to it.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// A connection without any help, for what goes wrong with it.
    pub fn connect_raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the daemon accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it with `SIGKILL`.
    pub fn kill(mut self) -> Exit {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Ends it with `SIGKILL` and starts it again on the same data, on another port.
    pub fn kill_and_restart(mut self) -> Self {
        self.signal(Signal::KILL);
        self.wait();
        self.restart()
    }

    /// Ends it with `SIGTERM`, expects a clean exit, and starts it again on the same data.
    pub fn stop_and_restart(mut self) -> Self {
        self.signal(Signal::TERM);
        let exit = self.wait();
        assert_eq!(exit.code, Some(0), "a clean exit, not: {exit:?}");
        self.restart()
    }

    fn restart(mut self) -> Self {
        let data = std::mem::replace(&mut self.data, DataDir::Given(PathBuf::new()));
        let extra = std::mem::take(&mut self.extra);
        drop(self);
        Self::start_with(data, &extra).expect("the daemon starts again")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Exit {
        self.process.wait()
    }

    /// As [`Daemon::wait`].
    ///
    /// # Panics
    /// If it takes longer than `limit`.
    pub fn wait_within(&mut self, limit: Duration) -> Exit {
        self.process.wait_within(limit)
    }

    /// The value of a statistic.
    pub fn stat(&self, name: &str) -> Option<String> {
        self.connect().stat(name)
    }
}

/// Small segments keep the tests quick and make the log turn over, unless `extra` says how large they are; what comes first in `extra`, before `----`,
/// belongs to `[server]`. A `[listen]` in it replaces the usual one; its first address of memcache must be a loopback one.
fn config_text(directory: &Path, extra: &str) -> String {
    let directory = directory.display();
    let (server, rest) = extra.split_once("----").unwrap_or(("", extra));
    let sizes = match rest.contains("segment_size") {
        true => "",
        false => "segment_size = \"4MiB\"\nlog_cap = \"64MiB\"",
    };
    let listen = match rest.contains("[listen]") {
        true => String::new(),
        false => {
            format!(
                "[listen]\nmemcache = [\"127.0.0.1:0\", \"unix:{directory}/memcache.sock\"]\ntext = \"unix:{directory}/text.sock\"\nthrift = \"unix:{directory}/thrift.sock\""
            )
        }
    };
    format!(
        "[server]\ndata_dir = \"{directory}/data\"\n{server}\n{listen}\n[journal]\n{sizes}\n{rest}\n"
    )
}

/// Reads the log to its end; announces the address in the line that says `ready`.
fn read_log(stderr: ChildStderr, ready: &mpsc::Sender<SocketAddr>) -> String {
    let mut reader = BufReader::new(stderr);
    let mut log = String::new();
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line).into_owned();
        if text.contains("ready")
            && let Some(address) =
                text.split_whitespace().find_map(|word| word.trim_end_matches(',').parse().ok())
        {
            // Nobody listens any more once the daemon is up; that is fine.
            let _ = ready.send(address);
        }
        log.push_str(&text);
        line.clear();
    }
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    log
}
