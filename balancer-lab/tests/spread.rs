//! Pooled clients spread evenly over the backends, in every single trial.

mod common;

use std::collections::BTreeMap;

use balancer_lab::http::{Client, LoadOptions, Pools, Report, Until};
use common::{VIP, Web};

const TRIALS: usize = 200;

/// Threads with a pool each, all starting at once; their connections are counted while all are open.
fn trial(web: &Web, threads: usize) -> Report {
    let uri = format!("http://{VIP}/").parse().expect("uri");
    let options = LoadOptions::new(uri, threads, Pools::PerThread, Until::Requests(2));
    let report = Client::run(web.client.place(), &options).expect("client");
    assert_eq!((report.errors, report.connections()), (0, threads as u64), "{report:?}");
    report
}

/// Every trial must spread `threads` connections as `expected`, in descending order.
fn assert_spread(name: &str, backends: u8, threads: usize, expected: &[u64]) {
    let web = Web::start(name, backends);
    for number in 0..TRIALS {
        assert_eq!(trial(&web, threads).spread(), expected, "trial {number} of {TRIALS}");
    }
    assert!(web.active().iter().all(|(_, active)| *active == 0), "{:?}", web.active());
}

#[test]
fn five_pools_take_one_connection_to_each_of_five_backends() {
    assert_spread("five", 5, 5, &[1, 1, 1, 1, 1]);
}

#[test]
fn twenty_pools_take_four_connections_to_each_of_five_backends() {
    assert_spread("twenty", 5, 20, &[4, 4, 4, 4, 4]);
}

#[test]
fn twenty_one_pools_differ_by_one() {
    assert_spread("odd", 5, 21, &[5, 4, 4, 4, 4]);
}

/// Two connections take two different backends, and over the trials all backends equally often:
/// a fixed order of ties would send the whole cluster to the first pod.
#[test]
fn ties_go_to_every_backend_alike() {
    let web = Web::start("ties", 5);
    let mut chosen = BTreeMap::<String, u32>::new();
    for number in 0..TRIALS {
        let report = trial(&web, 2);
        assert_eq!(report.backends.len(), 2, "trial {number}: {report:?}");
        for backend in report.backends.keys() {
            *chosen.entry(backend.clone()).or_default() += 1;
        }
    }
    // 400 choices over 5 backends: chi squared with 4 degrees of freedom, at one in a million. The
    // two of a trial differ from each other, which makes the spread narrower still.
    let expected = 2.0 * TRIALS as f64 / 5.0;
    let chi: f64 = chosen.values().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
    assert!(chosen.len() == 5 && chi < 33.4, "chi squared {chi:.1}: {chosen:?}");
}
