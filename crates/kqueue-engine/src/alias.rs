//! Names that stand for other queues: a put there goes to each of them, a read finds nothing.
//!
//! Invariant: an alias hides a queue of the same name, whatever is in it, and is never changed by a client.
//! Must not: expand aliases of aliases; the table has only queues as destinations.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::config::Destinations;
use crate::engine::{Engine, Slot};
use crate::record::{Record, Recorder};
use crate::types::{Now, PutArgs, PutOutcome, Seq};

/// What was put to an alias since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AliasCounters {
    put_items: u64,
    put_bytes: u64,
}

/// An alias and its figures.
#[derive(Clone, Debug)]
pub struct AliasStats<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Items put to it.
    pub put_items: u64,
    /// Bytes of their bodies.
    pub put_bytes: u64,
    /// The queues it stands for.
    pub destinations: &'a [Arc<[u8]>],
}

impl Engine {
    /// Whether a name stands for other queues.
    pub fn is_alias(&self, name: &[u8]) -> bool {
        self.table.aliases.contains_key(name)
    }

    /// Whether an alias hides a queue: nothing comes into it or out of it meanwhile.
    pub(crate) fn is_hidden(&self, slot: Slot) -> bool {
        !self.table.aliases.is_empty() && self.is_alias(&self.queue(slot).name)
    }

    /// How many puts a put to this name is: each needs a place of its own in the journal.
    pub fn puts_to(&self, name: &[u8]) -> u64 {
        self.table.aliases.get(name).map_or(1, |destinations| destinations.len() as u64)
    }

    /// Puts an item to every destination, each with its sub-queues, whether or not the others take it; refused if one of them refuses.
    pub(crate) fn put_to_all(
        &mut self,
        now: Now,
        args: &PutArgs<'_>,
        destinations: &Destinations,
        rec: &mut impl Recorder,
    ) -> PutOutcome {
        let counters = self.alias_counters.entry(args.queue.into()).or_default();
        counters.put_items += 1;
        counters.put_bytes += args.body.len() as u64;
        let mut stored = None;
        let mut refused = None;
        let mut last_seq = Seq(0);
        for (index, queue) in destinations.iter().enumerate() {
            // With the last record, so that a key is known only if all of them have the item.
            let is_last = index + 1 == destinations.len();
            let key = args.key.filter(|_| is_last && refused.is_none());
            let outcome = self.put_one(now, PutArgs { queue, key, ..*args }, rec);
            if let PutOutcome::Stored { seq, .. } = outcome {
                last_seq = seq;
            }
            match (outcome, stored) {
                (repeated @ PutOutcome::Repeated { .. }, _) => return repeated,
                (PutOutcome::Refused(refusal), _) => refused = refused.or(Some(refusal)),
                (PutOutcome::Stored { id, seq, sync }, None) => stored = Some((id, seq, sync)),
                (PutOutcome::Stored { id, seq, sync }, Some((_, seq_before, sync_before))) => {
                    stored = Some((id, seq.max(seq_before), sync.strictest(sync_before)));
                }
            }
        }
        match (refused, stored) {
            (Some(refusal), _) => PutOutcome::Refused(refusal),
            (None, Some((id, seq, sync))) => {
                let seq = match args.key {
                    // The last one is not in the log, others are.
                    Some(key) if seq != Seq(0) && last_seq == Seq(0) => {
                        rec.record(&Record::Keys { keys: &[(key, id, now.wall_ms)] }).seq
                    }
                    _ => seq,
                };
                PutOutcome::Stored { id, seq, sync }
            }
            // A table without destinations is nobody's mistake but ours: nothing was asked for, and nothing is missing.
            (None, None) => {
                let id = self.next_id(rec);
                PutOutcome::Stored { id, seq: Seq(0), sync: crate::SyncPolicy::Never }
            }
        }
    }

    /// All aliases, by name.
    pub fn alias_stats(&self) -> impl Iterator<Item = AliasStats<'_>> {
        self.table.aliases.iter().map(|(name, destinations)| {
            let counters = self.alias_counters.get(name).copied().unwrap_or_default();
            AliasStats {
                name,
                put_items: counters.put_items,
                put_bytes: counters.put_bytes,
                destinations,
            }
        })
    }

    /// Queues that an alias hides, by name, and how many items wait in each.
    pub fn masked_queues(&self) -> impl Iterator<Item = (&Bytes, u64)> {
        self.table.aliases.keys().filter_map(|name| {
            let queue = self.queue(*self.by_name.get(&name[..])?);
            Some((&queue.name, self.waiting_in(queue.home).0))
        })
    }
}
