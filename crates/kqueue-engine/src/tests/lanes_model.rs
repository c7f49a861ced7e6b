//! Priorities, delays, dead letters, keys and pauses against a second model: a queue is a list of items, each with all that is known of it.
//!
//! What is due is read from the disk before it is asked for: that it may come late otherwise is not what the model is about.

mod model;

use model::{Model, Part, Queue, Thing, state_of};

use super::*;
use crate::engine::SUB_QUEUES_MAX;

const NAMES: [&str; 9] = ["m", "m+a", "jobs", "dead", "own", "small", "rolling", "mem", "al"];
const ALIAS: usize = 8;
const OPEN_MAX: usize = 3;
const LIMIT: usize = 3;
const MAX_ATTEMPTS: u32 = 2;
const RETRY_MS: u64 = 40;
const RETRY_MAX_MS: u64 = 60;
const WINDOW_MS: u64 = 500;
const KEYS_MAX: usize = 3;

fn is_journaled(queue: usize) -> bool {
    NAMES[queue] != "mem"
}

fn receivers_of_alias() -> [usize; 2] {
    [2, 4]
}

fn engine_for(memory: u64) -> Engine {
    let mut table = ConfigTable::default();
    let defaults = alloc::sync::Arc::make_mut(&mut table.defaults);
    defaults.max_memory_size = memory;
    // So that sweeps look at everything.
    defaults.max_age_ms = Some(1 << 40);
    let retries = QueueOverrides {
        max_attempts: Some(Some(MAX_ATTEMPTS)),
        retry_delay_ms: Some(RETRY_MS),
        retry_delay_max_ms: Some(RETRY_MAX_MS),
        ..Default::default()
    };
    let jobs =
        QueueOverrides { dead_letter_queue: Some(Some((*b"dead").into())), ..retries.clone() };
    let small = QueueOverrides { max_items: Some(LIMIT as u64), ..Default::default() };
    let rolling = QueueOverrides { discard_old_when_full: Some(true), ..small.clone() };
    let mem = QueueOverrides {
        keep_journal: Some(false),
        max_memory_size: Some(1 << 20),
        ..retries.clone()
    };
    for (name, overrides) in
        [("jobs", jobs), ("own", retries), ("small", small), ("rolling", rolling), ("mem", mem)]
    {
        table.named.insert(name.as_bytes().into(), overrides);
    }
    let to = receivers_of_alias().map(|queue| NAMES[queue].as_bytes().into());
    table.aliases.insert((*b"al").into(), to.into());
    let limits = EngineLimits {
        max_open_per_queue: OPEN_MAX as u32,
        key_window_ms: WINDOW_MS,
        keys_max: KEYS_MAX as u64,
        ..EngineLimits::default()
    };
    Engine::new(table, limits)
}

#[derive(Clone, Debug)]
enum Op {
    Put { queue: usize, ttl_ms: u64, delay_ms: u64, priority: Priority, key: Option<u8> },
    Take { session: u64, queue: usize, mode: Mode },
    Close { session: u64, queue: usize },
    Abort { session: u64, queue: usize },
    Ack { session: u64, nth: usize },
    Release { session: u64, nth: usize, delay_ms: Option<u64>, is_full: bool },
    Bury { session: u64, nth: usize, is_full: bool },
    Touch { session: u64, nth: usize },
    Disconnect { session: u64 },
    Delete { queue: usize },
    Flush { queue: usize },
    Purge { queue: usize, state: ItemState },
    Kick { queue: usize, nth: Option<usize> },
    Pause { queue: usize, is_paused: bool },
    Pass { ms: u64 },
    Sweep,
    Restart,
    Checkpoint,
    Retire { nth: usize },
}

