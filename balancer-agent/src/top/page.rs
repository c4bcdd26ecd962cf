//! The rows of the level that is shown: filtered and in order. Pure.

use super::{
    columns::{BACKENDS, BackendRow, CONNECTIONS, Column, SERVICES},
    model::Model,
    port::PortKey,
    rates::Rated,
    row::Id,
    state::{Level, State},
};
use crate::view::TopServiceView;

/// Rows of one level.
pub enum Page {
    /// Service ports.
    Services(Vec<TopServiceView>),
    /// The backends of a Service port; none where it is gone.
    Backends(Option<Box<TopServiceView>>, Vec<BackendRow>),
    /// Its connections.
    Connections(Option<Box<TopServiceView>>, Vec<Rated>),
}

impl Page {
    /// What is to be shown.
    pub fn of(model: &Model, state: &State) -> Self {
        let services = &model.view().services;
        let one = |port: &PortKey| services.iter().find(|row| PortKey::of(row) == *port);
        match &state.level {
            Level::Services => Self::Services(arranged(services.clone(), SERVICES, state)),
            Level::Backends(port) => {
                let rows = one(port).map(|service| BackendRow::all(model, service));
                let rows = arranged(rows.unwrap_or_default(), BACKENDS, state);
                Self::Backends(one(port).cloned().map(Box::new), rows)
            }
            Level::Connections(port, backend) => {
                let is_it = |row: &&Rated| {
                    backend.is_none_or(|backend| backend == row.backend()) && row.port() == *port
                };
                let rows = model.rates().connections().iter().filter(is_it).cloned().collect();
                let rows = arranged(rows, CONNECTIONS, state);
                Self::Connections(one(port).cloned().map(Box::new), rows)
            }
        }
    }

    /// What the rows are known by, in their order.
    pub fn ids(&self) -> Vec<Id> {
        match self {
            Self::Services(rows) => rows.iter().map(Id::from).collect(),
            Self::Backends(_, rows) => rows.iter().map(Id::from).collect(),
            Self::Connections(_, rows) => rows.iter().map(Id::from).collect(),
        }
    }
}

fn arranged<T>(mut rows: Vec<T>, columns: &[Column<T>], state: &State) -> Vec<T> {
    if !state.filter.is_empty() {
        let wanted = state.filter.to_lowercase();
        let has = |row: &T| {
            columns.iter().any(|column| (column.text)(row).to_lowercase().contains(&wanted))
        };
        rows.retain(has);
    }
    state.order().sort(columns, &mut rows);
    rows
}
