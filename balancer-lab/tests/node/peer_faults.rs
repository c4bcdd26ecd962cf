//! Agents that can't hear each other, or should not: each counts on with what is left, and says what is
//! wrong and how it is mended.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use crate::{
    common::{Connections, VIP},
    nodes::{HEARD, Stage},
    peers::{PEERS, Scene},
};
use balancer_lab::{Agent, Place, manifests::PEERS as SERVICE};
use serde_json::Value;

/// Until a peer is told to be silent, on a busy machine.
const TOLD: Duration = Duration::from_secs(30);
const PORT: u16 = 10_357;

fn status(agent: &Agent) -> Value {
    agent.json(&["status"]).expect("status")
}

/// True if a problem has these words.
fn has_problem(status: &Value, words: &str) -> bool {
    let problems = status["problems"].as_array().expect("an array").iter();
    problems.filter_map(|problem| problem["message"].as_str()).any(|text| text.contains(words))
}

fn await_status(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + TOLD;
    loop {
        let status = status(agent);
        if wanted(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "not {what}: {status:#}\n{}", agent.log().unwrap());
    }
}

fn hears(agent: &Agent, nodes: u64) {
    await_status(agent, &format!("{nodes} nodes"), |status| status["counts"]["nodes"] == nodes);
}

/// In `status` and in the log.
fn await_problem(agent: &Agent, words: &str) {
    await_status(agent, words, |status| has_problem(status, words));
    let deadline = Instant::now() + TOLD;
    while !agent.log().expect("a log").contains(words) {
        assert!(Instant::now() < deadline, "not logged: {words}");
    }
}

fn open(stage: &Stage, node: usize, count: usize) -> Connections {
    let vip: SocketAddr = (VIP, 80).into();
    Connections::open(stage.clients[node].place(), vip, count).opened(vip)
}

/// Rules for datagrams of agents in the network of a node, as `nft` takes them; gone when dropped.
pub struct Rules<'a>(&'a Place);

impl<'a> Rules<'a> {
    pub fn set(place: &'a Place) -> Self {
        let rules = Self(place);
        rules.nft("add table inet peers");
        for hook in ["input", "output"] {
            rules.nft(&format!(
                "add chain inet peers {hook} {{ type filter hook {hook} priority 0; }}"
            ));
        }
        rules
    }

    pub fn with(self, rules: &[(&str, &str)]) -> Self {
        for (hook, rule) in rules {
            self.nft(&format!("add rule inet peers {hook} udp dport {PORT} {rule}"));
        }
        self
    }

    fn nft(&self, command: &str) {
        let status = self.0.command("nft").arg(command).status().expect("nft");
        assert!(status.success(), "nft {command}: {status}");
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        self.nft("delete table inet peers");
    }
}

