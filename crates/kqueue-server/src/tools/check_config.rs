//! `kqueue-server check-config`: what a configuration file says, whole: every setting in force, and where it comes from.
//!
//! Invariant: what is printed is a configuration that says the same. Must not: open a port, or look at the data directory.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::{DONE, FAILED};
use crate::config::{Config, Setting, list, quoted};

/// Where the comments begin, if what is before is not longer.
const COMMENT_COLUMN: usize = 44;

/// Prints a configuration; of queues only these, if there are some. Answers the exit code.
pub fn run(config: &Config, queues: &[String]) -> u8 {
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    let text = match queues {
        [] => whole(config),
        some => some.iter().map(|queue| one(config, queue)).collect::<Vec<_>>().join("\n"),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => DONE,
        // Whoever closed the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(error) => {
            eprintln!("kqueue-server check-config: cannot write: {error}");
            FAILED
        }
    }
}

fn whole(config: &Config) -> String {
    let mut text = String::new();
    let mut table = "";
    for setting in config.settings() {
        let origin = config.origin(setting.key);
        let (in_table, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if in_table != table {
            let gap = if table.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{in_table}]\n"));
            table = in_table;
        }
        line(&mut text, key, setting.value.as_deref(), &origin);
    }
    text.push_str("\n[queue_defaults]\n");
    queue_lines(&mut text, config, None);
    for name in config.queues.named.keys().chain(config.queues.aliases.keys()) {
        text.push('\n');
        text.push_str(&one(config, &String::from_utf8_lossy(name)));
    }
    text
}

/// A queue or an alias, whether or not it is in the file.
fn one(config: &Config, name: &str) -> String {
    let mut text = String::new();
    match config.queues.aliases.get(name.as_bytes()) {
        Some(destinations) => {
            text.push_str(&format!("[aliases.{}]\n", quoted(name)));
            let names = destinations.iter().map(|to| String::from_utf8_lossy(to).into_owned());
            let origin = config.alias_origin(name);
            line(&mut text, "destinations", Some(&list(names)), &origin);
        }
        None => {
            text.push_str(&format!("[queues.{}]\n", quoted(name)));
            queue_lines(&mut text, config, Some(name));
        }
    }
    text
}

fn queue_lines(text: &mut String, config: &Config, queue: Option<&str>) {
    for (Setting { key, value }, origin) in config.queue_settings(queue) {
        line(text, key, value.as_deref(), &origin);
    }
}

/// A setting; if it is nothing, only as a comment.
fn line(text: &mut String, key: &str, value: Option<&str>, origin: &str) {
    let setting = match value {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key}: none"),
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "{setting:COMMENT_COLUMN$} # {origin}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Config {
        Config::parse(text, Path::new("k.toml"), "data".into()).unwrap()
    }

    const TEXT: &str = r#"[server]
max_item_size = 1025
client_timeout = "90s"
connection_limit_refuse_reads = 5
[listen]
text = "127.0.0.1:2222"
[journal]
sync = "10ms"
[queue_defaults]
max_items = 1_000
max_attempts = 5
dead_letter_queue = "dead"
retry_delay = "1500ms"
[queues."jobs"]
max_items = 500
max_size = 18446744073709551615
[queues."jobs+audit"]
max_age = "1m"
sync_journal = "never"
[queues.'with"quote\']
max_size = "3KiB"
[aliases.all]
destinations = ["some", "x"]
[aliases.some]
destinations = ["x", "y"]
"#;

    #[test]
    fn what_is_printed_says_the_same() {
        let config = read(TEXT);
        let again = read(&whole(&config));
        assert_eq!(again.settings(), config.settings());
        assert_eq!(again.queues.defaults, config.queues.defaults);
        assert_eq!(again.queues.aliases, config.queues.aliases);
        assert_eq!(again.queues.named.len(), config.queues.named.len());
        for name in config.queues.named.keys() {
            assert_eq!(again.queues.resolve(name), config.queues.resolve(name));
        }
        // And a file that says nothing.
        let nothing = Config::new("data".into());
        assert_eq!(read(&whole(&nothing)).settings(), nothing.settings());
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let config = read(TEXT);
        let text = whole(&config);
        let has = |key: &str, origin: &str| {
            let found = text.lines().any(|line| {
                line.split_once(" # ")
                    .is_some_and(|(set, from)| set.trim() == key && from == origin)
            });
            assert!(found, "{key} # {origin}\n{text}");
        };
        has("max_item_size = 1025", "k.toml:2");
        has("client_timeout = \"1m 30s\"", "k.toml:3");
        has("data_dir = \"data\"", "built-in");
        has("idempotency_window = \"10m\"", "built-in");
        has("idempotency_keys = 1000000", "built-in");
        has("# memcache: none", "[listen], k.toml:5");
        has("sync = \"10ms\"", "k.toml:8");
        has("sync_journal = \"10ms\"", "journal.sync, line 8");
        let audit = one(&config, "jobs+audit");
        let expected = [
            "max_items = 500 # queues.\"jobs\", line 15",
            "max_size = 18446744073709551615 # queues.\"jobs\", line 16",
            "# max_item_size: none # built-in",
            "max_attempts = 5 # queue_defaults, line 11",
            "retry_delay = \"1s 500ms\" # queue_defaults, line 13",
            "retry_delay_max = \"1h\" # built-in",
            "max_age = \"1m\" # own, line 18",
            "sync_journal = \"never\" # own, line 19",
        ];
        let lines: Vec<String> = audit
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[0], "[queues.\"jobs+audit\"]");
        for line in expected {
            assert!(lines.iter().any(|found| found == line), "{line}\n{audit}");
        }
        // A queue that nobody named.
        assert!(one(&config, "jobs+new").contains("queues.\"jobs\", line 15"));
        assert!(one(&config, "other").contains("queue_defaults, line 10"));
        assert!(one(&config, "all").contains("destinations = [\"x\", \"y\"]"));
    }
}
