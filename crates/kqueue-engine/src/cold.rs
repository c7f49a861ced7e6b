//! Items of a queue that are only on the disk, as extents: "the live items whose records lie from here to there in one segment".
//!
//! Invariants
//! - Extents are in the order of the queue: their ranges of ids are disjoint and rise. Within an extent ids and sequence numbers rise together.
//! - An extent lies in one segment. `count` is exact; `bytes` and `cost` are exact while the server runs, and after a start until the extent is read.
//! - The bounds `first_id` and `first_seq` may lie before the first live item; every record of the queue in the range is alive unless the filter says otherwise.
//!
//! Must not: read anything; know other queues.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::record::Recorder;
use crate::types::Seq;

/// Extents are not continued over a gap in the file that is longer than this, in bytes, so that a reader never skips more.
const GAP_BYTES_MAX: u64 = 128 * 1024;
/// Gaps of so few records are not looked up.
const GAP_RECORDS_MIN: u64 = 16;

/// Which records in the range of an extent are alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// All but these ids, which rise.
    Without(Vec<u64>),
    /// Only these ids, which rise.
    Only(Vec<u64>),
}

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Bytes of the bodies.
    pub(crate) bytes: u64,
    /// What the items keep alive in the segment, in bytes.
    pub(crate) cost: u64,
    pub(crate) count: u32,
    pub(crate) filter: Option<Box<Filter>>,
}

/// What an extent has to know of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColdItem {
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    pub(crate) cost: u64,
    /// It follows the item before it with no dead record of the queue between them.
    pub(crate) follows: bool,
}

impl Extent {
    fn new(item: ColdItem) -> Self {
        Self {
            first_id: item.id,
            last_id: item.id,
            first_seq: item.seq,
            last_seq: item.seq,
            bytes: item.bytes,
            cost: item.cost,
            count: 1,
            filter: None,
        }
    }

    /// Whether the record `seq` is this extent's live item `id`.
    pub(crate) fn has(&self, id: u64, seq: u64) -> bool {
        (self.first_id..=self.last_id).contains(&id)
            && (self.first_seq..=self.last_seq).contains(&seq)
            && self.passes(id)
    }

    /// Whether the filter lets an item of the range pass.
    pub(crate) fn passes(&self, id: u64) -> bool {
        match self.filter.as_deref() {
            None => true,
            Some(Filter::Without(dead)) => dead.binary_search(&id).is_err(),
            Some(Filter::Only(alive)) => alive.binary_search(&id).is_ok(),
        }
    }

    fn can_take(&self, item: &ColdItem, rec: &impl Recorder) -> bool {
        let is_near = |rec: &dyn Fn(u64) -> u64| {
            item.seq - self.last_seq <= GAP_RECORDS_MIN
                || rec(item.seq) - rec(self.last_seq) <= GAP_BYTES_MAX
        };
        item.follows
            && item.id > self.last_id
            && item.seq > self.last_seq
            && !matches!(self.filter.as_deref(), Some(Filter::Only(_)))
            && item.seq < rec.segment_end(Seq(self.last_seq)).0
            && is_near(&|seq| rec.offset_near(Seq(seq)))
    }

    fn take(&mut self, item: ColdItem) {
        (self.last_id, self.last_seq) = (item.id, item.seq);
        self.count += 1;
        self.bytes += item.bytes;
        self.cost += item.cost;
    }

    /// What an item in it costs on average: (bytes, cost); all of the rest for the last one.
    fn average(&self) -> (u64, u64) {
        let count = u64::from(self.count.max(1));
        (self.bytes / count, self.cost / count)
    }

    /// One item is not alive any more.
    pub(crate) fn sub(&mut self, bytes: u64, cost: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.cost = self.cost.saturating_sub(cost);
    }

    /// Everything up to `seq`, and so up to `id`, has been seen to.
    pub(crate) fn advance(&mut self, id: u64, seq: u64) {
        self.first_id = self.first_id.max(id.saturating_add(1));
        self.first_seq = self.first_seq.max(seq.saturating_add(1));
        match self.filter.as_deref_mut() {
            Some(Filter::Without(ids) | Filter::Only(ids)) => {
                let gone = ids.partition_point(|&seen| seen <= id);
                ids.drain(..gone);
            }
            None => {}
        }
    }
}

