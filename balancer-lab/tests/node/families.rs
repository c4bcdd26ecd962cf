//! IPv6, and IPv4 from IPv6 sockets.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::common::{Connection, VIP, Web, await_shown};
use balancer_lab::{
    Pod,
    churn::{Churn, ChurnOptions},
    http::{Client, LoadOptions, Pools, Server, Until},
    manifests::Service,
    sockets::open_by_peer,
};
use serde_json::{Value, json};

const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x10);

/// Answers on the IPv6 addresses of the backends, too.
fn serve6(web: &mut Web) {
    let server = |pod: &Pod| Server::start(pod.place(), pod.name(), &[pod.socket6(8080)]);
    let servers: Vec<_> = web.backends.iter().map(|pod| server(pod).expect("server")).collect();
    web.servers.extend(servers);
}

/// Adds the Service `default/six` on [`VIP6`] over the same pods.
fn add_six(web: &mut Web) {
    serve6(web);
    let six = Service::new("six", VIP6, 80, 8080, web.backends.iter().map(Pod::ip6));
    web.manifests.write(&six).expect("written");
    await_shown(&web.agent, |services| services.len() == 2);
}

/// As a program with an IPv6 socket dials an IPv4 address.
fn mapped(ip: Ipv4Addr) -> SocketAddr {
    (ip.to_ipv6_mapped(), 80).into()
}

/// A number of every backend of a Service that has one, by the backend's address.
fn numbers(service: &Value, field: &str) -> BTreeMap<SocketAddr, u64> {
    let backends = service["backends"].as_array().expect("backends").iter();
    let number = |backend: &Value| {
        let ip: IpAddr = backend["address"].as_str().expect("text").parse().expect("an address");
        let port = backend["port"].as_u64().expect("a port") as u16;
        ((ip, port).into(), backend[field].as_u64().expect("a number"))
    };
    backends.map(number).filter(|(_, n)| *n > 0).collect()
}

/// The kernel's sockets by the pod they are connected to, whichever family they are of.
fn sockets(web: &Web) -> BTreeMap<SocketAddr, u64> {
    let mut sockets = BTreeMap::new();
    for (peer, n) in open_by_peer(web.client.place()).expect("ss") {
        *sockets.entry((peer.ip().to_canonical(), peer.port()).into()).or_default() += n;
    }
    sockets
}

/// Twenty pools take four connections to each of five backends.
fn assert_spreads(web: &Web, target: SocketAddr) {
    let uri: String = format!("http://{target}/");
    for trial in 0..50 {
        let uri = uri.parse().expect("uri");
        let options = LoadOptions::new(uri, 20, Pools::PerThread, Until::Requests(2));
        let report = Client::run(web.client.place(), &options).expect("client");
        assert_eq!(report.errors, 0, "{target}, trial {trial}: {report:?}");
        assert_eq!(report.spread(), [4, 4, 4, 4, 4], "{target}, trial {trial}");
    }
}

#[test]
fn ipv6_is_spread_evenly_and_peers_are_what_was_dialled() {
    let mut web = Web::start("six", 5);
    add_six(&mut web);
    assert_spreads(&web, (VIP6, 80).into());
    assert_eq!(numbers(&web.shown("default/six"), "active"), BTreeMap::new());

    let connection = Connection::open(web.client.place(), (VIP6, 80).into());
    assert_eq!(connection.said["peer"], json!("[fd00:10:96::10]:80"));
    let counted = numbers(&web.shown("default/six"), "active");
    assert_eq!(counted, sockets(&web), "connected to a pod, and counted there");
    assert!(counted.keys().all(SocketAddr::is_ipv6) && counted.len() == 1, "{counted:?}");
    assert_eq!(numbers(&web.shown("default/web"), "opened_total"), BTreeMap::new());
}

#[test]
fn ipv6_sockets_that_dial_ipv4_are_balanced_as_ipv4() {
    let web = Web::start("mapped", 5);
    assert_spreads(&web, mapped(VIP));
    let connections =
        [mapped(VIP), (VIP, 80).into()].map(|to| Connection::open(web.client.place(), to));
    let peers = connections.each_ref().map(|connection| connection.said["peer"].clone());
    assert_eq!(peers, [json!("[::ffff:10.96.0.10]:80"), json!("10.96.0.10:80")]);
    let counted = numbers(&web.shown("default/web"), "active");
    assert_eq!(counted, sockets(&web));
    assert_eq!(counted.values().collect::<Vec<_>>(), [&1, &1], "they see each other's load");
    drop(connections);
    assert_eq!(numbers(&web.shown("default/web"), "active"), BTreeMap::new());
    // A pod dialled by its own address is no Service, in either dress.
    let IpAddr::V4(pod) = web.backends[0].socket(8080).ip() else { panic!("an IPv4 pod") };
    let direct = Connection::open(web.client.place(), (pod.to_ipv6_mapped(), 8080).into());
    assert_eq!(direct.said["peer"], json!(format!("[::ffff:{pod}]:8080")));
    assert_eq!(numbers(&web.shown("default/web"), "active"), BTreeMap::new());
}

