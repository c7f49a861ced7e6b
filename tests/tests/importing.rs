//! `import-kestrel` into a data directory that is in use already: of a server that runs as another user, or after an earlier import.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kqueue_tests::{Daemon, Done, files_in, give_away, tool, unprivileged};
use rustix::process::Signal;

/// Puts items at the end of a queue's file, as Kestrel does.
fn kestrel_puts(from: &Path, queue: &str, bodies: &[&str]) {
    let mut file = fs::File::options().create(true).append(true).open(from.join(queue));
    let file = file.as_mut().expect("it can be written");
    for body in bodies {
        let mut record = vec![2];
        record.extend_from_slice(&(body.len() as u32 + 16).to_le_bytes());
        record.extend_from_slice(&1_400_000_000_000u64.to_le_bytes());
        record.extend_from_slice(&0u64.to_le_bytes());
        record.extend_from_slice(body.as_bytes());
        file.write_all(&record).expect("it can be written");
    }
}

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { root: tempfile::tempdir().expect("a directory") };
        fs::create_dir(world.from()).expect("a directory");
        world
    }

    fn from(&self) -> PathBuf {
        self.root.path().join("kestrel")
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn import(&self, more: &[&str]) -> Done {
        let config = self.root.path().join("import.toml");
        let text = format!(
            "[server]\ndata_dir = \"{}\"\n[journal]\nsegment_size = \"4MiB\"\nlog_cap = \"64MiB\"\n",
            self.data().display()
        );
        fs::write(&config, text).expect("written");
        let from = self.from();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"import-kestrel", &from, &"--config", &config];
        arguments.extend(more.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        tool(&arguments)
    }

    fn items(&self) -> usize {
        let done = tool(&[&"dump", &self.data()]);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out.lines().count()
    }
}

#[test]
fn a_queue_that_kestrel_went_on_with_is_not_imported_twice_unless_that_is_wanted() {
    let world = World::new();
    kestrel_puts(&world.from(), "jobs", &["one", "two"]);
    kestrel_puts(&world.from(), "mails", &["a mail"]);
    assert_eq!(world.import(&[]).code, Some(0));
    kestrel_puts(&world.from(), "jobs", &["three"]);
    kestrel_puts(&world.from(), "new", &["first"]);
    let done = world.import(&[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in ["jobs (from ", "had 48 bytes of it, and now 74 bytes", "--again"] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert!(!done.err.contains("mails (") && !done.err.contains("new ("), "{done:?}");
    assert_eq!(world.items(), 3, "nothing was imported");
    assert_eq!(world.import(&["--queue", "new"]).code, Some(0));
    assert_eq!(world.items(), 4);
    let done = world.import(&["--again"]);
    assert_eq!((done.code, world.items()), (Some(0), 7), "{done:?}");
    let done = world.import(&[]);
    assert!(done.out.contains("jobs: was imported already"), "{done:?}");
    assert_eq!((done.code, world.items()), (Some(0), 7), "{done:?}");
}

/// The unit of packaging/ gives the server a user of its own; an operator is root.
#[test]
fn what_root_imports_or_restores_belongs_to_the_user_of_the_server() {
    let Some(wrapper) = unprivileged().filter(|wrapper| !wrapper.is_empty()) else { return };
    let world = World::new();
    fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    // As systemd does it for DynamicUser=.
    let private = world.root.path().join("private");
    fs::create_dir(&private).expect("a directory");
    symlink(&private, world.data()).expect("a link");
    give_away(&private);
    give_away(world.root.path());
    let owner = fs::metadata(world.data()).expect("it is there").uid();
    let start = || Daemon::start_under(&wrapper, world.root.path(), "");
    let stop = |mut daemon: Daemon| {
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code, Some(0));
    };
    let all_belong_to_it = || {
        for file in files_in(&world.data()).into_keys().chain([world.data()]) {
            let found = fs::metadata(&file).expect("it is there");
            assert_eq!((found.uid(), found.gid()), (owner, owner), "{}", file.display());
        }
    };
    stop(start().expect("it starts"));
    kestrel_puts(&world.from(), "jobs", &["one", "two"]);
    assert_eq!(world.import(&[]).code, Some(0));
    all_belong_to_it();
    kestrel_puts(&world.from(), "jobs", &["three"]);
    assert_eq!(world.import(&[]).code, Some(1));
    let daemon = start().expect("it starts");
    assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"one"[..]));
    stop(daemon);

    let backup = world.root.path().join("backup");
    assert_eq!(tool(&[&"backup", &world.data(), &backup]).code, Some(0));
    fs::remove_dir_all(&private).expect("it goes");
    fs::create_dir(&private).expect("a directory");
    give_away(&private);
    let done = tool(&[&"restore", &backup, &private]);
    assert_eq!(done.code, Some(0), "{done:?}");
    all_belong_to_it();
    let daemon = start().expect("it starts");
    assert_eq!(daemon.connect().get("jobs").as_deref(), Some(&b"two"[..]));
}
