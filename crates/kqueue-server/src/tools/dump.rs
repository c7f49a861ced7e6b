//! `kqueue-server dump`: the items of a journal as lines of JSON, one per item, in the order of the queues.
//!
//! Invariants: nothing is changed; whatever a queue holds, only a piece of it is in memory. Must not: run beside a server: what is waiting changes there all the time.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kqueue_broker::{Loaded, Now};
use serde_json::{Map, Value};

use super::{DAMAGED, DONE, FAILED, Segments, reading_config};
use crate::boot::{self, BootError};
use crate::datadir::{DataDir, DataDirError};

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of queues; none: all of them.
    pub queues: Vec<String>,
    /// The bodies, too.
    pub bodies: bool,
}

#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error(
        "{path} is in use by the server with process id {pid}, and its queues change all the time. Dump a backup of it (`kqueue-server backup` works beside a server), or stop the server"
    )]
    InUse { path: String, pid: String },
    #[error(transparent)]
    DataDir(DataDirError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("{path}: no journal is in it (neither journal.kq nor log-*.kq)")]
    NoJournal { path: String },
    #[error("{path}: there is no queue {name}")]
    NoQueue { path: String, name: String },
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Writes the items of a directory to standard output. Answers the exit code.
pub fn run(directory: &Path, options: &Options) -> u8 {
    match dump(directory, options, &mut BufWriter::new(io::stdout().lock())) {
        Ok(0) => DONE,
        Ok(lost) => {
            eprintln!(
                "kqueue-server dump: {lost} items or places of the log cannot be read; `kqueue-server check {}` says where",
                directory.display()
            );
            DAMAGED
        }
        // Whoever closed the pipe has read enough.
        Err(DumpError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(error) => {
            eprintln!("kqueue-server dump: {error}");
            FAILED
        }
    }
}

/// Answers how many items could not be read.
fn dump(directory: &Path, options: &Options, out: &mut impl Write) -> Result<u64, DumpError> {
    let path = || directory.display().to_string();
    let data_dir = DataDir::inspect(directory).map_err(|error| match error {
        DataDirError::Locked { pid, .. } => DumpError::InUse { path: path(), pid },
        other => DumpError::DataDir(other),
    })?;
    if data_dir.segments.is_empty() && data_dir.superblock.is_none() {
        return Err(DumpError::NoJournal { path: path() });
    }
    let config = reading_config(directory);
    let recovered = boot::recover(&config, &data_dir, Now::default())?;
    let broker = &recovered.booted.broker;
    let mut lost = recovered.booted.report.gaps.iter().filter(|gap| gap.is_loss()).count() as u64;
    let names = match options.queues.as_slice() {
        [] => broker.queues().into_iter().map(|queue| queue.name.to_vec()).collect(),
        some => some.iter().map(|name| name.clone().into_bytes()).collect::<Vec<_>>(),
    };
    // All names are looked at before the first line is written.
    let mut looks = Vec::with_capacity(names.len());
    for name in names {
        let name_text = String::from_utf8_lossy(&name).into_owned();
        if broker.look(&name).is_none() {
            return Err(DumpError::NoQueue { path: path(), name: name_text });
        }
        looks.push((name, name_text));
    }
    let now_ms = now_ms();
    let mut segments = Segments::new(directory);
    for (name, name_text) in looks {
        let Some(mut look) = broker.look(&name) else { continue };
        lost += segments.walk(broker, &mut look, |item| {
            serde_json::to_writer(&mut *out, &line(&name_text, &item, options.bodies, now_ms))
                .map_err(io::Error::from)?;
            out.write_all(b"\n")
        })?;
    }
    out.flush()?;
    Ok(lost)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An item as JSON.
fn line(queue: &str, item: &Loaded, with_body: bool, now_ms: u64) -> Value {
    let is_expired = item.expiry_ms != 0 && item.expiry_ms < now_ms;
    let expiry = if item.expiry_ms == 0 { Value::Null } else { item.expiry_ms.into() };
    let mut line = Map::new();
    line.insert("queue".to_owned(), queue.into());
    line.insert("id".to_owned(), item.id.0.into());
    line.insert("size".to_owned(), item.body.len().into());
    line.insert("flags".to_owned(), item.flags.into());
    line.insert("put_ms".to_owned(), item.put_ms.into());
    line.insert("expiry_ms".to_owned(), expiry);
    line.insert("attempts".to_owned(), item.attempts.into());
    line.insert("state".to_owned(), if is_expired { "expired" } else { "waiting" }.into());
    if with_body {
        let (key, value) = match std::str::from_utf8(&item.body) {
            Ok(text) => ("body", text.to_owned()),
            Err(_) => ("body_base64", STANDARD.encode(&item.body)),
        };
        line.insert(key.to_owned(), value.into());
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kqueue_broker::{ItemId, Seq};

    use super::*;

    fn item(body: &'static [u8], expiry_ms: u64) -> Loaded {
        Loaded {
            seq: Seq(7),
            id: ItemId(5),
            flags: 3,
            put_ms: 1000,
            expiry_ms,
            attempts: 2,
            body: Bytes::from_static(body),
            body_crc: 0,
            extra: None,
            share: 0,
        }
    }

    #[test]
    fn an_item_is_one_object_with_its_fields_in_this_order() {
        let text = line("jobs", &item(b"a\"b", 0), false, 1).to_string();
        let expected = r#"{"queue":"jobs","id":5,"size":3,"flags":3,"put_ms":1000,"expiry_ms":null,"attempts":2,"state":"waiting"}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_body_is_text_if_it_can_be_and_base64_otherwise() {
        let text = line("q", &item("grün\n".as_bytes(), 0), true, 1);
        assert_eq!(text["body"], "grün\n");
        let binary = line("q", &item(b"\xff\x00", 0), true, 1);
        assert_eq!((&binary["body_base64"], binary.get("body")), (&"/wA=".into(), None));
    }

    #[test]
    fn an_item_is_expired_when_its_time_is_over() {
        assert_eq!(line("q", &item(b"", 99), false, 99)["state"], "waiting");
        assert_eq!(line("q", &item(b"", 99), false, 100)["state"], "expired");
    }
}
