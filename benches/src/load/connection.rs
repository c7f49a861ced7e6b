//! One connection of the generator, and how far its operation is.

use std::io;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::event::epoll;
use rustix::io::{Errno, read};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with,
};

use crate::load::wire::{Kind, Wire};
use crate::load::{Plan, Work};

/// What has become of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing yet.
    Waits,
    /// It is done; `found` is false if there was no item.
    Done { found: bool },
}

/// A request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Put,
    Reserve,
    Ack,
}

const NOTHING_ASKED: usize = usize::MAX;
/// After so many short connections they come from another loopback address: a port stays taken for a minute after its connection.
const CONNECTIONS_PER_SOURCE: u32 = 4000;

/// See the module's description.
pub(crate) struct Connection {
    number: usize,
    socket: Option<OwnedFd>,
    is_short: bool,
    steps: &'static [Step],
    step: usize,
    put: Vec<u8>,
    reserve: Vec<u8>,
    ack: Vec<u8>,
    /// What of the request has gone out: one that does not fit is sent on when there is room. [`NOTHING_ASKED`] between operations.
    gone: usize,
    input: Vec<u8>,
    filled: usize,
    due: Instant,
}

impl Connection {
    pub(crate) fn new(plan: &Plan<'_>, number: usize, epoll: &OwnedFd) -> io::Result<Self> {
        let body = vec![b'x'; plan.body_bytes];
        let steps: &'static [Step] = match plan.work {
            Work::Put | Work::ShortPut => &[Step::Put],
            Work::Take => &[Step::Reserve, Step::Ack],
            Work::PutAndTake => &[Step::Put, Step::Reserve, Step::Ack],
        };
        let is_short = plan.work == Work::ShortPut;
        let takes = steps.contains(&Step::Reserve);
        let connection = Self {
            number,
            socket: (!is_short).then(|| kept(plan, number, epoll)).transpose()?,
            is_short,
            steps,
            step: 0,
            put: plan.wire.put(number, &body),
            reserve: if takes { plan.wire.reserve(number, 0) } else { Vec::new() },
            ack: Vec::with_capacity(256 + plan.body_bytes),
            gone: NOTHING_ASKED,
            input: vec![0; 4096 + 2 * plan.body_bytes],
            filled: 0,
            due: Instant::now(),
        };
        Ok(connection)
    }

    /// When its operation was to begin.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn begin(
        &mut self,
        due: Instant,
        plan: &Plan<'_>,
        epoll: &OwnedFd,
    ) -> io::Result<()> {
        self.due = due;
        self.step = 0;
        self.gone = 0;
        if self.is_short {
            self.filled = 0;
            self.socket = Some(short(plan.address)?);
            self.send()?;
            // Once the request is out only the answer matters.
            let is_out = self.gone == self.request().len();
            let flags = if is_out { epoll::EventFlags::IN } else { BOTH_WAYS };
            return add(epoll, self.socket.as_ref(), flags, self.number);
        }
        self.send()
    }

    fn request(&self) -> &[u8] {
        match self.steps[self.step] {
            Step::Put => &self.put,
            Step::Reserve => &self.reserve,
            Step::Ack => &self.ack,
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let socket = self.socket.as_ref().expect("connected");
        while self.gone < self.request().len() {
            match send(socket, &self.request()[self.gone..], SendFlags::NOSIGNAL) {
                Ok(bytes) => self.gone += bytes,
                // No room, or the server has not taken the connection yet: an event comes.
                Err(Errno::AGAIN | Errno::NOTCONN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// After an event.
    pub(crate) fn advance(&mut self, wire: &dyn Wire) -> io::Result<Progress> {
        if self.gone < self.request().len() {
            self.send()?;
        }
        loop {
            if self.filled == self.input.len() {
                self.input.resize(self.filled * 2, 0);
            }
            // Closed, and what was still to come belongs to nobody.
            let Some(socket) = &self.socket else { return Ok(Progress::Waits) };
            let room = self.input.len() - self.filled;
            let bytes = match read(socket, &mut self.input[self.filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => bytes,
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(Progress::Waits),
                Err(error) => return Err(error.into()),
            };
            self.filled += bytes;
            if self.gone == self.request().len()
                && let Some(progress) = self.answer(wire)?
            {
                return Ok(progress);
            }
            // Less than there was room for: all is read, and the next byte makes an event.
            if bytes < room {
                return Ok(Progress::Waits);
            }
        }
    }

    /// Takes the answer, if all of it is there, and goes on.
    fn answer(&mut self, wire: &dyn Wire) -> io::Result<Option<Progress>> {
        let input = &self.input[..self.filled];
        let Some(reply) = wire.reply(input, self.request().len()) else { return Ok(None) };
        let mut is_last = self.step + 1 == self.steps.len();
        let mut found = true;
        match reply.kind {
            Kind::Done => {}
            Kind::Item { held, .. } => {
                self.ack.clear();
                wire.ack(self.number, &input[held], &mut self.ack);
            }
            Kind::Nothing => (is_last, found) = (true, false),
            Kind::Refused => {
                let text = String::from_utf8_lossy(input).into_owned();
                return Err(io::Error::other(text));
            }
        }
        self.input.copy_within(reply.bytes..self.filled, 0);
        self.filled -= reply.bytes;
        if is_last {
            self.gone = NOTHING_ASKED;
            if self.is_short {
                self.socket = None;
            }
            return Ok(Some(Progress::Done { found }));
        }
        self.step += 1;
        self.gone = 0;
        self.send()?;
        Ok(Some(Progress::Waits))
    }
}

const BOTH_WAYS: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::OUT);

fn add(
    epoll: &OwnedFd,
    socket: Option<&OwnedFd>,
    flags: epoll::EventFlags,
    number: usize,
) -> io::Result<()> {
    let data = epoll::EventData::new_u64(number as u64);
    epoll::add(epoll, socket.expect("connected"), data, flags | epoll::EventFlags::ET)?;
    Ok(())
}

/// A connection that stays.
fn kept(plan: &Plan<'_>, number: usize, epoll: &OwnedFd) -> io::Result<OwnedFd> {
    let mut stream = TcpStream::connect(plan.address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&plan.wire.hello(number))?;
    stream.set_nonblocking(true)?;
    let socket = OwnedFd::from(stream);
    add(epoll, Some(&socket), BOTH_WAYS, number)?;
    Ok(socket)
}

/// A connection for one request, on its way.
fn short(address: SocketAddr) -> io::Result<OwnedFd> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let source = MADE.fetch_add(1, Ordering::Relaxed) / CONNECTIONS_PER_SOURCE;
    let [_, _, high, low] = source.to_be_bytes();
    let source = SocketAddrV4::new(Ipv4Addr::new(127, 1, high, low), 0);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &source)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
