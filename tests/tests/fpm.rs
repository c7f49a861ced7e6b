//! The extension inside PHP-FPM, where it is meant to live: many requests in one process, and every way for a request to end.

use std::net::TcpListener;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kqueue_tests::{Ctl, Daemon, Fpm, Wire};
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

/// What lies in the queue of every server of a [`Site`]; its number is put before it.
const BODIES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Some servers with items, and requests that reserve some of them.
struct Site {
    daemons: Vec<Daemon>,
    /// One for each of them; it takes nothing.
    wires: Vec<Wire>,
    /// How many items a request takes at each server.
    takes: usize,
}

impl Site {
    fn start(servers: usize, takes: usize) -> Self {
        let daemons: Vec<_> = (0..servers).map(|_| Daemon::start("")).collect();
        let mut wires: Vec<_> = daemons.iter().map(Daemon::connect).collect();
        for (nth, wire) in wires.iter_mut().enumerate() {
            for body in BODIES {
                wire.put("jobs", format!("{nth}{body}").as_bytes());
            }
        }
        Self { daemons, wires, takes }
    }

    /// Of one and of two servers, for requests that take one item and several.
    fn each() -> impl Iterator<Item = Self> {
        [(1, 1), (1, 3), (2, 1), (2, 3)]
            .into_iter()
            .map(|(servers, takes)| Self::start(servers, takes))
    }

    /// `$q`, and PHP code that reserves items in two ways, on two connections if there are several.
    fn reserves(&self) -> String {
        let servers: Vec<_> =
            self.daemons.iter().map(|daemon| daemon.address().to_string()).collect();
        let at_each = self.takes;
        let each = servers.iter().map(|server| {
            let rest = if at_each > 1 {
                format!("$held[] = $q{{n}}->reserveMany('jobs', {});", at_each - 1)
            } else {
                String::new()
            };
            format!("$q{{n}} = new KQueue('{server}'); $held[] = $q{{n}}->reserve('jobs'); {rest}")
        });
        let each: String =
            each.enumerate().map(|(n, code)| code.replace("{n}", &n.to_string())).collect();
        format!("$held = []; {each} $q = new KQueue('{}');", servers.join(","))
    }

    /// A script that acknowledges whatever is there and says who did it.
    fn works(&self) -> String {
        let servers: Vec<_> =
            self.daemons.iter().map(|daemon| daemon.address().to_string()).collect();
        format!(
            "$q = new KQueue('{}'); $done = []; while ($m = $q->reserve('jobs')) {{ $m->ack(); $done[] = $m->getBody(); }} sort($done); echo getmypid(), ' ', implode(' ', $done);",
            servers.join(",")
        )
    }

    /// Everything is back in its place, in order.
    fn is_whole(&mut self, what: &str) {
        for (nth, wire) in self.wires.iter_mut().enumerate() {
            let whole: Vec<_> = BODIES.iter().map(|body| format!("{nth}{body}")).collect();
            assert_eq!(wire.bodies("jobs", "ready"), whole, "{what}");
        }
    }

    /// All items that a request holds have been taken.
    fn is_taken(&mut self) {
        for (nth, wire) in self.wires.iter_mut().enumerate() {
            let left: Vec<_> =
                BODIES[self.takes..].iter().map(|body| format!("{nth}{body}")).collect();
            assert_eq!(wire.bodies("jobs", "ready"), left);
        }
    }

    /// Nothing is held any more: the servers have seen the connections of a dead child close.
    fn await_release(&mut self) {
        self.wires.iter_mut().for_each(|wire| wire.await_stat("queue_jobs_open_transactions", "0"));
    }

    /// Connections so far, over all servers.
    fn connections(&mut self) -> u64 {
        let count =
            |wire: &mut Wire| wire.stat("total_connections").and_then(|n| n.parse::<u64>().ok());
        self.wires.iter_mut().map(|wire| count(wire).expect("a number")).sum()
    }

    /// All that a request of `works` does, except who did it.
    fn all_bodies(&self) -> String {
        let bodies =
            (0..self.daemons.len()).flat_map(|nth| BODIES.map(|body| format!("{nth}{body}")));
        bodies.collect::<Vec<_>>().join(" ")
    }

    /// The next request, in `child` or any but `not_child`, finds everything.
    fn is_worked_off(&self, fpm: &Fpm, child: Option<&str>, not_child: Option<&str>) {
        let answer = fpm.get("work");
        let (pid, done) = answer.split_once(' ').unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(done, self.all_bodies());
        assert!(child.is_none_or(|child| child == pid), "{pid}, not {child:?}");
        assert_ne!(Some(pid), not_child);
    }
}

