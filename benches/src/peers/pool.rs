//! What the extension's pool is for: a page that pushes over a kept connection, beside one that connects to a proxy on its machine each time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Medians, in microseconds, of a push in the pool and of a connection to the proxy with one put.
pub(crate) fn compare(
    built: &Path,
    server: SocketAddr,
    proxy: SocketAddr,
    count: usize,
) -> (f64, f64) {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "peers", "pool.php"].iter().collect();
    let output = Command::new("php")
        .arg("-d")
        .arg(format!("extension={}", built.join("libkqueue.so").display()))
        .arg(script)
        .args([server.to_string(), proxy.to_string(), count.to_string()])
        .output()
        .expect("php is installed: run scripts/install.sh bench");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut values = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    match (values.next(), values.next()) {
        (Some(pool), Some(short)) => (pool, short),
        _ => panic!("pool.php: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
