//! A sound log, damaged in any way, to recovery.
//!
//! Input: steps of one byte each. Up to the first 7 they make the log: append a record (kind, `meta`, body), write, sync. Those behind it do
//! damage: other bits, zeros, bytes of the input, bytes of another place, a file that is shorter or gone, a header that says something else.
//!
//! Checked: a sound log comes back whole; on any other nothing panics, sequence numbers rise, what is delivered fits its checksum and its place, the
//! report counts right and names places that exist, reading twice gives the same, and what was written before the first damage is all there.

use std::collections::BTreeMap;

use kqueue_broker::Survey;
use kqueue_journal::{
    Gap, HEADER_BYTES, RawRecord, Recovery, RecoveryError, Report, SegmentHeader, parse_header,
};

use crate::bytes_in::BytesIn;
use crate::log::{Appended, Log, Write};

const STEPS_MAX: usize = 200;

type Files = BTreeMap<u64, Vec<u8>>;

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn journal_scan(input: &[u8]) {
    let mut input = BytesIn(input);
    let mut log = Log::new();
    for _ in 0..STEPS_MAX {
        match input.byte() % 8 {
            0..=4 if !input.is_empty() => log.append(&mut input),
            5 => log.write(),
            6 => log.sync(),
            _ => break,
        }
    }
    log.sync();
    let mut files = log.files.segments.clone();
    let sound = recover(&files, Recovery::new).expect("one log");
    assert_eq!(sound.records(), log.appended);
    assert_eq!(sound.report.gaps, []);

    let mut damage = Damage::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() || files.is_empty() {
            break;
        }
        damage.step(&mut files, &log.writes, &mut input);
    }
    let Some(first) = damage.first else { return };
    let mut survey = Survey::default();
    for (number, file) in &files {
        if let Some(header) = header_of(*number, file) {
            survey.segment(&header, file);
        }
    }
    let ends = survey.ends();
    let found = recover(&files, Recovery::new);
    let found = found.or_else(|_| recover(&files, || Recovery::with_holes(ends.clone())));
    let Ok(found) = found else { return };
    if damage.is_forged {
        return;
    }
    let is_safe = |place: &Place| {
        let mut writes = log.writes.iter();
        writes.any(|write| {
            write.segment == place.0
                && write.covers(place.1)
                && (write.segment, write.end()) <= first
        })
    };
    for (place, record) in sound.delivered.iter().filter(|(place, _)| is_safe(place)) {
        assert!(found.delivered.contains(&(*place, record.clone())), "{place:?} before {first:?}");
    }
}

/// Segment, and byte in its file.
type Place = (u64, u64);

/// What a recovery gave.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    delivered: Vec<(Place, Appended)>,
    report: Report,
}

impl Found {
    fn records(&self) -> Vec<Appended> {
        self.delivered.iter().map(|(_, record)| record.clone()).collect()
    }
}

