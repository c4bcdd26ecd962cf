//! The kernel's own statistics of the programs under measurement, and of empty ones beside them.

use std::{io, os::fd::OwnedFd};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use balancer_lab::{
    Agent, Lab,
    error::{Attempt, Error, Result},
};

use super::bpf::Empty;

/// The programs: the name `status` gives them, and how they attach.
pub(super) const PROGRAMS: [(&str, bpf_prog_type, bpf_attach_type); 6] = [
    (
        "connect4",
        bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        bpf_attach_type::BPF_CGROUP_INET4_CONNECT,
    ),
    (
        "release",
        bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK,
        bpf_attach_type::BPF_CGROUP_INET_SOCK_RELEASE,
    ),
    ("tcp", bpf_prog_type::BPF_PROG_TYPE_SOCK_OPS, bpf_attach_type::BPF_CGROUP_SOCK_OPS),
    (
        "getpeer4",
        bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME,
    ),
    (
        "connect6",
        bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        bpf_attach_type::BPF_CGROUP_INET6_CONNECT,
    ),
    (
        "sendmsg4",
        bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG,
    ),
];

/// Programs by their place in [`PROGRAMS`].
pub(super) const CONNECT: usize = 0;
pub(super) const RELEASE: usize = 1;
pub(super) const TCP: usize = 2;
pub(super) const PEER: usize = 3;
pub(super) const CONNECT6: usize = 4;
pub(super) const SENDMSG: usize = 5;
/// What the kernel counted for one program so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) nanos: f64,
    pub(super) runs: f64,
}

impl Usage {
    /// What came since an earlier moment.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { nanos: self.nanos - earlier.nanos, runs: self.runs - earlier.runs }
    }

    /// Nanoseconds of one run.
    pub(super) fn each(self) -> f64 {
        self.nanos / self.runs
    }
}

/// balancer's programs and as many empty ones, with the kernel's statistics turned on.
#[derive(Debug)]
pub(super) struct Programs {
    /// Identifiers of balancer's programs, in the order of [`PROGRAMS`], then of the empty ones.
    ids: Vec<u32>,
    _empty: Vec<Empty>,
    /// The kernel counts as long as this is open.
    _statistics: OwnedFd,
}

impl Programs {
    /// Finds the agent's programs and attaches the empty ones.
    pub(super) fn find(agent: &Agent, lab: &Lab) -> Result<Self> {
        let status = agent.json(&["status"])?;
        let find = |name: &str| -> Result<u32> {
            let programs = status["programs"].as_array();
            let program = programs.and_then(|all| all.iter().find(|one| one["name"] == name));
            let id = program.and_then(|program| program["id"].as_u64()?.try_into().ok());
            id.ok_or_else(|| Error::Unmet(format!("the agent has no program {name}: {status}")))
        };
        let mut ids = PROGRAMS.iter().map(|(name, ..)| find(name)).collect::<Result<Vec<_>>>()?;
        let empty = PROGRAMS
            .iter()
            .map(|&(_, kind, attach)| Empty::attach(lab.cgroup(), kind, attach))
            .collect::<Result<Vec<_>>>()?;
        ids.extend(empty.iter().map(|empty| empty.id));
        let statistics = enable_stats(Stats::RunTime)
            .map_err(io::Error::other)
            .attempt("turn on the kernel's statistics of eBPF programs (Linux 5.8)")?;
        Ok(Self { ids, _empty: empty, _statistics: statistics })
    }

    /// What each program used so far: balancer's in the order of [`PROGRAMS`], then the empty ones.
    pub(super) fn usage(&self) -> Result<Vec<Usage>> {
        let mut usage = vec![Usage::default(); self.ids.len()];
        for program in loaded_programs() {
            let program = program.map_err(io::Error::other).attempt("list eBPF programs")?;
            if let Some(index) = self.ids.iter().position(|&id| id == program.id()) {
                usage[index] = Usage {
                    nanos: program.run_time().as_nanos() as f64,
                    runs: program.run_count() as f64,
                };
            }
        }
        Ok(usage)
    }
}
