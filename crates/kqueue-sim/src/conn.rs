//! A virtual client and its connection: what it sends, what it awaits, what it makes of the answers.
//!
//! Owns both ends: the client's bytes on their way, the server's [`Session`] and its buffers. Must not: schedule; the world decides when anything happens.

use std::collections::VecDeque;

use bytes::BytesMut;
use fastrand::Rng;
use kqueue_broker::{Limits, Output, Session, SessionId};

use crate::oracle::{ConnId, Expiry, How, Moment, Oracle, Shown, body};
use crate::queues::{
    ATTEMPTS_MAX, BIN, CONSUMED, PRODUCED, QUEUES, Queue, has_attempts_max, has_ttl, targets,
};
use crate::reply::{self, Part};

/// Largest item that the simulated server accepts, in bytes.
pub(crate) const ITEM_BYTES_MAX: usize = 12 * 1024;
/// Open reads per connection and queue on the simulated server.
pub(crate) const OPEN_MAX: u32 = 4;

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
}

impl Role {
    /// A random one.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        match rng.u32(..10) {
            0..4 => Self::Producer,
            4 | 5 => Self::Getter,
            6 | 7 => Self::Opener(CONSUMED[rng.usize(..CONSUMED.len())]),
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
    Flush(&'static str),
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
}

/// An item in the hands of a client.
#[derive(Clone, Debug)]
struct Held {
    queue: Queue,
    put: usize,
    id: u64,
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
    /// Bytes on their way to the server.
    pub(crate) wire: VecDeque<u8>,
    /// How many bytes have ever been sent and have arrived, and which put ends where.
    sent_bytes: u64,
    arrived_bytes: u64,
    put_ends: VecDeque<(u64, usize)>,
    received: Vec<u8>,
    asked: VecDeque<Asked>,
    held: Vec<Held>,
    /// The server may close: it was sent nonsense.
    pub(crate) expects_close: bool,
}

impl Conn {
    pub(crate) fn new(id: ConnId, role: Role) -> Self {
        let limits = Limits { item_bytes: ITEM_BYTES_MAX, ..Limits::default() };
        Self {
            id,
            role,
            link: Link::Open,
            session: Session::new(SessionId(id), limits),
            input: BytesMut::new(),
            output: Output::default(),
            wire: VecDeque::new(),
            sent_bytes: 0,
            arrived_bytes: 0,
            put_ends: VecDeque::new(),
            received: Vec::new(),
            asked: VecDeque::new(),
            held: Vec::new(),
            expects_close: false,
        }
    }

    /// Whether the client waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What it waits for, for messages.
    pub(crate) fn awaits(&self) -> String {
        format!("{:?}", self.asked.front())
    }

    /// Takes without an answer: when they were sent, from which queues, whether they remove what they show.
    pub(crate) fn unanswered_takes(&self) -> Vec<(Moment, Vec<Queue>, bool)> {
        let take = |asked: &Asked| match &asked.want {
            Want::Get { queue, how, .. } if *how != How::Peeked => {
                Some((asked.at, vec![*queue], *how == How::Taken))
            }
            Want::Reserve { queues, .. } => Some((asked.at, queues.clone(), false)),
            _ => None,
        };
        self.asked.iter().filter_map(take).collect()
    }

    /// The connection is over: a flush without an answer may have been run at any time until now.
    pub(crate) fn settle_flushes(&self, oracle: &mut Oracle) {
        if self.asked.iter().any(|asked| matches!(asked.want, Want::Flush(_))) {
            oracle.flush_sent(BIN);
        }
    }

