//! Where the bytes of the files come from; the only place that opens one.
//!
//! Must not: open anything for writing.

use std::fs::File;
use std::io::{self, Read, Seek};

use crate::source::JournalFile;

/// An open file.
pub trait Input: Read + Seek + Send {}

impl<T: Read + Seek + Send> Input for T {}

/// Something that has files: a disk, or a test's memory.
pub trait Storage: Send + Sync {
    /// Opens a file for reading, at its beginning.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, file: &JournalFile) -> io::Result<Box<dyn Input>>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct Disk;

impl Storage for Disk {
    fn open(&self, file: &JournalFile) -> io::Result<Box<dyn Input>> {
        Ok(Box::new(File::open(&file.path)?))
    }
}
