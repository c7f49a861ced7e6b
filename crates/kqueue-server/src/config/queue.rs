//! The keys of a queue, of [queue_defaults] and of [queues."NAME"]: reading them.
//!
//! Must not: know who inherits from whom (`kqueue_broker::ConfigTable` does).

use std::sync::Arc;

use kqueue_broker::{Name, QueueOverrides, SyncPolicy};
use toml::de::DeValue;

use super::reader::{self, Table, duration_ms, size, whole};

/// Reads what is written down for a queue.
pub(super) fn read_queue(table: &mut Table<'_, '_>) -> Result<QueueOverrides, reader::Error> {
    let mut read = QueueOverrides::default();
    let some_whole = |value: &DeValue<'_>| whole(value, 0, u64::MAX).map(Some);
    let some_size = |value: &DeValue<'_>| size(value, 0, u64::MAX).map(Some);
    let some_bool =
        |value: &DeValue<'_>| value.as_bool().map(Some).ok_or_else(|| "true or false".into());
    let some_limit =
        |value: &DeValue<'_>| duration_ms(value).map(|ms| Some((ms > 0).then_some(ms)));
    table.set("max_items", &mut read.max_items, some_whole)?;
    table.set("max_size", &mut read.max_size, some_size)?;
    table.set("max_item_size", &mut read.max_item_size, some_size)?;
    table.set("max_age", &mut read.max_age_ms, some_limit)?;
    table.set("discard_old_when_full", &mut read.discard_old_when_full, some_bool)?;
    table.set("fanout_only", &mut read.fanout_only, some_bool)?;
    table.set("sync_journal", &mut read.sync, |value| sync_policy(value).map(Some))?;
    table.set("open_transaction_timeout", &mut read.open_transaction_timeout_ms, some_limit)?;
    table.set("max_memory_size", &mut read.max_memory_size, some_size)?;
    table.set("keep_journal", &mut read.keep_journal, some_bool)?;
    table.set("expire_to_queue", &mut read.expire_to_queue, queue_name)?;
    table.set("max_expire_sweep", &mut read.max_expire_sweep, some_whole)?;
    table.set("max_queue_age", &mut read.max_queue_age_ms, some_limit)?;
    table.set("max_attempts", &mut read.max_attempts, |value| {
        whole(value, 0, u64::from(u32::MAX)).map(|max| Some((max > 0).then_some(max as u32)))
    })?;
    table.set("dead_letter_queue", &mut read.dead_letter_queue, queue_name)?;
    let some_ms = |value: &DeValue<'_>| duration_ms(value).map(Some);
    table.set("retry_delay", &mut read.retry_delay_ms, some_ms)?;
    table.set("retry_delay_max", &mut read.retry_delay_max_ms, some_ms)?;
    Ok(read)
}

/// The name of a queue, or "" for none.
fn queue_name(value: &DeValue<'_>) -> Result<Option<Option<Arc<[u8]>>>, String> {
    let name = value.as_str().ok_or("the name of a queue")?;
    if name.is_empty() {
        return Ok(Some(None));
    }
    match Name::check(name.as_bytes()) {
        Ok(_) => Ok(Some(Some(name.as_bytes().into()))),
        Err(error) => Err(format!("the name of a queue ({error})")),
    }
}

pub(super) fn sync_policy(value: &DeValue<'_>) -> Result<SyncPolicy, String> {
    match value.as_str() {
        Some("always") => Ok(SyncPolicy::Always),
        Some("never") => Ok(SyncPolicy::Never),
        _ => match duration_ms(value) {
            Ok(0) => Ok(SyncPolicy::Always),
            Ok(ms) => Ok(SyncPolicy::Every { ms }),
            Err(_) => Err("\"always\", \"never\" or a duration such as \"10ms\"".into()),
        },
    }
}
