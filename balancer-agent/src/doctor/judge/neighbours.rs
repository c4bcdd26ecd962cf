//! What else is on the node.

use super::{names, ok, warn};
use crate::{
    doctor::{Finding, facts::Facts},
    node::{conntrack::Conntrack, hooks::Attached, kubeproxy::KubeProxy},
};

pub(super) fn others(found: &Result<Vec<Attached>, String>) -> Finding {
    let check = "other-programs";
    match found {
        Err(why) => warn(
            check,
            format!("the programs on the cgroup cannot be listed: {why}"),
            "run doctor as root, with the cgroup that the agent uses",
        ),
        Ok(found) if found.is_empty() => ok(check, "no other program is on the hooks"),
        Ok(found) => warn(
            check,
            format!("other programs are on the same hooks: {}", names(found)),
            "a Service address that one of them replaces first is not balanced: turn its \
             socket-level load balancing off (cilium: socketLB.enabled=false)",
        ),
    }
}

pub(super) fn conntrack(facts: &Facts) -> Finding {
    let check = "conntrack";
    match facts.conntrack {
        Conntrack::Tracking(flows) if !facts.outside.attached.is_empty() => {
            ok(check, format!("on: {flows} flows are tracked; connections from outside need it"))
        }
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

pub(super) fn kube_proxy(facts: &Facts) -> Finding {
    let check = "kube-proxy";
    let left = facts.outside.chains.iter().flatten().flatten().find(|chain| chain.is_kube_proxys());
    match (&facts.kube_proxy, left) {
        (KubeProxy::Mode(mode), _) => {
            ok(check, format!("runs in mode {mode}; it serves what balancer leaves untouched"))
        }
        (KubeProxy::IpvsLeftovers, _) => warn(
            check,
            "the device kube-ipvs0 is there, and nothing answers on 127.0.0.1:10249: kube-proxy answers \
             elsewhere (metricsBindAddress), or it is gone, and its rules lead to what was ready when it ended",
            "where it is gone, clean up after it with `kube-proxy --cleanup`; where it runs, leave all as it is",
        ),
        (KubeProxy::NotSeen, Some(left)) => warn(
            check,
            format!(
                "chain {} of table {} is there, and nothing answers on 127.0.0.1:10249: kube-proxy answers \
                 elsewhere (metricsBindAddress), or it is gone, and its rules lead to what was ready when it \
                 ended",
                left.name, left.table
            ),
            "where it is gone, clean up after it with `kube-proxy --cleanup`, or in its mode nftables with \
             `nft delete table ip kube-proxy` and `nft delete table ip6 kube-proxy`; where it runs, leave all \
             as it is",
        ),
        (KubeProxy::NotSeen, None) => ok(
            check,
            "not seen on 127.0.0.1:10249; unless it answers elsewhere (metricsBindAddress), what balancer \
             leaves untouched needs another proxy",
        ),
    }
}

pub(super) fn maps(facts: &Facts) -> Finding {
    let folder = facts.essential.bpffs.display();
    match facts.maps.maps {
        0 => ok("maps", format!("none is pinned below {folder}: the agent has not run")),
        count => {
            let mebibytes = facts.maps.bytes as f64 / f64::from(1 << 20);
            ok("maps", format!("{count} pinned below {folder}, {mebibytes:.1} MiB"))
        }
    }
}
