//! One connection's side of the conversation: what was asked and not yet run, what was answered and may not leave yet.
//!
//! Invariants
//! - Requests run strictly in the order in which they arrived, and replies leave in that order, whatever their gates do.
//! - At most one request waits (for an item); everything behind it stays undecoded or unrun.
//! - What a session keeps is bounded: at most [`REQUESTS_MAX`] decoded requests and [`REPLY_BYTES_MAX`] plus one reply.
//!
//! Must not: touch queues or the journal; only the broker runs requests.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use kqueue_engine::SessionId;
use kqueue_journal::Progress;
use kqueue_proto::{Body, Codec, Decoder, Fatal, Limits, Request, Response};

use crate::admin::Ask;
use crate::gate::Gate;
use crate::output::Output;
use crate::task::Task;
use crate::timing::{Timed, Timing};

/// Requests decoded ahead of being run.
const REQUESTS_MAX: usize = 64;
/// Bytes of bodies decoded ahead of being run.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes of replies kept before the next request is run.
const REPLY_BYTES_MAX: usize = 256 * 1024;
/// What a reply is taken to cost besides its body.
const REPLY_LINE_BYTES: usize = 64;
/// Measurements that are kept for a shell that does not fetch them.
const TIMINGS_MAX: usize = 128;

/// A request, with what could be computed of it without the broker.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) input: Input,
    /// CRC-32 of the body, computed before the lock is taken.
    pub(crate) body_crc: u32,
    /// The same of each body, where there may be several.
    pub(crate) body_crcs: Vec<u32>,
    /// When it was decoded, see [`Session::note_time`].
    at_us: u64,
}

/// What the decoder made of the bytes.
#[derive(Debug)]
pub(crate) enum Input {
    Request(Request),
    /// The stream cannot be followed beyond this point; the requests before it are still run.
    Fatal(Fatal),
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Running requests as they come.
    Open,
    /// Its last request waits for an item, which will be shown like this.
    Waiting(Shape),
    /// Nothing is run any more; it ends when its replies are gone.
    Closing,
}

/// How items are shown to the one who asked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Kestrel's `VALUE`.
    Value,
    /// `VALUE` of a plain get: the item is removed when the session picks it up.
    TakenValue,
    /// `ITEM` of the extended `reserve`.
    Item,
    /// `VALUE`, as one of several: the session's task goes on with it.
    Monitor,
    /// Collected by the session's task.
    Fetch,
    /// The head of a queue, shown with its figures.
    Info,
    /// No item, but an answer of the shell's, which always comes.
    Answer,
    /// What the session's task wants to look at, read from the disk, which always comes, too.
    Look,
}

/// What a connection may do besides what every connection may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Take items.
    pub reads: bool,
    /// Put, flush and delete.
    pub writes: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Self = Self { reads: true, writes: true };
}

/// A reply that has not left.
#[derive(Debug)]
struct Reply {
    gate: Gate,
    response: Response,
    timed: Option<Timed>,
    /// When its request was decoded.
    began_us: u64,
}

/// One connection. See the module's description.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) state: State,
    pub(crate) access: Access,
    /// The request that is being run in several steps; no other one is run before it has ended.
    pub(crate) task: Option<Task>,
    /// The queue whose figures the session waits for.
    pub(crate) asked_of: Bytes,
    /// What the shell was asked for, if the session waits for that.
    pub(crate) last_ask: Option<Ask>,
    codec: Box<dyn Codec>,
    /// The decoder gave up: nothing behind that point is looked at.
    broken: bool,
    requests: VecDeque<Decoded>,
    ahead_bytes: usize,
    replies: VecDeque<Reply>,
    reply_bytes: usize,
    now_us: u64,
    /// When the request that runs was decoded.
    began_us: u64,
    /// The request that runs has waited for its item.
    pub(crate) has_waited: bool,
    timings: Vec<Timing>,
    /// The broker named this session since it last ran.
    ready: bool,
    hung_up: bool,
    drain: bool,
    pub(crate) cut_off: bool,
    /// The next request is a put that waits for a place on the disk.
    blocked: bool,
}

impl Session {
    /// A session at its beginning that speaks the memcache protocol and may do everything. `id` must not be that of another living session.
    pub fn new(id: SessionId, limits: Limits) -> Self {
        Self::with_codec(id, Box::new(Decoder::new(limits)), Access::ALL)
    }

