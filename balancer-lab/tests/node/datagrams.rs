//! UDP through Services, with sockets that are connected and sockets that are not.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use crate::common::{address, await_shown, udp::Udp};
use balancer_common::layout::MAX_FLOWS;
use balancer_lab::{
    Agent, Lab, Pod,
    manifests::{Endpoint, Manifests, Service},
};
use serde_json::{Value, json};

const DNS: &str = "10.96.0.53:53";
const TIME: &str = "10.96.0.123:123";
const DNS6: &str = "[fd00:96::53]:53";

/// What becomes of a Service that loses the first of two pods.
type Lose<'a> = &'a dyn Fn(&Pod, &Pod) -> Service;
/// What becomes of an endpoint; true for the one that new sockets are to leave.
type Change<'a> = &'a dyn Fn(&mut Endpoint, bool);

/// Two Services over the same pods, one of them over both families, and a client.
struct Stage {
    agent: Agent,
    _servers: Vec<Udp>,
    pods: Vec<Pod>,
    client: Pod,
    manifests: Manifests,
    _lab: Lab,
}

fn dns<A: Into<IpAddr>>(endpoints: impl IntoIterator<Item = A>) -> Service {
    Service::new("dns", Ipv4Addr::new(10, 96, 0, 53), 53, 5353, endpoints).udp()
}

impl Stage {
    fn start(name: &str, backends: u8) -> Self {
        let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
        let client = lab.pod("client", address(200)).expect("client");
        let pods = lab.pods((1..=backends).map(|n| (format!("dns-{n}"), address(n))));
        let pods = pods.expect("pods");
        let servers = pods.iter().map(serve).collect();
        let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
        manifests.write(&dns(pods.iter().map(Pod::ip))).expect("written");
        let time = Service::new(
            "time",
            Ipv4Addr::new(10, 96, 0, 123),
            123,
            1123,
            pods.iter().map(Pod::ip),
        );
        manifests.write(&time.udp()).expect("written");
        let ip: Ipv6Addr = "fd00:96::53".parse().expect("IPv6");
        let dns6 = Service::new("dns6", ip, 53, 5353, pods.iter().map(Pod::ip6));
        manifests.write(&dns6.udp()).expect("written");
        let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
        Self { agent, _servers: servers, pods, client, manifests, _lab: lab }
    }

    fn udp(&self) -> Udp {
        Udp::open(self.client.place(), &["--timeout-ms", "5000"])
    }

    /// Sockets of each backend of a Service, as the agent counts them.
    fn counts(&self, service: &str) -> Vec<u64> {
        let shown = self.agent.json(&["services", service]).expect("services");
        let backends = shown[0]["backends"].as_array().expect("backends");
        backends.iter().map(|backend| backend["active"].as_u64().expect("active")).collect()
    }

    /// How often a verdict was given.
    fn verdict(&self, name: &str) -> u64 {
        let status = self.agent.json(&["status"]).expect("status");
        let verdicts = status["verdicts"].as_array().expect("verdicts");
        let verdict = verdicts.iter().find(|verdict| verdict["name"] == name).expect("known");
        verdict["total"].as_u64().expect("a number")
    }

    /// Waits until the Service has so many backends that new connections may go to.
    fn await_ready(&self, service: &str, ready: usize) {
        await_shown(&self.agent, |shown| {
            let Some(shown) = shown.iter().find(|s| s["name"] == service) else { return false };
            let backends = shown["backends"].as_array().expect("backends");
            backends.iter().filter(|backend| backend["state"] == "ready").count() == ready
        });
    }

    fn await_counts(&self, service: &str, sum: u64) {
        await_shown(&self.agent, |_| self.counts(service).iter().sum::<u64>() == sum);
    }
}

/// A server of both Services over both families, which answers with the name of its pod.
fn serve(pod: &Pod) -> Udp {
    Udp::serve(pod, &[pod.socket(5353), pod.socket6(5353), pod.socket(1123)])
}

