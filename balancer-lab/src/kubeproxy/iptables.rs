//! kube-proxy's iptables mode: KUBE-SERVICES -> KUBE-SVC-X -> random -> KUBE-SEP-X -> DNAT.

use std::{fmt::Write, process::Command};

use super::{MASQUERADE_MARK, ServicePort, chain_hash};
use crate::{Place, error::Result, host, lab::POD_CIDR};

/// Which of the two implementations behind the name iptables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variant {
    /// `iptables-nft`, what distributions install today.
    Nft,
    /// `iptables-legacy`, the kernel's original tables.
    Legacy,
}

impl Variant {
    fn program(self) -> &'static str {
        match self {
            Self::Nft => "iptables-nft",
            Self::Legacy => "iptables-legacy",
        }
    }

    /// Whether the program is installed and the kernel can.
    pub fn works(self, place: &Place) -> bool {
        host::run(place.command(self.program()).args(["-t", "nat", "-S"]), "").is_ok()
    }
}

/// Loads the rules for these services, replacing what was there.
pub fn load(place: &Place, variant: Variant, services: &[ServicePort]) -> Result<()> {
    let program = format!("{}-restore", variant.program());
    host::run(&mut place.command(program), &rules(services)).map(drop)
}

/// Removes the rules again. The tables stay, and with them connection tracking: for figures without
/// it take another lab.
pub fn unload(place: &Place, variant: Variant) -> Result<()> {
    for table in ["nat", "filter"] {
        for action in ["-F", "-X"] {
            let mut command: Command = place.command(variant.program());
            host::run(command.args(["-t", table, action]), "")?;
        }
    }
    Ok(())
}

/// The input for iptables-restore.
fn rules(services: &[ServicePort]) -> String {
    let (mut chains, mut dispatch) = (String::new(), String::new());
    let (mut choose, mut translate, mut refuse) = (String::new(), String::new(), String::new());
    for service in services {
        let ServicePort { name, address, port, backends } = service;
        let to = format!("-d {address}/32 -p tcp -m tcp --dport {port}");
        if backends.is_empty() {
            let _ = writeln!(
                refuse,
                "-A KUBE-SERVICES {to} -m comment --comment \"{name} has no endpoints\" -j REJECT"
            );
            continue;
        }
        let chain = format!("KUBE-SVC-{}", chain_hash(&[name, "tcp"]));
        let _ = writeln!(chains, ":{chain} - [0:0]");
        let _ = writeln!(
            dispatch,
            "-A KUBE-SERVICES {to} -m comment --comment \"{name} cluster IP\" -j {chain}"
        );
        let _ = writeln!(
            choose,
            "-A {chain} ! -s {POD_CIDR} {to} -m comment --comment \"{name} cluster IP\" \
             -j KUBE-MARK-MASQ"
        );
        for (index, backend) in backends.iter().enumerate() {
            let endpoint = format!("KUBE-SEP-{}", chain_hash(&[name, "tcp", &backend.to_string()]));
            let left = backends.len() - index;
            // The last one takes what is left.
            let odds = if left == 1 {
                String::new()
            } else {
                format!("-m statistic --mode random --probability {:.11} ", 1.0 / left as f64)
            };
            let _ = writeln!(chains, ":{endpoint} - [0:0]");
            let _ = writeln!(
                choose,
                "-A {chain} -m comment --comment \"{name} -> {backend}\" {odds}-j {endpoint}"
            );
            let _ = writeln!(
                translate,
                "-A {endpoint} -s {}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ\n\
                 -A {endpoint} -p tcp -m comment --comment \"{name}\" -m tcp \
                 -j DNAT --to-destination {backend}",
                backend.ip()
            );
        }
    }
    format!(
        "*filter\n\
         :KUBE-EXTERNAL-SERVICES - [0:0]\n\
         :KUBE-FORWARD - [0:0]\n\
         :KUBE-NODEPORTS - [0:0]\n\
         :KUBE-PROXY-FIREWALL - [0:0]\n\
         :KUBE-SERVICES - [0:0]\n\
         -A INPUT {NEW} {FIREWALL} -j KUBE-PROXY-FIREWALL\n\
         -A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS\n\
         -A INPUT {NEW} {EXTERNAL} -j KUBE-EXTERNAL-SERVICES\n\
         -A FORWARD {NEW} {FIREWALL} -j KUBE-PROXY-FIREWALL\n\
         -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
         -A FORWARD {NEW} {PORTALS} -j KUBE-SERVICES\n\
         -A FORWARD {NEW} {EXTERNAL} -j KUBE-EXTERNAL-SERVICES\n\
         -A OUTPUT {NEW} {FIREWALL} -j KUBE-PROXY-FIREWALL\n\
         -A OUTPUT {NEW} {PORTALS} -j KUBE-SERVICES\n\
         -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" \
         -m mark --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j ACCEPT\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         {refuse}\
         COMMIT\n\
         *nat\n\
         :KUBE-NODEPORTS - [0:0]\n\
         :KUBE-SERVICES - [0:0]\n\
         :KUBE-POSTROUTING - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n\
         {chains}\
         -A PREROUTING {PORTALS} -j KUBE-SERVICES\n\
         -A OUTPUT {PORTALS} -j KUBE-SERVICES\n\
         -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE_MARK}\n\
         -A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE_MARK}\n\
         -A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" \
         -j MASQUERADE --random-fully\n\
         {dispatch}\
         -A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the \
         last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n\
         {choose}{translate}\
         COMMIT\n"
    )
}

/// What connections that begin are told by.
const NEW: &str = "-m conntrack --ctstate NEW";
const FIREWALL: &str = "-m comment --comment \"kubernetes load balancer firewall\"";
const EXTERNAL: &str = "-m comment --comment \"kubernetes externally-visible service portals\"";
const PORTALS: &str = "-m comment --comment \"kubernetes service portals\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_gets_an_equal_share() {
        let service = ServicePort {
            name: "demo/web:http".into(),
            address: [10, 96, 0, 10].into(),
            port: 80,
            backends: vec!["10.244.0.1:8080".parse().expect("address"); 3],
        };
        let rules = rules(&[service]);
        let odds: Vec<&str> = rules
            .split("--probability ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next())
            .collect();
        assert_eq!(odds, ["0.33333333333", "0.50000000000"], "{rules}");
    }

    #[test]
    fn a_service_without_endpoints_is_refused() {
        let service = ServicePort {
            name: "demo/web:http".into(),
            address: [10, 96, 0, 10].into(),
            port: 80,
            backends: Vec::new(),
        };
        let rules = rules(&[service]);
        assert!(rules.contains("-j REJECT") && !rules.contains("KUBE-SVC-"), "{rules}");
    }

    #[test]
    fn node_ports_are_looked_for_after_all_services() {
        let rules = rules(&super::super::filler(3, 2));
        let of_services = |line: &&str| line.starts_with("-A KUBE-SERVICES");
        let last = rules.lines().rfind(of_services).expect("services");
        assert!(last.ends_with("-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"), "{rules}");
    }
}
