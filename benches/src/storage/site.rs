//! A data directory and the daemon on it: started, stopped, killed and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::Server;
use crate::storage::load::Pipe;
use crate::storage::watch::{DiskBound, Watch};
use crate::storage::{Bench, GIB, KIB, MIB};

/// Smaller segments would make a scaled run one of file creation.
const SEGMENT_MIN: u64 = MIB;
/// As the server's default.
const SEGMENT: u64 = 64 * MIB;
const LOG_CAP: u64 = GIB;

/// What of the configuration matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) sync: &'static str,
    pub(crate) bound: DiskBound,
}

impl Setup {
    /// The server's default sizes, scaled.
    pub(crate) fn scaled(bench: &Bench) -> Self {
        let segment = bench.scaled(SEGMENT).max(SEGMENT_MIN);
        let log_cap = bench.scaled(LOG_CAP).max(4 * segment);
        Self { sync: "never", bound: DiskBound { log_cap, segment } }
    }

    /// A segment must have room for the largest item.
    fn item_bytes_max(&self) -> u64 {
        if self.bound.segment >= SEGMENT { MIB } else { 64 * KIB }
    }

    fn text(&self, directory: &Path) -> String {
        let Self { sync, bound: DiskBound { log_cap, segment } } = self;
        let item_bytes_max = self.item_bytes_max();
        format!(
            "[server]\ndata_dir = \"{}\"\nmax_item_size = {item_bytes_max}\nmax_open_transactions = 10000\n[listen]\nmemcache = \"127.0.0.1:0\"\n[journal]\nsync = \"{sync}\"\nsegment_size = {segment}\nlog_cap = {log_cap}\n",
            directory.display()
        )
    }
}

/// A start, timed from the moment at which the process was made.
pub(crate) struct Started {
    pub(crate) server: Server,
    pub(crate) began: Instant,
    pub(crate) ready: Duration,
}

/// See the module's description. The directory goes with it.
pub(crate) struct Site {
    built: PathBuf,
    setup: Setup,
    place: TempDir,
}

impl Site {
    pub(crate) fn new(bench: &Bench, setup: Setup) -> Self {
        let place = tempfile::Builder::new().prefix("storage-").tempdir_in(&bench.data);
        let place = place.expect("a directory for the server's data");
        fs::write(place.path().join("kqueue.toml"), setup.text(&place.path().join("data")))
            .expect("a configuration");
        Self { built: bench.built.clone(), setup, place }
    }

    /// Where the server's files are.
    pub(crate) fn files(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// The longest item that it takes.
    pub(crate) fn item_bytes_max(&self) -> u64 {
        self.setup.item_bytes_max()
    }

    pub(crate) fn start(&self) -> Started {
        let began = Instant::now();
        let server = Server::kqueue_with(&self.built, &self.place.path().join("kqueue.toml"));
        Started { server, began, ready: began.elapsed() }
    }

    /// Looks at the server and its files from now on; its queues hold so many bytes already.
    pub(crate) fn watch(&self, server: &Server, live: u64) -> Watch {
        Watch::start(server, &self.files(), self.setup.bound, live)
    }
}

impl Started {
    /// The first item that it hands out after the start, and when.
    pub(crate) fn first_get(&self, queue: &str) -> (Option<Vec<u8>>, Duration) {
        let item = Pipe::connect(&self.server).item(&format!("get {queue}\r\n"));
        (item, self.began.elapsed())
    }
}
