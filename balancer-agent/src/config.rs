//! Settings of `balancer-agent run`: gathered as they are given, then validated once into a
//! [`RunConfig`] that the rest of the agent trusts.

mod error;
mod file;
mod given;
mod moving;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use balancer_common::layout;
use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::{
    error::ConfigError,
    file::FileError,
    given::Settings,
    moving::{MovingError, MovingSettings},
};
use crate::{
    desired::node_ports::{NodePortAddresses, NodePorts},
    model::{Moving, ObjectRef},
    node,
    source::Origin,
};

/// Folder of the pins, unless told otherwise.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf/balancer";
/// Socket of the API, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/balancer/agent.sock";
/// Where metrics are served, unless told otherwise.
pub const DEFAULT_METRICS: &str = "127.0.0.1:10349";
/// Where health is served, unless told otherwise.
pub const DEFAULT_HEALTHZ: &str = "0.0.0.0:10356";

/// Where agents of other nodes are heard, unless told otherwise: at every address of the node.
pub const DEFAULT_PEERS: &str = "0.0.0.0:10357";

/// What `run` needs to know. Every value has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// Where Services and their endpoints come from.
    pub source: Origin,
    /// Name of this node, as Kubernetes knows it.
    pub node_name: String,
    /// The cgroup that the programs are attached to; absolute.
    pub cgroup: PathBuf,
    /// Folder of the pins; absolute.
    pub bpffs: PathBuf,
    /// Socket of the API; absolute.
    pub socket: PathBuf,
    /// Where metrics are served.
    pub metrics_bind_address: SocketAddr,
    /// Which series metrics have of Services and their backends.
    pub metrics_backends: BackendSeries,
    /// Where health is served.
    pub healthz_bind_address: SocketAddr,
    /// Where node ports are captured.
    pub node_ports: NodePorts,
    /// Whether load balancers are answered at the health check node ports of Services.
    pub health_check_node_ports: bool,
    /// Whether connections from outside are balanced.
    pub outside_traffic: bool,
    /// Sizes of the maps.
    pub capacities: Capacities,
    /// How the agents of other nodes are found; none where this one counts alone.
    pub peers: Option<PeersConfig>,
    /// When connections are moved, where a Service does not say.
    pub moving: Moving,
    /// Form of the log lines.
    pub log_format: LogFormat,
}

/// How the agents of other nodes are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersConfig {
    /// The headless Service of the agents.
    pub service: ObjectRef,
    /// Where to listen for them; none for every address of the node.
    pub bind_address: Option<SocketAddr>,
    /// The file of the keys; absolute. Without one nothing is said and nothing believed.
    pub key: Option<PathBuf>,
}

/// How many of each there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Service ports.
    pub services: u32,
    /// Distinct backends.
    pub backends: u32,
    /// Backends over all Service ports, each counted once a port.
    pub slots: u32,
}

impl Capacities {
    /// The most that the layout of the maps allows.
    pub const MAX: Self = Self {
        services: layout::MAX_SERVICES,
        backends: layout::MAX_BACKENDS,
        slots: layout::MAX_SLOTS,
    };
}

impl Default for Capacities {
    /// Enough for a large cluster, in 60 MiB of kernel memory.
    fn default() -> Self {
        Self { services: 1 << 15, backends: 1 << 17, slots: layout::MAX_SLOTS }
    }
}

/// Which series `/metrics` has of Services and their backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BackendSeries {
    /// None.
    Off,
    /// Of each Service port, over all its backends.
    #[default]
    Service,
    /// Of each backend, too.
    All,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the surroundings say where neither a flag nor the file does.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `$NODE_NAME`, else the hostname.
    pub node_name: String,
    /// The root of the cgroup2 mount, if there is one.
    pub cgroup: Option<PathBuf>,
}

impl Surroundings {
    /// Looks around on this machine.
    pub fn look() -> Self {
        Self { node_name: node::name(), cgroup: node::cgroup::root().ok() }
    }
}