/// Processes of both kinds open, close, are refused and are killed; whenever they hold still, the
/// counts are the sockets.
#[test]
fn counts_equal_sockets_of_both_families() {
    let mut web = Web::start("both", 3);
    add_six(&mut web);
    // Nothing listens on port 9 of the backends.
    let dead6 = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 9);
    let dead = [
        Service::new("dead", [10, 96, 0, 9], 80, 9, web.backends.iter().map(Pod::ip)),
        Service::new("dead6", dead6, 80, 9, web.backends.iter().map(Pod::ip6)),
    ];
    for service in &dead {
        web.manifests.write(service).expect("written");
    }
    await_shown(&web.agent, |services| services.len() == 4);

    let kinds = [
        (SocketAddr::from((VIP6, 80)), SocketAddr::from((dead6, 80))),
        (mapped(VIP), mapped([10, 96, 0, 9].into())),
    ];
    let mut seeds = 1..;
    let mut start = |kind: usize| {
        let (target, refusing) = kinds[kind];
        let seed = seeds.next().expect("endless");
        let options = ChurnOptions { seed, threads: 2, target, refusing: Some(refusing), held: 40 };
        Churn::start(web.client.place(), &options).expect("churn")
    };
    let assert_equal = |when: &str| -> u64 {
        let mut counted = BTreeMap::new();
        for service in ["default/web", "default/six", "default/dead", "default/dead6"] {
            counted.extend(numbers(&web.shown(service), "active"));
        }
        assert_eq!(counted, sockets(&web), "{when}: counted on the left, open on the right");
        counted.values().sum()
    };
    let mut processes = [start(0), start(1)];
    let mut most = 0;
    for round in 0..20 {
        processes.iter_mut().for_each(|process| process.go(80).expect("told"));
        for process in &mut processes {
            process.still().expect("still");
        }
        most = most.max(assert_equal(&format!("pause {round}")));
        if round % 3 == 2 {
            let victim = &mut processes[round % 2];
            // Killed in the middle of its steps, with its sockets open.
            victim.go(1000).expect("told");
            *victim = start(round % 2);
        }
    }
    assert!(most > 100, "at most {most} were open at once");
    drop(processes);
    assert_eq!(assert_equal("at the end"), 0);
    for service in ["default/dead", "default/dead6"] {
        let failed: u64 = numbers(&web.shown(service), "failed_total").values().sum();
        assert!(failed > 50, "{service}: refused connections count as failed, not only {failed}");
    }
}

/// A dual-stack Service on 10.96.0.20 and fd00:10:96::20, with the slices that are asked for.
fn write_dual(web: &Web, ipv4: bool, ipv6: bool) {
    let (ip4, ip6) =
        (Ipv4Addr::new(10, 96, 0, 20), Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x20));
    let pods = || web.backends.iter();
    let first = Service::new("dual", ip4, 80, 8080, pods().filter(|_| ipv4).map(Pod::ip));
    let second = Service::new("dual", ip6, 80, 8080, pods().filter(|_| ipv6).map(Pod::ip6));
    let mut service = first.service();
    service["spec"]["clusterIPs"] = json!([ip4, ip6]);
    let mut slice6 = second.endpoint_slice();
    slice6["metadata"]["name"] = json!("dual-lab-6");
    let items = json!([service, first.endpoint_slice(), slice6]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    web.manifests.write_text("default-dual.json", &list.to_string()).expect("written");
}

/// Addresses of the elements of a list of a Service.
fn addresses(service: &Value, list: &str) -> Vec<String> {
    let all = service[list].as_array().expect("a list").iter();
    all.map(|element| element["address"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_dual_stack_service_is_one_and_never_crosses_families() {
    let mut web = Web::start("dual", 2);
    serve6(&mut web);
    let vips = ["10.96.0.20", "fd00:10:96::20"];
    let [to4, to6] = vips.map(|vip| SocketAddr::from((vip.parse::<IpAddr>().expect("ip"), 80)));
    write_dual(&web, true, true);
    let complete = |services: &[Value]| services[0]["backends"].as_array().map(Vec::len) == Some(4);
    let shown = await_shown(&web.agent, complete);
    assert_eq!(shown.len(), 2, "one element for each Service port: {shown:#?}");
    assert_eq!(addresses(&shown[0], "frontends"), vips);
    let pods = ["10.244.0.1", "10.244.0.2", "fd00:10:244::1", "fd00:10:244::2"];
    assert_eq!(addresses(&shown[0], "backends"), pods);

    let connections: Vec<_> = [to4, to4, to6, to6]
        .into_iter()
        .map(|to| Connection::open(web.client.place(), to))
        .collect();
    let counted = numbers(&web.shown("default/dual"), "active");
    assert_eq!(counted, sockets(&web));
    assert_eq!(counted.values().collect::<Vec<_>>(), [&1; 4], "two of each family, spread");

    // What the maps hold is all that the next agent needs to know of both.
    let before = web.shown("default/dual");
    web.agent.restart().expect("restarted");
    assert_eq!(web.shown("default/dual"), before);
    drop(connections);

    write_dual(&web, true, false);
    await_shown(&web.agent, |services| addresses(&services[0], "backends") == pods[..2]);
    assert_eq!(
        Connection::open(web.client.place(), to6).said["error"],
        json!("connection refused")
    );
    assert_eq!(Connection::open(web.client.place(), to4).said["peer"], json!("10.96.0.20:80"));
    write_dual(&web, false, true);
    await_shown(&web.agent, |services| addresses(&services[0], "backends") == pods[2..]);
    assert_eq!(
        Connection::open(web.client.place(), to4).said["error"],
        json!("connection refused")
    );
    assert_eq!(
        Connection::open(web.client.place(), mapped([10, 96, 0, 20].into())).said["error"],
        json!("connection refused")
    );
    assert_eq!(
        Connection::open(web.client.place(), to6).said["peer"],
        json!("[fd00:10:96::20]:80")
    );
}