    /// Some bytes reach the server.
    pub(crate) fn arrive(&mut self, count: usize, oracle: &mut Oracle) {
        let count = count.min(self.wire.len());
        let bytes: Vec<u8> = self.wire.drain(..count).collect();
        self.input.extend_from_slice(&bytes);
        self.arrived_bytes += count as u64;
        while self.put_ends.front().is_some_and(|&(end, _)| end <= self.arrived_bytes) {
            if let Some((_, put)) = self.put_ends.pop_front() {
                oracle.put_arrived(put);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.wire.extend(bytes);
        self.sent_bytes += bytes.len() as u64;
    }

    fn ask(&mut self, at: Moment, line: &str, want: Want) {
        self.send(line.as_bytes());
        self.asked.push_back(Asked { want, at, has_item: false });
    }

    /// Does what its role does next.
    pub(crate) fn act(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        match self.role {
            Role::Producer if self.asked.len() < 8 => self.produce(rng, at, oracle),
            Role::Getter if self.asked.len() < 3 => {
                let queue = CONSUMED[rng.usize(..CONSUMED.len())];
                self.get(rng, at, queue, How::Taken);
            }
            _ if self.is_waiting() => {}
            Role::Opener(queue) => self.open_or_end(rng, at, queue, oracle),
            Role::Reserver => self.reserve_or_end(rng, at, oracle),
            Role::Admin => self.administer(rng, at, oracle),
            Role::Producer | Role::Getter => {}
        }
    }

    fn produce(&mut self, rng: &mut Rng, at: Moment, oracle: &mut Oracle) {
        let consumed = CONSUMED[rng.usize(..CONSUMED.len())];
        match rng.u32(..100) {
            0..80 => {
                let queue = PRODUCED[rng.usize(..PRODUCED.len())];
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
        let head = if is_extended {
            format!("put {queue} {} ttl={ttl_s} flags={flags}\r\n", body.len())
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
        oracle.put_sent(at, self.id, targets(queue), flags, expiry, body.clone());
        self.send(head.as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        if !is_quiet {
            self.asked.push_back(Asked { want: Want::Put(number), at, has_item: false });
        }
    }

    /// A short put that is answered.
    pub(crate) fn put_acknowledged(&mut self, at: Moment, queue: Queue, oracle: &mut Oracle) {
        let number = oracle.next_put();
        let body = body(number, 10);
        oracle.put_sent(at, self.id, targets(queue), 0, Expiry::default(), body.clone());
        self.send(format!("set {queue} 0 0 {}\r\n", body.len()).as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        self.asked.push_back(Asked { want: Want::Put(number), at, has_item: false });
    }

    fn put_too_large(&mut self, at: Moment, oracle: &mut Oracle) {
        let number = oracle.next_put();
        let body = body(number, ITEM_BYTES_MAX);
        oracle.put_sent(at, self.id, targets("plain"), 0, Expiry::default(), body.clone());
        self.send(format!("set plain 0 0 {}\r\n", body.len()).as_bytes());
        self.send(&body);
        self.send(b"\r\n");
        self.put_ends.push_back((self.sent_bytes, number));
        self.asked.push_back(Asked {
            want: Want::Line { begin: "NOT_STORED" },
            at,
            has_item: false,
        });
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

    /// A plain get that does not wait.
    pub(crate) fn get_now(&mut self, at: Moment, queue: Queue) {
        self.ask(
            at,
            &format!("get {queue}\r\n"),
            Want::Get { queue, how: How::Taken, closes: None },
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
                let closes = Some(oldest);
                self.ask(
                    at,
                    &format!("get {queue}/close/open{wait}\r\n"),
                    Want::Get { queue, how, closes },
                );
            }
            6 | 7 => {
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
            let queues = rng.choose_multiple(CONSUMED, count);
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
        let Held { queue, put, id } = self.held.swap_remove(rng.usize(..self.held.len()));
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

    /// The client reads.
    ///
    /// # Errors
    /// A broken promise.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        if self.link == Link::Abandoned {
            return Ok(());
        }
        self.received.extend_from_slice(bytes);
        while let Some(part) = reply::next(&mut self.received)? {
            let Some(asked) = self.asked.front().cloned() else {
                return Err(format!("connection {}: {part} answers nothing", self.id));
            };
            let is_whole = self.answer(&asked, &part, at, oracle).map_err(|what| {
                format!("connection {}: {:?} was answered {part}: {what}", self.id, asked.want)
            })?;
            if is_whole {
                self.asked.pop_front();
            }
        }
        Ok(())
    }

    /// Takes in a part of an answer; true if it was the last one.
    fn answer(
        &mut self,
        asked: &Asked,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        match (&asked.want, part) {
            (Want::Put(put), Part::Line(line)) => self.answer_put(*put, line, at, oracle),
            (Want::Line { begin }, Part::Line(line)) if line.starts_with(begin) => Ok(true),
            (Want::Flush(word), Part::Line(line)) if line == word => {
                oracle.flush_answered(asked.at, BIN);
                Ok(true)
            }
            // The journal failed while the answer waited for it.
            (Want::Flush(_), Part::Line(line)) if line.starts_with("SERVER_ERROR") => Ok(true),
            (Want::Close { queue, put }, Part::Line(line)) if line == "END" => {
                oracle.acked(at, self.id, queue, *put);
                self.held.retain(|held| held.put != *put);
                Ok(true)
            }
            (Want::Abort, Part::Line(line)) if line == "END" => Ok(true),
            (Want::Ack { queue, put }, Part::Line(line)) => match line.as_str() {
                "OK" => {
                    oracle.acked(at, self.id, queue, *put);
                    Ok(true)
                }
                "NOT_HELD" => oracle.not_held(at, self.id, queue, *put).map(|()| true),
                _ => Err("expected OK or NOT_HELD".into()),
            },
            (Want::Release { queue, put }, Part::Line(line)) => match line.as_str() {
                "OK" => Ok(true),
                "NOT_HELD" => oracle.not_held(at, self.id, queue, *put).map(|()| true),
                _ => Err("expected OK or NOT_HELD".into()),
            },
            (Want::Get { queue, how, closes }, part) => {
                self.answer_get(asked, queue, *how, *closes, part, at, oracle)
            }
            (Want::Reserve { until_ms, lease_ms, .. }, part) => match part {
                Part::Item { queue, id, flags, attempts, body } => {
                    if *attempts == 0 {
                        return Err("handed out for the 0th time".into());
                    }
                    if *attempts > ATTEMPTS_MAX && has_attempts_max(queue) {
                        return Err("handed out more often than max_attempts".into());
                    }
                    let how = How::Held { until_ms: *until_ms };
                    let shown =
                        Shown { queue, flags: *flags, body, how, conn: self.id, asked: asked.at };
                    let put = oracle.shown(at, &shown)?;
                    let queue =
                        QUEUES.into_iter().find(|name| name == queue).ok_or("unknown queue")?;
                    self.held.push(Held { queue, put, id: *id });
                    Ok(false)
                }
                Part::Line(line) if line == "END" => {
                    if *lease_ms > 0 {
                        oracle.lease_answered(at, self.id, *lease_ms);
                    }
                    Ok(true)
                }
                _ => Err("expected ITEM or END".into()),
            },
            _ => Err("not an answer to this".into()),
        }
    }

    fn answer_put(
        &mut self,
        put: usize,
        line: &str,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        if line == "STORED" || line.starts_with("STORED ") {
            oracle.put_stored(at, put)?;
        } else if line.starts_with("SERVER_ERROR") && line.contains("unknown") {
            // It may be on the disk or not.
        } else if line.starts_with("NOT_STORED") || line.starts_with("SERVER_ERROR") {
            oracle.put_refused(at, put)?;
        } else {
            return Err("not an answer to a put".into());
        }
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "private, and each of them is needed")]
    fn answer_get(
        &mut self,
        asked: &Asked,
        queue: Queue,
        how: How,
        closes: Option<usize>,
        part: &Part,
        at: Moment,
        oracle: &mut Oracle,
    ) -> Result<bool, String> {
        // Either answer says that the open read before it was confirmed.
        if let Some(put) = closes.filter(|_| !asked.has_item) {
            oracle.acked(at, self.id, queue, put);
            self.held.retain(|held| held.put != put);
        }
        match part {
            Part::Value { queue: named, flags, body } if !asked.has_item => {
                let shown = Shown {
                    queue: named,
                    flags: *flags,
                    body,
                    how,
                    conn: self.id,
                    asked: asked.at,
                };
                let put = oracle.shown(at, &shown)?;
                if named != queue {
                    return Err("an item of another queue".into());
                }
                if matches!(how, How::Held { .. }) {
                    self.held.push(Held { queue, put, id: 0 });
                }
                if let Some(front) = self.asked.front_mut() {
                    front.has_item = true;
                }
                Ok(false)
            }
            Part::Line(line) if line == "END" => Ok(true),
            _ => Err("expected VALUE or END".into()),
        }
    }
}

fn random_wait(rng: &mut Rng) -> String {
    match rng.u32(..3) {
        0 => format!("/t={}", rng.u32(1..200)),
        _ => String::new(),
    }
}
