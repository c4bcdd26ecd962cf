//! What the command line, the API and the metrics show: the wire types of every `-o json`.

mod about;
mod clients;
mod connections;
mod events;
mod explain;
mod moves;
mod peers;
mod question;
mod top;
mod trace;

use std::{fmt, net::IpAddr};

use balancer_common::policy::DEFAULT_WEIGHT;
use serde::{Deserialize, Serialize};

pub use self::{
    about::{AboutQuestion, AboutView, MetricsQuestion},
    clients::{ClientServiceView, ClientView, ClientsQuestion},
    connections::{ActivityView, ConnectionView, EndView, OutsideView, Wanted},
    events::{EventKind, EventView, EventsQuestion, RecentView},
    explain::{CandidateView, ExplainQuestion, ExplainView},
    moves::{
        DrainRequest, DrainView, DrainsQuestion, MoveView, NodeDrainView, NodeMoveView,
        RebalanceRequest, RebalanceView, ShareView, WaitView,
    },
    peers::{CountsView, PeerView, PeersQuestion, TotalView},
    question::{Question, Stream},
    top::{TopBackendView, TopServiceView, TopView},
    trace::{
        ChoiceView, DialledView, DroppedView, EndedView, PartiesView, TraceQuestion, TraceView,
    },
};
use crate::model::{Problem, Protocol};

/// Asks for every Service port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesQuestion {}

impl Question for ServicesQuestion {
    const PATH: &'static str = "/v1/services";
    type Answer = Vec<ServiceView>;
}

/// One Service port: an element of `services -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// The Service port.
    pub port: PortView,
    /// Policy of choice, such as `least-connections`.
    pub policy: String,
    /// Seconds for which a client stays with its backend; absent without session affinity.
    #[serde(default)]
    pub affinity_s: Option<u32>,
    /// Seconds over which a new backend comes to its full share; absent where it does at once.
    #[serde(default)]
    pub slow_start_s: Option<u32>,
    /// Networks whose clients may use the addresses of the load balancer; none where all may, or
    /// when only the maps were read.
    #[serde(default)]
    pub source_ranges: Vec<String>,
    /// Every address that is captured for the port.
    pub frontends: Vec<FrontendView>,
    /// Every backend of the port.
    pub backends: Vec<BackendView>,
    /// Connections of the whole Service that this agent has ended so that they are opened again; absent
    /// when only the maps were read.
    #[serde(default)]
    pub moved_total: Option<u64>,
}

impl ServiceView {
    /// Connections of all nodes, where they are known of every backend.
    pub fn cluster_active(&self) -> Option<u64> {
        let known = self.backends.iter().map(|backend| backend.cluster_active);
        known.sum::<Option<u64>>().filter(|_| !self.backends.is_empty())
    }
}

/// A Service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// Empty where the port has no name.
    pub name: String,
    /// Port number.
    pub number: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A captured address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrontendView {
    /// `ClusterIP`, `NodePort`, `ExternalIP` or `LoadBalancer`.
    pub r#type: String,
    /// Address a client dials.
    pub address: IpAddr,
    /// Port a client dials.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A backend of a Service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendView {
    /// Address of the endpoint.
    pub address: IpAddr,
    /// Port of the endpoint.
    pub port: u16,
    /// Node of the endpoint; absent when only the maps were read.
    pub node: Option<String>,
    /// Zone of the endpoint; absent when only the maps were read.
    pub zone: Option<String>,
    /// Whether new connections go there.
    pub state: BackendState,
    /// Share beside that of others; 1 where no rule gives another.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// Open connections from this node.
    pub active: u32,
    /// Open connections from all nodes; absent where it is not known.
    #[serde(default)]
    pub cluster_active: Option<u64>,
    /// Connections ever opened from this node.
    pub opened_total: u64,
    /// Connections that were refused or timed out.
    pub failed_total: u64,
    /// How often it became suspect.
    #[serde(default)]
    pub suspected_total: u32,
    /// The node at which somebody has asked to drain it; absent where nobody has.
    #[serde(default)]
    pub drained_by: Option<String>,
}

const fn default_weight() -> u16 {
    DEFAULT_WEIGHT
}

/// A backend with the Service port it belongs to: an element of `backends -o json`. `port` is that
/// of the backend, as in [`ServiceView::backends`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBackendView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// The Service port.
    pub service_port: PortView,
    /// The backend.
    #[serde(flatten)]
    pub backend: BackendView,
}

impl ServiceBackendView {
    /// The backends of a Service port.
    pub fn of(service: ServiceView) -> impl Iterator<Item = Self> {
        let ServiceView { namespace, name, port, backends, .. } = service;
        backends.into_iter().map(move |backend| Self {
            namespace: namespace.clone(),
            service: name.clone(),
            service_port: port.clone(),
            backend,
        })
    }
}

/// State of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// Gets new connections.
    Ready,
    /// Has just failed: gets new connections only where all others have, or to try it.
    Suspect,
    /// Terminating: gets new connections only where no ready endpoint is left.
    Terminating,
    /// Its pod is not ready: gets no new connections; open ones go on until they end.
    NotReady,
    /// Gets no new connections, as it is drained, terminates or has left the Service; open ones go on until
    /// they end.
    Draining,
}

