//! Why a command failed, in words for people, and its exit code.

use std::fmt;
use std::io;

use kqueue_proto::client::{EncodeError, Reply, ReplyError};

/// Exit codes, see the help.
pub(crate) const EXIT_FAILED: u8 = 1;
pub(crate) const EXIT_USAGE: u8 = 2;
pub(crate) const EXIT_NOTHING: u8 = 3;
pub(crate) const EXIT_UNREACHABLE: u8 = 4;

#[derive(Debug)]
pub(crate) enum Error {
    /// Nothing can be sent to the server, or it does not answer.
    Unreachable { server: String, what: String },
    /// It answered that it does not do that.
    Refused { server: String, what: String },
    /// It answered something that is no answer to what was asked.
    Protocol { server: String, what: String },
    /// Something that was said on the command line cannot be.
    Usage(String),
    /// There is nothing of what was asked for.
    Nothing(String),
    /// Something here: a file, a program, the terminal.
    Here(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => EXIT_UNREACHABLE,
            Self::Refused { .. } | Self::Protocol { .. } | Self::Here(_) => EXIT_FAILED,
            Self::Usage(_) => EXIT_USAGE,
            Self::Nothing(_) => EXIT_NOTHING,
        }
    }

    /// What an unexpected reply means.
    pub(crate) fn of_reply(server: &str, reply: &Reply) -> Self {
        let server = server.to_owned();
        match reply {
            Reply::ServerError(reason) | Reply::NotStored(Some(reason)) => {
                Self::Refused { server, what: reason.clone() }
            }
            Reply::ClientError(reason) | Reply::Error(reason) => {
                Self::Refused { server, what: reason.clone() }
            }
            Reply::NotHeld => {
                Self::Refused { server, what: "the item is not ours any more".to_owned() }
            }
            other => Self::Protocol { server, what: format!("unexpected answer {other:?}") },
        }
    }

    pub(crate) fn of_decoder(server: &str, error: &ReplyError) -> Self {
        Self::Protocol { server: server.to_owned(), what: error.to_string() }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Here(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, what } => {
                write!(
                    f,
                    "{server}: {what}; is kqueue-server running there? (--server, KQUEUE_SERVER)"
                )
            }
            Self::Refused { server, what } => write!(f, "{server} refused: {what}"),
            Self::Protocol { server, what } => {
                write!(f, "{server} does not answer like a kqueue-server: {what}")
            }
            Self::Usage(what) | Self::Nothing(what) | Self::Here(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
