//! Which programs are attached to the hooks of a cgroup. aya has no query for these hooks, so this
//! is the one place that calls bpf(2) itself.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use aya::programs::loaded_programs;

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

    /// `enum bpf_attach_type` of `linux/bpf.h`.
    const fn attach_type(self) -> u32 {
        match self {
            Self::SockOps => 3,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::SendMsg4 => 14,
            Self::SendMsg6 => 15,
            Self::RecvMsg4 => 19,
            Self::RecvMsg6 => 20,
            Self::GetPeerName4 => 29,
            Self::GetPeerName6 => 30,
            Self::SockRelease => 34,
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
        let ids = query(folder.as_fd(), hook, BPF_F_QUERY_EFFECTIVE)?.ids;
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
            let own = match query(folder.as_fd(), hook, 0) {
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

const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_F_QUERY_EFFECTIVE: u32 = 1;
const BPF_F_ALLOW_OVERRIDE: u32 = 1;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// The kernel keeps at most 64 programs on a hook of one cgroup (BPF_CGROUP_MAX_PROGS); there may
/// be some on each level above it.
const MOST: usize = 1024;

/// The part of `union bpf_attr` for BPF_PROG_QUERY. The kernel writes into it up to `revision`;
/// the rest leaves room for fields to come, which older kernels require to be zero.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
    reserved: [u64; 8],
}

struct Answer {
    ids: Vec<u32>,
    attach_flags: u32,
}

fn query(cgroup: BorrowedFd<'_>, hook: Hook, flags: u32) -> io::Result<Answer> {
    let mut ids = vec![0_u32; MOST];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: hook.attach_type(),
        query_flags: flags,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_count: MOST as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `attr` is initialised, at least as large as what the kernel reads and writes for
    // this command, and outlives the call; `prog_ids` points to `prog_count` writable u32.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<QueryAttr>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.truncate(attr.prog_count as usize);
    Ok(Answer { ids, attach_flags: attr.attach_flags })
}
