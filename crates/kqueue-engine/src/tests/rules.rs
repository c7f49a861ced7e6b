//! Rules of queues that have little to do with order: dead letters, expiry, queues in memory only, limits of the server; and items that are on the disk only.

mod clock;
mod lanes;
mod reload;

use alloc::format;

use super::*;
use crate::engine::SUB_QUEUES_MAX;

/// An engine with its log, and a clock that is set by hand.
struct World {
    engine: Engine,
    log: TestLog,
    table: ConfigTable,
    limits: EngineLimits,
    now: Now,
}

const WORKER: SessionId = SessionId(1);

impl World {
    fn new(queues: &[(&str, QueueOverrides)]) -> Self {
        let mut table = ConfigTable::default();
        for (name, overrides) in queues {
            table.named.insert(name.as_bytes().into(), overrides.clone());
        }
        Self::with(table, EngineLimits::default())
    }

    fn with(table: ConfigTable, limits: EngineLimits) -> Self {
        Self {
            engine: Engine::new(table.clone(), limits),
            log: TestLog::default(),
            table,
            limits,
            now: at(0),
        }
    }

    fn put(&mut self, queue: &str, body: &str, ttl_ms: u64) -> PutOutcome {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let expiry_ms = if ttl_ms == 0 { 0 } else { self.now.wall_ms + ttl_ms };
        let args = PutArgs {
            queue: queue.as_bytes(),
            flags: 0,
            expiry_ms,
            body: &body,
            body_crc: 0,
            due_ms: 0,
            priority: Priority::Normal,
            key: None,
        };
        let outcome = self.engine.put(self.now, args, &mut self.log);
        self.check();
        outcome
    }

    fn take(&mut self, queue: &str, mode: Mode) -> TakeOutcome {
        let queues = [queue.as_bytes()];
        let args =
            TakeArgs { queues: &queues, mode, max: 1, max_bytes: 1000, wait_ms: 0, lease_ms: 0 };
        let outcome = self.engine.take(self.now, WORKER, args, &mut self.log);
        self.check();
        outcome
    }

