//! `make bench`: puts, takes and connections beside other servers in the same run, against the project's targets.
//!
//! Repetitions are outermost, and in each of them who goes first is another one, so that what disturbs the machine disturbs all. Ratios are taken within a repetition; their medians are judged,
//! because absolute figures are those of this machine.
//!
//! Must not: fail a test. Tests never depend on times.

mod document;
pub(crate) mod echo;
mod fleet;
mod kestrel;
mod plot;
mod quiet;
mod results;
mod scenarios;
mod table;

use std::fs;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::{self, Pace, Plan, Work};
use crate::peers::fleet::{Ground, Peer, Running};
use crate::peers::quiet::Quiet;
use crate::peers::results::{Results, Sample};
use crate::peers::scenarios::{Count, Press, SCENARIOS, Scenario};
use crate::peers::table::{Row, SMALL_ITEM_BYTES, memory_name};
use crate::php;
use crate::storage::machine::{Machine, sync_median_us};
use crate::storage::watch::{cpu_time, rss_since_start};

const MIB: u64 = 1024 * 1024;
/// Of a process that has 5,000 connections, and more than that in the servers that it starts.
const DESCRIPTORS: u64 = 16 * 1024;

/// How often, how long, and what becomes of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often everything is repeated.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Short measurements and few items: some minutes, and a wide spread.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios (and none of Kestrel's load tools, unless `tools` is among them; `memory` and `php` are parts, too).
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these servers: parts of their names.
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    /// Writes the generated part of benchmarks.md, and benchmarks.svg, in this directory; all of it, so that there is no part of a run.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "servers"])]
    document: Option<PathBuf>,
}

impl Args {
    /// Else rows that were not asked for have not missed anything.
    fn is_whole(&self) -> bool {
        self.only.is_empty() && self.servers.is_empty()
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// What `--quick` changes.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    warm_up: Duration,
    time: Duration,
    patience: Duration,
    backlog: u64,
    items: u64,
    memory_items: usize,
    pushes: usize,
}

const FULL: Amounts = Amounts {
    warm_up: Duration::from_millis(200),
    time: Duration::from_secs(1),
    patience: Duration::from_secs(5),
    backlog: 200_000,
    items: 100_000,
    // With more, `max_memory_size` (128 MiB) would leave some of ours on the disk only, and the figure would flatter.
    memory_items: 400_000,
    pushes: 5000,
};

const QUICK: Amounts = Amounts {
    warm_up: Duration::from_millis(50),
    time: Duration::from_millis(200),
    patience: Duration::from_millis(150),
    backlog: 20_000,
    items: 15_000,
    memory_items: 200_000,
    pushes: 1000,
};

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Measures, prints, writes.
pub(crate) fn run(built: &Path, data: &Path, args: &Args) {
    raise_descriptors();
    let amounts = if args.quick { QUICK } else { FULL };
    let machine = Machine::measure(data, if args.quick { 128 * MIB } else { 1024 * MIB });
    let place = tempfile::tempdir_in(data).expect("a directory for the servers' data");
    let mut bench = Bench::start(built, place.path(), args, amounts);
    for repetition in 0..args.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, args.repetitions);
        bench.repeat(repetition);
    }
    let found = if args.wants("tools") { bench.tools() } else { Vec::new() };
    let mut rows = table::rows(&bench.results);
    if !args.is_whole() {
        rows.retain(|row| row.ratio().is_some());
    }
    let report = document::Report {
        rows,
        results: &bench.results,
        tools: &found,
        machine: machine.text(),
        versions: Peer::ALL.iter().filter_map(|peer| peer.version()).collect(),
        missing: missing(),
        repetitions: args.repetitions,
        time: amounts.time,
        quiet: bench.quiet,
    };
    report.print();
    write_json(&data.join("peers.json"), &report);
    if let Some(directory) = &args.document {
        report.write(directory);
    }
}

fn missing() -> Vec<&'static str> {
    Peer::ALL.iter().filter(|peer| !peer.is_installed()).map(|peer| peer.name()).collect()
}

