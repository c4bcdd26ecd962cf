use super::*;
use crate::{
    doctor::facts::Outside,
    nat::chains::{Base, Chain},
    node::{
        bpffs::PinnedMaps,
        caps::Caps,
        cgroup::Kind,
        conntrack::Conntrack,
        hooks::{Attached, Hook},
        kubeproxy::KubeProxy,
    },
    testing,
    view::{CountsView, PeerView},
};

fn good() -> Facts {
    Facts {
        essential: Essential {
            caps: Caps {
                bpf: true,
                perfmon: true,
                net_admin: true,
                sys_ptrace: true,
                sys_admin: true,
                init_userns: true,
            },
            release: "6.18.4".into(),
            clock_offset_ns: 0,
            cgroup: Some("/sys/fs/cgroup".into()),
            cgroup_kind: Kind::Root,
            bpffs: "/sys/fs/bpf/balancer".into(),
            bpffs_mounted: true,
            blockers: Vec::new(),
        },
        btf: true,
        jit: Some(1),
        unprivileged_bpf_disabled: Some(2),
        sees_processes: true,
        ends_sockets: Ok(true),
        others: Ok(Vec::new()),
        conntrack: Conntrack::Idle,
        kube_proxy: KubeProxy::NotSeen,
        outside: Outside {
            uplinks: Ok(vec!["eth0".into()]),
            attached: Vec::new(),
            chains: Some(Ok(Vec::new())),
            tracking: None,
        },
        maps: PinnedMaps { maps: 9, bytes: 3 << 20 },
        peers: None,
    }
}

/// Seven nodes, of which one at a place in the list is silent.
fn peers(silent: usize) -> (CountsView, Vec<PeerView>) {
    let mut peers = testing::peers();
    for (index, peer) in peers.iter_mut().enumerate() {
        (peer.version, peer.heard_ms) = (None, Some(if index == silent { 9_000 } else { 200 }));
    }
    (testing::status().counts.expect("counts"), peers)
}

/// A node that serves connections from outside.
fn serving() -> Outside {
    Outside {
        attached: vec!["eth0".into()],
        chains: Some(Ok(vec![chain("balancer", "lead")])),
        tracking: Some(Ok(())),
        ..good().outside
    }
}

fn chain(table: &str, name: &str) -> Chain {
    Chain { table: table.into(), name: name.into(), base: None }
}

fn program() -> Attached {
    Attached { hook: Hook::Connect4, id: 7, name: "cil_sock4_connect".into() }
}

/// A node that differs from a good one in one thing, and what must be said of it.
type Case = (fn(&mut Facts), &'static str, Outcome, &'static str);

