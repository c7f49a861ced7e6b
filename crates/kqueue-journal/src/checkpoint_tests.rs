//! Checkpoints, segments that go, and the superblock: what is done in which order, and what a start makes of it.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use crate::test_disk::{
    Booted, Kept, TestDisk, append, boot, checkpoint, config, headers_of, no_space,
};
use crate::writer::Space;
use crate::{
    DiskFault, DiskOp, FaultKind, HEAD_BYTES, Job, KIND_CHECKPOINT_END, KIND_FREED, KIND_SEGMENT,
    MARKER_BYTES, Recovery, SegmentInfo, SegmentRecord, Seq, Walk, Writer, decode_number,
};

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
    /// This many segments, everything in them alive, and no checkpoint.
    fn new(segments: usize) -> Self {
        let config = config(64 * KIB);
        let (writer, disk) = (Writer::new(config, 7).unwrap(), TestDisk::new(config.segment_bytes));
        let mut world = Self { writer, disk, alive: vec![], tag: 0 };
        world.grow(segments);
        world
    }

    /// Appends until there are so many segments.
    fn grow(&mut self, segments: usize) {
        while self.disk.files.len() < segments {
            self.append(BODY);
            self.drain();
        }
    }

    fn append(&mut self, body_bytes: usize) -> Seq {
        self.tag += 1;
        let record = append(&mut self.writer, self.tag, body_bytes);
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

    /// Takes the next job, checks what it is, and does it.
    fn step(&mut self, wanted: &[&str]) -> Job {
        let job = self.writer.poll_job(0).expect("a job");
        assert_eq!(names(&job), wanted);
        self.disk.run(&job).unwrap();
        self.writer.handle_done(0, job.id, Ok(()));
        job
    }

    fn info(&self, number: u64) -> SegmentInfo {
        self.writer.segments().find(|info| info.segment == number).expect("there")
    }

    fn first_of(&self, number: u64) -> u64 {
        self.info(number).first_seq.0
    }

    /// Nothing in the segment is needed any more, but for what `keep` says.
    fn forget(&mut self, number: u64, mut keep: impl FnMut(u64) -> bool) {
        let writer = &mut self.writer;
        self.alive.retain(|kept| {
            let goes = writer.segment_of(Seq(kept.seq)) == Some(number) && !keep(kept.seq);
            if goes {
                writer.unref(Seq(kept.seq), 1, COST);
            }
            !goes
        });
    }

    fn boot(&self) -> (Vec<u64>, Booted) {
        let mut seqs = vec![];
        let (files, superblock) = (&self.disk.files, &self.disk.superblock);
        let booted = boot(config(64 * KIB), 8, files, superblock, &mut |_, record| match record {
            None => seqs.clear(),
            Some(record) => seqs.push(record.seq.0),
        });
        (seqs, booted)
    }

    /// A new process, which finds everything alive that was.
    fn restart(&mut self) {
        self.writer = self.boot().1.writer;
        for kept in &self.alive {
            self.writer.add_ref(Seq(kept.seq), 1, COST);
        }
    }

    /// The journal's own records in what is on the platter: kind, number.
    fn own_records(&self) -> Vec<(u8, u64)> {
        let mut own = vec![];
        for (header, file) in headers_of(&self.disk.stable).iter().zip(self.disk.stable.values()) {
            let mut recovery = Recovery::with_holes(Default::default());
            let mut deliver = |record: crate::RawRecord<'_>| match record.kind {
                KIND_SEGMENT => {
                    own.push((KIND_SEGMENT, SegmentRecord::decode(record.meta).unwrap().number));
                }
                KIND_FREED | KIND_CHECKPOINT_END => {
                    own.push((record.kind, decode_number(record.meta).unwrap()));
                }
                _ => {}
            };
            recovery.segment(header, file, None, &mut deliver).unwrap();
        }
        own
    }
}

