//! What a thread sends its requests with.

use std::error::Error;

use http_body_util::{BodyExt, Empty};
use hyper::{
    Response, Uri,
    body::{Bytes, Incoming},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

use super::{answer::Answer, bounded::Bounded, grpc};

/// How threads and connection pools go together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pools {
    /// Every thread has a pool of its own.
    PerThread,
    /// All threads use one pool.
    Shared,
    /// No pool: every request opens a connection and closes it.
    None,
    /// No pool but gRPC: every thread has a channel of its own, which is one connection.
    Channel,
    /// Every thread has a pool of its own that speaks HTTP/2, over one connection.
    Http2,
}

/// A pool of hyper's, or a channel of tonic's, with their defaults: hyper's pool tries again what it
/// never sent, tonic leaves that to the program.
#[derive(Clone)]
pub(super) enum Sender {
    Http(Client<Bounded, Empty<Bytes>>),
    Grpc(HealthClient<Channel>),
}

impl Sender {
    /// A pool of so many connections at most.
    pub(super) fn pool(pools: Pools, connections: usize) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        builder.http2_only(pools == Pools::Http2);
        if pools == Pools::None {
            builder.pool_max_idle_per_host(0);
        }
        Self::Http(builder.build(Bounded::new(connections)))
    }

    /// A channel; to be made where its runtime is.
    pub(super) fn channel(uri: &Uri) -> Self {
        Self::Grpc(grpc::channel(uri))
    }

    /// Sends a request.
    pub(super) async fn request(&self, uri: &Uri) -> Result<Begun, String> {
        match self {
            Self::Http(pool) => {
                let response = pool.get(uri.clone()).await.map_err(|error| chain(&error))?;
                Ok(Begun::Http(response))
            }
            Self::Grpc(client) => {
                Ok(Begun::Grpc(grpc::ask(client).await.map_err(|error| chain(&error))?))
            }
        }
    }
}

/// An answer that may not have been read to its end.
pub(super) enum Begun {
    Http(Response<Incoming>),
    Grpc(Answer),
}

impl Begun {
    /// The whole of it.
    pub(super) async fn read(self) -> Result<Answer, String> {
        let response = match self {
            Self::Grpc(answer) => return Ok(answer),
            Self::Http(response) => response,
        };
        let body = response.into_body().collect().await.map_err(|error| chain(&error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| chain(&error))
    }
}

/// An error with its causes, which hyper keeps out of its own words.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
