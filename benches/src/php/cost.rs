//! What an operation costs: time, PHP's processor, the server's processor.
//!
//! All of one PHP process, on one server (Redis is beside it, and memcached, since what PHP's processor spends on an answer depends on how long it is waited for), in turns; who goes first changes from one repetition to the next.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::worker::Worker;
use super::{Args, Ratio};
use crate::client;
use crate::peers::median;
use crate::server::Server;
use crate::storage::report::Report;
use crate::storage::watch::cpu_time;

/// Microseconds per item.
#[derive(Clone, Copy, Debug)]
struct Cost {
    elapsed: f64,
    client: f64,
    server: f64,
}

type Figure = fn(&Cost) -> f64;

/// Actions of `worker.php` that are measured side by side, and by how much fewer times than the others. `reserve`, `get` and `rpoplpush` take what was put before.
const GROUPS: [&[(&str, usize)]; 4] = [
    &[
        ("push", 1),
        ("push_unkeyed", 1),
        ("set", 1),
        ("lpush", 1),
        ("push_memory", 1),
        ("push_object", 1),
    ],
    &[("reserve", 1), ("get", 1), ("rpoplpush", 1)],
    &[("push_fresh", 5), ("set_fresh", 5)],
    &[("push_many", 1), ("push_async_1", 1), ("push_async_10", 1), ("push_async_100", 1)],
];

/// As many as are pushed at once.
const BATCH: usize = 100;

#[derive(Default)]
struct Costs(HashMap<&'static str, Vec<Cost>>);

impl Costs {
    fn figures(&self, action: &str, figure: Figure) -> Vec<f64> {
        self.0[action].iter().map(figure).collect()
    }
}

pub(super) fn run(built: &Path, data: &Path, args: &Args, report: &mut Report) {
    let server = Server::kqueue(built, data, "never");
    let redis = Server::redis_in_memory();
    let memcached = Server::memcached();
    let addresses = [&server, &redis, &memcached].map(|server| server.address.to_string());
    let mut worker = Worker::start(built, &addresses);
    let mut costs = Costs::default();
    let items = args.items.next_multiple_of(BATCH);
    for action in GROUPS.iter().copied().flatten() {
        // Connections, and what PHP does once.
        worker.run(action.0, BATCH);
    }
    client::flush_all(&server);
    worker.run("forget", 0);
    for repetition in 1..=args.repetitions {
        eprintln!("repetition {repetition} of {}", args.repetitions);
        for group in GROUPS {
            for index in 0..group.len() {
                let (action, fewer) = group[(index + repetition) % group.len()];
                let count = (items / fewer).next_multiple_of(BATCH);
                let measured_on = match action {
                    "lpush" | "rpoplpush" => &redis,
                    "push_memory" => &memcached,
                    _ => &server,
                };
                let before = cpu_time(measured_on);
                let done = worker.run(action, count);
                let server_busy = cpu_time(measured_on).saturating_sub(before);
                let each = |time: Duration| time.as_secs_f64() * 1_000_000.0 / count as f64;
                // pushAsync tells what its caller waited.
                let elapsed =
                    done.said.first().map_or(done.elapsed, |&ns| Duration::from_nanos(ns));
                costs.0.entry(action).or_default().push(Cost {
                    elapsed: each(elapsed),
                    client: each(done.busy),
                    server: each(server_busy),
                });
            }
        }
        // Queues do not grow from one repetition to the next.
        client::flush_all(&server);
        worker.run("forget", 0);
    }
    tell(&costs, report);
}

const TIME: (&str, Figure) = ("time", |cost| cost.elapsed);
const CLIENT: (&str, Figure) = ("PHP's CPU", |cost| cost.client);
const SERVER: (&str, Figure) = ("the server's CPU", |cost| cost.server);

fn tell(costs: &Costs, report: &mut Report) {
    for (what, ours, theirs, peer) in [
        ("push", "push", "set", "php-memcached set"),
        ("push", "push", "lpush", "phpredis lPush"),
        ("push to memcached", "push_memory", "lpush", "phpredis lPush"),
        ("reserve, ack", "reserve", "get", "php-memcached get open, close"),
        ("reserve, ack", "reserve", "rpoplpush", "phpredis rPopLPush, lRem"),
    ] {
        for figure in [CLIENT, TIME] {
            at_most(costs, report, what, ours, peer, theirs, figure, Some(1.0));
        }
    }
    at_most(costs, report, "push", "push", "a connection each", "push_fresh", TIME, Some(0.25));
    at_most(costs, report, "push", "push", "a connection each", "push_fresh", CLIENT, None);
    let fresh = "php-memcached, a connection each";
    at_most(costs, report, "push", "push", fresh, "set_fresh", TIME, Some(0.25));
    at_most(costs, report, "a new object, push", "push_object", "push", "push", CLIENT, None);
    at_most(
        costs,
        report,
        "pushMany of 100, an item",
        "push_many",
        "push",
        "push",
        TIME,
        Some(0.2),
    );
    at_most(costs, report, "pushMany of 100, an item", "push_many", "push", "push", CLIENT, None);
    for figure in [CLIENT, SERVER, TIME] {
        at_most(costs, report, "push", "push", "without a key", "push_unkeyed", figure, None);
    }
    for (action, batch) in [("push_async_1", 1), ("push_async_10", 10), ("push_async_100", BATCH)] {
        let figures = costs.figures(action, TIME.1);
        let middle = median(&figures);
        let what = format!("pushAsync, {batch} to a sync(): time in the caller");
        report.judge_pace(&what, format!("{middle:.2} us"), "<= 5 us".to_owned(), middle <= 5.0);
        let busy = median(&costs.figures(action, CLIENT.1));
        report.note("the same with its share of sync(): PHP's CPU", format!("{busy:.2} us"));
    }
}

/// One line: ours over theirs.
#[allow(clippy::too_many_arguments, reason = "a line of the table")]
fn at_most(
    costs: &Costs,
    report: &mut Report,
    what: &str,
    ours: &str,
    peer: &str,
    theirs: &str,
    (kind, figure): (&str, Figure),
    most: Option<f64>,
) {
    let (ours, theirs) = (costs.figures(ours, figure), costs.figures(theirs, figure));
    let ratio = Ratio::of_pairs(&ours, &theirs);
    let what = format!("{kind}: {what} {:.2} us / {peer} {:.2} us", median(&ours), median(&theirs));
    match most {
        Some(most) => {
            let is_met = ratio.median <= most;
            report.judge_pace(&what, ratio.text(), format!("<= {most}"), is_met);
        }
        None => report.note(&what, ratio.text()),
    }
}