fn write_json(file: &Path, report: &document::Report<'_>) {
    let json = serde_json::json!({
        "machine": report.machine,
        "versions": report.versions,
        "rows": report.rows,
        "tools": report.tools,
        "results": report.results.to_json(),
    });
    fs::write(file, format!("{json:#}\n")).expect("the results can be written");
    println!("every figure: {}", file.display());
}

/// As far as that is allowed: what does not get its connections says so.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

struct Bench<'a> {
    args: &'a Args,
    amounts: Amounts,
    ground: Ground<'a>,
    fleet: Vec<Running>,
    results: Results,
    quiet: Quiet,
}

impl<'a> Bench<'a> {
    fn start(built: &'a Path, data: &'a Path, args: &'a Args, amounts: Amounts) -> Self {
        let mut ground = Ground { built, data, behind: None };
        let mut fleet = Vec::new();
        let is_wanted = |peer: &Peer| {
            let name = peer.name().to_lowercase();
            peer.is_installed()
                && (args.servers.is_empty() || args.servers.iter().any(|part| name.contains(part)))
        };
        for peer in Peer::ALL.into_iter().filter(is_wanted) {
            if peer == Peer::Nutcracker && ground.behind.is_none() {
                continue;
            }
            let running = Running::start(peer, &ground);
            if peer == Peer::KqueueKestrel {
                ground.behind = Some(running.address());
            }
            fleet.push(running);
        }
        Self { args, amounts, ground, fleet, results: Results::default(), quiet: Quiet::default() }
    }

    fn position(&self, peer: Peer) -> Option<usize> {
        self.fleet.iter().position(|running| running.peer == peer)
    }

    fn repeat(&mut self, repetition: usize) {
        let sync = sync_median_us(self.ground.data);
        self.results.add_other(table::SYNC_US, repetition, sync);
        let args = self.args;
        for scenario in SCENARIOS.iter().filter(|scenario| args.wants(scenario.name)) {
            let mut peers: Vec<Peer> = scenario.peers.to_vec();
            peers.rotate_left(repetition % scenario.peers.len());
            for peer in peers {
                if let Some(index) = self.position(peer) {
                    self.measure(scenario, index, repetition);
                }
            }
        }
        if args.wants("memory") {
            for peer in [Peer::Kqueue, Peer::BeanstalkMemory, Peer::RedisEverysec] {
                if let Some(figure) = self.position(peer).and_then(|_| self.memory(peer)) {
                    self.results.add_other(&memory_name(peer), repetition, figure);
                }
            }
        }
        if args.wants("php") {
            self.php(repetition);
        }
    }

    /// One that breaks off leaves a hole in the results, and a fresh server.
    fn measure(&mut self, scenario: &Scenario, index: usize, repetition: usize) {
        let peer = self.fleet[index].peer;
        let mut pace = Pace::Closed;
        if let Press::HalfOf(full) = scenario.press {
            let Some(sample) = self.results.sample(full, peer, repetition) else { return };
            pace = Pace::Open(sample.per_second / 2.0);
        }
        self.quiet.wait(self.amounts.patience);
        let (running, amounts) = (&self.fleet[index], &self.amounts);
        let measured = catch_unwind(AssertUnwindSafe(|| one(running, scenario, pace, amounts)));
        match measured {
            Ok(sample) => {
                self.results.add(scenario.name, peer, repetition, sample);
                if scenario.is_emptied_after {
                    self.fleet[index].empty(&self.ground);
                    self.fleet[index].settle();
                }
            }
            Err(_) => {
                eprintln!("{}, {}: broke off", scenario.name, peer.name());
                let fresh = Running::start(peer, &self.ground);
                if peer == Peer::KqueueKestrel {
                    self.ground.behind = Some(fresh.address());
                }
                self.fleet[index] = fresh;
            }
        }
    }

    /// Bytes per queued item, in a server that has done nothing else.
    fn memory(&self, peer: Peer) -> Option<f64> {
        let running = Running::start(peer, &self.ground);
        let before = rss_since_start(&running.server);
        let count = self.amounts.memory_items;
        let filled = catch_unwind(AssertUnwindSafe(|| {
            running.talk().fill(&[b'x'; SMALL_ITEM_BYTES], count);
        }));
        let bytes = rss_since_start(&running.server) - before;
        filled.is_ok().then_some(bytes as f64 / count as f64)
    }

