//! Numbers by which any connection can confirm what another one fetched, as Kestrel's Thrift interface has it.
//!
//! Invariant: a number is given out once; 0 never. Numbers of items that are not held any more are forgotten before they outnumber the others.
//! Must not: change what is held.

use alloc::collections::BTreeMap;

use bytes::Bytes;
use kqueue_engine::{Engine, ItemId, SessionId};

/// Dead numbers that are kept besides as many as there are living ones.
const STALE_MAX: usize = 1024;

/// What a number stands for.
#[derive(Clone, Debug)]
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
    last: i64,
    living: usize,
}

impl Handles {
    /// A number for an item that the session holds.
    pub(crate) fn add(&mut self, session: SessionId, queue: &Bytes, item: ItemId) -> i64 {
        self.last += 1;
        let queue = match self.by_number.last_key_value() {
            // The names of many are one.
            Some((_, last)) if last.queue == *queue => last.queue.clone(),
            _ => Bytes::copy_from_slice(queue),
        };
        self.by_number.insert(self.last, Handle { session, queue, item });
        self.last
    }

    pub(crate) fn take(&mut self, number: i64) -> Option<Handle> {
        self.by_number.remove(&number)
    }

    /// Forgets numbers of what was returned, confirmed otherwise or deleted.
    pub(crate) fn tidy(&mut self, engine: &Engine) {
        if self.by_number.len() > 2 * self.living + STALE_MAX {
            self.by_number
                .retain(|_, handle| engine.holds(handle.session, &handle.queue, handle.item));
            self.living = self.by_number.len();
        }
    }
}
