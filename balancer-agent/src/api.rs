//! The API of a running agent: HTTP/1.1 over a unix socket, read only.
//!
//! | path | answer |
//! |---|---|
//! | `/v1/status` | a [`StatusView`] |
//! | `/v1/services` | a list of [`ServiceView`] |
//!
//! Clients ignore fields that they do not know, so that a command line and an agent of different
//! versions understand each other.

mod client;
pub mod http;
mod socket;

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use tokio::sync::watch::Receiver;

pub use self::{
    client::{Client, ClientError},
    socket::{BindError, Socket, bind},
};
use crate::{
    metrics::Programming,
    view::{ServiceView, StatusView},
};

const STATUS: &str = "/v1/status";
const SERVICES: &str = "/v1/services";

/// Where views come from.
pub trait Provider: Send + Sync + 'static {
    /// The agent and its node at this moment.
    fn status(&self) -> StatusView;
    /// Every Service port at this moment.
    fn services(&self) -> Vec<ServiceView>;
    /// How long changes took to be written; nothing where none is written.
    fn programming(&self) -> Programming {
        Programming::default()
    }
}

/// Answers on the socket until `shutdown` turns true, then removes the socket.
pub async fn serve(socket: Socket, provider: Arc<dyn Provider>, shutdown: Receiver<bool>) {
    let router = Router::new()
        .route(STATUS, get(status))
        .route(SERVICES, get(services))
        .with_state(provider);
    http::serve(&socket, router, shutdown).await;
}

type Answer<T> = Result<Json<T>, StatusCode>;

async fn status(State(provider): State<Arc<dyn Provider>>) -> Answer<StatusView> {
    ask(move || provider.status()).await.map(Json)
}

async fn services(State(provider): State<Arc<dyn Provider>>) -> Answer<Vec<ServiceView>> {
    ask(move || provider.services()).await.map(Json)
}

/// A snapshot is thousands of system calls: off the threads that drive the sockets.
pub(crate) async fn ask<T: Send + 'static>(
    snapshot: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StatusCode> {
    tokio::task::spawn_blocking(snapshot).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
