//! Pods as clients: left alone by a label, and known by their addresses.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::common::{
    VIP, Web,
    clients::{Client, namespace, pod_object, tell},
    dial,
};
use balancer_lab::Place;
use serde_json::json;

/// How long kubelet's cgroups may stay unseen.
const SOON: Duration = Duration::from_secs(10);

/// What a program in a place is told when it dials an address on port 80.
fn told(place: &Place, ip: Ipv4Addr) -> String {
    let said = dial(place, (ip, 80));
    said["error"].as_str().unwrap_or("connected").to_owned()
}

/// Dials until the answer is as wanted: the agent may still have to see the pod.
fn await_answer(web: &Web, place: &Place, ip: Ipv4Addr, wanted: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let found = told(place, ip);
        if found == wanted {
            return;
        }
        let log = web.agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "{found}, not {wanted}\nlog of the agent:\n{log}");
    }
}

#[test]
fn sockets_of_a_pod_are_left_alone_by_its_label_or_that_of_its_namespace() {
    let web = Web::start("opt-out", 1);
    // Its Pod is known before its cgroup is there.
    tell(&web, &[pod_object(201, Some("false"))]);
    let (out, other) = (Client::start(&web, 201), Client::start(&web, 202));
    // Nothing else answers at the ClusterIP in a lab: what is left alone times out.
    await_answer(&web, out.pod.place(), VIP, "timed out");
    assert_eq!(told(other.pod.place(), VIP), "connected");
    let status = web.agent.json(&["status"]).expect("status");
    assert_eq!(status["pods"][0]["name"], json!("client-201"), "{status:#}");
    assert_eq!(status["pods"][0]["state"], json!("opted-out"), "{status:#}");

    tell(&web, &[namespace("false"), pod_object(201, Some("true")), pod_object(202, None)]);
    await_answer(&web, out.pod.place(), VIP, "connected");
    await_answer(&web, other.pod.place(), VIP, "timed out");

    tell(&web, &[]);
    await_answer(&web, other.pod.place(), VIP, "connected");
    assert_eq!(told(out.pod.place(), VIP), "connected");
}

#[test]
fn source_ranges_are_asked_for_the_addresses_of_the_pod() {
    let balancer = Ipv4Addr::new(203, 0, 113, 2);
    let mut web = Web::start("ranges", 1);
    let (inside, outside) = (Client::start(&web, 201), Client::start(&web, 202));
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "lab-node"},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
    });
    tell(&web, &[node, pod_object(201, None), pod_object(202, None)]);
    web.service = web.service.clone().with("type", json!("LoadBalancer"));
    web.service.status = json!({"loadBalancer": {"ingress": [{"ip": balancer}]}});
    web.service = web.service.clone().with("loadBalancerSourceRanges", json!(["10.244.0.201/32"]));
    web.manifests.write(&web.service).expect("written");
    await_answer(&web, inside.pod.place(), balancer, "connected");
    await_answer(&web, outside.pod.place(), balancer, "host unreachable");
    await_answer(&web, web.lab.node(), balancer, "host unreachable");
    assert_eq!(told(outside.pod.place(), VIP), "connected", "the ClusterIP has no ranges");

    // A client that no Pod tells of is left to kube-proxy.
    assert_eq!(told(web.client.place(), balancer), "timed out");

    web.service = web
        .service
        .clone()
        .with("loadBalancerSourceRanges", json!(["10.244.0.202/32", "172.18.0.0/16"]));
    web.manifests.write(&web.service).expect("written");
    await_answer(&web, outside.pod.place(), balancer, "connected");
    await_answer(&web, inside.pod.place(), balancer, "host unreachable");
    assert_eq!(told(web.lab.node(), balancer), "connected");

    // What can't be read lets nobody in.
    web.service = web.service.clone().with("loadBalancerSourceRanges", json!(["office"]));
    web.manifests.write(&web.service).expect("written");
    await_answer(&web, outside.pod.place(), balancer, "host unreachable");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let problems = web.agent.json(&["status"]).expect("status")["problems"].to_string();
        if problems.contains("no entry is usable: nobody may use") {
            break;
        }
        assert!(Instant::now() < deadline, "{problems}");
    }
}
