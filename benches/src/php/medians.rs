//! Two ways of a PHP page to put an item, in one PHP process, in turns: for `make bench`'s first part.

use std::net::SocketAddr;
use std::path::Path;

use super::worker::php;

/// Medians, in microseconds, of a `KQueue::push` and a `Memcached::set` to the same server over persistent connections.
pub(crate) fn push_and_set(built: &Path, server: SocketAddr) -> (f64, f64) {
    two_medians(built, "push.php", &[server.to_string()])
}

/// Medians, in microseconds, of `count` pushes in the extension's pool, and of as many connections to a proxy on the page's machine with one put each: what the pool is for.
pub(crate) fn pool_and_proxy(
    built: &Path,
    server: SocketAddr,
    proxy: SocketAddr,
    count: usize,
) -> (f64, f64) {
    two_medians(built, "pool.php", &[server.to_string(), proxy.to_string(), count.to_string()])
}

fn two_medians(built: &Path, script: &str, arguments: &[String]) -> (f64, f64) {
    let output = php(built, script)
        .args(arguments)
        .output()
        .expect("php is installed: run scripts/install.sh bench");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut values = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    match (values.next(), values.next()) {
        (Some(one), Some(other)) => (one, other),
        _ => panic!("{script}: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
