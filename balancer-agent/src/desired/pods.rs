//! What is desired of the pods of this node. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{ObjectRef, Pod, State};

/// Runtime classes that are known to run containers as processes of the node.
const PLAIN: [&str; 5] = ["runc", "crun", "youki", "nvidia", "nvidia-cdi"];

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPod {
    /// Namespace and name.
    pub id: ObjectRef,
    /// True if its sockets are left alone.
    pub opted_out: bool,
    /// Its addresses; those of the node where it has its network.
    pub addresses: Vec<IpAddr>,
    /// Its runtime class, where that may be a sandbox whose sockets the node's kernel never sees.
    pub sandboxed: Option<String>,
    /// True if it has the network of the node.
    pub host_network: bool,
}

/// The pods by their uid, as kubelet names their cgroups.
pub fn pods(state: &State) -> BTreeMap<String, DesiredPod> {
    state.pods.values().map(|pod| (pod.uid.clone(), desired(pod, state))).collect()
}

/// The label of the pod counts; where it has none, that of its namespace.
fn desired(pod: &Pod, state: &State) -> DesiredPod {
    let namespace = state.namespaces.get(&pod.id.namespace);
    let enabled = pod.enabled.or(namespace.and_then(|namespace| namespace.enabled));
    let sandboxed = pod.runtime_class.clone().filter(|class| !PLAIN.contains(&class.as_str()));
    DesiredPod {
        id: pod.id.clone(),
        opted_out: enabled == Some(false),
        addresses: pod.addresses.clone(),
        sandboxed,
        host_network: pod.host_network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Namespace;

    #[test]
    fn the_label_of_the_pod_wins_over_that_of_its_namespace() {
        // label of the pod, label of the namespace (none: no such object) -> opted out
        for (own, namespace, want) in [
            (None, None, false),
            (None, Some(None), false),
            (None, Some(Some(true)), false),
            (None, Some(Some(false)), true),
            (Some(true), Some(Some(false)), false),
            (Some(false), Some(Some(true)), true),
            (Some(false), None, true),
            (Some(true), None, false),
        ] {
            let pod = pod(own, None);
            let namespace = namespace.map(|enabled| Namespace { name: "shop".into(), enabled });
            let state = State {
                pods: [(pod.id.clone(), pod)].into(),
                namespaces: namespace.map(|n| (n.name.clone(), n)).into_iter().collect(),
                ..State::default()
            };
            assert_eq!(
                pods(&state)["u-1"].opted_out,
                want,
                "{own:?} in {namespace:?}",
                namespace = state.namespaces
            );
        }
    }

    #[test]
    fn a_runtime_class_may_be_a_sandbox() {
        for (class, want) in [
            (None, None),
            (Some("kata"), Some("kata")),
            (Some("nvidia"), None),
            (Some("runc"), None),
        ] {
            let pod = pod(None, class);
            let state = State { pods: [(pod.id.clone(), pod)].into(), ..State::default() };
            assert_eq!(pods(&state)["u-1"].sandboxed.as_deref(), want, "{class:?}");
        }
    }

    fn pod(enabled: Option<bool>, class: Option<&str>) -> Pod {
        Pod {
            id: ObjectRef { namespace: "shop".into(), name: "web-0".into() },
            uid: "u-1".into(),
            node: "n".into(),
            addresses: vec![[10, 0, 0, 1].into()],
            host_network: false,
            enabled,
            runtime_class: class.map(str::to_owned),
        }
    }
}
