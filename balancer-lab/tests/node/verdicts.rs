//! Every verdict: what a program is told, and the one counter that is raised.
//!
//! Nothing but the programs answers at a Service's addresses in a lab: what they leave untouched
//! times out.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{
    Connection, VIP, Web, address, await_shown,
    clients::{Client, pod_object, tell},
    dial,
    udp::Udp,
};
use aya::maps::MapData;
use balancer_agent::{
    config::Capacities,
    maps::{
        FrontendKey, ReadMaps as _, WriteMaps as _, pinned::PinnedMaps, pins::Pins, slab::Slab,
    },
};
use balancer_common::{
    charge::{BUCKET, WORDS, word},
    layout::{Frontend, FrontendKey4, FrontendKind, TCP},
    verdict::Verdict,
};
use balancer_lab::{Place, manifests::Service};
use nix::libc::EHOSTUNREACH;
use serde_json::{Value, json};

/// What a program is told where the programs leave `connect()` alone.
const UNTOUCHED: &str = "timed out";
/// The load balancer's address of some tests.
const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

fn counters(web: &Web) -> BTreeMap<String, u64> {
    let status = web.agent.json(&["status"]).expect("status");
    let verdicts = status["verdicts"].as_array().expect("verdicts").iter();
    verdicts
        .map(|v| {
            (v["name"].as_str().expect("a name").to_owned(), v["total"].as_u64().expect("one"))
        })
        .collect()
}

/// Dials once. The program must be told `errno`, or where that is none, `said`; and one counter must
/// have been raised by one.
fn assert_verdict(web: &Web, place: &Place, target: SocketAddr, verdict: Verdict, said: &str) {
    let before = counters(web);
    assert_eq!(before.len(), Verdict::ALL.len(), "{before:?}");
    let told = dial(place, target);
    assert_eq!(told["errno"].as_i64(), verdict.errno().map(i64::from), "{told}");
    let heard = told["error"].as_str().or(told["peer"].as_str());
    assert_eq!(heard, Some(said), "{told}");
    let mut expected = before;
    *expected.get_mut(verdict.name()).expect("known") += 1;
    assert_eq!(counters(web), expected, "{} alone", verdict.name());
}

/// Waits until a program is told something: the agent may still have to see a pod.
fn await_told(place: &Place, target: SocketAddr, said: &str) {
    await_told_if(place, target, |told| told["error"] == said);
}

fn await_told_if(place: &Place, target: SocketAddr, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let told = dial(place, target);
        if wanted(&told) {
            return;
        }
        assert!(Instant::now() < deadline, "still {told}");
    }
}

fn pins(web: &Web) -> Pins {
    Pins::new(&web.lab.bpffs().join("balancer"))
}

fn maps(web: &Web) -> PinnedMaps {
    PinnedMaps::open(&pins(web), Capacities::MAX).expect("maps")
}

#[test]
fn balanced_and_not_service() {
    let web = Web::start("v-balanced", 1);
    let place = web.client.place();
    assert_verdict(&web, place, vip(), Verdict::Balanced, "10.96.0.10:80");
    let pod = web.backends[0].socket(8080);
    assert_verdict(&web, place, pod, Verdict::NotService, &pod.to_string());
    assert_verdict(&web, place, (VIP, 81).into(), Verdict::NotService, UNTOUCHED);
}

/// As glibc's getaddrinfo() does to sort addresses: a UDP socket connected to the address, of which
/// nothing is sent.
#[test]
fn probes_of_getaddrinfo_are_no_connections() {
    let web = Web::start("v-probes", 2);
    for port in [0, 53, 80] {
        let before = counters(&web);
        let target = SocketAddr::from((VIP, port));
        let mut probe = Udp::open(web.client.place(), &[]);
        assert_eq!(probe.ask(&format!("connect {target}"))["ok"], true, "{target}");
        let raised = counters(&web)["not-service"] - before["not-service"];
        assert_eq!((raised, web.counts(), web.opened()), (1, vec![0, 0], vec![0, 0]), "{target}");
        if port != 0 {
            assert_eq!(probe.ask("peer")["peer"], target.to_string(), "untouched");
        }
        let mut expected = before;
        *expected.get_mut("not-service").expect("known") += 1;
        assert_eq!(counters(&web), expected);
    }
}

