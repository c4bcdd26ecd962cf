//! Between plain types and the types of the maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use balancer_common::layout::{
    Backend, Client, Frontend, FrontendKey4, FrontendKey6, FrontendKind, LABEL, Place, RESTRICTED,
    RangeKey, SELF_TEST as FRONTEND_SELF_TEST, ServiceName, UDP, is_mapped, mapped,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    FrontendKey, RangeEntry,
    identity::{Family, RowId, Scope},
};
use crate::{
    desired::{BackendAddr, FrontendAddr, PortId},
    model::{ObjectRef, Protocol},
};

/// What the agent dials to see that the programs run. Of the host itself; a number nobody has a reason to
/// use.
pub const SELF_TEST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 66, 76, 82), 1);

/// The key of a frontend, and its value.
pub fn frontend(frontend: FrontendAddr, service: u32, restricted: bool) -> (FrontendKey, Frontend) {
    let (port, protocol) = (frontend.addr.port().to_be(), frontend.protocol.number());
    let place = frontend.place();
    let is_exact = place == Place::Exact;
    let place = place as u8;
    let key = match frontend.addr.ip() {
        IpAddr::V4(ip) => {
            let addr = if is_exact { u32::from_ne_bytes(ip.octets()) } else { 0 };
            FrontendKey::V4(FrontendKey4 { addr, port, protocol, place })
        }
        IpAddr::V6(ip) => {
            let addr = if is_exact { words(ip) } else { [0; 4] };
            FrontendKey::V6(FrontendKey6 { addr, port, protocol, place })
        }
    };
    let kind = frontend.kind as u32 | if restricted { RESTRICTED } else { 0 };
    (key, Frontend { service, kind })
}

/// The inverse of [`frontend`]. `None` where the map holds what no agent of this version wrote.
pub fn frontend_addr(key: FrontendKey, value: Frontend) -> Option<FrontendAddr> {
    Some(FrontendAddr { kind: FrontendKind::from_raw(value.kind)?, ..frontend_key(key)? })
}

/// What a key stands for, of any kind. `None` where no agent of this version wrote it.
pub fn frontend_key(key: FrontendKey) -> Option<FrontendAddr> {
    let (ip, port, protocol, place): (IpAddr, _, _, _) = match key {
        FrontendKey::V4(key) => {
            (Ipv4Addr::from(key.addr.to_ne_bytes()).into(), key.port, key.protocol, key.place)
        }
        FrontendKey::V6(key) => (ipv6(key.addr).into(), key.port, key.protocol, key.place),
    };
    let protocol = Protocol::from_number(protocol)?;
    let ip = match Place::from_raw(place)? {
        Place::Exact => ip,
        place if ip.is_unspecified() => FrontendAddr::anywhere(place, ip.is_ipv4()),
        _ => return None,
    };
    let addr = SocketAddr::new(ip, u16::from_be(port));
    let frontend = FrontendAddr { kind: FrontendKind::ClusterIp, addr, protocol };
    (frontend.place() as u8 == place).then_some(frontend)
}

/// True of the one frontend that is no Service's but the agent's own.
pub fn is_self_test(key: FrontendKey, value: Frontend) -> bool {
    value.kind == RESTRICTED | FRONTEND_SELF_TEST && key == self_test(0).0
}

/// That frontend: sockets of UDP that dial [`SELF_TEST`] are led to a port of 127.0.0.1.
pub fn self_test(port: u16) -> (FrontendKey, Frontend) {
    let dialled = FrontendKey4 {
        addr: u32::from_ne_bytes(SELF_TEST.ip().octets()),
        port: SELF_TEST.port().to_be(),
        protocol: UDP,
        place: Place::Exact as u8,
    };
    let kind = RESTRICTED | FRONTEND_SELF_TEST;
    (FrontendKey::V4(dialled), Frontend { service: u32::from(port.to_be()), kind })
}

