//! Clusters of agents in one process, in simulated time, with faults of every kind. A seed says all
//! that happens; one that fails is named, and `SEED=<it>` runs it alone.

mod course;
mod host;
mod network;
mod truth;
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use world::{Broken, World};

/// How many are run.
const SEEDS: u64 = 500;

/// Runs seeds on all processors, and returns what is wrong with those that fail.
fn failures(seeds: u64) -> Vec<(u64, Broken)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return failures;
            }
            failures.extend(World::new(seed).run().err().map(|broken| (seed, broken)));
        }
    };
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it has not panicked")).collect()
    })
}

#[test]
fn totals_are_true_soon_after_the_last_fault_whatever_happened() {
    let failures = match env::var("SEED").map(|seed| seed.parse().expect("SEED is a number")) {
        Ok(seed) => {
            World::telling(seed).run().err().map(|broken| (seed, broken)).into_iter().collect()
        }
        Err(_) => failures(SEEDS),
    };
    let told: Vec<String> =
        failures.iter().map(|(seed, Broken(what))| format!("SEED={seed}: {what}")).collect();
    assert!(told.is_empty(), "{} seeds fail:\n{}", told.len(), told.join("\n"));
}

#[test]
fn a_seed_repeats() {
    for seed in 0..5 {
        let digest = || {
            let mut world = World::new(seed);
            // Whether it holds is a matter of the other test.
            let _ = world.run();
            world.digest()
        };
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}
