//! Fake servers on loopback threads: [`Scripted`] plays any script per connection, [`Model`] is a
//! small queue server in either dialect.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::missing_panics_doc)]

pub mod model;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kqueue_client::{Address, Cluster, Failover, Options, Pools};

pub const CAPABILITIES: &str = "CAPABILITIES kqueue/test put reserve ack release\r\n";

/// One accepted connection, seen from the server.
pub struct Peer {
    pub nth: usize,
    reader: BufReader<TcpStream>,
    /// A line that was read too early.
    pushed_back: Option<String>,
}

impl Drop for Peer {
    /// Also when its script panics: the client must not wait for the dead.
    fn drop(&mut self) {
        let _ = self.stream().shutdown(Shutdown::Both);
    }
}

impl Peer {
    /// A line with its CRLF; empty at end of file.
    pub fn line(&mut self) -> String {
        if let Some(line) = self.pushed_back.take() {
            return line;
        }
        let mut line = Vec::new();
        let _ = self.reader.read_until(b'\n', &mut line);
        String::from_utf8(line).unwrap()
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// Blocks until the client closes.
    pub fn until_closed(&mut self) {
        let _ = self.reader.read_to_end(&mut Vec::new());
    }

    /// Answers the probe, if there is one (only the first connection to an address has it), as a
    /// server of the extended commands.
    pub fn greet(&mut self) {
        let line = self.line();
        if line == "capabilities\r\n" {
            self.send(CAPABILITIES);
        } else {
            self.pushed_back = Some(line);
        }
    }

    /// Reads `put <queue> <bytes>...` and its body.
    pub fn put(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let mut words = line.split_ascii_whitespace();
        let (word, bytes) = (words.next()?, words.nth(1)?);
        assert_eq!(word, "put", "{line}");
        let body = self.bytes(bytes.parse().unwrap());
        assert_eq!(self.bytes(2), b"\r\n");
        Some(body)
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}

/// A listener that runs a script for each connection, each on its own thread.
pub struct Scripted {
    pub address: String,
    pub accepted: Arc<AtomicUsize>,
    is_stopping: Arc<AtomicBool>,
    peers: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scripted {
    pub fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", script)
    }

    pub fn start_at(address: &str, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let peers = Arc::new(Mutex::new(Vec::new()));
        let (count, stop, all) = (accepted.clone(), is_stopping.clone(), peers.clone());
        let acceptor = thread::spawn(move || {
            let script = Arc::new(script);
            let mut threads = Vec::new();
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                all.lock().unwrap().push(stream.try_clone().unwrap());
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                threads.push(thread::spawn(move || {
                    script(&mut Peer { nth, reader: BufReader::new(stream), pushed_back: None });
                }));
            }
            drop(listener);
            for stream in all.lock().unwrap().iter() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            for thread in threads {
                let _ = thread.join();
            }
        });
        Self { address, accepted, is_stopping, peers, acceptor: Some(acceptor) }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Ends every connection; new ones are accepted.
    pub fn cut(&self) {
        for stream in self.peers.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// As if killed: the port is closed, then every connection.
    pub fn kill(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.is_stopping.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(&self.address);
            acceptor.join().unwrap();
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that refuses connections (bound, then closed).
pub fn refusing() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Accepts and never says anything.
pub fn black_hole() -> Scripted {
    Scripted::start(Peer::until_closed)
}

/// Ordered, so that tests know who is asked first; generous limits, so that a busy machine does not
/// decide.
pub fn options() -> Options {
    Options {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        failover: Failover::Ordered,
        backoff_base: Duration::from_millis(1),
        backoff_cap: Duration::from_millis(2),
        ..Options::default()
    }
}

/// For tests in which a timeout is meant to pass.
pub fn impatient() -> Options {
    Options {
        timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(400),
        ..options()
    }
}

pub fn cluster_on(pools: &Pools, addresses: &[&str], options: Options) -> Cluster {
    let addresses = addresses.iter().map(|text| Address::parse(text).unwrap()).collect();
    Cluster::new(pools.clone(), addresses, options).unwrap()
}

pub fn cluster(addresses: &[&str], options: Options) -> Cluster {
    cluster_on(&Pools::new(1), addresses, options)
}
