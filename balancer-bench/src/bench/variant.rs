//! What is compared.

use std::process::Command;

use balancer_lab::{Place, host, kubeproxy::iptables};
use serde::Serialize;

/// A way from a client to the backends of a Service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The client dials the backends themselves, by turns: what every ratio refers to.
    Direct,
    /// The same once more in a lab of its own: its ratio is the noise.
    Control,
    /// The same, with programs that do nothing on every hook that balancer's have.
    Empty,
    /// The same, with one rule on the node that needs connection tracking.
    Conntrack,
    /// balancer's agent.
    Balancer,
    /// The same, with the rule that needs connection tracking.
    BalancerTracked,
    /// kube-proxy's rules in iptables-nft.
    IptablesNft,
    /// kube-proxy's rules in iptables-legacy.
    IptablesLegacy,
    /// kube-proxy's rules in nftables.
    Nftables,
}

impl Variant {
    /// The variants that balance, in the order of the tables.
    pub const BALANCED: [Self; 5] = [
        Self::Balancer,
        Self::BalancerTracked,
        Self::Nftables,
        Self::IptablesLegacy,
        Self::IptablesNft,
    ];
    /// The variants without a Service.
    pub const UNBALANCED: [Self; 4] = [Self::Direct, Self::Control, Self::Empty, Self::Conntrack];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Control => "direct, once more",
            Self::Empty => "direct, empty programs",
            Self::Conntrack => "direct, conntrack on",
            Self::Balancer => "balancer",
            Self::BalancerTracked => "balancer, conntrack on",
            Self::IptablesNft => "kube-proxy, iptables-nft",
            Self::IptablesLegacy => "kube-proxy, iptables-legacy",
            Self::Nftables => "kube-proxy, nftables",
        }
    }

    /// Whether the variant dials a Service.
    pub fn is_balanced(self) -> bool {
        Self::BALANCED.contains(&self)
    }

    /// Whether the node tracks connections, which all NAT needs.
    pub fn tracks(self) -> bool {
        !matches!(self, Self::Direct | Self::Control | Self::Empty | Self::Balancer)
    }

    /// Whether the program is installed and the kernel can; `place` must be of a lab.
    pub(super) fn works(self, place: &Place) -> bool {
        let nft = |command: &mut Command| host::run(command.args(["list", "tables"]), "").is_ok();
        match self {
            Self::Direct | Self::Control | Self::Empty | Self::Balancer => true,
            Self::IptablesNft => iptables::Variant::Nft.works(place),
            Self::IptablesLegacy => iptables::Variant::Legacy.works(place),
            Self::Conntrack | Self::BalancerTracked | Self::Nftables => {
                nft(&mut place.command("nft"))
            }
        }
    }
}
