//! One of two servers is killed, or keeps silent, while PHP pushes.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::worker::{Done, Worker};
use super::{Args, Ratio};
use crate::peers::median;
use crate::server::Server;
use crate::storage::report::Report;

/// What a push may take at the moment of the failure: the extension's own connect_timeout and timeout.
const LONGEST: Duration = Duration::from_millis(250 + 1000);

/// Of one kind of failure, one per repetition.
#[derive(Default)]
struct Figures {
    longest_ms: Vec<f64>,
    later_ms: Vec<f64>,
    normal_us: Vec<f64>,
    after_us: Vec<f64>,
    pushes: u64,
    failed: u64,
}

pub(super) fn run(built: &Path, data: &Path, args: &Args, report: &mut Report) {
    let (mut killed, mut silent) = (Figures::default(), Figures::default());
    for repetition in 1..=args.repetitions {
        eprintln!("repetition {repetition} of {}", args.repetitions);
        for (kind, figures, signal) in
            [("killed", &mut killed, Signal::KILL), ("silent", &mut silent, Signal::STOP)]
        {
            let directory = data.join(format!("{kind}-{repetition}"));
            one_fails(built, &directory, args.items, signal, figures);
        }
    }
    killed.tell("killed", report);
    silent.tell("silent", report);
}

fn one_fails(built: &Path, data: &Path, items: usize, signal: Signal, figures: &mut Figures) {
    let servers = ["first", "second"].map(|name| {
        let directory = data.join(name);
        fs::create_dir_all(&directory).expect("a directory for the server's data");
        Server::kqueue(built, &directory, "never")
    });
    let addresses = format!("{},{}", servers[0].address, servers[1].address);
    let mut worker = Worker::start(built, &[addresses]);
    let (few, many) = (items.div_ceil(20), items);
    let mut push = |count: usize| -> (f64, f64) {
        let Done { said, .. } = worker.run("failover", count);
        let [longest, middle, failed] = said[..] else { panic!("failover: {said:?}") };
        figures.pushes += count as u64;
        figures.failed += failed;
        (longest as f64, middle as f64)
    };
    push(few);
    let (_, normal) = push(many);
    kill_process(servers[0].pid(), signal).expect("the server runs");
    await_end_or_stop(servers[0].pid());
    // Enough that one of them meets the dead server, whose turn is at random.
    let (longest, _) = push(few.max(50));
    let (later, after) = push(many);
    figures.longest_ms.push(longest / 1_000_000.0);
    figures.later_ms.push(later / 1_000_000.0);
    figures.normal_us.push(normal / 1000.0);
    figures.after_us.push(after / 1000.0);
}

/// A signal is only sent when `kill` returns: until every thread has noticed, the server answers.
fn await_end_or_stop(pid: Pid) {
    let give_up = Instant::now() + Duration::from_secs(10);
    let is_running = |task: DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        state.is_some_and(|state| !matches!(state, 'T' | 'Z' | 'X'))
    };
    let tasks = || fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())).into_iter().flatten();
    while tasks().flatten().any(is_running) {
        assert!(Instant::now() < give_up, "the server goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Figures {
    fn tell(&self, kind: &str, report: &mut Report) {
        report.judge_none(
            &format!("one of two {kind}: pushes that failed, of {}", self.pushes),
            self.failed,
        );
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let longest = most(&self.longest_ms);
        let limit = LONGEST.as_secs_f64() * 1000.0;
        report.judge_pace(
            &format!("one of two {kind}: the longest push then"),
            format!("{longest:.1} ms"),
            format!("<= {limit} ms: both timeouts"),
            longest <= limit,
        );
        report.note(
            &format!("one of two {kind}: the longest push later"),
            format!("{:.1} ms", most(&self.later_ms)),
        );
        let ratio = Ratio::of_pairs(&self.after_us, &self.normal_us);
        report.judge_pace(
            &format!(
                "one of two {kind}: median push {:.1} us, with both {:.1} us",
                median(&self.after_us),
                median(&self.normal_us)
            ),
            ratio.text(),
            "<= 1.2".to_owned(),
            ratio.median <= 1.2,
        );
    }
}
