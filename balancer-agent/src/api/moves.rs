//! What changes something: connections are moved, backends drained.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};

use super::{Provider, ask};
use crate::view::{DrainRequest, DrainView, RebalanceRequest, RebalanceView};

pub(super) const REBALANCE: &str = "/v1/rebalance";
pub(super) const DRAIN: &str = "/v1/drain";

/// What can't be done is said in words.
type Answer<T> = Result<Json<T>, (StatusCode, String)>;

pub(super) async fn rebalance(
    State(provider): State<Arc<dyn Provider>>,
    Json(request): Json<RebalanceRequest>,
) -> Answer<RebalanceView> {
    done(ask(move || provider.rebalance(&request)).await)
}

pub(super) async fn drain(
    State(provider): State<Arc<dyn Provider>>,
    Json(request): Json<DrainRequest>,
) -> Answer<Vec<DrainView>> {
    done(ask(move || provider.drain(&request)).await)
}

pub(super) async fn drains(State(provider): State<Arc<dyn Provider>>) -> Answer<Vec<DrainView>> {
    done(ask(move || Ok(provider.drains())).await)
}

fn done<T>(result: Result<Result<T, String>, StatusCode>) -> Answer<T> {
    match result {
        Ok(Ok(view)) => Ok(Json(view)),
        Ok(Err(why)) => Err((StatusCode::UNPROCESSABLE_ENTITY, why)),
        Err(code) => Err((code, "the agent failed; its log may say why".to_owned())),
    }
}
