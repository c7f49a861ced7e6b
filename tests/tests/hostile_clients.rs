//! Clients that mean no good, or do not know what they do: what they cost is bounded, nobody else notices them, and the connection is in step or closed.
//!
//! How much is done follows from `KQUEUE_HOSTILE_CONNECTIONS`, `KQUEUE_HOSTILE_STORM` and `KQUEUE_HOSTILE_QUEUES`; `make soak` does more.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, Dice, Wire, connect_from, open_files, scale};
use socket2::SockRef;

/// Longer than anything takes; only a defect waits for so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// What an idle connection may take of the server's memory.
const IDLE_BYTES_MAX: u64 = 10 * 1024;
/// The same of one that was busy before: it keeps room for some requests and replies.
const BUSY_BYTES_MAX: u64 = 20 * 1024;

/// Asks every connection for the version, first all of them, then reads all answers.
fn ask_all(streams: &mut [TcpStream], request: &[u8]) {
    for stream in &mut *streams {
        stream.write_all(request).expect("it takes what is sent");
    }
    let mut answer = [0; 1024];
    for stream in streams {
        let bytes = stream.read(&mut answer).expect("it answers");
        assert!(answer[..bytes].starts_with(b"VERSION "), "{}", answer[..bytes].escape_ascii());
    }
}

fn connect_many(daemon: &Daemon, count: usize, first_source: u8) -> Vec<TcpStream> {
    let source = |number: usize| first_source + (number / 10_000) as u8;
    (0..count)
        .map(|number| connect_from(source(number), daemon.address()).expect("it accepts"))
        .collect()
}