fn names(job: &Job) -> Vec<&'static str> {
    let name = |op: &DiskOp| match op {
        DiskOp::Prepare { .. } => "prepare",
        DiskOp::Create { .. } => "create",
        DiskOp::Write { .. } => "write",
        DiskOp::Sync { .. } => "sync",
        DiskOp::Flush { .. } => "flush",
        DiskOp::Remove { .. } => "remove",
        DiskOp::WriteSuper { .. } => "super",
    };
    job.ops.iter().map(name).collect()
}

fn numbers(writer: &Writer) -> Vec<(u64, u64)> {
    writer.segments().map(|info| (info.segment, info.first_seq.0)).collect()
}

#[test]
fn a_start_reads_from_the_checkpoint_on() {
    let mut world = World::new(3);
    let begun = world.writer.last_seq().0 + 2;
    world.checkpoint();
    let start = world.disk.known().start;
    assert_eq!(start.segment, 3);
    assert!(start.seq <= start.checkpoint_seq && start.checkpoint_seq <= begun, "{start:?}");
    let seq = world.append(BODY);
    world.drain();
    let (seqs, booted) = world.boot();
    assert!(!booted.is_everything && booted.report.gaps.is_empty());
    assert_eq!(seqs, [seq.0]);
    // What is before it is known all the same.
    assert_eq!(numbers(&booted.writer), numbers(&world.writer));
    let (mut again, last) = (booted.writer, Seq(world.first_of(2) - 2));
    again.add_ref(Seq(1), 1, COST);
    assert_eq!(again.live_bytes(), COST);
    assert_eq!(again.locate(Seq(1), last), world.writer.locate(Seq(1), last));
    assert!(!world.disk.ops.iter().any(|op| matches!(op, DiskOp::Remove { .. })));
}

/// What lies before a checkpoint may be of an older one, which names segments that only this one describes.
#[test]
fn two_checkpoints_near_each_other_begin_each_at_its_own_place() {
    let mut world = World::new(2);
    world.checkpoint();
    let first = world.disk.known().start;
    world.append(10);
    world.checkpoint();
    let second = world.disk.known().start;
    assert!(first.segment == second.segment && first.checkpoint_seq < second.checkpoint_seq);
    assert_eq!(world.boot().0, []);
}

#[test]
fn the_superblock_is_written_when_the_end_of_the_checkpoint_is_synced() {
    let mut world = World::new(2);
    let known = world.writer.superblock();
    world.append(10);
    let write = world.writer.poll_job(0).unwrap();
    checkpoint(&mut world.writer);
    assert!(!world.writer.wants_checkpoint(), "one after the other");
    // What was on its way does not hold the checkpoint.
    world.disk.run(&write).unwrap();
    world.writer.handle_done(0, write.id, Ok(()));
    let end = world.writer.last_seq();
    assert_eq!(world.writer.superblock(), known);
    let job = world.writer.poll_job(0).unwrap();
    assert_eq!(names(&job), ["write", "sync"]);
    assert_eq!(world.writer.poll_job(0), None);
    world.disk.run(&job).unwrap();
    assert_eq!(world.writer.superblock(), known);
    world.writer.handle_done(0, job.id, Ok(()));
    assert!(world.writer.progress().synced >= end);
    let job = world.writer.poll_job(0).unwrap();
    assert_eq!(names(&job), ["super"]);
    assert!(!job.is_background && !job.is_write_only);
    // As long as it is not written, nothing goes for it.
    world.forget(1, |_| false);
    assert_eq!(world.writer.poll_job(0), None);
    world.disk.run(&job).unwrap();
    world.writer.handle_done(0, job.id, Ok(()));
    let now = world.writer.superblock();
    assert_eq!((now, now.generation), (world.disk.known(), known.generation + 1));
    assert_eq!(now.start.segment, 2);
    world.step(&["write", "sync"]);
    world.step(&["remove"]);
}

#[test]
fn the_superblock_names_every_new_segment_and_keeps_the_start() {
    let mut world = World::new(2);
    world.checkpoint();
    let start = world.disk.known().start;
    world.grow(4);
    assert_eq!((world.disk.known().newest_segment, world.disk.known().start), (4, start));
}

