//! What one scrape shows.

use super::{Mended, Programming};
use crate::{
    moves::tally::Counts,
    view::{ServiceView, StatusView},
};

/// Everything that is shown, of one moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The agent and its node.
    pub status: StatusView,
    /// Every Service port.
    pub services: Vec<ServiceView>,
    /// How often connections were ended.
    pub ended: Counts,
    /// How long changes took to be written.
    pub programming: Programming,
    /// How many entries of maps were put back.
    pub mended: Mended,
}
