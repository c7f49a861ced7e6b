//! Kestrel's commands as clients see them, a file for each topic, named by the tables in docs/protocol.md: several connections, a clock that is set by hand, a disk that does what it is told at once.

mod aliases;
mod fanout;
mod monitor;
mod names;
mod queues;
mod server;
mod statistics;

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::BytesMut;

use crate::*;

const START: Now = Now { mono_ms: 1000, wall_ms: 1_000_000_000_000 };

struct Client {
    session: Session,
    input: BytesMut,
}

struct World {
    broker: Broker,
    files: BTreeMap<u64, Vec<u8>>,
    clients: BTreeMap<u64, Client>,
    /// What was told to clients, also to those that are gone.
    told: BTreeMap<u64, String>,
    now: Now,
    asks: Vec<Ask>,
}

/// Settings that differ from the usual.
#[derive(Default)]
struct Setup {
    table: ConfigTable,
    max_open: Option<u32>,
    status: Status,
    grace_ms: u64,
    sweep_every_ms: u64,
    reads_over: Option<u64>,
    writes_over: Option<u64>,
}

impl World {
    fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let max_open_per_queue = setup.max_open.unwrap_or(100);
        let config = BrokerConfig {
            table: setup.table,
            limits: EngineLimits { max_open_per_queue, ..EngineLimits::default() },
            max_item_size: 4096,
            sweep_every_ms: setup.sweep_every_ms,
            version: "1.2.3",
            status: setup.status,
            status_grace_ms: setup.grace_ms,
            refuse_reads_over: setup.reads_over,
            refuse_writes_over: setup.writes_over,
        };
        let sizes = WriterConfig {
            segment_bytes: 1 << 20,
            log_cap_bytes: 8 << 20,
            max_record_bytes: 8192,
            flush_bytes: u64::MAX,
        };
        let superblock = Superblock::default();
        let boot = Boot::from_checkpoint(config, sizes, 7, superblock, []).expect("sound sizes");
        let broker = boot.finish(START).expect("one log").expect("a whole log").broker;
        Self {
            broker,
            files: BTreeMap::new(),
            clients: BTreeMap::new(),
            told: BTreeMap::new(),
            now: START,
            asks: Vec::new(),
        }
    }

    /// A connection sends something; answers what it has been told since.
    fn say(&mut self, client: u64, bytes: &str) -> String {
        self.connect(client).input.extend_from_slice(bytes.replace('\n', "\r\n").as_bytes());
        self.turn(client);
        self.settle();
        self.heard(client)
    }

    fn connect(&mut self, client: u64) -> &mut Client {
        let broker = &mut self.broker;
        self.clients.entry(client).or_insert_with(|| {
            let limits = Limits { item_bytes: 4096, ..Limits::default() };
            let access = broker.handle_connect(SessionId(client));
            let codec = std::boxed::Box::new(Decoder::new(limits));
            let session = Session::with_codec(SessionId(client), codec, access);
            Client { session, input: BytesMut::new() }
        })
    }

    fn heard(&mut self, client: u64) -> String {
        self.told.remove(&client).unwrap_or_default().replace("\r\n", "\n")
    }

    fn turn(&mut self, client: u64) {
        let Some(Client { session, input }) = self.clients.get_mut(&client) else { return };
        let mut output = Output::default();
        while session.feed(input) || session.wants_broker() {
            self.broker.execute(self.now, session);
            session.encode(&self.broker.progress(), &mut output);
        }
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        let told = self.told.entry(client).or_default();
        told.push_str(&String::from_utf8(bytes).expect("ascii"));
        if session.is_finished() {
            told.push_str("closed");
            self.leave(client);
        }
    }

    fn leave(&mut self, client: u64) {
        self.clients.remove(&client);
        self.broker.handle_disconnect(self.now, SessionId(client));
        self.settle();
        self.broker.check_invariants();
    }

    /// Everybody gets what there is for them.
    fn settle(&mut self) {
        loop {
            while let Some(ask) = self.broker.poll_ask() {
                self.asks.push(ask);
            }
            if let Some(job) = self.broker.poll_job(self.now) {
                job.ops.iter().for_each(|op| self.apply(op));
                self.broker.handle_done(self.now, job.id, Ok(()));
            } else if let Some(SessionId(client)) = self.broker.poll_event() {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.session.set_ready();
                }
                self.turn(client);
            } else {
                return;
            }
        }
    }

    fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Create { segment, header } => {
                let mut file = header.clone();
                file.resize(1 << 20, 0);
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

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.broker.handle_timeout(self.now);
        self.settle();
    }

    fn put(&mut self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            let set = format!("set {queue} 0 0 {}\n{body}\n", body.len());
            assert_eq!(self.say(99, &set), "STORED\n", "{queue} {body}");
        }
    }
}

fn value(queue: &str, body: &str) -> String {
    format!("VALUE {queue} 0 {}\n{body}\nEND\n", body.len())
}

fn aliases(aliases: &[(&str, &[&str])]) -> ConfigTable {
    let mut table = ConfigTable::default();
    for (name, destinations) in aliases {
        let destinations = destinations.iter().map(|name| name.as_bytes().into()).collect();
        table.aliases.insert(name.as_bytes().into(), destinations);
    }
    table
}

/// The usual, but for one queue.
fn with_queue(name: &str, settings: QueueOverrides) -> Setup {
    let mut table = ConfigTable::default();
    table.named.insert(name.as_bytes().into(), settings);
    Setup { table, ..Setup::default() }
}
