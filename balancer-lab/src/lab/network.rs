//! The wiring: pods hang on their node by veth pairs, the nodes on a bridge outside by others.
//!
//! Pods have /32 addresses and one gateway that is the same for all, 169.254.1.1 (fe80::1), an
//! address of the node: every packet is routed by the node, as with Calico, and hundreds of pods
//! need no bridge. Nodes reach the pods of others through the bridge, without encapsulation. Service
//! addresses are routed nowhere in particular: untranslated packets leave by the default route and
//! are lost outside, as on a real node.

use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{Place, Pod};
use crate::{
    error::{Attempt, Error, Result},
    host,
};

/// The addresses that pods get theirs from.
pub const POD_CIDR: &str = "10.244.0.0/16";
/// The bridge's addresses, the nodes' default gateway.
const OUTSIDE: [&str; 2] = ["172.18.0.1", "fd00:172:18::1"];
/// The gateway of every pod.
const GATEWAY: [&str; 2] = ["169.254.1.1", "fe80::1"];

/// How a node is reached from others, and which addresses its pods have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) ip: Ipv4Addr,
    pub(super) ip6: Ipv6Addr,
    /// The first of the pods' addresses, and how many bits of it are the same for all.
    pub(super) pods: Ipv4Addr,
    pub(super) pods_prefix: u8,
}

impl Reach {
    /// Of the only node: all addresses of pods are its own.
    pub(super) const ALONE: Self = Self {
        ip: Ipv4Addr::new(172, 18, 0, 2),
        ip6: Ipv6Addr::new(0xfd00, 0x172, 0x18, 0, 0, 0, 0, 2),
        pods: Ipv4Addr::new(10, 244, 0, 0),
        pods_prefix: 16,
    };

    /// Of one of several nodes.
    pub(super) const fn of_number(number: u8) -> Self {
        Self {
            ip: Ipv4Addr::new(172, 18, 1, number),
            ip6: Ipv6Addr::new(0xfd00, 0x172, 0x18, 0, 0, 0, 1, number as u16),
            pods: Ipv4Addr::new(10, 244, number, 0),
            pods_prefix: 24,
        }
    }

    /// Refuses an address that would not be routed to this node.
    pub(super) fn check_pod(&self, name: &str, ip: Ipv4Addr) -> Result<()> {
        let host_bits = 32 - u32::from(self.pods_prefix);
        if u32::from(ip) >> host_bits == u32::from(self.pods) >> host_bits {
            return Ok(());
        }
        let Self { pods, pods_prefix, .. } = self;
        Err(Error::Unmet(format!("pod {name}: {ip} is not in {pods}/{pods_prefix} of its node")))
    }

    /// The hardware address of the node on the bridge, a local one.
    fn mac(&self) -> String {
        let [a, b, c, d] = self.ip.octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// What another node need not ask its neighbours for. Entries that are asked for are limited to 1,024 on
    /// the whole machine (`net.ipv4.neigh.default.gc_thresh3`); permanent ones are not counted.
    fn neighbours(&self) -> String {
        let (Self { ip, ip6, .. }, mac) = (self, self.mac());
        let entry = |ip: &dyn std::fmt::Display| {
            format!("neigh add {ip} lladdr {mac} dev eth0 nud permanent\n")
        };
        entry(ip) + &entry(ip6)
    }

    /// The routes to its pods, from whoever is on the bridge.
    fn routes(&self) -> String {
        let Self { ip, ip6, pods, pods_prefix } = self;
        let pods6 = super::pod::ip6_of(*pods);
        // The low half of the IPv4 address is the end of that of IPv6.
        let prefix6 = 128 - (32 - pods_prefix);
        format!("route add {pods}/{pods_prefix} via {ip}\nroute add {pods6}/{prefix6} via {ip6}\n")
    }
}

/// Makes the namespaces of the nodes, each with how it is reached, and of the outside, and the bridge there that connects them.
pub(super) fn build_nodes(nodes: &[(&Place, &Reach)], outside: &Place) -> Result<()> {
    let outer = outside.netns();
    let mut links = format!("netns add {outer}\n");
    let mut bridge = String::from("link add br0 type bridge\n");
    for (number, (place, reach)) in (1..).zip(nodes) {
        let (inner, mac) = (place.netns(), reach.mac());
        let _ = write!(
            links,
            "netns add {inner}\n\
             link add eth0 address {mac} netns {inner} type veth peer name node{number} netns {outer}\n"
        );
        let _ = write!(bridge, "link set node{number} master br0\nlink set node{number} up\n");
    }
    host::ip(None, &links)?;
    forward(outside, "0")?;
    let [v4, v6] = OUTSIDE;
    let back: String = nodes.iter().map(|(_, reach)| reach.routes()).collect();
    host::ip(Some(outer), &format!("{bridge}{}{back}", addresses("br0", v4, v6)))?;
    for node in nodes {
        let (place, reach) = *node;
        forward(place, "1")?;
        // A router asks for its neighbours from the address of the link, which would be tentative for
        // the first seconds.
        place.set_sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
        let others = nodes.iter().filter(|other| !std::ptr::eq(*other, node));
        let others: String =
            others.map(|(_, reach)| reach.neighbours() + &reach.routes()).collect();
        let Reach { ip, ip6, .. } = reach;
        // Scope link keeps the gateway address from being chosen as a source.
        let batch = format!(
            "addr add {gateway}/32 dev lo scope link\n{own}\
             route add 0.0.0.0/0 via {v4} dev eth0\n\
             route add ::/0 via {v6} dev eth0\n{others}",
            gateway = GATEWAY[0],
            own = addresses("eth0", ip, ip6),
        );
        host::ip(Some(place.netns()), &batch)?;
    }
    Ok(())
}

fn forward(place: &Place, forwarding: &str) -> Result<()> {
    place.within(|| {
        sysctl("net/ipv4/ip_forward", forwarding)?;
        sysctl("net/ipv6/conf/all/forwarding", forwarding)
    })?
}

/// Configures an end of the network between the nodes.
fn addresses(link: &str, v4: impl std::fmt::Display, v6: impl std::fmt::Display) -> String {
    format!(
        "link set lo up\n\
         addr add {v4}/16 dev {link}\n\
         addr add {v6}/64 dev {link} nodad\n\
         link set {link} up\n"
    )
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
