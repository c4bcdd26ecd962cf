//! Programs that do nothing: what the kernel itself takes to run one, and to take its time.

use std::{fs::File, os::fd::OwnedFd, path::Path};

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use balancer_agent::bpf;
use balancer_lab::error::{Attempt, Result, on};

/// `return 1`, which lets every call go on: `mov64 r0, 1`, `exit`.
const PROCEED: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

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