/// What `streams` have cost each since `before_kib`.
fn bytes_each(daemon: &Daemon, before_kib: u64, count: usize) -> u64 {
    daemon.rss_kib().saturating_sub(before_kib) * 1024 / count as u64
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_everybody_is_served() {
    let wanted = scale("KQUEUE_HOSTILE_CONNECTIONS", 10_000);
    let count = wanted.min(open_files());
    assert!(count >= 4000.min(wanted), "the limit of open files is too low: {count}");
    let daemon = Daemon::start(&format!("max_connections = {}----", count + 100));
    let before = daemon.rss_kib();
    let mut streams = connect_many(&daemon, count, 2);
    ask_all(&mut streams, b"version\r\n");
    let each = bytes_each(&daemon, before, count);
    println!("{each} bytes for each of {count} idle connections");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes for each of {count} idle connections");
    let mut wire = daemon.connect();
    wire.put("q", b"x");
    assert_eq!(wire.get("q").as_deref(), Some(&b"x"[..]));
    assert_eq!(wire.stat("curr_connections"), Some((count + 1).to_string()));
}

/// What was needed for a burst of requests goes when the burst is over.
#[test]
fn a_connection_that_was_busy_once_costs_little_when_it_is_idle() {
    const COUNT: usize = 300;
    const REQUESTS: usize = 10_000;
    let daemon = Daemon::start("");
    let mut streams = connect_many(&daemon, COUNT, 7);
    ask_all(&mut streams, b"version\r\n");
    let requests = b"get q\r\n".repeat(REQUESTS);
    let mut answers = vec![0; b"END\r\n".len() * REQUESTS];
    let mut burst = |stream: &mut TcpStream| {
        stream.write_all(&requests).expect("it takes what is sent");
        stream.read_exact(&mut answers).expect("it answers");
    };
    // The first one shows what one burst leaves behind that is not the connection's.
    burst(&mut streams[0]);
    let before = daemon.rss_kib();
    streams.iter_mut().for_each(burst);
    let each = bytes_each(&daemon, before, COUNT);
    println!("{each} bytes for each of {COUNT} connections that were busy");
    assert!(each < BUSY_BYTES_MAX, "{each} bytes for each of {COUNT} connections that were busy");
}

#[test]
fn clients_that_ask_for_much_and_never_read_are_bounded_and_others_are_served() {
    // Short enough to be copied into what is to be sent.
    const ITEM_BYTES: usize = 4000;
    const GREEDY: usize = 20;
    let daemon = Daemon::start("----sync = \"never\"\n");
    let mut other = daemon.connect();
    other.put("item", &vec![b'x'; ITEM_BYTES]);
    let before = daemon.rss_kib();
    let mut greedy: Vec<TcpStream> = (0..GREEDY).map(|_| daemon.connect_raw()).collect();
    for stream in &mut greedy {
        stream.set_nonblocking(true).expect("non-blocking");
        // 40 MB of answers: far more than sockets hold.
        let requests = b"get item/peek\r\n".repeat(10_000);
        let mut sent = 0;
        while sent < requests.len() {
            match stream.write(&requests[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(_) => break,
            }
        }
    }
    for _ in 0..500 {
        other.put("q", b"x");
        assert_eq!(other.get("q").as_deref(), Some(&b"x"[..]));
    }
    let more = daemon.rss_kib().saturating_sub(before);
    // Requests that were not run, answers that were not taken (their buffer doubles as it grows), for each of them.
    let bound = GREEDY as u64 * 2048;
    println!("{more} KiB for {GREEDY} clients that do not read");
    assert!(more < bound, "{more} KiB for {GREEDY} clients that do not read");
    drop(greedy);
    while other.stat("curr_connections").as_deref() != Some("1") {}
}

#[test]
fn clients_that_send_a_byte_a_second_are_closed_and_cost_nobody_anything() {
    const SLOW: usize = 300;
    let daemon = Daemon::start("");
    // Within a line, within a body, within what is swallowed.
    let begun: [&[u8]; 3] = [b"get ", b"set q 0 0 1000\r\n", b"set q 0 0 2000000\r\n"];
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| daemon.connect_raw()).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        stream.write_all(begun[number % begun.len()]).expect("it takes what is sent");
        stream.set_nonblocking(true).expect("non-blocking");
    }
    let mut other = daemon.connect();
    let (mut rounds, begun) = (0u64, Instant::now());
    while !slow.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} are still connected", slow.len());
        // Everybody else is served all the while.
        let second = Instant::now();
        while second.elapsed() < Duration::from_secs(1) {
            other.put("q", b"x");
            assert_eq!(other.get("q").as_deref(), Some(&b"x"[..]));
            rounds += 1;
        }
        slow.retain_mut(|stream| {
            let mut answer = [0; 64];
            match stream.read(&mut answer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => stream.write(b"x").is_ok(),
                Ok(0) | Err(_) => false,
                Ok(bytes) => panic!("an answer: {}", answer[..bytes].escape_ascii()),
            }
        });
    }
    assert!(rounds > 0);
    while other.stat("curr_connections").as_deref() != Some("1") {}
    assert_eq!(other.get("q"), None);
}

/// Sends `count` requests in batches, made by number, and gives each answer's line to `check`.
fn pipeline(
    wire: &mut Wire,
    count: usize,
    request: impl Fn(usize) -> String,
    mut check: impl FnMut(usize, &str),
) {
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(500) {
        let requests: String = batch.iter().map(|&number| request(number)).collect();
        wire.send(requests.as_bytes());
        for &number in batch {
            let line = wire.line();
            check(number, &line);
        }
    }
}

