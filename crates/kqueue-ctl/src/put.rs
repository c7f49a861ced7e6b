//! `put`: one item, or one per line.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use kqueue_proto::Priority;
use kqueue_proto::client::PutOptions;
use serde_json::json;

use crate::cli::{Level, Put};
use crate::error::{Error, Result};
use crate::format::{count, name_text};
use crate::output::Output;
use crate::server::Server;

/// Puts that are sent before the first of them is answered. All that wait share one sync of the disk; their answers fit into any socket's buffer.
const UNANSWERED_MAX: usize = 256;
/// Bytes of bodies among them, about.
const UNANSWERED_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn put(
    connect: impl FnOnce() -> Result<Server>,
    put: &Put,
    out: &mut Output,
) -> Result<()> {
    let options = options(put)?;
    if put.lines {
        let input = input(put)?;
        return lines(&mut connect()?, put, &options, input, out);
    }
    let body = match &put.body {
        Some(body) => body.as_bytes().to_vec(),
        None => {
            let mut body = Vec::new();
            input(put)?.read_to_end(&mut body).map_err(|error| unreadable(put, &error))?;
            body
        }
    };
    let mut server = connect()?;
    server.send_put(&put.queue, &body, &options)?;
    let id = server.put_answer(&put.queue)?;
    stored(put, id, out)
}

fn stored(put: &Put, id: u64, out: &mut Output) -> Result<()> {
    out.say(&id.to_string(), json!({ "queue": name_text(&put.queue), "id": id }))
}

fn options(put: &Put) -> Result<PutOptions<'_>> {
    let ttl = put.ttl.unwrap_or_default();
    let ttl_seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    if ttl.subsec_nanos() > 0 || ttl_seconds > i32::MAX as u32 {
        return Err(Error::Usage(format!(
            "--ttl {}: whole seconds, at most {}",
            humantime::format_duration(ttl),
            humantime::format_duration(Duration::from_secs(i32::MAX as u64))
        )));
    }
    Ok(PutOptions {
        ttl_seconds,
        flags: put.flags,
        delay_ms: u64::try_from(put.delay.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        priority: match put.priority {
            Level::High => Priority::High,
            Level::Normal => Priority::Normal,
            Level::Low => Priority::Low,
        },
        idempotency_key: put.key.as_deref().map(str::as_bytes),
    })
}

fn input(put: &Put) -> Result<Box<dyn BufRead>> {
    match &put.file {
        None => Ok(Box::new(BufReader::new(io::stdin()))),
        Some(path) => {
            let file = File::open(path).map_err(|error| unreadable(put, &error))?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

fn unreadable(put: &Put, error: &io::Error) -> Error {
    let from = put.file.as_deref().map_or(OsStr::new("standard input"), |path| path.as_os_str());
    Error::Failed(format!("cannot read {}: {error}", from.display()))
}

/// Where a put per line has come to.
#[derive(Default)]
struct Progress {
    sent: u64,
    answered: u64,
    stored: u64,
    /// Nobody reads the ids any more; that is no reason to leave out lines.
    is_unread: bool,
    /// The first line that was refused, and why.
    refused: Option<(u64, Error)>,
}

fn lines(
    server: &mut Server,
    put: &Put,
    options: &PutOptions<'_>,
    mut input: Box<dyn BufRead>,
    out: &mut Output,
) -> Result<()> {
    let mut progress = Progress::default();
    let mut unanswered = std::collections::VecDeque::new();
    let mut unanswered_bytes = 0;
    let mut line = Vec::new();
    let result = loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(unreadable(put, &error)),
        }
        let body = line.strip_suffix(b"\n").unwrap_or(&line);
        if let Err(error) = server.send_put(&put.queue, body, options) {
            break Err(error);
        }
        progress.sent += 1;
        unanswered.push_back(body.len());
        unanswered_bytes += body.len();
        while unanswered.len() >= UNANSWERED_MAX || unanswered_bytes > UNANSWERED_BYTES {
            let Some(bytes) = unanswered.pop_front() else { break };
            unanswered_bytes -= bytes;
            answer(server, put, &mut progress, out)?;
        }
        if progress.refused.is_some() {
            break Ok(());
        }
    };
    // What was sent is answered, whatever ended it.
    for _ in &unanswered {
        answer(server, put, &mut progress, out)?;
    }
    match progress.refused {
        None => result.map_err(|error| told(&progress, error)),
        Some((line, ref error)) => {
            let stored = count(progress.stored, "item is", "items are");
            Err(Error::Failed(format!(
                "{error}. {stored} stored; line {line} is not, nor what is behind line {}",
                progress.sent
            )))
        }
    }
}

/// Takes the answer to the next put. A refusal is remembered, anything else ends it.
fn answer(server: &mut Server, put: &Put, progress: &mut Progress, out: &mut Output) -> Result<()> {
    progress.answered += 1;
    match server.put_answer(&put.queue) {
        Ok(id) => {
            progress.stored += 1;
            if progress.is_unread {
                return Ok(());
            }
            match stored(put, id, out) {
                Err(Error::PipeClosed) => {
                    progress.is_unread = true;
                    Ok(())
                }
                result => result.map_err(|error| told(progress, error)),
            }
        }
        Err(error @ Error::Refused { .. }) => {
            progress.refused.get_or_insert((progress.answered, error));
            Ok(())
        }
        Err(error) => Err(told(progress, error)),
    }
}

/// An error that leaves it open how much is stored says what is known.
fn told(progress: &Progress, error: Error) -> Error {
    let known = |what| {
        format!(
            "{what}. {} stored for sure, the first {} were sent",
            count(progress.stored, "line is", "lines are"),
            count(progress.sent, "line", "lines")
        )
    };
    match error {
        Error::Unreachable { server, what } if progress.sent > 0 => {
            Error::Unreachable { server, what: known(what) }
        }
        Error::Failed(what) if progress.answered < progress.sent => Error::Failed(known(what)),
        Error::Failed(what) => Error::Failed(format!(
            "{what}. The {} before are stored",
            count(progress.stored, "line", "lines")
        )),
        other => other,
    }
}
