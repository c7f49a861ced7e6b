//! Parts of answers, and good answers that somebody has edited.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{CALLS, Case, answers};

/// Parts of answers, and what resembles them.
pub(crate) const TOKENS: [&str; 34] = [
    "END\r\n",
    "END 5\r\n",
    "STORED 666\r\n",
    "STORED -1\r\n",
    "STORED +1\r\n",
    "STORED 18446744073709551616\r\n",
    "STORED  5\r\n",
    "STORED\n",
    "OK\r\n",
    "OK 5\r\n",
    "NOT_HELD\r\n",
    "NOT_FOUND\r\n",
    "NOT_STORED\r\n",
    "VALUE q 0 1\r\nz\r\n",
    "VALUE other 0 1\r\nz\r\nEND\r\n",
    "VALUE q 1\r\nz\r\nEND\r\n",
    "VALUE q 0 -1\r\nz\r\nEND\r\n",
    "VALUE q 0 4294967296\r\n",
    "ITEM q 666 0 1 5 1\r\nz\r\n",
    "ITEM other 666 0 1 5 1\r\nz\r\nEND\r\n",
    "ITEM q 666 0 1 5 +1\r\nz\r\nEND\r\n",
    "ITEM q 666 0 1 5 4294967296\r\n",
    "ITEM q 666 0 1 1\r\nz\r\nEND\r\n",
    "STAT a b\r\n",
    "STAT queue_q_items 666\r\nEND\r\n",
    "VERSION 6\r\n",
    "CAPABILITIES x put\r\n",
    "CLIENT_ERROR no\r\n",
    "ERROR\r\n",
    "SERVER_ERROR no\r\n",
    "SERVER_ERROR out of disk\r\n",
    "DELETED\r\n",
    "Flushed all queues.\r\n",
    "UP\r\n",
];

/// What is done to a good answer.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    Overwrite(Index, u8),
    /// One of its words, counted over the whole.
    Word(Index, String),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |one: &Index, two: &Index, bytes: &[u8]| {
            let (one, two) = (one.index(bytes.len() + 1), two.index(bytes.len() + 1));
            one.min(two)..one.max(two)
        };
        match self {
            Self::Insert(at, piece) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Remove(one, two) => drop(bytes.drain(range(one, two, bytes))),
            Self::Repeat(one, two) => {
                let range = range(one, two, bytes);
                let (end, copy) = (range.end, bytes[range].to_vec());
                bytes.splice(end..end, copy);
            }
            Self::Overwrite(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Overwrite(..) => {}
            Self::Word(nth, word) => {
                let is_gap = |byte: &u8| matches!(byte, b' ' | b'\r');
                let words: Vec<&[u8]> = bytes.split(is_gap).collect();
                let nth = nth.index(words.len());
                let at: usize = words[..nth].iter().map(|word| word.len() + 1).sum();
                bytes.splice(at..at + words[nth].len(), word.bytes());
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    const NUMBERS: [&str; 9] =
        ["-1", "+1", "", "00", "0x1", "1.5", "4294967296", "18446744073709551616", "1048577"];
    let piece = prop_oneof![
        4 => select(&TOKENS[..]).prop_map(|token| token.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 1..8),
        2 => select(vec![&b"\r\n"[..], b"\r", b"\n", b" ", b"\0"]).prop_map(<[u8]>::to_vec),
        // Longer than any line that is taken.
        1 => (1..3_usize).prop_map(|times| vec![b'x'; 8000 * times]),
    ];
    let word = prop_oneof![select(&NUMBERS[..]).prop_map(str::to_owned), "[a-z0-9]{1,9}"];
    let index = any::<Index>;
    prop_oneof![
        (index(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (index(), index()).prop_map(|(one, two)| Edit::Remove(one, two)),
        (index(), index()).prop_map(|(one, two)| Edit::Repeat(one, two)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Overwrite(at, byte)),
        (index(), word).prop_map(|(nth, word)| Edit::Word(nth, word)),
    ]
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let answer = (select(&CALLS[..]), any::<bool>(), any::<Index>());
    (answer, vec(edit(), 1..4), vec(any::<Index>(), 0..3)).prop_map(|(answer, edits, cuts)| {
        let (call, is_extended, nth) = answer;
        let answers = answers(call, is_extended);
        let mut bytes = answers[nth.index(answers.len())].clone().into_bytes();
        edits.iter().for_each(|edit| edit.apply(&mut bytes));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect();
        Case { call, is_extended, pieces }
    })
}
