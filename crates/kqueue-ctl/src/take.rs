//! What takes items off a queue, for good or for a while: `get`, `reserve`, `peek`, `bury`.

use std::time::Duration;

use kqueue_proto::Name;
use serde_json::{Map, Value, json};

use crate::cli::{Bury, Get, Reserve};
use crate::error::{Error, Result};
use crate::format::{count, duration, name_text, size};
use crate::output::{Output, held_object, insert_bytes};
use crate::program;
use crate::server::{Held, Server};

/// So many items are held before the first of them is printed.
const AT_ONCE_MAX: u64 = 100;

/// So many items are held at a time where they are only shown: what the server hands out at once.
const SHOWN_MAX: u32 = 1000;

/// A wait as the wire says it.
pub(crate) fn wait_ms(wait: Option<Duration>) -> Result<u32> {
    let ms = wait.unwrap_or_default().as_millis();
    u32::try_from(ms)
        .ok()
        .filter(|&ms| ms <= i32::MAX as u32)
        .ok_or_else(|| Error::Usage("a time of a wait or a lease is at most 24 days".to_owned()))
}

pub(crate) fn get(server: &mut Server, get: &Get, out: &mut Output) -> Result<()> {
    let mut left = get.max;
    let mut wait = wait_ms(get.wait)?;
    while left > 0 {
        let max = u32::try_from(left.min(AT_ONCE_MAX)).unwrap_or(1);
        let items = server.reserve(std::slice::from_ref(&get.queue), max, wait, 0)?;
        if items.is_empty() {
            break;
        }
        for item in &items {
            match (out.is_json(), get.raw) {
                (true, _) => out.object(&Value::Object(held_object(item)))?,
                (false, raw) => print_body(&item.body, raw, out)?,
            }
            // Only what has been written is removed.
            out.flush()?;
            if !server.ack(item)? {
                return Err(went_away(item, "it was printed"));
            }
        }
        left -= items.len() as u64;
        wait = 0;
    }
    if left == get.max && left > 0 {
        return Err(nothing(std::slice::from_ref(&get.queue)));
    }
    Ok(())
}

fn print_body(body: &[u8], raw: bool, out: &mut Output) -> Result<()> {
    out.bytes(body)?;
    if raw { Ok(()) } else { out.bytes(b"\n") }
}

/// There was no item.
pub(crate) fn nothing(queues: &[Name]) -> Error {
    let names: Vec<String> = queues.iter().map(|name| name_text(name)).collect();
    Error::Nothing(format!(
        "nothing in {} can be taken now; `kqueuectl stats` shows whether items are open, delayed or the queue paused",
        names.join(", ")
    ))
}

/// The server took the item away meanwhile.
pub(crate) fn went_away(item: &Held, after: &str) -> Error {
    Error::Failed(format!(
        "item {} of {} was not ours any more when {after}: its time was over, or the queue was flushed. Somebody else may get it, too",
        item.id,
        name_text(&item.queue)
    ))
}

pub(crate) fn reserve(server: &mut Server, reserve: &Reserve, out: &mut Output) -> Result<()> {
    if !reserve.exec.is_empty() {
        return program::run_for_each(server, reserve, out);
    }
    if reserve.max > SHOWN_MAX {
        return Err(Error::Usage(format!(
            "--max {}: {SHOWN_MAX} at most without --exec; `kqueuectl browse` shows all",
            reserve.max
        )));
    }
    let items = server.reserve(&reserve.queues, reserve.max, wait_ms(reserve.wait)?, 0)?;
    if items.is_empty() {
        return Err(nothing(&reserve.queues));
    }
    for item in &items {
        match out.is_json() {
            true => out.object(&Value::Object(held_object(item)))?,
            false => {
                out.line(&held_line(item))?;
                print_body(&item.body, false, out)?;
            }
        }
    }
    out.flush()?;
    // From the last to the first: each comes to the head of what is back already.
    for item in items.iter().rev() {
        // What is not ours any more is back already.
        server.release(item, Some(0))?;
    }
    Ok(())
}

fn held_line(item: &Held) -> String {
    format!(
        "{} {}: {}, {}, put {} ago",
        name_text(&item.queue),
        item.id,
        size(item.body.len() as u64),
        count(item.attempts.into(), "attempt", "attempts"),
        duration(item.age_ms)
    )
}

pub(crate) fn peek(server: &mut Server, queue: &Name, out: &mut Output) -> Result<()> {
    let Some((flags, body)) = server.peek(queue)? else {
        return Err(nothing(std::slice::from_ref(queue)));
    };
    if !out.is_json() {
        return print_body(&body, false, out);
    }
    let mut object = Map::new();
    object.insert("queue".to_owned(), name_text(queue).into());
    object.insert("flags".to_owned(), flags.into());
    object.insert("size".to_owned(), body.len().into());
    insert_bytes(&mut object, "body", &body);
    out.object(&Value::Object(object))
}

pub(crate) fn bury(server: &mut Server, bury: &Bury, out: &mut Output) -> Result<()> {
    let items = server.reserve(std::slice::from_ref(&bury.queue), 1, 0, 0)?;
    let Some(item) = items.first() else {
        return Err(nothing(std::slice::from_ref(&bury.queue)));
    };
    let queue = name_text(&bury.queue);
    if let Some(id) = bury.id.filter(|&id| id != item.id) {
        server.release(item, Some(0))?;
        return Err(Error::Nothing(format!(
            "the next item of {queue} is {}, not {id}: nothing was buried",
            item.id
        )));
    }
    if !server.bury(item, bury.reason.as_bytes())? {
        return Err(went_away(item, "it was to be buried"));
    }
    out.say(
        &format!("item {} of {queue} is a dead letter; `kqueuectl kick` brings it back", item.id),
        json!({ "queue": queue, "id": item.id, "reason": bury.reason }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_cut() {
        assert_eq!(wait_ms(None).expect("none"), 0);
        assert_eq!(wait_ms(Some(Duration::from_millis(1500))).expect("short"), 1500);
        let longest = Duration::from_millis(i32::MAX as u64);
        assert_eq!(wait_ms(Some(longest)).expect("24 days"), i32::MAX as u32);
        let error = wait_ms(Some(longest + Duration::from_millis(1))).expect_err("more");
        assert_eq!(error.exit_code(), crate::error::EXIT_USAGE);
    }
}