/// Asks for the agent and its node. What can't be read is absent from the answer, and a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusQuestion {}

impl Question for StatusQuestion {
    const PATH: &'static str = "/v1/status";
    type Answer = StatusView;
}

impl BackendState {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Terminating => "terminating",
            Self::NotReady => "not-ready",
            Self::Draining => "draining",
        }
    }

    /// True where new connections may go there while no better one is left, or without.
    pub const fn is_usable(self) -> bool {
        !matches!(self, Self::NotReady | Self::Draining)
    }
}

/// `status -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The running agent; absent when only the maps were read.
    pub agent: Option<AgentView>,
    /// The cgroup that the programs are attached to, as the pinned links tell; absent when the
    /// cgroup is gone or nothing is attached.
    pub cgroup: Option<String>,
    /// Folder of the pins.
    pub bpffs: String,
    /// Whether balancing was seen to work; absent when only the maps were read.
    #[serde(default)]
    pub balancing: Option<BalancingView>,
    /// Each program that balancing needs.
    pub programs: Vec<ProgramView>,
    /// Use of the maps.
    pub capacity: Vec<CapacityView>,
    /// Connections open now, over all backends; absent when the maps can't be read.
    pub connections: Option<u64>,
    /// Whose connections are counted; absent when only the maps were read.
    #[serde(default)]
    pub counts: Option<CountsView>,
    /// Devices of this network namespace over which connections from outside are balanced.
    #[serde(default)]
    pub outside: Vec<String>,
    /// Answers given to `connect()`, by name, since the maps were made.
    pub verdicts: Vec<VerdictView>,
    /// Pods of this node whose sockets are left alone, or may never be seen; none when only the maps
    /// were read.
    #[serde(default)]
    pub pods: Vec<PodView>,
    /// Service ports whose clients are refused, 1,000 at most; none when only the maps were read.
    #[serde(default)]
    pub refused: Vec<RefusedView>,
    /// Input that is not balanced, and why.
    pub problems: Vec<Problem>,
    /// The last changes; absent where there was none, and when only the maps were read.
    #[serde(default)]
    pub events: Option<RecentView>,
}

/// A Service port without an endpoint that could be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// The Service port.
    pub service_port: PortView,
    /// What `connect()` to it returns, such as `ECONNREFUSED`.
    pub error: String,
    /// Endpoints that it has and that are not ready.
    pub not_ready: u64,
}

impl StatusView {
    /// True if all of it is known: the maps and every link could be read.
    pub fn is_whole(&self) -> bool {
        self.connections.is_some() && self.programs.iter().all(|p| p.unreadable.is_none())
    }
}

/// What the agent last saw of balancing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancingView {
    /// Whether it works.
    pub state: BalancingState,
    /// How that is known, or what is wrong.
    pub detail: String,
    /// How often the agent has tried, by connections of its own.
    pub tests_total: u64,
    /// How often something was put back that somebody had detached, replaced or unpinned.
    pub mended_total: u64,
}

/// Whether balancing works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BalancingState {
    /// A connection of the agent's own was led where it should, and nothing is missing.
    Works,
    /// It was not, or something is missing that can't be put back.
    Broken,
    /// The agent's own connections are not those of the cgroup.
    Untested,
}

impl fmt::Display for BalancingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "works",
            Self::Broken => "does not work",
            Self::Untested => "can't be tested",
        })
    }
}

/// A pod whose connections are not balanced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Why its connections are not balanced.
    pub state: PodState,
    /// Its runtime class, where that may be a sandbox.
    pub runtime_class: Option<String>,
}

/// Why connections of a pod are not balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodState {
    /// By the label `balancer-agent/enabled`.
    OptedOut,
    /// Its runtime class may be a sandbox with a kernel of its own.
    Sandboxed,
}

impl fmt::Display for PodState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OptedOut => "opted-out",
            Self::Sandboxed => "sandboxed",
        })
    }
}

/// The running agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Version of the agent.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Name of the node.
    pub node: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Where Services come from: a folder, or the API server.
    pub source: String,
    /// True once the first complete state is in the maps.
    pub ready: bool,
    /// What is still missing of the first complete state: kinds that the API server has not listed to
    /// the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}

/// A program and its pinned link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramView {
    /// Name of the program.
    pub name: String,
    /// Kernel's identifier of the attached program; absent when it is not attached.
    pub id: Option<u32>,
    /// The kernel's hash of its instructions.
    pub tag: Option<String>,
    /// Why it is not known whether the program is attached; absent where it is known.
    #[serde(default)]
    pub unreadable: Option<String>,
}

/// Use of one kind of entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityView {
    /// `services`, `frontends4`, `frontends6`, `backends`, `slots` or `connections`.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries there is room for.
    pub max: u64,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictView {
    /// Name of the verdict.
    pub name: String,
    /// How often it was given.
    pub total: u64,
}
