//! Reads the records of one segment, whatever state its bytes are in.
//!
//! Owns the decision what is a record, where the next one is after damage, and what each hole means.
//!
//! How it reads: record after record, each with exactly the next sequence number. Where that fails it searches forward, byte by byte, for the next
//! head with a sequence number in the window that the bytes between allow and with a checksum that fits this segment's salt; that makes "a valid later
//! record" sound, also over what a recycled file held before and over bodies that contain journals. A batch is delivered at its marker; one without a
//! marker is delivered only if something valid that was committed follows, or the next segment's header says that the log went on behind it.
//!
//! Invariants: positions only rise; sequence numbers only rise; all reads are bounds-checked.
//! Must not: look at other segments, panic on any bytes.

use alloc::vec::Vec;

use crc32fast::Hasher;

use crate::Seq;
use crate::format::{
    HEAD_BYTES, HEADER_BYTES, Head, HeadCrc, KIND_MARKER, MARKER_BYTES, META_BYTES_MAX, Marker,
    SegmentHeader, u64_at,
};
use crate::own::IndexEntry;
use crate::recovery::{Gap, RawRecord, Verdict};
use crate::segments::Segment;

/// A marker with at most this many wrong bytes is a damaged marker; a torn or overwritten one has more. Four: the most that damage in one place of
/// the fields that cannot be predicted can make differ (the checksum).
const MARKER_DAMAGE_BYTES_MAX: usize = 4;

/// What reading one segment gave, besides the records.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) next_seq: u64,
    pub(crate) synced_through: u64,
    pub(crate) records: u64,
    pub(crate) gaps: Vec<Gap>,
    /// Behind the last record that counts.
    pub(crate) used_bytes: u64,
    pub(crate) index: Vec<IndexEntry>,
}

/// Where reading begins, if not behind the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) offset: u64,
    pub(crate) seq: u64,
}

/// Finds heads of one segment in a part of its file.
pub(crate) struct Heads<'a> {
    pub(crate) file: &'a [u8],
    pub(crate) crc: HeadCrc,
    /// The first sequence number that cannot be in this segment.
    pub(crate) seq_end: u64,
}

impl Heads<'_> {
    /// The head at `at`, if it is one of this segment's and its record lies inside the file. At `pos` a record with number `expected` should begin.
    pub(crate) fn at(&self, at: usize, pos: usize, expected: u64) -> Option<Head> {
        let record = self.file.get(at..)?;
        let head = Head::parse(record)?;
        // Cheap tests before the checksum: almost every position in garbage fails here.
        let remaining = record.len() as u64;
        let latest = expected.saturating_add((at - pos) as u64 / HEAD_BYTES as u64);
        let is_plausible = head.seq >= expected
            && head.seq <= latest
            && head.seq < self.seq_end
            && head.meta_len as usize <= META_BYTES_MAX
            && head.record_bytes() <= remaining;
        (is_plausible && self.crc.of(record, head.meta_len as usize)? == head.head_crc)
            .then_some(head)
    }

    /// The first record of this segment at `from` or behind.
    pub(crate) fn find(&self, from: usize, pos: usize, expected: u64) -> Option<(usize, Head)> {
        let mut at = from;
        loop {
            let seq = u64_at(self.file, at + 8)?;
            if seq == 0 {
                at = past_zeros(self.file, at);
                continue;
            }
            let is_candidate = seq.wrapping_sub(expected) <= (at - pos) as u64;
            if is_candidate && let Some(head) = self.at(at, pos, expected) {
                return Some((at, head));
            }
            at += 1;
        }
    }
}

/// A record since the last marker.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: usize,
    head: Head,
    is_body_sound: bool,
}

