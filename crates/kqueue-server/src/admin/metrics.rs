//! `/metrics`: everything in Prometheus's text format, taken when it is asked for.
//!
//! Invariant: the number of series is bounded, whatever clients do: of the queues only the fullest are shown.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kqueue_broker::{Now, QueueStats, ServerStats, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::latency::Histograms;

use super::histograms::{Classes, LONG, QUICK};
use super::process::Process;
use super::queues::{fullest, oldest_ms, server_stats};
use super::{Admin, Refusal, Running, latin1};

/// Queues that have series of their own.
const QUEUES_MAX: usize = 200;

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response, Refusal> {
    let began = admin.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = admin.list(move |running| text(running, began.as_secs_f64())).await?;
    Ok(([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response())
}

fn text(running: &Running, start_seconds: f64) -> String {
    let shared = &running.shared;
    let (queues, queues_not_shown) = fullest(shared, QUEUES_MAX);
    let snapshot = Snapshot {
        stats: server_stats(shared),
        latencies: shared.latencies.snapshot(),
        process: Process::look(),
        start_seconds,
        has_reload_failed: running.control.has_reload_failed(),
        queues,
        queues_not_shown,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// A figure of a queue.
type Figure = fn(&QueueStats) -> u64;

/// What one scrape shows.
#[derive(Debug)]
struct Snapshot {
    stats: ServerStats,
    latencies: Histograms,
    process: Process,
    start_seconds: f64,
    has_reload_failed: bool,
    queues: Vec<(Now, QueueStats)>,
    queues_not_shown: u64,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.write_stats(&mut out)?;
        self.write_latencies(&mut out)?;
        self.write_process(&mut out)?;
        self.write_queues(&mut out)
    }
}

impl Snapshot {
    fn write_stats(&self, out: &mut Out<'_>) -> fmt::Result {
        // A table. Without `..`: a new figure is to be shown.
        let ServerStats {
            uptime_s,
            unix_s,
            // As clients see it; operators are shown the whole of it.
            version: _,
            status,
            enforced_status,
            curr_items,
            total_items,
            bytes,
            reserved_memory,
            max_memory_size,
            mem_cost,
            queues,
            waiters,
            open_transactions,
            curr_connections,
            total_connections,
            cmd_get,
            cmd_set,
            cmd_peek,
            cmd_monitor,
            cmd_monitor_get,
            cmd_get_open_dropped,
            cmd_get_timeout_dropped,
            get_hits,
            get_misses,
            bytes_read,
            bytes_written,
            queue_creates,
            queue_deletes,
            queue_expires,
            clock_ahead_ms,
            journal_bytes,
            journal_live_bytes,
            journal_segments,
            journal_writes,
            journal_syncs,
            journal_checkpoints,
            journal_loads,
            journal_full,
            journal_failed,
            torn_tail_total,
            torn_tail_bytes,
            damaged_total,
            damaged_bytes,
            damaged_items,
            refused_no_space,
            refused_no_memory,
            refused_by_limits,
            refused_too_many_queues,
            refused_reads,
            refused_writes,
            delayed_items,
            dead_items,
            repeated_puts,
            known_keys,
        } = self.stats;

        out.info("kqueue", "The server", "version", crate::VERSION)?;
        out.gauge("kqueue_uptime_seconds", "How long the server runs", uptime_s)?;
        out.gauge("kqueue_time_seconds", "Unix time that the server goes by", unix_s)?;
        let ahead = clock_ahead_ms as f64 / 1000.0;
        out.gauge("kqueue_clock_ahead_seconds", "How far the machine's clock is ahead", ahead)?;
        out.status("kqueue_status", "The status that is shown: 1", status)?;
        out.status("kqueue_status_enforced", "The status that holds: 1", enforced_status)?;
        let is_configured = u64::from(!self.has_reload_failed);
        let help = "0: the last reload was refused";
        out.gauge("kqueue_config_last_reload_successful", help, is_configured)?;

        out.gauge("kqueue_items", "Waiting items", curr_items)?;
        out.gauge("kqueue_items_bytes", "Bytes of their bodies", bytes)?;
        out.gauge("kqueue_delayed_items", "Items that are not ready yet", delayed_items)?;
        out.gauge("kqueue_dead_items", "Dead letters in their queues", dead_items)?;
        out.gauge("kqueue_open_items", "Items handed out tentatively", open_transactions)?;
        out.gauge("kqueue_waiters", "Clients that wait for an item", waiters)?;
        out.gauge("kqueue_queues", "Queues", queues)?;
        out.gauge("kqueue_connections", "Open connections", curr_connections)?;
        out.gauge("kqueue_memory_used_bytes", "What items occupy in memory", mem_cost)?;
        out.gauge("kqueue_memory_max_bytes", "What they may occupy", max_memory_size)?;
        out.gauge("kqueue_memory_promised_bytes", "What queues may occupy", reserved_memory)?;

        out.counter("kqueue_puts", "Puts asked for", cmd_set)?;
        out.counter("kqueue_repeated_puts", "Of puts stored before", repeated_puts)?;
        out.gauge("kqueue_known_keys", "Keys of puts that are kept", known_keys)?;
        out.counter("kqueue_items_put", "Items put, copies in sub-queues counted", total_items)?;
        out.counter("kqueue_gets", "Gets asked for", cmd_get)?;
        out.counter("kqueue_peeks", "Peeks asked for", cmd_peek)?;
        out.counter("kqueue_monitors", "Monitors asked for", cmd_monitor)?;
        out.counter("kqueue_monitor_gets", "Reads of monitors", cmd_monitor_get)?;
        out.counter("kqueue_get_hits", "Reads that returned an item", get_hits)?;
        out.counter("kqueue_get_misses", "Reads that returned none", get_misses)?;
        out.counter("kqueue_open_reads_dropped", "Connections' ends", cmd_get_open_dropped)?;
        out.counter("kqueue_waits_dropped", "Waiting clients gone", cmd_get_timeout_dropped)?;
        out.counter("kqueue_connections_opened", "Connections so far", total_connections)?;
        out.counter("kqueue_received_bytes", "Bytes from clients", bytes_read)?;
        out.counter("kqueue_sent_bytes", "Bytes to clients", bytes_written)?;
        out.counter("kqueue_queues_created", "Queues made or found", queue_creates)?;
        out.counter("kqueue_queues_deleted", "Queues deleted", queue_deletes)?;
        out.counter("kqueue_queues_expired", "Queues gone by themselves", queue_expires)?;
        let refused = [
            ("no_space", refused_no_space),
            ("no_memory", refused_no_memory),
            ("limits", refused_by_limits),
            ("too_many_queues", refused_too_many_queues),
            ("reads_closed", refused_reads),
            ("writes_closed", refused_writes),
        ];
        out.counters("kqueue_refused", "Requests refused", "reason", &refused)?;

        out.gauge("kqueue_journal_bytes", "Length of the log", journal_bytes)?;
        out.gauge("kqueue_journal_live_bytes", "Bytes in it still needed", journal_live_bytes)?;
        out.gauge("kqueue_journal_segments", "Its files", journal_segments)?;
        out.gauge("kqueue_journal_full", "1: no space on the disk", u64::from(journal_full))?;
        out.gauge("kqueue_journal_failed", "1: the journal failed", u64::from(journal_failed))?;
        out.counter("kqueue_journal_writes", "Writes to the log", journal_writes)?;
        out.counter("kqueue_journal_syncs", "Syncs of the log", journal_syncs)?;
        out.counter("kqueue_journal_checkpoints", "Checkpoints", journal_checkpoints)?;
        out.counter("kqueue_journal_loads", "Reads of items on the disk only", journal_loads)?;
        out.counter("kqueue_torn_tails", "Ends of the log cut at start", torn_tail_total)?;
        out.counter("kqueue_torn_tail_bytes", "Bytes in them", torn_tail_bytes)?;
        out.counter("kqueue_damaged_places", "Damaged places found", damaged_total)?;
        out.counter("kqueue_damaged_bytes", "Bytes in them", damaged_bytes)?;
        out.counter("kqueue_damaged_items", "Items lost with them", damaged_items)
    }

    fn write_latencies(&self, out: &mut Out<'_>) -> fmt::Result {
        let Histograms { put, synced_put, get_hit, get_miss, get_wait, delivery, sync } =
            &self.latencies;
        let puts = [("", Classes::of(put, QUICK))];
        out.histograms("kqueue_put_seconds", "Puts, until their reply", "", &puts)?;
        let synced = [("", Classes::of(synced_put, QUICK))];
        let help = "Those of them whose reply waited for the disk";
        out.histograms("kqueue_put_synced_seconds", help, "", &synced)?;
        let gets = [
            ("hit", Classes::of(get_hit, QUICK)),
            ("miss", Classes::of(get_miss, QUICK)),
            ("wait", Classes::of(get_wait, QUICK)),
        ];
        out.histograms("kqueue_get_seconds", "Reads, until their reply", "result", &gets)?;
        let ages = [("", Classes::of(delivery, LONG))];
        out.histograms("kqueue_delivery_age_seconds", "Age of items handed out", "", &ages)?;
        let syncs = [("", Classes::of(sync, QUICK))];
        out.histograms("kqueue_journal_sync_seconds", "Syncs of the log", "", &syncs)
    }

    fn write_process(&self, out: &mut Out<'_>) -> fmt::Result {
        let Process { resident_bytes, virtual_bytes, open_fds, max_fds, cpu_seconds } =
            self.process;
        out.gauge("process_resident_memory_bytes", "Resident memory", resident_bytes)?;
        out.gauge("process_virtual_memory_bytes", "Virtual memory", virtual_bytes)?;
        out.gauge("process_open_fds", "Open files", open_fds)?;
        out.gauge("process_max_fds", "Open files permitted", max_fds)?;
        let start = self.start_seconds;
        out.gauge("process_start_time_seconds", "Unix time of the start", start)?;
        let mut metric = out.0.encode_descriptor(
            "process_cpu_seconds",
            "Processor time",
            None,
            MetricType::Counter,
        )?;
        metric.encode_counter::<NoLabelSet, f64, f64>(&cpu_seconds, None)
    }

    fn write_queues(&self, out: &mut Out<'_>) -> fmt::Result {
        out.gauge("kqueue_queues_not_shown", "Queues without series", self.queues_not_shown)?;
        let names: Vec<String> = self.queues.iter().map(|(_, queue)| latin1(&queue.name)).collect();
        let each = |figure: Figure| -> Vec<(&str, u64)> {
            let figures = self.queues.iter().map(|(_, queue)| figure(queue));
            names.iter().map(String::as_str).zip(figures).collect()
        };
        let gauges: [(&str, &str, Figure); 7] = [
            ("kqueue_queue_items", "Waiting items", |q| q.items),
            ("kqueue_queue_items_bytes", "Bytes of their bodies", |q| q.bytes),
            ("kqueue_queue_open_items", "Items handed out tentatively", |q| q.open_transactions),
            ("kqueue_queue_waiters", "Clients that wait", |q| q.waiters),
            ("kqueue_queue_delayed_items", "Items not ready yet", |q| q.delayed_items),
            ("kqueue_queue_dead_items", "Dead letters in the queue", |q| q.dead_items),
            ("kqueue_queue_paused", "1: hands nothing out", |q| u64::from(q.is_paused)),
        ];
        for (name, help, figure) in gauges {
            out.gauges(name, help, "queue", &each(figure))?;
        }
        let ages = self.queues.iter().zip(&names).filter_map(|((now, queue), name)| {
            oldest_ms(*now, queue).map(|ms| (name.as_str(), ms as f64 / 1000.0))
        });
        let ages: Vec<(&str, f64)> = ages.collect();
        out.gauges("kqueue_queue_oldest_seconds", "How long the next item waits", "queue", &ages)?;
        let counters: [(&str, &str, Figure); 9] = [
            ("kqueue_queue_put_items", "Items put, or found at start", |q| q.counters.total_items),
            ("kqueue_queue_removed_items", "Taken or confirmed", |q| q.counters.removed_items),
            ("kqueue_queue_expired_items", "Items expired", |q| q.counters.expired_items),
            ("kqueue_queue_discarded_items", "Dropped when full", |q| q.counters.discarded),
            ("kqueue_queue_flushed_items", "Items flushed", |q| q.counters.flushed_items),
            ("kqueue_queue_dead_lettered_items", "Given up", |q| q.counters.dead_letters()),
            ("kqueue_queue_kicked_items", "Dead letters kicked", |q| q.counters.kicked),
            ("kqueue_queue_returned_items", "Given back", |q| q.counters.canceled_transactions),
            ("kqueue_queue_damaged_items", "Items lost by damage", |q| q.counters.damaged_items),
        ];
        for (name, help, figure) in counters {
            out.counters(name, help, "queue", &each(figure))?;
        }
        Ok(())
    }
}

/// Writes one metric after the other.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn info(&mut self, name: &str, help: &str, label: &str, value: &str) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&[(label, value)])
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.iter().try_for_each(|(of, value)| {
            let labels = [(label, *of)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(value, None)
        })
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, impl EncodeGaugeValue)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.iter().try_for_each(|(of, value)| {
            let labels = [(label, *of)];
            metric.encode_family(&labels)?.encode_gauge(value)
        })
    }

    fn status(&mut self, name: &str, help: &str, status: Status) -> fmt::Result {
        let values = Status::ALL.map(|each| (each.name(), u64::from(each == status)));
        self.gauges(name, help, "status", &values)
    }

    /// `label` is empty if there is only one.
    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, Classes)],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        values.iter().try_for_each(|(of, classes)| {
            let Classes { sum, count, buckets } = classes;
            let labels = MaybeLabel { name: label, value: of };
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        })
    }
}

/// A label, unless its name is empty.
struct MaybeLabel<'a> {
    name: &'a str,
    value: &'a str,
}

impl EncodeLabelSet for MaybeLabel<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        let label = [(self.name, self.value)];
        let labels = if self.name.is_empty() { &label[..0] } else { &label[..] };
        labels.encode(encoder)
    }
}
