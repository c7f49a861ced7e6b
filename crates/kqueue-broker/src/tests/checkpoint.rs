//! A checkpoint that is made while puts have no place in the log yet.

use super::*;

/// An item of `q` is on the disk behind `before` others; when the checkpoint comes to the states of the queues, `between` others and then a second item of `q` have just been
/// put, and nobody knows yet in which segment they will be. What the next start finds: the items of `q`, how many are lost, and in how many segments they lie.
fn restarted(before: usize, between: usize) -> (Vec<String>, u64, usize) {
    let other = format!("set other 0 0 1000\r\n{}\r\n", "x".repeat(1000));
    let mut server = Server::new();
    for _ in 0..before {
        server.send(other.as_bytes());
        server.settle();
    }
    server.send(b"set q 0 0 5\r\nfirst\r\n");
    server.settle();
    let mut checkpoint = server.broker.begin_checkpoint();
    for _ in ["segments", "definitions"] {
        assert!(!server.broker.checkpoint_step(&mut checkpoint));
        server.settle();
    }
    for _ in 0..between {
        server.send(other.as_bytes());
    }
    server.send(b"set q 0 0 6\r\nsecond\r\n");
    while !server.broker.checkpoint_step(&mut checkpoint) {
        server.settle();
    }
    server.settle();
    let superblock = server.broker.log.writer.superblock();
    assert!(superblock.start.checkpoint_seq > 0, "the checkpoint counts");
    let broker = boot_from(superblock, ConfigTable::default(), &server.files);
    broker.check_invariants();
    let (bodies, lost) = look_at(&server, &broker, b"q");
    (bodies, lost, broker.segments_of(b"q").len())
}

#[test]
fn what_is_far_behind_what_has_a_place_and_has_none_itself() {
    for between in 0..40 {
        let expected: Vec<String> = ["first", "second"].map(String::from).into();
        assert_eq!(restarted(0, between), (expected, 0, 1), "{between} between");
    }
}

#[test]
fn what_gets_into_the_next_segment_is_not_looked_for_in_this_one() {
    let mut segments = Vec::new();
    for before in 40..60 {
        let (bodies, lost, count) = restarted(before, 3);
        assert_eq!((&bodies[..], lost), (&["first".into(), "second".into()][..], 0), "{before}");
        segments.push(count);
    }
    assert!(segments.contains(&1) && segments.contains(&2), "{segments:?}");
}
