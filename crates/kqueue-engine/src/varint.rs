//! Numbers of seven bits per byte, the lowest first (LEB128), and rising ids as differences. `docs/journal_format.md` has the bytes.
//!
//! Must not: know what they are used for.

use alloc::vec::Vec;

pub(crate) fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// How many, then each as the difference to the one before; they must rise.
pub(crate) fn put_ids(to: &mut Vec<u8>, ids: &[u64]) {
    put(to, ids.len() as u64);
    let mut before = 0;
    for &id in ids {
        put(to, id - before);
        before = id;
    }
}

/// Ids as in [`put_ids`], each followed by a number.
pub(crate) fn put_attempts(to: &mut Vec<u8>, attempts: &[(u64, u32)]) {
    put(to, attempts.len() as u64);
    let mut before = 0;
    for &(id, deliveries) in attempts {
        put(to, id - before);
        put(to, u64::from(deliveries));
        before = id;
    }
}

/// Takes from the front; `None` if there is not that much.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn ids(&mut self) -> Option<Vec<u64>> {
        let mut ids = Vec::new();
        let mut id = 0u64;
        for _ in 0..self.number()? {
            id = id.checked_add(self.number()?)?;
            ids.push(id);
        }
        Some(ids)
    }

    pub(crate) fn attempts(&mut self) -> Option<Vec<(u64, u32)>> {
        let mut attempts = Vec::new();
        let mut id = 0u64;
        for _ in 0..self.number()? {
            id = id.checked_add(self.number()?)?;
            attempts.push((id, u32::try_from(self.number()?).ok()?));
        }
        Some(attempts)
    }
}
