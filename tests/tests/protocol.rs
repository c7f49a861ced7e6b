//! The wire, from the outside: what every command answers, and that the connection is in step or closed.

use kqueue_tests::Daemon;

fn daemon() -> Daemon {
    Daemon::start("sync = \"never\"")
}

#[test]
fn set_get_keeps_flags_and_every_byte() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.ask(b"set q 4294967295 0 9\r\n\0\r\nEND\r\n\xff\r\n", b"STORED\r\n");
    wire.ask(b"set q 7 0 0\r\n\r\n", b"STORED\r\n");
    wire.ask(b"GET q\r\n", b"VALUE q 4294967295 9\r\n\0\r\nEND\r\n\xff\r\nEND\r\n");
    wire.ask(b"gets q another\r\n", b"VALUE q 7 0\r\n\r\nEND\r\n");
    wire.ask(b"get q\n", b"END\r\n");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.send(b"set a 0 0 1\r\n1\r\nset a 0 0 1\r\n2\r\nget a\r\nget a/open\r\nget a/close\r\nversion\r\nget a\r\n");
    wire.expect(b"STORED\r\nSTORED\r\nVALUE a 0 1\r\n1\r\nEND\r\nVALUE a 0 1\r\n2\r\nEND\r\nEND\r\nVERSION ");
    wire.line();
    wire.expect(b"END\r\n");
}

#[test]
fn reliable_reads_belong_to_their_connection() {
    let daemon = daemon();
    let mut producer = daemon.connect();
    for body in [&b"1"[..], b"2", b"3"] {
        producer.put("jobs", body);
    }
    let mut worker = daemon.connect();
    assert_eq!(worker.get("jobs/open").as_deref(), Some(&b"1"[..]));
    assert_eq!(worker.get("jobs/open").as_deref(), Some(&b"2"[..]));
    assert_eq!(producer.get("jobs/peek").as_deref(), Some(&b"3"[..]));
    // Another connection's close does not concern this one's items.
    producer.ask(b"get jobs/close\r\n", b"END\r\n");
    drop(worker);
    while daemon.stat("queue_jobs_open_transactions").as_deref() != Some("0") {}
    // Both return to their old places, in their old order.
    assert_eq!(producer.get("jobs/t=60000/open").as_deref(), Some(&b"1"[..]));
    producer.ask(b"get jobs/close/open\r\n", b"VALUE jobs 0 1\r\n2\r\nEND\r\n");
    producer.ask(b"get jobs/abort\r\n", b"END\r\n");
    assert_eq!(producer.get("jobs").as_deref(), Some(&b"2"[..]));
    assert_eq!(producer.get("jobs").as_deref(), Some(&b"3"[..]));
    assert_eq!(producer.get("jobs"), None);
}

#[test]
fn a_plain_get_is_refused_while_an_item_is_open() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.put("q", b"x");
    assert!(wire.get("q/open").is_some());
    wire.send(b"get q\r\n");
    assert!(wire.line().starts_with("ERROR"));
    wire.expect_close();
    assert_eq!(daemon.connect().get("q/t=60000").as_deref(), Some(&b"x"[..]));
}

#[test]
fn waiters_are_served_first_come_first() {
    let daemon = daemon();
    let mut waiting: Vec<_> = (0..5).map(|_| daemon.connect()).collect();
    for (before, wire) in waiting.iter_mut().enumerate() {
        wire.send(b"get q/t=60000\r\n");
        // The statistics say when it waits.
        while daemon.stat("queue_q_waiters").as_deref() != Some(&(before + 1).to_string()) {}
    }
    let mut producer = daemon.connect();
    for body in [&b"0"[..], b"1", b"2", b"3", b"4"] {
        producer.put("q", body);
    }
    for (place, wire) in waiting.iter_mut().enumerate() {
        assert_eq!(wire.value(), Some(place.to_string().into_bytes()));
    }
}

