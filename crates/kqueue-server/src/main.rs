//! `kqueue-server`: arguments, logging, signals, exit codes. Everything else is in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kqueue_server::config::{Config, check_name};
use kqueue_server::{Bound, Source, run, tools};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

const EXIT_FAILED: u8 = 1;
const EXIT_CONFIG: u8 = 2;
const EXIT_JOURNAL: u8 = 3;

/// A journaled message queue daemon that speaks Kestrel's memcache protocol.
///
/// Without a configuration file it runs on safe defaults: it listens on 127.0.0.1:22133, keeps its journal in $STATE_DIRECTORY or ./kqueue-data, and
/// answers a put only when it is on the disk. It stays in the foreground and logs to standard error (RUST_LOG sets the level).
///
/// SIGTERM and SIGINT drain it: no new connections, what was begun is finished, exit code 0. A second one ends it at once.
///
/// Exit codes: 0 stopped as asked, 1 could not start, 2 configuration or usage error, 3 the journal failed.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    tool: Option<Tool>,
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file (TOML). An error in it prints file, line and key, and opens no port.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Reads a whole journal and says what is damaged.
    ///
    /// Strictly read-only. Prints each damage with file, byte and what is affected, then a summary. Beside a running server it checks the journal as it is at that moment,
    /// and the server removes no segment meanwhile.
    ///
    /// Exit codes: 0 sound (a torn tail after an unclean stop is sound), 1 could not be checked, 2 usage error, 3 damage found.
    Check {
        /// The data directory of a server, or a backup.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Reads a configuration and prints every setting in force, with where it comes from.
    ///
    /// Prints TOML: the server's settings, the defaults of queues, and every queue and alias in the file with what it inherits. What is legal but probably not meant is said on
    /// standard error. Opens no port and does not look at data_dir.
    ///
    /// Exit codes: 0 the server would take it, 1 cannot print, 2 error in the configuration (as the server says it) or the arguments.
    CheckConfig {
        /// The configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only the settings of a queue of this name, also if it is not in the file; may be given several times.
        #[arg(long = "queue", value_name = "NAME", value_parser = queue_name)]
        queues: Vec<String>,
    },
    /// Writes the waiting items as lines of JSON, in the order of the queues.
    ///
    /// Each line has queue, id, size (bytes of the body), flags, put_ms, expiry_ms (unix time in milliseconds; null: never), attempts (how often it was delivered and not
    /// confirmed), state (waiting, or expired: it will not be delivered), and with --bodies the body: as "body" if it is UTF-8, otherwise as "body_base64".
    /// Read-only. Refuses a directory in which a server works: dump a backup instead.
    ///
    /// Exit codes: 0 everything was written, 1 could not be read, 2 usage error, 3 some items are damaged and missing.
    Dump {
        /// The data directory of a server that is stopped, or a backup.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Only this queue; may be given several times. Without it: all queues, by name.
        #[arg(long = "queue", value_name = "NAME")]
        queues: Vec<String>,
        /// The bodies, too.
        #[arg(long)]
        bodies: bool,
    },
    /// Takes over the queues of a Kestrel server from its journal directory.
    ///
    /// Every item goes into the queue in which it was, with its times; expired ones are left out and counted. FROM is only read: stop Kestrel first. An import that was interrupted, in
    /// whatever way, goes on where it was when it is started again, and loses or doubles nothing; until then no server starts in the data directory. When it is done, another run does nothing
    /// as long as the files in FROM are the same; once they are others it refuses, since what is still in them would come twice (--again does it).
    /// A line per queue says what was imported; what is wrong with a file is said with file and byte.
    ///
    /// Exit codes: 0 everything was imported, 1 not done (the message says what to do), 2 usage or configuration error, 3 done, but something in FROM could not be read or imported (as listed).
    ImportKestrel {
        /// Kestrel's journal directory (its queue_path).
        #[arg(value_name = "FROM")]
        from: PathBuf,
        /// Where to: made if it does not exist. Without it, what the configuration says.
        #[arg(long, value_name = "DIR", required_unless_present = "config")]
        data_dir: Option<PathBuf>,
        /// The server's configuration: for data_dir, max_item_size and segment_size.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Only this queue; may be given several times. Without it: all queues.
        #[arg(long = "queue", value_name = "NAME")]
        queues: Vec<String>,
        /// Imports all that is in the files of a queue, although others of that name were imported before.
        #[arg(long)]
        again: bool,
    },
    /// Copies a journal, while its server works or while it is stopped.
    ///
    /// The copy has every item that was acknowledged before the backup began, unless it was confirmed meanwhile. It is a data directory: `restore` copies it back, and a server
    /// can start on it. It is written to TO.partial, synced, read again, and renamed; what a backup that was killed left there is removed by the next one. Meanwhile the server removes no
    /// segment: it needs more space on the disk, and says so in its log if a backup takes very long.
    ///
    /// Exit codes: 0 done, 1 not done, 2 usage error, 3 done, but what was copied is damaged (as listed).
    Backup {
        /// The data directory.
        #[arg(value_name = "DIR")]
        from: PathBuf,
        /// A directory that does not exist yet, or an empty one.
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
    /// Makes a data directory of a backup.
    ///
    /// Checks FROM, copies it to TO.partial, syncs and reads the copy, and renames it to TO. Run it as the user that the server runs as. FROM stays as it is.
    ///
    /// Exit codes: 0 done, 1 not done, 2 usage error, 3 not done, because FROM is damaged (as listed).
    Restore {
        /// What `backup` made.
        #[arg(value_name = "FROM")]
        from: PathBuf,
        /// The new data directory: one that does not exist yet, or an empty one.
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
}

fn queue_name(name: &str) -> Result<String, String> {
    check_name(name).map(|()| name.to_owned())
}

fn run_tool(tool: Tool) -> u8 {
    match tool {
        Tool::Check { directory } => tools::check::run(&directory),
        Tool::CheckConfig { file, queues } => match loaded(&source(Some(file))) {
            Ok(config) => tools::check_config::run(&config, &queues),
            Err(code) => code,
        },
        Tool::Dump { directory, queues, bodies } => {
            tools::dump::run(&directory, &tools::dump::Options { queues, bodies })
        }
        Tool::ImportKestrel { from, data_dir, config, queues, again: is_again } => {
            let mut config = match loaded(&source(config)) {
                Ok(config) => config,
                Err(code) => return code,
            };
            if let Some(data_dir) = data_dir {
                config.data_dir = data_dir;
            }
            tools::import::run(config, &tools::import::Options { from, queues, is_again })
        }
        Tool::Backup { from, to } => tools::backup::run(&from, &to),
        Tool::Restore { from, to } => tools::restore::run(&from, &to),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = if arguments.tool.is_some() { "warn" } else { "info" };
    // An empty variable is no wish for silence.
    let wished = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|wished| !wished.is_empty());
    let wished = wished.and_then(|wished| EnvFilter::try_new(wished).ok());
    let filter = wished.unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would say so on standard error, where nothing can be said then, and panic.
        .log_internal_errors(false)
        .init();
    if let Some(tool) = arguments.tool {
        return ExitCode::from(run_tool(tool));
    }

    let source = source(arguments.serve.config);
    let config = match loaded(&source) {
        Ok(config) => config,
        Err(code) => return ExitCode::from(code),
    };
    match serve(config, source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::from(match error {
                run::RunError::JournalFailed { .. } => EXIT_JOURNAL,
                _ => EXIT_FAILED,
            })
        }
    }
}

/// Where the configuration is.
fn source(path: Option<PathBuf>) -> Source {
    let data_dir =
        std::env::var_os("STATE_DIRECTORY").map_or_else(|| "kqueue-data".into(), PathBuf::from);
    Source { path, data_dir }
}

/// The configuration, or the exit code if there is something wrong with it.
fn loaded(source: &Source) -> Result<Config, u8> {
    source.load().map_err(|error| {
        error!("configuration error: {error}");
        EXIT_CONFIG
    })
}

fn serve(config: Config, source: Source) -> Result<(), run::RunError> {
    info!("kqueue-server {}", env!("CARGO_PKG_VERSION"));
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Who sets tokio's own variable (our tests do) gets what it says.
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        runtime.worker_threads(worker_threads());
    }
    let runtime = runtime.enable_all().build().map_err(run::RunError::Thread)?;
    let ended = runtime.block_on(async {
        let terminate = signal(SignalKind::terminate()).map_err(run::RunError::Thread)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(run::RunError::Thread)?;
        run::run(config, source, stop_requested(terminate, interrupt), announce).await
    });
    // What still waits for a disk that does not answer is not waited for.
    runtime.shutdown_background();
    ended
}

/// Half of the processors: the kernel, the disk's threads and whoever shares the machine need the rest. Most of the work is the kernel's, for each connection, and
/// the fewer threads share it, the more connections find each other there, so that their records are written together (`docs/performance.md`).
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1))
}

/// Resolves at the first signal; the second one ends the process without waiting for anybody. Nothing acknowledged is lost by that.
async fn stop_requested(mut terminate: Signal, mut interrupt: Signal) {
    either(&mut terminate, &mut interrupt).await;
    // systemd may not be there to be told.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        warn!("second signal: ending at once");
        std::process::exit(i32::from(EXIT_FAILED));
    });
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn announce(bound: &[Bound]) {
    let addresses: Vec<String> = bound.iter().map(Bound::to_string).collect();
    info!("ready, listening on {}", addresses.join(", "));
    // systemd may not be there to be told.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}
