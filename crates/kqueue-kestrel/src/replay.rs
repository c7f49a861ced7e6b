//! What the records do to a queue.
//!
//! Kestrel adds at the end and removes at the front, so apart from what was given back, a queue is always the end of what was added: all items
//! behind some place in the files. Only that place is kept here, as the number of items behind it; which item is the front one, [`Oldest`] finds
//! when it is needed, by reading the same files a second time. What is kept one by one are the items that are open and those that were returned.
//!
//! ```text
//!    Return                       the files: ··x··x·x··[a][a]·[a]···[a]·│
//!      ▼                                                ▲  in_stream    ▲
//!   [returned] ◄─ front, if any                       oldest          newest
//!      │                                                │
//!      └──────────────► Remove, Reserve ◄───────────────┘
//! ```
//!
//! When the journal ends, everything that is open goes back to the front, ordered by xid: nothing stays open over a restart of Kestrel.
//!
//! Differences from Kestrel, all of which keep an item that Kestrel loses or mistakes
//! - A `Reserve` without an xid (opcode 3) directly behind an `Add` with one (7) that is the only item opens that xid. 1.x servers wrote this for what
//!   was open when they wrote a journal anew, and then confirmed by that number, but counted anew themselves when they read it. Any other gets the
//!   next number that is not in use; the last Kestrel gives all of them 0.
//! - A `Reserve` with an xid that is open already keeps both items.
//!
//! Invariants: `in_stream` never exceeds the items between oldest and newest; totals count open items, since they come back.
//! Must not: read anything itself.

use std::collections::BTreeMap;

use crate::record::{ItemHead, Record};
use crate::warning::Anomaly;

/// Where an item's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) body_len: u32,
    pub(crate) at: u64,
}

impl Place {
    pub(crate) fn new(file: u32, at: u64, item: &ItemHead) -> Self {
        Self { file, body_len: item.body_len, at }
    }
}

/// Finds the items in the order in which they were added.
pub(crate) trait Oldest {
    type Error;

    /// The item behind the last one that was taken. Asked for only if there is one.
    fn take(&mut self) -> Result<Place, Self::Error>;
}

/// How much is in a queue, open items included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) body_bytes: u64,
    pub(crate) empty_items: u64,
}

impl Totals {
    fn add(&mut self, item: &ItemHead) {
        self.items += 1;
        self.body_bytes += u64::from(item.body_len);
        self.empty_items += u64::from(item.body_len == 0);
    }

    fn remove(&mut self, place: Place) {
        self.items -= 1;
        self.body_bytes -= u64::from(place.body_len);
        self.empty_items -= u64::from(place.body_len == 0);
    }
}

/// A queue, as far as its records have been replayed.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Items that were given back; the last one is the front of the queue.
    returned: Vec<Place>,
    /// How many items are in the queue behind those.
    in_stream: u64,
    open: BTreeMap<i32, Place>,
    /// Items whose xid was given to another one while they were open, and that xid.
    displaced: Vec<(i32, Place)>,
    /// The last xid.
    counter: i32,
    /// The xid of the record before, if that was an `Add` with one.
    added_xid: Option<i32>,
    totals: Totals,
}

/// A queue when its journal has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The items before those in the stream; the last one is the front of the queue.
    pub(crate) front: Vec<Place>,
    /// How many items follow, from the oldest that was not taken.
    pub(crate) in_stream: u64,
    /// How many were open.
    pub(crate) were_open: u64,
    pub(crate) totals: Totals,
}

impl Replay {
    /// Does what a record says, and says what was odd about it.
    pub(crate) fn apply<O: Oldest>(
        &mut self,
        record: &Record,
        oldest: &mut O,
    ) -> Result<Option<Anomaly>, O::Error> {
        let added_xid = self.added_xid.take();
        match *record {
            Record::Add { item, xid } => {
                self.add(&item);
                self.added_xid = xid;
                Ok(None)
            }
            Record::Remove => self.remove(oldest),
            Record::Reserve { xid: Some(xid) } => self.reserve(xid, oldest),
            Record::Reserve { xid: None } => {
                let xid = self.legacy_xid(added_xid);
                self.reserve(xid, oldest)
            }
            Record::SaveXid { xid } => {
                self.counter = xid;
                Ok(None)
            }
            Record::Return { xid } => {
                self.give_back(xid);
                Ok(None)
            }
            Record::Confirm { xid } => Ok(self.confirm(xid)),
            Record::Continue { xid, item } => {
                let anomaly = self.confirm(xid);
                self.add(&item);
                Ok(anomaly)
            }
        }
    }

    /// Records are missing here.
    pub(crate) fn interrupt(&mut self) {
        self.added_xid = None;
    }

    /// The journal has ended: what is open goes back to the front, the lowest xid first.
    pub(crate) fn finish(self) -> Finished {
        // What was displaced was opened earlier; the sort is stable.
        let mut open = self.displaced;
        open.extend(self.open);
        open.sort_by_key(|(xid, _)| *xid);
        let were_open = open.len() as u64;
        let mut front = self.returned;
        front.extend(open.into_iter().rev().map(|(_, place)| place));
        Finished { front, in_stream: self.in_stream, were_open, totals: self.totals }
    }

    fn add(&mut self, item: &ItemHead) {
        self.in_stream += 1;
        self.totals.add(item);
    }

    fn remove<O: Oldest>(&mut self, oldest: &mut O) -> Result<Option<Anomaly>, O::Error> {
        let Some(place) = self.take_front(oldest)? else {
            return Ok(Some(Anomaly::NothingToRemove));
        };
        self.totals.remove(place);
        Ok(None)
    }

    fn reserve<O: Oldest>(
        &mut self,
        xid: i32,
        oldest: &mut O,
    ) -> Result<Option<Anomaly>, O::Error> {
        let Some(place) = self.take_front(oldest)? else {
            return Ok(Some(Anomaly::NothingToReserve));
        };
        self.counter = xid;
        let displaced = self.open.insert(xid, place);
        self.displaced.extend(displaced.map(|place| (xid, place)));
        Ok(displaced.map(|_| Anomaly::StillOpen { xid }))
    }

    /// The xid of a `Reserve` that has none; `added_xid` is that of the record before.
    fn legacy_xid(&self, added_xid: Option<i32>) -> i32 {
        let is_only_item = self.returned.is_empty() && self.in_stream == 1;
        let of_record_before = added_xid.filter(|xid| is_only_item && !self.open.contains_key(xid));
        of_record_before.unwrap_or_else(|| self.next_xid())
    }

    fn next_xid(&self) -> i32 {
        let mut xid = self.counter.wrapping_add(1);
        while xid == 0 || self.open.contains_key(&xid) {
            xid = xid.wrapping_add(1);
        }
        xid
    }

    /// An unknown xid is nothing odd here: 2.1 wrote this record for every abort, also of nothing.
    fn give_back(&mut self, xid: i32) {
        self.returned.extend(self.open.remove(&xid));
    }

    fn confirm(&mut self, xid: i32) -> Option<Anomaly> {
        let Some(place) = self.open.remove(&xid) else {
            return Some(Anomaly::NotOpen { xid });
        };
        self.totals.remove(place);
        None
    }

    fn take_front<O: Oldest>(&mut self, oldest: &mut O) -> Result<Option<Place>, O::Error> {
        if let Some(place) = self.returned.pop() {
            return Ok(Some(place));
        }
        if self.in_stream == 0 {
            return Ok(None);
        }
        self.in_stream -= 1;
        oldest.take().map(Some)
    }
}

#[cfg(test)]
mod tests;