#[test]
fn without_a_checkpoint_nothing_goes() {
    let mut world = World::new(4);
    for number in 1..=4 {
        world.forget(number, |_| false);
    }
    world.drain();
    assert_eq!(world.disk.files.len(), 4);
    world.checkpoint();
    // Nor does the segment in which replay begins.
    assert_eq!(world.disk.files.keys().copied().collect::<Vec<_>>(), [4]);
    let freed = world.own_records().into_iter().filter(|(kind, _)| *kind == KIND_FREED).count();
    assert_eq!(freed, 3);
}

#[test]
fn a_segment_goes_from_anywhere_when_the_record_that_says_so_is_synced() {
    let mut world = World::new(4);
    world.checkpoint();
    world.forget(2, |_| false);
    let job = world.writer.poll_job(0).unwrap();
    assert_eq!(names(&job), ["write", "sync"], "the record is due at once");
    world.disk.run(&job).unwrap();
    assert_eq!(world.writer.poll_job(0), None);
    world.writer.handle_done(0, job.id, Ok(()));
    assert!(world.own_records().contains(&(KIND_FREED, 2)));
    let job = world.step(&["remove"]);
    assert!(job.is_background);
    assert_eq!(job.ops, [DiskOp::Remove { segment: 2 }]);
    let left: Vec<u64> = world.writer.segments().map(|info| info.segment).collect();
    assert_eq!(left, [1, 3, 4]);
    assert!(world.writer.segment_of(Seq(world.first_of(3) - 2)).is_none());
    let (_, booted) = world.boot();
    assert!(!booted.is_everything);
    assert_eq!(numbers(&booted.writer), numbers(&world.writer));
}

#[test]
fn a_segment_that_is_read_stays_until_that_is_over() {
    let mut world = World::new(3);
    world.checkpoint();
    world.writer.begin_read(1);
    world.writer.begin_read(1);
    world.forget(1, |_| false);
    world.drain();
    world.writer.end_read(1);
    world.drain();
    assert!(world.disk.files.contains_key(&1));
    assert!(world.own_records().contains(&(KIND_FREED, 1)));
    world.writer.end_read(1);
    world.drain();
    assert!(!world.disk.files.contains_key(&1));
}

#[test]
fn a_segment_that_may_not_go_yet_is_tried_again_and_that_is_no_fault() {
    let mut world = World::new(3);
    world.checkpoint();
    world.forget(1, |_| false);
    world.step(&["write", "sync"]);
    for now_ms in [0, 1000, 2000] {
        let job = world.writer.poll_job(now_ms).expect("a job");
        assert_eq!(names(&job), ["remove"]);
        let fault = DiskFault { kind: FaultKind::Later, text: "somebody copies it".into() };
        world.writer.handle_done(now_ms, job.id, Err(fault));
        assert_eq!(world.writer.poll_job(now_ms + 999), None);
        assert_eq!(world.writer.poll_timeout(), Some(now_ms + 1000));
    }
    assert!(!world.writer.progress().poisoned);
    world.disk.drain(&mut world.writer, 3000);
    assert!(!world.disk.files.contains_key(&1));
}

#[test]
fn a_checkpoint_does_not_describe_a_segment_that_is_on_its_way_out() {
    let mut world = World::new(4);
    world.checkpoint();
    world.writer.begin_read(2);
    world.forget(2, |_| false);
    world.drain();
    world.grow(5);
    world.checkpoint();
    let described: Vec<u64> = world
        .own_records()
        .into_iter()
        .skip_while(|own| *own != (KIND_FREED, 2))
        .filter_map(|(kind, number)| (kind == KIND_SEGMENT).then_some(number))
        .collect();
    assert_eq!(described, [1, 3, 4, 5]);
    // Its file is there at the next start, and goes then.
    let (_, booted) = world.boot();
    let (mut writer, mut disk) = (booted.writer, world.disk.clone());
    assert!(writer.segments().all(|info| info.segment != 2));
    disk.drain(&mut writer, 0);
    assert!(!disk.files.contains_key(&2));
}

