//! What can be configured of a queue, and who inherits what from whom.
//!
//! Inheritance: built-in, then `queue_defaults`, then the master's own settings, then the sub-queue's own. Must not: parse anything.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// When a put is on the disk, in rising strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Whenever the operating system likes. The answer still follows the write.
    Never,
    /// Within this time after the write; the answer does not wait for it.
    Every {
        /// Milliseconds.
        ms: u64,
    },
    /// Before it is answered.
    Always,
}

impl SyncPolicy {
    /// The stricter one of both.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Every { ms: a }, Self::Every { ms: b }) => Self::Every { ms: a.min(b) },
            (every @ Self::Every { .. }, Self::Never) | (Self::Never, every) => every,
        }
    }
}

/// The settings of one queue, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Puts are refused when so many items wait.
    pub max_items: u64,
    /// Puts are refused when so many bytes of bodies wait.
    pub max_size: u64,
    /// Larger items are refused, in bytes.
    pub max_item_size: u64,
    /// Items older than this are expired, in milliseconds.
    pub max_age_ms: Option<u64>,
    /// Instead of refusing, drop the oldest items.
    pub discard_old_when_full: bool,
    /// A master that keeps nothing itself: its sub-queues receive.
    pub fanout_only: bool,
    /// When puts are on the disk.
    pub sync: SyncPolicy,
    /// Open items return by themselves after this time, in milliseconds.
    pub open_transaction_timeout_ms: Option<u64>,
    /// What may be kept of the queue's items in memory, in bytes of bodies and bookkeeping; the rest is only on the disk.
    pub max_memory_size: u64,
    /// False: the queue lives in memory only, and `max_memory_size` is a limit for puts.
    pub keep_journal: bool,
    /// Expired items go to this queue instead of nowhere.
    pub expire_to_queue: Option<Arc<[u8]>>,
    /// At most so many expired items go in one sweep.
    pub max_expire_sweep: u64,
    /// A queue that is this old, empty and unused is deleted, in milliseconds.
    pub max_queue_age_ms: Option<u64>,
    /// After so many deliveries that were not confirmed an item goes to `dead_letter_queue`.
    pub max_attempts: Option<u32>,
    /// Where dead letters go; without it they stay in the queue itself, where only who asks for dead letters sees them.
    pub dead_letter_queue: Option<Arc<[u8]>>,
    /// An item that comes back after its first delivery waits for so long, and twice as long after each further one, in milliseconds; 0: not at all.
    pub retry_delay_ms: u64,
    /// The longest such wait, in milliseconds.
    pub retry_delay_max_ms: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            max_items: u64::MAX,
            max_size: u64::MAX,
            max_item_size: u64::MAX,
            max_age_ms: None,
            discard_old_when_full: false,
            fanout_only: false,
            sync: SyncPolicy::Always,
            open_transaction_timeout_ms: None,
            max_memory_size: 128 * 1024 * 1024,
            keep_journal: true,
            expire_to_queue: None,
            max_expire_sweep: u64::MAX,
            max_queue_age_ms: None,
            max_attempts: None,
            dead_letter_queue: None,
            retry_delay_ms: 0,
            retry_delay_max_ms: 3_600_000,
        }
    }
}

/// Settings that somebody wrote down for a queue; `None`: inherited. A setting whose value can be "none" is doubly optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of QueueConfig")]
pub struct QueueOverrides {
    pub max_items: Option<u64>,
    pub max_size: Option<u64>,
    pub max_item_size: Option<u64>,
    pub max_age_ms: Option<Option<u64>>,
    pub discard_old_when_full: Option<bool>,
    pub fanout_only: Option<bool>,
    pub sync: Option<SyncPolicy>,
    pub open_transaction_timeout_ms: Option<Option<u64>>,
    pub max_memory_size: Option<u64>,
    pub keep_journal: Option<bool>,
    pub expire_to_queue: Option<Option<Arc<[u8]>>>,
    pub max_expire_sweep: Option<u64>,
    pub max_queue_age_ms: Option<Option<u64>>,
    pub max_attempts: Option<Option<u32>>,
    pub dead_letter_queue: Option<Option<Arc<[u8]>>>,
    pub retry_delay_ms: Option<u64>,
    pub retry_delay_max_ms: Option<u64>,
}

