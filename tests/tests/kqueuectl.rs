//! `kqueuectl` against the real daemon: what every command does, prints and exits with. And the Python example.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kqueue_tests::{Daemon, daemon_binary, repository, run};
use serde_json::{Value, json};

/// How a command ended.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// What it printed; it must have succeeded.
    fn ok(self) -> String {
        assert_eq!((self.code, &self.err[..]), (0, ""), "{}", self.out);
        self.out
    }

    fn failed(self, code: i32, reason: &str) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(reason), "{}", self.err);
        assert!(self.err.contains("kqueuectl: ") || code == 2, "{}", self.err);
    }
}

fn binary() -> PathBuf {
    daemon_binary().with_file_name("kqueuectl")
}

fn ctl(daemon: &Daemon, words: &[&str]) -> Done {
    with_input(daemon, words, "")
}

fn with_input(daemon: &Daemon, words: &[&str], input: &str) -> Done {
    let mut command = Command::new(binary());
    command.args(words).env("KQUEUE_SERVER", daemon.address().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo build -p kqueue-ctl was run");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads nothing may be gone already.
    drop(std::io::Write::write_all(&mut stdin, input.as_bytes()));
    drop(stdin);
    Done::of(child.wait_with_output().expect("it ends"))
}

fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect()
}

#[test]
fn items_are_put_looked_at_and_taken() {
    let daemon = Daemon::start("sync = \"never\"");
    let first: u64 = ctl(&daemon, &["put", "q", "hello"]).ok().trim().parse().expect("an id");
    let again = ctl(&daemon, &["put", "q", "x", "--key", "k", "--priority", "high"]).ok();
    assert_eq!(ctl(&daemon, &["put", "q", "x", "--key", "k"]).ok(), again);
    with_input(&daemon, &["put", "q", "--lines"], "a\nb\r\n\nlast").ok();
    with_input(&daemon, &["put", "q"], "all\nof it\n").ok();
    ctl(&daemon, &["put", "q", "later", "--delay", "1h", "--ttl", "1day"]).ok();
    let ready = lines_of_json(&ctl(&daemon, &["browse", "q", "--json"]).ok());
    let bodies: Vec<&Value> = ready.iter().map(|item| &item["body"]).collect();
    assert_eq!(json!(bodies), json!(["x", "hello", "a", "b", "", "last", "all\nof it\n"]));
    assert_eq!(ready[1]["id"], first);
    let delayed = lines_of_json(&ctl(&daemon, &["browse", "q", "delayed", "--json"]).ok());
    assert!(delayed[0]["due_ms"].as_u64().is_some_and(|ms| ms > 3_000_000), "{delayed:?}");
    assert_eq!(ctl(&daemon, &["peek", "q"]).ok(), "x");
    assert_eq!(ctl(&daemon, &["get", "q"]).ok(), "x");
    let got = lines_of_json(&ctl(&daemon, &["get", "q", "--json"]).ok());
    assert_eq!(got, [json!({ "queue": "q", "flags": 0, "body": "hello" })]);
    ctl(&daemon, &["get", "empty"]).failed(3, "no item of empty is ready");
    ctl(&daemon, &["peek", "empty"]).failed(3, "no item of empty is ready");
    daemon.connect().ask(b"set bin 0 0 2\r\n\xff\0\r\n", b"STORED\r\n");
    let found = lines_of_json(&ctl(&daemon, &["browse", "bin", "--json"]).ok());
    assert_eq!(found[0]["body_base64"], "/wA=");
}

