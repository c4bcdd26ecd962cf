//! Pooled clients spread evenly over the backends, in every single trial.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::common::{Connections, VIP, Web, active, address};
use balancer_lab::{
    Agent, Lab,
    http::{Client, LoadOptions, Pools, Report, Until},
    manifests::{Manifests, Service},
};

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

/// What a row may be long: around the steps, the turns and the parts in which it is read.
const LENGTHS: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 127, 128, 129, 133, 1000, 1024];

/// As many sockets as backends take one each, and as many again a second one: the programs look at
/// every slot of a row and at nothing behind it, where the next row begins. UDP, since nobody needs to
/// answer.
#[test]
fn every_backend_of_a_row_is_looked_at() {
    let lab = Lab::create("lengths").expect("a lab; the tests need root, iproute2, and cgroup2");
    let client = lab.pod("client", address(200)).expect("pod");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    for (number, length) in (1..).zip(LENGTHS) {
        let backend = |n: usize| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 245, 0, 1)) + n as u32);
        let name = format!("of-{length}");
        // A port of its own: Services that share a backend share its counter.
        let service = Service::new(
            &name,
            [10, 96, 9, number],
            80,
            8000 + u16::from(number),
            (0..length).map(backend),
        );
        manifests.write(&service.udp()).expect("written");
    }
    let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
    for (number, length) in (1..).zip(LENGTHS) {
        let counts = || {
            let shown = agent.json(&["services", &format!("of-{length}")]).expect("services");
            active(&shown[0]).into_iter().map(|(_, active)| active).collect::<Vec<_>>()
        };
        let vip = (Ipv4Addr::new(10, 96, 9, number), 80);
        let mut held = Vec::new();
        for round in 1..=2 {
            let mut many = Connections::start_many(client.place(), vip, length, true);
            many.opened(length);
            held.push(many);
            assert_eq!(counts(), vec![round; length], "{length} backends");
        }
    }
}
