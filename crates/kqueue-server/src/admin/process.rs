//! What the operating system says about this process. Cheap enough to be asked at every scrape.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Ticks of `/proc/self/stat` in a second: the same on every Linux that we run on.
const TICKS: f64 = 100.0;

/// What could be found out; what could not is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
    pub(super) cpu_seconds: f64,
}

impl Process {
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Self {
            resident_bytes: kib(&status, "VmRSS:") * 1024,
            virtual_bytes: kib(&status, "VmSize:") * 1024,
            // Not the one with which they were counted.
            open_fds: open.saturating_sub(1),
            max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            cpu_seconds: ticks(&stat) as f64 / TICKS,
        }
    }
}

fn kib(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// User and system time; the name of the program, in parentheses, may hold anything.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen() {
        let seen = Process::look();
        assert!(seen.resident_bytes > 100_000 && seen.virtual_bytes >= seen.resident_bytes);
        assert!(seen.open_fds > 2 && seen.open_fds < seen.max_fds, "{seen:?}");
        assert_eq!(ticks("1 (a) b) S 1 1 1 0 -1 4 1 0 0 0 17 25 0 0 20"), 42);
        assert_eq!((kib("VmSize:\t 8 kB\nVmRSS:\t 5 kB\n", "VmRSS:"), ticks("")), (5, 0));
    }
}
