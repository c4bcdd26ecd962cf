//! What a program sees of balancing, and what stays when the agent goes.

use std::{fs, net::SocketAddr, process::Command};

use crate::common::{self, Connection, VIP, Web, await_shown, dial};
use balancer_lab::{manifests::Service, sockets::open_by_peer};
use serde_json::{Value, json};

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

#[test]
fn a_program_is_connected_to_what_it_dialled() {
    let web = Web::start("peer", 2);
    let connection = Connection::open(web.client.place(), vip());
    assert_eq!(connection.said["peer"], json!("10.96.0.10:80"));
    // The kernel is connected to a pod: no NAT in between, and the agent counts it there.
    let sockets = open_by_peer(web.client.place()).expect("ss");
    let counted: Vec<_> = web.active().into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(sockets.into_iter().collect::<Vec<_>>(), counted);
    assert_eq!(counted.len(), 1);
}

#[test]
fn addresses_that_are_no_service_are_left_alone() {
    let web = Web::start("direct", 1);
    let pod = web.backends[0].socket(8080);
    let connection = Connection::open(web.client.place(), pod);
    assert_eq!(connection.said["peer"], json!(pod.to_string()));
    let other_port = Connection::open(web.client.place(), (VIP, 81).into());
    assert_eq!(other_port.said["error"], json!("timed out"), "nobody routes the ClusterIP");
    assert!(web.active().iter().all(|(_, active)| *active == 0));
    assert_eq!(web.shown("default/web")["backends"][0]["opened_total"], json!(0));
}

#[test]
fn a_service_without_endpoints_refuses() {
    let mut web = Web::start("empty", 1);
    let refused = |web: &Web| Connection::open(web.client.place(), vip()).said["error"].clone();
    web.service.endpoints[0].ready = Some(false);
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| services[0]["backends"] == json!([]));
    assert_eq!(refused(&web), json!("connection refused"));
    let verdicts = web.agent.json(&["status"]).expect("status")["verdicts"].clone();
    let verdicts = verdicts.as_array().expect("an array");
    let count =
        |name: &str| verdicts.iter().find(|v| v["name"] == name).expect("known")["total"].clone();
    assert_eq!((count("no-endpoint"), count("balanced")), (json!(1), json!(0)));

    // A terminating pod that still serves is better than none.
    web.service.endpoints[0].serving = Some(true);
    web.service.endpoints[0].terminating = Some(true);
    web.manifests.write(&web.service).expect("written");
    let shown = await_shown(&web.agent, |services| services[0]["backends"] != json!([]));
    assert_eq!(shown[0]["backends"][0]["state"], json!("terminating"));
    assert_eq!(Connection::open(web.client.place(), vip()).said["peer"], json!("10.96.0.10:80"));
}

/// Not ready is not draining, and a Service whose clients are refused is told with their error.
#[test]
fn a_service_without_a_ready_endpoint_is_told() {
    let mut web = Web::start("unready", 1);
    let refused = |web: &Web| web.agent.json(&["status"]).expect("status")["refused"].clone();
    assert_eq!(refused(&web), json!([]));
    let _open = Connection::open(web.client.place(), vip());
    let unready = |mut service: Service| {
        service.endpoints[0].ready = Some(false);
        service.endpoints[0].serving = Some(false);
        service
    };
    web.change(unready, |shown| shown["backends"][0]["state"] == "not-ready");
    let dialled = dial(web.client.place(), vip());
    assert_eq!(dialled["error"], "connection refused");
    let told = refused(&web);
    assert_eq!(told[0]["error"], "ECONNREFUSED", "{told:#}");
    assert_eq!((&told[0]["service"], &told[0]["not_ready"]), (&json!("web"), &json!(1)));
    let page = web.agent.cli(&["status"]).expect("a page");
    assert!(page.contains("Refused:     the clients of 1 Service port\n"), "{page}");
    assert!(page.contains("default/web        80/TCP   ECONNREFUSED"), "{page}");
    let error = web.agent.cli(&["connections", "default/wbe"]).expect_err("no such Service");
    assert!(error.to_string().contains("did you mean default/web?"), "{error}");
}

#[test]
fn a_removed_backend_drains_and_its_connections_stay() {
    let mut web = Web::start("drain", 2);
    let connections: Vec<_> = (0..2).map(|_| Connection::open(web.client.place(), vip())).collect();
    let gone = web.service.endpoints.pop().expect("two endpoints").address;
    web.manifests.write(&web.service).expect("written");
    let state = |services: &[Value]| -> Option<Value> {
        let backends = services[0]["backends"].as_array()?;
        Some(backends.iter().find(|b| b["address"] == json!(gone))?["state"].clone())
    };
    await_shown(&web.agent, |services| state(services) == Some(json!("draining")));
    assert_eq!(web.active().iter().map(|(_, active)| active).sum::<u64>(), 2);
    let third = Connection::open(web.client.place(), vip());
    assert!(
        web.active().iter().all(|(backend, n)| (*n == 2) == (backend.ip().to_string() != gone))
    );
    drop((connections, third));
    assert_eq!(web.active().iter().map(|(_, active)| active).sum::<u64>(), 0);
    assert_eq!(state(&await_shown(&web.agent, |_| true)), None, "gone with its last connection");
}

