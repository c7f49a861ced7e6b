//! `make bench`, third part: what the PHP extension costs, beside php-memcached and phpredis, against the project's targets.
//!
//! PHP does the work, in processes of its own that do what they are told ([`worker::Worker`]); what their and the server's processors spend on it is taken from the
//! kernel. Loopback, sync off: the client is what is measured.
//!
//! Must not: judge times where `--untimed` says so. Tests never depend on them.

mod binary;
mod cost;
mod cycles;
mod failover;
mod fastcgi;
mod medians;
mod pinned;
mod site;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use clap::ValueEnum;

pub(crate) use medians::{pool_and_proxy, push_and_set};

use self::pinned::Pinned;
use crate::peers::median;
use crate::storage::report::Report;

/// How often, how much, and which rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is repeated.
    #[arg(long, default_value_t = 9)]
    repetitions: usize,
    /// Pushes per measurement.
    #[arg(long, default_value_t = 10_000)]
    items: usize,
    /// Pushes, reserves and acks of the row `cycles`.
    #[arg(long, default_value_t = 500_000)]
    cycles: usize,
    /// Only these rows.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<Row>,
    /// Judge no times: a test for any machine.
    #[arg(long)]
    untimed: bool,
}

/// One part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Size of the extension, and what its being loaded costs a request.
    Binary,
    /// Pushes, reserves and acks beside php-memcached and phpredis, PHP and the servers on one processor.
    Cost,
    /// The same on as many as there are.
    Spread,
    /// One of two servers is killed, or keeps silent.
    Failover,
    /// Memory and descriptors in a long run.
    Cycles,
    /// A page that pushes once, through php-fpm, with this and other clients.
    Site,
}

/// Measures what was asked for and prints the table; false if a target was missed that is none of time.
pub(crate) fn run(built: &Path, data: &Path, args: &Args) -> bool {
    let mut report = Report::new(!args.untimed);
    for row in Row::value_variants() {
        if !args.only.is_empty() && !args.only.contains(row) {
            continue;
        }
        let data = tempfile::tempdir_in(data).expect("a directory for the servers' data");
        let name = match row {
            Row::Binary => "binary",
            Row::Cost => "cost",
            Row::Spread => "spread",
            Row::Failover => "failover",
            Row::Cycles => "cycles",
            Row::Site => "site",
        };
        eprintln!("-- {name}");
        report.begin(name);
        let _pinned = (!matches!(row, Row::Spread | Row::Site)).then(Pinned::new);
        let measure = || match row {
            Row::Binary => binary::run(built, data.path(), &mut report),
            Row::Cost | Row::Spread => cost::run(built, data.path(), args, &mut report),
            Row::Failover => failover::run(built, data.path(), args, &mut report),
            Row::Cycles => cycles::run(built, data.path(), args, &mut report),
            Row::Site => site::run(built, data.path(), args, &mut report),
        };
        // A row that breaks off has missed its target; the others are measured all the same.
        if catch_unwind(AssertUnwindSafe(measure)).is_err() {
            report.judge("measured to its end", "broke off".to_owned(), "yes".to_owned(), false);
        }
    }
    println!();
    println!(
        "1 KiB, sync never; {} repetitions of {} pushes; ratios: median of those of one repetition each, and their range\n",
        args.repetitions, args.items
    );
    report.print();
    report.holds()
}

/// The median ratio of pairs, with their range.
struct Ratio {
    median: f64,
    least: f64,
    most: f64,
}

impl Ratio {
    fn of_pairs(ours: &[f64], theirs: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Self { median: median(&ratios), least, most }
    }

    fn text(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.median, self.least, self.most)
    }
}
