//! At which addresses of the node node ports are captured. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Node, ObjectRef, Parts, Problem};

/// What is configured of node ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePorts {
    /// At which addresses they are captured.
    pub addresses: NodePortAddresses,
    /// Whether they are at the loopback too, whatever the addresses.
    pub localhost: bool,
    /// The headless Service of the agents, whose endpoints tell the addresses of the other nodes; none
    /// where those are not known.
    pub peers: Option<ObjectRef>,
}

/// `--nodeport-addresses` without `localhost`, as kube-proxy means it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The first address of each family of the Node object.
    #[default]
    Primary,
    /// Every address of the Node object, and every one that an interface of the node has.
    All,
    /// Addresses of the Node object in any of these ranges.
    In(Vec<IpNet>),
}

impl NodePorts {
    /// True if the addresses of other nodes may differ after a change.
    pub fn may_move(&self, parts: &Parts) -> bool {
        parts.headless || self.peers.as_ref().is_some_and(|peers| parts.endpoints.contains(peers))
    }
}

impl From<NodePortAddresses> for NodePorts {
    fn from(addresses: NodePortAddresses) -> Self {
        Self { addresses, ..Self::default() }
    }
}

impl NodePortAddresses {
    /// True if an address counts wherever it is found.
    pub fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::Primary => false,
            Self::All => true,
            Self::In(ranges) => {
                ranges.iter().any(|range| range.prefix_len() > 0 && range.contains(&ip))
            }
        }
    }

    /// True if an address counts that is the primary one of its node.
    pub fn may_have(&self, ip: IpAddr) -> bool {
        match self {
            Self::Primary | Self::All => true,
            Self::In(ranges) => ranges.iter().any(|range| range.contains(&ip)),
        }
    }

    /// The addresses of a node, and which ranges hold none of them.
    pub fn of(&self, node: &Node) -> (Vec<IpAddr>, Vec<Problem>) {
        let ranges = match self {
            Self::Primary => return (node.primary().collect(), Vec::new()),
            Self::All => return (node.addresses.clone(), Vec::new()),
            Self::In(ranges) => ranges,
        };
        let inside = |ip: &IpAddr| ranges.iter().any(|range| range.contains(ip));
        let found = node.addresses.iter().copied().filter(inside).collect();
        // Every address of a family is none on a node that lacks the family, and no mistake. A
        // node whose addresses are not known yet is none either.
        let idle = ranges.iter().filter(|range| {
            range.prefix_len() > 0
                && !range.addr().is_loopback()
                && !node.addresses.is_empty()
                && !node.addresses.iter().any(|ip| range.contains(ip))
        });
        (found, idle.map(|range| unmatched(node, *range)).collect())
    }
}

fn unmatched(node: &Node, range: IpNet) -> Problem {
    let addresses: Vec<_> = node.addresses.iter().map(IpAddr::to_string).collect();
    Problem {
        object: format!("Node {}", node.name),
        field: "status.addresses".to_owned(),
        message: format!(
            "none is in {range} of --nodeport-addresses, which captures nothing: the node has {}; \
             mend the range, or take it out",
            addresses.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_choose_among_the_addresses_of_the_node() {
        // addresses of the node, ranges -> where node ports are, ranges that match nothing
        type Row<'a> = (&'a [&'a str], Option<&'a [&'a str]>, &'a [&'a str], usize);
        let both: &[&str] = &["192.0.2.1", "192.0.2.2", "fd00::1", "198.51.100.1"];
        let table: &[Row<'_>] = &[
            (both, None, &["192.0.2.1", "fd00::1"], 0),
            (&["fd00::1"], None, &["fd00::1"], 0),
            (&[], None, &[], 0),
            (both, Some(&["0.0.0.0/0"]), &["192.0.2.1", "192.0.2.2", "198.51.100.1"], 0),
            (both, Some(&["::/0"]), &["fd00::1"], 0),
            (both, Some(&["192.0.2.2/32", "198.51.100.0/24"]), &["192.0.2.2", "198.51.100.1"], 0),
            (both, Some(&["192.0.2.0/24", "192.0.2.2/32"]), &["192.0.2.1", "192.0.2.2"], 0),
            (both, Some(&["10.0.0.0/8", "fd00::/8"]), &["fd00::1"], 1),
            (&["192.0.2.1"], Some(&["0.0.0.0/0", "::/0"]), &["192.0.2.1"], 0),
            (&[], Some(&["10.0.0.0/8"]), &[], 0),
        ];
        for (addresses, ranges, want, unmatched) in table {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let node = Node { name: "n".into(), addresses, ..Node::default() };
            let rule = ranges.map_or(NodePortAddresses::Primary, |ranges| {
                NodePortAddresses::In(ranges.iter().map(|range| range.parse().unwrap()).collect())
            });
            let (found, problems) = rule.of(&node);
            let want: Vec<IpAddr> = want.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!((found, problems.len()), (want, *unmatched), "{node:?} {rule:?}");
        }
    }
}
