//! HTTP/2 without TLS: hyper on both sides.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{Response, Uri, body::Bytes, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};

use crate::{client::Protocol, serve};

/// A pool, which holds one connection to a host and sends every request over that.
pub(crate) struct Connection {
    pool: Client<HttpConnector, Empty<Bytes>>,
    uri: Uri,
}

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let uri: Uri = format!("http://{target}/").parse()?;
        let open = || async {
            let pool = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
            let mut connection = Self { pool, uri: uri.clone() };
            connection.ask().await?;
            Ok(connection)
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        let body = self.pool.get(self.uri.clone()).await?.into_body();
        Ok(String::from_utf8(body.collect().await?.to_bytes().into())?)
    }

    async fn close(self) -> Result<()> {
        drop(self.pool);
        Ok(())
    }
}

pub(crate) async fn serve(name: String, address: SocketAddr) -> Result<()> {
    serve::accept(address, |stream| {
        let name = name.clone();
        async move {
            let answer = service_fn(|_| {
                let name = name.clone();
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(name)))) }
            });
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await?;
            Ok(())
        }
    })
    .await
}
