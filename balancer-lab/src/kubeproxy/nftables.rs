//! kube-proxy's nftables mode: a verdict map of services -> numgen random -> endpoint -> dnat.

use std::fmt::Write;

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
    nft(in_table(
        &[
            map("service-ips", served.iter().map(|s| (*s, format!("service-{}", label(s))))),
            map("no-endpoint-services", refused.iter().map(|s| (*s, "reject-chain".to_owned()))),
            hooks(),
        ]
        .concat(),
    ))
}

/// Removes the rules again.
pub fn unload(place: &Place) -> Result<()> {
    host::run(place.command("nft").args(["delete", "table", "ip", "kube-proxy"]), "").map(drop)
}

fn in_table(content: &str) -> String {
    format!("table ip kube-proxy {{\n{content}}}\n")
}

/// An empty table with the chains that all services share.
fn table() -> String {
    // Declared before it is deleted, so that the first load has something to delete.
    format!(
        "table ip kube-proxy\ndelete table ip kube-proxy\n{}",
        in_table(&format!(
            "chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}\n\
         chain reject-chain {{ reject; }}\n\
         chain masquerading {{\n\
         meta mark and {MASQUERADE_MARK} == 0 return\n\
         meta mark set meta mark xor {MASQUERADE_MARK}\n\
         masquerade fully-random\n\
         }}\n"
        ))
    )
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
    // An empty list is no valid syntax.
    let elements = if elements.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}\n", elements.join(",\n"))
    };
    format!(
        "map {name} {{\n\
         type ipv4_addr . inet_proto . inet_service : verdict\n\
         {elements}}}\n"
    )
}

/// The chains the kernel calls, and those that dispatch.
fn hooks() -> String {
    "chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }\n\
     chain service-endpoints-check {\n\
     ip daddr . meta l4proto . th dport vmap @no-endpoint-services\n\
     }\n\
     chain filter-forward { type filter hook forward priority -110;\n\
     ct state new jump service-endpoints-check\n\
     }\n\
     chain filter-output { type filter hook output priority -110;\n\
     ct state new jump service-endpoints-check\n\
     }\n\
     chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n\
     chain nat-output { type nat hook output priority -100; jump services; }\n\
     chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }\n"
        .to_owned()
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
}
