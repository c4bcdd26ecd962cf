//! gRPC: tonic on both sides, with its defaults and the standard health service.

use std::{convert::Infallible, io, time::Duration};

use futures_util::{future::ready, stream::once};
use hyper::{
    Uri,
    http::{HeaderValue, Response},
};
use tokio::net::TcpStream;
use tonic::{
    body::Body,
    metadata::MetadataMap,
    transport::{Channel, Endpoint, Error, Server},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::health_reporter,
};
use tower::util::{AndThenLayer, MapResponseLayer};

use super::answer::{Answer, BACKEND, CONNECTION};

/// A channel, which is one connection at a time. It opens that when it is used, and another one when
/// that is closed.
pub(super) fn channel(uri: &Uri) -> HealthClient<Channel> {
    HealthClient::new(Endpoint::from(uri.clone()).connect_lazy())
}

/// One unary call; who answered it is in the header of the answer.
pub(super) async fn ask(client: &HealthClient<Channel>) -> Result<Answer, tonic::Status> {
    let answer = client.clone().check(HealthCheckRequest::default()).await?;
    let said = said(answer.metadata());
    let status = answer.into_inner().status();
    match said {
        Some(said) if status == ServingStatus::Serving => Ok(said),
        said => Err(tonic::Status::data_loss(format!("the answer is {status:?} of {said:?}"))),
    }
}

fn said(header: &MetadataMap) -> Option<Answer> {
    let field = |name| header.get(name)?.to_str().ok();
    Some(Answer {
        backend: field(BACKEND)?.to_owned(),
        connection: field(CONNECTION)?.parse().ok()?,
    })
}

/// Serves one connection with a server of its own: so its answers can say which connection it is.
/// Each comes after `delay`.
pub(super) async fn serve(
    stream: TcpStream,
    answer: &Answer,
    delay: Duration,
) -> Result<(), Error> {
    let name = HeaderValue::try_from(&answer.backend).expect("a name is fit for a header");
    let number = HeaderValue::from(answer.connection);
    let named = move |mut response: Response<Body>| {
        response.headers_mut().insert(BACKEND, name.clone());
        response.headers_mut().insert(CONNECTION, number.clone());
        response
    };
    let late = move |response: Response<Body>| async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok::<_, Infallible>(response)
    };
    let (_reporter, health) = health_reporter();
    Server::builder()
        .layer(MapResponseLayer::new(named))
        .layer(AndThenLayer::new(late))
        .add_service(health)
        .serve_with_incoming(once(ready(Ok::<_, io::Error>(stream))))
        .await
}
