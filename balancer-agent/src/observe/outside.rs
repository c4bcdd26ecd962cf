//! Connections from outside of the node, as the entries of their map tell.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use balancer_common::layout::{
    CLIENT_ENDED, FrontendKind, OutsideFlow, OutsideKey, SERVER_ENDED, TCP,
};

use crate::{
    desired::{FrontendAddr, PortId},
    maps::{MapsError, OutsideCharges, ReadMaps, convert},
    model::Protocol,
    moves::ask::address,
    view::{ConnectionView, OutsideView, PortView, Wanted},
};

/// The TCP connections from outside that are wanted, of these Service ports, so many at most. One whose
/// address is of no Service any more is left out.
pub fn outside(
    maps: &(impl ReadMaps + OutsideCharges),
    ports: &BTreeMap<u32, (PortId, u16)>,
    wanted: &Wanted,
    room: usize,
    now: Duration,
) -> Result<Vec<ConnectionView>, MapsError> {
    // No pod of this node has them.
    if wanted.pod.is_some() {
        return Ok(Vec::new());
    }
    let mut services: HashMap<SocketAddr, Option<u32>> = HashMap::new();
    let mut views = Vec::new();
    let (mut some, mut from) = (Vec::new(), None);
    loop {
        some.clear();
        from = maps.read_outside(from, &mut some)?;
        for (key, flow) in some.iter().filter(|(key, _)| key.protocol == TCP) {
            let dialled = convert::socket_addr(key.service, key.service_port);
            let service = match services.get(&dialled) {
                Some(service) => *service,
                None => {
                    let service = service_of(maps, dialled)?;
                    services.insert(dialled, service);
                    service
                }
            };
            let port = service.and_then(|service| ports.get(&service));
            let backend = address(maps, flow.backend).filter(|found| wanted.takes_backend(*found));
            if let (Some((port, number)), Some(backend)) = (port, backend) {
                views.push(view(key, flow, port, *number, dialled, backend, now));
            }
            if views.len() >= room {
                return Ok(views);
            }
        }
        if from.is_none() {
            return Ok(views);
        }
    }
}

/// The Service port that an address leads to.
fn service_of(maps: &impl ReadMaps, dialled: SocketAddr) -> Result<Option<u32>, MapsError> {
    // The key is the same whatever the kind is.
    let kind = FrontendKind::ClusterIp;
    let (key, _) =
        convert::frontend(FrontendAddr { kind, addr: dialled, protocol: Protocol::Tcp }, 0, false);
    Ok(maps.frontend(key)?.map(|frontend| frontend.service))
}

fn view(
    key: &OutsideKey,
    flow: &OutsideFlow,
    port: &PortId,
    number: u16,
    dialled: SocketAddr,
    backend: SocketAddr,
    now: Duration,
) -> ConnectionView {
    let state = match flow.ended {
        0 => "open",
        SERVER_ENDED => "half-closed",
        CLIENT_ENDED => "closing",
        _ => "other",
    };
    ConnectionView {
        namespace: port.service.namespace.clone(),
        service: port.service.name.clone(),
        service_port: PortView { name: port.port.clone(), number, protocol: port.protocol },
        backend: backend.into(),
        client: convert::socket_addr(key.client, key.client_port).into(),
        pod: None,
        outside: Some(OutsideView { dialled: dialled.into(), state: state.to_owned() }),
        pid: None,
        command: None,
        age_ms: now.saturating_sub(Duration::from_nanos(flow.since)).as_millis() as u64,
        ended_ms: None,
        activity: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        maps::{WriteMaps as _, in_memory::InMemoryMaps},
        testing::services::{LIMITS, backend, frontend, port_id},
    };

    #[test]
    fn no_more_is_read_than_there_is_room_for() {
        let mut maps = InMemoryMaps::new(LIMITS);
        let dialled = frontend(1);
        let (key, value) = convert::frontend(dialled, 3, false);
        maps.put_frontend(key, value).unwrap();
        let (addr, port, protocol) = convert::backend(backend(7));
        maps.put_backend(5, addr, port, protocol);
        let flow = |client_port: u16| {
            let key = OutsideKey {
                client: convert::address([192, 0, 2, 1].into()),
                service: convert::address(dialled.addr.ip()),
                client_port: client_port.to_be(),
                service_port: dialled.addr.port().to_be(),
                protocol: TCP,
                zero: [0; 3],
            };
            (key, OutsideFlow { backend: 5, ..OutsideFlow::default() })
        };
        maps.outside = vec![vec![flow(1), flow(2)], vec![flow(3)]];
        let ports = [(3, (port_id("web"), 80))].into();
        let list = |room| {
            let views = outside(&maps, &ports, &Wanted::default(), room, Duration::ZERO);
            views.map(|views| views.len()).ok()
        };
        assert_eq!([1, 2, 3, 4].map(list), [Some(1), Some(2), Some(3), Some(3)]);
        // The second part can't be read.
        for (room, found) in [(2, Some(2)), (3, None)] {
            maps.reads_fail_in(2);
            assert_eq!(list(room), found);
        }
    }
}