#[test]
fn sigterm_leaves_balancing_in_place_and_the_next_agent_adopts_it() {
    let mut web = Web::start("adopt", 3);
    let place = web.client.place().clone();
    let before: Vec<_> = (0..3).map(|_| Connection::open(&place, vip())).collect();
    let programs = |web: &Web| web.agent.json(&["status"]).expect("status")["programs"].clone();
    let attached = programs(&web);

    assert!(web.agent.terminate().expect("terminated").success());
    let without: Vec<_> = (0..3).map(|_| Connection::open(&place, vip())).collect();
    assert!(without.iter().all(|c| c.said["peer"] == json!("10.96.0.10:80")), "balanced alone");
    // The command line reads the maps where there is no agent, and says so.
    let output = web.agent.cli_command(&["services", "-o", "json"]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("agent not reachable"), "{told}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(common::active(&shown[0]).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 2, 2]);

    // It missed a change meanwhile: one backend is gone, and nobody counts it wrong.
    web.service.endpoints.pop();
    web.manifests.write(&web.service).expect("written");
    web.agent.resume().expect("resumed");
    assert!(web.agent.log().expect("log").contains("adopted=true"));
    let ids = |programs: &Value| -> Vec<Value> {
        programs.as_array().expect("array").iter().map(|p| p["tag"].clone()).collect()
    };
    assert_eq!(ids(&programs(&web)), ids(&attached), "the same programs run");
    drop(before);
    assert_eq!(web.active().iter().map(|(_, n)| n).sum::<u64>(), 3);
    drop(without);
    assert_eq!(web.active().iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn cleanup_removes_everything_and_connections_go_on() {
    let mut web = Web::start("cleanup", 1);
    let connection = Connection::open(web.client.place(), vip());
    let refused = web.agent.cli_command(&["cleanup"]).output().expect("run");
    assert_eq!(refused.status.code(), Some(1), "not while an agent is running");
    assert!(web.agent.terminate().expect("terminated").success());
    let output = web.agent.cli_command(&["cleanup"]).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    assert!(!web.lab.bpffs().join("balancer").exists());
    let after = Connection::open(web.client.place(), vip());
    assert_eq!(after.said["error"], json!("timed out"), "nothing is translated any more");
    drop(after);
    assert_eq!(open_by_peer(web.client.place()).expect("ss").len(), 1, "the open one lives on");
    drop(connection);
    // And balancing comes back with the next agent.
    web.agent.resume().expect("resumed");
    assert_eq!(Connection::open(web.client.place(), vip()).said["peer"], json!("10.96.0.10:80"));
}

/// Two sets of programs would both choose and both count.
#[test]
fn an_agent_does_not_start_beside_programs_of_another_layout() {
    let mut web = Web::start("layout", 1);
    assert!(web.agent.terminate().expect("terminated").success());
    let pins = web.lab.bpffs().join("balancer");
    let versions: Vec<_> = fs::read_dir(&pins).expect("pins").map(|v| v.expect("entry")).collect();
    assert_eq!(versions.len(), 1);
    let (own, other) = (versions[0].path(), pins.join("v1"));
    fs::rename(&own, &other).expect("the pins of an older version");
    let error = web.agent.resume().expect_err("refused").to_string();
    assert!(error.contains("another layout of the maps (v1)"), "{error}");
    assert!(error.contains("balancer-agent cleanup"), "{error}");
    assert!(other.join("links/connect4").exists(), "what was there is not touched");
    assert!(!own.exists(), "and nothing is beside it");
    let connection = Connection::open(web.client.place(), vip());
    assert_eq!(connection.said["peer"], json!("10.96.0.10:80"), "balancing goes on");
    drop(connection);

    web.agent.cli(&["cleanup"]).expect("cleaned up");
    web.agent.resume().expect("started");
    assert_eq!(Connection::open(web.client.place(), vip()).said["peer"], json!("10.96.0.10:80"));
}

#[test]
fn two_services_that_select_the_same_pods_share_their_counts() {
    let web = Web::start("shared", 2);
    let twin = Service::new(
        "twin",
        [10, 96, 0, 11],
        80,
        8080,
        web.backends.iter().map(balancer_lab::Pod::ip),
    );
    web.manifests.write(&twin).expect("written");
    await_shown(&web.agent, |services| services.len() == 2);
    let place = web.client.place();
    let connections: Vec<_> =
        [vip(), ([10, 96, 0, 11], 80).into()].map(|target| Connection::open(place, target)).into();
    for service in ["default/web", "default/twin"] {
        let counts: Vec<_> =
            common::active(&web.shown(service)).into_iter().map(|(_, active)| active).collect();
        assert_eq!(counts, [1, 1], "{service}");
    }
    drop::<Vec<_>>(connections);
}

#[test]
fn two_agents_do_not_share_a_socket() {
    let web = Web::start("twice", 1);
    let flags = web.agent.where_flags();
    let output = Command::new(web.agent.binary())
        .arg("run")
        .arg("--manifests")
        .arg(web.manifests.dir())
        .arg("--cgroup")
        .arg(web.lab.cgroup())
        .args(flags)
        .output()
        .expect("run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("another agent is running"), "{told}");
}
