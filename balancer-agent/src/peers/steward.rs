//! Who sums the counts of a Service port: the node with the highest hash of both. Every node that
//! hears the same nodes finds the same one, and a node that comes or goes changes only its own.

use super::name::{NodeId, ServiceId};

/// The steward of a Service port among some nodes; none where there is no node.
pub fn steward(service: ServiceId, nodes: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    nodes.into_iter().max_by_key(|node| (rank(service, *node), *node))
}

/// Names are hashes already; this spreads what both have in common.
const fn rank(service: ServiceId, node: NodeId) -> u64 {
    mix(service.0 ^ mix(node.0))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn nodes(count: u64) -> Vec<NodeId> {
        (0..count).map(|n| NodeId::of(&format!("worker-{n}"))).collect()
    }

    #[test]
    fn the_order_of_nodes_is_no_matter() {
        let (mut nodes, service) = (nodes(50), ServiceId(7));
        let chosen = steward(service, nodes.iter().copied());
        nodes.reverse();
        assert_eq!(steward(service, nodes), chosen);
        assert_eq!(steward(service, []), None);
    }

    #[test]
    fn services_are_spread_over_nodes() {
        let nodes = nodes(20);
        let mut count: BTreeMap<NodeId, u32> = BTreeMap::new();
        for service in 0..10_000 {
            *count
                .entry(steward(ServiceId(service), nodes.iter().copied()).unwrap())
                .or_default() += 1;
        }
        assert_eq!(count.len(), nodes.len());
        let (least, most) = (count.values().min(), count.values().max());
        assert!(least >= Some(&400) && most <= Some(&600), "{least:?} to {most:?} of 500");
    }

    #[test]
    fn a_node_that_goes_changes_nothing_but_its_own() {
        let all = nodes(20);
        for service in (0..1_000).map(ServiceId) {
            let before = steward(service, all.iter().copied());
            let after = steward(service, all[1..].iter().copied());
            assert!(before == after || before == Some(all[0]), "{service:?}");
        }
    }
}
