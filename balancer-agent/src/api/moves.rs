//! What changes something: connections are moved, backends drained.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::Answer;
use crate::{
    provider::{Provider, ask},
    view::{DrainRequest, DrainView, RebalanceRequest, RebalanceView},
};

pub(super) const REBALANCE: &str = "/v1/rebalance";
pub(super) const DRAIN: &str = "/v1/drain";

pub(super) async fn rebalance(
    State(provider): State<Arc<dyn Provider>>,
    Json(request): Json<RebalanceRequest>,
) -> Answer<RebalanceView> {
    ask(move || provider.rebalance(&request)).await.map(Json)
}

pub(super) async fn drain(
    State(provider): State<Arc<dyn Provider>>,
    Json(request): Json<DrainRequest>,
) -> Answer<Vec<DrainView>> {
    ask(move || provider.drain(&request)).await.map(Json)
}

pub(super) async fn drains(State(provider): State<Arc<dyn Provider>>) -> Answer<Vec<DrainView>> {
    ask(move || Ok(provider.drains())).await.map(Json)
}
