//! The API of a running agent: HTTP/1.1 over a unix socket.
//!
//! A [`Question`](crate::view::Question) has its path. One that reads is asked by `GET`, with itself as the query; one
//! that changes something by `POST`, with itself as the body. Answers are JSON.
//!
//! | path | `GET` | `POST` |
//! |---|---|---|
//! | `/v1/status` | [`StatusQuestion`] | |
//! | `/v1/services` | [`ServicesQuestion`] | |
//! | `/v1/connections` | [`Wanted`] | |
//! | `/v1/clients` | [`ClientsQuestion`] | |
//! | `/v1/explain` | [`ExplainQuestion`] | |
//! | `/v1/peers` | [`PeersQuestion`] | |
//! | `/v1/events` | [`EventsQuestion`] | |
//! | `/v1/about` | [`AboutQuestion`] | |
//! | `/v1/metrics` | [`MetricsQuestion`] | |
//! | `/v1/trace` | [`TraceQuestion`], answered line by line as things happen | |
//! | `/v1/rebalance` | | [`RebalanceRequest`] |
//! | `/v1/drain` | [`DrainsQuestion`] | [`DrainRequest`] |
//!
//! What is refused has the cause as its text: with 422 where another request would be granted, with
//! 500 where what is there can't be read. 404 is the answer to a question of another version.
//!
//! Clients ignore fields that they do not know, so that a command line and an agent of different
//! versions understand each other.

mod answers;
mod client;
mod socket;
mod streams;

use tokio::sync::watch::Receiver;

pub use self::{
    answers::Answers,
    client::{Client, ClientError},
    socket::{BindError, Socket, bind},
    streams::Lines,
};
use crate::http;
#[cfg(doc)]
use crate::view::{
    AboutQuestion, ClientsQuestion, DrainRequest, DrainsQuestion, EventsQuestion, ExplainQuestion,
    MetricsQuestion, PeersQuestion, RebalanceRequest, ServicesQuestion, StatusQuestion,
    TraceQuestion, Wanted,
};

/// Answers on the socket until `shutdown` turns true, then removes the socket.
pub async fn serve(socket: Socket, answers: Answers<impl Send>, shutdown: Receiver<bool>) {
    http::serve(&socket, answers.router(), shutdown).await;
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