#[test]
fn a_file_that_the_log_gave_up_goes_when_that_is_synced() {
    let mut world = World::new(3);
    world.checkpoint();
    world.forget(1, |_| false);
    let job = world.writer.poll_job(0).unwrap();
    // The process dies between the write and the sync.
    world.disk.run_op(&job.ops[0]).unwrap();
    world.restart();
    assert!(world.writer.segments().all(|info| info.segment != 1));
    let job = world.writer.poll_job(0).unwrap();
    assert_eq!(names(&job), ["sync"]);
    assert_eq!(world.writer.poll_job(0), None);
    world.disk.run(&job).unwrap();
    world.writer.handle_done(0, job.id, Ok(()));
    let job = world.step(&["remove"]);
    assert_eq!(job.ops, [DiskOp::Remove { segment: 1 }]);
    assert_eq!(world.writer.poll_job(0), None);
}

#[test]
fn a_checkpoint_whose_beginning_gets_into_the_next_segment() {
    let mut world = World::new(2);
    // Only the reserve is left in the segment: removals go there on a full disk.
    let room = |world: &World| {
        64 * KIB
            - world.writer.segments.back().unwrap().used_bytes
            - world.writer.config.reserve_bytes()
    };
    let overhead = (HEAD_BYTES + 8 + MARKER_BYTES) as u64;
    while room(&world) > overhead + BODY as u64 {
        world.append(BODY);
        world.drain();
    }
    let left = room(&world) - overhead;
    world.append(left as usize);
    world.drain();
    assert_eq!(room(&world), 0);
    let end = world.writer.segments.back().unwrap().used_bytes;
    world.checkpoint();
    assert_eq!(world.disk.files.len(), 3);
    let start = world.disk.known().start;
    let first_seq = headers_of(&world.disk.files)[2].first_seq;
    assert_eq!((start.segment, start.checkpoint_seq), (2, first_seq));
    assert!(start.seq < first_seq && start.offset < end);
    let described = world.own_records().into_iter().filter(|(kind, _)| *kind == KIND_SEGMENT);
    assert_eq!(described.collect::<Vec<_>>(), [(KIND_SEGMENT, 1), (KIND_SEGMENT, 2)]);
    let last = world.append(10);
    world.drain();
    let (seqs, booted) = world.boot();
    assert!(!booted.is_everything && booted.report.gaps.is_empty());
    assert_eq!(seqs, [last.0]);
    assert_eq!(numbers(&booted.writer), numbers(&world.writer));
    // The third one says where the second one ends.
    assert_eq!(booted.writer.segment_end(Seq(first_seq - 2)), Seq(first_seq));
}

#[test]
fn what_was_replayed_counts_towards_the_next_checkpoint() {
    let mut world = World::new(3);
    world.checkpoint();
    assert!(!world.writer.wants_checkpoint());
    for _ in 0..20 {
        world.append(BODY);
    }
    world.drain();
    let before = world.writer.bytes_since_checkpoint();
    assert!(!world.writer.wants_checkpoint() && before > 20 * COST);
    world.restart();
    // Markers count, too, where it was read, and what is read before the checkpoint.
    let read = world.writer.bytes_since_checkpoint();
    assert!((before..before + 64 * KIB).contains(&read), "{read}");
    while !world.writer.wants_checkpoint() {
        world.append(BODY);
        world.drain();
    }
    // Two segments' worth, the half of the cap.
    let due = world.writer.bytes_since_checkpoint();
    assert!((128 * KIB..128 * KIB + 2 * COST + 100).contains(&due), "{due}");
    world.checkpoint();
    assert!(!world.writer.wants_checkpoint());
}

