//! Kestrel's commands as clients see them: several connections, a clock that is set by hand, a disk that does what it is told at once.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
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
            sweep_every_ms: 0,
            version: "1.2.3",
            status: setup.status,
            status_grace_ms: setup.grace_ms,
            refuse_reads_over: setup.reads_over,
            refuse_writes_over: setup.writes_over,
        };
        let sizes =
            WriterConfig { segment_bytes: 1 << 20, log_cap_bytes: 8 << 20, max_record_bytes: 8192 };
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

#[test]
fn a_monitor_shows_what_is_there_and_what_comes_until_its_time_is_over() {
    let mut world = World::new();
    world.put("q", &["a", "b"]);
    assert_eq!(world.say(1, "monitor q 5\n"), value("q", "a") + &value("q", "b"));
    world.put("q", &["c"]);
    assert_eq!(world.heard(1), value("q", "c"));
    world.pass(4999);
    assert_eq!(world.heard(1), "");
    world.pass(1);
    assert_eq!(world.heard(1), "END\n");
    assert_eq!(
        world.say(1, "get q\n"),
        "ERROR this connection holds an open read of this queue\nclosed"
    );
    assert_eq!(
        world.say(2, "monitor q 1 2\n"),
        value("q", "a") + &value("q", "b") + "END\n",
        "in order"
    );
}

#[test]
fn a_monitor_ends_at_its_maximum_at_the_limit_of_open_reads_and_at_once() {
    let mut world = World::with(Setup { max_open: Some(2), ..Setup::default() });
    world.put("q", &["a", "b", "c"]);
    assert_eq!(world.say(1, "monitor q 9 1\n"), value("q", "a") + "END\n");
    assert_eq!(world.say(1, "monitor q 9\n"), value("q", "b") + "END\n", "two may be open");
    assert_eq!(world.say(1, "monitor q 9\n"), "END\n");
    assert_eq!(world.say(1, "confirm q 2\n"), "END\n");
    for nothing in ["monitor q 0\n", "monitor q 9 0\n", "monitor q -1\n", "monitor q 9 -1\n"] {
        assert_eq!(world.say(1, nothing), "END\n", "{nothing}");
    }
    assert_eq!(world.say(1, "monitor q.x 1\n"), "CLIENT_ERROR '.' in a queue name: 'q.x'\nclosed");
}

#[test]
fn what_is_pipelined_behind_a_monitor_waits_for_its_end() {
    let mut world = World::new();
    assert_eq!(world.say(1, "monitor q 2 2\nversion\nconfirm q 2\n"), "");
    world.put("q", &["a", "b"]);
    let expected = value("q", "a") + &value("q", "b") + "END\nVERSION 1.2.3\nEND\n";
    assert_eq!(world.heard(1), expected);
}

#[test]
fn a_client_that_vanishes_from_its_monitor_gives_everything_back_in_order() {
    let mut world = World::new();
    world.put("q", &["a", "b", "c"]);
    world.say(1, "monitor q 60 2\n");
    world.say(1, "monitor q 60\n");
    world.clients.get_mut(&1).unwrap().session.peer_closed();
    world.turn(1);
    assert_eq!(world.heard(1), "END\n", "its wait is over");
    world.leave(1);
    let all = value("q", "a") + &value("q", "b") + &value("q", "c");
    assert_eq!(world.say(2, "get q\nget q\nget q\n"), all);
}

#[test]
fn a_monitor_ends_when_its_queue_is_deleted_and_when_the_server_drains() {
    let mut world = World::new();
    world.say(1, "monitor q 60\n");
    world.say(2, "delete q\n");
    assert_eq!(world.heard(1), "END\n");
    world.say(1, "monitor q 60\n");
    world.clients.get_mut(&1).unwrap().session.begin_close();
    world.turn(1);
    assert_eq!(world.heard(1), "END\nclosed");
}

#[test]
fn confirm_takes_the_oldest_or_none() {
    let mut world = World::new();
    world.put("q", &["a", "b", "c"]);
    world.say(1, "get q/open\nget q/open\n");
    let fewer = "ERROR fewer open reads of this queue by this connection\n";
    for refused in ["confirm q 3\n", "confirm q 0\n", "confirm q -1\n", "confirm other 1\n"] {
        assert_eq!(world.say(1, refused), fewer, "{refused}");
    }
    assert_eq!(world.say(1, "confirm q 1\n"), "END\n");
    assert_eq!(world.say(1, "get q/abort\nconfirm q 1\n"), format!("END\n{fewer}"));
    assert_eq!(world.say(2, "get q\nget q\n"), value("q", "b") + &value("q", "c"));
}

