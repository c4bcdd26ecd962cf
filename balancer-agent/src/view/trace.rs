//! What is chosen and what ends, as it is shown while it happens.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EndView, PortView, question::Stream};
use crate::model::{ObjectRef, Protocol};

/// Asks for choices, refusals and ends from now on; all of Services where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceQuestion {
    /// Namespace of the Service.
    pub namespace: Option<String>,
    /// Name of the Service.
    pub service: Option<String>,
    /// Address of the backend.
    pub backend: Option<IpAddr>,
    /// Port of the backend.
    pub backend_port: Option<u16>,
    /// Namespace of the client's pod.
    pub pod_namespace: Option<String>,
    /// Name of the client's pod.
    pub pod: Option<String>,
    /// Only this verdict, and no ends; `not-service` is told only where it is asked for.
    pub verdict: Option<String>,
    /// Only what failed: refusals, and connections that were refused, timed out or reset.
    #[serde(default)]
    pub errors: bool,
}

impl Stream for TraceQuestion {
    const PATH: &'static str = "/v1/trace";
    type Line = TraceView;
}

/// One line of the socket, and but for the first one of `trace -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum TraceView {
    /// From now on everything is told: the first line, of which `trace` makes a note.
    Begun,
    /// Something was dialled.
    Dialled(DialledView),
    /// A connection has ended.
    Ended(EndedView),
    /// Some could not be told.
    Dropped(DroppedView),
}

/// Who dialled what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartiesView {
    /// When, by RFC 3339.
    pub time: String,
    /// The pod of the client; absent for those of the node, and where it is not known.
    pub pod: Option<ObjectRef>,
    /// The process; absent where it is not known.
    pub pid: Option<u32>,
    /// Its name, likewise.
    pub command: Option<String>,
    /// What was dialled.
    pub dialled: EndView,
    /// By which protocol; absent for those that no Service has.
    pub protocol: Option<Protocol>,
    /// Namespace of the Service; absent where what was dialled is none's.
    pub namespace: Option<String>,
    /// Name of the Service, likewise.
    pub service: Option<String>,
    /// The Service port, likewise.
    pub service_port: Option<PortView>,
    /// Where it leads; absent where it leads nowhere.
    pub backend: Option<EndView>,
}

/// What was answered to one that dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialledView {
    /// Who and what.
    #[serde(flatten)]
    pub parties: PartiesView,
    /// The verdict: `balanced`, or why not.
    pub verdict: String,
    /// The name of the error that the program gets; absent where `connect()` goes on.
    pub errno: Option<String>,
    /// Why this backend, and among which; absent without one.
    pub choice: Option<ChoiceView>,
}

/// Why a backend was chosen. The numbers are those of the moment after, without this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceView {
    /// `datagram` of one without a connection, of which nothing else is told but what is certain;
    /// `only-one`, `least`, `tie`, `spread` among those that have few of all nodes, `changed` while
    /// it was chosen, `weighted`, `affinity`, `seat`, `trial` of a suspect, `sampled`, or the
    /// policy.
    pub why: String,
    /// The policy of the Service; absent for datagrams.
    pub policy: Option<String>,
    /// Connections that the backend had, from this node; absent for datagrams.
    pub active: Option<u32>,
    /// From all nodes; absent where only this node counts.
    pub cluster_active: Option<u32>,
    /// The fewest of a backend that is not suspect, of all nodes where they count; absent where
    /// nobody looked at all of them.
    pub least: Option<u32>,
    /// How many backends had those, likewise.
    pub tied: Option<u16>,
    /// How many were not suspect, likewise.
    pub usable: Option<u16>,
    /// How many there are; absent for datagrams.
    pub backends: Option<u32>,
}

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedView {
    /// Who and what.
    #[serde(flatten)]
    pub parties: PartiesView,
    /// By the agent: `stale`, `drain`, `idle`, `age`, `rebalance`. As the kernel shows:
    /// `client-closed`, `server-closed`, `client-reset`, `client-gave-up`, `refused`,
    /// `unreachable`, `timed-out`, `reset`, `closed` of UDP and where it is not known how,
    /// `reconnected`.
    pub reason: String,
    /// True where the agent of another node, which sums the Service port, has permitted it.
    #[serde(default)]
    pub permitted: bool,
    /// The name of the error that the program gets; absent where there is none, and where it is not
    /// known: of a `reset` it is ECONNRESET, ETIMEDOUT or ECONNABORTED.
    pub errno: Option<String>,
    /// Where it came from; absent for UDP.
    pub client: Option<EndView>,
    /// Milliseconds since its SYN; absent for UDP, and without one.
    pub age_ms: Option<u64>,
    /// Bytes that the client sent and the server's kernel has acknowledged; absent where not known.
    pub bytes_sent: Option<u64>,
    /// Bytes that the client's kernel received, likewise.
    pub bytes_received: Option<u64>,
}

/// How many were not told since the last such line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedView {
    /// More than the programs tell in a second.
    pub capped: u64,
    /// The ring buffer was full: the agent was too slow.
    pub full: u64,
    /// Who reads was too slow.
    pub behind: u64,
}

impl DroppedView {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.capped + self.full + self.behind
    }
}

impl EndedView {
    /// True where neither side has closed it, nor the agent.
    pub fn is_failure(&self) -> bool {
        matches!(self.reason.as_str(), "refused" | "unreachable" | "timed-out" | "reset")
    }
}

impl TraceView {
    /// Who and what; none of a line that is about the lines.
    pub const fn parties(&self) -> Option<&PartiesView> {
        match self {
            Self::Dialled(view) => Some(&view.parties),
            Self::Ended(view) => Some(&view.parties),
            Self::Begun | Self::Dropped(_) => None,
        }
    }

    /// True for what failed.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Dialled(view) => view.verdict != "balanced" && view.verdict != "not-service",
            Self::Ended(view) => view.is_failure(),
            Self::Begun | Self::Dropped(_) => false,
        }
    }
}

impl TraceQuestion {
    /// True for what is asked for. What is about the lines is for everybody.
    pub fn takes(&self, view: &TraceView) -> bool {
        let Some(parties) = view.parties() else { return true };
        let verdict = match view {
            TraceView::Dialled(view) => Some(view.verdict.as_str()),
            _ => None,
        };
        let verdict = match &self.verdict {
            None => verdict != Some("not-service"),
            wanted => verdict == wanted.as_deref(),
        };
        let backend = parties.backend;
        verdict
            && (!self.errors || view.is_error())
            && is_or_any(self.namespace.as_ref(), parties.namespace.as_ref())
            && is_or_any(self.service.as_ref(), parties.service.as_ref())
            && is_or_any(self.backend.as_ref(), backend.map(|end| end.address).as_ref())
            && is_or_any(self.backend_port.as_ref(), backend.map(|end| end.port).as_ref())
            && is_or_any(self.pod.as_ref(), parties.pod.as_ref().map(|pod| &pod.name))
            && is_or_any(
                self.pod_namespace.as_ref(),
                parties.pod.as_ref().map(|pod| &pod.namespace),
            )
    }
}

fn is_or_any<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}
