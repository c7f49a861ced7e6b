//! A page that puts one item on a queue, through a real php-fpm: what the user of a site waits for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};

use super::fastcgi::Client;
use super::{Args, Ratio};
use crate::peers::median;
use crate::server::Server;
use crate::storage::report::Report;

/// Children of php-fpm, and visitors at a time.
const CHILDREN: usize = 4;
/// Each says what the page does, as it asks for it.
const PAGES: [(&str, &str); 5] = [
    ("nothing", "without a push"),
    ("connection", "php-memcached, a connection per request"),
    ("memcached", "php-memcached, persistent"),
    ("redis", "phpredis, pconnect"),
    ("kqueue", "KQueue"),
];

/// A php-fpm that loads what Debian's does, and the extension.
struct Fpm {
    master: Child,
    socket: PathBuf,
}

/// One page in one repetition.
#[derive(Clone, Copy)]
struct Visit {
    per_second: f64,
    mean_us: f64,
    p99_us: f64,
}

pub(super) fn run(built: &Path, data: &Path, args: &Args, report: &mut Report) {
    let server = Server::kqueue(built, data, "never");
    let redis = Server::redis_in_memory();
    let fpm = Fpm::start(built, data);
    let mut visits: [Vec<Visit>; PAGES.len()] = Default::default();
    for repetition in 0..args.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, args.repetitions);
        for turn in 0..PAGES.len() {
            let at = (turn + repetition) % PAGES.len();
            visits[at].push(fpm.visit(PAGES[at].0, &server, &redis, args.items));
        }
    }
    let figure = |at: usize, of: fn(&Visit) -> f64| visits[at].iter().map(of).collect::<Vec<f64>>();
    for (at, (_, what)) in PAGES.iter().enumerate() {
        let told = format!(
            "{:.0} /s, p99 {:.0} us",
            median(&figure(at, |visit| visit.per_second)),
            median(&figure(at, |visit| visit.p99_us))
        );
        report.note(&format!("page: {what}"), told);
    }
    let waits = |at: usize| {
        let pairs =
            figure(at, |visit| visit.mean_us).into_iter().zip(figure(0, |visit| visit.mean_us));
        pairs.map(|(page, nothing)| (page - nothing).max(0.0)).collect::<Vec<f64>>()
    };
    for (at, (_, what)) in PAGES.iter().enumerate().skip(1) {
        report.note(
            &format!("  a visitor waits for {what}"),
            format!("{:.0} us", median(&waits(at))),
        );
    }
    let rates = figure(PAGES.len() - 1, |visit| visit.per_second);
    for (at, (_, what)) in PAGES.iter().enumerate().take(PAGES.len() - 1).skip(1) {
        let ratio = Ratio::of_pairs(&rates, &figure(at, |visit| visit.per_second));
        report.note(&format!("pages with KQueue / with {what}"), ratio.text());
    }
}

impl Fpm {
    fn start(built: &Path, data: &Path) -> Self {
        let (socket, config) = (data.join("fpm.sock"), data.join("fpm.conf"));
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { "user = root\ngroup = root\n" } else { "" };
        let text = format!(
            "[global]\nerror_log = {}\n[site]\n{user}listen = {}\npm = static\npm.max_children = {CHILDREN}\n",
            data.join("fpm.log").display(),
            socket.display()
        );
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(program());
        command.arg("--nodaemonize").arg("--fpm-config").arg(&config);
        command.arg("-d").arg(format!("extension={}", built.join("libkqueue.so").display()));
        if is_root {
            command.arg("--allow-to-run-as-root");
        }
        let master =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let master = master.expect("php-fpm is installed: run scripts/install.sh bench");
        let fpm = Self { master, socket };
        let give_up = Instant::now() + Duration::from_secs(10);
        while Client::connect(&fpm.socket).is_err() {
            assert!(Instant::now() < give_up, "php-fpm does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        fpm
    }

    /// As many visitors as there are children ask for the page, one time after the other.
    fn visit(&self, page: &str, server: &Server, redis: &Server, count: usize) -> Visit {
        let [address, redis] = [server, redis].map(|server| server.address.to_string());
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "php", "page.php"].iter().collect();
        let script = script.display().to_string();
        let parameters = [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_FILENAME", &script),
            ("QUERY_STRING", page),
            ("KQUEUE", &address),
            ("MEMCACHED", &address),
            ("REDIS", &redis),
        ];
        let one = |count: usize| {
            // Microseconds, up to a minute.
            let mut times = Histogram::<u64>::new_with_max(60_000_000, 3).expect("sound bounds");
            for _ in 0..count {
                let begin = Instant::now();
                // As a web server does that keeps no connections to php-fpm.
                let mut client = Client::connect(&self.socket).expect("php-fpm listens");
                let said = client.get(&parameters).expect("php-fpm answers");
                assert!(said.ends_with("stored") && !said.contains("not"), "{page}: {said}");
                times.saturating_record(
                    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
                );
            }
            times
        };
        // The first requests of a child compile the page and connect.
        one(4 * CHILDREN);
        let each = count.div_ceil(CHILDREN);
        let begin = Instant::now();
        let times = std::thread::scope(|scope| {
            let visitors: Vec<_> = (0..CHILDREN).map(|_| scope.spawn(|| one(each))).collect();
            visitors
                .into_iter()
                .map(|visitor| visitor.join().expect("it is answered"))
                .collect::<Vec<_>>()
        });
        let elapsed = begin.elapsed();
        let mut all = times[0].clone();
        times[1..].iter().for_each(|more| all.add(more).expect("the same bounds"));
        Visit {
            per_second: all.len() as f64 / elapsed.as_secs_f64(),
            mean_us: all.mean(),
            p99_us: all.value_at_quantile(0.99) as f64,
        }
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        // The master ends its children. One that has ended already is what we want.
        let _ = kill_process(Pid::from_child(&self.master), Signal::TERM);
        let _ = self.master.wait();
    }
}

/// Debian names it after its version; others do not.
fn program() -> PathBuf {
    let version = Command::new("php")
        .args(["-r", "echo PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION;"])
        .output();
    let version = version
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let named = PathBuf::from(format!("/usr/sbin/php-fpm{version}"));
    if named.is_file() { named } else { PathBuf::from("php-fpm") }
}
