//! A daemon under load, killed again and again: while it runs, and while it recovers. Nothing acknowledged is lost, nothing is invented or damaged.
//!
//! `KQUEUE_CRASH_ROUNDS` says how many rounds (12); `KQUEUE_CRASH_SEED` repeats the choices of a run. Threads interleave as they like: a seed repeats
//! what was asked and when it was to be killed, not what happened. The rules are in `kqueue_tests::ledger`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kqueue_tests::{Daemon, Dice, Exit, Load, Starting};
use rustix::process::Signal;

/// Small segments and a small log: it rolls, empties segments that hold what nobody takes, and uses files again, all the time.
const SMALL: &str =
    "max_item_size = \"68KiB\"----segment_size = \"256KiB\"\nlog_cap = \"512KiB\"\n";
/// Next to nothing stays in memory: most items are read from the disk when they are taken.
const SMALL_AND_COLD: &str = "max_item_size = \"68KiB\"\nmax_memory_size = \"1MiB\"----segment_size = \"256KiB\"\nlog_cap = \"512KiB\"\n[queue_defaults]\nmax_memory_size = \"8KiB\"\n";
const PRODUCERS: usize = 4;
const ROUNDS: u64 = 12;
/// The state of the directory before so many starts is kept.
const SNAPSHOTS: u64 = 4;
/// A server is killed before it has acknowledged more than this.
const ACKNOWLEDGEMENTS_MAX: u64 = 600;

#[test]
fn killed_under_load_and_during_recovery_it_loses_invents_and_damages_nothing() {
    crash_loop(SMALL);
}

#[test]
fn killed_while_most_items_are_not_in_memory_it_loses_invents_and_damages_nothing() {
    crash_loop(SMALL_AND_COLD);
}

fn crash_loop(config: &str) {
    let rounds = std::env::var("KQUEUE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    let seed = Dice::seed_from("KQUEUE_CRASH_SEED");
    println!("KQUEUE_CRASH_SEED={seed}");
    let directory = tempfile::tempdir().expect("a directory");
    let mut run = Run {
        directory: directory.path(),
        config,
        dice: Dice::new(seed),
        load: Load::default(),
        start_takes: Duration::from_millis(50),
        starts: 0,
        cut_starts: 0,
        snapshots: 0,
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
    println!("{summary}, {} starts, {} more cut short", run.starts, run.cut_starts);
    let complaints = run.load.ledger().complaints().join("\n");
    if !complaints.is_empty() {
        let snapshots = run.snapshots;
        let kept = directory.keep();
        panic!(
            "KQUEUE_CRASH_SEED={seed}, {snapshots} snapshots, the data is in {}:\n{complaints}",
            kept.display()
        );
    }
}

struct Run<'a> {
    directory: &'a Path,
    config: &'a str,
    dice: Dice,
    load: Load,
    /// How long the last start took: a start that is to be cut short is killed within this.
    start_takes: Duration,
    starts: u64,
    cut_starts: u64,
    snapshots: u64,
}

impl Run<'_> {
    fn start(&mut self) -> Daemon {
        self.snapshot();
        let began = Instant::now();
        // Connections that share one thread, and connections that do not, whatever this machine has.
        let threads = if self.starts.is_multiple_of(2) { 4 } else { 1 };
        let wrapper = ["env".to_owned(), format!("TOKIO_WORKER_THREADS={threads}")];
        let daemon = Daemon::start_under(&wrapper, self.directory, self.config).expect("it starts");
        self.start_takes = began.elapsed();
        self.starts += 1;
        daemon
    }

    /// Nobody takes from `kept`: that items are missing there shows at once.
    fn count_kept(&self, daemon: &Daemon, when: &str) {
        let least = self.load.ledger().kept().0;
        let found = daemon.stat("queue_kept_items").map_or(0, |n| n.parse().expect("a number"));
        let most = self.load.ledger().kept().1;
        if !(least..=most).contains(&found) {
            let text = format!("{found} items in kept {when}, not {least} to {most}");
            self.load.ledger().complain(text);
        }
    }

    /// What the directory was like before the last few starts is kept beside it, for whoever has to find out what went wrong.
    fn snapshot(&mut self) {
        let name = format!("before-start-{}", self.snapshots % SNAPSHOTS);
        self.snapshots += 1;
        let (data, copy) = (self.directory.join("data"), self.directory.join(name));
        if copy.exists() {
            fs::remove_dir_all(&copy).expect("it can be removed");
        }
        fs::create_dir(&copy).expect("a directory");
        for entry in fs::read_dir(data).into_iter().flatten() {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
            }
        }
    }

    /// Load, kill, and a start that may take several attempts.
    fn round(&mut self, daemon: Daemon) -> Daemon {
        let clients = self.load.start(daemon.address(), PRODUCERS, &mut self.dice);
        self.load.wait_for(1 + self.dice.below(ACKNOWLEDGEMENTS_MAX));
        if self.load.ledger().complaints().is_empty() {
            self.count_kept(&daemon, "under load");
        }
        let exit = daemon.kill();
        self.judge(&exit);
        clients.end_round(false);
        while self.dice.percent(50) {
            self.cut_starts += 1;
            self.snapshot();
            // No event tells how far a recovery is; any moment of it will do.
            let limit = self.start_takes.mul_f64(self.dice.below(1000) as f64 / 1000.0);
            let exit = Starting::spawn(self.directory, self.config, &[]).kill_within(limit);
            self.judge(&exit);
        }
        let daemon = self.start();
        self.count_kept(&daemon, "after a start");
        daemon
    }

    /// What a killed process wrote survives: a start finds no damage and misses nothing.
    fn judge(&self, exit: &Exit) {
        let is_bad = |line: &&str| {
            ["DAMAGED", "LOST", "panicked", "ERROR", "damage"].iter().any(|bad| line.contains(bad))
        };
        // The latest is the one after the latest snapshot.
        let log = self.directory.join(format!("log-{}", (self.snapshots - 1) % SNAPSHOTS));
        fs::write(log, &exit.stderr).expect("a file");
        for line in exit.stderr.lines().filter(is_bad) {
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
        self.expect_stat(&daemon, "damaged_total", "0");
        self.judge_stop(daemon);
        let daemon = self.start();
        self.load.drain(daemon.address());
        self.expect_stat(&daemon, "curr_items", "0");
        self.judge(&daemon.kill());
    }

    fn expect_stat(&self, daemon: &Daemon, name: &str, expected: &str) {
        let found = daemon.stat(name);
        if found.as_deref() != Some(expected) {
            let text = format!("{name} is {found:?}, not {expected}");
            self.load.ledger().complain(text);
        }
    }

    fn judge_stop(&self, mut daemon: Daemon) {
        daemon.signal(Signal::TERM);
        let exit = daemon.wait();
        if exit.code != Some(0) {
            self.load.ledger().complain(format!("SIGTERM ends it otherwise: {exit:?}"));
        }
        self.judge(&Exit { code: None, ..exit });
    }
}
