//! What servers have in common.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};

/// Says a line to whoever started this process.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Listens, says so, and hands every connection to a task of its own.
pub(crate) async fn accept<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    say("listening")?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Clients come and go, and are killed: how a connection ends is no news.
        tokio::spawn(serve(stream));
    }
}
