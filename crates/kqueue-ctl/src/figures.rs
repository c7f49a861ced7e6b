//! `stats`: the figures of queues and of the server.
//!
//! The server's names are those of docs/operating.md; a name that this program does not know is shown all the same.

use serde_json::{Map, Value};

use crate::cli::Stats;
use crate::error::{Error, Result};
use crate::format::{Align, duration, name_text, size, table};
use crate::output::Output;
use crate::server::{Figures, Server};

/// What most want to know of a queue. A figure that an older server does not have is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    pub(crate) delayed: u64,
    pub(crate) open: u64,
    pub(crate) dead: u64,
    pub(crate) waiters: u64,
    pub(crate) bytes: u64,
    pub(crate) age_ms: u64,
    pub(crate) total: u64,
    pub(crate) is_paused: bool,
}

impl Counts {
    /// `None`: it is an alias, or there is no such queue.
    pub(crate) fn of(figures: &Figures) -> Option<Self> {
        let figure = |wanted: &str| {
            let found = figures.iter().find(|(name, _)| name == wanted);
            found.and_then(|(_, value)| value.parse().ok())
        };
        let or_none = |name: &str| figure(name).unwrap_or(0);
        Some(Self {
            ready: figure("items")?,
            delayed: or_none("delayed_items"),
            open: or_none("open_transactions"),
            dead: or_none("dead_items"),
            waiters: or_none("waiters"),
            bytes: or_none("bytes"),
            age_ms: or_none("age"),
            total: or_none("total_items"),
            is_paused: or_none("paused") > 0,
        })
    }

    /// Items that have been here and are not any more.
    pub(crate) fn gone(&self) -> u64 {
        let here = [self.ready, self.delayed, self.open, self.dead];
        here.into_iter().fold(self.total, u64::saturating_sub)
    }
}

pub(crate) fn stats(server: &mut Server, stats: &Stats, out: &mut Output) -> Result<()> {
    if stats.totals {
        let figures = server.totals()?;
        return match out.is_json() {
            true => out.object(&Value::Object(figures_object(&figures))),
            false => print_lines(&figures_lines(&figures), out),
        };
    }
    let queues = server.queues(&stats.queues)?;
    if let Some((name, _)) = queues.iter().find(|(_, figures)| figures.is_empty()) {
        return Err(Error::Nothing(format!(
            "there is no queue {name} on {}; `kqueuectl stats` lists those that are there",
            server.name()
        )));
    }
    if out.is_json() {
        for (name, figures) in &queues {
            let mut object = Map::new();
            object.insert("queue".to_owned(), name.as_str().into());
            object.extend(figures_object(figures));
            out.object(&Value::Object(object))?;
        }
        return Ok(());
    }
    match stats.all {
        true => print_all(&queues, out),
        false => print_lines(&overview(queues), out),
    }
}

fn print_lines(lines: &[String], out: &mut Output) -> Result<()> {
    lines.iter().try_for_each(|line| out.line(line))
}

fn print_all(queues: &[(String, Figures)], out: &mut Output) -> Result<()> {
    for (index, (name, figures)) in queues.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        out.line(name)?;
        for line in figures_lines(figures) {
            out.line(&format!("  {line}"))?;
        }
    }
    Ok(())
}

/// A line per queue, by name.
fn overview(mut queues: Vec<(String, Figures)>) -> Vec<String> {
    queues.sort_by(|(left, _), (right, _)| left.cmp(right));
    let columns = [
        ("QUEUE", Align::Left),
        ("READY", Align::Right),
        ("DELAYED", Align::Right),
        ("OPEN", Align::Right),
        ("DEAD", Align::Right),
        ("WAITERS", Align::Right),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("", Align::Left),
    ];
    let row = |(name, figures): (String, Figures)| match Counts::of(&figures) {
        Some(counts) => vec![
            name,
            counts.ready.to_string(),
            counts.delayed.to_string(),
            counts.open.to_string(),
            counts.dead.to_string(),
            counts.waiters.to_string(),
            size(counts.bytes),
            duration(counts.age_ms),
            if counts.is_paused { "paused".to_owned() } else { String::new() },
        ],
        None => {
            let children = figures.iter().find(|(name, _)| name == "children");
            let children = children.map_or("", |(_, value)| value);
            let mut row = vec![name];
            row.resize(columns.len() - 1, "-".to_owned());
            row.push(format!("alias of {children}"));
            row
        }
    };
    table(&columns, &queues.into_iter().map(row).collect::<Vec<_>>())
}

fn figures_lines(figures: &Figures) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        figures.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    let columns = [("", Align::Left), ("", Align::Right)];
    table(&columns, &rows).split_off(1)
}

/// Numbers as numbers, everything else as text.
fn figures_object(figures: &Figures) -> Map<String, Value> {
    let value = |text: &str| {
        if let Ok(number) = text.parse::<u64>() {
            return number.into();
        }
        match text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) if !text.contains(|c: char| c.is_alphabetic()) => number.into(),
            _ => text.into(),
        }
    };
    figures.iter().map(|(name, text)| (name_text(name.as_bytes()), value(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, &str)]) -> Figures {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_not_here_any_more_is_gone() {
        let counts = Counts::of(&figures(&[
            ("items", "3"),
            ("open_transactions", "2"),
            ("delayed_items", "1"),
            ("dead_items", "4"),
            ("total_items", "15"),
            ("paused", "1"),
        ]));
        let counts = counts.expect("a queue");
        assert_eq!((counts.gone(), counts.is_paused), (5, true));
        // A restart begins to count anew.
        assert_eq!(Counts { total: 0, ..counts }.gone(), 0);
        assert_eq!(Counts::of(&figures(&[("put_items", "3")])), None);
    }

    #[test]
    fn an_overview_is_sorted_and_tells_aliases_and_pauses() {
        let queue = |name: &str, pairs: &[(&str, &str)]| (name.to_owned(), figures(pairs));
        let lines = overview(vec![
            queue("mails", &[("items", "12"), ("bytes", "2048"), ("age", "1500"), ("paused", "1")]),
            queue("all", &[("put_items", "1"), ("children", "a,b")]),
            queue("jobs", &[("items", "0")]),
        ]);
        assert_eq!(
            lines,
            [
                "QUEUE  READY  DELAYED  OPEN  DEAD  WAITERS     SIZE  AGE",
                "all        -        -     -     -        -        -    -  alias of a,b",
                "jobs       0        0     0     0        0      0 B  0ms",
                "mails     12        0     0     0        0  2.0 KiB   1s  paused",
            ]
        );
    }

    #[test]
    fn numbers_are_numbers_and_versions_are_text() {
        let object = figures_object(&figures(&[
            ("items", "18446744073709551615"),
            ("clock_ahead_ms", "-5"),
            ("reserved_memory_ratio", "0.500"),
            ("version", "1.0.0"),
            ("children", "inf"),
            ("name", ""),
        ]));
        assert_eq!(
            Value::Object(object).to_string(),
            r#"{"items":18446744073709551615,"clock_ahead_ms":-5.0,"reserved_memory_ratio":0.5,"version":"1.0.0","children":"inf","name":""}"#
        );
    }
}
