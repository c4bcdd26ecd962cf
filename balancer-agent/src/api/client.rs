//! Asks a running agent.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::UnixStream, time::timeout};

use crate::view::{Question, Stream};

/// What an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read: more than 100,000 Services with their backends.
const LARGEST: usize = 256 << 20;
/// The longest line that is read.
const LONGEST_LINE: usize = 1 << 20;

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
    /// It has never heard of such a question.
    #[error(
        "the agent at {} does not know {path}: it is of another version; use the balancer-agent of its pod",
        socket.display()
    )]
    Unknown {
        /// The socket.
        socket: PathBuf,
        /// What was asked for.
        path: String,
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

    /// Asks a question.
    pub async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, ClientError> {
        let unfit = |why: &dyn ToString| self.answer(Q::PATH, &why.to_string());
        let (method, uri, body) = if Q::CHANGES {
            let body = serde_json::to_vec(question).map_err(|error| unfit(&error))?;
            (Method::POST, Q::PATH.to_owned(), body.into())
        } else {
            let query = serde_urlencoded::to_string(question).map_err(|error| unfit(&error))?;
            (Method::GET, format!("{}?{query}", Q::PATH), Bytes::new())
        };
        let answer = timeout(PATIENCE, self.exchange(method, &uri, body)).await;
        let answer = answer.map_err(|_| ClientError::Slow { socket: self.socket.clone() })??;
        serde_json::from_slice(&answer).map_err(|error| unfit(&error))
    }

    /// Asks a question that is answered by lines, and hands each to `line` until that says to stop.
    /// True where it did; false where the agent has ended.
    pub async fn follow<Q: Stream>(
        &self,
        question: &Q,
        mut line: impl FnMut(Q::Line) -> ControlFlow<()>,
    ) -> Result<bool, ClientError> {
        let unfit = |why: &dyn ToString| self.answer(Q::PATH, &why.to_string());
        let query = serde_urlencoded::to_string(question).map_err(|error| unfit(&error))?;
        let uri = format!("{}?{query}", Q::PATH);
        let begun = timeout(PATIENCE, self.begin(Method::GET, &uri, Bytes::new())).await;
        let response = begun.map_err(|_| ClientError::Slow { socket: self.socket.clone() })??;
        if response.status() != StatusCode::OK {
            self.finish(response, &uri).await?;
            return Ok(false);
        }
        let mut body = response.into_body();
        let mut held = Vec::new();
        // An agent that dies breaks off in the middle.
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            held.extend_from_slice(&data);
            if held.len() > LONGEST_LINE {
                return Err(unfit(&"a line that does not end"));
            }
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let rest = held.split_off(end + 1);
                let text = std::mem::replace(&mut held, rest);
                let view = serde_json::from_slice(&text).map_err(|error| unfit(&error))?;
                if line(view).is_break() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let response = self.begin(method, path, body).await?;
        self.finish(response, path).await
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
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
        sender.send_request(request).await.map_err(|error| self.answer(path, &error))
    }

    async fn finish(&self, response: Response<Incoming>, path: &str) -> Result<Bytes, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| self.answer(path, &error))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::NOT_FOUND => {
                let path = path.split('?').next().unwrap_or_default().to_owned();
                Err(ClientError::Unknown { socket: self.socket.clone(), path })
            }
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
