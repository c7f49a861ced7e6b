//! The figures of the server and of its queues, as `stats` and `dump_stats` show them and as the shell may: Kestrel's names in Kestrel's order, then ours. Changes nothing.
//!
//! A listing of very many queues is made in pieces: neither the lock nor memory depends on how many there are.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use kqueue_engine::{AliasStats, Now, QueueStats, Totals};
use kqueue_proto::{Response, StatsWriter};

use crate::broker::Broker;
use crate::gate::Gate;
use crate::session::Session;
use crate::status::Status;
use crate::task::Task;

/// Queues in one piece of a listing.
const PIECE_QUEUES: usize = 64;
/// Bytes in one piece of a listing, about.
const PIECE_BYTES: usize = 32 * 1024;
/// Queues that are added up at a time.
const PIECE_TOTALS: usize = 2048;

/// The server's figures; those that count do so since start.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the statistics, see docs/operating.md")]
pub struct ServerStats {
    pub uptime_s: u64,
    pub unix_s: u64,
    pub version: &'static str,
    pub status: Status,
    pub enforced_status: Status,
    pub curr_items: u64,
    pub total_items: u64,
    pub bytes: u64,
    /// What the queues were promised in memory, in bytes.
    pub reserved_memory: u64,
    /// What all of them get, in bytes.
    pub max_memory_size: u64,
    /// What items occupy in memory, in bytes.
    pub mem_cost: u64,
    pub queues: u64,
    pub waiters: u64,
    pub open_transactions: u64,
    pub curr_connections: u64,
    pub total_connections: u64,
    pub cmd_get: u64,
    pub cmd_set: u64,
    pub cmd_peek: u64,
    pub cmd_monitor: u64,
    pub cmd_monitor_get: u64,
    pub cmd_get_open_dropped: u64,
    pub cmd_get_timeout_dropped: u64,
    pub get_hits: u64,
    pub get_misses: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub queue_creates: u64,
    pub queue_deletes: u64,
    pub queue_expires: u64,
    pub clock_ahead_ms: i64,
    pub journal_bytes: u64,
    pub journal_live_bytes: u64,
    pub journal_segments: u64,
    pub journal_writes: u64,
    pub journal_syncs: u64,
    pub journal_checkpoints: u64,
    pub journal_loads: u64,
    pub journal_full: bool,
    pub journal_failed: bool,
    pub torn_tail_total: u64,
    pub torn_tail_bytes: u64,
    pub damaged_total: u64,
    pub damaged_bytes: u64,
    pub damaged_items: u64,
    pub refused_no_space: u64,
    pub refused_no_memory: u64,
    pub refused_by_limits: u64,
    pub refused_too_many_queues: u64,
    pub refused_reads: u64,
    pub refused_writes: u64,
    pub delayed_items: u64,
    pub dead_items: u64,
    pub repeated_puts: u64,
    pub known_keys: u64,
}

/// A reply to `stats` or `dump_stats` that is being made.
#[derive(Debug)]
pub(crate) struct Listing {
    form: Form,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Stats,
    Dump,
}

/// What is to be listed next.
#[derive(Debug)]
enum Next {
    /// The sums, so far and from which queue on; then the server's figures.
    Server(Totals, u64),
    /// Queues behind the one with this number; whether any was shown before.
    After(u64, bool),
    /// Named ones.
    Named(alloc::vec::IntoIter<Bytes>),
}

impl Listing {
    pub(crate) fn stats() -> alloc::boxed::Box<Self> {
        Self { form: Form::Stats, next: Next::Server(Totals::default(), 0) }.into()
    }

    /// Of these queues; of all if there is none.
    pub(crate) fn dump(keys: Vec<Bytes>) -> alloc::boxed::Box<Self> {
        let next =
            if keys.is_empty() { Next::After(0, false) } else { Next::Named(keys.into_iter()) };
        Self { form: Form::Dump, next }.into()
    }
}

impl Broker {
    /// Adds some queues to the sums that [`Broker::server_stats`] shows; see [`kqueue_engine::Engine::add_totals`]. Some thousands at a time delay nobody.
    pub fn add_totals(&self, after: u64, totals: &mut Totals) -> Option<u64> {
        self.engine.add_totals(after, PIECE_TOTALS, totals)
    }

