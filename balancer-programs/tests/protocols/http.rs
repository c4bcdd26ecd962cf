//! HTTP/1.1 with keep-alive: hyper-util's client, a pool in each thread, and hyper's server, both as
//! the lab has them.

use std::collections::BTreeMap;

use balancer_lab::http::{Client, LoadOptions, Pools, Server, Until};

use crate::harness::{Cluster, Transport, VIP};

const PORT: u16 = 8080;
const THREADS: u64 = 6;
const REQUESTS: u64 = 20;

#[test]
fn pooled_http1_connections_are_even() {
    let cluster = Cluster::start("http1", 5, (Transport::Tcp, PORT), |_, pod| {
        Server::start(pod.place(), pod.name(), &[pod.socket(PORT)]).expect("server")
    });
    let uri = format!("http://{VIP}:{PORT}/").parse().expect("uri");
    let options =
        LoadOptions::new(uri, THREADS as usize, Pools::PerThread, Until::Requests(REQUESTS));
    let start = |pod: &balancer_lab::Pod| Client::start(pod.place(), &options).expect("client");
    let mut clients: Vec<_> = cluster.clients.iter().map(start).collect();
    clients.iter_mut().for_each(|client| client.go().expect("told to go"));
    let mut told = BTreeMap::new();
    for client in &mut clients {
        let report = client.report().expect("a report");
        assert_eq!(report.errors, 0, "{report:?}");
        for (backend, count) in report.backends {
            let (connections, requests) = told.entry(backend).or_insert((0, 0));
            *connections += count.connections;
            *requests += count.requests;
        }
    }
    cluster.assert_spread("http1", &told, 2 * THREADS, 2 * THREADS * REQUESTS);
    clients.into_iter().for_each(|client| client.release().expect("a good end"));
    cluster.assert_idle();
}