    /// A session at its beginning that speaks whatever `codec` does.
    pub fn with_codec(id: SessionId, codec: Box<dyn Codec>, access: Access) -> Self {
        Self {
            id,
            state: State::Open,
            access,
            task: None,
            asked_of: Bytes::new(),
            last_ask: None,
            codec,
            broken: false,
            requests: VecDeque::new(),
            ahead_bytes: 0,
            replies: VecDeque::new(),
            reply_bytes: 0,
            now_us: 0,
            began_us: 0,
            has_waited: false,
            timings: Vec::new(),
            ready: false,
            hung_up: false,
            drain: false,
            cut_off: false,
            blocked: false,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Says what time it is, in microseconds from wherever: what follows happens then. For measurements only; without it there are none worth anything.
    pub fn note_time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// Whether something was measured since [`Session::take_timings`].
    pub fn has_timings(&self) -> bool {
        !self.timings.is_empty()
    }

    /// What was measured since the last call.
    pub fn take_timings(&mut self) -> impl Iterator<Item = Timing> {
        self.timings.drain(..)
    }

    /// Decodes what is complete in `input`, up to a bound; true if at least one request was decoded.
    pub fn feed(&mut self, input: &mut BytesMut) -> bool {
        let before = self.requests.len();
        while self.state == State::Open
            && !self.drain
            && !self.broken
            && self.has_room_for_requests()
        {
            match self.codec.decode(input) {
                Ok(Some(request)) => self.push(Input::Request(request)),
                Ok(None) => break,
                Err(fatal) => {
                    self.broken = true;
                    input.clear();
                    self.push(Input::Fatal(fatal));
                }
            }
        }
        self.requests.len() > before
    }

    /// Whether another request may be decoded. Who fed a session that had none, and ran it, must feed it again: what is in the input was left there.
    pub fn has_room_for_requests(&self) -> bool {
        self.requests.len() < REQUESTS_MAX && self.ahead_bytes < AHEAD_BYTES_MAX
    }

    fn push(&mut self, input: Input) {
        let body_crc = body_of(&input).map_or(0, |body| crc32fast::hash(body));
        let body_crcs = bodies_of(&input).iter().map(crc_of).collect();
        self.ahead_bytes += body_bytes_of(&input);
        self.requests.push_back(Decoded { input, body_crc, body_crcs, at_us: self.now_us });
    }

    pub(crate) fn next_request(&mut self) -> Option<Decoded> {
        if !self.has_room_for_replies() || self.task.is_some() {
            return None;
        }
        let decoded = self.requests.pop_front()?;
        self.ahead_bytes -= body_bytes_of(&decoded.input);
        (self.began_us, self.has_waited) = (decoded.at_us, false);
        Some(decoded)
    }

    /// The task that may go on now.
    pub(crate) fn next_step(&mut self) -> Option<Task> {
        if self.has_room_for_replies() { self.task.take() } else { None }
    }

    fn has_room_for_replies(&self) -> bool {
        self.state == State::Open && self.reply_bytes < REPLY_BYTES_MAX
    }

    /// The request is to be run later: once the broker names this session.
    pub(crate) fn block(&mut self, decoded: Decoded) {
        self.ahead_bytes += body_bytes_of(&decoded.input);
        self.requests.push_front(decoded);
        self.blocked = true;
    }

    /// The task is to go on later, likewise.
    pub(crate) fn block_task(&mut self, task: Task) {
        self.task = Some(task);
        self.blocked = true;
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(crate) fn reply(&mut self, gate: Gate, response: Response) {
        self.push_reply(gate, response, None);
    }

    /// A reply whose delay since its request is measured when it leaves.
    pub(crate) fn reply_timed(&mut self, gate: Gate, response: Response, timed: Timed) {
        self.push_reply(gate, response, Some(timed));
    }

    fn push_reply(&mut self, gate: Gate, response: Response, timed: Option<Timed>) {
        self.reply_bytes += reply_cost(&response);
        self.replies.push_back(Reply { gate, response, timed, began_us: self.began_us });
    }

    pub(crate) fn measured(&mut self, timing: Timing) {
        if self.timings.len() < TIMINGS_MAX {
            self.timings.push(timing);
        }
    }

    /// Moves the replies that may leave to `output`, in order; a reply whose record will never be on disk becomes an error.
    pub fn encode(&mut self, progress: &Progress, output: &mut Output) {
        while let Some(reply) = self.replies.front() {
            let open = reply.gate.is_open(progress);
            if !open && !progress.poisoned {
                return;
            }
            let Some(reply) = self.replies.pop_front() else { return };
            self.reply_bytes -= reply_cost(&reply.response);
            if open {
                output.push(&mut *self.codec, &reply.response);
            } else {
                let unknown = "the journal failed, the outcome is unknown";
                output.push(&mut *self.codec, &Response::ServerError(unknown.into()));
            }
            if let Some(what) = reply.timed {
                self.measured(Timing { what, us: self.now_us.saturating_sub(reply.began_us) });
            }
        }
    }

    /// Whether [`crate::Broker::execute`] has something to do for this session.
    pub fn wants_broker(&self) -> bool {
        if self.ready || self.blocked {
            return self.ready;
        }
        self.can_run()
            || (self.state != State::Closing && (self.drain || self.hung_up && self.is_waiting()))
    }

    /// Whether a decoded request can be run at once.
    pub fn can_run(&self) -> bool {
        !self.blocked
            && self.has_room_for_replies()
            && (self.task.is_some() || !self.requests.is_empty())
    }

    /// The broker named this session ([`crate::Broker::poll_event`]).
    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    pub(crate) fn take_ready(&mut self) {
        (self.ready, self.blocked) = (false, false);
    }

    /// The peer will send nothing more: a wait is given up, what was asked before is still answered.
    pub fn peer_closed(&mut self) {
        self.hung_up = true;
    }

    /// The server drains: what was decoded is still run, then the session ends.
    pub fn begin_close(&mut self) {
        self.drain = true;
    }

    /// A wait would be given up at once.
    pub(crate) fn must_not_wait(&self) -> bool {
        self.hung_up || self.drain
    }

    pub(crate) fn must_stop_waiting(&self) -> bool {
        self.is_waiting() && self.must_not_wait()
    }

    /// Whether the peer will send nothing more, and may be gone.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    pub(crate) fn must_close(&self) -> bool {
        let is_done = self.requests.is_empty() && self.task.is_none();
        self.drain && is_done && self.state == State::Open
    }

    /// Whether a request waits, for an item or for a place on the disk: what is behind it may not even be decoded meanwhile.
    pub fn is_held_up(&self) -> bool {
        self.blocked || self.is_waiting()
    }

    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether the session has been asked to end, by either side.
    pub fn is_closing(&self) -> bool {
        self.drain || self.state == State::Closing
    }

    /// Whether nothing is left to run, to wait for or to send.
    pub fn is_idle(&self) -> bool {
        let has_work = !self.requests.is_empty() || self.task.is_some() || self.is_waiting();
        !has_work && self.replies.is_empty()
    }

    /// Whether the session is over: the connection is to be closed once its output has been sent.
    pub fn is_finished(&self) -> bool {
        self.state == State::Closing && self.replies.is_empty()
    }

    /// Answers with an error after which nothing of this session can be understood or allowed.
    pub(crate) fn refuse(&mut self, response: Response) {
        self.reply(Gate::Open, response);
        self.state = State::Closing;
        self.cut_off = true;
    }

    /// Answers with an error for which Kestrel closes a memcache connection; in other protocols the next request is served.
    pub(crate) fn deny(&mut self, response: Response) {
        match self.codec.closes_on_error() {
            true => self.refuse(response),
            false => self.reply(Gate::Open, response),
        }
    }

    /// Whether the session ended by an error of the peer or a `shutdown`, so that the peer may still be sending.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// What the session keeps of requests that have not been run and of replies that have not left, in bytes.
    pub fn kept_bytes(&self) -> usize {
        self.ahead_bytes + self.codec.collected() + self.reply_bytes
    }

    /// What is being collected of a large request cannot be kept: it is forgotten, and the request will be answered with an error. False if the conversation cannot go on.
    pub fn refuse_body(&mut self) -> bool {
        self.codec.collected() == 0 || self.codec.refuse_body()
    }

    /// Whether the peer has begun a request and not finished it.
    pub fn is_mid_request(&self, input: &BytesMut) -> bool {
        self.state == State::Open && self.requests.is_empty() && self.codec.is_mid_request(input)
    }

    pub(crate) fn last_gates(&self) -> (Gate, Gate) {
        let mut written = Gate::Open;
        let mut synced = Gate::Open;
        for reply in &self.replies {
            match reply.gate {
                Gate::Open => {}
                Gate::Written(_) => written = reply.gate,
                Gate::Synced(_) => synced = reply.gate,
            }
        }
        (written, synced)
    }
}

/// What a request puts, and into which queue or alias, if it is a put of one item.
pub(crate) fn queue_and_body_of(input: &Input) -> Option<(&[u8], &Bytes)> {
    match input {
        Input::Request(Request::Set { key, body: Body::Bytes(body), .. }) => Some((key, body)),
        Input::Request(Request::Put { key, body: Body::Bytes(body), .. }) => {
            Some((key.as_bytes(), body))
        }
        _ => None,
    }
}

fn body_of(input: &Input) -> Option<&Bytes> {
    queue_and_body_of(input).map(|(_, body)| body)
}

/// The bodies of a request that may have several.
fn bodies_of(input: &Input) -> &[Body] {
    match input {
        Input::Request(Request::PutAll { bodies, .. }) => bodies,
        _ => &[],
    }
}

/// Bytes of all bodies of a request.
fn body_bytes_of(input: &Input) -> usize {
    let bytes = |body: &Body| match body {
        Body::Bytes(body) => body.len(),
        Body::TooLarge { .. } | Body::NoRoom => 0,
    };
    body_of(input).map_or(0, Bytes::len) + bodies_of(input).iter().map(bytes).sum::<usize>()
}

fn crc_of(body: &Body) -> u32 {
    match body {
        Body::Bytes(body) => crc32fast::hash(body),
        Body::TooLarge { .. } | Body::NoRoom => 0,
    }
}

/// What a reply costs in memory, roughly: its body and a short line.
fn reply_cost(response: &Response) -> usize {
    let fetched = match response {
        Response::Fetched(items) => items.iter().map(|item| item.body.len()).sum(),
        _ => 0,
    };
    REPLY_LINE_BYTES + fetched + response.body().map_or(0, Bytes::len)
}
