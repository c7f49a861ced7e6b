//! Writer, disk and recovery together, against a model: whatever happens in whatever order, what was promised is there.
//!
//! The model knows every item ever appended by its content (no two are alike), which of them are still wanted, and what the writer said about
//! the disk when a process died or the power failed.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use crate::test_disk::{Kept, TestDisk, append, config, recover, reopen};
use crate::{DiskOp, Job, Retire, Seq, Writer, WriterConfig, replay_segment};

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
    /// This one of the wanted items is not wanted any more.
    Forget(usize),
    /// Empties the front segment if it should go.
    Retire,
    Tick(u64),
    SetFull(bool),
    /// The process dies and what the operating system had stays.
    Kill,
    /// The power fails: of the unsynced blocks those survive whose bit is set.
    PowerCut(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (prop_oneof![0usize..200, 0usize..20_000], proptest::option::of(0u64..20))
            .prop_map(|(body_bytes, within_ms)| Step::Append { body_bytes, within_ms }),
        10 => Just(Step::Poll),
        10 => any::<bool>().prop_map(|last| Step::Finish { last }),
        5 => any::<usize>().prop_map(Step::Forget),
        3 => Just(Step::Retire),
        2 => (0u64..700).prop_map(Step::Tick),
        1 => proptest::bool::weighted(0.3).prop_map(Step::SetFull),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

/// What tells an item from all others.
type Content = (u8, Vec<u8>, Vec<u8>);

fn content(record: &Kept) -> Content {
    (record.kind, record.meta.clone(), record.body.clone())
}

/// Where an item that is wanted lies in the log.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where it was appended first; a promise about this record is one about the item.
    first_seq: u64,
    /// Where its reference is.
    seq: u64,
}

struct World {
    config: WriterConfig,
    writer: Writer,
    disk: TestDisk,
    in_flight: Vec<Job>,
    ever: BTreeSet<Content>,
    wanted: BTreeMap<Content, Place>,
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
            ever: BTreeSet::new(),
            wanted: BTreeMap::new(),
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
            Step::Forget(index) => self.forget(index),
            Step::Retire => self.retire(),
            Step::Tick(ms) => self.now_ms += ms,
            Step::SetFull(is_full) => self.disk.is_full = is_full,
            Step::Kill => return self.restart(self.disk.files.clone(), before.written),
            Step::PowerCut(bits) => return self.power_cut(bits, before.synced),
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
        self.writer.add_ref(Seq(record.seq), 1, bytes_of(&record));
        self.ever.insert(content(&record));
        let place = Place { first_seq: record.seq, seq: record.seq };
        self.wanted.insert(content(&record), place);
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

    fn forget(&mut self, index: usize) {
        if self.wanted.is_empty() {
            return;
        }
        let chosen = self.wanted.keys().nth(index % self.wanted.len()).cloned().unwrap();
        let place = self.wanted.remove(&chosen).unwrap();
        self.writer.unref(Seq(place.seq));
    }

    fn retire(&mut self) {
        if let Some(retire) = self.writer.poll_retire() {
            self.empty_front(retire);
        }
    }

    fn empty_front(&mut self, retire: Retire) {
        if retire.needs_rerecord {
            let read = self.writer.read_job(retire.segment).unwrap();
            let DiskOp::Read { segment, offset: 0, bytes } = read.ops[0] else {
                panic!("{read:?}")
            };
            let mut file = self.disk.files[&segment].clone();
            file.truncate(bytes as usize);
            let mut records = Vec::new();
            replay_segment(&file, retire.end_seq, &mut |record| {
                records.push((
                    record.seq.0,
                    record.kind,
                    record.meta.to_vec(),
                    record.body.to_vec(),
                ));
            })
            .unwrap();
            for (seq, kind, meta, body) in records {
                self.rerecord(seq, kind, meta, body);
            }
        }
        assert!(self.writer.retire_done(retire.segment), "everything wanted was moved");
    }

    fn rerecord(&mut self, old: u64, kind: u8, meta: Vec<u8>, body: Vec<u8>) {
        let Some(place) = self.wanted.get_mut(&(kind, meta.clone(), body.clone())) else { return };
        if place.seq != old {
            return;
        }
        let shared = Bytes::from(body);
        let seq = self.writer.append(kind, &meta, Some(&shared), crc32fast::hash(&shared));
        self.writer.add_ref(seq, 1, (meta.len() + shared.len()) as u64);
        self.writer.unref(Seq(old));
        place.seq = seq.0;
    }