    fn php(&mut self, repetition: usize) {
        let Some(ours) = self.position(Peer::KqueueKestrel) else { return };
        let server = self.fleet[ours].address();
        let (push, set) = php::push_and_set(self.ground.built, server);
        self.results.add_other(table::PUSH_US, repetition, push);
        self.results.add_other(table::SET_US, repetition, set);
        if let Some(proxy) = self.position(Peer::Nutcracker) {
            let proxy = self.fleet[proxy].address();
            let pushes = self.amounts.pushes;
            let (pool, short) = php::pool_and_proxy(self.ground.built, server, proxy, pushes);
            self.results.add_other(table::POOL_US, repetition, pool);
            self.results.add_other(table::PROXY_US, repetition, short);
        }
        self.fleet[ours].empty(&self.ground);
    }

    /// Once each: they take their time by design.
    fn tools(&mut self) -> Vec<kestrel::Found> {
        let is_quick = self.args.quick;
        let mut found = Vec::new();
        let mut each =
            |bench: &mut Self, peers: &[Peer], tool: &dyn Fn(&Running) -> kestrel::Found| {
                for peer in peers {
                    let Some(index) = bench.position(*peer) else { continue };
                    let running = &bench.fleet[index];
                    eprintln!("Kestrel's load tools: {}", running.peer.name());
                    if let Ok(result) = catch_unwind(AssertUnwindSafe(|| tool(running))) {
                        found.push(result);
                    }
                    bench.fleet[index].empty(&bench.ground);
                }
            };
        let all = [Peer::KqueueKestrel, Peer::BeanstalkMemory, Peer::RedisEverysec];
        each(self, &all, &|running| kestrel::flood(running, 10_000));
        let (items, pause) = if is_quick { (20, 20) } else { (100, 100) };
        each(self, &all, &|running| {
            kestrel::many_clients(running, items, 100, Duration::from_millis(pause))
        });
        let (cycles, pause) = if is_quick { (2, 0) } else { (100, 1) };
        each(self, &[Peer::KqueueKestrel], &|running| {
            kestrel::packing(running, 25_000, cycles, Duration::from_secs(pause))
        });
        each(self, &[Peer::Kqueue], &|running| kestrel::leaky_reader(running, 1000));
        found
    }
}

/// One measurement on one server.
fn one(running: &Running, scenario: &Scenario, pace: Pace, amounts: &Amounts) -> Sample {
    let operations = match scenario.press {
        Press::Full | Press::HalfOf(_) => u64::MAX,
        Press::Until(Count::Exactly(count)) => count,
        Press::Until(Count::Backlog) => amounts.backlog,
        Press::Until(Count::Items) => amounts.items,
    };
    if scenario.is_filled_before {
        running.talk().fill(&vec![b'x'; scenario.body_bytes], operations as usize);
    }
    let crowd: Vec<TcpStream> = (0..scenario.idle)
        .map(|_| TcpStream::connect(running.address()).expect("the server takes connections"))
        .collect();
    let is_counted = operations < u64::MAX;
    let before = cpu_time(&running.server);
    let outcome = load::run(&Plan {
        address: running.address(),
        wire: running.peer.wire(),
        work: scenario.work,
        pace,
        connections: scenario.connections,
        body_bytes: scenario.body_bytes,
        warm_up: if is_counted { Duration::ZERO } else { amounts.warm_up },
        time: if is_counted { Duration::from_secs(60) } else { amounts.time },
        operations,
    });
    let busy = cpu_time(&running.server).saturating_sub(before);
    drop(crowd);
    if scenario.work == Work::Take {
        assert_eq!(outcome.count, operations, "every item was taken");
    }
    Sample::new(&outcome, busy.as_secs_f64())
}

/// For whoever prints rows in another form.
fn missed(rows: &[Row]) -> (usize, usize) {
    let judged = rows.iter().filter_map(Row::is_met);
    let (met, missed): (Vec<bool>, Vec<bool>) = judged.partition(|is_met| *is_met);
    (met.len(), missed.len())
}
