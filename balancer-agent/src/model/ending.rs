//! Why and how a connection is ended, as plans, views and metrics name it.

use serde::{Deserialize, Serialize};

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its backend is gone.
    Stale,
    /// Its backend terminates, or is drained.
    Drain,
    /// It was quiet for long.
    Idle,
    /// It is old.
    Age,
    /// Its backend has more than its share.
    Rebalance,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Stale, Self::Drain, Self::Idle, Self::Age, Self::Rebalance];

    /// Its name, in metrics and views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Rebalance => "rebalance",
        }
    }
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its program reads an end of file.
    Gentle,
    /// Both sides are told that it was broken off.
    Reset,
}

impl Way {
    /// Its name, in metrics and views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gentle => "gentle",
            Self::Reset => "reset",
        }
    }
}