#[test]
fn connected_sockets_are_spread_counted_and_answered_by_the_service() {
    let stage = Stage::start("udp-connected", 3);
    let mut sockets: Vec<_> = (0..7).map(|_| stage.udp()).collect();
    for socket in &mut sockets {
        assert_eq!(socket.ask(&format!("connect {DNS}"))["ok"], true);
        assert_eq!(socket.ask("peer")["peer"], DNS);
        let who = socket.answer("send a", DNS);
        assert_eq!(socket.answer("send b", DNS), who, "a connected socket stays");
    }
    let mut counts = stage.counts("default/dns");
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 3]);
    drop(sockets);
    assert_eq!(stage.counts("default/dns"), [0, 0, 0]);
}

#[test]
fn a_socket_that_connects_again_moves_its_charge() {
    let stage = Stage::start("udp-reconnect", 2);
    let mut socket = stage.udp();
    for _ in 0..5 {
        socket.ask(&format!("connect {DNS}"));
        socket.answer("send a", DNS);
        assert_eq!(stage.counts("default/dns").iter().sum::<u64>(), 1);
    }
    socket.ask(&format!("connect {TIME}"));
    socket.answer("send a", TIME);
    assert_eq!(stage.counts("default/dns"), [0, 0]);
    assert_eq!(stage.counts("default/time").iter().sum::<u64>(), 1);
    // To a pod itself: no Service, no charge, and the pod is the peer.
    let pod = stage.pods[0].socket(5353).to_string();
    socket.ask(&format!("connect {pod}"));
    assert_eq!(socket.ask("peer")["peer"], pod.as_str());
    assert_eq!(socket.answer("send a", &pod), "dns-1");
    assert_eq!(stage.counts("default/time"), [0, 0]);
}

#[test]
fn one_socket_talks_to_several_services_and_stays_with_its_backends() {
    let stage = Stage::start("udp-unconnected", 5);
    let mut sockets: Vec<_> = (0..5).map(|_| stage.udp()).collect();
    for socket in &mut sockets {
        let dns = socket.answer(&format!("sendto {DNS} a"), DNS);
        let time = socket.answer(&format!("sendto {TIME} a"), TIME);
        for _ in 0..10 {
            assert_eq!(socket.answer(&format!("sendto {DNS} a"), DNS), dns);
            assert_eq!(socket.answer(&format!("sendto {TIME} a"), TIME), time);
        }
        // A pod that no flow of this socket leads to is itself.
        let other = stage.pods.iter().find(|pod| ![dns.as_str(), &time].contains(&pod.name()));
        let other = other.expect("five are more than two");
        let pod = other.socket(5353).to_string();
        assert_eq!(socket.answer(&format!("sendto {pod} a"), &pod), other.name());
    }
    assert_eq!(stage.counts("default/dns"), [1; 5], "a socket counts once, where it went first");
    assert_eq!(stage.counts("default/time"), [0; 5]);
    drop(sockets);
    assert_eq!(stage.counts("default/dns"), [0; 5]);
}

/// What is noted of a socket is part of it: neither others nor how much they send take it away.
#[test]
fn others_change_nothing_of_a_socket_however_much_they_send() {
    let stage = Stage::start("udp-flood", 3);
    let mut socket = stage.udp();
    let dns = socket.answer(&format!("sendto {DNS} a"), DNS);
    let time = socket.answer(&format!("sendto {TIME} a"), TIME);
    // It asks whose its answers are when the others have sent.
    socket.ask(&format!("post {DNS} late"));
    socket.ask(&format!("post {TIME} late"));
    // Where nobody listens, so that no queue is full afterwards.
    for (name, last, port) in [("void-1", 1, 91), ("void-2", 2, 92)] {
        let ip = Ipv4Addr::new(10, 96, 2, last);
        let service = Service::new(name, ip, 53, port, [stage.pods[0].ip()]);
        stage.manifests.write(&service.udp()).expect("written");
        stage.await_ready(name, 1);
    }
    // More of each than the 32,768 that a memory for all might hold.
    let sent = stage.udp().ask("flood 40000 10.96.2.1:53 10.96.2.2:53");
    assert_eq!(sent["sent"], 80_000, "{sent}");
    let mut late = [socket.ask("recv"), socket.ask("recv")].map(|told| told["from"].clone());
    late.sort_by_key(Value::to_string);
    assert_eq!(late, [TIME, DNS], "whom answers seem to come from");
    assert_eq!(socket.answer(&format!("sendto {DNS} b"), DNS), dns);
    assert_eq!(socket.answer(&format!("sendto {TIME} b"), TIME), time);
    assert_eq!(stage.counts("default/dns").iter().sum::<u64>(), 1);
}

