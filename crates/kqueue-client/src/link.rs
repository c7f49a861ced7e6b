//! One connection: a socket and its session, and the exchange of a request for its answer.
//!
//! Invariant: [`Link::is_clean`] is true only between whole exchanges. Whoever owns a link that is
//! not clean drops it, which closes the socket
//! without sending anything.

use std::io::{self, IoSlice};
use std::time::Instant;

use crate::session::{Answer, Expect, Session};
use crate::stream::{Interest, Received, Stream, Woken, wait_any};

/// One read takes at most this much; a larger answer takes several.
const READ_BYTES: usize = 16 * 1024;

/// The commands a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `put reserve ack release`: items have ids, held items share a connection.
    Extended(Words),
    /// Kestrel's commands: a held item pins its connection.
    Kestrel,
}

impl Dialect {
    /// Everything this crate knows.
    pub(crate) const ALL: Self =
        Self::Extended(Words { touch: true, bury: true, delay: true, key: true });

    pub(crate) fn is_extended(self) -> bool {
        matches!(self, Self::Extended(_))
    }

    pub(crate) fn words(self) -> Words {
        match self {
            Self::Extended(words) => words,
            Self::Kestrel => Words::default(),
        }
    }
}

/// Which of the later extended words a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) touch: bool,
    pub(crate) bury: bool,
    /// `release` with a delay.
    pub(crate) delay: bool,
    /// `put` with a key: repeated, it is stored once.
    pub(crate) key: bool,
}

/// Why an exchange failed, as far as it decides what may be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No connection.
    Connect,
    /// The connection ended without an answer.
    Broken,
    /// No answer in time.
    Silent,
    /// Not an answer.
    Garbage,
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    /// A byte of the request may have reached the server: the outcome is unknown.
    pub(crate) is_sent: bool,
    /// Phase and reason, for people.
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self { cause: Cause::Connect, is_sent: false, text: format!("connecting: {error}") }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    session: Session,
    scratch: Box<[u8]>,
    dialect: Dialect,
    /// The process that opened it: in any other the socket is somebody else's.
    pid: u32,
    is_reused: bool,
    is_sent: bool,
    /// A request was not sent to its end: no answer can make this connection clean again.
    is_cut: bool,
    last_used: Instant,
}

