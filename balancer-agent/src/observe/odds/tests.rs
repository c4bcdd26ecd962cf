use balancer_common::choice::salt;

use super::*;

/// Candidates with so many own connections and a weight each.
fn row(counts: &[(u32, u16)]) -> Vec<Candidate> {
    let mut rng = StdRng::seed_from_u64(7);
    let candidate = |(at, (active, weight)): (u32, &(u32, u16))| Candidate {
        weight: *weight,
        salt: salt(rng.random(), at),
        counter: Counter { active: *active, others: 0 },
        ..Candidate::default()
    };
    (0..).zip(counts).map(candidate).collect()
}

fn by(policy: Policy) -> Rules {
    Rules { policy, now: 5_000, now_ns: 9_000, ..Rules::default() }
}

#[track_caller]
fn assert_near(odds: &Odds, want: &[f64]) {
    assert_eq!(odds.each.len(), want.len());
    for (got, want) in odds.each.iter().zip(want) {
        assert!((got - want).abs() < 0.03, "{odds:?}");
    }
}

#[test]
fn the_fewest_connections_share_the_odds() {
    let row = row(&[(3, 1), (1, 1), (1, 1), (2, 1)]);
    assert_near(&odds(&row, &by(Policy::LeastConnections)), &[0.0, 0.5, 0.5, 0.0]);
    let same = odds(&row, &by(Policy::LeastConnections));
    assert_eq!(same, odds(&row, &by(Policy::LeastConnections)), "nothing flickers");
}

#[test]
fn every_policy_has_its_odds() {
    let row = row(&[(2, 1), (0, 1), (1, 1), (1, 1)]);
    // Of two random ones the less loaded; three of the six pairs have the idle one.
    assert_near(&odds(&row, &by(Policy::PowerOfTwo)), &[0.0, 0.5, 0.25, 0.25]);
    assert_near(&odds(&row, &by(Policy::Random)), &[0.25; 4]);
    let turn = Rules { cursor: 6, ..by(Policy::RoundRobin) };
    assert_eq!(odds(&row, &turn).each, [0.0, 0.0, 1.0, 0.0], "the sixth of four");
    assert_eq!(odds(&[], &by(Policy::LeastConnections)).each, [0.0; 0]);
}

#[test]
fn weights_are_the_odds_of_equals() {
    let idle = row(&[(0, 3), (0, 1)]);
    assert_near(&odds(&idle, &by(Policy::WeightedLeastConnections)), &[0.75, 0.25]);
    let busy = row(&[(3, 3), (0, 1)]);
    assert_near(&odds(&busy, &by(Policy::WeightedLeastConnections)), &[0.0, 1.0]);
    let mut new = row(&[(0, 1), (0, 1)]);
    new[0].since = 5_000;
    let slow = Rules { slow_start: 60, ..by(Policy::LeastConnections) };
    // A tenth of a weight of 1 in sixteenths is 1 of them.
    assert_near(&odds(&new, &slow), &[1.0 / 17.0, 16.0 / 17.0]);
}

#[test]
fn suspects_are_passed_over_until_their_pause_is_over() {
    for policy in Policy::ALL {
        let mut row = row(&[(0, 1), (1, 1), (1, 1)]);
        row[0].counter.active |= SUSPECT;
        row[0].suspect_until = 9_001;
        let odds_now = odds(&row, &by(policy));
        assert_eq!((odds_now.each[0], odds_now.tried), (0.0, None), "{}", policy.name());
        row[0].suspect_until = 9_000;
        assert_eq!(odds(&row, &by(policy)), Odds { each: certain(3, 0), tried: Some(0) });
        let keeps = Rules { keeps_suspects: true, ..by(policy) };
        assert_eq!(odds(&row, &keeps).tried, None);
    }
}

#[test]
fn where_other_nodes_are_heard_they_count() {
    let mut row = row(&[(0, 1), (1, 1)]);
    row[0].counter.others = Counter::others_of(9);
    // The least alone is taken.
    let band = Band { floor: 2 << 8, span: 1 };
    let all = Rules { band: Some(band), ..by(Policy::LeastConnections) };
    assert_near(&odds(&row, &all), &[0.0, 1.0]);
    assert_near(&odds(&row, &by(Policy::LeastConnections)), &[1.0, 0.0]);
}

#[test]
fn long_rows_are_sampled() {
    let counts: Vec<_> = (0..3_000).map(|at| (u32::from(at >= 300), 1)).collect();
    let long = odds(&row(&counts), &by(Policy::LeastConnections)).each;
    let idle: f64 = long[..300].iter().sum();
    // The least of 16 draws is idle unless all miss a tenth: 1 - 0.9^16.
    assert!((idle - 0.815).abs() < 0.05, "{idle}");
}