    /// The body of the next item and how often it was delivered, with this delivery.
    fn open(&mut self, queue: &str) -> Option<(String, u32)> {
        match self.take(queue, Mode::Open) {
            TakeOutcome::Items(items) => {
                let body = String::from_utf8(items[0].body.to_vec()).unwrap();
                Some((body, items[0].attempts))
            }
            TakeOutcome::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    fn abort(&mut self, queue: &str) {
        assert!(self.engine.abort_oldest(self.now, WORKER, queue.as_bytes(), &mut self.log));
        self.check();
    }

    fn sweep(&mut self, mono_ms: u64) {
        self.now = at(mono_ms);
        self.engine.sweep_expired(self.now, &mut self.log);
        self.check();
    }

    fn check(&mut self) {
        self.engine.check_invariants();
        self.log.check_references(&self.engine);
    }

    fn items(&self, queue: &str) -> Option<u64> {
        self.engine
            .queue_stats(self.now, 0)
            .find(|stats| stats.name == queue.as_bytes())
            .map(|stats| stats.items)
    }

    fn counters(&self, queue: &str) -> QueueCounters {
        let mut all = self.engine.queue_stats(self.now, 0);
        all.find(|stats| stats.name == queue.as_bytes()).expect("the queue").counters
    }

    fn restart(&mut self) {
        let mut engine = Engine::new(self.table.clone(), self.limits);
        core::mem::swap(&mut self.engine, &mut engine);
        self.log.replay_into(&mut self.engine);
        self.check();
    }
}

fn dead_letters() -> World {
    let queue = QueueOverrides {
        max_attempts: Some(Some(2)),
        dead_letter_queue: Some(Some((*b"dead").into())),
        ..QueueOverrides::default()
    };
    World::new(&[("jobs", queue.clone()), ("dead", queue)])
}

#[test]
fn an_item_that_was_delivered_too_often_goes_to_the_dead_letter_queue_in_one_record() {
    let mut world = dead_letters();
    world.put("jobs", "poison", 0);
    world.put("jobs", "good", 0);
    assert_eq!(world.open("jobs"), Some(("poison".into(), 1)));
    world.abort("jobs");
    assert_eq!(world.open("jobs"), Some(("poison".into(), 2)));
    let before = world.log.last;
    world.abort("jobs");
    let kinds: Vec<u8> = world.log.entries.range(before + 1..).map(|(_, e)| e.kind).collect();
    // The definition of the queue, and the item that goes from here to there.
    assert_eq!(kinds, [1, 16]);
    assert_eq!((world.items("jobs"), world.items("dead")), (Some(1), Some(1)));
    assert_eq!(world.counters("jobs").dead_lettered, 1);
    let Some(RecordBuf::Put(put)) = world
        .log
        .entries
        .get(&(before + 2))
        .and_then(|entry| RecordBuf::decode(entry.kind, &entry.meta).ok())
    else {
        panic!("not a transfer")
    };
    let origin = put.extra.origin.expect("where it came from");
    assert_eq!((&origin.queue[..], origin.attempts), (&b"jobs"[..], 2));
    assert_eq!(origin.reason, Reason::DeadLettered);
    world.restart();
    assert_eq!((world.items("jobs"), world.items("dead")), (Some(1), Some(1)));
    // Where it is now it starts anew, and a queue is not its own dead-letter queue.
    for attempt in 1..5 {
        assert_eq!(world.open("dead"), Some(("poison".into(), attempt)));
        world.abort("dead");
    }
}

/// A power cut keeps any subset of what was not synced.
#[test]
fn an_item_that_moved_is_not_lost_with_the_name_of_where_it_went() {
    let mut world = dead_letters();
    world.put("jobs", "poison", 0);
    for _ in 0..2 {
        world.open("jobs");
        world.abort("jobs");
    }
    let name = world.log.last - 1;
    assert_eq!(world.log.entries[&name].kind, 1);
    world.log.entries.remove(&name);
    world.restart();
    assert_eq!((world.items("jobs"), world.items("dead")), (Some(0), Some(1)));
    // The name is written down again: by what comes next, or by a checkpoint, whichever is first.
    let mut other = dead_letters();
    core::mem::swap(&mut other.log, &mut world.log);
    other.restart();
    other.log.checkpoint(&mut other.engine);
    other.restart();
    assert_eq!((other.items("jobs"), other.items("dead")), (Some(0), Some(1)));
    let before = other.log.last;
    other.put("dead", "more", 0);
    assert!(other.log.entries.range(before + 1..).any(|(_, entry)| entry.kind == 3));
    // A client that deletes it sees it go.
    assert!(other.engine.delete(b"dead", &mut other.log));
    other.restart();
    assert_eq!(other.items("dead"), None);
}

#[test]
fn a_crash_during_the_last_attempt_is_not_one_more() {
    let mut world = dead_letters();
    world.put("jobs", "poison", 0);
    for attempt in 1..=2 {
        assert_eq!(world.open("jobs"), Some(("poison".into(), attempt)));
        // Nobody gives it back: the server dies with the worker.
        world.restart();
    }
    assert_eq!(world.open("jobs"), None);
    assert_eq!(world.open("dead"), Some(("poison".into(), 1)));
}

#[test]
fn a_worker_that_vanishes_counts_like_one_that_gives_back() {
    let mut world = dead_letters();
    world.put("jobs", "poison", 0);
    for _ in 0..2 {
        world.open("jobs");
        world.engine.handle_disconnect(world.now, WORKER, &mut world.log);
    }
    assert_eq!((world.items("jobs"), world.items("dead")), (Some(0), Some(1)));
}

#[test]
fn expired_items_go_where_the_queue_says_and_serve_who_waits_there() {
    let late = QueueOverrides {
        expire_to_queue: Some(Some((*b"late").into())),
        max_age_ms: Some(Some(1000)),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("jobs", late)]);
    world.put("jobs", "a", 0);
    world.put("jobs", "b", 100);
    let args = TakeArgs {
        queues: &[&b"late"[..]],
        mode: Mode::Take,
        max: 1,
        max_bytes: 1000,
        wait_ms: 60_000,
        lease_ms: 0,
    };
    let waits = world.engine.take(world.now, SessionId(7), args, &mut world.log);
    assert_eq!(waits, TakeOutcome::Waiting);
    world.sweep(900);
    // Only from the head: the second one is expired, the first is not.
    assert_eq!(world.items("jobs"), Some(2));
    world.sweep(1001);
    let delivery = world.engine.poll_delivery().expect("an item for who waits");
    assert_eq!((delivery.session, &delivery.items[0].body[..]), (SessionId(7), &b"a"[..]));
    assert_eq!((world.items("jobs"), world.items("late")), (Some(0), Some(1)));
    assert_eq!(world.counters("jobs").expired_items, 2);
    world.restart();
    // What was handed over and not picked up waits again, in front.
    assert_eq!(world.items("late"), Some(2));
    assert_eq!(world.open("late"), Some(("a".into(), 1)));
}

#[test]
fn a_sweep_removes_no_more_than_it_may() {
    let queue = QueueOverrides { max_expire_sweep: Some(2), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", queue)]);
    for n in 0..5 {
        world.put("q", &format!("{n}"), 10);
    }
    for left in [3, 1, 0, 0] {
        world.sweep(100);
        assert_eq!(world.items("q"), Some(left));
    }
    // Who takes never gets an expired item, however many are before a good one.
    for n in 0..5 {
        world.put("q", &format!("{n}"), 10);
    }
    world.put("q", "good", 0);
    world.now = at(200);
    assert_eq!(world.open("q"), Some(("good".into(), 1)));
}

#[test]
fn a_queue_without_a_journal_lives_in_memory_and_is_bounded_by_it() {
    let queue = QueueOverrides {
        keep_journal: Some(false),
        max_memory_size: Some(1000),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("fleeting", queue.clone()), ("m+fleeting", queue)]);
    let mut stored = 0;
    while matches!(world.put("fleeting", "0123456789", 0), PutOutcome::Stored { .. }) {
        stored += 1;
    }
    assert!((2..100).contains(&stored), "{stored}");
    assert_eq!(world.log.entries.len(), 0);
    assert_eq!(world.put("fleeting", "x", 0), PutOutcome::Refused(Refusal::QueueFull));
    assert_eq!(world.open("fleeting"), Some(("0123456789".into(), 1)));
    assert!(world.engine.close_oldest(WORKER, b"fleeting", &mut world.log));
    assert_eq!(world.log.entries.len(), 0);
    // Beside a queue with a journal: one put, one id, and only the latter is there after a restart.
    assert_eq!(world.open("m+fleeting"), None);
    let PutOutcome::Stored { id, .. } = world.put("m", "both", 0) else { panic!("refused") };
    assert_eq!((world.items("m"), world.items("m+fleeting")), (Some(1), Some(1)));
    world.restart();
    assert_eq!((world.items("m"), world.items("m+fleeting")), (Some(1), None));
    assert_eq!(world.items("fleeting"), None);
    let PutOutcome::Stored { id: next, .. } = world.put("m", "later", 0) else { panic!("refused") };
    assert!(next > id);
    assert_eq!(world.open("m"), Some(("both".into(), 1)));
}

#[test]
fn no_more_queues_than_there_may_be() {
    let limits = EngineLimits { max_queues: 3, ..EngineLimits::default() };
    let mut world = World::with(ConfigTable::default(), limits);
    world.put("a", "x", 0);
    assert_eq!(world.open("b"), None);
    assert_eq!(world.open("a+sub"), None);
    // What was only looked into makes room for what is put; a sub-queue is a subscription.
    assert!(matches!(world.put("c", "x", 0), PutOutcome::Stored { .. }));
    assert_eq!((world.items("b"), world.items("a+sub")), (None, Some(0)));
    assert_eq!(world.put("d", "x", 0), PutOutcome::Refused(Refusal::TooManyQueues { limit: 3 }));
    assert_eq!(world.open("d"), None);
    assert_eq!(world.items("d"), None);
    assert!(matches!(world.put("a", "y", 0), PutOutcome::Stored { .. }));
    world.restart();
    assert_eq!((world.items("a"), world.items("b"), world.items("c")), (Some(2), None, Some(1)));
}

#[test]
fn a_take_from_several_queues_does_not_give_one_up_for_the_other() {
    let limits = EngineLimits { max_queues: 2, ..EngineLimits::default() };
    let mut world = World::with(ConfigTable::default(), limits);
    world.put("full", "x", 0);
    let queues: [&[u8]; 3] = [b"one", b"two", b"full"];
    let mut args = TakeArgs {
        queues: &queues,
        mode: Mode::Open,
        max: 1,
        max_bytes: 1000,
        wait_ms: 0,
        lease_ms: 0,
    };
    let TakeOutcome::Items(items) = world.engine.take(world.now, WORKER, args, &mut world.log)
    else {
        panic!("an item is there");
    };
    assert_eq!(&items[0].queue[..], b"full");
    world.check();
    assert_eq!((world.items("one"), world.items("two")), (Some(0), None));
    // Who waits keeps the queue.
    args.queues = &queues[..1];
    args.wait_ms = 1000;
    let outcome = world.engine.take(world.now, SessionId(2), args, &mut world.log);
    assert_eq!(outcome, TakeOutcome::Waiting);
    assert_eq!(world.put("d", "x", 0), PutOutcome::Refused(Refusal::TooManyQueues { limit: 2 }));
    assert_eq!(world.items("one"), Some(0));
}

#[test]
fn a_queue_that_is_in_use_and_empty_for_the_moment_does_not_make_room_for_others() {
    let limits = EngineLimits { max_queues: 2, ..EngineLimits::default() };
    let mut world = World::with(ConfigTable::default(), limits);
    world.put("posts", "x", 0);
    assert!(matches!(world.take("posts", Mode::Take), TakeOutcome::Items(_)));
    world.put("other", "x", 0);
    world.sweep(1);
    assert_eq!(world.items("posts"), Some(0));
    assert!(matches!(world.put("posts", "y", 0), PutOutcome::Stored { .. }));
}

#[test]
fn a_queue_that_is_old_and_unused_goes() {
    let queue = QueueOverrides { max_queue_age_ms: Some(Some(1000)), ..QueueOverrides::default() };
    let mut world = World::new(&[("temp", queue)]);
    world.put("temp", "x", 0);
    world.sweep(5000);
    assert_eq!(world.items("temp"), Some(1), "what is in it is wanted");
    assert_eq!(world.open("temp"), Some(("x".into(), 1)));
    world.sweep(6000);
    assert_eq!(world.items("temp"), Some(0), "somebody holds an item of it");
    assert!(world.engine.close_oldest(WORKER, b"temp", &mut world.log));
    world.sweep(7000);
    assert_eq!(world.items("temp"), None);
    world.put("temp", "y", 0);
    world.open("temp");
    assert!(world.engine.close_oldest(WORKER, b"temp", &mut world.log));
    world.sweep(7900);
    assert_eq!(world.items("temp"), Some(0), "a new one is young");
}

#[test]
fn what_is_on_the_disk_only_is_read_for_who_wants_it_and_a_lost_item_is_no_hang() {
    let queue = QueueOverrides { max_memory_size: Some(0), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", queue)]);
    for n in 0..3 {
        world.put("q", &format!("{n}"), 0);
    }
    world.engine.handle_written(Seq(world.log.last), &world.log);
    let stats = world.engine.queue_stats(world.now, 0).next().unwrap();
    assert_eq!((stats.items, stats.mem_items, stats.mem_bytes), (3, 0, 0));
    assert_eq!(world.take("q", Mode::Open), TakeOutcome::Waiting);
    assert!(world.engine.waits_for_disk(WORKER));
    // Time that passes does not end such a wait; there is no deadline.
    world.engine.handle_timeout(at(1_000_000), &mut world.log);
    assert_eq!(world.engine.poll_delivery(), None);
    let request = world.engine.poll_load().expect("a read");
    let mut items = world.log.load(&request);
    assert_eq!(items.len(), 3);
    // The first one cannot be read.
    items.remove(0);
    let lost = world.engine.handle_loaded(world.now, &request, items, request.last, &mut world.log);
    assert_eq!(lost, 1);
    world.check();
    let delivery = world.engine.poll_delivery().expect("an item");
    assert_eq!(&delivery.items[0].body[..], b"1");
    assert_eq!((world.items("q"), world.counters("q").damaged_items), (Some(1), 1));
    // Nothing is left of it that would keep its segment.
    world.engine.handle_disconnect(world.now, WORKER, &mut world.log);
    world.engine.delete(b"q", &mut world.log);
    assert!(world.log.refs.values().all(|(refs, _)| *refs == 0));
}

#[test]
fn who_only_waits_for_the_disk_is_answered_when_that_queue_goes_or_is_hidden() {
    let queue = QueueOverrides { max_memory_size: Some(0), ..QueueOverrides::default() };
    for is_hidden in [false, true] {
        let mut world = World::new(&[("cold", queue.clone())]);
        world.put("cold", "x", 0);
        world.engine.handle_written(Seq(world.log.last), &world.log);
        let queues: [&[u8]; 2] = [b"cold", b"empty"];
        let reserve = |wait_ms| TakeArgs {
            queues: &queues,
            mode: Mode::Open,
            max: 1,
            max_bytes: 1000,
            wait_ms,
            lease_ms: 0,
        };
        for (session, wait_ms) in [(1, 0), (2, 1000)] {
            let session = SessionId(session);
            let outcome = world.engine.take(world.now, session, reserve(wait_ms), &mut world.log);
            assert_eq!(outcome, TakeOutcome::Waiting);
        }
        if is_hidden {
            let mut table = world.table.clone();
            table.aliases.insert((*b"cold").into(), [(*b"elsewhere").into()].into());
            world.engine.reload(world.now, table, &mut world.log);
        } else {
            world.engine.delete(b"cold", &mut world.log);
        }
        world.check();
        // Who did not want to wait is told that there is nothing, the other one waits on.
        let delivery = world.engine.poll_delivery().expect("an answer");
        assert_eq!((delivery.session, delivery.items.len()), (SessionId(1), 0));
        assert_eq!(world.engine.poll_delivery(), None);
        world.put("empty", "y", 0);
        assert_eq!(world.engine.poll_delivery().expect("an item").session, SessionId(2));
        world.check();
    }
}

#[test]
fn a_read_whose_items_were_moved_meanwhile_is_not_believed() {
    let queue = QueueOverrides { max_memory_size: Some(0), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", queue)]);
    for n in 0..20 {
        world.put("q", &format!("{n}"), 0);
    }
    world.log.checkpoint(&mut world.engine);
    assert_eq!(world.take("q", Mode::Take), TakeOutcome::Waiting);
    let request = world.engine.poll_load().expect("a read");
    let items = world.log.load(&request);
    world.log.retire(&mut world.engine, 0);
    world.check();
    world.engine.handle_loaded(world.now, &request, items, request.last, &mut world.log);
    world.check();
    assert_eq!(world.engine.poll_delivery(), None);
    world.log.load_all(&mut world.engine, world.now);
    assert_eq!(&world.engine.poll_delivery().expect("an item").items[0].body[..], b"0");
    assert_eq!(world.counters("q").damaged_items, 0);
}

#[test]
fn what_is_to_go_elsewhere_stays_while_there_is_no_room_and_is_not_handed_out() {
    let queue = QueueOverrides {
        max_attempts: Some(Some(1)),
        dead_letter_queue: Some(Some((*b"dead").into())),
        expire_to_queue: Some(Some((*b"late").into())),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("jobs", queue)]);
    world.put("jobs", "poison", 0);
    world.put("jobs", "late", 100);
    world.put("jobs", "good", 0);
    assert_eq!(world.open("jobs"), Some(("poison".into(), 1)));
    world.log.is_full = true;
    world.abort("jobs");
    assert_eq!(world.open("jobs"), None, "it was delivered often enough");
    world.sweep(1000);
    assert_eq!(
        (world.items("jobs"), world.items("dead"), world.items("late")),
        (Some(3), None, None)
    );
    let args = TakeArgs {
        queues: &[&b"jobs"[..]],
        mode: Mode::Take,
        max: 1,
        max_bytes: 1000,
        wait_ms: 100_000,
        lease_ms: 0,
    };
    let outcome = world.engine.take(world.now, SessionId(2), args, &mut world.log);
    assert_eq!(outcome, TakeOutcome::Waiting);
    world.log.is_full = false;
    world.engine.retry_moves(world.now, &mut world.log);
    let delivery = world.engine.poll_delivery().expect("who waited gets what was behind them");
    assert_eq!(delivery.items[0].body, Bytes::from_static(b"good"));
    assert_eq!((world.items("dead"), world.items("late")), (Some(1), Some(1)));
}

#[test]
fn looking_into_a_queue_writes_nothing_but_a_subscription_is_kept() {
    let mut world = World::new(&[]);
    assert_eq!(world.open("plain"), None);
    assert_eq!(world.log.last, 0, "nothing is written for it");
    assert_eq!(world.open("posts+a"), None);
    world.log.is_full = true;
    assert_eq!(world.open("posts+b"), None);
    world.log.is_full = false;
    world.restart();
    assert_eq!((world.items("plain"), world.items("posts+a")), (None, Some(0)));
    assert_eq!(world.items("posts+b"), None, "there was no room to write it down");
}

#[test]
fn a_master_has_no_more_sub_queues_than_a_record_can_name() {
    let mut world = World::new(&[]);
    world.put("posts", "first", 0);
    for index in 0..SUB_QUEUES_MAX {
        let slot = world.engine.slot_or_create(
            world.now,
            format!("posts+{index}").as_bytes(),
            &[],
            &mut world.log,
        );
        assert!(slot.is_ok());
    }
    let limit = SUB_QUEUES_MAX as u64;
    let refused = world.put("posts+more", "x", 0);
    assert_eq!(refused, PutOutcome::Refused(Refusal::TooManySubQueues { limit }));
    assert!(matches!(world.put("posts", "x", 0), PutOutcome::Stored { .. }));
    assert_eq!(world.items("posts+0"), Some(1));
    let meta = world.log.entries.values().map(|entry| entry.meta.len()).max().unwrap();
    assert!(meta < 40_000, "{meta} bytes have to fit, with what is added when it is written again");
}

#[test]
fn a_put_whose_master_lost_its_name_in_a_power_cut_is_still_in_all_its_queues() {
    let mut world = World::new(&[]);
    assert_eq!(world.open("posts+a"), None);
    world.put("posts", "x", 0);
    // Of what was written together only the record that names the master is lost.
    let named = |entry: &Entry| entry.kind == 1 && entry.meta.ends_with(b"posts");
    let seq = *world.log.entries.iter().find(|(_, entry)| named(entry)).expect("it was named").0;
    world.log.entries.remove(&seq);
    world.restart();
    assert_eq!((world.items("posts"), world.items("posts+a")), (Some(1), Some(1)));
    // It is written down again with the next put.
    world.put("posts", "y", 0);
    world.restart();
    assert_eq!(world.items("posts"), Some(2));
}

#[test]
fn who_waits_on_several_queues_never_holds_more_of_one_than_permitted() {
    let limits = EngineLimits { max_open_per_queue: 2, ..EngineLimits::default() };
    // Whatever the order: the room in one queue has nothing to do with that in the others.
    for queues in [[&b"empty"[..], b"full"], [b"full", b"empty"]] {
        let mut world = World::with(ConfigTable::default(), limits);
        let reserve = |world: &mut World, queues: &[&[u8]], max| {
            let (mode, wait_ms) = (Mode::Open, 1000);
            let args = TakeArgs { queues, mode, max, max_bytes: 1000, wait_ms, lease_ms: 0 };
            let outcome = world.engine.take(world.now, WORKER, args, &mut world.log);
            world.check();
            outcome
        };
        for body in ["a", "b", "c"] {
            world.put("full", body, 0);
        }
        assert!(
            matches!(reserve(&mut world, &[b"full"], 9), TakeOutcome::Items(items) if items.len() == 2)
        );
        assert!(matches!(reserve(&mut world, &queues, 9), TakeOutcome::Waiting));
        // Another one may have what this one must not.
        world.put("full", "d", 0);
        assert!(world.engine.poll_delivery().is_none(), "it holds two already");
        world.put("empty", "e", 0);
        let delivery = world.engine.poll_delivery().expect("it may have this");
        assert_eq!(&delivery.items[0].body[..], b"e");
        assert_eq!(world.items("full"), Some(2));
    }
}

#[test]
fn what_was_handed_over_for_good_is_no_open_read() {
    let mut world = World::new(&[]);
    let queues = [&b"q"[..]];
    let (mode, wait_ms) = (Mode::Take, 1000);
    let args = TakeArgs { queues: &queues, mode, max: 1, max_bytes: 1000, wait_ms, lease_ms: 0 };
    let outcome = world.engine.take(world.now, WORKER, args, &mut world.log);
    assert_eq!(outcome, TakeOutcome::Waiting);
    world.put("q", "a", 0);
    assert!(!world.engine.close_many(WORKER, b"q", 1, &mut world.log));
    assert!(!world.engine.abort_oldest(world.now, WORKER, b"q", &mut world.log));
    world.engine.accept_delivery(WORKER, &mut world.log);
    world.restart();
    assert_eq!(world.items("q"), Some(0));
}

#[test]
fn who_waits_gets_as_much_as_it_may_hold_and_no_more() {
    let limits = EngineLimits { max_open_per_queue: 2, ..EngineLimits::default() };
    let mut world = World::with(ConfigTable::default(), limits);
    let other = SessionId(2);
    let reserve = |world: &mut World, session, wait_ms| {
        let queues = [&b"q"[..], b"empty"];
        let mode = Mode::Open;
        let args =
            TakeArgs { queues: &queues, mode, max: 9, max_bytes: 1000, wait_ms, lease_ms: 0 };
        let outcome = world.engine.take(world.now, session, args, &mut world.log);
        world.check();
        outcome
    };
    world.put("q", "a", 0);
    assert!(world.open("q").is_some());
    world.put("q", "b", 0);
    world.put("q", "c", 0);
    assert!(matches!(reserve(&mut world, other, 0), TakeOutcome::Items(two) if two.len() == 2));
    assert!(matches!(reserve(&mut world, WORKER, 1000), TakeOutcome::Waiting));
    // Two come at once.
    world.engine.handle_disconnect(world.now, other, &mut world.log);
    world.check();
    let delivery = world.engine.poll_delivery().expect("there is room for one");
    assert_eq!(delivery.items.len(), 1);
    assert_eq!(world.items("q"), Some(1));
}
