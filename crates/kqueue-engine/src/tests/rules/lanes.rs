//! Priorities, delays, dead letters, keys and pauses: example by example.

mod dead;
mod keys;
mod times;

use super::*;
use crate::types::Settled;

/// A put with all its options.
#[derive(Clone, Copy, Debug, Default)]
struct With {
    delay_ms: u64,
    ttl_ms: u64,
    priority: Priority,
    key: Option<u8>,
}

impl With {
    fn delay(delay_ms: u64) -> Self {
        Self { delay_ms, ..Self::default() }
    }

    fn priority(priority: Priority) -> Self {
        Self { priority, ..Self::default() }
    }

    fn key(key: u8) -> Self {
        Self { key: Some(key), ..Self::default() }
    }
}

impl World {
    fn try_put_with(&mut self, queue: &str, body: &str, with: With) -> PutOutcome {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let from_now = |ms: u64| if ms == 0 { 0 } else { self.now.wall_ms + ms };
        let args = PutArgs {
            queue: queue.as_bytes(),
            flags: 7,
            expiry_ms: from_now(with.ttl_ms),
            body: &body,
            body_crc: 0,
            due_ms: from_now(with.delay_ms),
            priority: with.priority,
            key: with.key.map(|key| [key; 16]),
        };
        let outcome = self.engine.put(self.now, args, &mut self.log);
        self.check();
        outcome
    }

