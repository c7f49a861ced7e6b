//! `stats` and `dump_stats`.

use super::*;

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
            "delayed_items",
            "dead_items",
            "kicked",
            "paused",
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
        3000 * 7
    );
    // The sums are over all of them, too.
    assert!(shown.contains("STAT reserved_memory_ratio 3000.000\r\n"));
    assert!(shown.ends_with("END\r\n"));
}

/// The figures of a reply to `stats` or, of one queue, `dump_stats`.
fn figures(reply: &str) -> BTreeMap<&str, &str> {
    let stats = reply.lines().filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
    let block = reply.lines().filter_map(|line| line.strip_prefix("  ")?.split_once('='));
    stats.chain(block).collect()
}

#[track_caller]
fn same(reply: &str, expected: &[(&str, &str)]) {
    let found = figures(reply);
    for (name, value) in expected {
        assert_eq!(found.get(name), Some(value), "{name}: {reply}");
    }
}

#[test]
fn every_figure_of_the_server_counts_what_it_says() {
    let brief = QueueOverrides { max_queue_age_ms: Some(Some(10)), ..Default::default() };
    let mut world = World::with(Setup { sweep_every_ms: 1000, ..with_queue("brief", brief) });
    world.say(1, "get q+sub\nget brief\n");
    world.say(1, "set q 0 0 3\nabc\nset q 0 0 3\ndef\nset q+sub 0 0 1\nx\n");
    world.say(2, "get q/open\nget q/peek\nget none\nget q/t=0/close\ndelete none\n");
    world.pass(2000);
    let stats = world.say(3, "stats\n");
    let time = (START.wall_ms / 1000 + 2).to_string();
    same(
        &stats,
        &[
            ("uptime", "2"),
            ("time", &time),
            ("version", "1.2.3"),
            // What is open is not counted.
            ("curr_items", "4"),
            // Copies are.
            ("total_items", "5"),
            ("bytes", "10"),
            // Two queues that were promised 128 MiB each, of 128 in all.
            ("reserved_memory_ratio", "2.000"),
            ("curr_connections", "3"),
            ("total_connections", "3"),
            ("cmd_get", "4"),
            ("cmd_set", "3"),
            ("cmd_peek", "1"),
            ("get_hits", "2"),
            ("get_misses", "3"),
            ("queue_creates", "4"),
            ("queue_deletes", "2"),
            ("queue_expires", "1"),
        ],
    );
    for bytes in ["bytes_read", "bytes_written"] {
        assert!(figures(&stats).contains_key(bytes), "{bytes}: {stats}");
    }
    world.leave(2);
    same(&world.say(3, "stats\n"), &[("curr_connections", "2"), ("total_connections", "3")]);
}

