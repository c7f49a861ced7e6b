//! The machine on which the figures were taken: they mean nothing without it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Advice, fadvise, statvfs};

use crate::peers::median;
use crate::storage::report::{gib, mib_per_second};
use crate::storage::watch::{files, kib_of};
use crate::storage::{KIB, MIB};

const SYNCS: usize = 200;
/// What `Machine::measure` writes at scale 1.
pub(crate) const SEQUENTIAL_BYTES: u64 = 1024 * MIB;

/// See the module's description.
pub(crate) struct Machine {
    text: String,
}

impl Machine {
    /// Reads what the kernel says and measures the disk in this directory, with a file of so many bytes.
    pub(crate) fn measure(directory: &Path, sequential_bytes: u64) -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu =
            cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = kib_of(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let sync_us = sync_median_us(directory);
        let (write, read) = sequential_rates(directory, sequential_bytes);
        let text = format!(
            "{} x {}, {} of memory, Linux {}, {}\nfdatasync of an overwritten 4 KiB: median {sync_us:.0} us; sequential write {}, read {}\n",
            cores,
            cpu.map_or("unknown", |(_, model)| model),
            gib(memory.unwrap_or_default()),
            // What stands behind the version is a name that somebody gave it.
            kernel.trim().split('-').next().unwrap_or_default(),
            file_system(directory),
            mib_per_second(write),
            mib_per_second(read),
        );
        Self { text }
    }

    pub(crate) fn print(&self) {
        print!("{}", self.text);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The type of the file system that this directory lies on.
fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().expect("the data directory is there");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = mounts.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        directory.starts_with(point).then(|| (point.len(), file_system.split(' ').next()))
    });
    // Of several on one another the last one is on top.
    found.max_by_key(|(length, _)| *length).and_then(|(_, name)| name).unwrap_or("?").to_owned()
}

/// Microseconds of a sync of a block that was written before.
pub(crate) fn sync_median_us(directory: &Path) -> f64 {
    let file = tempfile::tempfile_in(directory).expect("a file for the disk's figures");
    let page = [7; 4 * KIB as usize];
    file.write_all_at(&page, 0).and_then(|()| file.sync_all()).expect("the disk takes a page");
    let times: Vec<f64> = (0..SYNCS)
        .map(|_| {
            let begin = Instant::now();
            file.write_all_at(&page, 0).and_then(|()| file.sync_data()).expect("the disk syncs");
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    median(&times)
}

/// Bytes per second, written with a sync at the end, and read again from the disk.
fn sequential_rates(directory: &Path, bytes: u64) -> (f64, f64) {
    let file = tempfile::NamedTempFile::new_in(directory).expect("a file for the disk's figures");
    let chunk = vec![7; MIB as usize];
    let chunks = (bytes / MIB).max(16);
    let begin = Instant::now();
    for _ in 0..chunks {
        file.as_file().write_all(&chunk).expect("the disk takes a file");
    }
    file.as_file().sync_data().expect("the disk syncs");
    let write = (chunks * MIB) as f64 / begin.elapsed().as_secs_f64();
    forget(file.path());
    let begin = Instant::now();
    read_through(file.path());
    (write, (chunks * MIB) as f64 / begin.elapsed().as_secs_f64())
}

/// Reads a file, so that it lies in the page cache.
fn read_through(path: &Path) {
    let mut chunk = vec![0; MIB as usize];
    // A file that is gone by now needs no place.
    let Ok(mut file) = File::open(path) else { return };
    while let Ok(1..) = file.read(&mut chunk) {}
}

/// Takes a file out of the page cache.
fn forget(path: &Path) {
    if let Ok(file) = File::open(path) {
        // If the system does not, the disk's part of a figure is smaller.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}

/// Waits until everything in the files is on the disk, so that a measurement does not pay for what was before.
pub(crate) fn settle(directory: &Path) {
    for file in files(directory) {
        if let Ok(file) = File::open(file) {
            // The server finds out by itself what is wrong with its disk.
            let _ = file.sync_data();
        }
    }
}

/// As after a start of the machine: the files are on the disk and nowhere else.
pub(crate) fn cool(directory: &Path) {
    settle(directory);
    files(directory).iter().for_each(|file| forget(file));
}

/// The files are in the page cache, as far as the system has room.
pub(crate) fn warm(directory: &Path) {
    files(directory).iter().for_each(|file| read_through(file));
}

/// Bytes that may still be written here.
pub(crate) fn free_bytes(directory: &Path) -> u64 {
    let status = statvfs(directory).expect("the data directory is there");
    status.f_bavail * status.f_frsize
}
