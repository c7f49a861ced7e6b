//! Aliases.

use super::*;

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
    let masked: Vec<(&[u8], u64)> =
        world.broker.masked_queues().map(|(name, items)| (&name[..], items)).collect();
    assert_eq!(masked, [(&b"other"[..], 0), (b"q", 1)]);
    assert_eq!(world.say(1, "flush_all\n"), "Flushed all queues.\n");
    assert!(!world.say(1, "stats\n").contains("queue_q_items"));
    world.broker.reload(world.now, ConfigTable::default());
    assert_eq!(world.say(1, "get q\n"), value("q", "hidden"), "nothing was lost");
}

#[test]
fn a_sub_queue_that_an_alias_hides_gets_nothing_from_its_master() {
    let mut world = World::new();
    world.say(1, "get m+a\nget m+b\n");
    world.broker.reload(world.now, aliases(&[("m+a", &["elsewhere"])]));
    world.put("m", &["x"]);
    world.broker.reload(world.now, ConfigTable::default());
    assert_eq!(world.say(1, "get m+a\nget m+b\n"), String::from("END\n") + &value("m+b", "x"));
}

#[test]
fn a_destination_in_memory_does_not_hide_that_another_one_is_on_the_disk() {
    let mut table = aliases(&[("memory-last", &["q", "mem"]), ("memory-first", &["mem", "q"])]);
    let in_memory = QueueOverrides { keep_journal: Some(false), ..Default::default() };
    table.named.insert((*b"mem").into(), in_memory);
    for alias in ["memory-last", "memory-first"] {
        let mut world = World::with(Setup { table: table.clone(), ..Setup::default() });
        let client = world.connect(1);
        client.input.extend_from_slice(format!("set {alias} 0 0 1\r\nx\r\n").as_bytes());
        world.turn(1);
        assert_eq!(world.heard(1), "", "{alias}: nothing is written");
        world.settle();
        assert_eq!(world.heard(1), "STORED\n", "{alias}");
    }
}

#[test]
fn an_alias_promises_what_its_strictest_destination_does_whichever_comes_last() {
    let mut table =
        aliases(&[("lax-last", &["strict", "lax"]), ("strict-last", &["lax", "strict"])]);
    let lax = QueueOverrides { sync: Some(SyncPolicy::Never), ..Default::default() };
    table.named.insert((*b"lax").into(), lax);
    for alias in ["lax-last", "strict-last"] {
        let mut world = World::with(Setup { table: table.clone(), ..Setup::default() });
        world.put("lax", &["makes a segment"]);
        let client = world.connect(1);
        client.input.extend_from_slice(format!("set {alias} 0 0 1\r\nx\r\n").as_bytes());
        world.turn(1);
        let mut synced = false;
        while world.heard(1) != "STORED\n" {
            let job = world.broker.poll_job(world.now).expect("it is under way");
            job.ops.iter().for_each(|op| world.apply(op));
            synced |= job.ops.iter().any(|op| matches!(op, DiskOp::Sync { .. }));
            world.broker.handle_done(world.now, job.id, Ok(()));
            while world.broker.poll_event().is_some() {
                world.clients.get_mut(&1).unwrap().session.set_ready();
            }
            world.turn(1);
        }
        assert!(synced, "{alias}: answered before it was on the disk");
    }
}
