//! Writes journals as Kestrel does, byte by byte, and keeps files in memory.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use crate::names::{self, FileName, Role};
use crate::{Input, JournalFile, Queue, QueueReader, Storage};

/// When everything in the tests was added, unless something else is said.
pub(crate) const ADDED: i64 = 1_355_345_045_123;
/// When every file in memory was last written.
pub(crate) const MTIME: u64 = 1_400_000_000_000;

/// A journal; each function appends a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(pub(crate) Vec<u8>);

impl Journal {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn with_xid(self, opcode: u8, xid: i32) -> Self {
        self.raw(&[opcode]).raw(&xid.to_le_bytes())
    }

    fn block(self, added: i64, expiry: i64, body: &[u8]) -> Self {
        let size = i32::try_from(body.len() + 16).unwrap();
        self.raw(&size.to_le_bytes()).raw(&added.to_le_bytes()).raw(&expiry.to_le_bytes()).raw(body)
    }

    /// 0 ADD
    pub(crate) fn starling(self, expiry_s: i32, body: &str) -> Self {
        let size = i32::try_from(body.len() + 4).unwrap();
        self.raw(&[0]).raw(&size.to_le_bytes()).raw(&expiry_s.to_le_bytes()).raw(body.as_bytes())
    }

    /// 1 REMOVE
    pub(crate) fn remove(self) -> Self {
        self.raw(&[1])
    }

    /// 2 ADDX
    pub(crate) fn add(self, body: &str) -> Self {
        self.add_at(ADDED, 0, body)
    }

    /// 2 ADDX
    pub(crate) fn add_at(self, added: i64, expiry: i64, body: &str) -> Self {
        self.raw(&[2]).block(added, expiry, body.as_bytes())
    }

    /// 3 REMOVE_TENTATIVE
    pub(crate) fn tentative_legacy(self) -> Self {
        self.raw(&[3])
    }

    /// 4 SAVE_XID
    pub(crate) fn save_xid(self, xid: i32) -> Self {
        self.with_xid(4, xid)
    }

    /// 5 UNREMOVE
    pub(crate) fn unremove(self, xid: i32) -> Self {
        self.with_xid(5, xid)
    }

    /// 6 CONFIRM_REMOVE
    pub(crate) fn confirm(self, xid: i32) -> Self {
        self.with_xid(6, xid)
    }

    /// 7 ADD_XID
    pub(crate) fn add_xid(self, xid: i32, body: &str) -> Self {
        self.with_xid(7, xid).block(ADDED, 0, body.as_bytes())
    }

    /// 8 CONTINUE
    pub(crate) fn continued(self, xid: i32, body: &str) -> Self {
        self.with_xid(8, xid).block(ADDED, 0, body.as_bytes())
    }

    /// 9 REMOVE_TENTATIVE_XID
    pub(crate) fn tentative(self, xid: i32) -> Self {
        self.with_xid(9, xid)
    }

    /// All but the last bytes.
    pub(crate) fn without_last(mut self, bytes: usize) -> Self {
        self.0.truncate(self.0.len() - bytes);
        self
    }
}

/// Files in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Storage for Memory {
    fn open(&self, file: &JournalFile) -> io::Result<Box<dyn Input>> {
        let bytes = self.0.get(&file.path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }
}

/// A queue of these files, which have to be in the order of their replay.
pub(crate) fn in_memory(files: &[(&str, Vec<u8>)]) -> (Arc<Memory>, Queue) {
    let mut queue = Queue { name: b"q".to_vec(), files: Vec::new() };
    let mut memory = Memory::default();
    for (name, bytes) in files {
        let archived_at_ms = match names::parse(name.as_bytes()) {
            FileName::Journal { role: Role::Archive(number) | Role::Pack(number), .. } => {
                Some(number)
            }
            _ => None,
        };
        let path = PathBuf::from(name);
        let length = bytes.len() as u64;
        let file =
            JournalFile { path: path.clone(), bytes: length, mtime_ms: MTIME, archived_at_ms };
        queue.files.push(file);
        memory.0.insert(path, bytes.clone());
    }
    (Arc::new(memory), queue)
}

/// Replays files that lie in memory.
pub(crate) fn replay(files: &[(&str, Vec<u8>)]) -> QueueReader {
    let (memory, queue) = in_memory(files);
    QueueReader::replay_from(memory, &queue, &mut |_| {}).unwrap()
}

/// Replays one file.
pub(crate) fn replay_one(journal: Journal) -> QueueReader {
    replay(&[("q", journal.0)])
}

/// The bodies that are left, as text.
pub(crate) fn bodies(reader: &mut QueueReader) -> Vec<String> {
    reader.map(|item| String::from_utf8(item.unwrap().body).unwrap()).collect()
}
