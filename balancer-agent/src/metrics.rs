//! `/metrics`, and where health is served. Every scrape is made from a snapshot, so that a series
//! ends with what it measured.

mod backends;
mod kube_proxy;
mod lifetimes;
mod mended;
mod moves;
mod peers;
mod process;
mod programming;
mod runs;
mod scrape;
mod services;
mod stream;
mod text;
mod totals;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch::Receiver},
};

pub use self::{
    kube_proxy::{KubeProxy, Synced},
    mended::Mended,
    programming::Programming,
    scrape::Scrape,
    totals::{Total, Totals},
};
use crate::{
    answer::{AnswerError, computed},
    health::{self, Health},
    http,
    node::kubeproxy,
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

    /// Serves both until `shutdown` turns true. `scrape` gives what metrics show at that moment.
    pub async fn serve(
        self,
        scrape: impl Fn() -> Result<Scrape, AnswerError> + Send + Sync + 'static,
        health: Arc<Health>,
        shutdown: Receiver<bool>,
    ) {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let scraping = Arc::new(Scraping { scrape: Box::new(scrape), turns });
        let metrics = Router::new()
            .route("/metrics", get(answer))
            .route("/proxyMode", get(|| async { kubeproxy::BALANCER }))
            .with_state(scraping);
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

/// Scrapes that are made at a time: each holds all Services until its client has read it.
const AT_A_TIME: usize = 4;

type Scraper = dyn Fn() -> Result<Scrape, AnswerError> + Send + Sync;

struct Scraping {
    scrape: Box<Scraper>,
    turns: Arc<Semaphore>,
}

async fn answer(State(scraping): State<Arc<Scraping>>) -> Result<impl IntoResponse, AnswerError> {
    let turn = Arc::clone(&scraping.turns).acquire_owned().await;
    let scrape = computed(move || (scraping.scrape)()).await?;
    let write = move |out: &mut stream::Chunks| {
        let written = text::render(scrape, out);
        drop(turn);
        written
    };
    Ok(([(CONTENT_TYPE, text::CONTENT_TYPE)], stream::body(write)))
}

#[cfg(test)]
mod tests;
