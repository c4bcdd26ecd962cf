//! What the kernel knows of pods: the cgroup by which a program tells whose socket it meets, and the
//! network namespace by which it tells the client.

mod cgroups;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use balancer_common::layout::{NodeAddress, Place};
use thiserror::Error;

use crate::{
    desired::{Desired, nodes::Nodes, pods::DesiredPod},
    model::ObjectRef,
    node::{cgroup::children, interfaces, netns, networks::networks},
};

/// Why nothing can be told of pods.
#[derive(Debug, Error)]
pub enum PodsError {
    /// The cgroup can't be read.
    #[error("cgroup {path} can't be read: {source}; is it there, and this process root?")]
    Cgroup {
        /// The cgroup.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The mount shows a part of the tree, so that levels can't be counted.
    #[error(
        "cgroup {path} lies in a mount that does not begin at the root of cgroup2: opted-out pods \
         can't be told; mount the host's /sys/fs/cgroup, or run the agent in the host's cgroup \
         namespace"
    )]
    NoRoot {
        /// The cgroup.
        path: String,
    },
    /// Network namespaces can't be entered.
    #[error("network namespaces can't be read: {0}; Linux 5.14 and CAP_SYS_ADMIN are needed")]
    Netns(io::Error),
}

/// What the programs need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Cgroups of pods whose sockets are left alone: identifier, and level below the root of
    /// cgroup2 as `bpf_get_current_ancestor_cgroup_id` counts, the root being 0.
    pub opted_out: BTreeMap<u64, u32>,
    /// Addresses of clients by the cookie of their network namespace, the node's own included.
    pub clients: BTreeMap<u64, Vec<IpAddr>>,
    /// Addresses at which node ports are captured beside those that are frontends themselves.
    pub nodes: BTreeMap<IpAddr, NodeAddress>,
    /// Pods that the kernel does not show yet.
    pub unseen: BTreeSet<ObjectRef>,
}

/// Looks for the pods below the cgroup of the agent.
pub fn resolve(cgroup: &Path, desired: &Desired) -> Result<Resolved, PodsError> {
    let found = cgroups::find(cgroup, &desired.pods)?;
    let mut resolved = Resolved { nodes: nodes(desired), ..Resolved::default() };
    // Of each network namespace its inode, a file of it, and whose it is.
    let mut namespaces: BTreeMap<u64, (File, &DesiredPod)> = BTreeMap::new();
    for (uid, pod) in &desired.pods {
        let place = found.get(uid);
        if let (true, Some(place)) = (pod.opted_out, place) {
            resolved.opted_out.insert(place.id, place.level);
        }
        // Clients with the network of the node are those of the node.
        let is_client = !pod.host_network && !pod.addresses.is_empty();
        let mut has_network = false;
        if let (true, Some(place)) = (is_client, place) {
            for (inode, file) in networks(&place.path) {
                has_network = true;
                namespaces.entry(inode).or_insert((file, pod));
            }
        }
        if (pod.opted_out && place.is_none()) || (is_client && !has_network) {
            resolved.unseen.insert(pod.id.clone());
        }
    }
    let (files, pods): (Vec<_>, Vec<_>) = namespaces.into_values().unzip();
    let cookies = netns::cookies(files).map_err(PodsError::Netns)?;
    for (cookie, pod) in cookies.into_iter().zip(pods) {
        match cookie {
            Ok(cookie) => drop(resolved.clients.insert(cookie, pod.addresses.clone())),
            Err(_) => drop(resolved.unseen.insert(pod.id.clone())),
        }
    }
    // Last, since a privileged pod may have processes in the node's namespace.
    let own = netns::own().map_err(PodsError::Netns)?;
    resolved.clients.insert(own, desired.node_addresses.clone());
    Ok(resolved)
}

/// Whose the cgroups of pods and those below them are, by their identifiers.
pub fn owners(
    cgroup: &Path,
    pods: &BTreeMap<String, DesiredPod>,
) -> Result<BTreeMap<u64, ObjectRef>, PodsError> {
    let mut owners = BTreeMap::new();
    for (uid, place) in cgroups::find(cgroup, pods)? {
        let Some(pod) = pods.get(&uid) else { continue };
        owners.insert(place.id, pod.id.clone());
        let mut queue = vec![place.path];
        while let Some(path) = queue.pop() {
            for child in children(&path) {
                // It may be gone already.
                if let Ok(directory) = fs::metadata(&child) {
                    owners.insert(directory.ino(), pod.id.clone());
                    queue.push(child);
                }
            }
        }
    }
    Ok(owners)
}

/// Addresses at which node ports are captured beside those that are frontends themselves. Those of the
/// loopback only where the network namespace of this process is known.
pub fn nodes(desired: &Desired) -> BTreeMap<IpAddr, NodeAddress> {
    let Nodes { others, loopback, interfaces, .. } = &desired.nodes;
    let at = |place: Place, netns| NodeAddress { netns, place: place as u32, zero: 0 };
    let mut found: BTreeMap<_, _> =
        others.keys().map(|ip| (*ip, at(Place::OtherNode, 0))).collect();
    if *interfaces {
        let own = interfaces::addresses().into_iter().filter(|ip| !ip.is_loopback());
        found.extend(own.map(|ip| (ip, at(Place::ThisNode, 0))));
    }
    if let Ok(own) = netns::own() {
        found.extend(loopback.iter().map(|ip| (*ip, at(Place::ThisNode, own))));
    }
    found
}

#[cfg(test)]
mod tests;
