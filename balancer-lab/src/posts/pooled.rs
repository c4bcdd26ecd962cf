//! A client that reads while it rests, and so knows that its connection was closed.

use std::{io, net::SocketAddr};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    lazy::{SERVER_NAME, trusting},
    options::{SendOptions, Way},
};

pub(super) struct Pooled {
    target: SocketAddr,
    way: Way,
    tls: Option<TlsConnector>,
    kept: Option<Sender>,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Pooled {
    pub(super) fn new(options: &SendOptions) -> io::Result<Self> {
        let tls = options.authority.as_deref().map(trusting).transpose()?;
        let tls = tls.map(TlsConnector::from);
        Ok(Self { target: options.target, way: options.way, tls, kept: None })
    }

    /// Has a request executed, over another connection where the kept one was closed.
    pub(super) async fn post(&mut self, id: u64) -> Result<(), String> {
        let is_open = match &mut self.kept {
            Some(Sender::One(sender)) => sender.ready().await.is_ok(),
            Some(Sender::Two(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.kept = Some(self.open().await.map_err(|error| error.to_string())?);
        }
        let uri = format!("http://{}/{id}", self.target);
        let request = Request::post(uri).header("host", "web").body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = match self.kept.as_mut() {
            Some(Sender::One(sender)) => sender.send_request(request).await,
            Some(Sender::Two(sender)) => sender.send_request(request).await,
            None => return Err("there is no connection".into()),
        };
        let body = answer.map_err(|error| format!("{error:?}"))?.into_body();
        body.collect().await.map_err(|error| format!("{error:?}")).map(drop)
    }

    async fn open(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return begin(stream, self.way).await };
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        begin(tls.connect(name, stream).await?, self.way).await
    }
}

async fn begin<T>(stream: T, way: Way) -> io::Result<Sender>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(stream);
    if way == Way::Http2 {
        let begun = http2::handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = begun.map_err(io::Error::other)?;
        tokio::spawn(connection);
        return Ok(Sender::Two(sender));
    }
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(Sender::One(sender))
}
