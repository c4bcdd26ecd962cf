//! Where the API server is, and who the agent is there.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::requests::Requests;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is given up. Watches get a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);

/// Why there is no API server to ask.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig that was named is of no use.
    #[error("kubeconfig {}: {source}; `kubectl config view` should show a server and a user", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// This is a pod, and what a pod has is of no use.
    #[error(
        "the service account of this pod can't be used: {source}; set \
         automountServiceAccountToken, or name a kubeconfig with --kubeconfig"
    )]
    InCluster {
        /// What is wrong with it.
        source: InClusterError,
    },
    /// Nothing says where an API server is.
    #[error(
        "no API server is known: this is no pod, and there is no kubeconfig ({source}); name one \
         with --kubeconfig, or a folder of Kubernetes YAML with --manifests"
    )]
    Nowhere {
        /// Why there is no kubeconfig.
        source: KubeconfigError,
    },
    /// The certificates or credentials can't be used.
    #[error("a client of {server} can't be made: {source}; check the certificates and credentials")]
    Client {
        /// The API server.
        server: String,
        /// What is wrong.
        source: kube::Error,
    },
}

/// How to get at the API server. Everything is read again for each new client, so that renewed
/// credentials are found.
#[derive(Clone, Debug)]
pub struct Access {
    kubeconfig: Option<PathBuf>,
    requests: Requests,
}

impl Access {
    /// By this kubeconfig; else as a pod; else by the kubeconfig of `$KUBECONFIG` or `~/.kube`.
    pub fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, requests: Requests::default() }
    }

    /// What all clients of it and of its clones have asked.
    pub const fn requests(&self) -> &Requests {
        &self.requests
    }

    /// A new client, and the address of the server.
    pub async fn client(&self) -> Result<(Client, String), AccessError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let host = config.cluster_url.authority().map(ToString::to_string);
        let counting = self.requests.of(host.unwrap_or_default());
        match ClientBuilder::try_from(config) {
            Ok(client) => Ok((client.with_layer(&counting).build(), server)),
            Err(source) => Err(AccessError::Client { server, source }),
        }
    }

    async fn config(&self) -> Result<Config, AccessError> {
        if let Some(path) = &self.kubeconfig {
            let fault = |source| AccessError::Kubeconfig { path: path.clone(), source };
            return read(path).await.map_err(fault);
        }
        if env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Config::incluster().map_err(|source| AccessError::InCluster { source });
        }
        Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .map_err(|source| AccessError::Nowhere { source })
    }
}

async fn read(path: &Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}
