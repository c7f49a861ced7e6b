//! A table of the queues that is drawn again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::{Column, Top};
use crate::context::{Context, write_out};
use crate::error::Result;
use crate::show::{size, table};
use crate::stats::{QueueFigures, Stats};

const HEADS: [&str; 9] =
    ["queue", "ready", "delayed", "open", "dead", "waiters", "size", "in/s", "out/s"];
/// To the upper left corner, and everything below is gone. Nothing about the terminal is changed that would have to be undone.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// One queue between two looks.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: String,
    ready: u64,
    delayed: u64,
    open: u64,
    dead: u64,
    waiters: u64,
    bytes: u64,
    per_second_in: f64,
    per_second_out: f64,
}

pub(crate) fn top(context: &mut Context, top: &Top) -> Result<()> {
    let clears = io::stdout().is_terminal() && !context.json;
    let mut before: Option<(Stats, Instant)> = None;
    let mut tables = 0;
    loop {
        let stats = context.stats()?;
        let now = Instant::now();
        let since = before.as_ref().map(|(stats, at)| (stats, now.duration_since(*at)));
        let mut rows = rows(&stats, since, &top.queues);
        sort(&mut rows, top.sort);
        if clears {
            write_out(CLEAR, false)?;
        }
        draw(context, &rows)?;
        before = Some((stats, now));
        tables += 1;
        if top.count.is_some_and(|count| tables >= count) {
            return Ok(());
        }
        sleep(top.every);
    }
}

fn rows(stats: &Stats, before: Option<(&Stats, Duration)>, wanted: &[String]) -> Vec<Row> {
    let old: BTreeMap<&str, &QueueFigures> = before
        .iter()
        .flat_map(|(stats, _)| &stats.queues)
        .map(|queue| (&queue.name[..], queue))
        .collect();
    let seconds = before.map_or(0.0, |(_, since)| since.as_secs_f64());
    let is_wanted = |queue: &&QueueFigures| wanted.is_empty() || wanted.contains(&queue.name);
    let row = |queue: &QueueFigures| {
        let rate = |now: u64, before: Option<u64>| match before {
            Some(before) if seconds > 0.0 => now.saturating_sub(before) as f64 / seconds,
            _ => 0.0,
        };
        let old = old.get(&queue.name[..]).copied();
        Row {
            name: queue.name.clone(),
            ready: queue.number("items"),
            delayed: queue.number("delayed_items"),
            open: queue.number("open_transactions"),
            dead: queue.number("dead_items"),
            waiters: queue.number("waiters"),
            bytes: queue.number("bytes"),
            per_second_in: rate(
                queue.number("total_items"),
                old.map(|old| old.number("total_items")),
            ),
            per_second_out: rate(left(queue), old.map(left)),
        }
    };
    stats.queues.iter().filter(is_wanted).map(row).collect()
}

/// How many items have left a queue since the server started.
fn left(queue: &QueueFigures) -> u64 {
    let there = ["items", "delayed_items", "open_transactions", "dead_items"];
    let there: u64 = there.iter().map(|figure| queue.number(figure)).sum();
    queue.number("total_items").saturating_sub(there)
}

/// The largest first; names from a to z.
fn sort(rows: &mut [Row], by: Column) {
    let number = |row: &Row| match by {
        Column::Name => 0.0,
        Column::Ready => row.ready as f64,
        Column::Delayed => row.delayed as f64,
        Column::Open => row.open as f64,
        Column::Dead => row.dead as f64,
        Column::Waiters => row.waiters as f64,
        Column::Bytes => row.bytes as f64,
        Column::In => row.per_second_in,
        Column::Out => row.per_second_out,
    };
    rows.sort_by(|a, b| number(b).total_cmp(&number(a)).then_with(|| a.name.cmp(&b.name)));
}

fn draw(context: &Context, rows: &[Row]) -> Result<()> {
    if context.json {
        let queues = rows.iter().map(|row| {
            json!({
                "queue": row.name, "items": row.ready, "delayed_items": row.delayed,
                "open_transactions": row.open, "dead_items": row.dead, "waiters": row.waiters,
                "bytes": row.bytes, "in_per_second": row.per_second_in,
                "out_per_second": row.per_second_out,
            })
        });
        let queues: Vec<_> = queues.collect();
        return context.print(|| json!({ "queues": queues }), String::new);
    }
    let cells = |row: &Row| {
        vec![
            row.name.clone(),
            row.ready.to_string(),
            row.delayed.to_string(),
            row.open.to_string(),
            row.dead.to_string(),
            row.waiters.to_string(),
            size(row.bytes),
            format!("{:.1}", row.per_second_in),
            format!("{:.1}", row.per_second_out),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    write_out(table(&HEADS, &rows).as_bytes(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(total: u64, items: u64) -> Stats {
        let mut stats = Stats::default();
        stats.add("queue_q_items", &items.to_string());
        stats.add("queue_q_total_items", &total.to_string());
        stats.add("queue_a_items", "0");
        stats
    }

    #[test]
    fn rates_are_of_what_came_and_left_since_the_look_before() {
        let (before, now) = (stats(100, 10), stats(140, 20));
        let rows = rows(&now, Some((&before, Duration::from_secs(2))), &["q".to_owned()]);
        assert_eq!((rows[0].per_second_in, rows[0].per_second_out), (20.0, 15.0));
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn without_a_look_before_there_is_no_rate() {
        let rows = rows(&stats(100, 10), None, &[]);
        assert_eq!((rows[0].per_second_in, rows[1].per_second_out), (0.0, 0.0));
    }

    #[test]
    fn the_largest_comes_first_and_equals_by_name() {
        let mut found = rows(&stats(1, 5), None, &[]);
        sort(&mut found, Column::Ready);
        assert_eq!(found.iter().map(|row| &row.name[..]).collect::<Vec<_>>(), ["q", "a"]);
        sort(&mut found, Column::Name);
        assert_eq!(found.iter().map(|row| &row.name[..]).collect::<Vec<_>>(), ["a", "q"]);
    }
}
