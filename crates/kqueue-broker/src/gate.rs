//! Gates: a reply that must not leave before its record is on disk.
//!
//! Owns the two lists of sessions that wait for the journal, one for "written" (in the page cache: a killed process loses nothing) and one for
//! "synced" (on the disk). Invariant: both lists are in rising order of sequence number, so that one look at the front finds everybody who can go.
//! Must not know what the replies are: a session keeps its own replies, in request order.

use alloc::collections::VecDeque;

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

/// The sessions that wait for the journal.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    written: VecDeque<(u64, SessionId)>,
    synced: VecDeque<(u64, SessionId)>,
}

impl Gates {
    /// Remembers that `session` has a reply behind `gate`.
    pub(crate) fn wait(&mut self, session: SessionId, gate: Gate) {
        match gate {
            Gate::Open => {}
            Gate::Written(seq) => push_rising(&mut self.written, seq, session),
            Gate::Synced(seq) => push_rising(&mut self.synced, seq, session),
        }
    }

    /// Takes out the next session that can go on; a poisoned journal lets everybody go (to be told so).
    pub(crate) fn pop_open(&mut self, progress: &Progress) -> Option<SessionId> {
        pop_through(&mut self.written, progress.written.0, progress.poisoned)
            .or_else(|| pop_through(&mut self.synced, progress.synced.0, progress.poisoned))
    }
}

/// Keeps the list rising even if a reply refers to an older record: it then waits a little longer than it must, never shorter.
fn push_rising(list: &mut VecDeque<(u64, SessionId)>, seq: u64, session: SessionId) {
    let seq = list.back().map_or(seq, |&(last, _)| last.max(seq));
    list.push_back((seq, session));
}

fn pop_through(
    list: &mut VecDeque<(u64, SessionId)>,
    through: u64,
    everybody: bool,
) -> Option<SessionId> {
    let &(seq, session) = list.front()?;
    if seq > through && !everybody {
        return None;
    }
    list.pop_front();
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
    fn an_older_record_never_overtakes() {
        let mut gates = Gates::default();
        gates.wait(SessionId(1), Gate::Synced(9));
        gates.wait(SessionId(2), Gate::Synced(5));
        assert_eq!(gates.pop_open(&progress(9, 8, false)), None);
        assert_eq!(gates.pop_open(&progress(9, 9, false)), Some(SessionId(1)));
        assert_eq!(gates.pop_open(&progress(9, 9, false)), Some(SessionId(2)));
    }

    #[test]
    fn poison_lets_everybody_go() {
        let mut gates = Gates::default();
        gates.wait(SessionId(1), Gate::Synced(9));
        assert_eq!(gates.pop_open(&progress(0, 0, true)), Some(SessionId(1)));
    }
}
