//! `kqueue-server restore`: a data directory of a backup.
//!
//! Invariant: the data directory is whole or not there. Must not: take over anything damaged; overwrite anything.

use std::path::Path;

use super::check::{self, CheckError, Finding, Outcome};
use super::copy::{self, CopyError, Target};
use super::{DAMAGED, DONE, FAILED, backup};

#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("damaged")]
    Damaged(Vec<Finding>),
}

/// Copies the backup in `from` to `to`. Answers the exit code.
pub fn run(from: &Path, to: &Path) -> u8 {
    match restore(from, to) {
        Ok(outcome) => {
            backup::tell("restore", from, to, &outcome);
            DONE
        }
        Err(RestoreError::Damaged(findings)) => {
            for finding in &findings {
                eprintln!("kqueue-server restore: DAMAGE: {finding}");
            }
            eprintln!(
                "kqueue-server restore: {} is damaged, see above; nothing was written. Take another backup; or copy this one with cp -a and start a server on the copy: everything readable is served",
                from.display()
            );
            DAMAGED
        }
        Err(error) => {
            eprintln!("kqueue-server restore: {error}");
            FAILED
        }
    }
}

fn restore(from: &Path, to: &Path) -> Result<Outcome, RestoreError> {
    let checked = check::check(from)?;
    if !checked.findings.is_empty() {
        return Err(RestoreError::Damaged(checked.findings));
    }
    let target = Target::prepare(to, from)?;
    let copied = copy::copy(from, target, |copied| match copied.findings.first() {
        None => Ok(()),
        Some(finding) => Err(CopyError::BadCopy {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            finding: finding.to_string(),
        }),
    })?;
    Ok(copied)
}
