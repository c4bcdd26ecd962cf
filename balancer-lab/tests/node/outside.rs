//! Connections from outside of the nodes, through node ports.

use std::{
    fs,
    io::{Read as _, Write as _},
    mem::offset_of,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    common::{Connections, VIP, dial, udp::Udp},
    verifier,
};
use aya::{
    maps::{HashMap, Map, MapData},
    programs::loaded_programs,
};
use balancer_common::layout::{LAYOUT_VERSION, OutsideFlow, OutsideKey};
use balancer_lab::{
    Agent, Cluster, Node, Place, Pod,
    http::Server,
    manifests::{Endpoint, Manifests, Service},
};
use serde_json::{Value, json};

const NODE_PORT: u16 = 30080;
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0x10);
/// Until the programs are on the devices of a node.
const READY: Duration = Duration::from_secs(10);

/// Two nodes: two backends on the first, one on the other.
struct Stage {
    // Dropped in this order: agents and servers before the nodes they run on.
    agents: Vec<Agent>,
    manifests: Manifests,
    service: Service,
    servers: Vec<Server>,
    pods: Vec<Pod>,
    cluster: Cluster,
}

impl Stage {
    fn start(name: &str) -> Self {
        let cluster = Cluster::create(name, 2).expect("nodes; the tests need root and iproute2");
        let [first, second] = cluster.nodes() else { panic!("two nodes were asked for") };
        let pod = |node: &Node, number: u8| {
            let pod = node.pod(&format!("{}-{number}", node.name()), node.pod_ip(number));
            (pod.expect("a pod"), node.name().to_owned())
        };
        let placed = [pod(first, 1), pod(first, 2), pod(second, 1)];
        let endpoint = |(pod, node): &(Pod, String)| Endpoint::ready(pod.ip()).on(node);
        let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP"});
        let service = Service {
            endpoints: placed.iter().map(endpoint).collect(),
            ..Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0])
        };
        let service = service.with("type", json!("NodePort")).with("ports", json!([port]));
        let pods: Vec<Pod> = placed.into_iter().map(|(pod, _)| pod).collect();
        let both = |pod: &Pod| {
            let at = [pod.socket(8080), pod.socket6(8080)];
            Server::start(pod.place(), pod.name(), &at).expect("server")
        };
        let servers = pods.iter().map(both).collect();
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        manifests.write_cluster(&cluster).expect("written");
        manifests.write(&service).expect("written");
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &["--outside-traffic"]);
        let stage =
            Self { agents: agents.expect("agents"), manifests, service, servers, pods, cluster };
        let deadline = Instant::now() + READY;
        for node in 0..2 {
            while dial(stage.cluster.outside(), stage.at(node))["peer"] == json!(null) {
                let log = stage.agents[node].log().unwrap_or_default();
                assert!(Instant::now() < deadline, "{log}");
            }
            stage.await_counts(node, &[0, 0, 0]);
        }
        stage
    }

    /// Changes the Service, and waits until a connection through the first node is answered as wanted.
    fn change(
        &mut self,
        change: impl FnOnce(Service) -> Service,
        answered: impl Fn(&Value) -> bool,
    ) {
        self.service = change(self.service.clone());
        self.manifests.write(&self.service).expect("written");
        let deadline = Instant::now() + READY;
        loop {
            let said = dial(self.cluster.outside(), self.at(0));
            if answered(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "{said}");
        }
    }

    fn at(&self, node: usize) -> SocketAddr {
        (self.cluster.nodes()[node].ip(), NODE_PORT).into()
    }

    /// Pins of a program on the devices of a node.
    fn pins(&self, node: usize, program: &str) -> Vec<PathBuf> {
        let bpffs = self.cluster.nodes()[node].state_dir().join("bpffs/balancer");
        let links = fs::read_dir(bpffs.join(format!("v{LAYOUT_VERSION}/links"))).expect("links");
        let paths = links.map(|link| link.expect("a link").path());
        paths.filter(|path| path.to_string_lossy().contains(program)).collect()
    }

    /// What `nft` prints on a node.
    fn nft(&self, node: usize, arguments: &[&str]) -> String {
        let mut nft = self.cluster.nodes()[node].place().command("nft");
        let output = nft.args(arguments).output().expect("nft");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Open connections of the backends of `web` through a node, in ascending order.
    fn counts(&self, node: usize) -> Vec<u64> {
        self.counts_of(node, "web")
    }

    /// The same of any Service.
    fn counts_of(&self, node: usize, name: &str) -> Vec<u64> {
        let service = format!("default/{name}");
        let shown = self.agents[node].json(&["services", &service]).expect("services");
        let backends = shown[0]["backends"].as_array().expect("backends").iter();
        let mut counts: Vec<u64> =
            backends.map(|b| b["active"].as_u64().expect("a number")).collect();
        counts.sort_unstable();
        counts
    }

    fn await_counts(&self, node: usize, wanted: &[u64]) {
        self.await_counts_of(node, "web", wanted);
    }

    fn await_counts_of(&self, node: usize, name: &str, wanted: &[u64]) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.counts_of(node, name) != wanted {
            assert!(Instant::now() < deadline, "{name}: {:?}", self.counts_of(node, name));
        }
    }
}

