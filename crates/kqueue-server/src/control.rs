//! What an operator asks of a running server, in whatever way: reload, a status to be remembered, the end.
//!
//! Invariants: a reload takes effect as a whole or not at all, and whoever asked is told which; two never run at the same time.
//! Must not: know who asks: a client, a signal or a request to the admin port.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kqueue_broker::{Ask, Broker, SessionId, Status};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError};
use crate::shared::Shared;
use crate::status_file::StatusFile;

/// Where the configuration came from, to be read again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file; `None`: there was none, and a reload changes nothing.
    pub path: Option<PathBuf>,
    /// The data directory, unless the file names one.
    pub data_dir: PathBuf,
}

impl Source {
    /// Reads the configuration.
    ///
    /// # Errors
    /// One [`ConfigError`] that names file, line and key.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match &self.path {
            None => Ok(Config::new(self.data_dir.clone())),
            Some(path) => Config::load(path, self.data_dir.clone()),
        }
    }
}

/// See the module's description.
pub(crate) struct Control {
    shared: Arc<Shared>,
    source: Source,
    /// What the server runs on.
    config: Mutex<Config>,
    status_file: StatusFile,
    /// Told when the server is to end.
    pub(crate) shutdown: Notify,
    reloading: tokio::sync::Mutex<()>,
    has_reload_failed: AtomicBool,
    /// What was saved last, by this process.
    saved: Arc<tokio::sync::Mutex<Option<Status>>>,
}

/// What became of a wish for another status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusChange {
    /// It is that, and will be after a restart.
    Done,
    /// A grace period runs.
    Refused,
}

impl Control {
    pub(crate) fn new(
        shared: Arc<Shared>,
        source: Source,
        config: Config,
        status_file: StatusFile,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            source,
            config: Mutex::new(config),
            status_file,
            shutdown: Notify::new(),
            reloading: tokio::sync::Mutex::new(()),
            has_reload_failed: AtomicBool::new(false),
            saved: Arc::default(),
        })
    }

    /// Does what the broker asks for, until there is nobody left who could. What takes long delays nothing else.
    pub(crate) async fn run(self: Arc<Self>, mut asks: mpsc::UnboundedReceiver<Ask>) {
        let mut under_way = JoinSet::new();
        while let Some(ask) = asks.recv().await {
            while under_way.try_join_next().is_some() {}
            let control = Arc::clone(&self);
            match ask {
                Ask::Reload { session } => {
                    under_way.spawn(async move {
                        // Kestrel's answer has no place for more.
                        control.answer(session, control.reload().await.map(drop));
                    });
                }
                Ask::SaveStatus { session: Some(session), .. } => {
                    under_way.spawn(async move { control.answer(session, control.save().await) });
                }
                // Who changed it, below, saves it.
                Ask::SaveStatus { session: None, .. } => {}
                Ask::Shutdown => {
                    info!("a client asked the server to shut down");
                    self.shutdown.notify_one();
                }
            }
        }
    }

    fn answer(&self, session: SessionId, result: Result<(), String>) {
        self.shared.change(|_, broker| {
            broker.answer(session, result.as_ref().copied().map_err(String::as_str));
        });
    }

    /// Reads the configuration again and uses what may change while the server runs; an error changes nothing. Answers what differs and needs a restart.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.load()).await;
        let read = read.map_err(|error| format!("not reloaded: {error}")).and_then(|read| {
            read.map_err(|error| {
                error!("not reloaded, configuration error: {error}");
                format!("not reloaded: {error}")
            })
        });
        self.has_reload_failed.store(read.is_err(), Ordering::Relaxed);
        let new = read?;
        let waiting = self.config.lock().differences_that_need_a_restart(&new);
        if !waiting.is_empty() {
            warn!(
                "changed in the configuration, but only used after a restart: {}",
                waiting.join(", ")
            );
        }
        for warning in new.warnings() {
            warn!("configuration: {warning}");
        }
        let table = new.queues.clone();
        let (unchanged, masked) = self.shared.change(|now, broker| {
            let unchanged = broker.reload(now, table);
            (unchanged, masked(broker))
        });
        let mut waiting: Vec<String> = waiting.into_iter().map(str::to_owned).collect();
        if unchanged > 0 {
            warn!("keep_journal of {unchanged} queues changes at the next start");
            waiting.push(format!("keep_journal of {unchanged} queues"));
        }
        tell_masked(&masked);
        self.config.lock().queues = new.queues;
        info!("configuration reloaded");
        Ok(waiting)
    }

    /// Whether the configuration was refused when it was read last.
    pub(crate) fn has_reload_failed(&self) -> bool {
        self.has_reload_failed.load(Ordering::Relaxed)
    }

    /// Changes the status, and returns when that is saved.
    pub(crate) async fn set_status(
        self: &Arc<Self>,
        status: Status,
    ) -> Result<StatusChange, String> {
        let is_so = self.shared.change(|now, broker| {
            // False also if it is that already.
            broker.set_status(now, status) || broker.status() == status
        });
        if !is_so {
            return Ok(StatusChange::Refused);
        }
        // It is saved although whoever asked may go away meanwhile.
        let control = Arc::clone(self);
        let saved = tokio::spawn(async move { control.save().await }).await;
        saved.unwrap_or_else(|error| Err(error.to_string())).map(|()| StatusChange::Done)
    }

    /// Saves the status that is shown by now: whoever comes last finds the right one saved, however many ask at a time.
    async fn save(&self) -> Result<(), String> {
        let mut saved = Arc::clone(&self.saved).lock_owned().await;
        let status = self.shared.look(|_, broker| broker.status());
        if *saved == Some(status) {
            return Ok(());
        }
        let file = self.status_file.clone();
        // Whoever asked may go away meanwhile: nobody else writes before this one has ended.
        let write = move || {
            let written = file.write(status);
            *saved = written.is_ok().then_some(status);
            written
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.unwrap_or_else(|error| Err(error.to_string()));
        match &written {
            Ok(()) => info!("status {status}"),
            Err(error) => error!("status {status}, but not after a restart: {error}"),
        }
        written.map_err(|error| format!("the server is {status}, but not after a restart: {error}"))
    }
}

