//! Whole queues: purge, delete, pause, statistics.

use std::io::{self, IsTerminal, Write};

use kqueue_proto::Purge;
use kqueue_proto::client::{self, Reply};
use serde_json::{Map, Value, json};

use crate::cli::What;
use crate::context::{Context, queue_name, write_out};
use crate::error::{Error, Result};
use crate::show::{size, table, time, value};
use crate::stats::QueueFigures;

pub(crate) fn purge(context: &mut Context, queue: &str, what: What, yes: bool) -> Result<()> {
    let name = queue_name(queue)?;
    let what = match what {
        What::Ready => Purge::Ready,
        What::Delayed => Purge::Delayed,
        What::Dead => Purge::Dead,
        What::All => Purge::All,
    };
    let word = String::from_utf8_lossy(what.word()).into_owned();
    ask(yes, &format!("Remove {word} items of {queue} for good?"))?;
    let mut line = Vec::new();
    client::purge(&mut line, name.by_ref(), what);
    let count = context.count(&line)?.unwrap_or(0);
    context.print(|| json!({ "purged": count }), || format!("{count} item(s) removed"))
}

pub(crate) fn delete(context: &mut Context, queue: &str, yes: bool) -> Result<()> {
    let name = queue_name(queue)?;
    ask(yes, &format!("Delete {queue} with everything in it for good?"))?;
    let mut line = Vec::new();
    client::delete(&mut line, name.by_ref());
    context.expect(&line, None, &Reply::Deleted)?;
    context.print(|| json!({ "deleted": queue }), || format!("{queue} is deleted"))
}

/// Who runs it from a script has thought about it.
fn ask(yes: bool, question: &str) -> Result<()> {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::Here("nothing was done".to_owned())),
    }
}

pub(crate) fn pause(context: &mut Context, queue: &str, is_paused: bool) -> Result<()> {
    let name = queue_name(queue)?;
    let mut line = Vec::new();
    match is_paused {
        true => client::pause(&mut line, name.by_ref()),
        false => client::resume(&mut line, name.by_ref()),
    }
    context.expect(&line, None, &Reply::Ok)?;
    let state = if is_paused { "paused" } else { "resumed" };
    context
        .print(|| json!({ "queue": queue, "paused": is_paused }), || format!("{queue} is {state}"))
}

pub(crate) fn stats(
    context: &mut Context,
    queues: &[String],
    totals: bool,
    all: bool,
) -> Result<()> {
    let stats = context.stats()?;
    if totals {
        let object = || {
            let pairs = stats.totals.iter().map(|(name, text)| (name.clone(), value(text)));
            Value::Object(pairs.collect())
        };
        let lines = || {
            let lines = stats.totals.iter().map(|(name, text)| format!("{name} {text}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        return context.print(object, lines);
    }
    let mut shown: Vec<&QueueFigures> = Vec::new();
    for queue in queues {
        let found = stats.queue(queue);
        shown.push(found.ok_or_else(|| Error::Nothing(format!("there is no queue {queue}")))?);
    }
    if queues.is_empty() {
        shown.extend(&stats.queues);
    }
    if context.json {
        return shown.iter().try_for_each(|queue| context.print(|| object(queue), String::new));
    }
    if all {
        for queue in shown {
            let lines =
                queue.figures.iter().map(|(name, text)| format!("{} {name} {text}\n", queue.name));
            write_out(lines.collect::<String>().as_bytes(), false)?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = shown.iter().map(|queue| row(queue)).collect();
    write_out(table(&HEADS, &rows).as_bytes(), false)
}

const HEADS: [&str; 8] = ["queue", "ready", "delayed", "open", "dead", "waiters", "size", "age"];

fn row(queue: &QueueFigures) -> Vec<String> {
    let number = |figure: &str| queue.number(figure).to_string();
    let paused = if queue.number("paused") > 0 { " (paused)" } else { "" };
    vec![
        format!("{}{paused}", queue.name),
        number("items"),
        number("delayed_items"),
        number("open_transactions"),
        number("dead_items"),
        number("waiters"),
        size(queue.number("bytes")),
        time(queue.number("age")),
    ]
}

fn object(queue: &QueueFigures) -> Value {
    let mut object = Map::new();
    object.insert("queue".to_owned(), queue.name.clone().into());
    for (name, text) in &queue.figures {
        object.insert(name.clone(), value(text));
    }
    Value::Object(object)
}
