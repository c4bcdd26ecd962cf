//! PostgreSQL: Debian's server, one in each pod, with a pool of connections in each client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use balancer_lab::{Lab, Pod, host, manifests::Service};
use serde_json::{Value, json};

use crate::{
    harness::{Cluster, Transport, VIP},
    process::{Process, as_user},
};

const PORT: u16 = 5432;
const REMEDY: &str = "PostgreSQL's server is not installed; `cargo xtask setup` installs it";

#[test]
fn pooled_postgres_connections_are_even() {
    start("postgres").assert_even("postgres", 5, 20);
}

/// Connections are moved between their transactions and not within one, however long it pauses.
#[test]
fn no_transaction_of_postgres_is_broken_off_when_its_connection_is_moved() {
    let cluster = start("moved");
    let rebalanced = |pods: usize| {
        move |mut service: Service| {
            service.endpoints.truncate(pods);
            // Not "http", which has no state between a request and the next.
            service.ports[0].0 = "postgres".into();
            service.annotated("balancer-agent/rebalance", "true")
        }
    };
    let has = |pods| move |shown: &Value| shown["backends"].as_array().map(Vec::len) == Some(pods);
    cluster.change(rebalanced(1), has(1));
    let target = format!("{VIP}:{PORT}");
    let arguments = ["transact", &target, "--connections", "20", "--rest-ms", "7000"];
    let mut client = Process::program(&cluster.clients[0], &arguments);
    let counts = |wanted: &'static [u64]| {
        move |shown: &Value| {
            let backends = shown.as_array().expect("backends").iter();
            let mut counts: Vec<_> =
                backends.filter_map(|found| found["active"].as_u64()).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts == wanted
        }
    };
    cluster.await_shown("backends", counts(&[20]));
    cluster.change(rebalanced(3), has(3));
    cluster.await_shown("backends", counts(&[7, 7, 6]));
    client.end_input();
    let done = client.await_json();
    println!("postgres: transactions of 20 connections of which 13 were moved: {done}");
    assert_eq!((&done["failed"], &done["reopened"]), (&json!([]), &json!(13)), "{done}");
    assert!(done["committed"].as_u64() >= Some(20), "{done}");
    client.finish();
}

/// PostgreSQL is told to cancel a query over another connection, which leads to the same server only
/// with session affinity.
#[test]
fn queries_of_postgres_are_cancelled_with_session_affinity() {
    let cluster = start("cancelled");
    let cancelled = |queries: &str| {
        let target = format!("{VIP}:{PORT}");
        let arguments = ["cancel", &target, "--queries", queries];
        let mut client = Process::program(&cluster.clients[0], &arguments);
        let said = client.await_json();
        client.finish();
        println!("postgres: {said}");
        said["cancelled"].clone()
    };
    // What has a query running has a connection more than the others.
    assert_eq!(cancelled("15"), 0);
    let sticky = |service: Service| service.with("sessionAffinity", "ClientIP".into());
    cluster.change(sticky, |shown| shown["affinity_s"].is_number());
    assert_eq!(cancelled("15"), 15);
}

/// A Service of three servers that are up.
fn start(name: &str) -> Cluster {
    let mut cluster = Cluster::start(name, 3, (Transport::Tcp, PORT), serve);
    for server in &mut cluster.servers {
        server.await_line("readiness", |line| line.contains("ready to accept connections"));
    }
    cluster
}

/// A server with a data directory of its own, in the lab's state directory.
fn serve(lab: &Lab, pod: &Pod) -> Process {
    let data = lab.state_dir().join(pod.name());
    fs::create_dir(&data).expect("a directory for the data");
    let owner = Command::new("chown").arg("postgres:").arg(&data).output().expect("chown");
    assert!(owner.status.success(), "{REMEDY}: {owner:?}");
    let bin = bin();
    let mut initdb = as_user("postgres", Command::new("setpriv"), &bin.join("initdb"));
    initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--pgdata"]).arg(&data);
    host::run(&mut initdb, "").expect("a data directory");
    // Clients come from other pods than the server's.
    fs::write(data.join("pg_hba.conf"), "host all all all trust\n").expect("pg_hba.conf written");
    let mut server = as_user("postgres", pod.command("setpriv"), &bin.join("postgres"));
    server.arg("-D").arg(&data);
    for setting in [
        &format!("cluster_name={}", pod.name()),
        &format!("listen_addresses={}", pod.ip()),
        "unix_socket_directories=",
        "fsync=off",
        "ssl=off",
    ] {
        server.args(["-c", setting]);
    }
    Process::start(pod.name(), server)
}

/// The directory of the newest version installed: Debian keeps versions apart.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect(REMEDY).flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").is_file())
        .max_by_key(|path| version(path))
        .expect(REMEDY)
        .join("bin")
}
