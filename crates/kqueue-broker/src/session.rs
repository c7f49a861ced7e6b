//! One connection's side of the conversation: what was asked and not yet run, what was answered and may not leave yet.
//!
//! Invariants
//! - Requests run strictly in the order in which they arrived, and replies leave in that order, whatever their gates do.
//! - At most one request waits (for an item); everything behind it stays undecoded or unrun.
//! - What a session keeps is bounded: at most [`REQUESTS_MAX`] decoded requests and [`REPLY_BYTES_MAX`] plus one reply.
//!
//! Must not: touch queues or the journal; only the broker runs requests.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use kqueue_engine::SessionId;
use kqueue_journal::Progress;
use kqueue_proto::{Body, Decoder, Fatal, Limits, Request, Response};

use crate::gate::Gate;
use crate::output::Output;

/// Requests decoded ahead of being run.
const REQUESTS_MAX: usize = 64;
/// Bytes of bodies decoded ahead of being run.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes of replies kept before the next request is run.
const REPLY_BYTES_MAX: usize = 256 * 1024;
/// What a reply is taken to cost besides its body.
const REPLY_LINE_BYTES: usize = 64;

/// A request, with what could be computed of it without the broker.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) input: Input,
    /// CRC-32 of the body, computed before the lock is taken.
    pub(crate) body_crc: u32,
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
}

/// One connection. See the module's description.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) state: State,
    decoder: Decoder,
    /// The decoder gave up: nothing behind that point is looked at.
    broken: bool,
    requests: VecDeque<Decoded>,
    ahead_bytes: usize,
    replies: VecDeque<(Gate, Response)>,
    reply_bytes: usize,
    /// The broker named this session since it last ran.
    ready: bool,
    hung_up: bool,
    drain: bool,
    refused: bool,
    /// The next request is a put that waits for a place on the disk.
    blocked: bool,
}

impl Session {
    /// A session at its beginning. `id` must not be that of another living session.
    pub fn new(id: SessionId, limits: Limits) -> Self {
        Self {
            id,
            state: State::Open,
            decoder: Decoder::new(limits),
            broken: false,
            requests: VecDeque::new(),
            ahead_bytes: 0,
            replies: VecDeque::new(),
            reply_bytes: 0,
            ready: false,
            hung_up: false,
            drain: false,
            refused: false,
            blocked: false,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Decodes what is complete in `input`, up to a bound; true if at least one request was decoded.
    pub fn feed(&mut self, input: &mut BytesMut) -> bool {
        let before = self.requests.len();
        while self.state == State::Open
            && !self.drain
            && !self.broken
            && self.requests.len() < REQUESTS_MAX
            && self.ahead_bytes < AHEAD_BYTES_MAX
        {
            match self.decoder.decode(input) {
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

    fn push(&mut self, input: Input) {
        let body = body_of(&input);
        let body_crc = body.map_or(0, |body| crc32fast::hash(body));
        self.ahead_bytes += body.map_or(0, Bytes::len);
        self.requests.push_back(Decoded { input, body_crc });
    }

    pub(crate) fn next_request(&mut self) -> Option<Decoded> {
        if self.state != State::Open || self.reply_bytes >= REPLY_BYTES_MAX {
            return None;
        }
        let decoded = self.requests.pop_front()?;
        self.ahead_bytes -= body_of(&decoded.input).map_or(0, Bytes::len);
        Some(decoded)
    }

    /// The request is to be run later: once the broker names this session.
    pub(crate) fn block(&mut self, decoded: Decoded) {
        self.ahead_bytes += body_of(&decoded.input).map_or(0, Bytes::len);
        self.requests.push_front(decoded);
        self.blocked = true;
    }

    pub(crate) fn reply(&mut self, gate: Gate, response: Response) {
        self.reply_bytes += reply_cost(&response);
        self.replies.push_back((gate, response));
    }

    /// Moves the replies that may leave to `output`, in order; a reply whose record will never be on disk becomes an error.
    pub fn encode(&mut self, progress: &Progress, output: &mut Output) {
        while let Some((gate, _)) = self.replies.front() {
            let open = gate.is_open(progress);
            if !open && !progress.poisoned {
                return;
            }
            let Some((_, response)) = self.replies.pop_front() else { return };
            self.reply_bytes -= reply_cost(&response);
            if open {
                output.push(&response);
            } else {
                output.push(&Response::ServerError(
                    "the journal failed, the outcome is unknown".into(),
                ));
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
        self.state == State::Open
            && !self.blocked
            && self.reply_bytes < REPLY_BYTES_MAX
            && !self.requests.is_empty()
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

    pub(crate) fn must_close(&self) -> bool {
        self.drain && self.requests.is_empty() && self.state == State::Open
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
        self.requests.is_empty() && self.replies.is_empty() && !self.is_waiting()
    }

    /// Whether the session is over: the connection is to be closed once its output has been sent.
    pub fn is_finished(&self) -> bool {
        self.state == State::Closing && self.replies.is_empty()
    }

    /// Answers with an error after which nothing of this session can be understood or allowed.
    pub(crate) fn refuse(&mut self, response: Response) {
        self.reply(Gate::Open, response);
        self.state = State::Closing;
        self.refused = true;
    }

    /// Whether the session ended with an error of the peer, who may still be sending.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn stop_waiting(&mut self) {
        self.reply(Gate::Open, Response::End);
        self.state = State::Open;
    }

    /// Whether the peer has begun a request and not finished it.
    pub fn is_mid_request(&self, input: &BytesMut) -> bool {
        self.state == State::Open && self.requests.is_empty() && self.decoder.is_mid_request(input)
    }

    pub(crate) fn last_gates(&self) -> (Gate, Gate) {
        let mut written = Gate::Open;
        let mut synced = Gate::Open;
        for (gate, _) in &self.replies {
            match gate {
                Gate::Open => {}
                Gate::Written(_) => written = *gate,
                Gate::Synced(_) => synced = *gate,
            }
        }
        (written, synced)
    }
}

pub(crate) fn body_of(input: &Input) -> Option<&Bytes> {
    match input {
        Input::Request(
            Request::Set { body: Body::Bytes(body), .. }
            | Request::Put { body: Body::Bytes(body), .. },
        ) => Some(body),
        _ => None,
    }
}

/// What a reply costs in memory, roughly: its body and a short line.
fn reply_cost(response: &Response) -> usize {
    REPLY_LINE_BYTES + response.body().map_or(0, Bytes::len)
}
