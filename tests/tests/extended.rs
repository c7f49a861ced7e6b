//! The extended commands, from the outside: what docs/protocol.md says of each of them, also after `kill -9`.

use kqueue_tests::{Daemon, Wire};

const QUEUES: &str = "sync = \"always\"
[queues.\"thrice\"]
max_attempts = 3
[queues.\"jobs\"]
max_attempts = 2
dead_letter_queue = \"failed\"
[queues.\"other\"]
dead_letter_queue = \"failed\"
[queues.\"slow\"]
retry_delay = \"200ms\"
retry_delay_max = \"500ms\"
[queues.\"small\"]
max_items = 2
[queues.\"cold\"]
max_memory_size = \"0\"
";

fn daemon() -> Daemon {
    Daemon::start(QUEUES)
}

fn refused(wire: &mut Wire, line: &str, reason: &str) {
    assert_eq!(wire.say(line, None), format!("CLIENT_ERROR {reason}"), "{line}");
}

#[test]
fn capabilities_name_the_version_and_what_there_is() {
    let daemon = daemon();
    let reply = daemon.connect().say("capabilities", None);
    let words: Vec<&str> = reply.split(' ').collect();
    let expected =
        "put reserve ack release touch bury browse kick purge pause resume delay priority key";
    assert_eq!(words[0], "CAPABILITIES");
    assert!(words[1].starts_with("kqueue/"), "{reply}");
    assert_eq!(words[2..].join(" "), expected);
}

#[test]
fn priorities_are_strict_and_each_level_is_first_in_first_out() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for queue in ["levels", "cold"] {
        for (body, level) in [("l1", "low"), ("n1", "normal"), ("h1", "high"), ("n2", "normal")] {
            wire.put_with(queue, body, &format!("priority={level}"));
        }
        wire.put_with(queue, "h2", "priority=high");
        wire.put_with(queue, "n3", "");
        wire.put_with(queue, "l2", "priority=low");
    }
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    for queue in ["levels", "cold"] {
        // What is on the disk only comes piece by piece.
        let order: Vec<String> = (0..7).map(|_| wire.reserve_one(queue).body).collect();
        assert_eq!(order, ["h1", "h2", "n1", "n2", "n3", "l1", "l2"], "{queue}");
    }
}

#[test]
fn kestrels_commands_see_the_same_items() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.put_with("q", "late", "delay=300");
    wire.put_with("q", "low", "priority=low");
    wire.put_with("q", "high", "priority=high");
    wire.put("q", b"plain");
    assert_eq!(wire.get("q/peek").as_deref(), Some(&b"high"[..]));
    assert_eq!(wire.get("q/open").as_deref(), Some(&b"high"[..]));
    wire.ask(b"get q/close\r\n", b"END\r\n");
    assert_eq!(wire.get("q").as_deref(), Some(&b"plain"[..]));
    assert_eq!(wire.get("q").as_deref(), Some(&b"low"[..]));
    assert_eq!(wire.get("q"), None);
    assert_eq!(wire.get("q/t=60000").as_deref(), Some(&b"late"[..]));
}

#[test]
fn a_delayed_item_is_not_handed_out_before_its_time_and_its_time_survives_kill_9() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let late = wire.put_with("q", "late", "delay=1500");
    let soon = wire.put_with("q", "soon", "delay=300");
    wire.put_with("q", "in a year", "delay=31536000000");
    assert_eq!(wire.reserve("10 0 0 q"), []);
    let (delayed, _) = wire.browse("q delayed 10");
    assert_eq!(delayed.len(), 3);
    assert_eq!(delayed[0].body, "soon");
    assert_eq!(wire.bodies("q", "ready"), [""; 0]);
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    let first = wire.reserve_one("q");
    assert_eq!((first.id, first.attempts), (soon, 1));
    assert!(first.age_ms >= 300, "{first:?}");
    let second = wire.reserve_one("q");
    assert_eq!(second.id, late);
    assert!(second.age_ms >= 1500, "{second:?}");
    assert_eq!(wire.bodies("q", "delayed"), ["in a year"]);
}

#[test]
fn a_waiting_client_gets_a_delayed_item_when_its_time_comes() {
    let daemon = daemon();
    let mut worker = daemon.connect();
    worker.send(b"reserve 1 60000 0 q\r\n");
    while daemon.stat("queue_q_waiters").as_deref() != Some("1") {}
    let id = daemon.connect().put_with("q", "x", "delay=200");
    assert!(worker.line().starts_with(&format!("ITEM q {id} 0 1 ")));
}

#[test]
fn a_released_item_comes_again_after_its_delay_with_the_same_id() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("q", "x", "priority=high");
    wire.put_with("q", "y", "");
    assert_eq!(wire.reserve_one("q").id, id);
    assert_eq!(wire.say(&format!("release q {id} delay=400"), None), "OK");
    assert_eq!(wire.say(&format!("release q {id}"), None), "NOT_HELD");
    let (delayed, _) = wire.browse("q delayed 10");
    assert_eq!((delayed[0].id, delayed[0].name("attempts")), (id, "1"));
    assert_eq!(delayed[0].name("priority"), "high");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    let y = wire.reserve_one("q");
    assert_eq!(y.body, "y");
    let x = wire.reserve_one("q");
    assert_eq!((x.id, x.attempts, &x.body[..]), (id, 2, "x"));
    // Without a delay it returns to its old place, before what came later.
    assert_eq!(wire.say(&format!("release q {}", y.id), None), "OK");
    assert_eq!(wire.say(&format!("release q {id} delay=0"), None), "OK");
    assert_eq!(wire.reserve_one("q").id, id);
}

#[test]
fn retry_delay_doubles_up_to_its_limit() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("slow", "x", "");
    let mut age_ms = 0;
    for (attempt, wait_ms) in [(1, 0), (2, 180), (3, 360), (4, 450), (5, 450)] {
        let item = wire.reserve_one("slow");
        assert_eq!((item.id, item.attempts), (id, attempt));
        // Up to a tenth less than 200, 400, 500, 500.
        assert!(item.age_ms >= age_ms + wait_ms, "{item:?} after {age_ms}");
        age_ms = item.age_ms;
        assert_eq!(wire.say(&format!("release slow {id}"), None), "OK");
    }
    let (delayed, _) = wire.browse("slow delayed 1");
    assert!(delayed[0].name("due_ms").parse::<u64>().is_ok_and(|due_ms| due_ms <= 500));
}

#[test]
fn dead_letters_stay_in_their_queue_until_they_are_kicked_or_purged() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("thrice", "poison", "");
    for attempt in 1..=3 {
        let item = wire.reserve_one("thrice");
        assert_eq!((item.id, item.attempts), (id, attempt));
        assert_eq!(wire.say(&format!("release thrice {id}"), None), "OK");
    }
    assert_eq!(wire.reserve("1 0 0 thrice"), []);
    let buried = wire.put_with("thrice", "bad", "priority=low");
    wire.reserve_one("thrice");
    assert_eq!(wire.say(&format!("bury thrice {buried} 9"), Some("50% \r\n=no")), "OK");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    let (dead, _) = wire.browse("thrice dead 10");
    assert_eq!([dead[0].id, dead[1].id], [id, buried]);
    assert_eq!((dead[0].name("cause"), dead[0].name("attempts")), ("attempts", "3"));
    assert_eq!((dead[1].name("cause"), dead[1].name("attempts")), ("buried", "1"));
    assert_eq!(dead[1].name("reason"), "50%25%20%0D%0A%3Dno");
    assert_eq!(dead[1].name("origin_id"), buried.to_string());
    let ms = |name: &str| dead[0].name(name).parse::<u64>().expect("a time");
    assert!(ms("first_ms") <= ms("last_ms"));
    assert_eq!(wire.say("kick thrice id=1", None), "NOT_FOUND");
    assert_eq!(wire.say(&format!("kick thrice id={buried}"), None), "OK 1");
    let again = wire.reserve_one("thrice");
    assert_eq!((again.id, again.attempts, &again.body[..]), (buried, 1, "bad"));
    assert_eq!(wire.say("kick thrice all", None), "OK 1");
    assert_eq!(wire.say("kick thrice 5", None), "OK 0");
    assert_eq!(wire.reserve_one("thrice").id, id);
    assert_eq!(wire.say(&format!("bury thrice {id} 0"), Some("")), "OK");
    assert_eq!(wire.say("purge thrice dead", None), "OK 1");
    assert_eq!(wire.bodies("thrice", "dead"), [""; 0]);
}

