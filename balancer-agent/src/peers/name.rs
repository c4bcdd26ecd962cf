//! Nodes and Service ports, as datagrams name them: 64 bits of a SHA-256, the same on every node
//! and in every version.

use ring::digest::{Context, SHA256};

use crate::{desired::PortId, maps::identity::Family};

/// A node, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The node of that name.
    pub fn of(name: &str) -> Self {
        Self(hash(&[b"node", name.as_bytes()]))
    }
}

/// A Service port in one family of addresses: what a node counts for by itself, whatever rows it
/// has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u64);

impl ServiceId {
    /// The Service port in that family.
    pub fn of(port: &PortId, family: Family) -> Self {
        Self(hash(&[
            b"service",
            port.service.namespace.as_bytes(),
            port.service.name.as_bytes(),
            port.port.as_bytes(),
            &[port.protocol.number(), family.version()],
        ]))
    }
}

/// The parts are told apart by their lengths.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ObjectRef, Protocol};

    fn port(namespace: &str, name: &str, port: &str, protocol: Protocol) -> PortId {
        let service = ObjectRef { namespace: namespace.into(), name: name.into() };
        PortId { service, port: port.into(), protocol }
    }

    #[test]
    fn every_part_of_a_name_counts() {
        let web = port("shop", "web", "http", Protocol::Tcp);
        let id = ServiceId::of(&web, Family::V4);
        assert_eq!(ServiceId::of(&web.clone(), Family::V4), id);
        for other in [
            port("sho", "pweb", "http", Protocol::Tcp),
            port("shop", "webh", "ttp", Protocol::Tcp),
            port("shop", "web", "http", Protocol::Udp),
        ] {
            assert_ne!(ServiceId::of(&other, Family::V4), id, "{other}");
        }
        assert_ne!(ServiceId::of(&web, Family::V6), id);
    }

    /// Agents of two versions must agree.
    #[test]
    fn names_never_change() {
        assert_eq!(NodeId::of("worker-1"), NodeId(0x9722_4f22_a994_c227));
        let web = port("shop", "web", "http", Protocol::Tcp);
        assert_eq!(ServiceId::of(&web, Family::V4), ServiceId(0x7b3a_3fe9_296b_ee3f));
    }
}
