//! Kestrel's own load tools, with their defaults, on any server that has their words. (`put-many` is one of the scenarios.)
//!
//! As there, each client is a thread that waits for its answers.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::talk::Talk;
use crate::peers::fleet::Running;

/// What a tool found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) tool: &'static str,
    pub(crate) server: &'static str,
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) unit: &'static str,
    pub(crate) remark: String,
}

const BODY_BYTES: usize = 1024;

/// The number of an item stands at its begin.
fn numbered(number: usize) -> Vec<u8> {
    let mut body = format!("{number:>20} ").into_bytes();
    body.resize(BODY_BYTES, b'x');
    body
}

fn number_of(body: &[u8]) -> usize {
    let text = std::str::from_utf8(&body[..20]).expect("one of our items");
    text.trim().parse().expect("one of our items")
}

fn connect(running: &Running, number: usize) -> Talk<'_> {
    Talk::connect(running.address(), running.peer.wire(), number)
}

/// One producer and one consumer flat out through one queue; the consumer does not wait for items.
pub(crate) fn flood(running: &Running, items: usize) -> Found {
    let begin = Instant::now();
    let misses = thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = connect(running, 0);
            (0..items).for_each(|number| producer.put(&numbered(number)));
        });
        let mut consumer = connect(running, 1);
        let (mut taken, mut misses) = (0, 0);
        while taken < items {
            match consumer.take(0) {
                Some(body) => {
                    assert_eq!(number_of(&body), taken, "in order");
                    taken += 1;
                }
                None => misses += 1,
            }
        }
        misses
    });
    Found {
        tool: "flood",
        server: running.peer.name(),
        what: format!("{items} items of 1 KiB through 1 producer and 1 consumer"),
        figure: begin.elapsed().as_secs_f64() * 1e6 / items as f64,
        unit: "us per item",
        remark: format!("{misses} gets found nothing"),
    }
}

/// One producer trickles; many consumers wait, a second each time.
pub(crate) fn many_clients(
    running: &Running,
    items: usize,
    clients: usize,
    pause: Duration,
) -> Found {
    let taken = AtomicUsize::new(0);
    let began = Instant::now();
    let latencies = Mutex::new(Histogram::<u64>::new(3).expect("sane precision"));
    thread::scope(|scope| {
        for number in 0..clients {
            let (taken, latencies) = (&taken, &latencies);
            scope.spawn(move || {
                let mut consumer = connect(running, number);
                while taken.load(Ordering::Relaxed) < items {
                    let Some(body) = consumer.take(1000) else { continue };
                    let sent = Duration::from_nanos(number_of(&body) as u64);
                    let late = began.elapsed().saturating_sub(sent).as_nanos() as u64;
                    latencies.lock().expect("nobody panics").record(late).expect("it grows");
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut producer = connect(running, clients);
        for _ in 0..items {
            thread::sleep(pause);
            producer.put(&numbered(began.elapsed().as_nanos() as usize));
        }
    });
    let latencies = latencies.into_inner().expect("nobody panics");
    Found {
        tool: "many-clients",
        server: running.peer.name(),
        what: format!(
            "{items} items, one each {} ms, to {clients} clients that wait: median until one has it",
            pause.as_millis()
        ),
        figure: latencies.value_at_percentile(50.0) as f64 / 1000.0,
        unit: "us",
        remark: format!("p99 {:.0} us", latencies.value_at_percentile(99.0) as f64 / 1000.0),
    }
}

/// A queue that is always behind: cycles of as many puts as gets, with pauses; what comes is checked for its order.
pub(crate) fn packing(running: &Running, items: usize, cycles: usize, pause: Duration) -> Found {
    let put = |from: usize| {
        let mut producer = connect(running, 0);
        (from..from + items).for_each(|number| producer.put(&numbered(number)));
    };
    put(0);
    let mut reads = Vec::new();
    for cycle in 0..cycles {
        thread::sleep(pause);
        thread::scope(|scope| {
            scope.spawn(move || put((cycle + 1) * items));
            let begin = Instant::now();
            let mut consumer = connect(running, 1);
            for number in cycle * items..(cycle + 1) * items {
                let body = consumer.take(1000).expect("the queue is behind");
                assert_eq!(number_of(&body), number, "in order");
            }
            reads.push(begin.elapsed().as_secs_f64() * 1000.0);
        });
    }
    let most = reads.iter().copied().fold(0.0, f64::max);
    Found {
        tool: "packing",
        server: running.peer.name(),
        what: format!(
            "{cycles} cycles of {items} puts beside {items} gets of 1 KiB: median of the gets"
        ),
        figure: crate::peers::median(&reads),
        unit: "ms per cycle",
        remark: format!("longest {most:.0} ms, all in order"),
    }
}

/// A consumer forgets one of a hundred items, whose lease ends after five seconds; each must be confirmed in the end. (Kestrel's tool does this through Thrift.)
pub(crate) fn leaky_reader(running: &Running, items: usize) -> Found {
    const DROPPED_OF: u64 = 100;
    let begin = Instant::now();
    let mut producer = connect(running, 0);
    (0..items).for_each(|number| producer.put(&numbered(number)));
    let mut consumer = connect(running, 1);
    let mut open: HashSet<usize> = (0..items).collect();
    // Any sequence will do, as long as it is the same each time.
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    let mut dropped = 0;
    while !open.is_empty() {
        let request = b"reserve 1 100 5000 bench\r\n";
        let Some(taken) = consumer.ask(request) else { continue };
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random.is_multiple_of(DROPPED_OF) {
            dropped += 1;
            continue;
        }
        consumer.ack(&taken);
        assert!(open.remove(&number_of(&taken.body)), "an item that was confirmed came again");
    }
    Found {
        tool: "leaky-reader",
        server: running.peer.name(),
        what: format!(
            "{items} items, 1 of 100 is dropped and comes again after 5 s: until all are confirmed"
        ),
        figure: begin.elapsed().as_secs_f64(),
        unit: "s",
        remark: format!("{dropped} dropped, none lost"),
    }
}
