//! How soon the counts of one node are in the kernels of all others, and what it takes, with as many agents as
//! are demanded.

use std::time::Duration;

use balancer_bench::bench::{self, Bench, Clusters, Effort};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::alone;

/// What was measured, as a function of what it is called.
fn measure(clusters: Clusters) -> impl Fn(&str) -> f64 {
    let effort = Effort { clusters, ..Effort::quick() };
    let report = bench::run(Bench::Cluster, &effort, &ProgressBar::hidden());
    let json = report.expect("a lab; the tests need root").json();
    let tables = json["tables"].as_array().expect("tables").iter();
    let rows = tables.filter_map(|table| table["rows"].as_array()).flatten().cloned();
    let rows: Vec<Value> = rows.collect();
    move |what| {
        let row = rows.iter().find(|row| row["what"] == what);
        let value = row.and_then(|row| row["measured"].as_f64());
        value.unwrap_or_else(|| panic!("no {what} in {rows:?}"))
    }
}

const NOTHING: Clusters = Clusters {
    nodes: 0,
    played: 0,
    simulated_nodes: 0,
    runs: 0,
    only: None,
    changes: 0,
    over: Duration::ZERO,
};

/// docs/benchmarks.md has what was measured.
#[test]
#[ignore = "asserts times that a busy machine misses, and takes two minutes"]
fn a_change_is_in_the_kernels_of_19_others_in_time() {
    let _turn = alone();
    let measured = measure(Clusters { nodes: 20, changes: 200, ..NOTHING });
    println!("median {:.1} ms, 99% {:.1} ms", measured("median"), measured("99%"));
    assert!(measured("median") <= 60.0 && measured("99%") <= 300.0);
}

/// docs/scale.md has what was measured. An agent that is not optimised takes more.
#[test]
#[ignore = "needs an optimised agent and a quiet machine, and takes two minutes"]
fn an_agent_with_49_peers_takes_little() {
    let _turn = alone();
    let measured = measure(Clusters { nodes: 50, over: Duration::from_secs(20), ..NOTHING });
    let (quiet, busy) = (
        measured("quiet, 8 Services: processor, mean"),
        measured("14 opens a second of each node: processor, mean"),
    );
    println!("quiet {quiet:.2}%, busy {busy:.2}% of a processor");
    assert!(quiet <= 0.3 && busy <= 2.0, "quiet {quiet:.2}%, busy {busy:.2}%");
}

/// The same. The other agents are played.
#[test]
#[ignore = "needs an optimised agent and a quiet machine, and takes two minutes"]
fn an_agent_with_499_peers_takes_little_whoever_floods_it() {
    let _turn = alone();
    let measured = measure(Clusters { played: 500, over: Duration::from_secs(20), ..NOTHING });
    let (busy, more) = (
        measured("processor, every Service changes all the time"),
        measured("memory beyond that without peers"),
    );
    let flood = measured("processor, quiet, with 10000 forged datagrams a second beside");
    let refused = measured("forged datagrams that it has refused");
    println!("busy {busy:.2}%, {more:.2} MiB more; {refused:.0} forged a second {flood:.2}%");
    assert!(busy <= 3.0 && more <= 8.0, "busy {busy:.2}%, {more:.2} MiB");
    assert!(flood <= 5.0 && refused > 9_000.0, "{flood:.2}% for {refused:.0} a second");
}