#[test]
fn connections_from_outside_are_spread_and_counted() {
    let stage = Stage::start("outside");
    for node in 0..2 {
        let target = stage.at(node);
        let status = stage.agents[node].json(&["status"]).expect("status");
        assert_eq!(status["outside"], json!(["eth0"]));
        let held = Connections::open(stage.cluster.outside(), target, 20).opened(target);
        assert_eq!(stage.counts(node), [6, 7, 7], "through node {node}");
        drop(held);
        stage.await_counts(node, &[0, 0, 0]);
    }
}

/// As with kube-proxy: the endpoints of the node that is dialled, and nobody's elsewhere.
#[test]
fn a_local_external_policy_keeps_to_the_node_and_drops_where_there_is_none() {
    let mut stage = Stage::start("outside-local");
    let local = |service: Service| service.with("externalTrafficPolicy", json!("Local"));
    stage.change(local, |said| said["peer"] != json!(null));
    let target = stage.at(0);
    let deadline = Instant::now() + READY;
    loop {
        let _held = Connections::open(stage.cluster.outside(), target, 20).opened(target);
        if stage.counts(0) == [0, 10, 10] {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", stage.counts(0));
    }
    stage.await_counts(0, &[0, 0, 0]);
    // Those of the first node are gone: one of another node is not asked.
    let elsewhere = |mut service: Service| {
        service.endpoints.drain(..2);
        service
    };
    stage.change(elsewhere, |said| said["error"] == json!("timed out"));
    let other = stage.at(1);
    let _held = Connections::open(stage.cluster.outside(), other, 4).opened(other);
    assert_eq!(stage.counts(1), [4]);
}

#[test]
fn a_service_without_endpoints_is_refused_by_icmp() {
    let mut stage = Stage::start("outside-refused");
    // It would answer where a packet is let through.
    let node = &stage.cluster.nodes()[0];
    let _server = Server::start(node.place(), "node", &[stage.at(0)]).expect("server");
    let nobody = |mut service: Service| {
        service.endpoints.clear();
        service
    };
    stage.change(nobody, |said| said["errno"] == nix::libc::ECONNREFUSED);
}

#[test]
fn connections_from_outside_outlive_the_agent_and_are_counted_without_it() {
    let mut stage = Stage::start("outside-crash");
    let target = stage.at(0);
    let outside = stage.cluster.outside().clone();
    let first = Connections::open(&outside, target, 6).opened(target);
    stage.agents[0].kill().expect("it runs");
    let second = Connections::open(&outside, target, 6).opened(target);
    drop(first);
    stage.agents[0].launch().expect("started again");
    stage.await_counts(0, &[2, 2, 2]);
    drop(second);
    stage.await_counts(0, &[0, 0, 0]);
}

#[test]
fn rules_that_others_remove_are_put_back() {
    let stage = Stage::start("outside-flush");
    stage.nft(0, &["flush", "ruleset"]);
    let deadline = Instant::now() + Duration::from_secs(2);
    while dial(stage.cluster.outside(), stage.at(0))["peer"] == json!(null) {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
}

#[test]
fn cleanup_takes_programs_and_rules_away_and_connections_go_on() {
    let mut stage = Stage::start("outside-cleanup");
    // Others have a rule of NAT, too: without any, nothing is tracked any more.
    let others = "table ip others { chain out { type nat hook postrouting priority 100; \
                  ip saddr 192.0.2.0/24 masquerade; }; }";
    stage.nft(0, &[others]);
    let target = stage.at(0);
    let open = move || TcpStream::connect(target);
    let mut streams: Vec<TcpStream> = (0..6)
        .map(|_| stage.cluster.outside().within(open).expect("a place").expect("open"))
        .collect();
    assert_eq!(stage.counts(0), [2, 2, 2]);
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    assert_eq!(stage.nft(0, &["list", "tables"]), "table ip others\n");
    // Nobody listens at the port itself.
    let said = dial(stage.cluster.outside(), target);
    assert_eq!(said["errno"], nix::libc::ECONNREFUSED, "{said}");
    for stream in &mut streams {
        stream.set_read_timeout(Some(READY)).expect("set");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered and closed");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Also rules that no program leads to.
    stage.agents[1].terminate().expect("it runs");
    for pin in stage.pins(1, "outside_") {
        fs::remove_file(pin).expect("removed");
    }
    stage.agents[1].cli(&["cleanup"]).expect("removed");
    assert_eq!(stage.nft(1, &["list", "tables"]), "");
}

/// Over IPv6, and at addresses that no device has.
#[test]
fn other_addresses_of_a_service_lead_there_too() {
    let mut stage = Stage::start("outside-addresses");
    let outside = stage.cluster.outside().clone();
    let nodes = stage.cluster.nodes();
    let via = nodes[0].ip().to_string();
    let mut route = outside.command("ip");
    route.args(["route", "add", "203.0.113.0/24", "via", &via]);
    assert!(route.status().expect("ip").success());
    let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT + 1, "protocol": "TCP"});
    let pods = stage.pods.iter().zip([0, 0, 1]);
    let web6 = Service {
        endpoints: pods.map(|(pod, n)| Endpoint::ready(pod.ip6()).on(nodes[n].name())).collect(),
        ..Service::new("web6", VIP6, 80, 8080, [] as [IpAddr; 0])
    };
    let web6 = web6.with("type", json!("NodePort")).with("ports", json!([port]));
    stage.manifests.write(&web6).expect("written");
    let [external, balancer] = ["203.0.113.7:80", "203.0.113.8:80"];
    let change = |mut service: Service| {
        service.status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}});
        let admitted = json!(["172.18.0.0/24"]);
        service
            .with("externalIPs", json!(["203.0.113.7"]))
            .with("loadBalancerSourceRanges", admitted)
    };
    stage.change(change, |said| said["peer"] != json!(null));
    let node6 = SocketAddr::new(stage.cluster.nodes()[0].ip6().into(), NODE_PORT + 1).to_string();
    for (name, target) in [("web6", &*node6), ("web", external), ("web", balancer)] {
        let target: SocketAddr = target.parse().expect("an address");
        let deadline = Instant::now() + READY;
        while dial(&outside, target)["peer"] == json!(null) {
            assert!(Instant::now() < deadline, "{target}");
        }
        stage.await_counts_of(0, name, &[0, 0, 0]);
        let _held = Connections::open(&outside, target, 20).opened(target);
        assert_eq!(stage.counts_of(0, name), [6, 7, 7], "{target}");
    }
    // The client is admitted no more.
    let nobody =
        |service: Service| service.with("loadBalancerSourceRanges", json!(["198.51.100.0/24"]));
    stage.change(nobody, |said| said["peer"] != json!(null));
    let balancer: SocketAddr = balancer.parse().expect("an address");
    let deadline = Instant::now() + READY;
    while dial(&outside, balancer)["error"] != json!("timed out") {
        assert!(Instant::now() < deadline);
    }
}

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

