//! The rows `backlog` and `restart`: 10 GiB of 1 KiB items in one queue.
//!
//! Both rates of filling, and the cold rate of draining, begin when all files are on the disk; else the last one would pay for the kernel's debts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client;
use crate::peers::median;
use crate::server::Server;
use crate::storage::load::{Items, Pipe};
use crate::storage::machine::{cool, settle, warm};
use crate::storage::report::{gib, mib, per_second, rate, seconds};
use crate::storage::site::{Setup, Site, Started};
use crate::storage::watch::{Watch, cpu_time, in_log, rss_since_start};
use crate::storage::{Bench, GIB, KIB, MIB, RSS_TARGET};

const QUEUE: &str = "backlog";
const HOT: &str = "hot";
const HOT_BYTES: u64 = 50 * MIB;
/// Of either half.
const DRAIN_PARTS: usize = 9;
const PUT_ROUNDS: usize = 11;
const CLEAN_START: Duration = Duration::from_secs(3);
const KILLED_START: Duration = Duration::from_secs(10);

/// Which of the two rows are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) backlog: bool,
    pub(crate) restart: bool,
}

/// The queue as it must be.
struct Backlog {
    site: Site,
    items: Items,
    /// The item whose turn it is.
    first: u64,
    /// The one that was put last, plus one.
    end: u64,
}

impl Backlog {
    fn live(&self) -> u64 {
        (self.end - self.first) * in_log(self.items.body_bytes as u64)
    }
}

pub(crate) fn run(bench: &mut Bench, parts: Parts) {
    let site = Site::new(bench, Setup::scaled(bench));
    let mut backlog = Backlog { site, items: Items::new(KIB as usize), first: 0, end: 0 };
    let count = bench.scaled(10 * GIB) / KIB;
    let mut server = backlog.site.start().server;
    fill(bench, &mut backlog, &server, count, parts.backlog);
    if parts.restart {
        bench.report.begin("restart");
        server = restarts(bench, &mut backlog, server, count);
        bench.report.begin("backlog");
    }
    if parts.backlog {
        drain(bench, &mut backlog, &server);
    }
}

/// Puts everything; the first and the last tenth are timed.
fn fill(bench: &mut Bench, backlog: &mut Backlog, server: &Server, count: u64, is_judged: bool) {
    let files = backlog.site.files();
    let watch = backlog.site.watch(server, 0);
    let mut pipe = Pipe::connect(server);
    let tenth = (count / 10).max(1);
    let mut put = |backlog: &mut Backlog, count: u64| {
        let time = pipe.fill_queue(QUEUE, &backlog.items, backlog.end, count, &watch);
        backlog.end += count;
        per_second(count, time)
    };
    let begin = Instant::now();
    let first = put(backlog, tenth);
    put(backlog, count - 2 * tenth);
    let most = begin.elapsed();
    settle(&files);
    let last = put(backlog, tenth);
    let filling = watch.peak();
    watch.begin();
    thread::sleep(bench.duration(5.0));
    let resting = watch.peak();
    if !is_judged {
        return;
    }
    let report = &mut bench.report;
    report.note("items of 1 KiB in the queue", format!("{}", backlog.end - backlog.first));
    report.judge_memory("RSS peak while filling", filling.rss, RSS_TARGET);
    report.note("  of it anonymous", mib(filling.rss_anon));
    report.judge_memory("RSS peak at rest", resting.rss, RSS_TARGET);
    report.note("  of it anonymous", mib(resting.rss_anon));
    report.note("put rate, first tenth, into an empty queue", rate(first));
    report.note("put rate, first nine tenths", rate(per_second(count - tenth, most)));
    report.note("put rate, last tenth, after a pause for the disk", rate(last));
    report.note("disk use, highest while filling", gib(filling.disk));
    report.judge_disk("disk use - bound while filling, highest", filling.disk_over);
    drop(watch);
    put_rates(bench, backlog, server, &mut pipe);
}

