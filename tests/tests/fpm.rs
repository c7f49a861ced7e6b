//! The extension inside PHP-FPM, where it is meant to live: many requests in one process, and every way for a request to end.

use kqueue_tests::{Daemon, Fpm};
use rustix::process::{Pid, Signal, kill_process};

/// One child, so that the next request runs in the process of the one before.
fn one_child(daemon: &Daemon, scripts: &[(&str, &str)]) -> Fpm {
    let fpm = Fpm::start(
        1,
        &["display_errors=1", "html_errors=0", "memory_limit=32M", "max_execution_time=1"],
    );
    for (name, code) in scripts {
        fpm.script(name, &format!("$q = new KQueue('{}');\n{code}", daemon.address()));
    }
    fpm
}

fn connections(daemon: &Daemon) -> u64 {
    daemon.stat("total_connections").and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn the_pool_survives_the_request() {
    let daemon = Daemon::start("");
    let fpm = one_child(
        &daemon,
        &[("push", "echo $q->push('jobs', 'x') > 0 ? 'pushed' : 'no', ' by ', getmypid();")],
    );
    let first = fpm.get("push");
    assert!(first.starts_with("pushed by "), "{first}");
    let before = connections(&daemon);
    for _ in 0..20 {
        assert_eq!(fpm.get("push"), first, "the same process");
    }
    // Asking for the statistics is a connection, too.
    assert_eq!(connections(&daemon), before + 1);
    assert_eq!(daemon.stat("queue_jobs_items").as_deref(), Some("21"));
}

#[test]
fn however_a_request_ends_what_it_held_returns_at_once() {
    let daemon = Daemon::start("");
    let hold = "$m = $q->reserve('jobs', 5.0); echo $m->getBody(), ';'; ";
    let ends = [
        ("normal", ""),
        ("exit", "exit;"),
        ("fatal", "there_is_no_such_function();"),
        ("exception", "throw new Exception('nobody catches this');"),
        ("memory", "$s = str_repeat('x', 64 << 20);"),
        ("time", "while (true) {}"),
    ];
    let fpm = one_child(&daemon, &[]);
    let mut wire = daemon.connect();
    wire.put("jobs", b"the one");
    for (name, code) in ends {
        fpm.script(name, &format!("$q = new KQueue('{}'); {hold} {code}", daemon.address()));
        let answer = fpm.get(name);
        assert!(answer.starts_with("the one;"), "{name}: {answer}");
        // Nothing waits here: it must be back when the request is over, although the process and its connections live on.
        assert_eq!(wire.get("jobs/open/t=5000").as_deref(), Some(&b"the one"[..]), "{name}");
        wire.ask(b"get jobs/abort\r\n", b"END\r\n");
    }
}

#[test]
fn a_killed_child_loses_nothing() {
    let daemon = Daemon::start("");
    let fpm = one_child(
        &daemon,
        &[(
            "hold",
            "$m = $q->reserve('jobs', 5.0); $q->push('pids', (string) getmypid()); while (true) { sleep(1); }",
        )],
    );
    let mut wire = daemon.connect();
    wire.put("jobs", b"the one");
    let mut request = fpm.begin("hold");
    let pid = wire.get("pids/t=20000").expect("the child says who it is");
    let pid: i32 = String::from_utf8(pid).expect("digits").parse().expect("a number");
    assert_eq!(wire.get("jobs"), None, "it is held");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL)
        .expect("the child can be killed");
    assert_eq!(wire.get("jobs/t=20000").as_deref(), Some(&b"the one"[..]));
    request.wait().expect("the request ends");
}

#[test]
fn a_restarted_server_is_not_noticed() {
    let daemon = Daemon::start("");
    let fpm = Fpm::start(1, &["display_errors=1"]);
    let push = format!(
        "$q = new KQueue('{}'); $q->push('jobs', 'x'); echo 'pushed by ', getmypid();",
        daemon.socket_url()
    );
    fpm.script("push", &push);
    let first = fpm.get("push");
    assert!(first.starts_with("pushed by "), "{first}");
    let daemon = daemon.kill_and_restart();
    assert_eq!(fpm.get("push"), first, "the stale connection is replaced without a word");
    let daemon = daemon.stop_and_restart();
    assert_eq!(fpm.get("push"), first);
    assert_eq!(daemon.stat("queue_jobs_items").as_deref(), Some("3"));
}

#[test]
fn one_of_two_servers_may_die() {
    let (one, mut two) = (Daemon::start(""), Daemon::start(""));
    let fpm = Fpm::start(2, &["display_errors=1"]);
    let servers = format!("{},{}", one.socket_url(), two.socket_url());
    fpm.script(
        "push",
        &format!("$q = new KQueue('{servers}'); $q->push('jobs', 'x'); echo 'pushed';"),
    );
    fpm.script(
        "work",
        &format!("$q = new KQueue('{servers}'); for ($n = 0; $m = $q->reserve('jobs'); $n++) $m->ack(); echo $n;"),
    );
    let push = |count: usize| {
        for _ in 0..count {
            assert_eq!(fpm.get("push"), "pushed");
        }
    };
    push(20);
    let items = |daemon: &Daemon| -> u64 {
        daemon.stat("queue_jobs_items").and_then(|n| n.parse().ok()).unwrap_or_default()
    };
    let held_by_two = items(&two);
    assert_eq!(items(&one) + held_by_two, 20);
    two.signal(Signal::KILL);
    two.wait();
    push(20);
    let held_by_one = items(&one);
    assert_eq!(held_by_one + held_by_two, 40, "every push since went to the living one");
    assert_eq!(fpm.get("work"), held_by_one.to_string(), "the living one is worked off meanwhile");
    assert_eq!(items(&one), 0);
}