#[test]
fn however_a_request_ends_what_it_held_returns_at_once_and_the_connection_goes_on() {
    let ends = [
        ("normal", ""),
        ("exit", "exit;"),
        ("fatal", "there_is_no_such_function();"),
        ("exception", "throw new Exception('nobody catches this');"),
        ("memory", "$s = str_repeat('x', 64 << 20);"),
        ("time", "while (true) {}"),
    ];
    for mut site in Site::each() {
        let fpm = one_child(&site.daemons[0], &[]);
        fpm.script("warm up", &format!("{} echo getmypid();", site.reserves()));
        fpm.script("work", &site.works());
        for (name, code) in ends {
            fpm.script(name, &format!("{} echo getmypid(), ';'; {code}", site.reserves()));
        }
        let child = fpm.get("warm up");
        let before = site.connections();
        for (name, _) in ends {
            let answer = fpm.get(name);
            assert!(answer.starts_with(&format!("{child};")), "{name}: {answer}");
            // Nothing waits here: it must be back when the request is over, although the process and its connections live on.
            site.is_whole(name);
        }
        assert_eq!(site.connections(), before, "the pooled ones are used");
        site.is_worked_off(&fpm, Some(&child), None);
        assert_eq!(site.connections(), before);
    }
}

/// A request that holds items, says who it is, and never ends.
fn hold_for_ever(site: &mut Site, fpm: &Fpm) -> (Child, i32) {
    let code = "$q0->push('pids', (string) getmypid()); while (true) { usleep(100000); }";
    fpm.script("hold", &format!("{} {code}", site.reserves()));
    fpm.script("work", &site.works());
    let request = fpm.begin("hold");
    let pid = site.wires[0].get("pids/t=20000").expect("the child says who it is");
    let pid = String::from_utf8(pid).expect("digits").parse().expect("a number");
    (request, pid)
}

#[test]
fn a_killed_child_loses_nothing() {
    for mut site in Site::each() {
        let fpm = Fpm::start(1, &[]);
        let (mut request, pid) = hold_for_ever(&mut site, &fpm);
        site.is_taken();
        kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL)
            .expect("the child can be killed");
        site.await_release();
        site.is_whole("killed");
        request.wait().expect("the request ends");
        site.is_worked_off(&fpm, None, Some(&pid.to_string()));
    }
}

/// PHP-FPM kills the child itself.
#[test]
fn a_request_that_takes_too_long_for_php_fpm_loses_nothing() {
    for mut site in Site::each() {
        let fpm = Fpm::start_with(1, &[], "", "request_terminate_timeout = 1s");
        let (mut request, pid) = hold_for_ever(&mut site, &fpm);
        site.await_release();
        site.is_whole("terminated");
        request.wait().expect("the request ends");
        site.is_worked_off(&fpm, None, Some(&pid.to_string()));
    }
}

/// Without a `process_control_timeout`, PHP-FPM does not wait for its children.
#[test]
fn a_reload_of_php_fpm_loses_nothing() {
    for mut site in Site::each() {
        let fpm = Fpm::start(1, &[]);
        let (mut request, pid) = hold_for_ever(&mut site, &fpm);
        site.is_taken();
        fpm.begin_reload();
        fpm.await_ready();
        site.await_release();
        site.is_whole("reloaded");
        request.wait().expect("the request ends");
        site.is_worked_off(&fpm, None, Some(&pid.to_string()));
    }
}

/// The child ends its request first, also if it waits for an item when the signal comes.
#[test]
fn a_graceful_reload_of_php_fpm_lets_requests_end() {
    let mut site = Site::start(2, 3);
    let fpm = Fpm::start_with(1, &[], "process_control_timeout = 60s", "");
    let code = "$q->push('pids', (string) getmypid()); while (!($go = $q->reserve('go', 60.0))); $go->ack(); echo 'done';";
    fpm.script("hold", &format!("{} {}", site.reserves(), code.replace("$q->push", "$q0->push")));
    fpm.script("work", &site.works());
    std::thread::scope(|scope| {
        let request = scope.spawn(|| fpm.get("hold"));
        let pid = site.wires[0].get("pids/t=20000").expect("the child says who it is");
        site.wires.iter_mut().for_each(|wire| wire.await_stat("queue_go_waiters", "1"));
        site.is_taken();
        fpm.begin_reload();
        site.wires[1].put("go", b"now");
        assert_eq!(request.join().expect("it is answered"), "done");
        fpm.await_ready();
        site.is_whole("reloaded");
        site.is_worked_off(&fpm, None, Some(&String::from_utf8_lossy(&pid)));
    });
}

