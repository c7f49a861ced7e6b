//! A real PHP-FPM with the extension, and requests to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{extension, run};

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running PHP-FPM.
pub struct Fpm {
    master: Child,
    directory: TempDir,
    /// Each time it says that it is ready; how it ended, if it ends.
    is_ready: Mutex<mpsc::Receiver<Result<(), String>>>,
}

impl Fpm {
    /// Starts it with so many children; `settings` are PHP's (`name=value`).
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub fn start(children: u32, settings: &[&str]) -> Self {
        Self::start_with(children, settings, "", "")
    }

    /// Like [`Self::start`], with lines for `[global]` and for the pool in its configuration.
    ///
    /// # Panics
    /// Like [`Self::start`].
    pub fn start_with(children: u32, settings: &[&str], global: &str, pool: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { "user = root\ngroup = root\n" } else { "" };
        let socket = directory.path().join("fpm.sock");
        let config = format!(
            "[global]\nerror_log = /proc/self/fd/2\n{global}\n[site]\n{user}listen = {}\npm = static\npm.max_children = {children}\ncatch_workers_output = yes\n{pool}\n",
            socket.display()
        );
        let config_path = directory.path().join("fpm.conf");
        fs::write(&config_path, config).expect("the configuration can be written");
        let mut command = Command::new(program());
        command.arg("-n").arg("--nodaemonize").arg("--fpm-config").arg(&config_path);
        command.arg("-d").arg(format!("extension={}", extension().display()));
        for setting in settings {
            command.arg("-d").arg(setting);
        }
        if is_root {
            command.arg("--allow-to-run-as-root");
        }
        let mut master = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("php-fpm can be run");
        let stderr = master.stderr.take().expect("piped");
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut log = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.push_str(&line);
                log.push('\n');
                if line.contains("ready to handle connections") {
                    // Nobody listens any more once the test is over; that is fine.
                    let _ = ready.send(Ok(()));
                }
            }
            let _ = ready.send(Err(log));
        });
        let fpm = Self { master, directory, is_ready: Mutex::new(is_ready) };
        fpm.await_ready();
        fpm
    }

    /// Waits until it says once more that it is ready.
    ///
    /// # Panics
    /// If it does not.
    pub fn await_ready(&self) {
        match self.is_ready.lock().expect("nobody panics with it").recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(log)) => panic!("php-fpm did not start:\n{log}"),
            Err(error) => panic!("php-fpm did not start: {error}"),
        }
    }

    /// Tells the master to reload, as its service does; [`Self::await_ready`] says when that is done.
    ///
    /// # Panics
    /// If it does not run.
    pub fn begin_reload(&self) {
        kill_process(Pid::from_child(&self.master), Signal::USR2).expect("it can be signalled");
    }

    /// Makes a script that requests can run; `code` follows `<?php`.
    pub fn script(&self, name: &str, code: &str) {
        fs::write(self.path(name), format!("<?php\n{code}\n")).expect("a script can be written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.php"))
    }

    /// What a request for the script answers, headers left off. Empty if the child died.
    pub fn get(&self, name: &str) -> String {
        let reply = run(&mut self.request(name));
        reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// Begins a request and does not wait for its answer.
    pub fn begin(&self, name: &str) -> Child {
        let mut command = self.request(name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("cgi-fcgi is installed: run scripts/install.sh test")
    }

    fn request(&self, name: &str) -> Command {
        let mut command = Command::new("cgi-fcgi");
        command.args(["-bind", "-connect"]).arg(self.directory.path().join("fpm.sock"));
        command.env_clear();
        command.env("REQUEST_METHOD", "GET").env("SCRIPT_FILENAME", self.path(name));
        command
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        // SIGTERM: the master ends its children. One that has ended already is what we want.
        let _ = kill_process(Pid::from_child(&self.master), Signal::TERM);
        let _ = self.master.wait();
    }
}

/// Debian names it after its version; others do not.
fn program() -> PathBuf {
    let version =
        run(Command::new("php").args(["-r", "echo PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION;"]));
    let names = [format!("/usr/sbin/php-fpm{version}"), "/usr/sbin/php-fpm".to_owned()];
    let found = names.iter().map(Path::new).find(|path| path.is_file());
    found.expect("php-fpm is not installed: run scripts/install.sh test").to_path_buf()
}
