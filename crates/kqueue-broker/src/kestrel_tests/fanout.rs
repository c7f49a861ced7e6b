//! Masters and their sub-queues.

use super::*;

#[test]
fn a_sub_queue_gets_what_is_put_after_it_was_made() {
    let mut world = World::new();
    world.put("q", &["before"]);
    assert_eq!(world.say(1, "get q+sub\n"), "END\n");
    world.put("q", &["after"]);
    assert_eq!(world.say(1, "get q+sub\nget q+sub\n"), value("q+sub", "after") + "END\n");
    assert_eq!(world.say(1, "get q\nget q\n"), value("q", "before") + &value("q", "after"));
    world.put("q+sub", &["its own"]);
    assert_eq!(
        world.say(1, "get q\nget q+sub\n"),
        String::from("END\n") + &value("q+sub", "its own")
    );
}

#[test]
fn the_master_is_what_stands_before_the_first_plus() {
    let mut world = World::new();
    world.say(1, "get a+b+c\nget a+b\n");
    world.put("a+b", &["of a+b"]);
    assert_eq!(world.say(1, "get a+b+c\n"), "END\n");
    world.put("a", &["of a"]);
    assert_eq!(world.say(1, "get a+b+c\n"), value("a+b+c", "of a"));
    assert_eq!(world.say(1, "get a+b\nget a+b\n"), value("a+b", "of a+b") + &value("a+b", "of a"));
    // A sub-queue does not make its master.
    world.say(1, "get x+y\n");
    assert!(!world.say(1, "dump_stats\n").contains("'x'"));
}

#[test]
fn a_full_sub_queue_drops_its_copy_and_a_full_master_refuses_for_all() {
    let mut table = ConfigTable::default();
    let sized = |max_items| QueueOverrides { max_items: Some(max_items), ..Default::default() };
    table.named.insert((*b"q").into(), sized(2));
    table.named.insert((*b"q+small").into(), sized(1));
    table.named.insert((*b"q+large").into(), sized(9));
    let mut world = World::with(Setup { table, ..Setup::default() });
    world.say(1, "get q+small\nget q+large\n");
    world.put("q", &["a", "b"]);
    assert_eq!(world.say(1, "set q 0 0 1\nc\n"), "NOT_STORED\n");
    assert_eq!(world.say(1, "get q+small\nget q+small\n"), value("q+small", "a") + "END\n");
    let large = value("q+large", "a") + &value("q+large", "b") + "END\n";
    assert_eq!(world.say(1, "get q+large\nget q+large\nget q+large\n"), large, "as in q");
    let stats = world.say(1, "dump_stats q+small\n");
    assert!(stats.contains("\n  discarded=1\n"), "{stats}");
}

#[test]
fn a_deleted_sub_queue_gets_nothing_and_those_of_a_deleted_master_go_on() {
    let mut world = World::new();
    world.say(1, "get q+gone\nget q+kept\n");
    world.put("q", &["a"]);
    assert_eq!(world.say(1, "delete q+gone\n"), "DELETED\n");
    world.put("q", &["b"]);
    assert!(!world.say(1, "dump_stats\n").contains("q+gone"));
    assert_eq!(
        world.say(1, "delete q\nget q+kept\n"),
        String::from("DELETED\n") + &value("q+kept", "a")
    );
    world.put("q", &["c"]);
    assert_eq!(
        world.say(1, "get q+kept\nget q+kept\n"),
        value("q+kept", "b") + &value("q+kept", "c")
    );
    assert_eq!(world.say(1, "get q\nget q\n"), value("q", "c") + "END\n");
}

#[test]
fn a_master_that_is_for_fanout_only_keeps_nothing() {
    let only = QueueOverrides { fanout_only: Some(true), ..Default::default() };
    let mut world = World::with(with_queue("q", only));
    world.put("q", &["into the dark"]);
    world.say(1, "get q+sub\n");
    world.put("q", &["a"]);
    assert_eq!(world.say(1, "get q\nget q+sub\n"), String::from("END\n") + &value("q+sub", "a"));
}
