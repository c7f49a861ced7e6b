//! What an operator asks for or changes: Ostrich's commands, and the status.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use humantime::format_rfc3339_seconds;
use kqueue_broker::Status;
use serde_json::json;
use tracing::info;

use crate::control::StatusChange;

use super::serve::REQUEST_TIMEOUT;
use super::{Admin, BODY_MAX, Format, Refusal, json, latin1, parameter};

pub(super) async fn ping(uri: Uri) -> Response {
    Format::of(&uri).answer(StatusCode::OK, "response", "pong")
}

pub(super) async fn server_info(State(admin): State<Arc<Admin>>, uri: Uri) -> Response {
    let start_time = format_rfc3339_seconds(admin.began_at).to_string();
    let uptime_ms = admin.began.elapsed().as_millis() as u64;
    let version = crate::VERSION;
    match Format::of(&uri) {
        Format::Text => format!(
            "name: kqueue-server\nversion: {version}\nstart_time: {start_time}\nuptime: {uptime_ms}\n"
        )
        .into_response(),
        Format::Json => json(
            StatusCode::OK,
            &json!({"name": "kqueue-server", "version": version, "start_time": start_time, "uptime": uptime_ms}),
        ),
    }
}

pub(super) async fn reload(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Response, Refusal> {
    let format = Format::of(&uri);
    Ok(match admin.running()?.control.reload().await {
        Ok(waiting) if waiting.is_empty() => format.answer(StatusCode::OK, "response", "ok"),
        Ok(waiting) => {
            let text = format!("ok; only used after a restart: {}", waiting.join(", "));
            format.answer(StatusCode::OK, "response", &text)
        }
        Err(error) => format.answer(StatusCode::UNPROCESSABLE_ENTITY, "error", &error),
    })
}

pub(super) async fn shutdown(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Response, Refusal> {
    admin.running()?.control.shutdown.notify_one();
    info!("a request to the admin port asked the server to shut down");
    Ok(Format::of(&uri).answer(StatusCode::OK, "response", "ok"))
}

pub(super) async fn show_status(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
) -> Result<Response, Refusal> {
    status(&admin, &uri)
}

pub(super) async fn set_status(
    State(admin): State<Arc<Admin>>,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let format = Format::of(&uri);
    let control = Arc::clone(&admin.running()?.control);
    let body = read(body).await?;
    let refuse = |status, error: &str| format.answer(status, "error", error);
    let asked = match asked_for(query.as_deref(), &body) {
        Ok(asked) => asked,
        Err(error) => return Ok(refuse(StatusCode::BAD_REQUEST, &error)),
    };
    Ok(match control.set_status(asked).await {
        Ok(StatusChange::Done) => status(&admin, &uri)?,
        Ok(StatusChange::Refused) => {
            refuse(StatusCode::CONFLICT, "a grace period runs: only a status that allows more")
        }
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    })
}

/// The status that is asked for: `status=NAME` in the query or the body, or a body that is the name.
fn asked_for(query: Option<&str>, body: &[u8]) -> Result<Status, String> {
    let text = latin1(body.trim_ascii());
    let name = parameter(query, "status")
        .or_else(|| parameter(Some(&text), "status"))
        .unwrap_or_else(|| text.clone().into_bytes());
    Status::parse(&name).map_err(|error| {
        format!("{error}: status={} is needed", Status::ALL.map(Status::name).join("|"))
    })
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(REQUEST_TIMEOUT, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "too long".into())),
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "too slow".into())),
    }
}

fn status(admin: &Admin, uri: &Uri) -> Result<Response, Refusal> {
    let shared = &admin.running()?.shared;
    let (shown, enforced) = shared.look(|_, broker| (broker.status(), broker.enforced_status()));
    Ok(match Format::of(uri) {
        Format::Text => format!("status: {shown}\nenforced: {enforced}\n").into_response(),
        Format::Json => {
            json(StatusCode::OK, &json!({"status": shown.name(), "enforced": enforced.name()}))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_in_the_query_a_form_or_the_body() {
        let quiescent = Ok(Status::Quiescent);
        assert_eq!(asked_for(Some("x=1&status=quiescent"), b"status=up"), quiescent);
        assert_eq!(asked_for(None, b"status=Quiescent\n"), quiescent);
        assert_eq!(asked_for(Some(""), b" QUIESCENT\r\n"), quiescent);
        assert_eq!(asked_for(Some("status=%55p"), b""), Ok(Status::Up));
        for (query, body) in [(None, &b""[..]), (Some("status="), b"up"), (None, b"status=down")] {
            assert!(asked_for(query, body).is_err());
        }
    }
}
