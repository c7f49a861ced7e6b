//! Dead letters: where they are, what is known of them, how they come back.

use super::*;

fn spent() -> QueueOverrides {
    QueueOverrides { max_attempts: Some(Some(2)), ..QueueOverrides::default() }
}

fn origin_of(seen: &Seen) -> Origin {
    let extra = seen.item.extra.as_ref().expect("what is known of it");
    extra.origin.clone().expect("where it came from")
}

#[test]
fn without_a_queue_for_them_dead_letters_stay_and_are_not_handed_out() {
    for memory in [u64::MAX, 0] {
        let queue = QueueOverrides { max_memory_size: Some(memory), ..spent() };
        let mut world = World::new(&[("q", queue)]);
        let id = world.put_with("q", "x", With::priority(Priority::High));
        world.now = at(10);
        for attempt in 1..=2 {
            let held = world.held("q");
            assert_eq!((held.id, held.attempts), (id, attempt));
            world.abort("q");
        }
        assert_eq!(world.next("q"), None);
        assert_eq!((world.counts("q"), world.counters("q").dead_within), ((0, 0, 1), 1));
        world.now = at(20);
        for is_from_checkpoint in [false, true] {
            match is_from_checkpoint {
                true => world.checkpoint_and_restart(),
                false => world.restart(),
            }
            let dead = world.walk("q", ItemState::Dead);
            assert_eq!((dead.len(), dead[0].id, dead[0].priority), (1, id, Priority::High));
            let expected = Origin {
                queue: Bytes::from_static(b"q"),
                id,
                put_ms: at(0).wall_ms,
                attempts: 2,
                reason: Reason::DeadLettered,
                moved_ms: at(10).wall_ms,
            };
            assert_eq!(origin_of(&dead[0]), expected);
        }
        // It comes back with the id that it always had, at the end of its level, and begins anew.
        world.put_with("q", "other", With::priority(Priority::High));
        assert_eq!(world.kick_all("q"), 1);
        assert_eq!(world.next("q").as_deref(), Some("other"));
        let held = world.held("q");
        assert_eq!((held.id, held.attempts, &held.body[..]), (id, 1, &b"x"[..]));
        assert_eq!(world.bury("q", id, "and again"), Settled::Done);
        let dead = world.walk("q", ItemState::Dead);
        assert_eq!((dead[0].id, origin_of(&dead[0]).reason), (id, Reason::Buried));
        assert_eq!(&dead[0].item.extra.as_ref().expect("a note").note[..], b"and again");
    }
}

#[test]
fn what_is_buried_goes_to_the_other_queue_if_there_is_one_and_only_its_own_comes_back() {
    for memory in [u64::MAX, 0] {
        let queue = QueueOverrides {
            dead_letter_queue: Some(Some((*b"dead").into())),
            max_memory_size: Some(memory),
            ..QueueOverrides::default()
        };
        let dead = QueueOverrides { max_memory_size: Some(memory), ..QueueOverrides::default() };
        let mut world = World::new(&[("a", queue.clone()), ("b", queue), ("dead", dead)]);
        world.put("dead", "put there", 0);
        let mut ids = Vec::new();
        for name in ["a", "b", "a", "b"] {
            ids.push(world.put_with(name, name, With::default()));
            let id = world.held(name).id;
            assert_eq!(world.bury(name, id, "why"), Settled::Done);
        }
        world.rest();
        assert_eq!((world.counts("a"), world.counts("dead")), ((0, 0, 0), (5, 0, 0)));
        let seen = world.walk("a", ItemState::Dead);
        let from: Vec<ItemId> = seen.iter().map(|seen| origin_of(seen).id).collect();
        assert_eq!(from, [ids[0], ids[2]]);
        assert!(seen.iter().all(|seen| seen.id != origin_of(seen).id), "a new id there");
        assert!(world.engine.remove_seen(&seen[0], &mut world.log));
        world.check();
        assert!(!world.engine.remove_seen(&seen[0], &mut world.log), "only once");
        assert!(!world.engine.kick(world.now, b"a", &seen[0], &mut world.log));
        assert_eq!(world.kick_all("a"), 1);
        world.restart();
        let held = world.held("a");
        assert_eq!((held.id, held.attempts), (ids[2], 1));
        assert_eq!(world.all("dead"), ["put there", "b", "b"]);
    }
}

