//! API draft.
use std::rc::Rc;

/// Everything a process keeps.
#[derive(Clone)]
pub struct Pools(Rc<()>);

/// Sums since the process (or the forked child) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Idle connections used again.
    pub reused: u64,
    /// Idle connections found closed or readable and dropped.
    pub stale: u64,
    /// Idle connections dropped because they were too old or too many.
    pub retired: u64,
    /// Connections inherited over a fork and dropped unsent.
    pub inherited: u64,
    /// Failed attempts (connect, broken, timeout, protocol).
    pub failures: u64,
    /// Requests sent again to another or the same server.
    pub retried: u64,
    /// Connections idle now.
    pub idle: u64,
}

/// This process's view of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// False while it is ejected.
    pub up: bool,
    /// True while it refuses pushes (read-only, disk full).
    pub refuses_pushes: bool,
    /// True: speaks the extended commands; false: Kestrel's; None: not known yet.
    pub extended: Option<bool>,
    /// Idle connections.
    pub idle_connections: usize,
    /// Connections opened so far.
    pub opened: u64,
    /// Failed attempts so far.
    pub failures: u64,
    /// Text of the last failure.
    pub last_error: Option<String>,
}

impl Pools {
    /// `seed` feeds the random choice of servers, backoff jitter and local ids: different for every process.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_pid_source(seed, std::process::id)
    }
    /// For tests: where the process id comes from.
    #[must_use]
    pub fn with_pid_source(_seed: u64, _pid: fn() -> u32) -> Self {
        Self(Rc::new(()))
    }
    /// Drops what was inherited over a fork, unsent, and resets the counters. Every use does this by itself.
    pub fn check_pid(&self) {}
    /// Closes every idle connection.
    pub fn close_all(&self) {}
    /// The sums.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
