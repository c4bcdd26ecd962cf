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
mod error;
pub mod http;
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
    error::ProviderError,
    socket::{BindError, Socket, bind},
};
use crate::{
    metrics::{Mended, Programming},
    moves::tally::Counts,
    view::{
        ConnectionView, DrainRequest, DrainView, PeerView, RebalanceRequest, RebalanceView,
        ServiceView, StatusView, Wanted,
    },
};

const STATUS: &str = "/v1/status";
const SERVICES: &str = "/v1/services";
const CONNECTIONS: &str = "/v1/connections";
const PEERS: &str = "/v1/peers";

/// Where views come from.
pub trait Provider: Send + Sync + 'static {
    /// The agent and its node at this moment. What can't be read is absent, and a problem.
    fn status(&self) -> StatusView;
    /// Every Service port at this moment.
    fn services(&self) -> Result<Vec<ServiceView>, ProviderError>;
    /// Both, of one moment.
    fn overview(&self) -> Result<(StatusView, Vec<ServiceView>), ProviderError> {
        Ok((self.status(), self.services()?))
    }
    /// The TCP connections that are wanted, at this moment.
    fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, ProviderError>;
    /// Moves the connections of a Service, or says what it would do, or why it can't.
    fn rebalance(&self, request: &RebalanceRequest) -> Result<RebalanceView, ProviderError>;
    /// Drains a backend, or says why it can't; gives what is drained then.
    fn drain(&self, request: &DrainRequest) -> Result<Vec<DrainView>, ProviderError>;
    /// Backends that are drained by hand.
    fn drains(&self) -> Vec<DrainView>;
    /// The agents of the cluster; none where this one counts alone.
    fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }
    /// How often connections were ended; nothing where none is.
    fn ended(&self) -> Counts {
        Counts::default()
    }
    /// How long changes took to be written; nothing where none is written.
    fn programming(&self) -> Programming {
        Programming::default()
    }
    /// How many entries of maps were put back.
    fn mended(&self) -> Mended {
        Mended::default()
    }
}

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

/// A snapshot is thousands of system calls: off the threads that drive the sockets.
pub(crate) async fn ask<T: Send + 'static>(
    snapshot: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    tokio::task::spawn_blocking(snapshot).await.unwrap_or(Err(ProviderError::Defect))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
