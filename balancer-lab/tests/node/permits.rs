//! Connections of several nodes that move as one: the fewest are ended, each with a permit of the steward,
//! and each comes back where one is missing.

mod stage;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use self::stage::{EVEN, HEARD, Stage, ended_by};

/// Each node has one connection and sees nothing to move.
#[test]
fn the_connections_of_six_nodes_move_as_one() {
    let mut stage = Stage::start("permits", 6, 3, 1, 1);
    stage.publish(3);
    let took = stage.await_totals("even", EVEN, |totals| totals == [2, 2, 2]);
    assert_eq!(stage.ended(), 4, "after {took:?}");
    // Nothing more moves.
    thread::sleep(Duration::from_secs(10));
    assert_eq!((stage.totals(), stage.ended()), (vec![2, 2, 2], 4));
    stage.assert_served();
}

/// Whichever agent is asked, it speaks for all nodes.
#[test]
fn all_nodes_are_rebalanced_by_hand() {
    let mut stage = Stage::start("permits-hand", 4, 2, 1, 1);
    stage.publish(2);
    let deadline = Instant::now() + HEARD;
    let shown = loop {
        let shown = stage.agents[2].json(&["rebalance", "web", "--dry-run"]).expect("a dry run");
        // The steward may hear of the second backend later than this node.
        let has_two = |what: &str| shown[what].as_array().is_some_and(|found| found.len() == 2);
        if has_two("backends") && has_two("node_moves") {
            break shown;
        }
        assert!(Instant::now() < deadline, "{shown:#}");
    };
    let sum = |name: &str| -> Vec<u64> {
        let shares = shown["backends"].as_array().expect("backends").iter();
        shares.map(|share| share[name].as_u64().expect("a number")).collect()
    };
    assert_eq!((&shown["nodes"], sum("connections").iter().sum::<u64>()), (&4.into(), 4));
    assert_eq!(sum("target"), [2, 2], "{shown:#}");
    // Each of two nodes has one of those that are too many, whichever these are.
    let moves = shown["node_moves"].as_array().expect("the steward says it");
    let [one, other] = &moves[..] else { panic!("{shown:#}") };
    let (from, to) = (&shown["backends"][0]["backend"], &shown["backends"][1]["backend"]);
    let (from, to) = if sum("connections")[0] == 4 { (from, to) } else { (to, from) };
    for found in [one, other] {
        assert_eq!((&found["from"], &found["to"]), (from, to), "{shown:#}");
        assert_eq!(found["connections"], 1, "{shown:#}");
    }
    let nodes: Vec<_> = stage.cluster.nodes().iter().map(balancer_lab::Node::name).collect();
    for found in [one, other] {
        let node = found["node"].as_str().expect("a name");
        assert!(nodes.contains(&node) && one["node"] != other["node"], "{shown:#}");
    }
    assert_eq!(stage.ended(), 0, "it is shown alone");
    stage.agents[2].cli(&["rebalance", "web"]).expect("moves");
    stage.await_totals("even", EVEN, |totals| totals == [2, 2]);
    assert_eq!(stage.ended(), 2);
    // That node alone has one connection, and nothing to move.
    let alone = stage.agents[2].json(&["rebalance", "web", "--dry-run", "--node"]);
    let alone = alone.expect("a dry run");
    assert_eq!((&alone["nodes"], &alone["moves"]), (&1.into(), &serde_json::json!([])));
    stage.assert_served();
}
