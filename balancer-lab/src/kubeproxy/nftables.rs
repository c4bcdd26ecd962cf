//! kube-proxy's nftables mode: a verdict map of services -> numgen random -> endpoint -> dnat.

use std::fmt::Write;

use super::{MASQUERADE_MARK, ServicePort, chain_hash};
use crate::{Place, error::Result, host, lab::POD_CIDR};

/// Loads the rules for these services, replacing what was there.
pub fn load(place: &Place, services: &[ServicePort]) -> Result<()> {
    host::run(place.command("nft").args(["-f", "-"]), &rules(services)).map(drop)
}

/// Removes the rules again.
pub fn unload(place: &Place) -> Result<()> {
    host::run(place.command("nft").args(["delete", "table", "ip", "kube-proxy"]), "").map(drop)
}

/// The input for nft.
fn rules(services: &[ServicePort]) -> String {
    let (mut chains, mut served, mut refused) = (String::new(), Vec::new(), Vec::new());
    for service in services {
        let ServicePort { name, address, port, backends } = service;
        let key = format!("{address} . tcp . {port}");
        if backends.is_empty() {
            refused.push(format!("{key} : goto reject-chain"));
            continue;
        }
        let label = format!("{}-{}", chain_hash(&[name]), name.replace(':', "/tcp/"));
        served.push(format!("{key} : goto service-{label}"));
        let mut choices = Vec::new();
        for (index, backend) in backends.iter().enumerate() {
            let hash = chain_hash(&[name, &backend.to_string()]);
            let (ip, port) = (backend.ip(), backend.port());
            let endpoint = format!("endpoint-{hash}-{}__{ip}/{port}", &label[14..]);
            let _ = writeln!(
                chains,
                "chain {endpoint} {{\n\
                 ip saddr {ip} jump mark-for-masquerade\n\
                 meta l4proto tcp dnat to {backend}\n\
                 }}"
            );
            choices.push(format!("{index} : goto {endpoint}"));
        }
        let _ = writeln!(
            chains,
            "chain service-{label} {{\n\
             ip daddr {address} tcp dport {port} ip saddr != {POD_CIDR} jump mark-for-masquerade\n\
             numgen random mod {} vmap {{ {} }}\n\
             }}",
            choices.len(),
            choices.join(", ")
        );
    }
    // Declared before it is deleted, so that the first load has something to delete.
    format!(
        "table ip kube-proxy\n\
         delete table ip kube-proxy\n\
         table ip kube-proxy {{\n\
         chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}\n\
         chain reject-chain {{ reject; }}\n\
         {chains}\
         map service-ips {{\n\
         type ipv4_addr . inet_proto . inet_service : verdict\n{served}}}\n\
         map no-endpoint-services {{\n\
         type ipv4_addr . inet_proto . inet_service : verdict\n{refused}}}\n\
         chain services {{ ip daddr . meta l4proto . th dport vmap @service-ips; }}\n\
         chain service-endpoints-check {{\n\
         ip daddr . meta l4proto . th dport vmap @no-endpoint-services\n\
         }}\n\
         chain masquerading {{\n\
         meta mark and {MASQUERADE_MARK} == 0 return\n\
         meta mark set meta mark xor {MASQUERADE_MARK}\n\
         masquerade fully-random\n\
         }}\n\
         chain filter-forward {{ type filter hook forward priority -110;\n\
         ct state new jump service-endpoints-check\n\
         }}\n\
         chain filter-output {{ type filter hook output priority -110;\n\
         ct state new jump service-endpoints-check\n\
         }}\n\
         chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n\
         chain nat-output {{ type nat hook output priority -100; jump services; }}\n\
         chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}\n\
         }}\n",
        served = elements(&served),
        refused = elements(&refused),
    )
}

/// The elements of a map; an empty list is no valid syntax.
fn elements(list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!("elements = {{ {} }}\n", list.join(",\n")) }
}
