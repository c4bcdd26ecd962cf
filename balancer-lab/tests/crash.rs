//! The agent is killed and replaced under load, some times: `cargo xtask soak --crashes` does it
//! for as long as one likes.

use std::time::Duration;

use balancer_lab::soak::{self, Options, Outcome};
use indicatif::ProgressBar;

fn run(crashes: u64, upgrades: u64) -> Outcome {
    let time = Duration::ZERO;
    let options = Options { seed: 1, time, operations: 0, batch: 0, crashes, upgrades };
    let outcome = soak::run(&options, &ProgressBar::hidden()).expect("a lab; the tests need root");
    assert!(outcome.is_well(), "{outcome}");
    assert_eq!((outcome.crashes, outcome.upgrades), (crashes, upgrades));
    assert!(outcome.connections > 1000, "{outcome}");
    outcome
}

#[test]
fn a_killed_agent_loses_no_connection_and_no_count_and_the_next_finishes_its_plan() {
    let outcome = run(15, 0);
    assert!(outcome.finished > 0 && outcome.writes > 4000, "{outcome}");
}

#[test]
fn an_upgrade_loses_no_connection_and_no_count() {
    run(0, 5);
}
