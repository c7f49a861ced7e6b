//! Reading segments while the server works: cold items that are wanted, and segments that are to be emptied.
//!
//! The shell reads pieces of files, without the lock; what the pieces hold is found here, without the lock, too. Must not: touch queues; perform I/O.

use alloc::vec::Vec;

use bytes::Bytes;
use kqueue_engine::{LoadRequest, Loaded, QueueNo, RecordBuf, Seq, SessionId};
use kqueue_journal::{Place, Walk, WalkedRecord};

use crate::log::share_of;

/// How much is read at a time, in bytes, if no record is longer.
const PIECE_BYTES: u64 = 256 * 1024;

/// A part of a segment's file that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRead {
    /// Number of the segment.
    pub segment: u64,
    /// First byte in the file.
    pub offset: u64,
    /// How many bytes; a file that ends earlier gives fewer.
    pub bytes: u64,
}

/// A place in a segment that cannot be read any more although it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPlace {
    /// Number of the segment.
    pub segment: u64,
    /// First byte in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A walk over a segment, piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    segment: u64,
    walk: Walk,
    wants_bytes: u64,
    pub(crate) is_over: bool,
    pub(crate) bad: Vec<BadPlace>,
}

impl Pieces {
    pub(crate) fn new(place: &Place) -> Self {
        let walk = Walk::new(place);
        let is_over = walk.offset >= walk.end_offset;
        Self { segment: place.segment, walk, wants_bytes: 0, is_over, bad: Vec::new() }
    }

    pub(crate) fn next_read(&self) -> SegmentRead {
        let left = self.walk.end_offset.saturating_sub(self.walk.offset);
        let bytes = PIECE_BYTES.max(self.wants_bytes).min(left);
        SegmentRead { segment: self.segment, offset: self.walk.offset, bytes }
    }

    /// Whether the next record to be found lies behind `last`.
    pub(crate) fn has_passed(&self, last: Seq) -> bool {
        self.walk.seq > last.0
    }

    fn feed(&mut self, piece: &[u8], deliver: &mut dyn FnMut(WalkedRecord<'_>)) {
        let wanted = self.next_read();
        if (piece.len() as u64) < wanted.bytes {
            // The file is shorter than it was: what is missing is lost.
            let offset = wanted.offset + piece.len() as u64;
            let bytes = self.walk.end_offset - offset;
            self.bad.push(BadPlace { segment: self.segment, offset, bytes });
            self.walk.end_offset = offset;
        }
        let end = self.walk.feed(piece, deliver);
        self.wants_bytes = end.wants_bytes;
        self.is_over = end.is_over;
        let segment = self.segment;
        let places = end.damaged.into_iter();
        self.bad.extend(places.map(|(offset, bytes)| BadPlace { segment, offset, bytes }));
    }
}

fn bad_record(segment: u64, record: &WalkedRecord<'_>) -> BadPlace {
    let bytes = (kqueue_journal::HEAD_BYTES + record.meta.len() + record.body.len()) as u64;
    BadPlace { segment, offset: record.offset, bytes }
}

/// Items that are to be read. Run [`Load::next_read`], give the bytes to [`Load::feed`] until it says that it is done, then [`crate::Broker::handle_loaded`].
#[derive(Debug)]
pub struct Load {
    pub(crate) request: LoadRequest,
    pub(crate) pieces: Pieces,
    pub(crate) items: Vec<Loaded>,
    pub(crate) through: Seq,
    /// Who only wants to look.
    pub(crate) looker: Option<SessionId>,
}

impl Load {
    pub(crate) fn new(request: LoadRequest, place: &Place) -> Self {
        let through = Seq(request.first.0 - 1);
        Self { request, pieces: Pieces::new(place), items: Vec::new(), through, looker: None }
    }

    /// The segment in which the items are.
    pub fn segment(&self) -> u64 {
        self.pieces.segment
    }

    /// What to read next.
    pub fn next_read(&self) -> SegmentRead {
        self.pieces.next_read()
    }

    /// Takes what was read; true if nothing more has to be.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        let Self { request, pieces, items, .. } = self;
        let range = (request.first, request.last);
        feed_items(pieces, piece, request.queue, range, &mut |item| items.push(item));
        let is_over = pieces.is_over || pieces.has_passed(request.last);
        self.through =
            if is_over { request.last } else { self.through.max(Seq(pieces.walk.seq - 1)) };
        is_over || !self.items.is_empty()
    }
}

/// Finds the items of a queue in a piece, of the records from the first to the last of `range`.
pub(crate) fn feed_items(
    pieces: &mut Pieces,
    piece: &[u8],
    queue: QueueNo,
    range: (Seq, Seq),
    found: &mut dyn FnMut(Loaded),
) {
    let mut bad = Vec::new();
    let segment = pieces.segment;
    pieces.feed(piece, &mut |record| {
        let is_asked = (range.0.0..=range.1.0).contains(&record.seq.0);
        let item = if is_asked { item_of(&record, queue) } else { None };
        match item {
            Some(item) if record.is_body_sound() => found(item),
            Some(_) => bad.push(bad_record(segment, &record)),
            None => {}
        }
    });
    pieces.bad.append(&mut bad);
}

/// The item that a record holds for a queue.
fn item_of(record: &WalkedRecord<'_>, queue: QueueNo) -> Option<Loaded> {
    let RecordBuf::Put(put) = RecordBuf::decode(record.kind, record.meta).ok()? else {
        return None;
    };
    if !put.queues.contains(&queue) {
        return None;
    }
    let share = share_of(record.meta.len(), record.body.len(), put.queues.len() as u32);
    let body = Bytes::copy_from_slice(record.body);
    Some(put.loaded(Seq(record.seq.0), body, record.body_crc, share))
}

/// A record of a segment that is emptied.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) kind: u8,
    pub(crate) meta: Vec<u8>,
    pub(crate) body: Bytes,
    pub(crate) body_crc: u32,
    pub(crate) share: u32,
}

/// The records of a piece that may be referred to.
pub(crate) fn kept_records(pieces: &mut Pieces, piece: &[u8], records: &mut Vec<Kept>) {
    let mut bad = Vec::new();
    let segment = pieces.segment;
    pieces.feed(piece, &mut |record| {
        let Ok(decoded) = RecordBuf::decode(record.kind, record.meta) else { return };
        let references = decoded.references();
        if references == 0 {
            return;
        }
        if !record.is_body_sound() {
            return bad.push(bad_record(segment, &record));
        }
        records.push(Kept {
            seq: Seq(record.seq.0),
            kind: record.kind,
            meta: record.meta.to_vec(),
            body: Bytes::copy_from_slice(record.body),
            body_crc: record.body_crc,
            share: share_of(record.meta.len(), record.body.len(), references),
        });
    });
    pieces.bad.append(&mut bad);
}
