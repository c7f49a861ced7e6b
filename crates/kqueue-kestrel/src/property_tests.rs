//! Any bytes: compared with a replay that reads a whole file into memory and keeps every item, written from the description of the format alone.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use crate::Item;
use crate::test_journal::{Journal, MTIME, replay};

/// What the plain replay found.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    items: Vec<Item>,
    /// File and offset.
    broken: Vec<(usize, usize)>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    open: BTreeMap<i32, Item>,
    /// Open items whose xid another one has got; nothing ends their reads any more.
    displaced: BTreeMap<i32, Vec<Item>>,
    counter: i32,
    rolled_xid: Option<i32>,
}

fn int(file: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(file.get(at..at + 4)?.try_into().unwrap()))
}

fn long(file: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(file.get(at..at + 8)?.try_into().unwrap()))
}

/// The item whose size is at `at`, and where it ends.
fn block(file: &[u8], at: usize) -> Option<(Item, usize)> {
    let size = usize::try_from(int(file, at)?).ok()?;
    let block = file.get(at + 4..(at + 4).checked_add(size)?)?;
    let (added, expiry) = (long(block, 0)?, long(block, 8)?);
    let expiry_ms = (expiry != 0).then_some(expiry.max(0) as u64);
    let item = Item { body: block[16..].to_vec(), add_time_ms: added.max(0) as u64, expiry_ms };
    Some((item, at + 4 + size))
}

fn starling_block(file: &[u8], at: usize) -> Option<(Item, usize)> {
    let size = usize::try_from(int(file, at)?).ok()?;
    let block = file.get(at + 4..(at + 4).checked_add(size)?)?;
    let expiry = int(block, 0)?;
    let expiry_ms = (expiry != 0).then_some(i64::from(expiry).max(0) as u64 * 1000);
    Some((Item { body: block[4..].to_vec(), add_time_ms: MTIME, expiry_ms }, at + 4 + size))
}

impl State {
    /// Does the record at `at` and says where the next one is.
    fn step(&mut self, file: &[u8], at: usize) -> Option<usize> {
        let rolled_xid = self.rolled_xid.take();
        match file[at] {
            0 => {
                let (item, end) = starling_block(file, at + 1)?;
                self.queue.push_back(item);
                return Some(end);
            }
            1 => {
                self.queue.pop_front();
                return Some(at + 1);
            }
            2 => {
                let (item, end) = block(file, at + 1)?;
                self.queue.push_back(item);
                return Some(end);
            }
            3 => {
                let is_taken = |xid: &i32| self.open.contains_key(xid);
                let mut xid = rolled_xid.filter(|xid| self.queue.len() == 1 && !is_taken(xid));
                let mut next = self.counter;
                while xid.is_none() {
                    next = next.wrapping_add(1);
                    xid = Some(next).filter(|xid| *xid != 0 && !is_taken(xid));
                }
                self.reserve(xid?);
                return Some(at + 1);
            }
            _ => {}
        }
        let xid = int(file, at + 1)?;
        match file[at] {
            4 => self.counter = xid,
            5 => {
                self.open.remove(&xid).into_iter().for_each(|item| self.queue.push_front(item));
            }
            6 => drop(self.open.remove(&xid)),
            7 | 8 => {
                let (item, end) = block(file, at + 5)?;
                match file[at] {
                    7 => self.rolled_xid = Some(xid),
                    _ => drop(self.open.remove(&xid)),
                }
                self.queue.push_back(item);
                return Some(end);
            }
            9 => self.reserve(xid),
            _ => return None,
        }
        Some(at + 5)
    }

    fn reserve(&mut self, xid: i32) {
        if let Some(item) = self.queue.pop_front() {
            self.counter = xid;
            let displaced = self.open.insert(xid, item);
            self.displaced.entry(xid).or_default().extend(displaced);
        }
    }
}

fn plain(files: &[Vec<u8>]) -> Plain {
    let mut state = State::default();
    let mut plain = Plain::default();
    for (index, file) in files.iter().enumerate() {
        let mut at = 0;
        while at < file.len() {
            match state.step(file, at) {
                Some(next) => at = next,
                None => {
                    plain.broken.push((index, at));
                    break;
                }
            }
        }
    }
    let mut open = state.displaced;
    for (xid, item) in state.open {
        open.entry(xid).or_default().push(item);
    }
    plain.items = open.into_values().flatten().chain(state.queue).collect();
    plain
}

