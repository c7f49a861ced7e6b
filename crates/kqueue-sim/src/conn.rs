//! A virtual client and its connection: what it sends, what it awaits, what it makes of the answers.
//!
//! Owns both ends: the client's bytes on their way, the server's [`Session`] and its buffers. Must not: schedule; the world decides when anything happens.

use std::collections::VecDeque;

use bytes::BytesMut;
use fastrand::Rng;
use kqueue_broker::{Access, Limits, Output, Session, SessionId};

use crate::codec::Lines;
use crate::oracle::{ConnId, Expiry, How, Moment, Options, Oracle, Take, body};
use crate::queues::{BIN, CONSUMED, KEPT, PRODUCED, Queue, TURNING, depends, has_ttl, targets};
use crate::scenario::Extras;

mod answer;
mod extended;
mod extra;
mod plain;
mod worker;

pub(crate) use extended::STATES;
use extended::put_options;

/// Largest item that the simulated server accepts, in bytes.
pub(crate) const ITEM_BYTES_MAX: usize = 12 * 1024;
/// Open reads per connection and queue on the simulated server.
pub(crate) const OPEN_MAX: u32 = 4;

/// No item is fetched for longer, in milliseconds.
pub(crate) const LEASE_MS_MAX: u64 = 1500;

/// What a client does all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Puts, pipelined, with some plain gets, peeks and nonsense in between.
    Producer,
    /// Plain gets, some of them waiting.
    Getter,
    /// Kestrel's open, close and abort on one queue.
    Opener(Queue),
    /// `reserve` from several queues, `ack` and `release` by id.
    Reserver,
    /// Empties and deletes [`BIN`].
    Admin,
    /// Puts to aliases and to queues whose settings change.
    Feeder,
    /// `monitor`, several open reads of one queue, `confirm` of several of them.
    Monitor(Queue),
    /// Settings, status, expired items.
    Operator,
    /// Looks, kicks, purges, pauses.
    Steward,
    /// Puts several items at a time, fetches them for a while, settles what others fetched; in a protocol of its own.
    Worker,
}

impl Role {
    /// A random one.
    pub(crate) fn random(rng: &mut Rng, extras: &Extras) -> Self {
        if *extras != Extras::NONE && rng.u32(..3) == 0 {
            return Self::random_extra(rng, extras);
        }
        if extras.extended && rng.u32(..3) == 0 {
            return if rng.bool() { Self::Reserver } else { Self::Steward };
        }
        match rng.u32(..10) {
            0..4 => Self::Producer,
            4 | 5 => Self::Getter,
            6 | 7 => Self::Opener(consumed(rng, extras)),
            8 => Self::Reserver,
            _ => Self::Admin,
        }
    }
}

