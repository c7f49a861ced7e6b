//! Every command, without sockets.

use std::fs;
use std::path::PathBuf;

use axum::body::Body;
use axum::http;
use bytes::BytesMut;
use http_body_util::BodyExt;
use kqueue_broker::{Limits, Output, Session};
use serde_json::json;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::boot;
use crate::clock::Clock;
use crate::control::Source;
use crate::status_file::StatusFile;

/// Nothing waits for the disk, so that no disk thread is needed.
const SETTINGS: &str =
    "[journal]\nsegment_size = \"4MiB\"\nlog_cap = \"64MiB\"\nsync = \"never\"\n";

/// A server without sockets and threads.
struct Server {
    admin: Arc<Admin>,
    drain: watch::Sender<bool>,
    running: Running,
    directory: TempDir,
    session: Session,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Server {
    fn start(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        fs::write(&path, format!("{settings}{SETTINGS}")).unwrap();
        let source = Source { path: Some(path), data_dir: directory.path().join("data") };
        let config = source.load().unwrap();
        let clock = Clock::start();
        let booted = boot::boot(&config, &clock).unwrap();
        let shared = Shared::new(booted.broker, booted.disk, booted.quarantine, clock);
        let file = StatusFile::new(status_file(&directory));
        let control = Control::new(Arc::clone(&shared), source, config, file);
        let (drain, draining) = watch::channel(false);
        let (session, access) = shared.connect(Arc::default());
        let codec = Box::new(kqueue_broker::Decoder::new(Limits::default()));
        let session = Session::with_codec(session, codec, access);
        let admin = Admin::new(draining);
        let running = Running { shared, control };
        Self { admin, drain, running, directory, session }
    }

    /// One that has recovered.
    fn ready(settings: &str) -> Self {
        let server = Self::start(settings);
        server.admin.set_running(server.running.clone());
        server
    }

    fn say(&mut self, request: &[u8]) {
        let mut input = BytesMut::from(request);
        self.session.feed(&mut input);
        self.running.shared.run_session(
            std::time::Instant::now(),
            &mut self.session,
            Default::default(),
        );
        let progress = self.running.shared.write_session(&self.session);
        self.session.encode(&progress, &mut Output::default());
    }

    fn put(&mut self, queue: &[u8]) {
        self.say(&[b"set ", queue, b" 0 0 1\r\nx\r\n"].concat());
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = router(Arc::clone(&self.admin)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Request::post(path), body).await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json", "{path}");
        serde_json::from_str(&answer.text).unwrap()
    }
}

impl Answer {
    fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }
}

fn status_file(directory: &TempDir) -> PathBuf {
    directory.path().join("status")
}

#[tokio::test]
async fn during_recovery_it_answers_and_says_so() {
    let server = Server::start("");
    server.get("/ping.txt").await.is(200, "pong\n");
    assert_eq!(server.get("/server_info.json").await.status, 200);
    let all = ["/health", "/ready", "/ready/read", "/ready/write", "/metrics", "/stats"];
    for path in all.into_iter().chain(["/queues", "/queues?name=q", "/status"]) {
        server.get(path).await.is(503, "recovering\n");
    }
    for path in ["/reload", "/status?status=up", "/shutdown"] {
        server.post(path, "").await.is(503, "recovering\n");
    }
    server.admin.set_running(server.running.clone());
    for path in ["/health", "/ready", "/ready/read", "/ready/write"] {
        server.get(path).await.is(200, "ok\n");
    }
}