/// Puts into the long queue and into an empty one, in turns, so that the disk has the same debts for both.
fn put_rates(bench: &mut Bench, backlog: &mut Backlog, server: &Server, pipe: &mut Pipe) {
    let files = backlog.site.files();
    let watch = backlog.site.watch(server, backlog.live());
    let count = hot_count(bench);
    let (mut long, mut empty, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut long_cpu, mut empty_cpu) = (Duration::ZERO, Duration::ZERO);
    for round in 0..bench.rounds(PUT_ROUNDS) {
        // Neither is always the first.
        for is_long in [round % 2 == 0, round % 2 != 0] {
            settle(&files);
            let cpu = cpu_time(server);
            if is_long {
                let time = pipe.fill_queue(QUEUE, &backlog.items, backlog.end, count, &watch);
                long_cpu += cpu_time(server) - cpu;
                backlog.end += count;
                long.push(per_second(count, time));
            } else {
                let time = pipe.fill_queue(HOT, &backlog.items, 0, count, &watch);
                empty_cpu += cpu_time(server) - cpu;
                let drained = pipe.drain(HOT, &backlog.items, 0, count, &watch);
                assert!(drained.wrong == 0, "{} items are wrong", drained.wrong);
                empty.push(per_second(count, time));
            }
        }
        ratios.push(long[round] / empty[round]);
    }
    let report = &mut bench.report;
    report.note("put rate, an empty queue and this one in turns: empty", rate(median(&empty)));
    report.note("put rate, an empty queue and this one in turns: this", rate(median(&long)));
    report.judge_at_least("  / put rate of the empty one", median(&ratios), 0.8, "empty");
    let puts = count as f64 * ratios.len() as f64;
    let us = |cpu: Duration| format!("{:.2} us", cpu.as_secs_f64() * 1e6 / puts);
    report.note("server's processor time per put: empty", us(empty_cpu));
    report.note("server's processor time per put: this", us(long_cpu));
}

/// So many items are put into a queue that stays in memory.
fn hot_count(bench: &Bench) -> u64 {
    (bench.scaled(HOT_BYTES) / KIB).max(10_000)
}

/// Takes everything: the first half as after a start of the machine, the second with the files in the page cache. Before each part a queue in memory is
/// emptied: whatever else the machine does, it does to both.
fn drain(bench: &mut Bench, backlog: &mut Backlog, server: &Server) {
    let files = backlog.site.files();
    let watch = backlog.site.watch(server, backlog.live());
    let mut pipe = Pipe::connect(server);
    let parts = bench.rounds(DRAIN_PARTS) as u64;
    let count = backlog.end - backlog.first;
    let timed = hot_count(bench);
    let (mut hot, mut wrong) = (Vec::new(), 0);
    let (mut hot_cpu, mut cold_cpu) = (Duration::ZERO, Duration::ZERO);
    // Rates, and their ratios to the hot rate before.
    let mut cold = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for (half, (rates, ratios)) in cold.iter_mut().enumerate() {
        if half == 0 {
            cool(&files);
            watch.begin();
        } else {
            warm(&files);
        }
        for _ in 0..parts {
            let (hot_now, cpu) = hot_rate(bench, &mut pipe, server, &watch, &backlog.items);
            hot.push(hot_now);
            hot_cpu += cpu;
            // As many are timed as of the other queue: a longer time has more of what else the machine does.
            let timed = timed.min(count / 2 / parts);
            let cpu = cpu_time(server);
            let drained = pipe.drain(QUEUE, &backlog.items, backlog.first, timed, &watch);
            cold_cpu += cpu_time(server) - cpu;
            let rest = count / 2 / parts - timed;
            wrong += drained.wrong;
            wrong += pipe.drain(QUEUE, &backlog.items, backlog.first + timed, rest, &watch).wrong;
            backlog.first += timed + rest;
            rates.push(per_second(timed, drained.elapsed));
            ratios.push(per_second(timed, drained.elapsed) / hot_now);
        }
    }
    let left = backlog.end - backlog.first;
    wrong += pipe.drain(QUEUE, &backlog.items, backlog.first, left, &watch).wrong;
    let draining = watch.peak();

    let report = &mut bench.report;
    report.judge_memory("RSS peak while draining", draining.rss, RSS_TARGET);
    report.note("  of it anonymous", mib(draining.rss_anon));
    report.note("get rate, a queue of 50 MiB in memory", rate(median(&hot)));
    for (name, (rates, ratios)) in
        ["files not in the page cache", "files in the page cache"].iter().zip(&cold)
    {
        report.note(&format!("get rate, cold, {name}"), rate(median(rates)));
        report.judge_at_least("  / hot rate just before, median", median(ratios), 0.5, "hot");
    }
    let per_get = |cpu: Duration, gets: u64| {
        format!("{:.2} us", cpu.as_secs_f64() * 1e6 / (gets * 2 * parts) as f64)
    };
    report.note("server's processor time per get: in memory", per_get(hot_cpu, timed));
    let timed = timed.min(count / 2 / parts);
    report.note("server's processor time per get: cold", per_get(cold_cpu, timed));
    report.judge_disk("disk use - bound while draining, highest", draining.disk_over);
    report.judge_none("items lost, changed or out of order", wrong);
    report.judge_none("items left over", client::stat(server, "curr_items") as u64);
}

