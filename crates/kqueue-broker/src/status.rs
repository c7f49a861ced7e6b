//! Whether the server takes puts and gives items: Kestrel's status, as an operator or a load balancer sets it.
//!
//! Invariants
//! - The status that is shown changes at once. Where the new one allows less, that is enforced only after the grace period, so that clients can go elsewhere first;
//!   until then no status that allows even less is taken.
//! - A status that allows more is enforced at once and ends a grace period.
//!
//! Must not: know files or who asks.

use core::fmt;

/// What the server may be asked to be, from the one that allows most to the one that allows least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Everything is served.
    #[default]
    Up,
    /// Everything is served, but who can choose should put elsewhere.
    WriteAvoid,
    /// Puts, flushes and deletes are refused.
    ReadOnly,
    /// Gets are refused, too; what is open can still be confirmed.
    Quiescent,
}

/// A word that is no status, or none that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// `down`: only a server that ends is that.
    Forbidden,
    /// No status has this name.
    Unknown,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::WriteAvoid, Self::ReadOnly, Self::Quiescent];

    /// The status of a name, in whatever case.
    ///
    /// # Errors
    /// [`StatusError`] if it has none that may be set.
    pub fn parse(name: &[u8]) -> Result<Self, StatusError> {
        let has_name = |status: &Self| name.eq_ignore_ascii_case(status.name().as_bytes());
        match Self::ALL.into_iter().find(has_name) {
            Some(status) => Ok(status),
            None if name.eq_ignore_ascii_case(b"down") => Err(StatusError::Forbidden),
            None => Err(StatusError::Unknown),
        }
    }

    /// Its name as Kestrel shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::WriteAvoid => "WRITEAVOID",
            Self::ReadOnly => "READONLY",
            Self::Quiescent => "QUIESCENT",
        }
    }

    /// Whether items are handed out.
    pub fn gives(self) -> bool {
        self < Self::Quiescent
    }

    /// Whether items are taken.
    pub fn takes(self) -> bool {
        self < Self::ReadOnly
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "status forbidden",
            Self::Unknown => "unknown status",
        })
    }
}

impl core::error::Error for StatusError {}

/// The status, and what is still to come of its last change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusControl {
    shown: Status,
    enforced: Status,
    /// When what is shown is enforced, on the monotonic clock.
    due_ms: Option<u64>,
    grace_ms: u64,
}

impl StatusControl {
    /// Begins with a status that is enforced at once.
    pub(crate) fn new(status: Status, grace_ms: u64) -> Self {
        Self { shown: status, enforced: status, due_ms: None, grace_ms }
    }

    /// Another status to begin with.
    pub(crate) fn begin_with(&mut self, status: Status) {
        *self = Self::new(status, self.grace_ms);
    }

    /// What clients are told.
    pub(crate) fn shown(&self) -> Status {
        self.shown
    }

    /// What holds for requests.
    pub(crate) fn enforced(&self) -> Status {
        self.enforced
    }

    /// Changes the status; false if it stays, because it is that already or a grace period runs.
    pub(crate) fn set(&mut self, now_ms: u64, status: Status) -> bool {
        if status == self.shown || (status > self.shown && self.due_ms.is_some()) {
            return false;
        }
        let is_stricter = status > self.shown;
        self.shown = status;
        if is_stricter && self.grace_ms > 0 {
            self.due_ms = Some(now_ms.saturating_add(self.grace_ms));
        } else {
            self.enforced = status;
            self.due_ms = None;
        }
        true
    }

    /// Enforces what is due.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        if self.due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.enforced = self.shown;
            self.due_ms = None;
        }
    }

    /// When [`StatusControl::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.due_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kestrels_in_any_case_and_down_is_forbidden() {
        assert_eq!(Status::parse(b"ReadOnly"), Ok(Status::ReadOnly));
        for status in Status::ALL {
            assert_eq!(Status::parse(status.name().as_bytes()), Ok(status));
        }
        assert_eq!(Status::parse(b"DOWN"), Err(StatusError::Forbidden));
        assert_eq!(Status::parse(b""), Err(StatusError::Unknown));
        assert_eq!(Status::parse(b"up "), Err(StatusError::Unknown));
    }

    #[test]
    fn without_a_grace_period_everything_is_enforced_at_once() {
        let mut control = StatusControl::new(Status::Up, 0);
        assert!(control.set(5, Status::Quiescent));
        assert_eq!((control.shown(), control.enforced()), (Status::Quiescent, Status::Quiescent));
        assert!(!control.set(5, Status::Quiescent), "it is that already");
        assert!(control.set(5, Status::Up));
        assert_eq!((control.enforced(), control.poll_timeout()), (Status::Up, None));
    }

    #[test]
    fn less_than_what_is_told_holds_at_once_although_it_is_more_than_what_is_enforced() {
        let mut control = StatusControl::new(Status::Up, 100);
        assert!(control.set(1000, Status::Quiescent));
        assert!(control.set(1050, Status::ReadOnly));
        assert_eq!((control.shown(), control.enforced()), (Status::ReadOnly, Status::ReadOnly));
        assert_eq!(control.poll_timeout(), None);
    }

    #[test]
    fn less_is_allowed_after_the_grace_period_and_more_at_once() {
        let mut control = StatusControl::new(Status::Up, 100);
        assert!(control.set(1000, Status::ReadOnly));
        assert_eq!((control.shown(), control.enforced()), (Status::ReadOnly, Status::Up));
        assert!(!control.set(1050, Status::Quiescent), "not during a grace period");
        assert_eq!(control.shown(), Status::ReadOnly);
        control.handle_timeout(1099);
        assert_eq!(control.enforced(), Status::Up);
        assert_eq!(control.poll_timeout(), Some(1100));
        control.handle_timeout(1100);
        assert_eq!((control.enforced(), control.poll_timeout()), (Status::ReadOnly, None));
        assert!(control.set(1200, Status::Quiescent));
        assert!(control.set(1200, Status::ReadOnly), "less strict than what is told: at once");
        assert_eq!((control.enforced(), control.poll_timeout()), (Status::ReadOnly, None));
        assert!(control.set(1200, Status::Quiescent));
        assert!(control.set(1201, Status::Up), "more is allowed at once");
        assert_eq!((control.enforced(), control.poll_timeout()), (Status::Up, None));
        control.handle_timeout(1400);
        assert_eq!(control.enforced(), Status::Up, "the grace period has ended with it");
    }
}
