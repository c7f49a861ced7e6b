//! `/queues`, and how all queues are gone through, also to be added up: a few at a time under the lock.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use kqueue_broker::{Now, QueueConfig, QueueStats, ServerStats, SyncPolicy, Totals};
use serde_json::{Value, json};

use crate::shared::Shared;

use super::{Admin, Refusal, json, latin1, parameter};

/// Queues that are looked at in one lock section.
const PIECE_QUEUES: usize = 64;
/// Queues on a page, unless it is said how many.
const PAGE_QUEUES: usize = 100;
/// Queues on a page at most.
const PAGE_QUEUES_MAX: usize = 1000;
/// Sub-queues that are named of one master at most.
const CHILDREN_MAX: usize = 100;

/// The server's figures.
pub(super) fn server_stats(shared: &Shared) -> ServerStats {
    let mut totals = Totals::default();
    let mut after = Some(0);
    while let Some(from) = after {
        after = shared.look(|_, broker| broker.add_totals(from, &mut totals));
    }
    shared.look(|now, broker| broker.server_stats(now, &totals))
}

/// Visits the queues behind the one numbered `after`, in order of creation, until `visit` answers false.
pub(super) fn visit_queues(
    shared: &Shared,
    mut after: u64,
    mut visit: impl FnMut(Now, QueueStats) -> bool,
) {
    loop {
        let (now, piece) =
            shared.look(|now, broker| (now, broker.queue_stats(now, after, PIECE_QUEUES)));
        let Some(last) = piece.last() else { return };
        let (count, number) = (piece.len(), last.number);
        for queue in piece {
            if !visit(now, queue) {
                return;
            }
        }
        if count < PIECE_QUEUES {
            return;
        }
        after = number;
    }
}

/// The queues with the most items that wait, now or for later, or are dead, at most `max`, and how many others there are. Of those with equally many the oldest are taken.
pub(super) fn fullest(shared: &Shared, max: usize) -> (Vec<(Now, QueueStats)>, u64) {
    let mut heap = BinaryHeap::new();
    let mut others = 0;
    visit_queues(shared, 0, |now, queue| {
        heap.push(Reverse(Ranked(now, queue)));
        if heap.len() > max {
            heap.pop();
            others += 1;
        }
        true
    });
    let ranked = heap.into_sorted_vec();
    (ranked.into_iter().map(|Reverse(Ranked(now, queue))| (now, queue)).collect(), others)
}

/// A queue by its items, then by its age.
struct Ranked(Now, QueueStats);

impl Ranked {
    fn rank(&self) -> (u64, Reverse<u64>) {
        let queue = &self.1;
        (queue.items + queue.delayed_items + queue.dead_items, Reverse(queue.number))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// For how long the item has waited that is handed out next, see [`QueueStats::oldest_ready_ms`], in milliseconds: 0 if there is none, `None` if it is on the disk only.
pub(super) fn oldest_ms(now: Now, queue: &QueueStats) -> Option<u64> {
    match queue.oldest_ready_ms {
        Some(since_ms) => Some(now.wall_ms.saturating_sub(since_ms)),
        None => (queue.items == 0).then_some(0),
    }
}

/// When the queue was made, or found at start, unix time in milliseconds.
pub(super) fn created_unix_ms(now: Now, queue: &QueueStats) -> u64 {
    now.wall_ms.saturating_sub(now.mono_ms.saturating_sub(queue.created_ms))
}

pub(super) async fn queues(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = query.as_deref();
    if let Some(name) = parameter(query, "name") {
        return one(&admin, &name);
    }
    let after = number(query, "after", 0, u64::MAX)?.unwrap_or(0);
    let limit = number(query, "limit", 1, PAGE_QUEUES_MAX as u64)?;
    let limit = limit.map_or(PAGE_QUEUES, |limit| limit as usize);
    let page = admin.list(move |running| page(&running.shared, after, limit)).await?;
    Ok(json(StatusCode::OK, &page))
}

/// A number of the query.
fn number(query: Option<&str>, name: &str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    match number.filter(|number| (min..=max).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let error = format!("{name} is a number from {min} to {max}");
            Err(Refusal(StatusCode::BAD_REQUEST, error.into()))
        }
    }
}

fn one(admin: &Admin, name: &[u8]) -> Result<Response, Refusal> {
    let shared = &admin.running()?.shared;
    let find = |name: &[u8]| {
        shared.look(|now, broker| broker.stats_of_queue(now, name).map(|queue| (now, queue)))
    };
    // As it is on the wire; or as it is shown here.
    let shown = || {
        let text = std::str::from_utf8(name).ok()?;
        find(&text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>()?)
    };
    match find(name).or_else(shown) {
        Some((now, queue)) => Ok(json(StatusCode::OK, &describe(now, &queue))),
        None => Err(Refusal(StatusCode::NOT_FOUND, "no such queue".into())),
    }
}

/// A page of the list of queues; the first one has the aliases, too.
fn page(shared: &Shared, after: u64, limit: usize) -> Value {
    let mut queues = Vec::new();
    let mut next = None;
    let mut last = after;
    visit_queues(shared, after, |now, queue| {
        if queues.len() == limit {
            next = Some(last);
            return false;
        }
        last = queue.number;
        queues.push(describe(now, &queue));
        true
    });
    let mut page = json!({"queues": queues, "next": next});
    if after == 0 {
        let aliases: Vec<Value> = shared.look(|_, broker| {
            let describe = |alias: kqueue_broker::AliasStats<'_>| {
                json!({
                    "name": latin1(alias.name),
                    "put_items": alias.put_items,
                    "put_bytes": alias.put_bytes,
                    "destinations": alias.destinations.iter().map(|name| latin1(name)).collect::<Vec<_>>(),
                })
            };
            broker.alias_stats().map(describe).collect()
        });
        page["aliases"] = aliases.into();
    }
    page
}

