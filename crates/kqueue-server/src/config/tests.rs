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

fn alias(config: &Config, name: &str) -> Vec<String> {
    let destinations = config.queues.aliases[name.as_bytes()].iter();
    destinations.map(|to| String::from_utf8_lossy(to).into_owned()).collect()
}

/// That the configuration above leaves no key out; but what only one of two queues has is enough.
fn every_key_is_there(config: &Config) {
    for setting in config.settings() {
        assert!(config.places.line(setting.key).is_some(), "{}", setting.key);
    }
    let keys = config.queue_settings(None).into_iter().map(|(setting, _)| setting.key);
    for key in keys {
        let tables = ["queue_defaults", "queues.\"jobs\"", "queues.\"jobs+audit\""];
        let is_there = tables.iter().any(|t| config.places.line(&format!("{t}.{key}")).is_some());
        assert!(is_there, "{key}");
    }
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
idempotency_window = "5m"
idempotency_keys = 1000
max_connections = 1_000
max_item_size = "64KiB"
default_status = "ReadOnly"
status_change_grace_period = "10s"
status_file = "/run/k.status"
connection_limit_refuse_writes = 900
connection_limit_refuse_reads = 0
[listen]
memcache = ["127.0.0.1:1", "unix:/run/k.sock"]
text = "127.0.0.1:2"
thrift = ["127.0.0.1:3"]
admin = "127.0.0.1:4"
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
retry_delay = "1s"
retry_delay_max = "1m"
[queues."jobs+audit"]
max_age = "1m"
fanout_only = false
expire_to_queue = ""
max_attempts = 0
dead_letter_queue = ""
retry_delay = "0s"
[aliases."events"]
destinations = ["jobs", "x"]
"#,
    )
    .unwrap();
    every_key_is_there(&config);
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
    assert_eq!((config.engine.key_window_ms, config.engine.keys_max), (300_000, 1000));
    assert!(config.strict);
    let status = (config.default_status, config.status_grace_ms, config.status_file());
    assert_eq!(status, (Status::ReadOnly, 10_000, "/run/k.status".into()));
    let limits = (config.connection_limit_refuse_writes, config.connection_limit_refuse_reads);
    assert_eq!(limits, (Some(900), None));
    assert_eq!(config.listen_memcache[1], ListenAddress::Unix("/run/k.sock".into()));
    let tcp = |address: &str| [ListenAddress::Tcp(address.to_owned())];
    assert_eq!(config.listen_text, tcp("127.0.0.1:2"));
    assert_eq!(config.listen_thrift, tcp("127.0.0.1:3"));
    assert_eq!(config.listen_admin, tcp("127.0.0.1:4"));
    assert_eq!(alias(&config, "events"), ["jobs", "x"]);
    assert_eq!((config.segment_bytes, config.log_cap_bytes), (1 << 20, 4 << 20));
    let jobs = config.queues.resolve(b"jobs");
    assert_eq!((jobs.max_items, jobs.max_size, jobs.max_item_size), (500, 1 << 20, 10));
    assert!(jobs.discard_old_when_full && jobs.fanout_only);
    assert_eq!((jobs.sync, jobs.open_transaction_timeout_ms), (SyncPolicy::Never, Some(30_000)));
    assert_eq!((jobs.max_memory_size, jobs.keep_journal), (1 << 20, false));
    assert_eq!((jobs.max_expire_sweep, jobs.max_queue_age_ms), (9, Some(3_600_000)));
    assert_eq!((jobs.expire_to_queue.as_deref(), jobs.max_attempts), (Some(&b"late"[..]), Some(3)));
    assert_eq!(jobs.dead_letter_queue.as_deref(), Some(&b"dead"[..]));
    assert_eq!((jobs.retry_delay_ms, jobs.retry_delay_max_ms), (1000, 60_000));
    let audit = config.queues.resolve(b"jobs+audit");
    assert_eq!(
        (audit.max_age_ms, audit.fanout_only, audit.max_item_size),
        (Some(60_000), false, 10)
    );
    // "" and 0 take back what was inherited.
    let taken_back = (&audit.expire_to_queue, audit.max_attempts, &audit.dead_letter_queue);
    assert_eq!(taken_back, (&None, None, &None));
    assert_eq!((audit.retry_delay_ms, audit.retry_delay_max_ms), (0, 60_000));
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
            "k.toml:2: journal.segment_size: a segment must have at least",
        ),
        ("[journal]\nlog_cap = \"100MiB\"", "k.toml:2: journal.log_cap must be at least 2 x"),
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
            "[queues.\"q\"]\nretry_delay = 5",
            "k.toml:2: queues.\"q\".retry_delay must be a duration",
        ),
        (
            "[queue_defaults]\nretry_delay_max = \"100us\"",
            "k.toml:2: queue_defaults.retry_delay_max must be at least 1ms",
        ),
        (
            "[server]\nidempotency_window = \"soon\"",
            "k.toml:2: server.idempotency_window must be a duration",
        ),
        (
            "[server]\nidempotency_keys = -1",
            "k.toml:2: server.idempotency_keys must be a whole number from 0",
        ),
        (
            "[server]\nidempotency_keys = 100_000_001",
            "k.toml:2: server.idempotency_keys must be a whole number from 0 to 100000000",
        ),
        ("[server]\nretry_delay = \"1s\"", "k.toml:2: unknown key server.retry_delay"),
        (
            "[queues.\"q\"]\nexpire_to_queue = \"q\"",
            "k.toml:2: queues.\"q\".expire_to_queue is the queue itself",
        ),
        ("[server]\nmax_memory_size = \"1KiB\"", "k.toml:2: server.max_memory_size must be a size"),
        ("[server]\nmax_queues = 0", "k.toml:2: server.max_queues must be a whole number from 1"),
        ("[journal]\nstrict = 1", "k.toml:2: journal.strict must be true or false"),
        (
            "[server]\ndefault_status = \"down\"",
            "k.toml:2: server.default_status must be \"up\", \"writeavoid\", \"readonly\" or",
        ),
        (
            "[server]\nstatus_change_grace_period = 5",
            "k.toml:2: server.status_change_grace_period must be a duration",
        ),
        ("[server]\nstatus_file = \"\"", "k.toml:2: server.status_file must be a path"),
        (
            "[server]\nstatus_file = \"data/else\"",
            "k.toml:2: server.status_file: in server.data_dir it can only be data/status",
        ),
        (
            "[server]\nconnection_limit_refuse_writes = -1",
            "k.toml:2: server.connection_limit_refuse_writes must be a whole number",
        ),
        (
            "[server]\nconnection_limit_refuse_reads = \"many\"",
            "k.toml:2: server.connection_limit_refuse_reads must be a whole number",
        ),
        (
            "[server]\n[listen]\nadmin = \"127.0.0.1:1\"",
            "k.toml:2: listen: no protocol that carries items is listened on",
        ),
        ("[listen]\nmemcache = []", "k.toml:1: listen: no protocol that carries items"),
        (
            "[listen]\nmemcache = \"localhost:0\"\ntext = [\n\"nowhere\"]",
            "k.toml:3: listen.text must be \"host:port\"",
        ),
        (
            "[listen]\nmemcache = \"localhost:1\"\nthrift = \"localhost:1\"",
            "k.toml:3: listen.thrift: localhost:1 is an address of listen.memcache already",
        ),
        ("[listen]\nadmin = 5", "k.toml:2: listen.admin must be \"host:port\""),
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

