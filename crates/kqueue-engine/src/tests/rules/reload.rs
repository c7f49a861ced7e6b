//! Settings that change while clients are served.

use super::*;

fn table(queues: &[(&str, QueueOverrides)]) -> ConfigTable {
    World::new(queues).table
}

impl World {
    fn reload(&mut self, table: ConfigTable) -> u64 {
        let unchanged = self.engine.reload(self.now, table, &mut self.log);
        self.check();
        unchanged
    }

    fn wait(&mut self, session: u64, queue: &str) {
        let queues = [queue.as_bytes()];
        let (mode, wait_ms) = (Mode::Take, 100_000);
        let args =
            TakeArgs { queues: &queues, mode, max: 1, max_bytes: 1000, wait_ms, lease_ms: 0 };
        let outcome = self.engine.take(self.now, SessionId(session), args, &mut self.log);
        assert_eq!(outcome, TakeOutcome::Waiting);
    }

    /// Who got what of late.
    fn delivered(&mut self) -> Option<(u64, Bytes)> {
        let delivery = self.engine.poll_delivery()?;
        Some((delivery.session.0, delivery.items[0].body.clone()))
    }
}

#[test]
fn who_waits_gets_what_was_to_go_elsewhere_and_may_be_handed_out_now() {
    let queue = QueueOverrides {
        max_attempts: Some(Some(1)),
        dead_letter_queue: Some(Some((*b"dead").into())),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("jobs", queue)]);
    world.put("jobs", "a", 0);
    world.open("jobs");
    world.log.is_full = true;
    world.abort("jobs");
    world.wait(2, "jobs");
    assert_eq!(world.delivered(), None);
    world.reload(ConfigTable::default());
    assert_eq!(world.delivered(), Some((2, Bytes::from_static(b"a"))));
}

#[test]
fn who_waits_elsewhere_gets_what_a_reload_sends_there() {
    let queue = QueueOverrides {
        expire_to_queue: Some(Some((*b"late").into())),
        ..QueueOverrides::default()
    };
    let mut world = World::new(&[("jobs", queue)]);
    // What a reload does first it must not forget before the end.
    world.wait(2, "late");
    world.put("jobs", "a", 10);
    world.log.is_full = true;
    world.now = at(100);
    world.wait(3, "jobs");
    world.log.is_full = false;
    world.reload(world.table.clone());
    assert_eq!(world.delivered(), Some((2, Bytes::from_static(b"a"))));
    assert_eq!(world.delivered(), None);
}

#[test]
fn where_a_queue_is_kept_changes_with_the_next_start() {
    let in_memory = QueueOverrides { keep_journal: Some(false), ..QueueOverrides::default() };
    let mut world = World::new(&[("memory", in_memory.clone())]);
    world.put("disk", "a", 0);
    world.put("memory", "a", 0);
    assert_eq!(world.reload(table(&[("disk", in_memory)])), 2);
    let before = world.log.last;
    world.put("memory", "b", 0);
    assert_eq!(world.log.last, before, "nothing is written");
    world.put("disk", "b", 0);
    world.restart();
    assert_eq!((world.items("disk"), world.items("memory")), (Some(2), None));
}

#[test]
fn what_was_there_before_an_age_limit_is_swept_by_it() {
    let brief = QueueOverrides { max_age_ms: Some(Some(10)), ..QueueOverrides::default() };
    let mut world = World::new(&[]);
    world.put("q", "a", 0);
    world.reload(table(&[("q", brief)]));
    world.sweep(10);
    assert_eq!(world.items("q"), Some(1));
    world.sweep(11);
    assert_eq!(world.items("q"), Some(0));
}
