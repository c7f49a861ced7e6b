//! The configuration: from a TOML file to values that are proven to work together.
//!
//! Every key is looked up by a reader that knows its line, and keys that nobody asked for are errors, so a typo never becomes a default.
//! `queue.rs` reads the keys of queues, `aliases.rs` those of aliases, `checks.rs` knows what must fit together, `settings.rs` says all of it again as TOML.
//! Parsing does nothing else: no port is opened, no directory made. `docs/operating.md` describes every key, `packaging/kqueue.toml` is a sample.
//! Must not: read clocks or environment (but for the default data directory, which `main` passes in).

mod aliases;
mod checks;
mod queue;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kqueue_broker::{
    ConfigTable, EngineLimits, Limits, Name, QueueConfig, Status, SyncPolicy, WriterConfig,
};
use toml::de::{DeTable, DeValue};

use crate::datadir::STATUS;
use queue::{read_queue, sync_policy};
pub use reader::ConfigError;
pub(crate) use reader::Places;
use reader::{Spans, Table, duration, duration_ms, named_key, size, whole};
pub(crate) use settings::{Setting, list, quoted};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `host:port`; port 0 lets the kernel choose.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the server runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the journal lies.
    pub data_dir: PathBuf,
    /// How often expired items are swept; `None`: only when they are met.
    pub expiration_timer_frequency: Option<Duration>,
    /// Closes connections that send no complete request for so long; `None`: never.
    pub client_timeout: Option<Duration>,
    /// Open reads per connection and queue, memory for waiting items, queues.
    pub engine: EngineLimits,
    /// Connections at a time.
    pub max_connections: usize,
    /// Largest item accepted, in bytes.
    pub max_item_size: usize,
    /// The status at a start after which nobody has set another one.
    pub default_status: Status,
    /// How long after a status that allows less was set it is enforced, in milliseconds.
    pub status_grace_ms: u64,
    /// See [`Config::status_file()`].
    pub status_file: Option<PathBuf>,
    /// A connection that is accepted while there are more than so many may not put, as long as it lasts.
    pub connection_limit_refuse_writes: Option<u64>,
    /// The same for gets.
    pub connection_limit_refuse_reads: Option<u64>,
    /// Where to listen for the memcache protocol.
    pub listen_memcache: Vec<ListenAddress>,
    /// Where to listen for the text protocol.
    pub listen_text: Vec<ListenAddress>,
    /// Where to listen for Thrift.
    pub listen_thrift: Vec<ListenAddress>,
    /// Where to listen for the HTTP of operators.
    pub listen_admin: Vec<ListenAddress>,
    /// When puts are answered to queues for which nothing else is said. It is part of `queues.defaults`, too, unless they differ.
    pub sync: SyncPolicy,
    /// Length of a segment's file, in bytes.
    pub segment_bytes: u64,
    /// Above this length the log's oldest segments are emptied, in bytes.
    pub log_cap_bytes: u64,
    /// Any damage at all stops the start.
    pub strict: bool,
    /// Every queue's settings.
    pub queues: ConfigTable,
    /// Where the keys were read.
    pub(crate) places: Places,
}

/// The address used when nothing else is said: nobody outside this machine can reach it.
const DEFAULT_ADDRESS: &str = "127.0.0.1:22133";

