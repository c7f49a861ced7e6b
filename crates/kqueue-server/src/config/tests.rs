//! Every key, every kind of mistake.

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("k.toml"), "data".into()).map_err(|error| error.to_string())
}

fn error(text: &str) -> String {
    parse(text).expect_err("a configuration error")
}

#[test]
fn an_empty_file_is_safe() {
    let config = parse("").unwrap();
    assert_eq!(config.listen_memcache, [ListenAddress::Tcp("127.0.0.1:22133".into())]);
    assert_eq!(config.queues.resolve(b"any").sync, SyncPolicy::Always);
    assert_eq!(config.data_dir, PathBuf::from("data"));
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
[server]
data_dir = "/var/lib/kqueue"
expiration_timer_frequency = "0s"
client_timeout = "1m"
max_open_transactions = 7
max_memory_size = "64MiB"
max_queues = 42
max_connections = 1_000
max_item_size = "64KiB"
[listen]
memcache = ["127.0.0.1:1", "unix:/run/k.sock"]
[journal]
sync = "10ms"
segment_size = "1MiB"
log_cap = 4194304
strict = true
[queue_defaults]
max_items = 500
[queues."jobs"]
max_size = "1MiB"
max_item_size = 10
discard_old_when_full = true
fanout_only = true
sync_journal = "never"
open_transaction_timeout = "30s"
max_memory_size = "1MiB"
keep_journal = false
expire_to_queue = "late"
max_expire_sweep = 9
max_queue_age = "1h"
max_attempts = 3
dead_letter_queue = "dead"
[queues."jobs+audit"]
max_age = "1m"
fanout_only = false
expire_to_queue = ""
max_attempts = 0
dead_letter_queue = ""
"#,
    )
    .unwrap();
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/kqueue"));
    assert_eq!(
        (config.expiration_timer_frequency, config.client_timeout),
        (None, Some(Duration::from_secs(60)))
    );
    assert_eq!(
        (config.engine.max_open_per_queue, config.max_connections, config.max_item_size),
        (7, 1000, 65536)
    );
    assert_eq!((config.engine.max_memory_size, config.engine.max_queues), (64 << 20, 42));
    assert!(config.strict);
    assert_eq!(config.listen_memcache[1], ListenAddress::Unix("/run/k.sock".into()));
    assert_eq!((config.segment_bytes, config.log_cap_bytes), (1 << 20, 4 << 20));
    let jobs = config.queues.resolve(b"jobs");
    assert_eq!((jobs.max_items, jobs.max_size, jobs.max_item_size), (500, 1 << 20, 10));
    assert!(jobs.discard_old_when_full && jobs.fanout_only);
    assert_eq!((jobs.sync, jobs.open_transaction_timeout_ms), (SyncPolicy::Never, Some(30_000)));
    assert_eq!((jobs.max_memory_size, jobs.keep_journal), (1 << 20, false));
    assert_eq!((jobs.max_expire_sweep, jobs.max_queue_age_ms), (9, Some(3_600_000)));
    assert_eq!((jobs.expire_to_queue.as_deref(), jobs.max_attempts), (Some(&b"late"[..]), Some(3)));
    assert_eq!(jobs.dead_letter_queue.as_deref(), Some(&b"dead"[..]));
    let audit = config.queues.resolve(b"jobs+audit");
    assert_eq!(
        (audit.max_age_ms, audit.fanout_only, audit.max_item_size),
        (Some(60_000), false, 10)
    );
    // "" and 0 take back what was inherited.
    let taken_back = (&audit.expire_to_queue, audit.max_attempts, &audit.dead_letter_queue);
    assert_eq!(taken_back, (&None, None, &None));
    assert_eq!(config.queues.resolve(b"x").sync, SyncPolicy::Every { ms: 10 });
}