/// A socket has room for its first Service and so many more. What it sends beyond is left alone, and
/// what it sent before stays.
#[test]
fn a_socket_with_too_many_services_keeps_those_it_has() {
    let stage = Stage::start("udp-many", 2);
    let addresses: Vec<_> = (1..=MAX_FLOWS as u8 + 2)
        .map(|n| {
            let ip = Ipv4Addr::new(10, 96, 1, n);
            // Behind ports of their own, so that each answer tells.
            let service = Service::new(
                &format!("many-{n}"),
                ip,
                53,
                7000 + u16::from(n),
                stage.pods.iter().map(Pod::ip),
            );
            stage.manifests.write(&service.udp()).expect("written");
            SocketAddr::from((ip, 53)).to_string()
        })
        .collect();
    let ports: Vec<u16> = (1..=addresses.len() as u16).map(|n| 7000 + n).collect();
    let _servers: Vec<_> = stage
        .pods
        .iter()
        .map(|pod| Udp::serve(pod, &ports.iter().map(|port| pod.socket(*port)).collect::<Vec<_>>()))
        .collect();
    (1..=addresses.len()).for_each(|n| stage.await_ready(&format!("many-{n}"), 2));
    let mut socket = stage.udp();
    let (last, known) = addresses.split_last().expect("some");
    let who: Vec<_> = known.iter().map(|to| socket.answer(&format!("sendto {to} a"), to)).collect();
    let before = stage.verdict("too-many-connections");
    assert_eq!(socket.ask(&format!("post {last} a"))["ok"], true);
    assert_eq!(stage.verdict("too-many-connections"), before + 1);
    for (to, who) in known.iter().zip(&who) {
        assert_eq!(&socket.answer(&format!("sendto {to} b"), to), who);
    }
}

#[test]
fn ipv6_and_mapped_addresses_are_balanced_too() {
    let stage = Stage::start("udp-ipv6", 2);
    let open = || Udp::open(stage.client.place(), &["--ipv6", "--timeout-ms", "5000"]);
    let mapped = "[::ffff:10.96.0.53]:53".to_owned();
    let (mut one, mut other) = (open(), open());
    one.answer(&format!("sendto {DNS6} a"), DNS6);
    one.answer(&format!("sendto {mapped} a"), &mapped);
    other.ask(&format!("connect {DNS6}"));
    assert_eq!(other.ask("peer")["peer"], DNS6);
    other.answer("send a", DNS6);
    assert_eq!(stage.counts("default/dns6"), [1, 1]);
    let mut third = open();
    third.ask(&format!("connect {mapped}"));
    assert_eq!(third.ask("peer")["peer"], mapped.as_str());
    third.answer("send a", &mapped);
    assert_eq!(stage.counts("default/dns").iter().sum::<u64>(), 1);
    drop((one, other, third));
    assert_eq!(stage.counts("default/dns6"), [0, 0]);
}

