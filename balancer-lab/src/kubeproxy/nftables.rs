//! kube-proxy's nftables mode: a verdict map of services -> numgen random -> endpoint -> dnat.

use std::{collections::BTreeSet, fmt::Write, net::Ipv4Addr};

use super::{MASQUERADE_MARK, ServicePort, chain_hash};
use crate::{Place, error::Result, host, lab::POD_CIDR};

/// Services in one transaction: the kernel's cost of a transaction grows with the square of its
/// size, 10,000 services take over a minute in one and seconds in twenty.
const TRANSACTION: usize = 500;

/// Loads the rules for these services, replacing what was there.
pub fn load(place: &Place, services: &[ServicePort]) -> Result<()> {
    let (served, refused): (Vec<_>, Vec<_>) =
        services.iter().partition(|service| !service.backends.is_empty());
    let nft = |rules: String| host::run(place.command("nft").args(["-f", "-"]), &rules).map(drop);
    nft(table())?;
    for part in served.chunks(TRANSACTION) {
        nft(in_table(&part.iter().map(|service| chains(service)).collect::<String>()))?;
    }
    // The hooks last, as nothing may pass half-built chains.
    let addresses = |services: &[&ServicePort]| {
        let all: BTreeSet<Ipv4Addr> = services.iter().map(|service| service.address).collect();
        let elements: Vec<String> = all.iter().map(Ipv4Addr::to_string).collect();
        format!("set cluster-ips {{\ntype ipv4_addr\n{}}}\n", listed(&elements))
    };
    nft(in_table(
        &[
            addresses(&[&served[..], &refused[..]].concat()),
            map("service-ips", served.iter().map(|s| (*s, format!("service-{}", label(s))))),
            map("no-endpoint-services", refused.iter().map(|s| (*s, "reject-chain".to_owned()))),
            hooks(Family::V4),
        ]
        .concat(),
    ))?;
    // kube-proxy has a table for each family of the node.
    nft(format!("table ip6 kube-proxy {{\n{}}}\n", sixth()))
}

/// Removes the rules again.
pub fn unload(place: &Place) -> Result<()> {
    for family in ["ip", "ip6"] {
        host::run(place.command("nft").args(["delete", "table", family, "kube-proxy"]), "")?;
    }
    Ok(())
}

fn in_table(content: &str) -> String {
    format!("table ip kube-proxy {{\n{content}}}\n")
}

/// An empty table with the chains that all services share.
fn table() -> String {
    // Declared before it is deleted, so that the first load has something to delete.
    format!(
        "table ip kube-proxy\ndelete table ip kube-proxy\n\
         table ip6 kube-proxy\ndelete table ip6 kube-proxy\n{}",
        in_table(&marks())
    )
}

/// The chains that mark what is masqueraded, refuse and masquerade.
fn marks() -> String {
    format!(
        "chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}\n\
         chain reject-chain {{ reject; }}\n\
         chain masquerading {{\n\
         meta mark and {MASQUERADE_MARK} == 0 return\n\
         meta mark set meta mark xor {MASQUERADE_MARK}\n\
         masquerade fully-random\n\
         }}\n"
    )
}

/// All of the table of IPv6, which has no services here.
fn sixth() -> String {
    let (address, map) = (Family::V6.address(), Family::V6.addresses());
    format!(
        "{}set cluster-ips {{ type {address}; }}\n\
         map service-ips {{ type {map}; }}\n\
         map no-endpoint-services {{ type {map}; }}\n{}",
        marks(),
        hooks(Family::V6)
    )
}

/// What differs between the tables.
#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The word before addresses.
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The type of addresses.
    fn address(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }

    /// The type of maps from addresses of services.
    fn addresses(self) -> String {
        format!("{} . {PORTS}", self.address())
    }
}

/// The type of maps from ports.
const PORTS: &str = "inet_proto . inet_service : verdict";

/// The line of a set or map that lists its elements; an empty list is no valid syntax.
fn listed(elements: &[String]) -> String {
    if elements.is_empty() {
        return String::new();
    }
    format!("elements = {{ {} }}\n", elements.join(",\n"))
}

/// The name of a service in names of chains: hash, namespace, name, protocol, port.
fn label(service: &ServicePort) -> String {
    format!("{}-{}", chain_hash(&[&service.name]), service.name.replace(':', "/tcp/"))
}

