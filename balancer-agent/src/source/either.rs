//! The source that the settings name.

use super::{Manifests, SourceError, kube::Cluster, object::Kind};
use crate::{
    config::Origin,
    model::{Changes, Clash, ObjectRef, Problem, State},
};

/// What a source gives.
#[derive(Debug)]
pub enum Update<'a> {
    /// Everything it knows; it differs from the state before.
    State(&'a State),
    /// There is no first state yet: what is in the way, and the kinds that are still missing.
    Waiting(&'a [Problem], Vec<Kind>),
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
