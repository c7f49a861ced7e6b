//! docs/migrating-from-kestrel.md is done as it is written: every block of shell in it is run, and what a command says is compared with what the guide shows. Only
//! paths, addresses and ports are other ones. Kestrel's part is played by a `kqueue-server`, which knows the same commands, beside a journal directory as Kestrel leaves it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use kqueue_tests::{Daemon, Wire, daemon_binary, files_in, free_port, repository, tool};
use rustix::process::{Pid, Signal, kill_process};

const BEGIN: &str = "Before you begin";
const TRIAL: &str = "Trying it beside Kestrel";
const INTERRUPTED: &str = "With an interruption of some minutes";
const UNINTERRUPTED: &str = "Without an interruption";
const BACK: &str = "The way back";
const MONITORING: &str = "Monitoring and scripts";

/// What Kestrel has left, by queue.
const LEFT: [(&str, &[&str]); 3] = [
    ("jobs", &["thumbnail", "newsitem1", "newsitem2"]),
    ("jobs+audit", &["newsitem2"]),
    ("mails", &["a mail"]),
];

/// A block of code in the guide.
struct Block {
    section: String,
    language: String,
    lines: Vec<String>,
}

fn guide() -> Vec<Block> {
    let path = repository().join("docs/migrating-from-kestrel.md");
    let text = fs::read_to_string(path).expect("the guide");
    let (mut blocks, mut section, mut is_open) = (Vec::<Block>::new(), String::new(), false);
    for line in text.lines() {
        let begin = line.trim_start().strip_prefix("```");
        match (begin, is_open) {
            (Some(language), false) => {
                let (section, language) = (section.clone(), language.to_owned());
                blocks.push(Block { section, language, lines: Vec::new() });
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("it is open");
                block.lines.push(line.strip_prefix("   ").unwrap_or(line).to_owned());
            }
            (None, false) if line.starts_with("##") => {
                section = line.trim_start_matches('#').trim().to_owned();
            }
            (None, false) => {}
        }
    }
    blocks
}

impl Block {
    fn is_shell(&self) -> bool {
        ["sh", "console"].contains(&self.language.as_str())
    }
}

/// A machine on which somebody migrates.
struct World {
    root: tempfile::TempDir,
    /// What stands in the guide, and what is meant here; what is longer comes first.
    meant: Vec<(&'static str, String)>,
    kestrel: SocketAddr,
    kqueue: SocketAddr,
}

impl World {
    /// `is_apart`: the new server has another address.
    fn new(is_apart: bool) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| root.path().join(name).display().to_string();
        let (port, other) = (free_port(), free_port());
        let new = if is_apart { other } else { port };
        let mut meant = vec![
            ("10.0.0.11/22133", format!("127.0.0.1/{port}")),
            ("10.0.0.12/22133", format!("127.0.0.1/{new}")),
            ("/var/spool/kestrel", path("spool")),
            ("/var/lib/kqueue", path("data")),
            ("/etc/kqueue.toml", path("kqueue.toml")),
            ("/tmp/", path("tmp/")),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            ("22133", new.to_string()),
        ];
        let ports = ["32133", "32223", "2222", "2223", "2229"];
        meant.extend(ports.map(|port| (port, free_port().to_string())));
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let world = Self { meant, kestrel: address(port), kqueue: address(new), root };
        world.furnish();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn furnish(&self) {
        for directory in ["spool", "tmp", "bin"] {
            fs::create_dir(self.path(directory)).expect("a directory");
        }
        for (queue, bodies) in LEFT {
            fs::write(self.path("spool").join(queue), journal(bodies)).expect("a file");
        }
        symlink(daemon_binary(), self.path("bin/kqueue-server")).expect("a link");
        let systemctl = self.path("bin/systemctl");
        fs::write(&systemctl, SYSTEMCTL).expect("a file");
        fs::set_permissions(systemctl, fs::Permissions::from_mode(0o700)).expect("a mode");
        let example = guide().into_iter().find(|block| block.language == "toml");
        let example = example.expect("the guide shows a configuration").lines.join("\n");
        fs::write(self.path("kqueue.toml"), self.here(&example)).expect("a file");
    }

