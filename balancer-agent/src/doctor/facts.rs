//! Gathers what the checks look at.

use std::path::{Path, PathBuf};

use crate::{
    kernel::outside,
    maps::pins::Pins,
    nat::{
        chains::{self, Chain},
        conntrack::Conntrack as Conntracked,
    },
    node::{
        bpffs::{self, PinnedMaps},
        caps::Caps,
        cgroup::{self, Kind},
        clock,
        conntrack::{self, Conntrack},
        devices,
        hooks::{self, Attached},
        kernel,
        kubeproxy::{self, KubeProxy},
        processes, routes, sockets,
    },
    view::{CountsView, PeerView},
};

/// What was found on a node.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What balancing cannot do without.
    pub essential: Essential,
    /// True if the kernel describes its types.
    pub btf: bool,
    /// `net.core.bpf_jit_enable`; `None` where it cannot be seen.
    pub jit: Option<u32>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// True if this process sees all those of the machine.
    pub sees_processes: bool,
    /// Whether the kernel can end sockets, or why that cannot be asked.
    pub ends_sockets: Result<bool, String>,
    /// Programs that sockets of the cgroup meet, balancer's own left out; or why they cannot be
    /// listed.
    pub others: Result<Vec<Attached>, String>,
    /// Connection tracking in this network namespace.
    pub conntrack: Conntrack,
    /// kube-proxy on this node.
    pub kube_proxy: KubeProxy,
    /// What connections from outside meet.
    pub outside: Outside,
    /// The pinned maps.
    pub maps: PinnedMaps,
    /// Whose connections the running agent counts, and its peers; none where no agent answers.
    pub peers: Option<(CountsView, Vec<PeerView>)>,
}

/// What connections from outside of the node meet.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Devices with a default route, or why the kernel does not tell them.
    pub uplinks: Result<Vec<String>, String>,
    /// Devices that the programs are on.
    pub attached: Vec<String>,
    /// The chains of nf_tables, or why they can't be listed; none where the kernel has not loaded it and no
    /// program is on a device, since asking loads it.
    pub chains: Option<Result<Vec<Chain>, String>>,
    /// Whether connection tracking can be asked for a connection, or why not; none where no program is on a
    /// device, since asking loads the kernel's module.
    pub tracking: Option<Result<(), String>>,
}

/// What balancing cannot do without.
#[derive(Clone, Debug)]
pub struct Essential {
    /// What this process may do.
    pub caps: Caps,
    /// `uname -r`.
    pub release: String,
    /// What the clock of this process is ahead of that of the programs, in nanoseconds.
    pub clock_offset_ns: i128,
    /// The cgroup to attach to; absent where cgroup2 is not mounted.
    pub cgroup: Option<PathBuf>,
    /// What stands there.
    pub cgroup_kind: Kind,
    /// Folder of the pins.
    pub bpffs: PathBuf,
    /// True if that is on a BPF file system.
    pub bpffs_mounted: bool,
    /// Programs that keep others from being attached.
    pub blockers: Vec<Attached>,
}

impl Outside {
    fn gather(bpffs: &Path) -> Self {
        let attached = outside::devices(&Pins::new(bpffs)).unwrap_or_default().into_iter();
        let attached: Vec<_> = attached.filter_map(devices::name).collect();
        let uplinks = routes::default_devices()
            .map(|routed| devices::uplinks(&routed, &[]).into_iter().collect());
        let ask = || Conntracked::probe().map_err(|error| error.to_string());
        let list = || chains::chains().map_err(|error| error.to_string());
        Self {
            uplinks: uplinks.map_err(|error| error.to_string()),
            chains: (!attached.is_empty() || kernel::has_nf_tables()).then(list),
            tracking: (!attached.is_empty()).then(ask),
            attached,
        }
    }
}

impl Facts {
    /// What `run` must know before it starts.
    pub fn essential(cgroup: Option<&Path>, bpffs: &Path) -> Essential {
        Essential {
            caps: Caps::current(),
            release: kernel::release(),
            clock_offset_ns: clock::offset_ns(),
            cgroup: cgroup.map(Path::to_owned),
            cgroup_kind: cgroup.map_or(Kind::Foreign, cgroup::kind),
            bpffs: bpffs.to_owned(),
            bpffs_mounted: bpffs::mounted_at(bpffs),
            // Where the hooks cannot be read, another check says why.
            blockers: cgroup.and_then(|path| hooks::blockers(path).ok()).unwrap_or_default(),
        }
    }

    /// Everything. `own` are the identifiers of balancer's attached programs, `peers` what the running
    /// agent says of its own.
    pub fn gather(
        cgroup: Option<&Path>,
        bpffs: &Path,
        own: &[u32],
        peers: Option<(CountsView, Vec<PeerView>)>,
    ) -> Self {
        let others = match cgroup {
            None => Err("there is no cgroup2".to_owned()),
            Some(cgroup) => hooks::attached(cgroup)
                .map(|all| all.into_iter().filter(|found| !own.contains(&found.id)).collect())
                .map_err(|error| error.to_string()),
        };
        Self {
            essential: Self::essential(cgroup, bpffs),
            btf: kernel::has_btf(),
            jit: kernel::sysctl("net/core/bpf_jit_enable"),
            unprivileged_bpf_disabled: kernel::sysctl("kernel/unprivileged_bpf_disabled"),
            sees_processes: processes::sees_all(),
            ends_sockets: sockets::can_end().map_err(|error| error.to_string()),
            others,
            conntrack: conntrack::probe(),
            kube_proxy: kubeproxy::probe(),
            outside: Outside::gather(bpffs),
            maps: bpffs::pinned_maps(bpffs),
            peers,
        }
    }
}
