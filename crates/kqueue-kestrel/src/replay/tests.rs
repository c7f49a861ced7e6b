//! The rules of the queue, without any bytes: items are numbers.

use std::collections::VecDeque;
use std::convert::Infallible;

use super::*;

struct Numbers(VecDeque<Place>);

impl Oldest for Numbers {
    type Error = Infallible;

    fn take(&mut self) -> Result<Place, Infallible> {
        Ok(self.0.pop_front().expect("asked for an item that was not added"))
    }
}

/// A queue whose items are numbered from 1 in the order in which they are added.
struct Queue {
    replay: Replay,
    oldest: Numbers,
    added: u64,
}

impl Queue {
    fn new() -> Self {
        Self { replay: Replay::default(), oldest: Numbers(VecDeque::new()), added: 0 }
    }

    fn apply(&mut self, record: Record) -> Option<Anomaly> {
        if let Some(item) = record.item() {
            self.added += 1;
            self.oldest.0.push_back(Place::new(0, self.added, item));
        }
        let Ok(anomaly) = self.replay.apply(&record, &mut self.oldest);
        anomaly
    }

    fn fine(&mut self, records: &[Record]) {
        for record in records {
            assert_eq!(self.apply(*record), None, "{record:?}");
        }
    }

    /// The numbers of the items that are left.
    fn left(self) -> Vec<u64> {
        let finished = self.replay.finish();
        let front = finished.front.iter().rev().map(|place| place.at);
        let stream = self.oldest.0.iter().map(|place| place.at);
        let left: Vec<u64> = front.chain(stream).collect();
        assert_eq!(finished.totals.items, left.len() as u64);
        assert_eq!(finished.in_stream, self.oldest.0.len() as u64);
        left
    }
}

const ITEM: ItemHead = ItemHead { body_at: 21, body_len: 7, add_time_ms: None, expiry_ms: None };
const ADD: Record = Record::Add { item: ITEM, xid: None };

fn add_xid(xid: i32) -> Record {
    Record::Add { item: ITEM, xid: Some(xid) }
}

fn open(xid: i32) -> Record {
    Record::Reserve { xid: Some(xid) }
}

const OPEN: Record = Record::Reserve { xid: None };

fn confirm(xid: i32) -> Record {
    Record::Confirm { xid }
}

fn give_back(xid: i32) -> Record {
    Record::Return { xid }
}

#[test]
fn items_leave_in_the_order_in_which_they_came() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, Record::Remove, ADD]);
    assert_eq!(queue.left(), [2, 3, 4]);
}

#[test]
fn what_is_given_back_is_the_first_again() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, open(1), open(2), give_back(1), give_back(2)]);
    queue.fine(&[Record::Remove, open(3), confirm(3)]);
    assert_eq!(queue.left(), [3]);
}

#[test]
fn what_is_open_comes_back_by_xid_before_what_was_given_back() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, ADD, open(7), open(-2), open(3), give_back(7)]);
    assert_eq!(queue.left(), [2, 3, 1, 4]);
}

#[test]
fn a_continue_confirms_and_adds() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, open(1), Record::Continue { xid: 1, item: ITEM }]);
    assert_eq!(queue.left(), [2]);
    let mut queue = Queue::new();
    queue.fine(&[ADD]);
    let unknown = Record::Continue { xid: 5, item: ITEM };
    assert_eq!(queue.apply(unknown), Some(Anomaly::NotOpen { xid: 5 }));
    assert_eq!(queue.left(), [1, 2]);
}

#[test]
fn nothing_can_be_taken_from_an_empty_queue() {
    let mut queue = Queue::new();
    assert_eq!(queue.apply(Record::Remove), Some(Anomaly::NothingToRemove));
    assert_eq!(queue.apply(open(1)), Some(Anomaly::NothingToReserve));
    assert_eq!(queue.apply(OPEN), Some(Anomaly::NothingToReserve));
    assert_eq!(queue.apply(confirm(1)), Some(Anomaly::NotOpen { xid: 1 }));
    assert_eq!(queue.apply(give_back(1)), None);
    queue.fine(&[ADD]);
    assert_eq!(queue.left(), [1]);
}

