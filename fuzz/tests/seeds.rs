//! Every file in `seeds/` through its target, without a fuzzer: what was found once is tried for ever.

use std::fs;
use std::path::Path;

fn run(target: &str, each: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&directory).expect("there are seeds") {
        let path = entry.expect("a file").path();
        println!("{}", path.display());
        each(&fs::read(&path).expect("a seed can be read"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", directory.display());
}

#[test]
fn proto_request() {
    run("proto_request", kqueue_fuzz::proto_request);
}

#[test]
fn proto_reply() {
    run("proto_reply", kqueue_fuzz::proto_reply);
}

#[test]
fn client() {
    run("client", kqueue_fuzz::client);
}

#[test]
fn text_request() {
    run("text_request", kqueue_fuzz::text_request);
}

#[test]
fn session() {
    run("session", kqueue_fuzz::session);
}

#[test]
fn journal_scan() {
    run("journal_scan", kqueue_fuzz::journal_scan);
}

#[test]
fn journal_replay() {
    run("journal_replay", kqueue_fuzz::journal_replay);
}
