//! RSocket over TCP: rsocket_rust on both sides.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use futures_util::{future::try_join_all, stream};
use rsocket_rust::{
    Client, async_trait,
    prelude::{Flux, Payload, RSocket, RSocketFactory},
};
use rsocket_rust_transport_tcp::{TcpClientTransport, TcpServerTransport};

use crate::{client::Protocol, serve};

pub(crate) struct Connection(Client);

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let open = || async {
            let transport = TcpClientTransport::from(target);
            Ok(Self(RSocketFactory::connect().transport(transport).start().await?))
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        let answer = self.0.request_response(Payload::from("who are you?")).await?;
        Ok(answer.context("the server answered nothing")?.data_utf8().unwrap_or_default().into())
    }

    async fn close(self) -> Result<()> {
        drop(self.0);
        Ok(())
    }
}

/// Answers requests with a name, and does nothing else.
struct Named(String);

#[async_trait]
impl RSocket for Named {
    async fn request_response(&self, _: Payload) -> Result<Option<Payload>> {
        Ok(Some(Payload::builder().set_data_utf8(&self.0).build()))
    }

    async fn metadata_push(&self, _: Payload) -> Result<()> {
        Err(anyhow!("only requests with a response are served"))
    }

    async fn fire_and_forget(&self, _: Payload) -> Result<()> {
        Err(anyhow!("only requests with a response are served"))
    }

    fn request_stream(&self, _: Payload) -> Flux<Result<Payload>> {
        Box::pin(stream::empty())
    }

    fn request_channel(&self, _: Flux<Result<Payload>>) -> Flux<Result<Payload>> {
        Box::pin(stream::empty())
    }
}

pub(crate) async fn serve(name: String, address: SocketAddr) -> Result<()> {
    RSocketFactory::receive()
        .transport(TcpServerTransport::from(address))
        .acceptor(Box::new(move |_, _| Ok(Box::new(Named(name.clone())))))
        // Nobody listens to the line if the one who waits for it is gone.
        .on_start(Box::new(|| drop(serve::say("listening"))))
        .serve()
        .await
}
