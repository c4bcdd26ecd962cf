//! The devices that lead out of the node, in this thread's network namespace.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use nix::{
    ifaddrs::getifaddrs,
    net::if_::{if_indextoname, if_nametoindex},
};

/// Names of devices with a default route, or with one of these addresses; not the loopback.
pub fn uplinks(addresses: &[IpAddr]) -> BTreeSet<String> {
    let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let mut found = by_default4(&read("route").unwrap_or_default());
    found.extend(by_default6(&read("ipv6_route").unwrap_or_default()));
    for interface in getifaddrs().into_iter().flatten() {
        let ip = interface.address.as_ref().and_then(|address| {
            let ipv4 = address.as_sockaddr_in().map(|found| SocketAddr::from(*found));
            ipv4.or_else(|| address.as_sockaddr_in6().map(|found| SocketAddr::from(*found)))
        });
        if ip.is_some_and(|ip| addresses.contains(&ip.ip())) {
            found.insert(interface.interface_name);
        }
    }
    found.remove("lo");
    found
}

/// The number of a device; none where it is gone.
pub fn index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// The name of a device; none where it is gone.
pub fn name(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}

/// Devices with a default route in `/proc/net/route`: destination and mask are 0.
fn by_default4(text: &str) -> BTreeSet<String> {
    let default = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (name, destination, mask) = (fields.first()?, fields.get(1)?, fields.get(7)?);
        (*destination == "00000000" && *mask == "00000000").then(|| (*name).to_owned())
    };
    text.lines().filter_map(default).collect()
}

/// The same in `/proc/net/ipv6_route`: the prefix has no bit. The kernel lists a route that refuses
/// everything on the loopback.
fn by_default6(text: &str) -> BTreeSet<String> {
    let default = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (bits, name) = (fields.get(1)?, fields.last()?);
        (*bits == "00" && fields.first()?.bytes().all(|c| c == b'0')).then(|| (*name).to_owned())
    };
    text.lines().filter_map(default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_name_their_devices() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(by_default4(text), BTreeSet::from(["eth0".to_owned()]));
        let zero = "0".repeat(32);
        let text = format!(
            "fd000172001800000000000000000000 40 {zero} 00 {zero} 00000100 1 0 00000001     eth1\n\
             {zero} 00 {zero} 00 fd000172001800000000000000000001 00000400 1 0 00000003     eth0\n"
        );
        assert_eq!(by_default6(&text), BTreeSet::from(["eth0".to_owned()]));
    }
}
