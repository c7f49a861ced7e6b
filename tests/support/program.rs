//! Programs that others wrote: clients of the daemon.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::extension;

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// If it is not installed, or if it fails; the message holds what it said.
pub fn run(command: &mut Command) -> String {
    run_with_input(command, "")
}

/// Like [`run`]; the program reads `input`.
///
/// # Panics
/// Like [`run`].
pub fn run_with_input(command: &mut Command, input: &str) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}: run scripts/install.sh test"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{stderr}\n{stdout}", output.status);
    stdout
}

/// Where `scripts/install.sh test` puts the packages of `language` that are not Debian's: in cargo's target directory.
///
/// # Panics
/// If they are not installed.
pub fn packages(language: &str) -> PathBuf {
    let mut directory = std::env::current_exe().expect("a test has a path");
    while directory.pop() {
        let candidate = directory.join("foreign").join(language);
        if candidate.is_dir() {
            return candidate;
        }
    }
    panic!("the {language} packages are not installed: run scripts/install.sh test");
}

/// PHP with the extension and nothing else; `code` begins with `<?php`.
pub fn php(code: &str) -> String {
    let mut command = Command::new("php");
    command.args(["-n", "-d", "display_errors=stderr", "-d"]);
    command.arg(format!("extension={}", extension().display()));
    run_with_input(&mut command, code)
}
