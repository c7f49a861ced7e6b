//! `make bench`, second part: the extended commands beside Kestrel's, in turns, on one server.
//!
//! Each side does the same to queues of its own that hold the same items; what the server's processor spends on it is told, too, since that is free of the network's
//! noise.
//!
//! Must not: judge. Tests never depend on it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{self, Client};
use crate::peers::median;
use crate::server::Server;
use crate::storage::watch::cpu_time;

/// How often, and how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is repeated.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Items per measurement.
    #[arg(long, default_value_t = 20_000)]
    items: usize,
}

const BODY: [u8; 1024] = [b'x'; 1024];
/// As many as one `reserve` takes at most.
const MANY: usize = 1000;

/// One side's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Extended,
    Kestrel,
}

impl Words {
    const BOTH: [Self; 2] = [Self::Extended, Self::Kestrel];

    fn queue(self) -> &'static str {
        match self {
            Self::Extended => "words",
            Self::Kestrel => "other",
        }
    }

    fn put(self) -> Vec<u8> {
        let (queue, bytes) = (self.queue(), BODY.len());
        let head = match self {
            Self::Extended => format!("put {queue} {bytes}\r\n"),
            Self::Kestrel => format!("set {queue} 0 0 {bytes}\r\n"),
        };
        [head.as_bytes(), &BODY, b"\r\n"].concat()
    }

    /// Takes one item so that it comes back if this client dies; answers its id if it has been told one.
    fn reserve(self, client: &mut Client) -> Option<String> {
        let queue = self.queue();
        match self {
            Self::Extended => client.send(format!("reserve 1 0 0 {queue}\r\n").as_bytes()),
            Self::Kestrel => client.send(format!("get {queue}/open\r\n").as_bytes()),
        }
        self.item(client.receive(b"END\r\n"))
    }

    /// The item that was taken is done.
    fn ack(self, client: &mut Client, id: Option<&str>) {
        let (request, reply) = self.done(id);
        client.send(request.as_bytes());
        client.receive(reply.as_bytes());
    }

    /// The same, and takes the next one, in one request.
    fn ack_and_reserve(self, client: &mut Client, id: Option<&str>) -> Option<String> {
        let queue = self.queue();
        match self {
            Self::Extended => {
                let (ack, _) = self.done(id);
                client.send(format!("{ack}reserve 1 0 0 {queue}\r\n").as_bytes());
            }
            Self::Kestrel => client.send(format!("get {queue}/close/open\r\n").as_bytes()),
        }
        self.item(client.receive(b"END\r\n"))
    }

    fn done(self, id: Option<&str>) -> (String, &'static str) {
        let queue = self.queue();
        match self {
            Self::Extended => (format!("ack {queue} {}\r\n", id.expect("an id")), "OK\r\n"),
            Self::Kestrel => (format!("get {queue}/close\r\n"), "END\r\n"),
        }
    }

    fn item(self, reply: &[u8]) -> Option<String> {
        assert!(reply.len() > BODY.len(), "no item: {}", String::from_utf8_lossy(reply));
        let head = reply.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"ITEM "));
        let id = head.and_then(|head| head.split(|&byte| byte == b' ').nth(2))?;
        Some(String::from_utf8_lossy(id).into_owned())
    }
}

/// One thing that is done many times.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    elapsed_us: f64,
    server_us: f64,
}

fn timed(server: &Server, times: usize, work: impl FnOnce()) -> Cost {
    let (before, begin) = (cpu_time(server), Instant::now());
    work();
    let (elapsed, busy) = (begin.elapsed(), cpu_time(server).saturating_sub(before));
    let each = |time: Duration| time.as_secs_f64() * 1_000_000.0 / times as f64;
    Cost { elapsed_us: each(elapsed), server_us: each(busy) }
}

/// Costs of both sides, one per repetition.
struct Row {
    what: &'static str,
    target: &'static str,
    costs: [Vec<Cost>; 2],
}

impl Row {
    fn new(what: &'static str, target: &'static str) -> Self {
        Self { what, target, costs: [Vec::new(), Vec::new()] }
    }

