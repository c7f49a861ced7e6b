//! The one family of errors of this crate, by what the caller does next.
//!
//! A message always says which operation on which queue failed, at which server and in which phase,
//! and where there is something to do about it,
//! what. Nothing here decides anything: retry and failover read the private [`crate::link::Fault`]
//! instead.

use std::fmt;

/// What went wrong, as far as the caller's next step depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No server could be reached, or the connection broke: try again later.
    Connection,
    /// The deadline passed.
    Timeout,
    /// A server refused: read the message.
    Server,
    /// Queue full, disk full or server read-only: slow down.
    Full,
    /// Credentials or rights.
    Auth,
    /// The item is no longer ours: stop working on it.
    Lost,
    /// The peer does not speak the protocol; the connection was closed.
    Protocol,
    /// The caller's argument is wrong; nothing was sent.
    InvalidArgument,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    outcome_unknown: bool,
}

impl Error {
    /// An error whose outcome is known: the request had no effect.
    #[must_use]
    pub fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, outcome_unknown: false }
    }

    /// Marks that a server may have carried out the request although the call failed.
    #[must_use]
    pub(crate) fn with_unknown_outcome(mut self, unknown: bool) -> Self {
        self.outcome_unknown |= unknown;
        self
    }

    /// What the caller should do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One line of text for people. Bytes of a server's answer are escaped in it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// True if the request was sent and never answered: for a push, the item may be stored; for an
    /// ack, it may be gone.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }
}

/// What kqueue-server says where room is what is missing.
pub(crate) fn is_about_room(text: &str) -> bool {
    text.starts_with("out of ") || text.starts_with("too many ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Some of many items were not stored.
#[derive(Debug)]
pub struct PushError<K> {
    /// The caller's keys with the ids of what is stored.
    pub stored: Vec<(K, String)>,
    /// The caller's keys of what is not known to be stored, in the caller's order. If
    /// `source.outcome_unknown()`, some of them may be.
    pub failed: Vec<K>,
    /// Why.
    pub source: Error,
}

impl<K> fmt::Display for PushError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stored, failed) = (self.stored.len(), self.failed.len());
        write!(f, "{failed} of {} items were not stored: {}", stored + failed, self.source)
    }
}

impl<K: fmt::Debug> std::error::Error for PushError<K> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
