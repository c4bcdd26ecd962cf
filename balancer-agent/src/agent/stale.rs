//! Ends connected UDP sockets whose backend does not serve the Service any more that they dialled.
//!
//! A datagram to a pod that is gone is lost without a word, and nothing inside the kernel can lead a
//! connected socket elsewhere: its program would wait for its timeout, often more than once. So the
//! socket is disconnected and its program told, which makes it connect again, to a backend that is
//! there. Sockets that are charged to what is gone, but not connected to it, are left to
//! [`super::parted`]; TCP connections to [`crate::moves`].

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use balancer_common::charge;

use crate::{
    maps::{Charges, Connected, ReadMaps},
    node::{netns, pods, sockets},
    plan::convert,
};

/// Ends sockets.
#[derive(Debug)]
pub struct Stale {
    /// Whose processes may have such sockets.
    cgroup: PathBuf,
}

/// What one pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Sockets that were ended.
    pub ended: usize,
    /// Why some could not be.
    pub failed: Vec<String>,
}

impl Stale {
    /// Will look at the processes of a cgroup.
    pub const fn new(cgroup: PathBuf) -> Self {
        Self { cgroup }
    }

    /// Ends sockets, which are charged to what they are to leave.
    pub fn pass(&self, maps: &(impl Charges + ReadMaps), left: Vec<Connected>) -> Pass {
        let mut pass = Pass::default();
        let mut charged: BTreeMap<u64, Vec<Connected>> = BTreeMap::new();
        for found in left {
            charged.entry(found.netns).or_default().push(found);
        }
        if charged.is_empty() {
            return pass;
        }
        let files = pods::networks(&self.cgroup).into_values();
        let mut namespaces = match netns::by_cookie(files) {
            Ok(namespaces) => namespaces,
            Err(error) => {
                pass.failed.push(format!("network namespaces can't be read: {error}"));
                return pass;
            }
        };
        for (cookie, charges) in charged {
            // Of no process that is left: its sockets are, too, or will be.
            let Some(namespace) = namespaces.remove(&cookie) else { continue };
            let peer = |found: &Connected| {
                let backend = maps.backend(charge::backend_of(found.word));
                Some((charge::cookie_of(found.word), convert::backend_addr(&backend)?.addr()))
            };
            let wanted: BTreeMap<u64, SocketAddr> = charges.iter().filter_map(peer).collect();
            let ended = match netns::within(&namespace, || sockets::end_udp(&wanted)) {
                Ok(ended) => ended,
                Err(error) => {
                    pass.failed.push(format!("UDP sockets can't be ended: {error}"));
                    continue;
                }
            };
            pass.ended += ended.len();
            for found in charges {
                if ended.contains(&charge::cookie_of(found.word)) {
                    maps.end_charge(found.index, found.word);
                }
            }
        }
        pass
    }
}
