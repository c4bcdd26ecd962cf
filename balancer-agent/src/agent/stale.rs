//! Ends connected UDP sockets whose backend does not serve the Service any more that they dialled.
//!
//! A datagram to a pod that is gone is lost without a word, and nothing inside the kernel can lead
//! a connected socket elsewhere: its program would wait for its timeout, often more than once. So
//! the socket is disconnected and its program told, which makes it connect again, to a backend that
//! is there. Sockets that are charged to what is gone, but not connected to it, are left to
//! [`super::disconnected`]; TCP connections to [`crate::moves`].

use std::{collections::BTreeMap, net::SocketAddr};

use balancer_common::charge;

use crate::{
    maps::{Charges, Connected},
    moves::{
        datagrams::{Ending, searches},
        helper::{Helper, udp::Seen},
    },
};

/// Ends sockets, which are charged to what they are to leave. `peer` says to whom they are
/// connected. `still` says which of them are to leave it still, after all were looked for: that may
/// take long. Says how many were ended, and why some could not be.
pub fn end(
    maps: &impl Charges,
    left: &[Connected],
    peer: impl Fn(&Connected) -> Option<SocketAddr>,
    still: impl Fn(&[Connected]) -> Vec<Connected>,
    helper: &Helper,
) -> Seen<usize> {
    let searches = searches(left, peer);
    if searches.is_empty() {
        return Seen { done: 0, failed: Vec::new() };
    }
    let mut found = helper.find_udp(searches);
    let left = still(left);
    let charges: BTreeMap<u64, &Connected> =
        left.iter().map(|found| (charge::cookie_of(found.word), found)).collect();
    let endings = found.done.iter().filter_map(|found| {
        let charge = charges.get(&found.socket.cookie)?;
        Some(Ending::new(charge, found.socket))
    });
    let ended = helper.end_udp(endings.collect());
    found.failed.extend(ended.failed);
    for cookie in &ended.done {
        if let Some(charge) = charges.get(cookie) {
            maps.end_charge(charge.index, charge.word);
        }
    }
    Seen { done: ended.done.len(), failed: found.failed }
}
