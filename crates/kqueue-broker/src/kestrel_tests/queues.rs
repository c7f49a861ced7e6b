//! Putting, reading and removing.

use super::*;

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
fn who_waits_where_expired_items_go_gets_what_is_flushed_to_there() {
    let jobs = QueueOverrides {
        expire_to_queue: Some(Some((*b"late").into())),
        ..QueueOverrides::default()
    };
    for flush in ["flush_expired jobs\n", "flush_all_expired\n"] {
        let mut world = World::with(with_queue("jobs", jobs.clone()));
        world.say(1, "get late/t=60000\n");
        world.say(2, "set jobs 0 1 1\na\n");
        world.pass(1001);
        assert_eq!(world.heard(1), "");
        assert_eq!(world.say(2, flush), "1\n");
        assert_eq!(world.heard(1), value("late", "a"), "{flush}");
    }
}

#[test]
fn set_get_and_monitor_make_a_queue_and_nothing_else_does() {
    let mut world = World::new();
    for request in ["delete q", "flush q", "flush_expired q", "get q/close", "get q/abort"] {
        world.say(1, &format!("{request}\n"));
    }
    world.say(1, "confirm q 1\nflush_all\nflush_all_expired\ndump_stats q\n");
    assert_eq!(world.say(1, "dump_stats\n"), "\nEND\n");
    for (number, request) in
        ["set q1 0 0 1\nx", "get q2", "get q3/peek", "get q4/open", "monitor q5 1"]
            .into_iter()
            .enumerate()
    {
        world.say(2, &format!("{request}\n"));
        let queues = world.say(1, "dump_stats\n").matches("queue '").count();
        assert_eq!(queues, number + 1, "{request}");
    }
}

#[test]
fn an_expiry_is_relative_below_a_million_and_absolute_from_there_on() {
    let mut world = World::new();
    let absolute = START.wall_ms / 1000 + 5;
    let put = format!(
        "set short 0 3 1\na\nset long 0 999999 1\na\nset past 0 1000000 1\na\nset at 0 {absolute} 1\na\nset never 0 0 1\na\nset gone 0 -1 1\na\n"
    );
    assert_eq!(world.say(1, &put), "STORED\n".repeat(6));
    let is_there = |world: &mut World, queue: &str| {
        world.say(1, &format!("get {queue}/peek\n")) == value(queue, "a")
    };
    assert!(!is_there(&mut world, "past") && !is_there(&mut world, "gone"));
    world.pass(3000);
    assert!(is_there(&mut world, "short"), "until the last millisecond");
    world.pass(1);
    assert!(!is_there(&mut world, "short") && is_there(&mut world, "at"));
    world.pass(2000);
    assert!(!is_there(&mut world, "at") && is_there(&mut world, "long"));
    world.pass(999_993_999);
    assert!(is_there(&mut world, "long"), "until the last millisecond");
    world.pass(1);
    assert!(!is_there(&mut world, "long") && is_there(&mut world, "never"));
}

#[test]
fn max_age_shortens_what_a_client_says_and_never_lengthens_it() {
    let brief = QueueOverrides { max_age_ms: Some(Some(5000)), ..Default::default() };
    let mut world = World::with(with_queue("q", brief));
    world.say(1, "set q 0 1 1\na\nset q 0 100 1\nb\nset q 0 0 1\nc\n");
    world.pass(1001);
    assert_eq!(world.say(1, "get q/peek\n"), value("q", "b"));
    world.pass(4000);
    assert_eq!(world.say(1, "get q/peek\n"), "END\n");
}

#[test]
fn options_of_get_come_in_any_order_and_unknown_ones_are_nothing() {
    let mut world = World::new();
    world.put("q", &["a", "b", "c"]);
    assert_eq!(world.say(1, "get q/whatever/open/OPEN/t=5\n"), value("q", "a"));
    assert_eq!(world.say(1, "get q/t=5/open/x=1/close\n"), value("q", "b"));
    assert_eq!(world.say(1, "get q/close/t=60000\n"), "END\n", "no wait");
    assert_eq!(world.say(1, "get q/OPEN q2\n"), value("q", "c"), "a plain get");
    assert_eq!(
        world.say(1, "get q/t=60000/t=0\nget q/t=-1\n"),
        "END\nEND\n",
        "the last one counts"
    );
    assert_eq!(world.say(1, "get q/t=20/peek\n"), "", "a look may wait");
    world.put("q", &["d"]);
    assert_eq!(world.heard(1), value("q", "d"));
    world.say(1, "get q\nget q/t=20\n");
    world.pass(19);
    assert_eq!(world.heard(1), "");
    world.pass(1);
    assert_eq!(world.heard(1), "END\n");
}