#[test]
fn dead_letters_go_to_the_queue_for_them_and_each_queue_gets_its_own_back() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let job = wire.put_with("jobs", "job", "priority=high");
    let other = wire.put_with("other", "other", "");
    for _ in 0..2 {
        wire.reserve_one("jobs");
        assert_eq!(wire.say(&format!("release jobs {job}"), None), "OK");
    }
    wire.reserve_one("other");
    assert_eq!(wire.say(&format!("bury other {other} 3"), Some("why")), "OK");
    wire.put("failed", b"put there by hand");
    let (failed, _) = wire.browse("failed ready 10");
    let told: Vec<_> =
        failed.iter().map(|item| (&item.body[..], item.names.get("cause"))).collect();
    let cause = |word: &str| Some(word.to_owned());
    let (attempts, buried) = (cause("attempts"), cause("buried"));
    assert_eq!(
        told,
        [("job", attempts.as_ref()), ("other", buried.as_ref()), ("put there by hand", None)]
    );
    assert_eq!((failed[1].name("origin"), failed[1].name("reason")), ("other", "why"));
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    assert_eq!(wire.bodies("jobs", "dead"), ["job"]);
    assert_eq!(wire.bodies("other", "dead"), ["other"]);
    let (dead, _) = wire.browse("other dead 10");
    assert_eq!((dead[0].name("origin"), dead[0].name("reason")), ("other", "why"));
    assert_eq!(wire.say(&format!("kick jobs id={job}"), None), "OK 1");
    let (ready, _) = wire.browse("jobs ready 1");
    assert_eq!((ready[0].id, ready[0].name("priority")), (job, "high"));
    assert_eq!(wire.reserve_one("jobs").id, job);
    assert_eq!(wire.say("purge other dead", None), "OK 1");
    assert_eq!(wire.bodies("failed", "ready"), ["put there by hand"]);
}

