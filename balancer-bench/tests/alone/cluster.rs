//! How soon the counts of one node are in the kernels of all others, with as many agents as are demanded.

use std::time::Duration;

use balancer_bench::bench::{self, Bench, Clusters, Effort};
use indicatif::ProgressBar;

use crate::alone;

/// docs/benchmarks.md has what was measured.
#[test]
#[ignore = "asserts times that a busy machine misses, and takes two minutes"]
fn a_change_is_in_the_kernels_of_19_others_in_time() {
    let _turn = alone();
    let clusters = Clusters {
        nodes: 20,
        played: 0,
        simulated_nodes: 0,
        runs: 0,
        only: None,
        changes: 200,
        over: Duration::ZERO,
    };
    let effort = Effort { clusters, ..Effort::quick() };
    let report = bench::run(Bench::Cluster, &effort, &ProgressBar::hidden());
    let json = report.expect("a lab; the tests need root").json();
    let rows = json["tables"][1]["rows"].as_array().expect("rows").clone();
    let measured = |what: &str| {
        let row = rows.iter().find(|row| row["what"] == what);
        let millis = row.and_then(|row| row["measured"].as_f64());
        millis.unwrap_or_else(|| panic!("no {what} in {rows:?}"))
    };
    println!("median {:.1} ms, 99% {:.1} ms", measured("median"), measured("99%"));
    assert!(measured("median") <= 60.0 && measured("99%") <= 300.0, "{rows:?}");
}
