//! Decides what the facts mean. Pure: an old kernel needs no old kernel to be tested.

use std::collections::BTreeSet;

use super::{
    Finding, Outcome,
    facts::{Essential, Facts},
};
use crate::node::{cgroup::Kind, conntrack::Conntrack, kernel::Version, kubeproxy::KubeProxy};

/// The oldest kernel whose verifier takes the programs.
pub const OLDEST: Version = Version { major: 5, minor: 15 };
/// The first kernel where a program chooses the errno of `connect()`.
pub const SETS_ERRNO: Version = Version { major: 5, minor: 18 };

/// Every check, those that `run` insists on first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = essential(&facts.essential);
    findings.extend([
        errno(&facts.essential.release),
        btf(facts.btf),
        jit(facts.jit),
        unprivileged(facts.unprivileged_bpf_disabled),
        others(&facts.others),
        conntrack(facts.conntrack),
        kube_proxy(&facts.kube_proxy),
        maps(facts),
    ]);
    findings
}

/// The checks that `run` insists on, in the order in which they are worth mending.
pub fn essential(facts: &Essential) -> Vec<Finding> {
    vec![kernel(&facts.release), privileges(facts), cgroup(facts), bpffs(facts)]
}

fn ok(check: &str, detail: impl Into<String>) -> Finding {
    Finding { check: check.into(), result: Outcome::Ok, detail: detail.into(), remedy: None }
}

fn warn(check: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { result: Outcome::Warn, remedy: Some(remedy.into()), ..ok(check, detail) }
}

fn fail(check: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { result: Outcome::Fail, remedy: Some(remedy.into()), ..ok(check, detail) }
}

fn kernel(release: &str) -> Finding {
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

fn privileges(facts: &Essential) -> Finding {
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

fn cgroup(facts: &Essential) -> Finding {
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

fn bpffs(facts: &Essential) -> Finding {
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

fn errno(release: &str) -> Finding {
    match Version::parse(release) {
        Some(version) if version < SETS_ERRNO => warn(
            "errno",
            format!(
                "kernel {version} cannot choose the errno of connect(): a Service without \
                 endpoints is left to kube-proxy"
            ),
            format!("Linux {SETS_ERRNO} or newer refuses such connections at once"),
        ),
        _ => ok("errno", "a Service without endpoints is refused with ECONNREFUSED"),
    }
}

fn btf(present: bool) -> Finding {
    if present {
        return ok("btf", "/sys/kernel/btf/vmlinux is there");
    }
    fail(
        "btf",
        "the kernel does not describe its types (no /sys/kernel/btf/vmlinux)",
        "use a kernel with CONFIG_DEBUG_INFO_BTF, as all large distributions build it",
    )
}

fn jit(setting: Option<u32>) -> Finding {
    match setting {
        Some(0) => warn(
            "jit",
            "BPF programs are interpreted, which makes each connect() slower",
            "turn the compiler on with `sysctl -w net.core.bpf_jit_enable=1`",
        ),
        Some(_) => ok("jit", "BPF programs are compiled"),
        None => ok("jit", "net.core.bpf_jit_enable cannot be seen from this network namespace"),
    }
}

fn unprivileged(disabled: Option<u32>) -> Finding {
    match disabled {
        Some(0) => warn(
            "unprivileged-bpf",
            "every user of this node may load BPF programs",
            "balancer does not need that: `sysctl -w kernel.unprivileged_bpf_disabled=2`",
        ),
        Some(_) => ok("unprivileged-bpf", "only privileged processes may load BPF programs"),
        None => ok("unprivileged-bpf", "kernel.unprivileged_bpf_disabled cannot be read"),
    }
}

fn others(found: &Result<Vec<crate::node::hooks::Attached>, String>) -> Finding {
    let check = "other-programs";
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            return warn(
                check,
                format!("the programs on the cgroup cannot be listed: {why}"),
                "run doctor as root, with the cgroup that the agent uses",
            );
        }
    };
    let list = |exclusive: bool| {
        let programs: BTreeSet<String> = found
            .iter()
            .filter(|program| program.exclusive || !exclusive)
            .map(|program| {
                let name = if program.name.is_empty() { "nameless" } else { &program.name };
                format!("{name} (id {}, {})", program.id, program.hook.name())
            })
            .collect();
        programs.into_iter().collect::<Vec<_>>().join(", ")
    };
    if found.iter().any(|program| program.exclusive) {
        return fail(
            check,
            format!("attached exclusively, nothing can be attached beside it: {}", list(true)),
            "detach it with `bpftool cgroup detach`, or have its owner attach it with \
             BPF_F_ALLOW_MULTI",
        );
    }
    if found.is_empty() {
        return ok(check, "no other program is on the hooks");
    }
    warn(
        check,
        format!("other programs are on the same hooks: {}", list(false)),
        "a Service address that one of them replaces first is not balanced: turn its \
         socket-level load balancing off (cilium: socketLB.enabled=false)",
    )
}

fn conntrack(seen: Conntrack) -> Finding {
    let check = "conntrack";
    match seen {
        Conntrack::Absent => ok(check, "connection tracking is not loaded: connects cost nothing"),
        Conntrack::Idle => ok(
            check,
            "off in this network namespace: a datagram over loopback was not tracked, so no rule \
             needs it",
        ),
        Conntrack::Tracking(flows) => warn(
            check,
            format!("on in this network namespace: {flows} flows are tracked"),
            "balanced connections do not need it, but pay for it as long as rules (of kube-proxy, \
             the network plugin or a firewall) do",
        ),
    }
}

fn kube_proxy(seen: &KubeProxy) -> Finding {
    let check = "kube-proxy";
    match seen {
        KubeProxy::Mode(mode) => {
            ok(check, format!("runs in mode {mode}; it serves what balancer leaves untouched"))
        }
        KubeProxy::IpvsLeftovers => warn(
            check,
            "the device kube-ipvs0 is there, but nothing answers on 127.0.0.1:10249",
            "if kube-proxy was removed, clean up after it with `kube-proxy --cleanup`",
        ),
        KubeProxy::NotSeen => ok(
            check,
            "not seen on 127.0.0.1:10249; what balancer leaves untouched needs another proxy",
        ),
    }
}

fn maps(facts: &Facts) -> Finding {
    let folder = facts.essential.bpffs.display();
    match facts.maps.maps {
        0 => ok("maps", format!("none is pinned below {folder}: the agent has not run")),
        count => {
            let mebibytes = facts.maps.bytes as f64 / f64::from(1 << 20);
            ok("maps", format!("{count} pinned below {folder}, {mebibytes:.1} MiB"))
        }
    }
}

#[cfg(test)]
mod tests;
