//! Flows of UDP from outside.

use std::{net::IpAddr, time::Instant};

use balancer_lab::{
    Pod,
    manifests::{Endpoint, Service},
};
use serde_json::json;

use super::stage::{NODE_PORT, READY, Stage};
use crate::common::udp::Udp;

#[test]
fn flows_of_udp_keep_their_backend_and_leave_one_that_is_gone() {
    let stage = Stage::start("outside-udp");
    let nodes = stage.cluster.nodes();
    let serve = |pod: &Pod| Udp::serve(pod, &[pod.socket(5353)]);
    let _servers: Vec<Udp> = stage.pods.iter().map(serve).collect();
    let port = json!({"name": "http", "port": 53, "nodePort": NODE_PORT, "protocol": "UDP"});
    let pods = stage.pods.iter().zip([0, 0, 1]);
    let mut dns = Service {
        endpoints: pods.map(|(pod, n)| Endpoint::ready(pod.ip()).on(nodes[n].name())).collect(),
        ..Service::new("dns", [10, 96, 0, 53], 53, 5353, [] as [IpAddr; 0]).udp()
    };
    dns = dns.with("type", json!("NodePort")).with("ports", json!([port]));
    stage.manifests.write(&dns).expect("written");
    let target = stage.at(0).to_string();
    let deadline = Instant::now() + READY;
    while Udp::open(stage.cluster.outside(), &["--timeout-ms", "200"])
        .ask(&format!("sendto {target} hello"))["from"]
        == json!(null)
    {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    let before: u64 = stage.counts_of(0, "dns").iter().sum();
    let mut clients: Vec<Udp> = (0..6).map(|_| Udp::open(stage.cluster.outside(), &[])).collect();
    let ask = |client: &mut Udp| client.answer(&format!("sendto {target} hello"), &target);
    let first: Vec<String> = clients.iter_mut().map(ask).collect();
    assert_eq!(stage.counts_of(0, "dns").iter().sum::<u64>(), before + 6);
    assert_eq!(clients.iter_mut().map(ask).collect::<Vec<_>>(), first, "the same once more");

    let gone = stage.pods[0].name().to_owned();
    dns.endpoints.remove(0);
    stage.manifests.write(&dns).expect("written");
    let deadline = Instant::now() + READY;
    loop {
        // An answer that is under way while its flow is forgotten is lost, as with kube-proxy.
        let try_to_ask = |client: &mut Udp| {
            let answer = client.ask(&format!("sendto {target} hello"));
            let lost = answer["from"].is_null();
            assert!(lost || answer["from"] == target, "{answer}");
            answer["text"].as_str().map(str::to_owned)
        };
        let now: Vec<Option<String>> = clients.iter_mut().map(try_to_ask).collect();
        let stays = |(then, now): (&String, &Option<String>)| {
            *then == gone || now.as_ref().is_none_or(|now| now == then)
        };
        assert!(first.iter().zip(&now).all(stays), "{first:?} {now:?}");
        if now.iter().flatten().filter(|now| **now != gone).count() == clients.len() {
            break;
        }
        assert!(Instant::now() < deadline, "{now:?}");
    }
}

/// Another Service still has the backend: only what begins is refused.
#[test]
fn flows_of_udp_go_on_where_their_service_has_no_endpoint_any_more() {
    let stage = Stage::start("outside-udp-goes-on");
    let pod = &stage.pods[0];
    let _server = Udp::serve(pod, &[pod.socket(5353)]);
    let port = json!({"name": "http", "port": 53, "nodePort": NODE_PORT, "protocol": "UDP"});
    let node = stage.cluster.nodes()[0].name();
    let service = |name: &str, last: u8| Service {
        endpoints: vec![Endpoint::ready(pod.ip()).on(node)],
        ..Service::new(name, [10, 96, 0, last], 53, 5353, [] as [IpAddr; 0]).udp()
    };
    let other = service("other", 54);
    let mut dns = service("dns", 53).with("type", json!("NodePort")).with("ports", json!([port]));
    stage.manifests.write(&other).expect("written");
    stage.manifests.write(&dns).expect("written");
    let target = stage.at(0).to_string();
    let hello = format!("sendto {target} hello");
    let fresh = || Udp::open(stage.cluster.outside(), &["--timeout-ms", "200"]).ask(&hello);
    let deadline = Instant::now() + READY;
    while fresh()["from"].is_null() {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    let mut client = Udp::open(stage.cluster.outside(), &[]);
    client.answer(&hello, &target);
    dns.endpoints.clear();
    stage.manifests.write(&dns).expect("written");
    let deadline = Instant::now() + READY;
    while !fresh()["from"].is_null() {
        assert!(Instant::now() < deadline, "a new flow is answered");
    }
    client.answer(&hello, &target);
}
