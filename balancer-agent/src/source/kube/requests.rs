//! What the API server is asked and how soon it answers, by the names of client-go: those that every
//! dashboard of a part of Kubernetes asks for. Names and buckets:
//! `staging/src/k8s.io/component-base/metrics/prometheus/restclient/metrics.go` of Kubernetes 1.33.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::{Request, Response};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tower::{Layer, Service};

/// Bounds in seconds.
const BOUNDS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
/// The code of a request that got no answer.
const NO_ANSWER: &str = "<error>";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: String,
    method: String,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    verb: String,
    host: String,
}

/// Requests to the API server since the agent started. Clones share what was counted.
#[derive(Clone, Debug)]
pub struct Requests {
    answered: Family<Answered, Counter>,
    took: Family<Asked, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        let bounded: fn() -> Histogram = || Histogram::new(BOUNDS);
        Self { answered: Family::default(), took: Family::new_with_constructor(bounded) }
    }
}

impl Requests {
    /// Counts what a client asks of this server, given as `HOST:PORT`.
    pub(super) fn of(&self, host: String) -> Counting {
        Counting { requests: self.clone(), host }
    }

    /// Has a registry without a prefix show them.
    pub fn register(self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rest_client");
        let help = "Requests to the API server, by the code of the answer";
        registry.register("requests", help, self.answered);
        let help = "Time until the API server begins to answer; a watch is answered when it begins";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.took);
    }

    fn count(&self, method: String, host: String, code: String, took: Duration) {
        let asked = Asked { verb: method.clone(), host: host.clone() };
        self.took.get_or_create(&asked).observe(took.as_secs_f64());
        self.answered.get_or_create(&Answered { code, method, host }).inc();
    }
}

/// Has a client count what it asks.
#[derive(Clone, Debug)]
pub(super) struct Counting {
    requests: Requests,
    host: String,
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counting: self.clone() }
    }
}

/// A client that counts what it asks.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Counting { requests, host } = self.counting.clone();
        let method = request.method().to_string();
        let started = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map(|answer| answer.status().as_str().to_owned());
            let code = code.unwrap_or_else(|_| NO_ANSWER.to_owned());
            requests.count(method, host, code, started.elapsed());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use prometheus_client::encoding::text::encode;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_their_answers() {
        let requests = Requests::default();
        let counting = requests.of("192.0.2.1:6443".to_owned());
        let mut client = counting.layer(service_fn(|request: Request<u16>| async move {
            match request.into_body() {
                0 => Err("no route to host"),
                code => Ok(Response::builder().status(code).body(()).expect("a code")),
            }
        }));
        for (method, code) in
            [(Method::GET, 200), (Method::GET, 200), (Method::POST, 409), (Method::GET, 0)]
        {
            let request = Request::builder().method(method).body(code).expect("a request");
            let answer = client.ready().await.expect("ready").call(request).await;
            assert_eq!(answer.map(|answer| answer.status().as_u16()).unwrap_or(0), code);
        }
        let mut registry = Registry::default();
        requests.register(&mut registry);
        let mut shown = String::new();
        encode(&mut shown, &registry).expect("text");
        let host = "host=\"192.0.2.1:6443\"";
        for line in [
            format!("rest_client_requests_total{{code=\"200\",method=\"GET\",{host}}} 2"),
            format!("rest_client_requests_total{{code=\"409\",method=\"POST\",{host}}} 1"),
            format!("rest_client_requests_total{{code=\"<error>\",method=\"GET\",{host}}} 1"),
            format!("rest_client_request_duration_seconds_count{{verb=\"GET\",{host}}} 3"),
            format!(
                "rest_client_request_duration_seconds_bucket{{le=\"60.0\",verb=\"POST\",{host}}} 1"
            ),
        ] {
            assert!(shown.lines().any(|found| found == line), "{line} is not in {shown}");
        }
    }
}
