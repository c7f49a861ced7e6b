//! The row `compaction`: what a put costs while the server has to empty old segments all the time.
//!
//! Two servers get the same load: three of four items pass through one queue at once, the fourth waits in another one behind many of its like. So every
//! segment is a quarter alive for a while. A log that may be as long as what waits has to be compacted all the time then; one that may grow never.
//!
//! Segments are an eighth of the default: much smaller ones, and a new segment, for which puts wait, is what the 99th percentile shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::peers::median;
use crate::server::Server;
use crate::storage::load::{Items, Pipe, Reply};
use crate::storage::site::{Setup, Site};
use crate::storage::watch::{DiskBound, Watch, in_log};
use crate::storage::{Bench, GIB, KIB, MIB};

const PROBE: &str = "probe";
const PASSING: &str = "passing";
const WAITING: &str = "waiting";
/// Longer than the log ever gets.
const LARGE_CAP: u64 = 64 * GIB;
const ROUNDS: usize = 9;
/// The background puts 25 groups of four items every 10 ms, and takes as many: 10 MiB per second each way.
const PERIOD: Duration = Duration::from_millis(10);
const GROUPS: u64 = 25;
const REQUESTS_PER_GROUP: u64 = 8;
/// How long the background runs before puts are timed.
const LEAD: Duration = Duration::from_millis(500);
const SECONDS: f64 = 2.0;
/// Groups that are on their way at a time before that.
const GROUPS_AHEAD: u64 = 100;

/// How long things are.
#[derive(Clone, Copy)]
struct Sizes {
    segment: u64,
    /// The cap of the log that is compacted; as much waits.
    cap: u64,
}

impl Sizes {
    fn new(bench: &Bench) -> Self {
        match bench.is_timed {
            true => Self { segment: 8 * MIB, cap: 64 * MIB },
            false => Self { segment: MIB, cap: 16 * MIB },
        }
    }

    fn waiting_items(self) -> u64 {
        self.cap / KIB
    }
}

/// One of the two servers, with the load that it gets.
struct Side {
    server: Server,
    site: Site,
    background: Background,
    p99_us: Vec<f64>,
    disk: u64,
    disk_over: i64,
}

/// Where the two queues of the load are.
struct Background {
    items: Items,
    passing: u64,
    put: u64,
    taken: u64,
}

pub(crate) fn run(bench: &mut Bench) {
    for sync in ["never", "always"] {
        compare(bench, sync);
    }
}

fn compare(bench: &mut Bench, sync: &'static str) {
    let (time, sizes) = (bench.duration(SECONDS), Sizes::new(bench));
    let [mut small, mut large] =
        [sizes.cap, LARGE_CAP].map(|log_cap| Side::start(bench, sync, sizes, log_cap));
    for round in 0..bench.rounds(ROUNDS) {
        // Neither is always the first.
        let order =
            if round % 2 == 0 { [&mut small, &mut large] } else { [&mut large, &mut small] };
        order.into_iter().for_each(|side| side.measure(time));
    }
    let (busy, calm) = (median(&small.p99_us), median(&large.p99_us));
    // Whatever else the machine does, it does to both of a round.
    let pairs = small.p99_us.iter().zip(&large.p99_us);
    let ratio = median(&pairs.map(|(busy, calm)| busy / calm).collect::<Vec<f64>>());
    let report = &mut bench.report;
    let name = |what: &str| format!("sync {sync}: {what}");
    report.note(&name("put p99, never compacts"), format!("{calm:.0} us"));
    report.note(&name("put p99, compacts all the time"), format!("{busy:.0} us"));
    report.judge_pace(
        &name("p99 ratio, in turns, median"),
        format!("{ratio:.2}"),
        "<= 2 x without compaction".to_owned(),
        ratio <= 2.0,
    );
    // Else nothing was compared.
    let is_forced = (small.disk as f64) < 0.75 * large.disk as f64;
    report.judge(
        &name("longest log, compacting / not"),
        format!("{} / {:.0}", small.disk / MIB, large.disk as f64 / MIB as f64),
        "< 0.75 x (was compacted)".to_owned(),
        is_forced,
    );
    report.judge_disk(&name("disk use - bound, compacting"), small.disk_over);
}

