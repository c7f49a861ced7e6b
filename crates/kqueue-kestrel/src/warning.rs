//! What is wrong with a journal, in words for the person who imports it.
//!
//! Invariants: every broken file is kept by name, and the first of all other anomalies; beyond that they are only counted.
//! Must not: decide what is wrong.

use std::fmt;
use std::path::PathBuf;

/// How many warnings are kept besides those about broken files, of which there is at most one per file.
const KEPT: u64 = 100;

/// Why a record could not be read. What follows it in the same file cannot be read either: records have no mark at which to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The file ends inside the fixed part of the record.
    CutOff,
    /// The record announces more than what is left of the file.
    PastTheEnd {
        /// What it announces, in bytes.
        size: u32,
    },
    /// The record announces less than its fixed part. Also what a tail of zeros looks like.
    SizeTooSmall {
        /// What it announces, in bytes.
        size: u32,
    },
    /// The record announces a negative length.
    NegativeSize {
        /// What it announces.
        size: i32,
    },
    /// No record begins with this byte.
    UnknownOpcode {
        /// The byte.
        opcode: u8,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the file ends inside a record"),
            Self::PastTheEnd { size } => {
                write!(f, "the file ends inside a record that announces {size} bytes")
            }
            Self::SizeTooSmall { size } => {
                write!(f, "a record announces {size} bytes, less than any record of its kind has")
            }
            Self::NegativeSize { size } => write!(f, "a record announces {size} bytes"),
            Self::UnknownOpcode { opcode } => write!(f, "no record begins with byte {opcode}"),
        }
    }
}

/// What is wrong at one place of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// The rest of the file cannot be read. At the end of the newest file this is what a crash leaves.
    Broken(Broken),
    /// An item was removed from an empty queue: an item is missing before this place, or was removed twice.
    NothingToRemove,
    /// An item was opened in an empty queue, as above.
    NothingToReserve,
    /// An item was confirmed that is not open; it may still be in the queue, and be delivered again.
    NotOpen {
        /// The number of the open read.
        xid: i32,
    },
    /// An item was opened under a number that another open item has. Both are kept, and may be delivered again.
    StillOpen {
        /// The number of the open read.
        xid: i32,
    },
    /// The newest file begins with items older than the archive before it. A Kestrel that was killed while it wrote a journal anew leaves the queue
    /// in both files; its items may come twice.
    OlderThanArchive,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => write!(f, "{broken}; the rest of the file cannot be read"),
            Self::NothingToRemove => {
                f.write_str("an item is removed, but the queue is empty; ignored")
            }
            Self::NothingToReserve => {
                f.write_str("an item is opened, but the queue is empty; ignored")
            }
            Self::NotOpen { xid } => write!(
                f,
                "open read {xid} is confirmed, but there is none; its item may be imported although it was done"
            ),
            Self::StillOpen { xid } => write!(
                f,
                "open read {xid} begins, but there is one already; the items of both are kept"
            ),
            Self::OlderThanArchive => f.write_str(
                "the file begins with items older than the archive before it; Kestrel was killed while it wrote the journal anew, and items may come twice",
            ),
        }
    }
}

/// Something wrong with a journal. Reading went on, and the source is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub file: PathBuf,
    /// Where in the file the record begins.
    pub offset: u64,
    /// How many bytes from there on could not be read.
    pub bytes_lost: u64,
    /// What is wrong.
    pub what: Anomaly,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file.display(), self.offset, self.what)?;
        match self.bytes_lost {
            0 => Ok(()),
            bytes => write!(f, " ({bytes} bytes)"),
        }
    }
}

/// What was wrong with the files of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// In the order of the files: each one about bytes that could not be read, and the first hundred others.
    pub kept: Vec<Warning>,
    /// How many there were, those that are not kept included.
    pub total: u64,
    /// How many bytes could not be read.
    pub bytes_lost: u64,
    others: u64,
}

impl Warnings {
    pub(crate) fn push(&mut self, warning: Warning) {
        self.total += 1;
        self.bytes_lost += warning.bytes_lost;
        let is_broken = matches!(warning.what, Anomaly::Broken(_));
        self.others += u64::from(!is_broken);
        if is_broken || self.others <= KEPT {
            self.kept.push(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(what: Anomaly, bytes_lost: u64) -> Warning {
        Warning { file: PathBuf::from("posts.17"), offset: 9, bytes_lost, what }
    }

    #[test]
    fn they_are_counted_for_ever_and_kept_while_there_is_room() {
        let mut warnings = Warnings::default();
        for _ in 0..KEPT + 20 {
            warnings.push(warning(Anomaly::NothingToRemove, 0));
        }
        let broken = warning(Anomaly::Broken(Broken::CutOff), 3);
        warnings.push(broken.clone());
        assert_eq!(warnings.total, KEPT + 21);
        assert_eq!(warnings.kept.len() as u64, KEPT + 1);
        assert_eq!(warnings.kept.last(), Some(&broken));
        assert_eq!(warnings.bytes_lost, 3);
    }

    #[test]
    fn they_say_where_and_how_much() {
        let broken = Anomaly::Broken(Broken::UnknownOpcode { opcode: 10 });
        assert_eq!(
            warning(broken, 3).to_string(),
            "posts.17 at byte 9: no record begins with byte 10; the rest of the file cannot be read (3 bytes)"
        );
        assert_eq!(
            warning(Anomaly::NothingToRemove, 0).to_string(),
            "posts.17 at byte 9: an item is removed, but the queue is empty; ignored"
        );
    }
}
