//! Delayed items and a clock that stands still, goes back, or jumps.

use super::*;

impl World {
    fn put_later(&mut self, queue: &str, delay_ms: u64) {
        let body = Bytes::from_static(b"x");
        let args = PutArgs {
            queue: queue.as_bytes(),
            flags: 0,
            expiry_ms: 0,
            body: &body,
            body_crc: 0,
            due_ms: self.now.wall_ms + delay_ms,
            priority: Priority::Normal,
            key: None,
        };
        let outcome = self.engine.put(self.now, args, &mut self.log);
        assert!(matches!(outcome, PutOutcome::Stored { .. }), "{outcome:?}");
    }

    /// As the server does, so often.
    fn timeouts(&mut self, times: usize) {
        for _ in 0..times {
            self.engine.handle_timeout(self.now, &mut self.log);
            self.check();
        }
    }
}

/// More than one step sees to them, and the steps may come in one millisecond.
#[test]
fn very_many_items_that_are_due_at_once_are_seen_to_in_one_millisecond() {
    let mut world = World::new(&[]);
    (0..2500).for_each(|_| world.put_later("q", 5000));
    world.check();
    assert_eq!(world.items("q"), Some(0));
    world.now = at(5000);
    world.timeouts(5);
    for _ in 0..2500 {
        assert!(world.open("q").is_some());
        world.engine.close_oldest(WORKER, b"q", &mut world.log);
    }
    assert_eq!(world.open("q"), None);
}

#[test]
fn a_clock_that_is_put_back_makes_items_wait_longer_and_nothing_else() {
    let mut world = World::new(&[]);
    world.put_later("q", 3000);
    world.put_later("q", 900_000);
    let begun = world.now.wall_ms;
    world.now = at(2900);
    world.timeouts(2);
    // Less far than to the beginning.
    world.now.wall_ms = begun + 1;
    world.put_later("q", 10);
    world.timeouts(2);
    assert_eq!(world.open("q"), None);
    world.now.wall_ms = begun + 3000;
    world.timeouts(2);
    assert!(world.open("q").is_some() && world.open("q").is_some());
    assert_eq!(world.open("q"), None);
    world.now.wall_ms = begun + 900_000;
    world.timeouts(2);
    assert!(world.open("q").is_some());
}

#[test]
fn a_walk_may_begin_behind_any_number() {
    let mut world = World::new(&[]);
    world.put("q", "a", 0);
    world.open("q");
    for state in [ItemState::Open, ItemState::Ready, ItemState::Delayed, ItemState::Dead] {
        for (lane, id) in [(0, u64::MAX), (2, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
            let (seen, next) = world.engine.walk(b"q", state, WalkPlace { lane, id }, 9);
            let is_before = lane == 0 && state == ItemState::Open;
            assert_eq!((seen.len(), next), (usize::from(is_before), WalkNext::End), "{lane} {id}");
        }
    }
}
