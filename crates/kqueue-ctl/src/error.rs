//! Why a command failed, in words for people, and its exit code.

use std::fmt;
use std::io;

use kqueue_proto::client::{EncodeError, Reply};

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
    Refused { server: String, doing: String, reason: String },
    /// It answered something that is no answer to what was asked.
    Protocol { server: String, what: String },
    /// Something that was said on the command line cannot be.
    Usage(String),
    /// There is nothing of what was asked for.
    Nothing(String),
    /// Something else: a file, a program, an item that went away, a wait that was too long.
    Failed(String),
    /// Nobody reads what is printed any more.
    PipeClosed,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => EXIT_UNREACHABLE,
            Self::Refused { .. } | Self::Protocol { .. } | Self::Failed(_) => EXIT_FAILED,
            Self::Usage(_) => EXIT_USAGE,
            Self::Nothing(_) => EXIT_NOTHING,
            Self::PipeClosed => 0,
        }
    }

    /// What a reply means that is not the hoped for one; `doing` says to what, as in "the put to jobs" or "to pause jobs".
    pub(crate) fn of_reply(server: &str, doing: &str, reply: &Reply) -> Self {
        let (server, doing) = (server.to_owned(), doing.to_owned());
        let reason = match reply {
            Reply::ServerError(reason)
            | Reply::ClientError(reason)
            | Reply::Error(reason)
            | Reply::NotStored(Some(reason)) => reason.clone(),
            Reply::NotStored(None) => "a limit of the queue or the server".to_owned(),
            other => {
                // Whoever is asked "to do" something is asked with "the request to do" it.
                let request = if doing.starts_with("to ") { "the request " } else { "" };
                return Self::Protocol { server, what: format!("{other:?} to {request}{doing}") };
            }
        };
        Self::Refused { server, doing, reason }
    }
}

/// What to do about a refusal, as far as its reason tells.
fn advice(reason: &str) -> &'static str {
    if reason.contains("unknown command") {
        "; the server is older than this kqueuectl: `kqueuectl ping` shows what it can do"
    } else if reason.starts_with("the server is ") {
        "; `kqueuectl status up` lets everybody put and take again"
    } else if reason.contains("full") {
        "; `kqueuectl stats` shows what is in the queues"
    } else {
        ""
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Failed(format!("cannot write: {error}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, what } => write!(
                f,
                "{server}: {what}; is kqueue-server running there? (--server or KQUEUE_SERVER says where)"
            ),
            Self::Refused { server, doing, reason } => {
                write!(f, "{server} refused {doing}: {reason}{}", advice(reason))
            }
            Self::Protocol { server, what } => {
                write!(
                    f,
                    "{server} does not answer like a kqueue-server's memcache port: {what}; does --server name the right port?"
                )
            }
            Self::Usage(what) | Self::Nothing(what) | Self::Failed(what) => f.write_str(what),
            Self::PipeClosed => f.write_str("nobody reads what is printed"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reply: &Reply) -> String {
        Error::of_reply("h:1", "put to jobs", reply).to_string()
    }

    #[test]
    fn a_refusal_says_who_what_why_and_what_to_do() {
        let said = refused(&Reply::ServerError("the server is READONLY".to_owned()));
        assert!(said.starts_with("h:1 refused put to jobs: the server is READONLY; "), "{said}");
        assert!(said.contains("kqueuectl status up"), "{said}");
        let said = refused(&Reply::NotStored(Some("too large".to_owned())));
        assert_eq!(said, "h:1 refused put to jobs: too large");
        let said = refused(&Reply::ClientError("unknown command".to_owned()));
        assert!(said.contains("kqueuectl ping"), "{said}");
    }

    #[test]
    fn what_is_no_answer_is_no_refusal() {
        let error = Error::of_reply("h:1", "put to jobs", &Reply::NotHeld);
        assert!(matches!(error, Error::Protocol { .. }));
        let said = Error::of_reply("h:1", "to pause jobs", &Reply::NotHeld).to_string();
        assert!(said.contains(": NotHeld to the request to pause jobs; "), "{said}");
        assert_eq!(error.exit_code(), EXIT_FAILED);
    }
}
