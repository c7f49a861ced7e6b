//! Which servers to try, in which order: breaker and order as pure functions of time and random
//! numbers.
//!
//! A breaker opens at the first failure (a dead server must not cost every call), stays open for
//! the eject time, then lets one attempt
//! through; that attempt's outcome closes it or opens it again.

use crate::options::Failover;
use crate::rng::Rng;

/// The state of one server, or of pushes to it. Times are milliseconds of one monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    open_until_ms: Option<u64>,
}

impl Breaker {
    pub(crate) fn trip(&mut self, now_ms: u64, eject_ms: u64) {
        self.open_until_ms = Some(now_ms.saturating_add(eject_ms));
    }

    pub(crate) fn reset(&mut self) {
        self.open_until_ms = None;
    }

    /// True while it is to be left alone.
    pub(crate) fn is_open(&self, now_ms: u64) -> bool {
        self.open_until_ms.is_some_and(|until| now_ms < until)
    }

    /// True from the first failure until a success.
    pub(crate) fn is_tripped(&self) -> bool {
        self.open_until_ms.is_some()
    }

    /// An attempt begins: if it is the probe, no other one may follow before the next interval.
    pub(crate) fn begin_attempt(&mut self, now_ms: u64, eject_ms: u64) {
        if self.is_tripped() && !self.is_open(now_ms) {
            self.trip(now_ms, eject_ms);
        }
    }

    /// When it may be probed; `None` if it is not open.
    pub(crate) fn probe_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.open_until_ms.filter(|until| now_ms < *until)
    }
}

/// Indexes of servers in the order to try them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Believed to answer (also those whose probe is due).
    pub(crate) living: Vec<usize>,
    /// Ejected: only if no living one serves.
    pub(crate) ejected: Vec<usize>,
}

impl Order {
    pub(crate) fn new(
        count: usize,
        failover: Failover,
        rng: &mut Rng,
        is_ejected: impl Fn(usize) -> bool,
    ) -> Self {
        let (mut ejected, mut living): (Vec<_>, Vec<_>) =
            (0..count).partition(|&at| is_ejected(at));
        if failover == Failover::Random {
            rng.shuffle(&mut living);
            rng.shuffle(&mut ejected);
        }
        Self { living, ejected }
    }

    /// Living ones first, the ejected ones as the last resort.
    pub(crate) fn all(&self) -> impl Iterator<Item = usize> {
        self.living.iter().chain(&self.ejected).copied()
    }
}

/// The pause before round `round` (1 is the first retry), milliseconds: exponential, capped,
/// shortened by up to half at random.
pub(crate) fn backoff_ms(round: u32, base_ms: u64, cap_ms: u64, rng: &mut Rng) -> u64 {
    let factor = 1_u64.checked_shl(round.saturating_sub(1)).unwrap_or(u64::MAX);
    let full = base_ms.saturating_mul(factor).min(cap_ms);
    full - rng.below(full / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_lets_one_probe_through_per_interval() {
        let mut breaker = Breaker::default();
        assert!(!breaker.is_open(0) && !breaker.is_tripped());
        breaker.trip(1000, 500);
        assert!(breaker.is_open(1000) && breaker.is_open(1499) && !breaker.is_open(1500));
        assert_eq!(breaker.probe_at_ms(1200), Some(1500));
        breaker.begin_attempt(1499, 500);
        assert_eq!(breaker.probe_at_ms(1499), Some(1500), "an attempt before its time is no probe");
        breaker.begin_attempt(1600, 500);
        assert!(breaker.is_open(2099) && !breaker.is_open(2100));
        breaker.reset();
        assert!(!breaker.is_tripped());
        breaker.begin_attempt(3000, 500);
        assert!(!breaker.is_open(3000), "an attempt at a healthy server ejects nothing");
    }

    #[test]
    fn order_separates_the_ejected_and_keeps_every_server() {
        let mut rng = Rng::new(3);
        let order = Order::new(4, Failover::Ordered, &mut rng, |at| at == 1);
        assert_eq!(order, Order { living: vec![0, 2, 3], ejected: vec![1] });
        assert_eq!(order.all().collect::<Vec<_>>(), [0, 2, 3, 1]);
        let mut firsts = [0_u32; 3];
        for _ in 0..300 {
            let order = Order::new(3, Failover::Random, &mut rng, |_| false);
            firsts[order.living[0]] += 1;
            let mut sorted = order.living.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
        }
        assert!(firsts.iter().all(|&count| count > 50), "{firsts:?}");
    }

    #[test]
    fn backoff_doubles_to_its_cap_and_never_overflows() {
        let mut rng = Rng::new(9);
        for (round, full) in [(1, 10), (2, 20), (3, 40), (10, 200), (64, 200), (u32::MAX, 200)] {
            for _ in 0..50 {
                let pause = backoff_ms(round, 10, 200, &mut rng);
                assert!((full / 2..=full).contains(&pause), "{round}: {pause}");
            }
        }
        assert_eq!(backoff_ms(5, 0, 200, &mut rng), 0);
    }
}
