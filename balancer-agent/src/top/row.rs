//! How rows are known again.

use std::net::SocketAddr;

use super::{columns::BackendRow, port::PortKey, rates::Rated};
use crate::view::TopServiceView;

/// What a row is known by at the next look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// A Service port.
    Port(PortKey),
    /// A backend.
    Backend(SocketAddr),
    /// A connection, by its ends.
    Connection(SocketAddr, SocketAddr),
}

impl From<&TopServiceView> for Id {
    fn from(row: &TopServiceView) -> Self {
        Self::Port(PortKey::of(row))
    }
}

impl From<&BackendRow> for Id {
    fn from(row: &BackendRow) -> Self {
        Self::Backend(row.address())
    }
}

impl From<&Rated> for Id {
    fn from(row: &Rated) -> Self {
        Self::Connection(row.client(), row.backend())
    }
}
