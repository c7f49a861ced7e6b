//! Kestrel's Thrift interface of the real daemon, through a client that the Thrift compiler generated for Python from `docs/kestrel.thrift`.

use std::process::Command;

use kqueue_tests::{Daemon, repository, run};

const SETTINGS: &str =
    "[queues.\"small\"]\nmax_items = 2\n[aliases.\"events\"]\ndestinations = [\"a\", \"b\"]\n";

/// Runs one case of `tests/foreign/python/with_thrift.py`.
fn case(daemon: &Daemon, name: &str) {
    let client = tempfile::tempdir().expect("a directory");
    let interface = repository().join("docs/kestrel.thrift");
    run(Command::new("thrift").args(["--gen", "py", "-out"]).arg(client.path()).arg(interface));
    // Debian's package belongs to Debian's Python, whatever else is called python3 here.
    let mut python = Command::new("/usr/bin/python3");
    python.env("PYTHONPATH", client.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(repository().join("tests/foreign/python/with_thrift.py"));
    python.arg(daemon.thrift_socket()).arg(daemon.address().to_string()).arg(name);
    assert_eq!(run(&mut python), "ok");
}

macro_rules! cases {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                case(&Daemon::start(SETTINGS), stringify!($name));
            }
        )*
    };
}

cases! {
    every_method
    any_bytes
    other_protocols
    auto_abort
    confirmed_elsewhere
    disconnected
    vanished_while_waiting
    expiration
    collected
    interleaved
    refusals
    unknown_queue
    alias
    status
    finagle
    hostile
}

#[test]
fn a_restart_returns_what_was_fetched() {
    let daemon = Daemon::start(SETTINGS);
    case(&daemon, "hold");
    case(&daemon.stop_and_restart(), "held_before_a_restart");
}