fn describe(now: Now, queue: &QueueStats) -> Value {
    let counters = &queue.counters;
    let children: Vec<String> =
        queue.children.iter().take(CHILDREN_MAX).map(|name| latin1(name)).collect();
    json!({
        "name": latin1(&queue.name),
        "number": queue.number,
        "created_ms": created_unix_ms(now, queue),
        "items": queue.items,
        "bytes": queue.bytes,
        "delayed_items": queue.delayed_items,
        "dead_items": queue.dead_items,
        "is_paused": queue.is_paused,
        "mem_items": queue.mem_items,
        "mem_bytes": queue.mem_bytes,
        "journal_bytes": queue.journal_bytes,
        "oldest_ms": oldest_ms(now, queue),
        "age_ms": queue.age_ms,
        "waiters": queue.waiters,
        "open_transactions": queue.open_transactions,
        "total_items": counters.total_items,
        "removed_items": counters.removed_items,
        "expired_items": counters.expired_items,
        "discarded": counters.discarded,
        "flushed_items": counters.flushed_items,
        "dead_lettered": counters.dead_letters(),
        "kicked": counters.kicked,
        "damaged_items": counters.damaged_items,
        "rewritten_items": counters.rewritten_items,
        "transactions": counters.transactions,
        "canceled_transactions": counters.canceled_transactions,
        "total_flushes": counters.total_flushes,
        "children": children,
        "children_total": queue.children.len(),
        "settings": settings(&queue.config),
    })
}

/// The settings that hold for the queue, as in the configuration; null: none.
fn settings(config: &QueueConfig) -> Value {
    let QueueConfig {
        max_items,
        max_size,
        max_item_size,
        max_age_ms,
        discard_old_when_full,
        fanout_only,
        sync,
        open_transaction_timeout_ms,
        max_memory_size,
        keep_journal,
        expire_to_queue,
        max_expire_sweep,
        max_queue_age_ms,
        max_attempts,
        dead_letter_queue,
        retry_delay_ms,
        retry_delay_max_ms,
    } = config;
    let limit = |&limit: &u64| (limit != u64::MAX).then_some(limit);
    let name = |name: &Option<Arc<[u8]>>| name.as_deref().map(latin1);
    json!({
        "max_items": limit(max_items),
        "max_size": limit(max_size),
        "max_item_size": limit(max_item_size),
        "max_age_ms": max_age_ms,
        "discard_old_when_full": discard_old_when_full,
        "fanout_only": fanout_only,
        "sync_journal": match sync {
            SyncPolicy::Always => "always".to_owned(),
            SyncPolicy::Never => "never".to_owned(),
            SyncPolicy::Every { ms } => format!("{ms}ms"),
        },
        "open_transaction_timeout_ms": open_transaction_timeout_ms,
        "max_memory_size": limit(max_memory_size),
        "keep_journal": keep_journal,
        "expire_to_queue": name(expire_to_queue),
        "max_expire_sweep": limit(max_expire_sweep),
        "max_queue_age_ms": max_queue_age_ms,
        "max_attempts": max_attempts,
        "dead_letter_queue": name(dead_letter_queue),
        "retry_delay_ms": retry_delay_ms,
        "retry_delay_max_ms": retry_delay_max_ms,
    })
}
