//! The engine against a model that is too simple to be wrong, with restarts and emptied segments among the operations.
//!
//! Waits are not in the model: who gets what when several wait is tested below, and by the simulator.

mod lanes_model;
mod rules;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use std::format;
use std::string::String;
use std::vec;

use bytes::Bytes;
use proptest::prelude::*;

use crate::*;

/// Records per segment.
const SEGMENT: u64 = 16;

/// A log in memory, in small segments. What was written before the last checkpoint is not replayed, and its segments go in any order.
#[derive(Default)]
struct TestLog {
    last: u64,
    entries: BTreeMap<u64, Entry>,
    /// References and what they keep alive, by segment.
    refs: BTreeMap<u64, (u64, u64)>,
    gone: BTreeSet<u64>,
    /// Where replay begins.
    start: u64,
    memory: u64,
    /// Nothing may be moved.
    is_full: bool,
}

struct Entry {
    kind: u8,
    meta: Vec<u8>,
    body: Bytes,
    body_crc: u32,
    share: u32,
}

impl Recorder for TestLog {
    fn next_seq(&self) -> Seq {
        Seq(self.last + 1)
    }

    fn record(&mut self, record: &Record<'_>) -> Recorded {
        self.last += 1;
        let mut meta = Vec::new();
        record.encode(&mut meta);
        let body = record.body().cloned().unwrap_or_default();
        let refs = record.references();
        let share = (meta.len() + body.len()) as u32 / refs.max(1);
        let seq = Seq(self.last);
        self.add_ref(seq, u64::from(refs), u64::from(refs * share));
        let (kind, body_crc) = (record.kind(), record.body_crc());
        self.entries.insert(self.last, Entry { kind, meta, body, body_crc, share });
        Recorded { seq, share }
    }

    fn add_ref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        let entry = self.refs.entry(seq.0 / SEGMENT).or_default();
        *entry = (entry.0 + refs, entry.1 + bytes);
    }

    fn unref(&mut self, seq: Seq, refs: u64, bytes: u64) {
        if seq == Seq(0) {
            return;
        }
        let entry = self.refs.entry(seq.0 / SEGMENT).or_default();
        entry.0 = entry.0.checked_sub(refs).expect("records that are referred to");
        entry.1 = entry.1.saturating_sub(bytes);
    }

    fn has_room(&self, _body_bytes: u64) -> bool {
        !self.is_full
    }

    fn is_full(&self) -> bool {
        self.is_full
    }

    fn segment_end(&self, seq: Seq) -> Seq {
        Seq((seq.0 / SEGMENT + 1) * SEGMENT)
    }

    fn has_segment(&self, seq: Seq) -> bool {
        !self.gone.contains(&(seq.0 / SEGMENT))
    }

    fn offset_near(&self, seq: Seq) -> u64 {
        seq.0 * 1000
    }
}

impl TestLog {
    /// What recovery makes of the log.
    fn replay(&mut self) -> Engine {
        let mut engine = new_engine(self.memory);
        self.replay_into(&mut engine);
        engine
    }

    fn replay_into(&mut self, engine: &mut Engine) {
        engine.keep_old(self.start == 0);
        self.refs.clear();
        let entries = core::mem::take(&mut self.entries);
        for (&seq, entry) in entries.range(self.start..) {
            let record = RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record");
            let refs = record.references();
            self.add_ref(Seq(seq), u64::from(refs), u64::from(refs * entry.share));
            let (body, crc) = (&entry.body, entry.body_crc);
            engine.replay(Seq(seq), record, body, crc, entry.share, self).expect("a sound state");
        }
        engine.finish_replay(self);
        self.entries = entries;
    }

    /// What the disk has of a queue's items.
    fn load(&self, request: &LoadRequest) -> Vec<Loaded> {
        assert!(self.has_segment(request.first), "a read in a segment that is gone");
        let mut items = Vec::new();
        for (&seq, entry) in self.entries.range(request.first.0..=request.last.0) {
            let record = RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record");
            let RecordBuf::Put(put) = record else { continue };
            if put.queues.contains(&request.queue) {
                items.push(put.loaded(Seq(seq), entry.body.clone(), entry.body_crc, entry.share));
            }
        }
        items
    }