#[test]
fn dead_letters_that_wait_for_their_time_are_dead_letters() {
    for memory in [u64::MAX, 0] {
        let queue = QueueOverrides {
            dead_letter_queue: Some(Some((*b"dead").into())),
            ..QueueOverrides::default()
        };
        let dead = QueueOverrides { max_memory_size: Some(memory), ..QueueOverrides::default() };
        let mut world = World::new(&[("q", queue), ("dead", dead)]);
        for (body, delay_ms) in [("0", 5_000), ("1", 10_000), ("2", 0)] {
            let id = world.put_with("q", body, With::default());
            world.held("q");
            world.bury("q", id, "why");
            let id = world.held("dead").id;
            assert_eq!(world.release("dead", id, Some(delay_ms)), Settled::Done);
        }
        world.pass_to(5_000);
        assert_eq!(world.counts("dead"), (2, 1, 0));
        let dead = world.walk("q", ItemState::Dead);
        assert_eq!(dead.len(), 3);
        assert!(world.engine.remove_seen(&dead[1], &mut world.log));
        world.check();
        assert_eq!(world.kick_all("q"), 2);
        assert_eq!((world.all("q"), world.all("dead").len()), (vec!["2".into(), "1".into()], 0));
        assert_eq!(world.engine.poll_timeout().filter(|at_ms| *at_ms <= 5_000), None);
    }
}

