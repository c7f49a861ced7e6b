//! Gates: a reply that must not leave before its record is on disk.
//!
//! Owns the two heaps of sessions that wait for the journal, one for "written" (in the page cache: a killed process loses nothing) and one for
//! "synced" (on the disk). The lowest sequence number is on top, so that one look finds whether anybody can go. They do not come in that order: sessions that ran one after
//! the other register when all of them have run, in any order.
//! Must not know what the replies are: a session keeps its own replies, in request order.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use kqueue_engine::SessionId;
use kqueue_journal::Progress;

/// What has to be true before a reply may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing: the reply may leave at once.
    Open,
    /// The record with this sequence number has been handed to the operating system.
    Written(u64),
    /// The record with this sequence number is on the disk.
    Synced(u64),
}

impl Gate {
    /// Whether a reply behind this gate may leave, given how far the journal is.
    pub(crate) fn is_open(self, progress: &Progress) -> bool {
        match self {
            Self::Open => true,
            Self::Written(seq) => progress.written.0 >= seq,
            Self::Synced(seq) => progress.synced.0 >= seq,
        }
    }
}

type Waiting = BinaryHeap<Reverse<(u64, SessionId)>>;

/// The sessions that wait for the journal.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    written: Waiting,
    synced: Waiting,
}

impl Gates {
    /// Remembers that `session` has a reply behind `gate`.
    pub(crate) fn wait(&mut self, session: SessionId, gate: Gate) {
        match gate {
            Gate::Open => {}
            Gate::Written(seq) => self.written.push(Reverse((seq, session))),
            Gate::Synced(seq) => self.synced.push(Reverse((seq, session))),
        }
    }

    /// Takes out the next session that can go on; a poisoned journal lets everybody go (to be told so).
    pub(crate) fn pop_open(&mut self, progress: &Progress) -> Option<SessionId> {
        pop_through(&mut self.written, progress.written.0, progress.poisoned)
            .or_else(|| pop_through(&mut self.synced, progress.synced.0, progress.poisoned))
    }
}

fn pop_through(waiting: &mut Waiting, through: u64, everybody: bool) -> Option<SessionId> {
    let &Reverse((seq, session)) = waiting.peek()?;
    if seq > through && !everybody {
        return None;
    }
    waiting.pop();
    Some(session)
}

#[cfg(test)]
mod tests {
    use kqueue_journal::Seq;

    use super::*;

    fn progress(written: u64, synced: u64, poisoned: bool) -> Progress {
        Progress { written: Seq(written), synced: Seq(synced), poisoned }
    }

    #[test]
    fn sessions_go_in_order_and_not_too_early() {
        let mut gates = Gates::default();
        gates.wait(SessionId(1), Gate::Synced(5));
        gates.wait(SessionId(2), Gate::Written(4));
        gates.wait(SessionId(3), Gate::Synced(9));
        assert_eq!(gates.pop_open(&progress(3, 3, false)), None);
        assert_eq!(gates.pop_open(&progress(8, 5, false)), Some(SessionId(2)));
        assert_eq!(gates.pop_open(&progress(8, 5, false)), Some(SessionId(1)));
        assert_eq!(gates.pop_open(&progress(9, 8, false)), None);
        assert_eq!(gates.pop_open(&progress(9, 9, false)), Some(SessionId(3)));
    }

    #[test]
    fn who_registers_late_is_not_kept_by_those_whose_records_are_later() {
        let mut gates = Gates::default();
        for (session, seq) in [(1, 9), (2, 7), (3, 5)] {
            gates.wait(SessionId(session), Gate::Synced(seq));
        }
        assert_eq!(gates.pop_open(&progress(9, 7, false)), Some(SessionId(3)));
        assert_eq!(gates.pop_open(&progress(9, 7, false)), Some(SessionId(2)));
        assert_eq!(gates.pop_open(&progress(9, 8, false)), None);
        assert_eq!(gates.pop_open(&progress(9, 9, false)), Some(SessionId(1)));
    }

    #[test]
    fn poison_lets_everybody_go() {
        let mut gates = Gates::default();
        gates.wait(SessionId(1), Gate::Synced(9));
        assert_eq!(gates.pop_open(&progress(0, 0, true)), Some(SessionId(1)));
    }
}