#[test]
fn a_socket_leaves_a_backend_that_is_gone() {
    let stage = Stage::start("udp-gone", 3);
    let mut unconnected = stage.udp();
    let mut connected = stage.udp();
    let first = unconnected.answer(&format!("sendto {DNS} a"), DNS);
    connected.ask(&format!("connect {DNS}"));
    let second = connected.answer("send a", DNS);
    assert_ne!(first, second, "the less loaded one");
    connected.tell("recv");

    let rest: Vec<_> =
        stage.pods.iter().filter(|pod| ![first.as_str(), &second].contains(&pod.name())).collect();
    let [rest] = rest[..] else { panic!("one of three is left") };
    stage.manifests.write(&dns([rest.ip()])).expect("written");
    stage.await_ready("dns", 1);

    // The next datagram goes elsewhere, at once.
    assert_eq!(unconnected.answer(&format!("sendto {DNS} a"), DNS), rest.name());
    // What is connected can't be moved: the kernel tells the program, which waits no longer.
    let told = connected.line();
    assert_eq!(told["errno"], nix::libc::ECONNABORTED, "{told}");
    assert_eq!(connected.ask(&format!("connect {DNS}"))["ok"], true);
    assert_eq!(connected.answer("send a", DNS), rest.name());
    stage.await_counts("default/dns", 2);
    drop((unconnected, connected));
    stage.await_counts("default/dns", 0);
}

/// The endpoints of both Services stay as they are.
#[test]
fn a_socket_follows_an_address_that_another_service_takes_over() {
    let stage = Stage::start("udp-address", 2);
    let shared = "203.0.113.53:53";
    let [first, second] = &stage.pods[..] else { panic!("two pods") };
    let with = |service: Service| service.with("externalIPs", json!(["203.0.113.53"]));
    let other =
        |pod: &Pod| Service::new("other", Ipv4Addr::new(10, 96, 0, 54), 53, 5353, [pod.ip()]).udp();
    let leads_to = |name: &str| {
        await_shown(&stage.agent, |shown| {
            let of = |service: &&Value| service["frontends"].to_string().contains("203.0.113.53");
            shown.iter().find(of).is_some_and(|service| service["name"] == name)
        });
    };
    stage.manifests.write(&with(dns([first.ip()]))).expect("written");
    stage.manifests.write(&other(second)).expect("written");
    leads_to("dns");
    let mut socket = stage.udp();
    for _ in 0..2 {
        assert_eq!(socket.answer(&format!("sendto {shared} a"), shared), first.name());
    }
    stage.manifests.write(&dns([first.ip()])).expect("written");
    stage.manifests.write(&with(other(second))).expect("written");
    leads_to("other");
    assert_eq!(socket.answer(&format!("sendto {shared} a"), shared), second.name());
}

/// Another Service may still have the backend that is no longer one of the Service that was dialled.
#[test]
fn connected_sockets_leave_what_their_service_has_lost_whatever_others_have() {
    let stage = Stage::start("udp-left", 2);
    let other = Service::new(
        "other",
        Ipv4Addr::new(10, 96, 0, 54),
        53,
        5353,
        stage.pods.iter().map(Pod::ip),
    );
    stage.manifests.write(&other.udp()).expect("written");
    stage.await_ready("other", 2);
    // Left: it has no endpoint there any more, it does not serve, there is no Service any more.
    let lose: [Lose<'_>; 2] = [&|_, stays| dns([stays.ip()]), &|lost, stays| {
        let down =
            Endpoint { ready: Some(false), serving: Some(false), ..Endpoint::ready(lost.ip()) };
        let endpoints = vec![down, Endpoint::ready(stays.ip())];
        Service { endpoints, ..dns(Vec::<Ipv4Addr>::new()) }
    }];
    for lose in lose {
        stage.manifests.write(&dns(stage.pods.iter().map(Pod::ip))).expect("written");
        stage.await_ready("dns", 2);
        let mut sockets = [stage.udp(), stage.udp()];
        let who = sockets.each_mut().map(|socket| {
            assert_eq!(socket.ask(&format!("connect {DNS}"))["ok"], true);
            socket.answer("send a", DNS)
        });
        assert_ne!(who[0], who[1], "the less loaded one");
        let [lost, kept] = &mut sockets;
        lost.tell("recv");
        let [lost_pod, kept_pod] =
            [0, 1].map(|n| stage.pods.iter().find(|pod| pod.name() == who[n]).expect("a pod"));
        stage.manifests.write(&lose(lost_pod, kept_pod)).expect("written");
        let told = lost.line();
        assert_eq!(told["errno"], nix::libc::ECONNABORTED, "{told}");
        assert_eq!(kept.answer("send b", DNS), who[1], "the other one serves on");
        assert_eq!(lost.ask(&format!("connect {DNS}"))["ok"], true);
        assert_eq!(lost.answer("send b", DNS), who[1]);
    }
    let mut last = stage.udp();
    assert_eq!(last.ask(&format!("connect {DNS}"))["ok"], true);
    last.answer("send a", DNS);
    last.tell("recv");
    stage.manifests.remove(&dns(Vec::<Ipv4Addr>::new())).expect("removed");
    let told = last.line();
    assert_eq!(told["errno"], nix::libc::ECONNABORTED, "{told}");
}