fn any_op() -> impl Strategy<Value = Op> {
    let queue = || prop_oneof![2 => 0..NAMES.len(), 1 => 2..5usize];
    let session = || 1..4u64;
    let nth = || 0..6usize;
    let mode = prop_oneof![1 => Just(Mode::Take), 4 => Just(Mode::Open), 1 => Just(Mode::Peek)];
    let ttl_ms = prop_oneof![3 => Just(0), 1 => 1..3000u64];
    let delay_ms = || prop_oneof![2 => Just(0), 2 => 1..3000u64, 1 => 1..1_000_000u64];
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let key = prop_oneof![2 => Just(None), 1 => (0..5u8).prop_map(Some)];
    let put = (queue(), ttl_ms, delay_ms(), priority, key);
    let state = prop::sample::select(vec![ItemState::Ready, ItemState::Delayed, ItemState::Dead]);
    let passes = prop_oneof![4 => 1..100u64, 2 => 100..3000u64, 1 => 1..1_000_000u64];
    let release = (session(), nth(), prop::option::of(delay_ms()), prop::bool::weighted(0.1));
    prop_oneof![
        12 => put.prop_map(|(queue, ttl_ms, delay_ms, priority, key)| Op::Put { queue, ttl_ms, delay_ms, priority, key }),
        12 => (session(), queue(), mode).prop_map(|(session, queue, mode)| Op::Take { session, queue, mode }),
        1 => (session(), queue()).prop_map(|(session, queue)| Op::Close { session, queue }),
        2 => (session(), queue()).prop_map(|(session, queue)| Op::Abort { session, queue }),
        2 => (session(), nth()).prop_map(|(session, nth)| Op::Ack { session, nth }),
        4 => release.prop_map(|(session, nth, delay_ms, is_full)| Op::Release { session, nth, delay_ms, is_full }),
        2 => (session(), nth(), prop::bool::weighted(0.1)).prop_map(|(session, nth, is_full)| Op::Bury { session, nth, is_full }),
        1 => (session(), nth()).prop_map(|(session, nth)| Op::Touch { session, nth }),
        1 => session().prop_map(|session| Op::Disconnect { session }),
        1 => queue().prop_map(|queue| Op::Delete { queue }),
        1 => queue().prop_map(|queue| Op::Flush { queue }),
        1 => (queue(), state).prop_map(|(queue, state)| Op::Purge { queue, state }),
        3 => (queue(), prop::option::of(nth())).prop_map(|(queue, nth)| Op::Kick { queue, nth }),
        1 => (queue(), prop::bool::weighted(0.3)).prop_map(|(queue, is_paused)| Op::Pause { queue, is_paused }),
        5 => passes.prop_map(|ms| Op::Pass { ms }),
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
    page: usize,
}

impl TestLog {
    /// All items of a queue in a state, read from the disk where they are only there.
    pub(super) fn walk(
        &self,
        engine: &Engine,
        queue: &[u8],
        state: ItemState,
        page: usize,
    ) -> Vec<Seen> {
        let (mut all, mut place) = (Vec::new(), WalkPlace::default());
        for _ in 0..100_000 {
            let (seen, next) = engine.walk(queue, state, place, page);
            assert!(seen.len() <= page);
            all.extend(seen);
            match next {
                WalkNext::End => return all,
                WalkNext::Goon(next) => place = next,
                WalkNext::Read { request, place: behind, last_id, count } => {
                    let items = self.load(&request);
                    let walked =
                        engine.seen_of_loaded(queue, state, &request, behind, last_id, items);
                    assert!(!walked.is_moved, "nothing happens meanwhile");
                    assert!(count.is_none_or(|count| count == walked.met), "all are met");
                    all.extend(walked.seen);
                    place = WalkPlace { id: last_id, ..behind };
                }
            }
        }
        panic!("a walk without an end")
    }
}

impl Pair {
    fn new(memory: u64, page: usize) -> Self {
        Self {
            engine: engine_for(memory),
            log: TestLog { memory, ..TestLog::default() },
            model: Model::default(),
            now: Now { mono_ms: 1, wall_ms: 1_000_000 },
            puts: 0,
            page,
        }
    }

    fn apply(&mut self, op: &Op) {
        let before = self.log.last;
        self.run(op, before);
        self.name_dead(before);
        self.come_to_rest();
        self.engine.check_invariants();
        self.log.check_references(&self.engine);
        self.compare();
        let is_much = matches!(op, Op::Restart | Op::Checkpoint | Op::Retire { .. });
        if is_much || self.puts.is_multiple_of(8) {
            self.compare_walks();
        }
    }

    /// Alarms, reads and sweeps until nothing is left to be done at this moment.
    fn come_to_rest(&mut self) {
        let before = self.log.last;
        for round in 0.. {
            assert!(round < 1000, "it never comes to rest");
            let loads = self.engine.next_token;
            self.engine.handle_timeout(self.now, &mut self.log);
            self.log.load_all(&mut self.engine, self.now);
            self.engine.sweep_expired(self.now, &mut self.log);
            self.log.load_all(&mut self.engine, self.now);
            let is_due = self.engine.poll_timeout().is_some_and(|at| at <= self.now.mono_ms);
            if !is_due && self.engine.next_token == loads {
                break;
            }
        }
        let queues: Vec<usize> = self.model.queues.keys().copied().collect();
        // The order in which queues are swept does not matter: each of them has dead letters of its own.
        queues.iter().for_each(|&of| self.model.sweep(of, &[Part::Fifo, Part::Timed], self.now));
        self.name_dead(before);
    }

    /// What became a dead letter of another queue since has an id there.
    fn name_dead(&mut self, before: u64) {
        let mut ids = Vec::new();
        for entry in self.log.entries.range(before + 1..).map(|(_, entry)| entry) {
            let record = RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record");
            if let RecordBuf::Put(put) = record
                && put.from.is_some()
                && put.lane == Lane::Main
                && put.extra.id.is_none()
            {
                let origin = put.extra.origin.expect("where it came from");
                ids.push((origin.id.0, put.id.0));
            }
        }
        let mut places = core::mem::take(&mut self.model.nameless);
        assert_eq!(places.len(), ids.len(), "dead letters in the other queue");
        let mut ordered = places.clone().into_iter();
        for (old, id) in ids {
            let all = self.model.queues.values_mut().flat_map(|queue| &mut queue.items);
            let mut mine = all.filter(|thing| {
                places.contains(&thing.place)
                    && thing.from.as_ref().is_some_and(|from| from.id == old)
            });
            let thing = mine.next().expect("the dead letter");
            places.retain(|place| *place != thing.place);
            // In which order several queues and levels are looked at does not matter: theirs is that of the log.
            (thing.id, thing.place) = (id, ordered.next().expect("a place for each"));
        }
    }

    fn nth_held(&self, session: u64, nth: usize) -> (usize, u64) {
        let mut mine = self.model.held.iter().filter(|(of, ..)| *of == session);
        // Beyond the end: an item that this session does not hold.
        mine.nth(nth).map_or((0, 1), |(_, queue, thing)| (*queue, thing.id))
    }

    fn run(&mut self, op: &Op, before: u64) {
        let Self { engine, log, model, now, .. } = self;
        let now = *now;
        match *op {
            Op::Put { queue, ttl_ms, delay_ms, priority, key } => {
                self.put(queue, ttl_ms, delay_ms, priority, key, before);
            }
            Op::Take { session, queue, mode } => self.take(session, queue, mode),
            Op::Close { session, queue } => {
                let done = engine.close_oldest(SessionId(session), NAMES[queue].as_bytes(), log);
                assert_eq!(model.take_held(session, queue, None).is_some(), done);
            }
            Op::Abort { session, queue } => {
                let name = NAMES[queue].as_bytes();
                let done = engine.abort_oldest(now, SessionId(session), name, log);
                let thing = model.take_held(session, queue, None);
                assert_eq!(thing.is_some(), done);
                thing.into_iter().for_each(|thing| self.give_back(queue, thing, None));
            }
            Op::Ack { session, nth } => {
                let (queue, id) = self.nth_held(session, nth);
                let Self { engine, log, model, .. } = self;
                let name = NAMES[queue].as_bytes();
                let done = engine.ack(SessionId(session), name, ItemId(id), log);
                assert_eq!(model.take_held(session, queue, Some(id)).is_some(), done);
            }
            Op::Touch { session, nth } => {
                let (queue, id) = self.nth_held(session, nth);
                let name = NAMES[queue].as_bytes();
                let done = self.engine.touch(now, SessionId(session), name, ItemId(id), u32::MAX);
                let is_it = |(of, from, thing): &(u64, usize, Thing)| {
                    (*of, *from, thing.id) == (session, queue, id)
                };
                assert_eq!(self.model.held.iter().any(is_it), done);
            }
            Op::Release { session, nth, delay_ms, is_full } => {
                let (queue, id) = self.nth_held(session, nth);
                let Self { engine, log, .. } = self;
                let name = NAMES[queue].as_bytes();
                // On a full disk what comes back at once may stay as a dead letter: another test.
                let is_full = is_full && delay_ms.is_some_and(|delay_ms| delay_ms > 0);
                log.is_full = is_full;
                let done = engine.release(now, SessionId(session), name, ItemId(id), delay_ms, log);
                log.is_full = false;
                self.settled(session, queue, id, done, is_full, |pair, thing| {
                    pair.give_back(queue, thing, delay_ms);
                });
            }
            Op::Bury { session, nth, is_full } => {
                let (queue, id) = self.nth_held(session, nth);
                let Self { engine, log, .. } = self;
                let (name, note) = (NAMES[queue].as_bytes(), Bytes::from(format!("note {id}")));
                log.is_full = is_full;
                let done =
                    engine.bury(now, SessionId(session), name, ItemId(id), note.clone(), log);
                log.is_full = false;
                self.settled(session, queue, id, done, is_full, |pair, thing| {
                    pair.model.bury(queue, thing, Reason::Buried, note, now);
                });
            }
            Op::Disconnect { session } => {
                engine.handle_disconnect(now, SessionId(session), log);
                while let Some(at) = self.model.held.iter().position(|(of, ..)| *of == session) {
                    let (_, queue, thing) = self.model.held.remove(at);
                    self.give_back(queue, thing, None);
                }
            }
            Op::Delete { queue } => {
                let existed = model.queues.remove(&queue).is_some();
                assert_eq!(engine.delete(NAMES[queue].as_bytes(), log), existed);
                model.held.retain(|(_, of, _)| *of != queue);
            }
            Op::Flush { queue } => {
                let flushed = engine.flush(NAMES[queue].as_bytes(), log);
                let items = model.queues.get_mut(&queue).map(|queue| &mut queue.items);
                let gone = items.map_or(0, |items| {
                    items.extract_if(.., |thing| thing.part != Part::Dead).count()
                });
                assert_eq!(flushed, gone as u64);
            }
            Op::Purge { queue, state } => self.purge(queue, state),
            Op::Kick { queue, nth } => self.kick(queue, nth),
            Op::Pause { queue, is_paused } => {
                let done = engine.pause(now, NAMES[queue].as_bytes(), is_paused, log);
                assert_eq!(done, queue != ALIAS);
                if done {
                    let of = model.queue(queue);
                    of.is_written |= is_journaled(queue) && of.is_paused != is_paused;
                    of.is_paused = is_paused;
                }
            }
            Op::Pass { ms } => {
                self.now = Now { mono_ms: now.mono_ms + ms, wall_ms: now.wall_ms + ms };
            }
            Op::Sweep => engine.sweep_expired(now, log),
            Op::Restart => {
                let mut engine = engine_for(log.memory);
                log.replay_into(&mut engine);
                self.engine = engine;
                model.restart();
            }
            Op::Checkpoint => log.checkpoint(engine),
            Op::Retire { nth } => log.retire(engine, nth),
        }
    }

    fn settled(
        &mut self,
        session: u64,
        queue: usize,
        id: u64,
        done: Settled,
        is_full: bool,
        settle: impl FnOnce(&mut Self, Thing),
    ) {
        let is_it = |(of, from, thing): &(u64, usize, Thing)| {
            (*of, *from, thing.id) == (session, queue, id)
        };
        let is_held = self.model.held.iter().any(is_it);
        match (is_held, is_full) {
            (false, _) => assert_eq!(done, Settled::NotHeld),
            (true, true) => assert_eq!(done, Settled::NoRoom),
            (true, false) => {
                assert_eq!(done, Settled::Done);
                let thing = self.model.take_held(session, queue, Some(id));
                settle(self, thing.expect("it is held"));
            }
        }
    }

    /// An item comes back: to its old place, as a dead letter, or after a while.
    fn give_back(&mut self, queue: usize, thing: Thing, delay_ms: Option<u64>) {
        if Model::is_spent(queue, &thing) {
            return self.model.bury(queue, thing, Reason::DeadLettered, Bytes::new(), self.now);
        }
        let has_retries = ["jobs", "own", "mem"].contains(&NAMES[queue]) && thing.attempts > 0;
        let is_exact = delay_ms.is_some();
        let delay_ms = delay_ms.unwrap_or(match (has_retries, thing.attempts) {
            (false, _) => 0,
            (true, 1) => RETRY_MS,
            (true, _) => RETRY_MAX_MS,
        });
        if delay_ms == 0 {
            return self.model.queue(queue).items.push(thing);
        }
        let mut due_ms = self.now.wall_ms + delay_ms;
        if !is_exact {
            let name = NAMES[queue].as_bytes();
            let seen = self.log.walk(&self.engine, name, ItemState::Delayed, 100);
            let mut mine = seen.iter().filter(|seen| seen.id.0 == thing.id);
            let mine = mine.next().expect("it is delayed");
            let found_ms = mine.item.extra.as_ref().expect("its time").due_ms;
            assert!((due_ms - delay_ms / 10..=due_ms).contains(&found_ms), "{found_ms} {due_ms}");
            due_ms = found_ms;
        }
        let place = self.model.next_place();
        let moved = Thing { place, part: Part::Timed, due_ms, ..thing };
        self.model.queue(queue).items.push(moved);
    }

    fn purge(&mut self, queue: usize, state: ItemState) {
        let Self { engine, log, model, now, .. } = self;
        let (name, now) = (NAMES[queue].as_bytes(), *now);
        if state == ItemState::Dead {
            let mut count = engine.purge_own_dead(name, log);
            for seen in log.walk(engine, name, state, self.page) {
                count += u64::from(engine.remove_seen(&seen, log));
            }
            let dead =
                if model.queues.contains_key(&queue) { model.dead_of(queue) } else { vec![] };
            assert_eq!(count, dead.len() as u64);
            for (of, place) in dead {
                model.queue(of).items.retain(|thing| thing.place != place);
            }
            return;
        }
        let count = match state {
            ItemState::Ready => engine.purge_ready(now, name, log),
            _ => engine.purge_delayed(now, name, log),
        };
        let items = model.queues.get_mut(&queue).map(|queue| &mut queue.items);
        let gone = items
            .map_or(0, |items| items.extract_if(.., |thing| state_of(thing, now) == state).count());
        assert_eq!(count, gone as u64, "{state:?}");
    }

    fn kick(&mut self, queue: usize, nth: Option<usize>) {
        let name = NAMES[queue].as_bytes();
        let seen = self.log.walk(&self.engine, name, ItemState::Dead, self.page);
        let dead = match self.model.queues.contains_key(&queue) {
            true => self.model.dead_of(queue),
            false => vec![],
        };
        assert_eq!(seen.len(), dead.len());
        let wanted = seen.iter().enumerate().filter(|(at, _)| nth.is_none_or(|nth| nth == *at));
        for (_, seen) in wanted {
            assert!(self.engine.kick(self.now, name, seen, &mut self.log));
            // Only once.
            assert!(!self.engine.kick(self.now, name, seen, &mut self.log));
            let is_it = |thing: &Thing| {
                (thing.id, &thing.body) == (seen.id.0, &seen.item.body) && thing.from.is_some()
            };
            let of = dead.iter().find(|(of, place)| {
                let mut all = self.model.queues[of].items.iter();
                all.any(|thing| thing.place == *place && is_it(thing))
            });
            let &(of, place) = of.expect("a dead letter");
            let items = &mut self.model.queue(of).items;
            let at = items.iter().position(|thing| thing.place == place).expect("it");
            let thing = items.remove(at);
            let priority = thing.from.as_ref().map_or(Priority::Normal, |from| from.priority);
            let id = match &thing.from {
                Some(from) if from.queue == queue => from.id,
                _ => thing.id,
            };
            let place = self.model.next_place();
            let put_ms = self.now.wall_ms;
            let queue = self.model.queue(queue);
            queue.is_written = true;
            queue.items.push(Thing {
                id,
                place,
                part: Part::Fifo,
                due_ms: 0,
                put_ms,
                expiry_ms: 0,
                attempts: 0,
                priority,
                from: None,
                note: Bytes::new(),
                ..thing
            });
        }
    }

    fn put(
        &mut self,
        queue: usize,
        ttl_ms: u64,
        delay_ms: u64,
        priority: Priority,
        key: Option<u8>,
        before: u64,
    ) {
        self.puts += 1;
        let now = self.now;
        let key = key.filter(|_| is_journaled(queue)).map(|key| key | (queue as u8) << 4);
        let thing = Thing {
            id: 0,
            place: 0,
            part: if delay_ms > 0 { Part::Timed } else { Part::Fifo },
            priority,
            due_ms: if delay_ms > 0 { now.wall_ms + delay_ms } else { 0 },
            put_ms: now.wall_ms,
            expiry_ms: if ttl_ms > 0 { now.wall_ms + ttl_ms } else { 0 },
            attempts: 0,
            body: Bytes::from(format!("item {}", self.puts)),
            from: None,
            note: Bytes::new(),
        };
        let args = PutArgs {
            queue: NAMES[queue].as_bytes(),
            flags: self.puts,
            expiry_ms: thing.expiry_ms,
            body: &thing.body,
            body_crc: self.puts,
            due_ms: thing.due_ms,
            priority,
            key: key.map(|key| [key; 16]),
        };
        let outcome = self.engine.put(now, args, &mut self.log);
        let model = &mut self.model;
        if let Some(key) = key {
            model.keys.retain(|(_, _, put_ms)| now.wall_ms - put_ms <= WINDOW_MS);
            if let Some(&(_, id, _)) = model.keys.iter().find(|(known, ..)| *known == key) {
                let PutOutcome::Repeated { id: found, .. } = outcome else {
                    panic!("{outcome:?} is no repetition")
                };
                assert_eq!(found, ItemId(id));
                return;
            }
        }
        let mut ids: Vec<u64> = self.log.entries.range(before + 1..).filter_map(new_id).collect();
        if !is_journaled(queue)
            && let PutOutcome::Stored { id, .. } = outcome
        {
            ids.push(id.0);
        }
        let mut ids = ids.into_iter();
        let mut last = None;
        let mut is_refused = false;
        let destinations = match queue {
            ALIAS => receivers_of_alias().to_vec(),
            _ => vec![queue],
        };
        for queue in destinations {
            if !self.model.make_room(queue, now) {
                is_refused = true;
                continue;
            }
            let id = ids.next().expect("a record of it");
            last = Some(id);
            let mut receivers = vec![queue];
            if queue == 0 && self.model.queues.contains_key(&1) {
                self.model.make_room(1, now);
                receivers.push(1);
            }
            let place = self.model.next_place();
            for queue in receivers {
                let of = self.model.queue(queue);
                of.is_written |= is_journaled(queue);
                of.items.push(Thing { id, place, ..thing.clone() });
            }
        }
        if is_refused {
            assert_eq!(outcome, PutOutcome::Refused(Refusal::QueueFull));
            return;
        }
        let PutOutcome::Stored { id, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(Some(id.0), last);
        if let Some(key) = key {
            let keys = &mut self.model.keys;
            keys.push((key, id.0, now.wall_ms));
            keys.drain(..keys.len().saturating_sub(KEYS_MAX));
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
            self.log.load_all(&mut self.engine, self.now);
            let delivery = self.engine.poll_delivery().expect("an end of the wait");
            self.engine.accept_delivery(SessionId(session), &mut self.log);
            outcome = match delivery.items.is_empty() {
                true => TakeOutcome::Empty,
                false => TakeOutcome::Items(delivery.items),
            };
        }
        if queue == ALIAS {
            return assert_eq!(outcome, TakeOutcome::Empty);
        }
        let (model, now) = (&mut self.model, self.now);
        let open = model.open_of(session, queue);
        let is_paused = model.queue(queue).is_paused;
        if mode == Mode::Take && open > 0 {
            return assert_eq!(outcome, TakeOutcome::HoldsOpen);
        }
        if mode == Mode::Open && open >= OPEN_MAX {
            return assert_eq!(outcome, TakeOutcome::TooManyOpen);
        }
        if is_paused && mode != Mode::Peek {
            return assert_eq!(outcome, TakeOutcome::Empty);
        }
        let Some(index) = model.next(queue, now) else {
            return assert_eq!(outcome, TakeOutcome::Empty);
        };
        let mut thing = model.queue(queue).items[index].clone();
        if mode != Mode::Peek {
            model.queue(queue).items.remove(index);
        }
        if mode == Mode::Open {
            thing.attempts += 1;
            model.held.push((session, queue, thing.clone()));
        }
        let TakeOutcome::Items(taken) = outcome else { panic!("{outcome:?}, not {thing:?}") };
        let [taken] = &taken[..] else { panic!("one item, not {taken:?}") };
        assert_eq!(
            (&taken.body, taken.id, taken.attempts, taken.put_ms, &taken.queue[..]),
            (&thing.body, ItemId(thing.id), thing.attempts, thing.put_ms, NAMES[queue].as_bytes())
        );
    }

    /// Numbers of items agree, queue by queue.
    fn compare(&self) {
        let ours: BTreeMap<String, _> = self
            .engine
            .queue_stats(self.now, 0)
            .map(|of| {
                let name = String::from_utf8(of.name.to_vec()).expect("ascii");
                let counts = (of.items, of.delayed_items, of.dead_items, of.open_transactions);
                (name, (counts, of.is_paused))
            })
            .collect();
        let count = |queue: &Queue, state| {
            queue.items.iter().filter(|thing| state_of(thing, self.now) == state).count() as u64
        };
        let model = self.model.queues.iter().map(|(&at, queue)| {
            let open = self.model.held.iter().filter(|(_, of, _)| *of == at).count() as u64;
            let [ready, delayed, dead] = [ItemState::Ready, ItemState::Delayed, ItemState::Dead]
                .map(|state| count(queue, state));
            (NAMES[at].into(), ((ready, delayed, dead, open), queue.is_paused))
        });
        assert_eq!(ours, model.collect());
    }

    /// Walks show what is there, and what is known of it.
    fn compare_walks(&self) {
        for (queue, name) in NAMES.iter().enumerate() {
            for state in [ItemState::Ready, ItemState::Delayed, ItemState::Open, ItemState::Dead] {
                let walk = |page| self.log.walk(&self.engine, name.as_bytes(), state, page);
                let mut ours: Vec<_> = walk(self.page).iter().map(shown).collect();
                assert_eq!(ours.len(), walk(1000).len());
                let mut model: Vec<_> = self.walked(queue, state);
                ours.sort();
                model.sort();
                assert_eq!(ours, model, "{name} {state:?}");
            }
        }
    }

    fn walked(&self, queue: usize, state: ItemState) -> Vec<Shown> {
        let Some(of) = self.model.queues.get(&queue) else { return vec![] };
        if state == ItemState::Open {
            let held = self.model.held.iter().filter(|(_, from, _)| *from == queue);
            return held.map(|(_, _, thing)| told(thing)).collect();
        }
        if state == ItemState::Dead {
            let dead = self.model.dead_of(queue).into_iter();
            let found = dead.map(|(of, place)| {
                let mut items = self.model.queues[&of].items.iter();
                told(items.find(|thing| thing.place == place).expect("it"))
            });
            return found.collect();
        }
        let items = of.items.iter().filter(|thing| state_of(thing, self.now) == state);
        items.map(told).collect()
    }
}

type Shown =
    (u64, Bytes, Priority, u64, u32, u64, Option<(Bytes, u64, u64, u64, u32, Reason)>, Bytes);

fn shown(seen: &Seen) -> Shown {
    let item = &seen.item;
    let extra = item.extra.as_deref().cloned().unwrap_or_default();
    let origin =
        extra.origin.map(|of| (of.queue, of.id.0, of.put_ms, of.moved_ms, of.attempts, of.reason));
    let (id, body) = (seen.id.0, item.body.clone());
    (id, body, seen.priority, extra.due_ms, item.attempts, item.put_ms, origin, extra.note)
}

fn told(thing: &Thing) -> Shown {
    let origin = thing.from.as_ref().map(|of| {
        let queue = Bytes::from_static(NAMES[of.queue].as_bytes());
        (queue, of.id, of.put_ms, of.moved_ms, of.attempts, of.reason)
    });
    let (id, body, note) = (thing.id, thing.body.clone(), thing.note.clone());
    (id, body, thing.priority, thing.due_ms, thing.attempts, thing.put_ms, origin, note)
}

/// The id of an item that was put, not moved.
fn new_id((_, entry): (&u64, &Entry)) -> Option<u64> {
    match RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record") {
        RecordBuf::Put(put) if put.from.is_none() && put.old.is_none() => Some(put.id.0),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn lanes_do_what_the_model_does(
        ops in prop::collection::vec(any_op(), 1..150),
        memory in prop_oneof![Just(0u64), 0..4000u64, Just(1 << 30)],
        page in prop_oneof![Just(1usize), 1..20usize],
    ) {
        let mut pair = Pair::new(memory, page);
        ops.iter().for_each(|op| pair.apply(op));
        pair.apply(&Op::Restart);
        pair.apply(&Op::Pass { ms: 1_000_000 });
        // Everything is still there, in order, and nothing in the log is referred to once it is taken.
        for queue in 0..ALIAS {
            pair.apply(&Op::Pause { queue, is_paused: false });
            for _ in 0..=pair.puts {
                pair.apply(&Op::Take { session: 9, queue, mode: Mode::Take });
            }
        }
        (0..NAMES.len()).for_each(|queue| pair.apply(&Op::Delete { queue }));
        prop_assert!(pair.log.refs.values().all(|(refs, _)| *refs == 0));
        prop_assert_eq!(pair.engine.hot_cost(), 0);
    }
}

#[test]
fn a_put_to_all_sub_queues_with_a_delay_fits_into_a_record() {
    let body = Bytes::new();
    let numbers: Vec<QueueNo> = (0..=SUB_QUEUES_MAX as u64).map(QueueNo).collect();
    let lane = Lane::Delayed { start_ms: u64::MAX, width_log2: 62, priority: Priority::Low };
    let extra =
        Extra { due_ms: u64::MAX, priority: Priority::Low, key: Some([0; 16]), ..Extra::NONE };
    let put = PutRecord {
        old: Some(Seq(1)),
        from: None,
        id: ItemId(1),
        flags: 0,
        put_ms: 0,
        expiry_ms: 0,
        attempts: 0,
        queues: &numbers,
        lane,
        homes: &numbers,
        extra: &extra,
        body: &body,
        body_crc: 0,
    };
    let mut meta = Vec::new();
    Record::Put(put).encode(&mut meta);
    assert!(meta.len() < 65_000, "{} bytes", meta.len());
}