/// What shows only when everything is known is told with the line of the key that makes it wrong.
#[test]
fn an_error_of_several_keys_has_the_line_of_one() {
    let cases = [
        (
            "[server]\n\nmax_item_size = \"64MiB\"\n[journal]\nstrict = true",
            "k.toml:3: server.max_item_size: a segment must have",
        ),
        ("[journal]\n\nsegment_size = \"4GiB\"", "k.toml:3: journal.log_cap must be at least 2 x"),
        (
            "[queues.q]\nmax_items = 1\ndead_letter_queue = \"q\"",
            "k.toml:3: queues.\"q\".dead_letter_queue is the queue itself",
        ),
    ];
    for (text, expected) in cases {
        let error = error(text);
        assert!(error.starts_with(expected), "{error}\nshould begin with\n{expected}");
    }
}

#[test]
fn only_the_protocols_of_the_file_are_started() {
    let config = parse("[listen]\ntext = \"127.0.0.1:0\"\nthrift = \"127.0.0.1:0\"").unwrap();
    assert!(config.listen_memcache.is_empty() && config.listen_admin.is_empty());
    assert_eq!((config.listen_text.len(), config.listen_thrift.len()), (1, 1));
    let config = parse("[server]").unwrap();
    assert_eq!(config.listen_memcache.len(), 1);
    assert!(config.listen_text.is_empty() && config.listen_thrift.is_empty());
    assert_eq!(config.status_file(), PathBuf::from("data/status"));
}

