//! Text to addresses that a packet can be sent to.

use std::net::IpAddr;

use super::object::Fault;

/// A unicast address; an IPv4 address in IPv6 clothes is an IPv4 address.
pub fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?.to_canonical();
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// The usable ones of several addresses, each of them once.
pub fn addresses<'a>(
    found: impl Iterator<Item = (String, &'a str)>,
    faults: &mut Vec<Fault>,
) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for (field, text) in found {
        match address(text) {
            Some(ip) if ips.contains(&ip) => faults.push(Fault::new(
                field,
                format!("{text} is there twice and counts once: remove this one"),
            )),
            Some(ip) => ips.push(ip),
            None => faults.push(Fault::new(
                field,
                format!("{text:?} is no IP address: it is left out, the rest stands; mend it"),
            )),
        }
    }
    ips
}
