//! Debian's Prometheus scrapes an agent, by the rules of deploy/monitoring: each alert fires on its cause,
//! and clears.

mod prometheus;
mod watched;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use balancer_lab::{
    Agent, Lab,
    http::Server,
    manifests::{Manifests, Service},
};

use self::prometheus::{METRICS, Prometheus};
use crate::common::{Connections, VIP, address, await_shown, dial, in_use, serve};

/// A pin of the agent, if it is below this folder.
fn pin(below: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(below).ok()?.flatten();
    entries.find_map(|entry| {
        let path = entry.path();
        if entry.file_name() == "NAMES" { Some(path) } else { pin(&path) }
    })
}

#[test]
fn alerts_fire_on_their_causes_and_clear() {
    if !prometheus::is_there() {
        return;
    }
    let lab = Lab::create("alerts").expect("a lab");
    let client = lab.pod("client", address(200)).expect("a pod");
    let pods = lab.pods((1..=4).map(|n| (format!("web-{n}"), address(n)))).expect("pods");
    // Nobody serves in the last.
    let mut servers: Vec<Server> = pods[..3].iter().map(serve).collect();
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    let web = |numbers: &[u8]| {
        let ips = numbers.iter().map(|number| address(*number));
        manifests.write(&Service::new("web", VIP, 80, 8080, ips)).expect("written");
    };
    web(&[1]);
    let options = ["--metrics-bind-address", METRICS, "--max-backends", "8"];
    let mut agent = Agent::start(&lab, manifests.dir(), &options).expect("an agent");
    let prometheus = Prometheus::start(&lab);
    prometheus.until("BalancerDown", false, || ());

    let broken = manifests.dir().join("broken.yaml");
    prometheus.follows(
        "BalancerProblems",
        || fs::write(&broken, "--- [\n").expect("written"),
        || fs::remove_file(&broken).expect("removed"),
    );
    prometheus.follows("BalancerMapNearlyFull", || web(&[1, 2, 3, 5, 6, 7, 8]), || web(&[1]));
    let flags = agent.where_flags();
    let bpffs = flags.iter().skip_while(|flag| *flag != "--bpffs").nth(1).expect("a folder");
    prometheus.follows(
        "BalancerMended",
        || fs::remove_file(pin(Path::new(bpffs)).expect("a pin")).expect("removed"),
        || (),
    );

    let many = Connections::open(client.place(), (VIP, 80), 36).opened((VIP, 80));
    prometheus.follows("BalancerUnbalanced", || web(&[1, 2, 3]), || drop(many));

    web(&[1, 4]);
    await_shown(&agent, |all| in_use(&all[0]) == [1, 4]);
    let dials = || drop((0..4).map(|_| dial(client.place(), (VIP, 80))).collect::<Vec<_>>());
    prometheus.until("BalancerSuspectBackend", true, dials);
    servers.push(serve(&pods[3]));
    prometheus.until("BalancerSuspectBackend", false, dials);

    agent.kill().expect("killed");
    prometheus.until("BalancerDown", true, || ());
    agent.resume().expect("started again");
    prometheus.until("BalancerDown", false, || ());
    assert_eq!(prometheus.firing(), Some(BTreeSet::new()));
}