    /// What a text of the guide means here.
    fn here(&self, text: &str) -> String {
        let (mut here, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let found = self.meant.iter().find(|(pattern, _)| rest.starts_with(pattern));
            let length = match found {
                Some((pattern, meaning)) => {
                    here.push_str(meaning);
                    pattern.len()
                }
                None => {
                    here.push(first);
                    first.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        here
    }

    /// Kestrel, as far as its commands matter.
    fn kestrel(&self) -> Daemon {
        let directory = self.path("kestrel");
        fs::create_dir(&directory).expect("a directory");
        let listen = format!("[listen]\nmemcache = \"{}\"", self.kestrel);
        Daemon::start_in(&directory, &listen).expect("it starts")
    }

    /// Does what these sections say.
    fn follow(&self, sections: &[&str]) {
        let mut script =
            "set -eu -o pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n".to_owned();
        let mut expected = Vec::new();
        let blocks = guide().into_iter();
        for block in blocks.filter(|block| sections.contains(&&*block.section) && block.is_shell())
        {
            for line in &block.lines {
                let line = self.here(line);
                if block.language == "sh" {
                    script += &line;
                } else if let Some(command) = line.strip_prefix("$ ") {
                    script += &format!("echo '--- {}'\n{command}", expected.len());
                    expected.push((command.to_owned(), String::new()));
                } else {
                    let (_, output) = expected.last_mut().expect("a command comes first");
                    *output += &format!("{line}\n");
                    continue;
                }
                script.push('\n');
            }
            script += "echo '--- end'\n";
        }
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(&script).env("PATH", path).env("ROOT", self.root.path());
        let output = bash.stdin(Stdio::null()).output().expect("bash is there");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}\n{complaints}");
        let mut answers = said.split("--- ");
        for (number, (command, output)) in expected.iter().enumerate() {
            let answer =
                answers.by_ref().find_map(|part| part.strip_prefix(&format!("{number}\n")));
            assert_eq!(answer, Some(&**output), "{command}\n{said}\n{complaints}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.path("pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Starts and stops the server as systemd would.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
case "$*" in
"start kqueue-server")
    kqueue-server --config "$ROOT/kqueue.toml" < /dev/null > /dev/null 2> "$ROOT/log" &
    echo $! > "$ROOT/pid"
    until grep -q 'ready, listening' "$ROOT/log"; do kill -0 $!; sleep 0.05; done
    ;;
"stop kqueue-server")
    kill "$(cat "$ROOT/pid")"
    until grep -q 'stopped;' "$ROOT/log"; do sleep 0.05; done
    rm "$ROOT/pid"
    ;;
*) exit 1 ;;
esac
"#;

/// A journal of Kestrel's with these items.
fn journal(bodies: &[&str]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut bytes = Vec::new();
    for body in bodies {
        bytes.push(2);
        bytes.extend_from_slice(&(body.len() as u32 + 16).to_le_bytes());
        bytes.extend_from_slice(&(now.as_millis() as u64).to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// A worker that gets something for the last time when the server shows this status.
fn worker(mut wire: Wire, status: &'static str, last: &'static str) -> JoinHandle<Option<Vec<u8>>> {
    std::thread::spawn(move || {
        loop {
            wire.send(b"status\r\n");
            if wire.line() == status {
                break;
            }
        }
        wire.get(last)
    })
}

#[test]
fn every_command_of_the_guide_is_run() {
    let run = [BEGIN, TRIAL, INTERRUPTED, UNINTERRUPTED, BACK, MONITORING];
    let blocks = guide();
    let with_shell: BTreeSet<&str> =
        blocks.iter().filter(|block| block.is_shell()).map(|block| &*block.section).collect();
    assert_eq!(with_shell, BTreeSet::from(run));
}

/// Tries it, and then switches with an interruption.
#[test]
fn from_kestrel_with_an_interruption() {
    let world = World::new(false);
    let before = files_in(&world.path("spool"));
    world.follow(&[BEGIN, TRIAL]);
    let mut kestrel = world.kestrel();
    let mut wire = kestrel.connect();
    wire.put("jobs", b"in work");
    assert_eq!(wire.get("jobs/open").as_deref(), Some(&b"in work"[..]));
    let worker = worker(wire, "QUIESCENT", "jobs/close");
    world.follow(&[BEGIN, INTERRUPTED, MONITORING]);
    assert_eq!(worker.join().expect("it was let finish"), None);
    assert_eq!(kestrel.wait().code, Some(0));

    let mut wire = Wire::connect(world.kqueue);
    for (queue, bodies) in LEFT {
        for body in bodies {
            assert_eq!(wire.get(queue).as_deref(), Some(body.as_bytes()), "{queue}");
        }
        assert_eq!(wire.get(queue), None, "{queue}");
    }
    wire.put("everything", b"new");
    for queue in ["jobs", "jobs+audit", "mails"] {
        assert_eq!(wire.get(queue).as_deref(), Some(&b"new"[..]), "{queue}");
    }
    assert!(files_in(&world.path("spool")) == before, "Kestrel could start again");
}

/// Switches while everything works, and back.
#[test]
fn from_kestrel_without_an_interruption_and_back() {
    let world = World::new(true);
    let mut kestrel = world.kestrel();
    let mut wire = kestrel.connect();
    assert_eq!(wire.get("jobs+audit"), None);
    wire.put("jobs", b"old");
    assert_eq!(wire.get("jobs+audit").as_deref(), Some(&b"old"[..]));
    let last = worker(wire, "READONLY", "jobs");
    world.follow(&[BEGIN, UNINTERRUPTED]);
    assert_eq!(last.join().expect("a worker"), Some(b"old".to_vec()));
    kestrel.signal(Signal::TERM);
    assert_eq!(kestrel.wait().code, Some(0));

    let mut wire = Wire::connect(world.kqueue);
    wire.put("jobs", b"new");
    assert_eq!(wire.get("jobs+audit").as_deref(), Some(&b"new"[..]), "the sub-queue was there");
    let last = worker(wire, "READONLY", "jobs");
    world.follow(&[BEGIN, BACK]);
    assert_eq!(last.join().expect("a worker"), Some(b"new".to_vec()));
    let done = tool(&[&"dump", &world.path("data")]);
    assert_eq!((done.code, &*done.out), (Some(0), ""), "{done:?}");
}

/// What the guide shows as the configuration of an example means what Kestrel's did.
#[test]
fn the_example_is_accepted_without_a_warning() {
    let world = World::new(false);
    let done = tool(&[&"check-config", &Path::new(&world.path("kqueue.toml"))]);
    assert_eq!((done.code, &*done.err), (Some(0), ""), "{done:?}");
}
