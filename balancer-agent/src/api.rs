//! The API of a running agent: HTTP/1.1 over a unix socket.
//!
//! | `GET` path | answer |
//! |---|---|
//! | `/v1/status` | a [`StatusView`] |
//! | `/v1/services` | a list of [`ServiceView`] |
//! | `/v1/connections` | a list of [`ConnectionView`]; the query is a [`Wanted`] |
//! | `/v1/drain` | a list of [`DrainView`] |
//! | `/v1/peers` | a list of [`PeerView`] |
//!
//! | `POST` path | body | answer |
//! |---|---|---|
//! | `/v1/rebalance` | a [`RebalanceRequest`] | a [`RebalanceView`] |
//! | `/v1/drain` | a [`DrainRequest`] | as to `GET` |
//!
//! What is refused has the cause as its text: with 422 where another request would be granted, with
//! 500 where what is there can't be read.
//!
//! Clients ignore fields that they do not know, so that a command line and an agent of different
//! versions understand each other.

mod client;
mod moves;
mod socket;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::{get, post},
};
use tokio::sync::watch::Receiver;

pub use self::{
    client::{Client, ClientError},
    socket::{BindError, Socket, bind},
};
#[cfg(doc)]
use crate::view::{DrainRequest, DrainView, RebalanceRequest, RebalanceView};
use crate::{
    http,
    provider::{Provider, ProviderError, ask},
    view::{ConnectionView, PeerView, ServiceView, StatusView, Wanted},
};

const STATUS: &str = "/v1/status";
const SERVICES: &str = "/v1/services";
const CONNECTIONS: &str = "/v1/connections";
const PEERS: &str = "/v1/peers";

/// Answers on the socket until `shutdown` turns true, then removes the socket.
pub async fn serve(socket: Socket, provider: Arc<dyn Provider>, shutdown: Receiver<bool>) {
    let router = Router::new()
        .route(STATUS, get(status))
        .route(SERVICES, get(services))
        .route(CONNECTIONS, get(connections))
        .route(PEERS, get(peers))
        .route(moves::REBALANCE, post(moves::rebalance))
        .route(moves::DRAIN, get(moves::drains).post(moves::drain))
        .with_state(provider);
    http::serve(&socket, router, shutdown).await;
}

type Answer<T> = Result<Json<T>, ProviderError>;

async fn status(State(provider): State<Arc<dyn Provider>>) -> Answer<StatusView> {
    ask(move || Ok(provider.status())).await.map(Json)
}

async fn services(State(provider): State<Arc<dyn Provider>>) -> Answer<Vec<ServiceView>> {
    ask(move || provider.services()).await.map(Json)
}

async fn peers(State(provider): State<Arc<dyn Provider>>) -> Answer<Vec<PeerView>> {
    ask(move || Ok(provider.peers())).await.map(Json)
}

async fn connections(
    State(provider): State<Arc<dyn Provider>>,
    Query(wanted): Query<Wanted>,
) -> Answer<Vec<ConnectionView>> {
    ask(move || provider.connections(&wanted)).await.map(Json)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
