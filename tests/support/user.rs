//! Another user than root, for daemons that are to be one.

use std::path::Path;
use std::process::Command;

use crate::{announce, daemon_binary, files_in};

/// The unprivileged user, and its group.
const NOBODY: &str = "65534";

/// A wrapper that gives up root for an unprivileged user; nothing if that is what we are already; `None`, said aloud, if it is impossible.
///
/// # Panics
/// If there are no coreutils.
pub fn unprivileged() -> Option<Vec<String>> {
    let id = Command::new("id").arg("-u").output().expect("coreutils are there");
    if id.stdout != b"0\n" {
        return Some(Vec::new());
    }
    let wrapper = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
    let probe = Command::new("setpriv").args(&wrapper[1..]).arg(daemon_binary()).arg("-V").output();
    if probe.is_ok_and(|probe| probe.status.success()) {
        return Some(wrapper.map(str::to_owned).to_vec());
    }
    announce("NOT TESTED: the server cannot be run as another user (setpriv) from here");
    None
}

/// Gives everything to the unprivileged user, if we are root.
pub fn give_away(path: &Path) {
    let mut files = vec![path.to_path_buf()];
    files.extend(files_in(path).into_keys());
    for file in files {
        let nobody = NOBODY.parse().ok();
        // Who is not root is the unprivileged user.
        let _ = std::os::unix::fs::chown(file, nobody, nobody);
    }
}
