//! The queues of the simulated server: their names, their rules, and where their items may go from there.
//!
//! The rules are told to the server as its configuration, and to the oracle as what may happen. Must not: judge.

use std::sync::Arc;

use kqueue_broker::{ConfigTable, QueueConfig, QueueOverrides};

use crate::rules::Rules;
use crate::scenario::{Extras, Scenario};

/// A queue's name.
pub(crate) type Queue = &'static str;

/// The queue that is emptied and deleted while items are put into it.
pub(crate) const BIN: Queue = "bin";
/// A queue whose items expire.
pub(crate) const BRIEF: Queue = "brief";
/// A queue whose items come twice at most, then they are dead.
const WORK: Queue = "work";
/// A queue whose items expire and go to another queue then, a few at a time; they may also die before.
const LATE: Queue = "late";
/// Where those go; from there, too, they may die.
const EXPIRED: Queue = "expired";
/// Where dead items go.
pub(crate) const DEAD: Queue = "dead";
/// A queue in memory only, whose items may die into one that is not.
const MEM: Queue = "mem";
/// A queue that drops its oldest items when it is full.
const RING: Queue = "ring";
/// A queue that is deleted when it is old and empty.
const AGED: Queue = "aged";
/// A queue that keeps its dead letters itself.
pub(crate) const JOBS: Queue = "jobs";
/// A queue whose dead letters go to another one, and whose items come again later each time.
pub(crate) const TASKS: Queue = "tasks";
/// Those on which the extended commands do everything they can.
pub(crate) const KEPT: [Queue; 2] = [JOBS, TASKS];
/// A sub-queue in memory only.
const SUB_MEM: Queue = "posts+m";

/// A queue whose settings change while the server runs.
pub(crate) const TURN: Queue = "turn";
/// Its sub-queue, which has its settings, but no dead letters.
pub(crate) const TURN_SUB: Queue = "turn+s";
/// A queue that is hidden from time to time: then its name stands for two others.
pub(crate) const NOW: Queue = "now";
/// A name that stands for a queue with sub-queues and one without.
pub(crate) const BOTH: Queue = "both";
/// A name that stands for queues that may be full, and one that never is.
pub(crate) const TIGHT: Queue = "tight";

/// Every queue; the first has the next three as sub-queues. An item moves from the front to the back of this list only, so reading them in this order finds everything.
const QUEUES: [Queue; 20] = [
    "posts", "posts+a", "posts+b", SUB_MEM, "plain", "small", BRIEF, BIN, WORK, LATE, MEM, RING,
    AGED, TURN, TURN_SUB, NOW, JOBS, TASKS, EXPIRED, DEAD,
];
/// Those of them that are not in every life.
pub(crate) const TURNING: [Queue; 3] = [TURN, TURN_SUB, NOW];
/// The sub-queues that are made before anybody is served; the last is not in every life.
const SUB_QUEUES: [Queue; 4] = ["posts+a", "posts+b", SUB_MEM, TURN_SUB];
/// Queues that clients take from.
pub(crate) const CONSUMED: [Queue; 14] = [
    "posts", "posts+a", "posts+b", SUB_MEM, "plain", "small", BRIEF, WORK, LATE, MEM, RING, AGED,
    EXPIRED, DEAD,
];
/// Queues that clients put into, as often as they stand here.
pub(crate) const PRODUCED: [Queue; 13] =
    ["posts", "posts", "posts", "plain", "plain", "small", BRIEF, BIN, WORK, LATE, MEM, RING, AGED];

/// What is put into where settings change, as often as they stand here; some are no queues.
pub(crate) const PRODUCED_TOO: [Queue; 7] = [TURN, TURN, TURN, NOW, NOW, BOTH, TIGHT];

/// How many items the small queue, and the one that drops, may hold.
const SMALL_ITEMS: u64 = 8;
/// After so many deliveries an item is dead.
pub(crate) const ATTEMPTS_MAX: u32 = 2;
/// The same for those that are [`KEPT`].
const KEPT_ATTEMPTS_MAX: u32 = 3;
/// How long an item of [`TASKS`] waits after its first delivery, and at most, in milliseconds.
const RETRY_MS: u64 = 100;
const RETRY_MS_MAX: u64 = 300;

/// The shortest wait of an item of this queue that was delivered so often and came back.
pub(crate) fn retry_ms(queue: Queue, attempts: u32) -> u64 {
    match queue {
        TASKS => (RETRY_MS << (attempts.clamp(1, 10) - 1)).min(RETRY_MS_MAX) * 9 / 10,
        _ => 0,
    }
}