/// Gets per second from a queue that was put a moment ago, and the server's processor time for all of them.
fn hot_rate(
    bench: &Bench,
    pipe: &mut Pipe,
    server: &Server,
    watch: &Watch,
    items: &Items,
) -> (f64, Duration) {
    let count = hot_count(bench);
    pipe.fill_queue(HOT, items, 0, count, watch);
    let cpu = cpu_time(server);
    let drained = pipe.drain(HOT, items, 0, count, watch);
    let cpu = cpu_time(server) - cpu;
    assert!(drained.wrong == 0, "{} items are wrong", drained.wrong);
    (per_second(count, drained.elapsed), cpu)
}

/// Clean stops and kills, each with the files in the page cache and without.
fn restarts(bench: &mut Bench, backlog: &mut Backlog, mut server: Server, count: u64) -> Server {
    let files = backlog.site.files();
    for is_cold in [false, true] {
        let begin = Instant::now();
        server.terminate();
        bench.report.note("clean stop takes", seconds(begin.elapsed()));
        if is_cold {
            cool(&files);
        }
        let started = backlog.site.start();
        let title = format!("clean stop, start{}", if is_cold { ", cold page cache" } else { "" });
        judge_start(bench, backlog, &started, &title, CLEAN_START, 0);
        server = started.server;
    }
    for is_cold in [false, true] {
        let unsure = kill_while_putting(backlog, server, (count / 50).max(1));
        if is_cold {
            cool(&files);
        }
        let started = backlog.site.start();
        let title = format!("kill -9, start{}", if is_cold { ", cold page cache" } else { "" });
        judge_start(bench, backlog, &started, &title, KILLED_START, unsure);
        server = started.server;
    }
    server
}

/// Kills the server when it has acknowledged so many more puts. What it acknowledged counts as there; returns how many more may be.
fn kill_while_putting(backlog: &mut Backlog, mut server: Server, acknowledged: u64) -> u64 {
    let (sent, stored) = (AtomicU64::new(0), AtomicU64::new(0));
    let (items, first) = (&backlog.items, backlog.end);
    let mut pipe = Pipe::connect(&server);
    thread::scope(|scope| {
        let putting = scope.spawn(|| {
            pipe.try_pump(
                u64::MAX,
                items.window(),
                |index, out| {
                    sent.store(index + 1, Ordering::Relaxed);
                    items.put(QUEUE, first + index, out);
                },
                |index, reply| {
                    reply.expect_stored();
                    stored.store(index + 1, Ordering::Relaxed);
                },
            )
        });
        while stored.load(Ordering::Relaxed) < acknowledged && !putting.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        let ended = putting.join().expect("the replies were as they should be");
        ended.expect_err("the server was killed while it was asked");
    });
    let stored = stored.into_inner();
    backlog.end += stored;
    sent.into_inner() - stored
}

/// `unsure`: items that may be there in addition.
fn judge_start(
    bench: &mut Bench,
    backlog: &mut Backlog,
    started: &Started,
    title: &str,
    target: Duration,
    unsure: u64,
) {
    let (item, first_get) = started.first_get(QUEUE);
    let peak = rss_since_start(&started.server);
    let is_right = item.is_some_and(|body| backlog.items.is(backlog.first, &body));
    backlog.first += 1;
    let (least, found) =
        (backlog.end - backlog.first, client::stat(&started.server, "curr_items") as u64);
    let report = &mut bench.report;
    report.judge_time(&format!("{title}: ready"), started.ready, target);
    report.judge_time(&format!("{title}: first get"), first_get, target);
    report.note("  RSS peak of the start", mib(peak));
    let wrong = least.saturating_sub(found) + found.saturating_sub(least + unsure);
    report.judge_none("  items missing or too many", wrong + u64::from(!is_right));
    // What had not been acknowledged and is there is as good as the rest.
    backlog.end = backlog.first + found;
}