    /// The server's figures, with the sums over all queues as they were added up.
    pub fn server_stats(&self, now: Now, totals: &Totals) -> ServerStats {
        let queues = self.engine.counters();
        let c = &self.counters;
        let writer = &self.log.writer;
        ServerStats {
            uptime_s: now.mono_ms.saturating_sub(self.started.mono_ms) / 1000,
            unix_s: now.wall_ms / 1000,
            version: self.version,
            status: self.status.shown(),
            enforced_status: self.status.enforced(),
            curr_items: totals.items,
            total_items: queues.total_items,
            bytes: totals.bytes,
            reserved_memory: totals.reserved_memory,
            max_memory_size: self.engine.max_memory_size(),
            mem_cost: self.engine.hot_cost(),
            queues: self.engine.queue_count(),
            waiters: totals.waiters,
            open_transactions: totals.open_transactions,
            curr_connections: c.connections,
            total_connections: c.connections_total,
            cmd_get: c.cmd_get,
            cmd_set: c.cmd_set,
            cmd_peek: c.cmd_peek,
            cmd_monitor: c.cmd_monitor,
            cmd_monitor_get: c.cmd_monitor_get,
            cmd_get_open_dropped: c.cmd_get_open_dropped,
            cmd_get_timeout_dropped: c.cmd_get_timeout_dropped,
            get_hits: c.get_hits,
            get_misses: c.get_misses,
            bytes_read: c.bytes_read,
            bytes_written: c.bytes_written,
            queue_creates: queues.queue_creates,
            queue_deletes: queues.queue_deletes,
            queue_expires: queues.queue_expires,
            clock_ahead_ms: c.clock_ahead_ms,
            journal_bytes: writer.log_bytes(),
            journal_live_bytes: writer.live_bytes(),
            journal_segments: writer.segments().count() as u64,
            journal_writes: c.journal_writes,
            journal_syncs: c.journal_syncs,
            journal_checkpoints: c.checkpoints,
            journal_loads: c.loads,
            journal_full: writer.is_full(),
            journal_failed: writer.progress().poisoned,
            torn_tail_total: self.damage.torn_tails,
            torn_tail_bytes: self.damage.torn_tail_bytes,
            damaged_total: self.damage.damaged,
            damaged_bytes: self.damage.damaged_bytes,
            damaged_items: self.damage.damaged_items,
            refused_no_space: c.refused_no_space,
            refused_no_memory: c.refused_no_memory,
            refused_by_limits: c.refused_by_limits,
            refused_too_many_queues: c.refused_too_many_queues,
            refused_reads: c.refused_reads,
            refused_writes: c.refused_writes,
            delayed_items: totals.delayed_items,
            dead_items: totals.dead_items,
            repeated_puts: queues.repeated_puts,
            known_keys: self.engine.keys_known(),
        }
    }

    /// At most `limit` queues that were made after the one numbered `after` (0: from the first on), in order of creation; those that an alias hides are left out.
    pub fn queue_stats(&self, now: Now, after: u64, limit: usize) -> Vec<QueueStats> {
        self.engine.queue_stats(now, after).take(limit).collect()
    }

    /// One queue's figures.
    pub fn stats_of_queue(&self, now: Now, name: &[u8]) -> Option<QueueStats> {
        self.engine.stats_of_queue(now, name)
    }

    /// All aliases.
    pub fn alias_stats(&self) -> impl Iterator<Item = AliasStats<'_>> {
        self.engine.alias_stats()
    }

    /// Shows the next piece of a listing.
    pub(crate) fn step_listing(
        &mut self,
        now: Now,
        session: &mut Session,
        mut listing: alloc::boxed::Box<Listing>,
    ) {
        let mut out = StatsWriter::new();
        let form = listing.form;
        let mut has_more = true;
        match &mut listing.next {
            Next::Server(totals, after) => match self.add_totals(*after, totals) {
                Some(last) => *after = last,
                None => {
                    write_server_stats(&self.server_stats(now, totals), &mut out);
                    listing.next = Next::After(0, false);
                }
            },
            Next::After(after, has_shown) => {
                let queues = self.engine.queue_stats(now, *after);
                has_more = false;
                for (index, queue) in queues.enumerate() {
                    // Thousands of sub-queues may be named.
                    if index == PIECE_QUEUES || out.len() >= PIECE_BYTES {
                        has_more = true;
                        break;
                    }
                    form.write_queue(&queue, &mut out);
                    (*after, *has_shown) = (queue.number, true);
                }
                if !has_more {
                    for alias in self.engine.alias_stats() {
                        *has_shown = true;
                        form.write_alias(&alias, &mut out);
                    }
                    if form == Form::Dump && !*has_shown {
                        out.empty_line();
                    }
                }
            }
            Next::Named(names) => {
                for name in names.by_ref().take(PIECE_QUEUES) {
                    self.write_named(now, &name, &mut out);
                }
                has_more = !names.as_slice().is_empty();
            }
        }
        if !out.is_empty() {
            session.reply(Gate::Open, out.finish());
        }
        match has_more {
            true => session.task = Some(Task::List(listing)),
            false => session.reply(Gate::Open, Response::End),
        }
    }

    /// A block of `dump_stats` for a name, whatever it is.
    fn write_named(&self, now: Now, name: &[u8], out: &mut StatsWriter) {
        if let Some(queue) = self.engine.stats_of_queue(now, name) {
            return Form::Dump.write_queue(&queue, out);
        }
        match self.engine.alias_stats().find(|alias| alias.name == name) {
            Some(alias) => Form::Dump.write_alias(&alias, out),
            None => {
                out.begin_block(name);
                out.empty_block();
                out.end_block();
            }
        }
    }
}

