//! Sockets as the kernel knows them (sock_diag(7), asked with `ss`).

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use crate::{
    Place,
    error::{Error, Result},
    host,
};

/// TCP sockets of a network namespace that a process still has open, counted by the address they
/// are connected to. Listening ones and those that only the kernel still finishes are left out.
pub fn open_by_peer(place: &Place) -> Result<BTreeMap<SocketAddr, u64>> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", place.netns(), "ss", "-H", "-t", "-n", "-a", "-e", "-O"]);
    let output = host::run(&mut command, "")?;
    let mut peers = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [state, _, _, _, peer, rest @ ..] = &fields[..] else {
            return Err(Error::Unmet(format!("`ss` printed {line:?}")));
        };
        let inode = rest.iter().find_map(|field| field.strip_prefix("ino:"));
        if *state == "LISTEN" || inode.is_none_or(|inode| inode == "0") {
            continue;
        }
        let peer = peer.parse().map_err(|_| Error::Unmet(format!("`ss` printed {line:?}")))?;
        *peers.entry(peer).or_default() += 1;
    }
    Ok(peers)
}