#[test]
fn no_endpoint_and_no_local_endpoint() {
    let mut web = Web::start("v-empty", 1);
    let place = web.client.place().clone();
    let is_empty = |shown: &Value| shown["backends"] == json!([]);
    let unready = |mut service: Service| {
        service.endpoints[0].ready = Some(false);
        service
    };
    web.change(unready, is_empty);
    assert_verdict(&web, &place, vip(), Verdict::NoEndpoint, "connection refused");
    let elsewhere = |mut service: Service| {
        service.endpoints[0].ready = Some(true);
        service.endpoints[0].node = Some("another-node".into());
        service
    };
    web.change(elsewhere, |shown| !is_empty(shown));
    web.change(|service| service.with("internalTrafficPolicy", json!("Local")), is_empty);
    assert_verdict(&web, &place, vip(), Verdict::NoLocalEndpoint, "host unreachable");
}

#[test]
fn opted_out() {
    let web = Web::start("v-opted-out", 1);
    tell(&web, &[pod_object(201, Some("false"))]);
    let client = Client::start(&web, 201);
    await_told(client.pod.place(), vip(), UNTOUCHED);
    assert_verdict(&web, client.pod.place(), vip(), Verdict::OptedOut, UNTOUCHED);
    assert_verdict(&web, web.client.place(), vip(), Verdict::Balanced, "10.96.0.10:80");
}

#[test]
fn source_denied_and_source_unknown() {
    let mut web = Web::start("v-source", 1);
    let client = Client::start(&web, 201);
    tell(&web, &[pod_object(201, None)]);
    let target = SocketAddr::from((BALANCER, 80));
    web.service.status = json!({"loadBalancer": {"ingress": [{"ip": BALANCER}]}});
    web.change(
        |service| {
            service
                .with("type", json!("LoadBalancer"))
                .with("loadBalancerSourceRanges", json!(["192.0.2.0/24"]))
        },
        |shown| shown["source_ranges"] == json!(["192.0.2.0/24"]),
    );
    await_told(client.pod.place(), target, "host unreachable");
    assert_verdict(&web, client.pod.place(), target, Verdict::SourceDenied, "host unreachable");
    // No Pod tells of this client's addresses.
    assert_verdict(&web, web.client.place(), target, Verdict::SourceUnknown, UNTOUCHED);
}

/// Source ranges judge the address that a socket is bound to, before any that its pod or node has.
#[test]
fn a_socket_that_is_bound_is_judged_by_that_address() {
    let mut web = Web::start("v-bound", 1);
    let client = Client::start(&web, 201);
    tell(&web, &[pod_object(201, None)]);
    let (own, second) = (address(201).to_string(), "10.98.0.1");
    let output =
        client.pod.command("ip").args(["addr", "add", "10.98.0.1/32", "dev", "lo"]).output();
    assert!(output.expect("ip").status.success());
    let target = SocketAddr::from((BALANCER, 80));
    web.service.status = json!({"loadBalancer": {"ingress": [{"ip": BALANCER}]}});
    for (admitted, denied) in [(own.as_str(), second), (second, own.as_str())] {
        let range = json!([format!("{admitted}/32")]);
        web.change(
            |service| {
                service
                    .with("type", json!("LoadBalancer"))
                    .with("loadBalancerSourceRanges", range.clone())
            },
            |shown| shown["source_ranges"] == range,
        );
        // An unbound socket is judged by the address of the pod, once that is known.
        let place = client.pod.place();
        await_told_if(place, target, |told| {
            if admitted == own { told["error"].is_null() } else { told["errno"] == EHOSTUNREACH }
        });
        let dial = |from: &str| {
            let before = counters(&web);
            let flags = ["--timeout-ms", "500", "--from", from];
            let told = Connection::open_with(place, target, &flags).said;
            let after = counters(&web);
            let raised = |name: &str| after[name] - before[name];
            (told["errno"] == EHOSTUNREACH, raised("balanced"), raised("source-denied"))
        };
        assert_eq!(dial(admitted), (false, 1, 0), "{admitted} is admitted");
        assert_eq!(dial(denied), (true, 0, 1), "{denied} is not");
    }
}