const CASES: &[Case] = &[
    (
        |f| f.essential.release = "5.10.0-32-amd64".into(),
        "kernel",
        Outcome::Fail,
        "5.10.0-32-amd64 is too old",
    ),
    (|_| {}, "peers", Outcome::Ok, "no agent answers"),
    (|f| f.peers = Some(peers(0)), "peers", Outcome::Ok, "of all 7 nodes are counted"),
    (|f| f.peers = Some(peers(2)), "peers", Outcome::Warn, "silent are worker-3"),
    (
        |f| f.peers = Some((CountsView::alone("no --peers"), Vec::new())),
        "peers",
        Outcome::Ok,
        "alone: no --peers",
    ),
    (
        |f| {
            let counts = CountsView { members: 3, ..CountsView::alone("no peer key") };
            f.peers = Some((counts, peers(0).1));
        },
        "peers",
        Outcome::Warn,
        "3 nodes have an agent, and this one counts alone: no peer key",
    ),
    (
        |f| {
            let (counts, mut all) = peers(0);
            all[1].version = Some(2);
            f.peers = Some((counts, all));
        },
        "peers",
        Outcome::Warn,
        "speak another version and are refused: worker-2",
    ),
    (|f| f.essential.release = "5.15.0".into(), "kernel", Outcome::Ok, "5.15"),
    (|f| f.essential.release = "5.15.0".into(), "errno", Outcome::Warn, "left to kube-proxy"),
    (|f| f.essential.release = "5.18.0".into(), "errno", Outcome::Ok, "ECONNREFUSED"),
    (|f| f.essential.release = "?".into(), "kernel", Outcome::Warn, "cannot be read"),
    (|_| {}, "clock", Outcome::Ok, "that of the programs"),
    (|f| f.essential.clock_offset_ns = 36_000_000_000_000, "clock", Outcome::Fail, "36000 s ahead"),
    (|f| f.essential.clock_offset_ns = -500_000_000, "clock", Outcome::Fail, "0.5 s behind"),
    (|f| f.essential.caps.bpf = false, "privileges", Outcome::Fail, "lacks CAP_BPF"),
    (|f| f.essential.caps.net_admin = false, "privileges", Outcome::Fail, "CAP_NET_ADMIN"),
    (|f| f.essential.caps.perfmon = false, "privileges", Outcome::Fail, "CAP_PERFMON"),
    (|f| f.essential.caps.sys_admin = false, "privileges", Outcome::Warn, "CAP_SYS_ADMIN"),
    (|f| f.essential.caps.init_userns = false, "privileges", Outcome::Fail, "user namespace"),
    (|f| f.essential.cgroup = None, "cgroup", Outcome::Fail, "not mounted"),
    (|f| f.essential.cgroup_kind = Kind::Foreign, "cgroup", Outcome::Fail, "/sys/fs/cgroup"),
    (|f| f.essential.cgroup_kind = Kind::Child, "cgroup", Outcome::Warn, "not the root"),
    (|f| f.essential.bpffs_mounted = false, "bpffs", Outcome::Fail, "/sys/fs/bpf/balancer"),
    (|f| f.sees_processes = false, "processes", Outcome::Warn, "cannot be seen"),
    (|f| f.essential.caps.sys_ptrace = false, "processes", Outcome::Warn, "CAP_SYS_PTRACE"),
    (|f| f.ends_sockets = Ok(false), "socket-destroy", Outcome::Warn, "INET_DIAG_DESTROY"),
    (|f| f.ends_sockets = Err("no".into()), "socket-destroy", Outcome::Warn, "be asked"),
    (|f| f.btf = false, "btf", Outcome::Warn, "vmlinux"),
    (|f| f.jit = Some(0), "jit", Outcome::Warn, "interpreted"),
    (|f| f.jit = None, "jit", Outcome::Ok, "cannot be seen"),
    (|f| f.unprivileged_bpf_disabled = Some(0), "unprivileged-bpf", Outcome::Warn, "every user"),
    (
        |f| f.others = Ok(vec![program()]),
        "other-programs",
        Outcome::Warn,
        "cil_sock4_connect (id 7, cgroup_inet4_connect)",
    ),
    (
        |f| f.essential.blockers = vec![program()],
        "attach",
        Outcome::Fail,
        "beside cil_sock4_connect",
    ),
    (|f| f.others = Err("no".into()), "other-programs", Outcome::Warn, "listed: no"),
    (|f| f.conntrack = Conntrack::Tracking(12), "conntrack", Outcome::Warn, "12 flows"),
    (|f| f.conntrack = Conntrack::Absent, "conntrack", Outcome::Ok, "not loaded"),
    (|f| f.kube_proxy = KubeProxy::Mode("nftables".into()), "kube-proxy", Outcome::Ok, "nftables"),
    (|_| {}, "kube-proxy", Outcome::Ok, "unless it answers elsewhere"),
    (
        |f| f.kube_proxy = KubeProxy::IpvsLeftovers,
        "kube-proxy",
        Outcome::Warn,
        "kube-proxy answers elsewhere (metricsBindAddress), or it is gone",
    ),
    (
        |f| {
            f.outside = serving();
            f.conntrack = Conntrack::Tracking(12);
        },
        "conntrack",
        Outcome::Ok,
        "connections from outside need it",
    ),
    (
        |f| f.outside.chains = Some(Ok(vec![chain("kube-proxy", "services")])),
        "kube-proxy",
        Outcome::Warn,
        "chain services of table kube-proxy is there, and nothing answers on 127.0.0.1:10249: kube-proxy \
         answers elsewhere (metricsBindAddress), or it is gone",
    ),
    (
        |f| {
            f.kube_proxy = KubeProxy::Mode("iptables".into());
            f.outside.chains = Some(Ok(vec![chain("nat", "KUBE-SERVICES")]));
        },
        "kube-proxy",
        Outcome::Ok,
        "runs in mode iptables",
    ),
    (|_| {}, "outside-devices", Outcome::Ok, "left to kube-proxy"),
    (|f| f.outside = serving(), "outside-devices", Outcome::Ok, "are on eth0"),
    (
        |f| f.outside = Outside { uplinks: Ok(vec!["eth1".into()]), ..serving() },
        "outside-devices",
        Outcome::Warn,
        "on eth0, and not on eth1",
    ),
    (|f| f.outside = serving(), "nf-tables", Outcome::Ok, "table balancer"),
    (
        |f| f.outside = Outside { chains: Some(Ok(Vec::new())), ..serving() },
        "nf-tables",
        Outcome::Warn,
        "no rule leads",
    ),
    (|f| f.outside.chains = None, "nf-tables", Outcome::Ok, "not asked: it is not loaded"),
    (|f| f.outside.chains = Some(Err("no".into())), "nf-tables", Outcome::Warn, "no: connections"),
    (|f| f.outside = serving(), "outside-conntrack", Outcome::Ok, "can be asked"),
    (
        |f| f.outside.tracking = Some(Err("no".into())),
        "outside-conntrack",
        Outcome::Warn,
        "no: connections from outside that end without a packet stay counted",
    ),
    (
        |f| {
            let mut first = chain("firewall", "in");
            first.base = Some(Base { kind: "nat".into(), hook: 0, priority: -150 });
            f.outside =
                Outside { chains: Some(Ok(vec![chain("balancer", "lead"), first])), ..serving() };
        },
        "outside-nat",
        Outcome::Warn,
        "in of table firewall",
    ),
    (|f| f.maps = PinnedMaps::default(), "maps", Outcome::Ok, "none is pinned"),
];

#[test]
fn a_good_node_passes_every_check() {
    for finding in examine(&good()) {
        assert_eq!(finding.result, Outcome::Ok, "{finding:?}");
        assert_eq!(finding.remedy, None, "{finding:?}");
    }
}

#[test]
fn each_fault_is_found_named_and_given_a_remedy() {
    for (spoil, check, result, detail) in CASES {
        let mut facts = good();
        spoil(&mut facts);
        let findings = examine(&facts);
        let found = findings.iter().find(|finding| finding.check == *check).expect(check);
        assert_eq!(found.result, *result, "{found:?}");
        assert!(found.detail.contains(detail), "{found:?} does not contain {detail:?}");
        assert_eq!(found.remedy.is_some(), *result != Outcome::Ok, "{found:?}");
    }
}

#[test]
fn names_of_checks_are_unique() {
    let findings = examine(&good());
    let names: BTreeSet<_> = findings.iter().map(|finding| &finding.check).collect();
    assert_eq!(names.len(), findings.len(), "{names:?}");
}
