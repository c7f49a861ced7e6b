//! The only clock of the tree: everything else is told what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kqueue_broker::Now;

/// Reads the machine's clocks. Monotonic time counts from the creation of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins at 0 now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment on both clocks. A wall clock before 1970 reads as 0.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: millis(self.start.elapsed()), wall_ms: millis(wall) }
    }

    /// The instant at which the monotonic clock reads `mono_ms`; `None` if it is too far away for the machine's clock.
    pub(crate) fn instant_at(&self, mono_ms: u64) -> Option<Instant> {
        // One millisecond later, so that a timer that fires on time never finds that its deadline lies a fraction ahead.
        self.start.checked_add(Duration::from_millis(mono_ms.saturating_add(1)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
