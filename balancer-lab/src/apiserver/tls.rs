//! Certificates, made when the server starts.

use std::{net::IpAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use crate::error::{Error, Result};

/// The authority that clients are to trust, and what the server shows.
pub struct Identity {
    /// The authority's certificate.
    pub authority_pem: String,
    /// Answers handshakes.
    pub acceptor: TlsAcceptor,
}

impl Identity {
    /// An authority of its own and a certificate for the names of an API server at `address`.
    pub fn generate(address: IpAddr) -> Result<Self> {
        let unmet = |error: rcgen::Error| Error::Unmet(format!("make a certificate: {error}"));
        let mut authority = CertificateParams::new(Vec::new()).map_err(unmet)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "balancer-lab");
        let key = KeyPair::generate().map_err(unmet)?;
        let authority = CertifiedIssuer::self_signed(authority, key).map_err(unmet)?;

        let names = ["localhost", "kubernetes", "kubernetes.default.svc", "127.0.0.1", "::1"];
        let names = names.into_iter().map(str::to_owned).chain([address.to_string()]);
        let names: Vec<String> = names.collect();
        let key = KeyPair::generate().map_err(unmet)?;
        let params = CertificateParams::new(names).map_err(unmet)?;
        let certificate = params.signed_by(&key, &authority).map_err(unmet)?;

        let unmet = |error| Error::Unmet(format!("use a certificate: {error}"));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unmet)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .map_err(unmet)?;
        Ok(Self { authority_pem: authority.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
