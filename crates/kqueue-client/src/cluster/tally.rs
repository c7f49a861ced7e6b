//! What happened at each server during one call, and the error it adds up to.

use std::fmt;

use crate::address::Address;
use crate::error::{Error, ErrorKind, is_about_room};
use crate::link::{Cause, Fault};
use crate::session::shown;

/// What a call was about to do, for messages.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    /// As in `push to`.
    pub(super) verb: &'static str,
    pub(super) queues: &'a [&'a [u8]],
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)?;
        match self.queues {
            [] => Ok(()),
            [queue] => write!(f, " queue {}", shown(queue)),
            many => {
                let names: Vec<_> = many.iter().map(|queue| shown(queue)).collect();
                write!(f, " queues {}", names.join(", "))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Fault(Cause),
    /// Refused for lack of room: other servers may take it.
    Full,
    /// The server takes no puts now, for another reason than room (its status, for example): other servers may.
    Closed,
    /// Refused for another reason.
    Refused,
}

#[derive(Debug)]
struct Note {
    at: usize,
    problem: Problem,
    text: String,
}

/// The failures of one call.
#[derive(Debug, Default)]
pub(super) struct Tally {
    notes: Vec<Note>,
    /// Servers that get nothing more in this call.
    closed: Vec<usize>,
    /// A request was sent and not answered.
    pub(super) is_unknown: bool,
}

impl Tally {
    pub(super) fn note_fault(&mut self, at: usize, fault: &Fault) {
        self.note(at, Problem::Fault(fault.cause), fault.text.clone());
    }

    pub(super) fn note_full(&mut self, at: usize, text: &str) {
        let text = if text.is_empty() { "refused: queue full or item too large" } else { text };
        self.note(at, Problem::Full, text.to_owned());
        self.close(at);
    }

    /// A server that answers `SERVER_ERROR` to a put.
    pub(super) fn note_unable(&mut self, at: usize, text: &str) {
        if is_about_room(text) {
            return self.note_full(at, text);
        }
        self.note(at, Problem::Closed, text.to_owned());
        self.close(at);
    }

    pub(super) fn note_refused(&mut self, at: usize, text: &str) {
        self.note(at, Problem::Refused, text.to_owned());
    }

    /// The server gets nothing more in this call.
    pub(super) fn close(&mut self, at: usize) {
        self.closed.push(at);
    }

    pub(super) fn is_closed(&self, at: usize) -> bool {
        self.closed.contains(&at)
    }

    /// Who refused for lack of room, or takes no puts, may be asked again.
    pub(super) fn forget_refusals(&mut self) {
        let is_refusal = |note: &Note| matches!(note.problem, Problem::Full | Problem::Closed);
        let notes = &self.notes;
        self.closed.retain(|&at| !notes.iter().any(|note| note.at == at && is_refusal(note)));
        self.notes.retain(|note| !is_refusal(note));
    }

    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// A living server takes no puts now: to insist would make it worse.
    pub(super) fn is_full(&self) -> bool {
        self.has(Problem::Full) || self.has(Problem::Closed)
    }

    /// The last failure at this server, if it was one of the connection.
    pub(super) fn last_cause(&self, at: usize) -> Option<Cause> {
        self.notes.iter().rev().find(|note| note.at == at).and_then(|note| match note.problem {
            Problem::Fault(cause) => Some(cause),
            Problem::Full | Problem::Closed | Problem::Refused => None,
        })
    }

    /// One note per server is enough: the last one tells most.
    fn note(&mut self, at: usize, problem: Problem, text: String) {
        self.notes.retain(|note| note.at != at);
        self.notes.push(Note { at, problem, text });
    }

    fn has(&self, problem: Problem) -> bool {
        self.notes.iter().any(|note| note.problem == problem)
    }

    fn kind(&self) -> ErrorKind {
        if self.has(Problem::Full) {
            ErrorKind::Full
        } else if self.has(Problem::Refused) || self.has(Problem::Closed) {
            ErrorKind::Server
        } else if self.has(Problem::Fault(Cause::Silent)) || self.notes.is_empty() {
            ErrorKind::Timeout
        } else if self.has(Problem::Fault(Cause::Garbage)) {
            ErrorKind::Protocol
        } else {
            ErrorKind::Connection
        }
    }

    /// The error of the whole call. `has_effect`: an unanswered request may have changed something
    /// that the caller must know of.
    pub(super) fn error(
        &self,
        operation: Operation<'_>,
        addresses: &[Address],
        has_effect: bool,
    ) -> Error {
        let kind = self.kind();
        let mut text = format!("{operation} failed: ");
        if self.notes.is_empty() {
            text.push_str("no time left");
        }
        for (nth, note) in self.notes.iter().enumerate() {
            let gap = if nth == 0 { "" } else { "; " };
            text.push_str(&format!("{gap}{}: {}", addresses[note.at], note.text));
        }
        let is_unknown = has_effect && self.is_unknown;
        if is_unknown {
            text.push_str(" (sent without an answer: it may have been carried out)");
        }
        text.push_str(advice(kind));
        Error::new(kind, text).with_unknown_outcome(is_unknown)
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connection => "; check that a queue server listens there, or try again later",
        ErrorKind::Timeout => {
            "; the server is stopped, overloaded or cut off: try again later or raise timeout"
        }
        ErrorKind::Full => "; slow down, or raise the limits of the queue or the disk",
        ErrorKind::Protocol => "; check that the address is that of a queue server",
        ErrorKind::Server | ErrorKind::Auth | ErrorKind::Lost | ErrorKind::InvalidArgument => "",
    }
}
