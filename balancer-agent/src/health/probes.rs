//! `/livez`, `/readyz` and `/healthz`, with the meaning and the words of kube-proxy's server.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header::X_CONTENT_TYPE_OPTIONS},
    response::IntoResponse,
    routing::get,
};
use jiff::Timestamp;
use serde::Serialize;

use super::{Health, Report};
use crate::view::BalancingState;

/// kube-proxy sends it, as answers go to whoever asks.
pub(super) const NO_SNIFFING: (HeaderName, &str) = (X_CONTENT_TYPE_OPTIONS, "nosniff");

/// Where kubelet and load balancers ask.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(healthy))
        .with_state(health)
}

/// Whether the agent should go on, or be started again.
async fn live(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let report = health.report();
    answer(report.keeps_up, Times::of(report))
}

/// Whether load balancers should send new connections to this node: not while the agent is stuck,
/// and not to a node that is about to go (KEP-3836).
async fn healthy(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let report = health.report();
    let body = Eligible { times: Times::of(report), node_eligible: report.node_eligible };
    answer(report.keeps_up && report.node_eligible, body)
}

/// Whether what Kubernetes describes is in force here.
async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    let report = health.report();
    if !report.ready {
        (StatusCode::SERVICE_UNAVAILABLE, "the first complete state is not in the maps\n")
    } else if report.balancing == Some(BalancingState::Broken) {
        (StatusCode::SERVICE_UNAVAILABLE, "balancing does not work: `status` says why\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

fn answer(well: bool, body: impl Serialize) -> impl IntoResponse {
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [NO_SNIFFING], Json(body))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    last_updated: Option<String>,
    current_time: String,
    /// No field of kube-proxy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    balancing: Option<BalancingState>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Eligible {
    #[serde(flatten)]
    times: Times,
    node_eligible: bool,
}

impl Times {
    /// Of an agent that keeps up, the last update is now: load balancers judge by its age, and
    /// nothing may have changed for days. kube-proxy does the same.
    fn of(report: Report) -> Self {
        let now = Timestamp::now();
        let updated = if report.keeps_up { Some(now) } else { report.updated };
        Self {
            last_updated: updated.map(|time| time.to_string()),
            current_time: now.to_string(),
            balancing: report.balancing,
        }
    }
}
