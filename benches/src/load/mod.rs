//! The load generator: one thread, one epoll set, any number of connections.
//!
//! It must cost less than the servers that it measures. So a connection's requests are made once, sent by one system call and answered by one read; there is one look at the clock per answer, and
//! no allocation. In a **closed loop** each connection sends its next request when the last one is answered. In an **open loop** requests are due at fixed times: one that finds no free connection
//! waits, and its latency counts from when it was due, not from when it was sent, so that a server that stands still is charged for all the requests that it kept waiting (coordinated
//! omission).
//!
//! Must not: know which server it speaks to.

mod connection;
pub(crate) mod talk;
pub(crate) mod wire;

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use crate::load::connection::{Connection, Progress};
use crate::load::wire::Wire;

/// What an operation consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A put that is acknowledged.
    Put,
    /// An item is reserved, then acknowledged: two round trips.
    Take,
    /// Both: three round trips.
    PutAndTake,
    /// A connection is made for one put, and closed.
    ShortPut,
}

/// When operations begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the one before is done.
    Closed,
    /// So many per second, whatever becomes of them.
    Open(f64),
}

/// One measurement.
pub(crate) struct Plan<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) wire: &'a dyn Wire,
    pub(crate) work: Work,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    pub(crate) body_bytes: usize,
    /// What is done until then is not counted.
    pub(crate) warm_up: Duration,
    /// It ends when this time is over, or when so many operations were done.
    pub(crate) time: Duration,
    pub(crate) operations: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds per operation.
    pub(crate) latencies: Histogram<u64>,
    /// What the generator spent, warm-up included; divide by `sent`.
    pub(crate) processor: Duration,
    /// All operations, those of the warm-up included.
    pub(crate) sent: u64,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn percentile_us(&self, percentile: f64) -> f64 {
        self.latencies.value_at_percentile(percentile) as f64 / 1000.0
    }
}

/// A server that keeps silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const EVENTS: usize = 256;

struct Generator<'a> {
    plan: &'a Plan<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections that have nothing to do, in an open loop.
    idle: Vec<usize>,
    began: Instant,
    next_due: Instant,
    interval: Duration,
    started: u64,
    busy: usize,
    outcome: Outcome,
}

/// Measures.
///
/// # Panics
///
/// If the server refuses, closes, or keeps silent: then there is no figure.
pub(crate) fn run(plan: &Plan<'_>) -> Outcome {
    // Else a wait for 20 us takes 70. Where that cannot be set, an open loop is a little late, and counts that.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set");
    let connections = (0..plan.connections)
        .map(|number| Connection::new(plan, number, &epoll).expect("the server takes connections"))
        .collect();
    let (interval, now) = match plan.pace {
        Pace::Closed => (Duration::ZERO, Instant::now()),
        Pace::Open(rate) => (Duration::from_secs_f64(1.0 / rate), Instant::now()),
    };
    let mut generator = Generator {
        plan,
        epoll,
        connections,
        idle: Vec::new(),
        began: now,
        next_due: now,
        interval,
        started: 0,
        busy: 0,
        outcome: Outcome {
            count: 0,
            elapsed: plan.time,
            latencies: Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("sane bounds"),
            processor: Duration::ZERO,
            sent: 0,
        },
    };
    let before = own_processor_time();
    generator.run();
    let mut outcome = generator.outcome;
    outcome.processor = own_processor_time().saturating_sub(before);
    outcome.sent = generator.started;
    outcome
}

/// How long this thread has been running on a processor.
fn own_processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

impl Generator<'_> {
    fn run(&mut self) {
        match self.plan.pace {
            Pace::Closed => {
                for number in 0..self.connections.len() {
                    self.start(number, self.began);
                }
            }
            Pace::Open(_) => self.idle.extend((0..self.connections.len()).rev()),
        }
        let mut events = Vec::with_capacity(EVENTS);
        let give_up = self.began + self.plan.warm_up + self.plan.time + PATIENCE;
        loop {
            let is_more = match self.plan.pace {
                Pace::Closed => false,
                Pace::Open(_) => self.start_what_is_due(),
            };
            if !is_more && self.busy == 0 {
                break;
            }
            self.wait(&mut events, is_more);
            for event in events.drain(..) {
                self.advance(event.data.u64() as usize);
            }
            assert!(Instant::now() < give_up, "the server does not answer");
        }
        if self.plan.operations < u64::MAX {
            self.outcome.elapsed = self.began.elapsed();
        }
    }

    /// Into `events`, and not past the next request's time.
    fn wait(&self, events: &mut Vec<epoll::Event>, is_more: bool) {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut longest = second;
        // With all connections busy it is an answer that comes next.
        if is_more && !self.idle.is_empty() {
            // epoll itself counts in milliseconds.
            let until = self.next_due.saturating_duration_since(Instant::now());
            let until =
                Timespec { tv_sec: until.as_secs() as i64, tv_nsec: until.subsec_nanos().into() };
            let mut set = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut set, Some(&until)) {
                Ok(_) | Err(Errno::INTR) => longest = Timespec::default(),
                Err(error) => panic!("poll: {error}"),
            }
        }
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&longest)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll: {error}"),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.started >= self.plan.operations
            || now.duration_since(self.began) >= self.plan.warm_up + self.plan.time
    }

    /// True if more are to come.
    fn start_what_is_due(&mut self) -> bool {
        let now = Instant::now();
        while self.next_due <= now && !self.is_over(self.next_due) {
            let Some(number) = self.idle.pop() else { break };
            self.start(number, self.next_due);
            self.next_due += self.interval;
        }
        !self.is_over(self.next_due)
    }

    fn start(&mut self, number: usize, due: Instant) {
        if self.is_over(due) {
            return;
        }
        self.started += 1;
        self.busy += 1;
        self.connections[number]
            .begin(due, self.plan, &self.epoll)
            .expect("the server takes requests");
    }

    fn advance(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        match connection.advance(self.plan.wire).expect("the server answers") {
            Progress::Waits => {}
            Progress::Done { found } => {
                let due = connection.due();
                let now = Instant::now();
                self.busy -= 1;
                if found {
                    self.count(due, now);
                }
                match self.plan.pace {
                    Pace::Closed => self.start(number, now),
                    Pace::Open(_) => self.idle.push(number),
                }
            }
        }
    }

    fn count(&mut self, due: Instant, now: Instant) {
        let since = now.duration_since(self.began);
        let is_measured = match self.plan.pace {
            Pace::Closed => {
                since >= self.plan.warm_up && since < self.plan.warm_up + self.plan.time
            }
            // What was due in time counts, however late it is.
            Pace::Open(_) => due.duration_since(self.began) >= self.plan.warm_up,
        };
        if is_measured {
            self.outcome.count += 1;
            let nanoseconds = now.duration_since(due).as_nanos() as u64;
            self.outcome.latencies.saturating_record(nanoseconds);
        }
    }
}

#[cfg(test)]
mod tests;
