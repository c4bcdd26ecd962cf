//! The agent is killed and replaced under load, some times: `cargo xtask soak --crashes` does it
//! for as long as one likes.

use std::time::Duration;

use balancer_bench::soak::{self, Options};
use indicatif::ProgressBar;

use crate::alone;

#[test]
fn killed_and_replaced_agents_lose_no_connection_and_no_count() {
    let _turn = alone();
    let (crashes, upgrades) = (10, 5);
    let time = Duration::ZERO;
    let (pressure, stalls) = (0, false);
    let options =
        Options { seed: 1, time, operations: 0, batch: 0, crashes, upgrades, pressure, stalls };
    let outcome = soak::run(&options, &ProgressBar::hidden()).expect("a lab; the tests need root");
    assert!(outcome.is_well(), "{outcome}");
    assert_eq!((outcome.crashes, outcome.upgrades), (crashes, upgrades));
    assert!(outcome.connections > 1000, "{outcome}");
    // How much of an edition falls into one plan depends on when the agent was killed.
    assert!(outcome.finished > 0 && outcome.writes > 2000, "{outcome}");
}
