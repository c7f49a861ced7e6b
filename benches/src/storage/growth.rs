//! The row `growth`: what a put and a get cost while something else grows: the queue, the number of queues, of connections, of those that wait, of open items; and the item itself.
//!
//! Puts and gets come in blocks, pipelined on one connection; the median of the blocks is told, in microseconds for each of them. Every item that comes is looked at.

use std::time::{Duration, Instant};

use crate::peers::{median, raise_descriptors};
use crate::server::Server;
use crate::storage::Bench;
use crate::storage::load::{Items, Pipe, Reply};
use crate::storage::report::{mib, seconds};
use crate::storage::site::{Setup, Site};
use crate::storage::watch::rss_since_start;

const BODY_BYTES: usize = 16;
const DEPTH_MAX: u64 = 100_000_000;
const QUEUES_MAX: u64 = 1_000_000;
/// `max_connections` is 10,000.
const CONNECTIONS: [u64; 5] = [0, 10, 100, 1000, 9000];
const OPEN_MAX: u64 = 10_000;
/// Requests in a block, and on their way at a time.
const BLOCK: u64 = 500;
const BLOCKS: usize = 200;
/// Both figures at most so many times the first ones of their row.
const GROWTH_MAX: f64 = 1.2;
const QUEUE: &str = "growing";

/// Microseconds.
#[derive(Clone, Copy)]
struct Cost {
    put_us: f64,
    get_us: f64,
}

pub(crate) fn run(bench: &mut Bench) {
    depth(bench);
    queues(bench);
    connections(bench, "idle connections", "");
    connections(bench, "connections that wait for another queue", "get another/t=3600000\r\n");
    open(bench);
    bodies(bench);
}

/// 1, 10, 100 and so on, to the largest.
fn decades(from: u64, to: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(from), |count| count.checked_mul(10))
        .take_while(move |count| *count <= to)
}

fn depth(bench: &mut Bench) {
    let mut costs = Vec::new();
    for depth in decades(1000, bench.scaled(DEPTH_MAX).max(1000)) {
        let (site, items) = (Site::new(bench, Setup::scaled(bench)), Items::new(BODY_BYTES));
        let server = site.start().server;
        let mut pipe = Pipe::connect(&server);
        let fill = |index: u64, out: &mut Vec<u8>| items.put(QUEUE, index, out);
        pipe.pump(depth, items.window(), fill, |_, reply| reply.expect_stored());
        let cost = blocks(bench, &mut pipe, &items, |at| (QUEUE.to_owned(), depth + at, at));
        tell(bench, &format!("{depth} items in the queue"), cost);
        rest(bench, &site, server, QUEUE);
        costs.push(cost);
    }
    judge(bench, "the deepest queue / the first", &costs);
}

fn queues(bench: &mut Bench) {
    let name = |index: u64| format!("queue-{index:07}");
    let mut costs = Vec::new();
    for count in decades(1, bench.scaled(QUEUES_MAX)) {
        let (site, items) = (Site::new(bench, Setup::scaled(bench)), Items::new(BODY_BYTES));
        let server = site.start().server;
        let mut pipe = Pipe::connect(&server);
        let put = |index: u64, out: &mut Vec<u8>| items.put(&name(index), 0, out);
        pipe.pump(count, items.window(), put, |_, reply| reply.expect_stored());
        // Here and there, and each as often as the others.
        let cost = blocks(bench, &mut pipe, &items, |at| (name(at * 7919 % count), 0, 0));
        tell(bench, &format!("{count} queues"), cost);
        rest(bench, &site, server, &name(0));
        costs.push(cost);
    }
    judge(bench, "most queues / one", &costs);
}

/// What it needs of memory, and how long a start takes.
fn rest(bench: &mut Bench, site: &Site, mut server: Server, queue: &str) {
    let memory = rss_since_start(&server);
    server.kill();
    let (item, first_get) = site.start().first_get(queue);
    assert!(item.is_some(), "the item is there");
    bench.report.note(
        "  resident; kill -9 to the first item",
        format!("{}; {}", mib(memory), seconds(first_get)),
    );
}

/// Beside others that have sent this and nothing else.
fn connections(bench: &mut Bench, what: &str, sent: &str) {
    let most = bench.scaled(CONNECTIONS[4]).max(10);
    raise_descriptors();
    let site = Site::new(bench, Setup::scaled(bench));
    let server = site.start().server;
    let mut others = Vec::new();
    let mut costs = Vec::new();
    for count in CONNECTIONS.into_iter().filter(|count| *count <= most) {
        while (others.len() as u64) < count {
            let mut pipe = Pipe::connect(&server);
            pipe.send(sent.as_bytes());
            others.push(pipe);
        }
        let cost = passing(bench, &server);
        tell(bench, &format!("{count} {what}"), cost);
        costs.push(cost);
    }
    bench.report.note("  resident", mib(rss_since_start(&server)));
    judge(bench, "most of them / none", &costs);
}