#[test]
fn children_that_are_replaced_after_some_requests_lose_nothing() {
    for mut site in Site::each() {
        let fpm = Fpm::start_with(1, &[], "", "pm.max_requests = 3");
        fpm.script("hold", &format!("{} echo getmypid();", site.reserves()));
        let mut children = Vec::new();
        let before = site.connections();
        for _ in 0..7 {
            children.push(fpm.get("hold"));
            site.is_whole("the request is over");
        }
        let after = site.connections();
        children.dedup();
        assert_eq!(children.len(), 3, "{children:?}");
        let at_once = if site.takes > 1 { 2 } else { 1 };
        assert_eq!(
            after - before,
            (3 * site.daemons.len() * at_once) as u64,
            "each child opens its own, once"
        );
    }
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

/// Accepts, and never says a word.
struct Hole {
    address: String,
    accepted: Arc<AtomicUsize>,
}

impl Hole {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        // It goes when the tests go.
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
        });
        Self { address, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Servers that are of no use to who pushes, each in its way.
struct Ruins {
    killed: String,
    hole: Hole,
    /// It is stopped in the middle of whatever it did.
    stopped: Daemon,
    read_only: Daemon,
    /// Of two items, and it has them.
    full: Daemon,
}

impl Ruins {
    fn build() -> Self {
        let killed = Daemon::start("");
        let address = killed.address().to_string();
        killed.kill();
        let stopped = Daemon::start("");
        stopped.signal(Signal::STOP);
        let read_only = Daemon::start("");
        let mut wire = read_only.connect();
        wire.put("jobs", b"kept 1");
        wire.put("jobs", b"kept 2");
        Ctl::of(&read_only).says("status readonly");
        let full = Daemon::start("[queue_defaults]\nmax_items = 2");
        let mut wire = full.connect();
        wire.put("jobs", b"full 1");
        wire.put("jobs", b"full 2");
        Self { killed: address, hole: Hole::open(), stopped, read_only, full }
    }

    /// Each of them, before the server that is sound.
    fn each_before(&self, sound: &Daemon) -> [(&'static str, String); 6] {
        let sound = sound.address();
        let [stopped, read_only, full] =
            [&self.stopped, &self.read_only, &self.full].map(Daemon::address);
        let (killed, hole) = (&self.killed, &self.hole.address);
        [
            ("killed", format!("{killed},{sound}")),
            ("silent", format!("{hole},{sound}")),
            ("stopped", format!("{stopped},{sound}")),
            ("read-only", format!("{read_only},{sound}")),
            ("full", format!("{full},{sound}")),
            ("all of them", format!("{killed},{hole},{stopped},{read_only},{full},{sound}")),
        ]
    }
}

/// Patient enough for a busy machine; a server that failed once is not asked again while a test runs.
const ORDERED: &str =
    "['failover' => 'ordered', 'timeout' => 6.0, 'connect_timeout' => 3.0, 'eject_time' => 600]";

#[test]
fn no_push_fails_while_one_server_is_sound_whatever_is_wrong_with_the_others() {
    let ruins = Ruins::build();
    let sound = Daemon::start("");
    let (mut wire, mut full) = (sound.connect(), ruins.full.connect());
    for (nth, (name, servers)) in ruins.each_before(&sound).into_iter().enumerate() {
        // Another child for each, which has never heard of any of them.
        let fpm = Fpm::start(1, &["display_errors=1"]);
        let asked = ruins.hole.accepted();
        let push = format!(
            "$q = new KQueue('{servers}', {ORDERED}); $q->push('{nth}', 'x'); $q->pushMany('{nth}', ['x', 'x']); $q->pushAsync('{nth}', 'x'); echo getmypid();"
        );
        fpm.script("push", &push);
        let first = fpm.get("push");
        assert!(first.parse::<u32>().is_ok(), "{name}: {first}");
        for _ in 0..9 {
            assert_eq!(fpm.get("push"), first, "{name}");
        }
        // The full one takes what it has room for.
        let stored = [&mut wire, &mut full].map(|wire| wire.stat(&format!("queue_{nth}_items")));
        let stored = stored.map(|items| items.map_or(0, |n| n.parse::<u32>().expect("a number")));
        let at_full = if servers.contains(&ruins.full.address().to_string()) { 2 } else { 0 };
        assert_eq!(stored, [40 - at_full, at_full], "{name}");
        // Ten requests, each with an object of its own.
        let expected = usize::from(servers.contains(&ruins.hole.address));
        assert_eq!(ruins.hole.accepted() - asked, expected, "{name}: one attempt per interval");
    }
    // What is asked to store is asked once, too; and when it goes on, it may have what it was sent.
    ruins.stopped.signal(Signal::CONT);
    let mut stopped = ruins.stopped.connect();
    // Ours, and one for each child that was told of it; those are counted when their turn comes, which may be after ours.
    stopped.await_stat("total_connections", "3");
    for (daemon, bodies) in
        [(&ruins.read_only, ["kept 1", "kept 2"]), (&ruins.full, ["full 1", "full 2"])]
    {
        assert_eq!(daemon.connect().bodies("jobs", "ready"), bodies, "nothing was added");
    }
}

/// A dead server is probed again after the interval: by one call, whichever object makes it.
#[test]
fn a_silent_server_is_probed_once_per_interval_by_all_objects_of_a_process() {
    let (hole, sound) = (Hole::open(), Daemon::start(""));
    let fpm = Fpm::start(1, &["display_errors=1"]);
    let interval = Duration::from_millis(300);
    let options = "['failover' => 'ordered', 'timeout' => 0.2, 'eject_time' => 0.3]";
    let code =
        "for ($i = 0; $i < 5; $i++) (new KQueue($servers, $options))->size('jobs'); echo 'done';";
    let servers = format!("{},{}", hole.address, sound.address());
    fpm.script("ask", &format!("$servers = '{servers}'; $options = {options}; {code}"));
    let began = Instant::now();
    while hole.accepted() < 3 {
        assert_eq!(fpm.get("ask"), "done");
        let intervals = began.elapsed().as_millis() / interval.as_millis();
        assert!(hole.accepted() as u128 <= 1 + intervals, "{} in {intervals}", hole.accepted());
    }
}

#[test]
fn pops_drain_every_server_that_answers() {
    let ruins = Ruins::build();
    let sound = Daemon::start("");
    sound.connect().put("jobs", b"sound");
    let (_, servers) = ruins.each_before(&sound).into_iter().next_back().expect("there are some");
    let fpm = Fpm::start(1, &["display_errors=1"]);
    let code = "$all = [$q->pop('jobs')]; while ($m = $q->reserve('jobs')) { $all[] = $m->getBody(); $m->ack(); } sort($all); echo implode(', ', $all);";
    fpm.script("work", &format!("$q = new KQueue('{servers}', {ORDERED}); {code}"));
    assert_eq!(fpm.get("work"), "full 1, full 2, kept 1, kept 2, sound");
    for daemon in [&ruins.read_only, &ruins.full, &sound] {
        assert_eq!(daemon.stat("queue_jobs_items").as_deref(), Some("0"));
    }
}

/// Nobody knows beforehand where the next item will be put.
#[test]
fn who_waits_gets_an_item_from_whichever_server_it_is_put_on() {
    let (one, two, hole) = (Daemon::start(""), Daemon::start(""), Hole::open());
    let servers = format!("{},{},{}", one.address(), hole.address, two.address());
    let fpm = Fpm::start(1, &["display_errors=1", "max_execution_time=0"]);
    let code = "$m = $q->reserve('late', 3600.0); $m->ack(); echo $m->getBody();";
    fpm.script("wait", &format!("$q = new KQueue('{servers}', {ORDERED}); {code}"));
    let mut wires = [one.connect(), two.connect()];
    for (at, body) in [(0, "at one"), (1, "at two"), (1, "at two again"), (0, "at one again")] {
        std::thread::scope(|scope| {
            let request = scope.spawn(|| fpm.get("wait"));
            wires.iter_mut().for_each(|wire| wire.await_stat("queue_late_waiters", "1"));
            wires[at].put("late", body.as_bytes());
            assert_eq!(request.join().expect("it is answered"), body);
        });
        // The other one is not waited at any more.
        wires.iter_mut().for_each(|wire| wire.await_stat("queue_late_waiters", "0"));
        wires.iter_mut().for_each(|wire| wire.await_stat("queue_late_open_transactions", "0"));
    }
    assert_eq!(
        wires.each_mut().map(|wire| wire.stat("queue_late_items")),
        [Some("0".into()), Some("0".into())]
    );
}