#[derive(Clone, Debug)]
enum Want {
    Put(usize),
    /// A get of any kind: how it shows the item, whether the oldest open read is confirmed first.
    Get {
        queue: Queue,
        how: How,
        closes: Option<usize>,
    },
    Monitor {
        queue: Queue,
        /// The earliest end, if nothing else ends it.
        until_ms: u64,
        /// How many items may still come.
        left: u32,
    },
    /// Of the oldest open reads; of more than there are if it is empty.
    Confirm {
        queue: Queue,
        puts: Vec<usize>,
    },
    Close {
        queue: Queue,
        put: usize,
    },
    Abort,
    Reserve {
        queues: Vec<Queue>,
        until_ms: u64,
        lease_ms: u64,
    },
    Ack {
        queue: Queue,
        put: usize,
    },
    Release {
        queue: Queue,
        put: usize,
    },
    /// What is known of the delivery: the delay that is asked for, its attempts, how often the item had been taken.
    ReleaseLater {
        queue: Queue,
        put: usize,
        later: (Option<u64>, u32, u32),
    },
    Touch {
        queue: Queue,
        put: usize,
        lease_ms: u64,
    },
    Bury {
        queue: Queue,
        put: usize,
    },
    Browse {
        queue: Queue,
        state: &'static str,
        left: u32,
        body_max: usize,
    },
    /// Up to so many.
    Kick(u64),
    Purge {
        queue: Queue,
        what: &'static str,
    },
    Pause(Queue),
    Resume,
    Flush(&'static str),
    /// How many expired items of a queue, or of all, were removed.
    FlushExpired(Option<Queue>),
    /// The name of the status.
    Status,
    /// A wish of the operator's: what it is answered if it was granted.
    Grant(&'static str),
    PutAll(Vec<usize>),
    Fetch {
        queue: Queue,
        max: u32,
        auto_abort_ms: u64,
        /// How many items are still to come, once that is known.
        left: Option<u32>,
    },
    Settle {
        numbers: Vec<i64>,
        abort: bool,
    },
    Info(Queue),
    /// A line that begins like this; the server may close afterwards.
    Line {
        begin: &'static str,
    },
}

/// A request without its whole answer.
#[derive(Clone, Debug)]
struct Asked {
    want: Want,
    at: Moment,
    /// An item of the answer has arrived, `END` has not.
    has_item: bool,
    /// The server closes the connection if its status does not allow this.
    ends_if_blocked: bool,
}

/// An item in the hands of a client.
#[derive(Clone, Debug)]
struct Held {
    queue: Queue,
    put: usize,
    id: u64,
    attempts: u32,
}

/// Whether the two ends know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Open,
    /// The client will send nothing more, but reads.
    HalfClosed,
    /// The client is gone, the server does not know yet.
    Abandoned,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) role: Role,
    pub(crate) link: Link,
    pub(crate) session: Session,
    pub(crate) input: BytesMut,
    pub(crate) output: Output,
    /// It has run and lets others run before it sees to the disk.
    pub(crate) lets_others_run: bool,
    /// Bytes on their way to the server.
    pub(crate) wire: VecDeque<u8>,
    /// How many bytes have ever been sent and have arrived, and which put ends where.
    sent_bytes: u64,
    arrived_bytes: u64,
    put_ends: VecDeque<(u64, usize)>,
    received: Vec<u8>,
    asked: VecDeque<Asked>,
    held: Vec<Held>,
    /// What it saw when it looked, and where to go on.
    pub(crate) found: Vec<(Queue, &'static str, usize)>,
    pub(crate) cursor: Option<String>,
    /// Dead letters that it saw last.
    dead_ids: Vec<(Queue, u64)>,
    /// How many items the last command concerned.
    pub(crate) count: Option<u64>,
    /// The server may close: it was sent nonsense, or said that it does not do this now.
    pub(crate) expects_close: bool,
    /// When the first put was sent that has no answer: the server may close because of it.
    quiet_since: Option<u64>,
    extras: Extras,
}

impl Conn {
    pub(crate) fn new(id: ConnId, role: Role, extras: Extras) -> Self {
        let limits = Limits { item_bytes: ITEM_BYTES_MAX, ..Limits::default() };
        let session = match role {
            Role::Worker => Session::with_codec(SessionId(id), Box::new(Lines), Access::ALL),
            _ => Session::new(SessionId(id), limits),
        };
        Self {
            id,
            role,
            link: Link::Open,
            session,
            input: BytesMut::new(),
            output: Output::default(),
            lets_others_run: false,
            wire: VecDeque::new(),
            sent_bytes: 0,
            arrived_bytes: 0,
            put_ends: VecDeque::new(),
            received: Vec::new(),
            asked: VecDeque::new(),
            held: Vec::new(),
            found: Vec::new(),
            cursor: None,
            dead_ids: Vec::new(),
            count: None,
            expects_close: false,
            quiet_since: None,
            extras,
        }
    }

    /// Whether what it fetched stays its own when it ends.
    pub(crate) fn leaves(&self) -> bool {
        self.role == Role::Worker
    }

    /// Whether the server may close because of a put that has no answer.
    pub(crate) fn may_be_closed_silently(&self, at: Moment, oracle: &Oracle) -> bool {
        self.quiet_since.is_some_and(|since| oracle.may_be_blocked(since, at, |one| one.takes()))
    }

