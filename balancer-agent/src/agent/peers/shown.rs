//! What is shown of the peers.

use super::Peers;
use crate::{
    desired::{BackendAddr, PortId},
    maps::identity::Family,
    model::ObjectRef,
    peers::{membership::Member, name::ServiceId},
    view::{CountsView, PeerView, ServiceView, TotalView},
};

impl Peers {
    /// Whose connections are counted.
    pub fn counts(&self) -> CountsView {
        let inner = self.inner();
        let now = self.now();
        let members = inner.membership.members.len().max(1) as u64;
        let Some(exchange) = &inner.exchange else {
            return CountsView { members, ..CountsView::alone("no peer key") };
        };
        let (node, traffic) = (exchange.node(), exchange.traffic());
        let alone = match node.nodes() {
            1 if members < 2 => Some("there is no other agent"),
            1 => Some("no peer is heard"),
            _ => None,
        };
        let rejected = exchange.rejected();
        CountsView {
            nodes: node.nodes() as u64,
            members,
            age_ms: node.age(now).map(|age| age.as_millis() as u64),
            alone: alone.map(str::to_owned),
            sent_total: traffic.sent,
            sent_bytes_total: traffic.sent_bytes,
            received_total: traffic.received,
            received_bytes_total: traffic.received_bytes,
            rejected: rejected
                .map(|(why, total)| TotalView { name: why.name().to_owned(), total })
                .collect(),
        }
    }

    /// Every peer, by the name of its node.
    pub fn list(&self) -> Vec<PeerView> {
        let inner = self.inner();
        let shown = inner.exchange.as_ref().map(|exchange| exchange.shown(self.now()));
        let own = inner.exchange.as_ref().map(|exchange| exchange.node().steward_of().0);
        let view = |(id, Member { node, addr }): (_, &Member)| {
            let mut view = PeerView {
                node: node.clone(),
                address: addr.ip(),
                port: addr.port(),
                this_node: *node == self.node,
                heard_ms: None,
                sent_total: 0,
                received_total: 0,
                rejected_total: 0,
                steward_of: None,
                reported: None,
                version: None,
            };
            if view.this_node {
                view.steward_of = own.map(|count| count as u64);
            }
            if let Some(shown) = shown.as_ref().and_then(|shown| shown.get(id)) {
                view.heard_ms = shown.seen.age.map(|age| age.as_millis() as u64);
                view.sent_total = shown.traffic.sent;
                view.received_total = shown.traffic.received;
                view.rejected_total = shown.rejected;
                view.steward_of = Some(shown.seen.steward_of as u64);
                view.reported = Some(shown.seen.reported);
                view.version = shown.version;
            }
            view
        };
        let mut peers: Vec<_> = inner.membership.members.iter().map(view).collect();
        peers.sort_by(|a, b| a.node.cmp(&b.node));
        peers
    }

    /// Adds what all nodes have to what this one has.
    pub fn complete(&self, services: &mut [ServiceView]) {
        let (inner, now) = (self.inner(), self.now());
        let Some(exchange) = &inner.exchange else { return };
        for service in services {
            let port = PortId {
                service: ObjectRef {
                    namespace: service.namespace.clone(),
                    name: service.name.clone(),
                },
                port: service.port.name.clone(),
                protocol: service.port.protocol,
            };
            let ids = Family::ALL.map(|family| (family, ServiceId::of(&port, family)));
            for backend in &mut service.backends {
                let family = Family::of(backend.address);
                let Some((_, id)) = ids.iter().find(|(found, _)| *found == family) else {
                    continue;
                };
                let addr = (backend.address, backend.port).into();
                let addr = BackendAddr::new(addr, service.port.protocol);
                backend.cluster_active = exchange.node().cluster(now, *id, &addr, backend.active);
            }
        }
    }
}