#[test]
fn a_waiter_that_hangs_up_takes_nothing_with_it() {
    let daemon = daemon();
    for mode in ["", "/open"] {
        let mut gone = daemon.connect();
        gone.send(format!("get q/t=60000{mode}\r\n").as_bytes());
        while daemon.stat("queue_q_waiters").as_deref() != Some("1") {}
        drop(gone);
        while daemon.stat("queue_q_waiters").as_deref() != Some("0") {}
        let mut wire = daemon.connect();
        wire.put("q", b"x");
        assert_eq!(wire.get("q").as_deref(), Some(&b"x"[..]));
    }
}

#[test]
fn a_half_closed_connection_is_still_answered() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.send(b"set q 0 0 1\r\nx\r\nget q\r\n");
    wire.finish();
    wire.expect(b"STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\n");
    wire.expect_close();
}

#[test]
fn fanout_reaches_every_sub_queue() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    assert_eq!(wire.get("posts+search"), None);
    assert_eq!(wire.get("posts+mail"), None);
    wire.put("posts", b"a");
    wire.put("posts+mail", b"only mail");
    for queue in ["posts", "posts+search", "posts+mail"] {
        assert_eq!(wire.get(queue).as_deref(), Some(&b"a"[..]), "{queue}");
    }
    assert_eq!(wire.get("posts+mail").as_deref(), Some(&b"only mail"[..]));
    wire.ask(b"delete posts+mail\r\n", b"DELETED\r\n");
    wire.put("posts", b"b");
    assert_eq!(wire.get("posts+search").as_deref(), Some(&b"b"[..]));
    assert_eq!(wire.get("posts+mail"), None);
}

#[test]
fn limits_refuse_and_the_connection_stays_in_step() {
    let daemon = Daemon::start(
        "sync = \"never\"\n[queues.\"two\"]\nmax_items = 2\n[queues.\"small\"]\nmax_item_size = 3\n[queues.\"bytes\"]\nmax_size = 4\n[queues.\"ring\"]\nmax_items = 2\ndiscard_old_when_full = true",
    );
    let mut wire = daemon.connect();
    wire.put("two", b"1");
    wire.put("two", b"2");
    wire.ask(b"set two 0 0 1\r\n3\r\n", b"NOT_STORED\r\n");
    wire.put("small", b"123");
    wire.ask(b"set small 0 0 4\r\n1234\r\n", b"NOT_STORED\r\n");
    wire.put("bytes", b"12345");
    wire.ask(b"set bytes 0 0 1\r\n6\r\n", b"NOT_STORED\r\n");
    for body in [&b"1"[..], b"2", b"3"] {
        wire.put("ring", body);
    }
    assert_eq!(wire.get("ring").as_deref(), Some(&b"2"[..]));
    // Larger than the server's max_item_size (1 MiB): swallowed, never read as commands.
    let mut oversize = b"set q 0 0 1048577\r\n".to_vec();
    oversize.resize(oversize.len() + 1_048_577, b'\n');
    oversize.extend_from_slice(b"\r\nget q\r\n");
    wire.ask(&oversize, b"NOT_STORED\r\nEND\r\n");
    // An open item does not count.
    assert!(wire.get("two/open").is_some());
    wire.put("two", b"3");
}

#[test]
fn expired_items_are_never_returned() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.ask(b"set q 0 -1 1\r\nx\r\n", b"STORED\r\n");
    wire.ask(b"set q 0 1000000 1\r\ny\r\n", b"STORED\r\n");
    wire.ask(b"set q 0 999999 1\r\nz\r\n", b"STORED\r\n");
    assert_eq!(wire.get("q").as_deref(), Some(&b"z"[..]));
    assert_eq!(wire.get("q"), None);
}

#[test]
fn flush_and_delete() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    let mut worker = daemon.connect();
    for body in [&b"1"[..], b"2"] {
        wire.put("a", body);
        wire.put("b", body);
    }
    assert!(worker.get("a/open").is_some());
    wire.ask(b"flush a\r\n", b"END\r\n");
    assert_eq!(wire.get("a"), None);
    // An open read survives a flush.
    worker.ask(b"get a/abort\r\n", b"END\r\n");
    assert_eq!(wire.get("a").as_deref(), Some(&b"1"[..]));
    wire.ask(b"flush_all\r\n", b"Flushed all queues.\r\n");
    assert_eq!(wire.get("b"), None);
    wire.ask(b"delete nothing\r\n", b"DELETED\r\n");
    wire.ask(b"flush nothing\r\n", b"END\r\n");
    assert_eq!(daemon.stat("queue_nothing_items"), None);
}

