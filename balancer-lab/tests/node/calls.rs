//! Calls that take time, over HTTP/2, while connections are ended that rest: none is broken off.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::common::{self, Web, address, await_shown, in_use};
use balancer_lab::{
    exposition,
    http::{self, LoadOptions, Pools, Server, Until},
    manifests::{Endpoint, Service},
};

/// How long a call takes, in milliseconds.
const CALLS: [u64; 3] = [20, 200, 2_000];
/// How long a client waits before its next call, in milliseconds. Without a pause none is ever quiet.
const PAUSES: [u64; 2] = [0, 100];
/// Clients of each kind, each with one connection and one call at a time.
const CHANNELS: usize = 20;

/// Clients of a Service.
struct Calls {
    service: Service,
    /// Milliseconds before each call.
    pause: u64,
    client: http::Client,
}

impl Calls {
    /// A Service for each length of calls and pauses, and its clients.
    fn start(web: &mut Web, pools: Pools, backends: &[u8], annotation: (&str, &str)) -> Vec<Self> {
        web.servers.clear();
        let ports = 8080..;
        for (call, port) in CALLS.into_iter().zip(ports.clone()) {
            for pod in &web.backends {
                let listen = [pod.socket(port)];
                let delay = Duration::from_millis(call);
                let server = Server::start_for(pools, pod.place(), pod.name(), &listen, delay);
                web.servers.push(server.expect("a server"));
            }
        }
        let kinds = CALLS.into_iter().zip(ports).flat_map(|call| PAUSES.map(|pause| (call, pause)));
        let services: Vec<_> = kinds
            .zip(1..)
            .map(|(((call, port), pause), number)| {
                let name = format!("calls-{call}-{pause}");
                let ip = Ipv4Addr::new(10, 96, 1, number);
                let backends = backends.iter().map(|n| address(*n));
                let (key, value) = annotation;
                let service = Service::new(&name, ip, 80, port, backends);
                (pause, service.annotated(&format!("balancer-agent/{key}"), value))
            })
            .collect();
        for (_, service) in &services {
            web.manifests.write(service).expect("written");
        }
        await_backends(web, services.iter().map(|(_, service)| service), backends);
        let start = |(pause, service): (u64, Service)| {
            let uri = format!("http://{}/", service.cluster_ip).parse().expect("uri");
            let mut options = LoadOptions::new(uri, CHANNELS, pools, Until::Told);
            options.pace = Duration::from_millis(pause);
            let mut client = http::Client::start(web.client.place(), &options).expect("client");
            client.go().expect("started");
            Self { service, pause, client }
        };
        services.into_iter().map(start).collect()
    }

    /// Open connections of each backend, most first.
    fn counts(&self, web: &Web) -> Vec<u64> {
        let active = common::active(&web.shown(&format!("default/{}", self.service.name)));
        let mut counts: Vec<_> = active.into_iter().map(|(_, active)| active).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    /// Connections of the Service that were ended.
    fn ended(&self, web: &Web) -> u64 {
        let metrics = web.agent.metrics().expect("metrics");
        exposition::ended(&metrics, &[("service", &self.service.name)])
    }

    /// Waits until it is as wanted.
    fn wait(&self, web: &Web, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !wanted(self) {
            let (name, counts, ended) = (&self.service.name, self.counts(web), self.ended(web));
            let log = web.agent.log().unwrap_or_default();
            let told = format!("{counts:?}, {ended} ended\nlog of the agent:\n{log}");
            assert!(Instant::now() < deadline, "{name} is not {what}: {told}");
        }
    }

    /// Ends the clients. Says what they failed in.
    fn finish(mut self) -> Option<String> {
        self.client.stop().expect("told");
        let report = self.client.report().expect("a report");
        assert!(report.requests() > 0, "{report:?}");
        let failed = format!("{}: {} of {}", self.service.name, report.errors, report.requests());
        report.first_error.map(|first| format!("{failed}: {first}"))
    }
}

fn await_backends<'a>(web: &Web, services: impl Iterator<Item = &'a Service>, backends: &[u8]) {
    let names: Vec<_> = services.map(|service| service.name.as_str()).collect();
    await_shown(&web.agent, |all| {
        let has = |name: &&str| all.iter().any(|s| s["name"] == *name && in_use(s) == backends);
        names.iter().all(has)
    });
}

/// Waits until so many connections were ended of each Service whose clients pause.
fn await_ends(web: &Web, all: &[Calls], least: u64) {
    for calls in all.iter().filter(|calls| calls.pause > 0) {
        calls.wait(web, "ended so often", |calls| calls.ended(web) >= least);
    }
}

fn assert_none_failed(all: Vec<Calls>) {
    let failed: Vec<_> = all.into_iter().filter_map(Calls::finish).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// All are on one of three pods, as a rolling restart leaves them.
fn none_fails_when_connections_spread(name: &str, pools: Pools) {
    let mut web = Web::start(name, 3);
    let all = Calls::start(&mut web, pools, &[1], ("rebalance", "true"));
    // The Services of one length of calls share their backends.
    let open = (PAUSES.len() * CHANNELS) as u64;
    for calls in &all {
        calls.wait(&web, "open", |calls| calls.counts(&web) == [open]);
    }
    for Calls { service, .. } in &all {
        let mut service = service.clone();
        service.endpoints = [1, 2, 3].map(|n| Endpoint::ready(address(n))).into();
        web.manifests.write(&service).expect("written");
    }
    await_backends(&web, all.iter().map(|calls| &calls.service), &[1, 2, 3]);
    await_ends(&web, &all, 1);
    assert_none_failed(all);
}

/// Each is ended again and again, at the first moment that is fit for it.
fn none_fails_when_connections_are_old(name: &str, pools: Pools) {
    let mut web = Web::start(name, 3);
    let all = Calls::start(&mut web, pools, &[1, 2, 3], ("max-connection-age", "1s"));
    await_ends(&web, &all, 3);
    assert_none_failed(all);
}

#[test]
fn calls_of_tonic_are_not_broken_off_when_connections_spread() {
    none_fails_when_connections_spread("calls-tonic", Pools::Channel);
}

#[test]
fn calls_of_hyper_over_http2_are_not_broken_off_when_connections_spread() {
    none_fails_when_connections_spread("calls-hyper", Pools::Http2);
}

#[test]
fn calls_of_tonic_are_not_broken_off_when_connections_are_old() {
    none_fails_when_connections_are_old("old-tonic", Pools::Channel);
}

#[test]
fn calls_of_hyper_over_http2_are_not_broken_off_when_connections_are_old() {
    none_fails_when_connections_are_old("old-hyper", Pools::Http2);
}
