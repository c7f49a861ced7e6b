//! The bytes of one record.
//!
//! A journal is records one after the other: no file header, no checksum, no padding. Integers are signed and little-endian; the first byte is the
//! opcode. `size` counts what follows it, so a body is 16 (opcode 0: 4) bytes shorter than its `size`.
//!
//! | opcode | Kestrel's name | layout after the opcode | here |
//! |---|---|---|---|
//! | 0 | ADD | i32 size, i32 expiry (s), body | `Add`, without a time of its own |
//! | 1 | REMOVE | | `Remove` |
//! | 2 | ADDX | i32 size, i64 added (ms), i64 expiry (ms), body | `Add` |
//! | 3 | REMOVE_TENTATIVE | | `Reserve`, xid to be allocated |
//! | 4 | SAVE_XID | i32 xid | `SaveXid` |
//! | 5 | UNREMOVE | i32 xid | `Return` |
//! | 6 | CONFIRM_REMOVE | i32 xid | `Confirm` |
//! | 7 | ADD_XID | i32 xid, i32 size, i64 added, i64 expiry, body | `Add` with an xid |
//! | 8 | CONTINUE | i32 xid, i32 size, i64 added, i64 expiry, body | `Continue` |
//! | 9 | REMOVE_TENTATIVE_XID | i32 xid | `Reserve` |
//!
//! Kestrel's own description calls 8 STATE_DUMP and knows no 9; every version that wrote them means the above.
//!
//! Invariants: whatever is returned lies wholly inside the file.
//! Must not: know what a record does to a queue.

use crate::warning::Broken;

/// Length of the longest record without its body, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 25;

/// A record, without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An item for the end of the queue. The xid is the one under which it was open when a 1.x server wrote its journal anew.
    Add { item: ItemHead, xid: Option<i32> },
    /// The first item is gone.
    Remove,
    /// The first item is open; old servers did not write its xid.
    Reserve { xid: Option<i32> },
    /// The last xid that was given.
    SaveXid { xid: i32 },
    /// An open item is the first of the queue again.
    Return { xid: i32 },
    /// An open item is gone.
    Confirm { xid: i32 },
    /// `Confirm` and `Add` in one.
    Continue { xid: i32, item: ItemHead },
}

/// What a record says about an item, besides its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemHead {
    /// Bytes from the record's beginning to the body.
    pub(crate) body_at: usize,
    /// Length of the body, in bytes.
    pub(crate) body_len: u32,
    /// `None`: the record is of a version that did not write it.
    pub(crate) add_time_ms: Option<u64>,
    /// `None`: never.
    pub(crate) expiry_ms: Option<u64>,
}

impl ItemHead {
    fn bytes(&self) -> u64 {
        self.body_at as u64 + u64::from(self.body_len)
    }
}

impl Record {
    /// Length of the whole record, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Add { item, .. } | Self::Continue { item, .. } => item.bytes(),
            Self::Remove | Self::Reserve { xid: None } => 1,
            Self::Reserve { .. }
            | Self::SaveXid { .. }
            | Self::Return { .. }
            | Self::Confirm { .. } => 5,
        }
    }

    /// The item that the record adds.
    pub(crate) fn item(&self) -> Option<&ItemHead> {
        match self {
            Self::Add { item, .. } | Self::Continue { item, .. } => Some(item),
            _ => None,
        }
    }
}

/// How many bytes, the opcode included, [`decode`] wants to see of a record that begins with `opcode`.
pub(crate) fn head_bytes(opcode: u8) -> usize {
    match opcode {
        0 => 9,
        2 => 21,
        4 | 5 | 6 | 9 => 5,
        7 | 8 => HEAD_BYTES_MAX,
        _ => 1,
    }
}

/// Reads the record that begins `head`. `remaining` is how much of the file there is from here; `head` holds as much of it as [`head_bytes`] wants.
pub(crate) fn decode(head: &[u8], remaining: u64) -> Result<Record, Broken> {
    let opcode = *head.first().ok_or(Broken::CutOff)?;
    match opcode {
        0 => legacy_item(head, remaining).map(|item| Record::Add { item, xid: None }),
        1 => Ok(Record::Remove),
        2 => item(head, 1, remaining).map(|item| Record::Add { item, xid: None }),
        3 => Ok(Record::Reserve { xid: None }),
        4 => xid(head).map(|xid| Record::SaveXid { xid }),
        5 => xid(head).map(|xid| Record::Return { xid }),
        6 => xid(head).map(|xid| Record::Confirm { xid }),
        7 => Ok(Record::Add { xid: Some(xid(head)?), item: item(head, 5, remaining)? }),
        8 => Ok(Record::Continue { xid: xid(head)?, item: item(head, 5, remaining)? }),
        9 => xid(head).map(|xid| Record::Reserve { xid: Some(xid) }),
        _ => Err(Broken::UnknownOpcode { opcode }),
    }
}

fn xid(head: &[u8]) -> Result<i32, Broken> {
    i32_at(head, 1).ok_or(Broken::CutOff)
}

fn legacy_item(head: &[u8], remaining: u64) -> Result<ItemHead, Broken> {
    let body_len = body_len(head, 1, 4, remaining)?;
    let expiry_s = i32_at(head, 5).ok_or(Broken::CutOff)?;
    let expiry_ms = expiry_ms(i64::from(expiry_s) * 1000);
    Ok(ItemHead { body_at: 9, body_len, add_time_ms: None, expiry_ms })
}

/// An item whose size field is at `at`.
fn item(head: &[u8], at: usize, remaining: u64) -> Result<ItemHead, Broken> {
    let body_len = body_len(head, at, 16, remaining)?;
    let added = i64_at(head, at + 4).ok_or(Broken::CutOff)?;
    let expiry = i64_at(head, at + 12).ok_or(Broken::CutOff)?;
    Ok(ItemHead {
        body_at: at + 20,
        body_len,
        add_time_ms: Some(u64::try_from(added).unwrap_or(0)),
        expiry_ms: expiry_ms(expiry),
    })
}

/// The length of the body, if the record with the size field at `at` lies inside the file. `times` bytes of what the size counts are no body.
fn body_len(head: &[u8], at: usize, times: u32, remaining: u64) -> Result<u32, Broken> {
    let size = i32_at(head, at).ok_or(Broken::CutOff)?;
    let announced = u32::try_from(size).map_err(|_| Broken::NegativeSize { size })?;
    let body_len = announced.checked_sub(times).ok_or(Broken::SizeTooSmall { size: announced })?;
    if (at + 4) as u64 + u64::from(announced) > remaining {
        return Err(Broken::PastTheEnd { size: announced });
    }
    Ok(body_len)
}

/// A time before 1970 is long past; only zero means never.
fn expiry_ms(expiry: i64) -> Option<u64> {
    (expiry != 0).then(|| u64::try_from(expiry).unwrap_or(0))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(i32::from_le_bytes(field.try_into().ok()?))
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(i64::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests;
