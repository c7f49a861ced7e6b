//! The queues of the simulated server: their names, their rules, and where their items may go from there.
//!
//! The rules are told to the server as its configuration, and to the oracle as what may happen. Must not: judge.

use std::sync::Arc;

use kqueue_broker::{ConfigTable, QueueConfig, QueueOverrides};

use crate::scenario::Scenario;

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
const DEAD: Queue = "dead";
/// A queue in memory only, whose items may die into one that is not.
const MEM: Queue = "mem";
/// A queue that drops its oldest items when it is full.
const RING: Queue = "ring";
/// A queue that is deleted when it is old and empty.
const AGED: Queue = "aged";
/// A sub-queue in memory only.
const SUB_MEM: Queue = "posts+m";

/// Every queue; the first has the next three as sub-queues. An item moves from the front to the back of this list only, so reading them in this order finds everything.
pub(crate) const QUEUES: [Queue; 15] = [
    "posts", "posts+a", "posts+b", SUB_MEM, "plain", "small", BRIEF, BIN, WORK, LATE, MEM, RING,
    AGED, EXPIRED, DEAD,
];
/// The sub-queues of the first one.
pub(crate) const SUB_QUEUES: &[Queue] = &["posts+a", "posts+b", SUB_MEM];
/// Queues that clients take from.
pub(crate) const CONSUMED: [Queue; 14] = [
    "posts", "posts+a", "posts+b", SUB_MEM, "plain", "small", BRIEF, WORK, LATE, MEM, RING, AGED,
    EXPIRED, DEAD,
];
/// Queues that clients put into, as often as they stand here.
pub(crate) const PRODUCED: [Queue; 13] =
    ["posts", "posts", "posts", "plain", "plain", "small", BRIEF, BIN, WORK, LATE, MEM, RING, AGED];

/// How many items the small queue, and the one that drops, may hold.
const SMALL_ITEMS: u64 = 8;
/// After so many deliveries an item is dead.
pub(crate) const ATTEMPTS_MAX: u32 = 2;

/// The queues that get what is put into this one.
pub(crate) fn targets(queue: Queue) -> &'static [Queue] {
    let at = QUEUES.iter().position(|&name| name == queue).unwrap_or_default();
    if at == 0 { &QUEUES[..4] } else { &QUEUES[at..=at] }
}

/// Where an item of this queue may be, in the order in which it may move.
pub(crate) fn way(queue: Queue) -> &'static [Queue] {
    match queue {
        WORK => &[WORK, DEAD],
        LATE => &[LATE, EXPIRED, DEAD],
        MEM => &[MEM, DEAD],
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
    /// After [`ATTEMPTS_MAX`] deliveries.
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

/// Whether items of this queue come [`ATTEMPTS_MAX`] times at most.
pub(crate) fn has_attempts_max(queue: &str) -> bool {
    [WORK, LATE, EXPIRED, MEM].contains(&queue)
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
pub(crate) fn may_lack(queue: Queue, scenario: &Scenario) -> bool {
    queue == SUB_MEM && (scenario.memory < 1 << 30 || scenario.queue_memory < 1 << 30)
}

/// For a queue that drops its oldest items: how many younger ones there are at least when one is dropped.
pub(crate) fn ring_items(queue: Queue) -> Option<usize> {
    (queue == RING).then_some(SMALL_ITEMS as usize)
}

/// What the server is told of all this.
pub(crate) fn table(scenario: &Scenario) -> ConfigTable {
    let defaults = QueueConfig {
        sync: scenario.policy,
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
        (AGED, QueueOverrides { max_queue_age_ms: Some(Some(3_000)), ..none() }),
    ];
    let mut table = ConfigTable { defaults: Arc::new(defaults), ..ConfigTable::default() };
    table.named.extend(rules.map(|(name, rule)| (name.as_bytes().into(), rule)));
    table
}
