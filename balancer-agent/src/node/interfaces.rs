//! The interfaces of this thread's network namespace.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The addresses of all interfaces, without those of a link, which mean nothing without it. None where
/// the kernel can't be asked.
pub fn addresses() -> Vec<IpAddr> {
    let address = |found: nix::ifaddrs::InterfaceAddress| {
        let address = found.address?;
        let ipv4 = address.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
        ipv4.or_else(|| address.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip())))
    };
    let is_global = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    getifaddrs().into_iter().flatten().filter_map(address).filter(is_global).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_among_them() {
        assert!(addresses().iter().any(IpAddr::is_loopback));
    }
}