    /// Whether the client waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What it waits for, for messages.
    pub(crate) fn awaits(&self) -> String {
        format!("{:?}", self.asked.front())
    }

    /// Takes without an answer.
    pub(crate) fn unanswered_takes(&self) -> Vec<Take> {
        let take = |asked: &Asked| {
            let (queues, removes, lease_ms) = match &asked.want {
                Want::Get { queue, how, .. } if *how != How::Peeked => {
                    (vec![*queue], u64::from(*how == How::Taken), 0)
                }
                Want::Reserve { queues, .. } => (queues.clone(), 0, 0),
                Want::Monitor { queue, .. } => (vec![*queue], 0, 0),
                Want::Fetch { queue, max, auto_abort_ms: 0, left, .. } => {
                    (vec![*queue], u64::from(left.unwrap_or(*max)), 0)
                }
                Want::Fetch { queue, auto_abort_ms, .. } => (vec![*queue], 0, *auto_abort_ms),
                _ => return None,
            };
            Some(Take { sent: asked.at, queues, removes, lease_ms })
        };
        self.asked.iter().filter_map(take).collect()
    }

    /// The connection is over: a flush without an answer may have been run at any time until now.
    pub(crate) fn settle_flushes(&self, oracle: &mut Oracle) {
        if self.asked.iter().any(|asked| matches!(asked.want, Want::Flush(_))) {
            oracle.flush_sent(BIN);
        }
        for asked in &self.asked {
            if let Want::Purge { queue, .. } = asked.want {
                oracle.flush_sent(queue);
            }
        }
    }

