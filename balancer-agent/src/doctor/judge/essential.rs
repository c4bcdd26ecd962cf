//! What balancing cannot do without.

use super::{OLDEST, fail, names, ok, warn};
use crate::{
    doctor::{Finding, facts::Essential},
    node::{cgroup::Kind, hooks::Attached, kernel::Version},
};

pub(super) fn kernel(release: &str) -> Finding {
    match Version::parse(release) {
        Some(version) if version < OLDEST => fail(
            "kernel",
            format!("kernel {release} is too old"),
            format!("balancer needs Linux {OLDEST} or newer"),
        ),
        Some(_) => ok("kernel", format!("{release}, {OLDEST} or newer is needed")),
        None => warn(
            "kernel",
            format!("the kernel release {release:?} cannot be read"),
            format!("make sure that it is Linux {OLDEST} or newer"),
        ),
    }
}

pub(super) fn privileges(facts: &Essential) -> Finding {
    let caps = facts.caps;
    let lacking: Vec<_> = [(caps.bpf, "CAP_BPF"), (caps.net_admin, "CAP_NET_ADMIN")]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
    if !lacking.is_empty() {
        return fail(
            "privileges",
            format!("this process lacks {}", lacking.join(" and ")),
            "run it as root, or in a privileged container",
        );
    }
    if !caps.init_userns {
        return fail(
            "privileges",
            "this process is in a user namespace, where its capabilities do not count for BPF",
            "run it as root of the machine, without user namespaces",
        );
    }
    match (caps.perfmon, caps.sys_admin) {
        (true, true) => {
            ok("privileges", "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN are there")
        }
        (false, _) => fail(
            "privileges",
            "this process lacks CAP_PERFMON, without which the verifier refuses the programs",
            "run it as root, or add CAP_PERFMON",
        ),
        (true, false) => warn(
            "privileges",
            "without CAP_SYS_ADMIN the programs of others have no names here",
            "run it as root to see them",
        ),
    }
}

/// Ages of connections are the difference of the two clocks, and connections are ended by age.
pub(super) fn clock(offset_ns: i128) -> Finding {
    if offset_ns == 0 {
        return ok("clock", "the clock of this process is that of the programs in the kernel");
    }
    let side = if offset_ns > 0 { "ahead of" } else { "behind" };
    let seconds = offset_ns.unsigned_abs() as f64 / 1e9;
    fail(
        "clock",
        format!(
            "this process is in a time namespace, where CLOCK_MONOTONIC is {seconds} s {side} that \
             of the programs: every age of a connection would be wrong"
        ),
        "run it in the time namespace of the node, with `nsenter --time --target 1` or without \
         `unshare --time`",
    )
}

pub(super) fn cgroup(facts: &Essential) -> Finding {
    let Some(path) = &facts.cgroup else {
        return fail(
            "cgroup",
            "cgroup2 is not mounted",
            "mount it with `mount -t cgroup2 none /sys/fs/cgroup` (in a container, mount the \
             host's /sys/fs/cgroup), or name it with --cgroup",
        );
    };
    let path = path.display();
    match facts.cgroup_kind {
        Kind::Root => ok("cgroup", format!("{path} is the root of cgroup2: all pods are covered")),
        Kind::Child => warn(
            "cgroup",
            format!("{path} is not the root of cgroup2: only processes below it are balanced"),
            "if that is not meant, give the root with --cgroup; in a container, mount the host's \
             /sys/fs/cgroup and leave the cgroup namespace of the container",
        ),
        Kind::Foreign => fail(
            "cgroup",
            format!("{path} is not a folder of cgroup2"),
            "give one with --cgroup, such as the mount of type cgroup2 in /proc/self/mountinfo",
        ),
    }
}

pub(super) fn bpffs(facts: &Essential) -> Finding {
    let path = facts.bpffs.display();
    if facts.bpffs_mounted {
        return ok("bpffs", format!("{path} is on a BPF file system"));
    }
    fail(
        "bpffs",
        format!("{path} is not on a BPF file system"),
        "mount one with `mount -t bpf bpf /sys/fs/bpf` (in a container, mount the host's \
         /sys/fs/bpf), or name one with --bpffs",
    )
}

pub(super) fn attach(blockers: &[Attached]) -> Finding {
    let check = "attach";
    if blockers.is_empty() {
        return ok(check, "programs can be attached to the hooks beside others");
    }
    fail(
        check,
        format!("nothing can be attached beside {}", names(blockers)),
        "detach it with `bpftool cgroup detach`, or have its owner attach it with \
         BPF_F_ALLOW_MULTI",
    )
}