#[test]
fn a_program_is_run_for_each_item_and_says_what_becomes_of_it() {
    let daemon = Daemon::start("sync = \"never\"");
    with_input(&daemon, &["put", "q", "--lines"], "one\ntwo\n").ok();
    let shown = ctl(&daemon, &["reserve", "q", "-n", "9"]).ok();
    assert!(shown.contains("one") && shown.contains("attempt 1"), "{shown}");
    let script = "cat; echo \" $KQUEUE_QUEUE $KQUEUE_ATTEMPTS\"";
    let worked = ctl(&daemon, &["reserve", "none", "q", "-n", "9", "--exec", "sh", "-c", script]);
    assert_eq!(worked.ok(), "one q 2\ntwo q 2\n");
    ctl(&daemon, &["reserve", "q", "--exec", "cat"]).failed(3, "no item of q is ready");
    ctl(&daemon, &["put", "q", "bad"]).ok();
    ctl(&daemon, &["reserve", "q", "--exec", "false"]).failed(1, "false failed for 1 item(s)");
    ctl(&daemon, &["reserve", "q", "--bury", "--exec", "false"]).failed(1, "false failed");
    let dead = lines_of_json(&ctl(&daemon, &["browse", "q", "dead", "--json"]).ok());
    assert_eq!((&dead[0]["reason"], &dead[0]["attempts"]), (&json!("false failed"), &json!(2)));
    ctl(&daemon, &["put", "q", "slow"]).ok();
    let retry = ["reserve", "q", "--retry-after", "1h", "--exec", "false"];
    ctl(&daemon, &retry).failed(1, "false failed");
    let delayed = ctl(&daemon, &["browse", "q", "delayed"]).ok();
    assert!(delayed.contains("ready in") && delayed.contains("slow"), "{delayed}");
    ctl(&daemon, &["put", "p", "x"]).ok();
    ctl(&daemon, &["reserve", "p", "--exec", "/no/such/program"]).failed(1, "/no/such/program");
    // What was in our hands then is there again.
    assert_eq!(ctl(&daemon, &["get", "p", "--wait", "1m"]).ok(), "x");
}

#[test]
fn dead_letters_are_made_shown_and_brought_back() {
    let daemon = Daemon::start("sync = \"never\"");
    let id = ctl(&daemon, &["put", "q", "x"]).ok();
    let id = id.trim();
    ctl(&daemon, &["bury", "q", "--id", "1"]).failed(3, "1 is not the next item of q");
    while daemon.stat("queue_q_open_transactions").as_deref() != Some("0") {}
    let buried = ctl(&daemon, &["bury", "q", "--reason", "no use", "--json"]).ok();
    assert_eq!(lines_of_json(&buried)[0]["buried"].to_string(), id);
    let dead = ctl(&daemon, &["browse", "q", "dead"]).ok();
    assert!(dead.contains("buried: no use") && dead.starts_with(id), "{dead}");
    ctl(&daemon, &["kick", "q", "--id", "1"]).failed(3, "no such dead letter");
    assert_eq!(ctl(&daemon, &["kick", "q", "--id", id]).ok(), "1 item(s) are ready again\n");
    ctl(&daemon, &["kick", "q", "--all"]).failed(3, "no such dead letter");
    ctl(&daemon, &["kick", "q"]).failed(2, "--all");
    assert_eq!(ctl(&daemon, &["purge", "q", "all"]).ok(), "1 item(s) removed\n");
    ctl(&daemon, &["bury", "q"]).failed(3, "no item of q is ready");
    ctl(&daemon, &["bury", "q", "--reason", &"x".repeat(1025)]).failed(2, "reason longer than");
}