#[test]
fn several_reads_may_be_open_and_close_the_oldest_first() {
    let mut world = World::with(Setup { max_open: Some(2), ..Setup::default() });
    world.put("q", &["a", "b", "c", "d"]);
    assert_eq!(world.say(1, "get q/open\nget q/open\n"), value("q", "a") + &value("q", "b"));
    assert_eq!(world.say(1, "get q/close/open\n"), value("q", "c"), "close comes first");
    let refused = world.say(1, "get q/open\n");
    assert_eq!(refused, "ERROR too many open reads on this queue by this connection\nclosed");
    assert_eq!(world.say(2, "get q\nget q\n"), value("q", "b") + &value("q", "c"));
}

#[test]
fn flush_expired_counts_what_it_removes() {
    let mut world = World::new();
    assert_eq!(world.say(1, "flush_expired q\n"), "0\n");
    assert_eq!(world.say(1, "flush_expired q.x\n"), "0\n", "what cannot exist is absent");
    world.say(1, "set q 0 1 1\na\nset q 0 1 1\nb\nset q 0 0 1\nc\nset p 0 1 1\nd\n");
    world.pass(1000);
    assert_eq!(world.say(1, "flush_expired q\n"), "0\n", "not yet");
    world.pass(1);
    assert_eq!(world.say(1, "flush_expired q\n"), "2\n");
    assert_eq!(world.say(1, "flush_all_expired\n"), "1\n");
    assert_eq!(world.say(1, "get q\n"), value("q", "c"));
}

#[test]
fn a_readonly_server_gives_and_a_quiescent_one_lets_finish() {
    let mut world = World::new();
    world.put("q", &["a", "b", "c"]);
    assert_eq!(world.say(1, "get q/open\nstatus\nstatus readonly\n"), value("q", "a") + "UP\n");
    assert_eq!(
        world.asks,
        [Ask::SaveStatus { session: Some(SessionId(1)), status: Status::ReadOnly }]
    );
    world.broker.answer(SessionId(1), Ok(()));
    world.settle();
    assert_eq!(world.heard(1), "END\n", "once it is saved");
    let refused = "SERVER_ERROR the server is READONLY\n";
    let writes =
        ["set q 0 0 1\nx\n", "flush q\n", "flush_all\n", "flush_expired q\n", "delete q\n"];
    for (index, write) in writes.into_iter().enumerate() {
        assert_eq!(world.say(10 + index as u64, write), format!("{refused}closed"), "{write}");
    }
    assert_eq!(world.say(20, "set q 0 0 1 noreply\nx\n"), "closed");
    assert_eq!(world.say(2, "put q 1\nx\nversion\n"), format!("{refused}VERSION 1.2.3\n"));
    assert_eq!(
        world.say(2, "flush_all_expired\nget q/peek\n"),
        String::from("0\n") + &value("q", "b")
    );

    world.broker.set_status(world.now, Status::Quiescent);
    let refused = "SERVER_ERROR the server is QUIESCENT\n";
    for (index, read) in
        ["get q\n", "gets q/t=5\n", "get q/peek\n", "monitor q 1\n"].into_iter().enumerate()
    {
        assert_eq!(world.say(30 + index as u64, read), format!("{refused}closed"), "{read}");
    }
    assert_eq!(world.say(2, "reserve 1 0 0 q\n"), refused);
    assert_eq!(world.say(1, "get q/close\nget q/abort\nstatus\n"), "END\nEND\nQUIESCENT\n");
    assert_eq!(world.say(1, "get q/close/open\n"), format!("{refused}closed"));
    world.broker.set_status(world.now, Status::Up);
    assert_eq!(world.say(3, "get q\n"), value("q", "b"), "the one before was confirmed");
}

#[test]
fn a_monitor_that_runs_ends_when_the_server_becomes_quiescent() {
    let mut world = World::new();
    world.say(1, "monitor q 60\n");
    world.put("q", &["a"]);
    world.broker.set_status(world.now, Status::Quiescent);
    assert_eq!(world.heard(1), value("q", "a"));
    // It waits for an item already, and is handed what comes (nothing can) or ends in time.
    world.pass(60_000);
    assert_eq!(world.heard(1), "END\n");
}

