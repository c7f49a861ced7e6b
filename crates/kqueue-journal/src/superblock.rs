//! The superblock: the one place outside of the log that says where reading it begins.
//!
//! Two slots of [`SLOT_BYTES`] in a file of their own, written in turn, so that a write that was cut short leaves the other one. It never grows, so it can be
//! written on a full disk. `docs/journal_format.md` has the bytes.
//! Invariant: what a slot names had been synced before the slot was written. Must not: perform I/O.

use alloc::vec::Vec;

use crate::format::{VERSION, u32_at, u64_at};

/// The first eight bytes of a slot.
pub(crate) const SUPER_MAGIC: [u8; 8] = *b"KQUEUESB";
/// Length of a slot, in bytes; slot 0 is at 0, slot 1 behind it, and that is the whole file.
pub const SLOT_BYTES: usize = 4096;
/// The superblock's file.
pub const SUPERBLOCK_FILE: &str = "journal.kq";
const CRC_AT: usize = 64;
/// The first version that had a superblock; its bytes are the same since.
const VERSION_MIN: u32 = 2;

/// Where a replay begins: the first record of a batch, at or a little before the beginning of the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Number of the segment; 0: there is no checkpoint, everything is read.
    pub segment: u64,
    /// Byte in its file.
    pub offset: u64,
    /// Sequence number of the record there.
    pub seq: u64,
    /// Sequence number of the first record of the checkpoint: those before it are passed over.
    pub checkpoint_seq: u64,
}

impl Start {
    /// There are checkpoints, but none that can be relied on: the whole log has to be read, whatever is missing in it.
    pub const EVERYTHING: Self = Self { segment: u64::MAX, offset: 0, seq: 0, checkpoint_seq: 0 };

    /// The number of the segment in which a checkpoint is; 0 if there is none that can be relied on.
    pub fn checkpoint_segment(&self) -> u64 {
        if *self == Self::EVERYTHING { 0 } else { self.segment }
    }
}

/// What a slot says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Superblock {
    /// Rises with every write; the higher one of two sound slots counts.
    pub generation: u64,
    /// Number of the newest segment at that time: if it is missing, somebody took it away. 0: none yet.
    pub newest_segment: u64,
    /// Where replay begins.
    pub start: Start,
}

/// What the file of the superblock is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuperState {
    /// Both slots are sound, or one is and the other was never written.
    Sound(Superblock),
    /// One slot is sound, the other is not: a write that was cut short, or damage.
    OneSlot(Superblock),
    /// Neither slot can be read.
    Damaged,
    /// Of a format that this build does not know.
    Version(u32),
}

impl Superblock {
    /// Above all that a superblock which cannot be read any more may ever have said.
    pub const GENERATION_UNKNOWN: u64 = 1 << 30;

    /// The slot into which it goes, and its bytes.
    pub fn encode(&self) -> (usize, Vec<u8>) {
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(&SUPER_MAGIC);
        slot.extend_from_slice(&VERSION.to_le_bytes());
        slot.extend_from_slice(&(SLOT_BYTES as u32).to_le_bytes());
        for field in [
            self.generation,
            self.newest_segment,
            self.start.segment,
            self.start.offset,
            self.start.seq,
            self.start.checkpoint_seq,
        ] {
            slot.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&slot);
        slot.extend_from_slice(&crc.to_le_bytes());
        slot.resize(SLOT_BYTES, 0);
        ((self.generation % 2) as usize, slot)
    }

    /// The whole file as it is before anything was written: slot 0 says "empty log", slot 1 is blank.
    pub fn first_file() -> Vec<u8> {
        let (_, mut file) = Self::default().encode();
        file.resize(2 * SLOT_BYTES, 0);
        file
    }

