//! What is in force, as TOML, and where it comes from.
//!
//! Invariants: no setting is left out: a field that is added does not compile before it is here. What is written here is read back as the same configuration.
//! Must not: know how it is laid out (`tools/check_config.rs` does).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kqueue_broker::{EngineLimits, QueueConfig, SyncPolicy};

use super::{Config, ListenAddress, named_key};

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// For the server's settings with the table, such as `server.data_dir`.
    pub key: &'static str,
    /// As TOML; `None`: nothing, which is said by leaving the key out.
    pub value: Option<String>,
}

impl Config {
    /// The settings of the server, by table.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let Self {
            data_dir,
            expiration_timer_frequency,
            client_timeout,
            engine:
                EngineLimits {
                    max_open_per_queue,
                    max_memory_size,
                    max_queues,
                    key_window_ms,
                    keys_max,
                },
            max_connections,
            max_item_size,
            default_status,
            status_grace_ms,
            status_file: _,
            connection_limit_refuse_writes,
            connection_limit_refuse_reads,
            listen_memcache: _,
            listen_text: _,
            listen_thrift: _,
            listen_admin: _,
            sync,
            segment_bytes,
            log_cap_bytes,
            strict,
            queues: _,
            places: _,
        } = self;
        let server = [
            ("server.data_dir", path(data_dir)),
            ("server.default_status", quoted(&default_status.name().to_ascii_lowercase())),
            ("server.status_change_grace_period", milliseconds(Some(*status_grace_ms))),
            ("server.status_file", path(&self.status_file())),
            ("server.expiration_timer_frequency", time(expiration_timer_frequency.as_ref())),
            ("server.client_timeout", time(client_timeout.as_ref())),
            ("server.max_open_transactions", max_open_per_queue.to_string()),
            ("server.max_memory_size", bytes(*max_memory_size)),
            ("server.max_queues", max_queues.to_string()),
            ("server.idempotency_window", milliseconds(Some(*key_window_ms))),
            ("server.idempotency_keys", keys_max.to_string()),
            ("server.max_connections", max_connections.to_string()),
            (
                "server.connection_limit_refuse_writes",
                connection_limit_refuse_writes.unwrap_or(0).to_string(),
            ),
            (
                "server.connection_limit_refuse_reads",
                connection_limit_refuse_reads.unwrap_or(0).to_string(),
            ),
            ("server.max_item_size", bytes(*max_item_size as u64)),
        ];
        let journal = [
            ("journal.sync", policy(*sync)),
            ("journal.segment_size", bytes(*segment_bytes)),
            ("journal.log_cap", bytes(*log_cap_bytes)),
            ("journal.strict", strict.to_string()),
        ];
        let some = |(key, value)| Setting { key, value: Some(value) };
        let listen = self.protocols().map(|(key, addresses)| Setting {
            key,
            value: (!addresses.is_empty()).then(|| list(addresses.iter().map(ToString::to_string))),
        });
        server.map(some).into_iter().chain(listen).chain(journal.map(some)).collect()
    }

    /// Every protocol, by its key, and where it is listened on.
    pub(super) fn protocols(&self) -> [(&'static str, &[ListenAddress]); 4] {
        [
            ("listen.memcache", &self.listen_memcache),
            ("listen.text", &self.listen_text),
            ("listen.thrift", &self.listen_thrift),
            ("listen.admin", &self.listen_admin),
        ]
    }

    /// The keys whose change a reload cannot put into force: all but those of queues and aliases, and `journal.sync`.
    pub fn differences_that_need_a_restart(&self, new: &Self) -> Vec<&'static str> {
        let pairs = self.settings().into_iter().zip(new.settings());
        let differ = pairs.filter(|(old, new)| old != new && old.key != "journal.sync");
        differ.map(|(old, _)| old.key).collect()
    }

    /// Where a setting of the server comes from.
    pub(crate) fn origin(&self, key: &str) -> String {
        let file = self.places.file();
        match (self.places.line(key), self.places.line("listen")) {
            (Some(line), _) => format!("{file}:{line}"),
            // A protocol that is absent is not started, whatever is built in.
            (None, Some(line)) if key.starts_with("listen.") => format!("[listen], {file}:{line}"),
            _ => BUILT_IN.to_owned(),
        }
    }

    /// What holds for a queue and where each setting comes from; without a queue, what `queue_defaults` gives.
    pub(crate) fn queue_settings(&self, queue: Option<&str>) -> Vec<(Setting, String)> {
        let config = match queue {
            Some(queue) => self.queues.resolve(queue.as_bytes()),
            None => Arc::clone(&self.queues.defaults),
        };
        let unlimited = u64::MAX.to_string();
        let settings = queue_settings(&config).into_iter().map(|(key, value)| {
            let origin = self.queue_origin(queue, key);
            // Whoever wrote the number, to take back what is inherited, sees it again.
            let is_none = value == unlimited && origin == BUILT_IN;
            (Setting { key, value: (!is_none).then_some(value) }, origin)
        });
        settings.collect()
    }

    /// Where an alias was written.
    pub(crate) fn alias_origin(&self, alias: &str) -> String {
        self.origin(&format!("{}.destinations", named_key("aliases", alias)))
    }

    fn queue_origin(&self, queue: Option<&str>, key: &str) -> String {
        let line = |table: &str| self.places.line(&format!("{table}.{key}"));
        let own = queue.map(|queue| named_key("queues", queue));
        if let Some(line) = own.and_then(|table| line(&table)) {
            return format!("own, line {line}");
        }
        let master = queue.and_then(|queue| queue.split_once('+')).map(|(master, _)| master);
        let master = master.map(|master| named_key("queues", master));
        let defaults = "queue_defaults".to_owned();
        for table in master.into_iter().chain([defaults]) {
            if let Some(line) = line(&table) {
                return format!("{table}, line {line}");
            }
        }
        match self.places.line("journal.sync") {
            Some(line) if key == "sync_journal" => format!("journal.sync, line {line}"),
            _ => BUILT_IN.to_owned(),
        }
    }
}

