//! What is watched, and which objects of it.

use crate::{model::ObjectRef, source::object::Kind};

/// Objects with one of these labels are another proxy's or nobody's; kube-proxy asks alike.
const NOT_FOR_OTHERS: &str =
    "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";

/// Label with the name of the Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A kind to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it is here.
    pub kind: Kind,
    /// Where the API has it, over all namespaces.
    pub path: &'static str,
    /// Which labels the objects must have.
    pub labels: Option<String>,
    /// Which fields the objects must have.
    pub fields: Option<String>,
}

/// Everything that the agent of this node needs. `peers` is the Service of the agents.
pub fn watched(node: &str, peers: Option<&ObjectRef>) -> Vec<Watched> {
    let labels = Some(NOT_FOR_OTHERS.to_owned());
    let slices = "/apis/discovery.k8s.io/v1/endpointslices";
    let mut watched = vec![
        Watched {
            kind: Kind::Service,
            path: "/api/v1/services",
            labels: labels.clone(),
            fields: None,
        },
        Watched { kind: Kind::EndpointSlice, path: slices, labels, fields: None },
        Watched {
            kind: Kind::Node,
            path: "/api/v1/nodes",
            labels: None,
            fields: Some(format!("metadata.name={node}")),
        },
        Watched {
            kind: Kind::Pod,
            path: "/api/v1/pods",
            labels: None,
            fields: Some(format!("spec.nodeName={node}")),
        },
        Watched { kind: Kind::Namespace, path: "/api/v1/namespaces", labels: None, fields: None },
    ];
    if let Some(ObjectRef { name, .. }) = peers {
        // Those of other namespaces are few.
        let labels = Some(format!("{SERVICE_NAME}={name}"));
        watched.push(Watched { kind: Kind::PeerSlice, path: slices, labels, fields: None });
    }
    watched
}
