//! Sockets: connect with a limit, send without a signal or a wait, receive until a deadline, poll
//! several.
//!
//! The sockets are blocking: an exchange is one `sendmsg` and one `recv`, the limit of the latter
//! being a socket option that is only set when it
//! has to change. Sends never block (`MSG_DONTWAIT`), so that a caller can read while the server
//! does not.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::address::Endpoint;

/// Keepalive finds a vanished server within about two minutes; calls have their own, shorter
/// limits.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 3;

/// How much later than asked a receive may give up; saves setting the socket option for each call.
const TIMEOUT_SLACK: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    /// The receive timeout that is set on the socket.
    armed: Option<Duration>,
}

/// What a receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    Eof,
    /// The deadline passed, or nothing is there.
    Nothing,
}

/// Resolves the name. Blocks as long as the system's resolver does; an IP address is not looked up.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

impl Stream {
    /// Connects to the first of `addresses` that accepts, or to the unix socket, until `deadline`.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> io::Result<Self> {
        let socket = match endpoint {
            Endpoint::Unix(path) => Socket::Unix(connect_unix(path, deadline)?),
            Endpoint::Tcp { .. } => Socket::Tcp(connect_tcp(addresses, deadline)?),
        };
        Ok(Self { socket, armed: None })
    }

    /// Sends what the kernel takes now; 0: nothing at the moment.
    pub(crate) fn send_now(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let mut control = SendAncillaryBuffer::default();
            // One piece costs the kernel less so.
            let sent = match parts {
                [only] => rustix::net::send(self, only, send_flags()),
                _ => rustix::net::sendmsg(self, parts, &mut control, send_flags()),
            };
            match sent {
                Ok(sent) => return Ok(sent),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives what is there, without waiting.
    pub(crate) fn receive_now(&self, into: &mut [u8]) -> io::Result<Received> {
        self.receive(into, RecvFlags::DONTWAIT)
    }

    /// Receives at least one byte, waiting until `deadline`. Signals do not end the wait.
    pub(crate) fn receive_until(
        &mut self,
        into: &mut [u8],
        deadline: Instant,
    ) -> io::Result<Received> {
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return self.receive_now(into);
            }
            self.arm(remaining)?;
            match self.receive(into, RecvFlags::empty())? {
                // The armed timeout may have been shorter than what remained.
                Received::Nothing => {}
                received => return Ok(received),
            }
        }
    }

    /// True if nothing has arrived and the peer has not closed: the only state in which an idle
    /// connection is usable.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0_u8];
        matches!(
            self.receive(&mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT),
            Ok(Received::Nothing)
        )
    }

    fn receive(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        loop {
            match rustix::net::recv(self, &mut *into, flags) {
                Ok((0, _)) => return Ok(Received::Eof),
                Ok((bytes, _)) => return Ok(Received::Bytes(bytes)),
                Err(rustix::io::Errno::INTR) if flags.contains(RecvFlags::DONTWAIT) => {}
                // The caller looks at the clock and goes on.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
                    return Ok(Received::Nothing);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn arm(&mut self, remaining: Duration) -> io::Result<()> {
        let is_near =
            |armed: Duration| armed <= remaining + TIMEOUT_SLACK && armed >= remaining / 2;
        if self.armed.is_some_and(is_near) {
            return Ok(());
        }
        let timeout = remaining.max(TIMEOUT_SLACK);
        match &self.socket {
            Socket::Tcp(socket) => socket.set_read_timeout(Some(timeout))?,
            Socket::Unix(socket) => socket.set_read_timeout(Some(timeout))?,
        }
        self.armed = Some(timeout);
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

/// What to wait for on one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Both,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Ready,
    TimedOut,
    /// A signal arrived.
    Interrupted,
}

/// Waits until one of the sockets is ready (closed counts) or the deadline passes. With no socket
/// it is an interruptible sleep.
pub(crate) fn wait_any(sockets: &[(&Stream, Interest)], deadline: Instant) -> io::Result<Woken> {
    let mut polled: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|(stream, interest)| {
            let flags = match interest {
                Interest::Readable => PollFlags::IN,
                Interest::Both => PollFlags::IN | PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(stream.as_fd(), flags)
        })
        .collect();
    let remaining = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: remaining.subsec_nanos().into(),
    };
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(0) => Ok(Woken::TimedOut),
        Ok(_) => Ok(Woken::Ready),
        Err(rustix::io::Errno::INTR) => Ok(Woken::Interrupted),
        Err(error) => Err(error.into()),
    }
}

fn send_flags() -> SendFlags {
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    return SendFlags::DONTWAIT; // std sets SO_NOSIGPIPE there
    #[cfg(not(any(target_os = "macos", target_os = "ios")))]
    return SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
}

fn connect_tcp(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::TimedOut, "no time left to connect");
    for address in addresses {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, remaining) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                // Conveniences: a system that lacks one of them still has a working connection.
                let _ = rustix::net::sockopt::set_socket_keepalive(&socket, true);
                let _ = rustix::net::sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE);
                let _ = rustix::net::sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL);
                let _ = rustix::net::sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES);
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A unix socket whose backlog is full answers `EAGAIN` at once when non-blocking: asked again
/// until the deadline.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match rustix::net::connect(&fd, &address) {
            Ok(()) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                let pause = Instant::now() + Duration::from_millis(2);
                wait_any(&[], pause.min(deadline))?;
            }
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let socket = UnixStream::from(fd);
    socket.set_nonblocking(false)?;
    Ok(socket)
}
