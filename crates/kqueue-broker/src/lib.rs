//! Protocol, engine and journal composed: requests and time in, replies and disk jobs out.
//!
//! ```text
//!   bytes ─► Session::feed ─► Broker::execute ─► Session::encode ─► bytes
//!                                │      ▲
//!                   poll_job ◄───┘      └─── handle_done, handle_timeout, handle_disconnect
//! ```
//!
//! A [`Session`] belongs to a connection: it decodes and encodes without the lock that protects the [`Broker`]. The server and the simulator drive exactly
//! these two, so what is simulated is what runs.
//!
//! Must not: perform I/O, read a clock, draw random numbers; know sockets, files or threads.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod admin;
mod boot;
mod broker;
mod execute;
mod extended;
mod gate;
mod handles;
#[cfg(test)]
mod kestrel_tests;
mod log;
mod look;
mod output;
mod read;
mod retire;
mod session;
mod stats;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod timing;
mod walk;

pub use admin::Ask;
pub use boot::{Boot, BootError, Booted, Rest, Survey};
pub use broker::{Broker, BrokerConfig, Damage};
pub use kqueue_engine::{
    AliasStats, ConfigTable, Destinations, EngineLimits, Extra, ItemId, Lane, Loaded, Now, Origin,
    Priority, QueueConfig, QueueNo, QueueOverrides, QueueStats, Reason, RecordBuf, Seq, SessionId,
    SyncPolicy, Totals,
};
pub use kqueue_journal::Seq as RecordSeq;
pub use kqueue_journal::{
    ConfigError, DiskFault, DiskOp, FaultKind, Gap, HEADER_BYTES, HeaderError, Job, JobId,
    Progress, RawRecord, Recovery, RecoveryError, Report, SLOT_BYTES, SUPERBLOCK_FILE,
    SegmentHeader, Start, SuperState, Superblock, VERSION, Verdict, WriterConfig, parse_header,
    segment_file_name, segment_number,
};
pub use kqueue_proto::{
    Body, ClientError, Codec, Decoder, Encoded, Expiry, Fatal, Fetched, Limits, Name, QueueInfo,
    Request, Response, TextCodec,
};
pub use look::{Look, LookStep, QueueSize};
pub use output::Output;
pub use read::{BadPlace, Load, SegmentRead};
pub use retire::{Checkpoint, RetireStep, Retirement};
pub use session::{Access, Session};
pub use stats::ServerStats;
pub use status::{Status, StatusError};
pub use timing::{Timed, Timing};
