//! The records of one queue's files, one after the other.
//!
//! Invariants: positions only rise; a file is read up to the length that it had when it was listed, or to its first record that cannot be read;
//! bodies are not read unless asked for.
//! Must not: know what a record does to a queue.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use crate::Error;
use crate::record::{HEAD_BYTES_MAX, ItemHead, Record, decode, head_bytes};
use crate::source::JournalFile;
use crate::storage::{Input, Storage};
use crate::warning::Broken;

const BUFFER_BYTES: usize = 64 * 1024;

/// The files of a queue, and how to open them.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) files: Arc<[JournalFile]>,
    pub(crate) storage: Arc<dyn Storage>,
}

impl Files {
    /// The file with this index; `None` behind the last one.
    pub(crate) fn file(&self, index: u32) -> Option<&JournalFile> {
        self.files.get(index as usize)
    }

    /// The error for files that read differently from the time before.
    pub(crate) fn changed(&self) -> Error {
        Error::Changed { path: self.files.last().map(|file| file.path.clone()).unwrap_or_default() }
    }

    /// Opens a file to read records from `at` on.
    pub(crate) fn open_at(&self, file: &JournalFile, at: u64) -> Result<FileReader, Error> {
        let input = self.storage.open(file).map_err(|error| read_error(file, error))?;
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        Ok(FileReader { input, bytes: file.bytes, input_at: 0, next_at: at })
    }
}

/// An end that comes too soon is no fault of the disk: the file is shorter than it was.
pub(crate) fn read_error(file: &JournalFile, source: io::Error) -> Error {
    let path = file.path.clone();
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Changed { path },
        _ => Error::Read { path, source },
    }
}

/// A record, or the place where a file cannot be read any further.
#[derive(Debug)]
pub(crate) struct Step {
    /// Index of the file.
    pub(crate) file: u32,
    /// Where in the file it begins.
    pub(crate) at: u64,
    pub(crate) record: Result<Record, Broken>,
}

/// Reads the files of a queue in their order.
pub(crate) struct Stream {
    files: Files,
    file: u32,
    reader: Option<FileReader>,
    /// Length of the files that are done.
    done_bytes: u64,
}

impl Stream {
    pub(crate) fn new(files: Files) -> Self {
        Self { files, file: 0, reader: None, done_bytes: 0 }
    }

    /// The next record, or what stands in its place; `None` behind the last file.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, Error> {
        while let Some(file) = self.files.file(self.file) {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                empty => empty.insert(self.files.open_at(file, 0)?),
            };
            if let Some((at, record)) = reader.next().map_err(|error| read_error(file, error))? {
                return Ok(Some(Step { file: self.file, at, record }));
            }
            self.done_bytes += file.bytes;
            self.reader = None;
            self.file += 1;
        }
        Ok(None)
    }

    /// The next item, wherever it is. There must be one, as an earlier reading of the same files has shown.
    pub(crate) fn next_item(&mut self) -> Result<(Step, ItemHead), Error> {
        while let Some(step) = self.next()? {
            if let Some(item) = step.record.as_ref().ok().and_then(Record::item).copied() {
                return Ok((step, item));
            }
        }
        Err(self.files.changed())
    }

    /// The body of the item whose record [`Stream::next`] has just returned.
    pub(crate) fn body(&mut self, item: &ItemHead) -> Result<Vec<u8>, Error> {
        match (self.files.file(self.file), &mut self.reader) {
            (Some(file), Some(reader)) => {
                reader.body(item).map_err(|error| read_error(file, error))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// How far the files have been read, in bytes of all of them.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done_bytes + self.reader.as_ref().map_or(0, |reader| reader.next_at)
    }
}

/// Reads the records of one file.
pub(crate) struct FileReader {
    input: BufReader<Box<dyn Input>>,
    bytes: u64,
    /// Where `input` is.
    input_at: u64,
    /// Where the next record begins.
    next_at: u64,
}

impl FileReader {
    /// Goes to the record at `at`.
    pub(crate) fn jump(&mut self, at: u64) {
        self.next_at = at;
    }

    /// The next record and where it begins; `None` at the end of the file, and after a record that cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Result<Record, Broken>)>> {
        let at = self.next_at;
        let Some(remaining) = self.bytes.checked_sub(at).filter(|&remaining| remaining > 0) else {
            return Ok(None);
        };
        self.go_to(at)?;
        let mut head = [0; HEAD_BYTES_MAX];
        self.read(&mut head[..1])?;
        let wanted = head_bytes(head[0]).min(usize::try_from(remaining).unwrap_or(usize::MAX));
        self.read(&mut head[1..wanted])?;
        let record = decode(&head[..wanted], remaining);
        self.next_at = record.as_ref().map_or(self.bytes, |record| at + record.bytes());
        Ok(Some((at, record)))
    }

    /// The body of the item whose record [`FileReader::next`] has just returned.
    pub(crate) fn body(&mut self, item: &ItemHead) -> io::Result<Vec<u8>> {
        let body_len = item.body_len as usize;
        // Room for what is announced only as far as it costs nothing; beyond that it grows with what is really there.
        let mut body = Vec::with_capacity(body_len.min(BUFFER_BYTES));
        self.input.by_ref().take(u64::from(item.body_len)).read_to_end(&mut body)?;
        self.input_at += body.len() as u64;
        if body.len() < body_len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes)?;
        self.input_at += bytes.len() as u64;
        Ok(())
    }

    /// Stays inside the buffer if it can: most bodies are short.
    fn go_to(&mut self, at: u64) -> io::Result<()> {
        let distance = i64::try_from(i128::from(at) - i128::from(self.input_at))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        if distance != 0 {
            self.input.seek_relative(distance)?;
            self.input_at = at;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
