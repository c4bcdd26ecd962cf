//! What the reconciler tells, and whom it asks: the rest of the agent, or a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::SystemTime,
};

use super::{handover::Look, journal::Event, moving::Drained};
use crate::{desired::Desired, metrics::Synced, model::Problem, source::Kind};

/// Who hears of what the reconciler does.
pub trait Audience {
    /// What is desired now, before it is written.
    fn know(&self, desired: &Desired);
    /// What is in the way of a first state, and the kinds that are missing.
    fn wait(&self, problems: &[Problem], kinds: &[Kind]);
    /// Something may be new: what is desired, and where something was written, the maps. `lacking` says
    /// that the source may lack objects.
    fn changed(&self, lacking: bool, written: bool);
    /// What remains wrong after the writes, and whether all were carried out.
    fn settle(&self, problems: Vec<Problem>, complete: bool);
    /// When the changes were triggered that the maps have now.
    fn written(&self, triggers: &[SystemTime]);
    /// A state of the source was brought to the maps, or could not be.
    fn synced(&self, sync: &Synced);
    /// What has changed, for those who want to know later.
    fn happened(&self, events: Vec<Event>);
    /// How many entries of a map were put back that somebody else had changed.
    fn put_back(&self, map: &'static str, entries: u64);
    /// Connected UDP sockets at this moment.
    fn look(&self, look: Look);
    /// Backends that are drained by hand.
    fn drained(&self) -> BTreeMap<SocketAddr, Drained>;
    /// The maps have no row any more that has one of these backends, which are drained by hand.
    fn left_out(&self, backends: BTreeSet<SocketAddr>);
}
