//! What kind of life a seed stands for, and what came of it.

use fastrand::Rng;
use kqueue_broker::SyncPolicy;

use crate::disk::Fault;
use crate::oracle::Tally;

/// What kind of life it is; follows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How many steps the clients act.
    pub steps: u64,
    /// How many clients at a time.
    pub conns: usize,
    /// Of every queue.
    pub policy: SyncPolicy,
    /// Longest time that a disk job takes, in milliseconds.
    pub disk_ms: u64,
    /// The process dies or the power goes in one of so many steps, 0: never.
    pub cut_every: u64,
    /// A client goes in one of so many steps, 0: never.
    pub disconnect_every: u64,
    /// The disk becomes full, or is so no more, in one of so many steps, 0: never.
    pub full_every: u64,
    /// One in so many writes and syncs fails, 0: none.
    pub io_fault_every: u64,
    /// A bit on the platter turns over in one of so many steps, 0: never.
    pub flip_every: u64,
    /// What a queue may keep in memory, in bytes.
    pub queue_memory: u64,
    /// What all queues may keep in memory, in bytes.
    pub memory: u64,
    /// Length of the log beside what is alive, in segments.
    pub log_cap_segments: u64,
    /// Longest time that a read takes, in milliseconds.
    pub read_ms: u64,
    /// Syncs are answered and not done: for the test of the simulator itself.
    pub disk_lies: bool,
    /// Calls of the disk that fail.
    pub fault: Option<Fault>,
    /// What is not in every life.
    pub extras: Extras,
    /// For how long a key is known after its put, in milliseconds.
    pub key_window_ms: u64,
    /// What the server is made to do wrong: for the test of the simulator itself.
    pub sabotage: Option<Sabotage>,
}

/// A defect that is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The server's clock is ahead by so many milliseconds: delayed items come early.
    Early(u64),
    /// Keys are not known after a restart.
    ForgetsKeys,
    /// Own dead letters are gone after a restart.
    LosesDead,
    /// Own dead letters are ready after a restart.
    RaisesDead,
    /// A restart resumes what is paused.
    Resumes,
}

/// What clients and operators do besides the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Clients monitor queues and confirm several open reads at once; expired items are removed on demand.
    pub monitors: bool,
    /// Clients put several items at a time, fetch them for a while, and settle what others fetched.
    pub fetches: bool,
    /// The status changes in one of so many steps, 0: never.
    pub status_every: u64,
    /// How long a status that allows less is told before it is enforced, in milliseconds.
    pub grace_ms: u64,
    /// The settings change in one of so many steps, 0: never; if they do, there are aliases, too.
    pub reload_every: u64,
    /// With them the policy of all queues may change.
    pub changes_sync: bool,
    /// Clients use all of the extended commands.
    pub extended: bool,
    /// With them, everybody goes and the queues are looked through in one of so many steps, 0: only at the end.
    pub inspect_every: u64,
}

impl Extras {
    /// Nothing of it.
    pub const NONE: Self = Self {
        monitors: false,
        fetches: false,
        status_every: 0,
        grace_ms: 0,
        reload_every: 0,
        changes_sync: false,
        extended: false,
        inspect_every: 0,
    };

    pub(crate) fn random(rng: &mut Rng) -> Self {
        if rng.bool() {
            return Self::NONE;
        }
        Self {
            monitors: rng.u32(..3) > 0,
            fetches: rng.u32(..3) > 0,
            status_every: if rng.bool() { rng.u64(50..1000) } else { 0 },
            grace_ms: if rng.bool() { rng.u64(1..2000) } else { 0 },
            reload_every: if rng.u32(..3) > 0 { rng.u64(30..1000) } else { 0 },
            changes_sync: rng.u32(..4) == 0,
            ..Self::NONE
        }
    }

    /// The same, and perhaps the extended commands.
    fn extended_or_not(self, rng: &mut Rng) -> Self {
        let extended = rng.u32(..5) < 3;
        let inspect_every = if extended && rng.bool() { rng.u64(200..2000) } else { 0 };
        Self { extended, inspect_every, ..self }
    }

    /// Whether there are queues whose settings change, and aliases.
    pub(crate) fn turns(&self) -> bool {
        self.reload_every > 0
    }
}

impl Scenario {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let policy = match rng.u32(..10) {
            0..7 => SyncPolicy::Always,
            7 | 8 => SyncPolicy::Every { ms: rng.u64(1..300) },
            _ => SyncPolicy::Never,
        };
        let mut one_in =
            |probability: f64, range: std::ops::Range<u64>| match rng.f64() < probability {
                true => rng.u64(range),
                false => 0,
            };
        let cut_every = one_in(0.8, 100..2000);
        let disconnect_every = one_in(0.8, 20..300);
        let full_every = one_in(0.3, 200..2000);
        let io_fault_every = one_in(0.2, 100..1000);
        // Often everything fits into memory, often next to nothing does.
        let memory = *rng.choice(&[1 << 30, 1 << 30, 40_000, 3_000, 0]).expect("not empty");
        let queue_memory = *rng.choice(&[1 << 30, 20_000, 1_000]).expect("not empty");
        let mut aside = rng.clone();
        let flip_every = if aside.f64() < 0.15 { aside.u64(50..1000) } else { 0 };
        let extras = Extras::random(&mut aside).extended_or_not(&mut aside);
        let key_window_ms = *aside.choice(&[300, 5_000, 600_000]).expect("not empty");
        Self {
            steps: rng.u64(500..6000),
            conns: rng.usize(2..12),
            policy,
            disk_ms: *rng.choice(&[0, 2, 20, 100]).expect("not empty"),
            cut_every,
            disconnect_every,
            full_every,
            io_fault_every,
            flip_every,
            queue_memory,
            memory,
            log_cap_segments: rng.u64(2..6),
            read_ms: *rng.choice(&[0, 0, 5, 50]).expect("not empty"),
            disk_lies: false,
            fault: None,
            extras,
            key_window_ms,
            sabotage: None,
        }
    }

    /// Whether memory is never short.
    pub(crate) fn has_memory(&self) -> bool {
        self.memory >= 1 << 30 && self.queue_memory >= 1 << 30
    }
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps of the simulation.
    pub steps: u64,
    /// Time that passed in it.
    pub virtual_ms: u64,
    /// Processes that died.
    pub kills: u64,
    /// Machines that died.
    pub power_cuts: u64,
    /// Writes and syncs that failed.
    pub disk_failures: u64,
    /// Clients that went.
    pub disconnects: u64,
    /// Ends of the log that recovery cut.
    pub torn_tails: u64,
    /// Segments that were emptied.
    pub retired_segments: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Reads of items that were not in memory.
    pub loads: u64,
    /// Bits that turned over.
    pub flips: u64,
    /// Calls of the disk that failed, planned or not.
    pub failed_calls: u64,
    /// Calls of the disk before the end began.
    pub disk_calls: u64,
    /// Ends of the server in good order.
    pub clean_restarts: u64,
    /// Settings that changed while the server ran.
    pub reloads: u64,
    /// Changes of the status.
    pub status_changes: u64,
    /// How often everything was looked through.
    pub inspections: u64,
    /// Dead letters that came to life at the end.
    pub kicked: u64,
    /// What the oracle counted.
    pub tally: Tally,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which life.
    pub seed: u64,
    /// When.
    pub step: u64,
    /// In words.
    pub what: String,
}
