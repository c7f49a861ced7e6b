//! The journal of KQueue: records, batches, segments, recovery.
//!
//! Owns every byte of the log's files (`docs/journal_format.md` is the specification) and all decisions about them: what is written where,
//! what is synced when, which segment may go, and after a crash what is a torn tail and what is damage. The payload of a record is opaque
//! here: a kind, some `meta` and a body.
//!
//! ```text
//!   append ──► Batch ──► poll_job ──► Job { Write, Sync, Create, … }  ──► the executor's disk
//!                           ▲                                                │
//!     progress() ◄── handle_done ◄────────────────────────────────────────────┘
//!
//!   files at start ──► Superblock::read, parse_header ──► Recovery::segment ──► RawRecord … ──► Report { gaps, next_seq }
//! ```
//!
//! Invariants
//! - A record is reported synced only after a sync that was begun after its write had ended.
//! - A segment is synced before the next one is created. One before the last durable checkpoint goes in any order, after a record that says so is synced.
//! - The superblock names a checkpoint only after that is synced to its end.
//! - What recovery delivered once it delivers again, unless it is damaged in between: a tail that was cut stays cut.
//!
//! Must not: perform I/O, read a clock, draw random numbers, know what a record means. Never panics on any bytes that it reads.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod checkpoint;
#[cfg(test)]
mod checkpoint_tests;
mod config;
mod format;
mod job;
#[cfg(test)]
mod model_tests;
mod names;
mod own;
mod recovery;
mod retire;
mod scan;
mod segments;
mod superblock;
#[cfg(test)]
mod test_disk;
mod walk;
mod writer;

pub use config::{ConfigError, WriterConfig};
pub use format::{
    HEAD_BYTES, HEADER_BYTES, HeaderError, KIND_MARKER, MAGIC, MARKER_BYTES, META_BYTES_MAX,
    SegmentHeader, VERSION, parse_header,
};
pub use job::{DiskFault, DiskOp, FaultKind, Job, JobId};
pub use names::{segment_file_name, segment_number};
pub use own::{
    IndexEntry, KIND_CHECKPOINT_END, KIND_FREED, KIND_SEGMENT, SegmentRecord, decode_number,
};
pub use recovery::{Gap, RawRecord, Recovery, RecoveryError, Report, SegmentEnd, Verdict};
pub use retire::Retire;
pub use segments::Place;
pub use superblock::{SLOT_BYTES, SUPERBLOCK_FILE, Start, SuperState, Superblock};
pub use walk::{Walk, WalkEnd, WalkedRecord};
pub use writer::{Progress, SegmentInfo, Writer};

/// The place of a record in the log: rises by one per record over the whole log and over restarts; the first record is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);
