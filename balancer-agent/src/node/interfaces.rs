//! The interfaces of this thread's network namespace.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Each address of each interface, with the name of that. None where the kernel can't be asked.
pub fn all() -> impl Iterator<Item = (String, IpAddr)> {
    let named = |found: nix::ifaddrs::InterfaceAddress| {
        let address = found.address?;
        let ipv4 = address.as_sockaddr_in().map(|found| SocketAddr::from(*found));
        let found_at = ipv4.or_else(|| address.as_sockaddr_in6().map(|found| (*found).into()))?;
        Some((found.interface_name, found_at.ip()))
    };
    getifaddrs().into_iter().flatten().filter_map(named)
}

/// The addresses of all interfaces, without those of a link, which mean nothing without it.
pub fn addresses() -> Vec<IpAddr> {
    let is_global = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    all().map(|(_, ip)| ip).filter(is_global).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_among_them() {
        assert!(addresses().iter().any(IpAddr::is_loopback));
        let named: Vec<_> = all().filter(|(_, ip)| ip.is_loopback()).collect();
        assert!(named.iter().any(|(name, _)| name == "lo"), "{named:?}");
    }
}
