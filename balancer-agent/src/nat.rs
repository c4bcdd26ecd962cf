//! The kernel's NAT for connections from outside: the rules that lead packets to the backends that
//! programs have chosen, and what connection tracking still knows.
//!
//! - `netfilter`: sockets and headers of nfnetlink.
//! - `entries`: what the sets of the rules have.
//! - `expressions`: the expressions of rules.
//! - `rules`: the constant set of rules, and the map of backends that they look into.
//! - [`chains`]: what others have beside it.
//! - [`table`]: puts both into the kernel, and notices what others change.
//! - [`conntrack`]: whether a connection is still tracked.

pub mod chains;
pub mod conntrack;
mod entries;
mod expressions;
mod netfilter;
mod rules;
pub mod table;

use std::io;

pub use entries::Entry;

/// What the kernel refuses.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// There is no netlink socket for it.
    #[error("no netlink socket for nf_tables: {0}; the kernel needs CONFIG_NETFILTER_NETLINK")]
    Socket(io::Error),
    /// It does not take the rules.
    #[error(
        "nf_tables takes no rules for IPv{family}: {source}; the kernel needs CONFIG_NFT_NAT, \
         CONFIG_NFT_MASQ and CONFIG_NF_CONNTRACK (modules nft_chain_nat, nft_masq, nf_conntrack), \
         and this process CAP_NET_ADMIN"
    )]
    Rules {
        /// 4 or 6.
        family: u8,
        /// Why.
        source: io::Error,
    },
    /// There is no nf_tables.
    #[error(
        "the kernel has no nf_tables; it needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4 or \
         CONFIG_NF_TABLES_IPV6 (module nf_tables)"
    )]
    Absent,
    /// Others have a table of our name, which stays as it is.
    #[error(
        "the table balancer of IPv{family} is not one of balancer's: it has none of its chains; it is \
         left alone: rename it, or remove it with `nft delete table {} balancer`",
        if *family == 4 { "ip" } else { "ip6" }
    )]
    Strangers {
        /// 4 or 6.
        family: u8,
    },
    /// It does not take an address.
    #[error("nf_tables does not take the addresses of backends and Services: {0}")]
    Entries(io::Error),
    /// It does not take a table away.
    #[error("nf_tables does not remove the table balancer: {0}; this needs CAP_NET_ADMIN")]
    Delete(io::Error),
    /// It does not say what is there.
    #[error("nf_tables can't be asked for the rules: {0}")]
    Ask(io::Error),
    /// It does not say which connections it tracks.
    #[error("connection tracking can't be asked: {0}; the kernel needs CONFIG_NF_CT_NETLINK")]
    Conntrack(io::Error),
}
