//! How many connections the system's limit of open files has room for.
//!
//! Invariant: the journal always gets the descriptors that it needs, because connections never take the last ones. Must not: count connections.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are kept for the journal: segments that are written, read and made, the directory, copies of what is damaged; and for connections on their way to
/// being refused.
const KEPT: u64 = 24;

/// Raises the limit of open files as far as that is permitted, and says how many connections there may be: `wanted`, or as many as the limit has room for.
/// Everything else that stays open must be open already, but for so many `others` that come and go.
pub(crate) fn room_for_connections(wanted: usize, others: usize) -> usize {
    let limit = raise_limit();
    let open = fs::read_dir("/proc/self/fd").map_or(KEPT, |entries| entries.count() as u64);
    let open = open.saturating_add(others as u64);
    let room = room(limit, open, wanted);
    if room < wanted {
        warn!(
            "no more than {room} connections are accepted, not max_connections = {wanted}: {} open files are permitted, and {} are needed for that; raise the limit (LimitNOFILE=, ulimit -n)",
            limit.unwrap_or(u64::MAX),
            wanted as u64 + open + KEPT,
        );
    }
    room
}

fn room(limit: Option<u64>, open: u64, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let room = limit.saturating_sub(open.saturating_add(KEPT)).max(1);
    usize::try_from(room).unwrap_or(usize::MAX).min(wanted)
}

/// The limit that holds then; `None`: there is none.
fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        return maximum;
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_journal() {
        assert_eq!(room(None, 20, 10_000), 10_000);
        assert_eq!(room(Some(1_000_000), 20, 10_000), 10_000);
        assert_eq!(room(Some(1024), 20, 10_000), 1024 - 20 - 24);
        assert_eq!(room(Some(30), 20, 10_000), 1, "one at least");
    }
}
