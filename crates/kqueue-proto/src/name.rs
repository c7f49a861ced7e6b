//! Queue names that have been checked.
//!
//! Invariant: a [`Name`] or [`NameRef`] is 1 to 250 bytes, holds no byte that could break a line,
//! a token, an option list or a file name, and has a non-empty master. Whoever holds one need not
//! look again.
//!
//! Must not: know which queues exist.

use core::fmt;
use core::ops::Deref;

use bytes::Bytes;

use crate::NAME_BYTES_MAX;

/// An owned, checked queue name; a cheap slice of the input it came from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

/// A borrowed, checked queue name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef<'a>(&'a [u8]);

/// Why some bytes are not a queue name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No byte at all.
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// A space, a control character, or one of `.` `~` `/`.
    BadByte(u8),
    /// Nothing but `+`.
    OnlyPlus,
    /// `+x`: a child of a queue without a name.
    NoMaster,
}

impl Name {
    /// Checks `bytes` and keeps a slice of them; nothing is copied.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(bytes: &Bytes) -> Result<Self, NameError> {
        Self::check(bytes)?;
        Ok(Self(bytes.clone()))
    }

    /// Checks borrowed bytes.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(bytes: &[u8]) -> Result<NameRef<'_>, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if let Some(&byte) = bytes.iter().find(|&&byte| !is_name_byte(byte)) {
            return Err(NameError::BadByte(byte));
        }
        if bytes[0] == b'+' {
            let only_plus = bytes.iter().all(|&byte| byte == b'+');
            return Err(if only_plus { NameError::OnlyPlus } else { NameError::NoMaster });
        }
        Ok(NameRef(bytes))
    }

    /// The name, borrowed.
    pub fn by_ref(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as a shared slice.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// For `master+child` the part before the first `+`; `None` for a queue that is no child.
    pub fn master(&self) -> Option<NameRef<'_>> {
        self.by_ref().master()
    }
}

impl<'a> NameRef<'a> {
    /// The bytes of the name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// For `master+child` the part before the first `+`; `None` for a queue that is no child.
    pub fn master(self) -> Option<Self> {
        self.0.iter().position(|&byte| byte == b'+').map(|at| Self(&self.0[..at]))
    }

    /// An owned copy.
    pub fn to_name(self) -> Name {
        Name(Bytes::copy_from_slice(self.0))
    }
}

impl Deref for Name {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for NameRef<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl NameError {
    /// Whether Kestrel would close the connection of a `set` or `get` that names such a queue. A
    /// name of only `+` is answered and the connection stays.
    pub fn closes(self) -> bool {
        self != Self::OnlyPlus
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty queue name"),
            Self::TooLong => write!(f, "queue name longer than {NAME_BYTES_MAX} bytes"),
            Self::BadByte(byte @ 0x21..=0x7e) => {
                write!(f, "'{}' in a queue name", char::from(*byte))
            }
            Self::BadByte(byte) => write!(f, "byte 0x{byte:02x} in a queue name"),
            Self::OnlyPlus => f.write_str("queue name of only '+'"),
            Self::NoMaster => f.write_str("queue name begins with '+'"),
        }
    }
}

impl core::error::Error for NameError {}

/// `.` and `~` are refused because Kestrel refuses them, `/` separates options, the rest would
/// break a line or a token. High bytes pass: names are latin-1.
fn is_name_byte(byte: u8) -> bool {
    !matches!(byte, 0..=0x20 | 0x7f | b'.' | b'~' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn every_single_byte_is_a_name_or_is_refused_with_that_byte() {
        for byte in 0..=255u8 {
            let text = [b'q', byte, b'x'];
            let refused = byte <= b' ' || byte == 0x7f || b".~/".contains(&byte);
            let expected = if refused { Some(NameError::BadByte(byte)) } else { None };
            assert_eq!(Name::check(&text).err(), expected, "byte {byte:#x}");
        }
    }

    #[test]
    fn the_longest_name_passes_and_one_byte_more_does_not() {
        assert!(Name::check(&vec![b'a'; 250]).is_ok());
        assert_eq!(Name::check(&vec![b'a'; 251]), Err(NameError::TooLong));
        assert_eq!(Name::check(b""), Err(NameError::Empty));
    }

    #[test]
    fn the_master_is_what_stands_before_the_first_plus() {
        let master = |text: &'static [u8]| Name::check(text).map(|n| n.master().map(|m| m.0));
        assert_eq!(master(b"q"), Ok(None));
        assert_eq!(master(b"q+a"), Ok(Some(&b"q"[..])));
        assert_eq!(master(b"q+a+b"), Ok(Some(&b"q"[..])));
        assert_eq!(master(b"q+"), Ok(Some(&b"q"[..])));
        assert_eq!(master(b"+"), Err(NameError::OnlyPlus));
        assert_eq!(master(b"+++"), Err(NameError::OnlyPlus));
        assert_eq!(master(b"+x"), Err(NameError::NoMaster));
        assert_eq!(master(b"++x"), Err(NameError::NoMaster));
    }

    #[test]
    fn only_a_name_of_plus_signs_leaves_the_connection_open() {
        assert!(!NameError::OnlyPlus.closes());
        for error in
            [NameError::Empty, NameError::TooLong, NameError::BadByte(b'.'), NameError::NoMaster]
        {
            assert!(error.closes(), "{error}");
        }
    }

    #[test]
    fn parse_shares_the_input() {
        let input = Bytes::copy_from_slice(b"jobs+audit");
        let name = Name::parse(&input).unwrap();
        assert_eq!(name.as_bytes().as_ptr(), input.as_ptr());
        assert_eq!(name.by_ref().to_name(), name);
    }
}
