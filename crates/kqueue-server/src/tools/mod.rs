//! The subcommands of `kqueue-server`: what an operator does with a data directory besides serving it.
//!
//! | module | does |
//! |---|---|
//! | [`check`] | reads everything and says what is damaged |
//! | [`check_config`] | says what a configuration file means |
//! | [`dump`] | writes items as lines of JSON |
//! | [`import`] | takes over the queues of a Kestrel server |
//! | [`backup`] | copies a journal, also while a server works on it |
//! | [`restore`] | makes a data directory of a backup |
//!
//! Each answers an exit code, the same in all of them: [`DONE`], [`FAILED`] (nothing was done, or not to the end), [`DAMAGED`] (done, and something is wrong with the
//! data). 2 is a wrong argument, as everywhere.

pub mod backup;
pub mod check;
pub mod check_config;
mod copy;
pub mod dump;
pub mod import;
pub(crate) mod import_state;
mod progress;
pub mod restore;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kqueue_broker::{Broker, Lane, Loaded, Look, LookStep, SegmentRead, segment_file_name};

use crate::config::Config;
use crate::disk::read_in_blocks;

/// Everything was done, and nothing is wrong.
pub const DONE: u8 = 0;
/// It could not be done; a line on standard error says why.
pub const FAILED: u8 = 1;
/// It was done, and what was read is damaged, or is not all that it should be.
pub const DAMAGED: u8 = 3;

/// The configuration under which a journal is only looked at: nothing is kept in memory that can be read again, and no limit applies.
fn reading_config(path: &Path) -> Config {
    let mut config = Config::new(path.to_path_buf());
    config.engine.max_memory_size = 0;
    config.engine.max_queues = u64::MAX;
    config
}

/// The segments of a directory, opened for reading one at a time.
struct Segments {
    directory: PathBuf,
    open: Option<(u64, File)>,
}

impl Segments {
    fn new(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), open: None }
    }

    fn read(&mut self, read: &SegmentRead) -> io::Result<Vec<u8>> {
        let file = match &mut self.open {
            Some((number, file)) if *number == read.segment => file,
            other => {
                let path = self.directory.join(segment_file_name(read.segment));
                &mut other.insert((read.segment, File::open(path)?)).1
            }
        };
        let bytes = read.bytes.min(file.metadata()?.len().saturating_sub(read.offset));
        let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        if file.read_exact_at(&mut buffer, read.offset).is_err() {
            read_in_blocks(file, &mut buffer, read.offset)?;
        }
        Ok(buffer)
    }

    /// Walks over the items of a queue in its order; answers how many could not be read.
    ///
    /// # Errors
    /// What `take` says.
    fn walk<E>(
        &mut self,
        broker: &Broker,
        look: &mut Look,
        mut take: impl FnMut(Lane, Loaded) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut lost = 0;
        loop {
            match look.step(broker) {
                LookStep::Item(lane, item) => take(lane, item)?,
                LookStep::Lost(items) => lost += items,
                LookStep::Done => return Ok(lost),
                LookStep::Read(read) => match self.read(&read) {
                    Ok(piece) => look.feed(&piece),
                    Err(_) => look.give_up(),
                },
            }
        }
    }
}

/// Unix time by the machine's clock.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A number of bytes for people.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { count(bytes, "byte") } else { format!("{value:.1} {unit}") }
}

/// "1 item", "2 items".
fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!((human_bytes(1), human_bytes(1023)), ("1 byte".into(), "1023 bytes".into()));
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(64 << 20), "64.0 MiB");
        assert_eq!((count(1, "item"), count(0, "item")), ("1 item".into(), "0 items".into()));
    }
}
