//! The source that the settings name.

use std::path::PathBuf;

use super::{
    Heard, Manifests, SourceError,
    kube::{Cluster, Requests},
    object::Kind,
    update::Update,
};
use crate::model::{Changes, Clash, ObjectRef, State};

/// Where Services and their endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder of Kubernetes YAML; absolute.
    Folder(PathBuf),
    /// The API server.
    Cluster {
        /// The file that says how to get there; absolute. Without one: as a pod, else by the
        /// kubeconfig of `$KUBECONFIG` or the home directory.
        kubeconfig: Option<PathBuf>,
    },
}

/// A source of states.
#[derive(Debug)]
pub enum Source {
    /// A folder of YAML, and its state, once there is one.
    Folder(Manifests, Option<Box<State>>),
    /// A cluster.
    Cluster(Box<Cluster>),
}

impl Source {
    /// Opens the source for the agent of that node. `peers` is the Service of the agents.
    ///
    /// # Errors
    ///
    /// Where it can't be used at all.
    pub async fn open(
        from: &Origin,
        node: &str,
        peers: Option<&ObjectRef>,
    ) -> Result<Self, SourceError> {
        match from {
            Origin::Folder(dir) => Ok(Self::Folder(Manifests::open(dir)?.of_node(node), None)),
            Origin::Cluster { kubeconfig } => {
                Ok(Self::Cluster(Cluster::open(kubeconfig.clone(), node, peers).await?.into()))
            }
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Folder(manifests, _) => format!("folder {}", manifests.dir().display()),
            Self::Cluster(cluster) => format!("API server {}", cluster.server()),
        }
    }

    /// The kinds that are missing until the first state.
    pub fn awaited(&self) -> Vec<Kind> {
        match self {
            Self::Folder(..) => Vec::new(),
            Self::Cluster(cluster) => cluster.awaited(),
        }
    }

    /// When it was last heard; of a folder, never.
    pub fn heard(&self) -> Heard {
        match self {
            Self::Folder(..) => Heard::default(),
            Self::Cluster(cluster) => cluster.heard().clone(),
        }
    }

    /// What the API server was asked; none where there is none.
    pub fn requests(&self) -> Option<Requests> {
        match self {
            Self::Folder(..) => None,
            Self::Cluster(cluster) => Some(cluster.requests().clone()),
        }
    }

    /// Takes which Services go without an address that another one has. In a cluster their owners are
    /// told.
    pub fn tell(&mut self, clashes: &[Clash]) {
        if let Self::Cluster(cluster) = self {
            cluster.tell(clashes);
        }
    }

    /// The first complete state, then each state that differs from the one before. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Only where what reads has died.
    pub async fn next(&mut self) -> Result<Update<'_>, SourceError> {
        match self {
            Self::Folder(manifests, state) => {
                let mut new = manifests.next().await?;
                if let Some(state) = state {
                    new.changes = Changes::between(state, &new);
                }
                Ok(Update::State(state.insert(Box::new(new))))
            }
            Self::Cluster(cluster) => cluster.next().await,
        }
    }
}
