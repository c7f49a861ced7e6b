//! A server's start: the configuration of the simulated queues, and recovery.

use kqueue_broker::{
    Boot, Broker, BrokerConfig, ConfigTable, HEADER_BYTES, Now, QueueConfig, QueueOverrides,
    WriterConfig, parse_header,
};

use crate::conn::{BRIEF, ITEM_BYTES_MAX, OPEN_MAX};
use crate::disk::Disk;
use crate::scenario::Scenario;

/// Small, so that segments are left and emptied often.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024;
/// What a record has besides its body, at most.
const META_BYTES_MAX: u64 = 4 * 1024;

/// Reads what is on the disk as the server does at start; answers how many torn tails were cut.
pub(crate) fn boot(
    disk: &Disk,
    scenario: &Scenario,
    salt_seed: u64,
    now: Now,
) -> Result<(Broker, u64), String> {
    let sizes = WriterConfig {
        segment_bytes: SEGMENT_BYTES,
        log_cap_bytes: 3 * SEGMENT_BYTES,
        max_record_bytes: ITEM_BYTES_MAX as u64 + META_BYTES_MAX,
    };
    let mut boot =
        Boot::new(config(scenario), sizes, salt_seed).map_err(|error| error.to_string())?;
    let headers: Vec<_> =
        disk.segments().map(|(_, file)| parse_header(&file[..HEADER_BYTES])).collect();
    for (index, (number, file)) in disk.segments().enumerate() {
        let next = headers.get(index + 1).and_then(|header| header.as_ref().ok());
        let header =
            headers[index].as_ref().map_err(|error| format!("segment {number}: {error}"))?;
        boot.segment(header, file, next).map_err(|error| error.to_string())?;
    }
    let (broker, report) = boot.finish(now);
    // What had not been synced may be gone in any form; what had been synced was promised.
    if let Some(gap) = report.gaps.iter().find(|gap| gap.was_synced && gap.is_loss()) {
        return Err(format!("recovery found damage on a disk that has none: {gap:?}"));
    }
    Ok((broker, u64::from(report.torn_tail_bytes > 0)))
}

fn config(scenario: &Scenario) -> BrokerConfig {
    let defaults = QueueConfig { sync: scenario.policy, ..QueueConfig::default() };
    let mut table = ConfigTable { defaults, ..ConfigTable::default() };
    let small = QueueOverrides { max_items: Some(8), ..QueueOverrides::default() };
    table.named.insert((*b"small").into(), small);
    let brief = QueueOverrides { max_age_ms: Some(Some(600_000)), ..QueueOverrides::default() };
    table.named.insert(BRIEF.as_bytes().into(), brief);
    BrokerConfig {
        table,
        max_open_transactions: OPEN_MAX,
        max_item_size: ITEM_BYTES_MAX,
        sweep_every_ms: 500,
        version: "sim",
    }
}
