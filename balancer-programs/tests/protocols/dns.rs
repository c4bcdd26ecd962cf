//! DNS over UDP: Debian's dnsmasq in each pod, asked by the resolver of glibc, which connects a
//! socket for each lookup, by hickory's, which does not, and over connected sockets that stay.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use balancer_lab::{Lab, Pod};

use crate::{
    harness::{Cluster, Transport, VIP},
    process::Process,
};

const PORT: u16 = 53;
const LOOKUPS: u64 = 100;

/// Three servers, each with another answer to the same question.
fn cluster() -> Cluster {
    let mut cluster = Cluster::start("dns", 3, (Transport::Udp, PORT), serve);
    for server in &mut cluster.servers {
        server.await_line("readiness", |line| line.contains("started, version"));
    }
    cluster
}

fn serve(_: &Lab, pod: &Pod) -> Process {
    let mut server = pod.command("dnsmasq");
    // As no daemon it neither forks nor changes its user: it dies with the test.
    server.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
    ]);
    server.arg(format!("--listen-address={}", pod.ip())).arg("--bind-interfaces");
    server.arg(format!("--host-record=whoami.lab,{}", answer(pod)));
    Process::start(pod.name(), server)
}

/// The address by which a server can be told: the pod's last octet, in a network for examples.
fn answer(pod: &Pod) -> Ipv4Addr {
    let [.., last] = pod.ip().octets();
    Ipv4Addr::new(192, 0, 2, last)
}

#[test]
fn connected_dns_sockets_are_even() {
    let cluster = cluster();
    cluster.assert_even_named("dns", 5, 20, |pod| answer(pod).to_string());
}

#[test]
fn glibc_resolves_through_every_server() {
    let cluster = cluster();
    let mut resolver = glibc(
        &cluster,
        &format!("for _ in $(seq {LOOKUPS}); do getent ahostsv4 whoami.lab | head -n 1; done"),
    );
    let mut answers = BTreeMap::<String, u64>::new();
    loop {
        let line = resolver.await_line("answer", |_| true);
        if line == "done" {
            break;
        }
        let address = line.split_whitespace().next().expect("an address").to_owned();
        *answers.entry(address).or_default() += 1;
    }
    resolver.finish();
    assert_all_asked(&cluster, "glibc", &answers);
}

/// A shell in a client pod in which glibc asks the Service; prints `done` at its end.
fn glibc(cluster: &Cluster, script: &str) -> Process {
    let configuration = cluster.lab.state_dir();
    fs::write(configuration.join("resolv.conf"), format!("nameserver {VIP}\n")).expect("written");
    fs::write(configuration.join("nsswitch.conf"), "hosts: dns\n").expect("written");
    let mut command = cluster.clients[0].command("unshare");
    command.current_dir(configuration).args(["--mount", "sh", "-ec"]).arg(format!(
        "for file in resolv.conf nsswitch.conf; do mount --bind $file /etc/$file; done
         {script}
         echo done"
    ));
    Process::start("getent", command)
}

/// The server that was asked hangs, and leaves the Service while the resolver waits for it. glibc
/// would wait five seconds by default before it asks again, and ask the same server.
#[test]
fn glibc_does_not_wait_for_a_server_that_is_gone() {
    assert_served_elsewhere(|cluster| glibc(cluster, "getent ahostsv4 whoami.lab | head -n 1"));
}

#[test]
fn hickory_does_not_wait_for_a_server_that_is_gone() {
    let server = format!("{VIP}:{PORT}");
    assert_served_elsewhere(|cluster| {
        Process::program(&cluster.clients[0], &["resolve", &server, "--lookups", "1"])
    });
}

/// The time after which glibc and hickory ask again by default.
const RETRY: Duration = Duration::from_secs(5);

fn assert_served_elsewhere(resolve: impl Fn(&Cluster) -> Process) {
    let cluster = cluster();
    cluster.servers.iter().for_each(|server| server.freeze(true));
    let mut resolver = resolve(&cluster);
    let deadline = Instant::now() + RETRY;
    let asked = loop {
        assert!(Instant::now() < deadline, "nobody is asked");
        let counted = cluster.counted();
        if let Some((ip, _)) = counted.iter().find(|(_, count)| **count > 0) {
            break cluster.backends.iter().position(|pod| pod.ip() == *ip).expect("a backend");
        }
    };
    let gone = Instant::now();
    cluster.remove(&cluster.backends[asked]);
    let rest = cluster.servers.iter().enumerate().filter(|(index, _)| *index != asked);
    rest.for_each(|(_, server)| server.freeze(false));
    resolver.await_line("answer", |line| line.contains("192.0.2."));
    let waited = gone.elapsed();
    println!("answered by another server {waited:.1?} after the first one was gone\n");
    assert!(waited < RETRY + RETRY / 2, "{waited:?} is more than one retry");
    cluster.servers[asked].freeze(false);
}

#[test]
fn hickory_resolves_through_every_server() {
    let cluster = cluster();
    let (server, lookups) = (format!("{VIP}:{PORT}"), LOOKUPS.to_string());
    let mut resolver =
        Process::program(&cluster.clients[0], &["resolve", &server, "--lookups", &lookups]);
    let answers = serde_json::from_value(resolver.await_json()).expect("counts by address");
    resolver.finish();
    assert_all_asked(&cluster, "hickory", &answers);
}

/// One lookup after the other finds all servers idle: each goes to any of them, at random. That one
/// of three is left out by 100 lookups happens once in 10^17 runs.
fn assert_all_asked(cluster: &Cluster, resolver: &str, answers: &BTreeMap<String, u64>) {
    println!("{resolver}: {LOOKUPS} lookups, one after the other: {answers:?}\n");
    assert_eq!(answers.values().sum::<u64>(), LOOKUPS);
    let expected: Vec<_> = cluster.backends.iter().map(|pod| answer(pod).to_string()).collect();
    assert_eq!(answers.keys().cloned().collect::<Vec<_>>(), expected);
    cluster.assert_idle();
}
