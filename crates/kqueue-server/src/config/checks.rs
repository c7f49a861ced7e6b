//! What shows only when the whole configuration is known: what cannot work (errors) and what is probably not meant (warnings).
//!
//! Invariant: every message names the line of the key itself. Must not: warn of anything that somebody may want.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kqueue_broker::{QueueConfig, WriterConfig};

use super::{Config, ConfigError, ListenAddress, named_key};
use crate::datadir::STATUS;

/// What a record has besides its body, at most.
const RECORD_META_BYTES: u64 = 64 * 1024;

/// The keys whose value is a queue, and what they say in a configuration.
type Target = (&'static str, fn(&QueueConfig) -> Option<&Arc<[u8]>>);
const TARGETS: [Target; 2] = [
    ("expire_to_queue", |config| config.expire_to_queue.as_ref()),
    ("dead_letter_queue", |config| config.dead_letter_queue.as_ref()),
];

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_sizes()?;
        self.check_status_file()?;
        self.check_addresses()?;
        self.check_aliases()?;
        self.check_targets()
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        let sizes = WriterConfig {
            segment_bytes: self.segment_bytes,
            log_cap_bytes: self.log_cap_bytes,
            max_record_bytes: self.max_item_size as u64 + RECORD_META_BYTES,
            flush_bytes: u64::MAX,
        };
        if let Err(error) = sizes.check() {
            let key = self.first_written(&["journal.segment_size", "server.max_item_size"]);
            let message = format!(
                "{key}: {error} (journal.segment_size is {} bytes, server.max_item_size {})",
                self.segment_bytes, self.max_item_size
            );
            return Err(self.places.error(key, message));
        }
        if self.log_cap_bytes < self.segment_bytes.saturating_mul(2) {
            let key = self.first_written(&["journal.log_cap", "journal.segment_size"]);
            let message = format!(
                "journal.log_cap must be at least 2 x journal.segment_size ({} and {} bytes)",
                self.log_cap_bytes, self.segment_bytes
            );
            return Err(self.places.error(key, message));
        }
        Ok(())
    }

    /// The first of these keys that is in the file.
    fn first_written<'k>(&self, keys: &[&'k str]) -> &'k str {
        let written = keys.iter().find(|key| self.places.line(key).is_some());
        written.unwrap_or(&keys[0])
    }

    /// A start refuses a data directory in which something lies that it does not know.
    fn check_status_file(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.status_file else { return Ok(()) };
        if path.starts_with(&self.data_dir) && *path != self.data_dir.join(STATUS) {
            let message = format!(
                "server.status_file: in server.data_dir it can only be {}",
                self.data_dir.join(STATUS).display()
            );
            return Err(self.places.error("server.status_file", message));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        let protocols = self.protocols();
        let carries_items = |(key, addresses): &(&str, &[ListenAddress])| {
            *key != "listen.admin" && !addresses.is_empty()
        };
        if !protocols.iter().any(carries_items) {
            let message = "listen: no protocol that carries items is listened on; set listen.memcache, listen.text or listen.thrift";
            return Err(self.places.error("listen", message.to_owned()));
        }
        let mut users: BTreeMap<String, &str> = BTreeMap::new();
        for (key, addresses) in protocols {
            // With port 0 each gets one of its own.
            let fixed =
                addresses.iter().map(ListenAddress::to_string).filter(|a| !a.ends_with(":0"));
            for address in fixed {
                if let Some(other) = users.insert(address.clone(), key) {
                    let message = format!("{key}: {address} is an address of {other} already");
                    return Err(self.places.error(key, message));
                }
            }
        }
        Ok(())
    }

    /// Settings for a queue that cannot be reached.
    fn check_aliases(&self) -> Result<(), ConfigError> {
        let both = self.queues.aliases.keys().find(|name| self.queues.named.contains_key(*name));
        let Some(name) = both.map(|name| String::from_utf8_lossy(name)) else { return Ok(()) };
        let (alias, queue) = (named_key("aliases", &name), named_key("queues", &name));
        let message = format!("{alias} has the name of {queue}, which would never be used");
        Err(self.places.error(&alias, message))
    }

    /// A queue that sends its items to itself, or to no queue.
    fn check_targets(&self) -> Result<(), ConfigError> {
        for (queue, table, config) in self.queue_tables() {
            for (key, target) in TARGETS {
                let key = format!("{table}.{key}");
                let Some(target) = target(&config).filter(|_| self.places.line(&key).is_some())
                else {
                    continue;
                };
                if queue == Some(&**target) {
                    return Err(self.places.error(&key, format!("{key} is the queue itself")));
                }
                if self.queues.aliases.contains_key(&**target) {
                    let name = String::from_utf8_lossy(target);
                    let message = format!("{key} must be a queue, and {name} is an alias");
                    return Err(self.places.error(&key, message));
                }
            }
        }
        Ok(())
    }

    /// Every table with the keys of a queue, each after those from which it inherits: the queue, the table's name, and what holds for it.
    fn queue_tables(&self) -> impl Iterator<Item = (Option<&[u8]>, String, Arc<QueueConfig>)> {
        let defaults = (None, "queue_defaults".to_owned(), Arc::clone(&self.queues.defaults));
        let named = self.queues.named.keys().map(|name| {
            let table = named_key("queues", &String::from_utf8_lossy(name));
            (Some(&**name), table, self.queues.resolve(name))
        });
        std::iter::once(defaults).chain(named)
    }

    /// What is allowed and probably not meant, a line each, with its place in the file.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |key: &str, message: String| {
            if self.places.line(key).is_some() {
                warnings.push(self.places.error(key, format!("{key}: {message}")).to_string());
            }
        };
        self.warn_of_connection_limits(&mut warn);
        for (queue, table, config) in self.queue_tables() {
            self.warn_of_queue(queue, &table, &config, &mut warn);
            warn_of_zeros(&table, &config, &mut warn);
            self.warn_of_targets(&table, &config, &mut warn);
            warn_of_retries(&table, &config, &mut warn);
        }
        self.warn_of_loops(&mut warn);
        warnings
    }

    fn warn_of_connection_limits(&self, warn: &mut impl FnMut(&str, String)) {
        let limits = [
            ("server.connection_limit_refuse_writes", self.connection_limit_refuse_writes),
            ("server.connection_limit_refuse_reads", self.connection_limit_refuse_reads),
        ];
        for (key, limit) in limits {
            if limit.is_some_and(|limit| limit >= self.max_connections as u64) {
                let most = self.max_connections;
                warn(
                    key,
                    format!(
                        "has no effect: there are never more than {most} connections (server.max_connections)"
                    ),
                );
            }
        }
    }

    fn warn_of_queue(
        &self,
        queue: Option<&[u8]>,
        table: &str,
        config: &QueueConfig,
        warn: &mut impl FnMut(&str, String),
    ) {
        if config.max_item_size != u64::MAX && config.max_item_size > self.max_item_size as u64 {
            let most = self.max_item_size;
            warn(
                &format!("{table}.max_item_size"),
                format!("has no effect: server.max_item_size is {most} bytes"),
            );
        }
        if config.fanout_only && queue.is_some_and(|name| name.contains(&b'+')) {
            warn(
                &format!("{table}.fanout_only"),
                "has no effect: a sub-queue has no sub-queues".to_owned(),
            );
        }
        if config.max_queue_age_ms.is_some() && self.expiration_timer_frequency.is_none() {
            warn(
                &format!("{table}.max_queue_age"),
                "has no effect: server.expiration_timer_frequency is \"0s\"".to_owned(),
            );
        }
    }

    fn warn_of_targets(
        &self,
        table: &str,
        config: &QueueConfig,
        warn: &mut impl FnMut(&str, String),
    ) {
        for (key, target) in TARGETS {
            let Some(name) = target(config) else { continue };
            let (key, text) = (format!("{table}.{key}"), String::from_utf8_lossy(name));
            let target = self.queues.resolve(name);
            if config.keep_journal && !target.keep_journal {
                warn(
                    &key,
                    format!(
                        "what goes to {text} is lost when the server ends: that queue has keep_journal = false"
                    ),
                );
            }
            let own = named_key("queues", &text);
            let limits = ["max_items", "max_size"].map(|limit| format!("{own}.{limit}"));
            if let Some(limit) = limits.iter().find(|limit| self.places.line(limit).is_some()) {
                warn(&key, format!("what goes to {text} goes past {limit}"));
            }
        }
    }

    /// Queues whose items expire into each other for ever. Where there is no `max_age`, an item that has expired once stays.
    fn warn_of_loops(&self, warn: &mut impl FnMut(&str, String)) {
        let mut told = BTreeSet::new();
        for name in self.queues.named.keys() {
            let chain = self.expiry_loop(name);
            if chain.is_empty() || chain.iter().any(|queue| told.contains(queue)) {
                continue;
            }
            let key = format!("{}.expire_to_queue", named_key("queues", &text(name)));
            if self.places.line(&key).is_none() {
                continue;
            }
            let queues: Vec<_> = chain.iter().chain(chain.first()).map(|name| text(name)).collect();
            let path = queues.join(" to ");
            warn(&key, format!("items go round for ever, from {path}, since each has a max_age"));
            told.extend(chain);
        }
    }

    /// The queues through which an item of this one comes back to it; none if it does not.
    fn expiry_loop(&self, first: &[u8]) -> Vec<Arc<[u8]>> {
        let mut chain: Vec<Arc<[u8]>> = vec![first.into()];
        while let Some(last) = chain.last() {
            let config = self.queues.resolve(last);
            let target = config.expire_to_queue.as_ref().filter(|_| config.max_age_ms.is_some());
            match target {
                Some(target) if **target == *first => return chain,
                // Another one's loop is told there; a queue that inherits itself as a target lets its items go.
                Some(target) if !chain.contains(target) => chain.push(Arc::clone(target)),
                _ => break,
            }
        }
        Vec::new()
    }
}

fn text(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

/// The wait grows from the shortest to the longest.
fn warn_of_retries(table: &str, config: &QueueConfig, warn: &mut impl FnMut(&str, String)) {
    if config.retry_delay_ms > config.retry_delay_max_ms {
        let what = "never waited: retry_delay_max is shorter".to_owned();
        warn(&format!("{table}.retry_delay"), what);
    }
}

/// Elsewhere 0 means that there is no limit.
fn warn_of_zeros(table: &str, config: &QueueConfig, warn: &mut impl FnMut(&str, String)) {
    let in_memory = !config.keep_journal;
    let refused = [
        ("max_items", config.max_items, !config.fanout_only, "every put"),
        ("max_size", config.max_size, !config.fanout_only, "every put"),
        ("max_item_size", config.max_item_size, true, "every item that is not empty"),
        ("max_memory_size", config.max_memory_size, in_memory, "every put (keep_journal = false)"),
    ];
    for (key, limit, is_meant, what) in refused {
        if limit == 0 && is_meant {
            warn(
                &format!("{table}.{key}"),
                format!("0 refuses {what}; a number that is never reached is no limit"),
            );
        }
    }
}
