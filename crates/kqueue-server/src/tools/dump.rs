//! `kqueue-server dump`: the items of a journal as lines of JSON, one per item, in the order of the queues.
//!
//! Invariants: nothing is changed; whatever a queue holds, only a piece of it is in memory. Must not: run beside a server: what is waiting changes there all the time.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kqueue_broker::{Extra, Lane, Loaded, Now, Origin, Priority, Reason};
use serde_json::{Map, Value};

use super::{DAMAGED, DONE, FAILED, Segments, now_ms, reading_config};
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
        lost += segments.walk(broker, &mut look, |lane, item| {
            let line = line(&name_text, lane, &item, options.bodies, now_ms);
            serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
            out.write_all(b"\n")
        })?;
    }
    out.flush()?;
    Ok(lost)
}

/// An item as JSON.
fn line(queue: &str, lane: Lane, item: &Loaded, with_body: bool, now_ms: u64) -> Value {
    let extra = item.extra.as_deref();
    let origin = extra.and_then(|extra| extra.origin.as_ref());
    let expiry = if item.expiry_ms == 0 { Value::Null } else { item.expiry_ms.into() };
    // Of a dead letter those that it had.
    let attempts = match (lane, origin) {
        (Lane::Dead, Some(origin)) => origin.attempts,
        _ => item.attempts,
    };
    let state = state(lane, item, now_ms);
    let mut line = Map::new();
    line.insert("queue".to_owned(), queue.into());
    line.insert("id".to_owned(), item.public_id().0.into());
    line.insert("size".to_owned(), item.body.len().into());
    line.insert("flags".to_owned(), item.flags.into());
    line.insert("put_ms".to_owned(), item.put_ms.into());
    line.insert("expiry_ms".to_owned(), expiry);
    line.insert("attempts".to_owned(), attempts.into());
    line.insert("state".to_owned(), state.into());
    if with_body {
        add_bytes(&mut line, "body", &item.body);
    }
    let priority = match lane.priority(extra) {
        Priority::High => Some("high"),
        Priority::Normal => None,
        Priority::Low => Some("low"),
    };
    if let Some(priority) = priority {
        line.insert("priority".to_owned(), priority.into());
    }
    if let Some(extra) = extra.filter(|extra| extra.due_ms != 0) {
        line.insert("due_ms".to_owned(), extra.due_ms.into());
    }
    if let Some((extra, origin)) = extra.zip(origin) {
        add_history(&mut line, extra, origin);
    }
    Value::Object(line)
}

/// What a server would say of it, if it were started now.
fn state(lane: Lane, item: &Loaded, now_ms: u64) -> &'static str {
    let due_ms = item.extra.as_ref().map_or(0, |extra| extra.due_ms);
    if lane == Lane::Dead {
        "dead"
    } else if item.expiry_ms != 0 && item.expiry_ms < now_ms {
        "expired"
    } else if due_ms > now_ms {
        "delayed"
    } else {
        "waiting"
    }
}

/// Where it came from, and why.
fn add_history(line: &mut Map<String, Value>, extra: &Extra, origin: &Origin) {
    let cause = match origin.reason {
        Reason::Buried => "buried",
        Reason::Expired => "expired",
        _ => "attempts",
    };
    line.insert("cause".to_owned(), cause.into());
    line.insert("origin".to_owned(), String::from_utf8_lossy(&origin.queue).into());
    line.insert("origin_id".to_owned(), origin.id.0.into());
    line.insert("first_ms".to_owned(), origin.put_ms.into());
    if origin.moved_ms != 0 {
        line.insert("last_ms".to_owned(), origin.moved_ms.into());
    }
    if !extra.note.is_empty() {
        add_bytes(line, "reason", &extra.note);
    }
}

/// Text if it can be, base64 otherwise, under a name that says so.
fn add_bytes(line: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    let (key, value) = match std::str::from_utf8(bytes) {
        Ok(text) => (key.to_owned(), text.to_owned()),
        Err(_) => (format!("{key}_base64"), STANDARD.encode(bytes)),
    };
    line.insert(key, value.into());
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
        let text = line("jobs", Lane::Main, &item(b"a\"b", 0), false, 1).to_string();
        let expected = r#"{"queue":"jobs","id":5,"size":3,"flags":3,"put_ms":1000,"expiry_ms":null,"attempts":2,"state":"waiting"}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_body_is_text_if_it_can_be_and_base64_otherwise() {
        let text = line("q", Lane::Main, &item("grün\n".as_bytes(), 0), true, 1);
        assert_eq!(text["body"], "grün\n");
        let binary = line("q", Lane::Main, &item(b"\xff\x00", 0), true, 1);
        assert_eq!((&binary["body_base64"], binary.get("body")), (&"/wA=".into(), None));
    }

    #[test]
    fn an_item_is_expired_when_its_time_is_over() {
        assert_eq!(line("q", Lane::Main, &item(b"", 99), false, 99)["state"], "waiting");
        assert_eq!(line("q", Lane::Main, &item(b"", 99), false, 100)["state"], "expired");
    }
    fn delayed(due_ms: u64) -> Loaded {
        let extra = Extra { id: Some(ItemId(3)), due_ms, ..Extra::NONE };
        Loaded { extra: Some(extra.into()), ..item(b"", 0) }
    }

    #[test]
    fn a_delayed_item_waits_when_its_time_has_come_and_has_the_id_that_clients_know() {
        let lane = Lane::Delayed { start_ms: 0, width_log2: 10, priority: Priority::Low };
        let line = |now_ms| line("q", lane, &delayed(1000), false, now_ms);
        assert_eq!(line(999)["state"], "delayed");
        assert_eq!(line(1000)["state"], "waiting");
        let text = line(999).to_string();
        let end = r#""attempts":2,"state":"delayed","priority":"low","due_ms":1000}"#;
        assert!(text.starts_with(r#"{"queue":"q","id":3,"#) && text.ends_with(end), "{text}");
        // It never comes: that counts for more.
        let gone = Loaded { expiry_ms: 5, ..delayed(1000) };
        assert_eq!(super::line("q", lane, &gone, false, 6)["state"], "expired");
    }

    #[test]
    fn a_dead_letter_has_its_history_and_does_not_expire() {
        let origin = Origin {
            queue: Bytes::from_static(b"jobs"),
            id: ItemId(4),
            put_ms: 70,
            attempts: 9,
            reason: Reason::Buried,
            moved_ms: 80,
        };
        let extra = Extra {
            priority: Priority::High,
            origin: Some(origin),
            note: Bytes::from_static(b"\xff"),
            ..Extra::NONE
        };
        let mut dead = Loaded { extra: Some(extra.into()), ..item(b"", 5) };
        let text = line("jobs", Lane::Dead, &dead, false, 100).to_string();
        let end = r#""attempts":9,"state":"dead","priority":"high","cause":"buried","origin":"jobs","origin_id":4,"first_ms":70,"last_ms":80,"reason_base64":"/w=="}"#;
        assert!(text.ends_with(end), "{text}");
        // In another queue it is an item like others. When it came need not be known.
        let extra = dead.extra.as_mut().unwrap();
        (extra.note, extra.origin.as_mut().unwrap().moved_ms) = (Bytes::from_static(b"no"), 0);
        extra.origin.as_mut().unwrap().reason = Reason::Expired;
        let text = line("late", Lane::Main, &dead, false, 1).to_string();
        let end = r#""attempts":2,"state":"waiting","cause":"expired","origin":"jobs","origin_id":4,"first_ms":70,"reason":"no"}"#;
        assert!(text.ends_with(end), "{text}");
    }
}
