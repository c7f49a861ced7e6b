//! Which records of a stretch of the log are still referred to.
//!
//! Owns, per record, the number of references and the bytes that it keeps alive: eight bytes of memory per record, freed from the front as records
//! die (queues are consumed in order) and altogether when the last one is dead.
//! Invariants: `refs` and `bytes` are the sums over the entries; an entry without references has no bytes.
//! Must not: know segments or files.

use alloc::collections::VecDeque;

/// This much unused capacity is kept, so that a queue which runs empty again and again costs no allocations.
const SPARE_ENTRIES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    refs: u32,
    bytes: u32,
}

/// References to the records from some sequence number on.
#[derive(Debug)]
pub(crate) struct Live {
    /// Sequence number of `entries[0]`; those before have no references.
    base_seq: u64,
    entries: VecDeque<Entry>,
    refs: u64,
    bytes: u64,
}

impl Live {
    pub(crate) fn new(base_seq: u64) -> Self {
        Self { base_seq, entries: VecDeque::new(), refs: 0, bytes: 0 }
    }

    pub(crate) fn refs(&self) -> u64 {
        self.refs
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `refs` references to the record `seq`; its bytes count once, however many references it has.
    pub(crate) fn add(&mut self, seq: u64, refs: u32, bytes: u64) {
        if refs == 0 {
            return;
        }
        if self.entries.is_empty() {
            self.base_seq = seq;
        }
        while seq < self.base_seq {
            self.base_seq -= 1;
            self.entries.push_front(Entry::default());
        }
        let index = (seq - self.base_seq) as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::default());
        }
        let entry = &mut self.entries[index];
        if entry.refs == 0 {
            entry.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.bytes += u64::from(entry.bytes);
        }
        let before = entry.refs;
        entry.refs = entry.refs.saturating_add(refs);
        self.refs += u64::from(entry.refs - before);
    }

    /// Takes one reference away; false if there is none.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        let index = seq.checked_sub(self.base_seq).and_then(|index| usize::try_from(index).ok());
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else {
            return false;
        };
        if entry.refs == 0 {
            return false;
        }
        entry.refs -= 1;
        self.refs -= 1;
        if entry.refs == 0 {
            self.bytes -= u64::from(entry.bytes);
            entry.bytes = 0;
            self.forget_dead_front();
        }
        true
    }

    fn forget_dead_front(&mut self) {
        if self.refs == 0 {
            self.entries.clear();
        }
        while self.entries.front().is_some_and(|entry| entry.refs == 0) {
            self.entries.pop_front();
            self.base_seq += 1;
        }
        if self.entries.capacity() > SPARE_ENTRIES_MAX
            && self.entries.len() < self.entries.capacity() / 4
        {
            self.entries.shrink_to((self.entries.len() * 2).max(SPARE_ENTRIES_MAX));
        }
    }

    /// Moves everything up to and including `seq` to the end of `other`, which covers what comes before.
    pub(crate) fn move_through(&mut self, seq: u64, other: &mut Self) {
        while self.base_seq <= seq {
            let Some(entry) = self.entries.pop_front() else { break };
            other.add(self.base_seq, entry.refs, u64::from(entry.bytes));
            self.refs -= u64::from(entry.refs);
            self.bytes -= u64::from(entry.bytes);
            self.base_seq += 1;
        }
    }
}

#[cfg(test)]
mod tests;