/// What can't come about otherwise is written into the maps by hand.
#[test]
fn inconsistent() {
    let web = Web::start("v-inconsistent", 1);
    let place = web.client.place();
    let mut maps = maps(&web);
    let key = |last| {
        let addr = u32::from_ne_bytes([10, 96, 9, last]);
        FrontendKey::V4(FrontendKey4 { addr, port: 80_u16.to_be(), protocol: TCP, place: 0 })
    };
    // A frontend of a Service that is none.
    let value = Frontend { service: u32::MAX, kind: FrontendKind::ClusterIp as u32 };
    maps.put_frontend(key(1), value).expect("written");
    let target = SocketAddr::from(([10, 96, 9, 1], 80));
    assert_verdict(&web, place, target, Verdict::Inconsistent, UNTOUCHED);
    maps.remove_frontend(key(1)).expect("removed");
    assert_verdict(&web, place, target, Verdict::NotService, UNTOUCHED);
    // A row that names a backend which is gone.
    let (service, _) = maps.names().expect("names")[0];
    let backend = maps.slot(maps.row(service).base).backend;
    maps.remove_backend(backend);
    assert_verdict(&web, place, vip(), Verdict::Inconsistent, UNTOUCHED);
    assert_eq!(maps.active(backend), 0, "nothing is counted for it");
}

#[test]
fn too_many_connections() {
    let mut web = Web::start("v-full", 1);
    let place = web.client.place().clone();
    let dns = Service::new("dns", Ipv4Addr::new(10, 96, 0, 53), 53, 5353, [web.backends[0].ip()]);
    web.manifests.write(&dns.udp()).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    let _server = Udp::serve(&web.backends[0], &[web.backends[0].socket(5353)]);
    // Nobody may sweep what is put in here. The command line reads the counters without an agent.
    assert!(web.agent.terminate().expect("terminated").success());
    let charges = MapData::from_pin(pins(&web).map("CHARGES")).expect("map");
    let charges = Slab::map(charges.fd(), WORDS as usize * 8).expect("mapped");
    let words = || (0..WORDS).filter(|index| !index.is_multiple_of(BUCKET));
    // Cookies that no socket of this machine will have for years.
    let foreign = |index: u32| word((1 << 44) + u64::from(index), 0);
    for index in words() {
        assert!(charges.swap64(index as usize * 8, 0, foreign(index)), "{index} is in use");
    }
    assert_verdict(&web, &place, vip(), Verdict::TooManyConnections, UNTOUCHED);
    // A datagram that can't be noted is not led either: nobody answers, least of all a pod.
    let mut udp = Udp::open(&place, &["--timeout-ms", "300"]);
    for ask in ["sendto 10.96.0.53:53 a", "sendto 10.96.0.53:53 a"] {
        let before = counters(&web)["too-many-connections"];
        let told = udp.ask(ask);
        assert_eq!(told["errno"], json!(nix::libc::EAGAIN), "{told}");
        assert_eq!(counters(&web)["too-many-connections"], before + 1, "{ask}");
    }
    for index in words() {
        assert!(charges.swap64(index as usize * 8, foreign(index), 0), "{index} was changed");
    }
    assert_verdict(&web, &place, vip(), Verdict::Balanced, "10.96.0.10:80");
    udp.answer("sendto 10.96.0.53:53 a", "10.96.0.53:53");
    drop(udp);
    web.agent.resume().expect("resumed");
    let shown = await_shown(&web.agent, |all| !all.is_empty());
    for service in &shown {
        assert_eq!(service["backends"][0]["active"], json!(0), "nothing counts that was refused");
    }
}