    fn put_with(&mut self, queue: &str, body: &str, with: With) -> ItemId {
        match self.try_put_with(queue, body, with) {
            PutOutcome::Stored { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Time passes, and what has to be read is read.
    fn pass_to(&mut self, mono_ms: u64) {
        self.now = at(mono_ms);
        self.rest();
    }

    fn rest(&mut self) {
        loop {
            self.engine.handle_timeout(self.now, &mut self.log);
            self.log.load_all(&mut self.engine, self.now);
            self.check();
            if self.engine.poll_timeout().is_none_or(|at_ms| at_ms > self.now.mono_ms) {
                return;
            }
        }
    }

    fn taken(&mut self, queue: &str, mode: Mode) -> Option<Taken> {
        match self.take(queue, mode) {
            TakeOutcome::Items(items) => Some(items[0].clone()),
            TakeOutcome::Empty => None,
            TakeOutcome::Waiting => {
                self.log.load_all(&mut self.engine, self.now);
                let delivery = self.engine.poll_delivery().expect("an end of the wait");
                self.engine.accept_delivery(WORKER, &mut self.log);
                self.check();
                delivery.items.first().cloned()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes an item for good.
    fn next(&mut self, queue: &str) -> Option<String> {
        let taken = self.taken(queue, Mode::Take)?;
        Some(String::from_utf8(taken.body.to_vec()).unwrap())
    }

    fn all(&mut self, queue: &str) -> Vec<String> {
        core::iter::from_fn(|| self.next(queue)).collect()
    }

    fn held(&mut self, queue: &str) -> Taken {
        self.taken(queue, Mode::Open).expect("an item")
    }

    fn release(&mut self, queue: &str, id: ItemId, delay_ms: Option<u64>) -> Settled {
        let queue = queue.as_bytes();
        let settled = self.engine.release(self.now, WORKER, queue, id, delay_ms, &mut self.log);
        self.check();
        settled
    }

    fn bury(&mut self, queue: &str, id: ItemId, note: &'static str) -> Settled {
        let (queue, note) = (queue.as_bytes(), Bytes::from_static(note.as_bytes()));
        let settled = self.engine.bury(self.now, WORKER, queue, id, note, &mut self.log);
        self.check();
        settled
    }

    fn walk(&self, queue: &str, state: ItemState) -> Vec<Seen> {
        let seen = self.log.walk(&self.engine, queue.as_bytes(), state, 1000);
        let one_by_one = self.log.walk(&self.engine, queue.as_bytes(), state, 1);
        let ids = |seen: &[Seen]| seen.iter().map(|seen| seen.id).collect::<Vec<_>>();
        assert_eq!(ids(&seen), ids(&one_by_one));
        seen
    }

    /// Kicks all dead letters and says how many.
    fn kick_all(&mut self, queue: &str) -> usize {
        let dead = self.walk(queue, ItemState::Dead);
        for seen in &dead {
            assert!(self.engine.kick(self.now, queue.as_bytes(), seen, &mut self.log));
            self.check();
        }
        dead.len()
    }

    /// (ready, delayed, dead)
    fn counts(&self, queue: &str) -> (u64, u64, u64) {
        let stats = self.engine.stats_of_queue(self.now, queue.as_bytes()).expect("the queue");
        (stats.items, stats.delayed_items, stats.dead_items)
    }

    fn wait_for(&mut self, session: u64, queue: &str, wait_ms: u32) -> TakeOutcome {
        let queues = [queue.as_bytes()];
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Open,
            max: 1,
            max_bytes: 1000,
            wait_ms,
            lease_ms: 0,
        };
        let outcome = self.engine.take(self.now, SessionId(session), args, &mut self.log);
        self.check();
        outcome
    }

    /// After a restart, and after a restart from a checkpoint without what was before.
    fn checkpoint_and_restart(&mut self) {
        self.log.checkpoint(&mut self.engine);
        for _ in 0..self.log.start / SEGMENT {
            self.log.retire(&mut self.engine, 0);
        }
        self.restart();
        self.rest();
    }
}

fn on_disk() -> QueueOverrides {
    QueueOverrides { max_memory_size: Some(0), ..QueueOverrides::default() }
}

fn in_memory() -> QueueOverrides {
    QueueOverrides { keep_journal: Some(false), ..QueueOverrides::default() }
}

/// In memory, on the disk only, and without a journal.
fn worlds() -> Vec<World> {
    let kinds = [QueueOverrides::default(), on_disk(), in_memory()];
    kinds.into_iter().map(|kind| World::new(&[("q", kind)])).collect()
}

#[test]
fn three_levels_are_strict_and_each_is_in_order_of_arrival() {
    for mut world in worlds() {
        for round in 0..3 {
            for priority in [Priority::Low, Priority::High, Priority::Normal] {
                world.put_with("q", &format!("{priority:?} {round}"), With::priority(priority));
            }
        }
        let expected = ["High 0", "High 1", "High 2", "Normal 0"];
        for body in expected {
            assert_eq!(world.next("q").as_deref(), Some(body));
        }
        // Who comes later and is more important is first.
        world.put_with("q", "late", With::priority(Priority::High));
        assert_eq!(world.all("q"), ["late", "Normal 1", "Normal 2", "Low 0", "Low 1", "Low 2"]);
    }
}

#[test]
fn levels_and_times_outlive_a_restart() {
    for overrides in [QueueOverrides::default(), on_disk()] {
        for is_from_checkpoint in [false, true] {
            let mut world = World::new(&[("q", overrides.clone())]);
            world.put_with("q", "low", With::priority(Priority::Low));
            world.put_with("q", "normal", With::default());
            let late = With { delay_ms: 5000, priority: Priority::High, ..With::default() };
            let id = world.put_with("q", "late", late);
            world.put_with("q", "high", With::priority(Priority::High));
            match is_from_checkpoint {
                true => world.checkpoint_and_restart(),
                false => world.restart(),
            }
            world.rest();
            assert_eq!(world.counts("q"), (3, 1, 0));
            assert_eq!(world.next("q").as_deref(), Some("high"));
            world.pass_to(4999);
            assert_eq!(world.next("q").as_deref(), Some("normal"));
            world.pass_to(5000);
            let late = world.held("q");
            assert_eq!((&late.body[..], late.id, late.flags), (&b"late"[..], id, 7));
            assert_eq!(world.walk("q", ItemState::Open).len(), 1);
        }
    }
}

#[test]
fn a_sub_queue_gets_level_and_delay_of_what_is_put_to_its_master() {
    let mut world = World::new(&[("m+mem", in_memory()), ("m+disk", on_disk())]);
    assert_eq!(world.open("m+mem"), None);
    assert_eq!(world.open("m+disk"), None);
    world.put("m", "plain", 0);
    let late = With { delay_ms: 3000, priority: Priority::High, ..With::default() };
    let id = world.put_with("m", "late", late);
    for queue in ["m", "m+mem", "m+disk"] {
        assert_eq!(world.counts(queue), (1, 1, 0), "{queue}");
    }
    world.pass_to(3000);
    for queue in ["m", "m+mem", "m+disk"] {
        let first = world.held(queue);
        assert_eq!((&first.body[..], first.id), (&b"late"[..], id), "{queue}");
        assert!(world.engine.ack(WORKER, queue.as_bytes(), id, &mut world.log));
        assert_eq!(world.next(queue).as_deref(), Some("plain"));
    }
    world.check();
}

#[test]
fn limits_count_what_is_delayed_but_not_what_is_dead() {
    let small = QueueOverrides { max_items: Some(2), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", small)]);
    world.put_with("q", "late", With::delay(1000));
    let id = world.put_with("q", "now", With::default());
    let full = PutOutcome::Refused(Refusal::QueueFull);
    assert_eq!(world.try_put_with("q", "more", With::default()), full);
    assert_eq!(world.try_put_with("q", "more", With::delay(5)), full);
    world.held("q");
    assert_eq!(world.bury("q", id, ""), Settled::Done);
    assert_eq!(world.counts("q"), (0, 1, 1));
    world.put_with("q", "more", With::priority(Priority::Low));
    assert_eq!(world.try_put_with("q", "more", With::default()), full);
    // A dead letter that comes back is over the limit, and not lost.
    assert_eq!(world.kick_all("q"), 1);
    assert_eq!(world.counts("q"), (2, 1, 0));
}

#[test]
fn a_full_queue_discards_the_oldest_of_the_lowest_level_and_nothing_that_is_delayed() {
    for memory in [u64::MAX, 0] {
        let rolling = QueueOverrides {
            max_items: Some(3),
            discard_old_when_full: Some(true),
            max_memory_size: Some(memory),
            ..QueueOverrides::default()
        };
        let mut world = World::new(&[("q", rolling)]);
        world.put_with("q", "high", With::priority(Priority::High));
        world.put_with("q", "late", With::delay(100_000));
        for n in 0..5 {
            world.put_with("q", &format!("low {n}"), With::priority(Priority::Low));
            world.rest();
        }
        assert_eq!(world.counts("q"), (2, 1, 0));
        assert_eq!(world.all("q"), ["high", "low 4"]);
        world.put_with("q", "later", With::delay(100_000));
        world.put_with("q", "later", With::delay(100_000));
        let full = PutOutcome::Refused(Refusal::QueueFull);
        assert_eq!(world.try_put_with("q", "x", With::default()), full);
        // What is due is not delayed any more.
        world.pass_to(100_000);
        world.put_with("q", "x", With::priority(Priority::Low));
        assert_eq!(world.all("q"), ["later", "later", "x"]);
    }
}

#[test]
fn what_has_expired_on_any_level_makes_room() {
    let small = QueueOverrides { max_items: Some(1), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", small)]);
    let brief = With { ttl_ms: 10, priority: Priority::High, ..With::default() };
    world.put_with("q", "brief", brief);
    world.now = at(11);
    world.put_with("q", "next", With::default());
    assert_eq!(world.all("q"), ["next"]);
}

#[test]
fn a_flush_takes_what_is_delayed_and_leaves_what_is_dead_and_a_delete_takes_all() {
    for overrides in [QueueOverrides::default(), on_disk(), in_memory()] {
        let mut world = World::new(&[("q", overrides)]);
        let id = world.put_with("q", "dead", With::default());
        world.held("q");
        assert_eq!(world.bury("q", id, "why"), Settled::Done);
        let put_some = |world: &mut World| {
            world.put_with("q", "late", With::delay(100_000));
            world.put_with("q", "soon", With::delay(500));
            world.put_with("q", "high", With::priority(Priority::High));
            world.put_with("q", "normal", With::default());
            world.rest();
        };
        put_some(&mut world);
        assert_eq!(world.engine.flush(b"q", &mut world.log), 4);
        world.check();
        assert_eq!(world.counts("q"), (0, 0, 1));
        world.pass_to(100_000);
        assert_eq!(world.next("q"), None);
        put_some(&mut world);
        let open = world.held("q");
        assert!(world.engine.delete(b"q", &mut world.log));
        world.check();
        assert!(!world.engine.ack(WORKER, b"q", open.id, &mut world.log));
        assert!(world.log.refs.values().all(|(refs, _)| *refs == 0));
        assert_eq!((world.engine.hot_cost(), world.engine.poll_timeout()), (0, None));
        world.restart();
        assert_eq!(world.items("q"), None);
    }
}

#[test]
fn each_purge_takes_its_own_state() {
    for mut world in worlds() {
        let id = world.put_with("q", "dead", With::default());
        world.held("q");
        world.bury("q", id, "");
        for (body, delay_ms) in [("due", 10), ("late", 100_000), ("later", 900), ("over", 20)] {
            world.put_with("q", body, With::delay(delay_ms));
        }
        world.put_with("q", "normal", With::default());
        world.put_with("q", "low", With::priority(Priority::Low));
        world.put_with("q", "open", With::priority(Priority::High));
        assert_eq!(&world.held("q").body[..], b"open");
        // What is due soon is in memory, and nobody has looked at the clock since.
        world.rest();
        let mut now = at(50);
        world.now = now;
        assert_eq!(world.engine.purge_delayed(now, b"q", &mut world.log), 2);
        world.check();
        assert_eq!(world.counts("q"), (4, 0, 1));
        world.put_with("q", "late", With::delay(100_000));
        assert_eq!(world.engine.purge_ready(now, b"q", &mut world.log), 4);
        world.check();
        assert_eq!(world.counts("q"), (0, 1, 1));
        assert_eq!(world.engine.purge_own_dead(b"q", &mut world.log), 1);
        world.check();
        assert_eq!(world.counts("q"), (0, 1, 0));
        assert_eq!(world.walk("q", ItemState::Open).len(), 1);
        // Those whose stretch of time is over are ready, also before anybody has noticed.
        now = at(1_000_000);
        assert_eq!(world.engine.purge_delayed(now, b"q", &mut world.log), 0);
        assert_eq!(world.engine.purge_ready(now, b"q", &mut world.log), 1);
        world.check();
    }
}

#[test]
fn a_paused_queue_gives_nothing_and_everything_else_goes_on() {
    for mut world in worlds() {
        let name = b"q";
        assert!(world.engine.pause(world.now, name, true, &mut world.log));
        world.put_with("q", "a", With::default());
        world.put_with("q", "late", With::delay(1000));
        world.rest();
        assert_eq!(world.wait_for(1, "q", 0), TakeOutcome::Empty);
        assert_eq!(world.wait_for(2, "q", 500), TakeOutcome::Waiting);
        assert_eq!(world.wait_for(3, "q", 5000), TakeOutcome::Waiting);
        // Who waits is told when the time is over, also if all there is is on the disk.
        world.pass_to(500);
        let delivery = world.engine.poll_delivery().expect("an answer");
        assert_eq!((delivery.session, delivery.items.len()), (SessionId(2), 0));
        assert_eq!(&world.taken("q", Mode::Peek).expect("it may be looked at").body[..], b"a");
        world.pass_to(1000);
        assert_eq!(world.engine.poll_delivery(), None);
        assert!(world.engine.pause(world.now, name, false, &mut world.log));
        world.rest();
        let delivery = world.engine.poll_delivery().expect("it goes on");
        assert_eq!((delivery.session, &delivery.items[0].body[..]), (SessionId(3), &b"a"[..]));
        assert_eq!(world.next("q").as_deref(), Some("late"));
    }
}

#[test]
fn a_pause_outlives_a_restart_and_so_does_its_end() {
    let mut world = World::new(&[]);
    for is_from_checkpoint in [false, true] {
        for is_paused in [true, false] {
            assert!(world.engine.pause(world.now, b"q", is_paused, &mut world.log));
            match is_from_checkpoint {
                true => world.checkpoint_and_restart(),
                false => world.restart(),
            }
            let stats = world.engine.stats_of_queue(world.now, b"q").expect("it was named");
            assert_eq!(stats.is_paused, is_paused);
        }
    }
}

#[test]
fn a_walk_sees_what_stays_whatever_comes_and_goes_meanwhile() {
    for overrides in [QueueOverrides::default(), on_disk()] {
        let mut world = World::new(&[("q", overrides)]);
        for n in 0..60 {
            world.put_with("q", &format!("{n}"), With::default());
        }
        world.log.checkpoint(&mut world.engine);
        let (mut place, mut found) = (WalkPlace::default(), Vec::new());
        let mut steps = 0;
        loop {
            let (seen, next) = world.engine.walk(b"q", ItemState::Ready, place, 5);
            found.extend(seen);
            place = match next {
                WalkNext::End => break,
                WalkNext::Goon(place) => place,
                WalkNext::Read { request, place, last_id, .. } => {
                    let items = world.log.load(&request);
                    // It is read elsewhere by then, and moved.
                    if steps % 2 == 0 {
                        world.log.retire(&mut world.engine, 0);
                    }
                    let state = ItemState::Ready;
                    let Walked { seen, is_moved, .. } =
                        world.engine.seen_of_loaded(b"q", state, &request, place, last_id, items);
                    let behind = seen.last().map_or(place, |seen| seen.place);
                    found.extend(seen);
                    match is_moved {
                        // It is looked for where it is now.
                        true => behind,
                        false => WalkPlace { id: last_id, ..place },
                    }
                }
            };
            steps += 1;
            world.put_with("q", "more", With::default());
            world.check();
        }
        let bodies = |n: usize| format!("{n}");
        for n in 0..60 {
            let is_it = |seen: &Seen| seen.item.body == bodies(n).as_bytes();
            assert!(found.iter().any(is_it), "item {n} was there all the time");
        }
    }
}

#[test]
fn a_walk_that_reads_a_stretch_shows_nothing_of_what_lies_between_and_comes_later() {
    let mut world = World::new(&[("q", on_disk())]);
    for n in 0..6 {
        world.put("q", &format!("{n}"), 0);
    }
    world.log.checkpoint(&mut world.engine);
    while world.log.last % SEGMENT != SEGMENT - 1 {
        world.put("other", "x", 0);
    }
    // What is written again and what is put lie in one segment, by turns.
    let seqs: Vec<u64> = (1..8).collect();
    let mut moves = Moves::default();
    let mut next = 6;
    for seq in seqs {
        let Some(entry) = world.log.entries.remove(&seq) else { continue };
        let record = RecordBuf::decode(entry.kind, &entry.meta).expect("a sound record");
        let World { engine, log, now, .. } = &mut world;
        let (body, crc, share) = (&entry.body, entry.body_crc, entry.share);
        engine.rerecord(Seq(seq), &record, body, crc, share, &mut moves, log);
        if matches!(record, RecordBuf::Put(_)) {
            let body = Bytes::from(format!("{next}"));
            let args = PutArgs {
                queue: b"q",
                flags: 0,
                expiry_ms: 0,
                body: &body,
                body_crc: 0,
                due_ms: 0,
                priority: Priority::Normal,
                key: None,
            };
            engine.put(*now, args, log);
            next += 1;
        }
    }
    moves.settle(&mut world.engine, &mut world.log);
    world.engine.handle_written(Seq(world.log.last), &world.log);
    world.check();
    let seen = world.walk("q", ItemState::Ready);
    let bodies: Vec<Bytes> = seen.iter().map(|seen| seen.item.body.clone()).collect();
    let expected: Vec<Bytes> = (0..next).map(|n| Bytes::from(format!("{n}"))).collect();
    assert_eq!(bodies, expected);
}
