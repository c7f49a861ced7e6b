//! One connection: bytes in, through the session and the broker, bytes out.
//!
//! Invariants
//! - Input is read only while the session can use it and the peer takes its replies: a client that never reads, or that pipelines without end, is
//!   stopped by TCP, and costs at most [`INPUT_MAX`] plus [`OUTPUT_HIGH`] plus one item.
//! - A peer that hangs up while it waits is noticed at once, and what it was about to be handed goes back.
//! - However this function ends (return, error, panic, task dropped), the broker is told that the session is gone.
//!
//! Must not: decide anything about queues or replies.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kqueue_broker::{Output, Progress, Session, SessionId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{trace, warn};

use crate::budget::Counted;
use crate::connections::Bell;
use crate::protocol::Protocol;
use crate::shared::{Shared, Traffic};

/// How much is read at a time at first.
const READ_MIN: usize = 2 * 1024;
/// How much is read at a time from a connection that fills what it is given.
const READ_MAX: usize = 64 * 1024;
/// Bytes of pipelined input that are kept while the session is busy with an earlier request.
const INPUT_MAX: usize = 64 * 1024;
/// Bytes of replies that are kept for a peer that does not read; no further request is run meanwhile.
const OUTPUT_HIGH: usize = 256 * 1024;
/// An idle connection keeps at most so much for its next replies.
const OUTPUT_KEPT: usize = 4 * 1024;
/// How long a request may take from its first byte to its last. A 1 MiB body on a slow line fits; a client that sends a byte a second does not.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long, and how much, a peer may still send after the server has closed its side.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same where all connections together keep too much.
const OUTPUT_LOW: usize = 16 * 1024;
/// Connections that keep less are not counted among those that keep too much together.
const COUNTED_MIN: usize = 16 * 1024;
/// Chunks per `writev`.
const SLICES_MAX: usize = 16;

/// What a connection needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnConfig {
    pub(crate) protocol: Protocol,
    /// Closes a connection that has not sent a complete request for so long; `None`: never.
    pub(crate) client_timeout: Option<Duration>,
}

/// A stream socket that can be read and written independently.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    type Read<'a>: AsyncRead + Unpin + Send
    where
        Self: 'a;
    type Write<'a>: WriteHalf
    where
        Self: 'a;
    fn halves(&mut self) -> (Self::Read<'_>, Self::Write<'_>);
}

/// The writing half of a socket.
pub(crate) trait WriteHalf: Send + Sync {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
}

macro_rules! socket {
    ($stream:ty, $module:ident) => {
        impl Socket for $stream {
            type Read<'a> = $module::ReadHalf<'a>;
            type Write<'a> = $module::WriteHalf<'a>;
            fn halves(&mut self) -> (Self::Read<'_>, Self::Write<'_>) {
                self.split()
            }
        }
        impl WriteHalf for $module::WriteHalf<'_> {
            fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                Self::try_write(self, bytes)
            }
            fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                Self::try_write_vectored(self, slices)
            }
            fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
                Self::writable(self)
            }
        }
    };
}
socket!(TcpStream, tcp);
socket!(UnixStream, unix);

/// Tells the broker that the session is gone, however its task ends.
struct Registration<'a> {
    shared: &'a Shared,
    session: SessionId,
    leaves: bool,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.shared.disconnect(self.session, self.leaves);
    }
}

/// Serves one connection until the peer hangs up, breaks the protocol or is idle for too long, or until `shutdown` says that the server drains.
pub(crate) async fn serve<S: Socket>(
    mut socket: S,
    shared: Arc<Shared>,
    config: ConnConfig,
    mut shutdown: watch::Receiver<bool>,
) {
    let bell = Arc::new(Bell::default());
    let (session, access) = shared.connect(Arc::clone(&bell));
    let leaves = config.protocol.items_outlive_connections();
    let registration = Registration { shared: &shared, session, leaves };
    let (read, write) = socket.halves();
    let conn = Connection {
        shared: &shared,
        config,
        read,
        write,
        bell: &bell,
        session: Session::with_codec(session, config.protocol.codec(), access),
        must_write: false,
        input: BytesMut::new(),
        read_bytes: READ_MIN,
        output: Output::default(),
        had_much_output: false,
        peer_open: true,
        request_began: None,
        last_request: Instant::now(),
        began: std::time::Instant::now(),
        traffic: Traffic::default(),
        counted: shared.budget.count(),
    };
    let ended = conn.run(&mut shutdown).await;
    drop(registration);
    match ended {
        Ok(End::CutOff) => linger(&mut socket).await,
        Ok(End::Done) => {}
        Err(error) => trace!("connection {}: {error}", session.0),
    }
}