impl QueueOverrides {
    /// `base` with these settings laid over it.
    #[must_use]
    pub fn over(&self, base: &QueueConfig) -> QueueConfig {
        QueueConfig {
            max_items: self.max_items.unwrap_or(base.max_items),
            max_size: self.max_size.unwrap_or(base.max_size),
            max_item_size: self.max_item_size.unwrap_or(base.max_item_size),
            max_age_ms: self.max_age_ms.unwrap_or(base.max_age_ms),
            discard_old_when_full: self.discard_old_when_full.unwrap_or(base.discard_old_when_full),
            fanout_only: self.fanout_only.unwrap_or(base.fanout_only),
            sync: self.sync.unwrap_or(base.sync),
            open_transaction_timeout_ms: self
                .open_transaction_timeout_ms
                .unwrap_or(base.open_transaction_timeout_ms),
            max_memory_size: self.max_memory_size.unwrap_or(base.max_memory_size),
            keep_journal: self.keep_journal.unwrap_or(base.keep_journal),
            expire_to_queue: self.expire_to_queue.clone().unwrap_or(base.expire_to_queue.clone()),
            max_expire_sweep: self.max_expire_sweep.unwrap_or(base.max_expire_sweep),
            max_queue_age_ms: self.max_queue_age_ms.unwrap_or(base.max_queue_age_ms),
            max_attempts: self.max_attempts.unwrap_or(base.max_attempts),
            dead_letter_queue: self
                .dead_letter_queue
                .clone()
                .unwrap_or(base.dead_letter_queue.clone()),
            retry_delay_ms: self.retry_delay_ms.unwrap_or(base.retry_delay_ms),
            retry_delay_max_ms: self.retry_delay_max_ms.unwrap_or(base.retry_delay_max_ms),
        }
    }
}

/// The queues that an alias stands for.
pub type Destinations = Box<[Arc<[u8]>]>;

/// The settings of all queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigTable {
    /// For queues that nobody named.
    pub defaults: Arc<QueueConfig>,
    /// What was written down, by queue name.
    pub named: BTreeMap<Box<[u8]>, QueueOverrides>,
    /// Names that stand for other queues: what is put there goes to each of them, in this order. No destination is an alias.
    pub aliases: BTreeMap<Box<[u8]>, Destinations>,
}

impl ConfigTable {
    /// The settings of a queue. All that nobody named share one.
    pub fn resolve(&self, queue: &[u8]) -> Arc<QueueConfig> {
        let mut config = Arc::clone(&self.defaults);
        if let Some(overrides) = master_of(queue).and_then(|master| self.named.get(master)) {
            config = Arc::new(overrides.over(&config));
        }
        match self.named.get(queue) {
            Some(overrides) => Arc::new(overrides.over(&config)),
            None => config,
        }
    }
}

/// For a sub-queue the name of its master: the text before the first `+`.
pub(crate) fn master_of(queue: &[u8]) -> Option<&[u8]> {
    queue.iter().position(|&byte| byte == b'+').map(|at| &queue[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_queue_inherits_from_its_master_and_may_differ() {
        let mut table = ConfigTable::default();
        Arc::make_mut(&mut table.defaults).max_items = 10;
        table.named.insert(
            (*b"m").into(),
            QueueOverrides { max_items: Some(5), max_age_ms: Some(Some(7)), ..Default::default() },
        );
        table.named.insert(
            (*b"m+c").into(),
            QueueOverrides { max_age_ms: Some(None), ..Default::default() },
        );
        assert_eq!(table.resolve(b"x").max_items, 10);
        assert_eq!((table.resolve(b"m").max_items, table.resolve(b"m").max_age_ms), (5, Some(7)));
        assert_eq!((table.resolve(b"m+c").max_items, table.resolve(b"m+c").max_age_ms), (5, None));
        assert_eq!(table.resolve(b"m+c+d").max_age_ms, Some(7));
    }

    #[test]
    fn the_stricter_policy_wins() {
        use SyncPolicy::{Always, Every, Never};
        assert_eq!(Never.strictest(Every { ms: 5 }), Every { ms: 5 });
        assert_eq!(Every { ms: 9 }.strictest(Every { ms: 5 }), Every { ms: 5 });
        assert_eq!(Every { ms: 9 }.strictest(Always), Always);
        assert_eq!(Never.strictest(Never), Never);
    }
}