/// The same with the code under test; every count is compared with what is delivered.
fn under_test(files: &[Vec<u8>]) -> Plain {
    let names: Vec<String> = (0..files.len()).map(|index| format!("q.{index}")).collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(files.iter().cloned()).collect();
    let mut reader = replay(&named);
    let items: Vec<Item> = reader.by_ref().map(Result::unwrap).collect();
    let summary = reader.summary();
    assert_eq!(summary.items, items.len() as u64);
    assert_eq!(summary.body_bytes, items.iter().map(|item| item.body.len() as u64).sum::<u64>());
    assert_eq!(reader.body_bytes_done(), summary.body_bytes);
    let empty = items.iter().filter(|item| item.body.is_empty()).count();
    assert_eq!(summary.empty_items, empty as u64);
    let mut broken = Vec::new();
    for warning in &reader.warnings().kept {
        let index = names.iter().position(|name| warning.file.to_str() == Some(name)).unwrap();
        if let crate::Anomaly::Broken(_) = warning.what {
            broken.push((index, warning.offset as usize));
            assert_eq!(warning.offset + warning.bytes_lost, files[index].len() as u64);
        }
    }
    Plain { items, broken }
}

/// A record, with few xids, so that they meet.
#[derive(Clone, Debug)]
struct Op {
    opcode: u8,
    xid: i32,
    time: i64,
    body: String,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let xid = prop_oneof![6 => -2i32..6, 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    let opcode = prop_oneof![1 => Just(0u8), 2 => Just(1), 6 => Just(2), 6 => 3..7u8, 2 => Just(7), 1 => Just(8), 4 => Just(9)];
    let op = (opcode, xid, -1i64..4, "[a-z]{0,3}");
    proptest::collection::vec(
        op.prop_map(|(opcode, xid, time, body)| Op { opcode, xid, time, body }),
        0..60,
    )
}

fn write(ops: &[Op]) -> Vec<u8> {
    ops.iter()
        .fold(Journal::new(), |journal, op| match op.opcode {
            0 => journal.starling(op.xid, &op.body),
            1 => journal.remove(),
            2 => journal.add_at(op.time, op.time, &op.body),
            3 => journal.tentative_legacy(),
            4 => journal.save_xid(op.xid),
            5 => journal.unremove(op.xid),
            6 => journal.confirm(op.xid),
            7 => journal.add_xid(op.xid, &op.body),
            8 => journal.continued(op.xid, &op.body),
            _ => journal.tentative(op.xid),
        })
        .0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whole journals, cut into files between records.
    #[test]
    fn any_journal_gives_what_a_plain_replay_gives(files in proptest::collection::vec(ops(), 1..4)) {
        let files: Vec<_> = files.iter().map(|ops| write(ops)).collect();
        let wanted = plain(&files);
        prop_assert_eq!(&wanted.broken, &[]);
        prop_assert_eq!(under_test(&files), wanted);
    }

    /// The same with bytes changed, left out, put in, and with the end cut off.
    #[test]
    fn any_damage_gives_what_a_plain_replay_gives(
        files in proptest::collection::vec(ops(), 1..4),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..5),
    ) {
        let mut files: Vec<_> = files.iter().map(|ops| write(ops)).collect();
        for (file, at, how, byte) in damage {
            let index = file.index(files.len());
            let file = &mut files[index];
            if file.is_empty() {
                continue;
            }
            let at = at.index(file.len());
            match how {
                0 => file[at] = byte,
                1 => drop(file.remove(at)),
                2 => file.insert(at, byte),
                _ => file.truncate(at),
            }
        }
        prop_assert_eq!(under_test(&files), plain(&files));
    }

    /// No journals at all.
    #[test]
    fn any_bytes_give_what_a_plain_replay_gives(
        files in proptest::collection::vec(proptest::collection::vec(prop_oneof![8 => 0u8..10, 1 => Just(16), 1 => Just(17), 2 => any::<u8>()], 0..400), 0..4),
    ) {
        prop_assert_eq!(under_test(&files), plain(&files));
    }
}