    /// Reads whatever somebody waits for.
    fn load_all(&mut self, engine: &mut Engine, now: Now) {
        engine.handle_written(Seq(self.last), self);
        while let Some(request) = engine.poll_load() {
            let items = self.load(&request);
            let lost = engine.handle_loaded(now, &request, items, request.last, self);
            assert_eq!(lost, 0, "nothing is damaged");
            engine.handle_written(Seq(self.last), self);
        }
    }

    fn checkpoint(&mut self, engine: &mut Engine) {
        engine.handle_written(Seq(self.last), self);
        let start = self.last + 1;
        let mut from = Some(QueueNo(0));
        while let Some(next) = from {
            from = engine.checkpoint_definitions(next, 2, self);
        }
        from = Some(QueueNo(0));
        while let Some(next) = from {
            from = engine.checkpoint_states(next, 2, self);
        }
        let mut from = Some(0);
        while let Some(next) = from {
            from = engine.checkpoint_keys(next, 2, self);
        }
        self.start = start;
    }

    /// What the engine refers to is what the log holds, segment by segment.
    fn check_references(&self, engine: &Engine) {
        let mut refs = BTreeMap::<u64, u64>::new();
        engine.references(|seq, count| {
            if seq != Seq(0) {
                *refs.entry(seq.0 / SEGMENT).or_default() += count;
            }
        });
        let held = self.refs.iter().map(|(&segment, &(refs, _))| (segment, refs));
        let held: BTreeMap<u64, u64> = held.filter(|(_, refs)| *refs > 0).collect();
        assert_eq!(refs, held, "references by segment");
    }

    /// Empties one of the segments before the checkpoint.
    fn retire(&mut self, engine: &mut Engine, nth: usize) {
        engine.handle_written(Seq(self.last), self);
        let candidates: Vec<u64> =
            (0..self.start / SEGMENT).filter(|segment| !self.gone.contains(segment)).collect();
        let Some(&segment) = candidates.get(nth % candidates.len().max(1)) else { return };
        let range = segment * SEGMENT..(segment + 1) * SEGMENT;
        let seqs: Vec<u64> = self.entries.range(range).map(|(&seq, _)| seq).collect();
        let mut moves = Moves::default();
        for seq in seqs {
            let Some(entry) = self.entries.remove(&seq) else { continue };
            let record = RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record");
            let (body, crc, share) = (&entry.body, entry.body_crc, entry.share);
            engine.rerecord(Seq(seq), &record, body, crc, share, &mut moves, self);
            if nth.is_multiple_of(3) {
                moves.settle(engine, self);
            }
        }
        moves.settle(engine, self);
        let refs = self.refs.get(&segment).map_or(0, |refs| refs.0);
        assert_eq!(refs, 0, "segment {segment} is still needed");
        self.gone.insert(segment);
    }
}

const NAMES: [&str; 6] = ["m", "m+a", "m+b", "small", "rolling", "plain"];
const OPEN_MAX: u32 = 3;
const LIMIT: usize = 3;

fn new_engine(memory: u64) -> Engine {
    let mut table = ConfigTable::default();
    alloc::sync::Arc::make_mut(&mut table.defaults).max_memory_size = memory;
    let small = QueueOverrides { max_items: Some(LIMIT as u64), ..Default::default() };
    let rolling = QueueOverrides { discard_old_when_full: Some(true), ..small.clone() };
    table.named.insert((*b"small").into(), small);
    table.named.insert((*b"rolling").into(), rolling);
    let limits = EngineLimits { max_open_per_queue: OPEN_MAX, ..EngineLimits::default() };
    Engine::new(table, limits)
}

/// An item as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    body: Bytes,
    flags: u32,
    expiry_ms: u64,
    attempts: u32,
}

/// A queue is a map from id to item; who holds which is beside it.
#[derive(Default)]
struct Model {
    queues: BTreeMap<usize, BTreeMap<u64, Thing>>,
    held: BTreeMap<u64, Vec<(usize, u64, Thing)>>,
    /// Something was put into them since they were made.
    written: BTreeSet<usize>,
}