#[tokio::test]
async fn commands_are_answered_in_text_or_json_as_by_ostrich() {
    let server = Server::ready("");
    server.get("/ping").await.is(200, "{\"response\":\"pong\"}\n");
    server.get("/ping.json").await.is(200, "{\"response\":\"pong\"}\n");
    server.get("/ping.txt").await.is(200, "pong\n");
    server.get("/nothing").await.is(404, "no such command\n");
    server.get("/pings").await.is(404, "no such command\n");
    let info = server.json("/server_info.json").await;
    assert_eq!(
        (&info["name"], &info["version"]),
        (&json!("kqueue-server"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(info["uptime"].is_u64() && info["start_time"].is_string());
    assert!(server.get("/server_info.txt").await.text.starts_with("name: kqueue-server\n"));
}

#[tokio::test]
async fn only_post_changes_anything() {
    let server = Server::ready("");
    for path in ["/reload", "/reload.txt", "/shutdown", "/shutdown.txt"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, &answer.headers[header::ALLOW]),
            (405, &"POST".parse().unwrap())
        );
    }
    assert_eq!(server.get("/status?status=quiescent").await.status, 200);
    assert_eq!(server.json("/status").await["status"], "UP");
    assert_eq!(server.post("/stats", "").await.status, 405);
    server.post("/shutdown.txt", "").await.is(200, "ok\n");
    server.running.control.shutdown.notified().await;
}

#[tokio::test]
async fn a_web_page_gets_nothing_whatever_its_host_is_called() {
    let server = Server::ready("");
    for origin in ["http://evil.example", "http://q.example:2223", "null", ""] {
        let request = Request::post("/status?status=quiescent")
            .header("host", "q.example:2223")
            .header("origin", origin);
        server.send(request, "").await.is(403, "not for web pages\n");
    }
    let ping = Request::get("/ping").header("origin", "http://q.example");
    assert_eq!(server.send(ping, "").await.status, 403);
    assert_eq!(server.json("/status").await["status"], "UP");
}

#[tokio::test]
async fn a_listing_keeps_its_turn_when_nobody_waits_for_it_any_more() {
    let server = Server::ready("");
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go_on, may_end) = std::sync::mpsc::channel::<()>();
    let work = move |_: &Running| {
        begun.send(()).unwrap();
        may_end.recv().unwrap();
    };
    let admin = Arc::clone(&server.admin);
    let asks = tokio::spawn(async move { admin.list(work).await.map_err(|_| ()) });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    asks.abort();
    assert!(asks.await.unwrap_err().is_cancelled());
    assert!(server.admin.listing.try_lock().is_err(), "its turn has not ended");
    go_on.send(()).unwrap();
    assert_eq!(server.admin.list(|_| 7).await.unwrap(), 7);
}

#[tokio::test]
async fn a_status_is_set_and_saved_and_a_grace_period_refuses() {
    let server = Server::ready("[server]\nstatus_change_grace_period = \"1h\"\n");
    let saved = || fs::read_to_string(status_file(&server.directory)).unwrap();
    assert_eq!(server.get("/status.txt").await.text, "status: UP\nenforced: UP\n");
    server.post("/status.txt", "readonly").await.is(200, "status: READONLY\nenforced: UP\n");
    assert_eq!(saved(), "readonly\n");
    server.get("/ready").await.is(503, "the status is READONLY\n");
    server.get("/ready/write").await.is(503, "the status is READONLY\n");
    server.get("/ready/read").await.is(200, "ok\n");
    server.get("/health").await.is(200, "ok\n");
    server
        .post("/status", "status=readonly")
        .await
        .is(200, "{\"status\":\"READONLY\",\"enforced\":\"UP\"}\n");
    let refused = server.post("/status.txt", "status=quiescent").await;
    refused.is(409, "a grace period runs: only a status that allows more\n");
    assert_eq!(saved(), "readonly\n");
    server.post("/status.txt?status=up", "").await.is(200, "status: UP\nenforced: UP\n");
    assert_eq!(saved(), "up\n");
    for (body, name) in [("down", "forbidden"), ("busy", "unknown"), ("", "unknown")] {
        let answer = server.post("/status", body).await;
        assert!(answer.status == 400 && answer.text.contains(name), "{}", answer.text);
    }
    assert_eq!(server.post("/status", &"x".repeat(BODY_MAX + 1)).await.status, 413);
    fs::remove_dir_all(server.directory.path()).unwrap();
    let unsaved = server.post("/status.txt", "writeavoid").await;
    assert!(
        unsaved.status == 500 && unsaved.text.contains("not after a restart"),
        "{}",
        unsaved.text
    );
}

