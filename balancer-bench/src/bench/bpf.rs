//! Programs that do nothing: what the kernel itself takes to run one, and to take its time.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use aya::programs::loaded_programs;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use balancer_agent::bpf;
use balancer_lab::error::{Attempt, Result, on};

/// `return 1`, which lets every call go on: `mov64 r0, 1`, `exit`.
const PROCEED: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// Every hook that balancer's programs have on a cgroup, by how a program is loaded for it and attached.
pub(super) const HOOKS: [(bpf_prog_type, bpf_attach_type); 10] = {
    const fn of_addr(hook: bpf_attach_type) -> (bpf_prog_type, bpf_attach_type) {
        (bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, hook)
    }
    [
        (bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK, bpf_attach_type::BPF_CGROUP_INET_SOCK_RELEASE),
        (bpf_prog_type::BPF_PROG_TYPE_SOCK_OPS, bpf_attach_type::BPF_CGROUP_SOCK_OPS),
        of_addr(bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME),
        of_addr(bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME),
        of_addr(bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG),
        of_addr(bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG),
        of_addr(bpf_attach_type::BPF_CGROUP_INET4_CONNECT),
        of_addr(bpf_attach_type::BPF_CGROUP_INET6_CONNECT),
        of_addr(bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG),
        of_addr(bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG),
    ]
};

/// True where a program for one of these hooks is loaded anywhere on the machine: where it is attached, the
/// kernel looks for programs at that hook in every cgroup.
pub(super) fn any_is_loaded() -> Result<bool> {
    for program in loaded_programs() {
        let program = program.map_err(io::Error::other).attempt("list eBPF programs")?;
        if HOOKS.iter().any(|(kind, _)| *kind == program.program_type()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A program that does nothing, attached as long as this lives.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) id: u32,
    _link: OwnedFd,
}

impl Empty {
    /// Attaches one to a cgroup, where another program of the same type is measured.
    pub(super) fn attach(
        cgroup: &Path,
        kind: bpf_prog_type,
        attach: bpf_attach_type,
    ) -> Result<Self> {
        let directory = File::open(cgroup).attempt(on("open", cgroup))?;
        let program =
            bpf::load_program(kind, attach, &PROCEED).attempt("load an empty eBPF program")?;
        let id = bpf::program_id(&program).attempt("identify an empty eBPF program")?;
        let link = bpf::link_to_cgroup(&program, &directory, attach)
            .attempt(on("attach an empty eBPF program to", cgroup))?;
        Ok(Self { id, _link: link })
    }
}
