//! `monitor` and `confirm`.

use super::*;

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
fn what_was_confirmed_is_synced_soon_although_nobody_puts_anything() {
    let mut world = World::new();
    world.put("q", &["a"]);
    world.say(1, "get q/open\n");
    // That it was delivered is synced, too.
    world.now.mono_ms += 1000;
    world.settle();
    assert_eq!(world.broker.poll_journal_timeout(), None);
    assert_eq!(world.say(1, "confirm q 1\n"), "END\n");
    assert_eq!(world.broker.poll_journal_timeout(), Some(world.now.mono_ms + 1000));
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
