//! `balancer-agent run`.

use std::{fmt::Display, path::PathBuf};

use super::{
    exit::{Exit, Failure},
    heap, log,
};
use crate::{
    agent::{self, RunError},
    config::{
        Capacities, ConfigError, DEFAULT_BPFFS, DEFAULT_HEALTHZ, DEFAULT_METRICS, DEFAULT_SOCKET,
        LogFormat, Settings, Surroundings,
    },
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent run --kubeconfig /etc/kubernetes/kubelet.conf
  balancer-agent run --manifests /etc/balancer/manifests
  balancer-agent run --config /etc/balancer/agent.yaml --log-format json
  kubectl get services,endpointslices,nodes,pods,namespaces -A -o yaml > manifests/all.yaml
  balancer-agent run --manifests manifests --node-name \"$(hostname)\"

The file of --config is YAML with the names of the flags in camelCase:
  manifests: /etc/balancer/manifests
  metricsBindAddress: 127.0.0.1:10349
  maxBackends: 10000

SIGTERM and SIGINT end the agent and leave balancing in place; `balancer-agent cleanup` removes it.";

/// Run the agent: keep the kernel balancing what Kubernetes describes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of Kubernetes YAML (Service, EndpointSlice, Node, Pod, Namespace), read and watched
    /// instead of the API server
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,

    /// File that says where the API server is [default: the pod's service account, then
    /// $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Name of this node [default: $NODE_NAME, then the hostname]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Cgroup to balance: its processes and those below [default: the root of the cgroup2 mount]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    #[arg(
        long,
        value_name = "PATH",
        help = with_default("Folder of the pins, on a BPF file system", DEFAULT_BPFFS)
    )]
    bpffs: Option<PathBuf>,

    #[arg(
        long,
        value_name = "PATH",
        help = with_default("Socket of the API, made for this user only", DEFAULT_SOCKET)
    )]
    socket: Option<PathBuf>,

    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        help = with_default("Where to serve /metrics; port 0 takes a free one", DEFAULT_METRICS)
    )]
    metrics_bind_address: Option<String>,

    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        help = with_default("Where to serve /healthz, /livez and /readyz", DEFAULT_HEALTHZ)
    )]
    healthz_bind_address: Option<String>,

    /// Addresses of this node at which node ports are captured: ranges with commas between, or
    /// `primary` for the first of each family [default: primary]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    nodeport_addresses: Option<Vec<String>>,

    /// Answer load balancers at the health check node ports of Services, which is kube-proxy's work
    /// where that runs [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    healthcheck_nodeports: Option<bool>,

    /// Headless Service of the agents, by whose endpoints they find each other and tell each other
    /// their counts [default: none, this node counts alone]
    #[arg(long, value_name = "NAMESPACE/NAME")]
    peers: Option<String>,

    /// Where to hear the agents of other nodes [default: port 10357 of every address]
    #[arg(long, value_name = "ADDRESS:PORT")]
    peer_bind_address: Option<String>,

    /// File with the keys that the agents share, one a line: the first is sent with, all are heard
    #[arg(long, value_name = "FILE")]
    peer_key: Option<PathBuf>,

    /// YAML file with the same settings in camelCase; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[arg(
        long,
        value_name = "N",
        help = with_default("Most Service ports to balance", Capacities::default().services)
    )]
    max_services: Option<u32>,

    #[arg(
        long,
        value_name = "N",
        help = with_default("Most distinct backends", Capacities::default().backends)
    )]
    max_backends: Option<u32>,

    #[arg(
        long,
        value_name = "N",
        help = with_default(
            "Most backends over all Service ports, each counted once a port",
            Capacities::default().slots
        )
    )]
    max_slots: Option<u32>,

    /// Form of the log lines [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// The flags have no default for clap, which could not tell it from a choice of the user.
fn with_default(help: &str, default: impl Display) -> String {
    format!("{help} [default: {default}]")
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let config = settings(args)
        .and_then(|settings| settings.resolve(Surroundings::look()))
        .map_err(|error| Failure::new(exit_of(&error), error))?;
    log::start(config.log_format);
    heap::share();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(agent::run(config));
    // A thread that is asking the kernel for somebody is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(Exit::Fine),
        Err(error @ RunError::Lacking(_)) => Err(Failure::new(Exit::Lacking, error)),
        Err(error) => Err(error.into()),
    }
}

fn settings(args: Args) -> Result<Settings, ConfigError> {
    let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let flags = Settings {
        manifests: args.manifests,
        kubeconfig: args.kubeconfig,
        node_name: args.node_name,
        cgroup: args.cgroup,
        bpffs: args.bpffs,
        socket: args.socket,
        metrics_bind_address: args.metrics_bind_address,
        healthz_bind_address: args.healthz_bind_address,
        node_port_addresses: args.nodeport_addresses,
        health_check_node_ports: args.healthcheck_nodeports,
        max_services: args.max_services,
        max_backends: args.max_backends,
        max_slots: args.max_slots,
        peers: args.peers,
        peer_bind_address: args.peer_bind_address,
        peer_key: args.peer_key,
        moving: None,
        log_format: args.log_format,
    };
    Ok(flags.or(file))
}

fn exit_of(error: &ConfigError) -> Exit {
    match error {
        ConfigError::NoCgroup(_) => Exit::Lacking,
        _ => Exit::Usage,
    }
}