    /// Some bytes reach the server.
    pub(crate) fn arrive(&mut self, count: usize, at: Moment, oracle: &mut Oracle) {
        let count = count.min(self.wire.len());
        let bytes: Vec<u8> = self.wire.drain(..count).collect();
        self.input.extend_from_slice(&bytes);
        self.arrived_bytes += count as u64;
        while self.put_ends.front().is_some_and(|&(end, _)| end <= self.arrived_bytes) {
            if let Some((_, put)) = self.put_ends.pop_front() {
                oracle.put_arrived(at, put);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.wire.extend(bytes);
        self.sent_bytes += bytes.len() as u64;
    }

    fn ask(&mut self, at: Moment, line: &str, want: Want) {
        self.send(line.as_bytes());
        self.await_answer(at, want);
    }

    fn await_answer(&mut self, at: Moment, want: Want) {
        let stays = matches!(
            want,
            Want::Reserve { .. } | Want::Browse { .. } | Want::Kick(_) | Want::Purge { .. }
        ) || self.role == Role::Worker;
        self.asked.push_back(Asked { want, at, has_item: false, ends_if_blocked: !stays });
    }

    /// Does what its role does next.
    pub(crate) fn act(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        match self.role {
            Role::Producer if self.asked.len() < 8 => self.produce(rng, at, oracle),
            Role::Getter if self.asked.len() < 3 => {
                let queue = consumed(rng, &self.extras);
                self.get(rng, at, queue, How::Taken);
            }
            Role::Feeder if self.asked.len() < 8 => self.feed(rng, at, oracle),
            _ if self.is_waiting() => {}
            Role::Opener(queue) => self.open_or_end(rng, at, queue, oracle),
            Role::Reserver => self.reserve_or_end(rng, at, oracle),
            Role::Admin => self.administer(rng, at, oracle),
            Role::Monitor(queue) => self.monitor_or_end(rng, at, queue, oracle),
            Role::Operator => self.operate(rng, at),
            Role::Steward => self.steward(rng, at, oracle),
            Role::Worker => self.work(rng, at, oracle),
            Role::Producer | Role::Getter | Role::Feeder => {}
        }
    }

    fn produce(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let consumed = match self.extras.extended {
            true => consumed(rng, &self.extras),
            false => CONSUMED[rng.usize(..CONSUMED.len())],
        };
        match rng.u32(..100) {
            0..80 => {
                let queue = match self.extras.extended && rng.u32(..5) < 2 {
                    true => KEPT[rng.usize(..KEPT.len())],
                    false => PRODUCED[rng.usize(..PRODUCED.len())],
                };
                self.put(rng, at, queue, oracle);
            }
            80..90 => self.get(rng, at, consumed, How::Taken),
            90..94 => self.get(rng, at, consumed, How::Peeked),
            94..97 => self.ask(at, "delete\r\n", Want::Line { begin: "CLIENT_ERROR" }),
            97 => self.ask(at, "version\r\n", Want::Line { begin: "VERSION" }),
            98 => self.put_too_large(at, oracle),
            _ if rng.u32(..8) == 0 => {
                self.ask(at, "nonsense\r\n", Want::Line { begin: "CLIENT_ERROR" });
                self.expects_close = true;
            }
            _ => {}
        }
    }

    /// A put of a random form and length.
    pub(crate) fn put(&mut self, rng: &mut Rng, at: Moment, queue: Queue, oracle: &mut Oracle) {
        let number = oracle.next_put();
        let filler = match rng.u32(..100) {
            0..80 => rng.usize(..300),
            80..96 => rng.usize(..3000),
            _ => rng.usize(..ITEM_BYTES_MAX - 20),
        };
        let body = body(number, filler);
        let flags = rng.u32(..);
        let ttl_s = if has_ttl(queue) { rng.u64(1..4) } else { 0 };
        let earliest_ms = if ttl_s == 0 { 0 } else { at.wall_ms + ttl_s * 1000 };
        let is_extended = rng.bool();
        let is_quiet = !is_extended && rng.u32(..10) == 0;
        let (words, options) = match is_extended && self.extras.extended {
            true => put_options(rng, queue, oracle),
            false => (String::new(), Options::default()),
        };
        let head = if is_extended {
            format!("put {queue} {} ttl={ttl_s} flags={flags}{words}\r\n", body.len())
        } else {
            let noreply = if is_quiet { " noreply" } else { "" };
            // An absolute time, so that the client knows when it ends.
            format!("set {queue} {flags} {} {}{noreply}\r\n", earliest_ms / 1000, body.len())
        };
        let expiry = match is_extended {
            true => Expiry { earliest_ms, latest_ms: 0 },
            false => Expiry {
                earliest_ms: earliest_ms / 1000 * 1000,
                latest_ms: earliest_ms / 1000 * 1000,
            },
        };
        let (to, targets) = (depends(queue), targets(queue));
        oracle.put_sent(at, self.id, to, targets, flags, expiry, body.clone());
        oracle.put_options(number, options);
        self.send(head.as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        if is_quiet {
            self.quiet_since = self.quiet_since.or(Some(at.step));
            return;
        }
        self.await_answer(at, Want::Put(number));
        if let Some(asked) = self.asked.back_mut().filter(|_| is_extended) {
            asked.ends_if_blocked = false;
        }
    }

    fn put_too_large(&mut self, at: Moment, oracle: &mut Oracle) {
        let number = oracle.next_put();
        let body = body(number, ITEM_BYTES_MAX);
        oracle.put_sent(at, self.id, None, targets("plain"), 0, Expiry::default(), body.clone());
        self.send(format!("set plain 0 0 {}\r\n", body.len()).as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        self.await_answer(at, Want::Line { begin: "NOT_STORED" });
    }

    /// A plain get or a peek, perhaps waiting.
    pub(crate) fn get(&mut self, rng: &mut Rng, at: Moment, queue: Queue, how: How) {
        let option = if how == How::Peeked { "/peek" } else { "" };
        let wait = random_wait(rng);
        self.ask(
            at,
            &format!("get {queue}{option}{wait}\r\n"),
            Want::Get { queue, how, closes: None },
        );
    }

    fn open_or_end(&mut self, rng: &mut Rng, at: Moment, queue: Queue, oracle: &mut Oracle) {
        let how = How::Held { until_ms: u64::MAX };
        let wait = random_wait(rng);
        let Some(oldest) = self.held.first().map(|held| held.put) else {
            return self.ask(
                at,
                &format!("get {queue}/open{wait}\r\n"),
                Want::Get { queue, how, closes: None },
            );
        };
        match rng.u32(..10) {
            0..3 if self.held.len() < OPEN_MAX as usize => {
                self.ask(
                    at,
                    &format!("get {queue}/open{wait}\r\n"),
                    Want::Get { queue, how, closes: None },
                );
            }
            3..6 => {
                oracle.ack_sent(queue, oldest);
                let closes = Some(oldest);
                self.ask(
                    at,
                    &format!("get {queue}/close/open{wait}\r\n"),
                    Want::Get { queue, how, closes },
                );
            }
            6 | 7 => {
                oracle.ack_sent(queue, oldest);
                self.ask(at, &format!("get {queue}/close\r\n"), Want::Close { queue, put: oldest });
            }
            8 => {
                oracle.release_sent(self.id, queue, oldest);
                self.held.remove(0);
                self.ask(at, &format!("get {queue}/abort\r\n"), Want::Abort);
            }
            _ => {}
        }
    }

    fn reserve_or_end(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        if self.held.len() < 2 && (self.held.is_empty() || rng.bool()) {
            let count = rng.usize(1..4);
            let mut queues: Vec<Queue> = rng.choose_multiple(CONSUMED, count);
            if self.extras.turns() && rng.bool() {
                queues.insert(0, TURNING[rng.usize(..TURNING.len())]);
            }
            if self.extras.extended && rng.u32(..3) > 0 {
                let kept = KEPT[rng.usize(..KEPT.len())];
                queues.insert(rng.usize(..=queues.len()), kept);
            }
            let lease_ms = if rng.bool() { 0 } else { rng.u64(50..400) };
            let until_ms = if lease_ms == 0 { u64::MAX } else { at.mono_ms + lease_ms };
            let (max, wait_ms) = (rng.u32(1..5), rng.u32(..2) * rng.u32(..100));
            let line = format!("reserve {max} {wait_ms} {lease_ms} {}\r\n", queues.join(" "));
            if lease_ms > 0 {
                oracle.lease_asked(at, self.id, &queues);
            }
            return self.ask(at, &line, Want::Reserve { queues, until_ms, lease_ms });
        }
        if self.held.is_empty() {
            return;
        }
        if self.extras.extended && rng.u32(..3) > 0 && self.settle_extended(rng, at, oracle) {
            return;
        }
        let Held { queue, put, id, .. } = self.held.swap_remove(rng.usize(..self.held.len()));
        if rng.u32(..4) == 0 {
            oracle.release_sent(self.id, queue, put);
            self.ask(at, &format!("release {queue} {id}\r\n"), Want::Release { queue, put });
        } else {
            oracle.ack_sent(queue, put);
            self.ask(at, &format!("ack {queue} {id}\r\n"), Want::Ack { queue, put });
        }
    }

    fn administer(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        match rng.u32(..20) {
            0 => {
                oracle.flush_sent(BIN);
                self.ask(at, &format!("flush {BIN}\r\n"), Want::Flush("END"));
            }
            1 => {
                oracle.flush_sent(BIN);
                self.ask(at, &format!("delete {BIN}\r\n"), Want::Flush("DELETED"));
            }
            _ => self.ask(at, "version\r\n", Want::Line { begin: "VERSION" }),
        }
    }
}

/// A queue to take from.
fn consumed(rng: &mut Rng, extras: &Extras) -> Queue {
    if extras.turns() && rng.u32(..4) == 0 {
        return TURNING[rng.usize(..TURNING.len())];
    }
    if extras.extended && rng.u32(..4) == 0 {
        return KEPT[rng.usize(..KEPT.len())];
    }
    CONSUMED[rng.usize(..CONSUMED.len())]
}

fn random_wait(rng: &mut Rng) -> String {
    match rng.u32(..3) {
        0 => format!("/t={}", rng.u32(1..200)),
        _ => String::new(),
    }
}
