//! Connected UDP sockets, looked for and ended: what [`super::helper`] runs in a process of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

use balancer_common::charge;
use serde::{Deserialize, Serialize};

use super::ask::Kernel;
use crate::{
    maps::{Connected, Recorded},
    node::sockets::udp::Socket,
};

/// Sockets of one network namespace that are charged: their cookies, and to whom they should be connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Cookie of the namespace.
    pub netns: u64,
    /// The sockets.
    pub sockets: BTreeMap<u64, SocketAddr>,
}

/// A charged socket that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Cookie of its network namespace.
    pub netns: u64,
    /// The socket.
    pub socket: Socket,
}

/// A socket to be ended, with what is told of it where that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Its charge.
    pub connection: Recorded,
    /// The socket.
    pub socket: Socket,
}

impl Ending {
    /// A charge whose socket was found.
    pub fn new(charge: &Connected, socket: Socket) -> Self {
        let &Connected { netns, index, word, service } = charge;
        let local = (socket.local.ip().to_canonical(), socket.local.port()).into();
        // The record of UDP has neither.
        let (tgid, since_ns) = (0, 0);
        let connection = Recorded { index, word, service, tgid, netns, local, since_ns };
        Self { connection, socket }
    }
}

/// One search for each network namespace. `peer` says to whom a socket should be connected; what is
/// charged to a backend without an address is left out.
pub fn searches(
    charges: &[Connected],
    peer: impl Fn(&Connected) -> Option<SocketAddr>,
) -> Vec<Search> {
    let mut searches: BTreeMap<u64, BTreeMap<u64, SocketAddr>> = BTreeMap::new();
    for found in charges {
        if let Some(peer) = peer(found) {
            let sockets = searches.entry(found.netns).or_default();
            sockets.insert(charge::cookie_of(found.word), peer);
        }
    }
    searches.into_iter().map(|(netns, sockets)| Search { netns, sockets }).collect()
}

/// The sockets of a search that are connected as they should be. None where no process is left in the
/// namespace. `alive` is called while it goes on.
pub fn find(
    search: &Search,
    kernel: &mut Kernel,
    alive: impl Fn(),
) -> io::Result<Option<Vec<Found>>> {
    let Some(connections) = kernel.namespace(search.netns, 0) else { return Ok(None) };
    let mut found = Vec::new();
    let each = |socket: Socket| {
        if search.sockets.get(&socket.cookie) == Some(&socket.peer()) {
            found.push(Found { netns: search.netns, socket });
        }
    };
    connections.list_udp(each, alive)?;
    Ok(Some(found))
}

/// The cookies of the others.
pub fn missing(
    search: &Search,
    kernel: &mut Kernel,
    alive: impl Fn(),
) -> io::Result<Option<BTreeSet<u64>>> {
    let Some(found) = find(search, kernel, alive)? else { return Ok(None) };
    let mut missing: BTreeSet<u64> = search.sockets.keys().copied().collect();
    for found in found {
        missing.remove(&found.socket.cookie);
    }
    Ok(Some(missing))
}

/// Ends a socket; false if it was gone.
pub fn end(ending: &Ending, kernel: &mut Kernel) -> io::Result<bool> {
    match kernel.namespace(ending.connection.netns, 0) {
        Some(connections) => connections.end_udp(&ending.socket),
        None => Ok(false),
    }
}