/// Reads a segment. `next` is the header of the following one, `None` if this is the last.
pub(crate) fn scan(
    header: &SegmentHeader,
    file: &[u8],
    from: Option<From>,
    next: Option<&SegmentHeader>,
    deliver: &mut dyn FnMut(RawRecord<'_>),
) -> Outcome {
    let short_file = short_file(header, file);
    let from = from.unwrap_or(From { offset: HEADER_BYTES as u64, seq: header.first_seq });
    let pos = usize::try_from(from.offset).unwrap_or(usize::MAX).min(file.len());
    let seq_end = next.map_or(u64::MAX, |next| next.first_seq);
    let mut scan = Scan {
        file,
        segment: header.segment,
        heads_in: Heads { file, crc: HeadCrc::new(header.salt), seq_end },
        pos,
        expected: from.seq,
        seq_end,
        batch_first_seq: from.seq,
        batch_at: pos,
        index: Segment::new(header.segment, header.first_seq, header.salt, header.segment_bytes),
        batch: Vec::new(),
        batch_gaps: Vec::new(),
        heads: Hasher::new(),
        records: 0,
        gaps: Vec::new(),
        synced_through: header.synced_through,
        has_loss: false,
        follows_loss: false,
        deliver,
    };
    scan.run();
    match next {
        Some(next) => scan.end_before(next),
        None => scan.end_of_log(),
    }
    scan.gaps.extend(short_file);
    scan.judge(next)
}

/// Segments have their whole length from the beginning; one that is shorter has been cut by somebody, and records may have gone with the rest.
fn short_file(header: &SegmentHeader, file: &[u8]) -> Option<Gap> {
    let offset = file.len() as u64;
    let bytes = header.segment_bytes.checked_sub(offset).filter(|&bytes| bytes > 0)?;
    let verdict = Verdict::ShortFile;
    Some(Gap {
        segment: header.segment,
        offset,
        bytes,
        first_seq: Seq(0),
        missing: 0,
        was_synced: false,
        verdict,
    })
}

struct Scan<'a, 'f> {
    file: &'a [u8],
    segment: u64,
    heads_in: Heads<'a>,
    /// Where the next record should begin.
    pos: usize,
    /// The sequence number it should have.
    expected: u64,
    /// The first sequence number that cannot be in this segment.
    seq_end: u64,
    /// Where the current batch begins, in sequence numbers and bytes.
    batch_first_seq: u64,
    batch_at: usize,
    /// Only its index is of interest.
    index: Segment,
    batch: Vec<Found>,
    /// What could not be read since the last marker.
    batch_gaps: Vec<Gap>,
    /// Checksum over the head checksums of the batch so far.
    heads: Hasher,
    records: u64,
    gaps: Vec<Gap>,
    synced_through: u64,
    /// Something was lost before the present batch.
    has_loss: bool,
    /// And nothing was delivered since.
    follows_loss: bool,
    deliver: &'f mut dyn FnMut(RawRecord<'_>),
}

