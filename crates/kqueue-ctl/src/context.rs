//! What every command has: the connection, and how things are to be printed.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use kqueue_proto::Name;
use kqueue_proto::client::{Reply, stats};
use serde_json::Value;

use crate::cli::Arguments;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::show::text;
use crate::stats::Stats;

pub(crate) struct Context {
    pub(crate) connection: Connection,
    pub(crate) json: bool,
}

impl Context {
    pub(crate) fn open(arguments: &Arguments) -> Result<Self> {
        let connection = Connection::open(&arguments.server, arguments.timeout)?;
        Ok(Self { connection, json: arguments.json })
    }

    /// Prints a line: the object for programs, or the text for people.
    pub(crate) fn print(
        &self,
        object: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        let line = if self.json { object().to_string() } else { text() };
        write_out(line.as_bytes(), true)
    }

    /// Sends a request and expects that it is done.
    pub(crate) fn expect(
        &mut self,
        line: &[u8],
        body: Option<&[u8]>,
        expected: &Reply,
    ) -> Result<()> {
        let reply = self.connection.ask(line, body)?;
        match reply == *expected {
            true => Ok(()),
            false => Err(self.connection.unexpected(&reply)),
        }
    }

    /// Sends a request that is answered with how many items it was about.
    pub(crate) fn count(&mut self, line: &[u8]) -> Result<Option<u64>> {
        match self.connection.ask(line, None)? {
            Reply::OkCount(count) => Ok(Some(count)),
            Reply::NotFound => Ok(None),
            other => Err(self.connection.unexpected(&other)),
        }
    }

    /// All figures of the server.
    pub(crate) fn stats(&mut self) -> Result<Stats> {
        let mut line = Vec::new();
        stats(&mut line);
        self.connection.send(&line, None, Duration::ZERO)?;
        let mut all = Stats::default();
        loop {
            match self.connection.reply()? {
                Reply::Stat { name, value } => all.add(&text(&name), &text(&value)),
                Reply::End => return Ok(all),
                other => return Err(self.connection.unexpected(&other)),
            }
        }
    }
}

/// A queue's name as it was typed.
pub(crate) fn queue_name(queue: &str) -> Result<Name> {
    let name = Bytes::copy_from_slice(queue.as_bytes());
    Name::parse(&name).map_err(|error| Error::Usage(format!("queue '{queue}': {error}")))
}

/// Milliseconds, as far as the protocol can say them.
pub(crate) fn milliseconds(time: Duration, what: &str) -> Result<u32> {
    u32::try_from(time.as_millis()).map_err(|_| Error::Usage(format!("--{what} is too long")))
}

/// Writes to standard output; who does not want to read any more ends it in peace.
pub(crate) fn write_out(bytes: &[u8], ends_line: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    let end: &[u8] = if ends_line { b"\n" } else { b"" };
    let written = out.write_all(bytes).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