/// Beside items that one connection holds.
fn open(bench: &mut Bench) {
    let site = Site::new(bench, Setup::scaled(bench));
    let server = site.start().server;
    let items = Items::new(BODY_BYTES);
    let mut holder = Pipe::connect(&server);
    let mut costs = Vec::new();
    let mut held = 0;
    for count in std::iter::once(0).chain(decades(10, bench.scaled(OPEN_MAX).max(10))) {
        let more = count - std::mem::replace(&mut held, count);
        let put = |index: u64, out: &mut Vec<u8>| items.put(QUEUE, index, out);
        holder.pump(more, items.window(), put, |_, reply| reply.expect_stored());
        let take = |_: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("get {QUEUE}/open\r\n").as_bytes())
        };
        holder.pump(more, items.window(), take, |_, reply| {
            assert!(matches!(reply, Reply::Item(_)), "it was put")
        });
        let cost = passing(bench, &server);
        tell(bench, &format!("{count} items of the queue in a client's hands"), cost);
        costs.push(cost);
    }
    judge(bench, "most of them / none", &costs);
}

fn bodies(bench: &mut Bench) {
    let site = Site::new(bench, Setup::scaled(bench));
    let server = site.start().server;
    let mut pipe = Pipe::connect(&server);
    for bytes in [0, 64, 1024, 16 * 1024, 64 * 1024 - 1, 256 * 1024, 1024 * 1024] {
        if bytes > site.item_bytes_max() {
            break;
        }
        let body = vec![b'x'; bytes as usize];
        let block = (4 * 1024 * 1024 / (bytes + 1)).clamp(4, BLOCK);
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds(BLOCKS / 4) {
            let put = |_: u64, out: &mut Vec<u8>| {
                out.extend_from_slice(format!("set {QUEUE} 0 0 {bytes}\r\n").as_bytes());
                out.extend_from_slice(&body);
                out.extend_from_slice(b"\r\n");
            };
            let begin = Instant::now();
            // Large ones one after the other: nobody waits in a circle.
            pipe.pump(block, (block / 4).max(1), put, |_, reply| reply.expect_stored());
            puts.push(each(begin.elapsed(), block));
            let get = |_: u64, out: &mut Vec<u8>| {
                out.extend_from_slice(format!("get {QUEUE}\r\n").as_bytes())
            };
            let begin = Instant::now();
            pipe.pump(block, (block / 4).max(1), get, |_, reply| {
                assert!(matches!(reply, Reply::Item(got) if **got == body), "the item, whole");
            });
            gets.push(each(begin.elapsed(), block));
        }
        let cost = Cost { put_us: median(&puts), get_us: median(&gets) };
        tell(bench, &format!("{bytes} bytes an item"), cost);
    }
}

/// Items that are put into the queue and taken at once.
fn passing(bench: &Bench, server: &Server) -> Cost {
    let items = Items::new(BODY_BYTES);
    blocks(bench, &mut Pipe::connect(server), &items, |at| (QUEUE.to_owned(), at, at))
}

/// Blocks of puts and of as many gets. `of` says of each: the queue, which item is put, and which has to come.
fn blocks(
    bench: &Bench,
    pipe: &mut Pipe,
    items: &Items,
    of: impl Fn(u64) -> (String, u64, u64),
) -> Cost {
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for block in 0..bench.rounds(BLOCKS) as u64 {
        let first = block * BLOCK;
        let put = |index: u64, out: &mut Vec<u8>| {
            let (queue, item, _) = of(first + index);
            items.put(&queue, item, out);
        };
        let begin = Instant::now();
        pipe.pump(BLOCK, BLOCK, put, |_, reply| reply.expect_stored());
        puts.push(each(begin.elapsed(), BLOCK));
        let get = |index: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("get {}\r\n", of(first + index).0).as_bytes());
        };
        let begin = Instant::now();
        pipe.pump(BLOCK, BLOCK, get, |index, reply| {
            let expected = of(first + index).2;
            assert!(
                matches!(reply, Reply::Item(body) if items.is(expected, body)),
                "item {expected}"
            );
        });
        gets.push(each(begin.elapsed(), BLOCK));
    }
    Cost { put_us: median(&puts), get_us: median(&gets) }
}

fn each(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_secs_f64() * 1e6 / count as f64
}

fn tell(bench: &mut Bench, what: &str, Cost { put_us, get_us }: Cost) {
    bench.report.note(&format!("{what}: put, get"), format!("{put_us:.2}, {get_us:.2} us"));
}

fn judge(bench: &mut Bench, what: &str, costs: &[Cost]) {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else { return };
    for (name, ratio) in [("put", last.put_us / first.put_us), ("get", last.get_us / first.get_us)]
    {
        bench.report.judge_pace(
            &format!("{name}: {what}"),
            format!("{ratio:.2}"),
            format!("<= {GROWTH_MAX}"),
            ratio <= GROWTH_MAX,
        );
    }
}
