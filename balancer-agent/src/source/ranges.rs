//! Who may use the addresses of a load balancer.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::object::Fault;

const FIELD: &str = "spec.loadBalancerSourceRanges";
/// The older form of the field.
const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The networks that the field, else the annotation names, and the addresses that stand behind them.
///
/// A family without a network is open to everybody, save where an entry could not be understood:
/// somebody meant to keep others out, and of which family is not known. The addresses of such a
/// family are left out, for kube-proxy.
pub fn guard(
    field: &[String],
    annotations: Option<&BTreeMap<String, String>>,
    addresses: Vec<IpAddr>,
    faults: &mut Vec<Fault>,
) -> (Vec<IpNet>, Vec<IpAddr>) {
    let before = faults.len();
    let ranges = ranges(field, annotations, faults);
    let has_range = |ip: &IpAddr| ranges.iter().any(|net| net.addr().is_ipv4() == ip.is_ipv4());
    if faults.len() == before {
        return (ranges, addresses);
    }
    let (guarded, open): (Vec<_>, Vec<_>) = addresses.into_iter().partition(has_range);
    if !open.is_empty() {
        let open: Vec<_> = open.iter().map(IpAddr::to_string).collect();
        let message = format!(
            "no usable entry is of the family of {}, left to kube-proxy: mend the entries",
            open.join(", ")
        );
        faults.push(Fault::new(FIELD, message));
    }
    (ranges, guarded)
}

/// The networks, as far as they are usable; entries that are not are told and left out.
fn ranges(
    field: &[String],
    annotations: Option<&BTreeMap<String, String>>,
    faults: &mut Vec<Fault>,
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
            Ok(net) => found.push(net.trunc()),
            Err(_) => faults.push(Fault::new(
                field,
                format!(
                    "{text:?} is no range of addresses: it admits nobody, the other entries \
                     stand; write one such as 192.0.2.0/24 or 2001:db8::/32"
                ),
            )),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (&["10.0.0.0/33", "10.0.0.0/8"], None, &["10.0.0.0/8"], 1),
            (&["10.0.0.1"], None, &[], 1),
            (&["office"], Some("10.0.0.0/8"), &[], 1),
            (&[], Some("x,y"), &[], 2),
        ];
        for (field, annotation, want, told) in table {
            let field: Vec<_> = field.iter().map(|text| (*text).to_owned()).collect();
            let annotations = annotation.map(|a| BTreeMap::from([(ANNOTATION.into(), a.into())]));
            let mut faults = Vec::new();
            let found = ranges(&field, annotations.as_ref(), &mut faults);
            let want: Vec<IpNet> = want.iter().map(|net| net.parse().unwrap()).collect();
            assert_eq!((found, faults.len()), (want, *told), "{field:?} {annotation:?}");
        }
    }

    #[test]
    fn an_entry_that_can_not_be_read_opens_no_address() {
        let all: [IpAddr; 2] = ["203.0.113.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        // field -> addresses that stay, number of faults
        let table: [(&[&str], &[IpAddr], usize); 6] = [
            (&[], &all, 0),
            (&["10.0.0.0/8"], &all, 0),
            (&["10.0.0.0/8", "x"], &all[..1], 2),
            (&["fd00::/8", "x"], &all[1..], 2),
            (&["fd00::/8", "10.0.0.0/8", "x"], &all, 1),
            (&["x"], &[], 2),
        ];
        for (field, want, told) in table {
            let field: Vec<_> = field.iter().map(|text| (*text).to_owned()).collect();
            let mut faults = Vec::new();
            let (_, kept) = guard(&field, None, all.into(), &mut faults);
            assert_eq!((&kept[..], faults.len()), (want, told), "{field:?} {faults:?}");
        }
    }
}
