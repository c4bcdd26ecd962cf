//! The lab itself, on the real kernel. Needs root.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use balancer_lab::{
    Cluster, Lab, Pod,
    http::{Client, LoadOptions, Pools, Server, Until},
    kubeproxy::{self, ServicePort, iptables::Variant},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

fn lab(name: &str) -> Lab {
    Lab::create(name).expect("a lab; the tests need root, iproute2, and a cgroup2 mount")
}

fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, index)
}

/// Three backends and a client.
fn web(lab: &Lab) -> (Vec<Server>, ServicePort, Pod) {
    let pods = lab.pods((1..=3).map(|n| (format!("web-{n}"), address(n)))).expect("pods");
    let servers = pods
        .iter()
        .map(|pod| Server::start(pod.place(), pod.name(), &[pod.socket(8080)]).expect("server"))
        .collect();
    let service = ServicePort {
        name: "default/web:http".into(),
        address: VIP,
        port: 80,
        backends: pods.iter().map(|pod| SocketAddrV4::new(pod.ip(), 8080)).collect(),
    };
    (servers, service, lab.pod("client", address(9)).expect("client"))
}

/// 60 connections, one request each: missing one of three backends has odds of 3 * (2/3)^60.
fn fresh() -> LoadOptions {
    LoadOptions::new(
        format!("http://{VIP}/").parse().expect("uri"),
        2,
        Pools::None,
        Until::Requests(30),
    )
}

fn assert_all_answer(client: &Pod, rules: &str) {
    let report = Client::run(client.place(), &fresh()).expect("client");
    assert_eq!((report.errors, report.first_error.as_ref()), (0, None), "{rules}: {report:?}");
    assert_eq!(report.backends.len(), 3, "{rules}: {report:?}");
    assert_eq!((report.requests(), report.connections()), (60, 60), "{rules}: {report:?}");
}

/// Everything on the machine that carries the lab's identifier.
fn traces(id: &str) -> Vec<PathBuf> {
    let root = balancer_lab::host::cgroup2_root().expect("cgroup2");
    let mut found: Vec<PathBuf> =
        [root.as_path(), Path::new("/run/netns"), Path::new("/run/balancer-lab")]
            .iter()
            .flat_map(|dir| fs::read_dir(dir).expect("listed"))
            .map(|entry| entry.expect("entry").path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id)))
            .collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    found.extend(mounts.lines().filter(|line| line.contains(id)).map(PathBuf::from));
    found
}

#[test]
fn pods_reach_each_other_over_both_families() {
    let lab = lab("reach");
    let [a, b] = &lab.pods([("a", address(1)), ("b", address(2))]).expect("pods")[..] else {
        panic!("two pods were asked for");
    };
    for target in [a.socket(7000), a.socket6(7000)] {
        let listener =
            a.place().within(|| TcpListener::bind(target)).expect("entered").expect("bound");
        let from = |place: &balancer_lab::Place| -> SocketAddr {
            place
                .within(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))
                .expect("entered")
                .unwrap_or_else(|error| panic!("{target} from {}: {error}", place.netns()));
            listener.accept().expect("accepted").1
        };
        let expected = if target.is_ipv4() { b.socket(0).ip() } else { b.socket6(0).ip() };
        assert_eq!(from(b.place()).ip(), expected, "pods keep their address");
        from(lab.node());
        from(lab.outside());
    }
}

#[test]
fn processes_run_in_the_pods_cgroup_and_namespace() {
    let lab = lab("place");
    let pod = lab.pod("a", address(1)).expect("pod");
    let output = pod
        .command("sh")
        .args(["-c", "cat /proc/self/cgroup; ip -o addr"])
        .output()
        .expect("command");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("/balancer-lab-{}/pods/a\n", lab.id())), "{text}");
    assert!(text.contains("10.244.0.1/32"), "{text}");
}

#[test]
fn a_service_address_nobody_translates_does_not_answer() {
    let lab = lab("untranslated");
    let pod = lab.pod("a", address(1)).expect("pod");
    let result = pod
        .place()
        .within(|| TcpStream::connect_timeout(&(VIP, 80).into(), Duration::from_millis(300)));
    let error = result.expect("entered").expect_err("nobody answers at a ClusterIP");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
}

