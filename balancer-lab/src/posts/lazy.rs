//! A client that looks at its connection only where it uses it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::options::{SendOptions, Way};

/// The name that the server's certificate is good for.
pub(super) const SERVER_NAME: &str = "localhost";

pub(super) struct Lazy {
    target: SocketAddr,
    way: Way,
    tls: Option<Arc<ClientConfig>>,
    kept: Option<Box<dyn Stream>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Lazy {
    pub(super) fn new(options: &SendOptions) -> io::Result<Self> {
        let tls = options.authority.as_deref().map(trusting).transpose()?;
        Ok(Self { target: options.target, way: options.way, tls, kept: None })
    }

    /// Has a request executed. What failed over a kept connection was so for all that is known.
    pub(super) fn post(&mut self, id: u64) -> io::Result<()> {
        let is_kept = self.kept.is_some();
        match self.try_post(id) {
            // These take it for granted that the server has closed before it read the request.
            Err(_) if is_kept && matches!(self.way, Way::RestsAndRepeats | Way::SendsAlone) => {
                self.try_post(id)
            }
            done => done,
        }
    }

    fn try_post(&mut self, id: u64) -> io::Result<()> {
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => self.open()?,
        };
        if self.way == Way::SendsAlone {
            writeln!(stream, "{id}")?;
        } else {
            // One write, so that it is sent whole or not at all.
            let request = format!("POST /{id} HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            read_answer(&mut stream)?;
        }
        self.kept = Some(stream);
        Ok(())
    }

    fn open(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.target)?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(tls, stream)))
    }
}

/// An answer without a body.
fn read_answer(stream: &mut Box<dyn Stream>) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            return Ok(());
        }
    }
}

/// Trusts one authority.
pub(super) fn trusting(authority: &Path) -> io::Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_file(authority).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
