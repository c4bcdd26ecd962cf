//! Answers that never end: lines of JSON, as things happen.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::Query,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::stream;

use super::Answers;
use crate::{answer::AnswerError, http::Lasting, view::Stream};

/// Where the lines of an answer come from.
pub trait Lines: Send + 'static {
    /// What a line tells.
    type Line: serde::Serialize + Send;
    /// The next line; none after the last one. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Self::Line>> + Send;
}

impl<S: Send + Sync + 'static> Answers<S> {
    /// Answers a question with lines.
    #[must_use]
    pub fn streaming<Q: Stream, L: Lines<Line = Q::Line>>(
        self,
        answer: impl Fn(&S, Q) -> Result<L, AnswerError> + Send + Sync + Copy + 'static,
    ) -> Self {
        let state = self.state();
        let route = get(move |Query(question): Query<Q>| {
            let lines = answer(&state, question);
            async move { lines.map(response) }
        });
        self.routed(Q::PATH, route)
    }
}

fn response(lines: impl Lines) -> Response {
    let lines = stream::unfold(lines, async |mut lines| {
        let mut text = serde_json::to_vec(&lines.next().await?).unwrap_or_default();
        text.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), lines))
    });
    let mut response =
        ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response();
    response.extensions_mut().insert(Lasting);
    response
}
