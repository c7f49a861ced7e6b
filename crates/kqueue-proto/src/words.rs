//! The words of a request line: single spaces separate, empty words count, empty words at the end
//! do not.
//!
//! Must not: know which words there are.

use core::slice;

use bytes::Bytes;

/// Longer than every command.
pub(crate) const COMMAND_BYTES_MAX: usize = 24;

/// The words of one line.
#[derive(Clone)]
pub(crate) struct Words<'a> {
    line: &'a Bytes,
    split: slice::Split<'a, u8, fn(&u8) -> bool>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a Bytes) -> Self {
        let end = line.iter().rposition(|&byte| byte != b' ').map_or(0, |at| at + 1);
        Self { line, split: line[..end].split(is_space as fn(&u8) -> bool) }
    }

    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        self.split.next()
    }

    /// `word`, a part of the line, as a slice that shares its memory.
    pub(crate) fn share(&self, word: &[u8]) -> Bytes {
        self.line.slice_ref(word)
    }

    /// Whether the last of the remaining words is `noreply`.
    pub(crate) fn ends_with_noreply(mut self) -> bool {
        self.split.next_back().is_some_and(|word| word == b"noreply")
    }
}

/// `command` in lower case, in `space`; one that is longer than every command is cut.
pub(crate) fn lower<'s>(command: &[u8], space: &'s mut [u8; COMMAND_BYTES_MAX]) -> &'s [u8] {
    let lower = &mut space[..command.len().min(COMMAND_BYTES_MAX)];
    for (to, from) in lower.iter_mut().zip(command) {
        *to = from.to_ascii_lowercase();
    }
    lower
}

fn is_space(byte: &u8) -> bool {
    *byte == b' '
}
