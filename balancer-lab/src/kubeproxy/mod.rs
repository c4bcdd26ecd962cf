//! The rules kube-proxy would load, in its shape and size, for comparison.
//!
//! Of Services only what a ClusterIP needs; the chains for node ports, external addresses and source ranges
//! are there and empty, as where no Service has any. They are loaded in one go into the network namespace of
//! a lab's node, where the pods' connections pass.

pub mod iptables;
pub mod nftables;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, SocketAddrV4},
};

/// One port of a Service and where it leads.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// `namespace/name:port`.
    pub name: String,
    /// The ClusterIP.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// Its backends; none means refused.
    pub backends: Vec<SocketAddrV4>,
}

/// The mark of connections that need masquerading, kube-proxy's default.
const MASQUERADE_MARK: &str = "0x4000";

/// The hash in names of chains: 13 letters and digits, where kube-proxy has 16 from SHA-256.
fn chain_hash(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    let hash = hasher.finish();
    (0..13).map(|digit| char::from(ALPHABET[(hash >> (5 * digit)) as usize % 32])).collect()
}

/// Services as large clusters have them: `count` of them with `backends` each, none of which exist.
pub fn filler(count: u32, backends: u32) -> Vec<ServicePort> {
    let vip = u32::from(Ipv4Addr::new(10, 100, 0, 0));
    let pod = u32::from(Ipv4Addr::new(10, 200, 0, 0));
    (0..count)
        .map(|index| ServicePort {
            name: format!("filler/service-{index}:http"),
            address: (vip + index).into(),
            port: 80,
            backends: (0..backends)
                .map(|backend| SocketAddrV4::new((pod + index * backends + backend).into(), 8080))
                .collect(),
        })
        .collect()
}
