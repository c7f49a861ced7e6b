//! The row `small`: 50 million items of 64 bytes in one queue.

use std::thread;

use crate::storage::load::{Items, Pipe};
use crate::storage::report::{gib, mib, per_second, rate};
use crate::storage::site::{Setup, Site};
use crate::storage::{Bench, RSS_TARGET};

const QUEUE: &str = "small";
const COUNT: u64 = 50_000_000;
const DRAINED: u64 = 2_000_000;
const BODY_BYTES: usize = 64;

pub(crate) fn run(bench: &mut Bench) {
    let site = Site::new(bench, Setup::scaled(bench));
    let server = site.start().server;
    let watch = site.watch(&server, 0);
    let (items, mut pipe) = (Items::new(BODY_BYTES), Pipe::connect(&server));
    let (count, drained_count) = (bench.scaled(COUNT), bench.scaled(DRAINED));
    let filled = pipe.fill_queue(QUEUE, &items, 0, count, &watch);
    let filling = watch.peak();
    watch.begin();
    thread::sleep(bench.duration(5.0));
    let resting = watch.peak();
    watch.begin();
    let drained = pipe.drain(QUEUE, &items, 0, drained_count, &watch);
    let draining = watch.peak();

    let report = &mut bench.report;
    report.note("items of 64 bytes in the queue", count.to_string());
    report.judge_memory("RSS peak while filling", filling.rss, RSS_TARGET);
    report.note("  of it anonymous", mib(filling.rss_anon));
    report.judge_memory("RSS peak at rest", resting.rss, RSS_TARGET);
    report.note("RSS peak while some are taken", mib(draining.rss));
    report.note("disk use, highest", gib(filling.disk));
    report.note("put rate", rate(per_second(count, filled)));
    report.note("get rate, the oldest ones", rate(per_second(drained_count, drained.elapsed)));
    report.judge_none("of these lost, changed or out of order", drained.wrong);
}
