//! The examples for other languages run against the real daemon; those in PHP are tried in `readme.rs`.

use std::process::Command;

use kqueue_tests::{Daemon, repository, run};

#[test]
fn the_python_client_can_do_everything() {
    let daemon = Daemon::start("");
    for address in [daemon.address().to_string(), format!("unix:{}", daemon.socket().display())] {
        let mut python = Command::new("python3");
        python.arg("-B").arg(repository().join("examples/python/example.py")).arg(address);
        let said = run(&mut python);
        assert!(said.starts_with("kqueue/") && said.ends_with(": ok\n"), "{said}");
    }
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
    assert_eq!(daemon.stat("queue_example-jobs_open_transactions").as_deref(), Some("0"));
}
