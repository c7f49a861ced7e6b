//! Items that are ready at their time, leases, and what comes back later.

use super::*;

#[test]
fn within_a_level_what_was_ready_first_comes_first() {
    for mut world in worlds() {
        world.put_with("q", "due 2000", With::delay(2000));
        world.put_with("q", "due 1000", With::delay(1000));
        world.pass_to(1500);
        world.put_with("q", "put 1500", With::default());
        world.pass_to(2500);
        world.put_with("q", "put 2500", With::default());
        world.put_with("q", "high, put 2500", With::priority(Priority::High));
        let expected = ["high, put 2500", "due 1000", "put 1500", "due 2000", "put 2500"];
        assert_eq!(world.all("q"), expected);
    }
}

#[test]
fn nothing_comes_before_its_time_and_who_waits_gets_it_then() {
    for mut world in worlds() {
        world.put_with("q", "late", With::delay(7_777));
        assert_eq!(world.next("q"), None);
        assert_eq!(world.wait_for(2, "q", 100_000), TakeOutcome::Waiting);
        let mut wakes = 0;
        let delivery = loop {
            let wake = world.engine.poll_timeout().expect("an alarm");
            assert!(wake >= world.now.mono_ms && wake <= 7_777, "{wake}");
            world.now = at(wake);
            world.engine.handle_timeout(world.now, &mut world.log);
            world.log.load_all(&mut world.engine, world.now);
            world.check();
            if let Some(delivery) = world.engine.poll_delivery() {
                break delivery;
            }
            wakes += 1;
            assert!(wakes < 100, "it sleeps meanwhile");
        };
        assert_eq!((world.now.mono_ms, &delivery.items[0].body[..]), (7_777, &b"late"[..]));
    }
}

#[test]
fn what_comes_back_is_at_its_old_place_also_among_delayed_items() {
    for mut world in worlds() {
        for (body, delay_ms) in [("b", 1002), ("a", 1001), ("c", 1003)] {
            world.put_with("q", body, With::delay(delay_ms));
        }
        world.put_with("q", "first", With::default());
        world.put_with("q", "second", With::default());
        world.pass_to(2000);
        for expected in ["first", "second", "a", "b"] {
            assert_eq!(&world.held("q").body[..], expected.as_bytes());
        }
        let held = world.walk("q", ItemState::Open);
        assert_eq!(held.len(), 4);
        for seen in held {
            assert_eq!(world.release("q", seen.id, Some(0)), Settled::Done);
        }
        let again = world.held("q");
        assert_eq!((&again.body[..], again.attempts), (&b"first"[..], 2));
        assert_eq!(world.release("q", again.id, Some(0)), Settled::Done);
        assert_eq!(world.all("q"), ["first", "second", "a", "b", "c"]);
    }
}

#[test]
fn a_release_with_a_delay_keeps_id_level_and_attempts() {
    for overrides in [QueueOverrides::default(), on_disk()] {
        let mut world = World::new(&[("q", overrides)]);
        let id = world.put_with("q", "x", With::priority(Priority::High));
        for attempt in 1..4 {
            let held = world.held("q");
            assert_eq!((held.id, held.attempts, held.put_ms), (id, attempt, at(0).wall_ms));
            assert_eq!(world.release("q", id, Some(5000)), Settled::Done);
            assert_eq!(world.release("q", id, Some(5000)), Settled::NotHeld);
            let due_ms = world.now.wall_ms + 5000;
            match attempt {
                1 => world.restart(),
                2 => world.checkpoint_and_restart(),
                _ => {}
            }
            world.rest();
            let seen = world.walk("q", ItemState::Delayed);
            assert_eq!((seen[0].id, seen[0].priority), (id, Priority::High));
            assert_eq!(seen[0].item.extra.as_ref().map(|extra| extra.due_ms), Some(due_ms));
            world.pass_to(world.now.mono_ms + 5000);
        }
        world.put_with("q", "normal", With::default());
        assert_eq!(world.all("q"), ["x", "normal"]);
    }
}

