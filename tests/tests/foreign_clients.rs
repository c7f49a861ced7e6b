//! Clients that others wrote, unchanged: each program in `tests/foreign` uses one of them, and each of its cases is a test with a daemon of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

use kqueue_tests::{Daemon, packages, repository, run};

/// A module of tests named after the function that runs one case of a client's program.
macro_rules! cases {
    ($client:ident: $($case:ident)*) => {
        mod $client {
            $(
                #[test]
                fn $case() {
                    super::$client(stringify!($case));
                }
            )*
        }
    };
}

cases! {
    php_memcached:
    values_keep_their_type serializers_and_compression reliable_reads a_plain_get_while_a_read_is_open several_keys without_blocking buffered_writes
    without_replies a_prefix the_client_is_less_patient limits administration what_a_cache_can_do
}

cases! { php_memcache: values_keep_their_type reliable_reads several_keys administration }

cases! {
    pymemcache_3:
    values its_default_is_no_reply types options_are_not_for_get several_keys its_other_clients administration what_a_cache_can_do
}

cases! {
    pymemcache_4:
    values its_default_is_no_reply types options_are_not_for_get reliable_reads several_keys its_other_clients administration what_a_cache_can_do
}

cases! { pylibmc: values_keep_their_type reliable_reads several_keys behaviors administration }

cases! { python_memcached: values_keep_their_type reliable_reads administration }

cases! { pykestrel: jobs what_it_held_returns whole_queues its_command_line }

cases! { node_memcached: values_keep_their_type reliable_reads many_at_once several_keys administration }

fn program(name: &str) -> PathBuf {
    repository().join("tests/foreign").join(name)
}

/// Runs one case of a program against a daemon of its own and returns what it said.
fn said(interpreter: &mut Command, name: &str, case: &str) -> String {
    let daemon = Daemon::start("");
    run(interpreter.arg(program(name)).arg(daemon.address().port().to_string()).arg(case))
}

fn php_memcached(case: &str) {
    assert_eq!(said(&mut Command::new("php"), "php/memcached.php", case), "ok");
}

fn php_memcache(case: &str) {
    assert_eq!(said(&mut Command::new("php"), "php/memcache.php", case), "ok");
}

/// Debian's packages belong to Debian's Python, whatever else is called python3 here.
fn debian_python() -> Command {
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-B");
    python
}

fn python() -> Command {
    let mut python = debian_python();
    python.env("PYTHONPATH", packages("python"));
    python
}

/// Debian's.
fn pymemcache_3(case: &str) {
    let said = said(&mut debian_python(), "python/with_pymemcache.py", case);
    assert!(said.starts_with("3.") && said.ends_with(" ok"), "{said}");
}

fn pymemcache_4(case: &str) {
    assert_eq!(said(&mut python(), "python/with_pymemcache.py", case), "4.0.0 ok");
}

fn pylibmc(case: &str) {
    assert_eq!(said(&mut debian_python(), "python/with_pylibmc.py", case), "ok");
}

fn python_memcached(case: &str) {
    assert_eq!(said(&mut python(), "python/with_python_memcached.py", case), "ok");
}

fn pykestrel(case: &str) {
    assert_eq!(said(&mut python(), "python/with_pykestrel.py", case), "ok");
}

fn node_memcached(case: &str) {
    let mut node = Command::new("node");
    node.env("NODE_PATH", packages("node").join("node_modules"));
    assert_eq!(said(&mut node, "node/memcached.js", case), "ok");
}

/// The command-line tools of libmemcached, as Debian names them.
mod libmemcached_tools {
    use super::*;

    fn tool(daemon: &Daemon, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg(format!("--servers={}", daemon.address()));
        command
    }

