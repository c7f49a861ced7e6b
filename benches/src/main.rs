//! `make bench` and `make bench-storage`: what KQueue costs beside others, and what it costs to keep much.
//!
//! Everything is started here, on loopback ports that the kernel chose, and ended by its pid.

mod client;
mod extended;
mod load;
mod peers;
mod php;
mod server;
mod storage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures kqueue-server and the extension.
#[derive(Debug, Parser)]
struct Args {
    /// Where the built `kqueue-server` and `libkqueue.so` lie.
    #[arg(long, value_name = "DIR")]
    built: PathBuf,
    /// Where the servers keep their data while it runs: a real disk, or syncs mean nothing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Puts, takes and connections beside memcached, beanstalkd, Redis, NATS and a bare echo server, against the project's targets; the table says what was missed.
    Peers(peers::Args),
    /// Serves as the bare echo server.
    #[command(hide = true)]
    Echo(peers::echo::Args),
    /// What the extended commands cost beside Kestrel's; judges nothing.
    Extended(extended::Args),
    /// What the PHP extension costs beside php-memcached and phpredis, against the project's targets; exit code 1 if one is missed that is none of time.
    Php(php::Args),
    /// Memory, disk, starts and compaction with much in the queues, against the project's targets; exit code 1 if one is missed that is none of time.
    Storage(storage::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.measurement {
        Measurement::Peers(peers) => peers::run(&args.built, &args.data, peers),
        Measurement::Echo(echo) => peers::echo::serve(echo).expect("the echo server serves"),
        Measurement::Extended(extended) => extended::run(&args.built, &args.data, extended),
        Measurement::Php(php) => {
            if !php::run(&args.built, &args.data, php) {
                return ExitCode::FAILURE;
            }
        }
        Measurement::Storage(storage) => {
            if !storage::run(&args.built, &args.data, storage) {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
