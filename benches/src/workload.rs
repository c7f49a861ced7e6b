//! What is measured: closed loops, each request timed from its first byte to the end of its reply.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::{Client, Protocol};
use crate::server::Server;

/// A body as a web site puts it: a kibibyte of text.
const BODY: [u8; 1024] = [b'x'; 1024];
const QUEUE: &str = "bench";

/// What was measured.
pub(crate) struct Measured {
    pub(crate) count: u64,
    elapsed: Duration,
    nanoseconds: Histogram<u64>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn median_us(&self) -> f64 {
        self.percentile_us(50.0)
    }

    pub(crate) fn percentile_us(&self, percentile: f64) -> f64 {
        self.nanoseconds.value_at_percentile(percentile) as f64 / 1000.0
    }
}

/// Repeats `work` for so long, and times it.
fn closed_loop(seconds: f64, mut work: impl FnMut()) -> Histogram<u64> {
    let mut nanoseconds = Histogram::new(3).expect("three digits");
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        let begin = Instant::now();
        if begin >= end {
            return nanoseconds;
        }
        work();
        nanoseconds.record(begin.elapsed().as_nanos() as u64).expect("it grows as needed");
    }
}

/// Puts over so many connections at a time, one in flight on each.
pub(crate) fn puts(
    server: &Server,
    protocol: Protocol,
    connections: usize,
    seconds: f64,
) -> Measured {
    let request = protocol.put(QUEUE, &BODY);
    let (request, barrier) = (&request, &Barrier::new(connections));
    let begin = Instant::now();
    let all: Vec<Histogram<u64>> = std::thread::scope(|scope| {
        let producer = || {
            let mut client = Client::connect(server.address);
            client.put(protocol, request);
            barrier.wait();
            closed_loop(seconds, || client.put(protocol, request))
        };
        let running: Vec<_> = (0..connections).map(|_| scope.spawn(producer)).collect();
        running.into_iter().map(|thread| thread.join().expect("a producer ends")).collect()
    });
    let elapsed = begin.elapsed();
    let mut nanoseconds = Histogram::new(3).expect("three digits");
    for one in all {
        nanoseconds.add(one).expect("of the same kind");
    }
    Measured { count: nanoseconds.len(), elapsed, nanoseconds }
}

/// Connect, put, reply, close: what PHP does without a pool.
pub(crate) fn short_connections(server: &Server, protocol: Protocol, seconds: f64) -> Measured {
    let request = protocol.put(QUEUE, &BODY);
    let begin = Instant::now();
    let nanoseconds = closed_loop(seconds, || {
        Client::connect(server.address).put(protocol, &request);
    });
    Measured { count: nanoseconds.len(), elapsed: begin.elapsed(), nanoseconds }
}

/// From the put to the end of the reply of the consumer that waited for it.
pub(crate) fn hand_over(server: &Server, protocol: Protocol, seconds: f64) -> Measured {
    const EMPTY: &str = "bench-empty";
    let (request, wait) = (protocol.put(EMPTY, &BODY), protocol.wait_for_item(EMPTY));
    let end: &[u8] = match protocol {
        Protocol::Memcache => b"END\r\n",
        Protocol::Redis => b"xx\r\n",
    };
    let (mut producer, mut consumer) =
        (Client::connect(server.address), Client::connect(server.address));
    let begin = Instant::now();
    let mut nanoseconds = Histogram::new(3).expect("three digits");
    while begin.elapsed().as_secs_f64() < seconds {
        consumer.send(&wait);
        // The consumer's request is with the server before the put: it waits.
        std::thread::sleep(Duration::from_micros(200));
        let put = Instant::now();
        producer.put(protocol, &request);
        consumer.receive(end);
        nanoseconds.record(put.elapsed().as_nanos() as u64).expect("it grows as needed");
    }
    Measured { count: nanoseconds.len(), elapsed: begin.elapsed(), nanoseconds }
}
