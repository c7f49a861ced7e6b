//! What the server's status must be, told only of the changes that were asked for and of its timer.
//!
//! Must not: look into the broker.

use kqueue_broker::Status;

/// The status, and what is still to come of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusModel {
    pub(crate) shown: Status,
    pub(crate) enforced: Status,
    /// From when on the one that is shown may be enforced, in milliseconds.
    due_ms: Option<u64>,
    grace_ms: u64,
}

impl StatusModel {
    pub(crate) fn new(status: Status, grace_ms: u64) -> Self {
        Self { shown: status, enforced: status, due_ms: None, grace_ms }
    }

    /// Somebody asked for another status; true if it changes.
    pub(crate) fn ask(&mut self, now_ms: u64, status: Status) -> bool {
        let is_in_grace = self.due_ms.is_some();
        if status == self.shown || status > self.shown && is_in_grace {
            return false;
        }
        // Less strict than what is told holds at once, also where it is stricter than what was enforced.
        let is_stricter = status > self.shown;
        self.shown = status;
        if is_stricter && self.grace_ms > 0 {
            self.due_ms = Some(now_ms + self.grace_ms);
        } else {
            (self.enforced, self.due_ms) = (status, None);
        }
        true
    }

    /// The server looked at its clock.
    pub(crate) fn timer(&mut self, now_ms: u64) {
        if self.due_ms.is_some_and(|due| due <= now_ms) {
            (self.enforced, self.due_ms) = (self.shown, None);
        }
    }
}