const BUILT_IN: &str = "built-in";

/// The keys of a queue, with their values as TOML.
fn queue_settings(config: &QueueConfig) -> [(&'static str, String); 17] {
    let QueueConfig {
        max_items,
        max_size,
        max_item_size,
        max_age_ms,
        discard_old_when_full,
        fanout_only,
        sync,
        open_transaction_timeout_ms,
        max_memory_size,
        keep_journal,
        expire_to_queue,
        max_expire_sweep,
        max_queue_age_ms,
        max_attempts,
        dead_letter_queue,
        retry_delay_ms,
        retry_delay_max_ms,
    } = config;
    [
        ("max_items", max_items.to_string()),
        ("max_size", bytes(*max_size)),
        ("max_item_size", bytes(*max_item_size)),
        ("max_memory_size", bytes(*max_memory_size)),
        ("max_age", milliseconds(*max_age_ms)),
        ("max_queue_age", milliseconds(*max_queue_age_ms)),
        ("max_expire_sweep", max_expire_sweep.to_string()),
        ("expire_to_queue", name(expire_to_queue.as_ref())),
        ("max_attempts", max_attempts.unwrap_or(0).to_string()),
        ("dead_letter_queue", name(dead_letter_queue.as_ref())),
        ("retry_delay", milliseconds(Some(*retry_delay_ms))),
        ("retry_delay_max", milliseconds(Some(*retry_delay_max_ms))),
        ("open_transaction_timeout", milliseconds(*open_transaction_timeout_ms)),
        ("discard_old_when_full", discard_old_when_full.to_string()),
        ("fanout_only", fanout_only.to_string()),
        ("keep_journal", keep_journal.to_string()),
        ("sync_journal", policy(*sync)),
    ]
}

/// Text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts in quotes.
pub(crate) fn list(texts: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = texts.map(|text| quoted(&text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn name(name: Option<&Arc<[u8]>>) -> String {
    quoted(&String::from_utf8_lossy(name.map_or(&[], |name| name)))
}

/// In the largest unit in which it is a whole number.
fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |&&(_, shift): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.iter().find(fits) {
        Some((unit, shift)) => format!("\"{}{unit}\"", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// `None`: none, or never.
fn time(time: Option<&Duration>) -> String {
    quoted(&humantime::format_duration(time.copied().unwrap_or_default()).to_string())
}

fn milliseconds(ms: Option<u64>) -> String {
    time(ms.map(Duration::from_millis).as_ref())
}

fn policy(sync: SyncPolicy) -> String {
    match sync {
        SyncPolicy::Always => quoted("always"),
        SyncPolicy::Never => quoted("never"),
        SyncPolicy::Every { ms } => milliseconds(Some(ms)),
    }
}
