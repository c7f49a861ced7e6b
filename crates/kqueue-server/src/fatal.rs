//! Panics after which nobody may go on.

use std::thread;

/// A panic while the queues or the journal are being changed leaves them half changed: nothing may be served or written any more. While this lives, a panic ends the
/// process; the next start recovers from the disk.
pub(crate) struct AbortOnPanic {
    /// It came before: what runs now is the tidying up, and may well succeed.
    was_panicking: bool,
}

impl AbortOnPanic {
    pub(crate) fn new() -> Self {
        Self { was_panicking: thread::panicking() }
    }
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking {
            tracing::error!(
                "a panic left the queues or the journal half changed; ending the process so that the next start recovers from the disk"
            );
            std::process::abort();
        }
    }
}
