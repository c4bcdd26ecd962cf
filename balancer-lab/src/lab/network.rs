//! The wiring: pods hang on the node by veth pairs, the node on the outside by another.
//!
//! Pods have /32 addresses and one gateway that is the same for all, 169.254.1.1 (fe80::1), an
//! address of the node: every packet is routed by the node, as with Calico, and hundreds of pods
//! need no bridge. Service addresses are routed nowhere in particular: untranslated packets leave
//! by the default route and are lost outside, as on a real node.

use std::{fmt::Write, fs};

use super::{Place, Pod};
use crate::{
    error::{Attempt, Result},
    host,
};

/// The addresses that pods get theirs from.
pub const POD_CIDR: &str = "10.244.0.0/16";
/// The node's own addresses, and the outside's, its default gateway.
const NODE: [&str; 2] = ["172.18.0.2", "fd00:172:18::2"];
const OUTSIDE: [&str; 2] = ["172.18.0.1", "fd00:172:18::1"];
/// The gateway of every pod.
const GATEWAY: [&str; 2] = ["169.254.1.1", "fe80::1"];

/// Makes the namespaces of the node and of the outside.
pub(super) fn build_node(node: &Place, outside: &Place) -> Result<()> {
    let (inner, outer) = (node.netns(), outside.netns());
    host::ip(
        None,
        &format!(
            "netns add {inner}\n\
             netns add {outer}\n\
             link add eth0 netns {inner} type veth peer name eth0 netns {outer}\n"
        ),
    )?;
    for (place, forwarding) in [(node, "1"), (outside, "0")] {
        place.within(|| {
            sysctl("net/ipv4/ip_forward", forwarding)?;
            sysctl("net/ipv6/conf/all/forwarding", forwarding)
        })??;
    }
    // Scope link keeps the gateway address from being chosen as a source.
    host::ip(
        Some(inner),
        &format!(
            "addr add {gateway}/32 dev lo scope link\n{common}",
            gateway = GATEWAY[0],
            common = uplink(NODE, &[("0.0.0.0/0", OUTSIDE[0]), ("::/0", OUTSIDE[1])])
        ),
    )?;
    let back = [(POD_CIDR, NODE[0]), ("fd00:10:244::/64", NODE[1])];
    host::ip(Some(outer), &uplink(OUTSIDE, &back))
}

/// Configures one end of the link between node and outside.
fn uplink(addresses: [&str; 2], routes: &[(&str, &str)]) -> String {
    let [v4, v6] = addresses;
    let mut batch = format!(
        "link set lo up\n\
         addr add {v4}/16 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\n\
         link set eth0 up\n"
    );
    for (destination, via) in routes {
        let _ = writeln!(batch, "route add {destination} via {via} dev eth0");
    }
    batch
}

/// Makes the namespaces of pods and connects them to the node.
pub(super) fn build_pods(node: &Place, pods: &[Pod]) -> Result<()> {
    let (mut outer, mut inner) = (String::new(), String::new());
    for pod in pods {
        let (netns, link) = (pod.place().netns(), pod.link());
        let _ = write!(
            outer,
            "netns add {netns}\n\
             link add {link} netns {} type veth peer name eth0 netns {netns}\n",
            node.netns()
        );
        let _ = write!(
            inner,
            "addr add {gateway}/64 dev {link} nodad\n\
             link set {link} up\n\
             route add {ip}/32 dev {link}\n\
             route add {ip6}/128 dev {link}\n",
            gateway = GATEWAY[1],
            ip = pod.ip(),
            ip6 = pod.ip6()
        );
    }
    host::ip(None, &outer)?;
    host::ip(Some(node.netns()), &inner)?;
    pods.iter().try_for_each(build_pod)
}

fn build_pod(pod: &Pod) -> Result<()> {
    let [gateway, gateway6] = GATEWAY;
    host::ip(
        Some(pod.place().netns()),
        &format!(
            "link set lo up\n\
             addr add {ip}/32 dev eth0\n\
             addr add {ip6}/128 dev eth0 nodad\n\
             link set eth0 up\n\
             route add {gateway}/32 dev eth0 scope link\n\
             route add 0.0.0.0/0 via {gateway} dev eth0\n\
             route add ::/0 via {gateway6} dev eth0\n",
            ip = pod.ip(),
            ip6 = pod.ip6()
        ),
    )
}

/// Removes a pod's namespace and routes. The link goes first: namespaces vanish later than the
/// command returns, and the address may be given to another pod at once.
pub(super) fn remove_pod(node: &Place, pod: &Pod) -> Result<()> {
    host::ip(Some(node.netns()), &format!("link del {}\n", pod.link()))?;
    host::ip(None, &format!("netns del {}\n", pod.place().netns()))
}

/// Writes a sysctl of the calling thread's network namespace.
fn sysctl(key: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/{key}"), value).attempt(format!("set sysctl {key} to {value}"))
}
