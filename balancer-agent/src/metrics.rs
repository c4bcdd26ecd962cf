//! `/metrics`, and where health is served. Every scrape is made from a snapshot, so that a series
//! ends with what it measured.

mod moves;
mod peers;
mod text;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch::Receiver};

use crate::{
    health::{self, Health},
    http,
    provider::{Provider, ProviderError, ask},
};

/// The address cannot be had.
#[derive(Debug, Error)]
#[error("cannot serve {what} at {address}: {source}; use {flag} for another address")]
pub struct BindError {
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Addresses that are bound and not served yet, so that a wrong one is known before anything else
/// happens.
#[derive(Debug)]
pub struct Endpoints {
    metrics: TcpListener,
    healthz: TcpListener,
}

impl Endpoints {
    /// Binds both addresses; port 0 takes a free one, which the log then tells.
    pub fn bind(metrics: SocketAddr, healthz: SocketAddr) -> Result<Self, BindError> {
        Ok(Self {
            metrics: listen("metrics", "--metrics-bind-address", metrics)?,
            healthz: listen("health", "--healthz-bind-address", healthz)?,
        })
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> io::Result<SocketAddr> {
        self.metrics.local_addr()
    }

    /// Where health is served.
    pub fn healthz_address(&self) -> io::Result<SocketAddr> {
        self.healthz.local_addr()
    }

    /// Serves both until `shutdown` turns true.
    pub async fn serve(
        self,
        provider: Arc<dyn Provider>,
        health: Arc<Health>,
        shutdown: Receiver<bool>,
    ) {
        let metrics = Router::new().route("/metrics", get(scrape)).with_state(provider);
        tokio::join!(
            http::serve(&self.metrics, metrics, shutdown.clone()),
            http::serve(&self.healthz, health::probes::router(health), shutdown),
        );
    }
}

fn listen(
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, BindError> {
    let fault = |source| BindError { what, flag, address, source };
    let listener = http::listen(address).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    tracing::info!(address = %bound, "serving {what}");
    Ok(listener)
}

async fn scrape(
    State(provider): State<Arc<dyn Provider>>,
) -> Result<impl IntoResponse, ProviderError> {
    let render = move || {
        let (status, services) = provider.overview()?;
        let (ended, programming) = (provider.ended(), provider.programming());
        let text = text::render(&status, &services, ended, programming, provider.mended());
        text.map_err(|_| ProviderError::Defect)
    };
    let text = ask(render).await?;
    Ok(([(CONTENT_TYPE, text::CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests;
