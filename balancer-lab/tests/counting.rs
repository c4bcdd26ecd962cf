//! Counts equal sockets: whatever opens, closes, is refused or is killed.

mod common;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use balancer_lab::{
    Pod,
    churn::{Churn, ChurnOptions},
    manifests::Service,
    sockets::open_by_peer,
};
use common::{VIP, Web, address};

/// The agent's counts and the kernel's sockets, both without the zeroes.
fn assert_equal(web: &Web, when: &str) -> u64 {
    let sockets = open_by_peer(web.client.place()).expect("ss");
    let counted: BTreeMap<_, _> = web.active().into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(counted, sockets, "{when}: counted by the agent on the left, open on the right");
    sockets.values().sum()
}

#[test]
fn counts_equal_sockets_through_churn_kills_and_refusals() {
    let web = Web::start("count", 3);
    // Nothing listens on port 9 of the backends: every connection is refused by a reset.
    let dead = Service::new("dead", [10, 96, 0, 9], 80, 9, web.backends.iter().map(Pod::ip));
    web.manifests.write(&dead).expect("written");
    let shown = || web.agent.json(&["services", "-o", "json"]).expect("services");
    await_services(&web, 2);

    let start = |seed| {
        let target = SocketAddr::from((VIP, 80));
        let refusing = Some("10.96.0.9:80".parse().expect("address"));
        let options = ChurnOptions { seed, threads: 2, target, refusing, held: 40 };
        Churn::start(web.client.place(), &options).expect("churn")
    };
    // Four processes of two threads; one of them is killed after every third pause.
    let mut seeds = 0..;
    let mut next = || start(seeds.next().expect("endless"));
    let mut processes: Vec<_> = (0..4).map(|_| next()).collect();
    let (mut opened, mut most) = (0, 0);
    let mut per_process = [0; 4];
    for round in 0..40 {
        processes.iter_mut().for_each(|process| process.go(80).expect("told"));
        for (process, before) in processes.iter_mut().zip(&mut per_process) {
            let count = process.still().expect("still");
            opened += count.opened + count.refused
                - std::mem::replace(before, count.opened + count.refused);
        }
        most = most.max(assert_equal(&web, &format!("pause {round}")));
        if round % 3 == 2 {
            let victim = round % 4;
            // Killed in the middle of its steps, with its sockets open.
            processes[victim].go(1000).expect("told");
            processes[victim] = next();
            per_process[victim] = 0;
        }
    }
    assert!(opened > 10_000, "only {opened} connections");
    assert!(most > 100, "at most {most} were open at once");
    drop(processes);
    assert_eq!(assert_equal(&web, "at the end"), 0);
    let all = shown();
    let refused =
        &all.as_array().expect("array").iter().find(|s| s["name"] == "dead").expect("dead");
    let failed: u64 = refused["backends"]
        .as_array()
        .expect("array")
        .iter()
        .map(|b| b["failed_total"].as_u64().expect("number"))
        .sum();
    assert!(failed > 300, "{failed} refused connections were counted as failed");
}

/// Waits until the agent shows so many Service ports.
fn await_services(web: &Web, count: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while web
        .agent
        .json(&["services", "-o", "json"])
        .expect("services")
        .as_array()
        .expect("array")
        .len()
        != count
    {
        assert!(std::time::Instant::now() < deadline, "{}", web.agent.log().unwrap_or_default());
        std::thread::yield_now();
    }
}
