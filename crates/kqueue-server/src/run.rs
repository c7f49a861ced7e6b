//! The server from start to end: data directory, recovery, sockets, threads, drain.
//!
//! Invariant: no client is served before recovery is complete (the admin port says so meanwhile), and the process does not report success unless everything acknowledged is on the disk.
//! Must not: parse configuration or arguments.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kqueue_broker::{Broker, Status};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use crate::admin::{self, Admin, Running};
use crate::boot::{self, BootError, Booted};
use crate::clock::Clock;
use crate::config::Config;
use crate::conn::ConnConfig;
use crate::control::{Control, Source, masked, tell_masked};
use crate::descriptors;
use crate::fatal::AbortOnPanic;
use crate::listen::{Acceptor, Bound, Gauge, Listener};
use crate::protocol::Protocol;
use crate::shared::Shared;
use crate::status_file::StatusFile;
use crate::thrift;

/// How long connections get to finish what they have begun when the server drains.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the server stopped without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory could not be opened or recovered; nothing was changed in it.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// An address of `listen` could not be bound.
    #[error("cannot listen on {address}: {source}{}", listen_advice(.source))]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Writing or syncing the journal failed. What was acknowledged before is on the disk as promised.
    #[error(
        "the journal in {data_dir} failed; no put was acknowledged after that. Look at the messages above, repair the disk, and start again"
    )]
    JournalFailed {
        /// The directory concerned.
        data_dir: PathBuf,
    },
}

fn listen_advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; somebody listens there already, perhaps another kqueue-server: stop it, or give this one another address ([listen] in the configuration)"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 needs CAP_NET_BIND_SERVICE, a socket's directory must be writable"
        }
        _ => "",
    }
}

/// Runs a server until `shutdown` resolves, then drains it. `on_ready` is called once connections are accepted, with the addresses.
///
/// # Errors
/// See [`RunError`].
pub async fn run(
    config: Config,
    source: Source,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(&[Bound]),
) -> Result<(), RunError> {
    let (drain, draining) = watch::channel(false);
    let admin = Admin::new(draining);
    let served = admin::serve(&config.listen_admin, &admin).await?;
    let ended = serve(config, source, &admin, drain, shutdown, on_ready).await;
    served.stop().await;
    ended
}

/// All of it but the admin port.
async fn serve(
    config: Config,
    source: Source,
    admin: &Admin,
    drain: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(&[Bound]),
) -> Result<(), RunError> {
    let clock = Clock::start();
    // From here on it does not end the process.
    let hangup = signal(SignalKind::hangup()).map_err(RunError::Thread)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut booted = tokio::select! {
        booted = boot_apart(&config, &clock) => booted?,
        () = &mut shutdown => {
            info!("stopped during recovery; the next start begins it anew");
            return Ok(());
        }
    };
    let status_file = StatusFile::new(config.status_file());
    begin_status(&mut booted.broker, &status_file);
    tell_masked(&masked(&booted.broker));
    let shared = Shared::new(booted.broker, booted.disk, booted.quarantine, clock);
    // Held until the end: nobody else may use the directory.
    let _data_dir = booted.data_dir;
    let (listeners, bound) = bind_all(&config).await?;
    let threads = start_threads(&shared)?;

    let others = if config.listen_admin.is_empty() { 0 } else { admin::CONNECTIONS_MAX };
    let gauge = Gauge::new(descriptors::room_for_connections(config.max_connections, others));
    let mut acceptors = JoinSet::new();
    for (protocol, listener) in listeners {
        let acceptor = Acceptor {
            shared: Arc::clone(&shared),
            config: ConnConfig { protocol, client_timeout: config.client_timeout },
            gauge: Arc::clone(&gauge),
            draining: drain.subscribe(),
        };
        acceptors.spawn(acceptor.run(listener));
    }
    let timer = tokio::spawn(Arc::clone(&shared).run_timer());
    let control = Control::new(Arc::clone(&shared), source, config.clone(), status_file);
    let mut tasks = JoinSet::new();
    if let Some(asks) = shared.take_asks() {
        tasks.spawn(Arc::clone(&control).run(asks));
    }
    tasks.spawn(reload_on_hangup(Arc::clone(&control), hangup));
    admin.set_running(Running { shared: Arc::clone(&shared), control: Arc::clone(&control) });
    on_ready(&bound);

    let failed = tokio::select! {
        () = &mut shutdown => false,
        () = control.shutdown.notified() => false,
        () = shared.journal_failed.notified() => true,
    };
    info!("draining: no new connections, finishing what was begun");
    drain.send_replace(true);
    while acceptors.join_next().await.is_some() {}
    if tokio::time::timeout(DRAIN, gauge.wait_for_none()).await.is_err() {
        warn!("some connections did not finish in {DRAIN:?}; what they hold returns to the queues");
    }
    timer.abort();
    tasks.shutdown().await;
    finish(&shared, threads, failed, config.data_dir)
}