#[test]
fn two_open_items_with_one_xid_are_both_kept() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, ADD, open(4), open(3)]);
    assert_eq!(queue.apply(open(4)), Some(Anomaly::StillOpen { xid: 4 }));
    assert_eq!(queue.left(), [2, 1, 3, 4]);
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, open(4)]);
    queue.apply(open(4));
    queue.fine(&[confirm(4)]);
    assert_eq!(queue.left(), [1]);
}

#[test]
fn an_open_without_xid_gets_the_next_that_is_free() {
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, ADD, OPEN, OPEN, confirm(2), give_back(1)]);
    // 1 is the first again, and is opened as 3.
    queue.fine(&[OPEN, confirm(3)]);
    assert_eq!(queue.left(), [3, 4]);

    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, ADD, open(8), Record::SaveXid { xid: 7 }, OPEN, confirm(9)]);
    queue.fine(&[Record::SaveXid { xid: -2 }, OPEN, confirm(-1), OPEN, confirm(1)]);
    assert_eq!(queue.left(), [1]);

    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, open(i32::MAX), OPEN, confirm(i32::MIN)]);
    assert_eq!(queue.left(), [1]);

    // The counter follows the last one, not the highest.
    let mut queue = Queue::new();
    queue.fine(&[ADD, ADD, ADD, open(9), open(2), OPEN, confirm(3)]);
    assert_eq!(queue.left(), [2, 1]);
}

#[test]
fn an_open_without_xid_behind_the_only_item_opens_it_under_the_items_xid() {
    let mut queue = Queue::new();
    queue.fine(&[add_xid(12), OPEN, add_xid(9), OPEN, Record::SaveXid { xid: 12 }, ADD, ADD]);
    queue.fine(&[confirm(9), OPEN, confirm(13), give_back(12)]);
    assert_eq!(queue.left(), [1, 4]);
}

#[test]
fn an_open_without_xid_means_another_item_in_any_other_case() {
    // It is not the only item.
    let mut queue = Queue::new();
    queue.fine(&[ADD, add_xid(12), OPEN, confirm(1)]);
    assert_eq!(queue.left(), [2]);
    // There is one that was given back.
    let mut queue = Queue::new();
    queue.fine(&[ADD, open(5), give_back(5), add_xid(12), OPEN, confirm(6)]);
    assert_eq!(queue.left(), [2]);
    // Something stands between the two.
    let mut queue = Queue::new();
    queue.fine(&[add_xid(12), Record::SaveXid { xid: 3 }, OPEN, confirm(4)]);
    assert_eq!(queue.left(), [0u64; 0]);
    // Something may have stood between the two.
    let mut queue = Queue::new();
    queue.fine(&[add_xid(12)]);
    queue.replay.interrupt();
    queue.fine(&[OPEN, confirm(1)]);
    assert_eq!(queue.left(), [0u64; 0]);
    // The xid is taken.
    let mut queue = Queue::new();
    queue.fine(&[ADD, open(12), add_xid(12), OPEN, confirm(12), confirm(13)]);
    assert_eq!(queue.left(), [0u64; 0]);
}

#[test]
fn totals_count_what_is_open_and_what_is_empty() {
    let mut queue = Queue::new();
    let empty = Record::Add { item: ItemHead { body_len: 0, ..ITEM }, xid: None };
    queue.fine(&[ADD, empty, ADD, empty, open(1), open(2), open(3), confirm(1)]);
    let finished = queue.replay.finish();
    let totals = Totals { items: 3, body_bytes: 7, empty_items: 2 };
    assert_eq!((finished.totals, finished.were_open), (totals, 2));
}