#[test]
fn retries_are_twice_as_far_apart_each_time_up_to_the_longest() {
    let retries = QueueOverrides {
        retry_delay_ms: Some(10_000),
        retry_delay_max_ms: Some(60_000),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("q", retries)]);
    let mut first = BTreeSet::new();
    for n in 0..20 {
        world.put_with("q", &format!("{n}"), With::default());
    }
    for most_ms in [10_000, 20_000, 40_000, 60_000, 60_000] {
        for _ in 0..20 {
            let id = world.held("q").id;
            // As a client that gives back and one that vanishes.
            match id.0 % 2 {
                0 => assert_eq!(world.release("q", id, None), Settled::Done),
                _ => world.engine.handle_disconnect(world.now, WORKER, &mut world.log),
            }
            world.check();
        }
        for seen in world.walk("q", ItemState::Delayed) {
            let extra = seen.item.extra.expect("its time");
            let wait_ms = extra.due_ms - world.now.wall_ms;
            assert!((most_ms * 9 / 10..=most_ms).contains(&wait_ms), "{wait_ms} of {most_ms}");
            first.insert(wait_ms);
        }
        assert_eq!(world.counts("q"), (0, 20, 0));
        world.pass_to(world.now.mono_ms + most_ms);
    }
    assert!(first.len() > 50, "they do not come all together: {first:?}");
    // Who says how long is believed.
    let id = world.held("q").id;
    assert_eq!(world.release("q", id, Some(0)), Settled::Done);
    assert_eq!(world.counts("q"), (20, 0, 0));
}

#[test]
fn a_delayed_item_that_expires_before_its_time_is_never_handed_out() {
    for mut world in worlds() {
        world.put_with("q", "gone", With { delay_ms: 2000, ttl_ms: 1500, ..With::default() });
        world.put_with("q", "good", With { delay_ms: 2001, ttl_ms: 9000, ..With::default() });
        assert_eq!(world.wait_for(2, "q", 100_000), TakeOutcome::Waiting);
        world.pass_to(2000);
        assert_eq!(world.engine.poll_delivery(), None);
        world.pass_to(2001);
        let delivery = world.engine.poll_delivery().expect("the other one");
        assert_eq!(&delivery.items[0].body[..], b"good");
        assert_eq!((world.counts("q"), world.counters("q").expired_items), ((0, 0, 0), 1));
    }
}

#[test]
fn what_is_due_and_expires_is_swept_though_nobody_takes_and_no_more_than_may_be() {
    let queue = QueueOverrides { max_expire_sweep: Some(2), ..QueueOverrides::default() };
    let late = QueueOverrides { expire_to_queue: Some(Some((*b"late").into())), ..queue.clone() };
    let mut world = World::new(&[("q", queue), ("moving", late)]);
    for name in ["q", "moving"] {
        for n in 0..5 {
            world.put_with(
                name,
                &format!("{n}"),
                With { delay_ms: 10, ttl_ms: 50, ..With::default() },
            );
        }
    }
    world.pass_to(20);
    world.log.is_full = true;
    world.sweep(100);
    assert_eq!((world.counts("q"), world.counts("moving")), ((3, 0, 0), (5, 0, 0)));
    world.log.is_full = false;
    for left in [3, 1, 0, 0] {
        world.sweep(101);
        assert_eq!(world.counts("moving").0, left);
    }
    assert_eq!((world.counts("q").0, world.items("late")), (0, Some(5)));
    assert_eq!(world.engine.flush_expired(world.now, b"q", &mut world.log), 0);
}

