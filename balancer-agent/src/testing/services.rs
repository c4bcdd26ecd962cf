//! Service ports as they are desired, in a few words, for what is planned.

use std::{net::SocketAddr, sync::Arc};

use balancer_common::layout::FrontendKind;

use crate::{
    desired::{
        BackendAddr, Desired, DesiredPort, Elsewhere, FrontendAddr, Options, PortId,
        backends::{Backends, Details},
    },
    maps::{
        Limits,
        identity::{Family, RowId, Scope},
    },
    model::{
        Endpoint, EndpointPort, EndpointSlice, ObjectRef, Protocol, Service, ServicePort,
        TrafficPolicy, Tuning,
    },
};

pub(crate) const LIMITS: Limits = Limits { services: 16, frontends: 64, backends: 64, slots: 256 };

pub(crate) fn port_id(name: &str) -> PortId {
    let service = ObjectRef { namespace: "shop".into(), name: name.into() };
    PortId { service, port: String::new(), protocol: Protocol::Tcp }
}

pub(crate) fn row_id(name: &str) -> RowId {
    RowId { port: port_id(name), family: Family::V4, scope: Scope::Internal }
}

pub(crate) fn frontend(last: u8) -> FrontendAddr {
    FrontendAddr {
        kind: FrontendKind::ClusterIp,
        addr: SocketAddr::from(([10, 96, 0, last], 80)),
        protocol: Protocol::Tcp,
    }
}

pub(crate) fn backend(last: u8) -> BackendAddr {
    BackendAddr::new(SocketAddr::from(([10, 0, 0, last], 80)), Protocol::Tcp)
}

pub(crate) fn port(vips: &[u8], backends: &[u8]) -> DesiredPort {
    let place = Default::default();
    let details = Details { place, terminating: false, usable: true, serving: true, weight: 1 };
    DesiredPort {
        at_nodes: None,
        outside: None,
        local: false,
        elsewhere: Elsewhere::default(),
        external: None,
        options: Options::default(),
        moving: Default::default(),
        requests_only: false,
        source_ranges: Vec::new(),
        number: 80,
        frontends: vips.iter().map(|last| frontend(*last)).collect(),
        backends: backends
            .iter()
            .map(|last| (backend(*last), details.clone()))
            .collect::<Backends>(),
    }
}

pub(crate) fn desired(ports: &[(&str, &[u8], &[u8])]) -> Desired {
    let ports = ports.iter().map(|(name, vips, backends)| (port_id(name), port(vips, backends)));
    Desired { ports: ports.collect(), ..Desired::default() }
}

/// A Service of one address and port.
pub(crate) fn service(vip: u8) -> Service {
    Service {
        id: ObjectRef { namespace: "shop".into(), name: format!("s{vip}") },
        uid: Box::default(),
        cluster_ips: vec![[10, 96, 0, vip].into()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        session_affinity: None,
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            node_port: None,
            requests_only: false,
            protocol: Protocol::Tcp,
        }],
        tuning: Tuning::default(),
    }
}

/// Its endpoints, by their last bytes.
pub(crate) fn endpoint_slice(vip: u8, endpoints: &[u8]) -> EndpointSlice {
    let service = service(vip).id;
    let endpoint = |last: &u8| Endpoint {
        address: [10, 0, 0, *last].into(),
        ready: true,
        serving: true,
        terminating: false,
        place: Arc::default(),
        pod: None,
        hints: None,
    };
    EndpointSlice {
        service: service.name.clone(),
        id: service,
        triggered: None,
        ports: vec![EndpointPort { name: String::new(), port: 80, protocol: Protocol::Tcp }],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}
