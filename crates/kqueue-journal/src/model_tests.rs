//! Writer, disk and recovery together, against a model: whatever happens in whatever order, exactly what was promised is there.
//!
//! The model is an owner of records as the engine is one: items that are put, moved when their segment is emptied, and removed, each by a record; and
//! checkpoints that say what is wanted. It knows of every item what the writer said about the disk when a process died or the power failed.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use crate::test_disk::{Booted, TestDisk, append, boot, config};
use crate::{
    DiskOp, Gap, Job, RawRecord, Retire, SLOT_BYTES, Seq, Start, Walk, Writer, WriterConfig,
};

/// Kinds from here on are not those of items that are put.
const ITEM_END: u8 = 7;
/// `meta`: where it was, key. The body is the item's.
const MOVED: u8 = 100;
/// `meta`: key.
const REMOVED: u8 = 101;
/// `meta`: a queue; of everything that is wanted in it key, place and cost.
const STATE: u8 = 102;
const QUEUES: u64 = 3;
/// Pieces in which a segment is read that is to be emptied, if the walk does not want more.
const PIECE_BYTES: u64 = 8 * 1024;
/// What a disk writes whole.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Step {
    Append {
        body_bytes: usize,
        within_ms: Option<u64>,
    },
    /// Takes a job; it is done when `Finish` comes.
    Poll,
    /// Ends the job that was taken first, or last.
    Finish {
        last: bool,
    },
    /// Jobs until there is none.
    Drain,
    /// This one of the wanted items is not wanted any more.
    Remove(usize),
    /// Goes on emptying a segment, or begins with one if one should be.
    Retire,
    /// Goes on with a checkpoint, or begins one.
    Checkpoint,
    Tick(u64),
    SetFull(bool),
    /// The process dies and what the operating system had stays; what was in flight is done as far as the bits say.
    Kill(u64),
    /// The power fails: of what was not synced that survives whose bit is set.
    PowerCut(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (prop_oneof![0usize..200, 0usize..20_000], proptest::option::of(0u64..20))
            .prop_map(|(body_bytes, within_ms)| Step::Append { body_bytes, within_ms }),
        10 => Just(Step::Poll),
        10 => any::<bool>().prop_map(|last| Step::Finish { last }),
        2 => Just(Step::Drain),
        5 => any::<usize>().prop_map(Step::Remove),
        6 => Just(Step::Retire),
        6 => Just(Step::Checkpoint),
        2 => (0u64..700).prop_map(Step::Tick),
        1 => proptest::bool::weighted(0.3).prop_map(Step::SetFull),
        1 => any::<u64>().prop_map(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

/// Where an item lies, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    seq: u64,
    cost: u64,
}

/// What the records say.
#[derive(Clone, Debug, Default)]
struct Owner {
    wanted: BTreeMap<u64, Spot>,
    /// Records that were read at this start.
    seen: BTreeSet<u64>,
}

fn number(meta: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(meta[at..at + 8].try_into().unwrap())
}

impl Owner {
    fn apply(&mut self, writer: &mut Writer, record: Option<&RawRecord<'_>>) {
        let Some(record) = record else {
            *self = Self::default();
            return;
        };
        self.seen.insert(record.seq.0);
        let spot = Spot { seq: record.seq.0, cost: cost(record.meta, record.body) };
        match record.kind {
            kind if kind < ITEM_END => self.place(writer, number(record.meta, 0), spot),
            MOVED => self.place(writer, number(record.meta, 8), spot),
            REMOVED => self.remove(writer, number(record.meta, 0)),
            STATE => self.apply_state(writer, record.meta),
            kind => panic!("kind {kind}"),
        }
    }

    fn place(&mut self, writer: &mut Writer, key: u64, spot: Spot) {
        writer.add_ref(Seq(spot.seq), 1, spot.cost);
        if let Some(old) = self.wanted.insert(key, spot) {
            writer.unref(Seq(old.seq), 1, old.cost);
        }
    }

    fn remove(&mut self, writer: &mut Writer, key: u64) {
        if let Some(old) = self.wanted.remove(&key) {
            writer.unref(Seq(old.seq), 1, old.cost);
        }
    }

    /// It replaces what was known of the queue; but where it names a record that was lost, the item is where it was before.
    fn apply_state(&mut self, writer: &mut Writer, meta: &[u8]) {
        let queue = u64::from(meta[0]);
        let before: Vec<u64> =
            self.wanted.keys().copied().filter(|key| key % QUEUES == queue).collect();
        let mut named = BTreeSet::new();
        for entry in meta[1..].chunks_exact(24) {
            let (key, spot) =
                (number(entry, 0), Spot { seq: number(entry, 8), cost: number(entry, 16) });
            named.insert(key);
            if self.seen.contains(&spot.seq) || !self.wanted.contains_key(&key) {
                self.place(writer, key, spot);
            }
        }
        for key in before.into_iter().filter(|key| !named.contains(key)) {
            self.remove(writer, key);
        }
    }

    /// Everything was read: what was not found is not there.
    fn drop_unread(&mut self, writer: &mut Writer) {
        let unread: Vec<u64> = self
            .wanted
            .iter()
            .filter(|(_, spot)| !self.seen.contains(&spot.seq))
            .map(|(&key, _)| key)
            .collect();
        unread.into_iter().for_each(|key| self.remove(writer, key));
    }

    fn state_of(&self, queue: u64) -> Vec<u8> {
        let mut meta = vec![queue as u8];
        for (key, spot) in self.wanted.iter().filter(|(key, _)| *key % QUEUES == queue) {
            for field in [*key, spot.seq, spot.cost] {
                meta.extend_from_slice(&field.to_le_bytes());
            }
        }
        meta
    }
}

fn cost(meta: &[u8], body: &[u8]) -> u64 {
    (meta.len() + body.len()) as u64
}

/// What is known of an item that was once put.
#[derive(Clone, Copy, Debug)]
struct Promise {
    put: u64,
    removed: Option<u64>,
    /// A start has shown that it is not there: it never comes again.
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Segments(u64),
    State(u64),
}

struct World {
    config: WriterConfig,
    writer: Writer,
    disk: TestDisk,
    in_flight: Vec<Job>,
    owner: Owner,
    promises: BTreeMap<u64, Promise>,
    /// Synced, as an earlier process was told.
    synced_before: Seq,
    had_power_cut: bool,
    retiring: Option<(Retire, Walk, u64)>,
    checkpoint: Option<Phase>,
    now_ms: u64,
    tag: u64,
}

impl World {
    fn new() -> Self {
        let config = config(64 * 1024);
        Self {
            config,
            writer: Writer::new(config, 1).unwrap(),
            disk: TestDisk::new(config.segment_bytes),
            in_flight: vec![],
            owner: Owner::default(),
            promises: BTreeMap::new(),
            synced_before: Seq(0),
            had_power_cut: false,
            retiring: None,
            checkpoint: None,
            now_ms: 0,
            tag: 1,
        }
    }

    fn apply(&mut self, step: &Step) {
        let before = self.writer.progress();
        match *step {
            Step::Append { body_bytes, within_ms } => self.append(body_bytes, within_ms),
            Step::Poll => self.poll(),
            Step::Finish { last } => self.finish(last),
            Step::Drain => self.drain(),
            Step::Remove(index) => self.remove(index),
            Step::Retire => drop(self.retire_step()),
            Step::Checkpoint => self.checkpoint_step(true),
            Step::Tick(ms) => self.now_ms += ms,
            Step::SetFull(is_full) => self.disk.is_full = is_full,
            Step::Kill(bits) => return self.kill(bits),
            Step::PowerCut(bits) => return self.power_cut(bits),
        }
        let after = self.writer.progress();
        assert!(before.written <= after.written && before.synced <= after.synced);
        assert!(after.synced <= after.written && !after.poisoned);
    }

    fn append(&mut self, body_bytes: usize, within_ms: Option<u64>) {
        if !self.writer.has_room(body_bytes as u64) {
            return;
        }
        self.tag += 1;
        let record = append(&mut self.writer, self.tag, body_bytes);
        let (key, spot) = (
            number(&record.meta, 0),
            Spot { seq: record.seq, cost: cost(&record.meta, &record.body) },
        );
        self.owner.place(&mut self.writer, key, spot);
        self.promises.insert(key, Promise { put: record.seq, removed: None, is_over: false });
        if let Some(within_ms) = within_ms {
            self.writer.require_sync(self.now_ms, within_ms);
        }
    }

    fn poll(&mut self) {
        self.in_flight.extend(self.writer.poll_job(self.now_ms));
        for is_background in [true, false] {
            let lane = self.in_flight.iter().filter(|job| job.is_background == is_background);
            assert!(lane.count() <= 1);
        }
    }

    fn finish(&mut self, last: bool) {
        let index = if last { self.in_flight.len().saturating_sub(1) } else { 0 };
        if index < self.in_flight.len() {
            let job = self.in_flight.remove(index);
            let result = self.disk.run(&job);
            self.writer.handle_done(self.now_ms, job.id, result);
        }
    }

    fn drain(&mut self) {
        while !self.in_flight.is_empty() {
            self.finish(false);
        }
        self.disk.drain(&mut self.writer, self.now_ms);
    }

    fn remove(&mut self, index: usize) {
        if self.owner.wanted.is_empty() {
            return;
        }
        let key = *self.owner.wanted.keys().nth(index % self.owner.wanted.len()).unwrap();
        let seq = self.writer.append(REMOVED, &key.to_le_bytes(), None, 0);
        self.owner.remove(&mut self.writer, key);
        self.promises.get_mut(&key).unwrap().removed = Some(seq.0);
    }

    /// False: there is nothing to be emptied.
    fn retire_step(&mut self) -> bool {
        if self.retiring.is_none() {
            let Some(retire) = self.writer.poll_retire() else { return false };
            assert_eq!(self.writer.poll_retire(), None, "named once");
            self.retiring = Some((retire, Walk::new(&retire.place), PIECE_BYTES));
        }
        let Some((retire, mut walk, wants_bytes)) = self.retiring.take() else { return false };
        let file = &self.disk.files[&retire.segment];
        let end = (walk.offset + wants_bytes.max(PIECE_BYTES)).min(walk.end_offset);
        let (mut found, is_intact) = (vec![], !self.had_power_cut);
        let ended = walk.feed(&file[walk.offset as usize..end as usize], &mut |record| {
            // What was lost in a power cut is lost in this file for ever; nothing there is wanted.
            if !record.is_body_sound() {
                return assert!(!is_intact);
            }
            let key = match record.kind {
                kind if kind < ITEM_END => number(record.meta, 0),
                MOVED => number(record.meta, 8),
                _ => return,
            };
            found.push((record.seq.0, key, Bytes::copy_from_slice(record.body), record.body_crc));
        });
        assert!(ended.damaged.is_empty() || !is_intact, "{ended:?}");
        for (seq, key, body, body_crc) in found {
            if self.owner.wanted.get(&key).is_some_and(|spot| spot.seq == seq) {
                let meta = [seq.to_le_bytes(), key.to_le_bytes()].concat();
                let new = self.writer.append(MOVED, &meta, Some(&body), body_crc);
                let spot = Spot { seq: new.0, cost: cost(&meta, &body) };
                self.owner.place(&mut self.writer, key, spot);
            }
        }
        if ended.is_over {
            assert!(self.writer.retire_done(retire.segment), "everything wanted was moved");
        } else {
            self.retiring = Some((retire, walk, ended.wants_bytes));
        }
        true
    }

    /// Begins one only if it is due, unless `is_forced`.
    fn checkpoint_step(&mut self, is_forced: bool) {
        self.checkpoint = match self.checkpoint.take() {
            None => {
                let may_begin =
                    self.writer.active.is_some() && self.writer.checkpoints.ended.is_none();
                if !(is_forced && may_begin || self.writer.wants_checkpoint()) {
                    return;
                }
                self.writer.begin_checkpoint();
                assert!(!self.writer.wants_checkpoint());
                Some(Phase::Segments(0))
            }
            Some(Phase::Segments(from)) => match self.writer.checkpoint_segments(from) {
                Some(next) => Some(Phase::Segments(next)),
                None => Some(Phase::State(0)),
            },
            Some(Phase::State(QUEUES)) => {
                self.writer.end_checkpoint();
                None
            }
            Some(Phase::State(queue)) => {
                self.writer.append(STATE, &self.owner.state_of(queue), None, 0);
                Some(Phase::State(queue + 1))
            }
        };
    }

    /// What was in flight when the process died is done in part.
    fn break_off(&mut self, mut bits: u64) {
        for job in core::mem::take(&mut self.in_flight) {
            let whole = (bits % (job.ops.len() as u64 + 1)) as usize;
            bits = bits.rotate_right(7);
            let mut ops = job.ops.iter();
            if !ops.by_ref().take(whole).all(|op| self.disk.run_op(op).is_ok()) {
                continue;
            }
            match ops.next() {
                Some(DiskOp::WriteSuper { slot, bytes }) => {
                    for at in (0..SLOT_BYTES).step_by(SECTOR).filter(|at| bit(bits, at / SECTOR)) {
                        self.disk.superblock[slot * SLOT_BYTES + at..][..SECTOR]
                            .copy_from_slice(&bytes[at..at + SECTOR]);
                    }
                }
                Some(DiskOp::Write { segment, offset, chunks }) => {
                    let chunks = chunks[..bits as usize % (chunks.len() + 1)].to_vec();
                    let op = DiskOp::Write { segment: *segment, offset: *offset, chunks };
                    self.disk.run_op(&op).unwrap();
                }
                _ => {}
            }
        }
    }

    fn kill(&mut self, bits: u64) {
        let progress = self.writer.progress();
        self.break_off(bits);
        self.restart(progress.written);
        self.synced_before = self.synced_before.max(progress.synced);
    }

    fn power_cut(&mut self, bits: u64) {
        self.had_power_cut = true;
        self.synced_before = self.synced_before.max(self.writer.progress().synced);
        self.break_off(bits);
        let blocks = self.disk.unsynced_blocks();
        let survivors: Vec<_> = blocks
            .iter()
            .enumerate()
            .filter(|&(index, _)| bit(bits, index))
            .map(|(_, &block)| block)
            .collect();
        self.disk.files = self.disk.power_cut(&survivors);
        self.disk.stable = self.disk.files.clone();
        for at in (0..2 * SLOT_BYTES).step_by(SECTOR).filter(|at| bit(bits, at / SECTOR)) {
            let sector = &self.disk.superblock[at..at + SECTOR];
            self.disk.stable_superblock[at..at + SECTOR].copy_from_slice(sector);
        }
        self.disk.superblock = self.disk.stable_superblock.clone();
        self.restart(self.synced_before);
        // What is not there now is nowhere.
        for promise in self.promises.values_mut().filter(|promise| promise.removed.is_some()) {
            promise.is_over = true;
        }
    }

    fn boot(&mut self) -> (Owner, Booted) {
        let mut owner = Owner::default();
        self.tag += 1;
        let (files, superblock) = (&self.disk.files, &self.disk.superblock);
        let mut booted = boot(self.config, self.tag, files, superblock, &mut |writer, record| {
            owner.apply(writer, record);
        });
        let known = self.disk.known().start;
        if booted.is_everything || known.segment == 0 {
            owner.drop_unread(&mut booted.writer);
        }
        let is_lossy = booted.report.gaps.iter().any(Gap::is_loss);
        assert!(
            !booted.is_everything || known == Start::EVERYTHING || is_lossy,
            "no reason to read everything"
        );
        (owner, booted)
    }

    /// What was promised is there, what was removed is not, and nothing that was synced is called lost.
    fn restart(&mut self, promised: Seq) {
        let (owner, Booted { writer, report, .. }) = self.boot();
        for (key, promise) in &mut self.promises {
            let is_there = owner.wanted.contains_key(key);
            assert!(!(is_there && promise.is_over), "came again: {promise:?}");
            match promise.removed {
                Some(seq) if is_there => {
                    assert!(seq > promised.0, "was removed: {promise:?}, {promised:?}");
                    promise.removed = None;
                }
                None if !is_there && !promise.is_over => {
                    let gaps = &report.gaps;
                    assert!(promise.put > promised.0, "lost: {promise:?}, {promised:?}, {gaps:?}");
                    promise.is_over = true;
                }
                // Neither the removal nor the item was written.
                Some(seq) if seq >= report.next_seq.0 => promise.is_over = true,
                _ => {}
            }
        }
        let invented = owner.wanted.keys().find(|key| !self.promises.contains_key(key));
        assert_eq!(invented, None);
        let blamed = report.gaps.iter().find(|gap| gap.was_synced);
        assert_eq!(blamed, None);
        assert!(report.next_seq > promised);
        self.owner = owner;
        self.writer = writer;
        (self.retiring, self.checkpoint) = (None, None);
    }

    /// With space and time everything gets done, and all that is wanted is on the platter, and nothing else.
    fn settle(&mut self) {
        self.disk.is_full = false;
        self.drain();
        // A segment that is being read stays, whatever the log says of it.
        while self.retiring.is_some() {
            self.retire_step();
        }
        self.writer.require_sync(self.now_ms, 0);
        self.drain();
        while let Some(due_ms) = self.writer.poll_timeout() {
            self.now_ms = self.now_ms.max(due_ms);
            self.drain();
        }
        assert!(self.writer.progress().synced >= self.writer.last_seq());
        let live = self.owner.wanted.values().map(|spot| spot.cost).sum::<u64>();
        assert_eq!(self.writer.live_bytes(), live);
        let disk = self.disk.clone();
        for is_power_cut in [false, true] {
            if is_power_cut {
                self.disk.files = self.disk.stable.clone();
                self.disk.superblock = self.disk.stable_superblock.clone();
            }
            let (owner, booted) = self.boot();
            assert_eq!(owner.wanted, self.owner.wanted);
            assert_eq!(booted.writer.live_bytes(), live);
            let numbers: Vec<u64> = booted.writer.segments().map(|info| info.segment).collect();
            assert!(numbers.iter().eq(self.disk.files.keys()), "{numbers:?}");
        }
        self.disk = disk;
    }

    /// Nothing grows for ever.
    fn check_bound(&mut self) {
        // Nothing is done about a log to which nothing was written since the start.
        self.append(10, None);
        for _ in 0..40 {
            self.settle();
            while self.checkpoint.is_some() || self.writer.wants_checkpoint() {
                self.checkpoint_step(false);
            }
            self.drain();
            if !self.retire_step() {
                break;
            }
        }
        self.settle();
        let WriterConfig { log_cap_bytes, segment_bytes, .. } = self.config;
        let bound = 2 * self.writer.live_bytes() + log_cap_bytes + 2 * segment_bytes;
        let length = self.writer.log_bytes();
        assert!(length <= bound, "{length} > {bound}: {:?}", self.segments());
        assert_eq!(length, self.disk.files.len() as u64 * segment_bytes);
    }

    fn segments(&self) -> Vec<(u64, u64)> {
        self.writer.segments().map(|info| (info.segment, info.live_bytes)).collect()
    }
}

fn bit(bits: u64, index: usize) -> bool {
    bits >> (index % 64) & 1 == 1
}

proptest! {
    #[test]
    fn exactly_what_was_promised_is_there(steps in proptest::collection::vec(any_step(), 0..400)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.settle();
        world.check_bound();
    }
}

/// The same without power cuts and with a busy queue: the log turns over many times and stays short.
#[test]
fn a_busy_log_stays_short_with_items_that_stay() {
    let mut world = World::new();
    for _ in 0..4 {
        world.append(100, None);
    }
    let pinned: Vec<u64> = world.owner.wanted.keys().copied().collect();
    for _ in 0..2000 {
        world.append(3000, None);
        let newest = world.owner.wanted.keys().position(|key| !pinned.contains(key)).unwrap();
        world.remove(newest);
        world.drain();
        world.checkpoint_step(false);
        world.retire_step();
        world.drain();
        assert!(world.disk.files.len() <= 6, "{:?}", world.segments());
    }
    assert!(world.writer.segments().next().unwrap().segment > 50);
    world.settle();
    assert_eq!(world.owner.wanted.keys().copied().collect::<Vec<_>>(), pinned);
}

/// More than are read in one piece.
const ITEMS: u64 = 12;

/// A power cut may take a record and leave the state behind it, which names that record: whoever believed the state would lose an item that was promised.
#[test]
fn a_state_may_name_a_record_that_a_power_cut_took() {
    let mut world = World::new();
    for _ in 0..ITEMS {
        world.append(1000, Some(0));
    }
    while world.disk.files.len() < 3 {
        world.append(3000, None);
        world.remove(world.owner.wanted.keys().position(is_new(&world)).unwrap());
        world.drain();
    }
    for _ in 0..QUEUES + 3 {
        world.checkpoint_step(true);
    }
    world.settle();
    let start = world.writer.last_seq();
    let unsynced_from = world.writer.segments.back().unwrap().used_bytes as usize;
    world.writer.config.log_cap_bytes = 0;
    // Some are moved, then states say so; nothing of both is synced.
    assert!(world.retire_step());
    world.poll();
    world.finish(false);
    let moved: BTreeSet<u64> = world.owner.wanted.values().map(|spot| spot.seq).collect();
    assert!(moved.iter().any(|&seq| seq > start.0), "nothing was moved");
    let moves_end = world.writer.segments.back().unwrap().used_bytes as usize;
    for _ in 0..QUEUES + 2 {
        world.checkpoint_step(true);
    }
    world.poll();
    world.finish(false);
    let blocks = world.disk.unsynced_blocks();
    let survivors: Vec<_> =
        blocks.iter().copied().filter(|&(_, at)| at + 512 > moves_end).collect();
    assert!(survivors.len() < blocks.len() && moves_end > unsynced_from + 512);
    world.disk.files = world.disk.power_cut(&survivors);
    world.disk.stable = world.disk.files.clone();
    world.synced_before = world.writer.progress().synced;
    world.restart(world.synced_before);
    assert_eq!(world.owner.wanted.len() as u64, ITEMS);
}

/// Those that were not there from the beginning.
fn is_new(world: &World) -> impl Fn(&u64) -> bool + '_ {
    |key| world.promises[key].put > ITEMS
}
