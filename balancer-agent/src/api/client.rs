//! Asks a running agent.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{net::UnixStream, time::timeout};

use super::{SERVICES, STATUS};
use crate::view::{ServiceView, StatusView};

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
    /// It answered, but not with what was asked for.
    #[error("the agent at {} answered {path} with {why}", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What was asked for.
        path: &'static str,
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

    async fn get<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ClientError> {
        match timeout(PATIENCE, self.exchange(path)).await {
            Ok(Ok(body)) => {
                serde_json::from_slice(&body).map_err(|error| self.answer(path, &error))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Slow { socket: self.socket.clone() }),
        }
    }

    async fn exchange(&self, path: &'static str) -> Result<Bytes, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.answer(path, &error))?;
        // Ends with the answer: the agent closes after one.
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(HOST, "agent")
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.answer(path, &error))?;
        let response =
            sender.send_request(request).await.map_err(|error| self.answer(path, &error))?;
        if response.status() != StatusCode::OK {
            return Err(self.answer(path, &response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|error| self.answer(path, &error))?.to_bytes())
    }

    fn answer(&self, path: &'static str, why: &impl ToString) -> ClientError {
        ClientError::Answer { socket: self.socket.clone(), path, why: why.to_string() }
    }
}
