//! `kqueue-server backup`: a copy of a journal that a server can start from, made while another one works, or while none does.
//!
//! Invariant: every item that was acknowledged before the backup began is in it, unless it was confirmed meanwhile; nothing is in it that was never put.

use std::path::Path;

use super::check::{self, Outcome};
use super::copy::{self, CopyError, Target};
use super::{DAMAGED, DONE, FAILED, count, human_bytes};

/// Copies the journal in `from` to `to`. Answers the exit code.
pub fn run(from: &Path, to: &Path) -> u8 {
    match backup(from, to) {
        Ok(outcome) => {
            tell("backup", from, to, &outcome);
            for finding in &outcome.findings {
                eprintln!("kqueue-server backup: DAMAGE, in {} too: {finding}", from.display());
            }
            if outcome.findings.is_empty() { DONE } else { DAMAGED }
        }
        Err(error) => {
            eprintln!("kqueue-server backup: {error}");
            FAILED
        }
    }
}

fn backup(from: &Path, to: &Path) -> Result<Outcome, CopyError> {
    let target = Target::prepare(to, from)?;
    copy::copy(from, target, |copied| {
        // What is damaged at a place in the copy must be so in the original.
        if copied.findings.iter().all(|finding| finding.offset.is_none()) {
            return Ok(());
        }
        let original = check::check(from)?;
        let is_new = |finding: &&check::Finding| {
            let is_same = |other: &check::Finding| {
                (&other.file, other.offset) == (&finding.file, finding.offset)
            };
            finding.offset.is_some() && !original.findings.iter().any(is_same)
        };
        match copied.findings.iter().find(is_new) {
            None => Ok(()),
            Some(finding) => Err(CopyError::BadCopy {
                from: from.to_path_buf(),
                to: to.to_path_buf(),
                finding: finding.to_string(),
            }),
        }
    })
}

/// Says what was copied.
pub(crate) fn tell(tool: &str, from: &Path, to: &Path, outcome: &Outcome) {
    let held = match outcome.queues {
        Some(held) => held.to_string(),
        None => "what the queues hold cannot be told".to_owned(),
    };
    let (segments, bytes) = outcome.segments;
    println!(
        "{tool}: {} to {}: {held}; {}, {}; read again and compared by checksum",
        from.display(),
        to.display(),
        count(segments, "segment"),
        human_bytes(bytes)
    );
}
