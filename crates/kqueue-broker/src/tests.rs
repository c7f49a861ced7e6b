//! Sessions and broker driven by hand: what may leave when, and what happens when the disk does not do its part.

mod checkpoint;
mod thrift;
mod walk;

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use bytes::BytesMut;
use proptest::prelude::*;

use crate::gate::Gate;
use crate::*;

const SEGMENT_BYTES: u64 = 64 * 1024;
const NOW: Now = Now { mono_ms: 1, wall_ms: 1_000_000_000_000 };

fn boot(files: &BTreeMap<u64, Vec<u8>>) -> Broker {
    boot_with(ConfigTable::default(), files)
}

fn boot_with(table: ConfigTable, files: &BTreeMap<u64, Vec<u8>>) -> Broker {
    boot_from(Superblock::default(), table, files)
}

/// Nothing stays in memory.
fn boot_small(files: &BTreeMap<u64, Vec<u8>>) -> Broker {
    let limits = EngineLimits { max_memory_size: 0, ..EngineLimits::default() };
    boot_within(limits, Superblock::default(), ConfigTable::default(), files)
}

fn boot_from(superblock: Superblock, table: ConfigTable, files: &BTreeMap<u64, Vec<u8>>) -> Broker {
    let limits = EngineLimits { max_open_per_queue: 10, ..EngineLimits::default() };
    boot_within(limits, superblock, table, files)
}

