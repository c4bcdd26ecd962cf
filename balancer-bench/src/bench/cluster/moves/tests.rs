use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

const SEEDS: u64 = 6;
/// How many of the small ones in which anything goes wrong.
const MANY: u64 = 60;

fn outcomes(case: Case, faults: Faults) -> Vec<Outcome> {
    all(Case { faults, ..case }, SEEDS, &ProgressBar::hidden())
}

#[test]
fn what_is_demanded_of_moves_is_reached() {
    let cases = CASES.into_iter().filter(|case| case.nodes <= 20).collect();
    for moved in run(cases, SEEDS, &ProgressBar::hidden()) {
        assert!(moved.is_met(), "{}: {:?}", moved.case.name, moved.outcomes);
    }
}

#[test]
fn the_steward_dies_in_the_midst_of_a_round() {
    for found in outcomes(CASES[0], Faults { steward_dies: true, ..Faults::NONE }) {
        // What the dead one has permitted and nobody told it of is not known to the next one.
        assert!(found.ends <= found.fewest + 2 && found.twice == 0, "{found:?}");
        // A dead agent moves nothing of its own.
        assert!(found.spread <= 2, "{found:?}");
    }
}

#[test]
fn a_backend_leaves_while_connections_move_to_it() {
    for found in outcomes(CASES[1], Faults { leaves: true, ..Faults::NONE }) {
        assert!(found.twice == 0 && found.spread <= 1, "{found:?}");
    }
}

/// Whatever is lost, and whoever dies: few more than the fewest, and none twice.
#[test]
fn many_things_go_wrong() {
    for seed in 0..MANY {
        let mut rng = StdRng::seed_from_u64(seed);
        let (nodes, each) = (rng.random_range(2..9), rng.random_range(1..5));
        let (before, after) = (rng.random_range(1..3), rng.random_range(3..7));
        let faults = Faults {
            lost: rng.random_range(0..25),
            slow: rng.random_range(0..30),
            steward_dies: rng.random_bool(0.2),
            blocked: rng.random_bool(0.2),
            leaves: false,
        };
        let found = Scene::new(seed, nodes, each..=each, before, after, faults).run();
        let most = found.fewest + found.fewest / 3 + 3;
        assert!(found.ends <= most, "seed {seed}: {found:?}, at most {most}: {faults:?}");
        assert_eq!(found.twice, 0, "seed {seed}: {found:?} {faults:?}");
    }
}
