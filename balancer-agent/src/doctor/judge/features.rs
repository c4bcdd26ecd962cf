//! What the kernel offers.

use super::{SETS_ERRNO, ok, warn};
use crate::{
    doctor::{Finding, facts::Facts},
    node::kernel::Version,
};

pub(super) fn errno(release: &str) -> Finding {
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

pub(super) fn protocols() -> Finding {
    ok("protocols", "TCP and UDP are balanced; SCTP and raw sockets are left alone, for kube-proxy")
}

pub(super) fn processes(facts: &Facts) -> Finding {
    let (detail, remedy) = match (facts.sees_processes, facts.essential.caps.sys_ptrace) {
        (true, true) => {
            let found = "processes of pods can be seen: their network namespaces are found";
            return ok("processes", found);
        }
        (false, _) => (
            "processes of pods cannot be seen from this namespace of processes",
            "run it in that of the machine (`hostPID: true` in a pod)",
        ),
        (true, false) => (
            "without CAP_SYS_PTRACE the network namespaces of other users' processes are hidden",
            "run it as root, or add CAP_SYS_PTRACE",
        ),
    };
    let effect = "source ranges do not know their clients, and UDP sockets stay connected to \
                  backends that are gone";
    warn("processes", format!("{detail}: {effect}"), remedy)
}

pub(super) fn socket_destroy(ends: &Result<bool, String>) -> Finding {
    const NAME: &str = "socket-destroy";
    let problem = match ends {
        Ok(true) => {
            return ok(NAME, "connected UDP sockets are ended when their backend is gone");
        }
        Ok(false) => "the kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY)".to_owned(),
        Err(error) => format!("the kernel cannot be asked to end sockets: {error}"),
    };
    warn(
        NAME,
        format!("{problem}: connected UDP sockets wait for backends that are gone"),
        "use a kernel with CONFIG_INET_DIAG_DESTROY, as all large distributions build it",
    )
}

pub(super) fn btf(present: bool) -> Finding {
    if present {
        return ok("btf", "/sys/kernel/btf/vmlinux is there");
    }
    warn(
        "btf",
        "the kernel does not describe its types (no /sys/kernel/btf/vmlinux): balancing works, \
         bpftool and tracers see less of it",
        "use a kernel with CONFIG_DEBUG_INFO_BTF, as all large distributions build it",
    )
}

pub(super) fn jit(setting: Option<u32>) -> Finding {
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

pub(super) fn unprivileged(disabled: Option<u32>) -> Finding {
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
