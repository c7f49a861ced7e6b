//! Numbers, times and bytes as people read them. Pure.

use std::time::{Duration, UNIX_EPOCH};

/// Text of bytes: what is not UTF-8 is replaced, what would move a terminal's cursor is escaped.
pub(crate) fn name_text(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => out.extend(char.escape_default()),
            false => out.push(char),
        }
    }
    out
}

/// The beginning of a body on one line; `size` is how long the whole of it is.
pub(crate) fn excerpt(body: &[u8], size: u64, chars_max: usize) -> String {
    let text = name_text(body);
    let is_whole = size == body.len() as u64;
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None if !is_whole => format!("{text}…"),
        None => text,
    }
}

/// `1.5 KiB`
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // What would be shown as 1024 is 1 of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `250ms`, `1m 5s`, `2h 3m`: the two largest units.
pub(crate) fn duration(ms: u64) -> String {
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let text = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Unix time in milliseconds as `2026-01-31T12:00:00Z`.
pub(crate) fn time(unix_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)) {
        // Years beyond 9999 have no such form.
        Some(time) if unix_ms < 253_402_300_800_000 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => format!("{unix_ms} ms"),
    }
}

/// `1 item`, `2 items`
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `12.5`, or `0` for nothing at all.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate.abs() < 0.05 => "0".to_owned(),
        rate if rate.abs() < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Columns as wide as the widest cell, two spaces between them, no space at the end of a line.
pub(crate) fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let heading: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let width = |index: usize| {
        let cells = std::iter::once(&heading).chain(rows).filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells =
            row.iter().zip(columns).zip(&widths).map(|((cell, (_, align)), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&heading).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_their_unit_where_they_would_need_four_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (65_999, "1m 5s"),
            (7_384_000, "2h 3m"),
            (90_061_000, "1day 1h"),
        ] {
            assert_eq!(duration(ms), expected, "{ms}");
        }
    }

    #[test]
    fn times_are_dates_as_long_as_there_are_dates() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(time(u64::MAX), "18446744073709551615 ms");
    }

    #[test]
    fn nothing_in_a_name_or_a_body_moves_the_cursor() {
        assert_eq!(name_text(b"a\x1b[2Jb\r\n\tc\x7f"), "a\\u{1b}[2Jb\\r\\n\\tc\\u{7f}");
        assert_eq!(name_text(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(name_text("\u{9b}2J".as_bytes()), "\\u{9b}2J");
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        assert_eq!(excerpt(b"hello", 5, 10), "hello");
        assert_eq!(excerpt(b"hello", 6, 10), "hello…");
        assert_eq!(excerpt(b"hello", 5, 4), "hell…");
        assert_eq!(excerpt("äöü".as_bytes(), 6, 3), "äöü");
    }

    #[test]
    fn rates_have_as_many_digits_as_mean_something() {
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.04), "0");
        assert_eq!(rate(0.5), "0.5");
        assert_eq!(rate(99.96), "100.0");
        assert_eq!(rate(1234.5), "1234");
    }

    #[test]
    fn a_table_lines_up_and_has_no_spaces_at_the_end() {
        let columns = [("QUEUE", Align::Left), ("READY", Align::Right), ("", Align::Left)];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["jobs", "5", "paused"]), row(["größe-xl", "123456", ""])];
        assert_eq!(
            table(&columns, &rows),
            ["QUEUE      READY", "jobs           5  paused", "größe-xl  123456"]
        );
        assert_eq!(table(&columns, &[]), ["QUEUE  READY"]);
    }

    #[test]
    fn one_is_one() {
        assert_eq!(count(1, "item", "items"), "1 item");
        assert_eq!(count(0, "item", "items"), "0 items");
    }
}
