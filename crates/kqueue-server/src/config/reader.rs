//! Reading TOML by key, with the line of everything that is wrong.
//!
//! Invariants: a key is either asked for or an error ([`Table::finish`]); of every key that was read it is known where it stands ([`Places`]), so that what
//! shows only when everything is known can be told with its line, too.
//! Must not: know which keys there are.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a configuration file, in one line: file, line, key, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    line: Option<usize>,
    message: String,
}

impl ConfigError {
    pub(crate) fn file(path: &Path, message: String) -> Self {
        Self { path: path.to_path_buf(), line: None, message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.message),
            None => write!(f, "{}: {}", self.path.display(), self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// An error that knows its place in the text, but not yet the file.
#[derive(Debug)]
pub(crate) struct Error {
    span: Range<usize>,
    message: String,
    /// The message is the library's and does not say what it is about: the place has to be shown.
    shows_place: bool,
}

impl Error {
    pub(crate) fn at(span: Range<usize>, message: String) -> Self {
        Self { span, message, shows_place: false }
    }

    #[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
    pub(crate) fn syntax(error: toml::de::Error) -> Self {
        // The library's message can have several lines; ours has one.
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let span = error.span().unwrap_or(0..0);
        Self { span, message: format!("not valid TOML: {message}"), shows_place: true }
    }

    pub(crate) fn in_file(self, path: &Path, text: &str) -> ConfigError {
        let before = text.as_bytes().iter().take(self.span.start);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        let key = || text.lines().nth(line - 1).and_then(|text| text.split('=').next());
        let message = match key().filter(|_| self.shows_place) {
            Some(key) => format!("{}: {}", self.message, key.trim()),
            None => self.message,
        };
        ConfigError { path: path.to_path_buf(), line: Some(line), message }
    }
}

/// Where in the text each key begins that was read, by its full name; tables, too.
#[derive(Debug, Default)]
pub(crate) struct Spans(RefCell<BTreeMap<String, usize>>);

impl Spans {
    fn note(&self, key: &str, written: &Spanned<Cow<'_, str>>) {
        self.0.borrow_mut().insert(key.to_owned(), written.span().start);
    }

    pub(crate) fn in_file(self, path: &Path, text: &str) -> Places {
        let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |start| 1 + newlines.partition_point(|&newline| newline < start);
        let starts = self.0.into_inner().into_iter();
        let lines = starts.map(|(key, start)| (key, line(start))).collect();
        Places { path: path.to_path_buf(), lines }
    }
}

/// In which line of which file each key stands. Empty if there was no file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    path: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl Places {
    /// The line of a key or a table, if it is in the file.
    pub(crate) fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// The file, as messages name it.
    pub(crate) fn file(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// What is wrong with a key. The message names it.
    pub(crate) fn error(&self, key: &str, message: String) -> ConfigError {
        ConfigError { path: self.path.clone(), line: self.line(key), message }
    }
}

/// A table that is being read.
pub(crate) struct Table<'a, 'i> {
    /// Its name, for messages; empty for the root.
    path: &'a str,
    table: &'a DeTable<'i>,
    spans: &'a Spans,
    asked: Vec<&'static str>,
}

impl<'a, 'i> Table<'a, 'i> {
    pub(crate) fn new(path: &'a str, table: &'a DeTable<'i>, spans: &'a Spans) -> Self {
        Self { path, table, spans, asked: Vec::new() }
    }

    /// What stands under a key; where it stands is remembered.
    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.push(key);
        let (written, value) = self.table.get_key_value(key)?;
        self.spans.note(&self.name_of(key), written);
        Some(value)
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Sets `target` if the key is there. `parse` says what it expected if the value is not that.
    pub(crate) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Result<(), Error> {
        let Some(value) = self.ask(key) else { return Ok(()) };
        *target = parse(value.get_ref()).map_err(|expected| {
            Error::at(value.span(), format!("{} must be {expected}", self.name_of(key)))
        })?;
        Ok(())
    }

    /// Reads a table in this one.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_, 'i>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.ask(key) else { return Ok(None) };
        self.inner(&self.name_of(key), value, read).map(Some)
    }

    /// Reads every table in a table whose keys are names. `check` says what is wrong with a name.
    pub(crate) fn each(
        &mut self,
        key: &'static str,
        check: impl Fn(&str) -> Result<(), String>,
        mut read: impl FnMut(&str, &mut Table<'_, 'i>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(value) = self.ask(key) else { return Ok(()) };
        let outer = self.name_of(key);
        for (written, value) in as_table(&outer, value)? {
            let name = written.get_ref().as_ref();
            let path = named_key(&outer, name);
            if let Err(reason) = check(name) {
                return Err(Error::at(written.span(), format!("{path}: {reason}")));
            }
            self.spans.note(&path, written);
            self.inner(&path, value, |table| read(name, table))?;
        }
        Ok(())
    }

    fn inner<T>(
        &self,
        path: &str,
        value: &Spanned<DeValue<'i>>,
        read: impl FnOnce(&mut Table<'_, 'i>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut inner = Table::new(path, as_table(path, value)?, self.spans);
        let read = read(&mut inner)?;
        inner.finish()?;
        Ok(read)
    }

    /// A key that has to be there is not.
    pub(crate) fn lacks(&self, key: &str, expected: &str) -> Error {
        let start = self.spans.0.borrow().get(self.path).copied().unwrap_or(0);
        Error::at(start..start, format!("{} is missing: {expected}", self.name_of(key)))
    }

    /// Every key must have been asked for.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let unknown = |key: &&Spanned<Cow<'_, str>>| !self.asked.contains(&key.get_ref().as_ref());
        // The first one in the file.
        let Some(key) = self.table.keys().filter(unknown).min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let name = self.name_of(key.get_ref());
        let known = self.asked.join(", ");
        Err(Error::at(key.span(), format!("unknown key {name} (known here: {known})")))
    }
}

fn as_table<'a, 'i>(path: &str, value: &'a Spanned<DeValue<'i>>) -> Result<&'a DeTable<'i>, Error> {
    let not_a_table = || Error::at(value.span(), format!("{path} must be a table"));
    value.get_ref().as_table().ok_or_else(not_a_table)
}

/// The full name of a table among those that are called by a name, such as `queues."jobs"`.
pub(crate) fn named_key(outer: &str, name: &str) -> String {
    format!("{outer}.\"{name}\"")
}

/// A whole number in a range.
pub(crate) fn whole(value: &DeValue<'_>, min: u64, max: u64) -> Result<u64, String> {
    let number = value.as_integer().and_then(|integer| {
        u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
    });
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| match max {
        u64::MAX => format!("a whole number of at least {min}"),
        _ => format!("a whole number from {min} to {max}"),
    })
}

/// A number of bytes: a whole number, or text with a unit.
pub(crate) fn size(value: &DeValue<'_>, min: u64, max: u64) -> Result<u64, String> {
    let bytes = match value.as_str() {
        Some(text) => parse_size::parse_size(text).ok(),
        None => whole(value, 0, u64::MAX).ok(),
    };
    bytes.filter(|bytes| (min..=max).contains(bytes)).ok_or_else(|| match (min, max) {
        (0, u64::MAX) => "a size such as \"128MiB\", or a number of bytes".to_owned(),
        (_, u64::MAX) => format!("a size such as \"128MiB\" of at least {min} bytes"),
        _ => format!("a size such as \"128MiB\" from {min} to {max} bytes"),
    })
}

/// A length of time.
pub(crate) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let expected = || "a duration such as \"250ms\", \"10s\" or \"1m\"".to_owned();
    humantime::parse_duration(value.as_str().ok_or_else(expected)?).map_err(|_| expected())
}

/// A length of time in whole milliseconds.
pub(crate) fn duration_ms(value: &DeValue<'_>) -> Result<u64, String> {
    let duration = duration(value)?;
    let ms = u64::try_from(duration.as_millis()).map_err(|_| "a shorter duration".to_owned())?;
    if ms == 0 && !duration.is_zero() {
        return Err("at least 1ms, or \"0s\"".to_owned());
    }
    Ok(ms)
}
