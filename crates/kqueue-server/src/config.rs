//! The configuration: from a TOML file to values that are proven to work together.
//!
//! Every key is looked up by a reader that knows its line, and keys that nobody asked for are errors, so a typo never becomes a default.
//! Parsing does nothing else: no port is opened, no directory made. `docs/operating.md` describes every key, `packaging/kqueue.toml` is a sample.
//! Must not: read clocks or environment (but for the default data directory, which `main` passes in).

mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kqueue_broker::{
    ConfigTable, EngineLimits, Limits, Name, QueueConfig, QueueOverrides, SyncPolicy, WriterConfig,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use reader::ConfigError;
use reader::{Table, duration, duration_ms, size, whole};

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
    /// Where to listen for the memcache protocol.
    pub listen_memcache: Vec<ListenAddress>,
    /// Where to listen for Thrift.
    pub listen_thrift: Vec<ListenAddress>,
    /// Length of a segment's file, in bytes.
    pub segment_bytes: u64,
    /// Above this length the log's oldest segments are emptied, in bytes.
    pub log_cap_bytes: u64,
    /// Any damage at all stops the start.
    pub strict: bool,
    /// Every queue's settings.
    pub queues: ConfigTable,
}

/// The address used when nothing else is said: nobody outside this machine can reach it.
const DEFAULT_ADDRESS: &str = "127.0.0.1:22133";
/// What a record has besides its body, at most.
const RECORD_META_BYTES: u64 = 64 * 1024;

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
            listen_memcache: vec![ListenAddress::Tcp(DEFAULT_ADDRESS.to_owned())],
            listen_thrift: Vec::new(),
            segment_bytes: 64 * 1024 * 1024,
            log_cap_bytes: 1024 * 1024 * 1024,
            strict: false,
            queues: ConfigTable::default(),
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
        Self::read(text, data_dir).map_err(|error| error.in_file(path, text))
    }

    fn read(text: &str, data_dir: PathBuf) -> Result<Self, reader::Error> {
        let document = DeTable::parse(text).map_err(reader::Error::syntax)?;
        let mut config = Self::new(data_dir);
        let mut root = Table::new("", document.get_ref());
        root.table("server", |table| config.read_server(table))?;
        root.table("listen", |table| config.read_listen(table))?;
        root.table("journal", |table| config.read_journal(table))?;
        let defaults = root.table("queue_defaults", read_queue)?.unwrap_or_default();
        config.queues.defaults = Arc::new(defaults.over(&config.queues.defaults));
        root.each("queues", |name, key, value| {
            let overrides = config.read_named(name, key, value)?;
            config.queues.named.insert(name.as_bytes().into(), overrides);
            Ok(())
        })?;
        root.each("aliases", |name, _, value| {
            let list = value.get_ref().as_table().and_then(|table| table.get("destinations"));
            let list = list.and_then(|list| list.get_ref().as_array()).into_iter().flatten();
            let names = list.filter_map(|name| name.get_ref().as_str());
            let destinations = names.map(|name| name.as_bytes().into()).collect();
            config.queues.aliases.insert(name.as_bytes().into(), destinations);
            Ok(())
        })?;
        root.finish()?;
        config.check_sizes(&document)?;
        config.check_dead_letters(&document)?;
        config.check_targets(&document)?;
        Ok(config)
    }

    fn read_server(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        table.set("data_dir", &mut self.data_dir, |value| match value.as_str() {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => Err("a path, such as \"/var/lib/kqueue\"".into()),
        })?;
        table.set(
            "expiration_timer_frequency",
            &mut self.expiration_timer_frequency,
            optional_duration,
        )?;
        table.set("client_timeout", &mut self.client_timeout, optional_duration)?;
        table.set("max_open_transactions", &mut self.engine.max_open_per_queue, |value| {
            whole(value, 1, 100_000).map(|number| number as u32)
        })?;
        table.set("max_memory_size", &mut self.engine.max_memory_size, |value| {
            size(value, 1024 * 1024, u64::MAX)
        })?;
        table
            .set("max_queues", &mut self.engine.max_queues, |value| whole(value, 1, 100_000_000))?;
        table.set("max_connections", &mut self.max_connections, |value| {
            whole(value, 1, 1_000_000).map(|number| number as usize)
        })?;
        table.set("max_item_size", &mut self.max_item_size, |value| {
            size(value, 1, 64 * 1024 * 1024).map(|bytes| bytes as usize)
        })?;
        Ok(())
    }

    fn read_listen(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        // A protocol that is absent is not started.
        self.listen_memcache.clear();
        table.set("memcache", &mut self.listen_memcache, addresses)?;
        table.set("thrift", &mut self.listen_thrift, addresses)
    }

    fn read_journal(&mut self, table: &mut Table<'_, '_>) -> Result<(), reader::Error> {
        table.set("sync", &mut Arc::make_mut(&mut self.queues.defaults).sync, sync_policy)?;
        table.set("strict", &mut self.strict, |value| {
            value.as_bool().ok_or_else(|| "true or false".into())
        })?;
        table.set("segment_size", &mut self.segment_bytes, |value| {
            size(value, WriterConfig::SEGMENT_BYTES_MIN, 4 * 1024 * 1024 * 1024)
        })?;
        table.set("log_cap", &mut self.log_cap_bytes, |value| size(value, 1, u64::MAX))?;
        Ok(())
    }

    fn read_named(
        &self,
        name: &str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<QueueOverrides, reader::Error> {
        if let Err(error) = Name::check(name.as_bytes()) {
            return Err(reader::Error::at(key.span(), format!("queues.\"{name}\": {error}")));
        }
        let path = format!("queues.\"{name}\"");
        let Some(table) = value.get_ref().as_table() else {
            return Err(reader::Error::at(value.span(), format!("{path} must be a table")));
        };
        let mut table = Table::new(&path, table);
        let overrides = read_queue(&mut table)?;
        table.finish()?;
        Ok(overrides)
    }

    /// What only shows when everything is known.
    fn check_sizes(&self, document: &Spanned<DeTable<'_>>) -> Result<(), reader::Error> {
        let journal = document.get_ref().get("journal");
        let span = journal.map_or(0..0, Spanned::span);
        let sizes = WriterConfig {
            segment_bytes: self.segment_bytes,
            log_cap_bytes: self.log_cap_bytes,
            max_record_bytes: self.max_item_size as u64 + RECORD_META_BYTES,
        };
        if let Err(error) = sizes.check() {
            let message = format!(
                "journal.segment_size: {error} (server.max_item_size is {} bytes)",
                self.max_item_size
            );
            return Err(reader::Error::at(span, message));
        }
        if self.log_cap_bytes < self.segment_bytes.saturating_mul(2) {
            let message = "journal.log_cap must be at least 2 x journal.segment_size".to_owned();
            return Err(reader::Error::at(span, message));
        }
        Ok(())
    }

    /// An item that came too often must have somewhere to go.
    /// A queue that sends its items to itself.
    fn check_targets(&self, document: &Spanned<DeTable<'_>>) -> Result<(), reader::Error> {
        for (name, overrides) in &self.queues.named {
            let is_itself = |target: &Option<Option<Arc<[u8]>>>| {
                target.as_ref().and_then(Option::as_deref) == Some(&name[..])
            };
            let key = match () {
                () if is_itself(&overrides.expire_to_queue) => "expire_to_queue",
                () if is_itself(&overrides.dead_letter_queue) => "dead_letter_queue",
                () => continue,
            };
            let name = String::from_utf8_lossy(name);
            let queues = document.get_ref().get("queues");
            let queues = queues.and_then(|queues| queues.get_ref().as_table());
            let span =
                queues.and_then(|queues| queues.get(name.as_ref())).map_or(0..0, Spanned::span);
            let text = format!("queues.\"{name}\": {key} is the queue itself");
            return Err(reader::Error::at(span, text));
        }
        Ok(())
    }

    fn check_dead_letters(&self, document: &Spanned<DeTable<'_>>) -> Result<(), reader::Error> {
        let lacks = |config: &QueueConfig| {
            config.max_attempts.is_some() && config.dead_letter_queue.is_none()
        };
        let what =
            "max_attempts needs dead_letter_queue: where items go that were delivered so often";
        let table = |key: &str| document.get_ref().get(key);
        if lacks(&self.queues.defaults) {
            let span = table("queue_defaults").map_or(0..0, Spanned::span);
            return Err(reader::Error::at(span, format!("queue_defaults: {what}")));
        }
        for name in self.queues.named.keys() {
            if lacks(&self.queues.resolve(name)) {
                let name = String::from_utf8_lossy(name);
                let queues = table("queues").and_then(|queues| queues.get_ref().as_table());
                let span =
                    queues.and_then(|queues| queues.get(name.as_ref())).map_or(0..0, Spanned::span);
                return Err(reader::Error::at(span, format!("queues.\"{name}\": {what}")));
            }
        }
        Ok(())
    }

    /// What the protocol needs to know.
    pub fn limits(&self) -> Limits {
        Limits { item_bytes: self.max_item_size, ..Limits::default() }
    }
}

