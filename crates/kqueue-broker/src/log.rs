//! The engine's records on their way into the journal: encoding, sequence numbers, references.
//!
//! Invariant: a record's references are counted from the moment it is appended, so that its segment is never retired under it.

use alloc::vec::Vec;

use kqueue_engine::{Record, Recorder, Seq};
use kqueue_journal::Writer;

/// The journal's writer as the engine sees it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) writer: Writer,
    meta: Vec<u8>,
}

impl Log {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, meta: Vec::with_capacity(256) }
    }
}

impl Recorder for Log {
    /// Not less than what the next record will get, and more than any record has: good enough for ids that rise.
    fn next_seq(&self) -> Seq {
        Seq(self.writer.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Seq {
        self.meta.clear();
        record.encode(&mut self.meta);
        let seq = self.writer.append(record.kind(), &self.meta, record.body(), record.body_crc());
        let references = record.references();
        if references > 0 {
            let bytes = self.meta.len() + record.body().map_or(0, |body| body.len());
            self.writer.add_ref(seq, references, bytes as u64);
        }
        Seq(seq.0)
    }

    fn unref(&mut self, seq: Seq) {
        self.writer.unref(kqueue_journal::Seq(seq.0));
    }
}