impl Link {
    pub(crate) fn new(stream: Stream, max_body_bytes: usize, pid: u32) -> Self {
        Self {
            stream,
            session: Session::new(max_body_bytes),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            dialect: Dialect::Kestrel,
            pid,
            is_reused: false,
            is_sent: false,
            is_cut: false,
            last_used: Instant::now(),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// True if it has been in a pool: then its breaking says little about the server.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(crate) fn mark_reused(&mut self) {
        self.is_reused = true;
    }

    pub(crate) fn last_used(&self) -> Instant {
        self.last_used
    }

    pub(crate) fn is_clean(&self) -> bool {
        !self.is_cut && self.session.is_clean()
    }

    /// See [`Stream::is_quiet`].
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn exchange(
        &mut self,
        expect: Expect,
        parts: &[&[u8]],
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        self.request(expect, parts, deadline)?;
        self.answer(deadline)
    }

    /// Sends a request. If the server answers before it took all of it, the rest is not sent and
    /// [`Self::answer`] brings that answer.
    pub(crate) fn request(
        &mut self,
        expect: Expect,
        parts: &[&[u8]],
        deadline: Instant,
    ) -> Result<(), Fault> {
        self.begin(expect);
        let mut at = 0;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while at < total {
            match self.send_from(parts, at) {
                Ok(0) => match self.wait(Interest::Both, deadline)? {
                    Woken::TimedOut => return Err(self.silent("sending the request")),
                    // An answer to half a request is a refusal or nonsense; either way, no more is
                    // sent.
                    Woken::Ready if self.receive_now()? > 0 => {
                        self.is_cut = true;
                        return Ok(());
                    }
                    Woken::Ready | Woken::Interrupted => {}
                },
                Ok(sent) => at += sent,
                // The server may have said why before it closed.
                Err(_) if self.is_sent && matches!(self.receive_now(), Ok(1..)) => {
                    self.is_cut = true;
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Announces a request without sending it; the caller sends it with [`Self::send_now`].
    pub(crate) fn begin(&mut self, expect: Expect) {
        if self.session.due() == 0 {
            self.is_sent = false;
        }
        self.session.expect(expect);
    }

    /// Sends what the kernel takes now.
    pub(crate) fn send_now(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Fault> {
        let sent = self.stream.send_now(parts);
        self.sent(sent)
    }

    fn sent(&mut self, sent: io::Result<usize>) -> Result<usize, Fault> {
        match sent {
            Ok(sent) => {
                self.is_sent |= sent > 0;
                Ok(sent)
            }
            Err(error) => Err(self.broken("sending", &error.to_string())),
        }
    }

    /// Waits for the oldest unanswered request's answer.
    pub(crate) fn answer(&mut self, deadline: Instant) -> Result<Answer, Fault> {
        loop {
            if let Some(answer) = self.poll_answer()? {
                return Ok(answer);
            }
            match self.stream.receive_until(&mut self.scratch, deadline) {
                Ok(Received::Bytes(bytes)) => self.session.feed(&self.scratch[..bytes]),
                Ok(Received::Nothing) => return Err(self.silent("waiting for the answer")),
                Ok(Received::Eof) => return Err(self.closed()),
                Err(error) => return Err(self.broken("receiving", &error.to_string())),
            }
        }
    }

    /// The next whole answer among the bytes received so far.
    pub(crate) fn poll_answer(&mut self) -> Result<Option<Answer>, Fault> {
        let answer = self.session.poll().map_err(|text| self.garbage(&text))?;
        if answer.is_some() && self.session.due() == 0 {
            self.last_used = Instant::now();
        }
        Ok(answer)
    }

    /// Receives what has arrived, without waiting: how many bytes.
    pub(crate) fn receive_now(&mut self) -> Result<usize, Fault> {
        match self.stream.receive_now(&mut self.scratch) {
            Ok(Received::Bytes(bytes)) => {
                self.session.feed(&self.scratch[..bytes]);
                Ok(bytes)
            }
            Ok(Received::Nothing) => Ok(0),
            Ok(Received::Eof) => Err(self.closed()),
            Err(error) => Err(self.broken("receiving", &error.to_string())),
        }
    }

    pub(crate) fn wait(&self, interest: Interest, deadline: Instant) -> Result<Woken, Fault> {
        wait_any(&[(&self.stream, interest)], deadline)
            .map_err(|error| self.broken("polling", &error.to_string()))
    }

    /// The connection is in the middle of a request that will not be finished.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    pub(crate) fn garbage(&self, text: &str) -> Fault {
        Fault {
            cause: Cause::Garbage,
            is_sent: self.is_sent,
            text: format!("not an answer of a queue server: {text}"),
        }
    }

    pub(crate) fn silent(&self, phase: &str) -> Fault {
        Fault {
            cause: Cause::Silent,
            is_sent: self.is_sent,
            text: format!("{phase}: no answer in time"),
        }
    }

    /// A short request is copied together, which costs the kernel less than to collect its parts.
    fn send_from(&mut self, parts: &[&[u8]], at: usize) -> Result<usize, Fault> {
        if let Some(bytes) = gather(&mut self.scratch, parts, at) {
            let sent = self.stream.send_now(&[IoSlice::new(&self.scratch[..bytes])]);
            return self.sent(sent);
        }
        let mut slices = [IoSlice::new(&[]); 3];
        let mut skip = at;
        let mut used = 0;
        for part in parts {
            let from = skip.min(part.len());
            skip -= from;
            if from < part.len() && used < slices.len() {
                slices[used] = IoSlice::new(&part[from..]);
                used += 1;
            }
        }
        self.send_now(&slices[..used])
    }

    fn closed(&self) -> Fault {
        self.broken("waiting for the answer", "the server closed the connection")
    }

    fn broken(&self, phase: &str, reason: &str) -> Fault {
        Fault { cause: Cause::Broken, is_sent: self.is_sent, text: format!("{phase}: {reason}") }
    }
}

/// Copies what follows the first `at` bytes of the parts, if there is room for all of it: how much.
fn gather(room: &mut [u8], parts: &[&[u8]], at: usize) -> Option<usize> {
    let (mut skip, mut used) = (at, 0);
    for part in parts {
        let from = skip.min(part.len());
        skip -= from;
        let rest = &part[from..];
        room.get_mut(used..used + rest.len())?.copy_from_slice(rest);
        used += rest.len();
    }
    Some(used)
}
