//! Puts that are repeated.

use super::*;

fn limits() -> EngineLimits {
    EngineLimits { key_window_ms: 1000, keys_max: 3, ..EngineLimits::default() }
}

fn world(table: ConfigTable) -> World {
    World::with(table, limits())
}

impl World {
    /// The id if it was a repetition.
    fn repeated(&mut self, queue: &str, key: u8) -> Option<ItemId> {
        match self.try_put_with(queue, "again", With::key(key)) {
            PutOutcome::Repeated { id, .. } => Some(id),
            PutOutcome::Stored { .. } => None,
            other @ PutOutcome::Refused(_) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_is_known_for_its_time_and_not_longer() {
    let mut world = world(ConfigTable::default());
    let id = world.put_with("q", "x", With::key(1));
    for (mono_ms, expected) in [(0, Some(id)), (1000, Some(id)), (1001, None)] {
        world.now = at(mono_ms);
        assert_eq!(world.repeated("q", 1), expected);
    }
    assert_eq!(world.engine.counters().repeated_puts, 2);
    assert_eq!(world.counts("q").0, 2);
    // It counts although the item is gone, and for the second one from its own put on.
    world.all("q");
    world.now = at(2001);
    assert!(world.repeated("q", 1).is_some_and(|second| second > id));
}

#[test]
fn keys_outlive_restarts_checkpoints_and_the_segments_of_their_items() {
    let mut world = world(ConfigTable::default());
    let id = world.put_with("q", "x", With::key(1));
    world.restart();
    assert_eq!(world.repeated("q", 1), Some(id));
    for n in 0..40 {
        world.put("q", &format!("{n}"), 0);
    }
    world.all("q");
    let late = world.put_with("q", "late", With { key: Some(2), delay_ms: 500, ..With::default() });
    world.checkpoint_and_restart();
    assert!(world.log.gone.contains(&(id.0 / SEGMENT)), "the record with the key is gone");
    world.checkpoint_and_restart();
    assert_eq!(world.repeated("q", 1), Some(id));
    assert_eq!(world.repeated("q", 2), Some(late));
    world.now = at(1001);
    assert_eq!(world.repeated("q", 1), None);
}

#[test]
fn no_more_keys_than_may_be_are_known_and_the_oldest_is_forgotten() {
    let mut world = world(ConfigTable::default());
    let ids: Vec<ItemId> = (0..5).map(|key| world.put_with("q", "x", With::key(key))).collect();
    for is_from_log in [false, true] {
        assert_eq!(world.engine.keys_known(), 3);
        for key in 2..5 {
            assert_eq!(world.repeated("q", key), Some(ids[usize::from(key)]));
        }
        if !is_from_log {
            world.restart();
        }
    }
    assert_eq!(world.repeated("q", 0), None);
    assert_eq!(world.repeated("q", 2), None, "it was the oldest");
    let mut none = World::with(ConfigTable::default(), EngineLimits { keys_max: 0, ..limits() });
    assert_eq!((none.repeated("q", 1), none.repeated("q", 1)), (None, None));
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut table = ConfigTable::default();
    let small = QueueOverrides { max_items: Some(1), ..QueueOverrides::default() };
    table.named.insert((*b"q").into(), small);
    let mut world = world(table);
    world.put("q", "first", 0);
    let refused = PutOutcome::Refused(Refusal::QueueFull);
    assert_eq!(world.try_put_with("q", "x", With::key(1)), refused);
    assert_eq!(world.engine.keys_known(), 0);
    assert_eq!(world.all("q"), ["first"]);
    assert_eq!(world.repeated("q", 1), None);
    assert_eq!(world.all("q"), ["again"]);
}

#[test]
fn a_key_said_to_an_alias_counts_once_all_destinations_have_the_item() {
    // The last one is in the log, it is not, and it refuses.
    for (last, is_remembered) in [("b", true), ("mem", true), ("small", false)] {
        let mut table = ConfigTable::default();
        table.named.insert((*b"mem").into(), in_memory());
        let small = QueueOverrides { max_items: Some(1), ..QueueOverrides::default() };
        table.named.insert((*b"small").into(), small);
        let to = [(*b"a").into(), last.as_bytes().into()];
        table.aliases.insert((*b"al").into(), to.into());
        let mut world = world(table);
        world.put("small", "full", 0);
        let outcome = world.try_put_with("al", "x", With::key(1));
        assert_eq!(matches!(outcome, PutOutcome::Stored { .. }), is_remembered);
        for _ in 0..2 {
            let repeated = world.try_put_with("al", "x", With::key(1));
            match (outcome, repeated) {
                (PutOutcome::Stored { id, .. }, PutOutcome::Repeated { id: again, .. }) => {
                    assert_eq!(id, again, "{last}");
                }
                (PutOutcome::Refused(_), PutOutcome::Refused(_)) => {}
                other => panic!("{last}: {other:?}"),
            }
            world.restart();
        }
        let copies = if is_remembered { 1 } else { 3 };
        assert_eq!(world.counts("a").0, copies, "{last}");
        // The same key in one of them is another one to who makes the key; here it is the same.
        assert_eq!(world.engine.keys_known(), u64::from(is_remembered));
    }
}

#[test]
fn a_repetition_waits_for_the_disk_like_what_it_repeats() {
    let mut world = world(ConfigTable::default());
    let PutOutcome::Stored { id, seq, sync } = world.try_put_with("q", "x", With::key(1)) else {
        panic!("stored")
    };
    let again = world.try_put_with("q", "x", With::key(1));
    assert_eq!(again, PutOutcome::Repeated { id, seq, sync });
    assert!(seq > Seq(0));
    world.restart();
    let again = world.try_put_with("q", "x", With::key(1));
    assert!(matches!(again, PutOutcome::Repeated { seq: Seq(0), .. }));
}

#[test]
fn the_key_of_an_item_that_is_lost_with_the_name_of_its_queue_is_forgotten() {
    let mut world = world(ConfigTable::default());
    world.put("other", "x", 0);
    let kept = world.put_with("other", "x", With::key(1));
    world.put_with("q", "x", With::key(2));
    let mut is_first = true;
    world.log.entries.retain(|_, entry| entry.kind != 1 || core::mem::take(&mut is_first));
    world.restart();
    assert_eq!(world.repeated("other", 1), Some(kept));
    assert_eq!(world.repeated("q", 2), None);
    assert_eq!(world.all("q"), ["again"]);
}

/// Keys of a checkpoint are replayed behind those of puts that came while it was written.
#[test]
fn after_a_start_too_the_key_that_was_used_first_is_forgotten_first() {
    let mut world = world(ConfigTable::default());
    let old = [1, 2].map(|key| world.put_with("q", "x", With::key(key)));
    world.now = at(400);
    let start = world.log.last + 1;
    let late = world.put_with("q", "x", With::key(3));
    world.log.checkpoint(&mut world.engine);
    world.log.start = start;
    world.restart();
    assert_eq!(world.repeated("q", 1), Some(old[0]));
    let newest = world.put_with("q", "x", With::key(4));
    for (key, id) in [(2, old[1]), (3, late), (4, newest)] {
        assert_eq!(world.repeated("q", key), Some(id), "{key}");
    }
    // Nor does one that was used late keep those that are over.
    world.now = at(1300);
    assert_eq!(world.repeated("q", 3), Some(late));
    assert_eq!(world.engine.keys_known(), 2);
}

/// As many as may be known are in the checkpoint, and more came while it was written.
#[test]
fn a_start_forgets_no_key_for_an_older_one() {
    let mut world = world(ConfigTable::default());
    for key in 1..=3 {
        world.put_with("q", "x", With::key(key));
    }
    let start = world.log.last + 1;
    let mut from = Some(0);
    while let Some(next) = from {
        from = world.engine.checkpoint_keys(next, 1, &mut world.log);
    }
    world.now = at(1);
    let newest = world.put_with("q", "x", With::key(4));
    // The put came first.
    let mut entries = world.log.entries.split_off(&start);
    let (put, entry) = entries.pop_last().expect("the put");
    let keys = entries.into_values();
    let behind = (start + 1..=put).zip(keys);
    world.log.entries.extend(core::iter::once((start, entry)).chain(behind));
    world.restart();
    assert_eq!(world.repeated("q", 4), Some(newest));
    assert_eq!(world.repeated("q", 1), None);
}
