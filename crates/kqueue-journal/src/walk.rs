//! Reads records again, from a piece of a segment: for cold items, and for segments that are emptied.
//!
//! What is read here was sound when it was written. A head is believed only with its checksum; a body is the caller's to verify ([`WalkedRecord::is_body_sound`]),
//! for most of them are skipped. Behind damage the walk goes on at the next record of this segment, as recovery does.
//! Must not: judge whether anything was acknowledged; panic on any bytes.

use alloc::vec::Vec;

use crate::format::{HEAD_BYTES, Head, KIND_MARKER, META_BYTES_MAX};
use crate::scan::Heads;
use crate::segments::Place;
use crate::{Seq, format::HeadCrc};

/// A record found again.
#[derive(Clone, Copy, Debug)]
pub struct WalkedRecord<'a> {
    /// Its place in the log.
    pub seq: Seq,
    /// Byte in the file where it begins.
    pub offset: u64,
    /// Never a marker's.
    pub kind: u8,
    /// As it was appended.
    pub meta: &'a [u8],
    /// As it was appended, if [`WalkedRecord::is_body_sound`].
    pub body: &'a [u8],
    /// Checksum of the body as it was appended.
    pub body_crc: u32,
}

impl WalkedRecord<'_> {
    /// Whether the body is as it was appended.
    pub fn is_body_sound(&self) -> bool {
        crc32fast::hash(self.body) == self.body_crc
    }
}

/// Where a walk stands in its segment. Feed it pieces of the file that begin at [`Walk::offset`].
#[derive(Clone, Debug)]
pub struct Walk {
    salt: u64,
    /// Byte in the file at which the next piece must begin.
    pub offset: u64,
    /// The sequence number expected there.
    pub seq: u64,
    /// Byte in the file at which the last record wanted has ended.
    pub end_offset: u64,
    end_seq: u64,
}

/// How a piece ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEnd {
    /// Nothing more is to come.
    pub is_over: bool,
    /// The next piece must have at least so many bytes to bring the walk on (or reach the end).
    pub wants_bytes: u64,
    /// Stretches of the file that could not be read: offset, length.
    pub damaged: Vec<(u64, u64)>,
}

impl Walk {
    /// A walk over a place.
    pub fn new(place: &Place) -> Self {
        Self {
            salt: place.salt,
            offset: place.offset,
            seq: place.seq,
            end_offset: place.end_offset,
            end_seq: place.end_seq,
        }
    }

