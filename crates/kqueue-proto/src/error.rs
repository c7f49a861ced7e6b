//! Why a request cannot be understood, in words that may go back to the client.
//!
//! Invariant: the text of an error is short and printable ASCII, whatever the peer sent: words are
//! quoted through [`Excerpt`].
//!
//! Must not: decide whether the connection survives; [`Fatal`] or `Request::Malformed` says that.

use core::fmt;

use alloc::borrow::Cow;
use alloc::string::ToString;

use bytes::Bytes;

use crate::{BadOptions, NameError, RESERVE_QUEUES_MAX, Text};

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The first word is no command.
    UnknownCommand(Bytes),
    /// The line ends too early; what is missing.
    Missing(&'static str),
    /// A word that should be a number (what it stands for) and is none, or is out of range.
    BadNumber(&'static str, Bytes),
    /// A word that does not belong into this command.
    UnknownWord(Bytes),
    /// A key of only `/`, or nothing before the first `/`.
    EmptyKey,
    /// Options of a `get` that exclude each other.
    BadOptions,
    /// A queue name that cannot exist.
    BadName(NameError, Bytes),
    /// More queues in one `reserve` than [`RESERVE_QUEUES_MAX`]; the first that is too many.
    TooManyQueues(Bytes),
    /// A key of a put that is empty, longer than [`crate::KEY_BYTES_MAX`], or has a control byte.
    BadKey(Bytes),
    /// There is no room for the reason of a `bury` now.
    ReasonNotKept,
    /// The line is longer than [`crate::Limits::line_bytes`].
    LineTooLong,
    /// NUL, or a CR that does not end the line.
    BadByte,
    /// The body is not followed by CRLF.
    BadDataChunk,
    /// A message of a protocol that has no lines, and what is wrong with it: short printable ASCII.
    BadMessage(Text),
}

/// The stream cannot be followed any further: answer `CLIENT_ERROR <error>`, then close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The reason to answer with.
    pub error: ClientError,
}

/// Shows at most 40 bytes of what a peer sent, as printable ASCII.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a [u8]);

impl ClientError {
    /// The reason as the text of a reply; allocates only where it quotes the request.
    pub fn text(&self) -> Text {
        match self {
            Self::EmptyKey => Cow::Borrowed("empty queue name"),
            Self::ReasonNotKept => Cow::Borrowed("no room for the reason"),
            Self::LineTooLong => Cow::Borrowed("line too long"),
            Self::BadByte => Cow::Borrowed("NUL or CR inside a line"),
            Self::BadDataChunk => Cow::Borrowed("bad data chunk"),
            Self::BadMessage(reason) => reason.clone(),
            other => Cow::Owned(other.to_string()),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(word) => write!(f, "unknown command '{}'", Excerpt(word)),
            Self::Missing(what) => write!(f, "missing {what}"),
            Self::BadNumber(what, word) => write!(f, "bad {what} '{}'", Excerpt(word)),
            Self::UnknownWord(word) => write!(f, "unknown word '{}'", Excerpt(word)),
            Self::BadKey(word) => {
                write!(f, "a key has 1 to 128 bytes and no control byte: '{}'", Excerpt(word))
            }
            Self::TooManyQueues(word) => {
                write!(f, "more than {RESERVE_QUEUES_MAX} queues: '{}'", Excerpt(word))
            }
            Self::BadOptions => BadOptions.fmt(f),
            Self::BadName(error, word) => write!(f, "{error}: '{}'", Excerpt(word)),
            fixed @ (Self::EmptyKey
            | Self::ReasonNotKept
            | Self::LineTooLong
            | Self::BadByte
            | Self::BadDataChunk
            | Self::BadMessage(_)) => f.write_str(&fixed.text()),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<ClientError> for Fatal {
    fn from(error: ClientError) -> Self {
        Self { error }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for Fatal {}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let cut = self.0.len() > SHOWN;
        let shown = if cut { &self.0[..SHOWN] } else { self.0 };
        write!(f, "{}{}", shown.escape_ascii(), if cut { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(format!("{}", Excerpt(b"abc")), "abc");
        assert_eq!(format!("{}", Excerpt(b"a\r\n\0\xff'")), "a\\r\\n\\x00\\xff\\'");
        assert_eq!(format!("{}", Excerpt(&[b'x'; 40])), "x".repeat(40));
        assert_eq!(format!("{}", Excerpt(&[b'x'; 41])), "x".repeat(40) + "...");
    }

    #[test]
    fn text_and_display_agree() {
        for error in [
            ClientError::UnknownCommand(Bytes::from_static(b"\xffoo")),
            ClientError::Missing("byte count"),
            ClientError::BadNumber("flags", Bytes::from_static(b"x")),
            ClientError::EmptyKey,
            ClientError::BadOptions,
            ClientError::BadName(NameError::BadByte(b'.'), Bytes::from_static(b"a.b")),
            ClientError::TooManyQueues(Bytes::from_static(b"q17")),
            ClientError::BadKey(Bytes::from_static(b"\x00")),
            ClientError::ReasonNotKept,
            ClientError::LineTooLong,
            ClientError::BadByte,
            ClientError::BadDataChunk,
            ClientError::BadMessage("the frame ends too early".into()),
        ] {
            assert_eq!(error.text(), format!("{error}"));
            assert!(error.text().is_ascii());
        }
    }
}
