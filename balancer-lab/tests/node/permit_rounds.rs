//! Moves of connections for minutes: ends stay within one budget, no node is starved, and no request fails.

use std::{
    env,
    time::{Duration, Instant},
};

use crate::permits::{EVEN, HEARD, Stage};
use balancer_lab::http::Pools;

/// What the environment says, in seconds; a minute where it says nothing.
fn seconds(name: &str) -> u64 {
    env::var(name).map_or(60, |text| text.parse().expect("a number of seconds"))
}

/// A pod comes or goes each 10 s, for as many seconds as `CHURN` says.
#[test]
#[ignore = "takes minutes: CHURN=600, with an optimised agent"]
fn pods_come_and_go_and_all_nodes_stay_within_one_budget() {
    const NODES: usize = 20;
    const BUDGET: u64 = 60;
    let seconds = seconds("CHURN");
    let life = Duration::from_secs(seconds) + 4 * HEARD;
    let mut stage = Stage::start_for(life, "permits-churn", NODES, [6, 3], 2);
    let mut minutes = vec![(Instant::now(), stage.ended())];
    let mut worst = 0;
    let started = Instant::now();
    for ready in [4, 5, 6, 5, 4, 3].into_iter().cycle() {
        if started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let next = Instant::now() + Duration::from_secs(10);
        stage.publish(ready);
        while Instant::now() < next {
            let (now, ended) = (Instant::now(), stage.ended());
            minutes.retain(|(at, _)| now - *at < Duration::from_secs(60));
            worst = worst.max(ended - minutes.first().map_or(ended, |(_, before)| *before));
            minutes.push((now, ended));
        }
    }
    let even = |totals: &[u64]| totals.iter().sum::<u64>() == 2 * NODES as u64;
    stage.await_totals("all there", HEARD, even);
    println!("{} ended, {worst} in the worst minute", stage.ended());
    assert!(worst <= BUDGET, "{worst}");
    let least = stage.clients.iter_mut().map(|client| {
        let report = client.report().expect("report");
        assert_eq!((report.errors, report.first_error.as_deref()), (0, None), "{report:?}");
        report.requests()
    });
    let least = least.min().expect("clients");
    println!("{least} requests of the client with the fewest");
    // Two connections, a request each 150 ms: none rests for long.
    assert!(least > seconds * 2 * 4, "{least} requests");
}

/// Rounds of moves for as many seconds as `ROUNDS` says: the connections of six nodes come to one backend, and
/// move to three.
fn rounds_fail_no_request(name: &str, pools: Pools) {
    let seconds = seconds("ROUNDS");
    let life = Duration::from_secs(seconds) + 2 * HEARD;
    let mut stage = Stage::start_clients(pools, life, name, 6, [3, 1], 1);
    // What leads to a backend that is gone comes back soon.
    stage.annotate("balancer-agent/stale-timeout", "1s");
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        stage.publish(3);
        stage.await_totals("even", EVEN, |totals| totals == [2, 2, 2]);
        stage.publish(1);
        stage.await_totals("on one", EVEN, |totals| totals[0] == 6);
        rounds += 1;
    }
    println!("{rounds} rounds, {} moved, {} back", stage.ended(), stage.ended_for("stale"));
    assert!(stage.ended() >= 4 * rounds, "{} in {rounds} rounds", stage.ended());
    stage.assert_served();
}

#[test]
#[ignore = "takes minutes: ROUNDS=600, with an optimised agent"]
fn no_request_of_hyper_fails_in_rounds_of_moves() {
    rounds_fail_no_request("permits-hyper", Pools::PerThread);
}

#[test]
#[ignore = "takes minutes: ROUNDS=600, with an optimised agent"]
fn no_call_of_tonic_fails_in_rounds_of_moves() {
    rounds_fail_no_request("permits-tonic", Pools::Channel);
}