#[test]
fn a_repeated_key_is_answered_with_the_first_id_and_stored_once() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let first = wire.put_with("q", "one", "key=order-17");
    assert_eq!(wire.put_with("q", "one", "key=order-17"), first);
    assert_ne!(wire.put_with("q", "two", "key=order-18"), first);
    assert_ne!(wire.put_with("p", "one", "key=order-17"), first);
    // Also when the item is gone, and after kill -9.
    assert_eq!(wire.get("q").as_deref(), Some(&b"one"[..]));
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    assert_eq!(wire.put_with("q", "one", "key=order-17"), first);
    assert_eq!(wire.bodies("q", "ready"), ["two"]);
    // A put that was refused did not happen.
    wire.put("small", b"1");
    wire.put("small", b"2");
    assert!(wire.say("put small 1 key=k", Some("3")).starts_with("NOT_STORED "));
    assert_eq!(wire.get("small").as_deref(), Some(&b"1"[..]));
    wire.put_with("small", "3", "key=k");
    assert_eq!(wire.bodies("small", "ready"), ["2", "3"]);
}

#[test]
fn touch_moves_the_end_of_a_lease() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("q", "x", "");
    assert_eq!(wire.reserve("1 0 600000 q").len(), 1);
    let lease = |wire: &mut Wire| {
        let (open, _) = wire.browse("q open 1");
        open[0].names.get("lease_ms").map(|ms| ms.parse::<u64>().expect("a number"))
    };
    assert!(lease(&mut wire).is_some_and(|ms| ms > 300_000));
    assert_eq!(wire.say(&format!("touch q {id} 0"), None), "OK");
    assert_eq!(lease(&mut wire), None);
    assert_eq!(wire.say(&format!("touch q {id} 50"), None), "OK");
    let mut other = daemon.connect();
    assert_eq!(other.reserve_one("q").attempts, 2);
    assert_eq!(wire.say(&format!("touch q {id} 50"), None), "NOT_HELD");
    assert_eq!(wire.say(&format!("ack q {id}"), None), "NOT_HELD");
    assert_eq!(wire.say(&format!("bury q {id} 1"), Some("x")), "NOT_HELD");
    assert_eq!(wire.say(&format!("release q {id} delay=5"), None), "NOT_HELD");
    assert_eq!(other.say(&format!("ack q {id}"), None), "OK");
}

