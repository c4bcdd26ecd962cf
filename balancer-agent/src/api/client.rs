//! Asks a running agent.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{net::UnixStream, time::timeout};

use super::{
    CONNECTIONS, PEERS, SERVICES, STATUS,
    moves::{DRAIN, REBALANCE},
};
use crate::view::{
    ConnectionView, DrainRequest, DrainView, PeerView, RebalanceRequest, RebalanceView,
    ServiceView, StatusView, Wanted,
};

/// What an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read: more than 100,000 Services with their backends.
const LARGEST: usize = 256 << 20;

/// Why an agent did not answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody is there, or this user may not ask.
    #[error("agent not reachable at {}: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("the agent at {} did not answer within {} s", socket.display(), PATIENCE.as_secs())]
    Slow {
        /// The socket.
        socket: PathBuf,
    },
    /// It can't do what was asked for.
    #[error("{why}")]
    Refused {
        /// Why not.
        why: String,
    },
    /// It can't tell what there is.
    #[error("the agent at {} has no answer: {why}", socket.display())]
    Failed {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        why: String,
    },
    /// It answered, but not with what was asked for.
    #[error("the agent at {} answered {path} with {why}", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What was asked for.
        path: String,
        /// What came.
        why: String,
    },
}

/// A way to ask the agent behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Asks on `socket`; nothing is opened yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The agent and its node.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.get(STATUS).await
    }

    /// Every Service port.
    pub async fn services(&self) -> Result<Vec<ServiceView>, ClientError> {
        self.get(SERVICES).await
    }

    /// The agents of the cluster.
    pub async fn peers(&self) -> Result<Vec<PeerView>, ClientError> {
        self.get(PEERS).await
    }

    /// The TCP connections that are wanted.
    pub async fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, ClientError> {
        let query = serde_urlencoded::to_string(wanted);
        let query = query.map_err(|error| self.answer(CONNECTIONS, &error))?;
        self.get(&format!("{CONNECTIONS}?{query}")).await
    }

    /// Moves the connections of a Service to where there are fewer.
    pub async fn rebalance(&self, ask: &RebalanceRequest) -> Result<RebalanceView, ClientError> {
        self.post(REBALANCE, ask).await
    }

    /// Drains a backend. Gives what is drained then.
    pub async fn drain(&self, ask: &DrainRequest) -> Result<Vec<DrainView>, ClientError> {
        self.post(DRAIN, ask).await
    }

    /// Backends that are drained by hand.
    pub async fn drains(&self) -> Result<Vec<DrainView>, ClientError> {
        self.get(DRAIN).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.answer(path, &error))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(Ok(body)) => {
                serde_json::from_slice(&body).map_err(|error| self.answer(path, &error))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Slow { socket: self.socket.clone() }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.answer(path, &error))?;
        // Ends with the answer: the agent closes after one.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "agent")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.answer(path, &error))?;
        let response =
            sender.send_request(request).await.map_err(|error| self.answer(path, &error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| self.answer(path, &error))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Err(ClientError::Refused { why: String::from_utf8_lossy(&body).into_owned() })
            }
            StatusCode::INTERNAL_SERVER_ERROR => Err(ClientError::Failed {
                socket: self.socket.clone(),
                why: String::from_utf8_lossy(&body).into_owned(),
            }),
            other => Err(self.answer(path, &other)),
        }
    }

    fn answer(&self, path: &str, why: &impl ToString) -> ClientError {
        let path = path.to_owned();
        ClientError::Answer { socket: self.socket.clone(), path, why: why.to_string() }
    }
}
