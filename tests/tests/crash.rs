//! A daemon under load, killed again and again: while it runs, and while it recovers. Nothing acknowledged is lost, nothing is invented or damaged.
//!
//! `KQUEUE_CRASH_ROUNDS` says how many rounds (12); `KQUEUE_CRASH_SEED` repeats the choices of a run. Threads interleave as they like: a seed repeats
//! what was asked and when it was to be killed, not what happened. The rules are in `kqueue_tests::ledger`.

use std::path::Path;
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, Dice, Exit, Load, Starting};

/// Small segments and a small log: it rolls, empties segments that hold what nobody takes, and uses files again, all the time.
const SMALL: &str =
    "max_item_size = \"68KiB\"----segment_size = \"256KiB\"\nlog_cap = \"512KiB\"\n";
const PRODUCERS: usize = 4;
const ROUNDS: u64 = 12;
/// A server is killed before it has acknowledged more than this.
const ACKNOWLEDGEMENTS_MAX: u64 = 600;

#[test]
fn killed_under_load_and_during_recovery_it_loses_invents_and_damages_nothing() {
    let rounds = std::env::var("KQUEUE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    let seed = Dice::seed_from("KQUEUE_CRASH_SEED");
    println!("KQUEUE_CRASH_SEED={seed}");
    let directory = tempfile::tempdir().expect("a directory");
    let mut run = Run {
        directory: directory.path(),
        dice: Dice::new(seed),
        load: Load::default(),
        start_takes: Duration::from_millis(50),
        starts: 0,
        cut_starts: 0,
    };
    let daemon = run.start();
    run.load.prepare(daemon.address());
    let mut daemon = Some(daemon);
    for _ in 0..rounds.unwrap_or(ROUNDS) {
        daemon = daemon.map(|daemon| run.round(daemon));
        if !run.load.ledger().complaints().is_empty() {
            break;
        }
    }
    run.finish(daemon.expect("it runs"));
    let summary = run.load.ledger().summary();
    println!("ids given twice: {}", run.load.ledger().ids_given_twice());
    println!("{summary}, {} starts, {} more cut short", run.starts, run.cut_starts);
    let complaints = run.load.ledger().complaints().join("\n");
    if !complaints.is_empty() {
        let kept = directory.keep();
        panic!("KQUEUE_CRASH_SEED={seed}, the data is in {}:\n{complaints}", kept.display());
    }
}

struct Run<'a> {
    directory: &'a Path,
    dice: Dice,
    load: Load,
    /// How long the last start took: a start that is to be cut short is killed within this.
    start_takes: Duration,
    starts: u64,
    cut_starts: u64,
}

impl Run<'_> {
    fn start(&mut self) -> Daemon {
        let began = Instant::now();
        let daemon = Daemon::start_in(self.directory, SMALL).expect("it starts");
        self.start_takes = began.elapsed();
        self.starts += 1;
        daemon
    }

    /// Load, kill, and a start that may take several attempts.
    fn round(&mut self, daemon: Daemon) -> Daemon {
        let clients = self.load.start(daemon.address(), PRODUCERS, &mut self.dice);
        self.load.wait_for(1 + self.dice.below(ACKNOWLEDGEMENTS_MAX));
        let exit = daemon.kill();
        self.judge(&exit);
        clients.end_round(false);
        while self.dice.percent(50) {
            self.cut_starts += 1;
            // No event tells how far a recovery is; any moment of it will do.
            let limit = self.start_takes.mul_f64(self.dice.below(1000) as f64 / 1000.0);
            let exit = Starting::spawn(self.directory, SMALL, &[]).kill_within(limit);
            self.judge(&exit);
        }
        self.start()
    }

    /// What a killed process wrote survives: a start finds no damage and misses nothing.
    fn judge(&self, exit: &Exit) {
        let is_bad = |line: &&str| {
            ["DAMAGED", "LOST", "panicked", "ERROR", "damage"].iter().any(|bad| line.contains(bad))
        };
        if let Some(line) = exit.stderr.lines().find(is_bad) {
            self.load.ledger().complain(format!("the server says: {line}"));
        }
        if exit.code.is_some() {
            self.load.ledger().complain(format!("ended by itself: {exit:?}"));
        }
    }

    /// Empties everything, and starts twice more: what was removed stays away.
    fn finish(&mut self, daemon: Daemon) {
        self.load.drain(daemon.address());
        self.load.ledger().end_round(true);
        self.load.ledger().audit();
        assert_eq!(daemon.stat("damaged_total").as_deref(), Some("0"));
        let daemon = daemon.stop_and_restart();
        self.load.drain(daemon.address());
        assert_eq!(daemon.stat("curr_items").as_deref(), Some("0"));
        self.judge(&daemon.kill());
    }
}