/// The longest such wait.
pub(crate) fn retry_ms_max(queue: Queue) -> u64 {
    if queue == TASKS { RETRY_MS_MAX } else { 0 }
}

/// Whether what is put into this queue may be delayed, and may have a level and a key.
pub(crate) fn has_options(queue: Queue) -> bool {
    ["posts", "plain", BRIEF, WORK, LATE, MEM, JOBS, TASKS].contains(&queue)
}

/// What a put to this name is put to, if it depends on the settings where that leads.
pub(crate) fn depends(name: Queue) -> Option<Queue> {
    PRODUCED_TOO.contains(&name).then_some(name)
}

/// The queues of a life.
pub(crate) fn queues(extras: &Extras) -> impl Iterator<Item = Queue> + use<> {
    let (has_turning, has_kept) = (extras.turns(), extras.extended);
    QUEUES.into_iter().filter(move |queue| {
        (has_turning || !TURNING.contains(queue)) && (has_kept || !KEPT.contains(queue))
    })
}

/// The sub-queues of a life that are made before anybody is served.
pub(crate) fn sub_queues(has_turning: bool) -> &'static [Queue] {
    if has_turning { &SUB_QUEUES } else { &SUB_QUEUES[..3] }
}

/// The queue of this name.
pub(crate) fn named(name: &str) -> Option<Queue> {
    QUEUES.into_iter().find(|queue| *queue == name)
}

/// The queues that may get what is put into this one, or to this alias, whatever the settings are.
pub(crate) fn targets(queue: Queue) -> &'static [Queue] {
    match queue {
        TURN => &[TURN, TURN_SUB],
        NOW => &[NOW, "plain", TURN, TURN_SUB],
        BOTH => &["posts", "posts+a", "posts+b", SUB_MEM, "plain"],
        TIGHT => &["small", TURN, TURN_SUB, "plain"],
        _ => {
            let at = QUEUES.iter().position(|&name| name == queue).unwrap_or_default();
            if at == 0 { &QUEUES[..4] } else { &QUEUES[at..=at] }
        }
    }
}

/// The queues that get what is put into this one, or to this alias, with these settings: each list of them in one record, with its master first if that gets it.
pub(crate) fn groups(queue: Queue, rules: &Rules) -> Vec<&'static [Queue]> {
    match queue {
        TURN if rules.fanout_only => vec![&[TURN_SUB]],
        NOW if rules.hides_now && rules.fanout_only => vec![&["plain"], &[TURN_SUB]],
        NOW if rules.hides_now => vec![&["plain"], &[TURN, TURN_SUB]],
        NOW => vec![&[NOW]],
        BOTH => vec![targets("posts"), &["plain"]],
        TIGHT if rules.fanout_only => vec![&["small"], &[TURN_SUB], &["plain"]],
        TIGHT => vec![&["small"], &[TURN, TURN_SUB], &["plain"]],
        _ => vec![targets(queue)],
    }
}

/// Whether a put of these queues may be refused because there is too much in the first of them.
pub(crate) fn may_refuse(
    to: Option<Queue>,
    group: &[Queue],
    rules: &Rules,
    scenario: &Scenario,
) -> bool {
    let is_limited = rules.max_items.is_some() && !rules.drops_old;
    match group.first() {
        Some(&"small") => true,
        Some(&TURN) => is_limited,
        // A master that keeps nothing is never full.
        Some(&TURN_SUB) => is_limited && to.is_none(),
        Some(&MEM | &SUB_MEM) => !scenario.has_memory(),
        _ => false,
    }
}

/// Where an item of this queue may be, in the order in which it may move.
pub(crate) fn way(queue: Queue) -> &'static [Queue] {
    match queue {
        WORK => &[WORK, DEAD],
        TASKS => &[TASKS, DEAD],
        LATE => &[LATE, EXPIRED, DEAD],
        MEM => &[MEM, DEAD],
        TURN => &[TURN, DEAD],
        _ => {
            let at = QUEUES.iter().position(|&name| name == queue).unwrap_or_default();
            &QUEUES[at..=at]
        }
    }
}

/// How the queues from which items may come into this one see them go; `None`: items are only put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// By their age.
    Expired,
    /// After [`attempts_max`] deliveries, or because somebody buried them.
    Dead,
}

/// See [`Entry`].
pub(crate) fn entry(queue: Queue) -> Option<Entry> {
    match queue {
        EXPIRED => Some(Entry::Expired),
        DEAD => Some(Entry::Dead),
        _ => None,
    }
}

/// How often items of this queue come at most.
pub(crate) fn attempts_max(queue: &str) -> Option<u32> {
    match queue {
        WORK | LATE | EXPIRED | MEM => Some(ATTEMPTS_MAX),
        JOBS | TASKS => Some(KEPT_ATTEMPTS_MAX),
        _ => None,
    }
}