#[test]
fn a_status_is_told_at_once_and_enforced_after_the_grace_period() {
    let mut world = World::with(Setup { grace_ms: 500, ..Setup::default() });
    world.say(1, "status quiescent\n");
    world.broker.answer(SessionId(1), Err("no disk"));
    world.settle();
    assert_eq!(world.heard(1), "SERVER_ERROR no disk\n", "it is in force all the same");
    assert_eq!(world.say(1, "status\nset q 0 0 1\na\n"), "QUIESCENT\nSTORED\n");
    assert_eq!(world.broker.poll_timeout(), Some(START.mono_ms + 500));
    world.pass(500);
    assert_eq!(world.say(1, "get q\n"), "SERVER_ERROR the server is QUIESCENT\nclosed");
    assert_eq!(world.say(2, "status down\n"), "CLIENT_ERROR status forbidden\nclosed");
    assert_eq!(world.say(3, "status on\n"), "CLIENT_ERROR unknown status\nclosed");
    // It is that already, but was not saved.
    world.asks.clear();
    assert_eq!(world.say(4, "status QUIESCENT\n"), "");
    let status = Status::Quiescent;
    assert_eq!(world.asks, [Ask::SaveStatus { session: Some(SessionId(4)), status }]);
    world.broker.answer(SessionId(4), Ok(()));
    world.settle();
    assert_eq!(world.heard(4), "END\n");
}

#[test]
fn connections_over_a_limit_are_refused_for_as_long_as_they_last() {
    let mut world =
        World::with(Setup { reads_over: Some(2), writes_over: Some(1), ..Setup::default() });
    assert_eq!(world.say(1, "set q 0 0 1\na\n"), "STORED\n");
    world.connect(2);
    world.connect(3);
    world.leave(1);
    let refused = "SERVER_ERROR too many connections: this one is refused that\nclosed";
    assert_eq!(world.say(3, "version\nget q\n"), format!("VERSION 1.2.3\n{refused}"));
    assert_eq!(world.say(2, "get q/peek\nset q 0 0 1\nb\n"), value("q", "a") + refused);
}

#[test]
fn reload_and_shutdown_are_asked_of_the_shell() {
    let mut world = World::new();
    world.say(1, "reload\nversion\n");
    assert_eq!(world.asks, [Ask::Reload { session: SessionId(1) }]);
    assert_eq!(world.say(2, "version\n"), "VERSION 1.2.3\n", "nobody else waits");
    world.broker.answer(SessionId(1), Ok(()));
    world.settle();
    assert_eq!(world.heard(1), "Reloaded config.\nVERSION 1.2.3\n");
    world.say(1, "reload\n");
    world.broker.answer(SessionId(1), Err("not reloaded: x.toml:1: oops"));
    world.settle();
    assert_eq!(world.heard(1), "SERVER_ERROR not reloaded: x.toml:1: oops\n");
    // Who is gone is not answered, and an answer to nobody is nothing.
    world.say(1, "reload\n");
    world.leave(1);
    world.broker.answer(SessionId(1), Ok(()));
    world.settle();
    world.asks.clear();
    assert_eq!(world.say(3, "shutdown\nversion\n"), "closed");
    assert_eq!(world.asks, [Ask::Shutdown]);
}

#[test]
fn a_reload_changes_every_queue_at_once_and_nothing_that_waits() {
    let mut world = World::new();
    world.put("q", &["a", "b"]);
    let mut table = aliases(&[("both", &["q", "p"])]);
    let small =
        QueueOverrides { max_items: Some(2), keep_journal: Some(false), ..Default::default() };
    table.named.insert((*b"q").into(), small);
    assert_eq!(world.broker.reload(world.now, table), 1, "where it is kept changes later");
    assert_eq!(world.say(1, "set q 0 0 1\nc\n"), "NOT_STORED\n");
    assert_eq!(world.say(1, "get q\n"), value("q", "a"));
    assert_eq!(
        world.say(1, "set both 0 0 1\nd\nget p\n"),
        String::from("STORED\n") + &value("p", "d")
    );
    world.broker.reload(world.now, ConfigTable::default());
    world.put("both", &["e"]);
    assert_eq!(
        world.say(1, "get both\nget p\n"),
        value("both", "e") + "END\n",
        "no alias any more"
    );
}

#[test]
fn what_expired_by_the_old_settings_is_handed_out_by_the_new_ones() {
    let mut table = ConfigTable::default();
    let brief = QueueOverrides { max_age_ms: Some(Some(10)), ..Default::default() };
    table.named.insert((*b"q").into(), brief);
    let mut world = World::with(Setup { table: table.clone(), ..Setup::default() });
    world.put("q", &["a"]);
    world.broker.reload(world.now, ConfigTable::default());
    world.pass(1000);
    world.put("q", &["b"]);
    world.broker.reload(world.now, table);
    assert_eq!(world.say(1, "get q\n"), value("q", "b"), "the first one is too old again");
}