impl<'a> Scan<'a, '_> {
    fn run(&mut self) {
        while self.expected < self.seq_end {
            if let Some(head) = self
                .heads_in
                .at(self.pos, self.pos, self.expected)
                .filter(|head| head.seq == self.expected)
            {
                self.take(self.pos, head);
            } else if self.is_damaged_marker() {
                self.take_damaged_marker();
            } else if let Some((at, head)) = self.heads_in.find(self.pos, self.pos, self.expected) {
                self.batch_gaps.push(self.hole(at, head.seq));
                self.take(at, head);
            } else {
                return;
            }
        }
    }

    /// The hole between where a record should be and `end`, where one with sequence number `seq` is.
    fn hole(&self, end: usize, seq: u64) -> Gap {
        self.gap(self.pos, end, self.expected, seq - self.expected, Verdict::LostUnsynced)
    }

    fn gap(&self, at: usize, end: usize, first_seq: u64, missing: u64, verdict: Verdict) -> Gap {
        Gap {
            segment: self.segment,
            offset: at as u64,
            bytes: end.saturating_sub(at) as u64,
            first_seq: Seq(first_seq),
            missing,
            was_synced: false,
            verdict,
        }
    }

    /// Goes past a record whose head is sound.
    fn take(&mut self, at: usize, head: Head) {
        let meta_at = at + HEAD_BYTES;
        let body_at = meta_at + head.meta_len as usize;
        let end = body_at + head.body_len as usize;
        self.pos = end;
        self.expected = head.seq + 1;
        if head.kind == KIND_MARKER {
            let meta = self.file.get(meta_at..body_at).unwrap_or(&[]);
            match Marker::parse(head.seq, meta) {
                Some(marker) if self.is_marker_of_batch(&marker) => {
                    self.synced_through = self
                        .synced_through
                        .max(marker.synced_through.min(head.seq.saturating_sub(1)));
                    self.commit();
                }
                _ => self.batch_gaps.push(self.gap(at, end, head.seq, 1, Verdict::DamagedMarker)),
            }
            return;
        }
        let body = self.file.get(body_at..end).unwrap_or(&[]);
        let is_body_sound = crc32fast::hash(body) == head.body_crc;
        if !is_body_sound {
            let meta = self.file.get(meta_at..body_at).unwrap_or(&[]).to_vec();
            let verdict = Verdict::DamagedBody { seq: Seq(head.seq), kind: head.kind, meta };
            self.batch_gaps.push(self.gap(at, end, head.seq, 1, verdict));
        }
        self.heads.update(&head.head_crc.to_le_bytes());
        self.batch.push(Found { at, head, is_body_sound });
    }

    /// A marker that fits what was read; behind a hole only its own fields can be checked.
    fn is_marker_of_batch(&self, marker: &Marker) -> bool {
        if marker.first_seq.checked_add(u64::from(marker.count)) != Some(marker.seq) {
            return false;
        }
        let is_whole = self.batch.len() as u64 + self.batch_first_seq == marker.seq;
        !is_whole
            || (marker.first_seq == self.batch_first_seq
                && marker.heads_crc == self.heads.clone().finalize())
    }

    /// Whether the marker that should be here is here, but for a few bytes: then the batch is whole, and damage in its last bytes shall not lose it.
    fn is_damaged_marker(&self) -> bool {
        let count = self.batch.len() as u64;
        let Some(found) = self.file.get(self.pos..self.pos.saturating_add(MARKER_BYTES)) else {
            return false;
        };
        if count == 0 || self.batch_first_seq + count != self.expected {
            return false;
        }
        let marker = Marker {
            seq: self.expected,
            first_seq: self.batch_first_seq,
            count: count as u32,
            heads_crc: self.heads.clone().finalize(),
            synced_through: u64_at(found, MARKER_BYTES - 8).unwrap_or(0),
        };
        let wanted = marker.encode(&self.heads_in.crc);
        let wrong = wanted.iter().zip(found).filter(|(wanted, found)| wanted != found).count();
        wrong <= MARKER_DAMAGE_BYTES_MAX
    }

    fn take_damaged_marker(&mut self) {
        let end = self.pos + MARKER_BYTES;
        self.batch_gaps.push(self.gap(self.pos, end, self.expected, 1, Verdict::DamagedMarker));
        self.pos = end;
        self.expected += 1;
        self.commit();
    }

    /// What was read since the last marker counts: delivers it.
    fn commit(&mut self) {
        let file: &'a [u8] = self.file;
        if !self.batch.is_empty() {
            self.index.note_batch(self.batch_first_seq, self.batch_at as u64);
        }
        let mut losses = self.batch_gaps.iter().filter(|gap| gap.is_loss()).peekable();
        for found in self.batch.drain(..).filter(|found| found.is_body_sound) {
            let mut follows_loss = false;
            while losses.next_if(|gap| gap.offset < found.at as u64).is_some() {
                follows_loss = true;
            }
            self.has_loss |= follows_loss;
            let meta_at = found.at + HEAD_BYTES;
            let body_at = meta_at + found.head.meta_len as usize;
            let end = body_at + found.head.body_len as usize;
            self.records += 1;
            (self.deliver)(RawRecord {
                segment: self.segment,
                offset: found.at as u64,
                body_offset: body_at as u64,
                seq: Seq(found.head.seq),
                kind: found.head.kind,
                meta: file.get(meta_at..body_at).unwrap_or(&[]),
                body: file.get(body_at..end).unwrap_or(&[]),
                body_crc: found.head.body_crc,
                behind_loss: self.has_loss,
                follows_loss: core::mem::take(&mut self.follows_loss) || follows_loss,
            });
        }
        // What is lost at the end of a batch lies before the next one.
        let is_left = losses.next().is_some();
        self.has_loss |= is_left;
        self.follows_loss |= is_left;
        self.gaps.append(&mut self.batch_gaps);
        self.batch_first_seq = self.expected;
        self.batch_at = self.pos;
        self.heads = Hasher::new();
    }

    /// A later segment exists: everything before its first record was part of the log when it was created.
    fn end_before(&mut self, next: &SegmentHeader) {
        let missing = next.first_seq.saturating_sub(self.expected);
        if missing > 0 {
            let end = self.file.len();
            self.batch_gaps.push(self.gap(
                self.pos,
                end,
                self.expected,
                missing,
                Verdict::LostUnsynced,
            ));
            self.expected = next.first_seq;
        }
        self.commit();
    }

    /// The log ends here: what has no marker was never acknowledged as synced, and is cut whole.
    fn end_of_log(&mut self) {
        let has_begun = !self.batch.is_empty() || !self.batch_gaps.is_empty();
        let torn_end = self.torn_end();
        if has_begun || torn_end > self.batch_at {
            let missing = self.expected - self.batch_first_seq;
            let gap =
                self.gap(self.batch_at, torn_end, self.batch_first_seq, missing, Verdict::TornTail);
            self.gaps.push(gap);
        }
        self.batch.clear();
        self.batch_gaps.clear();
        self.expected = self.batch_first_seq;
    }

    /// Where the torn tail ends: behind the record that is cut, if its beginning can be recognised. What else follows is what the file held before.
    fn torn_end(&self) -> usize {
        let rest = self.file.get(self.pos..).unwrap_or(&[]);
        let Some(seq) = u64_at(rest, 8) else {
            let is_blank = rest.iter().all(|&byte| byte == 0);
            return if is_blank { self.pos } else { self.file.len() };
        };
        if seq != self.expected {
            return self.pos;
        }
        let claimed = Head::parse(rest).map_or(HEAD_BYTES as u64, |head| head.record_bytes());
        self.pos + usize::try_from(claimed).unwrap_or(usize::MAX).min(rest.len())
    }

    /// Says of every hole whether it had been synced, by everything that this segment and the next one's header know.
    fn judge(mut self, next: Option<&SegmentHeader>) -> Outcome {
        let next_synced = next.map_or(0, |next| next.synced_through);
        let synced_through = self.synced_through.max(next_synced);
        for gap in &mut self.gaps {
            gap.was_synced = gap.missing > 0
                && gap.verdict != Verdict::TornTail
                && gap.first_seq.0 <= synced_through;
            if gap.was_synced && gap.verdict == Verdict::LostUnsynced {
                gap.verdict = Verdict::DamagedSynced;
            }
        }
        Outcome {
            next_seq: self.expected,
            synced_through,
            records: self.records,
            gaps: self.gaps,
            used_bytes: self.batch_at as u64,
            index: self.index.index,
        }
    }
}

/// The next position behind `at` whose sequence number field is not all zeros, given that the one at `at` is.
fn past_zeros(file: &[u8], at: usize) -> usize {
    const STEP: usize = 64;
    let mut from = at + 16;
    while let Some(chunk) = file.get(from..from + STEP) {
        if chunk.iter().fold(0, |any, &byte| any | byte) != 0 {
            break;
        }
        from += STEP;
    }
    let rest = file.get(from..).unwrap_or(&[]);
    let first = rest.iter().position(|&byte| byte != 0).unwrap_or(rest.len());
    // The field's last byte is 15 behind the head's beginning.
    (from + first - 15).max(at + 1)
}
