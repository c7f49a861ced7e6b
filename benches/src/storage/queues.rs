//! The row `queues`: a million queues of one item each.
//!
//! `stats` names every queue, which would be the largest reply of all: the items are counted by taking them.

use std::thread;
use std::time::{Duration, Instant};

use crate::storage::load::{Items, Pipe, Reply};
use crate::storage::report::{gib, mib, per_second, rate};
use crate::storage::site::{Setup, Site};
use crate::storage::watch::{in_log, rss_since_start};
use crate::storage::{Bench, GIB};

const COUNT: u64 = 1_000_000;
const BODY_BYTES: usize = 64;
const TARGET: u64 = GIB;
const START: Duration = Duration::from_secs(10);

pub(crate) fn run(bench: &mut Bench) {
    let site = Site::new(bench, Setup::scaled(bench));
    let mut server = site.start().server;
    let watch = site.watch(&server, 0);
    let items = Items::new(BODY_BYTES);
    let count = bench.scaled(COUNT);
    let mut pipe = Pipe::connect(&server);
    let begin = Instant::now();
    pipe.pump(
        count,
        items.window(),
        |index, out| {
            watch.add_live(in_log(BODY_BYTES as u64));
            items.put(&name(index), index, out);
        },
        |_, reply| reply.expect_stored(),
    );
    let filled = begin.elapsed();
    thread::sleep(Duration::from_secs(1));
    let peak = watch.peak();
    drop(watch);
    server.kill();
    let started = site.start();
    let (item, first_get) = started.first_get(&name(0));
    let first_is_right = item.is_some_and(|body| items.is(0, &body));
    let starting = rss_since_start(&started.server);
    let missing = missing(&mut Pipe::connect(&started.server), &items, count);

    let report = &mut bench.report;
    report.note("queues of one item of 64 bytes", count.to_string());
    report.judge_memory("RSS peak while filling and at rest", peak.rss, TARGET);
    report.note("  of it anonymous", mib(peak.rss_anon));
    report.note("disk use, highest", gib(peak.disk));
    report.note("rate of puts that make a queue", rate(per_second(count, filled)));
    report.judge_time("kill -9, start: ready", started.ready, START);
    report.judge_time("kill -9, start: first get", first_get, START);
    report.judge_memory("RSS peak of the start", starting, TARGET);
    report.judge_none("items missing or changed", missing + u64::from(!first_is_right));
}

fn name(index: u64) -> String {
    format!("queue-{index:07}")
}

/// Takes the item of every queue but the first.
fn missing(pipe: &mut Pipe, items: &Items, count: u64) -> u64 {
    let mut missing = 0;
    pipe.pump(
        count - 1,
        items.window(),
        |index, out| out.extend_from_slice(format!("get {}\r\n", name(index + 1)).as_bytes()),
        |index, reply| {
            let is_right = matches!(reply, Reply::Item(body) if items.is(index + 1, body));
            missing += u64::from(!is_right);
        },
    );
    missing
}
