//! The agent of a node whose Services come from an API server, outside the node.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{VIP, address, await_shown, serve};
use balancer_lab::{
    Agent, Lab, Pod,
    apiserver::Process,
    http::{Client, LoadOptions, Pools, Server, Until},
    manifests::{Endpoint, Service},
};
use serde_json::{Value, json};

/// An address of the outside, as the lab lays the network out.
const API_SERVER: ([u8; 4], u16) = ([172, 18, 0, 1], 6443);

struct Cluster {
    // Dropped in this order.
    agent: Agent,
    api: Process,
    _servers: Vec<Server>,
    pods: Vec<Pod>,
    client: Pod,
    service: Service,
    _lab: Lab,
}

impl Cluster {
    fn start(name: &str) -> Self {
        let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
        let client = lab.pod("client", address(200)).expect("client");
        let pods = lab.pods((1..=3).map(|n| (format!("web-{n}"), address(n)))).expect("pods");
        let servers = pods.iter().map(serve).collect();
        let listen = SocketAddr::from((Ipv4Addr::from(API_SERVER.0), API_SERVER.1));
        let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen);
        let api = api.expect("an API server");
        let service = Service::new("web", VIP, 80, 8080, pods.iter().map(Pod::ip));
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab-node"}});
        api.put(&[service.service(), service.endpoint_slice(), node]).expect("put");
        let agent = Agent::start_watching(&lab, &api.kubeconfig(), &[]).expect("agent");
        Self { agent, api, _servers: servers, pods, client, service, _lab: lab }
    }

    fn publish(&self) {
        self.api.put(&[self.service.endpoint_slice()]).expect("put");
    }

    /// Connections of six fresh pools to each backend, most first.
    fn spread(&self, when: &str) -> Vec<u64> {
        let uri = format!("http://{VIP}/").parse().expect("uri");
        let options = LoadOptions::new(uri, 6, Pools::PerThread, Until::Requests(2));
        let report = Client::run(self.client.place(), &options).expect("client");
        assert_eq!(report.errors, 0, "{when}: {report:?}");
        report.spread()
    }

    fn await_backends(&self, count: usize) {
        await_shown(&self.agent, |services| {
            services.first().and_then(|s| s["backends"].as_array()).map(Vec::len) == Some(count)
        });
    }

    /// What the agent tells; nothing while it starts.
    fn problems(&self) -> Vec<Value> {
        let status = self.agent.json(&["status"]).unwrap_or_default();
        status["problems"].as_array().cloned().unwrap_or_default()
    }

    fn await_problems(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !wanted(&self.problems()) {
            assert!(Instant::now() < deadline, "not {what}: {:#?}", self.problems());
        }
    }
}

#[test]
fn connections_follow_what_the_api_server_tells() {
    let mut cluster = Cluster::start("cluster");
    let status = cluster.agent.json(&["status"]).expect("status");
    assert_eq!(status["agent"]["source"], "API server https://172.18.0.1:6443");
    assert_eq!(cluster.spread("three backends"), [2, 2, 2]);

    cluster.service.endpoints.pop();
    cluster.publish();
    cluster.await_backends(2);
    assert_eq!(cluster.spread("two backends"), [3, 3]);

    let third = cluster.pods[2].ip();
    cluster.service.endpoints.push(Endpoint::ready(third));
    cluster.publish();
    cluster.await_backends(3);
    assert_eq!(cluster.spread("three again"), [2, 2, 2]);

    cluster.api.remove(&[cluster.service.service()]).expect("removed");
    await_shown(&cluster.agent, <[Value]>::is_empty);
}

#[test]
fn balancing_goes_on_without_the_api_server_and_without_both() {
    let mut cluster = Cluster::start("cluster-away");
    cluster.api.tell("/away").expect("away");
    cluster.await_problems("told", |problems| problems.len() == 1);
    assert_eq!(cluster.spread("API server away"), [2, 2, 2]);

    // An agent that starts meanwhile leaves everything as it is, and says why it is not ready.
    assert!(cluster.agent.terminate().expect("terminated").success());
    assert_eq!(cluster.spread("both away"), [2, 2, 2]);
    cluster.service.endpoints.pop();
    cluster.publish();
    cluster.api.tell("/compact").expect("compacted");
    cluster.agent.launch().expect("launched");
    cluster.await_problems("told", |problems| problems.len() == 1);
    let status = cluster.agent.json(&["status"]).expect("status");
    assert_eq!(status["agent"]["ready"], false, "{status:#}");
    let kinds = ["Service", "EndpointSlice", "Node", "Pod", "Namespace"];
    assert_eq!(status["agent"]["waiting_for"], json!(kinds), "{status:#}");
    let page = cluster.agent.cli(&["status"]).expect("status");
    assert!(page.contains("starting, waits for the list of Service, EndpointSlice"), "{page}");
    assert_eq!(cluster.spread("API server away, agent back"), [2, 2, 2]);

    cluster.api.tell("/back").expect("back");
    cluster.await_backends(2);
    cluster.await_problems("mended", <[Value]>::is_empty);
    assert_eq!(cluster.spread("caught up"), [3, 3]);
    let status = cluster.agent.json(&["status"]).expect("status");
    assert_eq!(status["agent"]["waiting_for"], Value::Null, "{status:#}");

    // One line from each of the two agents, however many requests have failed.
    let log = cluster.agent.log().expect("a log");
    let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!((lines("does not serve"), lines("ERROR"), lines("kube_client")), (2, 0, 0), "{log}");
}