#[test]
fn aliases_are_flattened() {
    let config = parse(
        "[aliases]\nall.destinations = [\"x\", \"some\", \"more\"]\nmore.destinations = [\"z\", \"y\"]\nsome.destinations = [\"y\", \"more\", \"x\"]",
    )
    .unwrap();
    assert_eq!(alias(&config, "more"), ["z", "y"]);
    assert_eq!(alias(&config, "some"), ["y", "z", "x"]);
    assert_eq!(alias(&config, "all"), ["x", "y", "z"]);
    // However long the way is.
    let long: String = (0..5_000)
        .map(|n| format!("[aliases.a{n:05}]\ndestinations = [\"a{:05}\"]\n", n + 1))
        .collect();
    assert_eq!(alias(&parse(&long).unwrap(), "a00000"), ["a05000"]);
}

#[test]
fn every_mistake_in_an_alias_is_named() {
    let cases = [
        ("[aliases.\"a.b\"]\ndestinations = [\"x\"]", "k.toml:1: aliases.\"a.b\": '.' in"),
        ("\n[aliases.a]\n", "k.toml:2: aliases.\"a\".destinations is missing"),
        (
            "[aliases.a]\ndestinations = []",
            "k.toml:2: aliases.\"a\".destinations must be a list of 1 to 1000 names",
        ),
        (
            "[aliases.a]\ndestinations = \"x\"",
            "k.toml:2: aliases.\"a\".destinations must be a list of names",
        ),
        (
            "[aliases.a]\ndestinations = [\"x\", \"x/y\"]",
            "k.toml:2: aliases.\"a\".destinations must be a list of names of queues, such as [\"a\", \"b\"] (\"x/y\": '/' in",
        ),
        ("[aliases.a]\nto = [\"x\"]", "k.toml:1: aliases.\"a\".destinations is missing"),
        ("[aliases.a]\ndestinations = [\"x\"]\nto = 1", "k.toml:3: unknown key aliases.\"a\".to"),
        (
            "[aliases.a]\ndestinations = [\"a\"]",
            "k.toml:2: aliases.\"a\".destinations lead back to it: a -> a",
        ),
        (
            "[aliases.a]\ndestinations = [\"x\", \"b\"]\n[aliases.b]\ndestinations = [\"c\"]\n[aliases.c]\ndestinations = [\"x\", \"b\"]",
            "k.toml:4: aliases.\"b\".destinations lead back to it: b -> c -> b",
        ),
        (
            "[queues.a]\n[aliases.a]\ndestinations = [\"x\"]",
            "k.toml:2: aliases.\"a\" has the name of queues.\"a\", which would never be used",
        ),
        (
            "[queue_defaults]\nexpire_to_queue = \"a\"\n[aliases.a]\ndestinations = [\"x\"]",
            "k.toml:2: queue_defaults.expire_to_queue must be a queue, and a is an alias",
        ),
        (
            "[queues.q]\ndead_letter_queue = \"a\"\n[aliases.a]\ndestinations = [\"x\"]",
            "k.toml:2: queues.\"q\".dead_letter_queue must be a queue, and a is an alias",
        ),
    ];
    for (text, expected) in cases {
        let error = error(text);
        assert!(error.starts_with(expected), "{error}\nshould begin with\n{expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn an_alias_leads_to_a_thousand_queues_at_most() {
    let list = |from: u32, to: u32| {
        let names: Vec<String> = (from..to).map(|n| format!("\"q{n}\"")).collect();
        names.join(", ")
    };
    let text = |more: &str| {
        format!(
            "[aliases.a]\ndestinations = [\"b\", {more}]\n[aliases.b]\ndestinations = [{}]\n",
            list(0, 600)
        )
    };
    assert_eq!(alias(&parse(&text(&list(500, 1000))).unwrap(), "a").len(), 1000);
    let error = error(&text(&list(600, 1001)));
    assert!(
        error.starts_with("k.toml:2: aliases.\"a\".destinations are 1001 queues, more than 1000")
    );
    let long = format!("[aliases.a]\ndestinations = [{}]", list(0, 1001));
    assert!(parse(&long).is_err());
}

#[test]
fn what_is_probably_not_meant_is_told() {
    let config = parse(
        r#"[server]
max_connections = 100
connection_limit_refuse_writes = 100
connection_limit_refuse_reads = 99
expiration_timer_frequency = "0s"
max_item_size = "1KiB"
[queue_defaults]
max_item_size = "1KiB"
[queues.jobs]
max_item_size = "1MiB"
max_queue_age = "1h"
fanout_only = true
max_attempts = 3
dead_letter_queue = "dead"
[queues."jobs+audit"]
fanout_only = true
[queues.dead]
max_items = 10
[queues.memory]
keep_journal = false
expire_to_queue = "nowhere"
[queues.late]
expire_to_queue = "memory"
"#,
    )
    .unwrap();
    let expected = [
        "k.toml:3: server.connection_limit_refuse_writes: has no effect",
        "k.toml:10: queues.\"jobs\".max_item_size: has no effect: server.max_item_size is 1024 bytes",
        "k.toml:11: queues.\"jobs\".max_queue_age: has no effect",
        "k.toml:14: queues.\"jobs\".dead_letter_queue: what goes to dead goes past queues.\"dead\".max_items",
        "k.toml:16: queues.\"jobs+audit\".fanout_only: has no effect",
        "k.toml:23: queues.\"late\".expire_to_queue: what goes to memory is lost when the server ends",
    ];
    let mut warnings = config.warnings();
    warnings
        .sort_by_key(|warning| warning.split(':').nth(1).and_then(|line| line.parse::<u32>().ok()));
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}\nshould begin with\n{expected}");
    }
    // The sample and the built-in settings are fine.
    let sample = include_str!("../../../../packaging/kqueue.toml");
    assert!(parse(sample).unwrap().warnings().is_empty());
    assert!(Config::new("data".into()).warnings().is_empty());
}