/// Brings everything to the disk that can be brought there.
fn finish(
    shared: &Shared,
    threads: Vec<thread::JoinHandle<()>>,
    failed: bool,
    data_dir: PathBuf,
) -> Result<(), RunError> {
    shared.stop();
    // Joining blocks, but nothing else is left to run in this task.
    for thread in threads {
        if thread.join().is_err() {
            return Err(RunError::JournalFailed { data_dir });
        }
    }
    if failed || shared.progress().poisoned {
        return Err(RunError::JournalFailed { data_dir });
    }
    if shared.is_settled() {
        info!("stopped; everything acknowledged is on the disk");
    } else {
        warn!(
            "stopped; the disk is full: every item that was stored is on the disk, but not all that was confirmed or removed last, so that some items may come again after the next start"
        );
    }
    Ok(())
}

/// Recovery may take long: the admin port answers meanwhile.
async fn boot_apart(config: &Config, clock: &Clock) -> Result<Booted, RunError> {
    let (config, clock) = (config.clone(), clock.clone());
    let booted = tokio::task::spawn_blocking(move || boot::boot(&config, &clock)).await;
    match booted.map_err(JoinError::into_panic) {
        Ok(booted) => Ok(booted?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The status that was set last, or the configured one.
fn begin_status(broker: &mut Broker, file: &StatusFile) {
    let is_kept = match file.read() {
        Ok(None) => false,
        Ok(Some(status)) => {
            broker.begin_with_status(status);
            true
        }
        Err(error) => {
            warn!("default_status is used: {error}");
            false
        }
    };
    let status = broker.status();
    if status == Status::Up {
        return;
    }
    if is_kept {
        warn!("the status is {status}, as it was set before ({file}): `status up` ends that");
    } else {
        warn!("the status is {status}: server.default_status says so; `status up` ends that");
    }
}

async fn reload_on_hangup(control: Arc<Control>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        // What is wrong has been logged.
        let _ = control.reload().await;
    }
}

async fn bind_all(config: &Config) -> Result<(Vec<(Protocol, Listener)>, Vec<Bound>), RunError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    let limits = config.limits();
    let thrift = thrift::Limits::new(config.max_item_size);
    let protocols = [
        (Protocol::Memcache(limits), &config.listen_memcache),
        (Protocol::Text(limits), &config.listen_text),
        (Protocol::Thrift(thrift), &config.listen_thrift),
    ];
    for (protocol, addresses) in protocols {
        for address in addresses {
            let (listener, at) = Listener::bind(address)
                .await
                .map_err(|source| RunError::Listen { address: address.to_string(), source })?;
            listeners.push((protocol, listener));
            bound.push(at);
        }
    }
    Ok((listeners, bound))
}

pub(crate) fn start_threads(shared: &Arc<Shared>) -> Result<Vec<thread::JoinHandle<()>>, RunError> {
    let disk = {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("disk".into()).spawn(move || {
            let _fatal = AbortOnPanic::new();
            shared.run_disk_thread();
        })
    };
    let housekeeping = {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("housekeeping".into()).spawn(move || {
            let _fatal = AbortOnPanic::new();
            shared.run_housekeeping_thread();
        })
    };
    let reader = {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("reader".into()).spawn(move || {
            let _fatal = AbortOnPanic::new();
            shared.run_reader_thread();
        })
    };
    [disk, housekeeping, reader]
        .into_iter()
        .map(|started| started.map_err(RunError::Thread))
        .collect()
}
