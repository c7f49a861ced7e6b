//! The servers that are measured: started for the run, ended with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Ours, with its data in a directory of its own.
    pub(crate) fn kqueue(built: &Path, data: &Path, sync: &str) -> Self {
        let config = data.join(format!("{sync}.toml"));
        let text = format!(
            "[server]\ndata_dir = \"{}\"\nmax_open_transactions = 1000\n[listen]\nmemcache = \"127.0.0.1:0\"\n[journal]\nsync = \"{sync}\"\n",
            data.join(sync).display()
        );
        fs::write(&config, text).expect("a configuration");
        Self::kqueue_with(built, &config)
    }

    /// Ours, as a file configures it; returns when it says that it is ready.
    pub(crate) fn kqueue_with(built: &Path, config: &Path) -> Self {
        let mut child = Command::new(built.join("kqueue-server"))
            .arg("--config")
            .arg(config)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("kqueue-server is built");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| tell_trouble(line))
            .filter(|line| line.contains("ready"))
            .find_map(|line| line.split_whitespace().find_map(|word| word.parse().ok()))
            .expect("kqueue-server says where it listens");
        // It must never wait for somebody to read its log.
        std::thread::spawn(move || log.for_each(|line| tell_trouble(&line.unwrap_or_default())));
        Self { child, address }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        kill_process(self.pid(), Signal::TERM).expect("the server runs");
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "a clean stop, not: {status}");
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("a child can be waited for");
    }

    /// memcached, as Debian has it, with one thread more than it needs.
    pub(crate) fn memcached() -> Self {
        let address = free_address();
        let mut command = Command::new("memcached");
        command.args([
            "-l",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
            "-U",
            "0",
            "-m",
            "256",
        ]);
        command.args(["-u", "nobody"]);
        Self::start(command, address)
    }

    /// Redis that writes nothing anywhere.
    pub(crate) fn redis_in_memory() -> Self {
        let address = free_address();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no"]);
        Self::start(command, address)
    }

    /// Another server, at the address that its command names.
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: run scripts/install.sh bench"));
        let give_up = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < give_up, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server complains about is part of the result.
fn tell_trouble(line: &str) {
    // Each of them begins with nothing.
    let is_first_start = line.contains("right at a first start only");
    // A panic's lines have no level.
    if !is_first_start && !line.contains(" INFO ") {
        eprintln!("kqueue-server: {line}");
    }
}

/// A loopback port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("an address")
}