#[test]
fn every_figure_of_a_queue_counts_what_it_says() {
    let small = QueueOverrides {
        max_items: Some(3),
        discard_old_when_full: Some(true),
        ..Default::default()
    };
    let mut world = World::with(with_queue("q", small));
    let figures = |world: &mut World| world.say(9, "dump_stats q\n");
    world.put("q", &["drop", "abc", "def", "ghij"]);
    same(
        &figures(&mut world),
        &[
            ("items", "3"),
            ("bytes", "10"),
            ("total_items", "4"),
            ("mem_items", "3"),
            ("mem_bytes", "10"),
            // Nobody has taken anything.
            ("age", "0"),
            ("discarded", "1"),
            ("expired_items", "0"),
            ("journal_rotations", "0"),
        ],
    );
    assert_ne!(self::figures(&figures(&mut world))["logsize"], "0", "it is in the log");
    world.pass(50);
    world.say(1, "get q/open\nget q/open\nget q/abort\n");
    world.say(2, "get q/open\n");
    world.leave(2);
    same(
        &figures(&mut world),
        &[
            ("items", "2"),
            ("open_transactions", "1"),
            ("transactions", "3"),
            ("canceled_transactions", "2"),
        ],
    );
    world.say(1, "get q/close\n");
    world.pass(20);
    same(&figures(&mut world), &[("age", "70"), ("open_transactions", "0")]);
    world.say(1, "flush q\nset q 0 -1 1\nx\nflush_expired q\nget q+sub\n");
    world.say(3, "get q/t=60000\n");
    same(
        &figures(&mut world),
        &[
            ("items", "0"),
            ("bytes", "0"),
            ("logsize", "0"),
            ("age", "0"),
            ("total_flushes", "1"),
            ("expired_items", "1"),
            ("waiters", "1"),
            ("children", "q+sub"),
        ],
    );
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

/// Ours: what is delayed, dead or paused, and what was put twice.
#[test]
fn every_state_of_an_item_is_counted_for_itself() {
    let twice = QueueOverrides { max_attempts: Some(Some(1)), ..Default::default() };
    let mut world = World::with(with_queue("q", twice));
    let ids: Vec<String> = ["", " priority=high", " delay=5000 priority=low", " delay=9000 key=k"]
        .iter()
        .map(|options| world.say(1, &format!("put q 3{options}\nabc\n")))
        .map(|reply| reply.trim_end().replace("STORED ", ""))
        .collect();
    assert_eq!(world.say(1, "put q 3 key=k\nabc\n"), format!("STORED {}\n", ids[3]));
    let counted = |world: &mut World, ready, delayed, dead, open, bytes| {
        let queue = world.say(9, "dump_stats q\n");
        let expected = [
            ("items", ready),
            ("delayed_items", delayed),
            ("dead_items", dead),
            ("open_transactions", open),
            ("bytes", bytes),
        ];
        same(&queue, &expected);
        let all = [("curr_items", ready), ("delayed_items", delayed), ("dead_items", dead)];
        same(&world.say(9, "stats\n"), &all);
        queue
    };
    let queue = counted(&mut world, "2", "2", "0", "0", "12");
    same(&queue, &[("total_items", "4"), ("mem_items", "4"), ("paused", "0")]);
    same(&world.say(9, "stats\n"), &[("repeated_puts", "1"), ("known_keys", "1")]);
    // One is buried, one comes too often; the third one becomes ready.
    assert!(world.say(2, "reserve 2 0 0 q\n").starts_with(&format!("ITEM q {} ", ids[1])));
    counted(&mut world, "0", "2", "0", "2", "6");
    assert_eq!(world.say(2, &format!("bury q {} 3\nbad\n", ids[1])), "OK\n");
    world.leave(2);
    world.pass(5000);
    let queue = counted(&mut world, "1", "1", "2", "0", "6");
    same(&queue, &[("dead_lettered", "2"), ("kicked", "0"), ("total_items", "4")]);
    assert_eq!(world.say(1, "kick q 1\npause q\n"), "OK 1\nOK\n");
    let queue = counted(&mut world, "2", "1", "1", "0", "9");
    same(&queue, &[("dead_lettered", "2"), ("kicked", "1"), ("paused", "1")]);
    same(&queue, &[("total_items", "4"), ("expired_items", "0")]);
    assert_eq!(world.say(1, "resume q\npurge q all\n"), "OK\nOK 4\n");
    same(&counted(&mut world, "0", "0", "0", "0", "0"), &[("paused", "0")]);
}

/// Whichever lane the next item is in, and from when it was ready on.
#[test]
fn the_age_of_what_comes_next_is_known_for_every_level_and_for_what_was_delayed() {
    let mut world = World::new();
    let since = |world: &World| {
        let queue = world.broker.stats_of_queue(world.now, b"q").expect("it is there");
        queue.oldest_ready_ms.map(|since_ms| world.now.wall_ms - since_ms)
    };
    world.say(1, "put q 1 delay=2000\nd\n");
    assert_eq!(since(&world), None, "nothing is ready");
    world.pass(2500);
    assert_eq!(since(&world), Some(500), "from its time on");
    world.say(1, "put q 1 priority=high\nh\n");
    world.pass(100);
    assert_eq!(since(&world), Some(600), "what waits longest");
    assert!(world.say(1, "reserve 2 0 0 q\n").contains("\nh\n"));
    assert_eq!(since(&world), None);
    world.say(2, "put q 1 priority=low\nl\n");
    world.pass(70);
    assert_eq!(since(&world), Some(70));
    // A dead letter does not wait.
    let reply = world.say(2, "reserve 1 0 0 q\n");
    let id = reply.split(' ').nth(2).expect("an item");
    assert_eq!(world.say(2, &format!("bury q {id} 0\n\n")), "OK\n");
    assert_eq!(since(&world), None);
}
