//! One connection to a server: a request goes out, its replies come back in order.
//!
//! Invariant: a reply is waited for until the deadline of its request, and no longer. Must not: know commands.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kqueue_proto::client::{BODY_END, Reply, ReplyDecoder, ReplyLimits};

use crate::error::{Error, Result};

/// No server has larger items.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Read at a time.
const PIECE_BYTES: usize = 64 * 1024;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// See the module's description.
pub(crate) struct Connection {
    stream: Stream,
    server: String,
    timeout: Duration,
    deadline: Instant,
    input: BytesMut,
    decoder: ReplyDecoder,
}

impl Connection {
    /// Connects within `timeout`, which every answer may take, too.
    pub(crate) fn open(server: &str, timeout: Duration) -> Result<Self> {
        let stream = connect(server, timeout).map_err(|error| Error::Unreachable {
            server: server.to_owned(),
            what: format!("cannot connect: {error}"),
        })?;
        let limits = ReplyLimits { body_bytes: BODY_BYTES_MAX, ..ReplyLimits::default() };
        Ok(Self {
            stream,
            server: server.to_owned(),
            timeout,
            deadline: Instant::now(),
            input: BytesMut::new(),
            decoder: ReplyDecoder::new(limits),
        })
    }

    /// As it was given.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request, which may wait for `wait` before it is answered.
    pub(crate) fn send(&mut self, line: &[u8], body: Option<&[u8]>, wait: Duration) -> Result<()> {
        self.deadline = Instant::now() + self.timeout + wait;
        let mut request = line.to_vec();
        if let Some(body) = body {
            request.extend_from_slice(body);
            request.extend_from_slice(BODY_END);
        }
        let sent =
            self.stream.set_timeouts(self.timeout).and_then(|()| self.stream.write(&request));
        sent.map_err(|error| self.broken(&error))
    }

    /// The next reply, or part of one.
    pub(crate) fn reply(&mut self) -> Result<Reply> {
        loop {
            let decoded = self.decoder.decode(&mut self.input);
            if let Some(reply) = decoded.map_err(|error| Error::of_decoder(&self.server, &error))? {
                return Ok(reply);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.silent());
            }
            let mut piece = [0; PIECE_BYTES];
            let read = self.stream.set_timeouts(left).and_then(|()| self.stream.read(&mut piece));
            match read {
                Ok(0) => return Err(self.lost("closed the connection")),
                Ok(count) => self.input.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(self.silent()),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// Sends a request and answers its only reply.
    pub(crate) fn ask(&mut self, line: &[u8], body: Option<&[u8]>) -> Result<Reply> {
        self.send(line, body, Duration::ZERO)?;
        self.reply()
    }

    /// What an unexpected reply means.
    pub(crate) fn unexpected(&self, reply: &Reply) -> Error {
        Error::of_reply(&self.server, reply)
    }

    fn lost(&self, what: &str) -> Error {
        Error::Unreachable { server: self.server.clone(), what: what.to_owned() }
    }

    fn silent(&self) -> Error {
        self.lost("does not answer in time (--timeout)")
    }

    fn broken(&self, error: &io::Error) -> Error {
        match is_timeout(error) {
            true => self.silent(),
            false => self.lost(&error.to_string()),
        }
    }
}

impl Stream {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        // Zero would mean for ever.
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

fn connect(server: &str, timeout: Duration) -> io::Result<Stream> {
    if let Some(path) = server.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return UnixStream::connect(path).map(Stream::Unix);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Stream::Tcp(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