#[test]
fn dead_letters_do_not_expire() {
    let queue = QueueOverrides { max_age_ms: Some(Some(100)), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", queue)]);
    let id = world.put_with("q", "x", With { ttl_ms: 50, ..With::default() });
    world.held("q");
    world.bury("q", id, "");
    world.sweep(1_000_000);
    world.restart();
    world.sweep(1_000_000);
    assert_eq!(world.counts("q"), (0, 0, 1));
    assert_eq!(world.kick_all("q"), 1);
    assert_eq!(world.next("q").as_deref(), Some("x"), "its age counts from now");
}

#[test]
fn a_kick_needs_room_and_happens_once() {
    let mut world = World::new(&[]);
    let id = world.put_with("q", "x", With::default());
    world.held("q");
    world.bury("q", id, "");
    let dead = world.walk("q", ItemState::Dead);
    world.log.is_full = true;
    assert!(!world.engine.kick(world.now, b"q", &dead[0], &mut world.log));
    assert_eq!(world.counts("q"), (0, 0, 1));
    world.log.is_full = false;
    assert_eq!(world.wait_for(2, "q", 1000), TakeOutcome::Waiting);
    assert!(world.engine.kick(world.now, b"q", &dead[0], &mut world.log));
    assert!(world.engine.poll_delivery().is_some(), "who waits gets it");
    assert!(!world.engine.kick(world.now, b"q", &dead[0], &mut world.log));
    world.check();
}

#[test]
fn a_queue_with_dead_letters_is_not_unused() {
    let queue = QueueOverrides { max_queue_age_ms: Some(Some(100)), ..QueueOverrides::default() };
    let mut world = World::new(&[("q", queue)]);
    let id = world.put_with("q", "x", With::default());
    world.put_with("q", "late", With::delay(10_000));
    world.held("q");
    world.bury("q", id, "");
    world.sweep(1000);
    assert_eq!(world.engine.purge_own_dead(b"q", &mut world.log), 1);
    world.sweep(1000);
    assert_eq!(world.counts("q"), (0, 1, 0));
    assert_eq!(world.engine.purge_delayed(world.now, b"q", &mut world.log), 1);
    world.sweep(1000);
    assert_eq!(world.items("q"), None);
}

#[test]
fn bodies_come_through_every_move_in_a_queue_in_memory_only() {
    let queue = QueueOverrides { keep_journal: Some(false), retry_delay_ms: Some(100), ..spent() };
    let mut world = World::new(&[("q", queue)]);
    let id =
        world.put_with("q", "x", With { delay_ms: 50, priority: Priority::Low, ..With::default() });
    world.pass_to(50);
    world.held("q");
    assert_eq!(world.release("q", id, None), Settled::Done);
    assert_eq!(world.counts("q"), (0, 1, 0));
    world.pass_to(150);
    assert_eq!(world.held("q").attempts, 2);
    assert_eq!(world.release("q", id, None), Settled::Done);
    assert_eq!(world.counts("q"), (0, 0, 1));
    assert_eq!(world.kick_all("q"), 1);
    let held = world.held("q");
    assert_eq!((held.id, held.attempts, &held.body[..]), (id, 1, &b"x"[..]));
    assert_eq!(world.log.last, 0, "nothing is written");
}

/// It asked for something that was on the disk, and nobody will read that any more.
#[test]
fn who_only_waited_for_a_dead_letter_to_be_read_is_told_when_it_goes() {
    for is_kicked in [false, true] {
        let queue = QueueOverrides {
            dead_letter_queue: Some(Some((*b"dead").into())),
            ..QueueOverrides::default()
        };
        let mut world = World::new(&[("q", queue), ("dead", on_disk())]);
        let id = world.put_with("q", "x", With::default());
        world.held("q");
        world.bury("q", id, "");
        world.rest();
        let dead = world.walk("q", ItemState::Dead);
        assert_eq!(world.wait_for(2, "dead", 0), TakeOutcome::Waiting);
        match is_kicked {
            true => assert!(world.engine.kick(world.now, b"q", &dead[0], &mut world.log)),
            false => assert!(world.engine.remove_seen(&dead[0], &mut world.log)),
        }
        world.rest();
        let delivery = world.engine.poll_delivery().expect("the end of its wait");
        assert_eq!((delivery.session, delivery.items.len()), (SessionId(2), 0));
    }
}

/// What is passed over does not have to be moved again for each one that goes.
#[test]
fn every_other_dead_letter_goes_and_the_rest_stays_in_order() {
    const ITEMS: usize = 200;
    let queue = QueueOverrides {
        dead_letter_queue: Some(Some((*b"dead").into())),
        ..QueueOverrides::default()
    };
    for is_kicked in [false, true] {
        let mut world = World::new(&[("a", queue.clone()), ("b", queue.clone())]);
        for n in 0..ITEMS {
            let name = if n % 2 == 0 { "a" } else { "b" };
            let id = world.put_with(name, &format!("{n}"), With::default());
            world.held(name);
            world.bury(name, id, "");
        }
        let of = |rest: usize| (0..ITEMS).filter(move |n| n % 2 == rest).map(|n| format!("{n}"));
        for seen in world.walk("b", ItemState::Dead) {
            match is_kicked {
                true => assert!(world.engine.kick(world.now, b"b", &seen, &mut world.log)),
                false => assert!(world.engine.remove_seen(&seen, &mut world.log)),
            }
            world.check();
        }
        let slot = world.engine.by_name[&b"dead"[..]];
        let passed = world.engine.queue(slot).returned.len();
        assert!(passed > ITEMS / 2 - 40, "{passed} are out of the way");
        for is_from_checkpoint in [true, false] {
            match is_from_checkpoint {
                true => world.checkpoint_and_restart(),
                false => world.restart(),
            }
            let rest: Vec<String> = of(0).collect();
            let seen = world.walk("a", ItemState::Dead);
            let bodies =
                seen.iter().map(|seen| String::from_utf8(seen.item.body.to_vec()).unwrap());
            assert_eq!(bodies.collect::<Vec<_>>(), rest);
        }
        assert!(world.all("dead").into_iter().eq(of(0)));
        assert_eq!(world.all("b").len(), if is_kicked { ITEMS / 2 } else { 0 });
    }
}
