//! Listening sockets and the accept loops.
//!
//! Invariants: a connection over `max_connections` is told so and closed, never left hanging; running out of descriptors pauses accepting and
//! touches nothing else; a unix socket file that a dead server left behind is replaced, one that is in use is not.
//! Must not: know what is spoken on a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::consume_budget;
use tracing::warn;

use crate::config::ListenAddress;
use crate::conn::{self, ConnConfig};
use crate::protocol::Protocol;
use crate::shared::Shared;

/// Connections that the kernel keeps for us between two accepts; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;
/// Pause after a failed accept, so that a machine out of descriptors is not kept busy by failing.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A peer that does not acknowledge what was sent for so long is gone (its open reads return).
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Where the server can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The TCP address, with the port that the kernel chose where the configuration said 0.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Bound {
    /// Whether other machines may reach it, firewalls aside.
    fn is_open_to_others(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

/// A socket that listens.
pub(crate) struct Listener {
    socket: AsyncFd<OwnedFd>,
    /// Of a unix socket.
    path: Option<UnixPath>,
}

/// Removes the socket file when the listener goes.
pub(crate) struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // A file that somebody removed already is what we want.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds `address`; warns if that is for all the world.
    pub(crate) async fn bind(address: &ListenAddress) -> io::Result<(Self, Bound)> {
        let (listener, bound) = Self::bind_quietly(address).await?;
        if bound.is_open_to_others() {
            warn!(
                "{bound} can be reached from other machines, and there is no authentication: see to it that only your own get through"
            );
        }
        Ok((listener, bound))
    }

    async fn bind_quietly(address: &ListenAddress) -> io::Result<(Self, Bound)> {
        match address {
            ListenAddress::Tcp(host) => {
                let listener = bind_tcp(host).await?;
                let bound = Bound::Tcp(listener.local_addr()?);
                Ok((Self::new(listener.into_std()?.into(), None)?, bound))
            }
            ListenAddress::Unix(path) => {
                let socket = bind_unix(path).await?.into_std()?.into();
                let listener = Self::new(socket, Some(UnixPath(path.clone())))?;
                Ok((listener, Bound::Unix(path.clone())))
            }
        }
    }

    #[expect(
        deprecated,
        reason = "unsound for some types, not for an OwnedFd; its successor is unsafe for all"
    )]
    fn new(socket: OwnedFd, path: Option<UnixPath>) -> io::Result<Self> {
        Ok(Self { socket: AsyncFd::with_interest(socket, Interest::READABLE)?, path })
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        loop {
            let mut ready = self.socket.readable().await?;
            // However many wait, those that were accepted have their turn, too.
            consume_budget().await;
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
                Ok(socket) => {
                    // An `accept` that finds nobody makes a socket and a file first, and takes several times as long as this question.
                    if !self.has_another() {
                        ready.clear_ready();
                    }
                    return Ok(match self.path {
                        None => Stream::Tcp(TcpStream::from_std(socket.into())?),
                        Some(_) => Stream::Unix(UnixStream::from_std(socket.into())?),
                    });
                }
            }
        }
    }

    /// Whether another connection waits now.
    fn has_another(&self) -> bool {
        let mut asked = [PollFd::new(&self.socket, PollFlags::IN)];
        // Who cannot say finds out by the next `accept`.
        poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |found| found > 0)
    }
}

async fn bind_tcp(host: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(host).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        tune(&socket);
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is something else of this name, which is no socket: it was not touched",
                ));
            }
            if UnixStream::connect(path).await.is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another server answers on this socket",
                ));
            }
            // Nobody answers: the file was left by a server that was killed.
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

/// Refusals are told so often: whoever is refused tries again.
const REFUSALS_TOLD: Duration = Duration::from_secs(60);

/// Connections that were refused, and when that was said last.
#[derive(Debug, Default)]
struct Refusals {
    untold: u64,
    told: Option<Instant>,
}

impl Refusals {
    /// One more. Answers how many to tell of, if it is time.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < REFUSALS_TOLD) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Counts the connections; the last one to go lets [`Gauge::wait_for_none`] return.
#[derive(Debug)]
pub(crate) struct Gauge {
    max: usize,
    now: AtomicUsize,
    changed: watch::Sender<()>,
    refusals: Mutex<Refusals>,
}

impl Gauge {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            now: AtomicUsize::new(0),
            changed: watch::Sender::new(()),
            refusals: Mutex::default(),
        })
    }

    fn enter(self: &Arc<Self>) -> Option<Entered> {
        let before = self.now.fetch_add(1, Ordering::AcqRel);
        let entered = Entered(Arc::clone(self));
        (before < self.max).then_some(entered)
    }

    /// Returns once no connection is left.
    pub(crate) async fn wait_for_none(&self) {
        let mut changed = self.changed.subscribe();
        while self.now.load(Ordering::Acquire) > 0 {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.send_replace(());
        }
    }
}

/// What every accept loop needs.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: ConnConfig,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) draining: watch::Receiver<bool>,
}

