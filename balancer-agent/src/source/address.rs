//! Text to addresses that a packet can be sent to.

use std::net::IpAddr;

use super::object::{Fault, Faults, quoted};

/// A unicast address; an IPv4 address in IPv6 clothes is an IPv4 address.
pub fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?.to_canonical();
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// Addresses of a list that are used: each is one more entry for each port of a Service.
const MOST: usize = 256;

/// The usable ones of several addresses, each of them once, [`MOST`] at most.
pub fn addresses<'a>(
    found: impl Iterator<Item = (String, &'a str)>,
    faults: &mut Faults,
) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for (field, text) in found {
        match address(text) {
            Some(ip) if ips.contains(&ip) => faults.push_with(|| {
                Fault::new(field, format!("{text} is there twice and counts once: remove this one"))
            }),
            Some(_) if ips.len() == MOST => faults.push_with(|| {
                Fault::new(
                    field,
                    format!(
                        "only the first {MOST} addresses count: this one is left out; use fewer"
                    ),
                )
            }),
            Some(ip) => ips.push(ip),
            None => faults.push_with(|| {
                Fault::new(
                    field,
                    format!(
                        "{text} is no IP address: it is left out, the rest stands; mend it",
                        text = quoted(text)
                    ),
                )
            }),
        }
    }
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let texts: Vec<_> =
            (0..100_000).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
        let mut faults = Faults::default();
        let found =
            addresses(texts.iter().map(|text| ("f".to_owned(), text.as_str())), &mut faults);
        assert_eq!(found.len(), MOST);
        assert_eq!(faults.count(), texts.len() - MOST);
        assert!(faults[0].message.contains("only the first 256"), "{faults:?}");
    }
}
