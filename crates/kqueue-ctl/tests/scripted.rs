//! `kqueuectl` against a peer that says what it is told to: the bytes of every request, and what becomes of answers that a healthy server does not give.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

/// What the peer waits for, byte by byte, and what it answers then.
type Exchange = (&'static str, &'static str);

/// Takes one connection, and closes it after the last answer; panics if something else is asked.
fn peer(script: &'static [Exchange]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        for (expected, answer) in script {
            let mut asked = vec![0; expected.len()];
            stream.read_exact(&mut asked).unwrap_or_else(|error| panic!("{expected:?}: {error}"));
            assert_eq!(String::from_utf8_lossy(&asked), *expected);
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
        // Nothing more is asked.
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it ends");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    });
    (address, thread)
}

fn run(address: SocketAddr, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kqueuectl"))
        .args(["--server", &address.to_string()])
        .args(arguments)
        .env_remove("KQUEUE_SERVER")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it has read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Exit code, what it printed, what it complained of.
fn said(script: &'static [Exchange], words: &str) -> (i32, String, String) {
    said_of(script, &words.split(' ').collect::<Vec<_>>(), "")
}

fn said_of(script: &'static [Exchange], words: &[&str], input: &str) -> (i32, String, String) {
    let (address, thread) = peer(script);
    let output = run(address, words, input);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    if let Err(panic) = thread.join() {
        let panic = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        panic!("{words:?}: {panic}\n{out}{err}");
    }
    (output.status.code().expect("no signal"), out, err)
}

#[test]
fn every_request_has_the_bytes_of_the_protocol() {
    for (words, script, printed) in [
        (
            "put q hello --ttl 1m --flags 7 --delay 1500ms --priority low --key k",
            &[(
                "put q 5 ttl=60 flags=7 delay=1500 priority=low key=k\r\nhello\r\n",
                "STORED 9\r\n",
            )][..],
            "9\n",
        ),
        (
            "get q --wait 2s",
            &[
                ("reserve 1 2000 0 q\r\n", "ITEM q 5 0 1 0 2\r\nhi\r\nEND\r\n"),
                ("ack q 5\r\n", "OK\r\n"),
            ],
            "hi\n",
        ),
        (
            "reserve a b --max 2",
            &[
                ("reserve 2 0 0 a b\r\n", "ITEM b 5 0 2 1000 2\r\nhi\r\nEND\r\n"),
                ("release b 5 delay=0\r\n", "OK\r\n"),
            ],
            "b 5: 2 B, 2 attempts, put 1s ago\nhi\n",
        ),
        (
            "reserve a --exec true",
            &[
                ("reserve 1 0 60000 a\r\n", "ITEM a 5 0 2 1000 2\r\nhi\r\nEND\r\n"),
                ("ack a 5\r\n", "OK\r\n"),
            ],
            "",
        ),
        (
            "reserve a --retry-after 30d --exec true",
            &[
                ("reserve 1 0 60000 a\r\n", "ITEM a 5 0 2 1000 2\r\nhi\r\nEND\r\n"),
                ("ack a 5\r\n", "OK\r\n"),
            ],
            "",
        ),
        ("peek q", &[("get q/peek\r\n", "VALUE q 0 2\r\nhi\r\nEND\r\n")], "hi\n"),
        (
            "bury q --reason why",
            &[
                ("reserve 1 0 0 q\r\n", "ITEM q 5 0 1 0 2\r\nhi\r\nEND\r\n"),
                ("bury q 5 3\r\nwhy\r\n", "OK\r\n"),
            ],
            "item 5 of q is a dead letter; `kqueuectl kick` brings it back\n",
        ),
        (
            "browse q delayed --max 5 --after 1.2 --body 3",
            &[(
                "browse q delayed 5 after=1.2 body=3\r\n",
                "FOUND q 7 delayed 1 size=1 flags=0 attempts=0 age_ms=5 priority=high due_ms=9 later=yes\r\nx\r\nEND\r\n",
            )],
            "ID  AGE  ATTEMPTS  PRIORITY  SIZE  READY IN  BODY\n 7  5ms         0  high       1 B  9ms       x\n",
        ),
        (
            "kick q -n 3",
            &[("kick q 3\r\n", "OK 2\r\n")],
            "2 dead letters of q can be taken again\n",
        ),
        ("purge q delayed", &[("purge q delayed\r\n", "OK 1\r\n")], "1 item of q removed\n"),
        ("delete q", &[("delete q\r\n", "DELETED\r\n")], "q is deleted\n"),
        (
            "pause q",
            &[("pause q\r\n", "OK\r\n")],
            "q hands nothing out until `kqueuectl resume q`\n",
        ),
        ("resume q", &[("resume q\r\n", "OK\r\n")], "q hands out items again\n"),
        (
            "stats q --all",
            &[("dump_stats q\r\n", "queue 'q' {\r\n  items=1\r\n  children=\r\n}\r\nEND\r\n")],
            "q\n  items     1\n  children\n",
        ),
        (
            "stats --totals",
            &[("stats\r\n", "STAT uptime 1\r\nSTAT queue_q_items 1\r\nEND\r\n")],
            "uptime  1\n",
        ),
        (
            "status quiescent",
            &[
                ("status quiescent\r\n", "END\r\n"),
                ("status\r\n", "QUIESCENT\r\n"),
                ("status\r\n", "QUIESCENT\r\n"),
            ],
            "QUIESCENT\n",
        ),
    ] {
        assert_eq!(said(script, words), (0, printed.to_owned(), String::new()), "{words}");
    }
}

#[test]
fn an_item_that_is_not_ours_any_more_is_a_failure() {
    const ITEM: Exchange = ("reserve 1 0 0 q\r\n", "ITEM q 5 0 1 0 2\r\nhi\r\nEND\r\n");
    let (code, out, err) = said(&[ITEM, ("ack q 5\r\n", "NOT_HELD\r\n")], "get q");
    assert_eq!((code, &out[..]), (1, "hi\n"));
    assert!(err.contains("item 5 of q was not ours any more"), "{err}");
    let (code, out, _) = said(&[ITEM, ("bury q 5 0\r\n\r\n", "NOT_HELD\r\n")], "bury q");
    assert_eq!((code, &out[..]), (1, ""));
    // A look that came too late has seen it all the same.
    let (code, ..) = said(&[ITEM, ("release q 5 delay=0\r\n", "NOT_HELD\r\n")], "reserve q");
    assert_eq!(code, 0);
}

#[test]
fn a_bury_that_the_disk_refuses_is_told() {
    let (code, _, err) = said(
        &[
            ("reserve 1 0 0 q\r\n", "ITEM q 5 0 1 0 2\r\nhi\r\nEND\r\n"),
            ("bury q 5 0\r\n\r\n", "SERVER_ERROR the disk is full\r\n"),
        ],
        "bury q",
    );
    assert_eq!(code, 1);
    assert!(err.contains("refused to bury item 5 of q: the disk is full"), "{err}");
}

#[test]
fn an_older_server_is_told() {
    let script = &[("browse q ready 20 body=200\r\n", "CLIENT_ERROR unknown command 'browse'\r\n")];
    let (code, _, err) = said(script, "browse q");
    assert_eq!(code, 1);
    assert!(err.contains("older than this kqueuectl"), "{err}");
    let (code, out, _) = said(
        &[
            ("version\r\n", "VERSION 2.4.8\r\n"),
            ("status\r\n", "UP\r\n"),
            ("capabilities\r\n", "CLIENT_ERROR\r\n"),
        ],
        "ping",
    );
    assert_eq!(code, 0);
    assert!(out.contains("version 2.4.8, UP") && out.contains("Kestrel's commands only"), "{out}");
}

#[test]
fn what_became_of_a_put_without_an_answer_is_not_known() {
    let (code, out, err) = said(&[("put q 1\r\nx\r\n", "")], "put q x");
    assert_eq!((code, &out[..]), (4, ""));
    assert!(err.contains("closed the connection") && err.contains("not known"), "{err}");
    let words = ["put", "q", "--lines"];
    let script =
        &[("put q 1\r\na\r\nput q 1\r\nb\r\nput q 1\r\nc\r\n", "STORED 1\r\nSTORED 2\r\n")];
    let (code, out, err) = said_of(script, &words, "a\nb\nc\n");
    assert_eq!((code, &out[..]), (4, "1\n2\n"));
    assert!(err.contains("2 lines are stored for sure, the first 3 lines were sent"), "{err}");
}

#[test]
fn of_several_lines_the_first_that_is_refused_is_named() {
    let script = &[(
        "put q 1\r\na\r\nput q 2\r\nbb\r\nput q 1\r\nc\r\n",
        "STORED 1\r\nNOT_STORED too large\r\nSTORED 2\r\n",
    )];
    let (code, out, err) = said_of(script, &["put", "q", "--lines"], "a\nbb\nc");
    assert_eq!((code, &out[..]), (1, "1\n2\n"));
    assert!(err.contains("refused the put to q: too large. 2 items are stored; line 2"), "{err}");
}

#[test]
fn an_answer_about_something_else_is_no_answer() {
    let script = &[("get q/peek\r\n", "VALUE other 0 2\r\nhi\r\nEND\r\n")];
    let (code, out, err) = said(script, "peek q");
    assert_eq!((code, &out[..]), (1, ""));
    assert!(err.contains("something of other"), "{err}");
    let (code, _, err) = said(&[("kick q all\r\n", "OK\r\n")], "kick q --all");
    assert_eq!(code, 1);
    assert!(err.contains("does not answer like a kqueue-server"), "{err}");
}

#[test]
fn what_the_protocol_does_not_allow_is_not_sent() {
    for (words, reason) in [
        ("reserve q --max 1001", "1000 at most without --exec"),
        ("reserve q --wait 30d", "a wait or a lease is at most 24 days"),
        ("reserve q --retry-after 11years --exec true", "--retry-after is at most 10 years"),
    ] {
        let (code, out, err) = said(&[], words);
        assert_eq!((code, &out[..]), (2, ""), "{words}: {err}");
        assert!(err.contains(reason), "{words}: {err}");
    }
}

#[test]
fn a_status_that_a_grace_period_refuses_is_told() {
    let script = &[("status quiescent\r\n", "END\r\n"), ("status\r\n", "READONLY\r\n")];
    let (code, out, err) = said(script, "status quiescent");
    assert_eq!((code, &out[..]), (1, ""));
    assert!(err.contains("stays READONLY"), "{err}");
}

#[test]
fn a_server_that_is_silent_is_not_waited_for_longer_than_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let output = run(address, &["ping", "--timeout", "50ms"], "");
    assert_eq!(output.status.code(), Some(4));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("no answer for 50ms") && err.contains("--timeout"), "{err}");
}