    /// Walks over `piece`, which begins at [`Walk::offset`]. `is_last`: the file has nothing behind it that belongs to this walk.
    pub fn feed(&mut self, piece: &[u8], deliver: &mut dyn FnMut(WalkedRecord<'_>)) -> WalkEnd {
        let base = self.offset;
        let is_last = base + piece.len() as u64 >= self.end_offset;
        let heads = Heads { file: piece, crc: HeadCrc::new(self.salt), seq_end: self.end_seq };
        let mut damaged = Vec::new();
        let mut pos = 0;
        let mut wants_bytes = 0;
        while self.seq < self.end_seq && base + (pos as u64) < self.end_offset {
            let exact = |head: &Head| head.seq == self.seq;
            let found = match heads.at(pos, pos, self.seq).filter(exact) {
                Some(head) => Some((pos, head)),
                None if !is_last => {
                    let claimed = claimed_bytes(&piece[pos..]);
                    // It may only be cut off by the end of the piece.
                    if piece.len() - pos < claimed {
                        wants_bytes = claimed as u64;
                        break;
                    }
                    wants_bytes = self.end_offset - base - pos as u64;
                    if wants_bytes > (piece.len() - pos) as u64 {
                        break;
                    }
                    heads.find(pos, pos, self.seq)
                }
                None => heads.find(pos, pos, self.seq),
            };
            let Some((at, head)) = found else {
                let lost = self.end_offset - base - pos as u64;
                damaged.push((base + pos as u64, lost));
                pos += usize::try_from(lost).unwrap_or(usize::MAX).min(piece.len() - pos);
                self.seq = self.end_seq;
                break;
            };
            if at > pos {
                damaged.push((base + pos as u64, (at - pos) as u64));
            }
            let meta_at = at + HEAD_BYTES;
            let body_at = meta_at + head.meta_len as usize;
            let end = body_at + head.body_len as usize;
            if head.kind != KIND_MARKER {
                deliver(WalkedRecord {
                    seq: Seq(head.seq),
                    offset: base + at as u64,
                    kind: head.kind,
                    meta: piece.get(meta_at..body_at).unwrap_or(&[]),
                    body: piece.get(body_at..end).unwrap_or(&[]),
                    body_crc: head.body_crc,
                });
            }
            self.seq = head.seq + 1;
            pos = end;
        }
        self.offset = base + pos as u64;
        let is_over = self.seq >= self.end_seq || self.offset >= self.end_offset;
        WalkEnd { is_over, wants_bytes, damaged }
    }
}

/// How long the record at the beginning of `bytes` says it is; at least what is needed to find out.
fn claimed_bytes(bytes: &[u8]) -> usize {
    match Head::parse(bytes) {
        None if bytes.len() < HEAD_BYTES => HEAD_BYTES,
        Some(head) if head.meta_len as usize <= META_BYTES_MAX => {
            usize::try_from(head.record_bytes()).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::format::parse_header;
    use crate::test_disk::{Kept, Small, small_log};

    /// A walk over the whole segment in pieces of this length (and longer where the walk asks for it).
    fn walk(
        file: &[u8],
        end_offset: u64,
        end_seq: u64,
        piece: usize,
    ) -> (Vec<u64>, Vec<(u64, u64)>) {
        let header = parse_header(file).unwrap();
        let place =
            Place { segment: 1, salt: header.salt, offset: 4096, seq: 1, end_offset, end_seq };
        let (mut walk, mut seqs, mut damaged) = (Walk::new(&place), vec![], vec![]);
        let mut wanted = piece;
        for _ in 0..10_000 {
            let from = walk.offset as usize;
            let end = (from + wanted).min(end_offset as usize);
            let ended = walk.feed(&file[from..end], &mut |record| {
                if record.is_body_sound() {
                    seqs.push(record.seq.0);
                }
            });
            damaged.extend(ended.damaged);
            if ended.is_over {
                return (seqs, damaged);
            }
            wanted = piece.max(ended.wants_bytes as usize);
        }
        panic!("the walk does not end");
    }

    fn log() -> (Vec<u8>, Vec<Kept>, u64) {
        let Small { disk, batches, ends } = small_log(&[3, 1, 5, 2], true);
        (disk.files[&1].clone(), batches.concat(), ends[3] as u64)
    }

    #[test]
    fn any_length_of_pieces_gives_the_same_records() {
        let (file, kept, end) = log();
        let seqs: Vec<u64> = kept.iter().map(|kept| kept.seq).collect();
        for piece in 1..600 {
            assert_eq!(walk(&file, end, u64::MAX, piece), (seqs.clone(), vec![]), "{piece}");
        }
    }

    #[test]
    fn a_flipped_byte_costs_at_most_one_record() {
        let (file, kept, end) = log();
        let seqs: Vec<u64> = kept.iter().map(|kept| kept.seq).collect();
        for at in 4096..end as usize {
            let mut file = file.clone();
            file[at] ^= 0x20;
            for piece in [97, 100_000] {
                let (found, _) = walk(&file, end, 15, piece);
                let lost = seqs.iter().filter(|seq| !found.contains(seq)).count();
                assert!(lost <= 1 && found.is_sorted(), "byte {at}: {found:?}");
                assert!(found.iter().all(|seq| seqs.contains(seq)));
            }
        }
    }
}
