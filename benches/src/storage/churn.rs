//! The row `churn`: one item stays open while many times the log's cap passes through another queue.

use std::time::Instant;

use crate::storage::load::{Items, Pipe, Reply};
use crate::storage::report::{mib, per_second, rate};
use crate::storage::site::{Setup, Site};
use crate::storage::watch::{DiskBound, Watch, in_log};
use crate::storage::{Bench, GIB, KIB, MIB};

const QUEUE: &str = "churn";
const KEPT: &str = "kept";
/// No item of the churn.
const KEPT_SEQUENCE: u64 = u64::MAX;
/// These do not scale: what passes is compared with them.
const BOUND: DiskBound = DiskBound { log_cap: 16 * MIB, segment: MIB };
/// Less churn than this shows nothing.
const CHURN_MIN: u64 = 10 * 16 * MIB;

pub(crate) fn run(bench: &mut Bench) {
    let site = Site::new(bench, Setup { sync: "never", bound: BOUND });
    let server = site.start().server;
    let items = Items::new(KIB as usize);
    let watch = site.watch(&server, 0);
    let mut holder = Pipe::connect(&server);
    holder.fill_queue(KEPT, &items, KEPT_SEQUENCE, 1, &watch);
    let opened = holder.item(&format!("get {KEPT}/open\r\n"));
    let bytes = ((bench.churn_gib * bench.scale * GIB as f64) as u64).max(CHURN_MIN);
    let begin = Instant::now();
    let wrong = churn(&mut Pipe::connect(&server), &items, bytes / KIB, &watch);
    let elapsed = begin.elapsed();
    let peak = watch.peak();
    assert!(holder.item(&format!("get {KEPT}/abort\r\n")).is_none(), "an abort brings no item");
    let returned = holder.item(&format!("get {KEPT}\r\n"));
    let is_right = |item: Option<Vec<u8>>| item.is_some_and(|body| items.is(KEPT_SEQUENCE, &body));
    let bad = u64::from(!is_right(opened)) + u64::from(!is_right(returned));

    let report = &mut bench.report;
    report.note("passed beside the open item", mib(bytes));
    report.note("rate of items, put and taken", rate(per_second(bytes / KIB, elapsed)));
    report.note("RSS peak", mib(peak.rss));
    report.note("disk use, highest", mib(peak.disk));
    report.judge_disk("disk use - bound, highest", peak.disk_over);
    report.judge_none("items lost, changed or out of order", wrong);
    report.judge_none("the open item, given back and taken: differences", bad);
}

/// Puts and takes so many items, one after the other, pipelined.
fn churn(pipe: &mut Pipe, items: &Items, count: u64, watch: &Watch) -> u64 {
    let get = format!("get {QUEUE}\r\n");
    let mut wrong = 0;
    pipe.pump(
        2 * count,
        items.window() / 2,
        |index, out| {
            if index % 2 == 0 {
                watch.add_live(in_log(KIB));
                items.put(QUEUE, index / 2, out);
            } else {
                out.extend_from_slice(get.as_bytes());
            }
        },
        |index, reply| {
            if index % 2 == 0 {
                reply.expect_stored();
            } else {
                watch.remove_live(in_log(KIB));
                let is_right = matches!(reply, Reply::Item(body) if items.is(index / 2, body));
                wrong += u64::from(!is_right);
            }
        },
    );
    wrong
}