#[test]
fn noreply_is_honoured() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.send(b"set q 0 0 1 noreply\r\nx\r\ndelete z noreply\r\nget q\r\n");
    wire.expect(b"VALUE q 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn understandable_errors_keep_the_connection_in_step() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    for request in [
        &b"get\r\n"[..],
        b"delete\r\n",
        b"flush\r\n",
        b"set q flags 0 1\r\nx\r\n",
        b"get +\r\n",
        b"set + 0 0 1\r\nx\r\n",
    ] {
        wire.send(request);
        let line = wire.line();
        assert!(
            line.starts_with("CLIENT_ERROR "),
            "{line} for {:?}",
            String::from_utf8_lossy(request)
        );
    }
    wire.ask(b"get q\r\n", b"END\r\n");
}

#[test]
fn everything_else_that_is_malformed_is_named_and_closed() {
    let daemon = daemon();
    let long_line = [&b"get "[..], &[b'a'; 3000], b"\r\n"].concat();
    let long_name = [&b"get "[..], &[b'a'; 251], b"\r\n"].concat();
    let requests: &[&[u8]] = &[
        b"bogus\r\n",
        b"\r\n",
        b"   \r\n",
        b"add q 0 0 1\r\nx\r\n",
        b"set q 0 0\r\n",
        b"set q 0 0 x\r\n",
        b"set q 0 0 -1\r\n",
        b"set q 0 0 +5\r\n",
        b"set q 0 0 9223372036854775808\r\n",
        b"set q 0 0 2147483648\r\n",
        b"set q 0 soon 1\r\nx\r\n",
        b"set q 0 0 1\r\nxyz\r\n",
        b"get q/t=abc\r\n",
        b"get q/open/peek\r\n",
        b"get q/abort/close\r\n",
        b"get q/abort/peek\r\n",
        b"get /open\r\n",
        b"get q.x\r\n",
        b"set a~b 0 0 1\r\nx\r\n",
        b"set ../../etc/passwd 0 0 1\r\nx\r\n",
        b"get q\0\r\n",
        b"get q\rx\r\n",
        &long_line,
        &long_name,
    ];
    for request in requests {
        let mut wire = daemon.connect();
        wire.send(request);
        let line = wire.line();
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]).into_owned();
        assert!(line.starts_with("CLIENT_ERROR "), "{line} for {shown:?}");
        wire.expect_close();
    }
    assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
}

#[test]
fn any_cut_of_the_input_gives_the_same_replies() {
    let daemon = daemon();
    let request = b"set q 5 0 4\r\nab\r\n\r\nget q/open\r\nget q/close\r\nget q\r\nget\r\n";
    for cut in 1..request.len() {
        let mut wire = daemon.connect();
        wire.send(&request[..cut]);
        wire.send(&request[cut..]);
        wire.expect(b"STORED\r\nVALUE q 5 4\r\nab\r\n\r\nEND\r\nEND\r\nEND\r\nCLIENT_ERROR ");
    }
}