    fn print(&self) {
        type Figure = fn(&Cost) -> f64;
        let time: Figure = |cost| cost.elapsed_us;
        let processor: Figure = |cost| cost.server_us;
        for (kind, figure) in [("time", time), ("the server's processor", processor)] {
            let [ours, theirs] = self.costs.each_ref().map(|costs| {
                let figures: Vec<f64> = costs.iter().map(figure).collect();
                median(&figures)
            });
            let pairs = self.costs[0].iter().zip(&self.costs[1]);
            let mut ratios: Vec<f64> = pairs.map(|(a, b)| figure(a) / figure(b)).collect();
            ratios.sort_by(f64::total_cmp);
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            println!(
                "{:<44} {kind:<23} {ours:>9.2} us {theirs:>9.2} us   {:.3} ({least:.3} to {most:.3})   {}",
                self.what,
                median(&ratios),
                self.target
            );
        }
    }
}

/// Measures in turns, then prints medians, and ratios of pairs with their range.
pub(crate) fn run(built: &Path, data: &Path, args: &Args) {
    const NO_SLOWER: &str = "<= 1";
    let data = tempfile::tempdir_in(data).expect("a directory for the server's data");
    let server = Server::kqueue(built, data.path(), "never");
    let count = args.items.max(MANY);
    let mut put = Row::new("put, 1 connection", NO_SLOWER);
    let mut pipelined = Row::new("puts, pipelined", NO_SLOWER);
    let mut take = Row::new("reserve, then ack", NO_SLOWER);
    let mut next = Row::new("ack and the next reserve in one request", NO_SLOWER);
    let mut many = Row::new("1000 items: one reserve beside 1000", "< 0.05");
    for repetition in 1..=args.repetitions {
        eprintln!("repetition {repetition} of {}", args.repetitions);
        let mut client = Client::connect(server.address);
        // Who goes first changes.
        let sides = (0..2).map(|index| (index + repetition) % 2);
        for side in sides.clone() {
            let words = Words::BOTH[side];
            let request = words.put();
            put.costs[side].push(timed(&server, count, || {
                (0..count).for_each(|_| client.put_so(&request));
            }));
            pipelined.costs[side].push(timed(&server, count, || fill(&mut client, words, count)));
        }
        for side in sides.clone() {
            let words = Words::BOTH[side];
            take.costs[side].push(timed(&server, count, || {
                for _ in 0..count {
                    let id = words.reserve(&mut client);
                    words.ack(&mut client, id.as_deref());
                }
            }));
        }
        for side in sides {
            let words = Words::BOTH[side];
            let mut id = words.reserve(&mut client);
            next.costs[side].push(timed(&server, count - 1, || {
                for _ in 1..count {
                    id = words.ack_and_reserve(&mut client, id.as_deref());
                }
            }));
            words.ack(&mut client, id.as_deref());
        }
        many_at_once(&server, &mut many);
        client::flush_all(&server);
    }
    println!("{:<68} {:>12} {:>12}   ratio", "1 KiB, sync never, per item", "extended", "Kestrel");
    [put, pipelined, take, next, many].iter().for_each(Row::print);
}

/// Puts without waiting for each answer.
fn fill(client: &mut Client, words: Words, count: usize) {
    const BATCH: usize = 200;
    let request = words.put().repeat(BATCH);
    for _ in 0..count.div_ceil(BATCH) {
        client.send(&request);
        client.receive_stored(BATCH);
    }
}

/// One `reserve` of as many as it takes, and as many of one; who holds them ends, so they come back.
fn many_at_once(server: &Server, row: &mut Row) {
    fill(&mut Client::connect(server.address), Words::Extended, MANY);
    for (side, (times, max)) in [(1, MANY), (MANY, 1)].into_iter().enumerate() {
        let mut client = Client::connect(server.address);
        let request = format!("reserve {max} 0 0 {}\r\n", Words::Extended.queue());
        row.costs[side].push(timed(server, MANY, || {
            for _ in 0..times {
                client.send(request.as_bytes());
                let reply = client.receive(b"END\r\n");
                assert!(reply.len() > max * BODY.len(), "{max} items: {}", reply.len());
            }
        }));
        // The other one waits until the server has noticed.
        client.send(b"quit\r\n");
        client.wait_for_end();
    }
}