#[test]
fn queues_are_shown_paused_and_deleted() {
    let daemon = Daemon::start("sync = \"never\"");
    with_input(&daemon, &["put", "q", "--lines"], "1\n2\n3\n").ok();
    ctl(&daemon, &["put", "q_expired", "x"]).ok();
    assert_eq!(ctl(&daemon, &["pause", "q"]).ok(), "q is paused\n");
    ctl(&daemon, &["get", "q"]).failed(3, "no item");
    let table = ctl(&daemon, &["stats"]).ok();
    let first: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(first[..4], ["q", "(paused)", "3", "0"], "{table}");
    assert_eq!(ctl(&daemon, &["resume", "q"]).ok(), "q is resumed\n");
    let queues = lines_of_json(&ctl(&daemon, &["stats", "q_expired", "--json"]).ok());
    assert_eq!((&queues[0]["queue"], &queues[0]["items"]), (&json!("q_expired"), &json!(1)));
    ctl(&daemon, &["stats", "nobody"]).failed(3, "there is no queue nobody");
    let totals = lines_of_json(&ctl(&daemon, &["stats", "--totals", "--json"]).ok());
    assert_eq!(totals[0]["curr_items"], 4);
    let top = ctl(&daemon, &["top", "--count", "2", "--every", "1ms", "--sort", "name"]).ok();
    assert_eq!(top.matches("queue").count(), 2, "{top}");
    assert_eq!(ctl(&daemon, &["delete", "q", "--yes"]).ok(), "q is deleted\n");
    ctl(&daemon, &["stats", "q"]).failed(3, "there is no queue q");
}

#[test]
fn a_drain_waits_until_everything_has_been_worked_off() {
    let daemon = Daemon::start("sync = \"never\"");
    ctl(&daemon, &["put", "q", "x"]).ok();
    ctl(&daemon, &["put", "q", "later", "--delay", "1h"]).ok();
    ctl(&daemon, &["drain", "--within", "0"]).failed(1, "not drained in time: 1 ready, 0 open");
}

#[test]
fn the_status_is_shown_and_set() {
    let daemon = Daemon::start("sync = \"never\"");
    assert_eq!(ctl(&daemon, &["status"]).ok(), "up\n");
    assert_eq!(ctl(&daemon, &["status", "readonly"]).ok(), "readonly\n");
    ctl(&daemon, &["put", "q", "x"]).failed(1, "the server is READONLY");
    let drained = ctl(&daemon, &["drain", "--json"]);
    assert_eq!(drained.code, 0);
    assert!(drained.out.contains("\"drained\":true"), "{}", drained.out);
    ctl(&daemon, &["status", "sideways"]).failed(2, "a status is up");
    assert_eq!(ctl(&daemon, &["status", "UP", "--json"]).ok(), "{\"status\":\"up\"}\n");
}

#[test]
fn what_cannot_be_is_told_with_the_server_and_what_to_do() {
    let daemon = Daemon::start("sync = \"never\"");
    assert!(ctl(&daemon, &["ping"]).ok().contains("version"));
    ctl(&daemon, &["--server", "127.0.0.1:1", "ping"]).failed(4, "127.0.0.1:1: cannot connect");
    ctl(&daemon, &["--server", "unix:/no/such", "ping"]).failed(4, "unix:/no/such: cannot connect");
    ctl(&daemon, &["put", "a.b", "x"]).failed(2, "queue 'a.b'");
    ctl(&daemon, &["put", "q", "x", "--ttl", "1500ms"]).failed(2, "whole seconds");
    ctl(&daemon, &["put", "q", "--file", "/no/such/file"]).failed(1, "/no/such/file");
    ctl(&daemon, &["nonsense"]).failed(2, "nonsense");
    let socket = format!("unix:{}", daemon.socket().display());
    assert!(ctl(&daemon, &["-s", &socket, "ping"]).ok().starts_with("unix:"));
}

#[test]
fn man_pages_and_completions_come_from_the_definition() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path");
    run(Command::new(binary()).args(["generate", "man", path]));
    for page in ["kqueuectl.1", "kqueuectl-put.1", "kqueuectl-browse.1", "kqueuectl-top.1"] {
        let text = std::fs::read_to_string(directory.path().join(page)).expect(page);
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(Command::new(binary()).args(["generate", "completions", shell]));
        assert!(completions.contains("browse"), "{shell}");
    }
}

#[test]
fn the_python_example_tries_every_command() {
    let daemon = Daemon::start("sync = \"never\"");
    let mut command = Command::new("python3");
    command.arg(repository().join("examples/python/try_everything.py"));
    command.arg(daemon.address().to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    let said = run(&mut command);
    assert!(said.ends_with("everything works\n"), "{said}");
}