impl Config {
    /// Safe values for everything: loopback, durable, bounded.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            expiration_timer_frequency: Some(Duration::from_secs(1)),
            client_timeout: None,
            engine: EngineLimits::default(),
            max_connections: 10_000,
            max_item_size: 1024 * 1024,
            default_status: Status::Up,
            status_grace_ms: 0,
            status_file: None,
            connection_limit_refuse_writes: None,
            connection_limit_refuse_reads: None,
            listen_memcache: vec![ListenAddress::Tcp(DEFAULT_ADDRESS.to_owned())],
            listen_text: Vec::new(),
            listen_thrift: Vec::new(),
            listen_admin: Vec::new(),
            sync: SyncPolicy::Always,
            segment_bytes: 64 * 1024 * 1024,
            log_cap_bytes: 1024 * 1024 * 1024,
            strict: false,
            queues: ConfigTable::default(),
            places: Places::default(),
        }
    }

    /// Reads a file over the safe values.
    ///
    /// # Errors
    /// One [`ConfigError`] that names file, line and key.
    pub fn load(path: &Path, data_dir: PathBuf) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::file(path, format!("cannot be read: {error}")))?;
        Self::parse(&text, path, data_dir)
    }

    /// As [`Config::load`], from text; `path` is for messages.
    ///
    /// # Errors
    /// One [`ConfigError`].
    pub fn parse(text: &str, path: &Path, data_dir: PathBuf) -> Result<Self, ConfigError> {
        let spans = Spans::default();
        let mut config =
            Self::read(text, data_dir, &spans).map_err(|error| error.in_file(path, text))?;
        config.places = spans.in_file(path, text);
        config.queues.aliases = aliases::flatten(&config.queues.aliases, &config.places)?;
        config.check()?;
        Ok(config)
    }

    /// What is wrong with no key alone is not noticed here, and aliases are as they were written.
    fn read(text: &str, data_dir: PathBuf, spans: &Spans) -> Result<Self, reader::Error> {
        let document = DeTable::parse(text).map_err(reader::Error::syntax)?;
        let mut config = Self::new(data_dir);
        let mut root = Table::new("", document.get_ref(), spans);
        root.table("server", |table| config.read_server(table))?;
        root.table("listen", |table| config.read_listen(table))?;
        root.table("journal", |table| config.read_journal(table))?;
        let defaults = root.table("queue_defaults", read_queue)?.unwrap_or_default();
        let base = QueueConfig { sync: config.sync, ..QueueConfig::default() };
        config.queues.defaults = Arc::new(defaults.over(&base));
        let queues = &mut config.queues;
        root.each("queues", check_name, |name, table| {
            queues.named.insert(name.as_bytes().into(), read_queue(table)?);
            Ok(())
        })?;
        root.each("aliases", check_name, |name, table| {
            queues.aliases.insert(name.as_bytes().into(), aliases::read(table)?);
            Ok(())
        })?;
        root.finish()?;
        Ok(config)
    }

    fn read_server(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        table.set("data_dir", &mut self.data_dir, path)?;
        table.set(
            "expiration_timer_frequency",
            &mut self.expiration_timer_frequency,
            optional_duration,
        )?;
        table.set("client_timeout", &mut self.client_timeout, optional_duration)?;
        table.set("max_open_transactions", &mut self.engine.max_open_per_queue, |value| {
            whole(value, 1, 10_000).map(|number| number as u32)
        })?;
        table.set("max_memory_size", &mut self.engine.max_memory_size, |value| {
            size(value, 1024 * 1024, u64::MAX)
        })?;
        table
            .set("max_queues", &mut self.engine.max_queues, |value| whole(value, 1, 100_000_000))?;
        table.set("idempotency_window", &mut self.engine.key_window_ms, duration_ms)?;
        table.set("idempotency_keys", &mut self.engine.keys_max, |value| {
            whole(value, 0, 100_000_000)
        })?;
        table.set("max_connections", &mut self.max_connections, |value| {
            whole(value, 1, 1_000_000).map(|number| number as usize)
        })?;
        table.set("max_item_size", &mut self.max_item_size, |value| {
            size(value, 1, 64 * 1024 * 1024).map(|bytes| bytes as usize)
        })?;
        self.read_status(table)
    }

    /// When less than everything is served.
    fn read_status(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        let limit = |value: &DeValue<'_>| {
            whole(value, 0, u64::MAX).map(|number| (number > 0).then_some(number))
        };
        table.set("default_status", &mut self.default_status, status)?;
        table.set("status_change_grace_period", &mut self.status_grace_ms, duration_ms)?;
        table.set("status_file", &mut self.status_file, |value| path(value).map(Some))?;
        table.set(
            "connection_limit_refuse_writes",
            &mut self.connection_limit_refuse_writes,
            limit,
        )?;
        table.set("connection_limit_refuse_reads", &mut self.connection_limit_refuse_reads, limit)
    }

    fn read_listen(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        // A protocol that is absent is not started.
        self.listen_memcache.clear();
        table.set("memcache", &mut self.listen_memcache, addresses)?;
        table.set("text", &mut self.listen_text, addresses)?;
        table.set("thrift", &mut self.listen_thrift, addresses)?;
        table.set("admin", &mut self.listen_admin, addresses)
    }

    fn read_journal(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        table.set("sync", &mut self.sync, sync_policy)?;
        table.set("strict", &mut self.strict, |value| {
            value.as_bool().ok_or_else(|| "true or false".into())
        })?;
        table.set("segment_size", &mut self.segment_bytes, |value| {
            size(value, WriterConfig::SEGMENT_BYTES_MIN, 4 * 1024 * 1024 * 1024)
        })?;
        table.set("log_cap", &mut self.log_cap_bytes, |value| size(value, 1, u64::MAX))?;
        Ok(())
    }

    /// Where the status is kept that somebody has set.
    pub fn status_file(&self) -> PathBuf {
        self.status_file.clone().unwrap_or_else(|| self.data_dir.join(STATUS))
    }

    /// What the protocol needs to know.
    pub fn limits(&self) -> Limits {
        Limits { item_bytes: self.max_item_size, ..Limits::default() }
    }
}

/// Whether a queue or an alias can be called so.
///
/// # Errors
/// What is wrong with the name.
pub fn check_name(name: &str) -> Result<(), String> {
    Name::check(name.as_bytes()).map(drop).map_err(|error| error.to_string())
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    match value.as_str() {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err("a path, such as \"/var/lib/kqueue\"".into()),
    }
}

fn status(value: &DeValue<'_>) -> Result<Status, String> {
    let named = value.as_str().and_then(|name| Status::parse(name.as_bytes()).ok());
    named.ok_or_else(|| "\"up\", \"writeavoid\", \"readonly\" or \"quiescent\"".into())
}

fn optional_duration(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    duration(value).map(|duration| (!duration.is_zero()).then_some(duration))
}

fn addresses(value: &DeValue<'_>) -> Result<Vec<ListenAddress>, String> {
    match value {
        DeValue::Array(list) => list.iter().map(|entry| address(entry.get_ref())).collect(),
        single => Ok(vec![address(single)?]),
    }
}

fn address(value: &DeValue<'_>) -> Result<ListenAddress, String> {
    let expected = || "\"host:port\" or \"unix:/path\", or a list of them".to_owned();
    let text = value.as_str().ok_or_else(expected)?;
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.starts_with('/') {
            Ok(ListenAddress::Unix(path.into()))
        } else {
            Err(expected())
        };
    }
    match text.rsplit_once(':') {
        // `*` is no name: whoever means every address says so (0.0.0.0, [::]).
        Some((host, port)) if !matches!(host, "" | "*") && port.parse::<u16>().is_ok() => {
            Ok(ListenAddress::Tcp(text.to_owned()))
        }
        _ => Err(expected()),
    }
}
