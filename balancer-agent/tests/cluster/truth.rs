//! What is true: who has how many connections, and what everybody should know of it.

use std::net::Ipv4Addr;

use balancer_agent::{
    desired::BackendAddr,
    model::Protocol,
    peers::{
        name::{NodeId, ServiceId},
        own::{Row, RowBackend},
    },
};

/// Nodes and backends at most.
pub(crate) const NODES: usize = 6;
pub(crate) const BACKENDS: usize = 6;
/// All nodes: one bit each.
pub(crate) const EVERYBODY: u8 = (1 << NODES) - 1;
/// The backends of each Service when all are in its row. Two Services share some.
pub(crate) const SERVICES: [&[usize]; 3] = [&[0, 1, 2], &[2, 3, 4], &[5]];

/// Open connections of a node to a backend, and those ever opened.
pub(crate) type Counters = [(u32, u64); BACKENDS];

pub(crate) fn node(index: usize) -> NodeId {
    NodeId::of(&format!("worker-{index}"))
}

pub(crate) fn service(index: usize) -> ServiceId {
    ServiceId(7 + index as u64)
}

pub(crate) fn addr(backend: usize) -> BackendAddr {
    let ip = Ipv4Addr::new(10, 0, 0, 1 + backend as u8);
    BackendAddr::new((ip, 80).into(), Protocol::Tcp)
}

/// The identifier of a backend in the maps of a node; each node has its own.
pub(crate) fn identifier(node: usize, backend: usize) -> u32 {
    (1 + (backend + node) % BACKENDS) as u32
}

/// The backend that has an identifier in the maps of a node.
pub(crate) fn backend(node: usize, identifier: u32) -> usize {
    (identifier as usize + BACKENDS * NODES - 1 - node) % BACKENDS
}

/// Which backends each Service has: one bit each.
pub(crate) type Shape = [u8; SERVICES.len()];

/// All of them.
pub(crate) fn whole() -> Shape {
    SERVICES.map(|backends| backends.iter().fold(0, |bits, backend| bits | (1 << backend)))
}

/// The rows of a node. A Service without backends has none.
pub(crate) fn rows(node: usize, shape: Shape) -> Vec<Row> {
    let row = |(index, bits): (usize, u8)| {
        let backend =
            |backend| RowBackend { id: identifier(node, backend), addr: addr(backend), weight: 1 };
        let backends: Vec<_> =
            (0..BACKENDS).filter(|backend| bits & (1 << backend) != 0).map(backend).collect();
        let id = 1 + index as u32;
        Some(Row { id, service: service(index), weighted: false, backends })
            .filter(|row| !row.backends.is_empty())
    };
    shape.into_iter().enumerate().filter_map(row).collect()
}
