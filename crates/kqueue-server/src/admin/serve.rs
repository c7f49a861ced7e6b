//! The sockets of the admin port.
//!
//! Invariant: clients that are slow, many or silent cost at most [`CONNECTIONS_MAX`] connections for about a minute each, and nothing of the clients' ports.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::ListenAddress;
use crate::listen::{ACCEPT_PAUSE, Listener, Stream, is_peers_fault};
use crate::run::RunError;

use super::{Admin, router};

/// Connections at a time.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send the head of a request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection takes no further request after this.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long the last request of a connection may still take.
const LAST_REQUEST: Duration = Duration::from_secs(10);
/// How long requests under way may take when the server ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// The head of a request is shorter, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// The admin port at work.
pub(crate) struct Served {
    stop: watch::Sender<bool>,
    slots: Arc<Semaphore>,
    acceptors: JoinSet<()>,
}

/// Listens on all `addresses`; requests are answered from `admin`.
pub(crate) async fn serve(
    addresses: &[ListenAddress],
    admin: &Arc<Admin>,
) -> Result<Served, RunError> {
    let (stop, stopping) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut acceptors = JoinSet::new();
    for address in addresses {
        let (listener, bound) = Listener::bind(address)
            .await
            .map_err(|source| RunError::Listen { address: address.to_string(), source })?;
        info!("the admin port is {bound}");
        let router = router(Arc::clone(admin));
        acceptors.spawn(accept_all(listener, router, Arc::clone(&slots), stopping.clone()));
    }
    Ok(Served { stop, slots, acceptors })
}

impl Served {
    /// Requests under way are answered, then all is closed.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.acceptors.join_next().await.is_some() {}
        let all = self.slots.acquire_many(CONNECTIONS_MAX as u32);
        // Who does not read is not waited for.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

async fn accept_all(
    listener: Listener,
    router: Router,
    slots: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if is_peers_fault(&error) => continue,
            Err(error) => {
                warn!("the admin port cannot accept connections for the moment: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tokio::spawn(refuse(stream));
            continue;
        };
        let (router, stopping) = (router.clone(), stopping.clone());
        tokio::spawn(async move {
            match stream {
                Stream::Tcp(stream) => converse(stream, router, stopping).await,
                Stream::Unix(stream) => converse(stream, router, stopping).await,
            }
            drop(slot);
        });
    }
}

async fn converse<S>(stream: S, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(HEAD_MAX);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // How it ended matters to the peer only.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_REQUEST, connection).await;
}

/// One connection too many.
async fn refuse(stream: Stream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";
    let answer = async {
        match stream {
            Stream::Tcp(mut stream) => stream.write_all(ANSWER).await,
            Stream::Unix(mut stream) => stream.write_all(ANSWER).await,
        }
    };
    // The peer may be gone already: it was to be closed anyway.
    let _: Result<io::Result<()>, _> = tokio::time::timeout(FAREWELL, answer).await;
}
