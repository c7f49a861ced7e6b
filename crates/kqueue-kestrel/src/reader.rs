//! One queue, read twice: which items are left, then those items.
//!
//! Invariants: an item is delivered once, in the order in which Kestrel would have delivered it; at most one body is in memory.
//! Must not: decide about an item, whether it is expired, empty or too long.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::record::{ItemHead, Record};
use crate::replay::{Finished, Oldest, Place, Replay};
use crate::source::{JournalFile, Queue};
use crate::storage::{Disk, Storage};
use crate::stream::{FileReader, Files, Step, Stream, read_error};
use crate::warning::{Anomaly, Warning, Warnings};

/// Progress is told about this often, in bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// How much older than the archive before it the newest file's first item may be. A put waits while Kestrel rotates, and has its time from before.
const WAIT_MS: i64 = 60_000;

/// An item that is left in a queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// What was put.
    pub body: Vec<u8>,
    /// When it was put, in milliseconds since 1970; for the oldest kind of record, which does not say, when its file was last written.
    pub add_time_ms: u64,
    /// When it expires, in milliseconds since 1970. It may have expired long ago.
    pub expiry_ms: Option<u64>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("body", &self.body.escape_ascii().to_string())
            .field("add_time_ms", &self.add_time_ms)
            .field("expiry_ms", &self.expiry_ms)
            .finish()
    }
}

/// What is left in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many records its files have.
    pub records: u64,
    /// How many items are left.
    pub items: u64,
    /// Length of their bodies, in bytes.
    pub body_bytes: u64,
    /// How many of the items were being read when the server ended; they come first.
    pub were_open: u64,
    /// How many of the items are empty. Kestrel puts empty items into packed journals in place of items that are gone; normally they are all
    /// gone by the end, but versions up to 2.4.1 left some, and a crash can.
    pub empty_items: u64,
}

/// The items that are left in a queue, first to last.
///
/// After an error there is nothing more.
pub struct QueueReader {
    files: Files,
    /// The last is the next to be delivered.
    front: Vec<Place>,
    /// The file that the item before lay in, while `front` lasts.
    front_reader: Option<(u32, FileReader)>,
    oldest: Stream,
    in_stream: u64,
    body_bytes_done: u64,
    summary: Summary,
    warnings: Warnings,
}

impl QueueReader {
    /// Replays a queue's files without reading bodies. `progress` is told from time to time how many bytes of [`Queue::bytes`] are done.
    ///
    /// # Errors
    /// If a file cannot be read, or changes.
    pub fn replay(queue: &Queue, progress: &mut dyn FnMut(u64)) -> Result<Self, Error> {
        Self::replay_from(Arc::new(Disk), queue, progress)
    }

    /// [`QueueReader::replay`] with files that lie somewhere else.
    ///
    /// # Errors
    /// As there.
    pub fn replay_from(
        storage: Arc<dyn Storage>,
        queue: &Queue,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, Error> {
        let files = Files { files: queue.files.as_slice().into(), storage };
        let mut newest = Stream::new(files.clone());
        let mut pass = FirstPass::new(files);
        let mut told_bytes = 0;
        while let Some(step) = newest.next()? {
            pass.step(&step)?;
            if newest.done_bytes() - told_bytes >= PROGRESS_BYTES {
                told_bytes = newest.done_bytes();
                progress(told_bytes);
            }
        }
        progress(newest.done_bytes());
        Ok(pass.finish())
    }

    /// What is left in the queue.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What is wrong with its files.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// How much of [`Summary::body_bytes`] has been delivered.
    pub fn body_bytes_done(&self) -> u64 {
        self.body_bytes_done
    }

    fn read_next(&mut self) -> Result<Option<Item>, Error> {
        if let Some(place) = self.front.pop() {
            return self.read_at(place).map(Some);
        }
        self.front_reader = None;
        if self.in_stream == 0 {
            return Ok(None);
        }
        self.in_stream -= 1;
        let (step, head) = self.oldest.next_item()?;
        let body = self.oldest.body(&head)?;
        Ok(self.files.file(step.file).map(|file| item(file, &head, body)))
    }

    fn read_at(&mut self, place: Place) -> Result<Item, Error> {
        let Some(file) = self.files.file(place.file) else { return Err(self.files.changed()) };
        let reader = match &mut self.front_reader {
            Some((index, reader)) if *index == place.file => reader,
            other => &mut other.insert((place.file, self.files.open_at(file, 0)?)).1,
        };
        reader.jump(place.at);
        let step = reader.next().map_err(|error| read_error(file, error))?;
        let head = step.and_then(|(_, record)| record.ok()?.item().copied());
        let Some(head) = head.filter(|head| head.body_len == place.body_len) else {
            return Err(Error::Changed { path: file.path.clone() });
        };
        let body = reader.body(&head).map_err(|error| read_error(file, error))?;
        Ok(item(file, &head, body))
    }
}

impl Iterator for QueueReader {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        match &next {
            Ok(Some(item)) => self.body_bytes_done += item.body.len() as u64,
            Ok(None) => {}
            Err(_) => {
                self.front.clear();
                self.in_stream = 0;
            }
        }
        next.transpose()
    }
}

