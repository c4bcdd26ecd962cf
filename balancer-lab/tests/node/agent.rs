//! The agent in a lab: started, asked, killed, resumed. Needs root and the agent's binary.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab,
    http::{Client, LoadOptions, Pools, Server, Until},
    manifests::{Manifests, Service},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

#[test]
fn balancing_goes_on_while_the_agent_is_killed_and_resumed() {
    let lab = Lab::create("agent").expect("a lab; the tests need root");
    let wanted = (1..=3_u8).map(|n| (format!("web-{n}"), Ipv4Addr::new(10, 244, 0, n)));
    let pods = lab.pods(wanted).expect("pods");
    let client = lab.pod("client", [10, 244, 0, 9].into()).expect("pod");
    let _servers: Vec<Server> = pods
        .iter()
        .map(|pod| Server::start(pod.place(), pod.name(), &[pod.socket(8080)]).expect("server"))
        .collect();
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("folder");
    manifests
        .write(&Service::new("web", VIP, 80, 8080, pods.iter().map(balancer_lab::Pod::ip)))
        .expect("written");
    let mut agent = Agent::start(&lab, manifests.dir(), &[]).expect("ready");
    let options = LoadOptions::new(
        format!("http://{VIP}/").parse().expect("uri"),
        6,
        Pools::PerThread,
        Until::Requests(3),
    );
    let spread = |moment: &str| {
        let report = Client::run(client.place(), &options).expect("client");
        assert_eq!((report.errors, report.spread()), (0, vec![2, 2, 2]), "{moment}: {report:?}");
    };
    let count = |agent: &Agent| agent.json(&["services"]).expect("json").as_array().map(Vec::len);
    spread("running");
    assert_eq!(count(&agent), Some(1));
    agent.kill().expect("killed");
    assert_eq!(agent.pid(), None);
    spread("killed");
    agent.resume().expect("ready again");
    spread("resumed");
    agent.restart().expect("ready again");
    spread("restarted");
    assert_eq!(count(&agent), Some(1));
}

#[test]
fn it_ends_within_a_second_whatever_clients_hold_open() {
    let lab = Lab::create("agent-ends").expect("a lab; the tests need root");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("folder");
    let mut agent = Agent::start(&lab, manifests.dir(), &[]).expect("ready");
    let [_, socket, ..] = agent.where_flags();
    // Nothing, a part of a head, and a whole request whose answer is not read.
    let requests: [&[u8]; 3] =
        [b"", b"GET /v1/sta", b"GET /v1/services HTTP/1.1\r\nHost: a\r\n\r\n"];
    let held: Vec<UnixStream> = requests
        .iter()
        .map(|request| {
            let mut stream = UnixStream::connect(&socket).expect("connected");
            stream.write_all(request).expect("written");
            stream
        })
        .collect();
    // Each answer comes after those connections were accepted.
    agent.json(&["status"]).expect("status");
    let start = Instant::now();
    assert!(agent.terminate().expect("terminated").success());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(held);
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let lab = Lab::create("agent-fails").expect("a lab; the tests need root");
    let error = Agent::start(&lab, lab.state_dir(), &["--no-such-flag"]).expect_err("no such flag");
    let text = error.to_string();
    assert!(
        text.contains("ended before it was ready") && text.contains("--no-such-flag"),
        "{text}"
    );
}

/// With a socket of its own and the same pins.
#[test]
fn a_second_agent_on_the_same_pins_is_refused_and_cleanup_too() {
    let lab = Lab::create("agent-twice").expect("a lab; the tests need root");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("folder");
    let mut agent = Agent::start(&lab, manifests.dir(), &[]).expect("ready");
    let bpffs = lab.bpffs().join("balancer");
    let socket = lab.state_dir().join("second.sock");
    let beside = |verb: &[&str]| {
        let mut command = lab.node().command(agent.binary());
        command.args(verb).arg("--bpffs").arg(&bpffs).arg("--socket").arg(&socket);
        command.output().expect("run")
    };
    let manifests = manifests.dir().display().to_string();
    let cgroup = lab.cgroup().display().to_string();
    let free = "127.0.0.1:0";
    let second = [
        "run",
        "--manifests",
        &manifests,
        "--cgroup",
        &cgroup,
        "--node-name",
        "lab-node",
        "--metrics-bind-address",
        free,
        "--healthz-bind-address",
        free,
    ];
    for verb in [&second[..], &["cleanup"]] {
        let output = beside(verb);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let holder = format!("another agent (pid {})", agent.pid().expect("it runs"));
        assert!(output.status.code() == Some(1) && said.contains(&holder), "{said}");
    }
    agent.kill().expect("killed");
    agent.resume().expect("the lock of a dead agent is free");
}
