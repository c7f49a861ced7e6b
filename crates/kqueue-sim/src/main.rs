//! `kqueue-sim run --seeds N` and `kqueue-sim replay SEED`.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{Parser, Subcommand};
use kqueue_sim::{Summary, Violation, replay, run};

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
    /// Runs one seed and prints everything that happens in it.
    Replay {
        /// As printed by `run`.
        seed: u64,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { seeds, start } => run_many(start, seeds),
        Command::Replay { seed } => {
            let (outcome, trace) = replay(seed);
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
    }
}

fn run_many(start: u64, seeds: u64) -> ExitCode {
    let next = AtomicU64::new(start);
    let end = start.saturating_add(seeds);
    let worker = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(sum);
            }
            match run(seed) {
                Ok(summary) => sum.add(&summary),
                Err(violation) => {
                    next.store(end, Ordering::Relaxed);
                    return Err(violation);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<Result<Sum, Violation>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a simulation panicked, see above"))
            .collect()
    });
    let mut sum = Sum::default();
    for result in results {
        match result {
            Ok(part) => sum.merge(&part),
            Err(violation) => return fail(&violation),
        }
    }
    sum.print(start, seeds);
    ExitCode::SUCCESS
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
struct Sum([u64; 17]);

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
    }
}
