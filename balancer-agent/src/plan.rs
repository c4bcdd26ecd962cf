//! The writes that turn what the maps hold into what is desired. Pure.
//!
//! A plan is plain data: steps, one per object, each a list of writes in an order that is safe to
//! stop after any of them. Backends before the row that names them, the row before the frontends
//! that lead to it, frontends away before what they led to. Nothing that a running program may
//! still read is used again: rows that are replaced and identifiers that are given up become free
//! when whoever carried the plan out has waited for the programs; see [`book::Book::release`].

pub mod audit;
pub mod book;
pub mod entries;
pub mod foreign;
pub mod held;
pub mod leading;
mod planner;
mod pools;
pub mod rows;

use balancer_common::layout::Row;
use ipnet::IpNet;

use crate::{
    desired::{BackendAddr, FrontendAddr},
    maps::{FrontendKey, RangeEntry, Settings, identity::RowId},
    model::Problem,
};
pub use planner::{Extent, plan};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Give an identifier to a backend; its counters start at 0.
    PutBackend {
        /// The identifier.
        id: u32,
        /// The backend.
        backend: BackendAddr,
    },
    /// Write the address of a backend again, whose identifier and counters stay.
    RestoreBackend {
        /// The identifier.
        id: u32,
        /// The backend.
        backend: BackendAddr,
    },
    /// Forget a backend that no row names and no connection is charged to.
    RemoveBackend {
        /// The identifier.
        id: u32,
    },
    /// Write the slots of a row that is not in use yet.
    PutSlots {
        /// The row.
        row: Row,
        /// Identifiers of its backends, and their weights.
        backends: Vec<(u32, u16)>,
    },
    /// Say how a backend of a Service port is chosen.
    SetSettings {
        /// The Service port.
        service: u32,
        /// How.
        settings: Settings,
    },
    /// Admit clients to the restricted addresses of a Service port.
    PutRange {
        /// The Service port.
        service: u32,
        /// The clients.
        range: IpNet,
    },
    /// Take an admission back.
    RemoveRange {
        /// The Service port.
        service: u32,
        /// The clients.
        range: IpNet,
    },
    /// Have flows of a Service port stay with a backend that is not in its row.
    PutServing {
        /// The Service port.
        service: u32,
        /// The backend.
        backend: u32,
    },
    /// Have them leave it.
    RemoveServing {
        /// The Service port.
        service: u32,
        /// The backend.
        backend: u32,
    },
    /// Give an identifier to a Service port.
    PutName {
        /// The identifier.
        service: u32,
        /// What the entry is known by.
        id: Box<RowId>,
        /// `spec.ports[].port`.
        number: u16,
    },
    /// Point a Service port at a row.
    SetRow {
        /// The Service port.
        service: u32,
        /// The row.
        row: Row,
    },
    /// Capture an address.
    PutFrontend {
        /// The address.
        frontend: FrontendAddr,
        /// The Service port it leads to.
        service: u32,
        /// True if only some clients may use it.
        restricted: bool,
    },
    /// Stop capturing an address.
    RemoveFrontend {
        /// The address.
        frontend: FrontendAddr,
    },
    /// Give up the identifier of a Service port.
    RemoveName {
        /// The identifier.
        service: u32,
    },
    /// Take away what no agent of this version wrote.
    RemoveEntry {
        /// The entry.
        entry: Entry,
    },
}

/// An entry of a map, by its key alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Of `FRONTENDS4` or `FRONTENDS6`.
    Frontend(FrontendKey),
    /// Of `RANGES`.
    Range(RangeEntry),
}

/// The writes for one object. If one fails, the rest of the step is left out; other steps are not
/// affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The object, as messages name it.
    pub object: String,
    /// The writes, in order.
    pub writes: Vec<Write>,
}

/// What has to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// How many rows are written.
    pub rows: usize,
    /// Rows that do not fit.
    pub full: Vec<RowId>,
    /// What is to be said of them.
    pub problems: Vec<Problem>,
    /// True if something is given up that running programs may still use.
    pub gave_up: bool,
}

impl Plan {
    /// Every write, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.steps.iter().flat_map(|step| &step.writes)
    }

    fn push(&mut self, object: String, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.steps.push(Step { object, writes });
        }
    }
}

#[cfg(test)]
mod tests;
