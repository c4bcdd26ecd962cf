//! `sessionAffinity: ClientIP`: a client pod stays with its backend.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use crate::common::{Connections, VIP, Web, address, await_shown, frontends, in_use, udp::Udp};
use balancer_lab::{
    Place, Pod,
    manifests::{Endpoint, Service},
};
use serde_json::{Value, json};

/// A documentation address (RFC 5737): nobody routes it.
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

/// The Service with affinity, for so many seconds.
fn start(name: &str, backends: u8, seconds: u32) -> Web {
    let mut web = Web::start(name, backends);
    web.change(|service| sticky(service, seconds), |shown| shown["affinity_s"] == seconds);
    web
}

fn sticky(service: Service, seconds: u32) -> Service {
    service
        .with("sessionAffinity", json!("ClientIP"))
        .with("sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": seconds}}))
}

fn open(place: &Place, target: SocketAddr, count: usize) -> Connections {
    Connections::open(place, target, count).opened(target)
}

/// The one backend that all of so many new connections went to, by its place; they are held.
fn one(web: &Web, place: &Place, target: SocketAddr, count: usize) -> (usize, Connections) {
    let before = web.counts();
    let held = open(place, target, count);
    (only(&before, &web.counts(), count), held)
}

fn only(before: &[u64], after: &[u64], count: usize) -> usize {
    let raised = |n: &usize| after[*n] == before[*n] + count as u64;
    let rose = (0..before.len()).find(raised);
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + count as u64);
    rose.unwrap_or_else(|| panic!("not to one: {before:?}, then {after:?}"))
}

#[test]
fn a_client_has_one_backend_at_all_addresses_and_clients_are_spread() {
    let mut web = start("sticky", 3, 10_800);
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "lab-node"},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE}]},
    });
    web.manifests.write_text("node.json", &node.to_string()).expect("written");
    let port = json!({"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"});
    web.change(
        |service| {
            service
                .with("type", json!("NodePort"))
                .with("ports", json!([port]))
                .with("externalIPs", json!([EXTERNAL]))
        },
        |shown| frontends(shown).len() == 3,
    );
    let other = web.lab.pod("other", address(201)).expect("a pod");
    // A process with the node's network is a client of its own.
    let places = [web.client.place().clone(), other.place().clone(), web.lab.node().clone()];
    let targets = [vip(), (NODE, 30080).into(), (EXTERNAL, 80).into()];
    let mut held = Vec::new();
    let mut theirs = Vec::new();
    for place in &places {
        let found: Vec<usize> = targets
            .iter()
            .map(|target| {
                let (backend, connections) = one(&web, place, *target, 5);
                held.push(connections);
                backend
            })
            .collect();
        assert!(found.iter().all(|backend| *backend == found[0]), "{found:?}");
        theirs.push(found[0]);
    }
    theirs.sort_unstable();
    assert_eq!(theirs, [0, 1, 2], "each client has the backend that the others have not");
    assert_eq!(web.counts(), [15, 15, 15]);
}

/// One memory, though the external addresses have rows of their own.
#[test]
fn rows_of_one_port_share_the_memory() {
    let mut web = start("sticky-local", 3, 10_800);
    web.change(
        |service| {
            service
                .with("internalTrafficPolicy", json!("Local"))
                .with("externalIPs", json!([EXTERNAL]))
        },
        |shown| frontends(shown).len() == 2,
    );
    let place = web.client.place().clone();
    let (backend, _held) = one(&web, &place, (EXTERNAL, 80).into(), 5);
    assert_eq!(one(&web, &place, vip(), 5).0, backend);
}

#[test]
fn the_choice_is_new_after_the_timeout_and_each_use_prolongs_it() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let web = start("sticky-timeout", 2, 2);
    let place = web.client.place().clone();
    // Until a choice would fall on the other: it has fewer connections from the first one on.
    let (backend, _held) = one(&web, &place, vip(), 5);
    let mut used = Instant::now();
    for _ in 0..3 {
        thread::sleep(TIMEOUT * 2 / 3);
        let (again, connection) = one(&web, &place, vip(), 1);
        // On a machine that was busy for so long, nothing is said about this use.
        if used.elapsed() < TIMEOUT - Duration::from_millis(100) {
            assert_eq!(again, backend, "used {:?} ago", used.elapsed());
        }
        drop(connection);
        used = Instant::now();
    }
    let (backend, _held) = one(&web, &place, vip(), 5);
    thread::sleep(TIMEOUT + Duration::from_millis(100));
    let (after, _held) = one(&web, &place, vip(), 1);
    assert_ne!(after, backend, "the less loaded one");
    assert_eq!(one(&web, &place, vip(), 4).0, after, "and that for the next");
}

