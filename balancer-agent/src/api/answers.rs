//! What is answered to which question.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Query,
    routing::{MethodRouter, get, post},
};

use crate::{
    answer::{AnswerError, computed},
    view::Question,
};

/// The questions that are answered, each by a function of one state.
pub struct Answers<S> {
    state: Arc<S>,
    router: Router,
}

impl<S: Send + Sync + 'static> Answers<S> {
    /// Answers nothing yet.
    pub fn of(state: Arc<S>) -> Self {
        Self { state, router: Router::new() }
    }

    /// Answers a question. Panics if that is the second answer to it.
    #[must_use]
    pub fn with<Q: Question>(
        self,
        answer: impl Fn(&S, &Q) -> Result<Q::Answer, AnswerError> + Send + Sync + Copy + 'static,
    ) -> Self {
        let Self { state, router } = self;
        let shared = Arc::clone(&state);
        let answer = move |question: Q| {
            let state = Arc::clone(&shared);
            async move { computed(move || answer(&state, &question)).await.map(Json) }
        };
        let route = if Q::CHANGES {
            post(move |Json(question): Json<Q>| answer(question))
        } else {
            get(move |Query(question): Query<Q>| answer(question))
        };
        Self { state, router }.routed(Q::PATH, route)
    }
}

impl<S> Answers<S> {
    pub(super) fn state(&self) -> Arc<S> {
        Arc::clone(&self.state)
    }

    /// Answers at a path. Panics if that is the second answer there.
    pub(super) fn routed(self, path: &str, route: MethodRouter) -> Self {
        Self { state: self.state, router: self.router.route(path, route) }
    }

    pub(super) fn router(self) -> Router {
        self.router
    }
}