#[test]
fn a_touched_lease_ends_when_it_is_said() {
    let queue = QueueOverrides {
        open_transaction_timeout_ms: Some(Some(5000)),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("q", queue)]);
    let id = world.put_with("q", "x", With::delay(1));
    world.pass_to(1);
    world.held("q");
    let lease = |world: &World| world.walk("q", ItemState::Open)[0].lease_end_ms;
    assert_eq!(lease(&world), Some(5001));
    assert!(world.engine.touch(world.now, WORKER, b"q", id, 20_000));
    assert_eq!(lease(&world), Some(20_001));
    world.pass_to(20_000);
    assert_eq!(world.counts("q"), (0, 0, 0));
    assert!(world.engine.touch(world.now, WORKER, b"q", id, 0));
    assert_eq!(lease(&world), Some(25_000));
    assert!(!world.engine.touch(world.now, SessionId(2), b"q", id, 5), "somebody else's");
    world.pass_to(24_999);
    assert_eq!(world.counts("q"), (0, 0, 0));
    world.pass_to(25_000);
    assert_eq!(world.counts("q"), (1, 0, 0));
    assert!(!world.engine.touch(world.now, WORKER, b"q", id, 5), "too late");
}

#[test]
fn on_a_full_disk_what_would_be_written_again_stays_held() {
    let mut world = World::new(&[]);
    let id = world.put_with("q", "x", With::default());
    world.held("q");
    world.log.is_full = true;
    assert_eq!(world.release("q", id, Some(1)), Settled::NoRoom);
    assert_eq!(world.bury("q", id, "why"), Settled::NoRoom);
    assert_eq!(world.release("q", ItemId(id.0 + 1), Some(1)), Settled::NotHeld);
    assert_eq!(world.walk("q", ItemState::Open).len(), 1);
    // To its old place it can always return.
    assert_eq!(world.release("q", id, Some(0)), Settled::Done);
    assert_eq!(&world.held("q").body[..], b"x");
    world.log.is_full = false;
    assert_eq!(world.bury("q", id, "why"), Settled::Done);
}

