//! Two daemons behind a real HAProxy, with the configuration that is in `packaging/`: a server is taken out and brought back, and no client notices.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, HaProxy, Http, SmallDisk, Wire, free_port};
use tempfile::TempDir;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Enough for some segments.
const DISK_BYTES: u64 = 3 * 1024 * 1024;
const SMALL: &str = "segment_size = \"256KiB\"\nlog_cap = \"64MiB\"\n";

/// One daemon whose ports stay the same.
struct Server {
    daemon: Option<Daemon>,
    ports: (u16, u16),
    extra: String,
}

impl Server {
    fn start(directory: &Path, journal: &str) -> Self {
        let ports = (free_port(), free_port());
        // HAProxy needs a second to see it; the rest is for a machine that is busy.
        let grace = "max_item_size = \"68KiB\"\nstatus_change_grace_period = \"10s\"";
        let extra = format!(
            "{grace}----{journal}[listen]\nmemcache = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\n",
            ports.0, ports.1
        );
        let mut server = Self { daemon: None, ports, extra };
        server.begin(directory);
        server
    }

    fn begin(&mut self, directory: &Path) {
        self.daemon = Some(Daemon::start_in(directory, &self.extra).expect("it starts"));
    }

    fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    fn wire(&self) -> Wire {
        self.daemon.as_ref().expect("it runs").connect()
    }

    fn puts(&self) -> u64 {
        self.wire().stat("cmd_set").expect("a statistic").parse().expect("a number")
    }

    fn admin(&self) -> Http {
        Http::Tcp(SocketAddr::from(([127, 0, 0, 1], self.ports.1)))
    }

    /// Both statuses, as the admin port shows them.
    fn status(&self) -> String {
        self.admin().get("/status.txt").body
    }
}

/// Clients that put and get through the proxy, each time on a new connection; what one of them does not like ends it and is remembered.
struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    rounds: AtomicU64,
    /// Bodies of items that were stored, and of items that came.
    stored: Mutex<BTreeSet<String>>,
    came: Mutex<Vec<String>>,
    complaints: Mutex<Vec<String>>,
}

impl Clients {
    fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let spawn = |client: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for round in 0.. {
                    if shared.is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let body = format!("{client}.{round}");
                    if let Err(error) = shared.round(address, &body) {
                        shared
                            .complaints
                            .lock()
                            .expect("no panic")
                            .push(format!("{body}: {error}"));
                        return;
                    }
                    shared.rounds.fetch_add(1, Ordering::SeqCst);
                    // Ports are in use for a minute after a connection: there are only so many.
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        let threads = (0..3).map(spawn).collect();
        Self { shared, threads }
    }

    /// Waits until they have gone on for a while.
    fn go_on(&self) {
        let goal = self.shared.rounds.load(Ordering::SeqCst) + 30;
        let began = Instant::now();
        while self.shared.rounds.load(Ordering::SeqCst) < goal {
            let complaints = self.shared.complaints.lock().expect("no panic");
            assert!(complaints.is_empty(), "{complaints:?}");
            assert!(began.elapsed() < PATIENCE, "the clients do not get on");
            drop(complaints);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends them; every item that was stored came once, or is still at one of the servers.
    fn end(self, servers: &[&Server]) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let complaints = self.shared.complaints.lock().expect("no panic");
        assert!(complaints.is_empty(), "{complaints:?}");
        let mut came = self.shared.came.lock().expect("no panic").clone();
        for server in servers {
            let mut wire = server.wire();
            came.extend(std::iter::from_fn(|| wire.get("jobs")).map(|body| text(&body)));
        }
        let count = came.len();
        let came: BTreeSet<String> = came.into_iter().collect();
        assert_eq!(came.len(), count, "an item came twice");
        assert!(came == *self.shared.stored.lock().expect("no panic"), "an item was lost");
    }
}

impl Shared {
    fn round(&self, address: SocketAddr, body: &str) -> io::Result<()> {
        let request = format!("set jobs 0 0 {}\r\n{body}\r\n", body.len());
        match exchange(address, &request)?.as_slice() {
            [stored] if stored == "STORED" => {
                self.stored.lock().expect("no panic").insert(body.to_owned());
            }
            other => return Err(io::Error::other(format!("{other:?} to a put"))),
        }
        match exchange(address, "get jobs\r\n")?.as_slice() {
            [end] if end == "END" => {}
            [value, came, end] if value.starts_with("VALUE ") && end == "END" => {
                self.came.lock().expect("no panic").push(came.clone());
            }
            other => return Err(io::Error::other(format!("{other:?} to a get"))),
        }
        Ok(())
    }
}

/// One request on a connection of its own; the lines of the reply.
fn exchange(address: SocketAddr, request: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("closed after {lines:?}")));
        }
        let line = line.trim_end().to_owned();
        let is_last = line == "END" || !line.starts_with("VALUE ") && lines.is_empty();
        lines.push(line);
        if is_last {
            break;
        }
    }
    // As a short script does: it says goodbye, and the server closes.
    reader.get_mut().write_all(b"quit\r\n")?;
    reader.read_to_end(&mut Vec::new())?;
    Ok(lines)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn directories() -> [TempDir; 2] {
    [(); 2].map(|()| tempfile::tempdir().expect("a directory"))
}

