//! What concerns the whole server: status, limits of connections, reload, shutdown.

use super::*;

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
    assert!(world.broker.answers.is_empty(), "nobody asks for it any more");
    world.broker.answer(SessionId(1), Ok(()));
    world.settle();
    world.asks.clear();
    // What a script sends after it must not reset the connection.
    let mut session = Session::new(SessionId(9), Limits::default());
    session.feed(&mut BytesMut::from(&b"shutdown\r\n"[..]));
    world.broker.run(world.now, &mut session);
    assert!(session.is_cut_off());
    while world.broker.poll_ask().is_some() {}
    assert_eq!(world.say(3, "shutdown\nversion\n"), "closed");
    assert_eq!(world.asks, [Ask::Shutdown]);
}

#[test]
fn who_sends_nothing_more_is_told_what_the_shell_answers() {
    let mut world = World::new();
    world.say(1, "reload\n");
    let session = &mut world.clients.get_mut(&1).expect("it is there").session;
    session.peer_closed();
    world.broker.execute(world.now, session);
    assert!(session.is_held_up(), "it waits for the answer");
    world.broker.answer(SessionId(1), Ok(()));
    world.settle();
    assert_eq!(world.heard(1), "Reloaded config.\n");
    assert!(world.clients[&1].session.is_idle());
}

#[test]
fn a_status_that_no_client_asked_for_is_saved_too() {
    let mut world = World::new();
    assert!(world.broker.set_status(world.now, Status::ReadOnly));
    assert!(!world.broker.set_status(world.now, Status::ReadOnly), "it is that already");
    world.settle();
    assert_eq!(world.asks, [Ask::SaveStatus { session: None, status: Status::ReadOnly }]);
}

#[test]
fn what_an_operator_does_is_as_durable_as_the_settings_now_say() {
    let defaults = QueueConfig { sync: SyncPolicy::Never, ..QueueConfig::default() };
    let table = ConfigTable { defaults: defaults.into(), ..ConfigTable::default() };
    let mut world = World::with(Setup { table, ..Setup::default() });
    let is_synced = |world: &World| {
        let progress = world.broker.progress();
        progress.synced == progress.written
    };
    world.put("q", &["a"]);
    assert_eq!(world.say(1, "flush q\n"), "END\n");
    assert!(!is_synced(&world));
    world.broker.reload(world.now, ConfigTable::default());
    assert_eq!(world.say(1, "flush q\n"), "END\n");
    assert!(is_synced(&world));
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
fn harmless_habits_of_memcached_clients_are_answered() {
    let mut world = World::new();
    assert_eq!(
        world.say(1, "verbosity 1\nverbosity 1 noreply\nmn\nversion\n"),
        "OK\nMN\nVERSION 1.2.3\n"
    );
    assert_eq!(world.say(1, "set q 7 0 1 noreply\na\nget q\n"), "VALUE q 7 1\na\nEND\n");
}
