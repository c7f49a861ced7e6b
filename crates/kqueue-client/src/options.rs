//! What the caller may tune, with the defaults of the ini settings.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What to do with a push whose outcome is unknown: sent, and never answered.
/// `docs/decisions/0003-retry-modes.md` has the reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetryMode {
    /// The push reaches a living server if there is one (at least once): sent again to *other*
    /// servers, and to the same one only after its
    /// connection broke, never after it kept silent (it may be slow, and store both).
    #[default]
    Safe,
    /// Sent again anywhere, also to a server that kept silent.
    Always,
    /// Nothing is sent twice (at most once): an unknown outcome is an error.
    Never,
}

/// The order in which living servers are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Failover {
    /// A new random order for each call: spreads the load.
    #[default]
    Random,
    /// As given: the first living server gets everything.
    Ordered,
}

/// Settings of one [`crate::Cluster`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Limit for one connect.
    pub connect_timeout: Duration,
    /// Limit for one call, connects and retries included; pop and reserve add the time they were
    /// asked to wait.
    pub timeout: Duration,
    /// Further rounds over the servers after a round in which none answered.
    pub retries: u32,
    /// What to do when a push was sent and not answered.
    pub retry_mode: RetryMode,
    /// The pause before the second round; doubles each round, and is shortened by up to half at
    /// random.
    pub backoff_base: Duration,
    /// The longest pause between two rounds.
    pub backoff_cap: Duration,
    /// The order in which servers are tried.
    pub failover: Failover,
    /// How long a dead server is left alone; then one call probes it.
    pub eject_time: Duration,
    /// True: idle connections outlive the [`crate::Cluster`] and are shared by all of this process
    /// with the same servers and `persistent_id`.
    pub persistent: bool,
    /// Separates pools: connections are shared only between equal ones.
    pub persistent_id: String,
    /// Idle connections older than this are closed.
    pub max_idle: Duration,
    /// Idle connections kept per server.
    pub pool_max_connections: usize,
    /// The longest body accepted from a server, bytes.
    pub max_body_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            retries: 2,
            retry_mode: RetryMode::Safe,
            backoff_base: Duration::from_millis(10),
            backoff_cap: Duration::from_millis(200),
            failover: Failover::Random,
            eject_time: Duration::from_secs(10),
            persistent: true,
            persistent_id: String::new(),
            max_idle: Duration::from_secs(60),
            pool_max_connections: 8,
            max_body_bytes: 128 << 20,
        }
    }
}

/// The longest accepted duration: far beyond any use, and far below where clock arithmetic
/// overflows.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Options {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::new(ErrorKind::InvalidArgument, text.to_owned()));
        if self.connect_timeout.is_zero() || self.timeout.is_zero() {
            return invalid("connect_timeout and timeout must be greater than 0");
        }
        for (name, value) in [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("backoff_base", self.backoff_base),
            ("backoff_cap", self.backoff_cap),
            ("eject_time", self.eject_time),
            ("max_idle", self.max_idle),
        ] {
            if value > LONGEST {
                return invalid(&format!("{name} must be at most one year"));
            }
        }
        if self.retries > 100 {
            return invalid("retries must be at most 100");
        }
        Ok(())
    }
}
