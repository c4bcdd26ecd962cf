//! Sockets as the kernel knows them (sock_diag(7), asked with `ss`), and what std can't do with them.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    process::Command,
};

use nix::libc;

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

/// Dissolves the association of a connected UDP socket: `connect()` to AF_UNSPEC, connect(2).
#[allow(unsafe_code, reason = "no safe wrapper makes an address of no family")]
pub fn disconnect(socket: &UdpSocket) -> io::Result<()> {
    let nobody =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is initialised, as long as it says, and outlives the call.
    match unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