#[test]
fn a_client_whose_backend_is_gone_gets_another_and_stays_with_it() {
    let mut web = start("sticky-gone", 3, 10_800);
    let place = web.client.place().clone();
    let (backend, first) = one(&web, &place, vip(), 5);
    let all = web.service.endpoints.clone();
    web.change(
        |mut service| {
            service.endpoints.remove(backend);
            service
        },
        |shown| in_use(shown).len() == 2,
    );
    let (next, second) = one(&web, &place, vip(), 5);
    assert_ne!(next, backend);
    assert_eq!(web.counts().iter().filter(|n| **n == 5).count(), 2, "what is open stays");
    // It comes back, and has fewer connections: the client stays where it is.
    drop(first);
    web.change(|service| Service { endpoints: all, ..service }, |shown| in_use(shown) == [1, 2, 3]);
    let (last, _third) = one(&web, &place, vip(), 5);
    assert_eq!(last, next);
    drop(second);
}

/// Twenty Services over the same pods: for each of them the client is a new one.
#[test]
fn first_connections_at_the_same_time_agree() {
    let web = start("sticky-race", 5, 10_800);
    let vips = (1..=20).map(|n| Ipv4Addr::new(10, 96, 1, n));
    for vip in vips.clone() {
        let name = format!("race-{}", vip.octets()[3]);
        let service = Service::new(&name, vip, 80, 8080, web.backends.iter().map(Pod::ip));
        web.manifests.write(&sticky(service, 10_800)).expect("written");
    }
    await_shown(&web.agent, |all| all.len() == 21);
    for vip in vips {
        let target = SocketAddr::from((vip, 80));
        let held = Connections::open_at_once(web.client.place(), target, 20).opened(target);
        only(&[0; 5], &web.counts(), 20);
        drop(held);
        assert_eq!(web.counts(), [0; 5], "{target}: all are counted out again");
    }
}

#[test]
fn udp_sockets_of_a_client_stay_together_too() {
    let web = Web::start("sticky-udp", 3);
    let servers = web.backends.iter().map(|pod| Udp::serve(pod, &[pod.socket(5353)]));
    let _servers: Vec<Udp> = servers.collect();
    let ip = Ipv4Addr::new(10, 96, 0, 53);
    let dns = |endpoints: Vec<Endpoint>| {
        let service = Service::new("dns", ip, 53, 5353, Vec::<IpAddr>::new()).udp();
        sticky(Service { endpoints, ..service }, 10_800)
    };
    let endpoints = web.service.endpoints.clone();
    web.manifests.write(&dns(endpoints.clone())).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    let target = format!("{ip}:53");
    let other = web.lab.pod("other", address(201)).expect("a pod");
    let mut held = Vec::new();
    let mut answers = |place: &Place| -> String {
        let mut who = Vec::new();
        for connected in [true, false, true, false] {
            let mut socket = Udp::open(place, &[]);
            who.push(if connected {
                assert_eq!(socket.ask(&format!("connect {target}"))["ok"], true);
                socket.answer("send a", &target)
            } else {
                socket.answer(&format!("sendto {target} a"), &target)
            });
            held.push(socket);
        }
        assert!(who.iter().all(|name| *name == who[0]), "{who:?}");
        who.swap_remove(0)
    };
    let (one, two) = (answers(web.client.place()), answers(other.place()));
    assert_ne!(one, two);
    assert_eq!(answers(web.client.place()), one);

    let gone = web.backends.iter().position(|pod| pod.name() == one).expect("a pod");
    let mut rest = endpoints;
    rest.remove(gone);
    web.manifests.write(&dns(rest)).expect("written");
    let ready = |shown: &Value| in_use(shown).len();
    await_shown(&web.agent, |all| all.iter().any(|s| s["name"] == "dns" && ready(s) == 2));
    let next = answers(web.client.place());
    assert_ne!(next, one);
    assert_eq!(answers(other.place()), two);
}