/// The address words, port and protocol of a backend, as its map holds them.
pub fn backend(backend: BackendAddr) -> ([u32; 4], u16, u8) {
    (address(backend.addr().ip()), backend.addr().port().to_be(), backend.protocol.number())
}

/// The inverse of [`backend`]. `None` for an entry that is not in use.
pub fn backend_addr(entry: &Backend) -> Option<BackendAddr> {
    if entry.in_use == 0 {
        return None;
    }
    let addr = socket_addr(entry.addr, entry.port);
    Some(BackendAddr::new(addr, Protocol::from_number(entry.protocol)?))
}

/// An address of the maps and a port in network byte order; never one of IPv4 within IPv6.
pub fn socket_addr(addr: [u32; 4], port: u16) -> SocketAddr {
    SocketAddr::new(ipv6(addr).to_canonical(), u16::from_be(port))
}

/// The name of a row as its map holds it.
pub fn name(row: &RowId, number: u16) -> ServiceName {
    let RowId { port, family, scope } = row;
    ServiceName {
        namespace: label(&port.service.namespace),
        name: label(&port.service.name),
        port_name: label(&port.port),
        port: number,
        protocol: port.protocol.number(),
        family: family.version(),
        scope: match scope {
            Scope::Internal => 0,
            Scope::External => 1,
            Scope::NoNode => 2,
            Scope::Node(_) => 3,
            Scope::Outside => 4,
        },
        zero: [0; 3],
        node: if let Scope::Node(ip) = scope { address(*ip) } else { [0; 4] },
    }
}

/// The inverse of [`name`]. `None` where the map holds what no agent of this version wrote.
pub fn row_id(name: &ServiceName) -> Option<RowId> {
    let port = PortId {
        service: ObjectRef { namespace: text(&name.namespace)?, name: text(&name.name)? },
        port: text(&name.port_name)?,
        protocol: Protocol::from_number(name.protocol)?,
    };
    let scope = match name.scope {
        0 => Scope::Internal,
        1 => Scope::External,
        2 => Scope::NoNode,
        3 => Scope::Node(ipv6(name.node).to_canonical()),
        4 => Scope::Outside,
        _ => return None,
    };
    Some(RowId { port, family: Family::from_version(name.family)?, scope })
}

/// An address as the maps have it, IPv4 mapped into IPv6.
pub fn address(ip: IpAddr) -> [u32; 4] {
    match ip {
        IpAddr::V4(ip) => mapped(u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => words(ip),
    }
}

/// A source range as its map has it.
pub fn range(service: u32, range: IpNet) -> RangeEntry {
    let (addr, bits) = match range {
        IpNet::V4(net) => {
            (mapped(u32::from_ne_bytes(net.network().octets())), 96 + u32::from(net.prefix_len()))
        }
        IpNet::V6(net) => (words(net.network()), u32::from(net.prefix_len())),
    };
    RangeEntry { bits: 32 + bits, key: RangeKey { service: service.to_be_bytes(), addr } }
}

/// The inverse of [`range`]. `None` where the map holds what no agent of this version wrote.
pub fn range_of(RangeEntry { bits, key }: RangeEntry) -> Option<(u32, IpNet)> {
    let bits = u8::try_from(bits.checked_sub(32)?).ok()?;
    let net: IpNet = if is_mapped(key.addr) && bits >= 96 {
        let ip = Ipv4Addr::from(key.addr[3].to_ne_bytes());
        Ipv4Net::new(ip, bits - 96).ok()?.into()
    } else {
        Ipv6Net::new(ipv6(key.addr), bits).ok()?.into()
    };
    // What lies behind the prefix is never compared.
    Some((u32::from_be_bytes(key.service), net.trunc()))
}

/// The addresses of a network namespace: the first of each family.
pub fn client(addresses: &[IpAddr]) -> Client {
    let mut client = Client::default();
    for address in addresses {
        match address {
            IpAddr::V4(ip) if client.ipv4 == [0; 4] => {
                client.ipv4 = mapped(u32::from_ne_bytes(ip.octets()));
            }
            IpAddr::V6(ip) if client.ipv6 == [0; 4] => client.ipv6 = words(*ip),
            _ => {}
        }
    }
    client
}

/// The same back.
pub fn client_addresses(client: &Client) -> Vec<IpAddr> {
    let given = [client.ipv4, client.ipv6].into_iter().filter(|words| *words != [0; 4]);
    given.map(|words| ipv6(words).to_canonical()).collect()
}

fn words(ip: Ipv6Addr) -> [u32; 4] {
    let o = ip.octets();
    [0, 4, 8, 12].map(|i| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]))
}

