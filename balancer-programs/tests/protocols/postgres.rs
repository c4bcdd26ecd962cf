//! PostgreSQL: Debian's server, one in each pod, with a pool of connections in each client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use balancer_lab::{Lab, Pod, host};

use crate::{
    harness::{Cluster, Transport},
    process::{Process, as_user},
};

const PORT: u16 = 5432;
const REMEDY: &str = "PostgreSQL's server is not installed; `cargo xtask setup` installs it";

#[test]
fn pooled_postgres_connections_are_even() {
    let mut cluster = Cluster::start("postgres", 3, (Transport::Tcp, PORT), serve);
    for server in &mut cluster.servers {
        server.await_line("readiness", |line| line.contains("ready to accept connections"));
    }
    cluster.assert_even("postgres", 5, 20);
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
