//! The admin port: HTTP for operators, load balancers and monitoring, with the commands of Ostrich that Kestrel's users know.
//!
//! | module | owns |
//! |---|---|
//! | `serve` | sockets, and what keeps a slow client from costing anything |
//! | `health` | `/health`, `/ready` |
//! | `commands` | `/ping`, `/server_info`, `/reload`, `/status`, `/shutdown` |
//! | `metrics`, `histograms`, `process` | `/metrics` for Prometheus |
//! | `ostrich` | `/stats` |
//! | `queues` | `/queues`, and how all queues are gone through |
//!
//! Invariants
//! - It answers from before recovery until everything is on the disk; what needs the queues is answered 503 until they are there.
//! - Only POST changes anything, and never for the page of another site.
//! - What goes through all queues holds the lock for a few of them at a time, and there is one such request at a time.
//! - No answer grows without bound with what clients do.
//!
//! Must not: decide what the status is or what is configured.

mod commands;
mod health;
mod histograms;
mod metrics;
mod ostrich;
mod process;
mod queues;
mod serve;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::sync::watch;

use crate::control::Control;
use crate::shared::Shared;

pub(crate) use serve::{CONNECTIONS_MAX, serve};

/// Nobody has more to say to the admin port, in bytes.
const BODY_MAX: usize = 4096;

/// What requests are answered from.
pub(crate) struct Admin {
    began: Instant,
    began_at: SystemTime,
    running: OnceLock<Running>,
    draining: watch::Receiver<bool>,
    /// Held by who goes through all queues.
    listing: Arc<tokio::sync::Mutex<()>>,
}

/// What is there once recovery is complete.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) control: Arc<Control>,
}

impl Admin {
    /// `draining` says when the server begins to end.
    pub(crate) fn new(draining: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            began_at: SystemTime::now(),
            running: OnceLock::new(),
            draining,
            listing: Arc::default(),
        })
    }

    /// Recovery is complete.
    pub(crate) fn set_running(&self, running: Running) {
        // Nobody calls it twice; the first one stays.
        let _ = self.running.set(running);
    }

    fn running(&self) -> Result<&Running, Refusal> {
        self.running
            .get()
            .ok_or(Refusal(StatusCode::SERVICE_UNAVAILABLE, Cow::Borrowed("recovering")))
    }

    /// Does what takes a while, apart from whoever must not wait, and one at a time.
    async fn list<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Running) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let running = self.running()?.clone();
        let one_at_a_time = Arc::clone(&self.listing).lock_owned().await;
        let work = move || {
            // The work goes on when nobody wants its result any more, and so does its turn.
            let _one_at_a_time = one_at_a_time;
            work(&running)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| {
            tracing::error!("a request to the admin port: {error}");
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, Cow::Borrowed("failed"))
        })
    }
}

/// Why there is no better answer, in a line of text.
#[derive(Debug)]
struct Refusal(StatusCode, Cow<'static, str>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

/// All that can be asked.
fn router(admin: Arc<Admin>) -> Router {
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/ready/read", get(health::ready_to_read))
        .route("/ready/write", get(health::ready_to_write))
        .route("/metrics", get(metrics::metrics))
        .route("/queues", get(queues::queues));
    let routes = as_ostrich(routes, "/ping", || get(commands::ping));
    let routes = as_ostrich(routes, "/stats", || get(ostrich::stats));
    let routes = as_ostrich(routes, "/server_info", || get(commands::server_info));
    let routes = as_ostrich(routes, "/reload", || post(commands::reload));
    let routes = as_ostrich(routes, "/shutdown", || post(commands::shutdown));
    let routes =
        as_ostrich(routes, "/status", || get(commands::show_status).post(commands::set_status));
    routes
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such command\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "not with this method, see the header Allow\n")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(refuse_pages))
        .with_state(admin)
}

/// A command with Ostrich's endings.
fn as_ostrich(
    routes: Router<Arc<Admin>>,
    path: &str,
    command: impl Fn() -> MethodRouter<Arc<Admin>>,
) -> Router<Arc<Admin>> {
    ["", ".json", ".txt"]
        .iter()
        .fold(routes, |routes, ending| routes.route(&format!("{path}{ending}"), command()))
}

/// A browser that shows some site's page sends where that comes from; its host proves nothing, since whoever owns a name can let it point here.
async fn refuse_pages(request: Request, next: Next) -> Response {
    match request.headers().contains_key(header::ORIGIN) {
        true => (StatusCode::FORBIDDEN, "not for web pages\n").into_response(),
        false => next.run(request).await,
    }
}

/// How a command of Ostrich's is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Format {
    /// What the path asks for: only `.txt` is text.
    fn of(uri: &Uri) -> Self {
        if uri.path().ends_with(".txt") { Self::Text } else { Self::Json }
    }

    /// An answer that is one text, under a name in JSON.
    fn answer(self, status: StatusCode, name: &str, text: &str) -> Response {
        match self {
            Self::Text => (status, format!("{text}\n")).into_response(),
            Self::Json => {
                let object = Value::from_iter([(name, text)]);
                json(status, &object)
            }
        }
    }
}

fn json(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// The bytes of a parameter of a query. A `+` is itself: it is part of the names of sub-queues, and a space of none.
fn parameter(query: Option<&str>, name: &str) -> Option<Vec<u8>> {
    let mut pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).collect())
}

/// A name of a queue as text: every byte is the character with its number.
fn latin1(name: &[u8]) -> String {
    name.iter().map(|&byte| char::from(byte)).collect()
}