fn read_queue(table: &mut Table<'_, '_>) -> Result<QueueOverrides, reader::Error> {
    let mut read = QueueOverrides::default();
    let some_whole = |value: &DeValue<'_>| whole(value, 0, u64::MAX).map(Some);
    let some_size = |value: &DeValue<'_>| size(value, 0, u64::MAX).map(Some);
    let some_bool =
        |value: &DeValue<'_>| value.as_bool().map(Some).ok_or_else(|| "true or false".into());
    let some_limit =
        |value: &DeValue<'_>| duration_ms(value).map(|ms| Some((ms > 0).then_some(ms)));
    table.set("max_items", &mut read.max_items, some_whole)?;
    table.set("max_size", &mut read.max_size, some_size)?;
    table.set("max_item_size", &mut read.max_item_size, some_size)?;
    table.set("max_age", &mut read.max_age_ms, some_limit)?;
    table.set("discard_old_when_full", &mut read.discard_old_when_full, some_bool)?;
    table.set("fanout_only", &mut read.fanout_only, some_bool)?;
    table.set("sync_journal", &mut read.sync, |value| sync_policy(value).map(Some))?;
    table.set("open_transaction_timeout", &mut read.open_transaction_timeout_ms, some_limit)?;
    table.set("max_memory_size", &mut read.max_memory_size, some_size)?;
    table.set("keep_journal", &mut read.keep_journal, some_bool)?;
    table.set("expire_to_queue", &mut read.expire_to_queue, queue_name)?;
    table.set("max_expire_sweep", &mut read.max_expire_sweep, some_whole)?;
    table.set("max_queue_age", &mut read.max_queue_age_ms, some_limit)?;
    table.set("max_attempts", &mut read.max_attempts, |value| {
        whole(value, 0, u64::from(u32::MAX)).map(|max| Some((max > 0).then_some(max as u32)))
    })?;
    table.set("dead_letter_queue", &mut read.dead_letter_queue, queue_name)?;
    Ok(read)
}

