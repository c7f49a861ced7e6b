//! The `stats` reply: Kestrel's names, and the journal's figures. Changes nothing.

use alloc::string::String;

use kqueue_engine::{Now, QueueStats};
use kqueue_proto::{Response, StatsWriter};

use crate::broker::Broker;

impl Broker {
    pub(crate) fn stats(&self, now: Now) -> Response {
        let mut out = StatsWriter::new();
        self.write_server_stats(now, &mut out);
        self.write_journal_stats(&mut out);
        for queue in self.engine.queue_stats(now) {
            write_queue_stats(&queue, &mut out);
        }
        out.finish()
    }

    fn write_server_stats(&self, now: Now, out: &mut StatsWriter) {
        let (items, bytes) = self.engine.totals();
        let queues = self.engine.counters();
        let counters = &self.counters;
        out.stat("uptime", now.mono_ms.saturating_sub(self.started.mono_ms) / 1000);
        out.stat("time", now.wall_ms / 1000);
        out.stat("clock_ahead_ms", counters.clock_ahead_ms);
        out.stat("version", self.version);
        out.stat("curr_items", items);
        out.stat("total_items", queues.total_items);
        out.stat("bytes", bytes);
        out.stat("curr_connections", counters.connections);
        out.stat("total_connections", counters.connections_total);
        out.stat("cmd_get", counters.cmd_get);
        out.stat("cmd_set", counters.cmd_set);
        out.stat("cmd_peek", counters.cmd_peek);
        out.stat("get_hits", counters.get_hits);
        out.stat("get_misses", counters.get_misses);
        out.stat("queue_creates", queues.queue_creates);
        out.stat("queue_deletes", queues.queue_deletes);
        out.stat("queue_expires", queues.queue_expires);
        out.stat("mem_cost", self.engine.hot_cost());
    }

    fn write_journal_stats(&self, out: &mut StatsWriter) {
        let writer = &self.log.writer;
        out.stat("journal_bytes", writer.log_bytes());
        out.stat("journal_live_bytes", writer.live_bytes());
        out.stat("journal_segments", writer.segments().count());
        out.stat("journal_writes", self.counters.journal_writes);
        out.stat("journal_syncs", self.counters.journal_syncs);
        out.stat("torn_tail_total", self.damage.torn_tails);
        out.stat("torn_tail_bytes", self.damage.torn_tail_bytes);
        out.stat("damaged_total", self.damage.damaged);
        out.stat("damaged_bytes", self.damage.damaged_bytes);
        out.stat("damaged_items", self.damage.damaged_items);
        out.stat("journal_checkpoints", self.counters.checkpoints);
        out.stat("journal_loads", self.counters.loads);
        out.stat("journal_full", u64::from(writer.is_full()));
        out.stat("refused_no_space", self.counters.refused_no_space);
    }
}

fn write_queue_stats(queue: &QueueStats, out: &mut StatsWriter) {
    let counters = &queue.counters;
    let figures = [
        ("items", queue.items),
        ("bytes", queue.bytes),
        ("total_items", counters.total_items),
        ("expired_items", counters.expired_items),
        ("mem_items", queue.mem_items),
        ("mem_bytes", queue.mem_bytes),
        ("age", queue.age_ms),
        ("discarded", counters.discarded),
        ("waiters", queue.waiters),
        ("open_transactions", queue.open_transactions),
        ("transactions", counters.transactions),
        ("canceled_transactions", counters.canceled_transactions),
        ("total_flushes", counters.total_flushes),
        ("dead_lettered", counters.dead_lettered),
        ("damaged_items", counters.damaged_items),
    ];
    for (name, figure) in figures {
        out.queue_stat(&queue.name, name, figure);
    }
    if !queue.children.is_empty() {
        // Names are latin-1 on the wire.
        let mut names = String::new();
        for (index, child) in queue.children.iter().enumerate() {
            if index > 0 {
                names.push(',');
            }
            names.extend(child.iter().map(|&byte| char::from(byte)));
        }
        out.queue_stat(&queue.name, "children", names);
    }
}
