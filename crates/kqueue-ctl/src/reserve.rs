//! Items that are taken tentatively, and a program that is run for each.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use kqueue_proto::Name;
use kqueue_proto::client::{Reply, ack, bury, release, reserve as encode_reserve};
use serde_json::{Map, Value};

use crate::cli::Reserve;
use crate::context::{Context, milliseconds, queue_name};
use crate::error::{Error, Result};
use crate::show::{on_one_line, put_body, text, time};

/// An item in our hands.
pub(crate) struct Item {
    pub(crate) queue: Bytes,
    pub(crate) id: u64,
    flags: u32,
    attempts: u32,
    age_ms: u64,
    body: Bytes,
}

pub(crate) fn reserve(context: &mut Context, reserve: &Reserve) -> Result<()> {
    let queues: Vec<Name> =
        reserve.queues.iter().map(|queue| queue_name(queue)).collect::<Result<_>>()?;
    if reserve.exec.is_empty() {
        let items = take(context, &queues, reserve.max, reserve)?;
        if items.is_empty() {
            return Err(nothing(reserve));
        }
        return items.iter().try_for_each(|item| show(context, item));
    }
    let mut failed = 0;
    for done in 0..reserve.max {
        let Some(item) = take(context, &queues, 1, reserve)?.pop() else {
            if done == 0 {
                return Err(nothing(reserve));
            }
            break;
        };
        if !work_on(context, &item, reserve)? {
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(Error::Here(format!("{} failed for {count} item(s)", reserve.exec[0]))),
    }
}

fn nothing(reserve: &Reserve) -> Error {
    Error::Nothing(format!("no item of {} is ready", reserve.queues.join(", ")))
}

fn take(context: &mut Context, queues: &[Name], max: u32, reserve: &Reserve) -> Result<Vec<Item>> {
    let wait = reserve.wait.unwrap_or_default();
    let wait_ms = milliseconds(wait, "wait")?;
    let lease_ms = milliseconds(reserve.lease.unwrap_or_default(), "lease")?;
    take_items(context, queues, max, (wait_ms, lease_ms))
}

/// Takes up to `max` items; the times are how long to wait and when they return, in milliseconds.
pub(crate) fn take_items(
    context: &mut Context,
    queues: &[Name],
    max: u32,
    (wait_ms, lease_ms): (u32, u32),
) -> Result<Vec<Item>> {
    let names: Vec<_> = queues.iter().map(Name::by_ref).collect();
    let mut line = Vec::new();
    encode_reserve(&mut line, max, wait_ms, lease_ms, &names)?;
    context.connection.send(&line, None, Duration::from_millis(u64::from(wait_ms)))?;
    let mut items = Vec::new();
    loop {
        match context.connection.reply()? {
            Reply::Item { key, id, flags, attempts, age_ms, body } => {
                items.push(Item { queue: key, id, flags, attempts, age_ms, body });
            }
            Reply::End => return Ok(items),
            other => return Err(context.connection.unexpected(&other)),
        }
    }
}

fn show(context: &Context, item: &Item) -> Result<()> {
    let object = || {
        let mut object = Map::new();
        object.insert("queue".to_owned(), text(&item.queue).into());
        object.insert("id".to_owned(), item.id.into());
        object.insert("flags".to_owned(), item.flags.into());
        object.insert("attempts".to_owned(), item.attempts.into());
        object.insert("age_ms".to_owned(), item.age_ms.into());
        put_body(&mut object, &item.body);
        Value::Object(object)
    };
    context.print(object, || {
        let (queue, age, body) = (text(&item.queue), time(item.age_ms), on_one_line(&item.body));
        format!("{queue} {}  attempt {}  {age} old  {body}", item.id, item.attempts)
    })
}

/// True if the program did it.
fn work_on(context: &mut Context, item: &Item, reserve: &Reserve) -> Result<bool> {
    let is_done = run(&reserve.exec, item)?;
    let mut line = Vec::new();
    let queue = queue_name(&text(&item.queue))?;
    let queue = queue.by_ref();
    let mut reason = None;
    if is_done {
        ack(&mut line, queue, item.id);
    } else if reserve.bury {
        let words = format!("{} failed", reserve.exec[0]);
        let words = words.chars().take(200).collect::<String>();
        bury(&mut line, queue, item.id, words.len())?;
        reason = Some(words);
    } else {
        let delay_ms = reserve.retry_after.map(|after| after.as_millis());
        let delay_ms = delay_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        release(&mut line, queue, item.id, delay_ms)?;
    }
    context.expect(&line, reason.as_ref().map(String::as_bytes), &Reply::Ok)?;
    Ok(is_done)
}

fn run(exec: &[String], item: &Item) -> Result<bool> {
    let here = |error: io::Error| Error::Here(format!("{}: {error}", exec[0]));
    let mut child = Command::new(&exec[0])
        .args(&exec[1..])
        .env("KQUEUE_ID", item.id.to_string())
        .env("KQUEUE_QUEUE", text(&item.queue))
        .env("KQUEUE_ATTEMPTS", item.attempts.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .map_err(here)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(&item.body) {
            // It need not read what it gets.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(here)?,
        }
    }
    Ok(child.wait().map_err(here)?.success())
}
