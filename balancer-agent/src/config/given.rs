//! Settings as they are given: a row for each, which is a flag and a key of the file.

use std::{fmt::Display, path::PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    BackendSeries, Capacities, DEFAULT_BPFFS, DEFAULT_HEALTHZ, DEFAULT_METRICS, DEFAULT_SOCKET,
    LogFormat, MovingSettings,
};

/// Settings as they were given, by flags or by a file; absent where neither says anything. A row here
/// is a flag of `run`, with its help, and a key of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Folder of Kubernetes YAML (Service, EndpointSlice, Node, Pod, Namespace), read and watched
    /// instead of the API server
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,

    /// File that says where the API server is [default: the pod's service account, then
    /// $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Name of this node [default: $NODE_NAME, then the hostname]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Cgroup to balance: its processes and those below [default: the root of the cgroup2 mount]
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,

    /// Folder of the pins.
    #[arg(
        long,
        value_name = "PATH",
        help = with_default("Folder of the pins, on a BPF file system", DEFAULT_BPFFS)
    )]
    pub bpffs: Option<PathBuf>,

    /// Socket of the API.
    #[arg(
        long,
        value_name = "PATH",
        help = with_default("Socket of the API, made for this user only", DEFAULT_SOCKET)
    )]
    pub socket: Option<PathBuf>,

    /// Where metrics are served.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        help = with_default("Where to serve /metrics; port 0 takes a free one", DEFAULT_METRICS)
    )]
    pub metrics_bind_address: Option<String>,

    /// Series of Services in /metrics: none, each Service port over its backends, or each backend too
    /// [default: service]
    #[arg(long, value_name = "off|service|all", hide_possible_values = true)]
    pub metrics_backends: Option<BackendSeries>,

    /// Where health is served.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        help = with_default("Where to serve /healthz, /livez and /readyz", DEFAULT_HEALTHZ)
    )]
    pub healthz_bind_address: Option<String>,

    /// Addresses of nodes at which node ports are captured: ranges with commas between, `primary` for
    /// the first of each family, or `all`; `localhost` beside them or alone adds the loopback
    /// [default: primary]
    #[arg(long = "nodeport-addresses", value_name = "CIDR", value_delimiter = ',')]
    pub node_port_addresses: Option<Vec<String>>,

    /// Answer load balancers at the health check node ports of Services, which is kube-proxy's work
    /// where that runs [default: false]
    #[arg(
        long = "healthcheck-nodeports",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub health_check_node_ports: Option<bool>,

    /// Balance connections from outside of the node, to its node ports, load balancers' addresses and
    /// external IPs, which is kube-proxy's work where that runs [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub outside_traffic: Option<bool>,

    /// Most Service ports.
    #[arg(
        long,
        value_name = "N",
        help = with_default("Most Service ports to balance", Capacities::default().services)
    )]
    pub max_services: Option<u32>,

    /// Most distinct backends.
    #[arg(
        long,
        value_name = "N",
        help = with_default("Most distinct backends", Capacities::default().backends)
    )]
    pub max_backends: Option<u32>,

    /// Most backends over all Service ports.
    #[arg(
        long,
        value_name = "N",
        help = with_default(
            "Most backends over all Service ports, each counted once a port",
            Capacities::default().slots
        )
    )]
    pub max_slots: Option<u32>,

    /// Headless Service of the agents, by whose endpoints they find each other and tell each other
    /// their counts [default: none, this node counts alone]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub peers: Option<String>,

    /// Where to hear the agents of other nodes [default: port 10357 of every address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub peer_bind_address: Option<String>,

    /// File with the keys that the agents share, one a line: the first is sent with, all are heard
    #[arg(long, value_name = "FILE")]
    pub peer_key: Option<PathBuf>,

    /// When connections are moved, where a Service does not say. No flag: a map.
    #[arg(skip)]
    pub moving: Option<MovingSettings>,

    /// Form of the log lines [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The flags have no default for clap, which could not tell it from a choice of the user.
fn with_default(help: &str, default: impl Display) -> String {
    format!("{help} [default: {default}]")
}

impl Settings {
    /// These settings, and those of `other` where these say nothing.
    pub fn or(self, other: Self) -> Self {
        Self {
            manifests: self.manifests.or(other.manifests),
            kubeconfig: self.kubeconfig.or(other.kubeconfig),
            node_name: self.node_name.or(other.node_name),
            cgroup: self.cgroup.or(other.cgroup),
            bpffs: self.bpffs.or(other.bpffs),
            socket: self.socket.or(other.socket),
            metrics_bind_address: self.metrics_bind_address.or(other.metrics_bind_address),
            metrics_backends: self.metrics_backends.or(other.metrics_backends),
            healthz_bind_address: self.healthz_bind_address.or(other.healthz_bind_address),
            node_port_addresses: self.node_port_addresses.or(other.node_port_addresses),
            health_check_node_ports: self.health_check_node_ports.or(other.health_check_node_ports),
            outside_traffic: self.outside_traffic.or(other.outside_traffic),
            max_services: self.max_services.or(other.max_services),
            max_backends: self.max_backends.or(other.max_backends),
            max_slots: self.max_slots.or(other.max_slots),
            peers: self.peers.or(other.peers),
            peer_bind_address: self.peer_bind_address.or(other.peer_bind_address),
            peer_key: self.peer_key.or(other.peer_key),
            moving: self.moving.or(other.moving),
            log_format: self.log_format.or(other.log_format),
        }
    }
}