#[test]
fn an_alias_stands_for_its_destinations() {
    let table = aliases(&[("all", &["a", "b+x"])]);
    let mut world = World::with(Setup { table, ..Setup::default() });
    world.say(1, "get a+sub\n");
    world.put("all", &["one"]);
    let everywhere = value("a", "one") + &value("a+sub", "one") + &value("b+x", "one") + "END\n";
    assert_eq!(world.say(1, "get a\nget a+sub\nget b+x\nget b\n"), everywhere);
    assert_eq!(
        world.say(1, "get all/t=1000\nget all/peek\nget all/open\nmonitor all 5\n"),
        "END\nEND\nEND\nEND\n"
    );
    world.put("all", &["two"]);
    assert_eq!(
        world.say(1, "flush all\ndelete all\nflush_expired all\nget all/close\n"),
        "END\nDELETED\n0\nEND\n"
    );
    assert_eq!(world.say(1, "get a\n"), value("a", "two"));
    let stats = world.say(1, "stats\n");
    let of_alias: Vec<&str> = stats.lines().filter(|line| line.contains("queue_all_")).collect();
    assert_eq!(
        of_alias,
        [
            "STAT queue_all_put_items 2",
            "STAT queue_all_put_bytes 6",
            "STAT queue_all_children a,b+x"
        ]
    );
    assert_eq!(
        world.say(1, "dump_stats all\n"),
        "queue 'all' {\n  put_items=2\n  put_bytes=6\n  children=a,b+x\n}\nEND\n"
    );
}

#[test]
fn an_alias_is_refused_if_one_destination_refuses_and_the_others_get_it() {
    let mut table = aliases(&[("all", &["full", "b"])]);
    let full = QueueOverrides { max_items: Some(1), ..Default::default() };
    table.named.insert((*b"full").into(), full);
    let mut world = World::with(Setup { table, ..Setup::default() });
    world.put("all", &["1"]);
    assert_eq!(world.say(1, "set all 0 0 1\n2\n"), "NOT_STORED\n");
    assert_eq!(world.say(1, "get full\nget full\n"), value("full", "1") + "END\n");
    assert_eq!(world.say(1, "get b\nget b\n"), value("b", "1") + &value("b", "2"));
}

#[test]
fn an_alias_hides_a_queue_and_lets_go_who_waits_for_it() {
    let mut world = World::new();
    world.put("q", &["hidden"]);
    world.say(1, "get q\nget q/t=60000\n");
    world.heard(1);
    world.put("q", &["x"]);
    world.heard(1);
    world.put("q", &["hidden"]);
    world.say(1, "get other/t=60000\n");
    world.broker.reload(world.now, aliases(&[("q", &["p"]), ("other", &["p"])]));
    world.settle();
    assert_eq!(world.heard(1), "END\n");
    assert_eq!(world.say(1, "get q\n"), "END\n");
    let masked: Vec<&[u8]> = world.broker.masked_queues().map(|name| &name[..]).collect();
    assert_eq!(masked, [&b"other"[..], b"q"]);
    assert!(!world.say(1, "stats\n").contains("queue_q_items"));
    world.broker.reload(world.now, ConfigTable::default());
    assert_eq!(world.say(1, "get q\n"), value("q", "hidden"), "nothing was lost");
}

#[test]
fn dump_stats_is_kestrels_and_makes_no_queue() {
    let mut world = World::new();
    assert_eq!(world.say(1, "dump_stats\n"), "\nEND\n");
    assert_eq!(
        world.say(1, "dump_stats x y.z\n"),
        "queue 'x' {\n  \n}\nqueue 'y.z' {\n  \n}\nEND\n"
    );
    world.put("q", &["abc"]);
    world.say(1, "get q+child\n");
    let dump = world.say(1, "dump_stats q\n");
    let keys: Vec<&str> =
        dump.lines().filter_map(|line| line.trim().split_once('=')).map(|(key, _)| key).collect();
    assert_eq!(
        keys,
        [
            "items",
            "bytes",
            "total_items",
            "logsize",
            "expired_items",
            "mem_items",
            "mem_bytes",
            "age",
            "discarded",
            "waiters",
            "open_transactions",
            "transactions",
            "canceled_transactions",
            "total_flushes",
            "journal_rewrites",
            "journal_rotations",
            "dead_lettered",
            "damaged_items",
            "children"
        ]
    );
    assert!(dump.starts_with("queue 'q' {\n  items=1\n  bytes=3\n  total_items=1\n"), "{dump}");
    assert!(dump.ends_with("  children=q+child\n}\nEND\n"), "{dump}");
    assert!(!world.say(1, "dump_stats\n").contains("'x'"));
}

