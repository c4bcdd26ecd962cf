//! The chains of all tables of nf_tables, also those of others.

use netlink_packet_core::NLM_F_DUMP;

use super::{NatError, netfilter, rules};
use crate::netlink::{Answer, find};

/// A chain of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it begins by itself; none where other chains lead there.
    pub base: Option<Base>,
}

/// Where a chain begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `nat`, `filter` or `route`.
    pub kind: String,
    /// The hook, such as NF_INET_PRE_ROUTING.
    pub hook: u32,
    /// Chains with a smaller one come first.
    pub priority: i32,
}

impl Chain {
    /// True for a chain of others whose translation comes before that of ours.
    pub fn translates_first(&self) -> bool {
        let is_first = |base: &Base| {
            base.kind == "nat" && base.hook == rules::PREROUTING && base.priority < rules::LEAD
        };
        self.table != rules::TABLE && self.base.as_ref().is_some_and(is_first)
    }

    /// True for one that kube-proxy makes, in its modes `iptables`, `ipvs` and `nftables`.
    pub fn is_kube_proxys(&self) -> bool {
        self.table == "kube-proxy" || self.name == "KUBE-SERVICES"
    }

    /// True for a chain of ours.
    pub fn is_ours(&self) -> bool {
        self.table == rules::TABLE
    }
}

/// Every chain in this thread's network namespace. Those of the old iptables (`iptables-legacy`) are not
/// among them.
pub fn chains() -> Result<Vec<Chain>, NatError> {
    let netfilter = netfilter::open().map_err(NatError::Socket)?;
    let answers = netfilter.ask_all(&rules::ask_chains(NLM_F_DUMP)).map_err(NatError::Ask)?;
    Ok(answers.iter().filter_map(chain).collect())
}

fn chain(answer: &Answer) -> Option<Chain> {
    let text = |kind| {
        let bytes = answer.attribute(kind)?;
        Some(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned())
    };
    let base = || {
        let hook = answer.attribute(4)?;
        let number = |kind| Some(u32::from_be_bytes(*find(hook, kind)?.first_chunk()?));
        let (hook, priority) = (number(1)?, number(2)?.cast_signed());
        Some(Base { kind: text(7)?, hook, priority })
    };
    Some(Chain { table: text(1)?, name: text(3)?, base: base() })
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::{maps::identity::Family, nat::table::Table};

    /// In a network namespace of its own. Needs root and `nft`.
    #[test]
    fn chains_of_others_are_told_from_ours() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(chains().unwrap(), []);
            Table::replace(Family::V4, &[], &[]).unwrap().unwrap();
            let others = "table ip kube-proxy { chain services { }; }; \
                 table ip nat { chain KUBE-SERVICES { }; \
                 chain OUTPUT { type nat hook output priority -190; }; }; \
                 table ip first { chain in { type nat hook prerouting priority -150; }; }; \
                 table ip second { chain in { type nat hook prerouting priority -100; }; };";
            assert!(Command::new("nft").arg(others).status().unwrap().success());
            let found = chains().unwrap();
            let named = |of: fn(&Chain) -> bool| {
                let found = found.iter().filter(|chain| of(chain));
                let mut named: Vec<_> =
                    found.map(|chain| format!("{} {}", chain.table, chain.name)).collect();
                named.sort();
                named
            };
            assert_eq!(found.len(), 11, "{found:?}");
            assert_eq!(
                named(Chain::is_ours),
                [
                    "balancer clear",
                    "balancer conceal",
                    "balancer forward",
                    "balancer lead",
                    "balancer output",
                    "balancer refuse"
                ]
            );
            assert_eq!(named(Chain::translates_first), ["first in"]);
            assert_eq!(named(Chain::is_kube_proxys), ["kube-proxy services", "nat KUBE-SERVICES"]);
        };
        thread::spawn(look).join().unwrap();
    }
}