#[test]
fn kube_proxy_rules_lead_to_all_backends() {
    let lab = lab("kube-proxy");
    let (_servers, service, client) = web(&lab);
    let services = [service];
    let mut loaded = 0;
    for variant in [Variant::Nft, Variant::Legacy] {
        if variant.works(lab.node()) {
            kubeproxy::iptables::load(lab.node(), variant, &services).expect("rules");
            assert_all_answer(&client, &format!("{variant:?}"));
            kubeproxy::iptables::unload(lab.node(), variant).expect("unloaded");
            loaded += 1;
        }
    }
    assert!(loaded > 0, "neither iptables-nft nor iptables-legacy works; apt install iptables");
    kubeproxy::nftables::load(lab.node(), &services).expect("rules");
    assert_all_answer(&client, "nftables");
    // Loading again replaces, and a backend that calls its own Service is masqueraded.
    kubeproxy::nftables::load(lab.node(), &services).expect("rules");
    let hairpin = lab.pod("web-9", address(19)).expect("pod");
    assert_all_answer(&hairpin, "nftables, loaded twice");
}

#[test]
fn a_backend_reaches_itself_through_its_service() {
    let lab = lab("hairpin");
    let pod = lab.pod("web-1", address(1)).expect("pod");
    let _server = Server::start(pod.place(), "web-1", &[pod.socket(8080)]).expect("server");
    let service = ServicePort {
        name: "default/web:http".into(),
        address: VIP,
        port: 80,
        backends: vec![SocketAddrV4::new(pod.ip(), 8080)],
    };
    for rules in ["iptables", "nftables"] {
        let services = std::slice::from_ref(&service);
        if rules == "iptables" {
            kubeproxy::iptables::load(lab.node(), Variant::Nft, services).expect("rules");
        } else {
            kubeproxy::iptables::unload(lab.node(), Variant::Nft).expect("unloaded");
            kubeproxy::nftables::load(lab.node(), services).expect("rules");
        }
        let report = Client::run(pod.place(), &fresh()).expect("client");
        assert_eq!((report.errors, report.requests()), (0, 60), "{rules}: {report:?}");
    }
}

#[test]
fn services_without_endpoints_are_refused() {
    let lab = lab("refused");
    let pod = lab.pod("a", address(1)).expect("pod");
    let service = ServicePort {
        name: "default/none:http".into(),
        address: VIP,
        port: 80,
        backends: Vec::new(),
    };
    kubeproxy::nftables::load(lab.node(), &[service]).expect("rules");
    let result = pod
        .place()
        .within(|| TcpStream::connect_timeout(&(VIP, 80).into(), Duration::from_secs(5)));
    let error = result.expect("entered").expect_err("no endpoints");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
}

#[test]
fn pools_hold_the_connections_their_threads_need() {
    let lab = lab("pools");
    let pod = lab.pod("web-1", address(1)).expect("pod");
    let _server = Server::start(pod.place(), "web-1", &[pod.socket(8080)]).expect("server");
    let client = lab.pod("client", address(2)).expect("pod");
    for (pools, threads, connections) in
        [(Pools::PerThread, 5, 5), (Pools::Shared, 20, 20), (Pools::None, 2, 100)]
    {
        let uri = format!("http://{}/", pod.socket(8080)).parse().expect("uri");
        let options = LoadOptions::new(uri, threads, pools, Until::Requests(50));
        let report = Client::run(client.place(), &options).expect("client");
        // hyper may give up a connection that lost the race with an idle one, and open another in
        // its place later: a shared pool shows a few more over time, never more at once.
        let spare = if matches!(pools, Pools::Shared) { 2 } else { 0 };
        let seen = report.connections();
        assert!((connections..=connections + spare).contains(&seen), "{pools:?}: {report:?}");
        assert_eq!((report.errors, report.requests()), (0, threads as u64 * 50), "{report:?}");
    }
}

