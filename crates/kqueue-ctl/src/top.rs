//! `top`: the queues as a table that is drawn again and again.
//!
//! Invariant: on a terminal it draws on the other screen, and however it ends but by SIGKILL, the first one is there again, as it was.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{Column, Top};
use crate::error::{Error, Result};
use crate::figures::Counts;
use crate::format::{Align, count, rate, size, table};
use crate::output::Output;
use crate::server::Server;

const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const FIRST_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// So long after a signal it has ended, unless it waits for the server.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the server said at one time.
struct Snapshot {
    at: Instant,
    queues: Vec<(String, Counts)>,
}

/// A line of the table; the rates are known from the second look on.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    queue: String,
    counts: Counts,
    rates: Option<(f64, f64)>,
}

/// Draws on the other screen of a terminal, and goes back when it is dropped.
struct Screen;

impl Screen {
    fn open() -> Result<Self> {
        let mut stdout = io::stdout();
        write!(stdout, "{OTHER_SCREEN}")?;
        stdout.flush()?;
        Ok(Self)
    }

    fn draw(&self, lines: &[String]) -> Result<()> {
        let (rows, columns) = terminal_size();
        let mut text = HOME.to_owned();
        for (index, line) in lines.iter().take(rows).enumerate() {
            text += if index > 0 { "\r\n" } else { "" };
            text.extend(line.chars().take(columns));
            text += CLEAR_LINE;
        }
        text += CLEAR_BELOW;
        let mut stdout = io::stdout();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut stdout = io::stdout();
        // The terminal may be gone.
        let _ = write!(stdout, "{FIRST_SCREEN}");
        let _ = stdout.flush();
    }
}

/// Rows and columns.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}

pub(crate) fn top(server: &mut Server, top: &Top, out: &mut Output) -> Result<()> {
    let count = if top.once { Some(1) } else { top.count };
    let is_drawn = count.is_none() && !out.is_json() && io::stdout().is_terminal();
    let (signals, screen) = match is_drawn {
        true => (Some(signals()?), Some(Screen::open()?)),
        false => (None, None),
    };
    let mut before = None;
    for number in 1_u64.. {
        let now = look(server, top)?;
        let rows = rows(before.as_ref(), &now, top.sort);
        match &screen {
            Some(screen) => screen.draw(&drawn(server.name(), top, &rows))?,
            None => print(&rows, number == 1, out)?,
        }
        before = Some(now);
        if count == Some(number) {
            break;
        }
        match &signals {
            // Somebody wants it to end.
            Some(signals) if signals.recv_timeout(top.every).is_ok() => break,
            Some(_) => {}
            None => thread::sleep(top.every),
        }
    }
    Ok(())
}

/// Brings what ends it; one that is not waited for stays in the channel. Who waits for a server that is silent does not see it, so that the program is ended here then.
fn signals() -> Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Error::Failed(format!("cannot wait for signals: {error}")))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Nobody receives it where it has ended by itself.
            let _ = sender.send(signal);
            thread::sleep(PATIENCE);
            drop(Screen);
            std::process::exit(0);
        }
    });
    Ok(receiver)
}

fn look(server: &mut Server, top: &Top) -> Result<Snapshot> {
    let queues = server.queues(&top.queues)?;
    let queues = queues
        .into_iter()
        .filter_map(|(name, figures)| Counts::of(&figures).map(|counts| (name, counts)))
        .collect();
    Ok(Snapshot { at: Instant::now(), queues })
}

/// Every queue with what happened since the look before, the largest of the column first.
fn rows(before: Option<&Snapshot>, now: &Snapshot, sort: Column) -> Vec<Row> {
    let known: std::collections::HashMap<&str, &Counts> =
        before.iter().flat_map(|before| &before.queues).map(|(name, c)| (&name[..], c)).collect();
    let seconds = before.map(|before| now.at.duration_since(before.at).as_secs_f64().max(0.001));
    let none = Counts::default();
    let row = |(name, counts): &(String, Counts)| {
        // A queue that was not there is new; its counters may have begun with what was found at the start.
        let earlier = known.get(&name[..]).copied().unwrap_or(&none);
        let rates = seconds.map(|seconds| {
            let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            (per_second(counts.total, earlier.total), per_second(counts.gone(), earlier.gone()))
        });
        Row { queue: name.clone(), counts: counts.clone(), rates }
    };
    let mut rows: Vec<Row> = now.queues.iter().map(row).collect();
    rows.sort_by(|left, right| {
        let by_number = match sort {
            Column::Name => std::cmp::Ordering::Equal,
            column => key(right, column).total_cmp(&key(left, column)),
        };
        by_number.then_with(|| left.queue.cmp(&right.queue))
    });
    rows
}

