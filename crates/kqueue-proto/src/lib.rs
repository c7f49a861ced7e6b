//! The wire, both directions: bytes to requests and replies, requests and replies to bytes.
//!
//! Owns every byte of syntax of the memcache-style protocol (Kestrel's commands as amended in
//! `docs/protocol.md`, and its extended commands) and of Kestrel's text protocol. [`Decoder`] and [`Response`] are the server's half of the first,
//! [`client`] is the mirror image. [`TextCodec`] is the server's half of the second; nobody here
//! needs the other one.
//!
//! Invariants
//! - A decoder's answer depends on the bytes alone, never on how they were cut into reads.
//! - Memory is bounded whatever the peer sends: lines have a maximum, and a body is stored only as
//!   its bytes arrive, never allocated by the length that was announced.
//! - "Need more bytes" is `Ok(None)`, never an error.
//! - What leaves through an encoder cannot break the framing: names are proven ([`Name`]), reasons
//!   lose their control characters. An item of the text protocol is a line and nothing can be
//!   done about one that holds a line end.
//!
//! Must not: know what a queue does, read a clock, or perform I/O.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
mod codec;
mod error;
mod name;
mod number;
mod request;
mod response;
mod server;
mod text;
mod words;

pub use codec::{Codec, Encoded};
pub use error::{ClientError, Excerpt, Fatal};
pub use name::{Name, NameError, NameRef};
pub use request::{
    BadOptions, Body, Cursor, DELAY_MS_MAX, Expiry, GetOptions, ItemState, KEY_BYTES_MAX, Kick,
    Priority, Purge, REASON_BYTES_MAX, Request,
};
pub use response::{DeadCause, Fetched, Found, FoundDead, QueueInfo, Response, StatsWriter, Text};
pub use server::Decoder;
pub use text::TextCodec;

/// The longest queue name, in bytes (memcached clients refuse longer keys themselves).
pub const NAME_BYTES_MAX: usize = 250;
/// The most queues one `reserve` may name.
pub const RESERVE_QUEUES_MAX: usize = 16;
/// The largest byte count that can be announced at all; a larger one closes the connection.
pub const BODY_BYTES_MAX: u64 = i32::MAX as u64;
/// The extended commands and options this crate speaks, as listed by `capabilities`.
pub const CAPABILITY_WORDS: &str =
    "put reserve ack release touch bury browse kick purge pause resume delay priority key";

/// The bounds fed to a [`Decoder`] or another [`Codec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line in bytes, its line end not counted. Longer: fatal.
    pub line_bytes: usize,
    /// Largest body that is kept. A larger one is swallowed and reported as [`Body::TooLarge`].
    pub item_bytes: usize,
    /// Most items one `reserve` may ask for.
    pub reserve_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes: 2048, item_bytes: 1024 * 1024, reserve_max: 1000 }
    }
}
