//! Items by their state: browse, kick, bury.

use std::fmt::Write;
use std::time::Duration;

use kqueue_proto::client::{
    BrowseOptions, Reply, browse as encode, bury as encode_bury, kick as encode_kick,
};
use kqueue_proto::{Found, ItemState, Kick as Which, Name};
use serde_json::{Map, Value, json};

use crate::cli::{Browse, Kick, State};
use crate::context::{Context, queue_name};
use crate::error::{Error, Result};
use crate::reserve::take_items;
use crate::show::{on_one_line, put_body, size, text, time};

/// Asked for at a time.
const PAGE: u32 = 100;

pub(crate) fn browse(context: &mut Context, browse: &Browse) -> Result<()> {
    let queue = queue_name(&browse.queue)?;
    let state = match browse.state {
        State::Ready => ItemState::Ready,
        State::Delayed => ItemState::Delayed,
        State::Open => ItemState::Open,
        State::Dead => ItemState::Dead,
    };
    let mut left = if browse.max == 0 { u64::MAX } else { browse.max };
    let mut options = BrowseOptions { after: None, body_bytes: Some(browse.body) };
    while left > 0 {
        let max = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let mut line = Vec::new();
        encode(&mut line, queue.by_ref(), state, max, &options)?;
        context.connection.send(&line, None, Duration::ZERO)?;
        loop {
            match context.connection.reply()? {
                Reply::Found(found) => {
                    left = left.saturating_sub(1);
                    context.print(|| object(&found), || line_of(&found))?;
                }
                Reply::End => return Ok(()),
                Reply::EndWithCursor(cursor) => {
                    options.after = Some(cursor);
                    break;
                }
                other => return Err(context.connection.unexpected(&other)),
            }
        }
    }
    Ok(())
}

/// Names that stay the same: the protocol's, with the times in milliseconds.
fn object(found: &Found) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("queue", text(&found.key).into());
    put("id", found.id.into());
    put("state", text(found.state.word()).into());
    put("size", found.size.into());
    put("flags", found.flags.into());
    put("attempts", found.attempts.into());
    put("age_ms", found.age_ms.into());
    put("priority", text(found.priority.word()).into());
    for (name, ms) in
        [("ttl_ms", found.ttl_ms), ("due_ms", found.due_ms), ("lease_ms", found.lease_ms)]
    {
        if let Some(ms) = ms {
            put(name, ms.into());
        }
    }
    if let Some((queue, id)) = &found.origin {
        put("origin", text(queue).into());
        put("origin_id", (*id).into());
    }
    if let Some(dead) = &found.dead {
        put("cause", text(dead.cause.word()).into());
        put("first_ms", dead.first_ms.into());
        put("last_ms", dead.last_ms.into());
        put("reason", text(&dead.reason).into());
    }
    put_body(&mut object, &found.body);
    Value::Object(object)
}

fn line_of(found: &Found) -> String {
    let mut line = format!("{}  {}", found.id, size(found.size));
    _ = write!(line, "  {} old", time(found.age_ms));
    if found.attempts > 0 {
        _ = write!(line, "  {} attempt(s)", found.attempts);
    }
    if found.priority.word() != b"normal" {
        _ = write!(line, "  {}", text(found.priority.word()));
    }
    let times =
        [("ready in", found.due_ms), ("expires in", found.ttl_ms), ("lease", found.lease_ms)];
    for (what, ms) in times {
        if let Some(ms) = ms {
            _ = write!(line, "  {what} {}", time(ms));
        }
    }
    if let Some(dead) = &found.dead {
        _ = write!(line, "  {}", text(dead.cause.word()));
        if !dead.reason.is_empty() {
            _ = write!(line, ": {}", on_one_line(&dead.reason));
        }
    }
    if let Some((queue, _)) = found.origin.as_ref().filter(|(queue, _)| *queue != found.key) {
        _ = write!(line, "  from {}", text(queue));
    }
    let cut = if (found.body.len() as u64) < found.size { "…" } else { "" };
    _ = write!(line, "  {}{cut}", on_one_line(&found.body));
    line
}

pub(crate) fn kick(context: &mut Context, kick: &Kick) -> Result<()> {
    let queue = queue_name(&kick.queue)?;
    let which = match (kick.which.id, kick.which.max) {
        (Some(id), _) => Which::Id(id),
        (_, Some(max)) => Which::Some(max),
        _ => Which::All,
    };
    let mut line = Vec::new();
    encode_kick(&mut line, queue.by_ref(), which)?;
    match context.count(&line)? {
        None | Some(0) => Err(Error::Nothing(format!("{} has no such dead letter", kick.queue))),
        Some(count) => context
            .print(|| json!({ "kicked": count }), || format!("{count} item(s) are ready again")),
    }
}

pub(crate) fn bury(
    context: &mut Context,
    queue: &str,
    id: Option<u64>,
    reason: &str,
) -> Result<()> {
    let name: Name = queue_name(queue)?;
    let mut line = Vec::new();
    // First, so that nothing is taken that cannot be buried.
    encode_bury(&mut line, name.by_ref(), 0, reason.len())?;
    let taken = take_items(context, std::slice::from_ref(&name), 1, (0, 0))?.pop();
    let item = taken.ok_or_else(|| Error::Nothing(format!("no item of {queue} is ready")))?;
    if let Some(id) = id.filter(|id| *id != item.id) {
        // What was taken returns when the connection ends.
        let what = format!("{id} is not the next item of {queue}, that is {}", item.id);
        return Err(Error::Nothing(what));
    }
    line.clear();
    encode_bury(&mut line, name.by_ref(), item.id, reason.len())?;
    context.expect(&line, Some(reason.as_bytes()), &Reply::Ok)?;
    context.print(|| json!({ "buried": item.id }), || format!("{} is a dead letter", item.id))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_proto::{DeadCause, FoundDead, Priority};

    use super::*;

    fn dead() -> Found {
        Found {
            key: Bytes::from_static(b"jobs"),
            id: 7,
            state: ItemState::Dead,
            size: 10,
            flags: 3,
            attempts: 5,
            age_ms: 61_000,
            priority: Priority::High,
            ttl_ms: None,
            due_ms: None,
            lease_ms: None,
            dead: Some(FoundDead {
                cause: DeadCause::Buried,
                first_ms: 1,
                last_ms: 2,
                reason: Bytes::from_static(b"no\nuse"),
            }),
            origin: Some((Bytes::from_static(b"jobs+a"), 6)),
            body: Bytes::from_static(b"\x1b[2J"),
        }
    }

    #[test]
    fn a_dead_letter_for_people() {
        let expected =
            "7  10 B  1m1s old  5 attempt(s)  high  buried: no\\nuse  from jobs+a  \\u{1b}[2J…";
        assert_eq!(line_of(&dead()), expected);
    }

    #[test]
    fn a_dead_letter_for_programs() {
        let expected = json!({
            "queue": "jobs", "id": 7, "state": "dead", "size": 10, "flags": 3, "attempts": 5,
            "age_ms": 61_000, "priority": "high", "origin": "jobs+a", "origin_id": 6,
            "cause": "buried", "first_ms": 1, "last_ms": 2, "reason": "no\nuse", "body": "\u{1b}[2J",
        });
        assert_eq!(object(&dead()), expected);
    }
}
