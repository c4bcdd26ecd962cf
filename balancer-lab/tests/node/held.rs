//! A pod holds the locks of its UDP sockets: whoever ends them does not come back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{
    Connections, VIP, Web, address, await_shown,
    clients::{Client, pod_object, tell},
    in_use,
};
use balancer_lab::manifests::Service;
use serde_json::Value;

/// A Service of UDP.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);

fn dns(numbers: &[u8]) -> Service {
    Service::new("dns", DNS, 53, 53, numbers.iter().map(|n| address(*n))).udp()
}

/// Open sockets of the backend that is left.
fn left(web: &Web) -> u64 {
    let shown = web.shown("default/dns");
    let backends = shown["backends"].as_array().expect("backends").iter();
    let of_first = |backend: &Value| {
        let own = backend["address"] == address(1).to_string();
        if own { backend["active"].as_u64().expect("a number") } else { 0 }
    };
    backends.map(of_first).sum()
}

#[test]
fn a_pod_that_holds_its_datagrams_holds_up_nobody_else() {
    let mut web = Web::start("held-udp", 2);
    tell(&web, &[pod_object(201, None)]);
    web.manifests.write(&dns(&[1, 2])).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    let hostile = Client::start(&web, 201);
    let at = SocketAddr::from((DNS, 53));
    let held = Connections::open_with(hostile.pod.place(), at, 4, &["--udp", "--hold-locks"]);
    let others = Connections::open_with(web.client.place(), at, 4, &["--udp"]);
    let (held, others) = (held.opened(at), others.opened(at));
    assert_eq!(left(&web), 4);

    // Two sockets of each are to leave.
    web.manifests.write(&dns(&[2])).expect("written");
    await_shown(&web.agent, |all| all.iter().any(|s| s["name"] == "dns" && in_use(s) == [2]));
    let deadline = Instant::now() + Duration::from_secs(20);
    while left(&web) > 2 {
        let log = web.agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "log of the agent:\n{log}");
    }
    let is_told = |problem: &Value| {
        let said = problem["message"].as_str().unwrap_or_default();
        let object = problem["object"].as_str().unwrap_or_default();
        object.starts_with("connection 10.244.0.201:")
            && object.ends_with(" to 10.244.0.1:53")
            && said.contains("Service default/dns")
            && said.contains("pod default/client-201")
            && said.contains("UDP socket")
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = web.agent.json(&["status"]).expect("status");
        let problems = status["problems"].as_array().expect("problems");
        if problems.iter().any(is_told) {
            break;
        }
        let log = web.agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "{problems:#?}\nlog of the agent:\n{log}");
    }

    // What the loop does goes on, and its end.
    web.change(|_| Service::new("web", VIP, 80, 8080, [address(1)]), |shown| in_use(shown) == [1]);
    let asked = Instant::now();
    assert!(web.agent.terminate().expect("ended").success());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    web.agent.resume().expect("the next agent starts");
    web.change(|_| Service::new("web", VIP, 80, 8080, [address(2)]), |shown| in_use(shown) == [2]);
    drop((held, others));
}
