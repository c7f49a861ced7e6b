//! `make bench`: what a put costs, beside memcached and Redis in the same run.
//!
//! Repetitions are outermost, so that what disturbs the machine disturbs all of them; medians are printed, and ratios to the peer, because absolute figures are
//! those of this machine.
//!
//! Must not: judge. Tests never depend on it.

use std::path::Path;

use crate::client::{self, Protocol};
use crate::server::{Server, disk_thread_wakeups};
use crate::{php, workload};

/// How often, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is repeated.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// Values of one measurement, one per repetition.
struct Row {
    what: &'static str,
    unit: &'static str,
    ours: Vec<f64>,
    peer: &'static str,
    theirs: Vec<f64>,
}

impl Row {
    fn new(what: &'static str, unit: &'static str, peer: &'static str) -> Self {
        Self { what, unit, ours: Vec::new(), peer, theirs: Vec::new() }
    }

    fn print(&self) {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        let ratio = if theirs > 0.0 {
            format!("{:.2} x {}", ours / theirs, self.peer)
        } else {
            String::new()
        };
        println!("{:<58} {:>10.1} {:<8} {:>10.1}  {ratio}", self.what, ours, self.unit, theirs);
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Measures in turns, then prints medians and ratios.
pub(crate) fn run(built: &Path, data: &Path, args: &Args) {
    let data = tempfile::tempdir_in(data).expect("a directory for the servers' data");
    let never = Server::kqueue(built, data.path(), "never");
    let always = Server::kqueue(built, data.path(), "always");
    let memcached = Server::memcached();
    let redis = Server::redis(data.path());
    let (seconds, kqueue, redis_protocol) = (args.seconds, Protocol::Memcache, Protocol::Redis);

    let mut put = Row::new("put, 1 connection, sync never: median", "us", "memcached set");
    let mut put_tail =
        Row::new("put, 1 connection, sync never: 99th percentile", "us", "memcached set");
    let mut many = Row::new("puts, 64 connections, sync never", "/s", "memcached set");
    let mut synced =
        Row::new("puts, 64 connections, sync always", "/s", "redis, appendfsync always");
    let mut synced_one =
        Row::new("put, 1 connection, sync always: median", "us", "redis, appendfsync always");
    let mut short = Row::new("connect, put, reply, close: median", "us", "memcached");
    let mut handover = Row::new("put to a waiting consumer: median", "us", "redis BLPOP");
    let mut php =
        Row::new("PHP push, pooled, sync never: median", "us", "php-memcached set, same server");
    let (mut per_sync, mut wakeups) = (Vec::new(), Vec::new());

    for repetition in 1..=args.repetitions {
        eprintln!("repetition {repetition} of {}", args.repetitions);
        let before = disk_thread_wakeups(&never);
        let ours = workload::puts(&never, kqueue, 1, seconds);
        wakeups.push(1000.0 * (disk_thread_wakeups(&never) - before) / ours.count as f64);
        let theirs = workload::puts(&memcached, kqueue, 1, seconds);
        put.ours.push(ours.median_us());
        put.theirs.push(theirs.median_us());
        put_tail.ours.push(ours.percentile_us(99.0));
        put_tail.theirs.push(theirs.percentile_us(99.0));

        many.ours.push(workload::puts(&never, kqueue, 64, seconds).per_second());
        many.theirs.push(workload::puts(&memcached, kqueue, 64, seconds).per_second());

        let syncs = client::stat(&always, "journal_syncs");
        let ours = workload::puts(&always, kqueue, 64, seconds);
        per_sync.push(ours.count as f64 / (client::stat(&always, "journal_syncs") - syncs));
        synced.ours.push(ours.per_second());
        synced.theirs.push(workload::puts(&redis, redis_protocol, 64, seconds).per_second());
        synced_one.ours.push(workload::puts(&always, kqueue, 1, seconds).median_us());
        synced_one.theirs.push(workload::puts(&redis, redis_protocol, 1, seconds).median_us());

        short.ours.push(workload::short_connections(&never, kqueue, seconds).median_us());
        short.theirs.push(workload::short_connections(&memcached, kqueue, seconds).median_us());

        handover.ours.push(workload::hand_over(&never, kqueue, seconds).median_us());
        handover.theirs.push(workload::hand_over(&redis, redis_protocol, seconds).median_us());

        let (ours, theirs) = php::push_and_set(built, &never);
        php.ours.push(ours);
        php.theirs.push(theirs);

        // Queues do not grow from one repetition to the next; what memcached and Redis keep is of no account.
        client::flush_all(&never);
        client::flush_all(&always);
    }

    println!("{:<58} {:>10} {:<8} {:>10}", "", "KQueue", "", "peer");
    for row in [put, put_tail, many, short, synced, synced_one, handover, php] {
        row.print();
    }
    println!("puts per sync, 64 connections: {:.1}", median(&per_sync));
    println!("wake-ups of the disk thread per 1000 puts, sync never: {:.2}", median(&wakeups));
}
