//! Between plain types and the types of the maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use balancer_common::layout::{
    Backend, Frontend, FrontendKey4, FrontendKind, LABEL, ServiceName, mapped,
};

use crate::{
    desired::{BackendAddr, FrontendAddr, PortId},
    model::{ObjectRef, Protocol},
};

/// The key of a frontend, and its value. `None` for an IPv6 address.
pub fn frontend(frontend: FrontendAddr, service: u32) -> Option<(FrontendKey4, Frontend)> {
    let IpAddr::V4(ip) = frontend.addr.ip() else { return None };
    let key = FrontendKey4 {
        addr: u32::from_ne_bytes(ip.octets()),
        port: frontend.addr.port().to_be(),
        protocol: frontend.protocol.number(),
        zero: 0,
    };
    Some((key, Frontend { service, kind: frontend.kind as u32 }))
}

/// The inverse of [`frontend`]. `None` where the map holds what no agent of this version wrote.
pub fn frontend_addr(key: FrontendKey4, value: Frontend) -> Option<FrontendAddr> {
    Some(FrontendAddr {
        kind: FrontendKind::from_raw(value.kind)?,
        addr: SocketAddr::new(
            Ipv4Addr::from(key.addr.to_ne_bytes()).into(),
            u16::from_be(key.port),
        ),
        protocol: Protocol::from_number(key.protocol)?,
    })
}

/// The address words, port and protocol of a backend, as its map holds them.
pub fn backend(backend: BackendAddr) -> ([u32; 4], u16, u8) {
    let words = match backend.addr.ip() {
        IpAddr::V4(ip) => mapped(u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => {
            let o = ip.octets();
            [0, 4, 8, 12].map(|i| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]))
        }
    };
    (words, backend.addr.port().to_be(), backend.protocol.number())
}

/// The inverse of [`backend`]. `None` for an entry that is not in use.
pub fn backend_addr(entry: &Backend) -> Option<BackendAddr> {
    if entry.in_use == 0 {
        return None;
    }
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(entry.addr) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = Ipv6Addr::from(octets).to_canonical();
    Some(BackendAddr {
        addr: SocketAddr::new(ip, u16::from_be(entry.port)),
        protocol: Protocol::from_number(entry.protocol)?,
    })
}

/// The name of a Service port as its map holds it.
pub fn name(port: &PortId, number: u16) -> ServiceName {
    ServiceName {
        namespace: label(&port.service.namespace),
        name: label(&port.service.name),
        port_name: label(&port.port),
        port: number,
        protocol: port.protocol.number(),
        zero: 0,
    }
}

/// The inverse of [`name`]. `None` where the map holds what no agent of this version wrote.
pub fn port_id(name: &ServiceName) -> Option<PortId> {
    Some(PortId {
        service: ObjectRef { namespace: text(&name.namespace)?, name: text(&name.name)? },
        port: text(&name.port_name)?,
        protocol: Protocol::from_number(name.protocol)?,
    })
}

/// Kubernetes names of these kinds have at most 63 bytes; what is longer is cut.
fn label(text: &str) -> [u8; LABEL] {
    let mut bytes = [0; LABEL];
    let len = text.len().min(LABEL - 1);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}

fn text(label: &[u8; LABEL]) -> Option<String> {
    let end = label.iter().position(|byte| *byte == 0)?;
    String::from_utf8(label[..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_maps_and_back() {
        for addr in ["10.1.2.3:8080", "[fd00::1]:53"] {
            let addr = BackendAddr { addr: addr.parse().unwrap(), protocol: Protocol::Tcp };
            let (words, port, protocol) = backend(addr);
            let entry = Backend { addr: words, port, protocol, in_use: 1, ..Backend::default() };
            assert_eq!(backend_addr(&entry), Some(addr));
        }
    }

    #[test]
    fn a_frontend_key_is_in_network_byte_order() {
        let addr = "10.96.0.1:80".parse().unwrap();
        let kind = FrontendKind::ClusterIp;
        let addr = FrontendAddr { kind, addr, protocol: Protocol::Tcp };
        let (key, value) = frontend(addr, 7).expect("IPv4");
        assert_eq!(key.addr.to_ne_bytes(), [10, 96, 0, 1]);
        assert_eq!(key.port.to_ne_bytes(), [0, 80]);
        assert_eq!(frontend_addr(key, value), Some(addr));
    }

    #[test]
    fn names_survive_the_way_to_the_maps_and_back() {
        let port = PortId {
            service: ObjectRef { namespace: "n".repeat(63), name: "web".into() },
            port: String::new(),
            protocol: Protocol::Tcp,
        };
        assert_eq!(port_id(&name(&port, 80)), Some(port));
    }
}
