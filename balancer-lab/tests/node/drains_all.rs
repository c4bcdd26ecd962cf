//! A backend that is drained on all nodes: each agent that hears of it drains, those that start later too, and
//! any of them can end it.

use std::time::Instant;

use crate::permits::{HEARD, Stage};
use serde_json::Value;

/// What an agent says is drained.
fn drained(stage: &Stage, node: usize) -> Vec<Value> {
    let list = stage.agents[node].json(&["drain"]).expect("a list");
    list.as_array().expect("an array").clone()
}

fn await_drained(stage: &Stage, node: usize, wanted: usize) -> Vec<Value> {
    let deadline = Instant::now() + HEARD;
    loop {
        let found = drained(stage, node);
        if found.len() == wanted {
            return found;
        }
        let log = stage.agents[node].log().unwrap_or_default();
        assert!(Instant::now() < deadline, "node {node}: {found:#?}\n{log}");
    }
}

#[test]
fn a_backend_is_drained_on_all_nodes_and_taken_back_on_any() {
    let mut stage = Stage::start("drains", 3, 2, 2, 2);
    stage.await_totals("even", HEARD, |totals| totals == [3, 3]);
    let ended = stage.ended_for("drain");
    let first = stage.backends[0].ip().to_string();
    let drain = ["drain", &first, "--cluster", "--timeout", "2s", "--wait"];
    let said = stage.agents[0].cli(&drain).expect("nothing is left");
    assert!(said.contains("node-3"), "{said}");
    stage.await_totals("drained", HEARD, |totals| totals[0] == 6);
    assert_eq!(stage.ended_for("drain") - ended, 3);
    for node in 0..3 {
        let found = await_drained(&stage, node, 1);
        assert_eq!(found[0]["by"], "node-1", "{found:#?}");
        assert_eq!(found[0]["backend"]["address"], first.as_str());
        let nodes = found[0]["nodes"].as_array().expect("an array");
        // Who has begun it knows what all have left.
        let left: Vec<_> = nodes.iter().filter_map(|node| node["connections"].as_u64()).collect();
        assert_eq!(left, if node == 0 { vec![0, 0, 0] } else { vec![] }, "{found:#?}");
    }
    // The other one is all that is left, on any node.
    let second = stage.backends[1].ip().to_string();
    let refused = stage.agents[2].cli(&["drain", &second, "--cluster"]).expect_err("refused");
    assert!(refused.to_string().contains("would have no backend left"), "{refused}");
    // An agent that starts later takes part.
    stage.agents[1].restart().expect("it starts again");
    await_drained(&stage, 1, 1);
    stage.agents[1].cli(&["drain", &first, "--cancel"]).expect("taken back");
    for node in 0..3 {
        await_drained(&stage, node, 0);
    }
    // New connections go there again: the mover makes all even.
    stage.await_totals("even", HEARD, |totals| totals == [3, 3]);
    stage.assert_served();
}
