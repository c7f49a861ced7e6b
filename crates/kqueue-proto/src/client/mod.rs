//! The client's half: requests to bytes, bytes to replies.
//!
//! Invariants
//! - What is encoded is one request: names are proven, sizes are in range, lines fit the server's.
//! - The [`ReplyDecoder`] takes exact words, plain digits and CRLF only. Anything else is a
//!   [`ReplyError`], after which the connection must be closed: where the next reply begins is not
//!   known any more.
//!
//! Must not: know which reply belongs to which request; keys are compared by the caller.

mod decode;
mod encode;
mod found;
mod reply;

pub use decode::ReplyDecoder;
pub use encode::{
    BODY_END, BrowseOptions, EncodeError, PutOptions, ack, browse, bury, capabilities, delete,
    dump_stats, flush, flush_all, get, kick, pause, purge, put, quit, release, reserve, resume,
    set, stats, status, touch, version,
};
pub use reply::{Capabilities, Reply, ReplyError, ReplyLimits};

#[cfg(test)]
mod tests;