fn ipv6(words: [u32; 4]) -> Ipv6Addr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    octets.into()
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
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn clients_survive_the_way_to_the_maps_and_back() {
        for addresses in [vec![], vec!["10.1.2.3"], vec!["fd00::1"], vec!["10.1.2.3", "fd00::1"]] {
            let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(client_addresses(&client(&addresses)), addresses);
        }
    }

    #[test]
    fn addresses_survive_the_way_to_the_maps_and_back() {
        for addr in ["10.1.2.3:8080", "[fd00::1]:53"] {
            let addr = BackendAddr::new(addr.parse().unwrap(), Protocol::Tcp);
            let (words, port, protocol) = backend(addr);
            let entry = Backend { addr: words, port, protocol, in_use: 1, ..Backend::default() };
            assert_eq!(backend_addr(&entry), Some(addr));
        }
    }

    #[test]
    fn a_frontend_key_is_in_network_byte_order() {
        let table: [(&str, &[u8]); 2] = [
            ("10.96.0.1:80", &[10, 96, 0, 1, 0, 80, 6, 0]),
            ("[fd00::a]:80", &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 80, 6, 0]),
        ];
        for (addr, bytes) in table {
            let kind = FrontendKind::ClusterIp;
            let addr = FrontendAddr { kind, addr: addr.parse().unwrap(), protocol: Protocol::Tcp };
            let (key, value) = frontend(addr, 7, false);
            let found = match &key {
                FrontendKey::V4(key) => key.as_bytes(),
                FrontendKey::V6(key) => key.as_bytes(),
            };
            assert_eq!(found, bytes, "{addr:?}");
            assert_eq!(frontend_addr(key, value), Some(addr));
        }
    }

    #[test]
    fn names_survive_the_way_to_the_maps_and_back() {
        for family in Family::ALL {
            let port = PortId {
                service: ObjectRef { namespace: "n".repeat(63), name: "web".into() },
                port: String::new(),
                protocol: Protocol::Tcp,
            };
            let node = |ip: &str| Scope::Node(ip.parse().unwrap());
            let scopes = [Scope::Outside, Scope::Internal, Scope::External, Scope::NoNode];
            for scope in scopes.into_iter().chain(["192.0.2.1", "fd00::1"].map(node)) {
                let row = RowId { port: port.clone(), family, scope };
                assert_eq!(row_id(&name(&row, 80)), Some(row));
            }
        }
    }

    #[test]
    fn ranges_survive_the_way_to_the_maps_and_back() {
        for net in ["10.1.0.0/16", "0.0.0.0/0", "10.1.2.3/32", "fd00::/8", "::/0", "fd00::1/128"] {
            let net: IpNet = net.parse().unwrap();
            assert_eq!(range_of(range(9, net)), Some((9, net)));
        }
    }

    #[test]
    fn a_client_has_an_address_of_each_family() {
        let addresses = ["fd00::1", "10.1.2.3", "10.1.2.4"].map(|ip| ip.parse().unwrap());
        let found = client(&addresses);
        assert_eq!(found.ipv4.as_bytes()[12..], [10, 1, 2, 3]);
        assert_eq!(found.ipv6.as_bytes()[15], 1);
        assert_eq!(client(&[]), Client::default());
    }
}