#[test]
fn browse_shows_everything_in_pages_and_changes_nothing() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for queue in ["q", "cold"] {
        for n in 0..250 {
            wire.put_with(queue, &format!("item {n}"), "");
        }
        let all: Vec<String> = (0..250).map(|n| format!("item {n}")).collect();
        assert_eq!(wire.bodies(queue, "ready"), all, "{queue}");
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (found, cursor) = wire.browse(&format!("{queue} ready 7{after} body=6"));
            assert!(found.len() <= 7);
            seen.extend(found.iter().map(|found| found.body.clone()));
            assert!(found.iter().all(|found| found.name("size").parse::<usize>().unwrap() >= 6));
            let Some(cursor) = cursor else { break };
            after = format!(" after={cursor}");
        }
        let cut: Vec<String> = all.iter().map(|body| body[..6].to_owned()).collect();
        assert_eq!(seen, cut, "{queue}");
        let first = wire.reserve_one(queue);
        assert_eq!((first.attempts, &first.body[..]), (1, "item 0"));
    }
}

#[test]
fn purge_removes_one_state_and_leaves_the_others() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for state in ["ready", "delayed", "dead", "all"] {
        let queue = format!("q-{state}");
        let dead = wire.put_with(&queue, "dead", "");
        wire.reserve_one(&queue);
        assert_eq!(wire.say(&format!("bury {queue} {dead} 0"), Some("")), "OK");
        wire.put_with(&queue, "open", "");
        wire.reserve_one(&queue);
        wire.put_with(&queue, "ready", "priority=high");
        wire.put_with(&queue, "delayed", "delay=600000");
        let count = if state == "all" { 3 } else { 1 };
        assert_eq!(wire.say(&format!("purge {queue} {state}"), None), format!("OK {count}"));
    }
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    for state in ["ready", "delayed", "dead", "all"] {
        for other in ["ready", "delayed", "dead"] {
            let mut bodies = wire.bodies(&format!("q-{state}"), other);
            // What was open is ready again.
            bodies.retain(|body| body != "open");
            let is_gone = state == other || state == "all";
            assert_eq!(bodies.is_empty(), is_gone, "purge {state}, {other}: {bodies:?}");
        }
    }
}

#[test]
fn a_paused_queue_hands_nothing_out_until_it_is_resumed() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.put("q", b"x");
    assert_eq!(wire.say("pause q", None), "OK");
    assert_eq!(wire.get("q"), None);
    assert_eq!(wire.reserve("1 0 0 q"), []);
    assert_eq!(wire.get("q/peek").as_deref(), Some(&b"x"[..]));
    wire.put("q", b"y");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    assert_eq!(wire.get("q/open"), None);
    let mut waiting = daemon.connect();
    waiting.send(b"get q/t=60000\r\n");
    while daemon.stat("queue_q_waiters").as_deref() != Some("1") {}
    assert_eq!(wire.say("resume q", None), "OK");
    assert_eq!(waiting.value().as_deref(), Some(&b"x"[..]));
    assert_eq!(wire.get("q").as_deref(), Some(&b"y"[..]));
}

