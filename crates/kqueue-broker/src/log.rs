//! The engine's records on their way into the journal: encoding, sequence numbers, references.
//!
//! Invariant: a record's references are counted from the moment it is appended, so that its segment is never freed under it.

use alloc::vec::Vec;

use kqueue_engine::{Record, Recorded, Recorder, Seq};
use kqueue_journal::{HEAD_BYTES, Writer};

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

/// What one of a record's references keeps alive, in bytes.
pub(crate) fn share_of(meta_bytes: usize, body_bytes: usize, references: u32) -> u32 {
    let bytes = (HEAD_BYTES + meta_bytes + body_bytes) as u64;
    u32::try_from(bytes / u64::from(references.max(1))).unwrap_or(u32::MAX)
}

fn journal_seq(seq: Seq) -> kqueue_journal::Seq {
    kqueue_journal::Seq(seq.0)
}

impl Recorder for Log {
    /// Not less than what the next record will get, and more than any record has: good enough for ids that rise.
    fn next_seq(&self) -> Seq {
        Seq(self.writer.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Recorded {
        self.meta.clear();
        record.encode(&mut self.meta);
        let seq = self.writer.append(record.kind(), &self.meta, record.body(), record.body_crc());
        let references = record.references();
        let mut share = 0;
        if references > 0 {
            share =
                share_of(self.meta.len(), record.body().map_or(0, |body| body.len()), references);
            let refs = u64::from(references);
            self.writer.add_ref(seq, refs, refs * u64::from(share));
        }
        Recorded { seq: Seq(seq.0), share }
    }

    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.writer.add_ref(journal_seq(seq), refs, bytes);
    }

    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        unref(&mut self.writer, seq, refs, bytes);
    }

    fn segment_end(&self, seq: Seq) -> Seq {
        segment_end(&self.writer, seq)
    }

    fn has_segment(&self, seq: Seq) -> bool {
        has_segment(&self.writer, seq)
    }

    fn offset_near(&self, seq: Seq) -> u64 {
        self.writer.offset_near(journal_seq(seq))
    }
}

fn has_segment(writer: &Writer, seq: Seq) -> bool {
    seq.0 > writer.last_seq().0 || writer.segment_of(journal_seq(seq)).is_some()
}

fn unref(writer: &mut Writer, seq: Seq, refs: u64, bytes: u64) {
    if seq != Seq(0) {
        writer.unref(journal_seq(seq), refs, bytes);
    }
}

fn segment_end(writer: &Writer, seq: Seq) -> Seq {
    Seq(writer.segment_end(journal_seq(seq)).0)
}

/// The journal during replay: references come and go, nothing is appended.
pub(crate) struct References<'a>(pub(crate) &'a mut Writer);

impl Recorder for References<'_> {
    fn next_seq(&self) -> Seq {
        Seq(self.0.last_seq().0 + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Recorded {
        unreachable!("replay records nothing, but tried kind {}", record.kind())
    }

    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        self.0.add_ref(journal_seq(seq), refs, bytes);
    }

    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        unref(self.0, seq, refs, bytes);
    }

    fn segment_end(&self, seq: Seq) -> Seq {
        segment_end(self.0, seq)
    }

    fn has_segment(&self, seq: Seq) -> bool {
        self.0.segment_of(journal_seq(seq)).is_some()
    }

    fn offset_near(&self, seq: Seq) -> u64 {
        self.0.offset_near(journal_seq(seq))
    }
}