    fn power_cut(&mut self, bits: u64, promised: Seq) {
        let blocks = self.disk.unsynced_blocks();
        let survivors: Vec<_> = blocks
            .iter()
            .enumerate()
            .filter(|(index, _)| bits >> (index % 64) & 1 == 1)
            .map(|(_, &block)| block)
            .collect();
        self.restart(self.disk.power_cut(&survivors), promised);
    }

    /// What was promised is there; what is there had been appended, in order; nothing that was promised is called lost.
    fn restart(&mut self, files: BTreeMap<u64, Vec<u8>>, promised: Seq) {
        let (kept, report) = recover(&files);
        assert!(kept.is_sorted());
        let mut places = BTreeMap::new();
        for record in &kept {
            assert!(self.ever.contains(&content(record)), "invented");
            places.insert(content(record), record.seq);
        }
        for (content, place) in &self.wanted {
            let is_promised = place.first_seq <= promised.0;
            assert!(!is_promised || places.contains_key(content), "{place:?}: {:?}", report.gaps);
        }
        for gap in report.gaps.iter().filter(|gap| gap.missing > 0) {
            assert!(gap.first_seq > promised || !gap.was_synced, "{gap:?}");
        }
        assert!(report.next_seq > promised);
        self.wanted.retain(|content, _| places.contains_key(content));
        self.tag += 1;
        self.writer = reopen(self.config, self.tag, &files);
        for (content, place) in &mut self.wanted {
            // The first place still counts: it was delivered.
            place.seq = places[content];
            place.first_seq = place.first_seq.min(place.seq);
            let bytes = (content.1.len() + content.2.len()) as u64;
            self.writer.add_ref(Seq(place.seq), 1, bytes);
        }
        self.disk.files = files.clone();
        self.disk.stable = files;
        self.in_flight.clear();
    }

    /// With space and time everything gets done, and all that is wanted is on the platter.
    fn settle(&mut self) {
        self.disk.is_full = false;
        while !self.in_flight.is_empty() {
            self.finish(false);
        }
        self.writer.require_sync(self.now_ms, 0);
        self.disk.drain(&mut self.writer, self.now_ms);
        if let Some(due_ms) = self.writer.poll_timeout() {
            self.now_ms = self.now_ms.max(due_ms);
            self.disk.drain(&mut self.writer, self.now_ms);
        }
        assert!(self.writer.progress().synced >= self.writer.last_seq());
        let live: u64 =
            self.wanted.keys().map(|(_, meta, body)| (meta.len() + body.len()) as u64).sum();
        assert_eq!(self.writer.live_bytes(), live);
        let kept: BTreeSet<_> = recover(&self.disk.stable).0.iter().map(content).collect();
        assert!(self.wanted.keys().all(|content| kept.contains(content)));
    }

    /// Nothing grows for ever: the log is never much longer than its cap or twice what is alive.
    fn check_bound(&mut self) {
        self.settle();
        while self.writer.log_bytes() > self.config.log_cap_bytes.max(2 * self.writer.live_bytes())
        {
            let before = self.writer.segments().next();
            // The active segment is as large as any and may hold nothing yet.
            let Some(retire) = self.writer.poll_retire() else { break };
            self.empty_front(retire);
            self.disk.drain(&mut self.writer, self.now_ms);
            assert_ne!(self.writer.segments().next(), before);
        }
        let bound = self.config.log_cap_bytes.max(2 * self.writer.live_bytes());
        assert!(self.writer.log_bytes() <= bound + 2 * self.config.segment_bytes);
    }
}

fn bytes_of(record: &Kept) -> u64 {
    (record.meta.len() + record.body.len()) as u64
}

proptest! {
    #[test]
    fn nothing_that_was_promised_is_lost(steps in proptest::collection::vec(any_step(), 0..200)) {
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
fn a_busy_log_stays_short_with_one_item_that_stays() {
    let mut world = World::new();
    world.append(100, None);
    let pinned = world.wanted.keys().next().cloned().unwrap();
    for _ in 0..2000 {
        world.append(3000, None);
        let newest = world.wanted.keys().find(|content| **content != pinned).cloned().unwrap();
        let place = world.wanted.remove(&newest).unwrap();
        world.writer.unref(Seq(place.seq));
        world.disk.drain(&mut world.writer, 0);
        world.retire();
        world.disk.drain(&mut world.writer, 0);
        assert!(world.disk.files.len() <= 6, "{}", world.disk.files.len());
    }
    assert!(world.writer.segments().next().unwrap().segment > 50);
    world.settle();
    assert_eq!(world.wanted.len(), 1);
}
