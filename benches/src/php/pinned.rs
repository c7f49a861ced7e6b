//! One processor for everybody.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// While it lives, this thread and the processes that it starts share one processor: what is measured then is work, not how processors wake each other, which differs
/// by a factor of two from one moment to the next.
pub(super) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// On the last of the processors that there are.
    pub(super) fn new() -> Self {
        let before = sched_getaffinity(None).expect("the kernel says so");
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| before.is_set(cpu));
        let mut one = CpuSet::new();
        one.set(last.expect("this runs somewhere"));
        sched_setaffinity(None, &one).expect("one of those it had");
        Self { before }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.before);
    }
}