/// Not two of them of the same thing, and none of what somebody may want.
#[test]
fn zeros_and_loops_and_delays_that_are_never_waited_are_told() {
    let warnings = |text: &str| {
        let warnings = parse(text).unwrap().warnings();
        warnings.iter().map(|w| w.trim_start_matches("k.toml:").to_owned()).collect::<Vec<_>>()
    };
    let zeros = "[queue_defaults]\nmax_items = 0\n[queues.q]\nmax_size = 0\nmax_item_size = 0\n[queues.m]\nkeep_journal = false\nmax_memory_size = 0";
    let told = warnings(zeros);
    let expected = [
        "2: queue_defaults.max_items: 0 refuses every put; ",
        "8: queues.\"m\".max_memory_size: 0 refuses every put (keep_journal = false)",
        "4: queues.\"q\".max_size: 0 refuses every put; ",
        "5: queues.\"q\".max_item_size: 0 refuses every item that is not empty; ",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(told.iter().zip(expected).all(|(told, to)| told.starts_with(to)), "{told:#?}");

    let looped = "[queue_defaults]\nmax_age = \"1s\"\n[queues.a]\nexpire_to_queue = \"b\"\n[queues.b]\nexpire_to_queue = \"c\"\n[queues.c]\nexpire_to_queue = \"a\"\n[queues.d]\nexpire_to_queue = \"a\"";
    let told = warnings(looped);
    let line = "4: queues.\"a\".expire_to_queue: items go round for ever, from a to b to c to a, since each has a max_age";
    assert_eq!(told, [line]);

    let told =
        warnings("[queue_defaults]\nretry_delay_max = \"1m\"\n[queues.q]\nretry_delay = \"61s\"");
    let line = "4: queues.\"q\".retry_delay: never waited: retry_delay_max is shorter";
    assert_eq!(told, [line]);

    for fine in [
        // One can bury; and what came too often stays.
        "[queues.jobs]\ndead_letter_queue = \"dead\"",
        "[queue_defaults]\nmax_attempts = 3",
        "[queue_defaults]\nmax_attempts = 3\ndead_letter_queue = \"dead\"\n[queues.q]\ndead_letter_queue = \"\"",
        "[queue_defaults]\nretry_delay = \"1h\"",
        // What has come to b stays there.
        "[queues.a]\nmax_age = \"1s\"\nexpire_to_queue = \"b\"\n[queues.b]\nexpire_to_queue = \"a\"",
        // A queue that would expire into itself does not.
        "[queue_defaults]\nmax_age = \"1s\"\nexpire_to_queue = \"late\"\n[queues.late]\nmax_items = 1000000000000",
        "[queues.m]\nmax_memory_size = 0\n[queues.f]\nmax_items = 0\nfanout_only = true",
    ] {
        let told = warnings(fine);
        assert!(told.iter().all(|line| line.contains("goes past")), "{fine}\n{told:#?}");
    }
}

#[test]
fn a_reload_names_what_it_cannot_change() {
    let old = parse("").unwrap();
    let same = "[journal]\nsync = \"never\"\n[queue_defaults]\nmax_items = 1\n[queues.q]\nmax_items = 2\n[aliases.a]\ndestinations = [\"q\"]";
    assert!(old.differences_that_need_a_restart(&parse(same).unwrap()).is_empty());
    let new = parse(
        "[server]\nstatus_file = \"/s\"\nmax_queues = 5\n[listen]\nmemcache = \"127.0.0.1:22133\"\nadmin = \"127.0.0.1:2223\"\n[journal]\nstrict = true",
    );
    let differences = old.differences_that_need_a_restart(&new.unwrap());
    let expected = ["server.status_file", "server.max_queues", "listen.admin", "journal.strict"];
    assert_eq!(differences, expected);
}

/// Every key there is stands in the sample, so that it can be found.
#[test]
fn the_sample_has_every_key() {
    let sample = include_str!("../../../../packaging/kqueue.toml");
    let config = parse(&uncommented(sample)).unwrap();
    let tables = ["queue_defaults", "queues.\"jobs\""];
    for setting in config.settings() {
        assert!(config.places.line(setting.key).is_some(), "{}", setting.key);
    }
    for (setting, _) in config.queue_settings(None) {
        let key = setting.key;
        let is_there = tables.iter().any(|t| config.places.line(&format!("{t}.{key}")).is_some());
        assert!(is_there, "{key}");
    }
    assert!(!config.queues.aliases.is_empty());
}

/// What is commented out are the defaults or examples.
fn uncommented(sample: &str) -> String {
    sample
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_sample_is_valid() {
    let sample = include_str!("../../../../packaging/kqueue.toml");
    parse(sample).unwrap();
    // What is commented out has to be valid, too.
    parse(&uncommented(sample)).unwrap();
}