    /// Whether it succeeded, and what it said on either output.
    fn outcome(command: &mut Command) -> (bool, String) {
        let Output { status, stdout, stderr } = command.output().expect("it is installed");
        (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// Runs a tool that is to fail and returns what it complains of.
    fn complaint(command: &mut Command) -> String {
        let (is_success, said) = outcome(command);
        assert!(!is_success, "{command:?}: {said}");
        said
    }

    fn items(daemon: &Daemon) -> Option<String> {
        daemon.stat("curr_items")
    }

    #[test]
    fn put_get_and_delete() {
        let daemon = Daemon::start("");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("article");
        std::fs::write(&file, "an article").expect("a file");
        // The item, and so the queue, is named after the file.
        let put = |options: &[&str]| run(tool(&daemon, "memccp").args(options).arg(&file));
        put(&[]);
        assert_eq!(run(tool(&daemon, "memccat").arg("article")), "an article\n");
        put(&["--flag=5", "--expire=1000"]);
        // Each run is a connection of its own: what it read reliably goes back with its end.
        assert_eq!(run(tool(&daemon, "memccat").arg("article/open")), "an article\n");
        let shown = run(tool(&daemon, "memccat").arg("--flags").arg("article/t=10000"));
        assert_eq!(shown, "5\nan article\n");
        put(&[]);
        let copy = directory.path().join("copy");
        let file_option = format!("--file={}", copy.display());
        run(tool(&daemon, "memccat").arg(file_option).arg("article"));
        assert_eq!(std::fs::read(copy).expect("it was written"), b"an article");
        assert_eq!(complaint(tool(&daemon, "memccat").arg("article")), "");
        put(&[]);
        run(tool(&daemon, "memcrm").arg("article"));
        assert_eq!(items(&daemon).as_deref(), Some("0"));
    }

    #[test]
    fn administration() {
        let daemon = Daemon::start("");
        daemon.connect().put("jobs", b"x");
        run(&mut tool(&daemon, "memcping"));
        let stats = run(&mut tool(&daemon, "memcstat"));
        assert!(
            stats.contains("curr_items: 1") && stats.contains("queue_jobs_items: 1"),
            "{stats}"
        );
        let (is_success, said) = outcome(tool(&daemon, "memcstat").arg("--server-version"));
        assert!(is_success && said.starts_with(&format!("{} 1.", daemon.address())), "{said}");
        // It is done, but it expects "OK" and Kestrel says "Flushed all queues.".
        let said = complaint(&mut tool(&daemon, "memcflush"));
        assert!(said.contains("Flushed all queues."), "{said}");
        assert_eq!(items(&daemon).as_deref(), Some("0"));
    }

    /// `add` and `touch` are not for queues: refused, and nothing is changed.
    #[test]
    fn what_a_cache_can_do() {
        let daemon = Daemon::start("");
        daemon.connect().put("jobs", b"x");
        let said = complaint(tool(&daemon, "memcexist").arg("jobs"));
        assert!(said.contains("unknown command"), "{said}");
        complaint(tool(&daemon, "memctouch").args(["--expire=1", "jobs"]));
        complaint(&mut tool(&daemon, "memcdump"));
        assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"x"[..]));
        assert_eq!(items(&daemon).as_deref(), Some("0"));
    }

    /// Two connections at once; each item has a queue of its own.
    #[test]
    fn a_small_load() {
        let daemon = Daemon::start("");
        let slap = |test: &str| {
            let mut slap = tool(&daemon, "memcslap");
            run(slap.args(["--concurrency=2", "--execute-number=50", &format!("--test={test}")]));
        };
        slap("set");
        assert_eq!(items(&daemon).as_deref(), Some("100"));
        slap("get");
    }

    /// memcached's own conformance test. The others want what Kestrel does not do: more than one key of a get, extra words refused, `flush_all` that
    /// answers `OK`, `add` and its like.
    #[test]
    fn what_memcapable_finds_as_in_memcached() {
        let daemon = Daemon::start("");
        for test in ["ascii get", "ascii gets"] {
            let mut capable = Command::new("memccapable");
            capable.args(["-h", "127.0.0.1", "-p", &daemon.address().port().to_string()]);
            let said = run(capable.args(["-a", "-t", "20", "-T", test]));
            assert!(said.contains("[pass]"), "{said}");
        }
    }
}
