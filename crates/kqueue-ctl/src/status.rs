//! The server as a whole: `status`, `drain`, `ping`.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::address::Address;
use crate::cli::{Drain, Status};
use crate::error::{Error, Result};
use crate::figures::Counts;
use crate::format::{count, duration, name_text};
use crate::output::Output;
use crate::server::Server;

/// What `capabilities` may list.
const WORDS: [&str; 14] = [
    "put", "reserve", "ack", "release", "touch", "bury", "browse", "kick", "purge", "pause",
    "resume", "delay", "priority", "key",
];

pub(crate) fn status(server: &mut Server, wanted: Option<Status>, out: &mut Output) -> Result<()> {
    if let Some(wanted) = wanted {
        set(server, wanted)?;
    }
    let status = server.status()?;
    out.say(&status, json!({ "status": status }))
}

fn set(server: &mut Server, wanted: Status) -> Result<()> {
    let word = match wanted {
        Status::Up => "up",
        Status::Writeavoid => "writeavoid",
        Status::Readonly => "readonly",
        Status::Quiescent => "quiescent",
    };
    server.set_status(word)?;
    // While a grace period runs, the answer is the same and nothing has changed.
    let status = server.status()?;
    match status.eq_ignore_ascii_case(word) {
        true => Ok(()),
        false => Err(Error::Failed(format!(
            "{} stays {status}: it is still becoming that (server.status_change_grace_period); try again later, or go back with `kqueuectl status up`",
            server.name()
        ))),
    }
}

/// What is still to be worked off, and what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    ready: u64,
    open: u64,
    delayed: u64,
    dead: u64,
}

impl Left {
    fn add(&mut self, counts: &Counts) {
        self.ready += counts.ready;
        self.open += counts.open;
        self.delayed += counts.delayed;
        self.dead += counts.dead;
    }

    fn is_done(&self, with_delayed: bool) -> bool {
        self.ready == 0 && self.open == 0 && (!with_delayed || self.delayed == 0)
    }

    fn text(&self) -> String {
        let mut text = format!("{} ready, {} open", count(self.ready, "item", "items"), self.open);
        if self.delayed > 0 {
            text += &format!(", {} delayed", self.delayed);
        }
        if self.dead > 0 {
            text += &format!(", {}", count(self.dead, "dead letter", "dead letters"));
        }
        text
    }
}

pub(crate) fn drain(server: &mut Server, drain: &Drain, out: &mut Output) -> Result<()> {
    let began = Instant::now();
    set(server, Status::Readonly)?;
    eprintln!("kqueuectl: {} is READONLY; `kqueuectl status up` goes back", server.name());
    let mut told = None;
    loop {
        // Asked first: what is put after this answer is refused.
        let is_closed = !server.takes_puts()?;
        let left = left(server, drain)?;
        if is_closed && left.is_done(drain.delayed) {
            return out.say(
                &format!("{} is drained: {}", server.name(), left.text()),
                json!({
                    "drained": true,
                    "ready": left.ready,
                    "open": left.open,
                    "delayed": left.delayed,
                    "dead": left.dead,
                }),
            );
        }
        if told != Some((is_closed, left)) {
            eprintln!("kqueuectl: {}{}", left.text(), still_open(is_closed));
            told = Some((is_closed, left));
        }
        let pause = match drain.within.map(|within| within.saturating_sub(began.elapsed())) {
            Some(Duration::ZERO) => return Err(not_drained(server, drain, &left, is_closed)),
            Some(rest) => rest.min(drain.every),
            None => drain.every,
        };
        thread::sleep(pause);
    }
}

fn left(server: &mut Server, drain: &Drain) -> Result<Left> {
    let excepted: Vec<String> = drain.except.iter().map(|name| name_text(name)).collect();
    let mut left = Left::default();
    for (name, figures) in server.queues(&[])? {
        if let Some(counts) = Counts::of(&figures).filter(|_| !excepted.contains(&name)) {
            left.add(&counts);
        }
    }
    Ok(left)
}

fn still_open(is_closed: bool) -> &'static str {
    match is_closed {
        true => "",
        false => "; puts are still taken (server.status_change_grace_period)",
    }
}

fn not_drained(server: &Server, drain: &Drain, left: &Left, is_closed: bool) -> Error {
    let within = drain.within.unwrap_or_default();
    Error::Failed(format!(
        "{} is not drained after {}: {}{}. It stays READONLY: `kqueuectl drain` waits again, `kqueuectl status up` goes back; `kqueuectl stats` shows where the items are",
        server.name(),
        humantime::format_duration(within),
        left.text(),
        still_open(is_closed)
    ))
}

pub(crate) fn ping(address: &Address, timeout: Duration, out: &mut Output) -> Result<()> {
    let mut server = Server::connect(address, timeout)?;
    let began = Instant::now();
    let version = server.version()?;
    let took = began.elapsed();
    let status = server.status()?;
    let capabilities = server.capabilities()?;
    let can: Vec<&str> = WORDS.into_iter().filter(|word| capabilities.has(word)).collect();
    let name = match capabilities.server() {
        [] => format!("version {version}"),
        name => name_text(name),
    };
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let shown = if took_us < 10_000 { format!("{took_us}us") } else { duration(took_us / 1000) };
    let beyond = if can.is_empty() { "Kestrel's commands only".to_owned() } else { can.join(" ") };
    out.say(
        &format!("{address}: {name}, {status}, answered in {shown}\ncan: {beyond}"),
        json!({
            "server": address.to_string(),
            "version": version,
            "status": status,
            "took_us": took_us,
            "capabilities": can,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_or_open_is_waited_for_and_the_rest_is_told() {
        let mut left = Left::default();
        assert!(left.is_done(true));
        left.add(&Counts { delayed: 2, dead: 1, ..Counts::default() });
        assert!(left.is_done(false) && !left.is_done(true));
        assert_eq!(left.text(), "0 items ready, 0 open, 2 delayed, 1 dead letter");
        left.add(&Counts { open: 1, ..Counts::default() });
        assert!(!left.is_done(false));
        left.add(&Counts { ready: 1, ..Counts::default() });
        assert_eq!(left.text(), "1 item ready, 1 open, 2 delayed, 1 dead letter");
    }
}
