//! Probes of kubelet: `/livez` while the process serves, `/readyz` and `/healthz` once the first
//! complete state is in the maps.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::api::{Provider, ask};

pub(super) fn router(provider: Arc<dyn Provider>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .with_state(provider)
}

async fn ready(State(provider): State<Arc<dyn Provider>>) -> (StatusCode, &'static str) {
    match ask(move || provider.status()).await {
        Ok(status) if status.agent.as_ref().is_some_and(|agent| agent.ready) => {
            (StatusCode::OK, "ok\n")
        }
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "the first complete state is not in the maps\n"),
        Err(code) => (code, "no snapshot\n"),
    }
}
