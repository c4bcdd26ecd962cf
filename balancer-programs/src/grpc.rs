//! gRPC: tonic on both sides, with the standard health service.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hyper::http::{HeaderValue, Response};
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::health_reporter,
};
use tower::util::MapResponseLayer;

use crate::{client::Protocol, serve};

/// The header with the name of the server.
const BACKEND: &str = "x-backend";

/// A channel, which is one connection whatever is sent over it.
pub(crate) struct Connection(HealthClient<Channel>);

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let endpoint = Endpoint::from_shared(format!("http://{target}"))?;
        let open = || async { Ok(Self(HealthClient::new(endpoint.connect().await?))) };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        let answer = self.0.check(HealthCheckRequest::default()).await?;
        let name = answer.metadata().get(BACKEND).context("the answer does not name its server")?;
        let name = name.to_str()?.to_owned();
        let status = answer.into_inner().status();
        ensure!(status == ServingStatus::Serving, "{name} is {status:?}");
        Ok(name)
    }

    async fn close(self) -> Result<()> {
        drop(self.0);
        Ok(())
    }
}

pub(crate) async fn serve(name: String, address: SocketAddr) -> Result<()> {
    let name = HeaderValue::try_from(name)?;
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let (_reporter, health) = health_reporter();
    let named = move |mut response: Response<Body>| {
        response.headers_mut().insert(BACKEND, name.clone());
        response
    };
    serve::say("listening")?;
    Server::builder()
        .layer(MapResponseLayer::new(named))
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}
