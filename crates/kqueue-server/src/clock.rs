//! The only clock of the tree: everything else is told what time it is.
//!
//! Waits and leases use the monotonic clock. Put times and expiry use unix time, which somebody may set: it is followed at once where it drifts or is stepped a
//! little, and slowly where it jumps, so that a jump neither expires everything nor keeps anything from expiring. A server that is started takes the clock as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kqueue_broker::Now;

/// Differences up to this are followed at once, in milliseconds.
const STEP_MS: i64 = 2_000;
/// How often the machine's unix time is looked at, in milliseconds.
const LOOK_EVERY_MS: u64 = 20;
/// A clock that is before this (1 January 2020) has not been set yet.
const UNSET_BEFORE_MS: u64 = 1_577_836_800_000;

/// Reads the machine's clocks. Monotonic time counts from the creation of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: Arc<Wall>,
}

#[derive(Debug)]
struct Wall {
    /// Unix time less monotonic time, as the server sees it, in milliseconds.
    offset_ms: AtomicI64,
    /// When the machine's unix time was looked at last, on the monotonic clock.
    looked_ms: AtomicU64,
    /// How far the machine's unix time is ahead.
    ahead_ms: AtomicI64,
}

impl Clock {
    /// A clock whose monotonic time begins at 0 now.
    pub(crate) fn start() -> Self {
        let offset_ms = AtomicI64::new(signed(system_ms()));
        let (looked_ms, ahead_ms) = (AtomicU64::new(0), AtomicI64::new(0));
        Self { start: Instant::now(), wall: Arc::new(Wall { offset_ms, looked_ms, ahead_ms }) }
    }

    /// The present moment on both clocks.
    pub(crate) fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// That moment, which has just been, on both clocks.
    pub(crate) fn at(&self, moment: Instant) -> Now {
        let mono_ms = millis(moment.saturating_duration_since(self.start));
        let looked_ms = self.wall.looked_ms.load(Ordering::Relaxed);
        let since_ms = mono_ms.saturating_sub(looked_ms);
        if since_ms >= LOOK_EVERY_MS
            && self
                .wall
                .looked_ms
                .compare_exchange(looked_ms, mono_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let offset_ms = self.wall.offset_ms.load(Ordering::Relaxed);
            // `moment` is over; compared with it, unix time would be ahead by as long as that was ago.
            let now_ms = millis(self.start.elapsed());
            let target_ms = signed(system_ms()) - signed(now_ms);
            let offset_ms = follow(offset_ms, target_ms, signed(since_ms));
            self.wall.offset_ms.store(offset_ms, Ordering::Relaxed);
            self.wall.ahead_ms.store(target_ms - offset_ms, Ordering::Relaxed);
        }
        let wall_ms = signed(mono_ms).saturating_add(self.wall.offset_ms.load(Ordering::Relaxed));
        Now { mono_ms, wall_ms: u64::try_from(wall_ms).unwrap_or(0) }
    }

    /// How far the machine's unix time is ahead of what the server goes by (negative: behind), in milliseconds: not 0 for long after a jump only.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.wall.ahead_ms.load(Ordering::Relaxed)
    }

    /// A machine whose clock has not been set yet: what the journal knows is nearer to the truth.
    pub(crate) fn not_before(&self, newest_ms: u64) {
        let now = self.now();
        if now.wall_ms < UNSET_BEFORE_MS && newest_ms > now.wall_ms {
            self.wall.offset_ms.fetch_add(signed(newest_ms - now.wall_ms), Ordering::Relaxed);
        }
    }

    /// The instant at which the monotonic clock reads `mono_ms`; `None` if it is too far away for the machine's clock.
    pub(crate) fn instant_at(&self, mono_ms: u64) -> Option<Instant> {
        // One millisecond later, so that a timer that fires on time never finds that its deadline lies a fraction ahead.
        self.start.checked_add(Duration::from_millis(mono_ms.saturating_add(1)))
    }
}

/// The offset that unix time has after another `since_ms`, given where it should be: at once if that is near, otherwise time runs at double or at half speed until it
/// is there.
fn follow(offset_ms: i64, target_ms: i64, since_ms: i64) -> i64 {
    let ahead_ms = target_ms.saturating_sub(offset_ms);
    if ahead_ms.abs() <= STEP_MS {
        target_ms
    } else if ahead_ms > 0 {
        offset_ms + ahead_ms.min(since_ms)
    } else {
        offset_ms + ahead_ms.max(-since_ms / 2)
    }
}

/// A wall clock before 1970 reads as 0.
fn system_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Unix time as the server sees it, `after` a jump of the machine's by `jump_ms`, looked at every 100 ms.
    fn run(jump_ms: i64, after_ms: i64) -> i64 {
        let mut offset_ms = 0;
        for _ in 0..after_ms / 100 {
            offset_ms = follow(offset_ms, jump_ms, 100);
        }
        after_ms + offset_ms
    }

    #[test]
    fn small_steps_are_followed_at_once_and_jumps_at_double_or_half_speed() {
        assert_eq!(run(1_900, 100), 2_000);
        assert_eq!(run(-1_900, 100), -1_800);
        // An hour ahead: after a minute two have passed, after an hour it is there.
        assert_eq!(run(HOUR, 60_000), 120_000);
        assert_eq!(run(HOUR, HOUR + 1_000), 2 * HOUR + 1_000);
        // An hour back: time goes on, at half speed, and is there after two hours.
        assert_eq!(run(-HOUR, 60_000), 30_000);
        assert_eq!(run(-HOUR, 2 * HOUR), HOUR);
        // Ten years either way expire nothing at once and freeze nothing.
        let decade = 10 * 365 * 24 * HOUR;
        assert_eq!(run(decade, 1_000), 2_000);
        assert_eq!(run(-decade, 1_000), 500);
    }

    #[test]
    fn a_moment_that_is_over_moves_nothing() {
        let mut clock = Clock::start();
        clock.start -= Duration::from_secs(10);
        clock.wall.offset_ms.fetch_sub(10_000, Ordering::Relaxed);
        let offset_ms = || clock.wall.offset_ms.load(Ordering::Relaxed);
        let before_ms = offset_ms();
        clock.at(Instant::now() - Duration::from_secs(1));
        assert!(clock.wall.looked_ms.load(Ordering::Relaxed) > 0, "it looked");
        assert!((offset_ms() - before_ms).abs() < 500, "{before_ms} {}", offset_ms());
    }

    #[test]
    fn a_clock_that_was_never_set_begins_where_the_journal_ends() {
        let clock = Clock::start();
        clock.not_before(u64::MAX / 4);
        assert!(clock.now().wall_ms < u64::MAX / 8, "a clock that is set counts");
        clock.wall.offset_ms.store(0, Ordering::Relaxed);
        clock.wall.looked_ms.store(u64::MAX / 2, Ordering::Relaxed);
        clock.not_before(UNSET_BEFORE_MS + 5);
        let wall_ms = clock.now().wall_ms;
        assert!((UNSET_BEFORE_MS..UNSET_BEFORE_MS + 10_000).contains(&wall_ms), "{wall_ms}");
    }
}
