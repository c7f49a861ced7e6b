//! Checkpoints, emptied segments and the superblock: what is done in which order, and what a start makes of it.

use std::vec;
use std::vec::Vec;

use crate::test_disk::{Kept, TestDisk, append, boot, checkpoint, config};
use crate::{DiskOp, Seq, Writer};

const KIB: u64 = 1024;
const BODY: usize = 3000;
/// What one of the records here keeps alive.
const COST: u64 = 3008;

/// A log with an owner whose every record is alive until it says otherwise.
struct World {
    writer: Writer,
    disk: TestDisk,
    alive: Vec<Kept>,
    tag: u64,
}

impl World {
    /// This many segments, everything in them alive.
    fn new(segments: usize) -> Self {
        let config = config(64 * KIB);
        let (writer, disk) = (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
        let mut world = Self { writer, disk, alive: vec![], tag: 0 };
        while world.disk.files.len() < segments {
            world.append();
            world.drain();
        }
        world
    }

    fn append(&mut self) -> Seq {
        self.tag += 1;
        let record = append(&mut self.writer, self.tag, BODY);
        let seq = Seq(record.seq);
        self.writer.add_ref(seq, 1, COST);
        self.alive.push(record);
        seq
    }

    fn drain(&mut self) {
        self.disk.drain(&mut self.writer, 0);
    }

    fn checkpoint(&mut self) {
        checkpoint(&mut self.writer);
        self.drain();
    }
}

#[test]
fn a_start_reads_from_the_checkpoint_on() {
    let mut world = World::new(3);
    world.checkpoint();
    let begun = world.disk.known().start;
    assert_eq!((begun.segment, begun.offset), (3, 4096));
    world.append();
    world.drain();
    let mut seqs = vec![];
    let booted =
        boot(config(64 * KIB), 8, &world.disk.files, &world.disk.superblock, &mut |_, record| {
            seqs.extend(record.map(|record| record.seq.0))
        });
    assert!(!booted.is_everything && booted.report.gaps.is_empty());
    let read: Vec<u64> = world.alive.iter().map(|kept| kept.seq).collect();
    assert!(read.ends_with(&seqs) && seqs.len() < read.len() && seqs[0] > begun.checkpoint_seq);
    // What is before it is known all the same.
    let known: Vec<_> =
        booted.writer.segments().map(|info| (info.segment, info.first_seq)).collect();
    let wanted: Vec<_> =
        world.writer.segments().map(|info| (info.segment, info.first_seq)).collect();
    assert_eq!(known, wanted);
    assert!(!world.disk.ops.iter().any(|op| matches!(op, DiskOp::Remove { .. })));
}
