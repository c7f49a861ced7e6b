//! Numbers by which any connection can confirm what another one fetched, as Kestrel's Thrift interface has it.
//!
//! Invariants
//! - A number is given out once, also by a server that was started again; 0 never. It stands for one delivery of an item: once the item is fetched again, older numbers of it mean nothing.
//! - Numbers of items that are not held any more are forgotten before they outnumber the others.
//!
//! Must not: change what is held.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kqueue_engine::{Engine, ItemId, SessionId};

/// Dead numbers that are kept besides as many as there are living ones.
const STALE_MAX: usize = 1024;

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle {
    /// In whose hands the item is.
    pub(crate) session: SessionId,
    pub(crate) queue: Bytes,
    pub(crate) item: ItemId,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    by_number: BTreeMap<i64, Handle>,
    numbers: BTreeMap<Handle, i64>,
    last: i64,
    /// How many there were after the last tidying, or fewer.
    living: usize,
}

impl Handles {
    /// A number for an item that the session holds. `above` is any number that this run of the server has beyond those of earlier ones: what they gave out must not mean anything.
    pub(crate) fn add(&mut self, handle: Handle, above: u64) -> i64 {
        if self.last == 0 {
            self.last = i64::try_from(above).unwrap_or(0);
        }
        self.last += 1;
        if let Some(stale) = self.numbers.insert(handle.clone(), self.last) {
            self.by_number.remove(&stale);
        }
        self.by_number.insert(self.last, handle);
        self.last
    }

    pub(crate) fn take(&mut self, number: i64) -> Option<Handle> {
        let handle = self.by_number.remove(&number)?;
        self.numbers.remove(&handle);
        self.living = self.living.min(self.by_number.len());
        Some(handle)
    }

    /// Forgets numbers of what was returned, confirmed otherwise or deleted, if they may have become many.
    pub(crate) fn tidy(&mut self, engine: &Engine) {
        if self.by_number.len() <= 2 * self.living + STALE_MAX {
            return;
        }
        let (mut looked_at, mut held) = (None, BTreeSet::new());
        let Self { by_number, numbers, .. } = self;
        // Sorted by session, so that each is looked at once.
        numbers.retain(|handle, number| {
            if looked_at != Some(handle.session) {
                looked_at = Some(handle.session);
                held = engine.lent(handle.session).collect();
            }
            let stays = held.contains(&(&handle.queue, handle.item));
            if !stays {
                by_number.remove(number);
            }
            stays
        });
        self.living = self.by_number.len();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.by_number.len(), self.numbers.len());
        self.by_number.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_earlier_run_mean_nothing() {
        let handle = |item| Handle {
            session: SessionId(1),
            queue: Bytes::from_static(b"q"),
            item: ItemId(item),
        };
        let mut first = Handles::default();
        assert_eq!((first.add(handle(1), 0), first.add(handle(2), 0)), (1, 2));
        let mut next = Handles::default();
        assert_eq!(
            (next.add(handle(1), 1 << 32), next.add(handle(2), 1 << 32)),
            ((1 << 32) + 1, (1 << 32) + 2)
        );
        assert_eq!(next.take(1), None);
        assert_eq!(next.take((1 << 32) + 2), Some(handle(2)));
    }
}
