//! The server as a whole: status, drain, ping.

use std::thread::sleep;
use std::time::{Duration, Instant};

use kqueue_proto::client::{self, Reply};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::show::text;

/// How often it is looked whether everything has been worked off.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn status(context: &mut Context, status: Option<&str>) -> Result<()> {
    if let Some(status) = status {
        set_status(context, status)?;
    }
    let mut line = Vec::new();
    client::status(&mut line, None)?;
    match context.connection.ask(&line, None)? {
        Reply::Status(name) => {
            let name = text(&name).to_ascii_lowercase();
            context.print(|| json!({ "status": name.clone() }), || name.clone())
        }
        other => Err(context.connection.unexpected(&other)),
    }
}

fn set_status(context: &mut Context, status: &str) -> Result<()> {
    let mut line = Vec::new();
    client::status(&mut line, Some(status.to_ascii_lowercase().as_bytes()))?;
    context.expect(&line, None, &Reply::End)
}

pub(crate) fn drain(context: &mut Context, within: Option<Duration>) -> Result<()> {
    set_status(context, "readonly")?;
    let server = context.connection.server().to_owned();
    eprintln!("{server} is readonly; `kqueuectl -s {server} status up` goes back");
    let began = Instant::now();
    let mut told = None;
    loop {
        let stats = context.stats()?;
        let sum = |figure: &str| stats.queues.iter().map(|queue| queue.number(figure)).sum::<u64>();
        let (ready, open) = (sum("items"), sum("open_transactions"));
        if (ready, open) == (0, 0) {
            let (delayed, dead) = (sum("delayed_items"), sum("dead_items"));
            let object =
                || json!({ "drained": true, "delayed_items": delayed, "dead_items": dead });
            return context.print(object, || {
                format!("nothing is ready or open; {delayed} delayed and {dead} dead item(s) stay")
            });
        }
        if told != Some((ready, open)) {
            eprintln!("{ready} ready, {open} open");
            told = Some((ready, open));
        }
        if within.is_some_and(|within| began.elapsed() >= within) {
            let what =
                format!("not drained in time: {ready} ready, {open} open; {server} stays readonly");
            return Err(Error::Here(what));
        }
        sleep(LOOK_EVERY);
    }
}

pub(crate) fn ping(context: &mut Context) -> Result<()> {
    let mut line = Vec::new();
    client::version(&mut line);
    let began = Instant::now();
    match context.connection.ask(&line, None)? {
        Reply::Version(version) => {
            let (version, us) = (text(&version), began.elapsed().as_micros());
            let server = context.connection.server();
            context.print(
                || json!({ "server": server, "version": version, "round_trip_us": us as u64 }),
                || format!("{server} version {version}, {us} µs"),
            )
        }
        other => Err(context.connection.unexpected(&other)),
    }
}