#[test]
fn more_queue_names_than_permitted_are_refused_and_nothing_else_is() {
    const QUEUES: usize = 1000;
    let names = scale("KQUEUE_HOSTILE_QUEUES", 20_000);
    let daemon = Daemon::start(&format!("max_queues = {QUEUES}----sync = \"never\"\n"));
    let mut wire = daemon.connect();
    for number in 0..10 {
        wire.put(&format!("mine{number}"), b"kept");
    }
    let refused = format!(
        "SERVER_ERROR too many queues: there are max_queues = {QUEUES}, and this would be another one"
    );
    let before = daemon.rss_kib();
    // Looking for items makes queues, too, which go when others are needed.
    pipeline(
        &mut wire,
        names,
        |number| format!("get got{number}\r\n"),
        |_, line| {
            assert_eq!(line, "END");
        },
    );
    wire.put("put0", b"x");
    let mut stored = 0;
    let set = |number| format!("set put{number} 0 0 1\r\nx\r\n");
    pipeline(&mut wire, names, set, |number, line| match line {
        "STORED" => stored += 1,
        _ => assert_eq!(line, refused, "for put{number}"),
    });
    // One more in put0.
    assert_eq!(stored, QUEUES - 10);
    pipeline(
        &mut wire,
        names,
        |number| format!("put more{number} 1\r\nx\r\n"),
        |number, line| {
            assert_eq!(line, refused, "for more{number}");
        },
    );
    pipeline(
        &mut wire,
        names,
        |number| format!("get got{number}+sub/open\r\n"),
        |_, line| {
            assert_eq!(line, "END");
        },
    );
    let more = daemon.rss_kib().saturating_sub(before);
    println!("{more} KiB for {QUEUES} queues");
    assert!(more < 32 * 1024, "{more} KiB for {QUEUES} queues");
    // In step, and everything that was there works.
    assert_eq!(wire.stat("curr_items"), Some((QUEUES + 1).to_string()));
    for number in 0..10 {
        let queue = format!("mine{number}");
        assert_eq!(wire.get(&queue).as_deref(), Some(&b"kept"[..]));
        wire.put(&queue, b"again");
    }
    wire.ask(b"delete put0\r\n", b"DELETED\r\n");
    wire.put("another", b"x");
}

/// Every file below a directory but the journal's segments, and its length.
fn files_below(directory: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(directory).expect("below").display().to_string();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            if !name.starts_with("data/log-") && !name.starts_with("data/spare-") {
                files.insert(name, fs::metadata(&path).expect("it is there").len());
            }
        }
    }
    files
}

