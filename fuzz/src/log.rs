//! A log in memory, made by the journal's own writer as the input says.

use bytes::Bytes;
use kqueue_journal::{DiskOp, Writer};

use crate::bytes_in::BytesIn;
use crate::world::{Files, sizes};

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) seq: u64,
    pub(crate) kind: u8,
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// A place that was written in one go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Write {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    pub(crate) fn covers(&self, place: u64) -> bool {
        (self.offset..self.end()).contains(&place)
    }
}

/// See the module's description.
pub(crate) struct Log {
    writer: Writer,
    pub(crate) files: Files,
    pub(crate) writes: Vec<Write>,
    pub(crate) appended: Vec<Appended>,
}

/// The journal's own kinds begin here.
const KINDS: u8 = 252;

impl Log {
    pub(crate) fn new() -> Self {
        let writer = Writer::new(sizes(), 7).expect("sound sizes");
        Self { writer, files: Files::new(), writes: Vec::new(), appended: Vec::new() }
    }

    /// Appends a record: kind, length of `meta` (one byte), of the body (two bytes: a filler), `meta`.
    pub(crate) fn append(&mut self, input: &mut BytesIn<'_>) {
        let kind = input.byte() % KINDS;
        let meta_bytes = usize::from(input.byte());
        let body_bytes = input.short() % 4096;
        let meta = input.take(meta_bytes).to_vec();
        let body: Vec<u8> =
            (0..body_bytes).map(|at| (at * 31 + self.appended.len()) as u8).collect();
        let shared = Bytes::from(body.clone());
        let shared = (body_bytes > 0).then_some(&shared);
        let seq = self.writer.append(kind, &meta, shared, crc32fast::hash(&body)).0;
        self.appended.push(Appended { seq, kind, meta, body });
    }

    pub(crate) fn sync(&mut self) {
        self.writer.require_sync(0, 0);
        self.write();
    }

    pub(crate) fn write(&mut self) {
        while let Some(job) = self.writer.poll_job(0) {
            for op in &job.ops {
                self.files.apply(op);
                if let DiskOp::Write { segment, offset, chunks } = op {
                    let bytes = chunks.iter().map(Bytes::len).sum::<usize>() as u64;
                    self.writes.push(Write { segment: *segment, offset: *offset, bytes });
                }
            }
            self.writer.handle_done(0, job.id, Ok(()));
        }
    }

    pub(crate) fn begin_checkpoint(&mut self) {
        self.writer.begin_checkpoint();
        let mut from = Some(0);
        while let Some(number) = from {
            from = self.writer.checkpoint_segments(number);
        }
    }

    pub(crate) fn end_checkpoint(&mut self) {
        self.writer.end_checkpoint();
    }
}