/// The chains of a service and its endpoints.
fn chains(service: &ServicePort) -> String {
    let ServicePort { name, address, port, backends } = service;
    let (mut chains, mut choices) = (String::new(), Vec::new());
    for (index, backend) in backends.iter().enumerate() {
        let ip = backend.ip();
        let hash = chain_hash(&[name, &backend.to_string()]);
        let endpoint =
            format!("endpoint-{hash}-{}__{ip}/{}", name.replace(':', "/tcp/"), backend.port());
        let _ = write!(
            chains,
            "chain {endpoint} {{\n\
             ip saddr {ip} jump mark-for-masquerade\n\
             meta l4proto tcp dnat to {backend}\n\
             }}\n"
        );
        choices.push(format!("{index} : goto {endpoint}"));
    }
    let _ = write!(
        chains,
        "chain service-{label} {{\n\
         ip daddr {address} tcp dport {port} ip saddr != {POD_CIDR} jump mark-for-masquerade\n\
         numgen random mod {} vmap {{ {} }}\n\
         }}\n",
        choices.len(),
        choices.join(", "),
        label = label(service)
    );
    chains
}

/// A map from the addresses of services to chains.
fn map<'a>(name: &str, services: impl Iterator<Item = (&'a ServicePort, String)>) -> String {
    let elements: Vec<String> = services
        .map(|(service, chain)| {
            format!("{} . tcp . {} : goto {chain}", service.address, service.port)
        })
        .collect();
    format!("map {name} {{\ntype {}\n{}}}\n", Family::V4.addresses(), listed(&elements))
}

/// The chains the kernel calls, and those that dispatch, with the maps of node ports and of source ranges, of
/// which no service has any.
fn hooks(family: Family) -> String {
    let (ip, address, map) = (family.word(), family.address(), family.addresses());
    format!(
        "set nodeport-ips {{ type {address}; }}\n\
         map firewall-ips {{ type {map}; }}\n\
         map service-nodeports {{ type {PORTS}; }}\n\
         map no-endpoint-nodeports {{ type {PORTS}; }}\n\
         chain services {{\n\
         {ip} daddr . meta l4proto . th dport vmap @service-ips\n\
         {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports\n\
         }}\n\
         chain service-endpoints-check {{\n\
         {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services\n\
         }}\n\
         chain nodeport-endpoints-check {{\n\
         {ip} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports\n\
         }}\n\
         chain firewall-check {{ {ip} daddr . meta l4proto . th dport vmap @firewall-ips; }}\n\
         chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; }}\n\
         chain filter-prerouting {{ type filter hook prerouting priority -110;\n\
         ct state new jump firewall-check\n\
         }}\n\
         chain filter-input {{ type filter hook input priority -110;\n\
         ct state new jump nodeport-endpoints-check\n\
         ct state new jump service-endpoints-check\n\
         }}\n\
         chain filter-forward {{ type filter hook forward priority -110;\n\
         ct state new jump service-endpoints-check\n\
         ct state new jump cluster-ips-check\n\
         }}\n\
         chain filter-output {{ type filter hook output priority -110;\n\
         ct state new jump service-endpoints-check\n\
         ct state new jump firewall-check\n\
         }}\n\
         chain filter-output-post-dnat {{ type filter hook output priority -90;\n\
         ct state new jump cluster-ips-check\n\
         }}\n\
         chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n\
         chain nat-output {{ type nat hook output priority -100; jump services; }}\n\
         chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_one_choice() {
        let service = ServicePort {
            name: "demo/web:http".into(),
            address: [10, 96, 0, 10].into(),
            port: 80,
            backends: vec!["10.244.0.1:8080".parse().expect("address"); 3],
        };
        let rules = chains(&service);
        assert!(rules.contains("numgen random mod 3 vmap { 0 : goto endpoint-"), "{rules}");
        assert_eq!(rules.matches("dnat to 10.244.0.1:8080").count(), 3, "{rules}");
    }

    #[test]
    fn both_families_have_every_chain() {
        for (family, address) in [(Family::V4, "ipv4_addr"), (Family::V6, "ipv6_addr")] {
            let hooks = hooks(family);
            let whole = format!("map firewall-ips {{ type {address} . inet_proto . inet_service");
            let port = "map service-nodeports { type inet_proto . inet_service : verdict; }";
            for wanted in [&*whole, port, "cluster-ips-check", "filter-prerouting", "nat-output"] {
                assert!(hooks.contains(wanted), "{wanted}: {hooks}");
            }
        }
        assert!(sixth().contains("map service-ips { type ipv6_addr . inet_proto"), "{}", sixth());
        assert_eq!(listed(&[]), "");
    }
}
