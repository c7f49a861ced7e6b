//! A server that answers one request with any bytes, and every other one as it should.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Peer, Scripted};

/// What it does to one request.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How the request begins.
    pub(crate) request: &'static str,
    /// So many of them are taken before the answer.
    pub(crate) count: usize,
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Said again and again behind the pieces, until the client closes.
    pub(crate) endless: Vec<u8>,
    /// Whether it closes behind the answer.
    pub(crate) closes: bool,
}

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where an endless answer is given up.
pub(crate) const ENDLESS_BYTES: usize = 64 << 20;

#[derive(Default)]
struct State {
    plan: Mutex<Option<Plan>>,
    open: Mutex<usize>,
    /// Bytes of an endless answer that were taken, the kernel's buffers included.
    taken: Mutex<Option<usize>>,
    changed: Condvar,
}

/// See the module.
pub(crate) struct Hostile {
    pub(crate) server: Scripted,
    state: Arc<State>,
}

impl Hostile {
    /// `body` is what is in its queue `q`.
    pub(crate) fn start(is_extended: bool, body: &'static str) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let server = Scripted::start(move |peer| {
            *shared.open.lock().unwrap() += 1;
            serve(peer, &shared, is_extended, body);
            *shared.open.lock().unwrap() -= 1;
            shared.changed.notify_all();
        });
        Self { server, state }
    }

    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.state.plan.lock().unwrap().replace(plan);
    }

    /// Whether the plan has been carried out.
    pub(crate) fn has_struck(&self) -> bool {
        self.state.plan.lock().unwrap().is_none()
    }

    /// Blocks until the client has closed in the middle of an endless answer: how much of it was
    /// taken.
    pub(crate) fn await_taken(&self) -> usize {
        let taken = self.state.taken.lock().unwrap();
        let (mut taken, _) = self
            .state
            .changed
            .wait_timeout_while(taken, PATIENCE, |taken| taken.is_none())
            .unwrap();
        taken.take().expect("it closes")
    }

    /// Blocks until so many connections are open.
    pub(crate) fn await_open(&self, count: usize) {
        let open = self.state.open.lock().unwrap();
        let (open, timeout) =
            self.state.changed.wait_timeout_while(open, PATIENCE, |open| *open != count).unwrap();
        assert!(!timeout.timed_out(), "{} connections are open, not {count}", *open);
    }
}

fn serve(peer: &mut Peer, state: &State, is_extended: bool, body: &str) {
    loop {
        let line = peer.line();
        if line.is_empty() {
            return;
        }
        skip_body(peer, &line);
        let strikes = state.plan.lock().unwrap().take_if(|plan| line.starts_with(plan.request));
        let Some(plan) = strikes else {
            peer.send(honest(&line, is_extended, body));
            continue;
        };
        for _ in 1..plan.count {
            let line = peer.line();
            skip_body(peer, &line);
        }
        for piece in &plan.pieces {
            peer.send(piece);
            // So that the client may see one piece without the next.
            thread::yield_now();
        }
        if !plan.endless.is_empty() {
            *state.taken.lock().unwrap() = Some(say_endlessly(peer, &plan.endless));
            state.changed.notify_all();
            return;
        }
        if plan.closes {
            return;
        }
    }
}

fn say_endlessly(peer: &Peer, unit: &[u8]) -> usize {
    let block = unit.repeat(64 * 1024 / unit.len() + 1);
    let (mut stream, mut taken) = (peer.stream(), 0);
    // It has an end, so that a client that takes everything is told from one that closes.
    while taken < ENDLESS_BYTES && stream.write_all(&block).is_ok() {
        taken += block.len();
    }
    taken
}

fn skip_body(peer: &mut Peer, line: &str) {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let bytes = match words[0] {
        "put" => words[2],
        "set" => words[4],
        _ => return,
    };
    peer.bytes(bytes.parse::<usize>().unwrap() + 2);
}

/// What a sound server says.
pub(crate) fn honest(line: &str, is_extended: bool, body: &str) -> String {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let bytes = body.len();
    match words[0] {
        "capabilities" if is_extended => {
            "CAPABILITIES 1.0 put reserve ack release touch bury delay key\r\n".into()
        }
        "put" => "STORED 41\r\n".into(),
        "set" => "STORED\r\n".into(),
        "reserve" => format!("ITEM q 7 0 1 5 {bytes}\r\n{body}\r\nEND\r\n"),
        "ack" | "release" => "OK\r\n".into(),
        "get" if words[1].ends_with("/close") || words[1].ends_with("/abort") => "END\r\n".into(),
        "get" => format!("VALUE q 0 {bytes}\r\n{body}\r\nEND\r\n"),
        "stats" => "STAT uptime 1\r\nSTAT queue_q_items 3\r\nEND\r\n".into(),
        "version" => "VERSION 1.0\r\n".into(),
        _ => "CLIENT_ERROR\r\n".into(),
    }
}
