//! What one scrape shows.

use std::time::Duration;

use balancer_common::layout::LIFETIME_WORDS;

use super::{KubeProxy, Mended, Programming, Total};
use crate::{
    config::BackendSeries,
    kernel::inventory::ProgramFacts,
    moves::tally::Counts,
    source::kube::Requests,
    view::{ServiceView, StatusView},
};

/// Everything that is shown, of one moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The agent and its node.
    pub status: StatusView,
    /// Every Service port.
    pub services: Vec<ServiceView>,
    /// What each was sent since the agent started.
    pub totals: Vec<Total>,
    /// Which of them have series.
    pub series: BackendSeries,
    /// How long connections lived, as the map has it.
    pub lifetimes: [u64; LIFETIME_WORDS],
    /// The programs, and how long they ran.
    pub programs: Vec<ProgramFacts>,
    /// How often connections were ended.
    pub ended: Counts,
    /// How long changes took to be written.
    pub programming: Programming,
    /// The same by the names of kube-proxy.
    pub kube_proxy: KubeProxy,
    /// How many entries of maps were put back.
    pub mended: Mended,
    /// For how long the API server has sent nothing; none where there is none, or it never did.
    pub source_silent: Option<Duration>,
    /// What the API server was asked; none where there is none.
    pub requests: Option<Requests>,
}
