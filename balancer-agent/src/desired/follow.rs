//! What a change makes of what was desired before: only the Service ports that it may touch are computed
//! again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Desired, FrontendAddr, PortId, desired, desired_port, health_checks,
    node_ports::{NodePortAddresses, NodePorts},
    nodes::Nodes,
    pods, port_id,
};
use crate::model::{ObjectRef, Parts, Protocol, Service, State, TrafficPolicy};

impl Desired {
    /// Follows a state in which nothing differs but some parts. Returns the Service ports that may
    /// differ: those that are not there any more, too.
    pub fn follow(
        &mut self,
        state: &State,
        parts: &Parts,
        node_ports: &NodePorts,
    ) -> BTreeSet<PortId> {
        if node_ports.may_move(parts) && Nodes::of(state, node_ports) != self.nodes {
            let before = std::mem::replace(self, desired(state, node_ports));
            return before.ports.into_keys().chain(self.ports.keys().cloned()).collect();
        }
        let mut differ = BTreeSet::new();
        // Endpoints of these say at which nodes they have addresses.
        let local = parts.endpoints.iter().filter(|id| self.has_ports_at_nodes(state, id));
        let services: BTreeSet<_> = parts.services.iter().chain(local).cloned().collect();
        if !services.is_empty() {
            self.follow_services(state, &services, &node_ports.addresses, &mut differ);
        }
        // Those that have changed themselves are computed already.
        let others = parts.endpoints.difference(&services);
        for service in others.filter_map(|id| state.services.get(id)) {
            for port in &service.ports {
                let id = port_id(service, port);
                if let Some(known) = self.ports.get_mut(&id) {
                    let frontends = std::mem::take(&mut known.frontends);
                    *known = desired_port(service, port, frontends, state, &self.nodes);
                    differ.insert(id);
                }
            }
            health_checks::recount(&mut self.health_checks, service, state);
        }
        if !services.is_empty() {
            self.follow_health_checks(state, &services, &node_ports.addresses);
        }
        if parts.pods {
            self.pods = pods::pods(state);
        }
        differ
    }

    /// True if a Service has node ports at addresses of other nodes that depend on its endpoints.
    fn has_ports_at_nodes(&self, state: &State, service: &ObjectRef) -> bool {
        !self.nodes.others.is_empty()
            && state.services.get(service).is_some_and(|service| {
                service.external_traffic_policy == TrafficPolicy::Local
                    && service.ports.iter().any(|port| port.node_port.is_some())
            })
    }

    /// Follows a change of Services: theirs, and the addresses that others gain or lose by it.
    fn follow_services(
        &mut self,
        state: &State,
        services: &BTreeSet<ObjectRef>,
        node_ports: &NodePortAddresses,
        differ: &mut BTreeSet<PortId>,
    ) {
        let mut had = Vec::new();
        let ports: Vec<_> = services.iter().flat_map(|service| self.ports_of(service)).collect();
        for id in ports {
            if let Some(port) = self.ports.remove(&id) {
                had.extend(port.frontends.into_iter().map(|frontend| (id.clone(), frontend)));
            }
            differ.insert(id);
        }
        let node = state.node.as_ref();
        let (node_addresses, _) = node.map(|node| node_ports.of(node)).unwrap_or_default();
        let moved = self.addresses.change(state, &node_addresses, &self.nodes, services, &had);
        let mut given: BTreeMap<PortId, Vec<FrontendAddr>> = BTreeMap::new();
        for id in [&moved.lost, &moved.gained].into_iter().flatten().map(|(id, _)| id) {
            if let Some(port) = self.ports.remove(id) {
                given.insert(id.clone(), port.frontends);
            }
        }
        for (id, frontend) in moved.lost {
            given.entry(id).or_default().retain(|had| *had != frontend);
        }
        for (id, frontend) in moved.gained {
            given.entry(id).or_default().push(frontend);
        }
        for (id, mut frontends) in given {
            frontends.sort_unstable();
            frontends.shrink_to_fit();
            let service = state.services.get(&id.service);
            let port = service.and_then(|service| {
                let port = service.ports.iter().find(|port| port_id(service, port) == id)?;
                (!frontends.is_empty())
                    .then(|| desired_port(service, port, frontends, state, &self.nodes))
            });
            if let Some(port) = port {
                self.ports.insert(id.clone(), port);
            }
            differ.insert(id);
        }
    }

    /// Follows a change of Services in what load balancers ask for, and in what is told of all.
    fn follow_health_checks(
        &mut self,
        state: &State,
        services: &BTreeSet<ObjectRef>,
        node_ports: &NodePortAddresses,
    ) {
        let node = state.node.as_ref();
        let (node_addresses, unmatched) = node.map(|node| node_ports.of(node)).unwrap_or_default();
        let mut taken = self.clashes.clone();
        taken.retain(|clash| clash.field == health_checks::FIELD);
        let is_asked = |service: &Service| service.health_check_node_port.is_some();
        let were_asked = self.health_checks.by_port.values().map(|check| &check.service);
        let mut were_asked = were_asked.chain(taken.iter().map(|clash| &clash.service));
        // Most are asked for nowhere.
        if services.iter().filter_map(|id| state.services.get(id)).any(is_asked)
            || were_asked.any(|service| services.contains(service))
        {
            let mut known = std::mem::take(&mut self.health_checks);
            known.by_port.retain(|_, check| !services.contains(&check.service));
            (self.health_checks, taken) =
                health_checks::again(&known, state, node_ports, &node_addresses);
        }
        self.tell(unmatched, taken);
    }

    /// The ports of a Service.
    fn ports_of(&self, service: &ObjectRef) -> Vec<PortId> {
        // The least that a port of it may be.
        let service = service.clone();
        let first = PortId { service, port: String::new(), protocol: Protocol::Tcp };
        let from = self.ports.range(&first..).map(|(id, _)| id);
        from.take_while(|id| id.service == first.service).cloned().collect()
    }
}
