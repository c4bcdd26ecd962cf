//! What the agent answers and does for those who ask, whichever way they come.

mod error;
mod mended;
mod programming;

pub use self::{error::ProviderError, mended::Mended, programming::Programming};
use crate::{
    moves::tally::Counts,
    view::{
        ConnectionView, DrainRequest, DrainView, PeerView, RebalanceRequest, RebalanceView,
        ServiceView, StatusView, Wanted,
    },
};

/// Where views come from.
pub trait Provider: Send + Sync + 'static {
    /// The agent and its node at this moment. What can't be read is absent, and a problem.
    fn status(&self) -> StatusView;
    /// Every Service port at this moment.
    fn services(&self) -> Result<Vec<ServiceView>, ProviderError>;
    /// Both, of one moment.
    fn overview(&self) -> Result<(StatusView, Vec<ServiceView>), ProviderError> {
        Ok((self.status(), self.services()?))
    }
    /// The TCP connections that are wanted, at this moment.
    fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, ProviderError>;
    /// Moves the connections of a Service, or says what it would do, or why it can't.
    fn rebalance(&self, request: &RebalanceRequest) -> Result<RebalanceView, ProviderError>;
    /// Drains a backend, or says why it can't; gives what is drained then.
    fn drain(&self, request: &DrainRequest) -> Result<Vec<DrainView>, ProviderError>;
    /// Backends that are drained by hand.
    fn drains(&self) -> Vec<DrainView>;
    /// The agents of the cluster; none where this one counts alone.
    fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }
    /// How often connections were ended; nothing where none is.
    fn ended(&self) -> Counts {
        Counts::default()
    }
    /// How long changes took to be written; nothing where none is written.
    fn programming(&self) -> Programming {
        Programming::default()
    }
    /// How many entries of maps were put back.
    fn mended(&self) -> Mended {
        Mended::default()
    }
}

/// A snapshot is thousands of system calls: off the threads that drive the sockets.
pub async fn ask<T: Send + 'static>(
    snapshot: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    tokio::task::spawn_blocking(snapshot).await.unwrap_or(Err(ProviderError::Defect))
}
