//! Who tries backends that have just failed, and what comes of it.

use std::{
    mem::offset_of,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use crate::common::{self, Connections, VIP, Web, address, await_shown, dial, pools::pools, serve};
use aya::maps::MapData;
use balancer_agent::maps::slab::Slab;
use balancer_common::layout::{Backend, LAYOUT_VERSION};
use balancer_lab::manifests::Service;
use serde_json::json;

/// Of a second Service over some of the pods, without session affinity.
const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
/// More than the pause after a second failure.
const DUE: Duration = Duration::from_millis(600);

fn plain() -> SocketAddr {
    (PLAIN, 80).into()
}

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

/// `default/web` has session affinity; `default/plain` has none, and these backends.
fn start(name: &str, backends: u8, plain: &[u8]) -> Web {
    let mut web = Web::start(name, backends);
    web.change(
        |service| service.with("sessionAffinity", json!("ClientIP")),
        |shown| shown["affinity_s"] == 10_800,
    );
    let plain = Service::new("plain", PLAIN, 80, 8080, plain.iter().map(|n| address(*n)));
    web.manifests.write(&plain).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    web
}

fn is_suspect(web: &Web, backend: usize) -> bool {
    web.shown("default/web")["backends"][backend]["state"] == "suspect"
}

fn is_refused(web: &Web, target: SocketAddr) -> bool {
    !dial(web.client.place(), target)["error"].is_null()
}

/// Dials the Service without affinity until these backends are suspect, or are not.
fn dial_until(web: &Web, backends: &[usize], suspect: bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while backends.iter().any(|backend| is_suspect(web, *backend) != suspect) {
        assert!(Instant::now() < deadline, "{:#}", web.shown("default/web"));
        is_refused(web, plain());
    }
}

#[test]
fn a_client_whose_backend_fails_tries_another_one_and_stays_once_that_has_answered() {
    let mut web = start("trial-other", 3, &[1, 2, 3]);
    assert!(!is_refused(&web, vip()));
    let own = web.opened().iter().position(|opened| *opened == 1).expect("it went somewhere");
    let other = (own + 1) % 3;
    let mut servers: Vec<_> = std::mem::take(&mut web.servers).into_iter().map(Some).collect();
    (servers[own], servers[other]) = (None, None);
    dial_until(&web, &[own, other], true);
    servers[other] = Some(serve(&web.backends[other]));
    thread::sleep(DUE);
    // Both are due. Its own one it may meet once.
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut refused = 0;
    while is_suspect(&web, other) {
        assert!(Instant::now() < deadline, "nobody has tried it: {refused} were refused");
        refused += usize::from(is_refused(&web, vip()));
    }
    assert!(refused <= 1, "{refused}");
    let before = web.opened();
    assert_eq!((0..4).filter(|_| is_refused(&web, vip())).count(), 0);
    let after = web.opened();
    assert_eq!(after[other] - before[other], 4, "{before:?}, then {after:?}");
}

#[test]
fn who_tries_a_backend_in_vain_does_not_stay_with_it() {
    let mut web = start("trial-vain", 2, &[2]);
    web.servers.pop();
    assert!(is_refused(&web, plain()));
    assert!(is_suspect(&web, 1));
    thread::sleep(DUE);
    assert!(is_refused(&web, vip()), "the pause is over, and it is the first to come");
    web.servers.push(serve(&web.backends[1]));
    let held = Connections::open(web.client.place(), plain(), 1).opened(plain());
    assert!(!is_suspect(&web, 1));
    assert_eq!(web.counts(), [0, 1]);
    let before = web.opened();
    assert!(!is_refused(&web, vip()));
    assert_eq!(web.opened()[0] - before[0], 1, "to the one with fewer connections");
    drop(held);
}

/// Whoever keeps its connections dials nobody.
#[test]
fn a_backend_that_nobody_tries_for_long_gets_a_connection_that_is_moved() {
    let mut web = Web::start("trial-neglected", 3);
    web.change(
        |service| service.annotated("balancer-agent/rebalance", "true"),
        |shown| common::in_use(shown) == [1, 2, 3],
    );
    web.servers.pop();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_suspect(&web, 2) {
        assert!(Instant::now() < deadline, "{:#}", web.shown("default/web"));
        is_refused(&web, vip());
    }
    let client = pools(&web, 12, Duration::from_secs(100));
    let await_counts = |web: &Web, wanted: [u64; 3], within| {
        let deadline = Instant::now() + Duration::from_secs(within);
        while web.counts() != wanted {
            assert!(Instant::now() < deadline, "{:?}", web.counts());
            thread::sleep(Duration::from_millis(50));
        }
    };
    await_counts(&web, [6, 6, 0], 5);
    web.servers.push(serve(&web.backends[2]));
    assert!(is_suspect(&web, 2));
    let_long_pass(&web, address(3));
    // On a machine that was started just now, a minute is to pass.
    await_counts(&web, [4, 4, 4], 90);
    assert!(!is_suspect(&web, 2));
    drop(client);
}

/// Has the pause after a first failure of a backend be over since the machine was started.
fn let_long_pass(web: &Web, backend: Ipv4Addr) {
    let pin = web.lab.bpffs().join(format!("balancer/v{LAYOUT_VERSION}/maps/BACKENDS"));
    let backends = MapData::from_pin(pin).expect("map");
    let size = size_of::<Backend>();
    let slab = Slab::map(backends.fd(), 64 * size).expect("mapped");
    let addr = offset_of!(Backend, addr) + 12;
    let own = (1..64).find(|id| slab.get32(id * size + addr) == u32::from(backend).to_be());
    let own = own.expect("it has an entry") * size;
    let until = own + offset_of!(Backend, suspect_until);
    assert_ne!(slab.get64(until), 0);
    slab.set64(until, 1);
    slab.set32(own + offset_of!(Backend, failures), 1);
}
