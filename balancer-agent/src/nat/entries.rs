//! What the sets of a table have: backends by their identifiers, and addresses of Services.

use std::net::IpAddr;

use balancer_common::layout::TO_BACKEND;

use crate::{desired::BackendAddr, maps::identity::Family};

/// Name of the map of backends.
pub const BACKENDS: &str = "backends";
/// What the map is called in the messages that make it.
pub const BACKENDS_ID: u32 = 1;
/// Name of the set of ClusterIPs.
pub const CLUSTER_IPS: &str = "cluster-ips";
/// What the set is called in the messages that make it.
pub const CLUSTER_IPS_ID: u32 = 2;

/// An element of a set.
pub trait Entry: Copy {
    /// The set.
    const SET: &str;
    /// What it is called in the messages that make it.
    const ID: u32;
    /// Whose table it is in.
    fn family(&self) -> Family;
    /// What is looked up.
    fn key(&self) -> Vec<u8>;
    /// What that leads to, in a map.
    fn value(&self) -> Option<Vec<u8>>;
}

impl Entry for (u32, BackendAddr) {
    const SET: &str = BACKENDS;
    const ID: u32 = BACKENDS_ID;

    fn family(&self) -> Family {
        Family::of(self.1.addr().ip())
    }

    fn key(&self) -> Vec<u8> {
        (TO_BACKEND | self.0).to_ne_bytes().to_vec()
    }

    /// Address and port, each in words of its own.
    fn value(&self) -> Option<Vec<u8>> {
        let addr = self.1.addr();
        let mut value = addr.ip().key();
        value.extend(addr.port().to_be_bytes());
        value.extend([0; 2]);
        Some(value)
    }
}

impl Entry for IpAddr {
    const SET: &str = CLUSTER_IPS;
    const ID: u32 = CLUSTER_IPS_ID;

    fn family(&self) -> Family {
        Family::of(*self)
    }

    fn key(&self) -> Vec<u8> {
        match self {
            Self::V4(ip) => ip.octets().to_vec(),
            Self::V6(ip) => ip.octets().to_vec(),
        }
    }

    fn value(&self) -> Option<Vec<u8>> {
        None
    }
}
