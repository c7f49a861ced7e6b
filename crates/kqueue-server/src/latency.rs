//! How long things took: histograms of what the connections and the disk measured.
//!
//! Invariant: memory does not grow with what is recorded. Must not: read clocks.

use std::time::Duration;

use hdrhistogram::Histogram;
use kqueue_broker::{Session, Timed, Timing};
use parking_lot::Mutex;

/// Longer is recorded as this: an item that waited for a month, in microseconds.
const MAX_US: u64 = 30 * 24 * 3600 * 1_000_000;
/// Two significant figures: the error is below one percent.
const FIGURES: u8 = 2;

/// All histograms, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histograms {
    /// Puts, from their last byte to the reply.
    pub(crate) put: Histogram<u64>,
    /// Those of them whose reply waited for the disk.
    pub(crate) synced_put: Histogram<u64>,
    /// Reads that found an item at once.
    pub(crate) get_hit: Histogram<u64>,
    /// Reads that found nothing at once.
    pub(crate) get_miss: Histogram<u64>,
    /// Reads that waited.
    pub(crate) get_wait: Histogram<u64>,
    /// Age of items when they were handed out.
    pub(crate) delivery: Histogram<u64>,
    /// Jobs of the journal that sync.
    pub(crate) sync: Histogram<u64>,
}

impl Histograms {
    fn record(&mut self, Timing { what, us }: Timing) {
        match what {
            Timed::Put => self.put.saturating_record(us),
            Timed::SyncedPut => {
                self.put.saturating_record(us);
                self.synced_put.saturating_record(us);
            }
            Timed::GetHit => self.get_hit.saturating_record(us),
            Timed::GetMiss => self.get_miss.saturating_record(us),
            Timed::GetWait => self.get_wait.saturating_record(us),
            Timed::Delivery => self.delivery.saturating_record(us),
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Latencies(Mutex<Histograms>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let new = || {
            Histogram::new_with_max(MAX_US, FIGURES).expect("the bounds of a histogram are sound")
        };
        Self(Mutex::new(Histograms {
            put: new(),
            synced_put: new(),
            get_hit: new(),
            get_miss: new(),
            get_wait: new(),
            delivery: new(),
            sync: new(),
        }))
    }

    /// Records what a session measured.
    pub(crate) fn note(&self, timings: impl Iterator<Item = Timing>) {
        let mut timings = timings.peekable();
        if timings.peek().is_none() {
            return;
        }
        let mut all = self.0.lock();
        timings.for_each(|timing| all.record(timing));
    }

    /// The same, unless somebody else is recording: then it is kept in the session for the next time. Nobody waits for that.
    pub(crate) fn note_if_free(&self, session: &mut Session) {
        if session.has_timings()
            && let Some(mut all) = self.0.try_lock()
        {
            session.take_timings().for_each(|timing| all.record(timing));
        }
    }

    /// Records how long a job of the journal took that syncs.
    pub(crate) fn note_sync(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.lock().sync.saturating_record(us);
    }

    /// What was recorded so far.
    pub(crate) fn snapshot(&self) -> Histograms {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_in_its_histogram_and_only_there() {
        let latencies = Latencies::new();
        let timing = |what, us| Timing { what, us };
        latencies.note([timing(Timed::SyncedPut, 300), timing(Timed::GetHit, 7)].into_iter());
        latencies.note([timing(Timed::Put, u64::MAX)].into_iter());
        latencies.note_sync(Duration::from_millis(2));
        let all = latencies.snapshot();
        assert_eq!((all.put.len(), all.synced_put.len(), all.get_hit.len()), (2, 1, 1));
        assert_eq!((all.get_miss.len(), all.get_wait.len(), all.delivery.len()), (0, 0, 0));
        assert_eq!(all.sync.len(), 1);
        assert!(all.put.max() >= MAX_US, "what is longer than anything is recorded all the same");
        assert_eq!(all.get_hit.max(), 7);
    }
}
