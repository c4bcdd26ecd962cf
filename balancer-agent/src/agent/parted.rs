//! Ends the charges of UDP sockets that are connected no longer.
//!
//! No hook sees a UDP socket dissolve its association (`connect()` to AF_UNSPEC), nor that its
//! `connect()` failed inside the kernel after the hook (no route, no free port). Such a socket would
//! count until it is closed. So every now and then the connected sockets of each network namespace
//! that has such charges are listed, and what is charged to one backend and not connected to it is
//! ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use balancer_common::charge;

use crate::{
    maps::{Charges, Connected, ReadMaps},
    node::{netns, pods, sockets},
    plan::convert,
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(4);

/// Remembers which sockets were not connected at the last look.
#[derive(Debug)]
pub struct Parted {
    /// Whose processes may have such sockets.
    cgroup: PathBuf,
    missed: BTreeSet<Connected>,
    due: Option<Instant>,
}

impl Parted {
    /// Will look at the processes of a cgroup.
    pub const fn new(cgroup: PathBuf) -> Self {
        Self { cgroup, missed: BTreeSet::new(), due: None }
    }

    /// Looks, if it is time to. Says how many charges it ended.
    ///
    /// A socket must be missed at two looks, and right after the second once more: it may be on its
    /// way through `connect()`, and a listing may skip one while others come and go.
    pub fn pass(&mut self, maps: &(impl Charges + ReadMaps), now: Instant) -> io::Result<usize> {
        if self.due.is_some_and(|due| now < due) {
            return Ok(0);
        }
        self.due = Some(now + INTERVAL);
        let before = std::mem::take(&mut self.missed);
        let mut charged: BTreeMap<u64, Vec<Connected>> = BTreeMap::new();
        for found in maps.connected_udp() {
            charged.entry(found.netns).or_default().push(found);
        }
        if charged.is_empty() {
            return Ok(0);
        }
        let mut ended = 0;
        let mut namespaces = netns::by_cookie(pods::networks(&self.cgroup).into_values())?;
        for (cookie, charges) in charged {
            // Of no process that is left: its sockets are gone, or will be.
            let Some(namespace) = namespaces.remove(&cookie) else { continue };
            let missing = missing(maps, &namespace, charges)?;
            let (again, first): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|found| before.contains(found));
            self.missed.extend(first);
            if again.is_empty() {
                continue;
            }
            for found in self::missing(maps, &namespace, again)? {
                ended += usize::from(maps.end_charge(found.index, found.word));
            }
        }
        Ok(ended)
    }
}

/// Those whose socket is not connected to its backend.
fn missing(
    maps: &impl ReadMaps,
    namespace: &File,
    charges: Vec<Connected>,
) -> io::Result<Vec<Connected>> {
    let connected = netns::within(namespace, sockets::connected_udp)?;
    let is_there = |found: &Connected| {
        let backend = convert::backend_addr(&maps.backend(charge::backend_of(found.word)));
        let peer = connected.get(&charge::cookie_of(found.word));
        backend.zip(peer).is_some_and(|(backend, peer)| backend.addr() == *peer)
    };
    Ok(charges.into_iter().filter(|found| !is_there(found)).collect())
}
