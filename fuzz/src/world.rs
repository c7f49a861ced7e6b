//! A broker with a few connections and a disk in memory that does what it is told when it is told; a small edition of what `kqueue-sim` has.
//!
//! Must not: judge; the targets do.

use std::collections::BTreeMap;

use bytes::BytesMut;
use kqueue_broker::{
    Ask, Boot, Broker, BrokerConfig, ConfigTable, DiskOp, EngineLimits, Limits, LookStep, Now,
    Output, QueueConfig, QueueOverrides, SLOT_BYTES, SegmentHeader, SegmentRead, Session,
    SessionId, Status, SuperState, Superblock, WriterConfig, parse_header,
};

pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024;
pub(crate) const ITEM_BYTES_MAX: usize = 512;
const START: Now = Now { mono_ms: 1, wall_ms: 1_000_000_000_000 };

/// What a start finds.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) segments: BTreeMap<u64, Vec<u8>>,
    /// Both slots.
    pub(crate) superblock: Vec<u8>,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { segments: BTreeMap::new(), superblock: Superblock::first_file() }
    }

    pub(crate) fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Create { segment, header } => {
                let mut file = header.clone();
                file.resize(SEGMENT_BYTES as usize, 0);
                self.segments.insert(*segment, file);
            }
            DiskOp::Write { segment, offset, chunks } => {
                let file = self.segments.get_mut(segment).expect("written before it was created");
                let bytes = chunks.concat();
                file[*offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            DiskOp::WriteSuper { slot, bytes } => {
                self.superblock[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(bytes);
            }
            DiskOp::Remove { segment } => drop(self.segments.remove(segment)),
            DiskOp::Prepare { .. } | DiskOp::Sync { .. } | DiskOp::Flush { .. } => {}
        }
    }

    fn read(&self, read: &SegmentRead) -> &[u8] {
        let file = self.segments.get(&read.segment).map_or(&[][..], Vec::as_slice);
        let end = file.len().min((read.offset + read.bytes) as usize);
        file.get(read.offset as usize..end).unwrap_or_default()
    }

    /// The broker that the server would make of these files at its start; `None` if it would not start.
    pub(crate) fn boot(&self, memory_bytes: u64) -> Option<Broker> {
        let superblock = match Superblock::read(&self.superblock) {
            SuperState::Sound(known) | SuperState::OneSlot(known) => known,
            SuperState::Damaged | SuperState::Version(_) => return None,
        };
        let headers: Vec<SegmentHeader> =
            self.segments.values().map(|file| parse_header(file)).collect::<Result<_, _>>().ok()?;
        let first = superblock.start.segment;
        let data = headers.iter().filter(|header| header.segment < first);
        let data = data.map(|header| (header.segment, header.salt));
        let mut boot =
            Boot::from_checkpoint(config(memory_bytes), sizes(), 7, superblock, data).ok()?;
        for (index, (header, file)) in headers.iter().zip(self.segments.values()).enumerate() {
            if header.segment >= first {
                boot.segment(header, file, headers.get(index + 1)).ok()?;
            }
        }
        Some(boot.finish(START).ok()??.broker)
    }
}

/// Small limits, so that every one of them is met.
fn config(memory_bytes: u64) -> BrokerConfig {
    let mut table = ConfigTable { defaults: QueueConfig::default().into(), ..Default::default() };
    let mut named = |name: &[u8], overrides| table.named.insert(name.into(), overrides);
    named(b"m", QueueOverrides { max_items: Some(2), ..Default::default() });
    named(b"f", QueueOverrides { fanout_only: Some(true), ..Default::default() });
    let ring = QueueOverrides {
        max_items: Some(2),
        discard_old_when_full: Some(true),
        ..Default::default()
    };
    named(b"r", ring);
    let dead = QueueOverrides {
        max_attempts: Some(Some(2)),
        dead_letter_queue: Some(Some((*b"z").into())),
        open_transaction_timeout_ms: Some(Some(1000)),
        expire_to_queue: Some(Some((*b"z").into())),
        ..Default::default()
    };
    named(b"d", dead);
    table.aliases.insert((*b"a").into(), [(*b"m").into(), (*b"q+s").into()].into());
    let limits = EngineLimits {
        max_open_per_queue: 3,
        max_memory_size: memory_bytes,
        max_queues: 8,
        key_window_ms: 1000,
        keys_max: 4,
    };
    BrokerConfig {
        table,
        limits,
        max_item_size: ITEM_BYTES_MAX,
        sweep_every_ms: 1000,
        version: "1.2.3",
        status: Status::Up,
        status_grace_ms: 0,
        refuse_reads_over: None,
        refuse_writes_over: None,
    }
}

pub(crate) fn sizes() -> WriterConfig {
    WriterConfig {
        segment_bytes: SEGMENT_BYTES,
        log_cap_bytes: 4 * SEGMENT_BYTES,
        max_record_bytes: 8192,
        flush_bytes: u64::MAX,
    }
}

/// One connection: what the server's `conn.rs` does, without a socket.
struct Conn {
    session: Session,
    input: BytesMut,
    sent: Vec<u8>,
}

/// What is in a queue: its name and its items.
pub(crate) type Contents = Vec<(Vec<u8>, Vec<Item>)>;