    fn parse(slot: &[u8]) -> Option<Result<Self, u32>> {
        if u32_at(slot, CRC_AT)? != crc32fast::hash(slot.get(..CRC_AT)?)
            || !slot.starts_with(&SUPER_MAGIC)
        {
            return None;
        }
        let version = u32_at(slot, 8)?;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Some(Err(version));
        }
        Some(Ok(Self {
            generation: u64_at(slot, 16)?,
            newest_segment: u64_at(slot, 24)?,
            start: Start {
                segment: u64_at(slot, 32)?,
                offset: u64_at(slot, 40)?,
                seq: u64_at(slot, 48)?,
                checkpoint_seq: u64_at(slot, 56)?,
            },
        }))
    }

    /// Reads the file.
    pub fn read(file: &[u8]) -> SuperState {
        let slots = [0, 1].map(|slot| {
            let bytes = file.get(slot * SLOT_BYTES..(slot + 1) * SLOT_BYTES).unwrap_or(&[]);
            let is_blank = bytes.len() == SLOT_BYTES && bytes.iter().all(|&byte| byte == 0);
            (Self::parse(bytes), is_blank)
        });
        match slots {
            [(Some(Err(version)), _), _] | [_, (Some(Err(version)), _)] => {
                SuperState::Version(version)
            }
            [(Some(Ok(a)), _), (Some(Ok(b)), _)] => {
                SuperState::Sound(if a.generation > b.generation { a } else { b })
            }
            [(Some(Ok(one)), _), (None, true)] if one.generation == 0 => SuperState::Sound(one),
            [(Some(Ok(one)), _), _] | [_, (Some(Ok(one)), _)] => SuperState::OneSlot(one),
            [(None, _), (None, _)] => SuperState::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(generation: u64) -> Superblock {
        let start = Start { segment: 3, offset: 4096 + generation, seq: 77, checkpoint_seq: 79 };
        Superblock { generation, newest_segment: 9, start }
    }

    fn file_with(blocks: &[Superblock]) -> Vec<u8> {
        let mut file = Superblock::first_file();
        for block in blocks {
            let (slot, bytes) = block.encode();
            file[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&bytes);
        }
        file
    }

    #[test]
    fn the_newer_slot_counts_and_a_torn_one_leaves_the_other() {
        assert_eq!(Superblock::read(&file_with(&[])), SuperState::Sound(Superblock::default()));
        let file = file_with(&[some(1), some(2), some(3)]);
        assert_eq!(Superblock::read(&file), SuperState::Sound(some(3)));
        for bit in 0..64 * 8 {
            let mut torn = file.clone();
            torn[SLOT_BYTES + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Superblock::read(&torn), SuperState::OneSlot(some(2)), "bit {bit}");
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Superblock::read(&torn), SuperState::Damaged);
        }
        assert_eq!(Superblock::read(&[]), SuperState::Damaged);
        assert_eq!(Superblock::read(&file[..SLOT_BYTES]), SuperState::OneSlot(some(2)));
    }

    /// Whoever knows only the version of one slot must not believe that one: the other may be newer.
    #[test]
    fn slots_of_the_version_before_are_read_and_those_of_the_next_one_stop_everything() {
        let with_version = |mut file: Vec<u8>, slot: usize, version: u8| {
            file[slot * SLOT_BYTES + 8] = version;
            let crc = crc32fast::hash(&file[slot * SLOT_BYTES..][..CRC_AT]);
            file[slot * SLOT_BYTES + CRC_AT..][..4].copy_from_slice(&crc.to_le_bytes());
            file
        };
        let file = file_with(&[some(1), some(2), some(3)]);
        for slot in [0, 1] {
            let old = with_version(file.clone(), slot, 2);
            assert_eq!(Superblock::read(&old), SuperState::Sound(some(3)));
            for other in [0, 1, 4, 200] {
                let strange = with_version(file.clone(), slot, other);
                assert_eq!(Superblock::read(&strange), SuperState::Version(u32::from(other)));
            }
        }
        let both = with_version(with_version(file, 0, 2), 1, 2);
        assert_eq!(Superblock::read(&both), SuperState::Sound(some(3)));
    }

    #[test]
    fn a_slot_has_these_bytes() {
        let (slot, bytes) = some(5).encode();
        assert_eq!((slot, bytes.len()), (1, SLOT_BYTES));
        assert_eq!(&bytes[..16], b"KQUEUESB\x03\0\0\0\0\x10\0\0");
        assert_eq!(bytes[16..24], 5u64.to_le_bytes());
        assert_eq!(bytes[24..32], 9u64.to_le_bytes());
        assert_eq!(bytes[32..40], 3u64.to_le_bytes());
        assert_eq!(bytes[40..48], 4101u64.to_le_bytes());
        assert_eq!(bytes[48..56], 77u64.to_le_bytes());
        assert_eq!(bytes[56..64], 79u64.to_le_bytes());
        assert_eq!(bytes[64..68], crc32fast::hash(&bytes[..64]).to_le_bytes());
    }
}