/// All extents of a queue.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    pub(crate) extents: VecDeque<Extent>,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// The `ord` of the item that was pushed last, see [`crate::queue::Item`].
    pub(crate) last_ord: Option<u32>,
    /// Deliveries of items in them that were delivered since their record was written.
    pub(crate) attempts: BTreeMap<u64, u32>,
}

impl Cold {
    /// Adds an item behind all others.
    pub(crate) fn push(&mut self, item: ColdItem, rec: &impl Recorder) {
        self.count += 1;
        self.bytes += item.bytes;
        match self.extents.back_mut() {
            Some(last) if last.can_take(&item, rec) => last.take(item),
            _ => self.push_exact(Extent::new(item)),
        }
    }

    /// Adds a whole extent behind all others.
    pub(crate) fn push_extent(&mut self, extent: Extent) {
        self.count += u64::from(extent.count);
        self.bytes += extent.bytes;
        self.push_exact(extent);
    }

    /// The first extent gets room for itself only: a queue of one item is the usual one where there are many.
    fn push_exact(&mut self, extent: Extent) {
        if self.extents.capacity() == 0 {
            self.extents.reserve_exact(1);
        }
        self.extents.push_back(extent);
    }

    /// The extent in whose range of ids this one is.
    pub(crate) fn index_of(&self, id: u64) -> Option<usize> {
        let index = self.extents.partition_point(|extent| extent.last_id < id);
        self.extents.get(index).filter(|extent| extent.first_id <= id)?;
        Some(index)
    }

    /// The extent that has the item with this record.
    pub(crate) fn find(&self, id: u64, seq: u64) -> Option<usize> {
        self.index_of(id).filter(|&index| self.extents[index].has(id, seq))
    }

    /// Whether an item with this id may be in an extent, wherever its record is.
    pub(crate) fn may_have(&self, id: u64) -> bool {
        self.index_of(id).is_some_and(|index| self.extents[index].passes(id))
    }