impl Acceptor {
    /// Accepts until the server drains; then the listener is closed.
    pub(crate) async fn run(mut self, listener: Listener) {
        loop {
            let mut draining = self.draining.clone();
            let accepted = tokio::select! {
                _ = draining.wait_for(|draining| *draining) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => self.spawn(stream),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    warn!("cannot accept connections for the moment: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&mut self, stream: Stream) {
        let Some(entered) = self.gauge.enter() else {
            if let Some(refused) = self.gauge.refusals.lock().add(Instant::now()) {
                warn!(
                    "connection refused: max_connections = {} are open; refused since this was said last: {refused}",
                    self.gauge.max
                );
            }
            tokio::spawn(refuse(stream, self.config.protocol));
            return;
        };
        let Self { shared, config, draining, .. } = self.clone();
        tokio::spawn(async move {
            match stream {
                Stream::Tcp(stream) => conn::serve(stream, shared, config, draining).await,
                Stream::Unix(stream) => conn::serve(stream, shared, config, draining).await,
            }
            drop(entered);
        });
    }
}

/// A connection that was accepted.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Replies are small and must leave at once; a host that vanished must be noticed. Connections have from their listener what is set here: five system calls less for
/// each. A socket that refuses an option works all the same.
fn tune(listener: &TcpSocket) {
    let _ = listener.set_nodelay(true);
    let socket = SockRef::from(listener);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
}

/// The peer hung up before it was accepted: nothing is wrong here.
pub(crate) fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn refuse(stream: Stream, protocol: Protocol) {
    let reply = protocol.too_many_connections();
    // The peer may be gone already: it was to be closed anyway.
    let _ = match stream {
        Stream::Tcp(mut stream) => stream.write_all(reply).await,
        Stream::Unix(mut stream) => stream.write_all(reply).await,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_warned_of() {
        let is_open =
            |address: &str| Bound::Tcp(address.parse().expect("an address")).is_open_to_others();
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(is_open(open), "{open}");
        }
        for own in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!is_open(own), "{own}");
        }
        assert!(!Bound::Unix("/run/k.sock".into()).is_open_to_others());
    }

    #[tokio::test]
    async fn each_connection_is_accepted_and_has_from_its_listener_what_it_needs() {
        let address = ListenAddress::Tcp("127.0.0.1:0".into());
        let (listener, Bound::Tcp(at)) = Listener::bind(&address).await.expect("a port") else {
            panic!("not TCP");
        };
        let accept = || async {
            match listener.accept().await.expect("a connection") {
                Stream::Tcp(stream) => stream,
                Stream::Unix(_) => panic!("not TCP"),
            }
        };
        // Several at a time, and one after another: none is overlooked.
        for waiting in [1, 3, 1, 1, 2] {
            let clients: Vec<_> = (0..waiting)
                .map(|_| std::net::TcpStream::connect(at).expect("to be connected"))
                .collect();
            for client in clients {
                let stream = accept().await;
                assert_eq!(stream.peer_addr().ok(), client.local_addr().ok());
                let socket = SockRef::from(&stream);
                assert!(stream.nodelay().expect("nodelay"));
                assert!(socket.keepalive().expect("keepalive"));
                assert_eq!(socket.tcp_keepalive_time().expect("time"), KEEPALIVE_IDLE);
                assert_eq!(socket.tcp_keepalive_interval().expect("interval"), KEEPALIVE_INTERVAL);
                assert_eq!(socket.tcp_user_timeout().expect("timeout"), Some(TCP_USER_TIMEOUT));
            }
        }
        // Somebody who already waits is told of the next one.
        let waits = async { accept().await };
        let comes = async {
            tokio::task::yield_now().await;
            tokio::net::TcpStream::connect(at).await.expect("to be connected")
        };
        let (stream, client) = tokio::join!(waits, comes);
        assert_eq!(stream.peer_addr().ok(), client.local_addr().ok());
    }

    #[tokio::test]
    async fn while_many_wait_to_be_accepted_others_have_their_turn() {
        // More than the runtime lets a task do at a time, and few enough for any limit of descriptors.
        const WAITING: usize = 200;
        let address = ListenAddress::Tcp("127.0.0.1:0".into());
        let (listener, Bound::Tcp(at)) = Listener::bind(&address).await.expect("a port") else {
            panic!("not TCP");
        };
        let clients: Vec<_> = (0..WAITING)
            .map(|_| std::net::TcpStream::connect(at).expect("to be connected"))
            .collect();
        let accepted = Arc::new(AtomicUsize::new(0));
        let accepts = tokio::spawn({
            let accepted = Arc::clone(&accepted);
            async move {
                for _ in 0..WAITING {
                    listener.accept().await.expect("a connection");
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut seen = 0;
        while seen == 0 {
            tokio::task::yield_now().await;
            seen = accepted.load(Ordering::Relaxed);
        }
        assert!(seen < WAITING, "all were accepted before anybody else ran");
        accepts.await.expect("all of them");
        drop(clients);
    }

    #[test]
    fn refusals_are_told_once_a_minute_and_all_of_them_are() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let mut add = |seconds| refusals.add(start + Duration::from_secs(seconds));
        assert_eq!([add(0), add(1), add(59)], [Some(1), None, None]);
        assert_eq!([add(60), add(61)], [Some(3), None]);
        assert_eq!(add(1000), Some(2));
    }
}