impl Model {
    fn drop_expired_head(&mut self, queue: usize, now: Now) {
        let items = self.queues.entry(queue).or_default();
        while items
            .first_key_value()
            .is_some_and(|(_, item)| item.expiry_ms != 0 && item.expiry_ms < now.wall_ms)
        {
            items.pop_first();
        }
    }

    fn make_room(&mut self, queue: usize, now: Now) -> bool {
        self.drop_expired_head(queue, now);
        let items = self.queues.entry(queue).or_default();
        while NAMES[queue] == "rolling" && items.len() >= LIMIT {
            items.pop_first();
        }
        NAMES[queue] != "small" || items.len() < LIMIT
    }

    fn put(&mut self, queue: usize, now: Now, id: u64, thing: &Thing) {
        let children: &[usize] = if queue == 0 { &[1, 2] } else { &[] };
        let living = children.iter().copied().filter(|child| self.queues.contains_key(child));
        for child in living.collect::<Vec<_>>() {
            self.make_room(child, now);
            self.queues.entry(child).or_default().insert(id, thing.clone());
        }
        self.queues.entry(queue).or_default().insert(id, thing.clone());
        self.written.insert(queue);
    }

    fn held_of(&self, session: u64, queue: usize) -> Vec<u64> {
        let held = self.held.get(&session).into_iter().flatten();
        held.filter(|(of, ..)| *of == queue).map(|(_, id, _)| *id).collect()
    }

    fn settle(&mut self, session: u64, queue: usize, id: u64, returns: bool) {
        let held = self.held.entry(session).or_default();
        let Some(at) = held.iter().position(|(of, held, _)| (*of, *held) == (queue, id)) else {
            return;
        };
        let (_, _, thing) = held.remove(at);
        if returns {
            self.queues.entry(queue).or_default().insert(id, thing);
        }
    }