impl fmt::Debug for QueueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueReader")
            .field("summary", &self.summary)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Oldest for Stream {
    type Error = Error;

    fn take(&mut self) -> Result<Place, Error> {
        let (step, head) = self.next_item()?;
        Ok(Place::new(step.file, step.at, &head))
    }
}

/// The first reading, as far as it has come.
struct FirstPass {
    files: Files,
    oldest: Stream,
    replay: Replay,
    records: u64,
    warnings: Warnings,
}

impl FirstPass {
    fn new(files: Files) -> Self {
        let oldest = Stream::new(files.clone());
        Self { files, oldest, replay: Replay::default(), records: 0, warnings: Warnings::default() }
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        if let Some(suspicion) = suspicion(&self.files.files, step) {
            self.warn(step, suspicion);
        }
        let anomaly = match &step.record {
            Ok(record) => self.replay.apply(record, &mut self.oldest)?,
            Err(broken) => {
                self.replay.interrupt();
                Some(Anomaly::Broken(*broken))
            }
        };
        self.records += u64::from(step.record.is_ok());
        if let Some(anomaly) = anomaly {
            self.warn(step, anomaly);
        }
        Ok(())
    }

    fn warn(&mut self, step: &Step, what: Anomaly) {
        let Some(file) = self.files.file(step.file) else { return };
        let bytes_lost = match what {
            Anomaly::Broken(_) => file.bytes.saturating_sub(step.at),
            _ => 0,
        };
        self.warnings.push(Warning { file: file.path.clone(), offset: step.at, bytes_lost, what });
    }

    fn finish(self) -> QueueReader {
        let Finished { front, in_stream, were_open, totals } = self.replay.finish();
        let summary = Summary {
            records: self.records,
            items: totals.items,
            body_bytes: totals.body_bytes,
            were_open,
            empty_items: totals.empty_items,
        };
        QueueReader {
            files: self.files,
            front,
            front_reader: None,
            oldest: self.oldest,
            in_stream,
            body_bytes_done: 0,
            summary,
            warnings: self.warnings,
        }
    }
}

fn item(file: &JournalFile, head: &ItemHead, body: Vec<u8>) -> Item {
    let add_time_ms = head.add_time_ms.unwrap_or(file.mtime_ms);
    Item { body, add_time_ms, expiry_ms: head.expiry_ms }
}

/// Kestrel writes a journal anew into `QUEUE.N`, then removes `QUEUE`. If it was killed between the two, both have the queue, and the newest file is
/// older than the archive.
fn suspicion(files: &[JournalFile], step: &Step) -> Option<Anomaly> {
    let [.., archive, current] = files else { return None };
    let is_first_of_current = step.at == 0 && step.file as usize == files.len() - 1;
    if !is_first_of_current || current.archived_at_ms.is_some() {
        return None;
    }
    let Ok(Record::Add { item, .. }) = &step.record else { return None };
    let added = i64::try_from(item.add_time_ms?).ok()?;
    let archived = archive.archived_at_ms?;
    (added < archived.saturating_sub(WAIT_MS)).then_some(Anomaly::OlderThanArchive)
}

#[cfg(test)]
mod tests;
