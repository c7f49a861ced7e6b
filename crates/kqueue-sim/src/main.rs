//! `kqueue-sim run --seeds N`, `kqueue-sim faults --seed S` and `kqueue-sim replay SEED`.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{Parser, Subcommand};
use kqueue_sim::{FaultSet, Summary, Violation, replay, run};

/// Simulates crashes, power cuts, disconnects and disk faults, and checks that the queue keeps its promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds and ends at the first that breaks a promise.
    Run {
        /// How many.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        start: u64,
    },
    /// Lives some lives once for every call of their disks, with that call failing, in every way in which it can.
    Faults {
        /// The first life.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// Lives one with this fault only, and prints everything that happens in it.
        #[arg(long)]
        replay: Option<u64>,
    },
    /// Runs one seed and prints everything that happens in it.
    Replay {
        /// As printed by `run`.
        seed: u64,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { seeds, start } => run_many(start, seeds),
        Command::Faults { seed, seeds, replay: None } => run_faults(seed, seeds),
        Command::Faults { seed, replay: Some(number), .. } => replay_fault(seed, number),
        Command::Replay { seed } => show(replay(seed)),
    }
}

fn run_many(start: u64, seeds: u64) -> ExitCode {
    let sum = match in_parallel(start, start.saturating_add(seeds), run) {
        Ok(sum) => sum,
        Err((_, violation)) => {
            return fail_after(&violation, || replay(violation.seed));
        }
    };
    sum.print(start, seeds);
    ExitCode::SUCCESS
}

/// Every call of the disk in some lives fails, in every way.
fn run_faults(start: u64, seeds: u64) -> ExitCode {
    let (mut lives, mut checkpoints, mut retired) = (0, 0, 0);
    let mut all = Sum::default();
    for seed in start..start.saturating_add(seeds) {
        let set = match FaultSet::new(seed) {
            Ok(set) => set,
            Err(violation) => return fail(&violation),
        };
        match in_parallel(0, set.len(), |number| set.run(number)) {
            Ok(sum) => all.merge(&sum),
            Err((number, violation)) => {
                let Violation { step, what, .. } = &violation;
                let fault = set.fault(number);
                eprintln!("seed {seed}, fault {number} ({fault:?}), step {step}: {what}");
                eprintln!(
                    "to see how it came to this: cargo run --release -p kqueue-sim -- faults --seed {seed} --replay {number}"
                );
                print_trace(|| set.replay(number));
                return ExitCode::FAILURE;
            }
        }
        lives += set.len();
        checkpoints += set.clean.checkpoints;
        retired += set.clean.retired_segments;
    }
    let [_, _, kills, cuts, ..] = all.0;
    println!(
        "{seeds} lives from seed {start} with every call of the disk failing in every way: {lives} lives"
    );
    println!(
        "  {kills} kills, {cuts} power cuts; {checkpoints} checkpoints and {retired} segments emptied where nothing fails: all promises were kept"
    );
    ExitCode::SUCCESS
}

/// Prints everything that happens in one life with one fault.
fn replay_fault(seed: u64, number: u64) -> ExitCode {
    match FaultSet::new(seed) {
        Ok(set) => show(set.replay(number)),
        Err(violation) => fail(&violation),
    }
}

fn show((outcome, trace): (Result<Summary, Violation>, Vec<String>)) -> ExitCode {
    for line in trace {
        println!("{line}");
    }
    match outcome {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(violation) => fail(&violation),
    }
}

/// Runs all of these numbers on all processors. The first that breaks a promise ends it.
fn in_parallel(
    from: u64,
    end: u64,
    run: impl Fn(u64) -> Result<Summary, Violation> + Sync,
) -> Result<Sum, (u64, Violation)> {
    let next = AtomicU64::new(from);
    let worker = || {
        let mut sum = Sum::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(sum);
            }
            match run(number) {
                Ok(summary) => sum.add(&summary),
                Err(violation) => {
                    next.store(end, Ordering::Relaxed);
                    return Err((number, violation));
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<Result<Sum, (u64, Violation)>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a simulation panicked, see above"))
            .collect()
    });
    let mut sum = Sum::default();
    for result in results {
        sum.merge(&result?);
    }
    Ok(sum)
}

fn fail_after(
    violation: &Violation,
    again: impl FnOnce() -> (Result<Summary, Violation>, Vec<String>),
) -> ExitCode {
    let code = fail(violation);
    print_trace(again);
    code
}

/// If `KQUEUE_SIM_TRACE` is set, lives once more what failed, and prints everything that happens as it happens.
fn print_trace(again: impl FnOnce() -> (Result<Summary, Violation>, Vec<String>)) {
    if std::env::var_os("KQUEUE_SIM_TRACE").is_some() {
        // How it ended has been told.
        let _ = again();
    }
}

fn fail(violation: &Violation) -> ExitCode {
    eprintln!("seed {}, step {}: {}", violation.seed, violation.step, violation.what);
    eprintln!(
        "to see how it came to this: cargo run --release -p kqueue-sim -- replay {}",
        violation.seed
    );
    ExitCode::FAILURE
}

/// What happened in all seeds together.
#[derive(Default)]
struct Sum([u64; 19]);

impl Sum {
    fn add(&mut self, one: &Summary) {
        let tally = one.tally;
        let values = [
            one.steps,
            one.virtual_ms / 1000,
            one.kills,
            one.power_cuts,
            one.disk_failures,
            one.clean_restarts,
            one.disconnects,
            one.torn_tails,
            one.retired_segments,
            one.checkpoints,
            one.loads,
            one.flips,
            tally.stored,
            tally.delivered,
            tally.redelivered,
            tally.moved,
            tally.dropped,
            one.reloads,
            one.status_changes,
        ];
        self.merge(&Self(values));
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    fn print(&self, start: u64, seeds: u64) {
        let [
            steps,
            seconds,
            kills,
            cuts,
            failures,
            clean,
            disconnects,
            torn,
            retired,
            checkpoints,
            loads,
            flips,
            stored,
            delivered,
            again,
            moved,
            dropped,
            reloads,
            statuses,
        ] = self.0;
        println!("{seeds} seeds from {start}: nothing lost, invented, reordered or held twice");
        println!("  {steps} steps, {seconds} virtual seconds, {disconnects} disconnects");
        println!(
            "  {kills} kills, {cuts} power cuts, {failures} disk failures, {clean} clean restarts, {torn} torn tails cut, {retired} segments emptied"
        );
        println!(
            "  {checkpoints} checkpoints, {loads} reads of items that were not in memory, {flips} flipped bits"
        );
        println!(
            "  {stored} puts acknowledged, {delivered} items delivered, {again} delivered again, {moved} in the queue to which they expired or died"
        );
        println!("  {dropped} items were in memory only when their server ended");
        println!("  {reloads} reloads of the settings, {statuses} changes of the status");
    }
}