fn key(row: &Row, column: Column) -> f64 {
    let counts = &row.counts;
    let number = match column {
        Column::Name => 0,
        Column::Ready => counts.ready,
        Column::Delayed => counts.delayed,
        Column::Open => counts.open,
        Column::Dead => counts.dead,
        Column::Waiters => counts.waiters,
        Column::Bytes => counts.bytes,
        Column::In => return row.rates.map_or(counts.total as f64, |(rate, _)| rate),
        Column::Out => return row.rates.map_or(counts.gone() as f64, |(_, rate)| rate),
    };
    number as f64
}

fn lines(rows: &[Row]) -> Vec<String> {
    let columns = [
        ("QUEUE", Align::Left),
        ("READY", Align::Right),
        ("DELAYED", Align::Right),
        ("OPEN", Align::Right),
        ("DEAD", Align::Right),
        ("WAITERS", Align::Right),
        ("SIZE", Align::Right),
        ("IN/S", Align::Right),
        ("OUT/S", Align::Right),
        ("", Align::Left),
    ];
    let row = |row: &Row| {
        let shown = |rate_of: fn((f64, f64)) -> f64| match row.rates {
            Some(rates) => rate(rate_of(rates)),
            None => "-".to_owned(),
        };
        let counts = &row.counts;
        vec![
            row.queue.clone(),
            counts.ready.to_string(),
            counts.delayed.to_string(),
            counts.open.to_string(),
            counts.dead.to_string(),
            counts.waiters.to_string(),
            size(counts.bytes),
            shown(|(rate, _)| rate),
            shown(|(_, rate)| rate),
            if counts.is_paused { "paused".to_owned() } else { String::new() },
        ]
    };
    table(&columns, &rows.iter().map(row).collect::<Vec<_>>())
}

/// The table under a line that says what it is of.
fn drawn(server: &str, top: &Top, rows: &[Row]) -> Vec<String> {
    let every = humantime::format_duration(top.every);
    let queues = count(rows.len() as u64, "queue", "queues");
    let mut text =
        vec![format!("{server}: {queues}, every {every}; ctrl-c ends it"), String::new()];
    text.extend(lines(rows));
    text
}

fn print(rows: &[Row], is_first: bool, out: &mut Output) -> Result<()> {
    if out.is_json() {
        for row in rows {
            let counts = &row.counts;
            out.object(&json!({
                "queue": row.queue,
                "ready": counts.ready,
                "delayed": counts.delayed,
                "open": counts.open,
                "dead": counts.dead,
                "waiters": counts.waiters,
                "bytes": counts.bytes,
                "paused": counts.is_paused,
                "in_per_second": row.rates.map(|(rate, _)| rate),
                "out_per_second": row.rates.map(|(_, rate)| rate),
            }))?;
        }
    } else {
        if !is_first {
            out.line("")?;
        }
        lines(rows).iter().try_for_each(|line| out.line(line))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ready: u64, total: u64) -> Counts {
        Counts { ready, total, ..Counts::default() }
    }

    fn snapshot(at: Instant, queues: &[(&str, Counts)]) -> Snapshot {
        let queues = queues.iter().map(|(name, counts)| ((*name).to_owned(), counts.clone()));
        Snapshot { at, queues: queues.collect() }
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| &row.queue[..]).collect()
    }

    #[test]
    fn rates_are_what_changed_between_two_looks() {
        let at = Instant::now();
        let first = snapshot(at, &[("a", counts(5, 10)), ("b", counts(0, 100))]);
        assert_eq!(rows(None, &first, Column::Name)[0].rates, None);
        let later = at + Duration::from_secs(2);
        let second =
            snapshot(later, &[("a", counts(4, 30)), ("b", counts(0, 3)), ("c", counts(8, 8))]);
        let rows = rows(Some(&first), &second, Column::Name);
        assert_eq!(names(&rows), ["a", "b", "c"]);
        // 20 came, and 21 of them and of the 5 went; b was restarted; c is new.
        assert_eq!(rows[0].rates, Some((10.0, 10.5)));
        assert_eq!(rows[1].rates, Some((0.0, 0.0)));
        assert_eq!(rows[2].rates, Some((4.0, 0.0)));
    }

    #[test]
    fn the_largest_comes_first_and_names_decide_between_equals() {
        let now = snapshot(
            Instant::now(),
            &[("b", counts(1, 9)), ("a", counts(1, 1)), ("c", counts(2, 2))],
        );
        assert_eq!(names(&rows(None, &now, Column::Ready)), ["c", "a", "b"]);
        assert_eq!(names(&rows(None, &now, Column::In)), ["b", "c", "a"]);
        assert_eq!(names(&rows(None, &now, Column::Out)), ["b", "a", "c"]);
        assert_eq!(names(&rows(None, &now, Column::Name)), ["a", "b", "c"]);
    }

    #[test]
    fn before_the_second_look_there_are_no_rates() {
        let now = snapshot(Instant::now(), &[("jobs", counts(3, 3))]);
        assert_eq!(
            lines(&rows(None, &now, Column::Ready)),
            [
                "QUEUE  READY  DELAYED  OPEN  DEAD  WAITERS  SIZE  IN/S  OUT/S",
                "jobs       3        0     0     0        0   0 B     -      -",
            ]
        );
    }
}