/// Whether what is put into this queue has a time to live.
pub(crate) fn has_ttl(queue: Queue) -> bool {
    queue == BRIEF || queue == LATE
}

/// Whether an item whose time is over may vanish from this queue.
pub(crate) fn drops_expired(queue: Queue) -> bool {
    queue == BRIEF
}

/// Whether the queue lives in memory only.
pub(crate) fn is_volatile(queue: Queue) -> bool {
    queue == MEM || queue == SUB_MEM
}

/// Whether an acknowledged put need not be in this queue: a sub-queue that has no room drops it.
pub(crate) fn may_lack(queue: Queue, rules: &Rules, scenario: &Scenario) -> bool {
    match queue {
        SUB_MEM => !scenario.has_memory(),
        TURN_SUB => rules.max_items.is_some() && !rules.drops_old,
        _ => false,
    }
}

/// Whether the settings of this queue change.
pub(crate) fn turns(queue: Queue) -> bool {
    queue == TURN || queue == TURN_SUB
}

/// For a queue that drops its oldest items: how many younger ones there are at least when one is dropped.
pub(crate) fn ring_items(queue: Queue, rules: &Rules) -> Option<usize> {
    match queue {
        RING => Some(SMALL_ITEMS as usize),
        _ if turns(queue) && rules.drops_old => rules.max_items.map(|items| items as usize),
        _ => None,
    }
}

/// What the server is told of all this.
pub(crate) fn table(scenario: &Scenario, now: &Rules) -> ConfigTable {
    let defaults = QueueConfig {
        sync: now.sync,
        max_memory_size: scenario.queue_memory,
        ..QueueConfig::default()
    };
    let none = QueueOverrides::default;
    let dies = || QueueOverrides {
        max_attempts: Some(Some(ATTEMPTS_MAX)),
        dead_letter_queue: Some(Some(DEAD.as_bytes().into())),
        ..none()
    };
    let rules = [
        ("small", QueueOverrides { max_items: Some(SMALL_ITEMS), ..none() }),
        (BRIEF, QueueOverrides { max_age_ms: Some(Some(600_000)), ..none() }),
        (WORK, dies()),
        (EXPIRED, dies()),
        (
            LATE,
            QueueOverrides {
                expire_to_queue: Some(Some(EXPIRED.as_bytes().into())),
                max_expire_sweep: Some(3),
                ..dies()
            },
        ),
        (MEM, QueueOverrides { keep_journal: Some(false), ..dies() }),
        (SUB_MEM, QueueOverrides { keep_journal: Some(false), ..none() }),
        (
            RING,
            QueueOverrides {
                max_items: Some(SMALL_ITEMS),
                discard_old_when_full: Some(true),
                ..none()
            },
        ),
        (JOBS, QueueOverrides { max_attempts: Some(Some(KEPT_ATTEMPTS_MAX)), ..none() }),
        (
            TASKS,
            QueueOverrides {
                max_attempts: Some(Some(KEPT_ATTEMPTS_MAX)),
                retry_delay_ms: Some(RETRY_MS),
                retry_delay_max_ms: Some(RETRY_MS_MAX),
                ..dies()
            },
        ),
        (AGED, QueueOverrides { max_queue_age_ms: Some(Some(3_000)), ..none() }),
        (
            TURN,
            QueueOverrides {
                sync: Some(now.turn_sync),
                max_items: now.max_items,
                discard_old_when_full: Some(now.drops_old),
                max_age_ms: Some(now.max_age_ms),
                max_attempts: Some(now.buries.then_some(ATTEMPTS_MAX)),
                dead_letter_queue: Some(Some(DEAD.as_bytes().into())),
                fanout_only: Some(now.fanout_only),
                ..none()
            },
        ),
        // Dead items of both could not be told apart.
        (TURN_SUB, QueueOverrides { max_attempts: Some(None), ..none() }),
    ];
    let mut table = ConfigTable { defaults: Arc::new(defaults), ..ConfigTable::default() };
    table.named.extend(rules.map(|(name, rule)| (name.as_bytes().into(), rule)));
    let mut stand_for = |name: Queue, queues: &[Queue]| {
        let queues = queues.iter().map(|queue| queue.as_bytes().into()).collect();
        table.aliases.insert(name.as_bytes().into(), queues);
    };
    if scenario.extras.turns() {
        stand_for(BOTH, &["posts", "plain"]);
        stand_for(TIGHT, &["small", TURN, "plain"]);
    }
    if now.hides_now {
        stand_for(NOW, &["plain", TURN]);
    }
    table
}
