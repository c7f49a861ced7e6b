//! A socket to the server, requests out, replies in, each within a deadline.
//!
//! Invariant: after an error nothing more is sent on it; whoever gets one gives up the connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kqueue_proto::client::{Reply, ReplyDecoder, ReplyLimits};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::address::Address;
use crate::error::{Error, Result};

/// A line of `dump_stats` may name thousands of sub-queues.
const LINE_BYTES: usize = 4 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(crate) struct Connection {
    socket: Socket,
    server: String,
    timeout: Duration,
    decoder: ReplyDecoder,
    received: BytesMut,
}

impl Connection {
    pub(crate) fn open(address: &Address, timeout: Duration) -> Result<Self> {
        let server = address.to_string();
        let socket = match address {
            Address::Tcp(host_and_port) => connect_tcp(host_and_port, timeout).map(Socket::Tcp),
            Address::Unix(path) => connect_unix(path, timeout).map(Socket::Unix),
        };
        let socket = socket.map_err(|error| Error::Unreachable {
            server: server.clone(),
            what: format!("cannot connect: {error}"),
        })?;
        let limits = ReplyLimits { line_bytes: LINE_BYTES, ..ReplyLimits::default() };
        let decoder = ReplyDecoder::new(limits);
        Ok(Self { socket, server, timeout, decoder, received: BytesMut::new() })
    }

    /// As messages name it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request in several parts. A server that closes meanwhile may have said why: then that is what [`Self::receive`] brings.
    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> Result<()> {
        let timeout = Some(self.timeout.max(Duration::from_millis(1)));
        let sent = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_write_timeout(timeout).and_then(|()| write_all(socket, parts))
            }
            Socket::Unix(socket) => {
                socket.set_write_timeout(timeout).and_then(|()| write_all(socket, parts))
            }
        };
        match sent {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.unreachable(format!("it took no more bytes for {:?}", self.timeout)))
            }
            // The reply, or that there is none, says more than the error.
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// The next reply, which the server may let wait for `patience` by itself.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Reply> {
        let limit = self.timeout.saturating_add(patience);
        let deadline = Instant::now().checked_add(limit);
        loop {
            match self.decoder.decode(&mut self.received) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => {
                    let server = self.server.clone();
                    return Err(Error::Protocol { server, what: error.to_string() });
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(self.unreachable(format!(
                    "no answer for {limit:?}, so what became of the request is not known (--timeout says how long to wait)"
                )));
            }
            self.read_some(left)?;
        }
    }

    /// Reads what comes, for at most so long.
    fn read_some(&mut self, limit: Option<Duration>) -> Result<()> {
        let mut piece = [0; READ_BYTES];
        let read = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(limit).and_then(|()| socket.read(&mut piece))
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(limit).and_then(|()| socket.read(&mut piece))
            }
        };
        match read {
            Ok(0) => Err(self.unreachable(CLOSED.to_owned())),
            Ok(count) => {
                self.received.extend_from_slice(&piece[..count]);
                Ok(())
            }
            // The caller looks at the clock and goes on.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Err(self.unreachable(CLOSED.to_owned()))
            }
            Err(error) => Err(self.unreachable(format!("{CLOSED} ({error})"))),
        }
    }

    fn unreachable(&self, what: String) -> Error {
        Error::Unreachable { server: self.server.clone(), what }
    }
}

const CLOSED: &str =
    "it closed the connection without an answer, so what became of the request is not known";

fn connect_tcp(host_and_port: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in host_and_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1))) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The kernel lets a connect wait, without an end, where a server that does not accept has a full backlog; a limit for writes bounds that, too.
fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(timeout.max(Duration::from_millis(1))))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(socket.into()),
        Err(Errno::AGAIN) => {
            let what = format!("nobody accepted it for {timeout:?}");
            Err(io::Error::new(ErrorKind::TimedOut, what))
        }
        Err(error) => Err(error.into()),
    }
}

/// One write for a small request: a packet of its own for each part would be one too many.
fn write_all(socket: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    match parts {
        [one] => socket.write_all(one),
        parts => socket.write_all(&parts.concat()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn connected(answer: &'static [u8]) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Tcp(listener.local_addr().expect("it has one").to_string());
        let connection = Connection::open(&address, SHORT).expect("somebody listens");
        let (mut peer, _) = listener.accept().expect("it came");
        peer.write_all(answer).expect("it is read");
        (connection, peer)
    }

    #[test]
    fn several_replies_in_one_packet_are_several_replies() {
        let (mut connection, _peer) = connected(b"OK\r\nEND\r\n");
        assert_eq!(connection.receive(Duration::ZERO).expect("one"), Reply::Ok);
        assert_eq!(connection.receive(Duration::ZERO).expect("two"), Reply::End);
    }

    #[test]
    fn silence_ends_with_the_deadline() {
        let (mut connection, _peer) = connected(b"OK");
        let error = connection.receive(Duration::ZERO).expect_err("no whole line");
        assert!(error.to_string().contains("no answer for 20ms"), "{error}");
        // What the server was told to wait comes on top.
        let error = connection.receive(SHORT).expect_err("no whole line");
        assert!(error.to_string().contains("no answer for 40ms"), "{error}");
    }

    #[test]
    fn a_unix_socket_that_nobody_accepts_is_not_waited_for_longer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("full.sock");
        let _listener = UnixListener::bind(&path).expect("it can be bound");
        let address = Address::Unix(path);
        // Each takes a place in the backlog, until there is none.
        let mut waiting = Vec::new();
        let error = loop {
            match Connection::open(&address, SHORT) {
                Ok(connection) => waiting.push(connection),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("nobody accepted it for 20ms"), "{error}");
        assert_eq!(error.exit_code(), crate::error::EXIT_UNREACHABLE);
    }

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        let (mut connection, peer) = connected(b"SERVER_ERROR too many connections\r\n");
        drop(peer);
        connection.send(&[b"version\r\n"]).expect("the reply says more");
        let reply = connection.receive(Duration::ZERO).expect("it was said");
        assert_eq!(reply, Reply::ServerError("too many connections".to_owned()));
        let error = connection.receive(Duration::ZERO).expect_err("the end");
        assert!(matches!(&error, Error::Unreachable { what, .. } if what.contains("closed")));
    }

    #[test]
    fn what_is_no_queue_server_is_told() {
        let (mut connection, _peer) = connected(b"HTTP/1.1 400 Bad Request\r\n");
        let error = connection.receive(Duration::ZERO).expect_err("no reply");
        assert!(matches!(&error, Error::Protocol { what, .. } if what.contains("HTTP")), "{error}");
    }
}
