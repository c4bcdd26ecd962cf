//! Addresses at which node ports are captured beside those of the Node object of this node: of other
//! nodes, of the loopback, of interfaces. Pure.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::node_ports::{NodePortAddresses, NodePorts};
use crate::model::State;

/// The loopback, where `--nodeport-addresses` has it.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Addresses of nodes that have no frontends of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Addresses of other nodes, and the name of each.
    pub others: BTreeMap<IpAddr, Box<str>>,
    /// The same by the name of the node.
    by_name: BTreeMap<Box<str>, Vec<IpAddr>>,
    /// Addresses of the loopback, which are those of the node in its own network alone.
    pub loopback: Vec<IpAddr>,
    /// True where every address counts that an interface of this node has.
    pub interfaces: bool,
}

impl Nodes {
    /// What a state and the configuration say.
    pub fn of(state: &State, rule: &NodePorts) -> Self {
        let NodePorts { addresses, localhost, .. } = rule;
        let is_loopback = |ip: &IpAddr| *localhost || addresses.has(*ip);
        let others = others(state, rule);
        let mut by_name: BTreeMap<Box<str>, Vec<IpAddr>> = BTreeMap::new();
        for (ip, name) in &others {
            by_name.entry(name.clone()).or_default().push(*ip);
        }
        Self {
            others,
            by_name,
            loopback: LOOPBACK.into_iter().filter(is_loopback).collect(),
            interfaces: *addresses == NodePortAddresses::All,
        }
    }

    /// True if node ports are captured nowhere else.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.loopback.is_empty() && !self.interfaces
    }

    /// The addresses of another node.
    pub fn addresses_of(&self, node: &str) -> &[IpAddr] {
        self.by_name.get(node).map_or(&[], Vec::as_slice)
    }
}

/// The addresses of the other agents, which have the network of their node, by its name.
fn others(state: &State, rule: &NodePorts) -> BTreeMap<IpAddr, Box<str>> {
    let peers = rule.peers.as_ref().filter(|peers| state.headless.services.contains(*peers));
    let slices = peers.into_iter().flat_map(|peers| {
        let headless = state.headless.slices.of(peers);
        // Slices that are not labelled so are kept with those of other Services.
        headless.chain(state.slices.of(peers))
    });
    let own = state.node.as_ref();
    let is_own = |node: &str, ip: IpAddr| {
        own.is_some_and(|own| own.name == node || own.addresses.contains(&ip))
    };
    let other = |endpoint: &crate::model::Endpoint| {
        let (node, ip) = (endpoint.place.node.as_deref()?, endpoint.address);
        let counts = !is_own(node, ip) && rule.addresses.may_have(ip);
        counts.then(|| (ip, node.into()))
    };
    slices.flat_map(|slice| &slice.endpoints).filter_map(other).collect()
}