#[test]
fn every_mistake_is_named_with_its_line_and_key() {
    let cases = [
        ("[server]\nbogus = 1", "k.toml:2: unknown key server.bogus"),
        ("\n\n[sever]\n", "k.toml:3: unknown key sever"),
        ("[server]\ndata_dir = 5", "k.toml:2: server.data_dir must be a path"),
        ("[server]\nclient_timeout = 5", "k.toml:2: server.client_timeout must be a duration"),
        (
            "[server]\nclient_timeout = \"5 lightyears\"",
            "k.toml:2: server.client_timeout must be a duration",
        ),
        (
            "[server]\nmax_connections = 0",
            "k.toml:2: server.max_connections must be a whole number from 1",
        ),
        (
            "[server]\nmax_connections = -1",
            "k.toml:2: server.max_connections must be a whole number from 1",
        ),
        ("[server]\nmax_item_size = \"1GiB\"", "k.toml:2: server.max_item_size must be a size"),
        ("[listen]\nmemcache = \"nowhere\"", "k.toml:2: listen.memcache must be \"host:port\""),
        ("[listen]\nmemcache = \"unix:relative\"", "k.toml:2: listen.memcache must be"),
        ("[listen]\nmemcache = \":80\"", "k.toml:2: listen.memcache must be"),
        (
            "[journal]\nsync = \"sometimes\"",
            "k.toml:2: journal.sync must be \"always\", \"never\" or a duration",
        ),
        ("[journal]\nsegment_size = \"1KiB\"", "k.toml:2: journal.segment_size must be a size"),
        (
            "[journal]\nsegment_size = \"100KiB\"",
            "k.toml:1: journal.segment_size: a segment must have at least",
        ),
        ("[journal]\nlog_cap = \"100MiB\"", "k.toml:1: journal.log_cap must be at least 2 x"),
        ("[queue_defaults]\nmax_itmes = 1", "k.toml:2: unknown key queue_defaults.max_itmes"),
        ("[queues.\"a.b\"]\n", "k.toml:1: queues.\"a.b\": '.' in a queue name"),
        (
            "[queues.\"q\"]\nfanout_only = 1",
            "k.toml:2: queues.\"q\".fanout_only must be true or false",
        ),
        ("[queues.\"q\"]\nsync = \"never\"", "k.toml:2: unknown key queues.\"q\".sync"),
        (
            "[queues.\"q\"]\ndead_letter_queue = \"a b\"",
            "k.toml:2: queues.\"q\".dead_letter_queue must be the name of a queue",
        ),
        (
            "[queues.\"q\"]\nmax_attempts = 2",
            "k.toml:1: queues.\"q\": max_attempts needs dead_letter_queue",
        ),
        (
            "[queue_defaults]\nmax_attempts = 2",
            "k.toml:1: queue_defaults: max_attempts needs dead_letter_queue",
        ),
        (
            "[queues.\"q\"]\nexpire_to_queue = \"q\"",
            "k.toml:1: queues.\"q\": expire_to_queue is the queue itself",
        ),
        ("[server]\nmax_memory_size = \"1KiB\"", "k.toml:2: server.max_memory_size must be a size"),
        ("[server]\nmax_queues = 0", "k.toml:2: server.max_queues must be a whole number from 1"),
        ("[journal]\nstrict = 1", "k.toml:2: journal.strict must be true or false"),
        ("queues = 3", "k.toml:1: queues must be a table"),
        ("[server\n", "k.toml:1: not valid TOML"),
        ("[server]\na = 1\na = 2", "k.toml:3: not valid TOML: duplicate key: a"),
    ];
    for (text, expected) in cases {
        let error = error(text);
        assert!(error.starts_with(expected), "{error}\nshould begin with\n{expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_sample_is_valid() {
    let sample = include_str!("../../../../packaging/kqueue.toml");
    parse(sample).unwrap();
    // What is commented out are the defaults or examples: they have to be valid, too.
    let uncommented: String = sample
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    parse(&uncommented).unwrap();
}
