//! What goes wrong while connections of several nodes move: the fewest are ended all the same.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{self, VIP},
    peer_faults::Rules,
    permits::{EVEN, HEARD, Stage, ended_by},
};
use balancer_lab::{Agent, manifests::Service};

/// How long clients go on.
const LIFE: Duration = Duration::from_secs(60);

impl Stage {
    /// Until connections were ended for the sake of balance: a round has begun.
    fn await_round(&self) {
        let deadline = Instant::now() + EVEN;
        while self.ended() == 0 {
            assert!(Instant::now() < deadline, "nothing is ended");
        }
    }

    /// The agent that permits.
    fn steward(&self) -> usize {
        let peers = self.agents[0].json(&["peers"]).expect("peers");
        let peers = peers.as_array().expect("an array");
        let steward = peers.iter().position(|peer| peer["steward_of"].as_u64() > Some(0));
        steward.expect("one of them")
    }

    fn hears(&self, node: usize, nodes: u64) {
        let deadline = Instant::now() + HEARD;
        loop {
            let status = self.agents[node].json(&["status"]).expect("status");
            if status["counts"]["nodes"] == nodes {
                return;
            }
            assert!(Instant::now() < deadline, "node {node} hears not {nodes}: {status:#}");
        }
    }
}

#[test]
fn the_steward_is_killed_in_the_midst_of_a_round() {
    let mut stage = Stage::start_for(LIFE, "permits-killed", 6, [3, 1], 1);
    let steward = stage.steward();
    stage.publish(3);
    stage.await_round();
    let own = ended_by(&stage.agents[steward], "rebalance");
    stage.agents[steward].kill().expect("it runs");
    // Another one takes over. The dead agent's connection stays wherever it is, and counts for 10 s.
    let nearly = |totals: &[u64]| totals[0] <= totals[2] + 2;
    stage.await_totals("nearly even", HEARD + EVEN, nearly);
    stage.agents[steward].resume().expect("it starts again");
    stage.hears(steward, 6);
    thread::sleep(Duration::from_secs(5));
    let totals = stage.totals();
    assert!(nearly(&totals) && totals.iter().sum::<u64>() == 6, "{totals:?}");
    // What the dead one has ended after it was asked nobody knows.
    let ended = own + stage.ended();
    assert!((2..=5).contains(&ended), "{ended}");
    stage.assert_served();
}

#[test]
fn a_node_that_falls_silent_and_one_that_joins_take_part_when_they_are_heard() {
    let mut stage = Stage::start_for(LIFE, "permits-silent", 6, [3, 1], 1);
    let steward = stage.steward();
    let silent = (steward + 1) % 6;
    let joins = (steward + 2) % 6;
    stage.agents[joins].kill().expect("it runs");
    stage.publish(3);
    stage.await_round();
    {
        let place = stage.cluster.nodes()[silent].place();
        let _rules = Rules::set(place).with(&[("input", "drop"), ("output", "drop")]);
        stage.agents[joins].resume().expect("it starts again");
        stage.hears(joins, 5);
    }
    stage.await_totals("even", HEARD + EVEN, |totals| totals == [2, 2, 2]);
    // Those of the dead agent and of the silent one may have counted for nothing meanwhile.
    let ended = stage.ended();
    assert!((4..=5).contains(&ended), "{ended}");
    stage.assert_served();
}

/// It moves its own by its own counts, and never against what the cluster wants.
#[test]
fn a_node_that_is_blocked_decides_alone_and_fits_in_afterwards() {
    let mut stage = Stage::start_for(LIFE, "permits-blocked", 4, [3, 1], 3);
    let blocked = (stage.steward() + 1) % 4;
    {
        let place = stage.cluster.nodes()[blocked].place();
        let _rules = Rules::set(place).with(&[("input", "drop"), ("output", "drop")]);
        stage.hears(blocked, 1);
        stage.publish(3);
        let alone = |stage: &Stage| {
            let services = stage.agents[blocked].json(&["services", "default/web"]);
            let counts = common::active(&services.expect("services")[0]);
            let counts: Vec<_> = counts.into_iter().map(|(_, count)| count).collect();
            counts == [1, 1, 1]
        };
        let deadline = Instant::now() + EVEN;
        while !alone(&stage) {
            assert!(Instant::now() < deadline, "{:?}", stage.totals());
        }
    }
    let lifted = Instant::now();
    // What it has ended alone is not ended again within 30 s, where it came back to the wrong place.
    stage.await_totals("even", HEARD + EVEN, |totals| totals == [4, 4, 4]);
    println!("even again after {:?}", lifted.elapsed());
    let ended = stage.ended();
    assert!(ended <= 9, "{ended}, and 8 must be");
    stage.assert_served();
}

#[test]
fn a_service_that_disappears_in_a_round_keeps_what_is_open() {
    let stage = Stage::start_for(LIFE, "permits-gone", 6, [3, 1], 1);
    stage.publish(3);
    stage.await_round();
    let service = Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0]);
    stage.manifests.remove(&service).expect("removed");
    let is_gone = |agent: &Agent| match agent.json(&["services", "default/web"]) {
        Ok(shown) => shown[0]["frontends"].as_array().is_none_or(Vec::is_empty),
        Err(error) if error.to_string().contains("default/web is not balanced") => true,
        Err(error) => panic!("whether it is gone is not known: {error}"),
    };
    let deadline = Instant::now() + HEARD;
    while !stage.agents.iter().all(is_gone) {
        assert!(Instant::now() < deadline, "it is still there");
    }
    let ended = stage.ended();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(stage.ended(), ended, "where nothing could be opened, nothing is ended");
    // It is another Service when it comes back: what is open belongs to the one before, and stays.
    stage.publish(3);
    let deadline = Instant::now() + HEARD;
    while stage.agents.iter().any(is_gone) {
        assert!(Instant::now() < deadline, "it does not come back");
    }
    assert_eq!(stage.ended(), ended);
    for agent in &stage.agents {
        let log = agent.log().expect("a log");
        assert!(!log.contains("panicked"), "{log}");
    }
}
