//! Who may use the addresses of a load balancer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::{IpNet, Ipv4Net};

use super::object::{Fault, Faults};
use crate::settings::quoted;

const FIELD: &str = "spec.loadBalancerSourceRanges";
/// The older form of the field.
const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// A network without a client: what stands where ranges were written and none can be read. Somebody
/// meant to keep others out.
const NOBODY: IpNet = match Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 32) {
    Ok(net) => IpNet::V4(net),
    Err(_) => panic!("32 bits are a prefix"),
};

/// Entries of the map that the ranges of one Service may take: each stands there once for each port,
/// and the map is shared with all Services.
const MAX_ENTRIES: usize = 4_096;

/// The ranges of a Service of so many ports, as many as it may have. Those beyond admit nobody.
pub fn bounded(mut ranges: Vec<IpNet>, ports: usize, faults: &mut Faults) -> Vec<IpNet> {
    let mut seen = BTreeSet::new();
    ranges.retain(|net| seen.insert(*net));
    let most = (MAX_ENTRIES / ports.max(1)).max(1);
    if ranges.len() > most {
        faults.push(Fault::new(
            FIELD,
            format!(
                "{} different ranges for {ports} ports, and at most {most} count: the others admit \
                 nobody; join neighbouring ranges, or split the Service",
                ranges.len()
            ),
        ));
        ranges.truncate(most);
        ranges.shrink_to_fit();
    }
    ranges
}

/// The networks that the field, else the annotation names; everybody where there is none. Entries
/// that can't be read are told, and admit nobody.
pub fn ranges(
    field: &[String],
    annotations: Option<&BTreeMap<String, String>>,
    faults: &mut Faults,
) -> Vec<IpNet> {
    let old = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    let named: Vec<(String, &str)> = match old {
        Some(old) if field.is_empty() => {
            let entries =
                old.split(',').map(|text| (format!("metadata.annotations[{ANNOTATION}]"), text));
            entries.collect()
        }
        _ => {
            let entries = field.iter().enumerate();
            entries.map(|(index, text)| (format!("{FIELD}[{index}]"), text.as_str())).collect()
        }
    };
    // As kube-proxy reads them: padded is fine, empty is no entry.
    let named = named.into_iter().map(|(field, text)| (field, text.trim()));
    let named: Vec<_> = named.filter(|(_, text)| !text.is_empty()).collect();
    let mut found = Vec::new();
    for (field, text) in &named {
        match text.parse::<IpNet>() {
            Ok(net) => found.push(unmapped(net.trunc())),
            Err(_) => faults.push_with(|| {
                Fault::new(
                    field.as_str(),
                    format!(
                        "{text} is no range of addresses: it admits nobody, the other entries \
                     stand; write one such as 192.0.2.0/24 or 2001:db8::/32",
                        text = quoted(text)
                    ),
                )
            }),
        }
    }
    if found.is_empty() && !named.is_empty() {
        faults.push(Fault::new(
            FIELD,
            "no entry is usable: nobody may use the addresses of the load balancer",
        ));
        found.push(NOBODY);
    }
    found
}

/// Clients of IPv4, where a network of IPv6 names nothing else (RFC 4291, 2.5.5.2): sockets of either family
/// have their addresses in that form, and the map tells no difference.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(ipv6) = net else { return net };
    let prefix = ipv6.prefix_len().checked_sub(96);
    let ipv4 = ipv6.addr().to_ipv4_mapped().zip(prefix);
    ipv4.and_then(|(addr, prefix)| Ipv4Net::new(addr, prefix).ok()).map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_leaves_room_for_others() {
        let all = |n: u32| (0..n).map(|n| Ipv4Net::from(Ipv4Addr::from(n)).into()).collect();
        // ranges, ports -> how many count, whether that is told
        for (ranges, ports, want, told) in [
            (0, 1, 0, 0),
            (4_096, 1, 4_096, 0),
            (65_536, 1, 4_096, 1),
            (65_536, 100, 40, 1),
            (40, 100, 40, 0),
            (65_536, 10_000, 1, 1),
        ] {
            let mut faults = Faults::default();
            let found = bounded(all(ranges), ports, &mut faults);
            assert_eq!((found.len(), faults.len()), (want, told), "{ranges} {ports}");
        }
        let twice: Vec<IpNet> = [all(4_096), all(4_096)].concat();
        let mut faults = Faults::default();
        assert_eq!(bounded(twice, 1, &mut faults).len(), 4_096);
        assert_eq!(faults.len(), 0);
    }

    #[test]
    fn the_field_counts_then_the_annotation() {
        // field, annotation -> networks, number of faults
        type Row<'a> = (&'a [&'a str], Option<&'a str>, &'a [&'a str], usize);
        let table: &[Row<'_>] = &[
            (&[], None, &[], 0),
            (&["192.0.2.0/24"], None, &["192.0.2.0/24"], 0),
            (&[" 192.0.2.7/24 ", "fd00::/8"], None, &["192.0.2.0/24", "fd00::/8"], 0),
            (&["192.0.2.0/24"], Some("10.0.0.0/8"), &["192.0.2.0/24"], 0),
            (&[], Some("10.0.0.0/8, fd00::/8"), &["10.0.0.0/8", "fd00::/8"], 0),
            (&[], Some(""), &[], 0),
            (
                &["::ffff:10.1.0.0/104", "::ffff:192.0.2.7/128"],
                None,
                &["10.0.0.0/8", "192.0.2.7/32"],
                0,
            ),
            (&["::ffff:0:0/96", "::/64", "::/0"], None, &["0.0.0.0/0", "::/64", "::/0"], 0),
            (&["10.0.0.0/33", "10.0.0.0/8"], None, &["10.0.0.0/8"], 1),
            (&["10.0.0.1"], None, &["0.0.0.0/32"], 2),
            (&["office"], Some("10.0.0.0/8"), &["0.0.0.0/32"], 2),
            (&[], Some("x,y"), &["0.0.0.0/32"], 3),
        ];
        for (field, annotation, want, told) in table {
            let field: Vec<_> = field.iter().map(|text| (*text).to_owned()).collect();
            let annotations = annotation.map(|a| BTreeMap::from([(ANNOTATION.into(), a.into())]));
            let mut faults = Faults::default();
            let found = ranges(&field, annotations.as_ref(), &mut faults);
            let want: Vec<IpNet> = want.iter().map(|net| net.parse().unwrap()).collect();
            assert_eq!((found, faults.len()), (want, *told), "{field:?} {annotation:?}");
        }
    }
}
