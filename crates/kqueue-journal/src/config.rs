//! Sizes of the log, and which of them cannot work.
//!
//! Must not: know defaults; those belong to whoever reads the configuration file.

use core::fmt;

use crate::format::{HEAD_BYTES, HEADER_BYTES, MARKER_BYTES};

/// What a record costs besides its `meta` and body: its head and, if it is alone in its batch, a marker.
pub(crate) const OVERHEAD_BYTES: u64 = (HEAD_BYTES + MARKER_BYTES) as u64;
/// At most this much at the end of a segment is kept for removals.
const RESERVE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Sizes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterConfig {
    /// Length of a segment's file; at least 64 KiB.
    pub segment_bytes: u64,
    /// Above this total length old segments are emptied by appending again what is alive in them.
    pub log_cap_bytes: u64,
    /// Largest `meta` plus body of a new record; must fit into a segment.
    pub max_record_bytes: u64,
    /// Where nothing else syncs, the disk is given so much at a time, so that the sync at the end of a segment has little left to do.
    pub flush_bytes: u64,
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The segment is too small for the largest record.
    SegmentTooSmall {
        /// The least that would do, in bytes.
        needed_bytes: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::SegmentTooSmall { needed_bytes } = self;
        write!(f, "a segment must have at least {needed_bytes} bytes to hold the largest item")
    }
}

impl core::error::Error for ConfigError {}

impl WriterConfig {
    /// Smallest segment that makes sense, in bytes.
    pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

    /// Checks that the largest record fits into a segment.
    ///
    /// # Errors
    /// [`ConfigError::SegmentTooSmall`] with the least length that would do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let content = HEADER_BYTES as u64 + OVERHEAD_BYTES;
        let content = content.saturating_add(self.max_record_bytes);
        // The reserve is at most a fifteenth of the rest, and at most its own maximum.
        let needed_bytes = content.saturating_add((content / 15 + 1).min(RESERVE_BYTES_MAX));
        let needed_bytes = needed_bytes.max(Self::SEGMENT_BYTES_MIN);
        if self.segment_bytes < needed_bytes {
            return Err(ConfigError::SegmentTooSmall { needed_bytes });
        }
        Ok(())
    }

    /// What is kept free at the end of a segment while further segments can be had, so that removals have a place when they cannot.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        (self.segment_bytes / 16).min(RESERVE_BYTES_MAX)
    }

    /// What a segment has for batches in normal times.
    pub(crate) fn usable_bytes(&self) -> u64 {
        self.segment_bytes - HEADER_BYTES as u64 - self.reserve_bytes()
    }

    /// The longest `meta` plus body that a segment has room for.
    pub(crate) fn record_room_bytes(&self) -> u64 {
        self.usable_bytes() - OVERHEAD_BYTES
    }
}