/// A backend may get the identifier of one that is gone. Its sockets are its own.
#[test]
fn sockets_of_a_backend_in_the_place_of_another_stay() {
    let stage = Stage::start("udp-replaced", 3);
    let [old, stays, new] = &stage.pods[..] else { panic!("three pods") };
    stage.manifests.write(&dns([old.ip(), stays.ip()])).expect("written");
    stage.await_ready("dns", 2);
    stage.manifests.write(&dns([stays.ip()])).expect("written");
    stage.await_ready("dns", 1);
    stage.manifests.write(&dns([stays.ip(), new.ip()])).expect("written");
    stage.await_ready("dns", 2);

    // Longer than between two passes over the sockets of backends that are gone.
    let open = || Udp::open(stage.client.place(), &["--timeout-ms", "4500"]);
    let mut sockets = [open(), open()];
    for socket in &mut sockets {
        socket.ask(&format!("connect {DNS}"));
        socket.answer("send a", DNS);
        socket.tell("recv");
    }
    for socket in &mut sockets {
        let told = socket.line();
        assert_eq!(told["errno"], nix::libc::EAGAIN, "nobody sends and nobody ends it: {told}");
    }
    assert_eq!(stage.counts("default/dns"), [1, 1]);
}

/// It serves on, whether it terminates or others are nearer. What does not serve is left.
#[test]
fn sockets_stay_with_what_serves_though_new_ones_go_elsewhere() {
    let stage = Stage::start("udp-serving", 2);
    let zone = "apiVersion: v1\nkind: Node\nmetadata:\n  name: lab-node\n  labels: \
                {topology.kubernetes.io/zone: here}\n";
    stage.manifests.write_text("node.yaml", zone).expect("written");
    let mut connected = stage.udp();
    connected.ask(&format!("connect {DNS}"));
    let who = connected.answer("send a", DNS);
    let mut unconnected = [stage.udp(), stage.udp()];
    let flows = unconnected.each_mut().map(|s| s.answer(&format!("sendto {DNS} a"), DNS));
    // Another flow of a socket that is charged elsewhere.
    let mut second = stage.udp();
    second.answer(&format!("sendto {TIME} a"), TIME);
    let further = second.answer(&format!("sendto {DNS} a"), DNS);
    let write = |change: Change<'_>| {
        let endpoints = stage.pods.iter().map(|pod| {
            let mut endpoint = Endpoint::ready(pod.ip());
            change(&mut endpoint, pod.name() == who);
            endpoint
        });
        let endpoints = endpoints.collect();
        let service = Service { endpoints, ..dns(Vec::<Ipv4Addr>::new()) };
        stage.manifests.write(&service).expect("written");
    };
    let changes: [Change<'_>; 3] = [
        &|endpoint, leaves| {
            endpoint.for_zones = vec![if leaves { "there" } else { "here" }.into()];
        },
        &|endpoint, leaves| {
            (endpoint.ready, endpoint.terminating) = (Some(!leaves), Some(leaves));
            endpoint.serving = Some(true);
        },
        &|endpoint, leaves| (endpoint.ready, endpoint.serving) = (Some(!leaves), Some(!leaves)),
    ];
    for (change, serves) in changes.into_iter().zip([true, true, false]) {
        write(change);
        stage.await_ready("dns", 1);
        let stays = |flow: &String| serves || *flow != who;
        for (socket, flow) in unconnected.iter_mut().zip(&flows) {
            let now = socket.answer(&format!("sendto {DNS} b"), DNS);
            assert_eq!(now == *flow, stays(flow), "{flow} is now {now}");
        }
        let now = second.answer(&format!("sendto {DNS} b"), DNS);
        assert_eq!(now == further, stays(&further), "{further} is now {now}");
        if serves {
            assert_eq!(connected.answer("send b", DNS), who);
            write(&|_, _| {});
            stage.await_ready("dns", 2);
        }
    }
}