fn boot_within(
    limits: EngineLimits,
    superblock: Superblock,
    table: ConfigTable,
    files: &BTreeMap<u64, Vec<u8>>,
) -> Broker {
    let config = BrokerConfig {
        table,
        limits,
        max_item_size: 4096,
        sweep_every_ms: 0,
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
    let headers = files.values().map(|file| parse_header(file).expect("a sound header"));
    let is_read = |header: &SegmentHeader| header.segment >= superblock.start.segment;
    let (headers, data): (Vec<_>, Vec<_>) = headers.partition(is_read);
    let data = data.iter().map(|header| (header.segment, header.salt));
    let mut boot = Boot::from_checkpoint(config, sizes, 7, superblock, data).expect("sound sizes");
    for (index, header) in headers.iter().enumerate() {
        boot.segment(header, &files[&header.segment], headers.get(index + 1)).expect("one log");
    }
    boot.finish(NOW).expect("one log").expect("a whole log").broker
}

/// A broker, a disk that does what it is told when it is told, and one connection.
struct Server {
    broker: Broker,
    files: BTreeMap<u64, Vec<u8>>,
    session: Session,
    input: BytesMut,
}

impl Server {
    fn new() -> Self {
        Self::with(ConfigTable::default())
    }

    fn with(table: ConfigTable) -> Self {
        let limits = Limits { item_bytes: 4096, ..Limits::default() };
        let mut broker = boot_with(table, &BTreeMap::new());
        broker.handle_connect(SessionId(1));
        let session = Session::new(SessionId(1), limits);
        Self { broker, files: BTreeMap::new(), session, input: BytesMut::new() }
    }

    /// Bytes arrive, what can be run is run; returns what leaves.
    fn send(&mut self, bytes: &[u8]) -> String {
        self.input.extend_from_slice(bytes);
        self.turn()
    }

    fn turn(&mut self) -> String {
        let mut output = Output::default();
        while self.session.feed(&mut self.input) || self.session.wants_broker() {
            self.broker.execute(NOW, &mut self.session);
            self.session.encode(&self.broker.progress(), &mut output);
        }
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        String::from_utf8(bytes).expect("ascii")
    }

    /// One job is done, or fails; returns what may leave now.
    fn disk(&mut self, result: Result<(), FaultKind>) -> String {
        let job = self.broker.poll_job(NOW).expect("a job is due");
        if result.is_ok() {
            job.ops.iter().for_each(|op| self.apply(op));
        }
        let result = result.map_err(|kind| DiskFault { kind, text: "a test".into() });
        self.broker.handle_done(NOW, job.id, result);
        while let Some(session) = self.broker.poll_event() {
            assert_eq!(session, SessionId(1));
            self.session.set_ready();
        }
        self.turn()
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

    /// Runs jobs until there is none; returns all that leaves.
    fn settle(&mut self) -> String {
        let mut left = String::new();
        while let Some(job) = self.broker.poll_job(NOW) {
            job.ops.iter().for_each(|op| self.apply(op));
            self.broker.handle_done(NOW, job.id, Ok(()));
            while self.broker.poll_event().is_some() {
                self.session.set_ready();
            }
            left += &self.turn();
        }
        left
    }
}

#[test]
fn nothing_leaves_before_the_disk_has_it_and_everything_leaves_in_order() {
    let mut server = Server::new();
    assert_eq!(server.send(b"version\r\nset q 0 0 1\r\na\r\nget q/peek\r\n"), "VERSION 1.2.3\r\n");
    assert_eq!(server.disk(Ok(())), "", "the segment is there, the record is not");
    assert_eq!(server.disk(Ok(())), "STORED\r\nVALUE q 0 1\r\na\r\nEND\r\n");
}

/// Everything that a look at a queue gives: bodies, and how many items were lost.
fn look_at(server: &Server, broker: &Broker, queue: &[u8]) -> (Vec<String>, u64) {
    let mut look = broker.look(queue).expect("there is such a queue");
    let (mut bodies, mut lost) = (vec![], 0);
    loop {
        match look.step(broker) {
            LookStep::Item(_, item) => bodies.push(String::from_utf8(item.body.to_vec()).unwrap()),
            LookStep::Lost(items) => lost += items,
            LookStep::Done => return (bodies, lost),
            LookStep::Read(read) => {
                let file = &server.files[&read.segment];
                let end = file.len().min((read.offset + read.bytes) as usize);
                look.feed(&file[read.offset as usize..end]);
            }
        }
    }
}

#[test]
fn a_look_gives_what_is_in_a_queue_and_counts_what_is_damaged() {
    let mut server = Server::new();
    server.send(b"get q+copy\r\n");
    for body in ["first", "second", "third", "fourth"] {
        server.send(format!("set q 0 0 {}\r\n{body}\r\n", body.len()).as_bytes());
        server.settle();
    }
    server.send(b"get q\r\n");
    server.settle();
    let expected: Vec<String> = ["second", "third", "fourth"].map(String::from).into();
    assert_eq!(look_at(&server, &server.broker, b"q"), (expected.clone(), 0));
    // The same where nothing is in memory.
    let cold = boot_small(&server.files);
    assert_eq!(look_at(&server, &cold, b"q"), (expected, 0));
    assert_eq!(cold.segments_of(b"q"), [1]);
    assert!(cold.look(b"nobody").is_none());
    let sizes: Vec<(u64, u64)> = cold.queues().iter().map(|q| (q.items, q.bytes)).collect();
    assert_eq!(sizes, [(3, 17), (4, 22)]);
    let file = server.files.get_mut(&1).expect("a segment");
    let at = file.windows(5).position(|part| part == b"third").expect("it is in there");
    file[at] ^= 1;
    let (left, lost) = look_at(&server, &cold, b"q+copy");
    assert_eq!((left.len(), lost), (3, 1));
}

#[test]
fn an_import_reaches_one_queue_whatever_its_limits_and_is_counted_by_its_ids() {
    let defaults = QueueConfig { max_items: 1, ..QueueConfig::default() };
    let mut server =
        Server::with(ConfigTable { defaults: defaults.into(), ..ConfigTable::default() });
    server.send(b"get q+copy\r\nset q 0 0 3\r\nold\r\n");
    server.settle();
    let before = server.broker.last_id();
    for body in ["one", "two"] {
        assert!(server.broker.import(NOW, b"q", &body.as_bytes().into(), 5, 0));
    }
    server.broker.import_queue(NOW, b"empty");
    server.settle();
    let expected: Vec<String> = ["old", "one", "two"].map(String::from).into();
    let again = boot(&server.files);
    let cold = boot_small(&server.files);
    for broker in [&server.broker, &again, &cold] {
        assert_eq!(look_at(&server, broker, b"q").0, expected);
        assert_eq!(look_at(&server, broker, b"q+copy").0, ["old"]);
        assert_eq!(look_at(&server, broker, b"empty").0.len(), 0);
        assert_eq!(broker.count_above(b"nobody", before), Some(0));
    }
    for broker in [&server.broker, &again] {
        assert_eq!(broker.count_above(b"q", before), Some(2));
    }
    // All three lie in one stretch: nobody can tell without reading.
    assert_eq!(cold.count_above(b"q", before), None);
}

#[test]
fn an_id_that_somebody_saw_is_not_given_again_after_a_crash() {
    let id_seen_by_another = |server: &mut Server| {
        server.broker.handle_connect(SessionId(2));
        let mut session = Session::new(SessionId(2), Limits::default());
        session.feed(&mut BytesMut::from(&b"reserve 1 0 0 q\r\n"[..]));
        server.broker.execute(NOW, &mut session);
        let mut output = Output::default();
        session.encode(&server.broker.progress(), &mut output);
        let reply = String::from_utf8(output.chunks().flatten().copied().collect()).expect("ascii");
        let id = reply.split(' ').nth(2).map(str::parse::<u64>);
        id.unwrap_or_else(|| panic!("an item: {reply}")).expect("a number")
    };
    let mut server = Server::new();
    server.send(b"put first 1\r\na\r\n");
    server.settle();
    server.send(b"put q 1\r\na\r\n");
    // The put is not written yet, and never will be.
    let seen = id_seen_by_another(&mut server);
    let run = Superblock { generation: 1, ..Superblock::default() };
    let next_run = boot_from(run, ConfigTable::default(), &server.files);
    let mut again = Server { broker: next_run, ..Server::new() };
    again.send(b"put q 1\r\nb\r\n");
    let next = id_seen_by_another(&mut again);
    assert!(next > seen, "{next} after {seen}");
}

#[test]
fn a_put_that_needs_no_disk_does_not_hide_the_one_before_it() {
    let defaults = QueueConfig { sync: SyncPolicy::Never, ..QueueConfig::default() };
    let mut table = ConfigTable { defaults: defaults.into(), ..ConfigTable::default() };
    let in_memory = QueueOverrides { keep_journal: Some(false), ..QueueOverrides::default() };
    table.named.insert((*b"mem").into(), in_memory);
    let mut server = Server::with(table);
    assert_eq!(server.send(b"set q 0 0 1\r\na\r\nset mem 0 0 1\r\nb\r\n"), "");
    assert_eq!(server.settle(), "STORED\r\nSTORED\r\n");
}

/// Gives out one request, and answers in the memcache protocol.
#[derive(Debug)]
struct OneRequest(Option<Request>);

impl Codec for OneRequest {
    fn decode(&mut self, _input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        Ok(self.0.take())
    }

    fn is_mid_request(&self, _input: &BytesMut) -> bool {
        false
    }

    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
        response.head(head);
        Encoded::default()
    }
}

#[test]
fn the_last_of_several_puts_does_not_hide_the_gates_of_those_before_it() {
    let mut table = ConfigTable::default();
    let master = QueueOverrides { fanout_only: Some(true), ..QueueOverrides::default() };
    let child = QueueOverrides { max_items: Some(1), ..QueueOverrides::default() };
    table.named.extend([((*b"m").into(), master), ((*b"m+c").into(), child)]);
    let mut server = Server::with(table);
    server.send(b"get m+c\r\n");
    server.settle();
    let body = |text: &'static [u8]| Body::Bytes(bytes::Bytes::from_static(text));
    let request = Request::PutAll {
        key: (*b"m").to_vec().into(),
        expiry: Expiry::AfterMs(0),
        bodies: vec![body(b"a"), body(b"b")],
    };
    let codec = std::boxed::Box::new(OneRequest(Some(request)));
    server.session = Session::with_codec(SessionId(1), codec, Access::ALL);
    assert_eq!(server.turn(), "", "the first one is not on the disk");
    assert_eq!(server.settle(), "2\r\n");
}

#[test]
fn what_is_behind_two_gates_waits_for_both() {
    let mut server = Server::new();
    let mut join = |first, second| server.broker.join(NOW, first, second);
    assert_eq!(join(Gate::Open, Gate::Written(2)), Gate::Written(2));
    assert_eq!(join(Gate::Synced(1), Gate::Open), Gate::Synced(1));
    assert_eq!(join(Gate::Synced(1), Gate::Written(2)), Gate::Synced(2));
    assert_eq!(join(Gate::Written(1), Gate::Synced(2)), Gate::Synced(2));
}

#[test]
fn a_subscription_is_synced_soon_although_nobody_puts_anything() {
    let mut server = Server::new();
    assert_eq!(server.send(b"get posts+a\r\n"), "END\r\n");
    while let Some(job) = server.broker.poll_job(NOW) {
        job.ops.iter().for_each(|op| server.apply(op));
        server.broker.handle_done(NOW, job.id, Ok(()));
    }
    assert_eq!(server.broker.poll_journal_timeout(), Some(NOW.mono_ms + 1000));
}

#[test]
fn a_failed_sync_is_told_and_no_put_is_acknowledged_after_it() {
    let mut server = Server::new();
    server.send(b"set q 0 0 1\r\na\r\n");
    assert_eq!(server.settle(), "STORED\r\n");
    assert_eq!(server.send(b"set q 0 0 1\r\nb\r\n"), "");
    let told = server.disk(Err(FaultKind::Io));
    assert_eq!(told, "SERVER_ERROR the journal failed, the outcome is unknown\r\n");
    assert!(server.broker.progress().poisoned);
    let refused = server.send(b"put q 1\r\nc\r\n");
    assert!(refused.starts_with("SERVER_ERROR the journal failed"), "{refused}");
    assert!(server.broker.poll_job(NOW).is_none(), "nothing is retried");
    // What was stored before is still served; a second time after the next start, since the removal is not on the disk.
    assert_eq!(server.send(b"get q\r\n"), "VALUE q 0 1\r\na\r\nEND\r\n");
    let mut again = Server { broker: boot(&server.files), ..Server::new() };
    assert_eq!(again.send(b"get q\r\n"), "VALUE q 0 1\r\na\r\nEND\r\n");
}

#[test]
fn a_full_disk_refuses_puts_and_lets_everything_else_go_on() {
    let mut server = Server::new();
    let item = [b"set q 0 0 4000\r\n", &[b'x'; 4000][..], b"\r\n"].concat();
    server.send(&item);
    assert_eq!(server.settle(), "STORED\r\n");
    server.send(b"set q 0 0 5\r\nsmall\r\n");
    server.settle();
    // The spare segment cannot be made when the present one runs low.
    let mut stored = 2;
    let refused = loop {
        let answer = server.send(&item);
        let Some(job) = server.broker.poll_job(NOW) else { break answer };
        let is_new = matches!(job.ops[0], DiskOp::Prepare { .. } | DiskOp::Create { .. });
        job.ops.iter().filter(|_| !is_new).for_each(|op| server.apply(op));
        let fault = DiskFault { kind: FaultKind::NoSpace, text: "full".into() };
        server.broker.handle_done(NOW, job.id, if is_new { Err(fault) } else { Ok(()) });
        stored += 1;
        assert!(stored < 100, "the segment is never full");
    };
    assert!(refused.ends_with("SERVER_ERROR out of disk space\r\n"), "{refused}");
    assert!(!server.broker.progress().poisoned);
    assert!(server.send(b"get q\r\n").starts_with("VALUE q 0 4000\r\n"));
    assert_eq!(server.send(b"get q/open\r\n"), "VALUE q 0 5\r\nsmall\r\nEND\r\n");
    assert_eq!(server.send(b"get q/close\r\n"), "END\r\n");
    // Space is back: the next attempt succeeds by itself.
    let later = Now { mono_ms: NOW.mono_ms + 60_000, ..NOW };
    while let Some(job) = server.broker.poll_job(later) {
        job.ops.iter().for_each(|op| server.apply(op));
        server.broker.handle_done(later, job.id, Ok(()));
    }
    server.send(b"set q 0 0 1\r\nz\r\n");
    assert!(server.settle().ends_with("STORED\r\n"));
}

#[test]
fn a_put_to_several_queues_needs_room_for_all_of_them() {
    let mut table = ConfigTable::default();
    let queues = [b"a", b"b", b"c", b"d"].map(|name| std::sync::Arc::from(&name[..]));
    table.aliases.insert((*b"all").into(), queues.into());
    let mut server = Server::with(table);
    let item = [b"set q 0 0 4000\r\n", &[b'x'; 4000][..], b"\r\n"].concat();
    for _ in 0..10 {
        server.send(&item);
        assert_eq!(server.settle(), "STORED\r\n");
    }
    server.broker.no_space(NOW);
    let to_all = [b"set all 0 0 4000\r\n", &[b'x'; 4000][..], b"\r\n"].concat();
    assert_eq!(server.send(&to_all), "SERVER_ERROR out of disk space\r\n");
    assert_eq!(server.send(b"get a\r\n"), "END\r\n");
    server.send(&item);
    assert_eq!(server.disk(Ok(())), "STORED\r\n");
}

#[test]
fn a_disk_counts_as_full_also_while_small_items_have_a_place() {
    let mut server = Server::new();
    let is_full = |server: &mut Server| match server.send(b"stats\r\n") {
        stats if stats.contains("STAT journal_full 1\r\n") => true,
        stats => {
            assert!(stats.contains("STAT journal_full 0\r\n"), "{stats}");
            false
        }
    };
    // The rest of the segment is longer than a small item and shorter than a large one.
    let item = [b"set q 0 0 4000\r\n", &[b'x'; 4000][..], b"\r\n"].concat();
    for _ in 0..13 {
        server.send(&item);
        assert_eq!(server.settle(), "STORED\r\n");
    }
    assert!(!is_full(&mut server));
    server.broker.no_space(NOW);
    assert_eq!(server.send(&item), "SERVER_ERROR out of disk space\r\n");
    assert!(is_full(&mut server));
    server.send(b"set q 0 0 1\r\na\r\n");
    assert_eq!(server.disk(Ok(())), "STORED\r\n");
    assert!(is_full(&mut server));
    let later = Now { mono_ms: NOW.mono_ms + 60_000, ..NOW };
    while let Some(job) = server.broker.poll_job(later) {
        server.broker.handle_done(later, job.id, Ok(()));
    }
    assert!(!is_full(&mut server));
}

#[test]
fn removals_that_come_while_the_disk_is_busy_share_a_record() {
    const ITEMS: usize = 50;
    let mut server = Server::new();
    server.send(&b"set q 0 0 1\r\na\r\n".repeat(ITEMS));
    server.settle();
    server.send(b"set busy 0 0 1\r\na\r\n");
    let job = server.broker.poll_job(NOW).expect("a put is written");
    let before = server.broker.bytes_since_checkpoint();
    for _ in 0..ITEMS / 2 {
        server.send(b"get q/open\r\nget q/close\r\nget q\r\n");
    }
    job.ops.iter().for_each(|op| server.apply(op));
    server.broker.handle_done(NOW, job.id, Ok(()));
    server.settle();
    let bytes = server.broker.bytes_since_checkpoint() - before;
    assert!(bytes < 10 * ITEMS as u64, "{bytes} bytes for {ITEMS} removals");
    let mut again = Server { broker: boot(&server.files), ..Server::new() };
    assert_eq!(again.send(b"get q\r\n"), "END\r\n");
}

#[test]
fn a_flush_is_answered_when_also_what_was_removed_before_it_is_on_the_disk() {
    let mut server = Server::new();
    server.send(b"set q 0 0 1\r\na\r\n");
    server.settle();
    server.send(b"set busy 0 0 1\r\nb\r\n");
    let job = server.broker.poll_job(NOW).expect("a put is written");
    // While the disk is busy the removal is not even appended; the queue is empty by now.
    server.send(b"get q\r\nflush q\r\n");
    job.ops.iter().for_each(|op| server.apply(op));
    server.broker.handle_done(NOW, job.id, Ok(()));
    server.session.set_ready();
    assert_eq!(server.turn(), "STORED\r\nVALUE q 0 1\r\na\r\nEND\r\n");
    assert_eq!(server.settle(), "END\r\n");
}

#[test]
fn a_wait_that_is_given_up_is_answered_and_what_follows_is_run() {
    let mut server = Server::new();
    assert_eq!(server.send(b"get q/t=1000\r\nversion\r\n"), "");
    server.session.peer_closed();
    assert_eq!(server.turn(), "END\r\nVERSION 1.2.3\r\n");
    assert!(server.session.is_idle());
}

/// Requests of every kind, some of them wrong in ways that keep the connection.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..3000usize).prop_map(|bytes| {
            let body = vec![b'x'; bytes];
            [std::format!("set q 3 0 {bytes}\r\n").as_bytes(), &body, b"\r\n"].concat()
        }),
        Just(b"get q\r\n".to_vec()),
        Just(b"get q/peek\r\n".to_vec()),
        Just(b"get q/abort\r\n".to_vec()),
        Just(b"put q 2 ttl=9\r\n\r\n\r\n".to_vec()),
        Just(b"reserve 2 0 0 q r\r\n".to_vec()),
        Just(b"ack q 1\r\n".to_vec()),
        Just(b"set q 0 0 5000\r\n".iter().copied().chain([b'y'; 5000]).chain(*b"\r\n").collect()),
        Just(b"delete\r\n".to_vec()),
        Just(b"delete q noreply\r\n".to_vec()),
        Just(b"version\r\n".to_vec()),
    ]
}

/// Ids count the log's records, commit markers included, so they depend on what was written together.
fn without_ids(replies: &str) -> Vec<String> {
    let strip = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "STORED" => words.truncate(1),
            "ITEM" => drop(words.remove(2)),
            _ => {}
        }
        words.join(" ")
    };
    replies.lines().map(strip).collect()
}

proptest! {
    #[test]
    fn however_requests_are_cut_the_replies_are_the_same(
        requests in prop::collection::vec(any_request(), 1..20),
        cuts in prop::collection::vec(1..2000usize, 1..20),
    ) {
        let bytes = requests.concat();
        let mut whole = Server::new();
        let mut expected = whole.send(&bytes);
        expected += &whole.settle();
        let mut cut = Server::new();
        let (mut got, mut rest, mut cuts) = (String::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let count = (*cuts.next().expect("it cycles")).min(rest.len());
            got += &cut.send(&rest[..count]);
            got += &cut.settle();
            rest = &rest[count..];
        }
        prop_assert_eq!(without_ids(&got), without_ids(&expected));
        cut.broker.check_invariants();
    }
}