/// A client that is cut off: connection tracking gives it up, and the agent asks that.
#[test]
fn what_ends_without_a_packet_is_found() {
    let stage = Stage::start("outside-silent");
    let [node, outside] = [stage.cluster.nodes()[0].place(), stage.cluster.outside()];
    node.set_sysctl("net/netfilter/nf_conntrack_tcp_timeout_established", "2").expect("set");
    let target = stage.at(0);
    let held = Connections::open(outside, target, 3).opened(target);
    let cut =
        "table ip cut { chain out { type filter hook output priority 0; tcp dport 30080 drop; }; }";
    assert!(outside.command("nft").arg(cut).status().expect("nft").success());
    drop(held);
    assert_eq!(stage.counts(0), [1, 1, 1]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage.counts(0) != [0, 0, 0] {
        assert!(Instant::now() < deadline, "{:?}", stage.counts(0));
    }
}

/// Its trial is a connection from outside, and so is all that comes after: nobody else would learn that
/// the backend answers again.
#[test]
fn a_connection_from_outside_ends_that_a_backend_is_suspect() {
    let mut stage = Stage::start("outside-suspect");
    let refuses = stage.pods[1].ip().to_string();
    let state = |stage: &Stage| {
        let shown = stage.agents[0].json(&["services", "default/web"]).expect("services");
        let backends = shown[0]["backends"].as_array().expect("backends").clone();
        let found = backends.iter().find(|backend| backend["address"] == *refuses);
        let found = found.unwrap_or_else(|| panic!("{shown}"));
        found["state"].as_str().expect("text").to_owned()
    };
    stage.servers.remove(1);
    let await_state = |stage: &Stage, wanted: &str, from: &Place, target: SocketAddr| {
        let deadline = Instant::now() + READY;
        while state(stage) != wanted {
            assert!(Instant::now() < deadline, "{}, not {wanted}", state(stage));
            dial(from, target);
        }
    };
    await_state(&stage, "suspect", stage.pods[0].place(), (VIP, 80).into());
    let pod = &stage.pods[1];
    let at = [pod.socket(8080), pod.socket6(8080)];
    stage.servers.push(Server::start(pod.place(), pod.name(), &at).expect("server"));
    await_state(&stage, "ready", stage.cluster.outside(), stage.at(0));
    stage.await_counts(0, &[0, 0, 0]);
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

/// Numbers wrap around: what is 2 GiB further on looks like what was before. There is no agent that would
/// find the ends.
#[test]
fn the_end_of_a_connection_is_seen_however_much_was_sent() {
    type Key = [u8; size_of::<OutsideKey>()];
    type Flow = [u8; size_of::<OutsideFlow>()];
    const SINCE: usize = offset_of!(OutsideFlow, since);
    const SEQUENCE: usize = offset_of!(OutsideFlow, sequence);
    let mut stage = Stage::start("outside-long");
    let target = stage.at(0);
    let held = Connections::open(stage.cluster.outside(), target, 3).opened(target);
    stage.agents[0].kill().expect("it runs");
    let folder = stage.cluster.nodes()[0].bpffs();
    let pin = folder.join(format!("balancer/v{LAYOUT_VERSION}/maps/OUTSIDE"));
    let map = Map::HashMap(MapData::from_pin(pin).expect("map"));
    let mut flows: HashMap<MapData, Key, Flow> = map.try_into().expect("a hash map");
    let open: Vec<(Key, Flow)> = flows.iter().collect::<Result<_, _>>().expect("read");
    assert_eq!(open.len(), 3);
    for (key, mut flow) in open {
        let since = u64::from_ne_bytes(*flow[SINCE..].first_chunk().expect("a word"));
        let minute = Duration::from_secs(60).as_nanos() as u64;
        flow[SINCE..][..8].copy_from_slice(&since.wrapping_sub(minute).to_ne_bytes());
        let first = u32::from_ne_bytes(*flow[SEQUENCE..].first_chunk().expect("a word"));
        flow[SEQUENCE..][..4].copy_from_slice(&first.wrapping_sub(1 << 31).to_ne_bytes());
        flows.insert(key, flow, 0).expect("written");
    }
    assert_eq!(stage.counts(0), [1, 1, 1]);
    drop(held);
    stage.await_counts(0, &[0, 0, 0]);
}

/// Also where other agents run beside this one.
#[test]
fn programs_for_packets_do_not_come_near_the_limit_of_the_verifier() {
    let _stage = Stage::start("outside-verifier");
    // The kernel keeps 15 bytes of a name. Those of others may be gone while they are listed.
    let loaded = loaded_programs().filter_map(Result::ok);
    let ours = loaded.filter(|info| info.name_as_str() == Some("balancer_outsid"));
    // Not told before Linux 5.16.
    let counts: Vec<u32> =
        ours.map(|info| info.verified_instruction_count().unwrap_or(0)).collect();
    assert!(counts.len() >= 4, "two on each node: {counts:?}");
    assert!(counts.iter().all(|count| *count <= verifier::MOST), "{counts:?}");
    println!("verified for packets {counts:?}");
}
