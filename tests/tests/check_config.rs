//! `kqueue-server check-config`: what an operator is told about a configuration file before a server runs on it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kqueue_tests::{Done, Starting, files_in, settings_of, tool};

/// A directory with a configuration in it, whose data directory does not exist.
struct Written {
    root: tempfile::TempDir,
}

impl Written {
    /// `{data}` and `{root}` stand for directories.
    fn new(text: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let written = Self { root };
        let data = written.data().display().to_string();
        let text = text.replace("{data}", &data);
        let text = text.replace("{root}", &written.root.path().display().to_string());
        fs::write(written.file(), text).expect("a file");
        written
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("k.toml")
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn check(&self) -> Done {
        tool(&[&"check-config", &self.file()])
    }
}

const GOOD: &str = r#"[server]
data_dir = "{data}"
max_item_size = "64KiB"
default_status = "ReadOnly"

[listen]
memcache = ["127.0.0.1:0", "unix:{root}/k.sock"]

[journal]
sync = "10ms"

[queue_defaults]
max_items = 1000

[queues."jobs"]
max_items = 500
sync_journal = "never"
[queues."jobs+audit"]
max_age = "1m"

[aliases."all"]
destinations = ["some", "jobs"]
[aliases."some"]
destinations = ["jobs", "log"]
"#;

#[test]
fn every_setting_is_printed_with_its_origin() {
    let written = Written::new(GOOD);
    let done = written.check();
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    let settings = settings_of(&done.out);
    let file = written.file().display().to_string();
    let cases = [
        ("server.max_item_size", "\"64KiB\"", format!("{file}:3")),
        ("server.default_status", "\"readonly\"", format!("{file}:4")),
        ("server.max_connections", "10000", "built-in".to_owned()),
        ("journal.sync", "\"10ms\"", format!("{file}:10")),
        ("queue_defaults.max_items", "1000", "queue_defaults, line 13".to_owned()),
        ("queue_defaults.sync_journal", "\"10ms\"", "journal.sync, line 10".to_owned()),
        ("queues.\"jobs\".max_items", "500", "own, line 16".to_owned()),
        ("queues.\"jobs\".keep_journal", "true", "built-in".to_owned()),
        ("queues.\"jobs+audit\".max_items", "500", "queues.\"jobs\", line 16".to_owned()),
        ("queues.\"jobs+audit\".sync_journal", "\"never\"", "queues.\"jobs\", line 17".to_owned()),
        ("queues.\"jobs+audit\".max_age", "\"1m\"", "own, line 19".to_owned()),
        ("aliases.\"all\".destinations", "[\"jobs\", \"log\"]", format!("{file}:22")),
    ];
    for (key, value, origin) in cases {
        let found = settings.get(key).map(|(value, origin)| (value.as_str(), origin.as_str()));
        assert_eq!(found, Some((value, origin.as_str())), "{key}\n{}", done.out);
    }
    assert!(!settings.contains_key("listen.text"), "not started: {}", done.out);
}

#[test]
fn what_is_printed_is_a_configuration_that_says_the_same() {
    let first = Written::new(GOOD).check();
    let again = Written::new(&first.out).check();
    assert_eq!(again.code, Some(0), "{again:?}");
    let values = |done: &Done| {
        let settings = settings_of(&done.out).into_iter();
        settings.map(|(key, (value, _))| (key, value)).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&first));
}