    /// Changes an extent and keeps the sums; one without items goes. Answers what is left of its cost then: averages need not come out even.
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut Extent)) -> u64 {
        let Some(extent) = self.extents.get_mut(index) else { return 0 };
        self.count -= u64::from(extent.count);
        self.bytes -= extent.bytes;
        change(extent);
        if extent.count == 0 {
            let rest = extent.cost;
            if index + 1 == self.extents.len() {
                // What comes next does not follow what is last then.
                self.last_ord = None;
            }
            self.extents.remove(index);
            return rest;
        }
        self.count += u64::from(extent.count);
        self.bytes += extent.bytes;
        0
    }

    /// Takes an item out of the extent in which it is the first live one; what it kept alive is given. Answers how many other items must have been before it
    /// and were not found, and what is left of the cost.
    pub(crate) fn cut_front(&mut self, index: usize, item: ColdItem) -> (u64, u64) {
        let mut lost = 0;
        let rest = self.change(index, |extent| {
            extent.sub(item.bytes, item.cost);
            extent.advance(item.id, item.seq);
            if extent.first_seq > extent.last_seq {
                lost = u64::from(core::mem::take(&mut extent.count));
            }
        });
        (lost, rest)
    }

    /// Puts an item that was written again before the extent `index`, from which it comes. It joins the extent before that if `previous` is the last record there:
    /// the one that was written again before it, of this queue.
    pub(crate) fn insert_before(
        &mut self,
        index: usize,
        item: ColdItem,
        previous: Seq,
        rec: &impl Recorder,
    ) {
        self.count += 1;
        self.bytes += item.bytes;
        if let Some(growing) = index.checked_sub(1).and_then(|at| self.extents.get_mut(at))
            && growing.last_seq == previous.0
            && growing.can_take(&item, rec)
        {
            return growing.take(item);
        }
        self.extents.insert(index, Extent::new(item));
    }

    /// Takes a live item out of an extent, wherever in it; what it kept alive is given. Answers what is left of the cost.
    pub(crate) fn take_out(
        &mut self,
        index: usize,
        id: u64,
        seq: u64,
        bytes: u64,
        cost: u64,
    ) -> u64 {
        self.attempts.remove(&id);
        self.change(index, |extent| {
            extent.sub(bytes, cost);
            match extent.filter.as_deref_mut() {
                None => extent.filter = Some(Box::new(Filter::Without([id].into()))),
                Some(Filter::Without(dead)) => {
                    if let Err(at) = dead.binary_search(&id) {
                        dead.insert(at, id);
                    }
                }
                Some(Filter::Only(alive)) => alive.retain(|alive| *alive != id),
            }
            let is_first = match extent.filter.as_deref() {
                Some(Filter::Without(dead)) => dead.first() == Some(&id) && seq == extent.first_seq,
                _ => false,
            };
            if is_first {
                extent.advance(id, seq);
            }
        })
    }

    /// During replay: an item is gone of which only the id is known. Answers a sequence number of its segment and what it kept alive there, on average.
    pub(crate) fn remove(&mut self, id: u64) -> Option<(Seq, u64)> {
        let index = self.index_of(id)?;
        let extent = &mut self.extents[index];
        match extent.filter.as_deref_mut() {
            None => {
                let dead = Filter::Without([id].into());
                extent.filter = Some(Box::new(dead));
            }
            Some(Filter::Without(dead)) => {
                let at = dead.binary_search(&id).err()?;
                dead.insert(at, id);
            }
            Some(Filter::Only(alive)) => {
                let at = alive.binary_search(&id).ok()?;
                alive.remove(at);
            }
        }
        let (bytes, cost) = extent.average();
        let seq = Seq(extent.first_seq);
        self.attempts.remove(&id);
        let rest = self.change(index, |extent| extent.sub(bytes, cost));
        Some((seq, cost + rest))
    }

    /// During replay: of the items up to `through` only those in `except` (rising) are left. Answers what is gone: (a sequence number, how many, cost).
    pub(crate) fn keep_only(
        &mut self,
        from: u64,
        through: u64,
        except: &[u64],
    ) -> Vec<(Seq, u64, u64)> {
        let mut gone = Vec::new();
        for extent in &mut self.extents {
            if extent.first_id > through || extent.last_id < from {
                continue;
            }
            let is_left =
                |id: &&u64| (extent.first_id..=extent.last_id).contains(*id) && extent.passes(**id);
            let left: Vec<u64> = except.iter().filter(is_left).copied().collect();
            let lost = extent.count.saturating_sub(left.len() as u32);
            let (bytes, cost) = extent.average();
            gone.push((Seq(extent.first_seq), u64::from(lost), cost * u64::from(lost)));
            for _ in 0..lost {
                extent.sub(bytes, cost);
            }
            extent.filter = Some(Box::new(Filter::Only(left)));
        }
        self.extents.retain(|extent| extent.count > 0);
        self.count = self.extents.iter().map(|extent| u64::from(extent.count)).sum();
        self.bytes = self.extents.iter().map(|extent| extent.bytes).sum();
        self.attempts.retain(|id, _| *id < from || *id > through || except.contains(id));
        gone
    }

    /// Takes everything out; says of each extent: (a sequence number, how many, cost).
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Seq, u64, u64)> {
        (self.count, self.bytes) = (0, 0);
        self.attempts.clear();
        self.extents
            .drain(..)
            .map(|extent| (Seq(extent.first_seq), u64::from(extent.count), extent.cost))
    }

    pub(crate) fn check_invariants(&self) {
        let ids = self.extents.iter().flat_map(|extent| [extent.first_id, extent.last_id + 1]);
        assert!(ids.is_sorted(), "extents are in order of id: {:?}", self.extents);
        let count: u64 = self.extents.iter().map(|extent| u64::from(extent.count)).sum();
        let bytes: u64 = self.extents.iter().map(|extent| extent.bytes).sum();
        assert_eq!((count, bytes), (self.count, self.bytes), "sums over the extents");
        assert!(
            self.extents
                .iter()
                .all(|extent| extent.count > 0 && extent.first_seq <= extent.last_seq),
            "{:?}",
            self.extents
        );
    }
}
