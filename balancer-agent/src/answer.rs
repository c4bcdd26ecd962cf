//! How an agent answers: away from the threads that drive its sockets, or with the reason why not.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use thiserror::Error;

use crate::{maps::MapsError, model::ObjectRef};

/// Why something is not shown or not done.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// What is there can't be told: an empty answer would be wrong.
    #[error("the maps can't be read: {0}")]
    Maps(#[from] MapsError),
    /// Nothing of this Service is balanced.
    #[error(
        "Service {service} is not balanced on this node; `balancer-agent services` lists those \
         that are"
    )]
    NotBalanced {
        /// The Service.
        service: ObjectRef,
    },
    /// A pod is named that this node does not have.
    #[error("no pod {pod} runs on this node; {hint}")]
    NoPod {
        /// The pod.
        pod: ObjectRef,
        /// Which could have been meant.
        hint: String,
    },
    /// No endpoint has this address.
    #[error("no Service has a TCP backend {backend}; {hint}")]
    NoBackend {
        /// Address, with a port where one was named.
        backend: String,
        /// Which could have been meant.
        hint: String,
    },
    /// A drain is taken back that there is not.
    #[error("{backend} is not drained; `balancer-agent drain` lists what is")]
    NotDrained {
        /// Address, with a port where one was named.
        backend: String,
    },
    /// A drain would take the last backend.
    #[error(
        "{} would have no backend left, and its clients be refused; drain another one, or use \
         --force",
        services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    LeavesNone {
        /// The Services.
        services: Vec<ObjectRef>,
    },
    /// Nobody more is told what happens.
    #[error("{most} already read what the agent tells; end one of them")]
    TooManyReaders {
        /// How many may.
        most: usize,
    },
    /// Other nodes are to do something, and there are none.
    #[error(
        "this agent knows of no other nodes; start all agents with --peers and --peer-key, or leave \
         out --cluster"
    )]
    NoCluster,
    /// More is drained on all nodes than one node may say.
    #[error(
        "{most} backends are drained on all nodes by this one, which is the most; end one with \
         `balancer-agent drain BACKEND --cancel`"
    )]
    TooManyDrains {
        /// How many there may be.
        most: usize,
    },
    /// The answer was not finished, which only a defect can cause.
    #[error("the agent failed; its log may say why")]
    Defect,
}

impl AnswerError {
    const fn code(&self) -> StatusCode {
        match self {
            Self::Maps(_) | Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotBalanced { .. }
            | Self::NoPod { .. }
            | Self::NoBackend { .. }
            | Self::NotDrained { .. }
            | Self::LeavesNone { .. }
            | Self::TooManyReaders { .. }
            | Self::NoCluster
            | Self::TooManyDrains { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// The cause in words, with 422 where another request would be granted, else 500.
impl IntoResponse for AnswerError {
    fn into_response(self) -> Response {
        let code = self.code();
        if code.is_server_error() {
            tracing::error!("an answer is refused: {self}");
        }
        (code, self.to_string()).into_response()
    }
}

/// Computes an answer off the threads that drive the sockets: a snapshot is thousands of system calls.
pub async fn computed<T: Send + 'static>(
    answer: impl FnOnce() -> Result<T, AnswerError> + Send + 'static,
) -> Result<T, AnswerError> {
    tokio::task::spawn_blocking(answer).await.unwrap_or(Err(AnswerError::Defect))
}
