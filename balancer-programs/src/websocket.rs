//! WebSocket: tokio-tungstenite on both sides.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _, future::try_join_all};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async, tungstenite::Message};

use crate::{client::Protocol, serve};

pub(crate) struct Connection(WebSocketStream<TcpStream>);

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let open = || async {
            let stream = TcpStream::connect(target).await?;
            let (socket, _) = client_async(format!("ws://{target}/"), stream).await?;
            Ok(Self(socket))
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        self.0.send(Message::text("who are you?")).await?;
        let answer = self.0.next().await.context("the server hung up")??;
        Ok(answer.into_text()?.to_string())
    }

    async fn close(mut self) -> Result<()> {
        self.0.close(None).await?;
        // The server answers the close; nothing comes after that.
        while let Some(message) = self.0.next().await {
            message?;
        }
        Ok(())
    }
}

pub(crate) async fn serve(name: String, address: SocketAddr) -> Result<()> {
    serve::accept(address, |stream| {
        let name = name.clone();
        async move {
            let mut socket = accept_async(stream).await?;
            while let Some(message) = socket.next().await {
                if message?.is_text() {
                    socket.send(Message::text(name.as_str())).await?;
                }
            }
            Ok(())
        }
    })
    .await
}