#[test]
fn an_agent_with_another_key_counts_alone_and_is_named() {
    let mut stage = Stage::start_peers("peers-other-key", 3);
    hears(&stage.agents[0], 3);
    let key = stage.cluster.state_dir().join("other-key");
    fs::write(&key, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    let key = key.display().to_string();
    stage.agents[2].kill().expect("it runs");
    let flags = ["--peers", SERVICE, "--peer-key", &key];
    let agent = Agent::start(&stage.cluster.nodes()[2], stage.manifests.dir(), &flags);
    stage.agents[2] = agent.expect("an agent");
    let words = "node-3 at 172.18.1.3:10357 is sealed with another key";
    await_problem(&stage.agents[0], words);
    await_problem(&stage.agents[2], "give all agents the same file with --peer-key");
    assert_eq!(status(&stage.agents[0])["counts"]["nodes"], 2);
    assert_eq!(status(&stage.agents[2])["counts"]["alone"], "no peer is heard");
    // Each counts on with what it knows.
    let _held = [open(&stage, 0, 2), open(&stage, 2, 2)];
    stage.await_cluster_counts(1, &[Some(1), Some(1)], HEARD);
    assert_eq!((stage.counts(2), stage.cluster_counts(2)), (vec![1, 1], vec![None, None]));
}

#[test]
fn a_blocked_port_is_told_and_mended() {
    let stage = Stage::start_peers("peers-blocked", 3);
    hears(&stage.agents[0], 3);
    let place = stage.cluster.nodes()[2].place();
    let silent = "172.18.1.3:10357 is not heard for 10 s";
    {
        let _rules = Rules::set(place).with(&[("input", "drop"), ("output", "drop")]);
        await_problem(&stage.agents[0], silent);
        await_problem(&stage.agents[2], "let UDP through between the nodes");
        assert_eq!(status(&stage.agents[0])["counts"]["nodes"], 2);
        let _held = [open(&stage, 0, 2), open(&stage, 2, 2)];
        stage.await_cluster_counts(1, &[Some(1), Some(1)], HEARD);
        assert_eq!(stage.counts(2), [1, 1]);
    }
    for agent in &stage.agents {
        hears(agent, 3);
        await_status(agent, "mended", |status| !has_problem(status, "not heard"));
    }
    // One way: it is heard, and hears nobody.
    let _rules = Rules::set(place).with(&[("input", "drop")]);
    await_problem(&stage.agents[2], "let UDP through between the nodes");
    assert_eq!(status(&stage.agents[2])["counts"]["alone"], "no peer is heard");
    assert_eq!(status(&stage.agents[0])["counts"]["nodes"], 3);
    assert!(!has_problem(&status(&stage.agents[0]), silent));
}

#[test]
fn what_is_lost_on_the_way_is_made_up() {
    let stage = Stage::start_peers("peers-loss", 3);
    let _rules: Vec<_> = {
        let nodes = stage.cluster.nodes().iter();
        let lossy = |place| Rules::set(place).with(&[("input", "numgen random mod 20 < 1 drop")]);
        nodes.map(|node| lossy(node.place())).collect()
    };
    for node in [0, 2, 1, 0] {
        let held = open(&stage, node, 4);
        for node in 0..3 {
            stage.await_cluster_counts(node, &[Some(2), Some(2)], HEARD);
        }
        drop(held);
        for node in 0..3 {
            stage.await_cluster_counts(node, &[Some(0), Some(0)], HEARD);
        }
    }
}

#[test]
fn another_node_takes_over_from_a_steward_that_was_killed() {
    let mut stage = Stage::start_peers("peers-steward", 3);
    hears(&stage.agents[0], 3);
    let _held: Vec<_> = (0..3).map(|node| open(&stage, node, 2)).collect();
    stage.await_cluster_counts(0, &[Some(3), Some(3)], HEARD);
    let peers = stage.agents[0].json(&["peers"]).expect("peers");
    let peers = peers.as_array().expect("an array");
    let steward = peers.iter().position(|peer| peer["steward_of"].as_u64() > Some(0));
    let steward = steward.expect("one of them");
    stage.agents[steward].kill().expect("it runs");
    for node in (0..3).filter(|node| *node != steward) {
        // Its own connections count nothing once it was silent for long; nobody is alone.
        stage.await_cluster_counts(node, &[Some(2), Some(2)], TOLD);
        assert_eq!(status(&stage.agents[node])["counts"]["nodes"], 2);
    }
    stage.agents[steward].resume().expect("it starts again");
    for node in 0..3 {
        stage.await_cluster_counts(node, &[Some(3), Some(3)], TOLD);
    }
}

#[test]
fn a_peer_that_lies_counts_until_it_is_left_out() {
    let scene = Scene::start("peers-lie");
    let mut peer = scene.peer_that_is_believed();
    peer.observe(1, 10_000);
    peer.until("believed", |_| scene.shown() == [Some(10_000), Some(0)]);
    let (before, _) = PEERS.rsplit_once("---").expect("three objects");
    scene.manifests.write_text("peers.yaml", before).expect("written");
    peer.until("left out", |_| {
        status(&scene.agent)["counts"]["members"] == 1 && scene.shown() == [None, None]
    });
    let connections = scene.open(4);
    assert_eq!(scene.own(), [2, 2], "by its own counts");
    drop(connections);
}

#[test]
fn a_service_of_peers_that_is_none_is_told() {
    let scene = Scene::start("peers-service");
    let headless = "clusterIP: None";
    for (text, words) in [
        (String::new(), "create it, or name the right one"),
        (PEERS.replace(headless, "clusterIP: 10.96.0.99"), "set spec.clusterIP: None"),
        (PEERS.replace("name: peers, port", "name: other, port"), "add the port"),
        (PEERS.replace("other-node", "lab-node"), "two agents say that they are node lab-node"),
    ] {
        scene.manifests.write_text("peers.yaml", &text).expect("written");
        await_problem(&scene.agent, words);
        let connections = scene.open(4);
        assert_eq!(scene.own(), [2, 2], "{words}");
        drop(connections);
        scene.await_none();
    }
    scene.manifests.write_text("peers.yaml", PEERS).expect("written");
    await_status(&scene.agent, "mended", |status| !has_problem(status, "peers"));
}
