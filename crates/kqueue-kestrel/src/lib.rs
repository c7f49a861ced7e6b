//! Reads the journal directory of a Kestrel server, the one that KQueue replaces, so that its queues can be taken over.
//!
//! Owns Kestrel's file names and records, of every version from 0.8 to its last, and what is in a queue after they have been replayed. The bytes are
//! described in `record.rs`, the names in `names.rs`, the meaning in `replay.rs`.
//!
//! ```text
//!   Source::open(directory) ──► Queue { name, files in replay order } …
//!                                  │
//!   QueueReader::replay ◄──────────┘       1: every record's head, bodies are skipped
//!     │   ├─ newest: Stream ──► Replay     what each record does to the queue
//!     │   └─ oldest: Stream ──►   ▲        follows behind, and finds the items that go from the front
//!     ▼
//!   Iterator<Item = Result<Item, Error>>   2: what was open, what was returned, then the rest as it lies in the files
//! ```
//!
//! Invariants
//! - The source is only read: files are opened for reading, none is created, renamed, cut or removed. Kestrel itself does all of that when it starts.
//! - Memory grows with the items that were open or returned when the journal ended, not with the length of a queue or of its files.
//! - Nothing is allocated because a record announces it; a record that is longer than what is left of its file is a torn one.
//! - No item is dropped without a [`Warning`], expired and empty ones neither: who imports decides about those.
//!
//! Must not: write anything, read a clock, panic on any bytes, know what KQueue does with an item.

mod error;
#[cfg(test)]
mod golden_tests;
mod names;
#[cfg(test)]
mod property_tests;
mod reader;
mod record;
mod replay;
mod source;
mod storage;
mod stream;
#[cfg(test)]
mod test_journal;
mod warning;

pub use error::Error;
pub use reader::{Item, QueueReader, Summary};
pub use source::{JournalFile, Queue, SkipReason, Skipped, Source};
pub use storage::{Input, Storage};
pub use warning::{Anomaly, Broken, Warning, Warnings};