impl Settings {
    /// Checks everything and fills the gaps.
    pub fn resolve(self, around: Surroundings) -> Result<RunConfig, ConfigError> {
        let cgroup = self.cgroup.or(around.cgroup).ok_or(node::cgroup::CgroupError::NotMounted)?;
        let peers = peers(self.peers, self.peer_bind_address, self.peer_key)?;
        let service = peers.as_ref().map(|peers| peers.service.clone());
        Ok(RunConfig {
            source: source(self.manifests, self.kubeconfig)?,
            node_name: node_name(self.node_name.unwrap_or(around.node_name))?,
            cgroup: path("--cgroup", &cgroup)?,
            bpffs: path("--bpffs", &self.bpffs.unwrap_or_else(|| DEFAULT_BPFFS.into()))?,
            socket: path("--socket", &self.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()))?,
            metrics_bind_address: address(
                "--metrics-bind-address",
                self.metrics_bind_address,
                DEFAULT_METRICS,
            )?,
            metrics_backends: self.metrics_backends.unwrap_or_default(),
            healthz_bind_address: address(
                "--healthz-bind-address",
                self.healthz_bind_address,
                DEFAULT_HEALTHZ,
            )?,
            node_ports: node_ports(&self.node_port_addresses.unwrap_or_default(), service)?,
            health_check_node_ports: self.health_check_node_ports.unwrap_or_default(),
            outside_traffic: self.outside_traffic.unwrap_or_default(),
            capacities: Capacities {
                services: capacity("--max-services", self.max_services, |c| c.services)?,
                backends: capacity("--max-backends", self.max_backends, |c| c.backends)?,
                slots: capacity("--max-slots", self.max_slots, |c| c.slots)?,
            },
            peers,
            moving: self.moving.unwrap_or_default().resolve()?,
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}

fn source(manifests: Option<PathBuf>, kubeconfig: Option<PathBuf>) -> Result<Origin, ConfigError> {
    match (manifests, kubeconfig) {
        (Some(_), Some(_)) => Err(ConfigError::TwoSources),
        (Some(dir), None) => Ok(Origin::Folder(path("--manifests", &dir)?)),
        (None, kubeconfig) => {
            let kubeconfig = kubeconfig.map(|file| path("--kubeconfig", &file)).transpose()?;
            Ok(Origin::Cluster { kubeconfig })
        }
    }
}

fn peers(
    service: Option<String>,
    bind_address: Option<String>,
    key: Option<PathBuf>,
) -> Result<Option<PeersConfig>, ConfigError> {
    let Some(value) = service.filter(|service| !service.is_empty()) else {
        let flag = match (bind_address, key) {
            (Some(_), _) => "--peer-bind-address",
            (None, Some(_)) => "--peer-key",
            (None, None) => return Ok(None),
        };
        return Err(ConfigError::NoPeers { flag });
    };
    let service = match value.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        _ => return Err(ConfigError::Peers { value }),
    };
    let parse = |value| address("--peer-bind-address", Some(value), DEFAULT_PEERS);
    let bind_address = bind_address.map(parse).transpose()?;
    let key = key.map(|key| path("--peer-key", &key)).transpose()?;
    Ok(Some(PeersConfig { service, bind_address, key }))
}

fn path(flag: &'static str, given: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(given).map_err(|_| ConfigError::EmptyPath { flag })
}

fn node_name(name: String) -> Result<String, ConfigError> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
        return Err(ConfigError::NodeName { name });
    }
    Ok(name)
}

fn address(
    flag: &'static str,
    given: Option<String>,
    default: &'static str,
) -> Result<SocketAddr, ConfigError> {
    let value = given.unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|source| ConfigError::Address { flag, value, example: default, source })
}

/// `primary`, `all` or ranges, with `localhost` beside them or alone.
fn node_ports(given: &[String], peers: Option<ObjectRef>) -> Result<NodePorts, ConfigError> {
    let trimmed = given.iter().map(|text| text.trim());
    let (localhost, others): (Vec<_>, Vec<_>) = trimmed.partition(|text| *text == "localhost");
    let localhost = !localhost.is_empty();
    let range = |text: &str| {
        text.parse::<IpNet>()
            .map(|net| net.trunc())
            .map_err(|_| ConfigError::NodePortAddresses { value: text.to_owned() })
    };
    let addresses = match others[..] {
        [] if !localhost => NodePortAddresses::Primary,
        ["primary"] => NodePortAddresses::Primary,
        ["all"] => NodePortAddresses::All,
        _ => NodePortAddresses::In(others.into_iter().map(range).collect::<Result<_, _>>()?),
    };
    Ok(NodePorts { addresses, localhost, peers })
}

fn capacity(
    flag: &'static str,
    given: Option<u32>,
    which: fn(Capacities) -> u32,
) -> Result<u32, ConfigError> {
    let max = which(Capacities::MAX);
    match given {
        None => Ok(which(Capacities::default())),
        Some(value) if (1..=max).contains(&value) => Ok(value),
        Some(value) => Err(ConfigError::Capacity { flag, value, max }),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
