//! `make bench-storage`: memory, disk, starts and compaction with much in the queues, against the project's targets.
//!
//! One daemon after the other is started on a fresh data directory, filled through its protocol, and watched from outside (`/proc`, the blocks of its files).
//! Sizes and the bounds that follow from them go with `--scale`; targets for memory and time do not.
//!
//! Must not: know how the server stores anything.

mod backlog;
mod churn;
mod compaction;
mod delayed;
mod growth;
mod load;
pub(crate) mod machine;
mod queues;
pub(crate) mod report;
mod site;
mod small;
pub(crate) mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::storage::machine::Machine;
use crate::storage::report::{Report, gib};

const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
/// What a server may need of memory, however much waits in its queues.
const RSS_TARGET: u64 = 300 * MIB;
/// What stays free on the disk.
const DISK_RESERVE: u64 = GIB;

/// How much, and which rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All sizes times this; targets for memory and time stay.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Only these rows.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<Row>,
    /// GiB that pass through the queue of the row `churn`, at scale 1.
    #[arg(long, value_name = "GIB", default_value_t = 2.0)]
    churn_gib: f64,
    /// Judge memory, disk and what became of the items, no times and rates: a test for any machine. Rounds are few and short.
    #[arg(long)]
    untimed: bool,
}

fn scale(text: &str) -> Result<f64, String> {
    let range = 0.001..=10.0;
    let is_sensible = |scale: &f64| range.contains(scale);
    text.parse().ok().filter(is_sensible).ok_or_else(|| "a number from 0.001 to 10".to_owned())
}

/// One part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// 10 GiB in one queue: memory, disk, rates.
    Backlog,
    /// Starts with the same 10 GiB, after a clean stop and after kill -9.
    Restart,
    /// 50 million items of 64 bytes.
    Small,
    /// A million queues of one item.
    Queues,
    /// Much passes beside one open item.
    Churn,
    /// What emptying old segments costs the puts.
    Compaction,
    /// 10 million items that wait for their times.
    Delayed,
    /// What a put and a get cost while something else grows, up to 100 million items, a million queues, 9,000 connections.
    Growth,
}

impl Row {
    /// What its files take at most, at this scale, if the server keeps to its bound.
    fn disk_bytes(self, scale: f64) -> u64 {
        let (scaled, fixed) = match self {
            Self::Backlog | Self::Restart => (23 * GIB, 16 * MIB),
            Self::Small => (13 * GIB, 16 * MIB),
            Self::Queues => (2 * GIB, 16 * MIB),
            Self::Churn => (0, 64 * MIB),
            Self::Compaction => (2 * GIB, 512 * MIB),
            Self::Delayed => (4 * GIB, 16 * MIB),
            Self::Growth => (16 * GIB, 64 * MIB),
        };
        (scaled as f64 * scale) as u64 + fixed
    }
}

/// What all rows need.
struct Bench {
    built: PathBuf,
    data: PathBuf,
    scale: f64,
    churn_gib: f64,
    is_timed: bool,
    report: Report,
}

impl Bench {
    fn scaled(&self, number: u64) -> u64 {
        ((number as f64 * self.scale) as u64).max(1)
    }

    /// How often something is measured whose median counts.
    fn rounds(&self, rounds: usize) -> usize {
        if self.is_timed { rounds } else { 1 }
    }

    /// How long something goes on that takes so many seconds at scale 1.
    fn duration(&self, seconds: f64) -> Duration {
        let least = if self.is_timed { 0.2 } else { 0.05 };
        Duration::from_secs_f64(seconds * self.scale.clamp(least, 1.0))
    }
}

/// Measures what was asked for and prints the table; false if a target was missed that is none of time.
pub(crate) fn run(built: &Path, data: &Path, args: &Args) -> bool {
    let is_wanted = |row: &Row| args.only.is_empty() || args.only.contains(row);
    let rows: Vec<Row> = Row::value_variants().iter().copied().filter(is_wanted).collect();
    if !has_room(data, &rows, args.scale) {
        return false;
    }
    let machine = Machine::measure(data, (machine::SEQUENTIAL_BYTES as f64 * args.scale) as u64);
    let mut bench = Bench {
        built: built.to_path_buf(),
        data: data.to_path_buf(),
        scale: args.scale,
        churn_gib: args.churn_gib,
        is_timed: !args.untimed,
        report: Report::new(!args.untimed),
    };
    let wants = |row| rows.contains(&row);
    if wants(Row::Backlog) || wants(Row::Restart) {
        let parts = backlog::Parts { backlog: wants(Row::Backlog), restart: wants(Row::Restart) };
        bench.row("backlog", |bench| backlog::run(bench, parts));
    }
    if wants(Row::Small) {
        bench.row("small", small::run);
    }
    if wants(Row::Queues) {
        bench.row("queues", queues::run);
    }
    if wants(Row::Churn) {
        bench.row("churn", churn::run);
    }
    if wants(Row::Compaction) {
        bench.row("compaction", compaction::run);
    }
    if wants(Row::Delayed) {
        bench.row("delayed", delayed::run);
    }
    if wants(Row::Growth) {
        bench.row("growth", growth::run);
    }
    println!();
    machine.print();
    println!(
        "scale {}; one connection, pipelined; sync never unless it says otherwise\n",
        args.scale
    );
    bench.report.print();
    bench.report.holds()
}

impl Bench {
    /// A row that breaks off has missed its target; the others are measured all the same.
    fn row(&mut self, name: &'static str, measure: impl FnOnce(&mut Self)) {
        eprintln!("-- {name}");
        self.report.begin(name);
        if catch_unwind(AssertUnwindSafe(|| measure(self))).is_err() {
            self.report.judge(
                "measured to its end",
                "broke off".to_owned(),
                "yes".to_owned(),
                false,
            );
        }
    }
}

fn has_room(data: &Path, rows: &[Row], scale: f64) -> bool {
    let most = rows.iter().map(|row| row.disk_bytes(scale)).max().unwrap_or_default();
    let needed = most.max((machine::SEQUENTIAL_BYTES as f64 * scale) as u64) + DISK_RESERVE;
    let free = machine::free_bytes(data);
    if free < needed {
        eprintln!(
            "{} has {} free, and these rows need {} at scale {scale}: make room, or measure with a smaller --scale or --only some rows",
            data.display(),
            gib(free),
            gib(needed)
        );
    }
    free >= needed
}