    fn disconnect(&mut self, session: u64) {
        for (queue, id, thing) in self.held.remove(&session).unwrap_or_default() {
            self.queues.entry(queue).or_default().insert(id, thing);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Put { queue: usize, ttl_ms: Option<u64> },
    Take { session: u64, queue: usize, mode: Mode },
    Close { session: u64, queue: usize },
    Abort { session: u64, queue: usize },
    Ack { session: u64, queue: usize, nth: usize },
    Release { session: u64, queue: usize, nth: usize },
    Disconnect { session: u64 },
    Delete { queue: usize },
    Flush { queue: usize },
    FlushAll,
    Pass { ms: u64 },
    Sweep,
    Restart,
    Checkpoint,
    Retire { nth: usize },
}

fn any_op() -> impl Strategy<Value = Op> {
    let queue = 0..NAMES.len();
    let session = 1..4u64;
    let mode = prop_oneof![1 => Just(Mode::Take), 2 => Just(Mode::Open), 1 => Just(Mode::Peek)];
    let ttl_ms = prop_oneof![3 => Just(None), 1 => (1..100u64).prop_map(Some)];
    prop_oneof![
        8 => (queue.clone(), ttl_ms).prop_map(|(queue, ttl_ms)| Op::Put { queue, ttl_ms }),
        8 => (session.clone(), queue.clone(), mode).prop_map(|(session, queue, mode)| Op::Take { session, queue, mode }),
        2 => (session.clone(), queue.clone()).prop_map(|(session, queue)| Op::Close { session, queue }),
        2 => (session.clone(), queue.clone()).prop_map(|(session, queue)| Op::Abort { session, queue }),
        2 => (session.clone(), queue.clone(), 0..4usize).prop_map(|(session, queue, nth)| Op::Ack { session, queue, nth }),
        2 => (session.clone(), queue.clone(), 0..4usize).prop_map(|(session, queue, nth)| Op::Release { session, queue, nth }),
        1 => session.prop_map(|session| Op::Disconnect { session }),
        1 => queue.clone().prop_map(|queue| Op::Delete { queue }),
        1 => queue.prop_map(|queue| Op::Flush { queue }),
        1 => Just(Op::FlushAll),
        1 => (1..60u64).prop_map(|ms| Op::Pass { ms }),
        1 => Just(Op::Sweep),
        1 => Just(Op::Restart),
        1 => Just(Op::Checkpoint),
        2 => (0..40usize).prop_map(|nth| Op::Retire { nth }),
    ]
}

struct Pair {
    engine: Engine,
    log: TestLog,
    model: Model,
    now: Now,
    puts: u32,
}

impl Pair {
    fn new(memory: u64) -> Self {
        Self {
            engine: new_engine(memory),
            log: TestLog { memory, ..TestLog::default() },
            model: Model::default(),
            now: Now { mono_ms: 1, wall_ms: 1_000_000 },
            puts: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        let Self { engine, log, model, now, .. } = self;
        let now = *now;
        match op {
            Op::Put { queue, ttl_ms } => self.put(queue, ttl_ms),
            Op::Take { session, queue, mode } => self.take(session, queue, mode),
            Op::Close { session, queue } | Op::Abort { session, queue } => {
                let returns = matches!(op, Op::Abort { .. });
                let name = NAMES[queue].as_bytes();
                let oldest = model.held_of(session, queue).first().copied();
                let done = match returns {
                    true => engine.abort_oldest(now, SessionId(session), name, log),
                    false => engine.close_oldest(SessionId(session), name, log),
                };
                assert_eq!(done, oldest.is_some());
                oldest.into_iter().for_each(|id| model.settle(session, queue, id, returns));
            }
            Op::Ack { session, queue, nth } | Op::Release { session, queue, nth } => {
                let returns = matches!(op, Op::Release { .. });
                let name = NAMES[queue].as_bytes();
                let held = model.held_of(session, queue);
                // Beyond the end: an id that this session does not hold.
                let id = held.get(nth).copied().unwrap_or(1);
                let done = match returns {
                    true => {
                        let session = SessionId(session);
                        engine.release(now, session, name, ItemId(id), None, log) == Settled::Done
                    }
                    false => engine.ack(SessionId(session), name, ItemId(id), log),
                };
                assert_eq!(done, held.contains(&id));
                model.settle(session, queue, id, returns);
            }
            Op::Disconnect { session } => {
                engine.handle_disconnect(now, SessionId(session), log);
                model.disconnect(session);
            }
            Op::Delete { queue } => {
                let existed = model.queues.remove(&queue).is_some();
                model.written.remove(&queue);
                assert_eq!(engine.delete(NAMES[queue].as_bytes(), log), existed);
                model.held.values_mut().for_each(|held| held.retain(|(of, ..)| *of != queue));
            }
            Op::Flush { queue } => {
                let count = model.queues.get_mut(&queue).map(|items| core::mem::take(items).len());
                let flushed = engine.flush(NAMES[queue].as_bytes(), log);
                assert_eq!(flushed, count.unwrap_or_default() as u64);
            }
            Op::FlushAll => {
                engine.flush_all(log);
                model.queues.values_mut().for_each(BTreeMap::clear);
            }
            Op::Pass { ms } => {
                self.now = Now { mono_ms: now.mono_ms + ms, wall_ms: now.wall_ms + ms };
            }
            Op::Sweep => {
                engine.sweep_expired(now, log);
                let queues: Vec<usize> = model.queues.keys().copied().collect();
                queues.into_iter().for_each(|queue| model.drop_expired_head(queue, now));
            }
            Op::Restart => {
                *engine = log.replay();
                // Nothing is written for a queue that was only looked into, unless it is a subscription.
                model
                    .queues
                    .retain(|queue, _| [1, 2].contains(queue) || model.written.contains(queue));
                let sessions: Vec<u64> = model.held.keys().copied().collect();
                sessions.into_iter().for_each(|session| model.disconnect(session));
            }
            Op::Checkpoint => log.checkpoint(engine),
            Op::Retire { nth } => log.retire(engine, nth),
        }
        self.log.load_all(&mut self.engine, self.now);
        if self.log.memory < u64::MAX || self.log.start > 0 {
            self.sweep_the_cold();
        }
        self.engine.check_invariants();
        self.log.check_references(&self.engine);
        self.compare();
    }

    /// An expired item that is on the disk only is met when somebody reads it: which is not what the model is about.
    fn sweep_the_cold(&mut self) {
        for _ in 0..20 {
            self.engine.sweep_expired(self.now, &mut self.log);
            self.log.load_all(&mut self.engine, self.now);
        }
        let queues: Vec<usize> = self.model.queues.keys().copied().collect();
        queues.into_iter().for_each(|queue| self.model.drop_expired_head(queue, self.now));
    }

    fn put(&mut self, queue: usize, ttl_ms: Option<u64>) {
        self.puts += 1;
        let thing = Thing {
            body: Bytes::from(format!("item {}", self.puts)),
            flags: self.puts,
            expiry_ms: ttl_ms.map_or(0, |ms| self.now.wall_ms + ms),
            attempts: 0,
        };
        let args = PutArgs {
            queue: NAMES[queue].as_bytes(),
            flags: thing.flags,
            expiry_ms: thing.expiry_ms,
            body: &thing.body,
            body_crc: self.puts,
            due_ms: 0,
            priority: Priority::Normal,
            key: None,
        };
        let outcome = self.engine.put(self.now, args, &mut self.log);
        if self.model.make_room(queue, self.now) {
            let PutOutcome::Stored { id, .. } = outcome else { panic!("{outcome:?}") };
            self.model.put(queue, self.now, id.0, &thing);
        } else {
            assert_eq!(outcome, PutOutcome::Refused(Refusal::QueueFull));
        }
    }

    fn take(&mut self, session: u64, queue: usize, mode: Mode) {
        let queues = [NAMES[queue].as_bytes()];
        let args = TakeArgs {
            queues: &queues,
            mode,
            max: 1,
            max_bytes: u64::MAX,
            wait_ms: 0,
            lease_ms: 0,
        };
        let mut outcome = self.engine.take(self.now, SessionId(session), args, &mut self.log);
        if outcome == TakeOutcome::Waiting {
            // The items are on the disk only.
            self.log.load_all(&mut self.engine, self.now);
            let delivery = self.engine.poll_delivery().expect("an end of the wait");
            assert_eq!(delivery.session, SessionId(session));
            self.engine.accept_delivery(SessionId(session), &mut self.log);
            outcome = match delivery.items.is_empty() {
                true => TakeOutcome::Empty,
                false => TakeOutcome::Items(delivery.items),
            };
        }
        let open = self.model.held_of(session, queue).len();
        self.model.queues.entry(queue).or_default();
        if mode == Mode::Take && open > 0 {
            assert_eq!(outcome, TakeOutcome::HoldsOpen);
            return;
        }
        if mode == Mode::Open && open >= OPEN_MAX as usize {
            assert_eq!(outcome, TakeOutcome::TooManyOpen);
            return;
        }
        self.model.drop_expired_head(queue, self.now);
        let items = self.model.queues.entry(queue).or_default();
        let Some((id, mut thing)) = items.first_key_value().map(|(id, item)| (*id, item.clone()))
        else {
            assert_eq!(outcome, TakeOutcome::Empty);
            return;
        };
        if mode != Mode::Peek {
            items.remove(&id);
        }
        if mode == Mode::Open {
            thing.attempts += 1;
            self.model.held.entry(session).or_default().push((queue, id, thing.clone()));
        }
        let TakeOutcome::Items(taken) = outcome else { panic!("{outcome:?}") };
        let [taken] = &taken[..] else { panic!("one item, not {taken:?}") };
        assert_eq!(
            (taken.id, taken.flags, taken.attempts),
            (ItemId(id), thing.flags, thing.attempts)
        );
        assert_eq!((&taken.body, &taken.queue[..]), (&thing.body, NAMES[queue].as_bytes()));
    }

    /// Numbers of items agree, queue by queue.
    fn compare(&self) {
        let ours: BTreeMap<String, (u64, u64)> = self
            .engine
            .queue_stats(self.now, 0)
            .map(|queue| {
                let name = String::from_utf8(queue.name.to_vec()).expect("ascii");
                (name, (queue.items, queue.open_transactions))
            })
            .collect();
        let model: BTreeMap<String, (u64, u64)> = self
            .model
            .queues
            .iter()
            .map(|(&queue, items)| {
                let sessions = self.model.held.keys();
                let open: usize =
                    sessions.map(|&session| self.model.held_of(session, queue).len()).sum();
                (NAMES[queue].into(), (items.len() as u64, open as u64))
            })
            .collect();
        assert_eq!(ours, model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(
        ops in prop::collection::vec(any_op(), 1..150),
        memory in prop_oneof![Just(0u64), 0..2000u64, Just(u64::MAX)],
    ) {
        let mut pair = Pair::new(memory);
        ops.iter().for_each(|&op| pair.apply(op));
        // Everything is still there, in order, and nothing in the log is referred to once it is taken.
        pair.apply(Op::Restart);
        for queue in 0..NAMES.len() {
            for _ in 0..=pair.puts {
                pair.apply(Op::Take { session: 9, queue, mode: Mode::Take });
            }
            pair.apply(Op::Delete { queue });
        }
        prop_assert!(pair.log.refs.values().all(|(refs, _)| *refs == 0));
    }
}

/// An engine with a log, for the tests of waiting.
#[derive(Default)]
struct Waits {
    engine: Option<Engine>,
    log: TestLog,
}

impl Waits {
    fn engine(&mut self) -> (&mut Engine, &mut TestLog) {
        (self.engine.get_or_insert_with(|| new_engine(u64::MAX)), &mut self.log)
    }

    fn wait(&mut self, session: u64, queues: &[&[u8]], mode: Mode, wait_ms: u32) -> TakeOutcome {
        let (engine, log) = self.engine();
        let args = TakeArgs { queues, mode, max: 1, max_bytes: u64::MAX, wait_ms, lease_ms: 0 };
        engine.take(at(0), SessionId(session), args, log)
    }

    fn put(&mut self, queue: &[u8], body: &'static str) {
        let (engine, log) = self.engine();
        let body = Bytes::from_static(body.as_bytes());
        let args = PutArgs {
            queue,
            flags: 0,
            expiry_ms: 0,
            body: &body,
            body_crc: 0,
            due_ms: 0,
            priority: Priority::Normal,
            key: None,
        };
        assert!(matches!(engine.put(at(0), args, log), PutOutcome::Stored { .. }));
    }

    /// Who got what, in this order.
    fn deliveries(&mut self) -> Vec<(u64, Vec<Bytes>)> {
        let (engine, _) = self.engine();
        let mut all = Vec::new();
        while let Some(delivery) = engine.poll_delivery() {
            let bodies = delivery.items.iter().map(|item| item.body.clone()).collect();
            all.push((delivery.session.0, bodies));
        }
        all
    }
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 1_000_000 + mono_ms }
}

fn got(body: &'static str) -> Vec<Bytes> {
    [Bytes::from_static(body.as_bytes())].into()
}

#[test]
fn who_waits_first_is_served_first_and_each_once() {
    let mut waits = Waits::default();
    for session in 1..=3 {
        assert_eq!(waits.wait(session, &[b"q"], Mode::Open, 1000), TakeOutcome::Waiting);
    }
    waits.put(b"q", "a");
    waits.put(b"q", "b");
    assert_eq!(waits.deliveries(), [(1, got("a")), (2, got("b"))]);
    let (engine, log) = waits.engine();
    assert_eq!(engine.poll_timeout(), Some(1000));
    engine.handle_timeout(at(999), log);
    assert_eq!(waits.deliveries(), []);
    let (engine, log) = waits.engine();
    engine.handle_timeout(at(1000), log);
    assert_eq!(waits.deliveries(), [(3, Vec::new())]);
    waits.put(b"q", "c");
    assert_eq!(waits.deliveries(), []);
}

#[test]
fn a_wait_on_several_queues_ends_with_the_first_item_of_any() {
    let mut waits = Waits::default();
    assert_eq!(waits.wait(1, &[b"x", b"y"], Mode::Open, 1000), TakeOutcome::Waiting);
    waits.put(b"y", "of y");
    waits.put(b"x", "of x");
    assert_eq!(waits.deliveries(), [(1, got("of y"))]);
    assert!(matches!(waits.wait(2, &[b"y", b"x"], Mode::Take, 0), TakeOutcome::Items(_)));
}

#[test]
fn what_was_handed_to_a_session_that_went_is_handed_to_the_next() {
    for mode in [Mode::Take, Mode::Open] {
        let mut waits = Waits::default();
        assert_eq!(waits.wait(1, &[b"q"], mode, 1000), TakeOutcome::Waiting);
        assert_eq!(waits.wait(2, &[b"q"], mode, 1000), TakeOutcome::Waiting);
        waits.put(b"q", "a");
        let (engine, log) = waits.engine();
        engine.handle_disconnect(at(1), SessionId(1), log);
        // Its own delivery is gone with it.
        assert_eq!(waits.deliveries(), [(2, got("a"))], "{mode:?}");
    }
}

#[test]
fn giving_up_a_wait_returns_what_came_and_keeps_what_was_held_before() {
    let mut waits = Waits::default();
    waits.put(b"q", "held");
    assert!(matches!(waits.wait(1, &[b"q"], Mode::Open, 0), TakeOutcome::Items(_)));
    assert_eq!(waits.wait(1, &[b"q"], Mode::Open, 1000), TakeOutcome::Waiting);
    waits.put(b"q", "handed");
    let (engine, log) = waits.engine();
    let delivery = engine.poll_delivery().expect("it was handed over");
    engine.cancel_wait(at(1), SessionId(1), &delivery.items, log);
    let held: BTreeSet<u64> =
        engine.queue_stats(at(1), 0).map(|queue| queue.open_transactions).collect();
    assert_eq!(held, BTreeSet::from([1]), "the item that it held before");
    let TakeOutcome::Items(items) = waits.wait(2, &[b"q"], Mode::Take, 0) else {
        panic!("what was handed over is back")
    };
    assert_eq!(items[0].body, "handed");
    let (engine, log) = waits.engine();
    assert!(engine.close_oldest(SessionId(1), b"q", log));
}

#[test]
fn a_peeker_sees_what_a_taker_does_not_take() {
    let mut waits = Waits::default();
    assert_eq!(waits.wait(1, &[b"q"], Mode::Peek, 1000), TakeOutcome::Waiting);
    waits.put(b"q", "a");
    assert_eq!(waits.deliveries(), [(1, got("a"))]);
    assert!(matches!(waits.wait(2, &[b"q"], Mode::Take, 0), TakeOutcome::Items(_)));
}

#[test]
fn a_deleted_queue_ends_the_waits_on_it_alone() {
    let mut waits = Waits::default();
    assert_eq!(waits.wait(1, &[b"q"], Mode::Open, 1000), TakeOutcome::Waiting);
    assert_eq!(waits.wait(2, &[b"q", b"r"], Mode::Open, 1000), TakeOutcome::Waiting);
    let (engine, log) = waits.engine();
    assert!(engine.delete(b"q", log));
    assert_eq!(waits.deliveries(), [(1, Vec::new())]);
    waits.put(b"r", "a");
    assert_eq!(waits.deliveries(), [(2, got("a"))]);
}

#[test]
fn a_lease_that_ends_returns_the_item_to_its_place() {
    let mut waits = Waits::default();
    waits.put(b"q", "first");
    waits.put(b"q", "second");
    let (engine, log) = waits.engine();
    let queues: [&[u8]; 1] = [b"q"];
    let args = TakeArgs {
        queues: &queues,
        mode: Mode::Open,
        max: 1,
        max_bytes: u64::MAX,
        wait_ms: 0,
        lease_ms: 50,
    };
    let TakeOutcome::Items(items) = engine.take(at(0), SessionId(1), args, log) else {
        panic!("an item")
    };
    assert_eq!(engine.poll_timeout(), Some(50));
    engine.handle_timeout(at(50), log);
    assert!(!engine.ack(SessionId(1), b"q", items[0].id, log), "a late ack changes nothing");
    let TakeOutcome::Items(items) = waits.wait(2, &[b"q"], Mode::Open, 0) else {
        panic!("an item")
    };
    assert_eq!((&items[0].body[..], items[0].attempts), (&b"first"[..], 2));
}
