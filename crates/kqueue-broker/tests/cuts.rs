//! However a stream of requests is cut, the same bytes come back: valid requests, every kind of request that Kestrel's specification calls malformed, and
//! anything else.
//!
//! The disk stands still until everything has been asked. Otherwise ids, which count what is written together, would differ; that the replies are the
//! same apart from them when it does not is tested in `src/tests.rs`.

use std::collections::BTreeMap;

use bytes::BytesMut;
use kqueue_broker::{
    Boot, Broker, BrokerConfig, ConfigTable, DiskOp, EngineLimits, Limits, Now, Output,
    QueueConfig, QueueOverrides, Session, SessionId, Status, Superblock, WriterConfig,
};
use proptest::prelude::*;

const SEGMENT_BYTES: u64 = 64 * 1024;
const ITEM_BYTES_MAX: usize = 1000;
const NOW: Now = Now { mono_ms: 1, wall_ms: 1_000_000_000_000 };

fn broker(memory_bytes: u64) -> Broker {
    let mut table = ConfigTable { defaults: QueueConfig::default().into(), ..Default::default() };
    let two = QueueOverrides { max_items: Some(2), ..QueueOverrides::default() };
    table.named.insert((*b"two").into(), two);
    let limits = EngineLimits {
        max_open_per_queue: 3,
        max_memory_size: memory_bytes,
        max_queues: 6,
        ..EngineLimits::default()
    };
    let (max_item_size, sweep_every_ms) = (ITEM_BYTES_MAX, 0);
    let config = BrokerConfig {
        table,
        limits,
        max_item_size,
        sweep_every_ms,
        version: "1.2.3",
        status: Status::Up,
        status_grace_ms: 0,
        refuse_reads_over: None,
        refuse_writes_over: None,
    };
    let sizes = WriterConfig {
        segment_bytes: SEGMENT_BYTES,
        log_cap_bytes: 4 * SEGMENT_BYTES,
        max_record_bytes: 8192,
        flush_bytes: u64::MAX,
    };
    let boot = Boot::from_checkpoint(config, sizes, 7, Superblock::default(), []);
    boot.expect("sound sizes").finish(NOW).expect("one log").expect("a whole log").broker
}

/// A broker, its disk, and one connection to it.
struct Server {
    broker: Broker,
    files: BTreeMap<u64, Vec<u8>>,
    session: Session,
    input: BytesMut,
    replies: Vec<u8>,
}

impl Server {
    fn new(memory_bytes: u64) -> Self {
        let mut broker = broker(memory_bytes);
        broker.handle_connect(SessionId(1));
        let limits = Limits { item_bytes: ITEM_BYTES_MAX, ..Limits::default() };
        let session = Session::new(SessionId(1), limits);
        let (files, input, replies) = (BTreeMap::new(), BytesMut::new(), Vec::new());
        Self { broker, files, session, input, replies }
    }

    /// What the server's connection does when something came, or the session was named.
    fn turn(&mut self) {
        let Self { broker, session, input, replies, .. } = self;
        loop {
            let decoded = session.feed(input);
            if !session.wants_broker() {
                return;
            }
            let was_held_up = session.is_held_up();
            broker.execute(NOW, session);
            let mut output = Output::default();
            session.encode(&broker.progress(), &mut output);
            output.chunks().for_each(|chunk| replies.extend_from_slice(chunk));
            if !decoded && !session.can_run() && (!was_held_up || session.is_held_up()) {
                return;
            }
        }
    }

    /// The disk does what is to be done, until there is nothing more.
    fn settle(&mut self) {
        loop {
            let (job, load) = (self.broker.poll_job(NOW), self.broker.poll_load());
            if job.is_none() && load.is_none() {
                return;
            }
            if let Some(job) = job {
                job.ops.iter().for_each(|op| self.apply(op));
                self.broker.handle_done(NOW, job.id, Ok(()));
            }
            if let Some(mut load) = load {
                loop {
                    let read = load.next_read();
                    let file = &self.files[&read.segment];
                    let end = file.len().min((read.offset + read.bytes) as usize);
                    if load.feed(&file[read.offset as usize..end]) {
                        break;
                    }
                }
                self.broker.handle_loaded(NOW, load);
            }
            while self.broker.poll_event().is_some() {
                self.session.set_ready();
                self.turn();
            }
        }
    }

    fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Create { segment, header } => {
                let mut file = header.clone();
                file.resize(SEGMENT_BYTES as usize, 0);
                self.files.insert(*segment, file);
            }
            DiskOp::Write { segment, offset, chunks } => {
                let file = self.files.get_mut(segment).expect("it was created");
                let bytes = chunks.concat();
                file[*offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            _ => {}
        }
    }

    /// All that is answered to a client that sends these pieces and then closes its sending side.
    fn answer<'a>(memory_bytes: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut server = Self::new(memory_bytes);
        for piece in pieces {
            server.input.extend_from_slice(piece);
            server.turn();
        }
        server.settle();
        while !server.session.is_idle() && !server.session.is_finished() {
            server.session.peer_closed();
            server.turn();
            server.settle();
        }
        server.broker.check_invariants();
        server.replies
    }
}

/// Requests that are what they should be.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let name = || prop::sample::select(vec!["q", "r", "two", "q+x", "two+y", "Q", "a:b$c%d_-"]);
    let body = || prop::collection::vec(any::<u8>(), 0..1100);
    let put = |line: String, body: &[u8]| [line.as_bytes(), body, b"\r\n"].concat();
    let expiry = prop::sample::select(vec!["0", "-1", "60", "999999", "1000000", "2147483647"]);
    let set =
        (name(), expiry, body(), any::<bool>()).prop_map(move |(name, expiry, body, quiet)| {
            let quiet = if quiet { " noreply" } else { "" };
            put(format!("set {name} 4294967295 {expiry} {}{quiet}\r\n", body.len()), &body)
        });
    let extended = (name(), 0..3u8, body()).prop_map(move |(name, which, body)| {
        let options = ["", " ttl=5 flags=7", " flags=0"][usize::from(which)];
        put(format!("put {name} {}{options}\r\n", body.len()), &body)
    });
    let options = prop::sample::select(vec![
        "",
        "/open",
        "/close",
        "/close/open",
        "/abort",
        "/peek",
        "/t=9",
        "/t=0/open",
        "/t=-5",
        "/peek/t=5",
        "/unknown/OPEN",
        "/t=1/t=2",
        " another",
    ]);
    let get = (name(), options, any::<bool>()).prop_map(|(name, options, s)| {
        let get = if s { "gets" } else { "GET" };
        format!("{get} {name}{options}\r\n").into_bytes()
    });
    let settle = (name(), 0..12u64, any::<bool>()).prop_map(|(name, id, ack)| {
        let word = if ack { "ack" } else { "release" };
        format!("{word} {name} {}\r\n", (1 << 32) + id).into_bytes()
    });
    let other = prop::sample::select(vec![
        &b"reserve 2 0 0 q r\r\n"[..],
        b"reserve 1000 5 9 two q+x\n",
        b"delete q noreply\r\n",
        b"delete two\r\n",
        b"flush q\r\n",
        b"flush_all\r\n",
        b"flush_all noreply\r\n",
        b"version\r\n",
        b"capabilities\r\n",
        b"stats\r\n",
        b"quit\r\n",
    ])
    .prop_map(<[u8]>::to_vec);
    prop_oneof![4 => set, 3 => extended, 5 => get, 2 => settle, 3 => other]
}

