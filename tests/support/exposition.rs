//! A strict reader of Prometheus's text format (version 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

/// A metric with all its series.
#[derive(Clone, Debug)]
pub struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Name, labels, value.
    pub samples: Vec<Sample>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name; of a histogram with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// Its labels, in order.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// Reads everything, by metric.
///
/// # Panics
/// If anything is not as the format, or the custom of Prometheus, wants it.
pub fn parse(text: &str) -> BTreeMap<String, Metric> {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut help: Option<&str> = None;
    let mut current: Option<&str> = None;
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("a name and a text");
            assert!(!text.is_empty(), "{line}");
            help = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(help.take(), Some(name), "the help is right before: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(is_name(name), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            let metric = Metric { kind: kind.to_owned(), samples: Vec::new() };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "twice: {line}");
            current = Some(name);
        } else {
            let name = current.unwrap_or_else(|| panic!("no type before {line}"));
            let sample = sample(line);
            assert!(seen.insert(line.rsplit_once(' ').expect("a value").0), "twice: {line}");
            let metric = metrics.get_mut(name).expect("it was just made");
            let suffixes: &[&str] = match metric.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let suffix = sample.name.strip_prefix(name);
            assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line}");
            assert!(metric.kind == "gauge" || sample.value >= 0.0, "{line}");
            metric.samples.push(sample);
        }
    }
    metrics.values().filter(|metric| metric.kind == "histogram").for_each(check_histogram);
    metrics
}

fn is_name(name: &str) -> bool {
    let is_begin = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_begin) && name.chars().all(|c| is_begin(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let name = &line[..end];
    assert!(is_name(name), "{line}");
    let mut rest = &line[end..];
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let (value, behind) = quoted(behind, line);
            labels.push((label.to_owned(), value));
            match behind.strip_prefix(',') {
                Some(behind) => rest = behind,
                None => {
                    rest = behind.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// A value up to its closing quote, and what is behind that.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                _ => panic!("a wrong escape: {line}"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote: {line}");
}

/// Its classes add up.
fn check_histogram(metric: &Metric) {
    let mut groups: BTreeMap<Vec<(String, String)>, Vec<&Sample>> = BTreeMap::new();
    for sample in &metric.samples {
        let labels = sample.labels.iter().filter(|(name, _)| name != "le").cloned().collect();
        groups.entry(labels).or_default().push(sample);
    }
    for samples in groups.values() {
        let [buckets @ .., sum, count] = &samples[..] else { panic!("{samples:?}") };
        assert!(sum.name.ends_with("_sum") && count.name.ends_with("_count"), "{samples:?}");
        let bounds = buckets.iter().map(|sample| {
            assert!(sample.name.ends_with("_bucket"), "{sample:?}");
            let (_, bound) = sample.labels.last().expect("le is a label");
            bound.parse::<f64>().expect("a bound is a number")
        });
        let bounds: Vec<f64> = bounds.collect();
        assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        assert_eq!(bounds.last(), Some(&f64::INFINITY));
        assert!(buckets.is_sorted_by(|a, b| a.value <= b.value), "{buckets:?}");
        assert_eq!(buckets.last().map(|bucket| bucket.value), Some(count.value));
    }
}