/// Recovers twice, and checks what must be true of it on any bytes.
fn recover(files: &Files, recovery: impl Fn() -> Recovery) -> Result<Found, RecoveryError> {
    let (found, again) = (once(files, recovery())?, once(files, recovery())?);
    assert_eq!(found, again);
    let seqs: Vec<u64> = found.delivered.iter().map(|(_, record)| record.seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert!(seqs.last().is_none_or(|&last| last < found.report.next_seq.0));
    assert!(found.report.synced_through < found.report.next_seq);
    assert_eq!(found.report.records, seqs.len() as u64);
    for gap in &found.report.gaps {
        check_gap(gap, files);
    }
    Ok(found)
}

fn once(files: &Files, mut recovery: Recovery) -> Result<Found, RecoveryError> {
    let headers: Vec<Option<SegmentHeader>> =
        files.iter().map(|(number, file)| header_of(*number, file)).collect();
    let mut delivered = Vec::new();
    for (index, (&number, file)) in files.iter().enumerate() {
        let next = headers[index + 1..].iter().flatten().next();
        match &headers[index] {
            Some(header) => {
                let mut deliver = |raw: RawRecord<'_>| delivered.push(checked(&raw, file));
                recovery.segment(header, file, next, &mut deliver)?;
            }
            None => recovery.unreadable_segment(number, file.len() as u64, next)?,
        }
    }
    Ok(Found { delivered, report: recovery.finish() })
}

/// The header, if it can be read and is that of this file.
fn header_of(number: u64, file: &[u8]) -> Option<SegmentHeader> {
    parse_header(file).ok().filter(|header| header.segment == number)
}

fn checked(raw: &RawRecord<'_>, file: &[u8]) -> (Place, Appended) {
    assert_eq!(crc32fast::hash(raw.body), raw.body_crc);
    assert_eq!(&file[raw.body_offset as usize..][..raw.body.len()], raw.body);
    assert!(raw.offset < raw.body_offset);
    let (meta, body) = (raw.meta.to_vec(), raw.body.to_vec());
    ((raw.segment, raw.offset), Appended { seq: raw.seq.0, kind: raw.kind, meta, body })
}

fn check_gap(gap: &Gap, files: &Files) {
    let file = files.get(&gap.segment).expect("a gap is in a file that there is");
    let header = header_of(gap.segment, file);
    let bytes = header.map_or(0, |header| header.segment_bytes).max(file.len() as u64);
    let end = gap.offset.checked_add(gap.bytes).expect("a gap ends");
    assert!(end <= bytes, "{gap:?} in a file of {bytes} bytes");
}

/// What was done to the files.
#[derive(Default)]
struct Damage {
    /// The first byte that is not as it was written.
    first: Option<Place>,
    /// A header was made up, with a checksum: what is true of it is not known.
    is_forged: bool,
}

impl Damage {
    fn step(&mut self, files: &mut Files, writes: &[Write], input: &mut BytesIn<'_>) {
        let step = input.byte();
        let index = usize::from(input.byte()) % files.len();
        let Some((&number, file)) = files.iter_mut().nth(index) else { return };
        let last = writes.iter().rfind(|write| write.segment == number);
        // A little more than what holds anything.
        let used = last.map_or(HEADER_BYTES, |write| write.end() as usize) + 64;
        let at = input.short() % used.min(file.len().max(1));
        let bytes = input.short() % (used + 64);
        let at = match step % 8 {
            0 | 1 => {
                let Some(byte) = file.get_mut(at) else { return };
                *byte ^= input.byte().max(1);
                at
            }
            2 => {
                let end = (at + bytes).min(file.len());
                file[at.min(end)..end].fill(0);
                at
            }
            3 => {
                let new = input.take(bytes % 256);
                let end = (at + new.len()).min(file.len());
                let at = at.min(end);
                file[at..end].copy_from_slice(&new[..end - at]);
                at
            }
            4 => {
                let (from, to) = (input.short() % used, at);
                let end = (from + bytes).min(file.len()).min(from + file.len().saturating_sub(to));
                if from < end {
                    file.copy_within(from..end, to);
                }
                at
            }
            5 => {
                let at = at.min(file.len());
                file.truncate(at);
                at
            }
            6 => {
                self.forge(file, input);
                0
            }
            _ => {
                files.remove(&number);
                0
            }
        };
        let place = (number, at as u64);
        self.first = Some(self.first.map_or(place, |first| first.min(place)));
    }

    /// Gives the file a sound header that says anything.
    fn forge(&mut self, file: &mut [u8], input: &mut BytesIn<'_>) {
        let Ok(mut header) = parse_header(file) else { return };
        self.is_forged = true;
        let which = input.byte();
        let number = input.take(8).iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
        let number = if which & 8 == 0 { number } else { u64::MAX - number };
        let field = match which % 8 {
            0 | 1 => &mut header.first_seq,
            2 => &mut header.salt,
            3 => &mut header.segment_bytes,
            4 => &mut header.synced_through,
            _ => &mut header.segment,
        };
        *field = number;
        let encoded = header.encode();
        file[..encoded.len()].copy_from_slice(&encoded);
    }
}
