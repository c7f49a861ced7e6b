//! The same streams of requests to the real daemon: in one piece, byte by byte, and in pieces of any length. What is answered must be the same.
//!
//! `crates/kqueue-broker/tests/cuts.rs` tries very many streams in memory; here the pieces go through sockets and the server's reading.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use kqueue_tests::{Daemon, Dice};

/// All queues of the streams.
const QUEUES: [&str; 6] = ["q", "q+x", "r", "two", "small", "%2f"];

/// Streams as clients send them; each ends in its own way.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let large = |bytes: usize| {
        let body: Vec<u8> = (0..bytes).map(|at| (at * 7) as u8).collect();
        [format!("set q 5 0 {bytes}\r\n").as_bytes(), &body, b"\r\n"].concat()
    };
    let kestrel = b"get q+x\r\nset q 3 0 5\r\nhello\r\nset q 4294967295 60 4\r\n\r\n\r\n\r\nSET q 0 -1 0\r\n\r\nget q/open\r\nget q/open/t=0\r\n\
        get q/peek\r\nget q/close\r\nget q/abort\r\ngets q other\r\nget q/t=30\r\nget q+x/close/open\r\nget q+x/close\r\nget q+x\r\nset r 0 0 1 noreply\r\n1\r\n\
        delete r noreply\r\nget r\r\nset two 0 0 1\r\n1\r\nset two 0 0 1\r\n2\r\nset two 0 0 1\r\n3\r\nflush two\r\nget two\r\nflush_all\r\nversion\r\nquit\r\nversion\r\n";
    let extended = b"capabilities\r\nput q 2 ttl=5 flags=7\r\n\r\n\r\nput q 1\r\na\r\nreserve 5 0 0 r q\r\nack q 1\r\nrelease q x\r\nget q/close\r\nget q/abort\r\n\
        reserve 1 30 1000 r two\r\nget q/open\r\nget q/close\r\nput q 3 what=1\r\n\nq\r\r\nput q.x 1\r\nz\r\nreserve 0 0 0 q\r\nput small 4\r\n1234\r\n";
    let in_step = b"get\r\nget //\r\ndelete\r\nflush\r\nset q x 0 9\r\nflush_all\r\nset + 0 0 1\r\nx\r\nget +\r\nset small 0 0 11\r\nflush_all\r\n\r\nget %2f\r\n\
        set %2f 0 0 1\r\nx\r\nget %2f\r\ndelete ../x\r\nversion\n";
    let mut all = vec![
        ("Kestrel's commands", kestrel.to_vec()),
        ("extended commands", extended.to_vec()),
        ("errors in step", in_step.to_vec()),
        ("unfinished", b"set q 0 0 1\r\na\r\nset q 0 0 100\r\nget q\r\n".to_vec()),
        (
            "pipelined",
            [b"set q 0 0 3\r\nabc\r\n".repeat(200), b"get q/open\r\nget q/close\r\n".repeat(201)]
                .concat(),
        ),
        (
            "small and large",
            [large(16_384), large(16_385), large(70_000), b"get q\r\n".repeat(4)].concat(),
        ),
        ("too large", [large(1_048_577), b"get q\r\nversion\r\n".to_vec()].concat()),
    ];
    // What closes the connection, with something before it and behind it.
    for end in [
        "nonsense\r\n",
        "\r\n",
        "add q 0 0 1\r\nx\r\n",
        "set q 0 0\r\n",
        "set q 0 0 +5\r\nabcde\r\n",
        "set q 0 0 -1\r\n",
        "set q 0 0 9223372036854775808\r\nx\r\n",
        "set q 0 0 3\r\nabcd\r\n",
        "get q/t=x\r\n",
        "get q/open/peek\r\n",
        "get /open\r\n",
        "get q.x\r\n",
        "get q\rx\r\n",
        "get q\0\r\n",
        "get q/open\r\nget q\r\n",
    ] {
        let stream = format!("set q 0 0 1\r\na\r\n{end}get q\r\nversion\r\n");
        all.push((end, stream.into_bytes()));
    }
    all
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Sends the pieces, says that nothing more will come, and returns all that is answered.
    fn talk<'a>(self, pieces: impl Iterator<Item = &'a [u8]> + Send, daemon: &Daemon) -> Vec<u8> {
        let (mut read, mut write): (Box<dyn Read>, Box<dyn Write + Send>) = match &self {
            Self::Tcp(stream) => (
                Box::new(stream.try_clone().expect("a copy")),
                Box::new(stream.try_clone().expect("a copy")),
            ),
            Self::Unix(stream) => (
                Box::new(stream.try_clone().expect("a copy")),
                Box::new(stream.try_clone().expect("a copy")),
            ),
        };
        let mut answer = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut other = daemon.connect();
                for (number, piece) in pieces.enumerate() {
                    // It may have been closed for something before this piece.
                    if write.write_all(piece).is_err() {
                        return;
                    }
                    if number % 16 == 0 {
                        // Gives the daemon time to read what there is: an event, not a pause.
                        other.send(b"version\r\n");
                        other.line();
                    }
                }
                let _ = match &self {
                    Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
                    Self::Unix(stream) => stream.shutdown(Shutdown::Write),
                };
            });
            // Closed with something unread in it, a connection is reset behind the answer.
            let _ = read.read_to_end(&mut answer);
        });
        answer
    }
}

