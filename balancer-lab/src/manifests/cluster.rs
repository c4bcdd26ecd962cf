//! What agents of several nodes read of each other: Node objects, and the headless Service of theirs.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use serde_json::{Value, json};

use super::service::{Endpoint, Service};
use crate::{
    Cluster, Node,
    error::{Attempt as _, Result, on},
};

/// `namespace/name` of the Service whose endpoints the agents are.
pub const PEERS: &str = "kube-system/balancer-agent-peers";
/// Where agents hear each other, over UDP, and how the port of the Service is called.
const PORT: (&str, u16) = ("peers", 10357);

/// The Node object of a node.
pub(super) fn node(node: &Node) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name()},
        "status": {"addresses": [
            {"type": "InternalIP", "address": node.ip()},
            {"type": "InternalIP", "address": node.ip6()},
            {"type": "Hostname", "address": node.name()},
        ]},
    })
}

/// The Service of the agents of these nodes.
pub(super) fn peers(nodes: &[Node]) -> Service {
    let (namespace, name) = PEERS.split_once('/').unwrap_or(("default", PEERS));
    let (port_name, port) = PORT;
    let endpoint = |node: &Node| Endpoint::ready(node.ip()).on(node.name());
    Service {
        namespace: namespace.into(),
        ports: vec![(port_name.into(), port, port)],
        endpoints: nodes.iter().map(endpoint).collect(),
        ..Service::headless(name).udp()
    }
}

/// Makes a key that the agents of a cluster share, and returns the flags by which each finds the
/// others and believes them.
pub fn peer_flags(cluster: &Cluster) -> Result<[String; 4]> {
    let path = cluster.state_dir().join("peer-key");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o400)
        .open(&path)
        .attempt(on("create", &path))?;
    writeln!(file, "{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
        .attempt(on("write", &path))?;
    let path = path.display().to_string();
    Ok(["--peers".into(), PEERS.into(), "--peer-key".into(), path])
}
