//! What the agent knows of Kubernetes, in plain types.
//!
//! Sources convert the objects of the API into these once, at the edge; nothing behind imports
//! Kubernetes types. Ports here are host byte order and never 0.

mod changes;
mod compact;
mod ending;
mod moving;
pub mod nearest;
mod pod_name;
mod problem;
mod slices;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use balancer_common::policy::Policy;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use changes::{Changes, Parts};
pub use compact::compact;
pub use ending::{Reason, Way};
pub use moving::Moving;
pub use pod_name::PodName;
pub use problem::{Clash, Problem};
pub use slices::Slices;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// IPPROTO_TCP.
    Tcp,
    /// IPPROTO_UDP.
    Udp,
    /// IPPROTO_SCTP.
    Sctp,
}

impl Protocol {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The inverse of [`Protocol::number`].
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A Service that kube-proxy's rules say must be proxied: not headless, not ExternalName, not
/// labelled for another proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub id: ObjectRef,
    /// `metadata.uid`; empty where there is none.
    pub uid: Box<str>,
    /// `spec.clusterIPs`, none of them "None".
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` where `ipMode` is VIP or unset.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: who may use the addresses of the load balancer; everybody
    /// where it is empty.
    pub source_ranges: Vec<IpNet>,
    /// Where `spec.sessionAffinity` is ClientIP, for how many seconds a client stays with its backend.
    pub session_affinity: Option<u32>,
    /// `spec.internalTrafficPolicy`.
    pub internal_traffic_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// `spec.healthCheckNodePort`, where `spec.type` is LoadBalancer and
    /// `spec.externalTrafficPolicy` is Local.
    pub health_check_node_port: Option<u16>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// What its annotations say.
    pub tuning: Tuning,
}

/// How the backends of a Service are chosen, from its annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// `balancer-agent/policy`.
    pub policy: Policy,
    /// `balancer-agent/weights`: the first rule about an endpoint counts. Empty for policies that
    /// know no weights.
    pub weights: Vec<WeightRule>,
    /// Seconds of `balancer-agent/slow-start`; 0 for none.
    pub slow_start: u32,
    /// True where `balancer-agent/suspect` is `off`.
    pub keeps_suspects: bool,
    /// When its connections are moved; none where nothing is said of it.
    pub moving: Option<Arc<Moving>>,
}

/// A weight, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// Which endpoints it is about.
    pub selector: Selector,
    /// From 1 to [`balancer_common::policy::MAX_WEIGHT`].
    pub weight: u16,
}

/// Endpoints that a weight is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// Those in a zone.
    Zone(String),
    /// Those whose pod's name begins so.
    PodPrefix(String),
    /// The one of an address.
    Address(IpAddr),
}

/// Which endpoints a traffic policy allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Those of all nodes.
    #[default]
    Cluster,
    /// Those of this node.
    Local,
}

/// An entry of `spec.ports` of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty where the Service has a single unnamed port.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `nodePort`, where there is one.
    pub node_port: Option<u16>,
    /// True if `appProtocol` or the name says that a request and its answer are all there is: nothing
    /// that hangs on a connection outlives them.
    pub requests_only: bool,
    /// `protocol`.
    pub protocol: Protocol,
}

/// An EndpointSlice of a Service, of address type IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub id: ObjectRef,
    /// Name of the Service, from the label `kubernetes.io/service-name`; same namespace.
    pub service: String,
    /// When the change was made that the slice follows, from the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<SystemTime>,
    /// `ports`, those with a number.
    pub ports: Vec<EndpointPort>,
    /// `endpoints`.
    pub endpoints: Vec<Endpoint>,
}

impl EndpointSlice {
    /// Its Service.
    pub fn of(&self) -> ObjectRef {
        ObjectRef { namespace: self.id.namespace.clone(), name: self.service.clone() }
    }
}

/// An entry of `ports` of an EndpointSlice; belongs to the Service port of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Empty where the Service port has no name.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// An entry of `endpoints` of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `addresses[0]`; the API defines that the others are the same endpoint.
    pub address: IpAddr,
    /// `conditions.ready`; unset means true.
    pub ready: bool,
    /// `conditions.serving`; unset means true.
    pub serving: bool,
    /// `conditions.terminating`; unset means false.
    pub terminating: bool,
    /// Where it runs.
    pub place: Arc<Place>,
    /// Name in `targetRef`, where that is a Pod.
    pub pod: Option<PodName>,
    /// `hints`, where there are any.
    pub hints: Option<Arc<Hints>>,
}

/// Where an endpoint runs; many share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// `nodeName`.
    pub node: Option<Box<str>>,
    /// `zone`.
    pub zone: Option<Box<str>>,
}

/// For whom an endpoint is meant; many share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// `forNodes`.
    pub nodes: Vec<Box<str>>,
    /// `forZones`.
    pub zones: Vec<Box<str>>,
}

/// The Node the agent runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// The label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// `status.addresses` of type InternalIP, then those of type ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// True once it is being deleted, or the cluster autoscaler is about to.
    pub leaving: bool,
    /// False where only the name is known, and no object of that name.
    pub is_known: bool,
}

impl Node {
    /// What is known of a Node that there is no object of.
    pub fn unseen(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Says that the source has no Node of this name, and what therefore is not balanced.
    pub fn missing(&self, remedy: &str) -> Problem {
        Problem {
            object: format!("Node {}", self.name),
            field: "metadata.name".to_owned(),
            message: format!(
                "there is no such Node: its zone and its addresses are unknown, so that hints for \
                 zones are not followed, and node ports are left to kube-proxy; {remedy}"
            ),
        }
    }

    /// The first address of each family: what kube-proxy calls primary.
    pub fn primary(&self) -> impl Iterator<Item = IpAddr> {
        let first = |family: fn(&IpAddr) -> bool| self.addresses.iter().copied().find(family);
        [first(IpAddr::is_ipv4), first(IpAddr::is_ipv6)].into_iter().flatten()
    }
}

/// A Pod that runs, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub id: ObjectRef,
    /// Its uid, as kubelet names its cgroup after it.
    pub uid: String,
    /// `spec.nodeName`.
    pub node: String,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// The label `balancer-agent/enabled`; none where it is missing or says neither true nor false.
    pub enabled: Option<bool>,
    /// `spec.runtimeClassName`.
    pub runtime_class: Option<String>,
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// The label `balancer-agent/enabled`, for pods that have none.
    pub enabled: Option<bool>,
}

/// Everything a source knows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Services by namespace and name.
    pub services: BTreeMap<ObjectRef, Service>,
    /// EndpointSlices.
    pub slices: Slices,
    /// The Node of this agent, with its name alone where the source has no such Node; none where
    /// the source was not told its name.
    pub node: Option<Node>,
    /// The Pods of this Node by namespace and name.
    pub pods: BTreeMap<ObjectRef, Pod>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Headless Services and their slices, as far as the source keeps them: that of the agents at least.
    pub headless: Headless,
    /// What could not be used, and why. Nothing else is affected by an entry here.
    pub problems: Vec<Problem>,
    /// True while some input could never be read since the source was opened, so that objects may
    /// be missing here which an earlier agent knew.
    pub missing: bool,
    /// When the changes were made that this state is the first to show, as far as it is known.
    pub triggers: Vec<SystemTime>,
    /// When the first of what this state is the first to show arrived, as far as it is known.
    pub arrived: Option<Instant>,
    /// What differs from the state that was given before.
    pub changes: Changes,
}

/// Headless Services, which are not balanced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headless {
    /// Namespaces and names.
    pub services: BTreeSet<ObjectRef>,
    /// Their EndpointSlices.
    pub slices: Slices,
}
