//! The extension beside php-memcached, in one PHP process, in turns, to the same server: for `make bench`'s first part.

use std::path::Path;

use super::worker::php;
use crate::server::Server;

/// Medians, in microseconds, of a `KQueue::push` and a `Memcached::set` over persistent connections.
pub(crate) fn push_and_set(built: &Path, server: &Server) -> (f64, f64) {
    let output = php(built, "push.php")
        .arg(server.address.to_string())
        .output()
        .expect("php is installed: run scripts/install.sh bench");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut values = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    match (values.next(), values.next()) {
        (Some(push), Some(set)) => (push, set),
        _ => panic!("push.php: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
