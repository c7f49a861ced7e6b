//! The module's section in `phpinfo()`: version, pool counters of this process, state of the servers
//! it has used. No I/O.

use crate::state;
use crate::zend::info;

/// Prints the tables.
pub(crate) fn print() {
    let row = |left: &str, right: String| (left.to_owned(), right);
    info::table(&[
        row("KQueue support", "enabled".to_owned()),
        row("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    let counters = state::pools().counters();
    info::table(&[
        row("This process", format!("pid {}", std::process::id())),
        row("Connections idle", counters.idle.to_string()),
        row("Connections opened", counters.opened.to_string()),
        row("Connections reused", counters.reused.to_string()),
        row("Connections found stale", counters.stale.to_string()),
        row("Connections retired", counters.retired.to_string()),
        row("Connections inherited over a fork and dropped", counters.inherited.to_string()),
        row("Failed attempts", counters.failures.to_string()),
        row("Requests sent again", counters.retried.to_string()),
        row("Items reserved now", state::held_count().to_string()),
    ]);
}