#[test]
fn what_is_malformed_is_named_and_changes_nothing() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("q", "x", "");
    wire.reserve_one("q");
    for (line, reason) in [
        ("ack q", "missing id"),
        ("ack q x", "bad id 'x'"),
        ("ack q 1 2", "unknown word '2'"),
        ("release q 1 delay=x", "bad delay 'x'"),
        ("release q 1 delay=315360000001", "bad delay '315360000001'"),
        ("release q 1 wait=1", "unknown word 'wait=1'"),
        ("touch q 1", "missing lease"),
        ("touch q 1 99999999999", "bad lease '99999999999'"),
        ("browse q red 1", "unknown word 'red'"),
        ("browse q ready 0", "bad item count '0'"),
        ("browse q ready 1001", "bad item count '1001'"),
        ("browse q ready 1 after=7", "bad cursor '7'"),
        ("browse q ready 1 size=7", "unknown word 'size=7'"),
        ("kick q", "missing item count"),
        ("kick q 0", "bad item count '0'"),
        ("kick q id=", "bad id ''"),
        ("kick q none", "bad item count 'none'"),
        ("purge q", "missing state"),
        ("purge q open", "unknown word 'open'"),
        ("pause", "missing queue name"),
        ("pause q q", "unknown word 'q'"),
        ("resume a.b", "a queue name has no '.': 'a.b'"),
    ] {
        if line.starts_with("resume") {
            assert!(wire.say(line, None).starts_with("CLIENT_ERROR "), "{line}");
        } else {
            refused(&mut wire, line, reason);
        }
    }
    for (options, reason) in [
        ("delay=-1", "bad delay '-1'"),
        ("priority=urgent", "unknown word 'priority=urgent'"),
        ("key=", "a key has 1 to 128 bytes and no control byte: ''"),
        ("flag=1", "unknown word 'flag=1'"),
    ] {
        let reply = wire.say(&format!("put q 1 {options}"), Some("x"));
        assert_eq!(reply, format!("CLIENT_ERROR {reason}"));
    }
    let long = "x".repeat(1025);
    let reply = wire.say(&format!("bury q {id} 1025"), Some(&long));
    assert_eq!(reply, "CLIENT_ERROR bad byte count '1025'");
    let key = "k".repeat(129);
    assert!(wire.say(&format!("put q 1 key={key}"), Some("x")).starts_with("CLIENT_ERROR a key"));
    assert_eq!(wire.bodies("q", "open"), ["x"]);
    assert_eq!(wire.bodies("q", "ready"), [""; 0]);
    assert_eq!(wire.say(&format!("ack q {id}"), None), "OK");
}

#[test]
fn an_item_that_is_not_held_is_told_apart_and_nothing_happens_to_it() {
    let daemon = daemon();
    let (mut holder, mut other) = (daemon.connect(), daemon.connect());
    let id = holder.put_with("q", "x", "");
    holder.reserve_one("q");
    for line in ["ack", "release", "touch", "bury"] {
        let (rest, body) = match line {
            "touch" => (" 5", None),
            "bury" => (" 2", Some("no")),
            _ => ("", None),
        };
        assert_eq!(other.say(&format!("{line} q {id}{rest}"), body), "NOT_HELD", "{line}");
        assert_eq!(other.say(&format!("{line} p {id}{rest}"), body), "NOT_HELD", "{line}");
    }
    assert_eq!(holder.say(&format!("ack q {id}"), None), "OK");
}

#[test]
fn sub_queues_get_delay_and_priority_with_the_item() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for child in ["news+a", "news+b"] {
        assert_eq!(wire.get(child), None);
    }
    wire.put_with("news", "plain", "");
    let first = wire.put_with("news", "high", "priority=high");
    wire.put_with("news", "later", "delay=300 priority=high");
    let daemon = daemon.kill_and_restart();
    let mut wire = daemon.connect();
    for queue in ["news", "news+a", "news+b"] {
        let item = wire.reserve_one(queue);
        assert_eq!((item.id, &item.body[..]), (first, "high"), "{queue}");
    }
    for queue in ["news", "news+a", "news+b"] {
        let bodies = [wire.reserve_one(queue).body, wire.reserve_one(queue).body];
        assert!(bodies.contains(&"plain".to_owned()) && bodies.contains(&"later".to_owned()));
    }
}

