//! Which programs are attached to the hooks of a cgroup.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::Path,
};

use aya::programs::loaded_programs;
use aya_obj::generated::{
    BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE, BPF_F_QUERY_EFFECTIVE, bpf_attach_type,
};

use crate::bpf::query_programs;

/// A hook that balancer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Picks the backend for sockets of IPv4.
    Connect4,
    /// Picks the backend for sockets of IPv6.
    Connect6,
    /// Picks the backend for datagrams to IPv4.
    SendMsg4,
    /// Picks the backend for datagrams to IPv6.
    SendMsg6,
    /// Names the Service as the sender of datagrams, on sockets of IPv4.
    RecvMsg4,
    /// Names the Service as the sender of datagrams, on sockets of IPv6.
    RecvMsg6,
    /// Sees connections come and go.
    SockOps,
    /// Sees sockets end.
    SockRelease,
    /// Answers with the address of the Service, on sockets of IPv4.
    GetPeerName4,
    /// Answers with the address of the Service, on sockets of IPv6.
    GetPeerName6,
}

impl Hook {
    /// Every hook, in the order of a connection's life.
    pub const ALL: [Self; 10] = [
        Self::Connect4,
        Self::Connect6,
        Self::SendMsg4,
        Self::SendMsg6,
        Self::RecvMsg4,
        Self::RecvMsg6,
        Self::SockOps,
        Self::GetPeerName4,
        Self::GetPeerName6,
        Self::SockRelease,
    ];

    /// Name as bpftool prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "cgroup_inet4_connect",
            Self::Connect6 => "cgroup_inet6_connect",
            Self::SendMsg4 => "cgroup_udp4_sendmsg",
            Self::SendMsg6 => "cgroup_udp6_sendmsg",
            Self::RecvMsg4 => "cgroup_udp4_recvmsg",
            Self::RecvMsg6 => "cgroup_udp6_recvmsg",
            Self::SockOps => "cgroup_sock_ops",
            Self::SockRelease => "cgroup_inet_sock_release",
            Self::GetPeerName4 => "cgroup_inet4_getpeername",
            Self::GetPeerName6 => "cgroup_inet6_getpeername",
        }
    }

    const fn attach_type(self) -> bpf_attach_type {
        match self {
            Self::SockOps => bpf_attach_type::BPF_CGROUP_SOCK_OPS,
            Self::Connect4 => bpf_attach_type::BPF_CGROUP_INET4_CONNECT,
            Self::Connect6 => bpf_attach_type::BPF_CGROUP_INET6_CONNECT,
            Self::SendMsg4 => bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG,
            Self::SendMsg6 => bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG,
            Self::RecvMsg4 => bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG,
            Self::RecvMsg6 => bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG,
            Self::GetPeerName4 => bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME,
            Self::GetPeerName6 => bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME,
            Self::SockRelease => bpf_attach_type::BPF_CGROUP_INET_SOCK_RELEASE,
        }
    }
}

/// A program on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook.
    pub hook: Hook,
    /// Kernel's identifier of the program.
    pub id: u32,
    /// Its name; empty where this process may not ask.
    pub name: String,
}

/// Every program that a socket of the cgroup meets, those attached above it included.
pub fn attached(cgroup: &Path) -> io::Result<Vec<Attached>> {
    let folder = File::open(cgroup)?;
    let mut found = Vec::new();
    for hook in Hook::ALL {
        let ids = query_programs(&folder, hook.attach_type(), BPF_F_QUERY_EFFECTIVE)?.ids;
        found.extend(ids.into_iter().map(|id| (hook, id)));
    }
    Ok(named(&found))
}

/// Programs that were attached so that no link can be made beside them (on the cgroup itself) or
/// below them (above it).
pub fn blockers(cgroup: &Path) -> io::Result<Vec<Attached>> {
    let cgroup = fs::canonicalize(cgroup)?;
    let mut found = Vec::new();
    for hook in Hook::ALL {
        for (level, path) in cgroup.ancestors().enumerate() {
            let folder = File::open(path)?;
            let own = match query_programs(&folder, hook.attach_type(), 0) {
                Ok(own) => own,
                // Above the root of cgroup2.
                Err(_) if level > 0 => break,
                Err(error) => return Err(error),
            };
            // The kernel looks no further up than the first cgroup that has a say.
            let shared = own.attach_flags & BPF_F_ALLOW_MULTI != 0;
            let overridden = level > 0 && own.attach_flags & BPF_F_ALLOW_OVERRIDE != 0;
            if !shared && !overridden {
                found.extend(own.ids.iter().map(|id| (hook, *id)));
            }
            if shared || !own.ids.is_empty() {
                break;
            }
        }
    }
    Ok(named(&found))
}

/// Names need CAP_SYS_ADMIN; without it, programs stay nameless.
fn named(found: &[(Hook, u32)]) -> Vec<Attached> {
    if found.is_empty() {
        return Vec::new();
    }
    let names: HashMap<u32, String> = loaded_programs()
        .map_while(Result::ok)
        .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
        .collect();
    let name = |id: &u32| names.get(id).cloned().unwrap_or_default();
    found.iter().map(|&(hook, id)| Attached { hook, id, name: name(&id) }).collect()
}
