//! Whether the server is sound, and whether a load balancer should send clients to it.
//!
//! Readiness goes by the status that is shown: clients are to be elsewhere before it is enforced.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kqueue_broker::Status;

use super::Admin;

/// What somebody wants to do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read,
    Write,
    Both,
}

/// How the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Condition {
    is_draining: bool,
    has_failed: bool,
    is_full: bool,
    /// `None` during recovery.
    shown: Option<Status>,
}

impl Condition {
    fn of(admin: &Admin) -> Self {
        let is_draining = *admin.draining.borrow();
        let Some(running) = admin.running.get() else {
            return Self { is_draining, ..Self::default() };
        };
        running.shared.look(|_, broker| Self {
            is_draining,
            has_failed: broker.progress().poisoned,
            is_full: broker.is_full(),
            shown: Some(broker.status()),
        })
    }

    /// What is wrong with it, whatever its status.
    fn faults(self) -> Vec<&'static str> {
        let all = [
            (self.shown.is_none(), "recovering"),
            (self.has_failed, "the journal failed"),
            (self.is_full, "the disk is full"),
            (self.is_draining, "draining"),
        ];
        all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, reason)| reason).collect()
    }

    /// Why clients should go elsewhere.
    fn obstacles(self, wanted: Use) -> Vec<String> {
        // From a full disk one can read.
        let relevant = Self { is_full: self.is_full && wanted != Use::Read, ..self };
        let mut all: Vec<String> = relevant.faults().into_iter().map(str::to_owned).collect();
        if let Some(shown) = self.shown {
            let is_open = match wanted {
                Use::Read => shown.gives(),
                Use::Write => shown == Status::Up,
                Use::Both => shown.gives() && shown.takes(),
            };
            if !is_open {
                all.push(format!("the status is {shown}"));
            }
        }
        all
    }
}

/// 200, or 503 and the reasons.
fn answer<S: AsRef<str>>(reasons: &[S]) -> Response {
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("{}\n", reason.as_ref())).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

pub(super) async fn health(State(admin): State<Arc<Admin>>) -> Response {
    answer(&Condition::of(&admin).faults())
}

pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    answer(&Condition::of(&admin).obstacles(Use::Both))
}

pub(super) async fn ready_to_read(State(admin): State<Arc<Admin>>) -> Response {
    answer(&Condition::of(&admin).obstacles(Use::Read))
}

pub(super) async fn ready_to_write(State(admin): State<Arc<Admin>>) -> Response {
    answer(&Condition::of(&admin).obstacles(Use::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_and_every_status_closes_what_it_must() {
        let sound = Condition { shown: Some(Status::Up), ..Condition::default() };
        let with = |status| Condition { shown: Some(status), ..sound };
        // What is wrong; then which of reads, writes, both are open.
        let cases = [
            (sound, 0, [true, true, true]),
            (Condition { shown: None, ..sound }, 1, [false, false, false]),
            (Condition { has_failed: true, ..sound }, 1, [false, false, false]),
            (Condition { is_full: true, ..sound }, 1, [true, false, false]),
            (Condition { is_draining: true, ..sound }, 1, [false, false, false]),
            (with(Status::WriteAvoid), 0, [true, false, true]),
            (with(Status::ReadOnly), 0, [true, false, false]),
            (with(Status::Quiescent), 0, [false, false, false]),
        ];
        for (condition, faults, open) in cases {
            assert_eq!(condition.faults().len(), faults, "{condition:?}");
            let is_open = |wanted| condition.obstacles(wanted).is_empty();
            let is_open = [Use::Read, Use::Write, Use::Both].map(is_open);
            assert_eq!(is_open, open, "{condition:?}");
        }
    }
}