impl Side {
    /// A server with the items that wait, every fourth of what passed.
    fn start(bench: &Bench, sync: &'static str, sizes: Sizes, log_cap: u64) -> Self {
        let bound = DiskBound { log_cap, segment: sizes.segment };
        let site = Site::new(bench, Setup { sync, bound });
        let server = site.start().server;
        let items = Items::new(KIB as usize);
        let mut background = Background { items, passing: 0, put: 0, taken: 0 };
        let mut pipe = Pipe::connect(&server);
        while background.put < sizes.waiting_items() {
            background.groups(&mut pipe, GROUPS_AHEAD, false);
        }
        // Until the log of the one is as it stays, and that of the other as long as it gets.
        for _ in 0..sizes.waiting_items() / GROUPS_AHEAD {
            background.groups(&mut pipe, GROUPS_AHEAD, true);
        }
        let (p99_us, disk, disk_over) = (Vec::new(), 0, i64::MIN);
        Self { server, site, background, p99_us, disk, disk_over }
    }

    /// Times puts beside the load, one after the other on a connection of their own.
    fn measure(&mut self, time: Duration) {
        let watch = self.site.watch(&self.server, self.background.waiting() * in_log(KIB));
        let mut pipe = Pipe::connect(&self.server);
        let (background, is_over) = (&mut self.background, AtomicBool::new(false));
        let p99_us = thread::scope(|scope| {
            scope.spawn(|| background.run(&mut pipe, &is_over));
            thread::sleep(LEAD);
            let p99_us = probe(&self.server, time);
            is_over.store(true, Ordering::Relaxed);
            p99_us
        });
        self.p99_us.push(p99_us);
        self.note_disk(&watch);
    }

    fn note_disk(&mut self, watch: &Watch) {
        let peak = watch.peak();
        self.disk = self.disk.max(peak.disk);
        self.disk_over = self.disk_over.max(peak.disk_over);
    }
}

impl Background {
    /// So many items wait whenever nothing is on its way.
    fn waiting(&self) -> u64 {
        self.put - self.taken
    }

    /// At the same pace on either server; late ticks are made up for.
    fn run(&mut self, pipe: &mut Pipe, is_over: &AtomicBool) {
        let begin = Instant::now();
        for tick in 1.. {
            self.groups(pipe, GROUPS, true);
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep((begin + PERIOD * tick).saturating_duration_since(Instant::now()));
        }
    }

    /// Three items that pass and one that waits, so many times; if `is_full`, the one that has waited longest goes.
    fn groups(&mut self, pipe: &mut Pipe, groups: u64, is_full: bool) {
        let (passing, put, taken, items) = (self.passing, self.put, self.taken, &self.items);
        let place = |index: u64| (index / REQUESTS_PER_GROUP, index % REQUESTS_PER_GROUP);
        let count = groups * REQUESTS_PER_GROUP;
        pipe.pump(
            count,
            count,
            |index, out| match place(index) {
                (group, 6) => items.put(WAITING, put + group, out),
                (_, 7) if is_full => out.extend_from_slice(format!("get {WAITING}\r\n").as_bytes()),
                // A request that changes nothing keeps the numbers simple.
                (_, 7) => out.extend_from_slice(b"get nothing\r\n"),
                (group, at) if at % 2 == 0 => items.put(PASSING, passing + 3 * group + at / 2, out),
                _ => out.extend_from_slice(format!("get {PASSING}\r\n").as_bytes()),
            },
            |index, reply| {
                let (group, at) = place(index);
                let expected = if at == 7 { taken + group } else { passing + 3 * group + at / 2 };
                match reply {
                    Reply::Stored => assert!(at % 2 == 0, "a get is not answered STORED"),
                    Reply::Item(body) => assert!(items.is(expected, body), "another item"),
                    reply => assert!(at == 7 && !is_full, "unexpected: {reply:?}"),
                }
            },
        );
        self.passing += 3 * groups;
        self.put += groups;
        self.taken += if is_full { groups } else { 0 };
    }
}

/// The 99th percentile of puts, in microseconds. What was put is taken again, which is not timed.
fn probe(server: &Server, time: Duration) -> f64 {
    let (items, mut pipe) = (Items::new(KIB as usize), Pipe::connect(server));
    let mut nanoseconds: Histogram<u64> = Histogram::new(3).expect("three digits");
    let end = Instant::now() + time;
    for sequence in 0.. {
        let begin = Instant::now();
        if begin >= end {
            break;
        }
        let put = |_, out: &mut Vec<u8>| items.put(PROBE, sequence, out);
        pipe.pump(1, 1, put, |_, reply| reply.expect_stored());
        nanoseconds.record(begin.elapsed().as_nanos() as u64).expect("it grows as needed");
        pipe.item(&format!("get {PROBE}\r\n")).expect("the item that was just put");
    }
    nanoseconds.value_at_percentile(99.0) as f64 / 1000.0
}