#[test]
fn names_that_look_like_paths_never_reach_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start_in(directory.path(), "").expect("it starts");
    daemon.connect().put("first", b"x");
    let before = files_below(directory.path());
    let name = |text: &str| format!("CLIENT_ERROR '.' in a queue name: '{text}'");
    let refused: [(&[u8], String); 13] = [
        (b"set ../../etc/passwd 0 0 1\r\nx\r\n", name("../../etc/passwd")),
        (b"set .. 0 0 1\r\nx\r\n", name("..")),
        (b"set . 0 0 1\r\nx\r\n", name(".")),
        (b"set journal.kq 0 0 1\r\nx\r\n", name("journal.kq")),
        (b"set log-0000000000000001.kq 0 0 1\r\nx\r\n", name("log-0000000000000001.kq")),
        (b"get ../../etc/passwd\r\n", name("..")),
        (b"get ..\r\n", name("..")),
        (b"get journal.kq/open\r\n", name("journal.kq")),
        (
            b"set /etc/passwd 0 0 1\r\nx\r\n",
            "CLIENT_ERROR '/' in a queue name: '/etc/passwd'".into(),
        ),
        (b"set a~b 0 0 1\r\nx\r\n", "CLIENT_ERROR '~' in a queue name: 'a~b'".into()),
        (b"get /etc/passwd\r\n", "CLIENT_ERROR empty queue name".into()),
        (b"set a\0b 0 0 1\r\nx\r\n", "CLIENT_ERROR NUL or CR inside a line".into()),
        (b"get a\rb\r\n", "CLIENT_ERROR NUL or CR inside a line".into()),
    ];
    for (request, expected) in refused {
        let mut wire = daemon.connect();
        wire.send(request);
        assert_eq!(wire.line(), expected);
        wire.expect_close();
    }
    for (bytes, expected) in [
        (
            251,
            "CLIENT_ERROR queue name longer than 250 bytes: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...'",
        ),
        (64 * 1024, "CLIENT_ERROR line too long"),
    ] {
        for (before, behind) in [("get ", "\r\n"), ("set ", " 0 0 1\r\nx\r\n")] {
            let mut wire = daemon.connect();
            wire.send(format!("{before}{}{behind}", "n".repeat(bytes)).as_bytes());
            assert_eq!(wire.line(), expected);
            wire.expect_close();
        }
    }
    let mut wire = daemon.connect();
    // What cannot be there is not there, and the extended commands stay in step.
    wire.ask(b"delete ../../etc/passwd\r\nflush journal.kq\r\n", b"DELETED\r\nEND\r\n");
    let expected = name("..") + "\r\n";
    wire.ask(b"put .. 1\r\nx\r\nreserve 1 0 0 ..\r\n", expected.repeat(2).as_bytes());
    let mut harmless: Vec<Vec<u8>> = [
        "%2f",
        "%2e%2e%2fpasswd",
        "lock",
        "data",
        "server",
        "con",
        "-rf",
        "$HOME",
        "`id`",
        "a\\b",
        "\"",
        "*",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    harmless.extend([vec![b'n'; 250], b"\xff\xfe".to_vec(), b"\xc0\xae\xc0\xae".to_vec()]);
    for name in &harmless {
        wire.ask(&[b"set ", &name[..], b" 0 0 1\r\nx\r\n"].concat(), b"STORED\r\n");
    }
    assert_eq!(files_below(directory.path()), before);
    let daemon = daemon.stop_and_restart();
    let mut wire = daemon.connect();
    for name in &harmless {
        let expected = [b"VALUE ", &name[..], b" 0 1\r\nx\r\nEND\r\n"].concat();
        wire.send(&[b"get ", &name[..], b"\r\n"].concat());
        let mut got = vec![0; expected.len()];
        wire.read(&mut got);
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn nothing_in_a_body_is_ever_taken_for_a_command() {
    let daemon = Daemon::start("max_item_size = \"1KiB\"----");
    let mut victim = daemon.connect();
    victim.put("victim", b"x");
    let commands = b"\r\nflush_all\r\ndelete victim\r\nset stolen 0 0 1\r\nx\r\n".repeat(200);
    let with_body = |line: String, end: &[u8]| [line.as_bytes(), &commands, end].concat();
    let bytes = commands.len();
    // Swallowed, and the connection in step.
    for (request, expected) in [
        (with_body(format!("set q 0 0 {bytes}\r\n"), b"\r\n"), "NOT_STORED".to_owned()),
        (with_body(format!("set q 0 0 000000{bytes}\r\n"), b"\r\n"), "NOT_STORED".into()),
        (
            with_body(format!("put q {bytes}\r\n"), b"\r\n"),
            format!("NOT_STORED the item has {bytes} bytes, max_item_size is 1024"),
        ),
        (
            with_body(format!("set q flags 0 {bytes}\r\n"), b"\r\n"),
            "CLIENT_ERROR bad flags 'flags'".into(),
        ),
    ] {
        let mut wire = daemon.connect();
        wire.send(&request);
        assert_eq!(wire.line(), expected);
        wire.ask(b"get q\r\n", b"END\r\n");
    }
    // No length that can be believed, or no end where it should be: closed.
    for (line, end, expected) in [
        ("set q 0 0 9223372036854775808", &b"\r\n"[..], "bad byte count '9223372036854775808'"),
        ("set q 0 0 18446744073709551621", b"\r\n", "bad byte count '18446744073709551621'"),
        ("set q 0 0 2147483648", b"\r\n", "bad byte count '2147483648'"),
        ("set q 0 0 -1", b"\r\n", "bad byte count '-1'"),
        ("set q 0 0 +5", b"\r\n", "bad byte count '+5'"),
        ("set q 0 0 5x", b"\r\n", "bad byte count '5x'"),
        ("set q 0 0 0x5", b"\r\n", "bad byte count '0x5'"),
        ("set q 0 0 ", b"\r\n", "missing byte count"),
        ("put q 9223372036854775808", b"\r\n", "bad byte count '9223372036854775808'"),
        ("set q 0 0 1", b"\r\n", "bad data chunk"),
    ] {
        let mut wire = daemon.connect();
        wire.send(&with_body(format!("{line}\r\n"), end));
        assert_eq!(wire.line(), format!("CLIENT_ERROR {expected}"), "{line}");
        wire.expect_close();
    }
    // Oversize, and the line end is missing behind it.
    let mut wire = daemon.connect();
    wire.send(&with_body(format!("set q 0 0 {bytes}\r\n"), b"flush_all\r\n"));
    assert_eq!(wire.line(), "CLIENT_ERROR bad data chunk");
    wire.expect_close();
    // The largest length that can be said at all costs nothing, and only its end would end it.
    let before = daemon.rss_kib();
    let mut wire = daemon.connect();
    wire.send(b"set q 0 0 2147483647\r\n");
    for _ in 0..2000 {
        wire.send(&commands);
    }
    assert_eq!(victim.stat("queue_victim_items").as_deref(), Some("1"));
    let more = daemon.rss_kib().saturating_sub(before);
    assert!(more < 4 * 1024, "{more} KiB for a body that is not kept");
    assert_eq!(victim.stat("queue_stolen_items"), None);
    assert_eq!(victim.stat("curr_items").as_deref(), Some("1"));
}

/// One short visit of somebody who does not behave.
fn visit(address: SocketAddr, source: u8, dice: &mut Dice) -> std::io::Result<()> {
    let mut stream = connect_from(source, address)?;
    let requests: [&[u8]; 8] = [
        b"",
        b"get held/open\r\n",
        b"get empty/t=60000\r\n",
        b"set storm 0 0 100\r\nonly a part",
        b"reserve 10 60000 0 empty held\r\n",
        b"\0\0\0\0",
        b"get held/open\r\nget held/abort\r\nget held/open\r\n",
        b"version\r\n",
    ];
    stream.write_all(requests[dice.below(requests.len() as u64) as usize])?;
    if dice.percent(30) {
        stream.set_nonblocking(true)?;
        // Whatever has come by now, or nothing.
        let _ = stream.read(&mut [0; 64]);
    }
    if dice.percent(50) {
        // Reset instead of closed.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Waits until nobody comes any more but us: the last of a storm may not have been accepted yet when they have gone (and what comes while the kernel's queue
/// is full never is, so that they cannot be counted).
fn wait_for_calm(daemon: &Daemon) {
    let total = || daemon.stat("total_connections")?.parse::<u64>().ok();
    let (mut last, mut alone) = (total(), 0);
    while alone < 100 {
        let now = total();
        alone = if now == last.map(|last| last + 1) { alone + 1 } else { 0 };
        last = now;
    }
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind_and_a_steady_client_is_served() {
    const THREADS: usize = 4;
    const HELD: usize = 5;
    let each = scale("KQUEUE_HOSTILE_STORM", 20_000) / THREADS;
    let max = each * THREADS + 100;
    let daemon = Daemon::start(&format!("max_connections = {max}----sync = \"never\"\n"));
    let mut steady = daemon.connect();
    for number in 0..HELD {
        steady.put("held", number.to_string().as_bytes());
    }
    let seed = Dice::seed_from("KQUEUE_HOSTILE_SEED");
    println!("KQUEUE_HOSTILE_SEED={seed}");
    let is_over = AtomicBool::new(false);
    let mut rounds = 0u64;
    std::thread::scope(|scope| {
        let storm: Vec<_> = (0..THREADS)
            .map(|thread| {
                let address = daemon.address();
                scope.spawn(move || {
                    let mut dice = Dice::new(seed + thread as u64);
                    for _ in 0..each {
                        match visit(address, 20 + thread as u8, &mut dice) {
                            // The daemon may close first.
                            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                            visited => visited.expect("it accepts"),
                        }
                    }
                })
            })
            .collect();
        let is_over = &is_over;
        scope.spawn(move || {
            storm.into_iter().for_each(|thread| thread.join().expect("no visitor panics"));
            is_over.store(true, Ordering::Release);
        });
        while !is_over.load(Ordering::Acquire) {
            let body = rounds.to_string();
            steady.put("steady", body.as_bytes());
            assert_eq!(steady.get("steady").as_deref(), Some(body.as_bytes()));
            rounds += 1;
        }
    });
    println!("{rounds} rounds of the steady client");
    wait_for_calm(&daemon);
    // All that anybody held or waited for is back, in its order.
    while steady.stat("curr_connections").as_deref() != Some("1") {}
    let waiters = steady.stat("queue_empty_waiters");
    assert!(waiters.as_deref().is_none_or(|waiters| waiters == "0"), "{waiters:?} wait");
    assert_eq!(steady.stat("queue_held_open_transactions").as_deref(), Some("0"));
    for number in 0..HELD {
        assert_eq!(steady.get("held"), Some(number.to_string().into_bytes()));
    }
    assert_eq!(steady.stat("queue_storm_items").filter(|items| items != "0"), None);
}

#[test]
fn a_connection_too_many_is_told_so_also_if_it_asks_at_once() {
    let daemon = Daemon::start("max_connections = 3----");
    let mut wires: Vec<Wire> = (0..3).map(|_| daemon.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.ask(b"get q\r\n", b"END\r\n"));
    for _ in 0..300 {
        let mut refused = daemon.connect_raw();
        // It may have been closed already.
        let _ = refused.write_all(b"set q 0 0 1\r\nx\r\nget q\r\n");
        let mut answer = Vec::new();
        // Closed with something unread in it, it is reset behind the answer.
        let _ = refused.read_to_end(&mut answer);
        assert_eq!(answer.escape_ascii().to_string(), "SERVER_ERROR too many connections\\r\\n");
    }
    wires.iter_mut().for_each(|wire| wire.ask(b"get q\r\n", b"END\r\n"));
}

#[test]
fn requests_that_are_never_completed_are_bounded_in_all() {
    // Far more than the server keeps of all connections together: 256 MiB.
    const ITEM_BYTES: usize = 4 << 20;
    const CONNECTIONS: usize = 100;
    let daemon = Daemon::start("max_item_size = \"4MiB\"\n----segment_size = \"16MiB\"\n");
    let before = daemon.rss_kib();
    let body = vec![b'x'; ITEM_BYTES - 1];
    let mut refused = 0;
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let mut wire = daemon.connect();
        wire.send(format!("set q{number} 0 0 {ITEM_BYTES}\r\n").as_bytes());
        wire.send(&body);
        held.push(wire);
    }
    // Requests are read in their order: once this one is answered, so is what came before on it.
    let mut other = daemon.connect();
    other.put("small", b"is served all the same");
    let more = daemon.rss_kib().saturating_sub(before);
    println!("{more} KiB for {CONNECTIONS} incomplete requests");
    assert!(more < 330 * 1024, "{more} KiB for {CONNECTIONS} incomplete requests");
    for (number, mut wire) in held.into_iter().enumerate() {
        wire.send(b"x\r\n");
        match wire.line().as_str() {
            "STORED" => {}
            "SERVER_ERROR out of memory for requests: too many large ones at a time" => {
                refused += 1;
                // In step, and served again once there is room.
                wire.put(&format!("again{number}"), b"x");
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0 && refused < CONNECTIONS, "{refused} of {CONNECTIONS} were refused");
    assert_eq!(other.stat("refused_no_memory"), Some(refused.to_string()));
    assert_eq!(other.stat("curr_items"), Some((CONNECTIONS + 1).to_string()));
}
