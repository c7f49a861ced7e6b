//! Systematic faults: the same life once for every call of its disk, with that call failing, in every way in which a call can.
//!
//! A life of its own kind: short, on small memory, always synced, with checkpoints and segments that are emptied in it, and with restarts, so that calls of recovery's
//! aftermath are among them. Must not: judge; each life has its oracle.

use std::panic::{self, AssertUnwindSafe};

use kqueue_broker::SyncPolicy;

use crate::disk::{Failure, Fault};
use crate::scenario::{Extras, Scenario, Summary, Violation};
use crate::world::World;

/// How many calls in a row find the disk full, for [`Failure::Full`].
const FULL_CALLS: u64 = 40;
/// Ways in which a call can fail.
const FAILURES: [Failure; 5] =
    [Failure::Io, Failure::NoSpace, Failure::Full, Failure::Kill, Failure::Power];

/// A life and its calls.
#[derive(Clone, Copy, Debug)]
pub struct FaultSet {
    /// Which life.
    pub seed: u64,
    /// How many calls it has when none fails.
    pub calls: u64,
    /// What happens in it when none fails.
    pub clean: Summary,
}

impl FaultSet {
    /// Lives the life without a fault.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn new(seed: u64) -> Result<Self, Violation> {
        let clean = live(seed, None)?;
        Ok(Self { seed, calls: clean.disk_calls, clean })
    }

    /// How many faults there are to try.
    pub fn len(&self) -> u64 {
        self.calls * FAILURES.len() as u64
    }

    /// Whether the life never touches its disk.
    pub fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// The fault of this number.
    pub fn fault(&self, number: u64) -> Fault {
        let ways = FAILURES.len() as u64;
        let failure = FAILURES[(number % ways) as usize];
        let calls = if failure == Failure::Full { FULL_CALLS } else { 1 };
        Fault { from: number / ways + 1, calls, failure }
    }

    /// Lives the life with the fault of this number.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn run(&self, number: u64) -> Result<Summary, Violation> {
        live(self.seed, Some(self.fault(number)))
    }

    /// Like [`FaultSet::run`], with a line for everything that happened.
    pub fn replay(&self, number: u64) -> (Result<Summary, Violation>, Vec<String>) {
        let fault = self.fault(number);
        World::new(self.seed, |scenario| shape(scenario, self.seed, Some(fault)))
            .live_traced(self.seed)
    }
}

fn live(seed: u64, fault: Option<Fault>) -> Result<Summary, Violation> {
    let run =
        AssertUnwindSafe(|| World::new(seed, |scenario| shape(scenario, seed, fault)).live(seed));
    panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(Violation { seed, step: 0, what: "panicked, see above".into() }))
}

/// What kind of life it is.
fn shape(scenario: &mut Scenario, seed: u64, fault: Option<Fault>) {
    // Every other life has more than the usual in it.
    let extras = match seed.is_multiple_of(2) {
        true => Extras {
            monitors: true,
            fetches: true,
            status_every: 200,
            grace_ms: 100,
            reload_every: 80,
            changes_sync: false,
            extended: true,
            inspect_every: 500,
        },
        false => Extras::NONE,
    };
    *scenario = Scenario {
        steps: 2500,
        conns: 6,
        policy: SyncPolicy::Always,
        disk_ms: scenario.disk_ms.min(5),
        cut_every: 900,
        disconnect_every: 120,
        full_every: 0,
        io_fault_every: 0,
        flip_every: 0,
        log_cap_segments: 2,
        fault,
        extras,
        ..*scenario
    };
}
