//! Text to addresses that a packet can be sent to.

use std::{borrow::Cow, net::IpAddr};

use super::object::{Fault, Faults};
use crate::settings::quoted;

/// A unicast address; an IPv4 address in IPv6 clothes is an IPv4 address. Numbers with leading zeros
/// are decimal, as kube-proxy reads them (`ParseIPSloppy` of k8s.io/utils/net).
pub fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse().or_else(|_| without_zeros(text).parse::<IpAddr>()).ok()?.to_canonical();
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// The text without the leading zeros of what stands between its dots: objects older than the
/// stricter checks of the API server (KEP-4858) have them.
fn without_zeros(text: &str) -> Cow<'_, str> {
    let (groups, dotted) = text.split_at(text.rfind(':').map_or(0, |colon| colon + 1));
    if !dotted.contains('.') {
        return text.into();
    }
    let numbers = dotted.split('.').map(|number| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0",
        significant => significant,
    });
    format!("{groups}{}", numbers.collect::<Vec<_>>().join(".")).into()
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
    fn leading_zeros_are_decimal() {
        for (text, want) in [
            ("10.96.7.1", Some("10.96.7.1")),
            ("127.000.009.001", Some("127.0.9.1")),
            ("010.096.008.08", Some("10.96.8.8")),
            ("10.00000000000.0.1", Some("10.0.0.1")),
            ("::ffff:010.0.0.1", Some("10.0.0.1")),
            ("fd00::0001", Some("fd00::1")),
            ("fd00::010.0.0.1", Some("fd00::a00:1")),
            ("000.0.0.0", None),
            ("010.0.0.0256", None),
            ("10.0.0.", None),
            ("10.0..1", None),
            ("0x10.0.0.1", None),
            ("10.0.0.1.", None),
            ("00010", None),
            ("fd00::00001", None),
        ] {
            assert_eq!(address(text).map(|ip| ip.to_string()).as_deref(), want, "{text}");
        }
    }

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