#[test]
fn a_queue_that_is_not_in_the_file_is_shown_as_it_would_be() {
    let written = Written::new(GOOD);
    let queues = |names: &[&str]| {
        let file = written.file();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"check-config", &file];
        for name in names {
            arguments.extend([&"--queue" as &dyn AsRef<std::ffi::OsStr>, name]);
        }
        tool(&arguments)
    };
    let done = queues(&["jobs+search", "other", "some"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let settings = settings_of(&done.out);
    let of = |key: &str| settings[key].clone();
    let said = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(of("queues.\"jobs+search\".max_items"), said("500", "queues.\"jobs\", line 16"));
    assert_eq!(of("queues.\"other\".max_items"), said("1000", "queue_defaults, line 13"));
    assert_eq!(of("aliases.\"some\".destinations").0, "[\"jobs\", \"log\"]");
    assert!(settings.keys().all(|key| !key.starts_with("server")), "{}", done.out);
    let done = queues(&["a/b"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("a/b") && done.out.is_empty(), "{done:?}");
}

#[test]
fn a_broken_file_is_told_as_the_server_tells_it() {
    let cases = [
        ("[server]\nmax_conections = 5\n", ":2: unknown key server.max_conections"),
        ("[listen]\nadmin = \"127.0.0.1:0\"\n", ":1: listen: no protocol that carries items"),
        (
            "[aliases.a]\ndestinations = [\"b\"]\n[aliases.b]\ndestinations = [\"a\"]\n",
            ":2: aliases.\"a\".destinations lead back to it: a -> b -> a",
        ),
        (
            "[journal]\nsegment_size = \"64MiB\"\nlog_cap = \"100MiB\"\n",
            ":3: journal.log_cap must be at least",
        ),
        ("[server\n", ":1: not valid TOML"),
    ];
    for (text, expected) in cases {
        let written = Written::new(text);
        let done = written.check();
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{done:?}");
        assert_eq!(done.err.matches("ERROR").count(), 1, "{done:?}");
        let said = |log: &str| {
            let at = log.find("configuration error: ").expect("it is an error");
            log[at..].trim_end().to_owned()
        };
        let place = format!("configuration error: {}{expected}", written.file().display());
        assert!(said(&done.err).starts_with(&place), "{done:?}");
        let server = tool(&[&"--config", &written.file()]);
        assert_eq!((server.code, said(&server.err)), (Some(2), said(&done.err)));
    }
    let done = tool(&[&"check-config", &"/nowhere/k.toml"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("/nowhere/k.toml: cannot be read"), "{done:?}");
    assert_eq!(tool(&[&"check-config"]).code, Some(2), "a file is needed");
}

/// The ports are taken and the disk is not writable: it does not even try.
#[test]
fn no_port_is_opened_and_nothing_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has an address").to_string();
    let text = "[server]\ndata_dir = \"{data}\"\nstatus_file = \"{root}/status\"\n[listen]\nmemcache = [\"ADDRESS\", \"unix:{root}/k.sock\"]\n";
    let written = Written::new(&text.replace("ADDRESS", &address));
    let before = files_in(written.root.path());
    fs::set_permissions(written.root.path(), fs::Permissions::from_mode(0o500)).expect("a mode");
    let done = written.check();
    fs::set_permissions(written.root.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(files_in(written.root.path()) == before, "no byte and no time has changed");
    assert!(!written.data().exists());
    // The address was really the one that a server would have wanted.
    let server = tool(&[&"--config", &written.file()]);
    assert_eq!(server.code, Some(1), "{server:?}");
    assert!(server.err.contains(&address), "{server:?}");
}

#[test]
fn what_is_probably_not_meant_is_told_by_the_tool_and_by_the_server() {
    let root = tempfile::tempdir().expect("a directory");
    let extra = "[queues.\"jobs+audit\"]\nfanout_only = true\n[queues.dead]\nmax_items = 5\n[queues.jobs]\nmax_attempts = 3\ndead_letter_queue = \"dead\"\n";
    let starting = Starting::spawn(root.path(), extra, &[]);
    let daemon = starting.ready().expect("warnings stop nobody");
    let done = tool(&[&"check-config", &root.path().join("server.toml")]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let warnings: Vec<&str> =
        done.err.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{done:?}");
    let log = daemon.kill().stderr;
    for (warning, what) in warnings.iter().zip(["dead_letter_queue", "fanout_only"]) {
        assert!(warning.contains(what), "{warning}");
        assert!(log.lines().any(|line| line.contains("WARN") && line.ends_with(warning)), "{log}");
    }
}
