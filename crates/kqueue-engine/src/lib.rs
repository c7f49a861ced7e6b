//! The queues of KQueue: a deterministic state machine.
//!
//! Owns queues, items, open reads, waiters, leases, fanout, expiry and limits. Every call has either fully happened or not at all, takes the present moment as an
//! argument, writes what must survive a restart to a [`Recorder`], and never fails half-way.
//!
//! ```text
//!              put                    take (open)                 close / ack
//!   (nothing) ─────► ready, in id order ─────────► open, by session ─────────► gone
//!                     ▲      │ take, expiry, flush,      │
//!                     │      │ discard, delete           │ abort, release, lease end, disconnect
//!                     │      └──────────► gone           │
//!                     └──────────────────────────────────┘
//! ```
//!
//! Calls come in four classes: commands (`put`, `take`, `ack`, …) change the queues; `handle_*` reports that a session ended or time passed; `poll_*` gives what
//! came of it; `replay`, `rerecord` connect it with the log.
//!
//! Must not: know the wire, files, clocks, randomness, or how records are stored.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod admin;
mod again;
mod alias;
mod browse;
mod checkpoint;
mod cold;
mod config;
mod engine;
mod expiry;
mod extra;
mod held;
mod keys;
mod lanes;
mod load;
mod look;
mod queue;
mod record;
mod replay;
mod stats;
mod take;
#[cfg(test)]
mod tests;
mod types;
mod varint;
mod waiting;

pub use again::Moves;
pub use alias::AliasStats;
pub use browse::{ItemState, Seen, WalkNext, WalkPlace, Walked};
pub use config::{ConfigTable, Destinations, QueueConfig, QueueOverrides, SyncPolicy};
pub use engine::{Engine, EngineCounters, EngineLimits};
pub use extra::{Extra, KeyHash, Lane, Origin};
pub use look::{Contents, OnDisk, Stretch};
pub use queue::QueueCounters;
pub use record::{
    MovedFrom, PutBuf, PutRecord, Reason, Record, RecordBuf, RecordError, Recorded, Recorder,
};
pub use replay::BadState;
pub use stats::{QueueStats, Totals};
pub use types::{
    Delivery, ItemId, Items, LoadRequest, Loaded, Mode, Now, Priority, PutArgs, PutOutcome,
    QueueNo, Refusal, Seq, SessionId, Settled, TakeArgs, TakeOutcome, Taken,
};
