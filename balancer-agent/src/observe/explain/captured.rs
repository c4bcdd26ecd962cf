//! What is captured where somebody dials.

use balancer_common::layout::{Frontend, Place};

use super::{Client, networks};
use crate::{
    desired::FrontendAddr,
    maps::{FrontendKey, MapsError, ReadChoice, convert},
};

/// A frontend, as the programs find it.
pub struct Captured {
    pub key: FrontendKey,
    pub frontend: Frontend,
    /// True where it is captured in the network of the node alone: the loopback.
    pub on_node_alone: bool,
}

/// The frontend of the very address, or else of the node port where the address is one of a node: as
/// `balancer-ebpf/src/node_ports.rs` looks for it.
pub fn captured(
    maps: &impl ReadChoice,
    dialled: FrontendAddr,
    client: Option<&Client>,
) -> Result<Option<Captured>, MapsError> {
    let at = |dialled: FrontendAddr, on_node_alone: bool| {
        let (key, _) = convert::frontend(dialled, 0, false);
        let found = |frontend| Captured { key, frontend, on_node_alone };
        Ok(maps.frontend(key)?.map(found))
    };
    if let Some(exact) = at(dialled, false)? {
        return Ok(Some(exact));
    }
    let Some(node) = maps.node(dialled.addr.ip())? else { return Ok(None) };
    if node.netns != 0 && networks(maps, client)?.first().is_some_and(|netns| *netns != node.netns)
    {
        return Ok(None);
    }
    let is_other = node.place == Place::OtherNode as u32;
    let place = if is_other { Place::OtherNode } else { Place::ThisNode };
    let mut node_port = dialled;
    node_port.addr.set_ip(FrontendAddr::anywhere(place, dialled.addr.is_ipv4()));
    at(node_port, node.netns != 0)
}
