//! Looks at the server's process and its data directory, from outside, twenty times a second.
//!
//! Must not: ask the server. What it says of itself is not what is measured.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::server::Server;
use crate::storage::{KIB, MIB};

const PERIOD: Duration = Duration::from_millis(50);
/// With less memory than this available the server is ended: the machine may have other work.
const MEMORY_RESERVE: u64 = 512 * MIB;

/// The highest figures since [`Watch::begin`], in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// Resident memory, page cache that the process has mapped included.
    pub(crate) rss: u64,
    /// Resident memory that is the process's own.
    pub(crate) rss_anon: u64,
    /// Blocks of all files in the data directory.
    pub(crate) disk: u64,
    /// How far they exceeded their bound; negative if they never did.
    pub(crate) disk_over: i64,
}

/// What an item takes in the log besides its body: head, queue, times; a little more if anything.
const RECORD_BYTES: u64 = 64;

/// What an item with a body of this length keeps alive in the log.
pub(crate) fn in_log(body_bytes: u64) -> u64 {
    body_bytes + RECORD_BYTES
}

/// What the files may take: twice what lives, and so much more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskBound {
    pub(crate) log_cap: u64,
    pub(crate) segment: u64,
}

impl DiskBound {
    fn bytes(self, live: u64) -> u64 {
        2 * live + self.log_cap + 2 * self.segment
    }
}

struct Shared {
    pid: Pid,
    directory: PathBuf,
    bound: DiskBound,
    live: AtomicU64,
    peak: Mutex<Peak>,
    is_over: AtomicBool,
}

/// Samples from its making until it is dropped. It must go before the process does.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    sampler: Option<JoinHandle<()>>,
}

impl Watch {
    /// `live` are the bytes in the log of what the queues hold already.
    pub(crate) fn start(server: &Server, directory: &Path, bound: DiskBound, live: u64) -> Self {
        let shared = Arc::new(Shared {
            pid: server.pid(),
            directory: directory.to_path_buf(),
            bound,
            live: AtomicU64::new(live),
            peak: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        shared.begin();
        let sampling = Arc::clone(&shared);
        let sampler = std::thread::spawn(move || {
            while !sampling.is_over.load(Ordering::Relaxed) {
                sampling.sample();
                std::thread::sleep(PERIOD);
            }
        });
        Self { shared, sampler: Some(sampler) }
    }

    /// Forgets the peaks, the kernel's own of the process too.
    pub(crate) fn begin(&self) {
        self.shared.begin();
    }

    /// The peaks since [`Watch::begin`].
    pub(crate) fn peak(&self) -> Peak {
        self.shared.sample();
        *self.shared.peak.lock().expect("the sampler lives")
    }

    pub(crate) fn add_live(&self, bytes: u64) {
        self.shared.live.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove_live(&self, bytes: u64) {
        self.shared.live.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            // Its panic has been printed.
            let _ = sampler.join();
        }
    }
}

impl Shared {
    fn begin(&self) {
        let mut peak = self.peak.lock().expect("the sampler lives");
        *peak = Peak { disk_over: i64::MIN, ..Peak::default() };
        // 5 resets VmHWM. Where that is not allowed, VmHWM is that of the whole run, which only makes figures worse.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid.as_raw_pid()), "5");
    }

    fn sample(&self) {
        // Files shrink after items go and grow after they come: the larger of both counts.
        let live = self.live.load(Ordering::Relaxed);
        let disk = disk_bytes(&self.directory);
        let live = live.max(self.live.load(Ordering::Relaxed));
        let over = disk as i64 - self.bound.bytes(live) as i64;
        let memory = memory_of(self.pid);
        {
            let mut peak = self.peak.lock().expect("the sampler lives");
            peak.rss = peak.rss.max(memory.rss);
            peak.rss_anon = peak.rss_anon.max(memory.rss_anon);
            peak.disk = peak.disk.max(disk);
            peak.disk_over = peak.disk_over.max(over);
        }
        let available = kib_of(&read("/proc/meminfo"), "MemAvailable").unwrap_or(u64::MAX);
        if available < MEMORY_RESERVE && !self.is_over.swap(true, Ordering::Relaxed) {
            eprintln!(
                "the machine runs out of memory ({} MiB left, the server has {} MiB): ending the server",
                available / MIB,
                memory.rss / MIB
            );
            // It may have ended by itself.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

/// Bytes that are resident, now and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    rss: u64,
    rss_anon: u64,
}

fn memory_of(pid: Pid) -> Memory {
    let status = read(&format!("/proc/{}/status", pid.as_raw_pid()));
    let figure = |key| kib_of(&status, key).unwrap_or_default();
    Memory { rss: figure("VmRSS").max(figure("VmHWM")), rss_anon: figure("RssAnon") }
}

/// The highest resident memory that a process ever had.
pub(crate) fn rss_since_start(server: &Server) -> u64 {
    memory_of(server.pid()).rss
}

/// How long the server's threads have been running on a processor: what others do on the machine is not in it.
pub(crate) fn cpu_time(server: &Server) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_pid()));
    let nanoseconds = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A figure of `/proc/PID/status` or `/proc/meminfo`, in bytes.
pub(crate) fn kib_of(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * KIB)
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // A file or a directory that is gone by now takes no place.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Allocated blocks of all files.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let blocks = |file: &PathBuf| fs::metadata(file).map_or(0, |metadata| metadata.blocks());
    files(directory).iter().map(blocks).sum::<u64>() * 512
}

#[cfg(test)]
mod tests {
    use super::{DiskBound, kib_of};

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "Name:\tkqueue-server\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kib_of(text, "VmRSS"), Some(1024 * 1024));
        assert_eq!(kib_of(text, "Vm"), None);
    }

    #[test]
    fn the_bound_of_the_disk() {
        let bound = DiskBound { log_cap: 100, segment: 10 };
        assert_eq!(bound.bytes(7), 134);
    }
}
