//! Programs and rules for connections from outside, and what happens without them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::programs::loaded_programs;
use aya_obj::generated::bpf_attach_type::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};
use balancer_lab::Agent;
use serde_json::json;

use super::stage::{READY, Stage};
use crate::{
    common::{Connections, bpf, dial},
    verifier,
};

#[test]
fn connections_from_outside_outlive_the_agent_and_are_counted_without_it() {
    let mut stage = Stage::start("outside-crash");
    let target = stage.at(0);
    let outside = stage.cluster.outside().clone();
    let first = Connections::open(&outside, target, 6).opened(target);
    stage.agents[0].kill().expect("it runs");
    let second = Connections::open(&outside, target, 6).opened(target);
    drop(first);
    stage.agents[0].launch().expect("started again");
    stage.await_counts(0, &[2, 2, 2]);
    drop(second);
    stage.await_counts(0, &[0, 0, 0]);
}

/// Nobody sees their ends any more.
#[test]
fn an_agent_without_outside_traffic_leaves_no_connection_counted() {
    let mut stage = Stage::start("outside-off");
    let target = stage.at(0);
    let _held = Connections::open(stage.cluster.outside(), target, 6).opened(target);
    assert_eq!(stage.counts(0), [2, 2, 2]);
    stage.agents[0].terminate().expect("it runs");
    let agent = Agent::start(&stage.cluster.nodes()[0], stage.manifests.dir(), &[]);
    stage.agents[0] = agent.expect("started without it");
    assert_eq!(stage.counts(0), [0, 0, 0]);
    assert_eq!(stage.pins(0, "outside_"), [""; 0].map(PathBuf::from));
    // And the other way round: what begins then is counted.
    stage.agents[0].terminate().expect("it runs");
    let flags = ["--outside-traffic"];
    let agent = Agent::start(&stage.cluster.nodes()[0], stage.manifests.dir(), &flags);
    stage.agents[0] = agent.expect("started with it");
    let deadline = Instant::now() + READY;
    while dial(stage.cluster.outside(), target)["peer"] == json!(null) {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    stage.await_counts(0, &[0, 0, 0]);
    let _held = Connections::open(stage.cluster.outside(), target, 3).opened(target);
    assert_eq!(stage.counts(0), [1, 1, 1]);
}

#[test]
fn programs_that_others_take_off_a_device_are_put_back() {
    let stage = Stage::start("outside-taken-off");
    let target = stage.at(0);
    let [incoming, outgoing] = ["outside_in", "outside_out"].map(|program| {
        let mut pins = stage.pins(0, program);
        assert_eq!(pins.len(), 1, "{pins:?}");
        pins.remove(0)
    });
    fs::remove_file(&incoming).expect("removed");
    bpf::detach(&outgoing);
    let deadline = Instant::now() + Duration::from_secs(2);
    let said_so = || stage.agents[0].log().expect("a log").contains("taken off by somebody else");
    while !said_so() {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    let held = Connections::open(stage.cluster.outside(), target, 3).opened(target);
    assert_eq!(stage.counts(0), [1, 1, 1]);
    drop(held);
    stage.await_counts(0, &[0, 0, 0]);
    assert_eq!(stage.agents[0].json(&["status"]).expect("status")["outside"], json!(["eth0"]));
}

/// As on kernels before 6.6: here others leave no room at the newer hook of the device.
#[test]
fn a_device_that_takes_no_links_is_served_by_filters() {
    let mut stage = Stage::start("outside-clsact");
    let target = stage.at(0);
    let node = stage.cluster.nodes()[0].place().clone();
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    let fill = || [BPF_TCX_INGRESS, BPF_TCX_EGRESS].map(|side| bpf::fill("eth0", side));
    let _taken = node.within(fill).expect("a place");
    stage.agents[0].resume().expect("started");
    let balanced = |stage: &Stage| {
        let deadline = Instant::now() + READY;
        while dial(stage.cluster.outside(), target)["peer"] == json!(null) {
            assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
        }
        stage.await_counts(0, &[0, 0, 0]);
        let held = Connections::open(stage.cluster.outside(), target, 3).opened(target);
        assert_eq!(stage.counts(0), [1, 1, 1]);
        drop(held);
        stage.await_counts(0, &[0, 0, 0]);
    };
    balanced(&stage);
    assert_eq!(stage.agents[0].json(&["status"]).expect("status")["outside"], json!(["eth0"]));
    let filters = |side: &str| {
        let mut tc = node.command("tc");
        let output = tc.args(["filter", "show", "dev", "eth0", side]).output().expect("tc");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let both = || [filters("ingress"), filters("egress")];
    let [incoming, outgoing] = both();
    assert!(incoming.contains("outside_in direct-action"), "{incoming}");
    assert!(outgoing.contains("outside_out direct-action"), "{outgoing}");

    // Without an agent, and through the next one, which puts its programs in their place.
    stage.agents[0].kill().expect("it runs");
    balanced(&stage);
    stage.agents[0].resume().expect("started");
    balanced(&stage);
    assert_ne!(both(), [incoming, outgoing], "the programs of an agent that is gone");

    let mut tc = node.command("tc");
    let gone = tc.args(["filter", "del", "dev", "eth0", "ingress"]).status().expect("tc");
    assert!(gone.success());
    balanced(&stage);
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    assert_eq!(both(), ["", ""]);
}

#[test]
fn rules_that_others_remove_are_put_back() {
    let stage = Stage::start("outside-flush");
    for removal in ["flush ruleset", "flush table ip balancer", "delete chain ip balancer lead"] {
        stage.nft(0, &[removal]);
        let deadline = Instant::now() + Duration::from_secs(2);
        while dial(stage.cluster.outside(), stage.at(0))["peer"] == json!(null) {
            let log = stage.agents[0].log().unwrap_or_default();
            assert!(Instant::now() < deadline, "{removal}: {log}");
        }
    }
}

#[test]
fn a_table_of_others_with_our_name_is_told_of_and_stays() {
    let mut stage = Stage::start("outside-others");
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    let others = "table ip balancer { chain lead { type filter hook input priority 0; }; }";
    stage.nft(0, &[others]);
    let ipv4 = ["list", "table", "ip", "balancer"];
    let listed = stage.nft(0, &ipv4);
    stage.agents[0].resume().expect("started");
    let deadline = Instant::now() + READY;
    let told = |stage: &Stage| {
        let status = stage.agents[0].json(&["status"]).expect("status");
        let problems = status["problems"].to_string();
        problems.contains("`nft delete table ip balancer`")
            && problems.contains("since they serve the other family")
    };
    while !told(&stage) {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    assert_eq!(stage.nft(0, &ipv4), listed);
    // The other family is served.
    assert!(stage.nft(0, &["list", "tables"]).contains("table ip6 balancer"));

    // An agent that does not serve them, and cleanup, leave it alone, too.
    stage.agents[0].terminate().expect("it runs");
    let agent = Agent::start(&stage.cluster.nodes()[0], stage.manifests.dir(), &[]);
    stage.agents[0] = agent.expect("started without it");
    assert_eq!(stage.nft(0, &["list", "tables"]), "table ip balancer\n");
    assert_eq!(stage.counts(0), [0, 0, 0]);
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    assert_eq!(stage.nft(0, &ipv4), listed);
}

#[test]
fn cleanup_takes_programs_and_rules_away_and_connections_go_on() {
    let mut stage = Stage::start("outside-cleanup");
    // Others have a rule of NAT, too: without any, nothing is tracked any more.
    let others = "table ip others { chain out { type nat hook postrouting priority 100; \
                  ip saddr 192.0.2.0/24 masquerade; }; }";
    stage.nft(0, &[others]);
    let target = stage.at(0);
    let open = move || TcpStream::connect(target);
    let mut streams: Vec<TcpStream> = (0..6)
        .map(|_| stage.cluster.outside().within(open).expect("a place").expect("open"))
        .collect();
    assert_eq!(stage.counts(0), [2, 2, 2]);
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    assert_eq!(stage.nft(0, &["list", "tables"]), "table ip others\n");
    // Nobody listens at the port itself.
    let said = dial(stage.cluster.outside(), target);
    assert_eq!(said["errno"], nix::libc::ECONNREFUSED, "{said}");
    for stream in &mut streams {
        stream.set_read_timeout(Some(READY)).expect("set");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered and closed");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Also rules that no program leads to.
    stage.agents[1].terminate().expect("it runs");
    for pin in stage.pins(1, "outside_") {
        fs::remove_file(pin).expect("removed");
    }
    stage.agents[1].cli(&["cleanup"]).expect("removed");
    assert_eq!(stage.nft(1, &["list", "tables"]), "");
}

/// Also where other agents run beside this one.
#[test]
fn programs_for_packets_do_not_come_near_the_limit_of_the_verifier() {
    let _stage = Stage::start("outside-verifier");
    // The kernel keeps 15 bytes of a name. Those of others may be gone while they are listed.
    let loaded = loaded_programs().filter_map(Result::ok);
    let ours = loaded.filter(|info| info.name_as_str() == Some("balancer_outsid"));
    // Not told before Linux 5.16.
    let counts: Vec<u32> =
        ours.map(|info| info.verified_instruction_count().unwrap_or(0)).collect();
    assert!(counts.len() >= 4, "two on each node: {counts:?}");
    assert!(counts.iter().all(|count| *count <= verifier::MOST), "{counts:?}");
    println!("verified for packets {counts:?}");
}