#[test]
fn hundreds_of_pods_and_ten_thousand_services_fit() {
    let lab = lab("large");
    let wanted = (0..200_u8).map(|n| (format!("p{n}"), Ipv4Addr::new(10, 244, 1, n)));
    let pods = lab.pods(wanted).expect("pods");
    let last = pods.last().expect("pods");
    let listener = last.place().within(|| TcpListener::bind(last.socket(80))).expect("entered");
    assert!(listener.is_ok(), "{listener:?}");
    let connected =
        pods[0].place().within(|| TcpStream::connect(last.socket(80))).expect("entered");
    assert!(connected.is_ok(), "{connected:?}");
    let services = kubeproxy::filler(10_000, 3);
    kubeproxy::iptables::load(lab.node(), Variant::Nft, &services).expect("iptables rules");
    kubeproxy::iptables::unload(lab.node(), Variant::Nft).expect("unloaded");
    kubeproxy::nftables::load(lab.node(), &services).expect("nftables rules");
}

#[test]
fn a_removed_pods_address_can_be_used_again_at_once() {
    let lab = lab("reuse");
    for _ in 0..3 {
        let pod = lab.pod("a", address(1)).expect("pod");
        let _server = Server::start(pod.place(), "a", &[pod.socket(8080)]).expect("server");
        lab.remove_pod(&pod).expect("removed");
    }
    assert!(!lab.cgroup().join("pods/a").exists());
}

#[test]
fn nothing_is_left_after_drop() {
    let lab = lab("drop");
    let id = lab.id().to_owned();
    let pod = lab.pod("a", address(1)).expect("pod");
    let mut child = pod.command("sleep").arg("1000").spawn().expect("sleep");
    assert!(traces(&id).len() >= 5, "{:?}", traces(&id));
    drop(lab);
    assert!(!child.wait().expect("reaped").success(), "killed with the lab");
    assert_eq!(traces(&id), Vec::<PathBuf>::new());
}

#[test]
fn nothing_is_left_of_several_nodes_after_drop() {
    let cluster = Cluster::create("drop", 3).expect("nodes");
    let id = cluster.id().to_owned();
    let mut children = Vec::new();
    for (number, node) in (1..).zip(cluster.nodes()) {
        let pod = node.pod(&format!("a-{number}"), node.pod_ip(1)).expect("pod");
        children.push(pod.command("sleep").arg("1000").spawn().expect("sleep"));
    }
    // Directory, cgroup, outside, and for each node two namespaces and a bpffs.
    assert!(traces(&id).len() >= 3 + 3 * 3, "{:?}", traces(&id));
    drop(cluster);
    for mut child in children {
        assert!(!child.wait().expect("reaped").success(), "killed with the nodes");
    }
    assert_eq!(traces(&id), Vec::<PathBuf>::new());
}

/// The owner that the next test kills: this same executable, running this test alone.
#[test]
#[ignore = "run by a_killed_owners_labs_are_swept"]
fn owner() {
    let lab = lab("owner");
    let cluster = Cluster::create("owner of nodes", 2).expect("nodes");
    let pod = lab.pod("a", address(1)).expect("pod");
    let mut child = pod.command("sleep").arg("1000").spawn().expect("sleep");
    println!("\nlabs={},{}.\n", lab.id(), cluster.id());
    let status = child.wait().expect("waited");
    panic!("the owner was to be killed first, but its child ended: {status}");
}

#[test]
fn a_killed_owners_labs_are_swept() {
    let mut owner = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "lab::owner", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("owner");
    let mut stdout = owner.stdout.take().expect("pipe");
    let mut text = String::new();
    let ids: Vec<String> = loop {
        let mut chunk = [0; 256];
        let length = stdout.read(&mut chunk).expect("readable");
        assert_ne!(length, 0, "the owner ended: {text}");
        text += &String::from_utf8_lossy(&chunk[..length]);
        let said = text.lines().find_map(|line| line.strip_prefix("labs=")?.strip_suffix('.'));
        if let Some(ids) = said {
            break ids.split(',').map(str::to_owned).collect();
        }
    };
    let left = || ids.iter().flat_map(|id| traces(id)).collect::<Vec<_>>();
    balancer_lab::lab::sweep().expect("sweep");
    assert!(left().len() >= 10, "a living owner's labs stay: {:?}", left());
    owner.kill().expect("killed");
    owner.wait().expect("reaped");
    // Another test may have swept them already while making its lab.
    balancer_lab::lab::sweep().expect("sweep");
    assert_eq!(left(), Vec::<PathBuf>::new());
}

#[test]
fn identifiers_differ() {
    let ids: BTreeSet<String> = (0..2).map(|_| lab("id").id().to_owned()).collect();
    assert_eq!(ids.len(), 2);
}