#[test]
fn a_server_is_drained_and_brought_back_and_no_client_sees_an_error() {
    let directories = directories();
    let [one, two] = [0, 1].map(|number| Server::start(directories[number].path(), ""));
    let proxy = HaProxy::start([one.ports, two.ports]);
    proxy.wait_until("one", "UP");
    proxy.wait_until("two", "UP");
    let clients = Clients::start(proxy.address());
    clients.go_on();
    assert!(one.puts() > 0 && two.puts() > 0, "puts go to both");

    let answer = one.admin().post("/status", "status=quiescent");
    assert_eq!(answer.status, 200, "{answer:?}");
    proxy.wait_until("one", "DOWN");
    assert_eq!(one.status(), "status: QUIESCENT\nenforced: UP\n", "nothing is refused yet");
    let began = Instant::now();
    while one.status() != "status: QUIESCENT\nenforced: QUIESCENT\n" {
        assert!(began.elapsed() < PATIENCE, "the grace period does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Nobody is there who could be refused.
    let before = one.puts();
    clients.go_on();
    assert_eq!(one.puts(), before);
    let mut wire = one.wire();
    wire.send(b"get jobs\r\n");
    assert!(wire.line().starts_with("SERVER_ERROR"));

    assert_eq!(one.admin().post("/status", "up").status, 200);
    proxy.wait_until("one", "UP");
    clients.go_on();
    let began = Instant::now();
    while one.puts() == before {
        assert!(began.elapsed() < PATIENCE, "no put comes to it again");
        clients.go_on();
    }
    clients.end(&[&one, &two]);
}

#[test]
fn a_server_that_was_killed_is_left_out_and_has_everything_when_it_returns() {
    let directories = directories();
    let [mut one, two] = [0, 1].map(|number| Server::start(directories[number].path(), ""));
    let proxy = HaProxy::start([one.ports, two.ports]);
    proxy.wait_until("one", "UP");
    proxy.wait_until("two", "UP");
    let mut wire = one.wire();
    for number in 0..20 {
        wire.put("kept", format!("item {number}").as_bytes());
    }
    drop(wire);
    one.kill();
    proxy.wait_until("one", "DOWN");
    let clients = Clients::start(proxy.address());
    clients.go_on();
    one.begin(directories[0].path());
    proxy.wait_until("one", "UP");
    let before = one.puts();
    while one.puts() == before {
        clients.go_on();
    }
    clients.end(&[&one, &two]);
    let mut wire = one.wire();
    for number in 0..20 {
        assert_eq!(wire.get("kept"), Some(format!("item {number}").into_bytes()));
    }
    assert_eq!(wire.get("kept"), None);
}

#[test]
fn a_server_whose_disk_is_full_is_left_out_until_there_is_space() {
    let Some(disk) = SmallDisk::new(DISK_BYTES) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let (one, two) = (Server::start(directory.path(), ""), Server::start(&disk.directory(), SMALL));
    let proxy = HaProxy::start([one.ports, two.ports]);
    proxy.wait_until("two", "UP");
    let mut wire = two.wire();
    let body = vec![b'x'; 20_000];
    let mut stored = 0;
    loop {
        wire.send(&[b"set fill 0 0 20000\r\n".as_slice(), &body, b"\r\n"].concat());
        match wire.line().as_str() {
            "STORED" => stored += 1,
            reply => {
                assert!(reply.starts_with("SERVER_ERROR out of disk"), "{reply}");
                break;
            }
        }
        assert!(stored < 10_000, "the disk does not become full");
    }
    proxy.wait_until("two", "DOWN");
    assert_eq!(two.admin().get("/ready").body, "the disk is full\n");
    assert_eq!(two.admin().get("/ready/write").status, 503);
    assert_eq!(two.admin().get("/ready/read").status, 200, "what is there can be taken");
    let clients = Clients::start(proxy.address());
    clients.go_on();
    for _ in 0..stored {
        assert!(wire.get("fill").is_some_and(|taken| taken == body));
    }
    proxy.wait_until("two", "UP");
    clients.go_on();
    clients.end(&[&one, &two]);
}
