//! Sockets as the kernel knows them (sock_diag(7), asked with `ss`), and what std can't do with them.

use std::{collections::BTreeMap, io, net::SocketAddr, os::fd::AsRawFd, process::Command};

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

/// TCP and UDP sockets of a network namespace that a process still has open and that are connected
/// or connecting: by their cookie, the protocol number and address of the other side.
pub fn connected(place: &Place) -> Result<BTreeMap<u64, (u8, SocketAddr)>> {
    let mut command = place.command("ss");
    command.args(["-H", "-t", "-u", "-n", "-a", "-e", "-O"]);
    let output = host::run(&mut command, "")?;
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter_map(|line| connected_line(line).transpose()).collect()
}

/// One line of `ss`; `None` for what is not connected or no process has open.
fn connected_line(line: &str) -> Result<Option<(u64, (u8, SocketAddr))>> {
    let unread = || Error::Unmet(format!("`ss` printed {line:?}"));
    let fields: Vec<_> = line.split_whitespace().collect();
    let [protocol, state, _, _, _, peer, rest @ ..] = &fields[..] else { return Err(unread()) };
    let field = |name| rest.iter().find_map(|field| field.strip_prefix(name));
    if ["LISTEN", "UNCONN", "TIME-WAIT"].contains(state)
        || field("ino:").is_none_or(|inode| inode == "0")
    {
        return Ok(None);
    }
    let protocol = if *protocol == "tcp" { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP } as u8;
    let cookie = field("sk:").and_then(|cookie| u64::from_str_radix(cookie, 16).ok());
    let peer: SocketAddr = peer.parse().map_err(|_| unread())?;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    Ok(Some((cookie.ok_or_else(unread)?, (protocol, peer))))
}

/// Dissolves the association of a connected socket: `connect()` to AF_UNSPEC, connect(2).
#[allow(unsafe_code, reason = "no safe wrapper makes an address of no family")]
pub fn disconnect(socket: &impl AsRawFd) -> io::Result<()> {
    let nobody =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is initialised, as long as it says, and outlives the call.
    match unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_connected_and_open_is_read() {
        let read = |line| connected_line(line).expect("read");
        let line =
            "tcp ESTAB 0 0 [::ffff:10.0.0.1]:5 [::ffff:10.0.0.2]:80 ino:7 sk:1a cgroup:/x <->";
        assert_eq!(read(line), Some((0x1a, (6, ([10, 0, 0, 2], 80).into()))));
        let line = "udp ESTAB 0 0 10.0.0.1:5 10.0.0.2:53 ino:7 sk:b cgroup:/x <->";
        assert_eq!(read(line), Some((0xb, (17, ([10, 0, 0, 2], 53).into()))));
        for line in [
            "tcp LISTEN 0 128 *:80 *:* ino:7 sk:c cgroup:/x v6only:0 <->",
            "tcp FIN-WAIT-2 0 0 10.0.0.1:5 10.0.0.2:80 ino:0 sk:d <->",
            "tcp TIME-WAIT 0 0 10.0.0.1:5 10.0.0.2:80 timer:(timewait,59sec,0) ino:0 sk:e",
            "udp UNCONN 0 0 10.0.0.1:5 0.0.0.0:* ino:7 sk:f cgroup:/x <->",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
