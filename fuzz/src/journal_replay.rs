//! Records with sound checksums that say anything at all, to a start: what a newer version, or a defect of this one, may have written.
//!
//! Input: a byte of choices, then steps (one byte each): append a record (kind, `meta`, body), write, sync, begin or end a checkpoint.
//!
//! Checked: a start either refuses the log or gives a broker; nothing panics, and reading the same files twice gives the same.

use crate::bytes_in::BytesIn;
use crate::log::Log;

const STEPS_MAX: usize = 200;

/// The target.
///
/// # Panics
/// If something does not hold.
pub fn journal_replay(input: &[u8]) {
    let mut input = BytesIn(input);
    let memory_bytes = if input.byte() & 1 == 0 { 64 * 1024 } else { 0 };
    let mut log = Log::new();
    let mut is_checkpoint = false;
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0..=4 => log.append(&mut input),
            5 => log.write(),
            6 => log.sync(),
            _ if is_checkpoint => {
                log.end_checkpoint();
                is_checkpoint = false;
            }
            _ => {
                log.begin_checkpoint();
                is_checkpoint = true;
            }
        }
    }
    log.sync();
    let sizes = || {
        let broker = log.files.boot(memory_bytes)?;
        let queues = broker.queues();
        // What a start accepts can be looked at and asked for.
        for queue in &queues {
            drop(broker.look(&queue.name));
        }
        Some(queues)
    };
    assert_eq!(sizes(), sizes());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use kqueue_journal::{Recovery, parse_header};

    use crate::session::run_several;

    /// What the sessions in `seeds/session` leave on the disk, as an input of this target.
    #[test]
    #[ignore = "writes seeds/journal_replay; for when the engine has other records than before"]
    fn write_seeds() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        for entry in fs::read_dir(seeds.join("session")).expect("there are seeds") {
            let path = entry.expect("a file").path();
            let input = fs::read(&path).expect("a seed can be read");
            let world = run_several(&input[2..], 64 * 1024, 0);
            let mut seed = vec![0];
            let mut recovery = Recovery::new();
            for file in world.files.segments.values() {
                let header = parse_header(file).expect("a sound header");
                let mut encode = |raw: kqueue_journal::RawRecord<'_>| {
                    let (meta, body) =
                        (raw.meta.len() as u8, (raw.body.len() as u16).to_be_bytes());
                    seed.extend_from_slice(&[0, raw.kind, meta, body[0], body[1]]);
                    seed.extend_from_slice(raw.meta);
                };
                recovery.segment(&header, file, None, &mut encode).expect("one segment");
            }
            let name = path.file_name().expect("a name");
            fs::create_dir_all(seeds.join("journal_replay")).expect("a directory");
            fs::write(seeds.join("journal_replay").join(name), seed)
                .expect("a seed can be written");
        }
    }
}