/// Queues that nobody reaches any more.
pub(crate) fn tell_masked(names: &str) {
    if !names.is_empty() {
        warn!("queue name(s) masked by alias(es): {names}");
    }
}

/// Queues that nobody reaches, for a message, with what is in them.
pub(crate) fn masked(broker: &Broker) -> String {
    let shown = |(name, items): (&bytes::Bytes, u64)| match items {
        0 => name.escape_ascii().to_string(),
        1 => format!("{} (1 item)", name.escape_ascii()),
        _ => format!("{} ({items} items)", name.escape_ascii()),
    };
    broker.masked_queues().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::boot;
    use crate::clock::Clock;

    #[tokio::test]
    async fn a_status_is_saved_although_who_asked_for_it_has_gone() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source { path: None, data_dir: directory.path().join("data") };
        let mut config = source.load().unwrap();
        config.segment_bytes = 4 * 1024 * 1024;
        let clock = Clock::start();
        let booted = boot::boot(&config, &clock).unwrap();
        let shared = Shared::new(booted.broker, booted.disk, booted.quarantine, clock);
        let file = StatusFile::new(directory.path().join("status"));
        let control = Control::new(Arc::clone(&shared), source, config, file.clone());
        let asks = shared.take_asks().unwrap();
        let saving = Arc::clone(&control.saved).lock_owned().await;
        tokio::select! {
            biased;
            _ = control.set_status(Status::ReadOnly) => panic!("another one saves at the moment"),
            () = async {} => {}
        }
        drop(saving);
        assert_eq!(file.read(), Ok(None));
        let runs = tokio::spawn(Arc::clone(&control).run(asks));
        let saved = async {
            while *control.saved.lock().await != Some(Status::ReadOnly) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), saved).await.expect("it is saved");
        runs.abort();
        assert_eq!(file.read(), Ok(Some(Status::ReadOnly)));
    }
}