/// How a conversation ended.
enum End {
    Done,
    /// Nothing more is read, as the last reply says or `shutdown` asked for, and more may be on its way.
    CutOff,
}

/// Closing a socket with unread input resets the connection, and the peer may lose the last reply: it gets a moment to read it.
async fn linger<S: Socket>(socket: &mut S) {
    let read_to_end = async {
        socket.shutdown().await?;
        let mut scratch = [0; READ_MIN];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match socket.read(&mut scratch).await? {
                0 => break,
                bytes => left = left.saturating_sub(bytes),
            }
        }
        io::Result::Ok(())
    };
    // A peer that is gone or does not stop has had its chance.
    let _ = tokio::time::timeout(LINGER, read_to_end).await;
}

impl<R, W> Drop for Connection<'_, R, W> {
    fn drop(&mut self) {
        self.shared.note_last_traffic(mem::take(&mut self.traffic));
        self.shared.latencies.note(self.session.take_timings());
    }
}

struct Connection<'a, R, W> {
    shared: &'a Shared,
    config: ConnConfig,
    read: R,
    write: W,
    bell: &'a Bell,
    session: Session,
    /// It has run since [`Shared::write_session`] was called last.
    must_write: bool,
    input: BytesMut,
    read_bytes: usize,
    output: Output,
    /// The output was longer than [`OUTPUT_KEPT`] since it was last empty.
    had_much_output: bool,
    /// False once the peer has closed its sending side: what it sent is still answered, but nothing waits any more.
    peer_open: bool,
    request_began: Option<Instant>,
    last_request: Instant,
    /// When the connection began.
    began: std::time::Instant,
    /// Bytes on the wire that have not been told yet.
    traffic: Traffic,
    /// What it keeps, in the eyes of all.
    counted: Counted<'a>,
}

