//! AMQP: Debian's RabbitMQ, one broker in each pod and beside it a worker that answers calls.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, process::Command};

use balancer_lab::{Lab, Pod};

use crate::{
    harness::{Cluster, Transport},
    process::{Process, as_user},
};

const PORT: u16 = 5672;
/// Where Debian keeps RabbitMQ's own scripts; those on the path change to the system's broker.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

#[test]
fn amqp_connections_are_even() {
    assert!(
        Path::new(SERVER).is_file(),
        "RabbitMQ is not installed; `cargo xtask setup` installs it"
    );
    let mut cluster = Cluster::start("rabbitmq", 3, (Transport::Tcp, PORT), broker);
    let mut workers: Vec<_> = cluster
        .servers
        .iter_mut()
        .zip(&cluster.backends)
        .map(|(server, pod)| {
            server.await_line("readiness", |line| line.contains("Server startup complete"));
            let broker = pod.socket(PORT).to_string();
            Process::program(pod, &["serve", "amqp", "--name", pod.name(), &broker])
        })
        .collect();
    workers.iter_mut().for_each(Process::await_listening);
    cluster.assert_even("amqp", 5, 20);
}

/// A broker with everything it writes in the lab's state directory. Each has an Erlang port mapper
/// of its own, as it looks for that in its network namespace.
fn broker(lab: &Lab, pod: &Pod) -> Process {
    let home = lab.state_dir().join(pod.name());
    fs::DirBuilder::new().mode(0o755).create(&home).expect("a directory for the broker");
    let config = home.join("rabbitmq.conf");
    // The default user may come from other pods, too.
    fs::write(&config, format!("listeners.tcp.default = {PORT}\nloopback_users = none\n"))
        .expect("configuration written");
    let owner = Command::new("chown").arg("-R").arg("rabbitmq:").arg(&home).status();
    assert!(owner.expect("chown").success(), "no user rabbitmq");
    let mut server = as_user("rabbitmq", pod.command("setpriv"), Path::new(SERVER));
    server
        .env("HOME", &home)
        .env("RABBITMQ_NODENAME", format!("{}@localhost", pod.name()))
        .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_CONF_ENV_FILE", home.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
        .env("RABBITMQ_LOGS", "-")
        // One scheduler that does not spin: several brokers start at once.
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none +sbwtdcpu none");
    Process::start(pod.name(), server)
}