#[test]
fn what_a_server_says_cannot_steer_the_terminal() {
    let script = &[(
        "dump_stats\r\n",
        "queue 'q\x1b[2J' {\r\n  items=1\r\n}\r\nqueue 'r' {\r\n  put_items=1\r\n  children=\x1b[2J\r\n}\r\nEND\r\n",
    )];
    let (code, out, _) = said(script, "stats");
    assert_eq!(code, 0);
    assert!(out.contains("\\u{1b}[2J") && !out.contains('\x1b'), "{out:?}");
    let (code, _, err) = said(&[("status\r\n", "SERVER_ERROR no\x1b[2J\r\n")], "status");
    assert!(code == 1 && err.contains("[2J") && !err.contains('\x1b'), "{err:?}");
}

#[test]
fn an_address_counts_where_it_is_used() {
    let run = |arguments: &[&str]| {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_kqueuectl"));
        let output = ctl.args(arguments).env("KQUEUE_SERVER", "no/where").output();
        let output = output.expect("it can be run");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, err) = run(&["ping"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("server \"no/where\": an address is host:port or unix:/path"), "{err}");
    assert_eq!(run(&["ping", "--server", "unix:/nowhere/at/all"]).0, Some(4));
    assert_eq!(run(&["generate", "completions", "bash"]), (Some(0), String::new()));
}