#[test]
fn extended_commands_take_several_and_settle_by_id() {
    let daemon = daemon();
    let mut wire = daemon.connect();
    wire.send(b"capabilities\r\n");
    let line = wire.line();
    assert!(line.starts_with("CAPABILITIES kqueue/"), "{line}");
    for word in ["put", "reserve", "ack", "release"] {
        assert!(line.split(' ').any(|w| w == word), "{line}");
    }
    let mut ids = Vec::new();
    for body in ["a", "b", "c"] {
        wire.send(format!("put jobs 1 flags=9\r\n{body}\r\n").as_bytes());
        let line = wire.line();
        ids.push(line.strip_prefix("STORED ").expect("an id").parse::<u64>().expect("a number"));
    }
    assert!(ids.is_sorted() && ids[0] < ids[1] && ids[1] < ids[2]);
    wire.send(b"reserve 2 0 0 nothing jobs\r\n");
    for (id, body) in ids.iter().zip(["a", "b"]) {
        let line = wire.line();
        assert!(
            line.starts_with(&format!("ITEM jobs {id} 9 1 ")) && line.ends_with(" 1"),
            "{line}"
        );
        wire.expect(format!("{body}\r\n").as_bytes());
    }
    wire.expect(b"END\r\n");
    let mut other = daemon.connect();
    other.ask(format!("ack jobs {}\r\n", ids[0]).as_bytes(), b"NOT_HELD\r\n");
    wire.ask(format!("release jobs {}\r\n", ids[0]).as_bytes(), b"OK\r\n");
    wire.ask(format!("ack jobs {}\r\n", ids[0]).as_bytes(), b"NOT_HELD\r\n");
    wire.ask(format!("ack jobs {}\r\n", ids[1]).as_bytes(), b"OK\r\n");
    other.send(b"reserve 9 0 0 jobs\r\n");
    let line = other.line();
    assert!(line.starts_with(&format!("ITEM jobs {} 9 2 ", ids[0])), "the second delivery: {line}");
}

#[test]
fn what_arrives_while_a_request_waits_is_answered_after_it() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    wire.send(b"get slow/t=60000\r\n");
    // Seen by the server before the wait begins or while it goes on: either way it is behind it.
    let mut other = daemon.connect();
    while other.stat("queue_slow_waiters") != Some("1".to_owned()) {}
    wire.send(b"version\r\n");
    other.put("slow", b"x");
    wire.expect(b"VALUE slow 0 1\r\nx\r\nEND\r\n");
    assert!(wire.line().starts_with("VERSION "));
}

#[test]
fn many_pipelined_gets_of_items_that_are_on_the_disk_only_are_all_answered() {
    let daemon = Daemon::start("[queue_defaults]\nmax_memory_size = 0\n");
    let mut wire = daemon.connect();
    let count = 500;
    for n in 0..count {
        wire.put("q", format!("item {n}").as_bytes());
    }
    assert_eq!(wire.stat("queue_q_mem_items"), Some("0".to_owned()));
    wire.send("get q\r\n".repeat(count + 1).as_bytes());
    for n in 0..count {
        let body = format!("item {n}");
        wire.expect(format!("VALUE q 0 {}\r\n{body}\r\nEND\r\n", body.len()).as_bytes());
    }
    wire.expect(b"END\r\n");
}

#[test]
fn pipelined_gets_are_all_answered_however_long_the_replies_are() {
    let daemon = Daemon::start("");
    let mut wire = daemon.connect();
    // Far more than the server keeps of replies, in one write, which the server reads at once.
    let (count, body) = (2000, "x".repeat(1024));
    for _ in 0..count {
        wire.put("q", body.as_bytes());
    }
    wire.send("get q\r\n".repeat(count).as_bytes());
    for _ in 0..count {
        wire.expect(format!("VALUE q 0 1024\r\n{body}\r\nEND\r\n").as_bytes());
    }
}

/// The replies to large gets wait behind a put that is being synced, until no more may; meanwhile as many requests are decoded as may be. When the sync is
/// done all of them are run at once, and what is still in the input must not wait for the client to send more.
#[test]
fn everything_in_a_long_pipeline_is_answered() {
    let daemon = Daemon::start("sync = \"always\"");
    let mut wire = daemon.connect();
    let body = "x".repeat(8192);
    for _ in 0..40 {
        wire.put("large", body.as_bytes());
    }
    let value = format!("VALUE large 0 8192\r\n{body}\r\nEND\r\n");
    let requests =
        ["set q 0 0 1\r\nx\r\n", &"get large\r\n".repeat(40), &"get none\r\n".repeat(600)];
    let replies = ["STORED\r\n", &value.repeat(40), &"END\r\n".repeat(600)];
    wire.send(requests.concat().as_bytes());
    wire.expect(replies.concat().as_bytes());
}
