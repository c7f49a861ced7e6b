//! The status as it is to be at the next start: one line of text, written whole or not at all.
//!
//! Must not: decide what the status is.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kqueue_broker::Status;

/// A longer file is none of ours.
const BYTES_MAX: u64 = 64;

/// Where the status is remembered.
#[derive(Clone, Debug)]
pub(crate) struct StatusFile(PathBuf);

impl fmt::Display for StatusFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl StatusFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What was remembered; `None` if nothing was. An error says why it cannot be told.
    pub(crate) fn read(&self) -> Result<Option<Status>, String> {
        let text = match fs::metadata(&self.0).and_then(|found| {
            if found.len() > BYTES_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
        }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(format!("{} is not a status file", self.0.display()));
            }
            Err(error) => return Err(self.error("read", &error)),
            Ok(()) => fs::read(&self.0).map_err(|error| self.error("read", &error))?,
        };
        match Status::parse(text.trim_ascii()) {
            Ok(status) => Ok(Some(status)),
            Err(error) => Err(format!("{}: {error}", self.0.display())),
        }
    }

    /// Remembers a status, on the disk when this returns.
    pub(crate) fn write(&self, status: Status) -> Result<(), String> {
        let mut new = self.0.clone().into_os_string();
        new.push(".new");
        let write = || {
            let mut file = File::create(&new)?;
            writeln!(file, "{}", status.name().to_ascii_lowercase())?;
            file.sync_all()?;
            fs::rename(&new, &self.0)?;
            File::open(self.0.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new(".")))?
                .sync_all()
        };
        write().map_err(|error| self.error("written", &error))
    }

    fn error(&self, what: &str, error: &io::Error) -> String {
        format!("{} cannot be {what}: {error}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        let file = StatusFile::new(path.clone());
        assert_eq!(file.read(), Ok(None));
        for status in Status::ALL {
            file.write(status).unwrap();
            assert_eq!(file.read(), Ok(Some(status)));
        }
        let other = StatusFile::new(directory.path().join("x.new"));
        other.write(Status::ReadOnly).unwrap();
        assert_eq!(other.read(), Ok(Some(Status::ReadOnly)));
        // As Kestrel wrote it.
        fs::write(&path, "ReadOnly\n").unwrap();
        assert_eq!(file.read(), Ok(Some(Status::ReadOnly)));
        fs::write(&path, "busy").unwrap();
        assert!(file.read().unwrap_err().ends_with("status: unknown status"));
        fs::write(&path, [b'x'; 1000]).unwrap();
        assert!(file.read().unwrap_err().contains("is not a status file"));
        let nowhere = StatusFile::new(directory.path().join("no/status"));
        assert_eq!(nowhere.read(), Ok(None));
        assert!(nowhere.write(Status::Up).unwrap_err().contains("cannot be written"));
    }
}
