//! The row `delayed`: 10 million items of 64 bytes that wait for their times, and how late those come that are due.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::server::Server;
use crate::storage::load::{Items, Pipe, Reply};
use crate::storage::report::{mib, per_second, rate};
use crate::storage::site::{Setup, Site};
use crate::storage::{Bench, RSS_TARGET};

const QUEUE: &str = "delayed";
const COUNT: u64 = 10_000_000;
/// Of these, so many become ready while it is measured, one after the other.
const DUE: u64 = 100_000;
const BODY_BYTES: usize = 64;
/// How late an item may be.
const LATE_TARGET: Duration = Duration::from_millis(100);
/// Between two due items, at scale 1: 5,000 become ready in a second.
const APART: Duration = Duration::from_micros(200);
/// The others are due in the hours after that.
const FAR_MS: u64 = 3_600_000;

pub(crate) fn run(bench: &mut Bench) {
    let site = Site::new(bench, Setup::scaled(bench));
    let server = site.start().server;
    let watch = site.watch(&server, 0);
    let (items, mut pipe) = (Items::new(BODY_BYTES), Pipe::connect(&server));
    let (count, due) = (bench.scaled(COUNT), bench.scaled(DUE));
    let far = |sequence: u64| FAR_MS + sequence.wrapping_mul(7919) % FAR_MS;
    let begin = Instant::now();
    let mut longest = Longest::new();
    pipe.pump(
        count - due,
        items.window(),
        |index, out| items.put_delayed(QUEUE, due + index, far(due + index), out),
        |_, reply| longest.see(reply),
    );
    let filled = begin.elapsed();

    // All of these are there before the first is due.
    let first_due = Instant::now() + Duration::from_millis(500) + APART / 4 * due as u32;
    let due_at = |sequence: u64| first_due + APART * sequence as u32;
    pipe.pump(
        due,
        items.window(),
        |index, out| {
            let delay = due_at(index).saturating_duration_since(Instant::now());
            items.put_delayed(QUEUE, index, delay.as_micros().div_ceil(1000) as u64, out);
        },
        |_, reply| longest.see(reply),
    );
    let filling = watch.peak();
    assert!(Instant::now() < first_due, "they were put before they were due");

    watch.begin();
    let (late, puts, wrong) = std::thread::scope(|scope| {
        let taking = scope.spawn(|| take(&server, &items, due, due_at));
        let until = due_at(due);
        let puts = puts_meanwhile(&server, until);
        let (late, wrong) = taking.join().expect("a consumer ends");
        (late, puts, wrong)
    });
    let releasing = watch.peak();

    let report = &mut bench.report;
    report.note("delayed items of 64 bytes", count.to_string());
    report.judge_memory("RSS peak while filling", filling.rss, RSS_TARGET);
    report.judge_memory("RSS peak while some become ready", releasing.rss, RSS_TARGET);
    report.note("  of it anonymous", mib(releasing.rss_anon));
    report.note("put rate", rate(per_second(count - due, filled)));
    report.note("longest time without a reply while filling", millis(longest.longest));
    let late_at = |percentile| Duration::from_micros(late.value_at_percentile(percentile));
    report.note("items that became ready", due.to_string());
    report.note("late, median", millis(late_at(50.0)));
    report.judge_pace(
        "late, the latest of them",
        millis(late_at(100.0)),
        format!("<= {}", millis(LATE_TARGET)),
        late_at(100.0) <= LATE_TARGET,
    );
    report.judge_none("of these lost, changed, doubled or early", wrong);
    let put_at = |percentile| Duration::from_micros(puts.value_at_percentile(percentile));
    report.note("put on another connection meanwhile, median", millis(put_at(50.0)));
    report.note("  longest", millis(put_at(100.0)));
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The longest time between two replies.
struct Longest {
    last: Instant,
    longest: Duration,
}

impl Longest {
    fn new() -> Self {
        Self { last: Instant::now(), longest: Duration::ZERO }
    }

    fn see(&mut self, reply: &Reply<'_>) {
        let is_stored = matches!(reply, Reply::Other(line) if line.starts_with(b"STORED "));
        assert!(is_stored, "a put was not stored: {reply:?}");
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}

/// Takes what becomes ready until all of it is there. Answers how late each was, in microseconds, and how many were wrong.
fn take(
    server: &Server,
    items: &Items,
    due: u64,
    due_at: impl Fn(u64) -> Instant,
) -> (Histogram<u64>, u64) {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_nodelay(true).expect("nodelay");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut writer, mut line) = (stream, String::new());
    let mut late = Histogram::new(3).expect("three digits");
    let mut is_seen = vec![false; due as usize];
    let (mut seen, mut wrong, mut acks) = (0, 0, String::new());
    // Ten seconds without one: the rest is lost.
    while seen < due {
        let request = format!("{acks}reserve 100 10000 0 {QUEUE}\r\n");
        writer.write_all(request.as_bytes()).expect("the server takes requests");
        let acks_sent = std::mem::take(&mut acks).lines().count();
        for _ in 0..acks_sent {
            line.clear();
            reader.read_line(&mut line).expect("the server answers");
            assert_eq!(line, "OK\r\n", "an ack");
        }
        let before = seen;
        loop {
            line.clear();
            reader.read_line(&mut line).expect("the server answers");
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["ITEM", _, id, .., bytes] = words[..] else { break };
            let mut body = vec![0; bytes.parse::<usize>().expect("a length") + 2];
            reader.read_exact(&mut body).expect("the body");
            let now = Instant::now();
            body.truncate(body.len() - 2);
            acks.push_str(&format!("ack {QUEUE} {id}\r\n"));
            seen += 1;
            let number = body.get(..8).and_then(|bytes| bytes.try_into().ok());
            let number = u64::from_le_bytes(number.unwrap_or([255; 8]));
            // The server counts whole milliseconds, and follows the machine's clock by them.
            let is_early = |number| now + Duration::from_millis(2) < due_at(number);
            let is_wrong = number >= due || !items.is(number, &body) || is_early(number);
            if is_wrong || std::mem::replace(&mut is_seen[number as usize], true) {
                wrong += 1;
                continue;
            }
            let micros = now.saturating_duration_since(due_at(number)).as_micros() as u64;
            late.record(micros).expect("it grows as needed");
        }
        if seen == before {
            break;
        }
    }
    let lost = is_seen.iter().filter(|is_seen| !**is_seen).count() as u64;
    (late, wrong + lost)
}

/// Puts into another queue, one after the other; how long each took, in microseconds.
fn puts_meanwhile(server: &Server, until: Instant) -> Histogram<u64> {
    let (items, mut pipe) = (Items::new(BODY_BYTES), Pipe::connect(server));
    let mut micros = Histogram::new(3).expect("three digits");
    while Instant::now() < until {
        let begin = Instant::now();
        pipe.pump(1, 1, |_, out| items.put("other", 0, out), |_, reply| reply.expect_stored());
        micros.record(begin.elapsed().as_micros() as u64).expect("it grows as needed");
        std::thread::sleep(Duration::from_millis(1));
    }
    micros
}
