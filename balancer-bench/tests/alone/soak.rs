//! The model test of counting, for some seconds: `cargo xtask soak` runs for as long as one likes.

use std::time::Duration;

use balancer_bench::soak::{self, Options};
use indicatif::ProgressBar;

use crate::alone;

#[test]
fn counts_equal_sockets_whatever_becomes_of_them() {
    let _turn = alone();
    let options = Options {
        seed: 1,
        time: Duration::from_secs(10),
        operations: u64::MAX,
        batch: 2000,
        crashes: 0,
        upgrades: 0,
        pressure: 20_000,
        // Before Linux 6.9 nobody could be asked about sockets meanwhile.
        stalls: false,
    };
    let outcome = soak::run(&options, &ProgressBar::hidden()).expect("a lab; the tests need root");
    assert!(outcome.is_well(), "{outcome}");
    assert!(outcome.answers.0 > 100 && outcome.most > 20_000, "{outcome}");
    assert!(outcome.points > 3 && outcome.kills > 0 && outcome.connections > 10_000, "{outcome}");
}
