//! Push, reserve, ack, over and over, in one process: memory and descriptors stay as they are.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

use super::Args;
use super::worker::Worker;
use crate::server::Server;
use crate::storage::report::{Report, mib};
use crate::storage::watch::kib_of;

/// What PHP's memory may grow by: less than one byte per hundred cycles of the full run.
const GROWTH: u64 = 64 * 1024;
const PARTS: usize = 10;

/// Resident bytes of the process's own, and its open descriptors.
fn size_of(pid: Pid) -> (u64, u64) {
    let directory = format!("/proc/{}", pid.as_raw_pid());
    let status = fs::read_to_string(format!("{directory}/status")).expect("PHP lives");
    let descriptors = fs::read_dir(format!("{directory}/fd")).expect("PHP lives").count();
    (kib_of(&status, "RssAnon").expect("a figure of the kernel's"), descriptors as u64)
}

pub(super) fn run(built: &Path, data: &Path, args: &Args, report: &mut Report) {
    let server = Server::kqueue(built, data, "never");
    let mut worker = Worker::start(built, &[server.address.to_string()]);
    let part = args.cycles.div_ceil(PARTS).max(1);
    // What PHP and the allocator take once.
    worker.run("cycle", part.min(10_000));
    let (memory, descriptors) = size_of(worker.pid());
    let (mut elapsed, mut now) = (0.0, (memory, descriptors));
    for done in 1..=PARTS {
        elapsed += worker.run("cycle", part).elapsed.as_secs_f64();
        now = size_of(worker.pid());
        eprintln!("{} cycles: {} resident, {} descriptors", done * part, mib(now.0), now.1);
    }
    let cycles = PARTS * part;
    report.judge(
        &format!("{cycles} x push, reserve, ack: growth of {}", mib(memory)),
        format!("{} KiB", now.0.saturating_sub(memory) / 1024),
        format!("<= {} KiB", GROWTH / 1024),
        now.0 <= memory + GROWTH,
    );
    let more = now.1.saturating_sub(descriptors);
    report.judge_none(&format!("descriptors more than the {descriptors} at the begin"), more);
    let each = elapsed * 1_000_000.0 / cycles as f64;
    report.note("time of a cycle", format!("{each:.1} us"));
}