/// The rows of the tables of errors and of names: what keeps the connection first, then what does not.
fn malformed() -> Vec<Vec<u8>> {
    let long_name = "n".repeat(251);
    [
        "get\r\n",
        "gets\r\n",
        "delete\r\n",
        "flush\r\n",
        "get +\r\n",
        "get ///\r\n",
        "get +++/open\r\n",
        "set q x 0 3\r\nabc\r\n",
        "set + 0 0 3\r\nabc\r\n",
        "set q x 0 3 noreply\r\nabc\r\n",
        "put q\r\n",
        "put\r\n",
        "put q 3 ttl=x\r\nabc\r\n",
        "put q.x 3\r\nabc\r\n",
        "put q 3 what\r\nabc\r\n",
        "reserve\r\n",
        "reserve 0 0 0 q\r\n",
        "reserve 1 0 0\r\n",
        "reserve 1 0 0 q.x\r\n",
        "ack q\r\n",
        "ack q 18446744073709551616\r\n",
        "release q -1\r\n",
        "delete a.b\r\n",
        "flush a~b\r\n",
        "delete a/b\r\n",
        "set q 0 0 1001\r\n",
        "nonsense\r\n",
        "\r\n",
        "   \r\n",
        " get q\r\n",
        "add q 0 0 1\r\nx\r\n",
        "set q\r\n",
        "set q 0 0\r\n",
        "set q 0 0 x\r\n",
        "set q 0 0 -1\r\n",
        "set q 0 0 +5\r\nabcde\r\n",
        "set q 0 0 0005\r\nabcde\r\n",
        "set q 0 0 2147483648\r\n",
        "set q 0 0 9223372036854775808\r\n",
        "set q 0 soon 1\r\nx\r\n",
        "set  q 0 0 1\r\nx\r\n",
        "set q 0 0 3\r\nabcd\r\n",
        "set q 0 0 3\r\nabc\n",
        "put q 99999999999\r\n",
        "get q/t=x\r\n",
        "get q/t=2147483648\r\n",
        "get q/open/peek\r\n",
        "get q/abort/close\r\n",
        "get q/peek/abort\r\n",
        "get /open\r\n",
        "get  q\r\n",
        "get q.x\r\n",
        "get q~x\r\n",
        "set a/b 0 0 1\r\nx\r\n",
        "set q.x 0 0 1\r\nx\r\n",
        "set ../../etc/passwd 0 0 1\r\nx\r\n",
        "get q\0\r\n",
        "get q\rx\r\n",
        "get q\tx\r\n",
        "get q\x7f\r\n",
        "incr q 1\r\n",
        "cas q 0 0 1 1\r\nx\r\n",
        "verbosity 1\r\n",
    ]
    .iter()
    .map(|row| row.as_bytes().to_vec())
    .chain([
        format!("get {long_name}\r\n").into_bytes(),
        format!("set {long_name} 0 0 1\r\nx\r\n").into_bytes(),
        b"get \xff\xfe\r\n".to_vec(),
        b"set \xff 0 0 1\r\n\xff\r\n".to_vec(),
        [&b"get "[..], &[b'x'; 2100], b"\r\n"].concat(),
        [&b"set q 0 0 5000\r\n"[..], &b"quit\r\n".repeat(834)[..5000], b"\r\n"].concat(),
    ])
    .collect()
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    // Most of what is malformed ends the connection: with less of it there is more behind it.
    let part = prop_oneof![20 => valid(), 3 => prop::sample::select(malformed()), 1 => noise];
    prop::collection::vec(part, 1..25).prop_map(|parts| parts.concat())
}

/// Cuts after each of the steps, over and over.
fn cut<'a>(mut stream: &'a [u8], steps: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &step in steps.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (piece, rest) = stream.split_at(step.min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_cut_of_any_stream_gives_the_same_replies(
        stream in stream(),
        steps in prop::collection::vec(prop_oneof![1..4usize, 1..3000usize], 1..10),
        has_memory in any::<bool>(),
    ) {
        let memory_bytes = if has_memory { 1 << 20 } else { 0 };
        let whole = Server::answer(memory_bytes, [&stream[..]]);
        let cut_up = Server::answer(memory_bytes, cut(&stream, &steps));
        prop_assert_eq!(cut_up.escape_ascii().to_string(), whole.escape_ascii().to_string());
        let single = Server::answer(memory_bytes, stream.chunks(1));
        prop_assert_eq!(single.escape_ascii().to_string(), whole.escape_ascii().to_string());
    }
}

/// Requests of every kind, each alone, and every place to cut them at.
#[test]
fn every_single_cut_of_a_malformed_request_gives_the_same_replies() {
    for request in malformed() {
        let (before, behind) = (&b"set q 0 0 1\r\na\r\n"[..], &b"get q\r\nversion\r\n"[..]);
        let stream = [before, &request, behind].concat();
        let whole = Server::answer(1 << 20, [&stream[..]]);
        // The middle of a long line or body is like any other place in it.
        for at in (1..stream.len()).filter(|at| *at < 100 || at + 40 > stream.len()) {
            let (a, b) = stream.split_at(at);
            let replies = Server::answer(1 << 20, [a, b]);
            let shown = request.escape_ascii();
            assert_eq!(
                replies.escape_ascii().to_string(),
                whole.escape_ascii().to_string(),
                "{shown} cut at {at}"
            );
        }
    }
}