/// An item as a look at the queue shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    id: u64,
    flags: u32,
    put_ms: u64,
    expiry_ms: u64,
    attempts: u32,
    body: Vec<u8>,
}

/// See the module's description.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) files: Files,
    conns: Vec<Conn>,
    now: Now,
}

impl World {
    pub(crate) fn new(conns: u64, memory_bytes: u64) -> Self {
        let files = Files::new();
        let mut broker = files.boot(memory_bytes).expect("an empty log");
        let limits = Limits { item_bytes: ITEM_BYTES_MAX, ..Limits::default() };
        let conn = |number| {
            broker.handle_connect(SessionId(number));
            let session = Session::new(SessionId(number), limits);
            Conn { session, input: BytesMut::new(), sent: Vec::new() }
        };
        let conns = (0..conns).map(conn).collect();
        Self { broker, files, conns, now: START }
    }

    /// Bytes arrive at a connection, and what can be run is run.
    pub(crate) fn send(&mut self, conn: usize, bytes: &[u8]) {
        self.conns[conn].input.extend_from_slice(bytes);
        self.turn(conn);
        self.events();
    }

    fn turn(&mut self, conn: usize) {
        let Self { broker, conns, now, .. } = self;
        let Conn { session, input, sent } = &mut conns[conn];
        loop {
            let decoded = session.feed(input);
            if !session.wants_broker() {
                return;
            }
            let was_held_up = session.is_held_up();
            broker.execute(*now, session);
            while let Some(ask) = broker.poll_ask() {
                match ask {
                    Ask::Reload { session } | Ask::SaveStatus { session: Some(session), .. } => {
                        broker.answer(session, Ok(()));
                    }
                    Ask::SaveStatus { session: None, .. } | Ask::Shutdown => {}
                }
            }
            let mut output = Output::default();
            session.encode(&broker.progress(), &mut output);
            output.chunks().for_each(|chunk| sent.extend_from_slice(chunk));
            if !decoded && !session.can_run() && (!was_held_up || session.is_held_up()) {
                return;
            }
        }
    }

    fn events(&mut self) {
        while let Some(SessionId(number)) = self.broker.poll_event() {
            if (number as usize) < self.conns.len() {
                self.conns[number as usize].session.set_ready();
                self.turn(number as usize);
            }
        }
    }

    /// The disk does the next job, and reads what is wanted; false if there was nothing to do.
    pub(crate) fn disk(&mut self) -> bool {
        let job = self.broker.poll_job(self.now);
        if let Some(job) = &job {
            job.ops.iter().for_each(|op| self.files.apply(op));
            self.broker.handle_done(self.now, job.id, Ok(()));
        }
        let load = self.broker.poll_load();
        let is_idle = job.is_none() && load.is_none();
        if let Some(mut load) = load {
            while !load.feed(self.files.read(&load.next_read())) {}
            let (bad, lost) = self.broker.handle_loaded(self.now, load);
            assert!(bad.is_empty() && lost == 0, "damage on a sound disk: {bad:?}, {lost} items");
        }
        self.events();
        !is_idle
    }

    pub(crate) fn settle(&mut self) {
        while self.disk() {}
    }

    pub(crate) fn pass_time(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.broker.handle_timeout(self.now);
        self.events();
    }

    /// A whole checkpoint.
    pub(crate) fn checkpoint(&mut self) {
        let mut checkpoint = self.broker.begin_checkpoint();
        while !self.broker.checkpoint_step(&mut checkpoint) {
            self.settle();
        }
        self.settle();
    }

    /// The peer will send nothing more; all that it has asked is answered.
    pub(crate) fn finish(&mut self, conn: usize) -> &[u8] {
        loop {
            self.settle();
            if self.conns[conn].session.is_idle() || self.conns[conn].session.is_finished() {
                return &self.conns[conn].sent;
            }
            self.conns[conn].session.peer_closed();
            self.turn(conn);
            self.events();
        }
    }

    /// All connections end, and everything is on the disk.
    pub(crate) fn end(&mut self) {
        for conn in std::mem::take(&mut self.conns) {
            self.broker.handle_disconnect(self.now, conn.session.id());
        }
        // What is read on the way may turn out to have expired, which is something to be written again.
        for _ in 0..100 {
            self.settle();
            if self.broker.is_settled() {
                return;
            }
            self.broker.sync_everything(self.now);
        }
        panic!("the disk did all that it was asked, and that is not all");
    }

    /// All that is in these files' queues, as `broker` knows it.
    pub(crate) fn contents(&self, broker: &Broker) -> Contents {
        let queues = broker.queues().into_iter();
        queues.map(|queue| (queue.name.to_vec(), self.items(broker, &queue.name))).collect()
    }

    fn items(&self, broker: &Broker, queue: &[u8]) -> Vec<Item> {
        let mut look = broker.look(queue).expect("it was listed");
        let mut items = Vec::new();
        loop {
            match look.step(broker) {
                LookStep::Item(_, item) => items.push(Item {
                    id: item.id.0,
                    flags: item.flags,
                    put_ms: item.put_ms,
                    expiry_ms: item.expiry_ms,
                    attempts: item.attempts,
                    body: item.body.to_vec(),
                }),
                LookStep::Lost(items) => panic!("{items} items are lost on a sound disk"),
                LookStep::Done => return items,
                LookStep::Read(read) => look.feed(self.files.read(&read)),
            }
        }
    }
}