#[tokio::test]
async fn a_reload_says_what_is_wrong() {
    let server = Server::ready("");
    server.post("/reload.txt", "").await.is(200, "ok\n");
    let path = server.directory.path().join("server.toml");
    fs::write(&path, "[queue_defaults]\nmax_itms = 3\n").unwrap();
    let answer = server.post("/reload", "").await;
    let error = serde_json::from_str::<Value>(&answer.text).unwrap()["error"].to_string();
    assert!(answer.status == 422 && error.contains("server.toml:2:"), "{}", answer.text);
    let settings = format!("[queue_defaults]\nmax_items = 3\n{SETTINGS}");
    fs::write(&path, &settings).unwrap();
    server.post("/reload", "").await.is(200, "{\"response\":\"ok\"}\n");
    fs::write(&path, settings.replace("\"4MiB", "\"8MiB")).unwrap();
    let waits = "{\"response\":\"ok; only used after a restart: journal.segment_size\"}\n";
    server.post("/reload", "").await.is(200, waits);
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_and_not_healthy() {
    let server = Server::ready("");
    server.drain.send_replace(true);
    for path in ["/health", "/ready", "/ready/read", "/ready/write"] {
        server.get(path).await.is(503, "draining\n");
    }
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn queues_are_listed_in_pages_with_all_that_holds_for_them() {
    let mut server = Server::ready("[queues.\"q0\"]\nmax_items = 5\nsync_journal = \"10ms\"\n");
    for number in 0..150 {
        server.put(format!("q{number}").as_bytes());
    }
    server.say(b"get q0+child\r\n");
    let first = server.json("/queues").await;
    assert_eq!(first["queues"].as_array().unwrap().len(), PAGE);
    assert_eq!(first["aliases"], json!([]));
    let rest = server.json(&format!("/queues?after={}", first["next"])).await;
    assert_eq!(rest["queues"].as_array().unwrap().len(), 51);
    assert_eq!((&rest["next"], rest.get("aliases")), (&Value::Null, None));
    let exact = server.json("/queues?limit=151").await;
    assert_eq!((exact["queues"].as_array().unwrap().len(), &exact["next"]), (151, &Value::Null));

    let queue = server.json("/queues?name=q0").await;
    assert_eq!(
        (&queue["items"], &queue["bytes"], &queue["total_items"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (&queue["settings"]["max_items"], &queue["settings"]["sync_journal"]),
        (&json!(5), &json!("10ms"))
    );
    assert_eq!(
        (&queue["settings"]["max_size"], &queue["children"]),
        (&Value::Null, &json!(["q0+child"]))
    );
    // A `+` is part of the name.
    assert_eq!(server.json("/queues?name=q0+child").await["settings"]["max_items"], 5);
    server.get("/queues?name=absent").await.is(404, "no such queue\n");
    for wrong in ["limit=0", "limit=1001", "limit=x", "after=-1", "limit="] {
        assert_eq!(server.get(&format!("/queues?{wrong}")).await.status, 400, "{wrong}");
    }
}

const PAGE: usize = 100;

#[tokio::test]
async fn names_are_shown_byte_by_byte_and_found_either_way() {
    let mut server = Server::ready("");
    server.put(b"caf\xc3\xa9\"\\");
    let shown = "caf\u{c3}\u{a9}\"\\";
    assert_eq!(server.json("/queues").await["queues"][0]["name"], shown);
    // As it is on the wire, and what is shown, in UTF-8.
    for name in ["caf%C3%A9%22%5C", "caf%C3%83%C2%A9%22%5C"] {
        assert_eq!(server.json(&format!("/queues?name={name}")).await["name"], shown);
    }
    let metrics = server.get("/metrics").await.text;
    assert!(
        metrics.contains("kqueue_queue_items{queue=\"caf\u{c3}\u{a9}\\\"\\\\\"} 1\n"),
        "{metrics}"
    );
    let stats = server.json("/stats").await;
    assert_eq!(stats["gauges"][format!("q/{shown}/items")], 1);
}

#[tokio::test]
async fn of_many_queues_metrics_show_the_fullest() {
    let mut server = Server::ready("");
    for number in 0..250 {
        server.put(format!("q{number}").as_bytes());
    }
    server.put(b"q249");
    let text = server.get("/metrics").await.text;
    let shown: Vec<&str> =
        text.lines().filter(|line| line.starts_with("kqueue_queue_items{")).collect();
    assert_eq!(shown.len(), 200);
    assert_eq!(shown[0], "kqueue_queue_items{queue=\"q249\"} 2");
    assert_eq!(shown[199], "kqueue_queue_items{queue=\"q198\"} 1");
    assert!(text.contains("\nkqueue_queues_not_shown 50\n"));
    assert!(text.contains("\nkqueue_items 251\n") && text.contains("\nkqueue_puts_total 251\n"));
    assert!(text.contains("\nkqueue_status{status=\"UP\"} 1\n"));
}

#[tokio::test]
async fn what_is_delayed_dead_or_paused_is_shown_everywhere() {
    let mut server = Server::ready("[queues.q]\nmax_attempts = 1\n");
    server.say(b"put q 1 priority=low\r\nl\r\nreserve 1 0 0 q\r\n");
    server.say(b"put q 1 delay=100000 key=k\r\nd\r\nput q 1 key=k\r\nd\r\n");
    server.say(b"put q 1 priority=high\r\nh\r\n");
    // What was delivered once, and is given back, is dead.
    server.say(b"get q/abort\r\npause q\r\n");
    let queue = server.json("/queues?name=q").await;
    let figures = ["items", "delayed_items", "dead_items", "dead_lettered", "kicked"];
    assert_eq!(figures.map(|name| &queue[name]), [1, 1, 1, 1, 0]);
    assert_eq!(queue["is_paused"], true);
    assert!(queue["oldest_ms"].is_u64(), "of high priority: {queue}");
    let text = server.get("/metrics").await.text;
    for line in [
        "kqueue_items 1",
        "kqueue_delayed_items 1",
        "kqueue_dead_items 1",
        "kqueue_repeated_puts_total 1",
        "kqueue_known_keys 1",
        "kqueue_queue_items{queue=\"q\"} 1",
        "kqueue_queue_delayed_items{queue=\"q\"} 1",
        "kqueue_queue_dead_items{queue=\"q\"} 1",
        "kqueue_queue_paused{queue=\"q\"} 1",
        "kqueue_queue_dead_lettered_items_total{queue=\"q\"} 1",
        "kqueue_queue_kicked_items_total{queue=\"q\"} 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    assert!(text.contains("\nkqueue_queue_oldest_seconds{queue=\"q\"} "), "{text}");
    server.say(b"resume q\r\nkick q all\r\n");
    let stats = server.json("/stats").await;
    for (name, value) in [("delayed_items", 1), ("dead_items", 0), ("known_keys", 1)] {
        assert_eq!(stats["gauges"][name], value, "{name}");
    }
    for (name, value) in [("items", 2), ("delayed_items", 1), ("dead_items", 0), ("paused", 0)] {
        assert_eq!(stats["gauges"][format!("q/q/{name}")], value, "{name}");
    }
    assert_eq!(stats["counters"]["repeated_puts"], 1);
    assert_eq!(stats["counters"]["q/q/dead_lettered"], 1);
    assert_eq!(stats["counters"]["q/q/kicked"], 1);
}

/// A queue of which nothing is ready may be one that somebody has to look at.
#[tokio::test]
async fn of_many_queues_those_with_delayed_items_are_among_the_fullest() {
    let mut server = Server::ready("");
    for number in 0..210 {
        server.put(format!("q{number}").as_bytes());
    }
    for delay in [100_000, 200_000] {
        server.say(format!("put late 1 delay={delay}\r\nx\r\n").as_bytes());
    }
    let text = server.get("/metrics").await.text;
    assert!(text.contains("kqueue_queue_delayed_items{queue=\"late\"} 2\n"), "{text}");
}

#[tokio::test]
async fn statistics_have_ostrichs_shape_and_kestrels_names() {
    let mut server = Server::ready("[queues.q]\nmax_items = 9\n");
    server.put(b"q");
    server.say(b"get q\r\n");
    server.say(b"get q\r\n");
    let stats = server.json("/stats.json?period=60").await;
    let parts: Vec<&String> = stats.as_object().unwrap().keys().collect();
    assert_eq!(parts, ["counters", "gauges", "labels", "metrics"]);
    let counters = &stats["counters"];
    assert_eq!((&counters["cmd_set"], &counters["cmd_get"]), (&json!(1), &json!(2)));
    assert_eq!((&counters["get_hits"], &counters["get_misses"]), (&json!(1), &json!(1)));
    assert_eq!(counters["q/q/total_items"], 1);
    assert_eq!(stats["gauges"]["q/q/max_items"], 9);
    assert_eq!(stats["gauges"]["q/q/max_bytes"], i64::MAX);
    let created = stats["gauges"]["q/q/create_time"].as_u64().unwrap();
    assert!(created.abs_diff(server.running.shared.look(|now, _| now.wall_ms / 1000)) < 3600);
    assert_eq!(stats["labels"], json!({"status": "UP", "version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(stats["metrics"]["set_latency_usec"], json!({"count": 0}));
    let text = server.get("/stats.txt").await.text;
    assert!(text.starts_with("counters:\n  bytes_read: "), "{text}");
    assert!(text.contains("\ngauges:\n") && text.contains("\n  status: UP\n"), "{text}");
    assert!(text.contains("\n  set_latency_usec: (count=0)\n"), "{text}");
}

/// Kestrel's names, and those of them that docs/protocol.md says are not there.
#[tokio::test]
async fn every_statistic_of_ostrich_is_there_or_named_as_missing() {
    let mut server = Server::ready("[aliases.all]\ndestinations = [\"q\"]\n");
    server.put(b"all");
    let stats = server.json("/stats").await;
    let of_the_server = [
        (
            "counters",
            "cmd_get cmd_set cmd_peek cmd_monitor cmd_monitor_get cmd_get_timeout_dropped cmd_get_open_dropped get_hits get_misses bytes_read bytes_written queue_creates queue_deletes queue_expires total_connections total_items",
        ),
        (
            "metrics",
            "set_latency_usec get_hit_latency_usec get_miss_latency_usec get_timeout_msec delivery_latency_msec fsync_delay_usec item_fsync_delay_usec",
        ),
        (
            "gauges",
            "connections items bytes reserved_memory_ratio status/readable status/writeable",
        ),
        ("labels", "version status"),
    ];
    let of_a_queue = [
        (
            "counters",
            "total_items transactions canceled_transactions expired_items discarded total_flushes journal_rewrites journal_rotations",
        ),
        (
            "gauges",
            "items max_items bytes max_bytes journal_size mem_items mem_bytes age_msec waiters open_transactions create_time",
        ),
    ];
    for (part, names) in of_the_server {
        for name in names.split(' ') {
            assert!(!stats[part][name].is_null(), "{part} {name}: {stats}");
        }
    }
    for (part, names) in of_a_queue {
        for name in names.split(' ') {
            assert!(!stats[part][format!("q/q/{name}")].is_null(), "{part} {name}: {stats}");
        }
    }
    for name in ["q/all/put_items", "q/all/put_bytes"] {
        assert!(!stats["counters"][name].is_null(), "{name}: {stats}");
    }
    for missing in ["waiters_aborted", "finished_but_add", "q/q/put_items", "q/q/get_items_hit"] {
        assert!(stats["counters"][missing].is_null(), "it is there: correct docs/protocol.md");
    }
    server.put(b"gone");
    server.say(b"delete gone\r\n");
    assert!(!server.get("/stats").await.text.contains("q/gone/"), "removed with the queue");
}
