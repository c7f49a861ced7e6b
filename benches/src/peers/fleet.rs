//! The servers that are compared: how each is started, what it promises before it answers, how it is emptied.
//!
//! Each listens on a loopback port that was free, keeps its data in a directory of its own on the disk that is measured, and is ended by its pid.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use tempfile::TempDir;

use crate::client;
use crate::load::talk::Talk;
use crate::load::wire::{Beanstalk, Echo, Extended, Kestrel, Nats, Redis, Wire};
use crate::server::{Server, free_address};

/// What has happened to an item when its put is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// Nothing: there are no items.
    None,
    /// It is in memory.
    Memory,
    /// It is written, and synced later: it outlives the process, not the machine.
    Written,
    /// It is on the disk.
    Synced,
}

/// One server with one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Peer {
    /// Ours, `sync = "never"`, with its own words.
    Kqueue,
    /// The same with Kestrel's words.
    KqueueKestrel,
    /// Ours, `sync = "always"`.
    KqueueSynced,
    Memcached,
    BeanstalkMemory,
    BeanstalkDefault,
    BeanstalkSynced,
    RedisEverysec,
    RedisAlways,
    Nats,
    /// A proxy that web servers would run, in front of ours.
    Nutcracker,
    Echo,
}

impl Peer {
    pub(crate) const ALL: [Self; 12] = [
        Self::Kqueue,
        Self::KqueueKestrel,
        Self::KqueueSynced,
        Self::Memcached,
        Self::BeanstalkMemory,
        Self::BeanstalkDefault,
        Self::BeanstalkSynced,
        Self::RedisEverysec,
        Self::RedisAlways,
        Self::Nats,
        Self::Nutcracker,
        Self::Echo,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kqueue => "KQueue",
            Self::KqueueKestrel => "KQueue, Kestrel's words",
            Self::KqueueSynced => "KQueue, synced",
            Self::Memcached => "memcached",
            Self::BeanstalkMemory => "beanstalkd in memory",
            Self::BeanstalkDefault => "beanstalkd, binlog",
            Self::BeanstalkSynced => "beanstalkd -f 0",
            Self::RedisEverysec => "redis everysec",
            Self::RedisAlways => "redis always",
            Self::Nats => "NATS JetStream, file",
            Self::Nutcracker => "nutcracker before KQueue",
            Self::Echo => "echo server",
        }
    }

    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Echo => Durability::None,
            Self::Memcached | Self::BeanstalkMemory => Durability::Memory,
            Self::Kqueue
            | Self::KqueueKestrel
            | Self::BeanstalkDefault
            | Self::RedisEverysec
            | Self::Nats
            | Self::Nutcracker => Durability::Written,
            Self::KqueueSynced | Self::BeanstalkSynced | Self::RedisAlways => Durability::Synced,
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Kqueue | Self::KqueueKestrel | Self::KqueueSynced)
    }

    pub(crate) fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Kqueue | Self::KqueueSynced => &Extended,
            Self::KqueueKestrel | Self::Nutcracker => &Kestrel { is_queue: true },
            Self::Memcached => &Kestrel { is_queue: false },
            Self::BeanstalkMemory | Self::BeanstalkDefault | Self::BeanstalkSynced => &Beanstalk,
            Self::RedisEverysec | Self::RedisAlways => &Redis,
            Self::Nats => &Nats,
            Self::Echo => &Echo,
        }
    }

    /// The program, if it is not ours.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Kqueue | Self::KqueueKestrel | Self::KqueueSynced | Self::Echo => None,
            Self::Memcached => Some("memcached"),
            Self::BeanstalkMemory | Self::BeanstalkDefault | Self::BeanstalkSynced => {
                Some("beanstalkd")
            }
            Self::RedisEverysec | Self::RedisAlways => Some("redis-server"),
            Self::Nats => Some("nats-server"),
            Self::Nutcracker => Some("nutcracker"),
        }
    }

    /// False if the machine does not have it.
    pub(crate) fn is_installed(self) -> bool {
        self.program().is_none_or(|program| found(program).is_some())
    }

    /// What it says of itself, on one line.
    pub(crate) fn version(self) -> Option<String> {
        let argument = match self {
            Self::Memcached => "-V",
            Self::Nutcracker => "-V",
            Self::BeanstalkMemory => "-v",
            Self::RedisEverysec | Self::Nats => "--version",
            _ => return None,
        };
        let output = Command::new(found(self.program()?)?).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line =
            text.lines().find(|line| line.contains(|letter: char| letter.is_ascii_digit()))?;
        let is_version =
            |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        let version = line.split([' ', '=']).find(is_version)?;
        let version = version.trim_start_matches(['v', '-']).trim_start_matches("nutcracker-");
        Some(format!("{} {}", self.program()?, version))
    }
}