#[test]
fn a_service_without_endpoints_refuses_datagrams() {
    let stage = Stage::start("udp-refused", 1);
    stage.manifests.write(&dns(Vec::<Ipv4Addr>::new())).expect("written");
    stage.await_ready("dns", 0);
    let mut socket = stage.udp();
    let refused = nix::libc::ECONNREFUSED;
    assert_eq!(socket.ask(&format!("sendto {DNS} a"))["errno"], refused);
    assert_eq!(socket.ask(&format!("connect {DNS}"))["errno"], refused);
    socket.answer(&format!("sendto {TIME} a"), TIME);
}

#[test]
fn a_disconnected_socket_is_told_the_truth() {
    let stage = Stage::start("udp-disconnect", 2);
    let mut socket = stage.udp();
    socket.ask(&format!("connect {DNS}"));
    socket.answer("send a", DNS);
    assert_eq!(socket.ask("disconnect")["ok"], true);
    assert!(socket.ask("peer")["error"].is_string());
    for pod in &stage.pods {
        let pod_address = pod.socket(1123).to_string();
        assert_eq!(socket.answer(&format!("sendto {pod_address} a"), &pod_address), pod.name());
    }
    socket.answer(&format!("sendto {TIME} a"), TIME);
    drop(socket);
    assert_eq!(stage.counts("default/dns"), [0, 0]);
    assert_eq!(stage.counts("default/time"), [0, 0]);
}

/// No hook tells a socket that is connected to a backend from one that dissolved its association,
/// and from one whose `connect()` found no route, though it be connected to something else.
#[test]
fn sockets_that_are_connected_no_longer_do_not_stay_counted() {
    let stage = Stage::start("udp-parted", 1);
    let connected = || {
        let mut socket = stage.udp();
        assert_eq!(socket.ask(&format!("connect {DNS}"))["ok"], true);
        socket
    };
    let (kept, mut dissolved) = (connected(), connected());
    assert_eq!(dissolved.ask("disconnect")["ok"], true);
    let netns = stage.client.place().netns();
    let route = ["-n", netns, "route", "add", "unreachable", "10.244.0.1/32"];
    assert!(Command::new("ip").args(route).status().expect("ip").success());
    let (mut failed, mut elsewhere) = (stage.udp(), stage.udp());
    assert_eq!(elsewhere.ask("connect 10.244.0.200:9")["ok"], true);
    for socket in [&mut failed, &mut elsewhere] {
        assert_eq!(socket.ask(&format!("connect {DNS}"))["errno"], nix::libc::EHOSTUNREACH);
    }
    assert_eq!(stage.counts("default/dns"), [4], "charged by the hook");

    let deadline = Instant::now() + Duration::from_secs(20);
    while stage.counts("default/dns") != [1] {
        assert!(Instant::now() < deadline, "still {:?}", stage.counts("default/dns"));
    }
    drop((dissolved, failed, elsewhere));
    assert_eq!(stage.counts("default/dns"), [1], "ended once");
    drop(kept);
    assert_eq!(stage.counts("default/dns"), [0]);
}