impl<R: AsyncRead + Unpin, W: WriteHalf> Connection<'_, R, W> {
    async fn run(mut self, shutdown: &mut watch::Receiver<bool>) -> io::Result<End> {
        // These stay where they wait, however often something else comes first.
        let bell = self.bell;
        let mut rung = pin!(bell.rung());
        let mut draining = pin!(shutdown.wait_for(|draining| *draining));
        loop {
            loop {
                while self.work() {}
                if !mem::take(&mut self.must_write) {
                    break;
                }
                if self.shared.may_gather() {
                    // Whoever else can run now runs first: the records of all of them are written at once.
                    tokio::task::yield_now().await;
                }
                self.write();
            }
            let was_full = self.is_output_full();
            self.shared.latencies.note_if_free(&mut self.session);
            self.flush()?;
            if was_full && !self.is_output_full() {
                // What waits for room in the output was read long ago: nothing else will say that there is some.
                continue;
            }
            if self.output.is_empty() && (self.session.is_finished() || self.nothing_to_come()) {
                return Ok(if self.session.is_cut_off() { End::CutOff } else { End::Done });
            }
            if !self.keep_within_budget() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let may_read = self.peer_open && self.input.len() < INPUT_MAX && !self.is_output_full();
            let must_write = !self.output.is_empty();
            self.give_back_memory();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                got = read_some(&mut self.read, &mut self.input, self.read_bytes), if may_read => {
                    self.note_read(got?);
                }
                () = rung.as_mut() => {
                    rung.set(bell.rung());
                    self.answer_bell();
                }
                ready = self.write.writable(), if must_write => ready?,
                () = sleep_until(deadline), if deadline.is_some() => return self.time_out(),
                _ = draining.as_mut(), if !self.session.is_closing() => {
                    self.session.begin_close();
                }
            }
        }
    }

    /// Decodes and runs what can be run; true if there may be more to do at once.
    fn work(&mut self) -> bool {
        if self.is_output_full() {
            return false;
        }
        let now = self.note_time();
        let decoded = self.session.feed(&mut self.input);
        if decoded {
            self.last_request = now;
        }
        self.request_began = match self.session.is_mid_request(&self.input) {
            true => self.request_began.filter(|_| !decoded).or(Some(now)),
            false => None,
        };
        if !self.session.wants_broker() {
            return false;
        }
        let was_held_up = self.session.is_held_up();
        let was_full = !self.session.has_room_for_requests();
        self.must_write = true;
        let traffic = mem::take(&mut self.traffic);
        let progress = self.shared.run_session(now.into_std(), &mut self.session, traffic);
        self.encode(progress);
        // What arrived during a wait, or while no more could be decoded, has not been decoded yet.
        decoded
            || self.session.can_run()
            || was_held_up && !self.session.is_held_up()
            || was_full && self.session.has_room_for_requests()
    }

    /// Sees to the disk, and to the replies that may leave then.
    fn write(&mut self) {
        let progress = self.shared.write_session(&self.session);
        self.encode(progress);
    }

    /// The broker has something for the session, or only replies may leave: for that it need not run.
    fn answer_bell(&mut self) {
        if self.bell.take_event() {
            self.session.set_ready();
        } else {
            let progress = self.shared.progress();
            self.encode(progress);
        }
    }

    fn encode(&mut self, progress: Progress) {
        self.note_time();
        self.session.encode(&progress, &mut self.output);
        self.had_much_output |= self.output.len() > OUTPUT_KEPT;
    }

    /// Tells the session what time it is.
    fn note_time(&mut self) -> Instant {
        let now = Instant::now();
        let since = now.into_std().saturating_duration_since(self.began);
        self.session.note_time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        now
    }

    /// What much output needed is not kept until there is much again.
    fn give_back_memory(&mut self) {
        if self.had_much_output && self.output.is_empty() {
            self.output = Output::default();
            self.had_much_output = false;
        }
    }

    /// Says what this connection keeps; where all of them keep too much, gives up the large request that it is collecting. False if it cannot go on then.
    fn keep_within_budget(&mut self) -> bool {
        let kept = self.input.len() + self.session.kept_bytes() + self.output.len();
        // Little is not worth being counted at every request.
        self.counted.set(if kept < COUNTED_MIN { 0 } else { kept });
        if !self.shared.budget.is_over() || self.session.refuse_body() {
            return true;
        }
        warn!("a connection is closed: too many large requests at a time, no room for this one");
        false
    }

    fn is_output_full(&self) -> bool {
        let high = if self.shared.budget.is_over() { OUTPUT_LOW } else { OUTPUT_HIGH };
        self.output.len() >= high
    }

    fn note_read(&mut self, bytes: usize) {
        self.traffic.read += bytes as u64;
        if bytes == 0 {
            self.peer_open = false;
            self.session.peer_closed();
        } else if bytes >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_MAX);
        } else if bytes < self.read_bytes / 8 {
            self.read_bytes = (self.read_bytes / 2).max(READ_MIN);
        }
    }

    /// The peer has said all it will say and has been told all it will be told.
    fn nothing_to_come(&self) -> bool {
        !self.peer_open && self.session.is_idle()
    }

    /// Writes as much as the peer takes now.
    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slot, chunk) in slices.iter_mut().zip(self.output.chunks()) {
                *slot = IoSlice::new(chunk);
                count += 1;
            }
            // For one piece the kernel has a shorter way.
            let written = match &slices[..count] {
                [only] => self.write.try_write(only),
                several => self.write.try_write_vectored(several),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.traffic.written += written as u64;
                    self.output.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let request = self.request_began.map(|began| began + REQUEST_TIMEOUT);
        let idle = self.config.client_timeout.map(|timeout| self.last_request + timeout);
        match (request, idle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn time_out(&self) -> io::Result<End> {
        Err(io::Error::new(io::ErrorKind::TimedOut, "no complete request in time"))
    }
}

/// Reads at most `bytes`. While there is nothing to be read there is no buffer either: an idle connection keeps none.
async fn read_some<R: AsyncRead + Unpin>(
    read: &mut R,
    input: &mut BytesMut,
    bytes: usize,
) -> io::Result<usize> {
    poll_fn(|context| {
        if input.is_empty() && input.capacity() > bytes {
            *input = BytesMut::new();
        }
        input.reserve(bytes);
        let got = pin!(read.read_buf(input)).poll(context);
        if got.is_pending() && input.is_empty() {
            *input = BytesMut::new();
        }
        got
    })
    .await
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
