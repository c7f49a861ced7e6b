//! What is measured of requests, for whoever shows it. Must not: read a clock, or keep what was measured.

/// What a measurement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timed {
    /// A put, from its last byte to its reply.
    Put,
    /// The same, where the reply waited for the disk.
    SyncedPut,
    /// A read that found an item at once, from the request to the reply.
    GetHit,
    /// A read that found nothing and did not want to wait.
    GetMiss,
    /// A read that waited, with or without success.
    GetWait,
    /// How long an item was in its queue before it was handed out.
    Delivery,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Of what.
    pub what: Timed,
    /// Microseconds.
    pub us: u64,
}