#[test]
fn starts_alone_do_not_make_the_log_long() {
    let mut world = World::new(1);
    for _ in 0..50 {
        world.restart();
        append(&mut world.writer, 1, 10);
        world.drain();
        if world.writer.wants_checkpoint() {
            world.checkpoint();
        }
        assert!(world.disk.files.len() <= 6, "{:?}", numbers(&world.writer));
    }
}

/// Appends again what is alive in the segment.
fn empty(world: &mut World, place: &crate::Place) {
    let file = world.disk.files[&place.segment].clone();
    let mut moved = vec![];
    let end = Walk::new(place).feed(
        &file[place.offset as usize..place.end_offset as usize],
        &mut |record| {
            if world.alive.iter().any(|kept| kept.seq == record.seq.0) {
                moved.push((record.seq, record.kind, record.meta.to_vec(), record.body.to_vec()));
            }
        },
    );
    assert!(end.is_over && end.damaged.is_empty());
    for (old, kind, meta, body) in moved {
        let body = Bytes::from(body);
        let seq = world.writer.append(kind, &meta, Some(&body), crc32fast::hash(&body));
        world.writer.add_ref(seq, 1, COST);
        world.writer.unref(old, 1, COST);
        for kept in world.alive.iter_mut().filter(|kept| kept.seq == old.0) {
            kept.seq = seq.0;
        }
    }
}

#[test]
fn a_log_that_is_too_long_is_emptied_where_the_least_is_alive() {
    let mut world = World::new(6);
    let keeps = |world: &mut World, number: u64, count: usize| {
        let mut left = count;
        world.forget(number, |_| {
            left = left.saturating_sub(1);
            left > 0
        });
    };
    for (number, count) in [(1, 6), (2, 3), (3, 9), (4, 2)] {
        keeps(&mut world, number, count);
    }
    world.writer.config.log_cap_bytes = 128 * KIB;
    assert!(world.writer.is_too_long());
    assert_eq!(world.writer.poll_retire(), None, "no checkpoint yet");
    world.checkpoint();
    let retire = world.writer.poll_retire().unwrap();
    assert_eq!(retire.segment, 4);
    assert_eq!((retire.place.seq, retire.place.end_seq), (world.first_of(4), world.first_of(5)));
    assert_eq!(world.writer.poll_retire(), None, "named once");
    let before: Vec<_> = world.alive.iter().map(|kept| kept.meta.clone()).collect();
    empty(&mut world, &retire.place);
    world.drain();
    assert!(world.disk.files.contains_key(&4), "it is being read");
    assert!(world.writer.retire_done(3), "that one was not asked for");
    assert!(world.writer.retire_done(4));
    world.drain();
    assert!(!world.disk.files.contains_key(&4));
    assert_eq!(before, world.alive.iter().map(|kept| kept.meta.clone()).collect::<Vec<_>>());
    assert_eq!(world.writer.live_bytes(), world.alive.len() as u64 * COST);
    assert_eq!(world.writer.poll_retire().unwrap().segment, 2);
}

#[test]
fn what_goes_anyway_does_not_make_the_log_too_long() {
    let mut world = World::new(9);
    world.checkpoint();
    // Of the third one two records are alive: it would be emptied if the log were too long.
    let mut left = 3;
    world.forget(3, |_| {
        left -= 1;
        left > 0
    });
    world.writer.config.log_cap_bytes = 0;
    world.forget(1, |_| false);
    world.forget(2, |_| false);
    world.step(&["write", "sync"]);
    let is_long = |world: &World| world.writer.log_bytes() > 2 * world.writer.live_bytes();
    for number in [4, 5] {
        world.forget(number, |_| false);
    }
    world.step(&["write", "sync"]);
    assert!(is_long(&world), "all files are there still");
    assert!(!world.writer.is_too_long());
    assert_eq!(world.writer.poll_retire(), None);
}