fn write_server_stats(stats: &ServerStats, out: &mut StatsWriter) {
    let reserved = stats.reserved_memory as f64 / stats.max_memory_size as f64;
    // Kestrel's, in its order.
    out.stat("uptime", stats.uptime_s);
    out.stat("time", stats.unix_s);
    out.stat("version", stats.version);
    out.stat("curr_items", stats.curr_items);
    out.stat("total_items", stats.total_items);
    out.stat("bytes", stats.bytes);
    out.stat("reserved_memory_ratio", format_args!("{reserved:.3}"));
    out.stat("curr_connections", stats.curr_connections);
    out.stat("total_connections", stats.total_connections);
    out.stat("cmd_get", stats.cmd_get);
    out.stat("cmd_set", stats.cmd_set);
    out.stat("cmd_peek", stats.cmd_peek);
    out.stat("get_hits", stats.get_hits);
    out.stat("get_misses", stats.get_misses);
    out.stat("bytes_read", stats.bytes_read);
    out.stat("bytes_written", stats.bytes_written);
    out.stat("queue_creates", stats.queue_creates);
    out.stat("queue_deletes", stats.queue_deletes);
    out.stat("queue_expires", stats.queue_expires);
    // Ours.
    out.stat("clock_ahead_ms", stats.clock_ahead_ms);
    out.stat("mem_cost", stats.mem_cost);
    out.stat("cmd_monitor", stats.cmd_monitor);
    out.stat("journal_bytes", stats.journal_bytes);
    out.stat("journal_live_bytes", stats.journal_live_bytes);
    out.stat("journal_segments", stats.journal_segments);
    out.stat("journal_writes", stats.journal_writes);
    out.stat("journal_syncs", stats.journal_syncs);
    out.stat("torn_tail_total", stats.torn_tail_total);
    out.stat("torn_tail_bytes", stats.torn_tail_bytes);
    out.stat("damaged_total", stats.damaged_total);
    out.stat("damaged_bytes", stats.damaged_bytes);
    out.stat("damaged_items", stats.damaged_items);
    out.stat("journal_checkpoints", stats.journal_checkpoints);
    out.stat("journal_loads", stats.journal_loads);
    out.stat("journal_full", u64::from(stats.journal_full));
    out.stat("refused_no_space", stats.refused_no_space);
    out.stat("refused_no_memory", stats.refused_no_memory);
    out.stat("refused_by_limits", stats.refused_by_limits);
    out.stat("refused_too_many_queues", stats.refused_too_many_queues);
    out.stat("refused_reads", stats.refused_reads);
    out.stat("refused_writes", stats.refused_writes);
    out.stat("delayed_items", stats.delayed_items);
    out.stat("dead_items", stats.dead_items);
    out.stat("repeated_puts", stats.repeated_puts);
    out.stat("known_keys", stats.known_keys);
}

impl Form {
    fn write_queue(self, queue: &QueueStats, out: &mut StatsWriter) {
        self.begin(&queue.name, out);
        for (name, figure) in queue_figures(queue) {
            self.write(&queue.name, name, figure, out);
        }
        if !queue.children.is_empty() {
            let children = names(queue.children.iter().map(|name| &name[..]));
            self.write(&queue.name, "children", children, out);
        }
        self.end(out);
    }

    fn write_alias(self, alias: &AliasStats<'_>, out: &mut StatsWriter) {
        self.begin(alias.name, out);
        self.write(alias.name, "put_items", alias.put_items, out);
        self.write(alias.name, "put_bytes", alias.put_bytes, out);
        let destinations = names(alias.destinations.iter().map(|name| &name[..]));
        self.write(alias.name, "children", destinations, out);
        self.end(out);
    }

    fn begin(self, queue: &[u8], out: &mut StatsWriter) {
        if self == Self::Dump {
            out.begin_block(queue);
        }
    }

    fn write(self, queue: &[u8], name: &str, value: impl fmt::Display, out: &mut StatsWriter) {
        match self {
            Self::Stats => out.queue_stat(queue, name, value),
            Self::Dump => out.block_stat(name, value),
        }
    }

    fn end(self, out: &mut StatsWriter) {
        if self == Self::Dump {
            out.end_block();
        }
    }
}

/// Kestrel's figures of a queue in its order, then ours.
fn queue_figures(queue: &QueueStats) -> [(&'static str, u64); 22] {
    let counters = &queue.counters;
    [
        ("items", queue.items),
        ("bytes", queue.bytes),
        ("total_items", counters.total_items),
        ("logsize", queue.journal_bytes),
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
        ("journal_rewrites", counters.rewritten_items),
        // A queue has no file of its own that could be rotated.
        ("journal_rotations", 0),
        ("dead_lettered", counters.dead_letters()),
        ("damaged_items", counters.damaged_items),
        ("delayed_items", queue.delayed_items),
        ("dead_items", queue.dead_items),
        ("kicked", counters.kicked),
        ("paused", u64::from(queue.is_paused)),
    ]
}

/// Names in one word; they are latin-1 on the wire.
fn names<'a>(names: impl Iterator<Item = &'a [u8]>) -> String {
    let mut all = String::new();
    for (index, name) in names.enumerate() {
        if index > 0 {
            all.push(',');
        }
        all.extend(name.iter().map(|&byte| char::from(byte)));
    }
    all
}
