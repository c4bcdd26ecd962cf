//! Capabilities of this process.

use std::fs;

/// Bits of `linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// What this process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// CAP_BPF: load programs, make maps. CAP_SYS_ADMIN includes it.
    pub bpf: bool,
    /// CAP_PERFMON: the verifier allows what it forbids others. CAP_SYS_ADMIN includes it.
    pub perfmon: bool,
    /// CAP_NET_ADMIN: attach programs to a cgroup.
    pub net_admin: bool,
    /// CAP_SYS_PTRACE: look at processes of other users.
    pub sys_ptrace: bool,
    /// CAP_SYS_ADMIN: look at the programs of others.
    pub sys_admin: bool,
    /// False in a user namespace, where capabilities mean nothing to BPF.
    pub init_userns: bool,
}

impl Caps {
    /// Those in effect; none where /proc tells nothing.
    pub fn current() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Self::parse(&status, &uid_map)
    }

    fn parse(status: &str, uid_map: &str) -> Self {
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(0);
        let has = |bits: u64| effective & bits != 0;
        let map: Vec<&str> = uid_map.split_whitespace().collect();
        Self {
            bpf: has(BPF | SYS_ADMIN),
            perfmon: has(PERFMON | SYS_ADMIN),
            net_admin: has(NET_ADMIN),
            sys_ptrace: has(SYS_PTRACE),
            sys_admin: has(SYS_ADMIN),
            init_userns: map == ["0", "0", "4294967295"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = "         0          0 4294967295\n";

    #[test]
    fn bits_are_read_and_sys_admin_includes_bpf() {
        let none = Caps::parse("CapPrm:\tffff\nCapEff:\t0000000000000000\n", INIT);
        assert_eq!(
            none,
            Caps {
                bpf: false,
                perfmon: false,
                net_admin: false,
                sys_ptrace: false,
                sys_admin: false,
                init_userns: true
            }
        );
        let pair = Caps::parse("CapEff:\t0000008000001000\n", INIT);
        assert!(pair.bpf && pair.net_admin && !pair.perfmon && !pair.sys_admin, "{pair:?}");
        let root = Caps::parse("CapEff:\t0000000000200000\n", "0 1000 1\n");
        assert!(root.bpf && root.perfmon && !root.init_userns, "{root:?}");
    }
}
