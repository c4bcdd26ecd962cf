//! A pod closes a connection, lingering, that the agent is about to end: the agent has the last
//! descriptor of it, and its close waits for a peer that never reads. Nobody else waits.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use crate::common::{
    Connections, VIP, Web, address, await_shown,
    clients::{Client, pod_object, tell},
    ends::{await_idle_ended, end_what_is_idle, not_ended, touching},
};
use balancer_lab::{
    manifests::Service,
    stopped::{Stopped, call},
};
use nix::libc::{SYS_close, SYS_pidfd_getfd};
use serde_json::Value;

/// A Service whose backend reads nothing.
const DEAF: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 12);
/// The longest that anybody may wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// An agent that waits in a close, and what it waits for.
struct Lingering {
    web: Web,
    /// The thread that does.
    thread: u32,
    _hostile: (Client, Connections, TcpListener),
}

/// The thread of a process that touches sockets.
fn worker(process: u32) -> u32 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
    let numbers = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    let is_it = |thread: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/comm"));
        name.is_ok_and(|name| name.trim_end() == "work")
    };
    numbers.into_iter().find(is_it).expect("a thread that works")
}

fn linger(name: &str) -> Lingering {
    let mut web = Web::start(name, 2);
    tell(&web, &[pod_object(201, None)]);
    let deaf = web.lab.pod("deaf", address(9)).expect("a pod");
    let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080));
    let listener = deaf.place().within(listen).expect("entered").expect("it listens");
    let idle = Service::new("deaf", DEAF, 80, 8080, [address(9)]);
    web.manifests.write(&idle.annotated("balancer-agent/idle-timeout", "1s")).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    // The process that touches sockets is there from now on.
    let others = Connections::open(web.client.place(), (VIP, 80), 6);
    end_what_is_idle(&mut web);
    await_idle_ended(&web, 6);
    drop(others);
    let touching = touching(web.agent.pid().expect("it runs"));
    let [process] = touching[..] else { panic!("one process touches sockets: {touching:?}") };
    let thread = worker(process);

    let hostile = Client::start(&web, 201);
    let at = SocketAddr::from((DEAF, 80));
    let held = Connections::open_with(hostile.pod.place(), at, 1, &["--linger"]);
    let mut held = held.opened(at);
    let stopped = Stopped::after(thread, SYS_pidfd_getfd, Duration::from_secs(20));
    let stopped = stopped.expect("the connection is idle");
    assert_eq!(held.end_input()["closed"], true);
    drop(stopped);
    let deadline = Instant::now() + PATIENCE;
    while call(thread) != Some(SYS_close) {
        assert!(Instant::now() < deadline, "the close does not linger: {:?}", call(thread));
    }
    Lingering { web, thread, _hostile: (hostile, held, listener) }
}

#[test]
fn nobody_waits_for_a_close_that_lingers() {
    let Lingering { web, thread, _hostile } = linger("lingers");
    for question in [&["status"][..], &["rebalance", "default/web", "--dry-run"]] {
        let asked = Instant::now();
        web.agent.json(question).expect("an answer");
        assert!(asked.elapsed() < PATIENCE, "{question:?}: {:?}", asked.elapsed());
        assert_eq!(call(thread), Some(SYS_close), "{question:?} was asked too late");
    }
    let others = Connections::open(web.client.place(), (VIP, 80), 4);
    await_idle_ended(&web, 10);
    drop(others);
    assert_eq!(not_ended(&web, "idle", "stuck"), 1);
    let status = web.agent.json(&["status"]).expect("status");
    let is_told = |problem: &Value| {
        let of = |field: &str| problem[field].as_str().unwrap_or_default();
        of("object").starts_with("connection 10.244.0.201:")
            && of("message").contains("Service default/deaf, pod default/client-201")
    };
    let problems = status["problems"].as_array().expect("problems");
    assert!(problems.iter().any(is_told), "{problems:#?}");
    assert_eq!(call(thread), None, "who lingered was ended");
}

#[test]
fn an_agent_ends_while_a_close_lingers() {
    let Lingering { mut web, thread, _hostile } = linger("lingers-end");
    assert_eq!(call(thread), Some(SYS_close));
    let asked = Instant::now();
    assert!(web.agent.terminate().expect("ended").success());
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
}
