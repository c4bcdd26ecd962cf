//! Counts equal sockets: whatever opens, closes, is refused or is killed.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use crate::common::{Connection, VIP, Web, await_shown};
use balancer_lab::{
    Pod,
    churn::{Churn, ChurnOptions, Count},
    manifests::Service,
    sockets::open_by_peer,
};

/// The agent's counts and the kernel's sockets, both without the zeroes.
fn assert_equal(web: &Web, when: &str) -> u64 {
    let sockets = open_by_peer(web.client.place()).expect("ss");
    let counted: BTreeMap<_, _> = web.active().into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(counted, sockets, "{when}: counted by the agent on the left, open on the right");
    sockets.values().sum()
}

/// Connections that a process made, refused ones included.
fn made(count: Count) -> u64 {
    count.opened + count.refused
}

/// Four processes of two threads; one of them is killed after every third pause.
#[test]
fn counts_equal_sockets_through_churn_kills_and_refusals() {
    let web = Web::start("count", 3);
    // Nothing listens on port 9 of the backends: every connection is refused by a reset.
    let dead = Service::new("dead", [10, 96, 0, 9], 80, 9, web.backends.iter().map(Pod::ip));
    web.manifests.write(&dead).expect("written");
    await_shown(&web.agent, |services| services.len() == 2);

    let options = ChurnOptions {
        seed: 0,
        threads: 2,
        target: (VIP, 80).into(),
        refusing: Some(([10, 96, 0, 9], 80).into()),
        held: 40,
    };
    let mut seeds = 1..;
    let mut next = || {
        let seed = seeds.next().expect("endless");
        Churn::start(web.client.place(), &ChurnOptions { seed, ..options }).expect("churn")
    };
    let mut processes: Vec<_> = (0..4).map(|_| (next(), 0)).collect();
    let (mut total, mut most) = (0, 0);
    for round in 0..40 {
        processes.iter_mut().for_each(|(process, _)| process.go(80).expect("told"));
        for (process, before) in &mut processes {
            let now = made(process.still().expect("still"));
            total += now - std::mem::replace(before, now);
        }
        most = most.max(assert_equal(&web, &format!("pause {round}")));
        if round % 3 == 2 {
            let victim = &mut processes[round % 4];
            // Killed in the middle of its steps, with its sockets open.
            victim.0.go(1000).expect("told");
            *victim = (next(), 0);
        }
    }
    assert!(total > 10_000, "only {total} connections");
    assert!(most > 100, "at most {most} were open at once");
    drop(processes);
    assert_eq!(assert_equal(&web, "at the end"), 0);

    let dead = web.shown("default/dead");
    let backends = dead["backends"].as_array().expect("backends");
    let sum = |field: &str| -> u64 { backends.iter().filter_map(|b| b[field].as_u64()).sum() };
    assert!(sum("failed_total") > 300, "refused connections count as failed: {dead}");
    assert_eq!((sum("active"), sum("opened_total")), (0, sum("failed_total")), "{dead}");
}

/// No route to the backend: `connect()` fails after its hook, and no state changes. While the
/// program keeps the socket, the agent ends the charge; a closed one ends it at once. MPTCP connects
/// with a socket of the kernel's own, whose release no hook sees.
#[test]
fn connections_that_fail_inside_connect_do_not_stay_counted() {
    let web = Web::start("unsent", 1);
    let netns = web.client.place().netns();
    let route = ["-n", netns, "route", "add", "unreachable", "10.244.0.1/32"];
    assert!(Command::new("ip").args(route).status().expect("ip").success());
    let total = |web: &Web| web.active().iter().map(|(_, active)| active).sum::<u64>();
    for flags in [&[][..], &["--mptcp"]] {
        let failed = Connection::open_with(web.client.place(), (VIP, 80).into(), flags);
        assert_eq!(failed.said["error"], "host unreachable", "{flags:?}");
        assert_eq!(total(&web), 1, "{flags:?}: charged by the hook");
        let deadline = Instant::now() + Duration::from_secs(20);
        while total(&web) > 0 {
            assert!(Instant::now() < deadline, "{flags:?}: still counted");
        }
        drop(failed);
        assert_eq!(total(&web), 0, "{flags:?}: ended once");
    }
    let failed = Connection::open(web.client.place(), (VIP, 80).into());
    drop(failed);
    assert_eq!(total(&web), 0, "ended by the close");
}

/// MPTCP's subflow is balanced and counted like any TCP connection, until it has left for CLOSE.
#[test]
fn multipath_tcp_is_counted_until_it_is_closed() {
    let web = Web::start("mptcp", 2);
    let connections: Vec<_> = (0..4)
        .map(|_| Connection::open_with(web.client.place(), (VIP, 80).into(), &["--mptcp"]))
        .collect();
    let counts = |web: &Web| web.active().into_iter().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!(counts(&web), [2, 2]);
    drop(connections);
    let deadline = Instant::now() + Duration::from_secs(10);
    while counts(&web) != [0, 0] {
        assert!(Instant::now() < deadline, "{:?}", counts(&web));
    }
}
