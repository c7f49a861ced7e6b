//! A real HAProxy, with the configuration that is in `packaging/`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Dice, repository};

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Below the ports that the kernel gives to whoever does not mind which.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

/// A loopback port on which nobody listens now, for who must know it before it is used. The kernel gives it to nobody by itself.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    static NEXT: std::sync::Mutex<Option<Dice>> = std::sync::Mutex::new(None);
    let mut dice = NEXT.lock().expect("nobody panics with it");
    let dice = dice.get_or_insert_with(|| Dice::new(u64::from(std::process::id())));
    let mut candidates =
        (0..1000).map(|_| (PORTS.start + dice.below(PORTS.end - PORTS.start)) as u16);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.find(is_free).expect("there are free ports")
}

/// A running HAProxy.
pub struct HaProxy {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl HaProxy {
    /// Starts it in front of servers of which the ports for clients and the admin ports are given.
    ///
    /// # Panics
    /// If it is not installed, or does not start; or if the configuration in `packaging/` is not what this expects.
    pub fn start(servers: [(u16, u16); 2]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let packaged = fs::read_to_string(repository().join("packaging/haproxy.cfg"));
        let mut text = packaged.expect("packaging/haproxy.cfg");
        let mut replace = |from: &str, to: String| {
            assert_eq!(text.matches(from).count(), 1, "{from} is once in packaging/haproxy.cfg");
            text = text.replace(from, &to);
        };
        replace(
            "stats socket /run/haproxy/kqueue.sock",
            format!("stats socket {}", directory.path().join("stats.sock").display()),
        );
        replace("bind 127.0.0.1:22134", format!("bind {address}"));
        for (host, (client, admin)) in ["10.0.0.11", "10.0.0.12"].into_iter().zip(servers) {
            replace(&format!("{host}:22133 port 2223"), format!("127.0.0.1:{client} port {admin}"));
        }
        let path = directory.path().join("haproxy.cfg");
        fs::write(&path, text).expect("the configuration can be written");
        let log = directory.path().join("log");
        // `-db`: it stays in the foreground and is one process.
        let child = Command::new(program())
            .args(["-db", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("haproxy is not installed: run scripts/install.sh test");
        let mut proxy = Self { child, directory, address };
        let began = Instant::now();
        // It listens for clients before it listens on its own socket.
        while TcpStream::connect(address).is_err() || proxy.connect().is_err() {
            let ended = proxy.child.try_wait().expect("it can be waited for");
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "haproxy ended: {ended:?}\n{}", said());
            assert!(began.elapsed() < PATIENCE, "haproxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        proxy
    }

    /// Where it listens for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A value of its statistics for a server.
    ///
    /// # Panics
    /// If there is none.
    pub fn stat(&self, server: &str, name: &str) -> String {
        let csv = self.ask("show stat");
        let mut lines = csv.lines().map(|line| line.trim_start_matches("# ").split(','));
        let mut names = lines.next().expect("a line of names");
        let column = names.position(|column| column == name).expect("a known name");
        let mut servers = lines.map(|line| line.collect::<Vec<_>>());
        let line = servers.find(|line| line.get(1) == Some(&server));
        line.expect("a known server")[column].to_owned()
    }

    /// Waits until it says this of a server: `UP`, `DOWN`.
    ///
    /// # Panics
    /// If it never does.
    pub fn wait_until(&self, server: &str, status: &str) {
        let began = Instant::now();
        loop {
            let now = self.stat(server, "status");
            if now == status {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{server} is {now}, never {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.directory.path().join("stats.sock"))
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = self.connect().expect("haproxy answers on its socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.write_all(format!("{command}\n").as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's place is not on everybody's path.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/haproxy");
    if debian.is_file() { debian } else { "haproxy".into() }
}
