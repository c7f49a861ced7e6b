//! Waits until the machine has nothing else to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(50);
/// What of all processors may be busy.
const BUSY_MAX: f64 = 0.15;

/// How often it was quiet when a measurement began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet {
    pub(crate) measurements: u32,
    pub(crate) were_quiet: u32,
}

impl Quiet {
    /// Returns when it is quiet, or when that has taken too long.
    pub(crate) fn wait(&mut self, patience: Duration) {
        self.measurements += 1;
        let give_up = Instant::now() + patience;
        loop {
            let before = processors();
            thread::sleep(WINDOW);
            let after = processors();
            let total = after.total - before.total;
            let is_quiet =
                total == 0 || ((after.busy - before.busy) as f64) < BUSY_MAX * total as f64;
            if is_quiet {
                self.were_quiet += 1;
                return;
            }
            if Instant::now() > give_up {
                return;
            }
        }
    }
}

struct Processors {
    total: u64,
    busy: u64,
}

/// In ticks. Waiting for the disk is not being busy; time that the host took away is.
fn processors() -> Processors {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let total: u64 = ticks.iter().sum();
    let rest: u64 = ticks.iter().skip(3).take(2).sum();
    Processors { total, busy: total - rest }
}
