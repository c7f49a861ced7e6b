//! The file that PHP loads, and what its being loaded costs a request that does not use it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::worker::php;
use crate::storage::MIB;
use crate::storage::report::{Report, mib};

/// The C library's dynamic linker is a part of the C library.
const ALLOWED: [&str; 3] = ["libc.so", "libgcc_s.so", "ld-linux"];

pub(super) fn run(built: &Path, data: &Path, report: &mut Report) {
    let stripped = data.join("kqueue.so");
    output(Command::new("strip").arg("-o").arg(&stripped).arg(built.join("libkqueue.so")));
    let bytes = fs::metadata(&stripped).expect("strip has written it").len();
    let target = format!("< {}", mib(2 * MIB));
    report.judge_pace("libkqueue.so, stripped", mib(bytes), target, bytes < 2 * MIB);

    let dynamic = output(Command::new("readelf").arg("--dynamic").arg(&stripped));
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let libraries: Vec<&str> = needed.filter_map(|line| line.split(['[', ']']).nth(1)).collect();
    let is_allowed = |library: &&str| ALLOWED.iter().any(|name| library.starts_with(name));
    let others = libraries.iter().filter(|library| !is_allowed(library)).count() as u64;
    report.judge_none("libraries it needs besides those of C and gcc", others);

    let told = output(&mut php(built, "requests.php"));
    let figures: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [_, hooks, nothing] = figures[..] else { panic!("requests.php: {told}") };
    let what =
        format!("its begin and end of an unused request; a call of nothing: {nothing:.0} ns");
    report.judge_pace(&what, format!("{hooks:.0} ns"), "< 1000 ns".to_owned(), hooks < 1000.0);
}

fn output(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