/// Debian puts some servers where only root looks.
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) server: Server,
    place: TempDir,
}

/// What starting one needs.
pub(crate) struct Ground<'a> {
    pub(crate) built: &'a Path,
    pub(crate) data: &'a Path,
    /// The server that the proxy stands before.
    pub(crate) behind: Option<SocketAddr>,
}

impl Running {
    pub(crate) fn start(peer: Peer, ground: &Ground<'_>) -> Self {
        let place = tempfile::Builder::new().prefix("peer-").tempdir_in(ground.data);
        let place = place.expect("a directory for the server's data");
        let server = start(peer, ground, place.path());
        let running = Self { peer, server, place };
        if peer == Peer::Nats {
            running.make_stream();
        }
        running
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn talk(&self) -> Talk<'_> {
        // Numbers of measured connections begin at 0.
        Talk::connect(self.address(), self.peer.wire(), 1_000_000)
    }

    /// Takes everything out of it: by a command where that is cheap, else by a new start on an empty directory, which also spares it the rest of its old files.
    pub(crate) fn empty(&mut self, ground: &Ground<'_>) {
        match self.peer {
            Peer::Kqueue | Peer::KqueueKestrel | Peer::KqueueSynced => {
                client::flush_all(&self.server);
            }
            // There is nothing in it; memcached replaces.
            Peer::Echo | Peer::Memcached | Peer::Nutcracker => {}
            Peer::BeanstalkMemory
            | Peer::BeanstalkDefault
            | Peer::BeanstalkSynced
            | Peer::RedisEverysec
            | Peer::RedisAlways
            | Peer::Nats => *self = Self::start(self.peer, ground),
        }
    }

    /// Everything that it wrote is on the disk: the next measurement does not pay for the last one.
    pub(crate) fn settle(&self) {
        crate::storage::machine::settle(self.place.path());
    }

    fn make_stream(&self) {
        let stream =
            br#"{"name":"bench","subjects":["bench"],"storage":"file","retention":"workqueue"}"#;
        let head = format!("PUB $JS.API.STREAM.CREATE.bench inbox.1000000 {}\r\n", stream.len());
        let made = self.talk().ask(&[head.as_bytes(), stream, b"\r\n"].concat());
        made.expect("NATS makes a stream");
    }
}

fn start(peer: Peer, ground: &Ground<'_>, place: &Path) -> Server {
    match peer {
        Peer::Kqueue | Peer::KqueueKestrel => return Server::kqueue(ground.built, place, "never"),
        Peer::KqueueSynced => return Server::kqueue(ground.built, place, "always"),
        _ => {}
    }
    let address = free_address();
    let port = address.port().to_string();
    let mut command = match peer.program() {
        Some(program) => Command::new(found(program).expect("it was looked for")),
        None => Command::new(std::env::current_exe().expect("this program")),
    };
    match peer {
        Peer::Echo => {
            let places = ["--built".as_ref(), ground.built, "--data".as_ref(), ground.data];
            command.args(places).args(["echo", &port]);
        }
        Peer::Memcached => {
            command.args(["-l", "127.0.0.1", "-p", &port, "-U", "0", "-m", "256", "-c", "10000"]);
            command.args(["-u", "nobody"]);
        }
        Peer::BeanstalkMemory | Peer::BeanstalkDefault | Peer::BeanstalkSynced => {
            command.args(["-l", "127.0.0.1", "-p", &port]);
            if peer != Peer::BeanstalkMemory {
                command.arg("-b").arg(place);
            }
            if peer == Peer::BeanstalkSynced {
                command.arg("-f0");
            }
        }
        Peer::RedisEverysec | Peer::RedisAlways => {
            let sync = if peer == Peer::RedisAlways { "always" } else { "everysec" };
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
            // Other loopback addresses come, too; and its file is not rewritten while it is measured, which is to its advantage.
            command.args(["--protected-mode", "no", "--auto-aof-rewrite-percentage", "0"]);
            command.args(["--appendonly", "yes", "--appendfsync", sync, "--dir"]).arg(place);
        }
        Peer::Nats => {
            command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]).arg(place);
        }
        Peer::Nutcracker => {
            let behind = ground.behind.expect("ours is started first");
            let file = place.join("nutcracker.yml");
            let text = format!(
                "bench:\n  listen: {address}\n  hash: fnv1a_64\n  distribution: ketama\n  timeout: 5000\n  preconnect: true\n  servers:\n   - {behind}:1\n"
            );
            fs::write(&file, text).expect("a configuration");
            let statistics = free_address().port().to_string();
            command.arg("-c").arg(file).args(["-a", "127.0.0.1", "-s", &statistics]);
        }
        Peer::Kqueue | Peer::KqueueKestrel | Peer::KqueueSynced => unreachable!("started above"),
    }
    Server::start(command, address)
}
