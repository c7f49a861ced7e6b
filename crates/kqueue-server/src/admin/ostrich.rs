//! `/stats`: Kestrel's names in Ostrich's shape. Always totals since start.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kqueue_broker::{AliasStats, Now, QueueStats, ServerStats};
use serde_json::{Map, Value};

use crate::latency::Histograms;
use crate::shared::Shared;

use super::histograms::distribution;
use super::queues::{created_unix_ms, server_stats, visit_queues};
use super::{Admin, Format, Refusal, json, latin1};

/// Queues and aliases that are listed; the ones that were made first.
const QUEUES_MAX: usize = 10_000;

pub(super) async fn stats(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Refusal> {
    let format = Format::of(&uri);
    let work = move |running: &super::Running| {
        let stats = Stats::collect(&running.shared);
        match format {
            Format::Text => stats.text().into_response(),
            Format::Json => json(StatusCode::OK, &stats.into_json()),
        }
    };
    admin.list(work).await
}

/// What Ostrich shows.
#[derive(Debug, Default)]
struct Stats {
    counters: Map<String, Value>,
    metrics: Map<String, Value>,
    gauges: Map<String, Value>,
    labels: Map<String, Value>,
}

impl Stats {
    fn collect(shared: &Shared) -> Self {
        let mut stats = Self::default();
        stats.add_server(&server_stats(shared));
        stats.add_latencies(&shared.latencies.snapshot());
        let mut left = QUEUES_MAX;
        shared.look(|_, broker| {
            for alias in broker.alias_stats().take(left) {
                left -= 1;
                stats.add_alias(&alias);
            }
        });
        visit_queues(shared, 0, |now, queue| {
            left = left.saturating_sub(1);
            stats.add_queue(now, &queue);
            left > 0
        });
        for part in [&mut stats.counters, &mut stats.metrics, &mut stats.gauges, &mut stats.labels]
        {
            part.sort_keys();
        }
        stats
    }

    fn count(&mut self, name: impl Into<String>, value: u64) {
        self.counters.insert(name.into(), value.into());
    }

    fn gauge(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.gauges.insert(name.into(), value.into());
    }

    fn add_server(&mut self, stats: &ServerStats) {
        let counters = [
            ("cmd_get", stats.cmd_get),
            ("cmd_set", stats.cmd_set),
            ("cmd_peek", stats.cmd_peek),
            ("cmd_monitor", stats.cmd_monitor),
            ("cmd_monitor_get", stats.cmd_monitor_get),
            ("cmd_get_open_dropped", stats.cmd_get_open_dropped),
            ("cmd_get_timeout_dropped", stats.cmd_get_timeout_dropped),
            ("get_hits", stats.get_hits),
            ("get_misses", stats.get_misses),
            ("bytes_read", stats.bytes_read),
            ("bytes_written", stats.bytes_written),
            ("queue_creates", stats.queue_creates),
            ("queue_deletes", stats.queue_deletes),
            ("queue_expires", stats.queue_expires),
            ("total_connections", stats.total_connections),
            ("total_items", stats.total_items),
            // Ours.
            ("journal_writes", stats.journal_writes),
            ("journal_syncs", stats.journal_syncs),
            ("journal_checkpoints", stats.journal_checkpoints),
            ("journal_loads", stats.journal_loads),
            ("torn_tail_total", stats.torn_tail_total),
            ("torn_tail_bytes", stats.torn_tail_bytes),
            ("damaged_total", stats.damaged_total),
            ("damaged_bytes", stats.damaged_bytes),
            ("damaged_items", stats.damaged_items),
            ("refused_no_space", stats.refused_no_space),
            ("refused_no_memory", stats.refused_no_memory),
            ("refused_by_limits", stats.refused_by_limits),
            ("refused_too_many_queues", stats.refused_too_many_queues),
            ("refused_reads", stats.refused_reads),
            ("refused_writes", stats.refused_writes),
            ("repeated_puts", stats.repeated_puts),
        ];
        counters.into_iter().for_each(|(name, value)| self.count(name, value));
        self.gauge("connections", stats.curr_connections);
        self.gauge("items", stats.curr_items);
        self.gauge("bytes", stats.bytes);
        let reserved = stats.reserved_memory as f64 / stats.max_memory_size as f64;
        self.gauge("reserved_memory_ratio", reserved);
        self.gauge("status/readable", u64::from(stats.status.gives()));
        self.gauge("status/writeable", u64::from(stats.status.takes()));
        self.gauge("queues", stats.queues);
        self.gauge("delayed_items", stats.delayed_items);
        self.gauge("dead_items", stats.dead_items);
        self.gauge("known_keys", stats.known_keys);
        self.gauge("mem_cost", stats.mem_cost);
        self.gauge("journal_bytes", stats.journal_bytes);
        self.gauge("journal_live_bytes", stats.journal_live_bytes);
        self.gauge("journal_segments", stats.journal_segments);
        self.gauge("journal_full", u64::from(stats.journal_full));
        self.gauge("clock_ahead_ms", stats.clock_ahead_ms);
        self.labels.insert("version".into(), crate::VERSION.into());
        self.labels.insert("status".into(), stats.status.name().into());
    }

    fn add_latencies(&mut self, latencies: &Histograms) {
        const MS: u64 = 1000;
        let all = [
            ("set_latency_usec", &latencies.put, 1),
            ("get_hit_latency_usec", &latencies.get_hit, 1),
            ("get_miss_latency_usec", &latencies.get_miss, 1),
            ("get_timeout_msec", &latencies.get_wait, MS),
            ("delivery_latency_msec", &latencies.delivery, MS),
            ("fsync_delay_usec", &latencies.sync, 1),
            ("item_fsync_delay_usec", &latencies.synced_put, 1),
        ];
        for (name, histogram, unit_us) in all {
            self.metrics.insert(name.into(), distribution(histogram, unit_us).into());
        }
    }

    fn add_queue(&mut self, now: Now, queue: &QueueStats) {
        let prefix = format!("q/{}/", latin1(&queue.name));
        let counted = &queue.counters;
        let counters = [
            ("total_items", counted.total_items),
            ("transactions", counted.transactions),
            ("canceled_transactions", counted.canceled_transactions),
            ("expired_items", counted.expired_items),
            ("discarded", counted.discarded),
            ("total_flushes", counted.total_flushes),
            ("journal_rewrites", counted.rewritten_items),
            ("journal_rotations", 0),
            ("dead_lettered", counted.dead_letters()),
            ("damaged_items", counted.damaged_items),
            ("kicked", counted.kicked),
        ];
        for (name, value) in counters {
            self.count(format!("{prefix}{name}"), value);
        }
        let gauges = [
            ("items", queue.items),
            ("bytes", queue.bytes),
            ("max_items", queue.max_items),
            ("max_bytes", queue.max_bytes),
            ("journal_size", queue.journal_bytes),
            ("mem_items", queue.mem_items),
            ("mem_bytes", queue.mem_bytes),
            ("age_msec", queue.age_ms),
            ("waiters", queue.waiters),
            ("open_transactions", queue.open_transactions),
            ("delayed_items", queue.delayed_items),
            ("dead_items", queue.dead_items),
            ("paused", u64::from(queue.is_paused)),
            ("create_time", created_unix_ms(now, queue) / 1000),
        ];
        for (name, value) in gauges {
            // Kestrel's "no limit" is a signed number.
            self.gauge(format!("{prefix}{name}"), value.min(i64::MAX as u64));
        }
    }

    fn add_alias(&mut self, alias: &AliasStats<'_>) {
        let name = latin1(alias.name);
        self.count(format!("q/{name}/put_items"), alias.put_items);
        self.count(format!("q/{name}/put_bytes"), alias.put_bytes);
    }

    fn into_json(self) -> Value {
        Value::from_iter([
            ("counters", self.counters),
            ("gauges", self.gauges),
            ("labels", self.labels),
            ("metrics", self.metrics),
        ])
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let parts = [
            ("counters", &self.counters),
            ("gauges", &self.gauges),
            ("labels", &self.labels),
            ("metrics", &self.metrics),
        ];
        for (part, entries) in parts {
            let _ = writeln!(text, "{part}:");
            for (name, value) in entries {
                let _ = match value {
                    Value::String(value) => writeln!(text, "  {name}: {value}"),
                    Value::Object(figures) => {
                        let figures: Vec<String> =
                            figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
                        writeln!(text, "  {name}: ({})", figures.join(", "))
                    }
                    value => writeln!(text, "  {name}: {value}"),
                };
            }
        }
        text
    }
}
