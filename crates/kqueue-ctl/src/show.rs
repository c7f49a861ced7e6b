//! How things are shown: text for people, JSON for programs. Pure.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// `body` if it is text, else `body_base64`.
pub(crate) fn put_body(object: &mut Map<String, Value>, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok(text) => object.insert("body".to_owned(), text.into()),
        Err(_) => object.insert("body_base64".to_owned(), STANDARD.encode(body).into()),
    };
}

/// A queue's name, or whatever else is bytes: as text, with what is none replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text on one line that cannot do anything to a terminal.
pub(crate) fn on_one_line(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() => _ = write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown
}

/// Milliseconds in the two largest units.
pub(crate) fn time(ms: u64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    if ms == 0 {
        return "0s".to_owned();
    }
    let first = UNITS.iter().position(|(_, unit)| ms >= *unit).unwrap_or(4);
    let mut left = ms;
    let mut shown = String::new();
    for (name, unit) in UNITS.iter().skip(first).take(2) {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            _ = write!(shown, "{count}{name}");
        }
    }
    shown
}

/// Bytes in the largest unit that leaves at least one.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// A table: the first column is text, the others are numbers.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut shown = String::new();
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            match column {
                0 => _ = write!(line, "{cell}{pad}"),
                _ => _ = write!(line, "  {pad}{cell}"),
            }
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

/// A number where it is one.
pub(crate) fn value(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        let shown = [0, 7, 1000, 61_500, 3_600_000, 90_061_000].map(time);
        assert_eq!(shown, ["0s", "7ms", "1s", "1m1s", "1h", "1d1h"]);
    }

    #[test]
    fn sizes_have_one_digit() {
        assert_eq!([0, 1023, 1024, 1_572_864].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB"]);
    }

    #[test]
    fn a_body_cannot_do_anything_to_a_terminal() {
        assert_eq!(on_one_line(b"a\x1b[2Jb\nc\xff"), "a\\u{1b}[2Jb\\nc\u{fffd}");
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "1".to_owned()]];
        assert_eq!(table(&["q", "n"], &rows), "q      n\na     10\nlong   1\n");
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let mut object = Map::new();
        put_body(&mut object, b"\xff\x00");
        assert_eq!(Value::Object(object), json!({ "body_base64": "/wA=" }));
    }
}