#[test]
fn close_and_abort_take_the_oldest_and_nothing_if_there_is_none() {
    let mut world = World::new();
    assert_eq!(world.say(1, "get q/close\nget q/abort\nget q/close/open\n"), "END\n".repeat(3));
    world.put("q", &["a", "b", "c"]);
    world.say(1, "get q/open\nget q/open\n");
    assert_eq!(world.say(1, "get q/abort\nget q/open\n"), String::from("END\n") + &value("q", "a"));
    assert_eq!(world.say(1, "get q/close\nget q/close\nget q/close\n"), "END\n".repeat(3));
    assert_eq!(world.say(1, "get q\nget q\n"), value("q", "c") + "END\n");
}

#[test]
fn a_plain_get_is_refused_by_an_open_read_of_the_same_queue_only() {
    let mut world = World::new();
    world.put("q", &["a", "b"]);
    world.put("p", &["c"]);
    world.say(1, "get q/open\n");
    assert_eq!(world.say(1, "get p\nget q/peek\n"), value("p", "c") + &value("q", "b"));
    let refused = "ERROR this connection holds an open read of this queue\nclosed";
    assert_eq!(world.say(1, "get q\n"), refused);
    assert_eq!(world.say(2, "get q\n"), value("q", "a"), "it was given back");
}

#[test]
fn an_open_read_of_a_deleted_queue_is_nothing_any_more() {
    let mut world = World::new();
    world.put("q", &["a"]);
    world.say(1, "get q/open\n");
    assert_eq!(world.say(2, "delete q\n"), "DELETED\n");
    assert_eq!(world.say(1, "get q/close\nget q/abort\n"), "END\nEND\n");
    assert_eq!(world.say(2, "dump_stats\n"), "\nEND\n", "nothing was made");
    world.put("q", &["b"]);
    world.say(2, "get q/open\n");
    assert_eq!(world.say(1, "get q/close\n"), "END\n");
    world.leave(2);
    assert_eq!(world.say(3, "get q\n"), value("q", "b"), "a stale close is not for it");
}

#[test]
fn what_returns_counts_against_no_limit_and_expires_as_before() {
    let one = QueueOverrides { max_items: Some(1), ..Default::default() };
    let mut world = World::with(with_queue("q", one));
    assert_eq!(
        world.say(1, "set q 0 2 1\na\nget q/open\n"),
        String::from("STORED\n") + &value("q", "a")
    );
    world.put("q", &["b"]);
    assert_eq!(world.say(2, "set q 0 0 1\nc\n"), "NOT_STORED\n");
    assert_eq!(world.say(1, "get q/abort\nget q/open\n"), String::from("END\n") + &value("q", "a"));
    world.pass(2001);
    assert_eq!(
        world.say(1, "get q/abort\nget q\nget q\n"),
        String::from("END\n") + &value("q", "b") + "END\n"
    );
}

#[test]
fn an_open_read_that_is_too_old_returns_by_itself_to_an_empty_queue_too() {
    let brief =
        QueueOverrides { open_transaction_timeout_ms: Some(Some(100)), ..Default::default() };
    let mut world = World::with(with_queue("q", brief));
    world.put("q", &["a"]);
    world.say(1, "get q/open\n");
    assert_eq!(world.say(2, "get q/t=60000\n"), "");
    world.pass(100);
    assert_eq!(world.heard(2), value("q", "a"));
    assert_eq!(world.say(1, "get q/close\n"), "END\n", "too late, and no error");
}

#[test]
fn flush_removes_what_waits_and_quit_gives_back_what_is_open() {
    let mut world = World::new();
    world.put("q", &["a", "b"]);
    world.put("p", &["c"]);
    world.say(1, "get q/open\n");
    assert_eq!(
        world.say(2, "flush q\nget q\nflush_all ignored\nget p\n"),
        "END\nEND\nFlushed all queues.\nEND\n"
    );
    assert_eq!(world.say(1, "quit\nversion\n"), "closed");
    assert_eq!(world.say(2, "get q\nflush q\nflush none\n"), value("q", "a") + "END\nEND\n");
}