#[test]
fn a_status_that_forbids_puts_forbids_kick_and_purge_but_not_settling() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let id = wire.put_with("q", "x", "");
    wire.reserve_one("q");
    wire.ask(b"status readonly\r\n", b"END\r\n");
    for line in ["kick q all", "purge q all"] {
        assert_eq!(wire.say(line, None), "SERVER_ERROR the server is READONLY", "{line}");
    }
    assert_eq!(wire.bodies("q", "open"), ["x"]);
    assert_eq!(wire.say("pause q", None), "OK");
    assert_eq!(wire.say("resume q", None), "OK");
    assert_eq!(wire.say(&format!("bury q {id} 1"), Some("x")), "OK");
    wire.ask(b"status quiescent\r\n", b"END\r\n");
    assert!(wire.say("browse q dead 1", None).starts_with("SERVER_ERROR "));
}

#[test]
fn what_is_reserved_returns_to_its_old_place_when_the_connection_ends() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let ids: Vec<u64> = ["a", "b", "c"].iter().map(|body| wire.put_with("q", body, "")).collect();
    let mut worker = daemon.connect();
    assert_eq!(worker.reserve("2 0 0 q").len(), 2);
    assert_eq!(wire.bodies("q", "open"), ["a", "b"]);
    let mut waiting = daemon.connect();
    waiting.send(b"reserve 9 60000 0 q p\r\n");
    assert!(waiting.line().starts_with(&format!("ITEM q {} 0 1 ", ids[2])));
    drop(waiting);
    drop(worker);
    // All three are back, each where it was; at once, so that this wait is not for nothing.
    while wire.bodies("q", "ready").len() < 3 {}
    let again: Vec<(u64, u32)> =
        wire.reserve("3 0 0 q").iter().map(|item| (item.id, item.attempts)).collect();
    assert_eq!(again, ids.iter().map(|id| (*id, 2)).collect::<Vec<_>>());
}

#[test]
fn an_ack_after_the_end_of_the_lease_is_told_so_and_takes_nothing_from_the_next_holder() {
    let daemon = daemon();
    let (mut slow, mut next) = (daemon.connect(), daemon.connect());
    let id = slow.put_with("q", "x", "");
    assert_eq!(slow.reserve("1 0 50 q").len(), 1);
    let second = next.reserve_one("q");
    assert_eq!((second.id, second.attempts), (id, 2));
    for line in ["ack", "release"] {
        assert_eq!(slow.say(&format!("{line} q {id}"), None), "NOT_HELD", "{line}");
    }
    assert_eq!(next.say(&format!("ack q {id}"), None), "OK");
    assert_eq!(next.say(&format!("ack q {id}"), None), "NOT_HELD");
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
}

#[test]
fn reserve_tries_its_queues_in_order_and_waits_only_if_all_are_empty() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for (queue, body) in [("b", "b1"), ("c", "c1"), ("b", "b2")] {
        wire.put_with(queue, body, "");
    }
    let items = wire.reserve("10 60000 0 a b c");
    assert!(items.iter().map(|item| &item.body).eq(["b1", "b2", "c1"]), "{items:?}");
    wire.send(b"reserve 2 100 0 a b c\r\nversion\r\n");
    assert_eq!(wire.line(), "END");
    assert!(wire.line().starts_with("VERSION "));
    wire.send(b"reserve 2 60000 0 a b c\r\n");
    let id = daemon.connect().put_with("c", "c2", "");
    assert!(wire.line().starts_with(&format!("ITEM c {id} 0 1 ")));
}

#[test]
fn a_queue_that_is_named_twice_is_waited_for_once() {
    let daemon = daemon();
    let (mut wire, mut other) = (daemon.connect(), daemon.connect());
    wire.send(b"reserve 3 60000 0 q q p q\r\n");
    let waiters = |wire: &mut Wire| {
        wire.send(b"dump_stats q\r\n");
        let lines = std::iter::from_fn(|| Some(wire.line()).filter(|line| line != "END"));
        lines.filter_map(|line| line.strip_prefix("  waiters=").map(str::to_owned)).collect()
    };
    let mut seen: Vec<String> = Vec::new();
    while seen.is_empty() || seen == ["0"] {
        seen = waiters(&mut other);
    }
    assert_eq!(seen, ["1"]);
    let id = other.put_with("q", "x", "");
    assert!(wire.line().starts_with(&format!("ITEM q {id} ")));
    wire.expect(b"x\r\nEND\r\n");
    assert_eq!(waiters(&mut other), ["0"]);
}
