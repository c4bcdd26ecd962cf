//! What has changed on this node, as it is shown.

use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::model::ObjectRef;

/// Asks for what has changed; everything that is remembered where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsQuestion {
    /// Only what is not older than so many seconds.
    pub since_s: Option<u64>,
    /// Only what belongs to Services of this namespace.
    pub namespace: Option<String>,
    /// Only what belongs to a Service of this name.
    pub service: Option<String>,
}

impl Question for EventsQuestion {
    const PATH: &'static str = "/v1/events";
    type Answer = Vec<EventView>;
}

/// Something that has changed: an element of `events -o json`, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When, by RFC 3339.
    pub time: String,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// About what it is.
    pub kind: EventKind,
    /// The object, such as `Service shop/cart`.
    pub object: String,
    /// The Service, where it is about one.
    pub service: Option<ObjectRef>,
    /// What has changed.
    pub message: String,
}

/// About what an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The agent, its source, and what it has put back.
    Agent,
    /// A Service came, went or is another one.
    Service,
    /// Endpoints of a Service came, went, or are ready or not.
    Endpoints,
    /// A backend fails, or answers again.
    Suspect,
    /// A backend was drained by hand, or gets connections again.
    Drain,
    /// Connections were ended.
    Moves,
    /// A problem has come, or is gone.
    Problem,
}

impl EventKind {
    /// Its name, in views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Service => "service",
            Self::Endpoints => "endpoints",
            Self::Suspect => "suspect",
            Self::Drain => "drain",
            Self::Moves => "moves",
            Self::Problem => "problem",
        }
    }
}

/// The last changes, in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentView {
    /// How many there were in the last five minutes.
    pub count: u64,
    /// The last one of all.
    pub last: EventView,
}
