//! What the journal asks of a disk, and how the answer comes back.
//!
//! Owns the vocabulary between the journal and whoever has files (the server's disk thread, the simulator). Must not: perform any of it.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

/// One thing to do with a file. Segments are named by number, see [`crate::segment_file_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Makes sure that so many spare files of a segment's length exist, all their blocks written (zero-filled once, or recycled) and synced, so that
    /// the next `Create` cannot fail for want of space. Spares are no part of the log. Repeatable; on a full disk there may be fewer.
    Prepare {
        /// How many.
        spares: usize,
    },
    /// Takes a spare file (or makes one, with the whole length of a segment), writes `header` at its beginning, syncs it, gives it its name, syncs the directory. In this order: a
    /// file that has a segment's name has a whole header. Repeatable after `NoSpace`, which therefore must mean that no file has the name: what fails behind that is `Io`.
    Create {
        /// Number of the segment.
        segment: u64,
        /// The first [`crate::HEADER_BYTES`] bytes of the file.
        header: Vec<u8>,
    },
    /// Writes the chunks one after the other, the first one at `offset`. Always inside the file's length.
    Write {
        /// Number of the segment.
        segment: u64,
        /// Byte in the file.
        offset: u64,
        /// What to write.
        chunks: Vec<Bytes>,
    },
    /// Overwrites one slot of the superblock and syncs it. The file has its length from the beginning. Never to be retried by the executor; always `Io` if it fails, for
    /// the segment that was created before it is there.
    WriteSuper {
        /// 0 or 1; a slot has [`crate::SLOT_BYTES`].
        slot: usize,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// `fdatasync`: everything written to the segment so far is on the disk when this ends. Never to be retried by the executor.
    Sync {
        /// Number of the segment.
        segment: u64,
    },
    /// `fdatasync` ahead of time, beside whatever else is done with the segment. Nobody relies on it; it is there so that a later [`DiskOp::Sync`] is short. It must not use
    /// up the news of a failed write that [`DiskOp::Sync`] has to bring: through a descriptor that was opened for it. `NoSpace` if that could not be had for the moment.
    Flush {
        /// Number of the segment.
        segment: u64,
    },
    /// Takes the segment out of the log: renames it to a spare or unlinks it, then syncs the directory. Repeatable: a file that is gone is no fault.
    Remove {
        /// Number of the segment.
        segment: u64,
    },
}

/// Names a job while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Operations to be done in order; the first fault ends the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// To be given to [`crate::Writer::handle_done`].
    pub id: JobId,
    /// In this order.
    pub ops: Vec<DiskOp>,
    /// Only writes into the page cache: cheap enough for the calling thread.
    pub is_write_only: bool,
    /// Changes no file that a log job touches: it may run beside log jobs, in any order to them (or among them, on the same thread).
    pub is_background: bool,
}

/// Why an operation failed, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `ENOSPC`, `EDQUOT`, and what else may pass by itself before anything was changed (no descriptor to be had): it can be tried again.
    NoSpace,
    /// Nothing is wrong, it only may not be done for the time being: of `Remove` alone, while somebody copies the segments.
    Later,
    /// Everything else.
    Io,
}

/// A failed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// What the journal has to know.
    pub kind: FaultKind,
    /// For people: operation, file, the system's words.
    pub text: String,
}