#[test]
fn a_retry_for_which_there_is_no_room_comes_at_once() {
    let retries = QueueOverrides { retry_delay_ms: Some(1000), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", retries)]);
    let id = world.put_with("q", "x", With::default());
    world.held("q");
    world.log.is_full = true;
    assert_eq!(world.release("q", id, None), Settled::Done);
    assert_eq!(world.counts("q"), (1, 0, 0));
}

#[test]
fn very_many_that_are_due_at_once_are_seen_to_piece_by_piece_and_none_is_missed() {
    for (overrides, many) in [(QueueOverrides::default(), 40_000), (on_disk(), 5_500)] {
        let mut world = World::new(&[("q", overrides)]);
        for n in 0..many {
            let body = Bytes::from(format!("{n}"));
            let args = PutArgs {
                queue: b"q",
                flags: 0,
                expiry_ms: 0,
                body: &body,
                body_crc: 0,
                due_ms: world.now.wall_ms + 60_000,
                priority: Priority::Normal,
                key: None,
            };
            world.engine.put(world.now, args, &mut world.log);
        }
        world.engine.handle_written(Seq(world.log.last), &world.log);
        world.now = at(60_000);
        let mut pieces = 0;
        while world.engine.poll_timeout().is_some_and(|at_ms| at_ms <= world.now.mono_ms) {
            let before = world.engine.due_count(b"q");
            world.engine.handle_timeout(world.now, &mut world.log);
            let step = world.engine.due_count(b"q") - before;
            // One call sees to several alarms, each for a piece.
            assert!(step <= 16_000, "{step} at once");
            world.log.load_all(&mut world.engine, world.now);
            pieces += 1;
        }
        world.check();
        assert!(pieces > many / 20_000, "{pieces}");
        let all: Vec<usize> = world.all_unchecked("q");
        assert_eq!(all, (0..many).collect::<Vec<_>>());
    }
}

#[test]
fn a_hundred_thousand_random_delays_come_in_order_of_time() {
    const MANY: u64 = 100_000;
    let mut world = World::new(&[]);
    let mut random = 88_172_645_463_325_252_u64;
    let mut times = Vec::new();
    for _ in 0..MANY {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let due_ms = world.now.wall_ms + 1 + random % 1_000_000;
        times.push(due_ms);
        let body = Bytes::from(format!("{due_ms}"));
        let args = PutArgs {
            queue: b"q",
            flags: 0,
            expiry_ms: 0,
            body: &body,
            body_crc: 0,
            due_ms,
            priority: Priority::Normal,
            key: None,
        };
        world.engine.put(world.now, args, &mut world.log);
    }
    times.sort_unstable();
    let mut taken = Vec::new();
    // Nobody wakes the engine but by its own alarms.
    while let Some(wake) = world.engine.poll_timeout() {
        world.now = at(wake.max(world.now.mono_ms));
        world.engine.handle_timeout(world.now, &mut world.log);
        for due_ms in world.all_unchecked("q") {
            assert!(due_ms as u64 <= world.now.wall_ms, "too early");
            taken.push(due_ms as u64);
        }
    }
    assert_eq!(taken, times);
    world.check();
    assert_eq!(world.engine.hot_cost(), 0);
}

impl World {
    /// As `all`, without checks at each step: there are very many.
    fn all_unchecked(&mut self, queue: &str) -> Vec<usize> {
        let queues = [queue.as_bytes()];
        let args = TakeArgs {
            queues: &queues,
            mode: Mode::Take,
            max: 100,
            max_bytes: 1_000_000,
            wait_ms: 0,
            lease_ms: 0,
        };
        let mut all = Vec::new();
        loop {
            let mut outcome = self.engine.take(self.now, WORKER, args, &mut self.log);
            if outcome == TakeOutcome::Waiting {
                self.log.load_all(&mut self.engine, self.now);
                let delivery = self.engine.poll_delivery().expect("an end of the wait");
                self.engine.accept_delivery(WORKER, &mut self.log);
                outcome = TakeOutcome::Items(delivery.items);
            }
            let TakeOutcome::Items(items) = outcome else { return all };
            if items.is_empty() {
                return all;
            }
            let number =
                |item: &Taken| core::str::from_utf8(&item.body).unwrap().parse::<usize>().unwrap();
            all.extend(items.iter().map(number));
        }
    }
}

impl Engine {
    /// How many items of a queue are entered as due.
    fn due_count(&self, queue: &[u8]) -> usize {
        let home = self.by_name[queue];
        self.queue(home).lanes.as_ref().map_or(0, |lanes| lanes.due_count())
    }
}

#[test]
fn who_asks_when_the_time_has_come_and_nobody_has_looked_does_not_forget_those_who_wait() {
    type Ask = fn(&mut World);
    let asks: [Ask; 3] = [
        |world| _ = world.take("q", Mode::Peek),
        |world| assert_eq!(world.take("q", Mode::Take), TakeOutcome::Empty, "others came before"),
        |world| _ = world.engine.purge_delayed(world.now, b"q", &mut world.log),
    ];
    for ask in asks {
        let mut world = World::new(&[]);
        world.put_with("q", "late", With::delay(500));
        assert_eq!(world.wait_for(2, "q", 100_000), TakeOutcome::Waiting);
        world.rest();
        world.now = at(500);
        ask(&mut world);
        world.check();
        world.rest();
        let delivery = world.engine.poll_delivery().expect("a delivery");
        assert_eq!(&delivery.items[0].body[..], b"late");
    }
}

/// Somebody who looks at what is ready does not have the disk read for what is not, however much there is.
#[test]
fn a_walk_reads_no_bucket_in_which_nothing_can_be_wanted() {
    let mut world = World::new(&[("q", on_disk())]);
    for n in 0..3 {
        world.put_with("q", &format!("{n}"), With::delay(3_600_000));
    }
    world.rest();
    let next = |world: &World, state| {
        let (seen, next) = world.engine.walk(b"q", state, WalkPlace::default(), 10);
        assert_eq!(seen.len(), 0);
        next
    };
    assert_eq!(next(&world, ItemState::Ready), WalkNext::End);
    assert!(matches!(next(&world, ItemState::Delayed), WalkNext::Read { .. }));
    world.now = at(7_200_000);
    world.engine.note_now(world.now);
    assert!(matches!(next(&world, ItemState::Ready), WalkNext::Read { .. }));
    assert_eq!(next(&world, ItemState::Delayed), WalkNext::End);
}