#[test]
fn a_segment_that_is_almost_full_of_what_is_alive_is_not_copied() {
    let mut world = World::new(6);
    world.checkpoint();
    world.writer.config.log_cap_bytes = 0;
    assert!(!world.writer.is_too_long(), "everything is alive");
    world.writer.space = Space::Refused { retry_ms: 1 };
    assert!(world.writer.is_too_long());
    assert_eq!(world.writer.poll_retire(), None);
    let mut left = 14;
    world.forget(1, |_| {
        left -= 1;
        left > 0
    });
    assert_eq!(world.writer.poll_retire().map(|retire| retire.segment), Some(1));
}

#[test]
fn a_segment_that_could_not_be_emptied_stays_until_it_is_empty() {
    let mut world = World::new(4);
    world.checkpoint();
    world.writer.config.log_cap_bytes = 0;
    let last = world.first_of(2) - 2;
    for number in 1..=4 {
        world.forget(number, |seq| seq == last);
    }
    let retire = world.writer.poll_retire().unwrap();
    assert_eq!(retire.segment, 1);
    assert!(!world.writer.retire_done(1), "one record is still alive");
    world.drain();
    assert!(world.disk.files.contains_key(&1));
    assert_eq!(world.writer.poll_retire(), None, "not asked for again and again");
    world.forget(1, |_| false);
    world.drain();
    assert!(!world.disk.files.contains_key(&1));
}

#[test]
fn a_removal_that_needs_space_is_tried_again() {
    let mut world = World::new(3);
    world.checkpoint();
    world.forget(1, |_| false);
    world.step(&["write", "sync"]);
    let remove = world.writer.poll_job(0).unwrap();
    assert_eq!(names(&remove), ["remove"]);
    world.writer.handle_done(10, remove.id, Err(no_space()));
    assert_eq!(world.writer.poll_job(10), None);
    assert_eq!(world.writer.poll_timeout(), Some(1010));
    world.disk.drain(&mut world.writer, 1010);
    assert!(!world.disk.files.contains_key(&1));
    assert!(!world.writer.progress().poisoned);
}

#[test]
fn the_last_spare_is_for_removals() {
    let mut world = World::new(1);
    world.append(10);
    world.drain();
    world.disk.is_full = true;
    // One of the two that are wanted.
    world.disk.spares = vec![vec![0; 64 * 1024]];
    world.writer.space = Space::Unknown;
    while world.writer.has_room(1000) {
        world.append(1000);
        world.drain();
    }
    assert!(matches!(world.writer.space, Space::Refused { .. }));
    assert_eq!((world.disk.files.len(), world.disk.spares.len()), (1, 1));
    // Removals: the rest of the segment, and then the spare.
    while world.disk.spares.len() == 1 {
        append(&mut world.writer, 1_000_000, 0);
        world.drain();
    }
    assert_eq!(world.disk.files.len(), 2);
    for _ in 0..100 {
        append(&mut world.writer, 1_000_000, 0);
        world.drain();
        assert!(world.writer.progress().written >= world.writer.last_seq());
        assert!(!world.writer.has_room(0), "it is as good as empty, but not for puts");
    }
    // Only two new ones make it one like any other.
    world.disk.is_full = false;
    world.disk.drain(&mut world.writer, 1000);
    assert_eq!(world.disk.spares.len(), 2);
    assert!(world.writer.has_room(1000));
}

#[test]
fn the_last_spare_is_taken_once() {
    let mut world = World::new(1);
    world.append(10);
    world.drain();
    world.disk.is_full = true;
    world.disk.spares = vec![vec![0; 64 * 1024]];
    world.writer.space = Space::Unknown;
    while world.disk.files.len() < 2 || world.writer.progress().written >= world.writer.last_seq() {
        append(&mut world.writer, 1_000_000, 0);
        world.drain();
    }
    // That one is full, too. What cannot be written waits.
    assert_eq!((world.disk.files.len(), world.disk.spares.len()), (2, 0));
    assert_eq!(world.writer.poll_timeout(), Some(1000));
    world.disk.is_full = false;
    world.disk.drain(&mut world.writer, 1000);
    assert!(world.writer.progress().written >= world.writer.last_seq());
}