/// Ids count what is written together, and ages are times.
fn without_ids(answer: &[u8]) -> Vec<String> {
    let line = |line: &[u8]| {
        let text = line.escape_ascii().to_string();
        let mut words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["STORED", _] => words.truncate(1),
            ["ITEM", ..] if words.len() == 7 => (words[2], words[5]) = ("id", "age"),
            _ => {}
        }
        words.join(" ")
    };
    answer.split(|&byte| byte == b'\n').map(line).collect()
}

fn pieces(mut stream: &[u8], mut length: impl FnMut() -> usize) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(length().clamp(1, stream.len()));
        all.push(piece);
        stream = rest;
    }
    all
}

#[test]
fn however_a_stream_is_cut_the_daemon_answers_the_same() {
    let daemon =
        Daemon::start("[queues.\"two\"]\nmax_items = 2\n[queues.\"small\"]\nmax_item_size = 10\n");
    let seed = Dice::seed_from("KQUEUE_CUTS_SEED");
    println!("KQUEUE_CUTS_SEED={seed}");
    let mut dice = Dice::new(seed);
    for (name, stream) in streams() {
        let ask = |is_unix: bool, pieces: Vec<&[u8]>| {
            let mut control = daemon.connect();
            while control.stat("curr_connections").as_deref() != Some("1") {}
            for queue in QUEUES {
                control.ask(format!("delete {queue}\r\n").as_bytes(), b"DELETED\r\n");
            }
            drop(control);
            let socket = match is_unix {
                true => Socket::Unix(UnixStream::connect(daemon.socket()).expect("it accepts")),
                false => {
                    let stream = daemon.connect_raw();
                    stream.set_nodelay(true).expect("nodelay");
                    Socket::Tcp(stream)
                }
            };
            without_ids(&socket.talk(pieces.into_iter(), &daemon))
        };
        let whole = ask(false, vec![&stream]);
        assert!(whole.len() > 1, "{name:?} is answered: {whole:?}");
        // The long ones consist of bodies: there is nothing to be learnt from each of a million bytes.
        let single = if stream.len() < 10_000 { 1 } else { 997 };
        assert_eq!(ask(false, pieces(&stream, || single)), whole, "{name:?} in pieces of {single}");
        for longest in [4, 100, 5000] {
            for is_unix in [false, true] {
                let longest = longest.max(stream.len() as u64 / 2000);
                let cut = pieces(&stream, || 1 + dice.below(longest) as usize);
                assert_eq!(ask(is_unix, cut), whole, "{name:?} in pieces of up to {longest}");
            }
        }
    }
}
