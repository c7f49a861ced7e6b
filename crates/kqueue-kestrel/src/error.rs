//! Why a source cannot be read at all.

use std::io;
use std::path::PathBuf;

/// Why reading ended. The source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be listed.
    #[error("cannot list the Kestrel journal directory {path}: {source}")]
    List {
        /// The directory, or the file in it that cannot be looked at.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be opened or read.
    #[error(
        "cannot read the Kestrel journal {path}: {source}. Nothing was changed; make it readable, or move it away to do without it, and import again"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it was when the directory was listed.
    #[error(
        "the Kestrel journal {path} changes while it is read. Stop the Kestrel server that writes it, and import again"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
}