/// The name of a queue, or "" for none.
fn queue_name(value: &DeValue<'_>) -> Result<Option<Option<Arc<[u8]>>>, String> {
    let name = value.as_str().ok_or("the name of a queue")?;
    if name.is_empty() {
        return Ok(Some(None));
    }
    match Name::check(name.as_bytes()) {
        Ok(_) => Ok(Some(Some(name.as_bytes().into()))),
        Err(error) => Err(format!("the name of a queue ({error})")),
    }
}

fn optional_duration(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    duration(value).map(|duration| (!duration.is_zero()).then_some(duration))
}

fn sync_policy(value: &DeValue<'_>) -> Result<SyncPolicy, String> {
    match value.as_str() {
        Some("always") => Ok(SyncPolicy::Always),
        Some("never") => Ok(SyncPolicy::Never),
        _ => match duration_ms(value) {
            Ok(0) => Ok(SyncPolicy::Always),
            Ok(ms) => Ok(SyncPolicy::Every { ms }),
            Err(_) => Err("\"always\", \"never\" or a duration such as \"10ms\"".into()),
        },
    }
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
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(ListenAddress::Tcp(text.to_owned()))
        }
        _ => Err(expected()),
    }
}
impl Config {
    pub(crate) fn status_file(&self) -> PathBuf {
        self.data_dir.join("status")
    }
    pub(crate) fn differences_that_need_a_restart(&self, _new: &Config) -> Vec<&'static str> {
        Vec::new()
    }
}