#[test]
fn stats_begin_with_kestrels_names_in_its_order() {
    let mut world = World::new();
    world.put("q", &["abc"]);
    world.say(1, "get q\nget q\nget q/peek\n");
    let stats = world.say(1, "stats whatever\n");
    let keys: Vec<&str> =
        stats.lines().filter_map(|line| line.split(' ').nth(1)).take(19).collect();
    assert_eq!(
        keys,
        [
            "uptime",
            "time",
            "version",
            "curr_items",
            "total_items",
            "bytes",
            "reserved_memory_ratio",
            "curr_connections",
            "total_connections",
            "cmd_get",
            "cmd_set",
            "cmd_peek",
            "get_hits",
            "get_misses",
            "bytes_read",
            "bytes_written",
            "queue_creates",
            "queue_deletes",
            "queue_expires"
        ]
    );
    for line in [
        "STAT cmd_get 2",
        "STAT cmd_peek 1",
        "STAT get_hits 1",
        "STAT get_misses 2",
        "STAT cmd_set 1",
    ] {
        assert!(stats.lines().any(|found| found == line), "{line}: {stats}");
    }
}

#[test]
fn a_listing_of_very_many_queues_is_made_in_pieces() {
    let mut world = World::new();
    for number in 0..3000 {
        world.say(1, &format!("get queue-with-a-rather-long-name-{number}\n"));
    }
    // Nobody takes the replies: the listing stops where the session is full, and goes on.
    let client = world.clients.get_mut(&1).unwrap();
    client.input.extend_from_slice(b"stats\r\n");
    let mut shown = Vec::new();
    let mut pieces = 0;
    while client.session.feed(&mut client.input) || client.session.wants_broker() {
        world.broker.execute(world.now, &mut client.session);
        let mut output = Output::default();
        client.session.encode(&world.broker.progress(), &mut output);
        assert!(output.len() < 400 * 1024, "a piece of {} bytes", output.len());
        output.chunks().for_each(|chunk| shown.extend_from_slice(chunk));
        pieces += 1;
    }
    assert!(pieces > 3000 / 64, "{pieces} pieces");
    let shown = String::from_utf8(shown).expect("ascii");
    assert_eq!(
        shown
            .lines()
            .filter(|line| line.starts_with("STAT queue_") && line.ends_with("_items 0"))
            .count(),
        3000 * 5
    );
    // The sums are over all of them, too.
    assert!(shown.contains("STAT reserved_memory_ratio 3000.000\r\n"));
    assert!(shown.ends_with("END\r\n"));
}

#[test]
fn harmless_habits_of_memcached_clients_are_answered() {
    let mut world = World::new();
    assert_eq!(
        world.say(1, "verbosity 1\nverbosity 1 noreply\nmn\nversion\n"),
        "OK\nMN\nVERSION 1.2.3\n"
    );
    assert_eq!(world.say(1, "set q 7 0 1 noreply\na\nget q\n"), "VALUE q 7 1\na\nEND\n");
}

#[test]
fn a_put_that_could_not_be_kept_is_refused_and_counted() {
    let mut world = World::new();
    let client = world.connect(1);
    client.session.feed(&mut BytesMut::from(&b"set q 0 0 4000\r\n"[..]));
    assert_eq!(client.session.kept_bytes(), 0);
    assert!(client.session.refuse_body(), "nothing is kept: there is nothing to give up");
    world.leave(1);
    world.heard(1);

    let limits = Limits { item_bytes: 1 << 20, ..Limits::default() };
    let access = world.broker.handle_connect(SessionId(2));
    let codec = std::boxed::Box::new(Decoder::new(limits));
    let session = Session::with_codec(SessionId(2), codec, access);
    world.clients.insert(2, Client { session, input: BytesMut::new() });
    let put = format!("set q 0 0 50000\n{}", "x".repeat(40_000));
    assert_eq!(world.say(2, &put), "");
    let client = world.clients.get_mut(&2).unwrap();
    assert_eq!(client.session.kept_bytes(), 40_000);
    assert!(client.session.refuse_body());
    assert_eq!(client.session.kept_bytes(), 0);
    let rest = format!("{}\nversion\n", "x".repeat(10_000));
    let refused = "SERVER_ERROR out of memory for requests: too many large ones at a time\n";
    assert_eq!(world.say(2, &rest), format!("{refused}VERSION 1.2.3\n"));
    assert!(world.say(2, "stats\n").contains("STAT refused_no_memory 1\n"));
}
