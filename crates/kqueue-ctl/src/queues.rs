//! What is done to whole queues and to their dead letters: `browse`, `kick`, `purge`, `delete`, `pause`, `resume`.

use std::io::{self, BufRead, IsTerminal, Write};

use kqueue_proto::{Cursor, Found, ItemState, Name};
use serde_json::{Value, json};

use crate::address::Address;
use crate::cli::{Browse, Delete, Kick, Purge, State, What};
use crate::error::{Error, Result};
use crate::format::{Align, count, duration, excerpt, name_text, size, table, time};
use crate::output::{Output, cause_word, found_object, priority_word, state_word, whole_chars};
use crate::server::Server;

/// Items of one request.
const PAGE: u64 = 1000;
/// Bytes of bodies of one request, about: a page is kept in memory.
const PAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Characters of a body in a table.
const EXCERPT_CHARS: usize = 60;

pub(crate) fn browse(server: &mut Server, browse: &Browse, out: &mut Output) -> Result<()> {
    let state = match browse.state {
        State::Ready => ItemState::Ready,
        State::Delayed => ItemState::Delayed,
        State::Open => ItemState::Open,
        State::Dead => ItemState::Dead,
    };
    let page_max = (PAGE_BYTES / u64::from(browse.body).max(1)).clamp(1, PAGE);
    let mut left = if browse.max == 0 { u64::MAX } else { browse.max };
    let mut after = browse.after;
    let mut shown = 0;
    loop {
        let max = u32::try_from(left.min(page_max)).unwrap_or(1);
        let (items, next) = server.browse(&browse.queue, state, max, after, browse.body)?;
        show(state, &items, shown == 0, out)?;
        shown += items.len() as u64;
        left = left.saturating_sub(items.len() as u64);
        after = next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    out.flush()?;
    match (shown, after) {
        (0, None) => Err(Error::Nothing(format!(
            "no item of {} is {}",
            name_text(&browse.queue),
            state_word(state)
        ))),
        (_, Some(Cursor(first, second))) => {
            eprintln!("kqueuectl: there may be more: --after {first}.{second}");
            Ok(())
        }
        (_, None) => Ok(()),
    }
}

fn show(state: ItemState, items: &[Found], is_first: bool, out: &mut Output) -> Result<()> {
    if out.is_json() {
        for item in items {
            out.object(&Value::Object(found_object(item)))?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let columns = columns(state);
    let skipped = usize::from(!is_first || items.is_empty());
    for line in table(&columns, &rows).iter().skip(skipped) {
        out.line(line)?;
    }
    Ok(())
}

/// The column that the state is about has its name.
fn columns(state: ItemState) -> [(&'static str, Align); 7] {
    let about = match state {
        ItemState::Ready => "EXPIRES IN",
        ItemState::Delayed => "READY IN",
        ItemState::Open => "LEASE ENDS IN",
        ItemState::Dead => "DIED",
    };
    [
        ("ID", Align::Right),
        ("AGE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("PRIORITY", Align::Left),
        ("SIZE", Align::Right),
        (about, Align::Left),
        ("BODY", Align::Left),
    ]
}

fn row(item: &Found) -> Vec<String> {
    vec![
        item.id.to_string(),
        duration(item.age_ms),
        item.attempts.to_string(),
        priority_word(item.priority).to_owned(),
        size(item.size),
        about(item),
        excerpt(whole_chars(&item.body), item.size, EXCERPT_CHARS),
    ]
}

/// What its state is about, and where it comes from if it is a dead letter or expired and went to another queue.
fn about(item: &Found) -> String {
    let until = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), duration);
    let mut text = match (&item.dead, item.state) {
        (Some(dead), _) => {
            let cause = format!("{} ({}", time(dead.last_ms), cause_word(dead.cause));
            match dead.reason.is_empty() {
                true => cause + ")",
                false => format!("{cause}: {})", name_text(&dead.reason)),
            }
        }
        (None, ItemState::Ready | ItemState::Dead) => until(item.ttl_ms),
        (None, ItemState::Delayed) => until(item.due_ms),
        (None, ItemState::Open) => until(item.lease_ms),
    };
    if let Some((queue, id)) = item.origin.as_ref().filter(|(queue, _)| *queue != item.key) {
        text += &format!(", was {id} of {}", name_text(queue));
    }
    text
}

pub(crate) fn kick(server: &mut Server, kick: &Kick, out: &mut Output) -> Result<()> {
    let queue = name_text(&kick.queue);
    let which = match (kick.which.max, kick.which.id) {
        (Some(max), _) => kqueue_proto::Kick::Some(max),
        (None, Some(id)) => kqueue_proto::Kick::Id(id),
        (None, None) => kqueue_proto::Kick::All,
    };
    let Some(kicked) = server.kick(&kick.queue, which)? else {
        return Err(Error::Nothing(format!(
            "no dead letter of {queue} has this id; `kqueuectl browse {queue} dead` shows them"
        )));
    };
    out.say(
        &format!("{} of {queue} can be taken again", count(kicked, "dead letter", "dead letters")),
        json!({ "queue": queue, "kicked": kicked }),
    )
}

pub(crate) fn purge(
    connect: impl FnOnce() -> Result<Server>,
    purge: &Purge,
    address: &Address,
    out: &mut Output,
) -> Result<()> {
    let queue = name_text(&purge.queue);
    let (what, words) = match purge.what {
        What::Ready => (kqueue_proto::Purge::Ready, "all ready items"),
        What::Delayed => (kqueue_proto::Purge::Delayed, "all delayed items"),
        What::Dead => (kqueue_proto::Purge::Dead, "all dead letters"),
        What::All => (
            kqueue_proto::Purge::All,
            "all items, delayed ones and dead letters, but for open ones",
        ),
    };
    confirmed(purge.yes, &format!("Remove {words} of {queue} on {address}, for good?"))?;
    let purged = connect()?.purge(&purge.queue, what)?;
    out.say(
        &format!("{} of {queue} removed", count(purged, "item", "items")),
        json!({ "queue": queue, "purged": purged }),
    )
}

pub(crate) fn delete(
    connect: impl FnOnce() -> Result<Server>,
    delete: &Delete,
    address: &Address,
    out: &mut Output,
) -> Result<()> {
    let queue = name_text(&delete.queue);
    let question = format!("Delete {queue} on {address} with everything in it, for good?");
    confirmed(delete.yes, &question)?;
    connect()?.delete(&delete.queue)?;
    out.say(&format!("{queue} is deleted"), json!({ "queue": queue, "deleted": true }))
}

/// Asks somebody who sits before a terminal; a script means what it says.
fn confirmed(is_confirmed: bool, question: &str) -> Result<()> {
    let stdin = io::stdin();
    if is_confirmed || !stdin.is_terminal() {
        return Ok(());
    }
    let mut stderr = io::stderr();
    // If nobody can be asked, nobody says yes.
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let _ = stdin.lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Failed("nothing was done".to_owned())),
    }
}

pub(crate) fn pause(server: &mut Server, queue: &Name, out: &mut Output) -> Result<()> {
    server.pause(queue)?;
    let queue = name_text(queue);
    out.say(
        &format!("{queue} hands nothing out until `kqueuectl resume {queue}`"),
        json!({ "queue": queue, "paused": true }),
    )
}

pub(crate) fn resume(server: &mut Server, queue: &Name, out: &mut Output) -> Result<()> {
    server.resume(queue)?;
    let queue = name_text(queue);
    out.say(&format!("{queue} hands out items again"), json!({ "queue": queue, "paused": false }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_proto::{DeadCause, FoundDead, Priority};

    use super::*;

    fn found(state: ItemState) -> Found {
        Found {
            key: Bytes::from_static(b"jobs"),
            id: 7,
            state,
            size: 1536,
            flags: 0,
            attempts: 2,
            age_ms: 61_000,
            priority: Priority::High,
            ttl_ms: Some(5000),
            due_ms: Some(6000),
            lease_ms: None,
            dead: None,
            origin: None,
            body: Bytes::from_static(b"line\nline"),
        }
    }

    #[test]
    fn a_row_tells_what_its_state_is_about() {
        assert_eq!(
            row(&found(ItemState::Ready)),
            ["7", "1m 1s", "2", "high", "1.5 KiB", "5s", "line\\nline…"]
        );
        assert_eq!(row(&found(ItemState::Delayed))[5], "6s");
        assert_eq!(row(&found(ItemState::Open))[5], "-");
    }

    #[test]
    fn a_dead_letter_says_why_and_where_from() {
        let mut item = found(ItemState::Ready);
        item.dead = Some(FoundDead {
            cause: DeadCause::Buried,
            first_ms: 0,
            last_ms: 1_700_000_000_000,
            reason: Bytes::from_static(b"no\x1b"),
        });
        item.origin = Some((Bytes::from_static(b"mails"), 3));
        let expected = "2023-11-14T22:13:20Z (buried: no\\u{1b}), was 3 of mails";
        assert_eq!(about(&item), expected);
        item.state = ItemState::Dead;
        item.origin = Some((item.key.clone(), 7));
        item.dead.as_mut().expect("it is dead").reason = Bytes::new();
        assert_eq!(about(&item), "2023-11-14T22:13:20Z (buried)");
        // One that expired, in the queue for those.
        let item = Found { dead: None, state: ItemState::Ready, ..item };
        let item = Found { origin: Some((Bytes::from_static(b"mails"), 3)), ..item };
        assert_eq!(about(&item), "5s, was 3 of mails");
    }
}
